//! Pools: guests and storages that rights are given on together.

use serde_json::{Value, json};

use super::rows::{guest_row, storage_row};
use crate::sandbox::{
    call::Call,
    router::Route,
    state::{Pool, State},
    wire::{Answer, Answered, Refusal},
};

pub const ROUTES: &[Route] = &[
    Route::get("/pools", list),
    Route::post("/pools", create),
    Route::put("/pools", update),
    Route::delete("/pools", delete),
    Route::get("/pools/{poolid}", read),
    Route::put("/pools/{poolid}", update),
    Route::delete("/pools/{poolid}", delete),
];

fn missing(name: &str) -> String {
    format!("pool '{name}' does not exist")
}

fn list(call: &Call) -> Answered {
    let state = call.sandbox.state();
    if let Some(name) = call.get("poolid") {
        state.check(&call.who, &format!("/pool/{name}"), &["Pool.Audit"])?;
        let pool = state.pools.get(name).ok_or_else(|| Refusal::failed(missing(name)))?;
        let mut row = row(name, pool);
        row["members"] = members(call, &state, pool).into();
        return Ok(json!([row]).into());
    }
    let seen = state.pools.iter().filter(|(name, _)| state.may(&call.who, &format!("/pool/{name}"), "Pool.Audit"));
    Ok(seen.map(|(name, pool)| row(name, pool)).collect::<Vec<_>>().into())
}

fn row(name: &str, pool: &Pool) -> Value {
    let mut row = json!({"poolid": name});
    if let Some(comment) = &pool.comment {
        row["comment"] = comment.as_str().into();
    }
    row
}

fn members(call: &Call, state: &State, pool: &Pool) -> Vec<Value> {
    let wants = |kind: &str| call.get("type").is_none_or(|only| only == kind);
    let mut out = Vec::new();
    for vmid in &pool.guests {
        if let Some(guest) = state.guests().get(vmid).filter(|guest| wants(guest.kind.path())) {
            let mut row = guest_row(state, guest, call.now());
            row.pool = None;
            out.extend(serde_json::to_value(row));
        }
    }
    if wants("storage") {
        for storage in pool.storages.iter().filter_map(|id| state.storages.get(id)) {
            let nodes = state.nodes.keys().filter(|node| storage.is_on(node));
            out.extend(nodes.map(|node| storage_row(state, storage, node)));
        }
    }
    out
}

fn read(call: &Call) -> Answered {
    let state = call.sandbox.state();
    let name = call.text("poolid");
    let pool = state.pools.get(name).ok_or_else(|| Refusal::failed(missing(name)))?;
    let mut out = row(name, pool);
    out["members"] = members(call, &state, pool).into();
    Ok(out.into())
}

fn create(call: &Call) -> Answered {
    let name = call.text("poolid");
    let mut state = call.sandbox.state();
    let failed = |text: String| Refusal::failed(format!("create pool failed: {text}"));
    if state.pools.contains_key(name) {
        return Err(failed(format!("pool '{name}' already exists")));
    }
    if let Some((parent, _)) = name.rsplit_once('/')
        && !state.pools.contains_key(parent)
    {
        return Err(failed(format!("parent '{parent}' of pool '{name}' does not exist")));
    }
    let comment = call.get("comment").filter(|text| !text.is_empty()).map(str::to_owned);
    state.pools.insert(name.to_owned(), Pool { comment, ..Pool::default() });
    state.generation += 1;
    Ok(Answer::null())
}

fn update(call: &Call) -> Answered {
    let name = call.text("poolid");
    let failed = |text: String| Refusal::failed(format!("update pools failed: {text}"));
    let mut state = call.sandbox.state();
    if !state.pools.contains_key(name) {
        return Err(failed(missing(name)));
    }
    let vms: Vec<u32> = call.list("vms").iter().filter_map(|vmid| vmid.parse().ok()).collect();
    for vmid in &vms {
        let Some(old) = state.pool_of(*vmid).map(str::to_owned) else {
            if call.flag("delete") {
                return Err(failed(format!("VM {vmid} is not a pool member")));
            }
            if !state.guests().contains_key(vmid) {
                return Err(failed(format!("VM {vmid} does not exist")));
            }
            continue;
        };
        match call.flag("delete") {
            true if old != name => return Err(failed(format!("VM {vmid} is not a pool member"))),
            true => {}
            false if old == name => return Err(failed(format!("VM {vmid} is already a pool member"))),
            false if call.flag("allow-move") => {
                state.check(&call.who, &format!("/pool/{old}"), &["Pool.Allocate"])?;
            }
            false => {
                let text = format!("VM {vmid} belongs already to pool '{old}' and 'allow-move' is not set");
                return Err(failed(text));
            }
        }
    }
    for vmid in &vms {
        state.check_any(&call.who, &format!("/vms/{vmid}"), &["VM.Allocate", "Permissions.Modify"])?;
    }
    for storage in call.list("storage") {
        state.check_any(&call.who, &format!("/storage/{storage}"), &["Datastore.Allocate", "Permissions.Modify"])?;
        let known = state.storages.contains_key(storage);
        let Some(pool) = state.pools.get_mut(name) else { continue };
        match (call.flag("delete"), known) {
            (true, _) if !pool.storages.remove(storage) => {
                return Err(failed(format!("Storage '{storage}' is not a pool member")));
            }
            (true, _) => {}
            (false, false) => return Err(failed(format!("storage '{storage}' does not exist"))),
            (false, true) if !pool.storages.insert(storage.to_owned()) => {
                return Err(failed(format!("Storage '{storage}' is already a pool member")));
            }
            (false, true) => {}
        }
    }
    for vmid in vms {
        state.set_pool(vmid, if call.flag("delete") { None } else { Some(name) });
    }
    if let Some(comment) = call.get("comment")
        && let Some(pool) = state.pools.get_mut(name)
    {
        pool.comment = Some(comment.to_owned()).filter(|text| !text.is_empty());
    }
    state.generation += 1;
    Ok(Answer::null())
}

fn delete(call: &Call) -> Answered {
    let name = call.text("poolid");
    let failed = |text: String| Refusal::failed(format!("delete pool failed: {text}"));
    let mut state = call.sandbox.state();
    let pool = state.pools.get(name).ok_or_else(|| failed(missing(name)))?;
    if let Some(child) = state.pools.keys().find(|other| other.starts_with(&format!("{name}/"))) {
        return Err(failed(format!("pool '{name}' is not empty (contains pool '{child}')")));
    }
    if let Some(vmid) = pool.guests.first() {
        return Err(failed(format!("pool '{name}' is not empty (contains VM {vmid})")));
    }
    if let Some(storage) = pool.storages.first() {
        return Err(failed(format!("pool '{name}' is not empty (contains storage '{storage}')")));
    }
    state.pools.remove(name);
    let path = format!("/pool/{name}");
    state.access.acl.remove(&path);
    state.generation += 1;
    Ok(Answer::null())
}
