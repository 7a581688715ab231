//! Virtual machines and containers: what all their families need.

pub(super) mod agent;
pub(super) mod backup;
pub(super) mod clone;
pub(super) mod cloudinit;
pub(super) mod config;
pub(super) mod create;
pub(super) mod destroy;
mod detach;
pub(super) mod disks;
pub(super) mod figures;
mod journey;
pub(super) mod lists;
pub(super) mod managed;
pub(super) mod migrate;
pub(super) mod moves;
mod options;
pub(super) mod power;
mod restore;
pub(super) mod snapshots;
pub(super) mod suspend;
pub(super) mod template;
pub(super) mod update;

use crate::sandbox::{
    call::Call,
    drives::{Drive, SYSTEM},
    guest::{Guest, Kind},
    state::State,
    wire::Refusal,
};

/// Whether the path of the call is that of a VM or of a container.
fn kind(call: &Call) -> Kind {
    if call.endpoint.path.starts_with("/nodes/{node}/lxc") { Kind::Lxc } else { Kind::Qemu }
}

impl Guest {
    /// # Errors
    /// `VM is locked (backup)`, `CT is locked (backup)`.
    pub fn check_lock(&self) -> Result<(), String> {
        match self.lock() {
            Some(lock) => Err(format!("{} is locked ({lock})", self.kind.word())),
            None => Ok(()),
        }
    }

    /// The drives (or mount points), key and parsed value; CD-ROMs and cloud-init drives among them.
    pub fn drives(&self) -> Vec<(String, Drive)> {
        let keys = self.config.iter().filter(|(key, _)| crate::sandbox::guest::is_drive_key(self.kind, key));
        let mut drives: Vec<_> = keys.map(|(key, value)| (key.to_owned(), Drive::parse(value))).collect();
        drives.sort_by(|a, b| a.0.cmp(&b.0));
        drives
    }
}

/// Whether something runs in the guest that answers it: its disks are not empty. Containers always have a system.
fn has_system(state: &State, guest: &Guest) -> bool {
    guest.kind == Kind::Lxc
        || guest.drives().iter().filter(|(_, drive)| !drive.is_cdrom()).any(|(_, drive)| {
            let storage = state.storages.get(drive.storage());
            storage
                .and_then(|storage| state.volumes.get(storage, &guest.node, &drive.volume))
                .is_some_and(|volume| volume.used >= SYSTEM)
        })
}

/// The guest as a task finds it; the error is the task's.
fn found<'a>(state: &'a State, node: &str, kind: Kind, vmid: u32) -> Result<&'a Guest, String> {
    state.guest(node, kind, vmid).map_err(|refusal| refusal.message)
}

/// PVE's other words for a guest that is not there.
fn on_node(state: &State, node: &str, kind: Kind, vmid: u32) -> Result<(), Refusal> {
    match state.guest(node, kind, vmid) {
        Ok(_) => Ok(()),
        Err(_) => Err(Refusal::failed(format!(
            "unable to find configuration file for {} {vmid} on node '{node}'",
            kind.word()
        ))),
    }
}

/// # Errors
/// 400 where somebody else than root wants what only root may.
fn root_only(call: &Call, options: &[&str]) -> Result<(), Refusal> {
    match options.iter().find(|option| call.get(option).is_some_and(|value| value != "0")) {
        Some(option) if !call.who.is_root() => Err(Refusal::param(*option, "Only root may use this option.")),
        _ => Ok(()),
    }
}

/// # Errors
/// The task's or the call's error where the digest is not the guest's.
fn check_digest(guest: &Guest, digest: Option<&str>) -> Result<(), String> {
    if digest.is_none_or(|digest| digest.is_empty() || digest == guest.digest()) {
        return Ok(());
    }
    Err(match guest.kind {
        Kind::Qemu => "checksum mismatch (file change by other user?)",
        Kind::Lxc => "detected modified configuration - file changed by other user? Try again.",
    }
    .to_owned())
}
