//! Migration between the nodes of the cluster: what can be asked beforehand, and what is refused at once. The task is in
//! `journey.rs`.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::{journey::Journey, kind, managed, root_only};
use crate::sandbox::{
    call::Call,
    drives::Drive,
    guest::{Guest, Kind, is_numbered},
    ha::sid,
    router::Route,
    state::State,
    storage::Storage,
    wire::{Answered, Refusal},
    worker::Worker,
};

pub const ROUTES: &[Route] = &[
    Route::get("/nodes/{node}/qemu/{vmid}/migrate", preconditions),
    Route::get("/nodes/{node}/lxc/{vmid}/migrate", preconditions),
    Route::post("/nodes/{node}/qemu/{vmid}/migrate", migrate),
    Route::post("/nodes/{node}/lxc/{vmid}/migrate", migrate),
];

/// The drives that are not on shared storage; images in CD drives among them.
pub(super) fn local_drives(state: &State, guest: &Guest) -> Vec<(String, Drive)> {
    let shared = |drive: &Drive| state.storages.get(drive.storage()).is_some_and(Storage::is_shared);
    let drives = guest.drives().into_iter();
    drives.filter(|(_, drive)| drive.volume.contains(':') && !shared(drive)).collect()
}

/// What is passed through of the node's own hardware.
pub(super) fn local_resources(guest: &Guest) -> Vec<&str> {
    let real = |key: &str, value: &str| {
        (is_numbered(key, "hostpci") || is_numbered(key, "usb"))
            && !value.contains("mapping=")
            && !value.starts_with("spice")
            || is_numbered(key, "serial") && value != "socket"
            || is_numbered(key, "parallel")
    };
    guest.config.iter().filter(|(key, value)| real(key, value)).map(|(key, _)| key).collect()
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

/// The guest that a resource means.
fn resource<'a>(state: &'a State, name: &str) -> Option<&'a Guest> {
    let (_, vmid) = name.split_once(':')?;
    state.guests().get(&vmid.parse().ok()?)
}

/// What HA's rules have against a node.
fn blocking(state: &State, guest: &Guest, node: &str) -> Vec<Value> {
    let name = sid(guest.kind, guest.vmid);
    if state.ha.wants(guest.kind, guest.vmid).is_none() {
        return Vec::new();
    }
    let there = |other: &&str| resource(state, other).is_some_and(|guest| guest.node == node);
    let apart = state.ha.others(&name, "negative").filter(there);
    let mut all: Vec<Value> = apart.map(|other| json!({"sid": other, "cause": "resource-affinity"})).collect();
    if state.ha.forbids(&name, node) {
        all.push(json!({"sid": name, "cause": "node-affinity"}));
    }
    all
}

/// The resources that HA moves along.
fn dependent(state: &State, guest: &Guest) -> Vec<String> {
    let name = sid(guest.kind, guest.vmid);
    if state.ha.wants(guest.kind, guest.vmid).is_none() {
        return Vec::new();
    }
    state.ha.others(&name, "positive").map(str::to_owned).collect()
}

fn preconditions(call: &Call) -> Answered {
    let kind = kind(call);
    let state = call.sandbox.state();
    let guest = state.guest(call.node(), kind, call.vmid())?;
    let mut allowed = Vec::new();
    let mut refused = Map::new();
    let others = state.nodes.values().filter(|node| node.name != call.node());
    for node in others {
        let mut why = Map::new();
        let missing = unavailable(&state, guest, &node.name);
        if !missing.is_empty() {
            why.insert("unavailable_storages".to_owned(), missing.into());
        }
        let blocking = blocking(&state, guest, &node.name);
        if !blocking.is_empty() {
            why.insert("blocking-ha-resources".to_owned(), blocking.into());
        }
        if !why.is_empty() {
            refused.insert(node.name.clone(), why.into());
        } else if node.online {
            allowed.push(node.name.as_str());
        }
    }
    let dependent = dependent(&state, guest);
    if kind == Kind::Lxc {
        let mut out = json!({
            "running": u8::from(guest.is_running()), "allowed-nodes": allowed, "not-allowed-nodes": refused,
        });
        if !dependent.is_empty() {
            out["dependent-ha-resources"] = dependent.into();
        }
        return Ok(out.into());
    }
    let disks = local_drives(&state, guest).into_iter().map(|(key, drive)| {
        json!({
            "drivename": key, "volid": drive.volume, "size": drive.size(), "cdrom": u8::from(drive.is_cdrom()),
            "is_attached": 1, "is_cloudinit": u8::from(drive.is_cloud_init()), "is_tpmstate": u8::from(key == "tpmstate0"),
            "is_unused": 0, "is_vmstate": 0, "replicate": 1, "shared": 0,
        })
    });
    let disks: Vec<Value> = disks.collect();
    let mut out = json!({
        "has-dbus-vmstate": 1,
        "running": u8::from(guest.is_running()), "allowed_nodes": allowed, "not_allowed_nodes": refused,
        "local_disks": disks, "local_resources": local_resources(guest), "mapped-resources": [], "mapped-resource-info": {},
    });
    if !dependent.is_empty() {
        out["dependent-ha-resources"] = dependent.into();
    }
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
    let asked = call.get("targetstorage").or_else(|| call.get("target-storage"));
    let mapping = mapping(&state, guest, asked);
    let drives = guest.drives().into_iter().filter(|(_, drive)| drive.volume.contains(':'));
    for (_, drive) in drives {
        state.storage(mapping.get(drive.storage()).map_or(drive.storage(), String::as_str), &target)?;
    }
    let is_managed = state.ha.wants(kind, vmid).is_some();
    let with = dependent(&state, guest);
    let along: Vec<Journey> = with
        .iter()
        .filter_map(|name| resource(&state, name))
        .filter(|other| other.node == node)
        .map(|other| by_manager(&state, other, &target))
        .collect();
    drop(state);
    let journey = Journey {
        kind,
        vmid,
        node: node.clone(),
        target,
        // A VM that does not run is moved offline, whatever was asked.
        online: online && (running || kind == Kind::Lxc),
        restart: restart && running,
        with_disks: kind == Kind::Lxc || !running || call.flag("with-local-disks"),
        mapping,
    };
    if is_managed {
        let to = journey.target.clone();
        return managed::passed_on_migration(call, kind, vmid, &to, move |sandbox| {
            for journey in std::iter::once(journey).chain(along) {
                let (node, vmid) = (journey.node.clone(), journey.vmid.to_string());
                let task = task(journey.kind);
                let move_it = async move |worker: Worker| journey.run(&worker).await;
                drop(sandbox.start_as("root@pam", &node, task, &vmid, move_it));
            }
        });
    }
    call.fork(&node, task(kind), vmid, async move |worker| journey.run(&worker).await)
}

fn task(kind: Kind) -> &'static str {
    if kind == Kind::Qemu { "qmigrate" } else { "vzmigrate" }
}

/// A journey on which HA's manager sends a guest by itself.
fn by_manager(state: &State, guest: &Guest, target: &str) -> Journey {
    let running = guest.is_running();
    Journey {
        kind: guest.kind,
        vmid: guest.vmid,
        node: guest.node.clone(),
        target: target.to_owned(),
        online: running && guest.kind == Kind::Qemu,
        restart: running && guest.kind == Kind::Lxc,
        with_disks: guest.kind == Kind::Lxc || !running,
        mapping: mapping(state, guest, None),
    }
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
    let copied = drives.iter().filter(|(_, drive)| !drive.is_cdrom() || drive.is_cloud_init());
    copied.map(|(_, drive)| (drive.storage().to_owned(), to(drive.storage()))).collect()
}
