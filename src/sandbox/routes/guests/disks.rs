//! Disks of guests that are there: resize, unlink, move, and what can be done with them.

use std::{sync::Arc, time::Duration};

use futures::future::BoxFuture;
use http::Method;
use serde_json::json;

use super::{
    check_digest, found, kind, root_only,
    update::{Change, add_unused, apply},
};
use crate::sandbox::{
    call::Call,
    config::{format_size, parse_size, render_bytes},
    drives::{Drive, LARGEST, Wanted, check_storage, formatting, missing},
    guest::{Guest, Kind},
    router::Route,
    state::State,
    storage::Volume,
    wire::{Answer, Answered, Refusal},
    worker::Worker,
};

pub const ROUTES: &[Route] = &[
    Route::put("/nodes/{node}/qemu/{vmid}/resize", resize),
    Route::put("/nodes/{node}/lxc/{vmid}/resize", resize),
    Route::slow(Method::PUT, "/nodes/{node}/qemu/{vmid}/unlink", unlink),
    Route::post("/nodes/{node}/qemu/{vmid}/move_disk", move_disk),
    Route::post("/nodes/{node}/lxc/{vmid}/move_volume", move_disk),
    Route::get("/nodes/{node}/qemu/{vmid}/feature", feature),
    Route::get("/nodes/{node}/lxc/{vmid}/feature", feature),
];

fn resize(call: &Call) -> Answered {
    let (kind, vmid, node) = (kind(call), call.vmid(), call.node().to_owned());
    root_only(call, &["skiplock"])?;
    let (disk, size) = (call.text("disk").to_owned(), call.text("size").to_owned());
    let digest = call.get("digest").map(str::to_owned);
    {
        let state = call.sandbox.state();
        let guest = state.guest(&node, kind, vmid)?;
        if kind == Kind::Lxc {
            guest.check_lock().map_err(Refusal::failed)?;
            check_digest(guest, digest.as_deref()).map_err(Refusal::failed)?;
            let (_, old, new) = target(guest, &disk, &size).map_err(Refusal::failed)?;
            if new < old {
                return Err(Refusal::failed("unable to shrink disk size"));
            }
        }
    }
    let skiplock = call.flag("skiplock");
    call.fork(&node.clone(), "resize", vmid, async move |worker| {
        let _lock = worker.lock(kind, vmid).await?;
        let (drive, new, running, files) = {
            let state = worker.sandbox.state();
            let guest = found(&state, &node, kind, vmid)?;
            check_digest(guest, digest.as_deref())?;
            if !skiplock {
                guest.check_lock()?;
            }
            let (drive, old, new) = target(guest, &disk, &size)?;
            if new < old {
                return Err("shrinking disks is not supported".to_owned());
            }
            if new > LARGEST {
                return Err(format!("volume '{}' cannot be that large", drive.volume));
            }
            let storage = state.storage(drive.storage(), &node).map_err(|refusal| refusal.message)?;
            (drive, new, guest.is_running(), storage.is_files())
        };
        worker.work(Duration::from_millis(300)).await;
        grow(&mut worker.sandbox.state(), &node, vmid, (&disk, &drive, new));
        if !files {
            let name = drive.volume.split_once(':').map_or("", |(_, name)| name);
            worker.log(format!("  Logical volume pve/{name} successfully resized."));
        } else if kind == Kind::Lxc || !running {
            worker.log("Image resized.");
        }
        if kind == Kind::Lxc {
            worker.log("resize2fs 1.47.2 (1-Jan-2025)");
            worker.log(format!("The filesystem is now {} (4k) blocks long.", new / 4096));
            worker.log("");
        }
        Ok(())
    })
}

/// Makes the volume larger, and says so in the configuration.
fn grow(state: &mut State, node: &str, vmid: u32, (disk, drive, new): (&str, &Drive, u64)) {
    if let Some(storage) = state.storages.get(drive.storage())
        && let Some(volume) = state.volumes.get_mut(storage, node, &drive.volume)
    {
        volume.size = new;
    }
    if let Some(guest) = state.guest_mut(vmid) {
        let mut drive = drive.clone();
        drive.options.insert("size".to_owned(), format_size(new));
        guest.config.set(disk, drive.to_string());
    }
}

/// The drive to be resized, and its old and new size.
fn target(guest: &Guest, disk: &str, size: &str) -> Result<(Drive, u64, u64), String> {
    let Some(text) = guest.config.get(disk) else { return Err(format!("disk '{disk}' does not exist")) };
    let drive = Drive::parse(text);
    if !drive.volume.contains(':') {
        return Err(format!("unable to parse volume ID '{}'", drive.volume));
    }
    if drive.is_cdrom() {
        return Err("you can't resize a cdrom".to_owned());
    }
    let old = drive.size();
    let new = match size.strip_prefix('+') {
        Some(more) => old.saturating_add(parse_size(more).unwrap_or(0)),
        None => parse_size(size).unwrap_or(0),
    };
    Ok((drive, old, new))
}

fn unlink(call: Arc<Call>) -> BoxFuture<'static, Answered> {
    Box::pin(async move {
        let (vmid, node) = (call.vmid(), call.node());
        root_only(&call, &["skiplock"])?;
        let _lock = call.lock(Kind::Qemu, vmid).await?;
        let mut state = call.sandbox.state();
        let guest = state.guest(node, Kind::Qemu, vmid)?;
        if !call.flag("skiplock") {
            guest.check_lock().map_err(Refusal::failed)?;
        }
        let delete = call.list("idlist").into_iter().map(str::to_owned).collect();
        let change = Change { delete, force: call.flag("force"), ..Change::default() };
        apply(&mut state, (node, Kind::Qemu, vmid), &change, call.now(), &mut Vec::new())?;
        Ok(Answer::null())
    })
}

/// Where a disk goes.
struct Move {
    key: String,
    drive: Drive,
    storage: String,
    format: String,
    delete: bool,
}

fn move_disk(call: &Call) -> Answered {
    let (kind, vmid, node) = (kind(call), call.vmid(), call.node().to_owned());
    root_only(call, &["skiplock"])?;
    let key = call.get("disk").or_else(|| call.get("volume")).unwrap_or_default().to_owned();
    if call.get("target-vmid").is_some() {
        return Err(Refusal::not_implemented("POST", "a move to another guest"));
    }
    let state = call.sandbox.state();
    let guest = state.guest(&node, kind, vmid)?;
    guest.check_lock().map_err(Refusal::failed)?;
    check_digest(guest, call.get("digest")).map_err(Refusal::failed)?;
    let Some(text) = guest.config.get(&key) else {
        return Err(Refusal::failed(match kind {
            Kind::Qemu => format!("disk '{key}' does not exist"),
            Kind::Lxc => format!("volume '{key}' does not exist"),
        }));
    };
    let drive = Drive::parse(text);
    if drive.is_cdrom() && !drive.is_cloud_init() {
        return Err(Refusal::failed("you can't move a cdrom"));
    }
    if !matches!(drive.wanted(), Wanted::Existing { .. }) {
        return Err(Refusal::failed(format!("disk '{key}' has no associated volume")));
    }
    let Some(storage) = call.get("storage") else {
        return Err(Refusal::param("storage", "property is missing and it is not optional"));
    };
    state.check(&call.who, &format!("/storage/{storage}"), &["Datastore.AllocateSpace"])?;
    let target = state.storage(storage, &node)?;
    let from = state.storage(drive.storage(), &node)?;
    let old = state.volumes.get(from, &node, &drive.volume).map_or("raw", |volume| volume.format.as_str());
    let format = match call.get("format") {
        Some(format) if target.is_files() => format,
        _ if target.is_files() => old,
        _ => "raw",
    };
    if storage == drive.storage() && format == old {
        return Err(Refusal::failed(match kind {
            Kind::Qemu => "you can't move to the same storage with same format",
            Kind::Lxc => "you can't move a volume to the same storage",
        }));
    }
    let bad = check_storage(&state, storage, &node, kind).err();
    if let (Some(refusal), Kind::Qemu) = (&bad, kind) {
        return Err(refusal.clone());
    }
    let bad = bad.and_then(|refusal| refusal.errors.first().map(|(_, problem)| problem.clone()));
    let delete = call.flag("delete");
    let plan = Move { key, drive, storage: storage.to_owned(), format: format.to_owned(), delete };
    drop(state);
    let task = if kind == Kind::Qemu { "qmmove" } else { "move_volume" };
    call.fork(&node.clone(), task, vmid, async move |worker| {
        let _lock = worker.lock(kind, vmid).await?;
        match bad {
            Some(problem) => Err(problem),
            None => relocate(&worker, &node, (kind, vmid), plan).await,
        }
    })
}

async fn relocate(worker: &Worker, node: &str, (kind, vmid): (Kind, u32), plan: Move) -> Result<(), String> {
    let Move { key, drive, storage, format, delete } = plan;
    let old = drive.volume.clone();
    let from = drive.storage();
    worker.log(format!("copying volume '{old}' from current storage '{from}' to target storage '{storage}'"));
    worker.log(format!("create full clone of drive {key} ({old})"));
    let (volid, size, line) = {
        let mut state = worker.sandbox.state();
        let source = state.storage(from, node).map_err(|refusal| refusal.message)?;
        let volume = state.volumes.get(source, node, &old).ok_or_else(|| missing(&old))?.clone();
        let target = state.storage(&storage, node).map_err(|refusal| refusal.message)?.clone();
        let volid = state.volumes.next_disk(&target, node, vmid, "vm", &format);
        let now = worker.sandbox.clock().now();
        let mut new = Volume::new(volid.as_str(), &volume.content, &format, volume.size).of(vmid).at(now);
        new.used = volume.used;
        state.volumes.put(&target, node, new);
        (volid.clone(), volume.size, formatting(&target, &volid, &format, volume.size))
    };
    worker.log(line);
    worker.log(format!("allocated target volume '{volid}'"));
    if kind == Kind::Qemu {
        worker.transfer(size, 1 << 30).await;
    } else {
        worker.work(Duration::from_secs_f64(1.0 + size as f64 / 2e9)).await;
        worker.log(format!("Total bytes sent: {}", render_bytes(size)));
    }
    if delete {
        worker.log(format!("removing source volume '{old}' after successful copy"));
    }
    let mut state = worker.sandbox.state();
    if let Some(guest) = state.guest_mut(vmid) {
        let moved = Drive { volume: volid, options: drive.options.clone() };
        guest.config.set(key, moved.to_string());
        if !delete {
            add_unused(guest, &old);
        }
    }
    if delete {
        state.remove_volume(&old, node);
    }
    Ok(())
}

/// Whether every disk of the guest can be snapshot; containers and VMs alike.
pub(super) fn can_snapshot(state: &State, guest: &Guest) -> bool {
    guest.drives().into_iter().filter(|(_, drive)| drive.volume.contains(':') && !drive.is_cdrom()).all(|(_, drive)| {
        let storage = state.storages.get(drive.storage());
        let volume = storage.and_then(|storage| state.volumes.get(storage, &guest.node, &drive.volume));
        storage.is_some_and(|storage| storage.snapshots_raw()) || volume.is_some_and(|volume| volume.format == "qcow2")
    })
}

fn feature(call: &Call) -> Answered {
    let kind = kind(call);
    let state = call.sandbox.state();
    let guest = state.guest(call.node(), kind, call.vmid())?;
    let has = match call.text("feature") {
        "snapshot" => can_snapshot(&state, guest),
        "clone" => guest.is_template() || can_snapshot(&state, guest),
        _ => true,
    };
    let mut out = json!({"hasFeature": u8::from(has)});
    if kind == Kind::Qemu {
        let shared = guest.drives().iter().filter(|(_, drive)| drive.volume.contains(':')).all(|(_, drive)| {
            state.storages.get(drive.storage()).is_some_and(crate::sandbox::storage::Storage::is_shared)
        });
        let nodes: Vec<&str> = match shared {
            true => state.nodes.keys().map(String::as_str).collect(),
            false => vec![call.node()],
        };
        out["nodes"] = nodes.into();
    }
    Ok(out.into())
}
