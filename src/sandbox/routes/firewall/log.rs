//! The firewalls' log: what a node that filters would have written of late.

use serde_json::{Value, json};

use super::scope;
use crate::sandbox::{
    call::Call,
    router::Route,
    wire::{Answer, Answered, civil},
};

pub const ROUTES: &[Route] = &[
    Route::get("/nodes/{node}/firewall/log", log),
    Route::get("/nodes/{node}/qemu/{vmid}/firewall/log", log),
    Route::get("/nodes/{node}/lxc/{vmid}/firewall/log", log),
];

/// Seconds between two lines; how far back they go.
const STEP: u64 = 420;
const LINES: u64 = 120;

fn log(call: &Call) -> Answered {
    let state = call.sandbox.state();
    scope(call, &state)?;
    let wanted = call.get("vmid").map(|_| call.vmid());
    let number = |name: &str| call.int(name).and_then(|n| u64::try_from(n).ok());
    let (since, until) = (number("since").unwrap_or(0), number("until").unwrap_or(u64::MAX));
    // Only a guest whose own firewall is on is filtered, and so logged.
    let filtered: Vec<u32> = state
        .guests()
        .values()
        .filter(|guest| guest.node == call.node() && guest.is_running())
        .map(|guest| guest.vmid)
        .filter(|vmid| {
            let firewall = state.firewalls.get(&format!("guest/{vmid}"));
            firewall.is_some_and(|firewall| firewall.options.get("enable").is_some_and(|on| on == "1"))
        })
        .collect();
    let last = call.now() / STEP * STEP;
    let mut lines = Vec::new();
    for back in (0..LINES).rev() {
        let time = last - back * STEP;
        if time < since || time > until {
            continue;
        }
        let (y, m, d, h, min, s, _) = civil(time);
        const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
        let month = MONTHS.get(m as usize - 1).copied().unwrap_or_default();
        let time = format!("{d:02}/{month}/{y}:{h:02}:{min:02}:{s:02} +0000");
        let source = format!("198.51.100.{}", 1 + back % 250);
        let packet =
            format!("SRC={source} LEN=60 TOS=0x00 PREC=0x00 TTL=51 PROTO=TCP SPT={} DPT=23 SYN", 40_000 + back);
        let vmid = filtered.get(back as usize % filtered.len().max(1)).copied();
        if let Some(vmid) = vmid.filter(|vmid| wanted.is_none_or(|wanted| wanted == *vmid)) {
            lines
                .push(format!("{vmid} 6 tap{vmid}i0-IN {time} policy DROP: IN=fwbr{vmid}i0 OUT=fwbr{vmid}i0 {packet}"));
        }
    }
    if lines.is_empty() {
        return Ok(Answer::from(json!([{"n": 1, "t": "no content"}])).beside("total", 1));
    }
    let start = number("start").unwrap_or(0) as usize;
    let limit = number("limit").filter(|limit| *limit > 0).unwrap_or(50) as usize;
    let rows = lines.iter().enumerate().skip(start).take(limit).map(|(n, line)| json!({"n": n + 1, "t": line}));
    Ok(Answer::from(rows.collect::<Vec<Value>>()).beside("total", lines.len()))
}
