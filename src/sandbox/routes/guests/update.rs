//! Changes of the configuration: what may be set by whom, what is set at once and what waits for a restart.

use std::{collections::BTreeSet, sync::Arc};

use base64::{Engine, prelude::BASE64_STANDARD};
use futures::future::BoxFuture;
use http::Method;
use percent_encoding::percent_decode_str;

use super::{check_digest, has_system, kind, root_only};
use crate::sandbox::{
    call::Call,
    config::property,
    drives::{Drive, Wanted, allocate, check_storage, network_device},
    guest::{Guest, Kind, is_drive_key, is_numbered},
    params::split_list,
    router::Route,
    state::State,
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

/// Parameters that are not options of the guest.
const CONTROL: [&str; 23] = [
    "node",
    "vmid",
    "digest",
    "delete",
    "revert",
    "force",
    "skiplock",
    "background_delay",
    "import-working-storage",
    "archive",
    "pool",
    "storage",
    "start",
    "unique",
    "bwlimit",
    "live-restore",
    "ha-managed",
    "ostemplate",
    "restore",
    "ssh-public-keys",
    "password",
    "ignore-unpack-errors",
    "rootfs-size",
];

/// The options among a call's parameters.
pub(super) fn options_of(call: &Call) -> Vec<(String, String)> {
    let options = call.params.iter().filter(|(name, _)| !CONTROL.contains(name));
    options.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

fn put(call: Arc<Call>) -> BoxFuture<'static, Answered> {
    Box::pin(async move {
        let (kind, vmid) = (kind(&call), call.vmid());
        let change = understand(&call)?;
        let _lock = call.lock(kind, vmid).await?;
        check_guest(&call, &change)?;
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

/// Checks single values, and puts them into the form that is kept.
///
/// # Errors
/// PVE's refusal of the first value that is not good.
pub(super) fn check_values(call: &Call, kind: Kind, set: &mut [(String, String)]) -> Result<(), Refusal> {
    for (key, value) in set {
        match key.as_str() {
            "hookscript" => {
                let state = call.sandbox.state();
                let storage = state.storages.get(value.split(':').next().unwrap_or_default());
                if storage.and_then(|storage| state.volumes.get(storage, call.node(), value)).is_none() {
                    return Err(Refusal::param("hookscript", format!("script '{value}' does not exist\n")));
                }
            }
            "tags" => *value = tags(value),
            "sshkeys" => {
                let keys = percent_decode_str(value).decode_utf8_lossy().into_owned();
                let mut lines = keys.lines().filter(|line| !line.trim().is_empty() && !line.starts_with('#'));
                if !lines.all(is_ssh_key) {
                    return Err(Refusal::failed("SSH public key validation error"));
                }
            }
            "cipassword" if !value.starts_with('$') => *value = hashed(value),
            "features" if !call.who.is_root() => {
                let only_nesting = value.split(',').all(|part| part.starts_with("nesting="));
                if !only_nesting {
                    let text = "changing feature flags (except nesting) is only allowed for root@pam";
                    return Err(Refusal::forbidden(text));
                }
            }
            key if is_drive_key(kind, key) => check_drive(call, kind, value)?,
            _ => {}
        }
    }
    Ok(())
}

/// Whether the caller may use the storage a drive is on, and it can hold the drive.
fn check_drive(call: &Call, kind: Kind, value: &str) -> Result<(), Refusal> {
    let drive = Drive::parse(value);
    let state = call.sandbox.state();
    match drive.wanted() {
        Wanted::Nothing => Ok(()),
        Wanted::New { storage, .. } | Wanted::CloudInit { storage } => {
            state.storage(storage, call.node())?;
            state.check(&call.who, &format!("/storage/{storage}"), &["Datastore.AllocateSpace"])?;
            check_storage(&state, storage, call.node(), kind).map(drop)
        }
        Wanted::Existing { storage } => {
            state.storage(storage, call.node())?;
            let path = format!("/storage/{storage}");
            let own = drive.volume.contains(&format!("-{}-", call.vmid()));
            if own {
                Ok(())
            } else {
                state.check_any(&call.who, &path, &["Datastore.Audit", "Datastore.AllocateSpace"])
            }
        }
    }
}

/// Lower case, sorted, each once.
pub(super) fn tags(text: &str) -> String {
    let tags: BTreeSet<String> = split_list(text).map(str::to_lowercase).collect();
    tags.into_iter().collect::<Vec<_>>().join(";")
}

/// Something in the form of a crypt hash: what it hides is not kept.
fn hashed(password: &str) -> String {
    let digest = crate::sandbox::config::digest(password);
    format!("$5${}${}", &digest[..8], BASE64_STANDARD.encode(&digest).replace(['+', '='], ".").get(..43).unwrap_or("."))
}

/// One line of authorized keys: a type and a blob that says the same type and is complete.
fn is_ssh_key(line: &str) -> bool {
    let mut words = line.split_whitespace().skip_while(|word| !word.contains("ssh-") && !word.contains("ecdsa-"));
    let (Some(kind), Some(blob)) = (words.next(), words.next()) else { return false };
    let Ok(blob) = BASE64_STANDARD.decode(blob) else { return false };
    let mut rest = blob.as_slice();
    let mut parts = Vec::new();
    while let Some((length, after)) = rest.split_first_chunk::<4>() {
        let length = u32::from_be_bytes(*length) as usize;
        let Some((part, after)) = after.split_at_checked(length) else { return false };
        parts.push(part);
        rest = after;
    }
    rest.is_empty() && parts.len() > 1 && parts.first() == Some(&kind.as_bytes())
}

/// Which privilege on the guest an option needs.
fn privilege(kind: Kind, key: &str, value: &str) -> &'static str {
    let stem = key.trim_end_matches(|c: char| c.is_ascii_digit());
    match (kind, stem) {
        (_, "cores" | "sockets" | "smp" | "cpu" | "vcpus" | "cpulimit" | "cpuunits" | "affinity") => "VM.Config.CPU",
        (Kind::Qemu, "numa") if key == "numa" => "VM.Config.CPU",
        (_, "memory" | "balloon" | "shares" | "swap" | "hugepages" | "keephugepages" | "numa") => "VM.Config.Memory",
        (_, "net" | "ipconfig" | "nameserver" | "searchdomain" | "hostname") => "VM.Config.Network",
        (Kind::Qemu, "ciuser" | "cipassword" | "citype" | "cicustom" | "ciupgrade" | "sshkeys") => {
            "VM.Config.Cloudinit"
        }
        (Kind::Qemu, "boot" | "bootdisk" | "unused") | (Kind::Lxc, "rootfs" | "mp" | "unused") => "VM.Config.Disk",
        (Kind::Qemu, _) if key == "cdrom" || Drive::parse(value).is_cdrom() && is_drive_key(kind, key) => {
            "VM.Config.CDROM"
        }
        (Kind::Qemu, _) if is_drive_key(kind, key) => "VM.Config.Disk",
        (
            Kind::Qemu,
            "acpi" | "arch" | "audio" | "hotplug" | "kvm" | "machine" | "rng" | "scsihw" | "serial" | "smbios"
            | "tablet" | "usb" | "hostpci" | "vga" | "watchdog",
        ) => "VM.Config.HWType",
        _ => "VM.Config.Options",
    }
}

/// # Errors
/// 403 for the first option that the caller may not set; 500 for those that are root's alone.
pub(super) fn check_privileges(call: &Call, kind: Kind, keys: &[(&str, &str)]) -> Result<(), Refusal> {
    let path = format!("/vms/{}", call.vmid());
    for (key, value) in keys {
        let stem = key.trim_end_matches(|c: char| c.is_ascii_digit());
        let devices = matches!(stem, "usb" | "hostpci" | "serial") && !value.is_empty();
        let real = devices && !value.contains("mapping=") && !value.starts_with("spice") && *value != "socket";
        if !call.who.is_root() {
            if real && kind == Kind::Qemu {
                return Err(Refusal::failed(format!("only root can set '{key}' config for real devices")));
            }
            if matches!(stem, "args" | "lock" | "parallel" | "hookscript") && !value.is_empty() {
                return Err(Refusal::failed(format!("only root can set '{key}' config")));
            }
        }
        if *key == "lock" {
            continue;
        }
        call.check(&path, &[privilege(kind, key, value)])?;
        if let (true, Some(bridge)) = (is_numbered(key, "net"), property(value, "bridge")) {
            call.check(&format!("/sdn/zones/localnetwork/{bridge}"), &["SDN.Use"])?;
        }
    }
    Ok(())
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
    if guest.config.flag("protection") {
        let drive = change.delete.iter().find(|key| is_drive_key(guest.kind, key) || is_numbered(key, "unused"));
        if drive.is_some() {
            let word = guest.kind.word();
            return Err(Refusal::failed(format!("can't remove {word} {} - protection mode enabled", guest.vmid)));
        }
    }
    Ok(())
}

/// Whether a running guest takes the option at once.
fn is_hot(guest: &Guest, key: &str) -> bool {
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
            replace(state, vmid, key, &drive);
            drive.to_string()
        } else if is_numbered(key, "net") {
            network_device(state, kind, value)
        } else {
            value.clone()
        };
        let Some(guest) = state.guest_mut(vmid) else { continue };
        guest.pending_delete.retain(|gone| gone != key);
        if running && !is_hot(guest, key) {
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

/// A drive that another takes the place of becomes unused.
fn replace(state: &mut State, vmid: u32, key: &str, new: &Drive) {
    let Some(guest) = state.guest_mut(vmid) else { return };
    let Some(old) = guest.config.get(key).map(Drive::parse) else {
        forget_unused(guest, &new.volume);
        return;
    };
    if old.volume != new.volume && old.volume.contains(':') && !old.is_cdrom() {
        add_unused(guest, &old.volume);
    }
    forget_unused(guest, &new.volume);
}

fn forget_unused(guest: &mut Guest, volid: &str) {
    let key = guest.config.iter().find(|(key, value)| is_numbered(key, "unused") && *value == volid);
    if let Some(key) = key.map(|(key, _)| key.to_owned()) {
        guest.config.remove(&key);
    }
}

pub(super) fn add_unused(guest: &mut Guest, volid: &str) {
    let free = (0..256).map(|n| format!("unused{n}")).find(|key| !guest.config.has(key));
    if let Some(key) = free {
        guest.config.set(key, volid);
    }
}

fn delete(
    state: &mut State,
    (node, kind, vmid): (&str, Kind, u32),
    key: &str,
    (running, stubborn, force): (bool, bool, bool),
) -> Result<(), Refusal> {
    let Some(guest) = state.guest_mut(vmid) else { return Ok(()) };
    guest.pending.remove(key);
    let Some(old) = guest.config.get(key).map(str::to_owned) else { return Ok(()) };
    let device = is_numbered(key, "net") || is_drive_key(kind, key) && !Drive::parse(&old).is_cdrom();
    if running && stubborn && device && is_hot(guest, key) {
        guest.pending_delete.push(key.to_owned());
        let problem = format!("hotplug problem - error on hot-unplugging device '{key}' - still busy in guest?\n");
        return Err(Refusal::param(key, problem));
    }
    if running && !is_hot(guest, key) {
        guest.pending_delete.push(key.to_owned());
        return Ok(());
    }
    guest.config.remove(key);
    if is_numbered(key, "unused") {
        state.remove_volume(&Drive::parse(&old).volume, node);
        return Ok(());
    }
    if is_drive_key(kind, key) {
        let drive = Drive::parse(&old);
        without_boot(guest, key);
        if drive.is_cloud_init() || (force && !drive.is_cdrom()) {
            state.remove_volume(&drive.volume, node);
        } else if drive.volume.contains(':') && !drive.is_cdrom() {
            add_unused(guest, &drive.volume);
        }
    }
    Ok(())
}

/// Takes a device off the boot order.
pub(super) fn without_boot(guest: &mut Guest, key: &str) {
    let Some(order) = guest.config.get("boot").and_then(|boot| property(boot, "order")) else { return };
    let rest: Vec<_> = order.split(';').filter(|device| *device != key).collect();
    let boot = if rest.is_empty() { " ".to_owned() } else { format!("order={}", rest.join(";")) };
    guest.config.set("boot", boot);
}
