//! The rows of guests and storages in `/cluster/resources` and in pools.

use serde::Serialize;
use serde_json::{Value, json};

use crate::sandbox::{
    guest::{Guest, Kind, Shown},
    state::State,
    storage::Storage,
};

/// A number between 0 and 1 that differs from guest to guest and from round to round, but not between two looks.
pub fn wobble(seed: u64, round: u64) -> f64 {
    fastrand::Rng::with_seed(seed.wrapping_mul(0x9E37_79B9) ^ round).f64()
}

/// One guest's row, as pools show it too.
#[derive(Serialize)]
pub struct GuestRow<'a> {
    id: String,
    vmid: u32,
    #[serde(rename = "type")]
    kind: &'static str,
    node: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pool: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    lock: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tags: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    hastate: Option<&'static str>,
    status: &'static str,
    #[serde(flatten)]
    shown: Option<Figures>,
}

/// What only the statistics daemon knows.
#[derive(Serialize)]
struct Figures {
    name: String,
    template: u8,
    uptime: u64,
    maxcpu: u64,
    cpu: f64,
    maxmem: u64,
    mem: u64,
    memhost: u64,
    maxdisk: u64,
    disk: u64,
    netin: u64,
    netout: u64,
    diskread: u64,
    diskwrite: u64,
}

/// The row of a guest at this moment.
pub fn guest_row<'a>(state: &'a State, guest: &'a Guest, now: u64) -> GuestRow<'a> {
    let online = state.nodes.get(&guest.node).is_some_and(|node| node.online);
    let shown = guest.shown.as_ref().filter(|_| online);
    GuestRow {
        id: format!("{}/{}", guest.kind.path(), guest.vmid),
        vmid: guest.vmid,
        kind: guest.kind.path(),
        node: &guest.node,
        pool: state.pool_of(guest.vmid),
        lock: guest.lock(),
        tags: guest.config.get("tags"),
        hastate: state.ha.state_of(guest),
        status: match shown {
            None => "unknown",
            Some(shown) if shown.running_since.is_some() => "running",
            Some(_) => "stopped",
        },
        shown: shown.map(|shown| figures(guest, shown, state.round, now)),
    }
}

fn figures(guest: &Guest, shown: &Shown, round: u64, now: u64) -> Figures {
    let running = shown.running_since.is_some();
    let uptime = shown.running_since.map_or(0, |since| now.saturating_sub(since).max(1));
    let load = wobble(u64::from(guest.vmid), round);
    let when_running = |value: u64| if running { value } else { 0 };
    let mem = when_running((shown.maxmem as f64 * (0.3 + load * 0.4)) as u64);
    let traffic = |rate: u64| when_running(uptime * rate * (1 + u64::from(guest.vmid) % 7));
    let container = guest.kind == Kind::Lxc;
    Figures {
        name: shown.name.clone().unwrap_or_else(|| format!("{} {}", guest.kind.word(), guest.vmid)),
        template: u8::from(shown.template),
        uptime,
        maxcpu: shown.maxcpu as u64,
        cpu: if running { load * 0.6 } else { 0.0 },
        maxmem: shown.maxmem,
        mem,
        memhost: if container { 0 } else { mem },
        maxdisk: shown.maxdisk,
        // A VM's file system cannot be seen from outside; a container's can, while it runs.
        disk: if container { when_running(shown.maxdisk / 5) } else { 0 },
        netin: traffic(2_048),
        netout: traffic(1_024),
        diskread: traffic(512),
        diskwrite: traffic(4_096),
    }
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
