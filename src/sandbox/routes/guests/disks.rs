//! Disks of guests that are there: resize, unlink, and what can be done with them.

use std::{sync::Arc, time::Duration};

use futures::future::BoxFuture;
use http::Method;
use serde_json::json;

use super::{
    check_digest, found, kind, root_only,
    update::{Change, apply},
};
use crate::sandbox::{
    call::Call,
    config::{format_size, parse_size},
    drives::{Drive, LARGEST},
    guest::{Guest, Kind},
    router::Route,
    state::State,
    wire::{Answer, Answered, Refusal},
};

pub const ROUTES: &[Route] = &[
    Route::put("/nodes/{node}/qemu/{vmid}/resize", resize),
    Route::put("/nodes/{node}/lxc/{vmid}/resize", resize),
    Route::slow(Method::PUT, "/nodes/{node}/qemu/{vmid}/unlink", unlink),
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
            let (drive, old, new) = target(guest, &disk, &size).map_err(Refusal::failed)?;
            state.check(&call.who, &format!("/storage/{}", drive.storage()), &["Datastore.AllocateSpace"])?;
            if new < old {
                return Err(Refusal::failed("unable to shrink disk size"));
            }
            if new == old {
                return Err(Refusal::failed("disk is already at specified size"));
            }
        }
    }
    let (skiplock, who) = (call.flag("skiplock"), call.who.clone());
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
            let place = format!("/storage/{}", drive.storage());
            state.check(&who, &place, &["Datastore.AllocateSpace"]).map_err(|refusal| refusal.message)?;
            if new < old {
                return Err("shrinking disks is not supported".to_owned());
            }
            if new == old {
                return Ok(());
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
