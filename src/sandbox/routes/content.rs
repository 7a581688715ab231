//! What is on a storage: lists, single volumes, allocation, deletion, notes and protection, pruning of backups.

use std::{collections::BTreeMap, time::Duration};

use serde_json::{Map, Value, json};

use crate::sandbox::{
    call::Call,
    config::{parse_size, property},
    drives::LARGEST,
    router::Route,
    state::State,
    storage::{Storage, Volume},
    wire::{Answer, Answered, Refusal, civil},
};

pub const ROUTES: &[Route] = &[
    Route::get("/nodes/{node}/storage/{storage}/content", list),
    Route::post("/nodes/{node}/storage/{storage}/content", allocate),
    Route::get("/nodes/{node}/storage/{storage}/content/{volume}", read),
    Route::put("/nodes/{node}/storage/{storage}/content/{volume}", update),
    Route::delete("/nodes/{node}/storage/{storage}/content/{volume}", delete),
    Route::get("/nodes/{node}/storage/{storage}/prunebackups", would_prune),
    Route::delete("/nodes/{node}/storage/{storage}/prunebackups", prune),
];

/// The volume id of the call; the path may leave the storage out.
fn volid(call: &Call) -> String {
    let (storage, volume) = (call.text("storage"), call.text("volume"));
    if volume.contains(':') { volume.to_owned() } else { format!("{storage}:{volume}") }
}

fn list(call: &Call) -> Answered {
    let state = call.sandbox.state();
    let storage = state.storage(call.text("storage"), call.node())?;
    let path = format!("/storage/{}", storage.id);
    state.check_any(&call.who, &path, &["Datastore.Audit", "Datastore.AllocateSpace"])?;
    let vmid = call.int("vmid").and_then(|vmid| u32::try_from(vmid).ok());
    let volumes = state.volumes.on(storage, call.node()).filter(|volume| {
        call.get("content").is_none_or(|content| content == volume.content)
            && vmid.is_none_or(|vmid| volume.vmid == Some(vmid))
            && may_see(&state, call, &path, volume)
    });
    Ok(volumes.map(row).collect::<Vec<_>>().into())
}

/// Disks and backups show only to those who may see their guest, or the whole storage.
fn may_see(state: &State, call: &Call, path: &str, volume: &Volume) -> bool {
    let guest = volume.vmid.filter(|_| matches!(volume.content.as_str(), "images" | "rootdir" | "backup"));
    state.may(&call.who, path, "Datastore.Allocate")
        || guest.is_none_or(|vmid| {
            let privilege = if volume.content == "backup" { "VM.Backup" } else { "VM.Config.Disk" };
            state.may(&call.who, &format!("/vms/{vmid}"), privilege)
        })
}

fn row(volume: &Volume) -> Value {
    let mut row = Map::new();
    let mut put = |key: &str, value: Value| drop(row.insert(key.to_owned(), value));
    put("volid", volume.volid.as_str().into());
    put("content", volume.content.as_str().into());
    put("format", volume.format.as_str().into());
    // An image to be imported is listed with the size of its file.
    put("size", if volume.content == "import" { volume.used } else { volume.size }.into());
    put("ctime", volume.ctime.into());
    if let Some(vmid) = volume.vmid {
        put("vmid", vmid.into());
    }
    match volume.content.as_str() {
        "images" | "rootdir" => {
            put("parent", volume.parent.as_deref().map_or(Value::Null, Value::from));
            put("used", volume.used.into());
        }
        "backup" => {
            let kind = if volume.volid.contains("-lxc-") { "lxc" } else { "qemu" };
            put("subtype", kind.into());
            if let Some(notes) = &volume.notes {
                put("notes", notes.as_str().into());
            }
            if volume.protected {
                put("protected", 1.into());
            }
        }
        _ => {}
    }
    row.into()
}

/// Where the volume is, for a file storage.
fn path(storage: &Storage, volume: &Volume) -> String {
    let name = volume.volid.split_once(':').map_or("", |(_, name)| name);
    let folder = storage.path();
    match name.split_once('/') {
        Some(("iso", file)) => format!("{folder}/template/iso/{file}"),
        Some(("vztmpl", file)) => format!("{folder}/template/cache/{file}"),
        Some(("backup", file)) => format!("{folder}/dump/{file}"),
        Some(("snippets", file)) => format!("{folder}/snippets/{file}"),
        Some(("import", file)) => format!("{folder}/import/{file}"),
        _ if storage.is_files() => format!("{folder}/images/{name}"),
        _ => format!("/dev/{}/{name}", storage.config.get("vgname").unwrap_or("pve")),
    }
}

fn read(call: &Call) -> Answered {
    let volid = volid(call);
    let state = call.sandbox.state();
    let storage = state.storage(volid.split(':').next().unwrap_or_default(), call.node())?;
    let found = state.volumes.get(storage, call.node(), &volid);
    let volume = found.ok_or_else(|| Refusal::failed(format!("volume_size_info on '{volid}' failed - no format")))?;
    check_access(&state, call, storage, volume)?;
    let format = if volume.content == "backup" { "raw" } else { volume.format.as_str() };
    let mut out = json!({
        "path": path(storage, volume), "size": volume.size, "used": volume.used, "format": format,
    });
    if volume.content == "backup" {
        out["protected"] = u8::from(volume.protected).into();
        if let Some(notes) = &volume.notes {
            out["notes"] = notes.as_str().into();
        }
    }
    Ok(out.into())
}

fn check_access(state: &State, call: &Call, storage: &Storage, volume: &Volume) -> Result<(), Refusal> {
    let path = format!("/storage/{}", storage.id);
    if may_see(state, call, &path, volume) {
        return state.check_any(&call.who, &path, &["Datastore.Audit", "Datastore.AllocateSpace"]);
    }
    state.check(&call.who, &path, &["Datastore.Allocate"])
}

fn allocate(call: &Call) -> Answered {
    let node = call.get("node").unwrap_or_default();
    let mut state = call.sandbox.state();
    let storage = state.storage(call.text("storage"), node)?.clone();
    let (name, vmid) = (call.text("filename"), call.vmid());
    // In kibibytes where there is no unit.
    let text = call.text("size");
    let size =
        if text.ends_with(|c: char| c.is_ascii_digit()) { parse_size(&format!("{text}K")) } else { parse_size(text) };
    let size = size.ok_or_else(|| Refusal::param("size", "value does not match the regex pattern"))?;
    if size > LARGEST {
        return Err(Refusal::failed(format!("unable to create image: '{name}' cannot be that large")));
    }
    let by_name = ["qcow2", "vmdk"].into_iter().find(|format| name.ends_with(&format!(".{format}")));
    let format = call.get("format").or(by_name).unwrap_or("raw");
    let volid =
        if storage.is_files() { format!("{}:{vmid}/{name}", storage.id) } else { format!("{}:{name}", storage.id) };
    if state.volumes.get(&storage, node, &volid).is_some() {
        let path = crate::sandbox::drives::image_path(&storage, &volid);
        return Err(Refusal::failed(format!("disk image '{path}' already exists")));
    }
    if !storage.is_files() && format != "raw" {
        return Err(Refusal::failed(format!("unsupported format '{format}' at /usr/share/perl5/PVE/Storage.pm")));
    }
    let mut volume = Volume::new(volid.as_str(), "images", format, size).of(vmid).at(call.now());
    volume.used = 0;
    state.volumes.put(&storage, node, volume);
    Ok(Answer::from(volid))
}

fn update(call: &Call) -> Answered {
    let volid = volid(call);
    let mut state = call.sandbox.state();
    let id = volid.split(':').next().unwrap_or_default().to_owned();
    let storage = state.storage(&id, call.node())?.clone();
    {
        let found = state.volumes.get(&storage, call.node(), &volid);
        let volume = found.ok_or_else(|| Refusal::failed(format!("volume '{volid}' does not exist")))?;
        check_access(&state, call, &storage, volume)?;
    }
    if let Some(volume) = state.volumes.get_mut(&storage, call.node(), &volid) {
        if let Some(notes) = call.get("notes") {
            volume.notes = Some(notes.to_owned()).filter(|notes| !notes.is_empty());
        }
        if call.get("protected").is_some() {
            volume.protected = call.flag("protected");
        }
    }
    Ok(Answer::null())
}

fn delete(call: &Call) -> Answered {
    let (volid, node) = (volid(call), call.node().to_owned());
    let state = call.sandbox.state();
    let id = volid.split(':').next().unwrap_or_default().to_owned();
    let storage = state.storage(&id, &node)?.clone();
    let volume = state.volumes.get(&storage, &node, &volid).cloned();
    // Whether a guest uses it is not asked: that is the caller's affair, here as there.
    let guest = volume.as_ref().and_then(|volume| volume.vmid).or_else(|| owner(&volid));
    let path = format!("/storage/{id}");
    match guest {
        Some(owner) if volid.contains(":backup/") => {
            state.check(&call.who, &path, &["Datastore.AllocateSpace"])?;
            state.check(&call.who, &format!("/vms/{owner}"), &["VM.Backup"])?;
        }
        _ => state.check(&call.who, &path, &["Datastore.Allocate"])?,
    }
    drop(state);
    let id = guest.map_or_else(|| id.clone(), |vmid| format!("{vmid}@{id}"));
    call.fork(&node.clone(), "imgdel", id, async move |worker| {
        worker.work(Duration::from_millis(200)).await;
        let mut state = worker.sandbox.state();
        let Some(volume) = state.volumes.get(&storage, &node, &volid) else { return Ok(()) };
        if volume.protected {
            let name = volid.split_once(':').map_or("", |(_, name)| name);
            return Err(format!("cannot remove protected volume '{name}' on '{}'", storage.id));
        }
        let name = volid.split_once(':').map_or("", |(_, name)| name);
        let cloned = state
            .volumes
            .on(&storage, &node)
            .any(|other| other.parent.as_deref().is_some_and(|parent| parent == volid || parent == name));
        if cloned {
            return Err(format!("base volume '{name}' is still in use by linked clones"));
        }
        // A file can be deleted under a running guest; a logical volume that is open cannot.
        let open = state
            .guests()
            .values()
            .any(|guest| guest.is_running() && guest.volumes().iter().any(|(_, used)| *used == volid));
        if open && !storage.is_files() {
            let group = storage.config.get("vgname").unwrap_or("pve");
            return Err(format!("lvremove '{group}/{name}' error:   Logical volume {group}/{name} in use."));
        }
        state.volumes.remove(&storage, &node, &volid);
        drop(state);
        worker.log(format!("Removed volume '{volid}'"));
        Ok(())
    })
}

/// The guest that a volume id names.
pub(super) fn owner(volid: &str) -> Option<u32> {
    let name = volid.split_once(':')?.1;
    name.split(['/', '-']).find_map(|part| part.parse().ok().filter(|vmid| *vmid >= 100))
}

/// Which backups go and which stay: `(volume, keep, remove or protected)`.
fn marks(call: &Call) -> Result<Vec<(Volume, &'static str)>, Refusal> {
    let state = call.sandbox.state();
    let storage = state.storage(call.text("storage"), call.node())?;
    if !storage.holds("backup") {
        return Err(Refusal::failed(format!("storage '{}' does not support backups", storage.id)));
    }
    let rules = call.get("prune-backups").or_else(|| storage.config.get("prune-backups"));
    let missing = || format!("no prune-backups options configured for storage '{}'", storage.id);
    let rules = rules.ok_or_else(|| Refusal::failed(missing()))?.to_owned();
    let vmid = call.int("vmid").and_then(|vmid| u32::try_from(vmid).ok());
    let mut groups: BTreeMap<(u32, bool), Vec<Volume>> = BTreeMap::new();
    for volume in state.volumes.on(storage, call.node()).filter(|volume| volume.content == "backup") {
        let lxc = volume.volid.contains("-lxc-");
        let kind = call.get("type").is_none_or(|kind| (kind == "lxc") == lxc);
        let Some(owner) = volume.vmid.filter(|owner| kind && vmid.is_none_or(|vmid| vmid == *owner)) else { continue };
        groups.entry((owner, lxc)).or_default().push(volume.clone());
    }
    let mut out = Vec::new();
    for mut group in groups.into_values() {
        group.sort_by_key(|volume| std::cmp::Reverse(volume.ctime));
        out.extend(keep(&rules, group));
    }
    Ok(out)
}

/// PVE's rules: each keeps the newest of so many periods that no rule before it has kept, and gives the others of those
/// periods up for good.
pub(super) fn keep(rules: &str, newest_first: Vec<Volume>) -> Vec<(Volume, &'static str)> {
    let mut marks: Vec<Option<&'static str>> =
        newest_first.iter().map(|v| v.protected.then_some("protected")).collect();
    let count = |rule: &str| property(rules, rule).and_then(|n| n.parse::<usize>().ok()).unwrap_or(0);
    const RULES: [&str; 6] = ["keep-last", "keep-hourly", "keep-daily", "keep-weekly", "keep-monthly", "keep-yearly"];
    if property(rules, "keep-all") == Some("1") || RULES.iter().all(|rule| count(rule) == 0) {
        marks.iter_mut().for_each(|mark| *mark = mark.or(Some("keep")));
    }
    let period = |rule: &str, ctime: u64| {
        let (year, month, day, hour, ..) = civil(ctime);
        match rule {
            "keep-hourly" => format!("{year}-{month}-{day}-{hour}"),
            "keep-daily" => format!("{year}-{month}-{day}"),
            // Weeks begin on Monday, and 1970 began on a Thursday.
            "keep-weekly" => ((ctime / 86_400 + 3) / 7).to_string(),
            "keep-monthly" => format!("{year}-{month}"),
            "keep-yearly" => year.to_string(),
            _ => ctime.to_string(),
        }
    };
    for rule in RULES.into_iter().filter(|rule| count(rule) > 0) {
        let before: Vec<String> = newest_first
            .iter()
            .zip(&marks)
            .filter(|(_, mark)| **mark == Some("keep"))
            .map(|(volume, _)| period(rule, volume.ctime))
            .collect();
        let mut seen: Vec<String> = Vec::new();
        for (volume, mark) in newest_first.iter().zip(marks.iter_mut()).filter(|(_, mark)| mark.is_none()) {
            let this = period(rule, volume.ctime);
            if before.contains(&this) {
                continue;
            }
            if seen.contains(&this) {
                *mark = Some("remove");
                continue;
            }
            if seen.len() >= count(rule) {
                break;
            }
            seen.push(this);
            *mark = Some("keep");
        }
    }
    newest_first.into_iter().zip(marks).map(|(volume, mark)| (volume, mark.unwrap_or("remove"))).collect()
}

fn would_prune(call: &Call) -> Answered {
    let rows = marks(call)?.into_iter().map(|(volume, mark)| {
        let kind = if volume.volid.contains("-lxc-") { "lxc" } else { "qemu" };
        json!({"volid": volume.volid, "ctime": volume.ctime, "vmid": volume.vmid, "type": kind, "mark": mark})
    });
    Ok(rows.collect::<Vec<_>>().into())
}

fn prune(call: &Call) -> Answered {
    let (node, storage) = (call.node().to_owned(), call.text("storage").to_owned());
    let marks = marks(call)?;
    let id = match call.get("vmid") {
        Some(vmid) => format!("{vmid}@{storage}"),
        None => storage.clone(),
    };
    call.fork(&node.clone(), "prunebackups", id, async move |worker| {
        for (volume, mark) in marks {
            let owner = volume.vmid.unwrap_or_default();
            let kind = if volume.volid.contains("-lxc-") { "lxc" } else { "qemu" };
            worker.log(format!("{mark:<9} {kind}/{owner} {}", volume.volid));
            if mark == "remove" {
                worker.work(Duration::from_millis(200)).await;
                worker.sandbox.state().remove_volume(&volume.volid, &node);
            }
        }
        Ok(())
    })
}
