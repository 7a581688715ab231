//! Changes of the configuration: what is set at once, and what waits for a restart.

use std::sync::Arc;

use futures::future::BoxFuture;
use http::Method;

use super::{
    check_digest,
    detach::{add_unused, delete, forget_unused, with_boot},
    has_system, kind,
    options::{check_privileges, check_values, options_of},
    root_only,
};
use crate::sandbox::{
    call::Call,
    config::property,
    drives::{Drive, Wanted, allocate, network_device},
    guest::{Guest, Kind, is_drive_key, is_numbered},
    router::Route,
    state::{LogEntry, State},
    wire::{Answer, Answered, Refusal},
};

pub const ROUTES: &[Route] = &[
    Route::slow(Method::PUT, "/nodes/{node}/qemu/{vmid}/config", put),
    Route::slow(Method::POST, "/nodes/{node}/qemu/{vmid}/config", post),
    Route::slow(Method::PUT, "/nodes/{node}/lxc/{vmid}/config", put),
];

/// What a call asks to be changed.
#[derive(Debug, Clone, Default)]
pub(super) struct Change {
    pub set: Vec<(String, String)>,
    pub delete: Vec<String>,
    pub revert: Vec<String>,
    /// Volumes of deleted `unused` disks go; they always do. Others go too with `force`.
    pub force: bool,
}

fn put(call: Arc<Call>) -> BoxFuture<'static, Answered> {
    Box::pin(async move {
        let (kind, vmid) = (kind(&call), call.vmid());
        let change = understand(&call)?;
        let _lock = call.lock(kind, vmid).await?;
        check_guest(&call, &change)?;
        note(&call, kind, vmid);
        let mut state = call.sandbox.state();
        apply(&mut state, (call.node(), kind, vmid), &change, call.now(), &mut Vec::new())?;
        Ok(Answer::null())
    })
}

fn post(call: Arc<Call>) -> BoxFuture<'static, Answered> {
    Box::pin(async move {
        let (kind, vmid, node) = (kind(&call), call.vmid(), call.node().to_owned());
        let change = understand(&call)?;
        let lock = call.lock(kind, vmid).await?;
        check_guest(&call, &change)?;
        note(&call, kind, vmid);
        let now = call.now();
        call.fork(&node.clone(), "qmconfig", vmid, async move |worker| {
            let _lock = lock;
            let disks = change.set.iter().any(|(key, _)| is_drive_key(kind, key));
            worker.work(std::time::Duration::from_millis(if disks { 800 } else { 100 })).await;
            let mut log = Vec::new();
            let done = apply(&mut worker.sandbox.state(), (&node, kind, vmid), &change, now, &mut log);
            log.into_iter().for_each(|line| worker.log(line));
            done.map_err(|refusal| match refusal.errors.first() {
                Some((key, problem)) => format!("{key}: {problem}"),
                None => refusal.message,
            })
        })
    })
}

/// Everything that can be checked without the guest, in PVE's order.
fn understand(call: &Call) -> Result<Change, Refusal> {
    let kind = kind(call);
    root_only(call, &["skiplock"])?;
    let mut change = Change {
        set: options_of(call),
        delete: call.list("delete").into_iter().map(str::to_owned).collect(),
        revert: call.list("revert").into_iter().map(str::to_owned).collect(),
        force: call.flag("force"),
    };
    if change.set.is_empty() && change.delete.is_empty() && change.revert.is_empty() {
        return Err(Refusal::failed("no options specified"));
    }
    let known = super::config::options(call, kind);
    for (name, list) in [("delete", &change.delete), ("revert", &change.revert)] {
        for key in list {
            let is_known = known.as_ref().is_some_and(|known| known.param(key).is_some())
                || matches!(key.as_str(), "lock" | "vmstate" | "parent" | "snaptime" | "meta")
                || is_numbered(key, "unused");
            if !is_known {
                return Err(Refusal::param(name, format!("unknown option '{key}'")));
            }
            if change.set.iter().any(|(set, _)| set == key) {
                let text = format!("you can't use '-{key}' and -{name} {key}' at the same time");
                return Err(Refusal::param(name, text));
            }
        }
    }
    check_values(call, kind, &mut change.set)?;
    let keys = change.set.iter().map(|(key, value)| (key.as_str(), value.as_str()));
    let keys: Vec<_> = keys.chain(change.delete.iter().map(|key| (key.as_str(), ""))).collect();
    check_privileges(call, kind, &keys)?;
    Ok(change)
}

/// What depends on the guest: digest, lock, boot order, devices that are there already.
fn check_guest(call: &Call, change: &Change) -> Result<(), Refusal> {
    let state = call.sandbox.state();
    let guest = state.guest(call.node(), kind(call), call.vmid())?;
    check_digest(guest, call.get("digest")).map_err(Refusal::failed)?;
    let unlocks = change.delete.iter().any(|key| key == "lock");
    let past_the_lock = call.flag("skiplock") || (unlocks && call.who.is_root());
    if !past_the_lock {
        guest.check_lock().map_err(Refusal::failed)?;
    }
    let coming = guest.coming();
    for (key, value) in &change.set {
        if key == "boot"
            && let Some(order) = property(value, "order")
        {
            let new = |device: &str| change.set.iter().any(|(set, _)| set == device);
            let missing = order.split(';').find(|device| !device.is_empty() && !coming.has(device) && !new(device));
            if let Some(device) = missing {
                return Err(Refusal::failed(format!("invalid bootorder: device '{device}' does not exist'")));
            }
        }
        if is_drive_key(guest.kind, key) && matches!(Drive::parse(value).wanted(), Wanted::CloudInit { .. }) {
            let other = guest.drives().into_iter().find(|(_, drive)| drive.is_cloud_init());
            if let Some((other, _)) = other {
                return Err(Refusal::failed(format!("{key} - cloud-init drive is already attached at '{other}'")));
            }
        }
    }
    Ok(())
}

/// A line in the cluster's log: who changes what of a VM. Of containers none was seen.
fn note(call: &Call, kind: Kind, vmid: u32) {
    /// They are taken off before the line is written.
    const NOT: [&str; 4] = ["background_delay", "digest", "node", "vmid"];
    /// The process that answers.
    const PID: u32 = 1_187;
    if kind != Kind::Qemu {
        return;
    }
    let options = call.params.iter().filter(|(name, _)| !NOT.contains(name));
    let words =
        options.map(|(name, value)| format!("-{name} {}", if name == "cipassword" { "<hidden>" } else { value }));
    let message = format!("update VM {vmid}: {}", words.collect::<Vec<_>>().join(" "));
    let user = call.who.full();
    call.sandbox.state().log(LogEntry {
        uid: 0,
        node: call.node().to_owned(),
        pid: PID,
        priority: 6,
        tag: "pvedaemon",
        time: call.now(),
        user,
        message,
    });
}

/// Whether a running guest takes the option at once.
pub(super) fn is_hot(guest: &Guest, key: &str) -> bool {
    let stem = key.trim_end_matches(|c: char| c.is_ascii_digit());
    match guest.kind {
        Kind::Lxc => matches!(
            stem,
            "memory"
                | "swap"
                | "cores"
                | "cpulimit"
                | "cpuunits"
                | "net"
                | "mp"
                | "description"
                | "onboot"
                | "startup"
                | "protection"
                | "hostname"
                | "hookscript"
                | "tags"
                | "lock"
                | "unused"
                | "timezone"
        ),
        Kind::Qemu => {
            let feature = |name: &str| {
                let features = guest.config.get("hotplug").unwrap_or("network,disk,usb");
                features == "1" || features.split(',').any(|feature| feature == name)
            };
            match stem {
                "net" => feature("network"),
                "scsi" | "virtio" | "unused" => feature("disk"),
                "usb" => feature("usb"),
                "memory" => feature("memory"),
                "vcpus" => feature("cpu"),
                "ide" | "sata" => guest.config.get(key).is_some_and(|value| Drive::parse(value).is_cdrom()),
                "name" | "onboot" | "shares" | "startup" | "description" | "protection" | "vmstatestorage"
                | "hookscript" | "tags" | "cpulimit" | "cpuunits" | "balloon" | "lock" | "ciuser" | "cipassword"
                | "citype" | "cicustom" | "ciupgrade" | "sshkeys" | "ipconfig" | "nameserver" | "searchdomain"
                | "migrate_downtime" | "migrate_speed" | "autostart" | "agent" => true,
                _ => false,
            }
        }
    }
}

/// Makes the change: at once where the guest is stopped or takes it, else as pending.
///
/// # Errors
/// What PVE says where a device cannot be made or removed.
pub(super) fn apply(
    state: &mut State,
    place: (&str, Kind, u32),
    change: &Change,
    now: u64,
    log: &mut Vec<String>,
) -> Result<(), Refusal> {
    let (node, kind, vmid) = place;
    let guest = state.guest(node, kind, vmid)?;
    let running = guest.is_running();
    let stubborn = running && !has_system(state, guest);
    for key in &change.revert {
        if let Some(guest) = state.guest_mut(vmid) {
            guest.pending.remove(key);
            guest.pending_delete.retain(|gone| gone != key);
            guest.pending_force.retain(|gone| gone != key);
        }
    }
    for key in &change.delete {
        delete(state, place, key, (running, stubborn, change.force))?;
    }
    for (key, value) in &change.set {
        let value = if is_drive_key(kind, key) {
            let drive = allocate(state, place, value, now, log).map_err(Refusal::failed)?;
            if matches!(Drive::parse(value).wanted(), Wanted::New { .. }) {
                log.push(format!("{key}: successfully created disk '{drive}'"));
            }
            drive.to_string()
        } else if is_numbered(key, "net") {
            network_device(state, kind, value)
        } else {
            value.clone()
        };
        let Some(guest) = state.guest_mut(vmid) else { continue };
        guest.pending_delete.retain(|gone| gone != key);
        guest.pending_force.retain(|gone| gone != key);
        let new_cd = kind == Kind::Qemu && Drive::parse(&value).is_cdrom() && !value.contains("cloudinit");
        if new_cd && is_drive_key(kind, key) {
            with_boot(guest, key);
        }
        // A mount point is added to a running container, but not changed.
        let changed_mount = kind == Kind::Lxc && is_numbered(key, "mp") && guest.config.has(key);
        let later = running && (changed_mount || !is_hot(guest, key));
        if is_drive_key(kind, key) {
            replace(guest, key, &Drive::parse(&value), later);
        }
        if later {
            if guest.config.get(key) == Some(value.as_str()) {
                guest.pending.remove(key);
            } else {
                guest.pending.set(key, value);
            }
        } else {
            guest.pending.remove(key);
            guest.config.set(key, value);
        }
    }
    Ok(())
}

/// A drive that another takes the place of becomes unused, and the other is so no longer.
fn replace(guest: &mut Guest, key: &str, new: &Drive, later: bool) {
    let old = guest.config.get(key).map(Drive::parse).filter(|_| !later);
    if let Some(old) = old.filter(|old| old.volume != new.volume && old.volume.contains(':') && !old.is_cdrom()) {
        add_unused(guest, &old.volume);
    }
    forget_unused(guest, &new.volume);
}
