//! Disks and volumes on their way to another storage, or handed to another guest.

use std::time::Duration;

use super::{
    detach::{add_unused, in_snapshots, without_boot},
    kind, root_only,
    update::{Change, apply},
};
use crate::sandbox::{
    call::Call,
    config::render_bytes,
    drives::{Drive, Wanted, check_storage, formatting, missing},
    guest::{Guest, Kind, is_numbered},
    router::Route,
    state::State,
    storage::Volume,
    wire::{Answered, Refusal},
    worker::Worker,
};

pub const ROUTES: &[Route] = &[
    Route::post("/nodes/{node}/qemu/{vmid}/move_disk", move_disk),
    Route::post("/nodes/{node}/lxc/{vmid}/move_volume", move_disk),
];

/// Where a disk goes.
struct Move {
    key: String,
    drive: Drive,
    storage: String,
    format: String,
    delete: bool,
}

fn move_disk(call: &Call) -> Answered {
    root_only(call, &["skiplock"])?;
    match (call.get("storage"), call.get("target-vmid")) {
        (Some(_), Some(_)) => Err(both("either set 'storage' or 'target-vmid', but not both")),
        (Some(storage), None) => to_storage(call, storage),
        (None, Some(_)) => to_guest(call),
        (None, None) => Err(both("both 'storage' and 'target-vmid' missing, either needs to be set")),
    }
}

fn both(problem: &str) -> Refusal {
    Refusal::params(["storage", "target-vmid"].map(|name| (name.to_owned(), problem.to_owned())).to_vec())
}

fn key(call: &Call) -> String {
    call.get("disk").or_else(|| call.get("volume")).unwrap_or_default().to_owned()
}

fn to_storage(call: &Call, storage: &str) -> Answered {
    let (kind, vmid, node, key) = (kind(call), call.vmid(), call.node().to_owned(), key(call));
    let mut state = call.sandbox.state();
    state.check(&call.who, &format!("/storage/{storage}"), &["Datastore.AllocateSpace"])?;
    let guest = state.guest(&node, kind, vmid)?;
    guest.check_lock().map_err(Refusal::failed)?;
    if kind == Kind::Lxc && guest.is_running() {
        return Err(Refusal::failed("cannot move volumes of a running container"));
    }
    if kind == Kind::Lxc && is_numbered(&key, "unused") {
        let text = format!("cannot move volume '{key}', only configured volumes can be moved to another storage");
        return Err(Refusal::failed(text));
    }
    if kind == Kind::Qemu {
        same(guest, call.get("digest")).map_err(Refusal::failed)?;
    }
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
    let target = state.storage(storage, &node)?;
    let from = state.storage(drive.storage(), &node)?;
    let old = state.volumes.get(from, &node, &drive.volume).map_or("raw", |volume| volume.format.as_str());
    let format = match call.get("format") {
        Some(format) if target.is_files() => format,
        _ if target.is_files() => old,
        _ => "raw",
    };
    if kind == Kind::Qemu && storage == drive.storage() && call.get("format").is_none_or(|format| format == old) {
        return Err(Refusal::failed("you can't move to the same storage with same format"));
    }
    let bad = check_storage(&state, storage, &node, kind).err();
    if let (Some(refusal), Kind::Qemu) = (&bad, kind) {
        return Err(refusal.clone());
    }
    let delete = call.flag("delete");
    let thing = if kind == Kind::Qemu { "disk" } else { "volume" };
    if delete && in_snapshots(guest, &drive.volume) {
        return Err(Refusal::failed(format!("you can't move a {thing} with snapshots and delete the source")));
    }
    same(guest, call.get("digest")).map_err(Refusal::failed)?;
    let bad = bad.and_then(|refusal| refusal.errors.first().map(|(_, problem)| problem.clone()));
    let plan = Move { key, drive, storage: storage.to_owned(), format: format.to_owned(), delete };
    // A container is locked while it is copied; a VM's file is.
    if let (Kind::Lxc, Some(guest)) = (kind, state.guest_mut(vmid)) {
        guest.config.set("lock", "disk");
    }
    drop(state);
    let task = if kind == Kind::Qemu { "qmmove" } else { "move_volume" };
    call.fork(&node.clone(), task, vmid, async move |worker| {
        let _locked = Unlock(&worker, kind, vmid);
        let _lock = worker.lock(kind, vmid).await?;
        match bad {
            Some(problem) => Err(problem),
            None => relocate(&worker, &node, (kind, vmid), plan).await,
        }
    })
}

/// Takes a container's lock away, however its copy ends.
struct Unlock<'a>(&'a Worker, Kind, u32);

impl Drop for Unlock<'_> {
    fn drop(&mut self) {
        if self.1 == Kind::Lxc
            && let Some(guest) = self.0.sandbox.state().guest_mut(self.2)
        {
            guest.config.remove("lock");
        }
    }
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
    let kept = {
        let mut state = worker.sandbox.state();
        let kept = state.guest_mut(vmid).and_then(|guest| {
            let moved = Drive { volume: volid, options: drive.options.clone() };
            guest.config.set(key, moved.to_string());
            if delete { None } else { add_unused(guest, &old) }
        });
        if delete {
            state.remove_volume(&old, node);
        }
        kept
    };
    if let (Some(kept), Kind::Qemu) = (kept, kind) {
        worker.log(format!("adding source volume '{old}' as '{kept}' to config"));
    }
    Ok(())
}

/// A disk that is to belong to another guest.
struct Handover {
    node: String,
    kind: Kind,
    from: (u32, String),
    to: (u32, String),
}

fn to_guest(call: &Call) -> Answered {
    let (kind, node, key) = (kind(call), call.node().to_owned(), key(call));
    let target = call.int("target-vmid").and_then(|vmid| u32::try_from(vmid).ok()).unwrap_or_default();
    let target_key = call.get("target-disk").or_else(|| call.get("target-volume")).unwrap_or(&key).to_owned();
    if target == call.vmid() {
        return Err(Refusal::param("target-vmid", "must be different than source VMID to reassign disk"));
    }
    let state = call.sandbox.state();
    state.check(&call.who, &format!("/vms/{target}"), &["VM.Config.Disk"])?;
    let hand = Handover { node: node.clone(), kind, from: (call.vmid(), key), to: (target, target_key) };
    let digests = [call.get("digest").map(str::to_owned), call.get("target-digest").map(str::to_owned)];
    let drive = hand.check(&state, &digests).map_err(Refusal::failed)?;
    state.check(&call.who, &format!("/storage/{}", drive.storage()), &["Datastore.AllocateSpace"])?;
    drop(state);
    let task = if kind == Kind::Qemu { "qmmove" } else { "move_volume" };
    let id = format!("{}-{}>{}-{}", hand.from.0, hand.from.1, hand.to.0, hand.to.1);
    call.fork(&node, task, id, async move |worker| {
        let _source = worker.lock(kind, hand.from.0).await?;
        let _target = worker.lock(kind, hand.to.0).await?;
        let drive = hand.check(&worker.sandbox.state(), &digests)?;
        worker.work(Duration::from_millis(400)).await;
        hand.carry_out(&worker, drive)
    })
}

impl Handover {
    /// # Errors
    /// What PVE says of guests and disks that this is not possible for.
    fn check(&self, state: &State, digests: &[Option<String>; 2]) -> Result<Drive, String> {
        let Self { kind, from: (source, key), to: (target, target_key), .. } = self;
        let lxc = *kind == Kind::Lxc;
        if lxc && (key == "rootfs" || target_key == "rootfs") {
            return Err("Cannot move to/from 'rootfs'".to_owned());
        }
        if lxc && is_numbered(key, "unused") && !is_numbered(target_key, "unused") {
            return Err("Moving an unused volume to a used one is not possible".to_owned());
        }
        let find = |vmid: &u32, words: &str| {
            let found = state.guests().get(vmid);
            found.ok_or_else(|| format!("could not find {words} {vmid}"))
        };
        let source_guest = find(source, kind.word())?;
        let target_guest = find(target, if lxc { "CT" } else { "target VM" })?;
        if source_guest.node != target_guest.node {
            let what = if lxc { "containers" } else { "VMs" };
            let (a, b) = (&source_guest.node, &target_guest.node);
            return Err(format!("Both {what} need to be on the same node ({a} != {b})"));
        }
        let guest = state.guest(&self.node, *kind, *source).map_err(|refusal| refusal.message)?;
        let other = state.guest(&self.node, *kind, *target).map_err(|refusal| refusal.message)?;
        guest.check_lock()?;
        other.check_lock()?;
        if guest.is_template() || other.is_template() {
            let what = if lxc { "volumes from or to template CT" } else { "disks from or to template VMs" };
            return Err(format!("Can't move {what}"));
        }
        for (guest, digest) in [guest, other].into_iter().zip(digests) {
            let word = if lxc { "Container" } else { "VM" };
            same(guest, digest.as_deref()).map_err(|text| format!("{word} {}: {text}", guest.vmid))?;
        }
        let Some(text) = guest.config.get(key) else {
            return Err(match lxc {
                true => format!("volume '{key}' for container '{source}' does not exist"),
                false => format!("Disk '{key}' for VM '{source}' does not exist"),
            });
        };
        if other.config.has(target_key) {
            return Err(match lxc {
                true => format!("Target volume key '{target_key}' is already in use for container '{target}'"),
                false => format!("Target disk key '{target_key}' is already in use for VM '{target}'"),
            });
        }
        let drive = Drive::parse(text);
        if drive.is_cdrom() && !drive.is_cloud_init() {
            return Err("CD drive contents can't be moved to another VM".to_owned());
        }
        if !matches!(drive.wanted(), Wanted::Existing { .. }) {
            return Err(format!("Volume '{}' not managed by PVE", drive.volume));
        }
        if in_snapshots(guest, &drive.volume) {
            return Err(match lxc {
                true => "Cannot move volume used by a snapshot to another container".to_owned(),
                false => "Can't move disk used by a snapshot to another VM".to_owned(),
            });
        }
        if guest.is_running() && !is_numbered(key, "unused") {
            return Err(match lxc {
                true => "Cannot move in-use volume while the source CT is running - detach or shutdown first",
                false => "Cannot move disk to another VM while the source VM is running - detach first",
            }
            .to_owned());
        }
        Ok(drive)
    }

    fn carry_out(&self, worker: &Worker, drive: Drive) -> Result<(), String> {
        let Self { node, kind, from: (source, key), to: (target, target_key) } = self;
        let lxc = *kind == Kind::Lxc;
        worker.log(match lxc {
            true => format!("moving volume '{key}' from container '{source}' to '{target}'"),
            false => format!("reassign disk '{key}' from VM '{source}' as '{target_key}' to VM '{target}'"),
        });
        let mut state = worker.sandbox.state();
        let storage = state.storage(drive.storage(), node).map_err(|refusal| refusal.message)?.clone();
        let mut volume = state.remove_volume(&drive.volume, node).ok_or_else(|| missing(&drive.volume))?;
        volume.volid = state.volumes.next_disk(&storage, node, *target, "vm", &volume.format);
        volume.vmid = Some(*target);
        let moved = Drive { volume: volume.volid.clone(), options: drive.options };
        state.add_volume(&storage.id, node, volume);
        if let Some(guest) = state.guest_mut(*source) {
            if !lxc {
                without_boot(guest, key);
            }
            guest.config.remove(key);
        }
        if is_numbered(target_key, "unused") {
            if let Some(guest) = state.guest_mut(*target) {
                guest.config.set(target_key.as_str(), moved.volume);
            }
        } else {
            let change = Change { set: vec![(target_key.clone(), moved.to_string())], ..Change::default() };
            let now = worker.sandbox.clock().now();
            let done = apply(&mut state, (node, *kind, *target), &change, now, &mut Vec::new());
            done.map_err(|refusal| refusal.message)?;
        }
        drop(state);
        worker.log(match lxc {
            true => format!("removing volume '{key}' from container '{source}' config"),
            false => format!("removing disk '{key}' from VM '{source}' config"),
        });
        if lxc {
            worker.log(format!("target container '{target}' updated with '{target_key}'"));
        }
        Ok(())
    }
}

fn same(guest: &Guest, digest: Option<&str>) -> Result<(), &'static str> {
    match digest {
        Some(digest) if digest != guest.digest() => {
            Err("detected modified configuration - file changed by other user? Try again.")
        }
        _ => Ok(()),
    }
}
