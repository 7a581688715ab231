//! `snapshot_first`: what a plan puts before its own requests, so that there is a way back. A snapshot where one helps; before
//! a restore over a guest, which takes all of its snapshots along, a backup. What is taken carries a mark and the day from
//! which it may go; `proxmox-delete-expired-snapshots` looks for them. Says beforehand where neither is possible.

use std::{
    collections::BTreeSet,
    time::{SystemTime, UNIX_EPOCH},
};

use serde::Deserialize;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::{
    error::{Error, Kind, Result},
    plan::{Plan, Undo},
    policy::Approved,
    pve::{
        Guest, GuestConfig, GuestKind, Reader, Request, StorageHere, encode,
        options::{is_drive, volume},
    },
    tools::time,
};

/// What is going to be done, and so what has to be saved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Before {
    Configure,
    Rollback,
    Restore,
}

impl Before {
    /// The requests that this takes, in the notation of [`crate::pve::Scope`].
    pub const fn api(self) -> &'static [&'static str] {
        match self {
            Self::Configure | Self::Rollback => &[
                "GET /nodes/{node}/time",
                "GET /nodes/{node}/{type}/{vmid}/feature",
                "POST /nodes/{node}/{type}/{vmid}/snapshot",
            ],
            Self::Restore => &["GET /nodes/{node}/time", "POST /nodes/{node}/vzdump"],
        }
    }
}

/// Taken before the plan's own first request.
#[derive(Debug)]
pub struct Taken {
    guest: Guest,
    /// As it was planned upon.
    config: GuestConfig,
}

/// Days that what was taken is kept.
const DAYS: u64 = 7;
const DAY: u64 = 86_400;

/// What the description of ours begins with.
const MARK: &str = "proxmox-mcp safety snapshot; expires ";

/// The Unix time from which a snapshot of ours may go; nothing where it is none of ours.
pub fn expires(description: &str) -> Option<u64> {
    time::parse("expires", description.trim().strip_prefix(MARK)?.get(..10)?).ok()
}

/// By the cluster's clock, which its snapshots are dated by; this machine's where that may not be read.
///
/// # Errors
/// That the call was cancelled.
pub async fn now(pve: &Reader<'_>, node: &str) -> Result<u64> {
    #[derive(Deserialize)]
    struct Clock {
        /// Unix time.
        time: u64,
    }
    match pve.get::<Clock>(format!("/nodes/{}/time", encode(node))).await {
        Ok(clock) => Ok(clock.time),
        Err(e) if e.kind() == Kind::Cancelled => Err(e),
        Err(_) => Ok(SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())),
    }
}

/// The first day on which it was kept long enough. A day, so that the same plan made again a little later is the same.
fn last_day(now: u64) -> String {
    let day = (now / DAY + DAYS + 1) * DAY;
    time::iso(day).chars().take(10).collect()
}

/// The plan with what saves the guest's state before it.
///
/// # Errors
/// As [`Reader::get`].
pub async fn before(pve: &Reader<'_>, what: Before, plan: Plan) -> Result<Plan> {
    let vmid = plan.about.get("vmid").and_then(Value::as_u64).and_then(|vmid| u32::try_from(vmid).ok());
    let guest = match vmid.filter(|_| plan.chosen_vmid.is_none()) {
        Some(vmid) => pve.resources().await?.vmid(vmid).map(Guest::from),
        None => None,
    };
    let Some(guest) = guest else {
        return Ok(plan.warn_if(true, || "snapshot_first: there is no guest yet of which to take one".to_owned()));
    };
    match what {
        Before::Restore => backup(pve, guest, plan).await,
        Before::Configure | Before::Rollback => snapshot(pve, what, guest, plan).await,
    }
}

/// `GET …/feature`
#[derive(Deserialize)]
struct Feature {
    #[serde(rename = "hasFeature")]
    has: bool,
}

async fn snapshot(pve: &Reader<'_>, what: Before, guest: Guest, mut plan: Plan) -> Result<Plan> {
    let feature = Request::get(guest.path("feature")).param("feature", "snapshot");
    let (config, feature, now) =
        tokio::try_join!(pve.config(&guest), pve.request::<Feature>(&feature), now(pve, &guest.node))?;
    let storages = storages(&config);
    let list = || storages.iter().map(String::as_str).collect::<Vec<_>>().join(", ");
    plan = plan
        .check(
            feature.has,
            || format!("{} takes snapshots", list()),
            || format!("snapshot_first: not all that {guest} has ({}) takes snapshots; back it up instead", list()),
        )
        .check(
            !guest.template,
            || format!("{guest} is no template"),
            || format!("snapshot_first: {guest} is a template, and Proxmox takes no snapshots of templates"),
        );
    if what == Before::Rollback && feature.has {
        let newest_only = newest_only(pve, &guest, &storages).await?;
        plan = plan.check(
            newest_only.is_empty(),
            || "storages go back past newer snapshots".to_owned(),
            || {
                let storages = newest_only.join(", ");
                format!("snapshot_first: {storages} goes back to the newest snapshot only, which this would be; back it up instead")
            },
        );
    }
    // What the caller knows the configuration by, where that was given.
    let given = plan.requests.iter().find_map(|request| request.param_of("digest"));
    let current = given.is_none() || given == config.digest.as_deref();
    let name = name(what, &config, &plan);
    plan = plan.check(
        current,
        || format!("the configuration of {guest} is the one that was read"),
        || format!("digest: the configuration of {guest} has changed since"),
    );
    let undo = plan.undo.take();
    plan.undo = match what {
        // It has no RAM, so that going back switches the guest off.
        Before::Rollback => {
            let mut back = json!({"vmid": guest.vmid, "snapname": name});
            if guest.is_running() {
                back["start"] = true.into();
            }
            Some(
                Undo::call("proxmox-rollback-snapshot", back)
                    .note("not what was in its memory, nor changes that were pending"),
            )
        }
        _ => undo.map(|undo| undo.note(format!("snapshot {name} has its disks too"))),
    };
    let request = Request::post(guest.path("snapshot"))
        .param("snapname", &name)
        .param("description", format!("{MARK}{}", last_day(now)));
    plan.requests.insert(0, request);
    plan.summary = format!("take safety snapshot {name}, then {}", plan.summary);
    plan = plan.about("safety_snapshot", name);
    plan.safety = Some(Taken { guest, config });
    Ok(plan)
}

/// A name that only this plan in this state has, and has each time it is made.
fn name(what: Before, config: &GuestConfig, plan: &Plan) -> String {
    let word = match what {
        Before::Configure => "configure",
        Before::Rollback => "rollback",
        Before::Restore => "restore",
    };
    let mut hash = Sha256::new();
    hash.update(config.digest.as_deref().unwrap_or_default());
    for request in &plan.requests {
        // As shown: nothing of a secret may stand in a name.
        hash.update(format!("\n{request} {}", Value::Object(request.shown_params())));
    }
    let hash: String = hash.finalize().iter().take(5).map(|byte| format!("{byte:02x}")).collect();
    format!("before-{word}-{hash}")
}

/// Those that the guest's drives are on; what is no volume stands for itself.
fn storages(config: &GuestConfig) -> BTreeSet<String> {
    let drives = config.iter().filter(|(key, value)| is_drive(key) && !value.contains("media=cdrom"));
    drives.map(|(_, value)| volume(&value).split(':').next().unwrap_or_default().to_owned()).collect()
}

/// Those of them that go back to no snapshot but the newest.
async fn newest_only(pve: &Reader<'_>, guest: &Guest, used: &BTreeSet<String>) -> Result<Vec<String>> {
    let content = match guest.kind {
        GuestKind::Qemu => "images",
        GuestKind::Lxc => "rootdir",
    };
    let all = pve.storages(&guest.node, content).await?;
    let fits = |storage: &&StorageHere| {
        used.contains(&storage.storage) && matches!(storage.r#type.as_str(), "zfspool" | "zfs" | "lvm")
    };
    Ok(all.iter().filter(fits).map(|storage| storage.storage.clone()).collect())
}

async fn backup(pve: &Reader<'_>, guest: Guest, mut plan: Plan) -> Result<Plan> {
    let (config, now) = tokio::try_join!(pve.config(&guest), now(pve, &guest.node))?;
    let archive = plan.about.get("archive").and_then(Value::as_str).unwrap_or_default();
    let archive = archive.split_once(':').map(|(storage, _)| storage);
    let there = pve.storages(&guest.node, "backup").await?;
    let is = |name: Option<&str>| name.and_then(|name| there.iter().find(|s| s.active && s.storage == name));
    let active = there.iter().filter(|storage| storage.active).collect::<Vec<_>>();
    let only = if let [one] = active.as_slice() { Some(*one) } else { None };
    let Some(storage) = is(archive).or_else(|| is(pve.default_storage())).or(only) else {
        let node = &guest.node;
        let reason = format!(
            "snapshot_first: a restore takes the snapshots of {guest} along, and {node} has no storage for a backup instead"
        );
        plan.problems.push(reason);
        return Ok(plan);
    };
    let storage = storage.storage.as_str();
    let left_out: Vec<&str> =
        config.iter().filter(|(key, value)| is_left_out(&guest, key, value)).map(|(key, _)| key).collect();
    let request = Request::post(format!("/nodes/{}/vzdump", encode(&guest.node)))
        .param("vmid", guest.vmid)
        .param("storage", storage)
        .param("mode", "snapshot")
        .param("compress", "zstd")
        .param("notes-template", format!("proxmox-mcp safety backup of {{{{guestname}}}}; expires {}", last_day(now)))
        .param("remove", 0);
    let undo = Undo::call("proxmox-restore-vm", json!({"vmid": guest.vmid, "archive": "latest", "force": true}))
        .note("latest is the backup made first, as long as there is no newer one")
        .note_if(!left_out.is_empty(), || format!("not what is in no backup: {}", left_out.join(", ")));
    plan = plan
        .warn_if(true, || {
            format!("a restore takes the snapshots of {guest} along, so it is backed up to {storage} first")
        })
        .warn_if(!left_out.is_empty(), || format!("{} of {guest} is in no backup, and is lost", left_out.join(", ")))
        .undone(undo);
    plan.requests.insert(0, request);
    plan.summary = format!("back {guest} up to {storage}, then {}", plan.summary);
    Ok(plan.about("safety_backup", storage))
}

/// Whether backups leave the drive out.
fn is_left_out(guest: &Guest, key: &str, value: &str) -> bool {
    let option = value.split(',').find_map(|part| part.strip_prefix("backup="));
    match guest.kind {
        GuestKind::Qemu => is_drive(key) && option == Some("0"),
        GuestKind::Lxc => is_drive(key) && key != "rootfs" && option != Some("1"),
    }
}

impl Taken {
    /// The request as it is to be sent now. A digest is one of the whole file, snapshots and all: the one that was planned
    /// upon is none any more. So what matters of it is compared, and the new digest guards what is left of the time.
    ///
    /// # Errors
    /// `Conflict` where the configuration is not what was planned upon.
    pub async fn renewed(&self, pve: &Reader<'_>, approved: &Approved) -> Result<Option<Approved>> {
        if approved.request().param_of("digest").is_none() {
            return Ok(None);
        }
        let Self { guest, config } = self;
        let current = pve.config(guest).await?;
        if !current.same_but(config, "parent") {
            return Err(Error::new(Kind::Conflict, format!("the configuration of {guest} was changed meanwhile"))
                .hint("the safety snapshot was taken, and nothing else was done: look again, then call again"));
        }
        Ok(current.digest.as_deref().map(|digest| approved.with_digest(digest)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_is_kept_seven_days_and_known_by_its_mark() {
        // Noon of 2027-01-15.
        let now = 1_800_014_400;
        let day = last_day(now);
        assert_eq!(day, "2027-01-23");
        let when = expires(&format!("{MARK}{day}\n"));
        assert!(when.is_some_and(|when| when - now >= DAYS * DAY && when - now < (DAYS + 1) * DAY), "{when:?}");
        assert_eq!((expires("before the upgrade"), expires(MARK), expires("")), (None, None, None));
    }
}
