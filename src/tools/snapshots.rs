//! Snapshots of VMs and containers.

mod expired;
mod policy;

use serde_json::json;

use super::time::iso;
use crate::{
    pve::{Guest, GuestKind, encode},
    tool::*,
};

pub const TOOLS: &[Entry] = &[
    Entry::query::<ListSnapshots>(),
    Entry::action::<CreateSnapshot>(),
    Entry::action::<DeleteSnapshot>(),
    Entry::action::<RollbackSnapshot>(),
    Entry::action::<policy::SnapshotPolicy>(),
    Entry::action::<expired::DeleteExpired>(),
];

/// A row of `GET …/snapshot`; the last one, `current`, is the state that the guest is in.
#[derive(Deserialize)]
pub(super) struct Row {
    pub name: String,
    pub snaptime: Option<u64>,
    pub description: Option<String>,
    parent: Option<String>,
    #[serde(default)]
    vmstate: bool,
}

/// The guest's snapshots, oldest first, and the one that its present state builds on.
pub(super) async fn rows(pve: &Reader<'_>, guest: &Guest) -> Result<(Vec<Row>, Option<String>)> {
    let mut rows: Vec<Row> = pve.get(guest.path("snapshot")).await?;
    let current = rows.iter().position(|row| row.name == CURRENT).map(|at| rows.remove(at));
    rows.sort_by(|a, b| (a.snaptime, &a.name).cmp(&(b.snaptime, &b.name)));
    Ok((rows, current.and_then(|row| row.parent)))
}

const CURRENT: &str = "current";

/// The one of this name.
fn known<'a>(rows: &'a [Row], guest: &Guest, name: &str) -> Result<&'a Row> {
    rows.iter().find(|row| row.name == name).ok_or_else(|| {
        let names: Vec<&str> = rows.iter().map(|row| row.name.as_str()).collect();
        let error = match name {
            "" => Error::bad_argument("snapname: missing; expected the name of a snapshot"),
            name => Error::not_found(format!("snapname: {guest} has no snapshot '{name}'")),
        };
        error.hint(match names.as_slice() {
            [] => "it has none".to_owned(),
            names => format!("it has {}", names.join(", ")),
        })
    })
}

fn path(guest: &Guest, name: &str) -> String {
    guest.path(format!("snapshot/{}", encode(name)))
}

/// Proxmox's rules for a new name.
fn check_name(guest: &Guest, name: &str) -> Result<()> {
    let mut letters = name.chars();
    let formed = letters.next().is_some_and(|c| c.is_ascii_alphabetic())
        && letters.all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_'));
    if !formed || !(2..=40).contains(&name.len()) {
        return Err(Error::bad_argument(format!(
            "snapname: expected 2 to 40 letters, digits, '-' and '_', beginning with a letter, got '{name}'"
        )));
    }
    let reserved = match guest.kind {
        GuestKind::Qemu => ["current", "pending"],
        GuestKind::Lxc => ["current", "vzdump"],
    };
    if reserved.contains(&name) {
        return Err(Error::bad_argument(format!("snapname: '{name}' is reserved by Proxmox")).hint("choose another"));
    }
    Ok(())
}

/// List a guest's snapshots, and which one it is at.
#[derive(Deserialize, JsonSchema)]
struct ListSnapshots {
    #[serde(flatten)]
    guest: GuestRef,
}

impl Tool for ListSnapshots {
    const NAME: &str = "proxmox-list-snapshots";
    const TITLE: &str = "List snapshots";
    const API: &[&str] = &["GET /nodes/{node}/{type}/{vmid}/snapshot"];
    const EXAMPLE: (&str, &str) = ("Which snapshots does web-01 have?", r#"{"name": "web-01"}"#);
}

#[derive(Serialize, JsonSchema)]
struct Snapshots {
    vmid: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    node: String,
    total: usize,
    /// Oldest first.
    snapshots: Vec<Snapshot>,
    /// The snapshot that the present state builds on.
    #[serde(skip_serializing_if = "Option::is_none")]
    current_parent: Option<String>,
}

#[derive(Serialize, JsonSchema)]
struct Snapshot {
    name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    time: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    parent: Option<String>,
    /// RAM was saved too.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    vmstate: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<String>,
}

impl Query for ListSnapshots {
    type Output = Snapshots;
    async fn query(&self, pve: &Reader<'_>) -> Result<Snapshots> {
        let guest = pve.guest(&self.guest, Want::Any).await?;
        let (rows, current_parent) = rows(pve, &guest).await?;
        let snapshot = |row: Row| Snapshot {
            name: row.name,
            time: row.snaptime.map(iso),
            parent: row.parent,
            vmstate: row.vmstate,
            description: row.description.map(|text| text.trim().to_owned()).filter(|text| !text.is_empty()),
        };
        let Guest { vmid, name, node, .. } = guest;
        let snapshots: Vec<Snapshot> = rows.into_iter().map(snapshot).collect();
        Ok(Snapshots { vmid, name, node, total: snapshots.len(), snapshots, current_parent })
    }
}

/// Take a snapshot of a VM or container.
#[derive(Deserialize, JsonSchema)]
struct CreateSnapshot {
    #[serde(flatten)]
    guest: GuestRef,
    #[serde(default)]
    snapname: String,
    description: Option<String>,
    /// Also save a running VM's RAM.
    #[serde(default)]
    vmstate: bool,
}

impl Tool for CreateSnapshot {
    const NAME: &str = "proxmox-create-snapshot";
    const TITLE: &str = "Take a snapshot";
    const API: &[&str] = &["POST /nodes/{node}/{type}/{vmid}/snapshot"];
    const EXAMPLE: (&str, &str) = (
        "Take a snapshot of postgres-01 before I upgrade it",
        r#"{"name": "postgres-01", "snapname": "before-upgrade", "confirm": true}"#,
    );
}

impl Action for CreateSnapshot {
    const EFFECT: Effect = Effect::Write;
    const CONTROL: Control = Control::new(900).confirmed().waiting();
    async fn plan(&self, pve: &Reader<'_>) -> Result<Plan> {
        let guest = pve.guest(&self.guest, Want::Any).await?;
        let name = self.snapname.as_str();
        check_name(&guest, name)?;
        if self.vmstate && guest.kind == GuestKind::Lxc {
            return Err(Error::bad_argument("vmstate: only VMs have RAM to save, and this is a container")
                .hint("leave vmstate out"));
        }
        // Proxmox finds a name that is taken only in the task, which a caller may not wait for.
        let (rows, _) = rows(pve, &guest).await?;
        let request = Request::post(guest.path("snapshot"))
            .param("snapname", name)
            .maybe("description", self.description.as_deref())
            .flag("vmstate", self.vmstate);
        Ok(Plan::on(&guest, &format!("take snapshot {name} of"))
            .about("snapname", name)
            .step(request)
            .undo("proxmox-delete-snapshot", json!({"vmid": guest.vmid, "snapname": name}))
            .check(
                rows.iter().all(|row| row.name != name),
                || format!("the name {name} is free"),
                || format!("{guest} has a snapshot {name} already"),
            )
            .check(
                !guest.template,
                || format!("{guest} is no template"),
                || format!("{guest} is a template: Proxmox takes no snapshots of templates"),
            )
            .warn_if(self.vmstate && !guest.is_running(), || format!("{guest} is not running: no RAM will be saved")))
    }
}

/// Delete a snapshot. The guest itself stays as it is.
#[derive(Deserialize, JsonSchema)]
struct DeleteSnapshot {
    #[serde(flatten)]
    guest: GuestRef,
    #[serde(default)]
    snapname: String,
}

impl Tool for DeleteSnapshot {
    const NAME: &str = "proxmox-delete-snapshot";
    const TITLE: &str = "Delete a snapshot";
    const API: &[&str] = &["DELETE /nodes/{node}/{type}/{vmid}/snapshot/{snapname}"];
    const EXAMPLE: (&str, &str) = (
        "Delete the snapshot before-upgrade of web-01",
        r#"{"name": "web-01", "snapname": "before-upgrade", "confirm": true}"#,
    );
}

impl Action for DeleteSnapshot {
    const EFFECT: Effect = Effect::Destroy;
    const CONTROL: Control = Control::new(900).confirmed().waiting();
    async fn plan(&self, pve: &Reader<'_>) -> Result<Plan> {
        let guest = pve.guest(&self.guest, Want::Any).await?;
        let (rows, _) = rows(pve, &guest).await?;
        let row = known(&rows, &guest, &self.snapname)?;
        Ok(Plan::on(&guest, &format!("delete snapshot {}{} of", row.name, taken(row)))
            .about("snapname", row.name.as_str())
            .no_undo("a deleted snapshot is gone")
            .step(Request::delete(path(&guest, &row.name))))
    }
}

/// When a snapshot was taken, for sentences.
fn taken(row: &Row) -> String {
    row.snaptime.map(|time| format!(" (taken {})", iso(time))).unwrap_or_default()
}

/// Put a VM or container back to a snapshot: disks and configuration. What changed since is lost.
#[derive(Deserialize, JsonSchema)]
struct RollbackSnapshot {
    #[serde(flatten)]
    guest: GuestRef,
    #[serde(default)]
    snapname: String,
    /// Start it afterwards.
    #[serde(default)]
    start: bool,
}

impl Tool for RollbackSnapshot {
    const NAME: &str = "proxmox-rollback-snapshot";
    const TITLE: &str = "Roll back to a snapshot";
    const API: &[&str] = &["POST /nodes/{node}/{type}/{vmid}/snapshot/{snapname}/rollback"];
    const EXAMPLE: (&str, &str) = (
        "The upgrade broke web-01: go back to before it and start it",
        r#"{"name": "web-01", "snapname": "before-upgrade", "start": true, "confirm": true}"#,
    );
}

impl Action for RollbackSnapshot {
    const EFFECT: Effect = Effect::Destroy;
    const CONTROL: Control = Control::new(900).confirmed().waiting().polled().snapshot_first(Before::Rollback);
    async fn plan(&self, pve: &Reader<'_>) -> Result<Plan> {
        let guest = pve.guest(&self.guest, Want::Any).await?;
        let (rows, _) = rows(pve, &guest).await?;
        let row = known(&rows, &guest, &self.snapname)?;
        let later: Vec<&str> =
            rows.iter().filter(|other| other.snaptime > row.snaptime).map(|other| other.name.as_str()).collect();
        let off = guest.is_running() && !row.vmstate && !self.start;
        Ok(Plan::on(&guest, &format!("roll back to snapshot {}{}:", row.name, taken(row)))
            .about("snapname", row.name.as_str())
            .no_undo("what changed since the snapshot is lost, but for what another snapshot or a backup holds")
            .step(Request::post(format!("{}/rollback", path(&guest, &row.name))).flag("start", self.start))
            .warn_if(true, || "what changed on its disks and in its configuration since then is lost".to_owned())
            .warn_if(guest.is_running(), || format!("{guest} is running: it is powered off for this"))
            .warn_if(off, || "it stays off afterwards: the snapshot holds no RAM, and start is not set".to_owned())
            .warn_if(!later.is_empty(), || {
                format!("later snapshots: {}; on ZFS they would have to be deleted first", later.join(", "))
            }))
    }
}
