//! Migration between the nodes of the cluster.

use std::{collections::BTreeMap, time::Duration};

use serde_json::{Map, Value, json};

use super::{found, kind, managed, power, root_only};
use crate::sandbox::{
    call::Call,
    drives::{Drive, bridge},
    guest::{Guest, Kind, Run, is_numbered},
    router::Route,
    state::State,
    wire::{Answered, Refusal},
    worker::Worker,
};

pub const ROUTES: &[Route] = &[
    Route::get("/nodes/{node}/qemu/{vmid}/migrate", preconditions),
    Route::get("/nodes/{node}/lxc/{vmid}/migrate", preconditions),
    Route::post("/nodes/{node}/qemu/{vmid}/migrate", migrate),
    Route::post("/nodes/{node}/lxc/{vmid}/migrate", migrate),
];

/// Bytes a second over the cluster's network.
const RATE: u64 = 500 << 20;

/// The drives that would have to be copied: those not on shared storage.
fn local_drives(state: &State, guest: &Guest) -> Vec<(String, Drive)> {
    let own = |drive: &Drive| drive.volume.contains(':') && !drive.volume.contains(":iso/");
    let shared =
        |drive: &Drive| state.storages.get(drive.storage()).is_some_and(crate::sandbox::storage::Storage::is_shared);
    guest.drives().into_iter().filter(|(_, drive)| own(drive) && !shared(drive)).collect()
}

/// Storages of the guest that are not there on a node.
fn unavailable(state: &State, guest: &Guest, node: &str) -> Vec<String> {
    let drives = guest.drives().into_iter().filter(|(_, drive)| drive.volume.contains(':'));
    let mut ids: Vec<_> = drives.map(|(_, drive)| drive.storage().to_owned()).collect();
    ids.sort_unstable();
    ids.dedup();
    ids.retain(|id| state.storage(id, node).is_err());
    ids
}

fn preconditions(call: &Call) -> Answered {
    let kind = kind(call);
    let state = call.sandbox.state();
    let guest = state.guest(call.node(), kind, call.vmid())?;
    let mut allowed = Vec::new();
    let mut refused = Map::new();
    let others = state.nodes.values().filter(|node| node.name != call.node());
    for node in others {
        let missing = unavailable(&state, guest, &node.name);
        if missing.is_empty() && node.online {
            allowed.push(node.name.as_str());
        } else if !missing.is_empty() {
            refused.insert(node.name.clone(), json!({"unavailable_storages": missing}));
        }
    }
    if kind == Kind::Lxc {
        return Ok(json!({
            "running": u8::from(guest.is_running()), "allowed-nodes": allowed, "not-allowed-nodes": refused,
        })
        .into());
    }
    let disks = local_drives(&state, guest).into_iter().map(|(key, drive)| {
        json!({
            "drivename": key, "volid": drive.volume, "size": drive.size(), "cdrom": u8::from(drive.is_cdrom()),
            "is_attached": 1, "is_cloudinit": u8::from(drive.is_cloud_init()), "is_tpmstate": u8::from(key == "tpmstate0"),
            "is_unused": 0, "is_vmstate": 0, "replicate": 1, "shared": 0,
        })
    });
    let disks: Vec<Value> = disks.collect();
    let resources: Vec<&str> = guest
        .config
        .iter()
        .filter(|(key, value)| (is_numbered(key, "hostpci") || is_numbered(key, "usb")) && !value.contains("mapping="))
        .map(|(key, _)| key)
        .collect();
    let out = json!({
        "has-dbus-vmstate": 1,
        "running": u8::from(guest.is_running()), "allowed_nodes": allowed, "not_allowed_nodes": refused,
        "local_disks": disks, "local_resources": resources, "mapped-resources": [], "mapped-resource-info": {},
    });
    Ok(out.into())
}

fn migrate(call: &Call) -> Answered {
    let (kind, vmid, node) = (kind(call), call.vmid(), call.node().to_owned());
    let target = call.text("target").to_owned();
    if target == node {
        return Err(Refusal::param("target", "target is local node."));
    }
    root_only(call, &["force"])?;
    let state = call.sandbox.state();
    if !state.nodes.contains_key(&target) {
        return Err(Refusal::failed(format!("no such cluster node '{target}'")));
    }
    let guest = state.guest(&node, kind, vmid)?;
    guest.check_lock().map_err(Refusal::failed)?;
    let running = guest.is_running();
    let (online, restart) = (call.flag("online"), call.flag("restart"));
    if running && kind == Kind::Qemu && !online {
        return Err(Refusal::failed("can't migrate running VM without --online"));
    }
    if running && kind == Kind::Lxc && !online && !restart {
        return Err(Refusal::failed("can't migrate running container without --online or --restart"));
    }
    let mapping = mapping(&state, guest, call.get("targetstorage").or_else(|| call.get("target-storage")));
    for id in mapping.values() {
        state.storage(id, &target)?;
    }
    let with_disks = kind == Kind::Lxc || call.flag("with-local-disks") || !running;
    let is_managed = state.ha.wants(kind, vmid).is_some();
    drop(state);
    let task = if kind == Kind::Qemu { "qmigrate" } else { "vzmigrate" };
    let journey = Journey { kind, vmid, node: node.clone(), target: target.clone(), running, with_disks, mapping };
    if is_managed {
        return managed::passed_on_migration(call, kind, vmid, &target, move |sandbox| {
            drop(sandbox.start_as("root@pam", &node, task, &vmid.to_string(), |worker| move_guest(worker, journey)));
        });
    }
    call.fork(&node, task, vmid, |worker| move_guest(worker, journey))
}

/// What is to go where.
struct Journey {
    kind: Kind,
    vmid: u32,
    node: String,
    target: String,
    running: bool,
    with_disks: bool,
    mapping: BTreeMap<String, String>,
}

/// The task of a migration.
async fn move_guest(worker: Worker, journey: Journey) -> Result<(), String> {
    let Journey { kind, vmid, node, target, running, with_disks, mapping } = journey;
    let _lock = worker.lock(kind, vmid).await?;
    worker.log(format!("starting migration of {} {vmid} to node '{target}'", kind.word()));
    let result = transfer(&worker, (&node, &target), (kind, vmid), (with_disks, &mapping)).await;
    if result.is_err() {
        if let Some(guest) = worker.sandbox.state().guest_mut(vmid) {
            guest.config.remove("lock");
        }
        worker.log("aborting phase 1 - cleanup resources");
        return result.map_err(|error| format!("migration aborted: {error}"));
    }
    if running && kind == Kind::Lxc {
        worker.log("start container on target node");
        power::bring_up(&worker, &target, kind, vmid, false).await?;
    }
    worker.log("migration finished successfully");
    Ok(())
}

/// Storage here → storage there.
fn mapping(state: &State, guest: &Guest, asked: Option<&str>) -> BTreeMap<String, String> {
    let drives = local_drives(state, guest);
    let to = |id: &str| {
        let pairs = asked.unwrap_or("1").split(',');
        let found =
            pairs.clone().find_map(|pair| pair.split_once(':').filter(|(from, _)| *from == id).map(|(_, to)| to));
        let all = pairs.clone().find(|pair| !pair.contains(':') && *pair != "1");
        found.or(all).unwrap_or(id).to_owned()
    };
    drives.iter().map(|(_, drive)| (drive.storage().to_owned(), to(drive.storage()))).collect()
}

async fn transfer(
    worker: &Worker,
    (node, target): (&str, &str),
    (kind, vmid): (Kind, u32),
    (with_disks, mapping): (bool, &BTreeMap<String, String>),
) -> Result<(), String> {
    let (drives, running, memory) = {
        let mut state = worker.sandbox.state();
        let guest = found(&state, node, kind, vmid)?;
        guest.check_lock()?;
        let drives = local_drives(&state, guest);
        if let Some((key, drive)) = drives.first().filter(|_| !with_disks) {
            return Err(format!("can't migrate local disk '{}': {key} is local, use --with-local-disks", drive.volume));
        }
        for (_, device) in guest.config.iter().filter(|(key, _)| is_numbered(key, "net")) {
            let there = |bridge: &str| state.nodes.get(target).is_some_and(|node| node.network.contains_key(bridge));
            if let Some(bridge) = bridge(device).filter(|bridge| !there(bridge)) {
                return Err(format!("bridge '{bridge}' does not exist on node '{target}'"));
            }
        }
        let facts = (drives, guest.is_running(), guest.maxmem());
        if let Some(guest) = state.guest_mut(vmid) {
            guest.config.set("lock", "migrate");
        }
        facts
    };
    if let (true, Kind::Lxc) = (running, kind) {
        worker.log(format!("shutdown CT {vmid}"));
        worker.work(Duration::from_secs(3)).await;
    }
    for (key, drive) in &drives {
        let to = mapping.get(drive.storage()).map_or("", String::as_str);
        worker.log(format!("found local disk '{}' (attached)", drive.volume));
        worker.log(format!("copying local disk image '{}' to storage '{to}' on '{target}'", drive.volume));
        worker.transfer(drive.size(), RATE).await;
        let mut state = worker.sandbox.state();
        carry(&mut state, (node, target), vmid, (key, drive, to));
    }
    if running && kind == Kind::Qemu {
        worker.log(format!("starting VM {vmid} on remote node '{target}'"));
        worker.log("start migrate command to unix:/run/qemu-server/migrate");
        let mib = memory >> 20;
        for part in 1..=4_u64 {
            worker.work(Duration::from_secs_f64(memory as f64 / RATE as f64 / 4.0)).await;
            worker.log(format!(
                "migration active, transferred {:.1} MiB of {mib:.1} MiB VM-state, 500.0 MiB/s",
                mib as f64 * part as f64 / 4.0
            ));
        }
        worker.log("average migration speed: 500.0 MiB/s - downtime 42 ms");
        worker.log("migration status: completed");
    } else {
        worker.work(Duration::from_millis(800)).await;
    }
    let mut state = worker.sandbox.state();
    let pid = state.tasks.next_pid();
    if let Some(guest) = state.guest_mut(vmid) {
        guest.node = target.to_owned();
        guest.config.remove("lock");
        guest.run = match guest.run.take() {
            Some(run) if kind == Kind::Qemu => Some(Run { pid, ..run }),
            _ => None,
        };
    }
    Ok(())
}

/// Moves one local volume to the other node.
fn carry(state: &mut State, (node, target): (&str, &str), vmid: u32, (key, drive, to): (&str, &Drive, &str)) {
    let Some(mut volume) = state.remove_volume(&drive.volume, node) else { return };
    let Some(storage) = state.storages.get(to).cloned() else { return };
    if to != drive.storage() || state.volumes.get(&storage, target, &volume.volid).is_some() {
        if !storage.is_files() {
            volume.format = "raw".to_owned();
        }
        volume.volid = state.volumes.next_disk(&storage, target, vmid, "vm", &volume.format);
    }
    let moved = Drive { volume: volume.volid.clone(), options: drive.options.clone() };
    state.volumes.put(&storage, target, volume);
    if let Some(guest) = state.guest_mut(vmid) {
        guest.config.set(key, moved.to_string());
    }
}
