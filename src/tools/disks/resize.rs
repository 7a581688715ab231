//! Growing disks: Proxmox only makes them larger.

use super::{What, disk};
use crate::{pve::size, tool::*};

/// Grow a VM's disk by grow_gb or to size; grow the file system in the guest afterwards.
#[derive(Deserialize, JsonSchema)]
pub struct ResizeVmDisk {
    #[serde(flatten)]
    guest: GuestRef,
    #[serde(default = "scsi0")]
    disk: String,
    #[serde(flatten)]
    by: By,
}

fn scsi0() -> String {
    "scsi0".to_owned()
}

/// By how much, or how large.
#[derive(Deserialize, JsonSchema)]
struct By {
    /// GiB to add.
    #[serde(default)]
    #[schemars(range(min = 0, max = 65_536))]
    grow_gb: u32,
    /// Or the new size: "40G".
    size: Option<String>,
}

impl Tool for ResizeVmDisk {
    const NAME: &str = "proxmox-resize-vm-disk";
    const TITLE: &str = "Grow a VM's disk";
    const API: &[&str] = &["PUT /nodes/{node}/qemu/{vmid}/resize"];
    const EXAMPLE: (&str, &str) =
        ("Give postgres-01 100 GB more", r#"{"name": "postgres-01", "grow_gb": 100, "confirm": true}"#);
}

impl Action for ResizeVmDisk {
    const EFFECT: Effect = Effect::Write;
    const CONTROL: Control = Control::new(900).confirmed().waiting().polled();
    async fn plan(&self, pve: &Reader<'_>) -> Result<Plan> {
        let plan = grow(pve, &self.guest, Want::Vm, (&self.disk, &self.by)).await?;
        Ok(plan.warn_if(true, || "partition and file system in the VM stay as they are: grow them there".to_owned()))
    }
}

/// Grow a container's root or mount point by grow_gb or to size.
#[derive(Deserialize, JsonSchema)]
pub struct ResizeLxcDisk {
    #[serde(flatten)]
    guest: GuestRef,
    #[serde(default = "rootfs")]
    disk: String,
    #[serde(flatten)]
    by: By,
}

fn rootfs() -> String {
    "rootfs".to_owned()
}

impl Tool for ResizeLxcDisk {
    const NAME: &str = "proxmox-resize-lxc-disk";
    const TITLE: &str = "Grow a container's volume";
    const API: &[&str] = &["PUT /nodes/{node}/lxc/{vmid}/resize"];
    const EXAMPLE: (&str, &str) =
        ("Grow the root file system of redis-01 to 24 GB", r#"{"name": "redis-01", "size": "24G", "confirm": true}"#);
}

impl Action for ResizeLxcDisk {
    const EFFECT: Effect = Effect::Write;
    const CONTROL: Control = Control::new(900).confirmed().waiting();
    async fn plan(&self, pve: &Reader<'_>) -> Result<Plan> {
        grow(pve, &self.guest, Want::Container, (&self.disk, &self.by)).await
    }
}

async fn grow(pve: &Reader<'_>, guest: &GuestRef, want: Want, (key, by): (&str, &By)) -> Result<Plan> {
    let wanted = by.size.as_deref().map(size::given).transpose()?;
    if wanted.is_some() == (by.grow_gb > 0) {
        return Err(Error::bad_argument(match wanted {
            Some(_) => "size, grow_gb: expected one of them, got both",
            None => "grow_gb: expected at least 1, got 0",
        })
        .hint("grow_gb is added to the present size; size is the new one"));
    }
    let guest = pve.guest(guest, want).await?;
    let config = pve.config(&guest).await?;
    let drive = disk(&guest, &config, key)?;
    if drive.what() == What::Unused || drive.storage().is_none() {
        return Err(Error::bad_argument(format!("disk: {key} ({}) cannot be resized", drive.text))
            .hint("only attached disks on a storage can"));
    }
    let old = drive.size();
    if let (Some(old), Some(new)) = (old, wanted)
        && new <= old
    {
        return Err(Error::bad_argument(format!(
            "size: {key} has {} already, and Proxmox only grows disks",
            size::text(old)
        ))
        .hint("give a larger size"));
    }
    let new = wanted.or_else(|| old.map(|old| old + (u64::from(by.grow_gb) << 30)));
    let sent = wanted.map_or_else(|| format!("+{}G", by.grow_gb), size::text);
    let shown = |size: Option<u64>| size.map_or_else(|| "?".to_owned(), size::text);
    let plan = Plan::on(&guest, &format!("grow {key} ({} → {}) of", shown(old), shown(new))).about("disk", key);
    let changed = new.map(|new| {
        let mut parts = drive.parts.clone();
        parts.set("size", size::text(new));
        parts.to_string()
    });
    let request = Request::put(guest.path("resize"))
        .param("disk", key)
        .param("size", sent)
        .maybe("digest", config.digest.as_deref());
    Ok(match changed {
        Some(changed) => plan.change(key, Some(drive.text), Some(changed)),
        None => plan,
    }
    .step(request)
    .no_undo("Proxmox does not make disks smaller"))
}
