//! What guests did over time, and the interfaces of containers.

use serde_json::{Map, Value, json};

use super::{
    agent::{dynamic, link_local},
    kind,
    lists::{PRESSURES, busy, number},
};
use crate::sandbox::{
    call::Call,
    config::property,
    guest::{Kind, is_numbered},
    router::Route,
    wire::{Answer, Answered},
};

pub const ROUTES: &[Route] = &[
    Route::get("/nodes/{node}/qemu/{vmid}/rrddata", rrddata),
    Route::get("/nodes/{node}/lxc/{vmid}/rrddata", rrddata),
    Route::get("/nodes/{node}/lxc/{vmid}/interfaces", interfaces),
];

/// Points of the last hour, day, … : before the guest's start they are bare times, as where nothing was recorded.
fn rrddata(call: &Call) -> Answered {
    let state = call.sandbox.state();
    let guest = state.guest(call.node(), kind(call), call.vmid())?;
    let (step, count) = frame(call.text("timeframe"));
    let peak = call.get("cf") == Some("MAX") && step > 60;
    let last = call.now() / step * step;
    let points = (1..=count).rev().map(|back| {
        let time = last - step * (back - 1);
        let mut point = Map::new();
        point.insert("time".to_owned(), time.into());
        let ran = guest.ran.is_some_and(|(from, to)| (from..to + step).contains(&time));
        if ran || guest.run.as_ref().is_some_and(|run| run.since < time) {
            let busy = (busy(guest, time) * rhythm(time) * if peak { 1.6 } else { 1.0 }).min(1.0);
            let memory = guest.maxmem() as f64 * (0.2 + busy / 2.0);
            let disk = if guest.kind == Kind::Lxc { guest.maxdisk() as f64 / 5.0 } else { 0.0 };
            let figures = [
                ("cpu", busy),
                ("maxcpu", guest.maxcpu()),
                ("mem", memory),
                ("maxmem", guest.maxmem() as f64),
                ("disk", disk),
                ("maxdisk", guest.maxdisk() as f64),
                ("diskread", 900.0 * (1.0 + busy)),
                ("diskwrite", 1_700.0 * (1.0 + busy)),
                ("netin", 310.0 * (1.0 + busy)),
                ("netout", 140.0 * (1.0 + busy)),
            ];
            point.extend(figures.map(|(key, value)| (key.to_owned(), number(value))));
            if guest.kind == Kind::Qemu {
                point.insert("memhost".to_owned(), number(memory));
            }
            point.extend(PRESSURES.map(|key| (key.to_owned(), json!(0))));
        }
        Value::from(point)
    });
    Ok(points.collect::<Vec<_>>().into())
}

/// Seconds between two points, and how many there are, since Proxmox VE 9.
pub fn frame(timeframe: &str) -> (u64, u64) {
    const HOUR: u64 = 3_600;
    match timeframe {
        "hour" => (60, 60),
        "day" => (60, 1_440),
        "week" => (HOUR / 2, 336),
        "month" => (HOUR / 2, 1_440),
        "year" => (6 * HOUR, 1_440),
        _ => (7 * 24 * HOUR, 570),
    }
}

/// More by day than by night, and less at weekends.
pub fn rhythm(time: u64) -> f64 {
    let hour = (time % 86_400) as f64 / 3_600.0;
    let day = 0.65 + 0.35 * ((hour - 9.0) / 24.0 * std::f64::consts::TAU).sin();
    // The first of January 1970 was a Thursday.
    if matches!(time / 86_400 % 7, 2 | 3) { day * 0.7 } else { day }
}

/// The interfaces of a running container; nothing of a stopped one.
fn interfaces(call: &Call) -> Answered {
    let state = call.sandbox.state();
    let guest = state.guest(call.node(), Kind::Lxc, call.vmid())?;
    if !guest.is_running() {
        return Ok(Answer::null());
    }
    let mut out = vec![json!({
        "name": "lo", "hwaddr": "00:00:00:00:00:00", "hardware-address": "00:00:00:00:00:00",
        "inet": "127.0.0.1/8", "inet6": "::1/128",
        "ip-addresses": [
            {"ip-address": "127.0.0.1", "ip-address-type": "inet", "prefix": "8"},
            {"ip-address": "::1", "ip-address-type": "inet6", "prefix": "128"},
        ],
    })];
    for (key, device) in guest.config.iter().filter(|(key, _)| is_numbered(key, "net")) {
        let mac = property(device, "hwaddr").unwrap_or_default().to_lowercase();
        let name = property(device, "name").unwrap_or("eth0");
        let mut row = json!({"name": name, "hwaddr": mac, "hardware-address": mac, "ip-addresses": []});
        let made = format!("{}/24", dynamic(guest.vmid, key.trim_start_matches("net")));
        let fixed = |key: &str| property(device, key).filter(|ip| ip.contains('/')).map(str::to_owned);
        let ip = fixed("ip").or_else(|| (property(device, "ip") == Some("dhcp")).then_some(made));
        let ip6 = fixed("ip6").or_else(|| link_local(&mac).map(|ip| format!("{ip}/64")));
        let mut listed = Vec::new();
        for (key, ip) in [("inet", ip), ("inet6", ip6)] {
            let Some((address, prefix)) = ip.as_deref().and_then(|ip| ip.split_once('/')) else { continue };
            row[key] = format!("{address}/{prefix}").into();
            listed.push(json!({"ip-address": address, "ip-address-type": key, "prefix": prefix}));
        }
        row["ip-addresses"] = listed.into();
        out.push(row);
    }
    Ok(out.into())
}
