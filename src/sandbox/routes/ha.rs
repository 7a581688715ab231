//! High availability: resources, rules and status.

use serde_json::{Map, Value, json};

use super::guests::managed;
use crate::sandbox::{
    call::Call,
    guest::Kind,
    ha::{Options, file_digest, shown, sid},
    router::Route,
    state::State,
    wire::{Answer, Answered, Refusal, civil},
};

pub const ROUTES: &[Route] = &[
    Route::get("/cluster/ha/resources", list),
    Route::post("/cluster/ha/resources", create),
    Route::get("/cluster/ha/resources/{sid}", read),
    Route::put("/cluster/ha/resources/{sid}", update),
    Route::delete("/cluster/ha/resources/{sid}", remove),
    Route::get("/cluster/ha/rules", rules),
    Route::post("/cluster/ha/rules", create_rule),
    Route::get("/cluster/ha/rules/{rule}", rule),
    Route::put("/cluster/ha/rules/{rule}", update_rule),
    Route::delete("/cluster/ha/rules/{rule}", remove_rule),
    Route::get("/cluster/ha/groups", |_| Err(migrated("cannot index groups"))),
    Route::get("/cluster/ha/groups/{group}", |call| {
        Err(migrated(&format!("cannot read group '{}'", call.text("group"))))
    }),
    Route::post("/cluster/ha/groups", |_| Err(migrated("cannot create group"))),
    Route::get("/cluster/ha/status/current", current),
    Route::get("/cluster/ha/status/manager_status", manager),
];

fn migrated(what: &str) -> Refusal {
    Refusal::failed(format!("{what}: ha groups have been migrated to rules"))
}

const MODIFIED: &str = "detected modified configuration - file changed by other user? Try again.";

/// The guest that a resource's name means: `vm:100`, `ct:100`, or a bare VMID.
fn guest_of(state: &State, name: &str) -> Option<(Kind, u32)> {
    let (kind, vmid) = match name.split_once(':') {
        Some(("vm", vmid)) => (Some(Kind::Qemu), vmid),
        Some(("ct", vmid)) => (Some(Kind::Lxc), vmid),
        Some(_) => return None,
        None => (None, name),
    };
    let vmid = vmid.parse().ok()?;
    let kind = kind.or_else(|| state.guests().get(&vmid).map(|guest| guest.kind))?;
    Some((kind, vmid))
}

/// The resource's name in full.
fn full(call: &Call, state: &State) -> Result<String, Refusal> {
    let name = call.text("sid");
    match guest_of(state, name) {
        Some((kind, vmid)) => Ok(sid(kind, vmid)),
        None if name.contains(':') => {
            let kind = name.split(':').next().unwrap_or_default();
            Err(Refusal::failed(format!("unable to parse service id '{name}' - no such resource type '{kind}'")))
        }
        None => Err(Refusal::failed(format!("unable to find configuration file for VM {name}: no such machine"))),
    }
}

fn row(state: &State, name: &str, options: &Options) -> Map<String, Value> {
    let mut row = shown(options);
    row.insert("sid".to_owned(), name.into());
    row.insert("type".to_owned(), name.split(':').next().unwrap_or_default().into());
    row.insert("digest".to_owned(), file_digest(&state.ha.resources).into());
    row
}

fn list(call: &Call) -> Answered {
    let state = call.sandbox.state();
    let wanted = |name: &str| call.get("type").is_none_or(|kind| name.split(':').next() == Some(kind));
    let rows =
        state.ha.resources.iter().filter(|(name, _)| wanted(name)).map(|(name, options)| row(&state, name, options));
    Ok(rows.map(Value::from).collect::<Vec<_>>().into())
}

fn read(call: &Call) -> Answered {
    let state = call.sandbox.state();
    let name = full(call, &state)?;
    let missing = || Refusal::failed(format!("no such resource '{name}'"));
    let options = state.ha.resources.get(&name).ok_or_else(missing)?;
    Ok(Value::from(row(&state, &name, options)).into())
}

/// The options among the parameters.
///
/// # Errors
/// A group: there are none any more.
fn given(call: &Call) -> Result<Options, Refusal> {
    if call.get("group").is_some() {
        return Err(migrated("invalid parameter 'group'"));
    }
    let own = |name: &str| !matches!(name, "sid" | "type" | "digest" | "delete" | "rule");
    Ok(call
        .params
        .iter()
        .filter(|(name, _)| own(name))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect())
}

fn create(call: &Call) -> Answered {
    let name = {
        let mut state = call.sandbox.state();
        let name = full(call, &state)?;
        let found = guest_of(&state, &name);
        let there = found.is_some_and(|(kind, vmid)| state.guests().get(&vmid).is_some_and(|guest| guest.kind == kind));
        if let (false, Some((kind, vmid))) = (there, found) {
            let thing = if kind == Kind::Qemu { "VM" } else { "CT" };
            return Err(Refusal::failed(format!("cannot find {thing} with ID '{vmid}'")));
        }
        let options = given(call)?;
        if state.ha.resources.contains_key(&name) {
            return Err(Refusal::failed(format!("create resource failed: resource ID '{name}' already defined")));
        }
        state.ha.resources.insert(name.clone(), options);
        state.change_all();
        name
    };
    managed::settle(&call.sandbox, &name);
    Ok(Answer::null())
}

fn update(call: &Call) -> Answered {
    let name = {
        let mut state = call.sandbox.state();
        let name = full(call, &state)?;
        let options = given(call)?;
        if call.get("digest").is_some_and(|digest| digest != file_digest(&state.ha.resources)) {
            return Err(Refusal::failed(format!("update resource failed: {MODIFIED}")));
        }
        let missing = || Refusal::failed(format!("update resource failed: no such resource '{name}'"));
        let resource = state.ha.resources.get_mut(&name).ok_or_else(missing)?;
        resource.extend(options);
        for key in call.list("delete") {
            resource.remove(key);
        }
        if resource.get("state").is_some_and(|state| state == "disabled") {
            state.ha.errors.remove(&name);
        }
        state.change_all();
        name
    };
    managed::settle(&call.sandbox, &name);
    Ok(Answer::null())
}

fn remove(call: &Call) -> Answered {
    let mut state = call.sandbox.state();
    let name = full(call, &state)?;
    if state.ha.resources.remove(&name).is_none() {
        return Err(Refusal::failed(format!("cannot delete service '{name}', not HA managed!")));
    }
    state.ha.errors.remove(&name);
    if call.get("purge").is_none_or(|purge| purge != "0") {
        for rule in state.ha.rules.values_mut() {
            if let Some(resources) = rule.get_mut("resources") {
                *resources = resources.split(',').filter(|other| *other != name).collect::<Vec<_>>().join(",");
            }
        }
        state.ha.rules.retain(|_, rule| rule.get("resources").is_none_or(|resources| !resources.is_empty()));
    }
    state.change_all();
    Ok(Answer::null())
}

fn rule_row(state: &State, name: &str, options: &Options) -> Value {
    let mut row = shown(options);
    row.insert("rule".to_owned(), name.into());
    row.insert("digest".to_owned(), file_digest(&state.ha.rules).into());
    row.into()
}

fn rules(call: &Call) -> Answered {
    let state = call.sandbox.state();
    let has =
        |rule: &Options, resource: &str| rule.get("resources").is_some_and(|all| all.split(',').any(|r| r == resource));
    let rows = state
        .ha
        .rules
        .iter()
        .filter(|(_, rule)| call.get("type").is_none_or(|kind| rule.get("type").is_some_and(|own| own == kind)))
        .filter(|(_, rule)| call.get("resource").is_none_or(|resource| has(rule, resource)))
        .map(|(name, rule)| rule_row(&state, name, rule));
    Ok(rows.collect::<Vec<_>>().into())
}

fn no_rule(name: &str) -> Refusal {
    Refusal::failed(format!("no such ha rule '{name}'"))
}

fn rule(call: &Call) -> Answered {
    let state = call.sandbox.state();
    let name = call.text("rule");
    let options = state.ha.rules.get(name).ok_or_else(|| no_rule(name))?;
    Ok(rule_row(&state, name, options).into())
}

/// # Errors
/// Resources that are none.
fn check_resources(state: &State, options: &Options) -> Result<(), Refusal> {
    let resources = options.get("resources").map(String::as_str).unwrap_or_default();
    let unmanaged: Vec<&str> =
        resources.split(',').filter(|name| !name.is_empty() && !state.ha.resources.contains_key(*name)).collect();
    match unmanaged.as_slice() {
        [] => Ok(()),
        names => Err(Refusal::failed(format!("cannot use unmanaged resource(s) {}", names.join(", ")))),
    }
}

fn create_rule(call: &Call) -> Answered {
    let mut state = call.sandbox.state();
    let name = call.text("rule");
    if state.ha.rules.contains_key(name) {
        return Err(Refusal::param("rule", format!("HA rule '{name}' already defined")));
    }
    let mut options = given(call)?;
    check_resources(&state, &options)?;
    if let Some(kind) = call.get("type") {
        options.insert("type".to_owned(), kind.to_owned());
    }
    state.ha.rules.insert(name.to_owned(), options);
    Ok(Answer::null())
}

fn update_rule(call: &Call) -> Answered {
    let mut state = call.sandbox.state();
    let name = call.text("rule");
    let options = given(call)?;
    check_resources(&state, &options)?;
    if call.get("digest").is_some_and(|digest| digest != file_digest(&state.ha.rules)) {
        return Err(Refusal::failed(MODIFIED));
    }
    let rule = state.ha.rules.get_mut(name).ok_or_else(|| no_rule(name))?;
    rule.extend(options);
    for key in call.list("delete") {
        rule.remove(key);
    }
    Ok(Answer::null())
}

fn remove_rule(call: &Call) -> Answered {
    call.sandbox.state().ha.rules.remove(call.text("rule"));
    Ok(Answer::null())
}

fn is_quorate(state: &State) -> bool {
    state.nodes.values().filter(|node| node.online).count() * 2 > state.nodes.len()
}

/// The master, once there was anything to manage.
fn master(state: &State) -> Option<&str> {
    let used = !state.ha.resources.is_empty() || !state.ha.maintenance.is_empty();
    state.nodes.values().find(|node| used && node.online).map(|node| node.name.as_str())
}

/// As Perl writes a local time.
fn local_time(unix: u64) -> String {
    const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
    const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let (year, month, day, h, m, s, weekday) = civil(unix);
    let month = MONTHS.get(month as usize - 1).copied().unwrap_or_default();
    format!("{} {month} {day:>2} {h:02}:{m:02}:{s:02} {year}", DAYS[weekday % 7])
}

fn current(call: &Call) -> Answered {
    let state = call.sandbox.state();
    let quorate = is_quorate(&state);
    let local = state.nodes.keys().next().cloned().unwrap_or_default();
    let status = if quorate { "OK".to_owned() } else { format!("No quorum on node '{local}'!") };
    let mut rows =
        vec![json!({"id": "quorum", "type": "quorum", "node": local, "status": status, "quorate": u8::from(quorate)})];
    let now = call.now();
    if let Some(master) = master(&state) {
        let time = now - now % 10;
        rows.push(json!({"id": "master", "type": "master", "node": master, "timestamp": time,
            "status": format!("{master} (active, {})", local_time(time))}));
        for node in state.nodes.values() {
            let busy = state
                .guests()
                .values()
                .any(|guest| guest.node == node.name && state.ha.wants(guest.kind, guest.vmid).is_some());
            let word = match (node.online, state.ha.maintenance.contains(&node.name), busy) {
                (_, true, _) => "maintenance mode",
                (false, ..) => "old timestamp - dead?",
                (true, _, true) => "active",
                (true, _, false) => "idle",
            };
            rows.push(json!({"id": format!("lrm:{}", node.name), "type": "lrm", "node": node.name, "timestamp": time,
                "status": format!("{} ({word}, {})", node.name, local_time(time))}));
        }
    }
    for (name, options) in &state.ha.resources {
        let guest = guest_of(&state, name).and_then(|(_, vmid)| state.guests().get(&vmid));
        let mut row = shown(options);
        let wanted = row.shift_remove("state").unwrap_or_else(|| "started".into());
        let (node, verbose) = guest.map_or(("---", "not found"), |guest| (&guest.node, state.ha.verbose(guest)));
        row.insert("id".to_owned(), format!("service:{name}").into());
        row.insert("type".to_owned(), "service".into());
        row.insert("sid".to_owned(), name.as_str().into());
        row.insert("node".to_owned(), node.into());
        row.insert("state".to_owned(), verbose.into());
        row.insert("status".to_owned(), format!("{name} ({node}, {verbose})").into());
        row.insert("request_state".to_owned(), wanted);
        if let Some(state) = guest.and_then(|guest| state.ha.state_of(guest)).filter(|state| *state != "ignored") {
            row.insert("crm_state".to_owned(), state.into());
        }
        for (key, default) in [("max_restart", 1), ("max_relocate", 1)] {
            row.entry(key).or_insert(default.into());
        }
        rows.push(row.into());
    }
    Ok(rows.into())
}

fn manager(call: &Call) -> Answered {
    let state = call.sandbox.state();
    let local = state.nodes.keys().next().cloned().unwrap_or_default();
    let quorum = json!({"node": local, "quorate": if is_quorate(&state) { "1" } else { "0" }});
    let Some(master) = master(&state) else {
        return Ok(json!({"manager_status": {}, "quorum": quorum}).into());
    };
    let now = call.now();
    let (mut nodes, mut services, mut lrm) = (Map::new(), Map::new(), Map::new());
    for node in state.nodes.values() {
        let maintenance = state.ha.maintenance.contains(&node.name);
        let word = match (maintenance, node.online) {
            (true, _) => "maintenance",
            (false, true) => "online",
            (false, false) => "unknown",
        };
        nodes.insert(node.name.clone(), word.into());
        let mode = if maintenance { "maintenance" } else { "active" };
        lrm.insert(
            node.name.clone(),
            json!({"mode": mode, "state": "wait_for_agent_lock", "timestamp": now, "results": {}}),
        );
    }
    for guest in state.guests().values() {
        if let Some(word) = state.ha.state_of(guest).filter(|word| *word != "ignored") {
            let service = json!({"node": guest.node, "state": word, "running": u8::from(guest.is_running())});
            services.insert(sid(guest.kind, guest.vmid), service);
        }
    }
    Ok(json!({
        "manager_status": {"master_node": master, "timestamp": now, "node_status": nodes, "service_status": services},
        "quorum": quorum,
        "lrm_status": lrm,
    })
    .into())
}
