//! Restoring a guest from a backup.

use serde_json::json;

use super::{
    super::time::{self, iso},
    store::{self, Backup, Found, Of},
};
use crate::{
    pve::{Guest, GuestKind, encode},
    tool::*,
};

/// Restore a VM or container, as a new guest by default, from archive (volid or file name) or the latest backup of
/// source_vmid.
#[derive(Deserialize, JsonSchema)]
pub struct RestoreVm {
    node: Option<String>,
    /// 0: the next free one.
    #[serde(default)]
    #[schemars(range(min = 0, max = 999_999_999))]
    vmid: u32,
    #[serde(default)]
    archive: String,
    storage: Option<String>,
    #[serde(default)]
    force: bool,
    #[schemars(range(min = 100, max = 999_999_999))]
    source_vmid: Option<u32>,
    source_name: Option<String>,
    /// UTC time.
    before: Option<String>,
    /// Its new name.
    name: Option<String>,
    /// New MAC addresses; default for another VMID.
    unique: Option<bool>,
    #[serde(default)]
    start: bool,
}

impl Tool for RestoreVm {
    const NAME: &str = "proxmox-restore-vm";
    const TITLE: &str = "Restore a backup";
    const API: &[&str] = &["POST /nodes/{node}/{type}"];
    const EXAMPLE: (&str, &str) = (
        "Restore the latest backup of web-01 next to it, as web-01-restored",
        r#"{"source_name": "web-01", "name": "web-01-restored", "confirm": true}"#,
    );
}

impl Action for RestoreVm {
    const EFFECT: Effect = Effect::Destroy;
    const CONTROL: Control = Control { poll_interval: 5.0, ..Control::new(3600).confirmed().waiting() }
        .polled()
        .snapshot_first(Before::Restore);
    async fn plan(&self, pve: &Reader<'_>) -> Result<Plan> {
        if (1..100).contains(&self.vmid) {
            return Err(Error::bad_argument(format!("vmid: expected 0, or a number from 100, got {}", self.vmid)));
        }
        let backup = self.backup(pve).await?;
        let volid = backup.row.volid.as_str();
        let Some(kind) = backup.kind() else {
            return Err(Error::bad_argument(format!("archive: {volid} is the backup of no VM or container")));
        };
        let guests = pve.resources().await?;
        let there = guests.vmid(self.vmid).map(Guest::from);
        let node = self.node(pve, &backup, there.as_ref(), &guests)?;
        let chosen = self.vmid == 0;
        let vmid = if chosen { pve.next_vmid().await? } else { self.vmid };
        // Back to where it was, it is the same machine; beside it, another one.
        let unique = self.unique.unwrap_or(there.is_none() && backup.row.vmid != Some(vmid));
        let request = Request::post(format!("/nodes/{}/{}", encode(&node), kind.path())).param("vmid", vmid);
        let request = match kind {
            GuestKind::Qemu => request.param("archive", volid).maybe("name", self.name.as_deref()),
            GuestKind::Lxc => {
                request.param("ostemplate", volid).param("restore", 1).maybe("hostname", self.name.as_deref())
            }
        };
        let request = request
            .maybe("storage", self.storage.as_deref())
            .flag("unique", unique)
            .flag("force", self.force && there.is_some())
            .flag("start", self.start);
        let named = self.name.as_ref().map(|name| format!(" ({name})")).unwrap_or_default();
        let time = backup.row.ctime.map(|time| format!(" of {}", iso(time))).unwrap_or_default();
        let summary = match &there {
            Some(guest) => format!("overwrite {guest} with backup {volid}{time}"),
            None => format!("restore backup {volid}{time} as {kind} {vmid}{named} on {node}"),
        };
        let plan = Plan::new(summary)
            .about("vmid", vmid)
            .about("node", node)
            .about("archive", volid)
            .step(request)
            .warn_if(unique, || "it gets new MAC addresses".to_owned())
            .warn_if(!unique && there.is_none() && guests.vmid(backup.row.vmid.unwrap_or_default()).is_some(), || {
                "it keeps the MAC addresses, which the guest it is a backup of has too".to_owned()
            });
        let mut plan = match (&there, kind) {
            (Some(guest), _) => {
                self.overwrite(pve, plan, guest, kind).await?.no_undo("what the guest had is overwritten")
            }
            (None, kind) => {
                let tool = if kind == GuestKind::Qemu { "proxmox-delete-vm" } else { "proxmox-delete-lxc" };
                let gone = json!({"vmid": vmid});
                plan.undo(tool, if self.start { json!({"vmid": vmid, "force": true}) } else { gone })
            }
        };
        if let Some(name) = &self.name {
            plan = plan.about("name", name.as_str());
        }
        plan.chosen_vmid = chosen.then_some(vmid);
        Ok(plan)
    }
}

impl RestoreVm {
    /// The backup that is meant.
    async fn backup(&self, pve: &Reader<'_>) -> Result<Backup> {
        let archive = self.archive.trim();
        if !matches!(archive, "" | "latest") {
            let source = self.source_vmid.is_some() || self.source_name.is_some() || self.before.is_some();
            if source {
                return Err(Error::bad_argument(
                    "archive: give either an archive, or source_vmid, source_name, before",
                ));
            }
            return store::find(pve, archive, self.node.as_deref()).await;
        }
        let source = self.source_vmid.or((self.vmid > 0 && self.source_name.is_none()).then_some(self.vmid));
        if source.is_none() && self.source_name.is_none() {
            return Err(Error::bad_argument(
                "archive: missing; expected a volid or a file name, or source_vmid or source_name",
            )
            .hint("proxmox-list-backups shows what there is"));
        }
        let before = self.before.as_deref().map(|text| time::parse("before", text)).transpose()?;
        let of = Of::new(pve, source, self.source_name.as_deref()).await?;
        let Found { backups, unreadable } = store::search(pve, None, &of).await?;
        let early = |backup: &Backup| before.is_none_or(|before| backup.row.ctime.is_some_and(|time| time < before));
        let here = |b: &Backup| self.node.as_ref().is_none_or(|node| b.nodes.contains(node));
        backups.into_iter().find(|backup| early(backup) && here(backup)).ok_or_else(|| {
            let whose = match (of.vmid, &self.source_name) {
                (Some(vmid), _) => format!("guest {vmid}"),
                (None, name) => format!("'{}'", name.as_deref().unwrap_or_default()),
            };
            let when = self.before.as_ref().map(|time| format!(" from before {time}")).unwrap_or_default();
            let error = Error::not_found(format!("no backup of {whose}{when} is visible"));
            if unreadable.is_empty() {
                error
            } else {
                error.hint(format!("could not be read: {}", unreadable.join("; ")))
            }
        })
    }

    /// Where it is restored: as given, where the guest is that it overwrites or was made of, or where the backup is.
    fn node(
        &self,
        pve: &Reader<'_>,
        backup: &Backup,
        there: Option<&Guest>,
        guests: &crate::pve::Resources,
    ) -> Result<String> {
        if let (Some(node), Some(guest)) = (&self.node, there)
            && *node != guest.node
        {
            return Err(Error::bad_argument(format!("node: {guest} is there already, and not on {node}"))
                .hint("leave node out, or choose another vmid"));
        }
        let readable = |node: &str| backup.nodes.iter().any(|n| n == node);
        if let Some(guest) = there {
            if readable(&guest.node) {
                return Ok(guest.node.clone());
            }
            return Err(Error::bad_argument(format!(
                "archive: {} cannot be reached from {}",
                backup.row.volid, guest.node
            ))
            .hint(format!("it is on {}: restore it there, as a new guest", backup.nodes.join(", "))));
        }
        let source = backup.row.vmid.and_then(|vmid| guests.vmid(vmid)).map(|row| row.node.as_ref());
        let candidates = [self.node.as_deref(), pve.default_node(), source, backup.nodes.first().map(String::as_str)];
        candidates
            .into_iter()
            .flatten()
            .find(|node| readable(node))
            .map(str::to_owned)
            .ok_or_else(|| Error::not_found(format!("no node is there that can read {}", backup.row.volid)))
    }

    /// What has to hold for a guest to be overwritten.
    async fn overwrite(&self, pve: &Reader<'_>, plan: Plan, guest: &Guest, kind: GuestKind) -> Result<Plan> {
        /// `GET …/status/current`: the cluster's list of guests is up to ten seconds late.
        #[derive(Deserialize)]
        struct Current {
            status: String,
        }
        let protected = pve.config(guest).await?.flag("protection");
        let current: Current = pve.request(&guest.current()).await?;
        Ok(plan
            .check(
                self.force,
                || format!("force: {guest} may be overwritten"),
                || format!("{guest} is there already: set force to overwrite it, or vmid 0 for a new guest"),
            )
            .check(
                guest.kind == kind,
                || format!("both are a {kind}"),
                || format!("{guest} cannot be overwritten with the backup of a {kind}"),
            )
            .check(
                current.status == "stopped",
                || format!("{guest} is stopped"),
                || format!("{guest} is {}: Proxmox overwrites only what is stopped", current.status),
            )
            .check(
                !protected,
                || format!("{guest} is not protected"),
                || format!("{guest} is protected: switch its protection off first"),
            )
            .warn_if(true, || format!("everything that {guest} has now is lost: its disks, its configuration")))
    }
}
