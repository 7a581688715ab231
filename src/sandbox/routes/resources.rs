//! `GET /cluster/resources`: what the statistics daemon last said of nodes, guests, storages, pools and networks. The
//! list of guests is kept as text until something changes, since it can be long.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use serde_json::{Value, json};

use crate::sandbox::{
    access::Who,
    call::Call,
    guest::{Guest, Kind},
    router::Route,
    state::State,
    storage::Storage,
    wire::{Answer, Answered},
};

pub const ROUTES: &[Route] = &[Route::get("/cluster/resources", resources)];

/// The guests' rows as JSON text, as of a generation of the state.
#[derive(Default)]
pub struct ResourceCache(Mutex<Option<Arc<Rows>>>);

struct Rows {
    generation: u64,
    /// VMID and row, in the order of VMIDs.
    guests: Vec<(u32, String)>,
    /// All of them, with commas between.
    joined: String,
}

fn resources(call: &Call) -> Answered {
    let wanted = call.get("type");
    let wants = |kind: &str| wanted.is_none_or(|only| only == kind);
    let state = call.sandbox.state();
    let who = &call.who;
    let mut parts: Vec<String> = Vec::new();
    if wanted.is_none() {
        parts.extend(pools(&state, who).map(|row| row.to_string()));
    }
    if wants("vm") {
        let rows = rows(call, &state);
        match state.sees_all(who) || state.may_below(who, "/vms", "VM.Audit") {
            true if rows.joined.is_empty() => {}
            true => parts.push(rows.joined.clone()),
            false => {
                let seen = rows.guests.iter().filter(|(vmid, _)| state.may(who, &format!("/vms/{vmid}"), "VM.Audit"));
                parts.extend(seen.map(|(_, row)| row.clone()));
            }
        }
    }
    if wants("node") {
        parts.extend(state.nodes.keys().map(|name| node_row(&state, who, name, call.now()).to_string()));
    }
    if wants("storage") {
        for storage in state.storages.values().filter(|s| s.is_enabled()) {
            if !state.may(who, &format!("/storage/{}", storage.id), "Datastore.Audit") {
                continue;
            }
            let nodes = state.nodes.values().filter(|node| storage.is_on(&node.name));
            parts.extend(nodes.map(|node| storage_row(&state, storage, &node.name).to_string()));
        }
    }
    if wants("sdn") && state.may(who, "/sdn/zones/localnetwork", "SDN.Audit") {
        for node in state.nodes.values() {
            let status = if node.online { "ok" } else { "unknown" };
            let row = json!({"id": format!("sdn/{}/localnetwork", node.name), "node": node.name, "sdn": "localnetwork",
                "status": status, "type": "sdn"});
            parts.push(row.to_string());
        }
    }
    Ok(Answer::text(Bytes::from(format!("[{}]", parts.join(",")))))
}

fn rows(call: &Call, state: &State) -> Arc<Rows> {
    let mut kept = call.sandbox.resources().0.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(rows) = kept.as_ref().filter(|rows| rows.generation == state.generation) {
        return rows.clone();
    }
    let now = call.now();
    let guests: Vec<(u32, String)> =
        state.guests().values().map(|guest| (guest.vmid, guest_row(state, guest, now).to_string())).collect();
    let joined = guests.iter().map(|(_, row)| row.as_str()).collect::<Vec<_>>().join(",");
    let rows = Arc::new(Rows { generation: state.generation, guests, joined });
    *kept = Some(rows.clone());
    rows
}

/// A number between 0 and 1 that differs from guest to guest and from round to round, but not between two looks.
pub fn wobble(seed: u64, round: u64) -> f64 {
    fastrand::Rng::with_seed(seed.wrapping_mul(0x9E37_79B9) ^ round).f64()
}

/// One guest's row, as pools show it too.
pub fn guest_row(state: &State, guest: &Guest, now: u64) -> Value {
    let kind = guest.kind.path();
    let mut row = json!({"id": format!("{kind}/{}", guest.vmid), "vmid": guest.vmid, "type": kind, "node": guest.node});
    if let Some(pool) = state.pool_of(guest.vmid) {
        row["pool"] = pool.into();
    }
    for key in ["lock", "tags"] {
        if let Some(value) = guest.config.get(key) {
            row[key] = value.into();
        }
    }
    let online = state.nodes.get(&guest.node).is_some_and(|node| node.online);
    let Some(shown) = guest.shown.as_ref().filter(|_| online) else {
        row["status"] = "unknown".into();
        return row;
    };
    if let Some(name) = &shown.name {
        row["name"] = name.as_str().into();
    }
    let uptime = shown.running_since.map_or(0, |since| now.saturating_sub(since).max(1));
    let running = shown.running_since.is_some();
    let load = wobble(u64::from(guest.vmid), state.round);
    let (cpu, mem) = if running { (load * 0.6, (shown.maxmem as f64 * (0.3 + load * 0.4)) as u64) } else { (0.0, 0) };
    let traffic = |rate: u64| if running { uptime * rate * (1 + u64::from(guest.vmid) % 7) } else { 0 };
    row["status"] = if running { "running" } else { "stopped" }.into();
    row["template"] = u8::from(shown.template).into();
    row["uptime"] = uptime.into();
    row["maxcpu"] = (shown.maxcpu as u64).into();
    row["cpu"] = if running { cpu.into() } else { 0.into() };
    row["maxmem"] = shown.maxmem.into();
    row["mem"] = mem.into();
    row["memhost"] = mem.into();
    row["maxdisk"] = shown.maxdisk.into();
    // A VM's file system cannot be seen from outside; a container's can, while it runs.
    row["disk"] = if running && guest.kind == Kind::Lxc { shown.maxdisk / 5 } else { 0 }.into();
    row["netin"] = traffic(2_048).into();
    row["netout"] = traffic(1_024).into();
    row["diskread"] = traffic(512).into();
    row["diskwrite"] = traffic(4_096).into();
    row
}

fn node_row(state: &State, who: &Who, name: &str, now: u64) -> Value {
    let Some(node) = state.nodes.get(name) else { return Value::Null };
    let mut row = json!({"id": format!("node/{name}"), "node": name, "type": "node"});
    if !node.online {
        row["status"] = "offline".into();
        return row;
    }
    row["status"] = "online".into();
    row["level"] = "".into();
    row["cgroup-mode"] = 2.into();
    if state.may(who, &format!("/nodes/{name}"), "Sys.Audit") {
        let load = state.load(node);
        row["maxcpu"] = node.cpus.into();
        row["cpu"] = load.cpu.into();
        row["maxmem"] = node.memory.into();
        row["mem"] = load.memory.into();
        row["maxdisk"] = node.disk.into();
        row["disk"] = load.disk.into();
        row["uptime"] = now.saturating_sub(node.boot).into();
    }
    row
}

/// A storage's row on one node, as pools show it too.
pub fn storage_row(state: &State, storage: &Storage, node: &str) -> Value {
    let id = &storage.id;
    let online = state.nodes.get(node).is_some_and(|node| node.online);
    let mut row = json!({"id": format!("storage/{node}/{id}"), "storage": id, "node": node, "type": "storage",
        "plugintype": storage.plugin, "shared": u8::from(storage.is_shared()), "content": storage.content().join(",")});
    if online {
        row["status"] = "available".into();
        row["maxdisk"] = storage.total.into();
        row["disk"] = state.volumes.used(storage, node).into();
    } else {
        row["status"] = "unknown".into();
    }
    row
}

fn pools<'a>(state: &'a State, who: &'a Who) -> impl Iterator<Item = Value> + 'a {
    let visible = state.pools.keys().filter(move |name| state.may(who, &format!("/pool/{name}"), "Pool.Audit"));
    visible.map(|name| json!({"id": format!("/pool/{name}"), "pool": name, "type": "pool"}))
}

/// What a node is busy with.
pub struct Load {
    /// Fraction of its CPUs.
    pub cpu: f64,
    /// Bytes.
    pub memory: u64,
    /// Bytes of the root file system.
    pub disk: u64,
}

impl State {
    /// The load of a node, from the guests that run on it.
    pub fn load(&self, node: &crate::sandbox::state::Node) -> Load {
        let running = self.guests().values().filter(|guest| guest.node == node.name && guest.is_running());
        let (mut cpu, mut memory) = (0.2, 2u64 << 30);
        for guest in running {
            let load = wobble(u64::from(guest.vmid), self.round);
            cpu += load * 0.6 * guest.maxcpu();
            memory += (guest.maxmem() as f64 * (0.3 + load * 0.4)) as u64;
        }
        let disk = self.storages.get("local").map_or(0, |local| self.volumes.used(local, &node.name)) + (4 << 30);
        Load {
            cpu: (cpu / f64::from(node.cpus)).min(1.0),
            memory: memory.min(node.memory / 20 * 19),
            disk: disk.min(node.disk),
        }
    }

    /// Whether the caller has the privilege on a path and, by propagation, on everything below it, with no entries of
    /// the ACL below that could take it away.
    pub fn may_below(&self, who: &Who, path: &str, privilege: &str) -> bool {
        let below = format!("{path}/");
        self.privileges(who, path).get(privilege) == Some(&true)
            && !self.access.acl.keys().any(|other| other.starts_with(&below))
    }
}
