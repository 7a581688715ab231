//! Clones, full and linked.

use std::time::Duration;

use super::{
    create::{Making, vacant},
    kind, on_node,
};
use crate::sandbox::{
    call::Call,
    config::{Config, format_size, property},
    drives::{Drive, formatting},
    guest::{Guest, Kind, is_drive_key, is_numbered},
    router::Route,
    state::State,
    storage::{Storage, Volume, disk_volid},
    wire::{Answered, Refusal},
    worker::Worker,
};

pub const ROUTES: &[Route] =
    &[Route::post("/nodes/{node}/qemu/{vmid}/clone", clone), Route::post("/nodes/{node}/lxc/{vmid}/clone", clone)];

/// Bytes a second of a copy.
const RATE: u64 = 1 << 30;

/// One drive to be copied.
#[derive(Debug, Clone)]
struct Copy {
    key: String,
    drive: Drive,
    /// The storage of the copy.
    storage: Storage,
    format: String,
    full: bool,
}

struct Plan {
    kind: Kind,
    source: (String, u32),
    target: (String, u32),
    copies: Vec<Copy>,
}

fn clone(call: &Call) -> Answered {
    let (kind, vmid, node) = (kind(call), call.vmid(), call.node().to_owned());
    let newid = call.int("newid").and_then(|id| u32::try_from(id).ok()).unwrap_or_default();
    let target = call.get("target").unwrap_or(&node).to_owned();
    let mut state = call.sandbox.state();
    on_node(&state, &node, kind, vmid)?;
    if let Some(pool) = call.get("pool")
        && !state.pools.contains_key(pool)
    {
        return Err(Refusal::forbidden(&format!("pool '{pool}' does not exist")));
    }
    if !state.nodes.contains_key(&target) {
        return Err(Refusal::failed(format!("no such cluster node '{target}'")));
    }
    if let Some(storage) = call.get("storage") {
        state.storage(storage, &target)?;
    }
    let guest = state.guest(&node, kind, vmid)?;
    guest.check_lock().map_err(Refusal::failed)?;
    vacant(&state, newid).map_err(|taken| {
        Refusal::failed(match kind {
            Kind::Qemu => format!("unable to create VM {newid}: config file already exists"),
            Kind::Lxc => taken,
        })
    })?;
    let mut config = match call.get("snapname") {
        Some(name) => {
            let snapshot = guest.snapshots.iter().find(|snapshot| snapshot.name == name);
            snapshot.ok_or_else(|| Refusal::failed(format!("snapshot '{name}' does not exist")))?.config.clone()
        }
        None => guest.coming(),
    };
    if kind == Kind::Lxc && guest.is_running() && call.get("snapname").is_none() {
        return Err(Refusal::failed("cannot do full clones on a running container without snapshots"));
    }
    let full = call.get("full").map_or(!guest.is_template(), |full| full != "0");
    for (_, value) in config.iter().filter(|(key, _)| is_numbered(key, "net")) {
        if let Some(bridge) = property(value, "bridge") {
            state.check(&call.who, &format!("/sdn/zones/localnetwork/{bridge}"), &["SDN.Use"])?;
        }
    }
    let copies = plan(call, &state, guest, &config, (full, &target))?;
    strip(call, kind, guest, &mut config, newid);
    config.set("lock", "clone");
    if kind == Kind::Lxc {
        config.set("lock", "create");
    }
    let plan = Plan { kind, source: (node.clone(), vmid), target: (node.clone(), newid), copies };
    state.add_guest(Guest::new(newid, kind, &node, config));
    if let Some(pool) = call.get("pool") {
        state.set_pool(newid, Some(pool));
    }
    drop(state);
    let making = Making::new(&call.sandbox, &node, newid);
    let task = if kind == Kind::Qemu { "qmclone" } else { "vzclone" };
    call.fork(&node, task, vmid, async move |worker| {
        let thing = if kind == Kind::Qemu { "VM" } else { "container" };
        worker.log(format!("creating a clone of {thing} {vmid} with ID {newid}"));
        copy(&worker, &plan).await?;
        if let Some(guest) = worker.sandbox.state().guest_mut(newid) {
            guest.node = target;
        }
        making.finish();
        Ok(())
    })
}

/// What is to be copied, from where to where, and whether that can be done.
fn plan(
    call: &Call,
    state: &State,
    guest: &Guest,
    config: &Config,
    (full, target): (bool, &str),
) -> Result<Vec<Copy>, Refusal> {
    let mut copies = Vec::new();
    let mut keys: Vec<_> = config.iter().filter(|(key, _)| is_drive_key(guest.kind, key)).collect();
    keys.sort_unstable();
    for (key, value) in keys {
        let drive = Drive::parse(value);
        if !drive.volume.contains(':') {
            continue;
        }
        let from = state.storage(drive.storage(), &guest.node)?;
        // An image in a CD drive is not copied, but has to be there on the other node.
        if target != guest.node && !from.is_shared() {
            let word = if guest.kind == Kind::Qemu { "VM" } else { "CT" };
            return Err(Refusal::failed(format!("can't clone {word} to node '{target}' ({word} uses local storage)")));
        }
        if drive.is_cdrom() && !drive.is_cloud_init() {
            continue;
        }
        let whole = full || drive.is_cloud_init();
        let volume = state.volumes.get(from, &guest.node, &drive.volume);
        if !whole && !volume.is_some_and(|volume| volume.volid.contains("base-")) {
            return Err(Refusal::failed(format!("Linked clone feature is not supported for drive '{key}'")));
        }
        let storage = match call.get("storage").filter(|_| full) {
            Some(id) => state.storage(id, &guest.node)?.clone(),
            None => from.clone(),
        };
        state.check(&call.who, &format!("/storage/{}", storage.id), &["Datastore.AllocateSpace"])?;
        if whole {
            crate::sandbox::drives::check_storage(state, &storage.id, &guest.node, guest.kind)?;
        }
        let old = volume.map_or("raw", |volume| volume.format.as_str());
        let format = match call.get("format") {
            Some(format) if storage.is_files() => format,
            _ if storage.is_files() => {
                if old == "subvol" {
                    "raw"
                } else {
                    old
                }
            }
            _ => "raw",
        };
        copies.push(Copy { key: key.to_owned(), drive, storage, format: format.to_owned(), full: whole });
    }
    Ok(copies)
}

/// The configuration of a clone: what belongs to the source alone goes, identity is new.
fn strip(call: &Call, kind: Kind, guest: &Guest, config: &mut Config, newid: u32) {
    let gone = |key: &str| {
        matches!(key, "template" | "parent" | "snaptime" | "lock" | "vmstate" | "protection")
            || is_numbered(key, "unused")
    };
    for key in config.keys().filter(|key| gone(key)).map(str::to_owned).collect::<Vec<_>>() {
        config.remove(&key);
    }
    let (name, given) = match kind {
        Kind::Qemu => ("name", call.get("name")),
        Kind::Lxc => ("hostname", call.get("hostname")),
    };
    match (given, kind) {
        (Some(given), _) => config.set(name, given),
        (None, Kind::Qemu) => {
            let old = guest.config.get("name").map_or_else(|| guest.vmid.to_string(), str::to_owned);
            config.set(name, format!("Copy-of-VM-{old}"));
        }
        (None, Kind::Lxc) => {
            config.set(name, guest.name().unwrap_or_else(|| format!("CT{newid}")));
        }
    }
    if let Some(description) = call.get("description") {
        config.set("description", description);
    }
}

async fn copy(worker: &Worker, plan: &Plan) -> Result<(), String> {
    let (node, newid) = (&plan.target.0, plan.target.1);
    // Clones of one guest come one after the other.
    let source = worker.sandbox.file_lock(plan.kind, plan.source.1);
    let _turn = source.lock_owned().await;
    for one in &plan.copies {
        let thing = if plan.kind == Kind::Qemu { "drive" } else { "mountpoint" };
        let how = if one.full { "full" } else { "linked" };
        worker.log(format!("create {how} clone of {thing} {} ({})", one.key, one.drive.volume));
        let (volid, size, used) = make(worker, plan, one)?;
        if !one.full {
            worker.work(Duration::from_millis(500)).await;
        } else if one.drive.is_cloud_init() {
            worker.work(Duration::from_millis(100)).await;
        } else if plan.kind == Kind::Qemu {
            worker.transfer(size, RATE).await;
            worker.log(format!("transferred {0} of {0} (100.00%)", crate::sandbox::config::render_bytes(size)));
        } else {
            super::create::file_system(worker, size);
            worker.work(Duration::from_secs_f64(0.5 + used as f64 / RATE as f64)).await;
            rsync(worker, used);
        }
        let mut drive = one.drive.clone();
        drive.volume = volid;
        if !drive.is_cloud_init() {
            drive.options.insert("size".to_owned(), format_size(size));
        }
        if let Some(guest) = worker.sandbox.state().guest_mut(newid) {
            guest.config.set(one.key.as_str(), drive.to_string());
        }
    }
    let mut state = worker.sandbox.state();
    if state.guests().get(&newid).is_none() {
        return Err(format!("Configuration file 'nodes/{node}/{}/{newid}.conf' does not exist", plan.kind.folder()));
    }
    state.renew_addresses(newid);
    Ok(())
}

/// What the copy of a container's files prints at its end.
fn rsync(worker: &Worker, bytes: u64) {
    worker.log("");
    worker.log(format!("Number of files: {} (reg: {}, dir: {})", bytes / 20_000, bytes / 26_000, bytes / 90_000));
    worker.log(format!("Total file size: {bytes} bytes"));
    worker.log(format!("Total bytes sent: {bytes}"));
    worker.log("Total bytes received: 1,209");
}

/// Makes the volume of a copy: its id, size, and what it holds.
fn make(worker: &Worker, plan: &Plan, one: &Copy) -> Result<(String, u64, u64), String> {
    let (node, newid) = (&plan.target.0, plan.target.1);
    let mut state = worker.sandbox.state();
    let from = state.storage(one.drive.storage(), node).map_err(|refusal| refusal.message)?;
    let volume = state.volumes.get(from, node, &one.drive.volume);
    let volume = volume.ok_or_else(|| crate::sandbox::drives::missing(&one.drive.volume))?.clone();
    let volid = if one.drive.is_cloud_init() {
        disk_volid(&one.storage, newid, &format!("vm-{newid}-cloudinit"), &one.format)
    } else {
        state.volumes.next_disk(&one.storage, node, newid, "vm", &one.format)
    };
    let now = worker.sandbox.clock().now();
    let mut new = Volume::new(volid.as_str(), &volume.content, &one.format, volume.size).of(newid).at(now);
    new.used = volume.used;
    if !one.full {
        new.parent = Some(volume.volid.clone());
    }
    let mut lines = Vec::new();
    let name = volid.rsplit(['/', ':']).next().unwrap_or_default();
    let base = volume.volid.split_once(':').map_or("", |(_, base)| base);
    match (one.full, one.storage.is_files()) {
        (true, _) => {
            lines.push(formatting(&one.storage, &volid, &one.format, volume.size));
            if plan.kind == Kind::Qemu {
                lines.push(format!("allocated target volume '{volid}'"));
            }
        }
        (false, true) => {
            lines.push(format!("clone {base}: images, {name}, {newid} to {name} (base=../{base})"));
            let path = crate::sandbox::drives::image_path(&one.storage, &volid);
            lines.push(format!(
                "Formatting '{path}', fmt=qcow2 cluster_size=131072 extended_l2=on preallocation=metadata \
                 compression_type=zlib size={} backing_file=../{base} backing_fmt=qcow2 lazy_refcounts=off \
                 refcount_bits=16",
                volume.size
            ));
        }
        (false, false) => lines.push(format!("  Logical volume \"{name}\" created.")),
    }
    state.volumes.put(&one.storage, node, new);
    drop(state);
    lines.into_iter().for_each(|line| worker.log(line));
    Ok((volid, volume.size, volume.used))
}

impl State {
    /// Gives a guest new network addresses and, where it is a VM, a new identity.
    pub(super) fn renew_addresses(&mut self, vmid: u32) {
        let Some(guest) = self.guests().get(&vmid) else { return };
        let kind = guest.kind;
        let devices = guest.config.iter().filter(|(key, _)| is_numbered(key, "net"));
        let devices: Vec<_> = devices.map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
        let mut renewed = Vec::new();
        for (key, value) in devices {
            let mac = self.random_mac();
            let old =
                value.split(',').flat_map(|part| part.split('=').nth(1)).find(|text| text.matches(':').count() == 5);
            renewed.push((key, old.map_or(value.clone(), |old| value.replace(old, &mac))));
        }
        if kind == Kind::Qemu {
            renewed.push(("smbios1".to_owned(), format!("uuid={}", self.random_uuid())));
            renewed.push(("vmgenid".to_owned(), self.random_uuid()));
        }
        if let Some(guest) = self.guest_mut(vmid) {
            renewed.into_iter().for_each(|(key, value)| guest.config.set(key, value));
        }
    }
}
