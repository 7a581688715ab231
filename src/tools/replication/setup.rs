//! Setting replication up, for one guest or for all on a storage.

use std::collections::BTreeMap;

use futures::future::join_all;
use serde_json::json;

use super::{super::schedule, Job, jobs};
use crate::{
    pve::{Guest, GuestConfig, GuestKind, PropertyString, encode},
    tool::*,
};

/// Replicate a guest (ZFS only) to another node on a schedule; or every guest with volumes on source_storage.
#[derive(Deserialize, JsonSchema)]
pub struct SetupReplication {
    #[schemars(range(min = 100, max = 999_999_999))]
    vmid: Option<u32>,
    name: Option<String>,
    node: Option<String>,
    source_storage: Option<String>,
    target_node: String,
    /// The same as the source's.
    target_storage: Option<String>,
    /// Cron, or Proxmox's: */15, 02:30.
    #[serde(default = "quarter")]
    schedule: String,
    compression: Option<bool>,
}

fn quarter() -> String {
    "*/15 * * * *".to_owned()
}

impl Tool for SetupReplication {
    const NAME: &str = "proxmox-setup-replication";
    const TITLE: &str = "Set up replication";
    const API: &[&str] =
        &["GET /cluster/jobs/schedule-analyze", "GET /cluster/replication", "POST /cluster/replication"];
    const EXAMPLE: (&str, &str) = (
        "Replicate the mail server to pve2 every half hour",
        r#"{"name": "mail", "target_node": "pve2", "schedule": "*/30"}"#,
    );
}

/// A row of `GET /cluster/resources?type=storage`.
#[derive(Deserialize)]
struct Place {
    storage: String,
    node: String,
    plugintype: Option<String>,
    #[serde(default)]
    shared: bool,
}

impl Action for SetupReplication {
    const EFFECT: Effect = Effect::Write;
    const CONTROL: Control = Control::instant();
    async fn plan(&self, pve: &Reader<'_>) -> Result<Plan> {
        self.check_storages()?;
        let (schedule, _) = schedule::next(pve, "schedule", &self.schedule).await?;
        pve.known_node(&self.target_node).await?;
        let places: Vec<Place> = pve.request(&Request::get("/cluster/resources").param("type", "storage")).await?;
        let jobs = jobs(pve).await?;
        let target = self.target_node.as_str();
        let mut plan = if self.names_one() {
            let guest = GuestRef { vmid: self.vmid, name: self.name.clone(), node: self.node.clone() };
            let guest = pve.guest(&guest, Want::Any).await?;
            let config = pve.config(&guest).await?;
            let plan = Plan::on(&guest, "replicate");
            let plan = self.check_guest(plan, &guest, &config, &places, &jobs);
            let mut plan = plan
                .undo("proxmox-delete-replication", json!({"id": new_id(guest.vmid, &jobs)}))
                .step(self.request(&guest, &jobs, &schedule));
            plan.summary = format!("{} to {target}, {schedule}", plan.summary);
            plan
        } else {
            self.for_storage(pve, &places, &jobs, &schedule).await?
        };
        if self.compression.is_some() {
            plan.warnings.push("compression: nothing to set, Proxmox sends ZFS streams as they are".to_owned());
        }
        Ok(plan.about("target", target).about("schedule", schedule))
    }
}

impl SetupReplication {
    fn names_one(&self) -> bool {
        self.vmid.is_some() || self.name.is_some()
    }

    fn check_storages(&self) -> Result<()> {
        match (&self.source_storage, &self.target_storage) {
            (Some(source), Some(target)) if source != target => Err(Error::bad_argument(format!(
                "target_storage: expected '{source}' as the source, got '{target}'"
            ))
            .hint("Proxmox replicates to the storage of the same name on the other node; leave target_storage out")),
            (None, _) if !self.names_one() => {
                Err(Error::bad_argument("give vmid, name or source_storage: what shall be replicated?"))
            }
            _ => Ok(()),
        }
    }

    fn request(&self, guest: &Guest, jobs: &[Job], schedule: &str) -> Request {
        Request::post("/cluster/replication")
            .param("id", new_id(guest.vmid, jobs))
            .param("type", "local")
            .param("target", &self.target_node)
            .param("schedule", schedule)
    }

    /// Why Proxmox would refuse to replicate this guest, as its own checks go.
    fn check_guest(&self, plan: Plan, guest: &Guest, config: &GuestConfig, places: &[Place], jobs: &[Job]) -> Plan {
        let target = self.target_node.as_str();
        let mut volumes = volumes(guest, config);
        volumes.retain(|volid| !on(places, storage(volid)).is_some_and(|place| place.shared));
        let other = volumes.iter().find(|volid| {
            on(places, storage(volid)).is_some_and(|p| p.plugintype.as_deref().is_some_and(|kind| kind != "zfspool"))
        });
        let absent = volumes.iter().map(|volid| storage(volid)).find(|storage| {
            on(places, storage).is_some() && !places.iter().any(|p| p.storage == **storage && p.node == target)
        });
        let mentioned = |wanted: &String| volumes.iter().any(|volid| storage(volid) == wanted);
        let stray = [&self.source_storage, &self.target_storage].into_iter().flatten().find(|s| !mentioned(s));
        plan.check(
            guest.node != target,
            || format!("{target} is another node"),
            || format!("{guest} is on {target} already: Proxmox replicates only to another node"),
        )
        .check(
            !volumes.is_empty(),
            || format!("{guest} has local volumes"),
            || format!("{guest} has no volumes to replicate: what is on shared storage is on every node anyway"),
        )
        .check(
            other.is_none(),
            || "all its local volumes are on ZFS".to_owned(),
            || format!("only ZFS storages can replicate, and {} is on none", other.cloned().unwrap_or_default()),
        )
        .check(
            absent.is_none(),
            || format!("its storages are on {target} too"),
            || format!("storage {} is not there on {target}", absent.unwrap_or_default()),
        )
        .check(
            !jobs.iter().any(|job| job.guest == guest.vmid && job.target == target),
            || format!("it is not replicated to {target} yet"),
            || format!("{guest} is replicated to {target} already"),
        )
        .warn_if(stray.is_some(), || {
            format!(
                "{guest} has no volumes on {}; all its local volumes are replicated",
                stray.cloned().unwrap_or_default()
            )
        })
    }

    /// Every guest with volumes on the storage, but those for which Proxmox would refuse.
    async fn for_storage(&self, pve: &Reader<'_>, places: &[Place], jobs: &[Job], schedule: &str) -> Result<Plan> {
        let source = self.source_storage.as_deref().unwrap_or_default();
        let target = self.target_node.as_str();
        if on(places, source).is_none() {
            let mut names: Vec<&str> = places.iter().map(|place| place.storage.as_str()).collect();
            names.sort_unstable();
            names.dedup();
            return Err(Error::not_found(format!("source_storage: no storage '{source}' is visible"))
                .hint(format!("known: {}", names.join(", "))));
        }
        let all = pve.resources().await?;
        let guests: Vec<Guest> =
            all.iter().filter(|row| !row.template && *row.node != *target).map(Guest::from).collect();
        let owners = owners(pve, places, source, target).await?;
        let guests: Vec<&Guest> = guests
            .iter()
            .filter(|guest| owners.get(guest.node.as_str()).is_some_and(|o| o.contains(&guest.vmid)))
            .collect();
        let configs = join_all(guests.iter().map(|guest| pve.config(guest))).await;
        let mut plan = Plan::new(String::new());
        let mut names = Vec::new();
        for (guest, config) in guests.iter().zip(configs) {
            let alone = self.check_guest(Plan::new(""), guest, &config?, places, jobs);
            if alone.problems.is_empty() {
                names.push(guest.vmid);
                plan = plan.step(self.request(guest, jobs, schedule));
            } else {
                plan.warnings.push(format!("left out: {}", alone.problems.join("; ")));
            }
        }
        if names.is_empty() {
            let error = Error::not_found(format!("no guest on {source} can be newly replicated to {target}"));
            return Err(if plan.warnings.is_empty() { error } else { error.hint(plan.warnings.join("; ")) });
        }
        let listed = names.iter().map(u32::to_string).collect::<Vec<_>>().join(", ");
        plan.summary = format!("replicate guests {listed} to {target}, {schedule}");
        plan.undo = Some(match names.as_slice() {
            [vmid] => Undo::call("proxmox-delete-replication", json!({"id": new_id(*vmid, jobs)})),
            _ => Undo::never("each guest has a job of its own: proxmox-delete-replication takes them away one by one"),
        });
        Ok(plan.about("vmids", names))
    }
}

/// The first that is free.
fn new_id(vmid: u32, jobs: &[Job]) -> String {
    let id = |n: u32| format!("{vmid}-{n}");
    (0..).map(id).find(|id| !jobs.iter().any(|job| job.id == *id)).unwrap_or_default()
}

/// Node → the guests that have volumes on the storage there. A node that does not answer has none.
async fn owners<'a>(
    pve: &Reader<'_>,
    places: &'a [Place],
    storage: &str,
    target: &str,
) -> Result<BTreeMap<&'a str, Vec<u32>>> {
    #[derive(Deserialize)]
    struct Row {
        vmid: Option<u32>,
    }
    let nodes: Vec<&str> =
        places.iter().filter(|p| p.storage == storage && p.node != target).map(|p| p.node.as_str()).collect();
    let listings = join_all(nodes.iter().map(|node| {
        let path = format!("/nodes/{}/storage/{}/content", encode(node), encode(storage));
        async move { pve.get::<Vec<Row>>(path).await }
    }));
    let mut owners = BTreeMap::new();
    for (node, rows) in nodes.iter().zip(listings.await) {
        match rows {
            Ok(rows) => drop(owners.insert(*node, rows.into_iter().filter_map(|row| row.vmid).collect())),
            Err(e) if e.is_unavailable() => {}
            Err(e) => return Err(e),
        }
    }
    Ok(owners)
}

fn on<'a>(places: &'a [Place], storage: &str) -> Option<&'a Place> {
    places.iter().find(|place| place.storage == storage)
}

fn storage(volid: &str) -> &str {
    volid.split_once(':').map_or("", |(storage, _)| storage)
}

/// What would be replicated: the guest's own volumes that are not exempt.
fn volumes(guest: &Guest, config: &GuestConfig) -> Vec<String> {
    const BUSES: [&str; 7] = ["scsi", "virtio", "sata", "ide", "efidisk", "tpmstate", "unused"];
    const MOUNTS: [&str; 3] = ["rootfs", "mp", "unused"];
    let stems: &[&str] = match guest.kind {
        GuestKind::Qemu => &BUSES,
        GuestKind::Lxc => &MOUNTS,
    };
    let is_drive = |key: &str| {
        stems.iter().any(|stem| {
            key.strip_prefix(stem)
                .is_some_and(|rest| rest.bytes().all(|b| b.is_ascii_digit()) && (!rest.is_empty() || key == "rootfs"))
        })
    };
    let mut found = Vec::new();
    for (_, value) in config.iter().filter(|(key, _)| is_drive(key)) {
        let drive = PropertyString::parse(&value);
        let exempt = drive.get("replicate") == Some("0") || drive.get("media") == Some("cdrom");
        let volid = drive.first().or(drive.get("file")).or(drive.get("volume")).unwrap_or_default();
        if !exempt && volid.contains(':') && !volid.starts_with('/') {
            found.push(volid.to_owned());
        }
    }
    found
}
