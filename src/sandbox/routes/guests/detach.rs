//! Options that go, and drives above all: what is kept as unused, what waits for a restart, what leaves the boot order.

use super::update::is_hot;
use crate::sandbox::{
    config::property,
    drives::Drive,
    guest::{Guest, Kind, is_drive_key, is_numbered},
    state::State,
    wire::Refusal,
};

/// A volume that a drive has again is no longer unused.
pub(super) fn forget_unused(guest: &mut Guest, volid: &str) {
    let key = guest.config.iter().find(|(key, value)| is_numbered(key, "unused") && *value == volid);
    if let Some(key) = key.map(|(key, _)| key.to_owned()) {
        guest.config.remove(&key);
    }
}

/// Keeps a volume that no drive has any more; the key it got.
pub(super) fn add_unused(guest: &mut Guest, volid: &str) -> Option<String> {
    let key = (0..256).map(|n| format!("unused{n}")).find(|key| !guest.config.has(key))?;
    guest.config.set(key.as_str(), volid);
    Some(key)
}

/// Whether a snapshot has this volume as a drive.
pub(super) fn in_snapshots(guest: &Guest, volid: &str) -> bool {
    guest.snapshots.iter().any(|snapshot| {
        let drives = snapshot.config.iter().filter(|(key, _)| is_drive_key(guest.kind, key));
        drives.map(|(_, text)| Drive::parse(text)).any(|drive| drive.volume == volid)
    })
}

/// Removes an option; a drive's volume is kept as unused, unless it is forced out.
///
/// # Errors
/// What PVE says of what is protected, in use, or not let go of.
pub(super) fn delete(
    state: &mut State,
    (node, kind, vmid): (&str, Kind, u32),
    key: &str,
    (running, stubborn, force): (bool, bool, bool),
) -> Result<(), Refusal> {
    let Some(guest) = state.guest_mut(vmid) else { return Ok(()) };
    guest.pending.remove(key);
    let Some(old) = guest.config.get(key).map(str::to_owned) else { return Ok(()) };
    let volume = Drive::parse(&old).volume;
    if is_numbered(key, "unused") {
        protected(guest, &format!("unused disk '{volume}'"))?;
        let used = in_snapshots(guest, &volume);
        if used && kind == Kind::Qemu {
            let text = format!("unable to delete '{volume}' - volume is still in use (snapshot?)");
            return Err(Refusal::failed(text));
        }
        guest.config.remove(key);
        if !used {
            state.remove_volume(&volume, node);
        }
        return Ok(());
    }
    if is_drive_key(kind, key) {
        protected(guest, &format!("drive '{key}'"))?;
    }
    // Network devices stand in it too.
    without_boot(guest, key);
    let device = is_numbered(key, "net") || is_drive_key(kind, key) && !Drive::parse(&old).is_cdrom();
    if running && stubborn && device && is_hot(guest, key) {
        doom(guest, key, force);
        let problem = format!("hotplug problem - error on hot-unplugging device '{key}' - still busy in guest?\n");
        return Err(Refusal::param(key, problem));
    }
    // A mount point is not taken from a running container.
    if running && (is_numbered(key, "mp") || !is_hot(guest, key)) {
        doom(guest, key, force);
        return Ok(());
    }
    guest.config.remove(key);
    if is_drive_key(kind, key) {
        let drive = Drive::parse(&old);
        if drive.is_cloud_init() || (force && kind == Kind::Qemu && !drive.is_cdrom()) {
            state.remove_volume(&drive.volume, node);
        } else if drive.volume.contains(':') && !drive.is_cdrom() {
            add_unused(guest, &drive.volume);
        }
    }
    Ok(())
}

/// Notes a deletion for the next start.
fn doom(guest: &mut Guest, key: &str, force: bool) {
    guest.pending_delete.retain(|gone| gone != key);
    guest.pending_delete.push(key.to_owned());
    guest.pending_force.retain(|gone| gone != key);
    if force && guest.kind == Kind::Qemu {
        guest.pending_force.push(key.to_owned());
    }
}

/// # Errors
/// 500 for a guest whose disks are protected.
fn protected(guest: &Guest, what: &str) -> Result<(), Refusal> {
    match guest.config.flag("protection") {
        true => Err(Refusal::failed(format!("can't remove {what} - protection mode enabled"))),
        false => Ok(()),
    }
}

/// Takes a device off the boot order; that of a running VM changes with its next start.
pub(super) fn without_boot(guest: &mut Guest, key: &str) {
    let Some(order) = boot_order(guest) else { return };
    let rest: Vec<_> = order.iter().filter(|device| *device != key).cloned().collect();
    if rest.len() < order.len() || key.is_empty() {
        set_boot(guest, &rest);
    }
}

/// Puts a new CD drive at the end of the boot order.
pub(super) fn with_boot(guest: &mut Guest, key: &str) {
    let Some(mut order) = boot_order(guest) else { return };
    if !order.is_empty() && !order.iter().any(|device| device == key) {
        order.push(key.to_owned());
        set_boot(guest, &order);
    }
}

fn boot_order(guest: &Guest) -> Option<Vec<String>> {
    let boot = guest.pending.get("boot").or(guest.config.get("boot"))?;
    let order = property(boot, "order")?;
    Some(order.split(';').filter(|device| !device.is_empty()).map(str::to_owned).collect())
}

fn set_boot(guest: &mut Guest, order: &[String]) {
    let boot = if order.is_empty() { " ".to_owned() } else { format!("order={}", order.join(";")) };
    if guest.is_running() && guest.config.get("boot") != Some(boot.as_str()) {
        guest.pending.set("boot", boot);
    } else {
        guest.pending.remove("boot");
        guest.config.set("boot", boot);
    }
}
