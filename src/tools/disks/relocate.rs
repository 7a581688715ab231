//! Disks and volumes to another storage or another guest, and everything a guest has on one storage.

use serde_json::json;

use super::{Drive, Format, What, disk, drives};
use crate::{
    pve::{GuestConfig, GuestKind},
    tool::*,
};

/// Move a VM's disk to another storage, also while it runs, or to another VM.
#[derive(Deserialize, JsonSchema)]
pub struct MoveDisk {
    #[serde(flatten)]
    guest: GuestRef,
    /// scsi0, unused0 …
    disk: String,
    storage: Option<String>,
    format: Option<Format>,
    /// Else the source is kept as unusedN.
    #[serde(default)]
    delete: bool,
    #[schemars(range(min = 100, max = 999_999_999))]
    target_vmid: Option<u32>,
}

impl Tool for MoveDisk {
    const NAME: &str = "proxmox-move-disk";
    const TITLE: &str = "Move a VM's disk";
    const API: &[&str] = &["POST /nodes/{node}/qemu/{vmid}/move_disk"];
    const EXAMPLE: (&str, &str) = (
        "Move the disk of web-01 from the NAS to local-lvm",
        r#"{"name": "web-01", "disk": "scsi0", "storage": "local-lvm"}"#,
    );
}

impl Action for MoveDisk {
    const EFFECT: Effect = Effect::Write;
    const CONTROL: Control = Control::new(3600).waiting();
    async fn plan(&self, pve: &Reader<'_>) -> Result<Plan> {
        let order = Order {
            key: &self.disk,
            storage: self.storage.as_deref(),
            format: self.format.map(Format::name),
            delete: self.delete,
            target: self.target_vmid,
        };
        order.plan(pve, &self.guest, Want::Vm).await
    }
}

/// Move a stopped container's volume to another storage, or to another container.
#[derive(Deserialize, JsonSchema)]
pub struct MoveLxcVolume {
    #[serde(flatten)]
    guest: GuestRef,
    #[serde(default = "rootfs")]
    volume: String,
    storage: Option<String>,
    /// Else the source is kept as unusedN.
    #[serde(default)]
    delete: bool,
    #[schemars(range(min = 100, max = 999_999_999))]
    target_vmid: Option<u32>,
}

fn rootfs() -> String {
    "rootfs".to_owned()
}

impl Tool for MoveLxcVolume {
    const NAME: &str = "proxmox-move-lxc-volume";
    const TITLE: &str = "Move a container's volume";
    const API: &[&str] = &["POST /nodes/{node}/lxc/{vmid}/move_volume"];
    const EXAMPLE: (&str, &str) = ("Move devbox to the NAS", r#"{"name": "devbox", "storage": "nas", "delete": true}"#);
}

impl Action for MoveLxcVolume {
    const EFFECT: Effect = Effect::Write;
    const CONTROL: Control = Control::new(3600).waiting();
    async fn plan(&self, pve: &Reader<'_>) -> Result<Plan> {
        let order = Order {
            key: &self.volume,
            storage: self.storage.as_deref(),
            format: None,
            delete: self.delete,
            target: self.target_vmid,
        };
        order.plan(pve, &self.guest, Want::Container).await
    }
}

/// What is to be moved, and where to.
struct Order<'a> {
    key: &'a str,
    storage: Option<&'a str>,
    format: Option<&'a str>,
    delete: bool,
    target: Option<u32>,
}

impl Order<'_> {
    async fn plan(&self, pve: &Reader<'_>, guest: &GuestRef, want: Want) -> Result<Plan> {
        if self.storage.is_some() == self.target.is_some() {
            return Err(Error::bad_argument("storage, target_vmid: expected one of them")
                .hint("storage moves it to another storage, target_vmid to another guest on the same node"));
        }
        let guest = pve.guest(guest, want).await?;
        let config = pve.config(&guest).await?;
        let drive = disk(&guest, &config, self.key)?;
        let plan = match (self.storage, self.target) {
            (Some(storage), _) => self.to_storage((&guest, &config, &drive), storage)?,
            (None, target) => self.to_guest(pve, (&guest, &config), target.unwrap_or_default()).await?,
        };
        Ok(plan.about("disk", self.key))
    }

    fn to_storage(&self, (guest, config, drive): (&Guest, &GuestConfig, &Drive), storage: &str) -> Result<Plan> {
        if drive.what() == What::Unused && guest.kind == GuestKind::Lxc {
            return Err(Error::bad_argument(format!("volume: {} is detached, and Proxmox moves none such", drive.key)));
        }
        let key = &drive.key;
        let same = guest.kind == GuestKind::Qemu
            && drive.storage() == Some(storage)
            && self.format.is_none_or(|format| drive.format().unwrap_or("raw") == format);
        let snapshots = config.get("parent").is_some();
        let plan = Plan::on(guest, &format!("move {key} ({}) to {storage} for", drive.volume()))
            .undone(back(guest, drive, self.delete))
            .step(
                request(guest, key, storage, self.delete)
                    .maybe("format", self.format)
                    .maybe("digest", config.digest.as_deref()),
            )
            .check(
                !same,
                || format!("{key} is not in this form on {storage} yet"),
                || format!("{key} is on {storage} already: give another storage or format"),
            );
        Ok(warned(plan, guest).warn_if(self.delete && snapshots, || {
            format!("{guest} has snapshots: Proxmox does not delete a source that they use; leave delete out")
        }))
    }

    async fn to_guest(&self, pve: &Reader<'_>, (guest, config): (&Guest, &GuestConfig), target: u32) -> Result<Plan> {
        if self.format.is_some() || self.delete {
            return Err(Error::bad_argument("format, delete: not possible with target_vmid")
                .hint("to another guest the volume itself is handed over, not copied"));
        }
        let want = if guest.kind == GuestKind::Qemu { Want::Vm } else { Want::Container };
        let target = pve.guest(&GuestRef::vmid(target), want).await?;
        let key = free_like(&target, &pve.config(&target).await?, self.key)?;
        let key = key.as_str();
        let (field, target_field) = fields(guest.kind);
        let request = Request::post(guest.path(address(guest.kind)))
            .param(field, self.key)
            .param("target-vmid", target.vmid)
            .param(target_field, key)
            .maybe("digest", config.digest.as_deref());
        let attached = !self.key.starts_with("unused");
        let (tool, field) = match guest.kind {
            GuestKind::Qemu => ("proxmox-move-disk", "disk"),
            GuestKind::Lxc => ("proxmox-move-lxc-volume", "volume"),
        };
        let undo = Undo::call(tool, json!({"vmid": target.vmid, field: key, "target_vmid": guest.vmid}))
            .note_if(key != self.key, || format!("it comes back as {key}, or the next free one, not {}", self.key))
            .note_if(super::boots_from(config, self.key), || "the boot order has to be set again".to_owned());
        Ok(Plan::on(guest, &format!("hand {} to {target} as {key} from", self.key))
            .undone(undo)
            .about("target_vmid", target.vmid)
            .step(request)
            .check(
                guest.node == target.node,
                || format!("both are on {}", guest.node),
                || format!("{guest} and {target} are not on the same node: migrate one of them first"),
            )
            .warn_if(attached && guest.is_running(), || {
                format!("{guest} runs: Proxmox hands over only what is detached, or of a stopped guest")
            }))
    }
}

/// The same key on another guest, or the first free one of its kind.
fn free_like(target: &Guest, config: &GuestConfig, key: &str) -> Result<String> {
    if config.get(key).is_none() {
        return Ok(key.to_owned());
    }
    let stem = key.trim_end_matches(|c: char| c.is_ascii_digit());
    let limit = match stem {
        "scsi" => 31,
        "virtio" => 16,
        "sata" => 6,
        "ide" => 4,
        "mp" | "unused" => 256,
        _ => 0,
    };
    let free = config.free(stem, limit).map(|n| format!("{stem}{n}"));
    free.ok_or_else(|| Error::bad_argument(format!("target_vmid: {target} has no free place for {key}")))
}

fn address(kind: GuestKind) -> &'static str {
    match kind {
        GuestKind::Qemu => "move_disk",
        GuestKind::Lxc => "move_volume",
    }
}

/// What the disk is called in such a request, here and at its target.
fn fields(kind: GuestKind) -> (&'static str, &'static str) {
    match kind {
        GuestKind::Qemu => ("disk", "target-disk"),
        GuestKind::Lxc => ("volume", "target-volume"),
    }
}

fn request(guest: &Guest, key: &str, storage: &str, delete: bool) -> Request {
    let (field, _) = fields(guest.kind);
    let request = Request::post(guest.path(address(guest.kind))).param(field, key.to_owned());
    request.param("storage", storage).flag("delete", delete)
}

fn warned(plan: Plan, guest: &Guest) -> Plan {
    plan.warn_if(guest.kind == GuestKind::Lxc && guest.is_running(), || {
        format!("{guest} runs: Proxmox moves volumes of stopped containers only")
    })
}

/// To the storage before, with all that was written since.
fn back(guest: &Guest, drive: &Drive, delete: bool) -> Undo {
    let Some(storage) = drive.storage() else { return Undo::never("it was on no storage") };
    let (tool, field) = match guest.kind {
        GuestKind::Qemu => ("proxmox-move-disk", "disk"),
        GuestKind::Lxc => ("proxmox-move-lxc-volume", "volume"),
    };
    let mut arguments = json!({"vmid": guest.vmid, field: drive.key, "storage": storage, "delete": true});
    // A file storage would choose a format of its own.
    if let Some(format) = drive.format().filter(|_| guest.kind == GuestKind::Qemu) {
        arguments["format"] = format.into();
    }
    Undo::call(tool, arguments).note_if(!delete, || LEFT.to_owned())
}

const LEFT: &str = "what is kept as unusedN stays too: proxmox-disk-remove";

/// Move all disks that a VM or container has on one storage to another.
#[derive(Deserialize, JsonSchema)]
pub struct MigrateStorage {
    #[schemars(range(min = 100, max = 999_999_999))]
    vmid: u32,
    source_storage: String,
    target_storage: String,
    #[serde(default = "yes")]
    online: bool,
    /// As unusedN.
    #[serde(default)]
    preserve_source: bool,
    node: Option<String>,
}

fn yes() -> bool {
    true
}

impl Tool for MigrateStorage {
    const NAME: &str = "proxmox-migrate-storage";
    const TITLE: &str = "Move all disks of a guest";
    const API: &[&str] = &["POST /nodes/{node}/qemu/{vmid}/move_disk", "POST /nodes/{node}/lxc/{vmid}/move_volume"];
    const EXAMPLE: (&str, &str) = (
        "Move everything of VM 101 off the NAS",
        r#"{"vmid": 101, "source_storage": "nas", "target_storage": "local-lvm"}"#,
    );
}

impl Action for MigrateStorage {
    const EFFECT: Effect = Effect::Write;
    const CONTROL: Control = Control::new(3600).waiting();
    async fn plan(&self, pve: &Reader<'_>) -> Result<Plan> {
        let (from, to) = (self.source_storage.as_str(), self.target_storage.as_str());
        if from == to {
            return Err(Error::bad_argument(format!("target_storage: expected another storage than {from}")));
        }
        let guest = GuestRef { vmid: Some(self.vmid), name: None, node: self.node.clone() };
        let guest = pve.guest(&guest, Want::Any).await?;
        let config = pve.config(&guest).await?;
        let all = drives(&config);
        let here = |drive: &&Drive| drive.storage() == Some(from) && drive.what() != What::Cdrom;
        // Detached volumes of containers cannot be moved.
        let movable = |drive: &&Drive| guest.kind == GuestKind::Qemu || drive.what() != What::Unused;
        let left: Vec<&str> =
            all.iter().filter(here).filter(|drive| !movable(drive)).map(|drive| drive.key.as_str()).collect();
        let moved: Vec<&Drive> = all.iter().filter(here).filter(movable).collect();
        if moved.is_empty() {
            let all: Vec<String> = all.iter().map(|drive| format!("{} ({})", drive.key, drive.volume())).collect();
            return Err(Error::not_found(format!("source_storage: {guest} has no disk on {from}"))
                .hint(format!("it has: {}", all.join(", "))));
        }
        let keys: Vec<&str> = moved.iter().map(|drive| drive.key.as_str()).collect();
        let mut plan = Plan::on(&guest, &format!("move {} from {from} to {to} for", keys.join(", ")));
        for (i, drive) in moved.iter().enumerate() {
            // Each move changes the configuration, so only the first can be held to what was read.
            let digest = config.digest.as_deref().filter(|_| i == 0);
            plan = plan.step(request(&guest, &drive.key, to, !self.preserve_source).maybe("digest", digest));
        }
        let offline = !self.online && guest.is_running();
        let undo = self.back((&guest, &all, &moved));
        Ok(warned(plan, &guest)
            .undone(undo)
            .check(
                !offline,
                || format!("{guest} may run"),
                || format!("{guest} runs and online is false: stop it first, or give online: true"),
            )
            .warn_if(guest.is_running() && keys.contains(&"tpmstate0"), || {
                "tpmstate0 moves only while the VM is off".to_owned()
            })
            .warn_if(!left.is_empty(), || format!("{} stays on {from}: it is detached", left.join(", ")))
            .warn_if(!self.preserve_source && config.get("parent").is_some(), || {
                format!("{guest} has snapshots: Proxmox does not delete sources that they use; set preserve_source")
            }))
    }
}

impl MigrateStorage {
    /// The same the other way round, where that moves nothing else.
    fn back(&self, (guest, all, moved): (&Guest, &[Drive], &[&Drive])) -> Undo {
        let (from, to) = (self.source_storage.as_str(), self.target_storage.as_str());
        if let [one] = moved {
            return back(guest, one, !self.preserve_source);
        }
        if all.iter().any(|drive| drive.storage() == Some(to) && drive.what() != What::Cdrom) {
            let keys: Vec<&str> = moved.iter().map(|drive| drive.key.as_str()).collect();
            let keys = keys.join(", ");
            return Undo::never(format!("{guest} has more on {to}: move {keys} back to {from} one by one"));
        }
        let arguments = json!({"vmid": guest.vmid, "source_storage": to, "target_storage": from});
        Undo::call("proxmox-migrate-storage", arguments)
            .note_if(moved.iter().any(|drive| drive.format().is_some()), || {
                format!("the images are in the format that {from} chooses")
            })
            .note_if(self.preserve_source, || LEFT.to_owned())
    }
}
