//! Disks of VMs and volumes of containers: what all of their tools need.

mod add;
pub(super) mod import;
mod relocate;
mod remove;
mod resize;

use serde_json::{Value, json};

use crate::{
    pve::{GuestConfig, GuestKind, PropertyString, encode, size},
    tool::*,
};

pub const TOOLS: &[Entry] = &[
    Entry::action::<resize::ResizeVmDisk>(),
    Entry::action::<resize::ResizeLxcDisk>(),
    Entry::action::<add::DiskAdd>(),
    Entry::action::<import::DiskImport>(),
    Entry::action::<remove::DiskDetach>(),
    Entry::action::<remove::DiskRemove>(),
    Entry::action::<relocate::MoveDisk>(),
    Entry::action::<relocate::MoveLxcVolume>(),
    Entry::action::<relocate::MigrateStorage>(),
];

/// A drive of a VM or a volume of a container, as its configuration has it.
pub(super) struct Drive {
    pub key: String,
    /// As it stands there.
    pub text: String,
    pub parts: PropertyString,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum What {
    Disk,
    /// A CD drive, empty or not.
    Cdrom,
    CloudInit,
    /// Detached, and kept as `unusedN`.
    Unused,
}

impl Drive {
    fn parse(key: &str, text: &str) -> Self {
        Self { key: key.to_owned(), text: text.to_owned(), parts: PropertyString::parse(text) }
    }

    pub fn what(&self) -> What {
        if self.key.starts_with("unused") {
            return What::Unused;
        }
        match self.parts.get("media") == Some("cdrom") {
            true if self.volume().contains("cloudinit") => What::CloudInit,
            true => What::Cdrom,
            false => What::Disk,
        }
    }

    /// The volume id, a path on the node, or `none`.
    pub fn volume(&self) -> &str {
        let named = || self.parts.get("file").or(self.parts.get("volume"));
        self.parts.first().or_else(named).unwrap_or_default()
    }

    /// Nothing for what is not on a storage: a device or folder of the node.
    pub fn storage(&self) -> Option<&str> {
        self.volume().split_once(':').filter(|_| !self.volume().starts_with('/')).map(|(storage, _)| storage)
    }

    /// In bytes, as configured.
    pub fn size(&self) -> Option<u64> {
        size::configured(self.parts.get("size")?)
    }

    /// Of a file storage's image: its suffix.
    pub fn format(&self) -> Option<&str> {
        let name = self.volume().rsplit(['/', ':']).next()?;
        name.rsplit_once('.').map(|(_, format)| format)
    }
}

/// Whether the key is one of a drive, a mount point, or a detached disk.
fn is_drive(key: &str) -> bool {
    let stem = key.trim_end_matches(|c: char| c.is_ascii_digit());
    let numbered = stem != key && matches!(stem, "scsi" | "virtio" | "sata" | "ide" | "mp" | "unused");
    numbered || matches!(key, "rootfs" | "efidisk0" | "tpmstate0")
}

/// All drives, by kind and number.
pub(super) fn drives(config: &GuestConfig) -> Vec<Drive> {
    let mut drives: Vec<Drive> =
        config.iter().filter(|(key, _)| is_drive(key)).map(|(key, text)| Drive::parse(key, &text)).collect();
    drives.sort_by_key(|drive| {
        let stem = drive.key.trim_end_matches(|c: char| c.is_ascii_digit()).to_owned();
        let number: u32 = drive.key[stem.len()..].parse().unwrap_or(0);
        (stem, number)
    });
    drives
}

/// The drive of this key.
///
/// # Errors
/// `NotFound` with the drives there are.
pub(super) fn named(guest: &Guest, config: &GuestConfig, key: &str) -> Result<Drive> {
    if let Some(text) = config.get(key).filter(|_| is_drive(key)) {
        return Ok(Drive::parse(key, &text));
    }
    Err(Error::not_found(format!("disk: {guest} has no '{key}'")).hint(have(config)))
}

/// As [`named`], but only a disk: neither CD drive nor cloud-init drive.
///
/// # Errors
/// `BadArgument` where it is one of those.
pub(super) fn disk(guest: &Guest, config: &GuestConfig, key: &str) -> Result<Drive> {
    let drive = named(guest, config, key)?;
    let (what, hint) = match drive.what() {
        What::Disk | What::Unused => return Ok(drive),
        What::Cdrom => ("a CD drive", "proxmox-iso-attach and proxmox-iso-eject change what is in it".to_owned()),
        What::CloudInit => ("a cloud-init drive", have(config)),
    };
    Err(Error::bad_argument(format!("disk: expected a disk, but {key} of {guest} is {what}")).hint(hint))
}

fn have(config: &GuestConfig) -> String {
    let drives = drives(config);
    if drives.is_empty() {
        return "it has no disks at all".to_owned();
    }
    let all: Vec<String> = drives.iter().map(|drive| format!("{} ({})", drive.key, drive.text)).collect();
    format!("it has: {}", all.join("; "))
}

/// Whether the guest boots from it, as far as its boot order says.
pub(super) fn boots_from(config: &GuestConfig, key: &str) -> bool {
    order(config).iter().any(|device| device == key)
}

/// The devices of the boot order.
pub(super) fn order(config: &GuestConfig) -> Vec<String> {
    let boot = config.get("boot").unwrap_or_default();
    let order = PropertyString::parse(&boot).get("order").unwrap_or_default().to_owned();
    order.split(';').filter(|device| !device.is_empty()).map(str::to_owned).collect()
}

/// The boot order with this device first.
pub(super) fn order_with(config: &GuestConfig, key: &str) -> String {
    let rest = order(config).into_iter().filter(|device| device != key);
    let devices: Vec<String> = std::iter::once(key.to_owned()).chain(rest).collect();
    format!("order={}", devices.join(";"))
}

// The bus of a VM's drive; what stands in a doc comment here is listed with every tool that takes it.
#[derive(Deserialize, Serialize, JsonSchema, Clone, Copy, Default)]
#[serde(rename_all = "lowercase")]
pub(super) enum Bus {
    #[default]
    Scsi,
    Virtio,
    Sata,
    Ide,
}

impl Bus {
    /// The key's stem, and how many there can be.
    pub fn slots(self) -> (&'static str, u32) {
        match self {
            Self::Scsi => ("scsi", 31),
            Self::Virtio => ("virtio", 16),
            Self::Sata => ("sata", 6),
            Self::Ide => ("ide", 4),
        }
    }

    /// The first slot that is free.
    ///
    /// # Errors
    /// `BadArgument` where there is none.
    pub fn free(self, guest: &Guest, config: &GuestConfig) -> Result<String> {
        let (stem, limit) = self.slots();
        let free = config.free(stem, limit).map(|n| format!("{stem}{n}"));
        free.ok_or_else(|| Error::bad_argument(format!("bus: all {limit} {stem} slots of {guest} are taken")))
    }
}

/// Whether a running VM takes and gives up such drives.
pub(super) fn is_hot(key: &str) -> bool {
    key.starts_with("scsi") || key.starts_with("virtio") || key.starts_with("unused")
}

#[derive(Deserialize, Serialize, JsonSchema, Clone, Copy)]
#[serde(rename_all = "lowercase")]
pub(super) enum Format {
    Raw,
    Qcow2,
    Vmdk,
}

impl Format {
    pub fn name(self) -> &'static str {
        match self {
            Self::Raw => "raw",
            Self::Qcow2 => "qcow2",
            Self::Vmdk => "vmdk",
        }
    }
}

/// More keys for a drive, `ssd=1,discard=on`; those that have arguments of their own are not taken.
///
/// # Errors
/// `BadArgument`.
fn with_options(drive: &mut PropertyString, options: Option<&str>) -> Result<()> {
    let given = PropertyString::parse(options.unwrap_or_default());
    for (key, value) in given.iter() {
        match key {
            "" => {
                return Err(Error::bad_argument(format!("options: expected key=value, got '{value}'"))
                    .hint("for instance ssd=1,discard=on,iothread=1"));
            }
            "file" | "volume" | "size" | "import-from" | "media" | "mp" => {
                return Err(Error::bad_argument(format!("options: {key} cannot stand here")));
            }
            _ => drive.set(key, value),
        }
    }
    Ok(())
}

/// A row of `GET …/pending`.
#[derive(Deserialize)]
struct Row {
    key: String,
    value: Option<Value>,
    pending: Option<Value>,
    delete: Option<u64>,
}

/// How a drive that was made is taken back. A VM's is destroyed with what it holds; of a container Proxmox destroys only what
/// is detached.
fn made(guest: &Guest, key: &str) -> Undo {
    match guest.kind {
        GuestKind::Qemu => Undo::call("proxmox-disk-remove", json!({"vmid": guest.vmid, "disk": key, "force": true})),
        GuestKind::Lxc => Undo::call("proxmox-disk-detach", json!({"vmid": guest.vmid, "disk": key}))
            .note("its volume stays as unusedN, which proxmox-disk-remove destroys"),
    }
}

/// How the configuration of the plan's guest stands now, with what waits for a restart.
async fn stands(pve: &Reader<'_>, plan: &Plan) -> Result<Vec<Row>> {
    let path = plan.requests.last().and_then(|request| request.path.rsplit_once('/')).map_or("", |(guest, _)| guest);
    pve.get(format!("{path}/pending")).await
}

/// What became of the drive that a plan set: its value, and whether it waits for a restart.
async fn drive_set(pve: &Reader<'_>, plan: &Plan) -> Result<Option<Value>> {
    let rows = stands(pve, plan).await?;
    let key = plan.about.get("disk").and_then(Value::as_str).unwrap_or_default();
    let Some(row) = rows.into_iter().find(|row| row.key == key) else { return Ok(None) };
    let waits = row.pending.is_some();
    let mut result = json!({"disk": row.key, "value": row.pending.or(row.value)});
    if waits {
        result["pending"] = "takes effect when the guest is stopped and started".into();
    }
    Ok(Some(result))
}

fn content_of(kind: GuestKind) -> &'static str {
    match kind {
        GuestKind::Qemu => "images",
        GuestKind::Lxc => "rootdir",
    }
}

fn storage_path(node: &str, storage: &str, rest: &str) -> String {
    format!("/nodes/{}/storage/{}/{rest}", encode(node), encode(storage))
}
