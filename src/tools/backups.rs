//! Backups: what there is, notes and protection, deletion. Making, restoring and pruning them have files of their own.

mod prune;
mod restore;
pub(super) mod store;
mod take;

pub use prune::keep_rules;
use store::{Backup, search};
pub use take::Mode;

use serde_json::{Map, Value};

use super::{
    list::{Page, gib},
    time::iso,
};
use crate::{pve::encode, tool::*};

pub const TOOLS: &[Entry] = &[
    Entry::action::<take::BackupVm>(),
    Entry::action::<restore::RestoreVm>(),
    Entry::list::<ListBackups>(),
    Entry::action::<BackupUpdate>(),
    Entry::action::<BackupDelete>(),
    Entry::action::<prune::PruneBackups>(),
];

/// List backups, newest first: of one guest (also a deleted one), one storage, or all.
#[derive(Deserialize, JsonSchema)]
struct ListBackups {
    #[schemars(range(min = 100, max = 999_999_999))]
    vmid: Option<u32>,
    #[schemars(length(min = 1))]
    name: Option<String>,
    storage: Option<String>,
    /// One that can reach them.
    node: Option<String>,
    #[serde(flatten)]
    page: Page,
}

impl Tool for ListBackups {
    const NAME: &str = "proxmox-list-backups";
    const TITLE: &str = "List backups";
    const API: &[&str] = &["GET /cluster/resources", "GET /nodes/{node}/storage/{storage}/content"];
    const EXAMPLE: (&str, &str) = ("When was web-01 backed up last?", r#"{"name": "web-01"}"#);
}

#[derive(Serialize, JsonSchema)]
struct Backups {
    total: usize,
    backups: Vec<Shown>,
    /// Storages that could not be read, and why.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    unreadable: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_cursor: Option<String>,
}

#[derive(Serialize, JsonSchema)]
struct Shown {
    volid: String,
    /// Where a local storage is.
    #[serde(skip_serializing_if = "Option::is_none")]
    node: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    vmid: Option<u32>,
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    kind: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    time: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    size_gib: Option<f64>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    protected: bool,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    encrypted: bool,
    /// State of Proxmox Backup Server's last verification.
    #[serde(skip_serializing_if = "Option::is_none")]
    verification: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    notes: Option<String>,
}

impl From<Backup> for Shown {
    fn from(backup: Backup) -> Self {
        let kind = backup.kind().map(crate::pve::GuestKind::path);
        let Backup { row, shared, nodes, .. } = backup;
        Self {
            kind,
            node: nodes.into_iter().next().filter(|_| !shared),
            volid: row.volid,
            vmid: row.vmid,
            time: row.ctime.map(iso),
            size_gib: row.size.map(gib),
            protected: row.protected,
            encrypted: row.encrypted.is_some(),
            verification: row.verification.map(|v| v.state),
            notes: row.notes.filter(|notes| !notes.is_empty()),
        }
    }
}

impl Query for ListBackups {
    type Output = Backups;
    async fn query(&self, pve: &Reader<'_>) -> Result<Backups> {
        let of = store::Of::new(pve, self.vmid, self.name.as_deref()).await?;
        let store::Found { mut backups, unreadable } = search(pve, self.storage.as_deref(), &of).await?;
        if let Some(node) = &self.node {
            backups.retain(|backup| backup.nodes.contains(node));
        }
        let total = backups.len();
        let (backups, next_cursor) = self.page.of(backups, Backup::newest_first)?;
        Ok(Backups { total, backups: backups.into_iter().map(Shown::from).collect(), unreadable, next_cursor })
    }
}

/// Where a volume is in the API.
fn path(backup: &Backup) -> Result<String> {
    let Some(node) = backup.nodes.first() else {
        return Err(Error::not_found(format!("volid: no node is there to reach {}", backup.row.volid)));
    };
    let (storage, volid) = (encode(&backup.storage), encode(&backup.row.volid));
    Ok(format!("/nodes/{}/storage/{storage}/content/{volid}", encode(node)))
}

/// What a plan says of a backup.
fn plan(verb: &str, backup: &Backup) -> Plan {
    let time = backup.row.ctime.map(|time| format!(" (of {})", iso(time))).unwrap_or_default();
    let plan = Plan::new(format!("{verb} backup {}{time}", backup.row.volid)).about("volid", backup.row.volid.as_str());
    match backup.row.vmid {
        Some(vmid) => plan.about("vmid", vmid),
        None => plan,
    }
}

/// Change a backup's notes, or protect it: a protected one can be neither deleted nor pruned.
#[derive(Deserialize, JsonSchema)]
struct BackupUpdate {
    volid: String,
    node: Option<String>,
    notes: Option<String>,
    protected: Option<bool>,
}

impl Tool for BackupUpdate {
    const NAME: &str = "proxmox-backup-update";
    const TITLE: &str = "Change a backup's notes or protection";
    const API: &[&str] = &["PUT /nodes/{node}/storage/{storage}/content/{volume}"];
    const EXAMPLE: (&str, &str) = (
        "Protect this backup and note that it is from before the move",
        r#"{"volid": "nas:backup/vzdump-qemu-100-2027_01_14-08_00_00.vma.zst", "protected": true, "notes": "before the move"}"#,
    );
}

impl Action for BackupUpdate {
    const EFFECT: Effect = Effect::Write;
    const CONTROL: Control = Control::instant();
    async fn plan(&self, pve: &Reader<'_>) -> Result<Plan> {
        if self.notes.is_none() && self.protected.is_none() {
            return Err(Error::bad_argument("give notes or protected: what shall change?"));
        }
        let backup = store::find(pve, &self.volid, self.node.as_deref()).await?;
        // What is not sent stays as it is.
        let request = Request::put(path(&backup)?)
            .maybe("notes", self.notes.as_deref())
            .maybe("protected", self.protected.map(u8::from));
        let mut plan = plan("change", &backup).step(request);
        let row = &backup.row;
        if let Some(notes) = &self.notes
            && row.notes.as_ref() != Some(notes)
        {
            plan = plan.change("notes", row.notes.as_deref(), Some(notes.as_str()).filter(|notes| !notes.is_empty()));
        }
        if let Some(protected) = self.protected
            && protected != row.protected
        {
            plan = plan.change("protected", Some(row.protected.to_string()), Some(protected.to_string()));
        }
        Ok(self.undo_on(plan, &backup))
    }
}

impl BackupUpdate {
    /// What changes is set to what it was.
    fn undo_on(&self, plan: Plan, backup: &Backup) -> Plan {
        let row = &backup.row;
        let mut old = Map::new();
        for change in &plan.changes {
            let was = match change.key.as_str() {
                "notes" => Value::from(row.notes.as_deref().unwrap_or_default()),
                _ => row.protected.into(),
            };
            old.insert(change.key.clone(), was);
        }
        if old.is_empty() {
            return plan.no_undo("nothing changes");
        }
        old.insert("volid".to_owned(), row.volid.as_str().into());
        if let Some(node) = backup.nodes.first().filter(|_| !backup.shared) {
            old.insert("node".to_owned(), node.as_str().into());
        }
        plan.undo(Self::NAME, old.into())
    }
}

/// Delete a backup. Cannot be undone.
#[derive(Deserialize, JsonSchema)]
struct BackupDelete {
    volid: String,
    node: Option<String>,
}

impl Tool for BackupDelete {
    const NAME: &str = "proxmox-backup-delete";
    const TITLE: &str = "Delete a backup";
    const API: &[&str] = &["DELETE /nodes/{node}/storage/{storage}/content/{volume}"];
    const EXAMPLE: (&str, &str) = (
        "Delete the older of the two backups of web-01",
        r#"{"volid": "nas:backup/vzdump-qemu-100-2027_01_07-08_00_00.vma.zst", "confirm": true}"#,
    );
}

impl Action for BackupDelete {
    const EFFECT: Effect = Effect::Destroy;
    const CONTROL: Control = Control::new(600).confirmed().waiting();
    async fn plan(&self, pve: &Reader<'_>) -> Result<Plan> {
        let backup = store::find(pve, &self.volid, self.node.as_deref()).await?;
        let request = Request::delete(path(&backup)?);
        Ok(plan("delete", &backup).no_undo("a deleted backup cannot be brought back").step(request).check(
            !backup.row.protected,
            || "it is not protected".to_owned(),
            || format!("{} is protected: take that off first, with proxmox-backup-update", backup.row.volid),
        ))
    }
}
