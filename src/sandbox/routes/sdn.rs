//! The software-defined network, to be read.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use crate::sandbox::{
    call::Call,
    config::digest,
    router::Route,
    sdn::Item,
    state::State,
    wire::{Answered, Refusal},
};

pub const ROUTES: &[Route] = &[
    Route::get("/cluster/sdn/zones", zones),
    Route::get("/cluster/sdn/zones/{zone}", zone),
    Route::get("/cluster/sdn/vnets", vnets),
    Route::get("/cluster/sdn/vnets/{vnet}", vnet),
    Route::get("/cluster/sdn/vnets/{vnet}/subnets", subnets),
    Route::get("/cluster/sdn/ipams", ipams),
];

/// An item as the call wants to see it: as configured, as running, or with what is to change.
fn seen(call: &Call, item: &Item) -> Option<Map<String, Value>> {
    if call.flag("pending") {
        return Some(item.pending());
    }
    if call.flag("running") { item.running.clone() } else { item.config.clone() }
}

fn with_digest(mut row: Map<String, Value>, items: &BTreeMap<String, Item>) -> Value {
    let file: Vec<String> =
        items.values().filter_map(|item| item.config.as_ref()).map(|c| Value::from(c.clone()).to_string()).collect();
    row.insert("digest".to_owned(), digest(&file.join("\n")).into());
    row.into()
}

fn may(call: &Call, state: &State, path: &str) -> bool {
    state.check_any(&call.who, path, &["SDN.Audit", "SDN.Allocate"]).is_ok()
}

fn zone_of(state: &State, vnet: &str) -> String {
    let item = state.sdn.vnets.get(vnet);
    let config = item.and_then(|item| item.config.as_ref().or(item.running.as_ref()));
    config.and_then(|config| config.get("zone")?.as_str()).unwrap_or_default().to_owned()
}

fn zones(call: &Call) -> Answered {
    let state = call.sandbox.state();
    let of_type = |row: &Map<String, Value>| {
        call.get("type").is_none_or(|kind| row.get("type").and_then(Value::as_str) == Some(kind))
    };
    let rows = state
        .sdn
        .zones
        .iter()
        .filter(|(name, _)| may(call, &state, &format!("/sdn/zones/{name}")))
        .filter_map(|(_, item)| seen(call, item))
        .filter(of_type)
        .map(|row| with_digest(row, &state.sdn.zones));
    Ok(rows.collect::<Vec<_>>().into())
}

fn zone(call: &Call) -> Answered {
    let state = call.sandbox.state();
    let name = call.text("zone");
    let row = state.sdn.zones.get(name).and_then(|item| seen(call, item));
    let row = row.ok_or_else(|| Refusal::failed(format!("sdn zone '{name}' does not exist")))?;
    Ok(with_digest(row, &state.sdn.zones).into())
}

fn vnets(call: &Call) -> Answered {
    let state = call.sandbox.state();
    let rows = state
        .sdn
        .vnets
        .iter()
        .filter(|(name, _)| may(call, &state, &format!("/sdn/zones/{}/{name}", zone_of(&state, name))))
        .filter_map(|(_, item)| seen(call, item))
        .map(|row| with_digest(row, &state.sdn.vnets));
    Ok(rows.collect::<Vec<_>>().into())
}

fn vnet(call: &Call) -> Answered {
    let state = call.sandbox.state();
    let name = call.text("vnet");
    let row = state.sdn.vnets.get(name).and_then(|item| seen(call, item));
    let row = row.ok_or_else(|| Refusal::failed(format!("sdn vnet object '{name}' does not exist")))?;
    Ok(with_digest(row, &state.sdn.vnets).into())
}

fn subnets(call: &Call) -> Answered {
    let state = call.sandbox.state();
    let name = call.text("vnet");
    let path = format!("/sdn/zones/{}/{name}", zone_of(&state, name));
    state.check_any(&call.who, &path, &["SDN.Audit", "SDN.Allocate"])?;
    let of_vnet = |item: &&Item| {
        let config = item.config.as_ref().or(item.running.as_ref());
        config.is_some_and(|config| config.get("vnet").and_then(Value::as_str) == Some(name))
    };
    let rows = state.sdn.subnets.values().filter(of_vnet).filter_map(|item| seen(call, item));
    Ok(rows.map(|row| with_digest(row, &state.sdn.subnets)).collect::<Vec<_>>().into())
}

fn ipams(_: &Call) -> Answered {
    Ok(json!([{"ipam": "pve", "type": "pve", "digest": digest("")}]).into())
}
