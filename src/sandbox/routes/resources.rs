//! `GET /cluster/resources`: what the statistics daemon last said of nodes, guests, storages, pools and networks. The
//! list of guests is kept as text until something changes, since it can be long.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use bytes::Bytes;
use serde::Serialize;
use serde_json::{Value, json};

use super::rows::{guest_row, storage_row, wobble};
use crate::sandbox::{
    access::Who,
    call::Call,
    router::Route,
    state::State,
    wire::{Answer, Answered},
};

pub const ROUTES: &[Route] = &[Route::get("/cluster/resources", resources)];

/// The guests' rows as JSON text, and the nodes' loads, as of a generation of the state.
#[derive(Default)]
pub struct ResourceCache(Mutex<Kept>);

#[derive(Default)]
struct Kept {
    /// VMID → the generation in which the row was made, and the row.
    rows: BTreeMap<u32, (u64, String)>,
    /// All rows, as an answer.
    all: Option<(u64, Bytes)>,
    loads: Option<(u64, Arc<Loads>)>,
}

/// Node → what it is busy with.
pub type Loads = BTreeMap<String, Load>;

impl ResourceCache {
    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the nodes are busy with.
    pub fn loads(&self, state: &State) -> Arc<Loads> {
        let mut kept = self.lock();
        match &kept.loads {
            Some((generation, loads)) if *generation == state.generation => loads.clone(),
            _ => {
                let loads = Arc::new(state.loads());
                kept.loads = Some((state.generation, loads.clone()));
                loads
            }
        }
    }
}

impl Kept {
    /// Makes the rows of the guests that changed, and forgets those that are gone.
    fn refresh(&mut self, state: &State, now: u64) {
        self.rows.retain(|vmid, _| state.guests().contains_key(vmid));
        for (vmid, guest) in state.guests() {
            let made = self.rows.get(vmid).map(|(made, _)| *made);
            if made.is_none_or(|made| made < guest.changed || made < state.changed) {
                self.rows.insert(*vmid, (state.generation, text(&guest_row(state, guest, now))));
            }
        }
    }

    /// The list of all guests.
    fn all(&mut self, state: &State, now: u64) -> Bytes {
        if let Some((_, all)) = self.all.as_ref().filter(|(generation, _)| *generation == state.generation) {
            return all.clone();
        }
        self.refresh(state, now);
        let mut out = String::with_capacity(2 + self.rows.values().map(|(_, row)| row.len() + 1).sum::<usize>());
        out.push('[');
        for (at, (_, row)) in self.rows.values().enumerate() {
            if at > 0 {
                out.push(',');
            }
            out.push_str(row);
        }
        out.push(']');
        let all = Bytes::from(out);
        self.all = Some((state.generation, all.clone()));
        all
    }
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
        let mut kept = call.sandbox.resources().lock();
        let all = kept.all(&state, call.now());
        let sees_all = state.sees_all(who) || state.may_below(who, "/vms", "VM.Audit");
        match (sees_all, wanted) {
            (true, Some(_)) => return Ok(Answer::text(all)),
            (true, None) if all.len() > 2 => {
                parts.push(String::from_utf8_lossy(&all[1..all.len() - 1]).into_owned());
            }
            (true, None) => {}
            (false, _) => {
                kept.refresh(&state, call.now());
                let seen = kept.rows.iter().filter(|(vmid, _)| state.may(who, &format!("/vms/{vmid}"), "VM.Audit"));
                parts.extend(seen.map(|(_, (_, row))| row.clone()));
            }
        }
    }
    if wants("node") {
        let loads = call.sandbox.resources().loads(&state);
        parts.extend(state.nodes.keys().map(|name| node_row(&state, who, (name, &loads), call.now()).to_string()));
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

/// A row as JSON text.
fn text(row: &impl Serialize) -> String {
    serde_json::to_string(row).unwrap_or_default()
}

fn node_row(state: &State, who: &Who, (name, loads): (&str, &Loads), now: u64) -> Value {
    let Some(node) = state.nodes.get(name) else { return Value::Null };
    let mut row = json!({"id": format!("node/{name}"), "node": name, "type": "node"});
    if !node.online {
        row["status"] = "offline".into();
        return row;
    }
    row["status"] = "online".into();
    row["level"] = "".into();
    row["cgroup-mode"] = 2.into();
    if let Some(load) = loads.get(name).filter(|_| state.may(who, &format!("/nodes/{name}"), "Sys.Audit")) {
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

fn pools<'a>(state: &'a State, who: &'a Who) -> impl Iterator<Item = Value> + 'a {
    let visible = state.pools.keys().filter(move |name| state.may(who, &format!("/pool/{name}"), "Pool.Audit"));
    visible.map(|name| json!({"id": format!("/pool/{name}"), "pool": name, "type": "pool"}))
}

/// What a node is busy with.
#[derive(Debug, Clone, Copy, Default)]
pub struct Load {
    /// Fraction of its CPUs.
    pub cpu: f64,
    /// Bytes.
    pub memory: u64,
    /// Bytes of the root file system.
    pub disk: u64,
}

impl State {
    /// What the nodes are busy with: the guests that run on them, and themselves.
    pub fn loads(&self) -> Loads {
        let mut loads = Loads::new();
        for node in self.nodes.values() {
            let disk = self.storages.get("local").map_or(0, |local| self.volumes.used(local, &node.name)) + (4 << 30);
            loads.insert(node.name.clone(), Load { cpu: 0.2, memory: 2 << 30, disk: disk.min(node.disk) });
        }
        for guest in self.guests().values().filter(|guest| guest.is_running()) {
            if let Some(load) = loads.get_mut(&guest.node) {
                let busy = wobble(u64::from(guest.vmid), self.round);
                load.cpu += busy * 0.6 * guest.maxcpu();
                load.memory += (guest.maxmem() as f64 * (0.3 + busy * 0.4)) as u64;
            }
        }
        for (name, load) in &mut loads {
            if let Some(node) = self.nodes.get(name) {
                load.cpu = (load.cpu / f64::from(node.cpus)).min(1.0);
                load.memory = load.memory.min(node.memory / 20 * 19);
            }
        }
        loads
    }

    /// Whether the caller has the privilege on a path and, by propagation, on everything below it, with no entries of
    /// the ACL below that could take it away.
    pub fn may_below(&self, who: &Who, path: &str, privilege: &str) -> bool {
        let below = format!("{path}/");
        self.privileges(who, path).get(privilege) == Some(&true)
            && !self.access.acl.keys().any(|other| other.starts_with(&below))
    }
}
