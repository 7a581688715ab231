//! Lists of guests, what they are doing at the moment, and their indexes.

use serde_json::{Map, Value, json};

use super::kind;
use crate::sandbox::{
    call::Call,
    config::property,
    guest::{Guest, Kind, is_numbered},
    router::Route,
    wire::{Answer, Answered},
};

pub const ROUTES: &[Route] = &[
    Route::get("/nodes/{node}/qemu", list),
    Route::get("/nodes/{node}/lxc", list),
    Route::get("/nodes/{node}/qemu/{vmid}", index),
    Route::get("/nodes/{node}/lxc/{vmid}", index),
    Route::get("/nodes/{node}/qemu/{vmid}/status", status_index),
    Route::get("/nodes/{node}/lxc/{vmid}/status", status_index),
    Route::get("/nodes/{node}/qemu/{vmid}/status/current", current),
    Route::get("/nodes/{node}/lxc/{vmid}/status/current", current),
];

fn list(call: &Call) -> Answered {
    let kind = kind(call);
    let full = kind == Kind::Lxc || call.flag("full");
    let state = call.sandbox.state();
    let guests = state.guests().values().filter(|guest| guest.kind == kind && guest.node == call.node());
    let rows = guests.filter(|guest| state.may(&call.who, &format!("/vms/{}", guest.vmid), "VM.Audit")).map(|guest| {
        let mut row = row(guest, call.now());
        if !full {
            row.retain(|key, _| !matches!(key.as_str(), "diskread" | "diskwrite"));
        }
        Value::from(row)
    });
    Ok(rows.collect::<Vec<_>>().into())
}

/// What the list and the current status have in common.
fn row(guest: &Guest, now: u64) -> Map<String, Value> {
    let mut row = Map::new();
    let mut put = |key: &str, value: Value| drop(row.insert(key.to_owned(), value));
    let uptime = guest.uptime(now);
    let busy = busy(guest, now);
    put("vmid", guest.vmid.into());
    put("status", guest.status().into());
    put("cpus", number(guest.maxcpu()));
    put("maxmem", guest.maxmem().into());
    put("maxdisk", guest.maxdisk().into());
    put("uptime", uptime.into());
    put("cpu", if guest.is_running() { json!(busy) } else { json!(0) });
    let memory = if guest.is_running() { (guest.maxmem() as f64 * (0.2 + busy / 2.0)) as u64 } else { 0 };
    put("mem", memory.into());
    let traffic = |rate: u64| if guest.is_running() { uptime.saturating_mul(rate) } else { 0 };
    put("netin", traffic(310).into());
    put("netout", traffic(140).into());
    if guest.kind == Kind::Lxc {
        let disk = if guest.is_running() { guest.maxdisk() / 5 } else { 0 };
        put("disk", disk.into());
        put("swap", 0.into());
        put("maxswap", guest.config.int("swap").unwrap_or(512).saturating_mul(1 << 20).into());
        put("type", "lxc".into());
    } else {
        put("disk", 0.into());
        put("memhost", memory.into());
    }
    if guest.kind == Kind::Lxc || guest.is_running() {
        put("diskread", traffic(900).into());
        put("diskwrite", traffic(1_700).into());
    }
    if let Some(name) = guest.name() {
        put("name", name.into());
    }
    for (key, value) in [("lock", guest.lock()), ("tags", guest.config.get("tags").filter(|tags| !tags.is_empty()))] {
        if let Some(value) = value {
            put(key, value.into());
        }
    }
    if guest.is_template() {
        put("template", 1.into());
    }
    if guest.kind == Kind::Qemu && guest.config.keys().any(|key| is_numbered(key, "serial")) {
        put("serial", 1.into());
    }
    if let Some(run) = &guest.run {
        put("pid", run.pid.into());
        // The kernel has no figures yet of a container that was started a moment ago.
        let young = guest.kind == Kind::Lxc && now.saturating_sub(run.since) < 2;
        for pressure in PRESSURES {
            put(pressure, if young { Value::Null } else { json!(0) });
        }
    }
    row
}

pub(super) const PRESSURES: [&str; 6] = [
    "pressurecpufull",
    "pressurecpusome",
    "pressureiofull",
    "pressureiosome",
    "pressurememoryfull",
    "pressurememorysome",
];

/// A load between 0 and 0.6 that wanders with the time; the same for the same guest and moment.
pub(super) fn busy(guest: &Guest, now: u64) -> f64 {
    let slow = (now / 10).wrapping_add(u64::from(guest.vmid) * 7919) % 97;
    0.02 + slow as f64 * 0.006
}

/// A number as Perl writes it: without a fraction where there is none.
pub(super) fn number(value: f64) -> Value {
    if value.fract() == 0.0 { json!(value as u64) } else { json!(value) }
}

fn current(call: &Call) -> Answered {
    let state = call.sandbox.state();
    let guest = state.guest(call.node(), kind(call), call.vmid())?;
    let mut row = row(guest, call.now());
    let ha = match state.ha.wants(guest.kind, guest.vmid) {
        Some(_) => json!({"managed": 1, "group": null, "state": state.ha.state_of(guest)}),
        None => json!({"managed": 0}),
    };
    row.insert("ha".to_owned(), ha);
    if guest.kind == Kind::Lxc {
        return Ok(row.into());
    }
    let qmp = match &guest.run {
        None => "stopped",
        Some(run) if run.paused => "paused",
        Some(_) => "running",
    };
    row.insert("qmpstatus".to_owned(), qmp.into());
    let agent = guest.config.get("agent").unwrap_or_default();
    if matches!(property(agent, "").or_else(|| property(agent, "enabled")), Some("1")) {
        row.insert("agent".to_owned(), 1.into());
    }
    if guest.is_running() {
        let balloon = guest.maxmem();
        row.insert("balloon".to_owned(), balloon.into());
        row.insert("ballooninfo".to_owned(), json!({"actual": balloon, "max_mem": balloon}));
        row.insert("blockstat".to_owned(), blockstat(guest, call.now()));
        row.insert("nics".to_owned(), nics(guest, call.now()));
        row.insert("running-machine".to_owned(), "pc-i440fx-10.0+pve0".into());
        row.insert("running-qemu".to_owned(), "10.0.2".into());
        row.insert(
            "proxmox-support".to_owned(),
            json!({
                "backup-access-api": true, "backup-fleecing": true, "backup-max-workers": true,
                "pbs-dirty-bitmap": true, "pbs-dirty-bitmap-migration": true, "pbs-dirty-bitmap-savevm": true,
                "pbs-library-version": "1.5.2", "pbs-masterkey": true, "query-bitmap-info": true,
            }),
        );
    } else {
        row.retain(|key, _| !matches!(key.as_str(), "diskread" | "diskwrite"));
    }
    Ok(row.into())
}

fn blockstat(guest: &Guest, now: u64) -> Value {
    const ZERO: [&str; 25] = [
        "failed_flush_operations",
        "failed_rd_operations",
        "failed_unmap_operations",
        "failed_wr_operations",
        "failed_zone_append_operations",
        "flush_operations",
        "flush_total_time_ns",
        "invalid_flush_operations",
        "invalid_rd_operations",
        "invalid_unmap_operations",
        "invalid_wr_operations",
        "invalid_zone_append_operations",
        "rd_bytes",
        "rd_merged",
        "rd_operations",
        "rd_total_time_ns",
        "unmap_bytes",
        "unmap_merged",
        "unmap_operations",
        "unmap_total_time_ns",
        "wr_bytes",
        "wr_highest_offset",
        "wr_merged",
        "wr_operations",
        "wr_total_time_ns",
    ];
    let drives = guest.drives().into_iter().map(|(key, _)| {
        let mut figures: Map<String, Value> = ZERO.iter().map(|name| ((*name).to_owned(), json!(0))).collect();
        for zone in ["bytes", "merged", "operations", "total_time_ns"] {
            figures.insert(format!("zone_append_{zone}"), 0.into());
        }
        if guest.boot_disk().as_deref() == Some(key.as_str()) {
            figures.insert("idle_time_ns".to_owned(), guest.uptime(now).saturating_mul(1_000_000_000).into());
        }
        figures.insert("account_failed".to_owned(), true.into());
        figures.insert("account_invalid".to_owned(), true.into());
        figures.insert("timed_stats".to_owned(), json!([]));
        (key, figures.into())
    });
    drives.collect::<Map<_, _>>().into()
}

fn nics(guest: &Guest, now: u64) -> Value {
    let uptime = guest.uptime(now);
    let keys = guest.config.keys().filter(|key| is_numbered(key, "net"));
    let taps = keys.map(|key| {
        let tap = format!("tap{}i{}", guest.vmid, key.trim_start_matches("net"));
        (tap, json!({"netin": uptime.saturating_mul(310), "netout": uptime.saturating_mul(140)}))
    });
    taps.collect::<Map<_, _>>().into()
}

fn index(call: &Call) -> Answered {
    let kind = kind(call);
    call.sandbox.state().guest(call.node(), kind, call.vmid())?;
    const QEMU: &[&str] = &[
        "config",
        "pending",
        "status",
        "unlink",
        "vncproxy",
        "termproxy",
        "migrate",
        "resize",
        "move",
        "rrd",
        "rrddata",
        "monitor",
        "agent",
        "snapshot",
        "spiceproxy",
        "sendkey",
        "firewall",
        "mtunnel",
        "remote_migrate",
    ];
    const LXC: &[&str] = &[
        "config",
        "pending",
        "status",
        "vncproxy",
        "termproxy",
        "vncwebsocket",
        "spiceproxy",
        "migrate",
        "clone",
        "rrd",
        "rrddata",
        "firewall",
        "snapshot",
        "resize",
        "interfaces",
    ];
    Ok(subdirs(if kind == Kind::Qemu { QEMU } else { LXC }))
}

fn status_index(call: &Call) -> Answered {
    let kind = kind(call);
    call.sandbox.state().guest(call.node(), kind, call.vmid())?;
    const QEMU: &[&str] = &["current", "start", "stop", "reset", "shutdown", "suspend", "reboot"];
    const LXC: &[&str] = &["current", "start", "stop", "shutdown", "suspend", "resume", "reboot"];
    Ok(subdirs(if kind == Kind::Qemu { QEMU } else { LXC }))
}

fn subdirs(names: &[&str]) -> Answer {
    names.iter().map(|name| json!({"subdir": name})).collect::<Vec<_>>().into()
}
