//! Detaching disks, and destroying them.

use serde_json::{Value, json};

use super::{What, boots_from, disk, is_hot, named, stands};
use crate::{
    pve::{Edit, GuestConfig, GuestKind},
    tool::*,
};

const WAITS: &str = "goes when the guest is stopped and started; until then it is attached";

/// Detach a disk or mount point. Its volume is kept as unusedN, until proxmox-disk-remove.
#[derive(Deserialize, JsonSchema)]
pub struct DiskDetach {
    #[serde(flatten)]
    guest: GuestRef,
    /// scsi1, mp0 …
    disk: String,
}

impl Tool for DiskDetach {
    const NAME: &str = "proxmox-disk-detach";
    const TITLE: &str = "Detach a disk";
    const API: &[&str] = &["GET /nodes/{node}/{type}/{vmid}/pending", "PUT /nodes/{node}/{type}/{vmid}/config"];
    const EXAMPLE: (&str, &str) = ("Take the disk off VM 107", r#"{"vmid": 107, "disk": "scsi0", "confirm": true}"#);
}

impl Action for DiskDetach {
    const EFFECT: Effect = Effect::Write;
    const CONTROL: Control = Control::instant().confirmed();
    const LOOKS_AFTER: bool = true;
    async fn plan(&self, pve: &Reader<'_>) -> Result<Plan> {
        let guest = pve.guest(&self.guest, Want::Any).await?;
        let config = pve.config(&guest).await?;
        let key = self.disk.as_str();
        if disk(&guest, &config, key)?.what() == What::Unused {
            return Err(Error::bad_argument(format!("disk: {key} of {guest} is detached already"))
                .hint("proxmox-disk-add with volume attaches it, proxmox-disk-remove destroys it"));
        }
        not_rootfs(key)?;
        let plan = Plan::on(&guest, &format!("detach {key} from")).about("disk", key);
        // Nothing is freed, so it is quick; and only so does a refusal say what the guest did not let go of.
        let plan = Edit::default().delete(key).step(plan, &guest, &config);
        Ok(warned(plan, &guest, &config, key))
    }

    async fn result(&self, pve: &Reader<'_>, plan: &Plan, _: Done<'_>) -> Result<Option<Value>> {
        let rows = stands(pve, plan).await?;
        if rows.iter().any(|row| row.key == self.disk && row.delete.is_some_and(|delete| delete > 0)) {
            return Ok(Some(json!({"disk": self.disk, "pending": WAITS})));
        }
        let old = plan.changes.iter().find(|change| change.key == self.disk).and_then(|change| change.old.as_deref());
        let volume = old.and_then(|old| old.split(',').next()).unwrap_or_default();
        let kept = rows
            .iter()
            .find(|row| row.key.starts_with("unused") && row.value.as_ref().and_then(Value::as_str) == Some(volume));
        Ok(Some(match kept {
            Some(row) => json!({"detached": self.disk, "kept_as": row.key, "volume": volume}),
            None => json!({"detached": self.disk}),
        }))
    }
}

/// Destroy a disk with all data: a detached one (unusedN), or with force one still attached.
#[derive(Deserialize, JsonSchema)]
pub struct DiskRemove {
    #[serde(flatten)]
    guest: GuestRef,
    /// unused0, or scsi1 with force.
    disk: String,
    #[serde(default)]
    force: bool,
}

impl Tool for DiskRemove {
    const NAME: &str = "proxmox-disk-remove";
    const TITLE: &str = "Destroy a disk";
    const API: &[&str] = &[
        "GET /nodes/{node}/{type}/{vmid}/pending",
        "POST /nodes/{node}/qemu/{vmid}/config",
        "PUT /nodes/{node}/lxc/{vmid}/config",
    ];
    const EXAMPLE: (&str, &str) =
        ("Destroy the disk of VM 107", r#"{"vmid": 107, "disk": "scsi0", "force": true, "confirm": true}"#);
}

impl Action for DiskRemove {
    const EFFECT: Effect = Effect::Destroy;
    const CONTROL: Control = Control::new(600).confirmed().waiting();
    const LOOKS_AFTER: bool = true;
    async fn plan(&self, pve: &Reader<'_>) -> Result<Plan> {
        let guest = pve.guest(&self.guest, Want::Any).await?;
        let config = pve.config(&guest).await?;
        let key = self.disk.as_str();
        let drive = named(&guest, &config, key)?;
        let mut edit = Edit::default().delete(key).as_task();
        match (drive.what(), guest.kind) {
            (What::Unused, _) => {}
            (What::Cdrom, _) => drop(disk(&guest, &config, key)?),
            (_, GuestKind::Lxc) => {
                not_rootfs(key)?;
                // Which unusedN it becomes is known only afterwards: in one plan the wrong volume might be hit.
                return Err(Error::bad_argument(format!("disk: {key} of {guest} is attached"))
                    .hint("detach it with proxmox-disk-detach first, then remove the unusedN it became"));
            }
            (_, GuestKind::Qemu) if !self.force => {
                return Err(Error::bad_argument(format!("disk: {key} of {guest} is attached"))
                    .hint("detach it with proxmox-disk-detach first, or give force: true"));
            }
            (_, GuestKind::Qemu) => edit = edit.force(),
        }
        let volume = drive.volume();
        let plan = Plan::on(&guest, &format!("destroy {key} ({volume}) of")).about("disk", key);
        let plan = edit.step(plan, &guest, &config).warn_if(true, || format!("all data on {volume} is lost"));
        let plan = plan.check(
            !config.flag("protection"),
            || format!("{guest} is not protected"),
            || format!("{guest} is protected: Proxmox removes no disk of it until its protection option is off"),
        );
        Ok(warned(plan, &guest, &config, key))
    }

    async fn result(&self, pve: &Reader<'_>, plan: &Plan, _: Done<'_>) -> Result<Option<Value>> {
        let rows = stands(pve, plan).await?;
        let Some(row) = rows.iter().find(|row| row.key == self.disk) else { return Ok(None) };
        Ok(Some(match row.delete {
            Some(1..) => {
                json!({"disk": row.key, "pending": WAITS})
            }
            _ => json!({"disk": row.key, "kept": "Proxmox did not remove it: a snapshot or clone may still use it"}),
        }))
    }
}

/// # Errors
/// `BadArgument` for a container's root file system.
fn not_rootfs(key: &str) -> Result<()> {
    match key {
        "rootfs" => Err(Error::bad_argument("disk: a container cannot be without its rootfs")),
        _ => Ok(()),
    }
}

/// What taking a drive off may bring along.
fn warned(plan: Plan, guest: &Guest, config: &GuestConfig, key: &str) -> Plan {
    let attached = !key.starts_with("unused");
    plan.warn_if(boots_from(config, key), || {
        format!("{key} is in the boot order and drops out of it; name it there again if it comes back")
    })
    .warn_if(attached && guest.is_running() && (guest.kind == GuestKind::Lxc || !is_hot(key)), || {
        format!("{guest} runs: {key} goes when it is stopped and started")
    })
    .warn_if(attached && guest.is_running() && guest.kind == GuestKind::Qemu && is_hot(key), || {
        format!("{guest} runs: unmount {key} in it first; if it does not let go, this fails, and {key} goes at its next start")
    })
}
