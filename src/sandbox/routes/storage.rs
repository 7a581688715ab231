//! Storages: their configuration in storage.cfg, and how they are on a node.

use serde_json::{Map, Value, json};

use super::{guests::figures::frame, nodes::is_recorded};
use crate::sandbox::{
    call::Call,
    config::{Config, digest},
    params::split_list,
    router::Route,
    state::State,
    storage::Storage,
    wire::{Answer, Answered, Refusal},
};

pub const ROUTES: &[Route] = &[
    Route::get("/storage", list),
    Route::post("/storage", create),
    Route::get("/storage/{storage}", read),
    Route::put("/storage/{storage}", update),
    Route::delete("/storage/{storage}", remove),
    Route::get("/nodes/{node}/storage", on_node),
    Route::get("/nodes/{node}/storage/{storage}", index),
    Route::get("/nodes/{node}/storage/{storage}/status", status),
    Route::get("/nodes/{node}/storage/{storage}/rrddata", rrddata),
];

const CHANGED: &str = "detected modified configuration - file changed by other user? Try again.";

/// The digest of storage.cfg.
fn file_digest(state: &State) -> String {
    let mut file = String::new();
    for storage in state.storages.values() {
        file.push_str(&format!("{}: {}\n", storage.plugin, storage.id));
        storage.config.write(&mut file);
    }
    digest(&file)
}

fn shown(storage: &Storage, digest: &str) -> Value {
    let mut row = Map::new();
    row.insert("storage".to_owned(), storage.id.as_str().into());
    row.insert("type".to_owned(), storage.plugin.as_str().into());
    row.insert("digest".to_owned(), digest.into());
    for (key, value) in storage.config.iter() {
        let numeric = matches!(key, "shared" | "disable" | "sparse" | "krbd" | "mkdir" | "preallocation");
        let value = value.parse::<u64>().ok().filter(|_| numeric).map_or_else(|| value.into(), Value::from);
        row.insert(key.to_owned(), value);
    }
    if !storage.config.has("content") {
        row.insert("content".to_owned(), storage.content().join(",").into());
    }
    row.into()
}

fn list(call: &Call) -> Answered {
    let state = call.sandbox.state();
    let digest = file_digest(&state);
    let rows = state.storages.values().filter(|storage| call.get("type").is_none_or(|kind| kind == storage.plugin));
    let rows = rows.filter(|storage| sees(&state, call, storage)).map(|storage| shown(storage, &digest));
    Ok(rows.collect::<Vec<_>>().into())
}

fn sees(state: &State, call: &Call, storage: &Storage) -> bool {
    let path = format!("/storage/{}", storage.id);
    ["Datastore.Audit", "Datastore.AllocateSpace"].iter().any(|privilege| state.may(&call.who, &path, privilege))
}

fn read(call: &Call) -> Answered {
    let state = call.sandbox.state();
    let id = call.text("storage");
    let missing = || Refusal::failed(format!("storage '{id}' does not exist"));
    Ok(shown(state.storages.get(id).ok_or_else(missing)?, &file_digest(&state)).into())
}

/// The parameters that become lines of storage.cfg.
fn settings(call: &Call) -> impl Iterator<Item = (&str, &str)> {
    let own = |name: &str| !matches!(name, "storage" | "type" | "digest" | "delete");
    call.params.iter().filter(move |(name, _)| own(name))
}

fn create(call: &Call) -> Answered {
    let (id, plugin) = (call.text("storage").to_owned(), call.text("type").to_owned());
    let mut state = call.sandbox.state();
    if state.storages.contains_key(&id) {
        return Err(Refusal::failed(format!("create storage failed: storage ID '{id}' already defined")));
    }
    let mut config: Config = settings(call).map(|(key, value)| (key, in_order(key, value))).collect();
    if !config.has("content") {
        let content = match plugin.as_str() {
            "pbs" => "backup",
            "cephfs" => "vztmpl,iso,backup",
            "dir" | "nfs" | "cifs" | "btrfs" => "images,rootdir,vztmpl,iso,snippets,backup,import",
            _ => "images,rootdir",
        };
        config.set("content", content);
    }
    let total = state.nodes.values().next().map_or(100 << 30, |node| node.disk);
    state.storages.insert(id.clone(), Storage { id: id.clone(), plugin: plugin.clone(), config, total });
    state.generation += 1;
    Ok(json!({"storage": id, "type": plugin}).into())
}

/// A value as it is kept: lists without white space.
fn in_order(key: &str, value: &str) -> String {
    match key {
        "content" | "nodes" => split_list(value).collect::<Vec<_>>().join(","),
        _ => value.to_owned(),
    }
}

fn update(call: &Call) -> Answered {
    let id = call.text("storage").to_owned();
    let mut state = call.sandbox.state();
    let current = file_digest(&state);
    let failed = |text: String| Refusal::failed(format!("update storage failed: {text}"));
    let storage = state.storages.get_mut(&id).ok_or_else(|| failed(format!("storage '{id}' does not exist")))?;
    if call.get("digest").is_some_and(|given| given != current) {
        return Err(failed(CHANGED.to_owned()));
    }
    for key in call.list("delete") {
        storage.config.remove(key);
    }
    for (key, value) in settings(call) {
        storage.config.set(key, in_order(key, value));
    }
    let plugin = storage.plugin.clone();
    state.generation += 1;
    Ok(json!({"storage": id, "type": plugin}).into())
}

fn remove(call: &Call) -> Answered {
    let id = call.text("storage");
    let mut state = call.sandbox.state();
    if state.storages.remove(id).is_none() {
        return Err(Refusal::failed(format!("delete storage failed: storage '{id}' does not exist")));
    }
    for pool in state.pools.values_mut() {
        pool.storages.remove(id);
    }
    state.generation += 1;
    Ok(Answer::null())
}

/// How a storage is on a node; bytes.
fn condition(state: &State, storage: &Storage, node: &str) -> Map<String, Value> {
    let active = storage.is_enabled() && storage.is_on(node);
    let used = state.volumes.used(storage, node).min(storage.total);
    let (total, used) = if active { (storage.total, used) } else { (0, 0) };
    let facts = [
        ("type", Value::from(storage.plugin.as_str())),
        ("content", storage.content().join(",").into()),
        ("shared", u8::from(storage.is_shared()).into()),
        ("enabled", u8::from(active).into()),
        ("active", u8::from(active).into()),
        ("total", total.into()),
        ("used", used.into()),
        ("avail", total.saturating_sub(used).into()),
    ];
    facts.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
}

fn on_node(call: &Call) -> Answered {
    let state = call.sandbox.state();
    let node = call.node();
    if let Some(id) = call.get("storage") {
        state.storage(id, node)?;
    }
    let content = call.list("content");
    let mut rows = Vec::new();
    for storage in state.storages.values() {
        let wanted = call.get("storage").is_none_or(|id| id == storage.id)
            && storage.is_on(node)
            && sees(&state, call, storage)
            && (content.is_empty() || content.iter().any(|content| storage.holds(content)))
            && (!call.flag("enabled") || storage.is_enabled())
            && call.get("target").is_none_or(|target| storage.is_on(target));
        if !wanted {
            continue;
        }
        let mut row = condition(&state, storage, node);
        row.insert("storage".to_owned(), storage.id.as_str().into());
        let figure = |key: &str| row.get(key).and_then(Value::as_f64).unwrap_or(0.0);
        let (used, total) = (figure("used"), figure("total"));
        if total > 0.0 {
            row.insert("used_fraction".to_owned(), json!(used / total));
        }
        if call.flag("format") {
            let supported: &[&str] = if storage.is_files() { &["raw", "qcow2", "vmdk"] } else { &["raw"] };
            row.insert("formats".to_owned(), json!({"default": "raw", "supported": supported}));
        }
        rows.push(Value::from(row));
    }
    Ok(rows.into())
}

fn index(call: &Call) -> Answered {
    let state = call.sandbox.state();
    state.storage(call.text("storage"), call.node())?;
    const PARTS: [&str; 11] = [
        "content",
        "download-url",
        "file-restore",
        "import-metadata",
        "identity",
        "oci-registry-pull",
        "prunebackups",
        "rrd",
        "rrddata",
        "status",
        "upload",
    ];
    Ok(PARTS.map(|part| json!({"subdir": part})).to_vec().into())
}

fn status(call: &Call) -> Answered {
    let state = call.sandbox.state();
    let storage = state.storages.get(call.text("storage"));
    let storage = storage.ok_or_else(|| Refusal::param("storage", "No such storage."))?;
    Ok(condition(&state, storage, call.node()).into())
}

/// How full it was over time: with what is there now, since it came. Where nothing was recorded, points are bare times.
fn rrddata(call: &Call) -> Answered {
    let state = call.sandbox.state();
    let storage = state.storage(call.text("storage"), call.node())?;
    let node = state.nodes.get(call.node());
    let mut volumes: Vec<(u64, u64)> =
        state.volumes.on(storage, call.node()).map(|volume| (volume.ctime, volume.used)).collect();
    volumes.sort_unstable();
    let (step, count) = frame(call.text("timeframe"));
    let last = call.now() / step * step;
    let (mut at, mut used) = (0, 0);
    let points = (0..count).rev().map(|back| {
        let time = last - back * step;
        while let Some((_, bytes)) = volumes.get(at).filter(|(ctime, _)| *ctime <= time) {
            used += bytes;
            at += 1;
        }
        match node.is_some_and(|node| is_recorded(node, time)) {
            true => json!({"time": time, "total": storage.total, "used": used.min(storage.total)}),
            false => json!({"time": time}),
        }
    });
    Ok(points.collect::<Vec<_>>().into())
}
