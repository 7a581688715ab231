//! What guests did over time, and the interfaces of containers.

use serde_json::{Map, Value, json};

use super::{
    kind,
    lists::{PRESSURES, busy, number},
};
use crate::sandbox::{
    call::Call,
    config::property,
    guest::{Kind, is_numbered},
    router::Route,
    wire::{Answer, Answered, Refusal},
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
    let (step, count) = match call.text("timeframe") {
        "day" => (1_800, 48),
        "week" => (10_800, 56),
        "month" => (43_200, 60),
        "year" => (604_800, 52),
        "hour" => (60, 60),
        other => return Err(Refusal::failed(format!("invalid timeframe '{other}'"))),
    };
    let last = call.now() / step * step;
    let points = (1..=count).rev().map(|back| {
        let time = last - step * (back - 1);
        let mut point = Map::new();
        point.insert("time".to_owned(), time.into());
        let ran = guest.ran.is_some_and(|(from, to)| (from..to + step).contains(&time));
        if ran || guest.run.as_ref().is_some_and(|run| run.since < time) {
            let busy = busy(guest, time);
            let memory = guest.maxmem() as f64 * (0.2 + busy / 2.0);
            let figures = [
                ("cpu", busy),
                ("maxcpu", guest.maxcpu()),
                ("mem", memory),
                ("maxmem", guest.maxmem() as f64),
                ("disk", 0.0),
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
    for (_, device) in guest.config.iter().filter(|(key, _)| is_numbered(key, "net")) {
        let mac = property(device, "hwaddr").unwrap_or_default().to_lowercase();
        let name = property(device, "name").unwrap_or("eth0");
        let mut row = json!({"name": name, "hwaddr": mac, "hardware-address": mac, "ip-addresses": []});
        if let Some((address, prefix)) = property(device, "ip").and_then(|ip| ip.split_once('/')) {
            row["inet"] = format!("{address}/{prefix}").into();
            row["ip-addresses"] = json!([{"ip-address": address, "ip-address-type": "inet", "prefix": prefix}]);
        }
        out.push(row);
    }
    Ok(out.into())
}
