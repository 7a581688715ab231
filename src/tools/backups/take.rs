//! Making a backup.

use serde_json::{Value, json};

use super::{
    super::{list::gib, time::iso},
    store::contents,
};
use crate::{pve::encode, tool::*};

// How a running guest is treated meanwhile.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    #[default]
    Snapshot,
    Suspend,
    Stop,
}

impl Mode {
    /// As Proxmox calls it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Snapshot => "snapshot",
            Self::Suspend => "suspend",
            Self::Stop => "stop",
        }
    }
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Compress {
    #[default]
    Zstd,
    Gzip,
    Lzo,
    None,
    #[serde(rename = "0")]
    Zero,
    #[serde(rename = "1")]
    One,
}

impl Compress {
    /// As Proxmox calls it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Zstd => "zstd",
            Self::Gzip => "gzip",
            Self::Lzo => "lzo",
            Self::One => "1",
            Self::None | Self::Zero => "0",
        }
    }
}

/// Back up a VM or container now.
#[derive(Deserialize, JsonSchema)]
pub struct BackupVm {
    #[serde(flatten)]
    guest: GuestRef,
    /// stop shuts it down meanwhile.
    #[serde(default)]
    mode: Mode,
    #[serde(default)]
    compress: Compress,
    storage: Option<String>,
    notes: Option<String>,
    #[serde(default)]
    protected: bool,
    /// Then delete old ones.
    #[serde(default)]
    prune: bool,
}

impl Tool for BackupVm {
    const NAME: &str = "proxmox-backup-vm";
    const TITLE: &str = "Back up a guest";
    const API: &[&str] = &["POST /nodes/{node}/vzdump"];
    const EXAMPLE: (&str, &str) =
        ("Back web-02 up to the NAS", r#"{"name": "web-02", "storage": "nas", "confirm": true}"#);
}

impl Action for BackupVm {
    const EFFECT: Effect = Effect::Write;
    const CONTROL: Control = Control { poll_interval: 5.0, ..Control::new(3600).confirmed().waiting() }.polled();
    const LOOKS_AFTER: bool = true;
    async fn plan(&self, pve: &Reader<'_>) -> Result<Plan> {
        let guest = pve.guest(&self.guest, Want::Any).await?;
        let storage = pve.storage(self.storage.as_deref(), &guest.node, "backup").await?;
        // Proxmox takes notes as a template, in which `{{` and `\` mean something.
        let notes = match &self.notes {
            Some(notes) => escaped(notes),
            None => "{{guestname}}".to_owned(),
        };
        let request = Request::post(format!("/nodes/{}/vzdump", encode(&guest.node)))
            .param("vmid", guest.vmid)
            .param("storage", &storage)
            .param("mode", self.mode.word())
            .param("compress", self.compress.word())
            .param("notes-template", notes)
            .flag("protected", self.protected)
            // Left out, the storage's retention would be applied to the guest's older backups.
            .param("remove", u8::from(self.prune));
        Ok(Plan::on(&guest, "back up")
            .about("storage", storage.as_str())
            .no_undo("the backup's name is known once it is made; proxmox-backup-delete takes it away")
            .step(request)
            .warn_if(self.mode == Mode::Stop && guest.is_running(), || {
                format!("mode stop: {guest} is shut down for the backup and started again")
            })
            .warn_if(self.prune, || {
                format!("its oldest backups on {storage} are deleted, beyond what that storage is set to keep")
            }))
    }

    /// The volume that was made: nobody else backs a locked guest up, so it is the newest.
    async fn result(&self, pve: &Reader<'_>, plan: &Plan, _: Done<'_>) -> Result<Option<Value>> {
        let text = |key: &str| plan.about.get(key).and_then(Value::as_str).unwrap_or_default();
        let vmid = plan.about.get("vmid").and_then(Value::as_u64).and_then(|vmid| u32::try_from(vmid).ok());
        // Who may make backups may not always list them: that is no failure.
        let rows = contents(pve, text("node"), text("storage"), vmid).await.unwrap_or_default();
        let newest = rows.into_iter().filter(|row| row.vmid == vmid).max_by_key(|row| row.ctime);
        Ok(newest.map(|row| {
            let mut made = json!({"volid": row.volid});
            if let (Some(time), Some(size)) = (row.ctime, row.size) {
                made["time"] = iso(time).into();
                made["size_gib"] = gib(size).into();
            }
            made
        }))
    }

    fn undo(&self, plan: &Plan, _: Done<'_>, result: Option<&Value>) -> Option<Undo> {
        if self.protected {
            let why =
                "the backup is protected: proxmox-backup-update takes that off, then proxmox-backup-delete deletes it";
            return Some(Undo::never(why));
        }
        let volid = result?.get("volid")?;
        let undo = Undo::call("proxmox-backup-delete", json!({"volid": volid, "node": plan.about.get("node")?}));
        Some(if self.prune { undo.note("not the old backups that were deleted then") } else { undo })
    }
}

/// Text that stands for itself in a notes template; line breaks as Proxmox wants them.
pub fn escaped(notes: &str) -> String {
    notes.replace('\\', r"\\").replace('\n', r"\n")
}
