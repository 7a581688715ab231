//! The cluster: version, status, next free VMID, options, log, and configuration facts.

use serde_json::{Map, Value, json};

use crate::sandbox::{
    call::Call,
    router::Route,
    wire::{Answer, Answered, Refusal},
};

pub const ROUTES: &[Route] = &[
    Route::get("/version", version),
    Route::get("/cluster/status", status),
    Route::get("/cluster/nextid", next_id),
    Route::get("/cluster/options", options),
    Route::put("/cluster/options", set_options),
    Route::get("/cluster/log", log),
    Route::get("/cluster/config/nodes", config_nodes),
    Route::get("/nodes/{node}/version", version),
];

fn version(_: &Call) -> Answered {
    Ok(json!({"version": "9.2.11", "release": "9.2", "repoid": "14a22df35955d97d"}).into())
}

fn status(call: &Call) -> Answered {
    let state = call.sandbox.state();
    let mut rows = Vec::new();
    if state.nodes.len() > 1 {
        let online = state.nodes.values().filter(|node| node.online).count();
        rows.push(json!({"id": "cluster", "type": "cluster", "name": state.cluster_name, "nodes": state.nodes.len(),
            "version": state.nodes.len(), "quorate": u8::from(online * 2 > state.nodes.len())}));
    }
    for (index, node) in state.nodes.values().enumerate() {
        rows.push(json!({"id": format!("node/{}", node.name), "type": "node", "name": node.name, "ip": node.address,
            "nodeid": if state.nodes.len() > 1 { node.id } else { 0 }, "online": u8::from(node.online),
            "local": u8::from(index == 0), "level": ""}));
    }
    Ok(rows.into())
}

fn next_id(call: &Call) -> Answered {
    let state = call.sandbox.state();
    if call.get("vmid").is_some() {
        let vmid = call.vmid();
        return match state.guests().contains_key(&vmid) {
            true => Err(Refusal::param("vmid", format!("VM {vmid} already exists"))),
            false => Ok(Value::from(vmid.to_string()).into()),
        };
    }
    let vmid = state.next_id().ok_or_else(|| Refusal::failed("unable to get any free VMID"))?;
    Ok(Value::from(vmid.to_string()).into())
}

fn options(call: &Call) -> Answered {
    let state = call.sandbox.state();
    if !state.may(&call.who, "/", "Sys.Audit") {
        // Everybody may see what the web interface needs.
        let public = ["tag-style", "consent-text", "console"];
        let some: Map<_, _> = state
            .options
            .iter()
            .filter(|(k, _)| public.contains(&k.as_str()))
            .map(|(k, v)| (k.clone(), v.clone()))
            .collect();
        return Ok(Value::from(some).into());
    }
    let mut all = state.options.clone();
    all.entry("description").or_insert_with(|| "".into());
    let tags: std::collections::BTreeSet<&str> =
        state.guests().values().filter_map(|g| g.config.get("tags")).flat_map(|tags| tags.split(';')).collect();
    all.insert("allowed-tags".to_owned(), tags.into_iter().collect::<Vec<_>>().into());
    Ok(Value::from(all).into())
}

fn set_options(call: &Call) -> Answered {
    let mut state = call.sandbox.state();
    for name in call.list("delete") {
        state.options.shift_remove(name);
    }
    for (name, value) in call.params.iter().filter(|(name, _)| *name != "delete") {
        let shape = call.endpoint.param(name).is_some_and(|property| {
            property.format.as_ref().is_some_and(|format| matches!(&*format.format, crate::pve::api::Format::Keys(_)))
        });
        // Property strings are kept, and shown, taken apart.
        let value = match shape {
            true => {
                let pairs = value.split(',').filter_map(|part| part.split_once('='));
                pairs.map(|(k, v)| (k.to_owned(), v.into())).collect::<Map<_, _>>().into()
            }
            false => Value::from(value),
        };
        state.options.insert(name.to_owned(), value);
    }
    Ok(Answer::null())
}

fn log(call: &Call) -> Answered {
    let state = call.sandbox.state();
    let max = call.int("max").unwrap_or(50).max(1) as usize;
    let audits = state.may(&call.who, "/", "Sys.Syslog");
    let seen = state.log.iter().rev().filter(|entry| audits || entry.user.split('!').next() == Some(&call.who.user));
    let rows = seen.take(max).map(|entry| {
        json!({"uid": entry.uid.to_string(), "id": format!("{}:{}", entry.uid, entry.node), "node": entry.node, "pid": entry.pid,
            "pri": entry.priority, "tag": entry.tag, "time": entry.time, "user": entry.user, "msg": entry.message})
    });
    Ok(rows.collect::<Vec<_>>().into())
}

fn config_nodes(call: &Call) -> Answered {
    let state = call.sandbox.state();
    if state.nodes.len() == 1 {
        return Ok(json!([]).into());
    }
    let rows = state.nodes.values().map(|node| {
        json!({"node": node.name, "name": node.name, "nodeid": node.id.to_string(), "quorum_votes": "1",
            "ring0_addr": node.address})
    });
    Ok(rows.collect::<Vec<_>>().into())
}
