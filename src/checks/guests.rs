//! Guests as they are before something is done to them: locks, protection, snapshots, HA and replication.

use serde::Deserialize;

use super::{Checked, asked::Asked, looks::GuestLook};
use crate::{plan::Plan, pve::Request};

/// The part of a configuration that forbids things.
#[derive(Deserialize)]
struct Config {
    lock: Option<String>,
    #[serde(default)]
    protection: bool,
    #[serde(default)]
    template: bool,
}

#[derive(Deserialize)]
struct Snapshot {
    name: String,
}

pub async fn look(pve: &Asked<'_>, plan: &Plan, guest: &GuestLook) -> Option<Checked> {
    let config: Config = pve.get(guest.path("config")).await.ok()?;
    let name = guest.name();
    let mut all = Checked::default();
    // The tool may have looked at the same configuration already.
    let told = |word: &str| plan.checked.iter().chain(&plan.problems).any(|text| text.contains(word));
    if !told("locked") {
        let starts = guest.does("POST status/start") || guest.does("POST status/resume");
        all.add(match &config.lock {
            None => Checked::good(format!("{name} is not locked")),
            // The lock of a hibernated VM: starting or resuming it is how it goes on.
            Some(lock) if lock == "suspended" && starts => Checked::default(),
            Some(lock) => Checked::problem(format!("{name} is locked ({lock})")),
        });
    }
    let deletes = guest.does("DELETE ");
    if (deletes || guest.does("PUT unlink") || guest.does("POST template")) && !told("protected") {
        all.add(match config.protection {
            true => Checked::problem(format!("{name} is protected: its protection option is set")),
            false => Checked::good(format!("{name} is not protected")),
        });
    }
    if config.template && guest.does("POST status/start") {
        all.add(Checked::problem(format!("{name} is a template: templates do not start")));
    }
    if guest.does("POST template") && !told("snapshot") {
        let snapshots: Vec<Snapshot> = pve.get(guest.path("snapshot")).await.unwrap_or_default();
        let names: Vec<&str> = snapshots.iter().map(|s| s.name.as_str()).filter(|n| *n != "current").collect();
        all.add(match names.as_slice() {
            [] => Checked::good(format!("{name} has no snapshots")),
            names => Checked::problem(format!("{name} has snapshots ({}): a template can have none", names.join(", "))),
        });
    }
    if deletes {
        let (ha, jobs) = tokio::join!(is_ha(pve, guest), replication_jobs(pve, guest));
        all.add(kept_by(&name, "an HA resource", ha.unwrap_or_default(), guest.purge));
        all.add(kept_by(&name, "a replication job", !jobs.is_empty(), guest.purge));
    }
    Some(all)
}

/// What Proxmox asks `purge` for.
fn kept_by(name: &str, what: &str, there: bool, purge: bool) -> Checked {
    match (there, purge) {
        (false, _) => Checked::default(),
        (true, true) => {
            Checked { warnings: vec![format!("{name} has {what}, which goes with it")], ..Checked::default() }
        }
        (true, false) => Checked::problem(format!("{name} has {what}: it is deleted with purge only")),
    }
}

async fn is_ha(pve: &Asked<'_>, guest: &GuestLook) -> Option<bool> {
    #[derive(Deserialize)]
    struct Ha {
        sid: String,
    }
    let all: Vec<Ha> = pve.get("/cluster/ha/resources").await.ok()?;
    Some(all.iter().any(|ha| ha.sid.split_once(':').is_some_and(|(_, vmid)| vmid == guest.vmid)))
}

async fn replication_jobs(pve: &Asked<'_>, guest: &GuestLook) -> Vec<String> {
    #[derive(Deserialize)]
    struct Job {
        id: String,
        guest: u32,
    }
    let all: Vec<Job> = pve.request(Request::get("/cluster/replication")).await.unwrap_or_default();
    all.into_iter().filter(|job| job.guest.to_string() == guest.vmid).map(|job| job.id).collect()
}
