//! Pausing, and suspending to disk.

use std::time::Duration;

use super::{
    found, kind,
    power::{KILL, bring_up, running, task},
    root_only,
};
use crate::sandbox::{
    call::Call,
    guest::{Guest, Kind, is_numbered},
    router::Route,
    storage::Volume,
    wire::{Answered, Refusal},
    worker::Worker,
};

pub const ROUTES: &[Route] = &[
    Route::post("/nodes/{node}/qemu/{vmid}/status/suspend", suspend),
    Route::post("/nodes/{node}/qemu/{vmid}/status/resume", resume),
    Route::post("/nodes/{node}/lxc/{vmid}/status/suspend", suspend),
    Route::post("/nodes/{node}/lxc/{vmid}/status/resume", resume),
];

fn suspend(call: &Call) -> Answered {
    let (kind, vmid, node) = (kind(call), call.vmid(), call.node().to_owned());
    root_only(call, &["skiplock"])?;
    running(call, kind.word())?;
    if kind == Kind::Lxc {
        return call.fork(&node, "vzsuspend", vmid, async move |worker| {
            worker.work(KILL).await;
            Err(format!("command 'lxc-checkpoint -n {vmid} -s -D /var/lib/vz/dump' failed: exit code 1"))
        });
    }
    let skiplock = call.flag("skiplock");
    if !call.flag("todisk") {
        return call.fork(&node.clone(), "qmpause", vmid, async move |worker| {
            let _lock = worker.lock(kind, vmid).await?;
            pause(&worker, &node, vmid, true, skiplock)
        });
    }
    let storage = call.get("statestorage").map(str::to_owned);
    {
        let state = call.sandbox.state();
        let guest = state.guest(&node, kind, vmid)?;
        state.check(&call.who, &format!("/vms/{vmid}"), &["VM.Config.Disk"])?;
        if guest.config.iter().any(|(key, _)| is_numbered(key, "hostpci")) {
            return Err(Refusal::failed(
                "cannot suspend VM to disk due to passed-through PCI device(s), which lack the possibility to \
                 save/restore their internal state",
            ));
        }
        let storage = storage.clone().unwrap_or_else(|| state_storage(guest));
        state.check(&call.who, &format!("/storage/{storage}"), &["Datastore.AllocateSpace"])?;
    }
    call.fork(&node.clone(), "qmsuspend", vmid, async move |worker| {
        let _lock = worker.lock(kind, vmid).await?;
        to_disk(&worker, &node, vmid, storage).await
    })
}

fn pause(worker: &Worker, node: &str, vmid: u32, paused: bool, skiplock: bool) -> Result<(), String> {
    let mut state = worker.sandbox.state();
    let guest = found(&state, node, Kind::Qemu, vmid)?;
    if !skiplock {
        guest.check_lock()?;
    }
    if let Some(run) = state.guest_mut(vmid).and_then(|guest| guest.run.as_mut()) {
        run.paused = paused;
    }
    Ok(())
}

/// Where the memory goes if nobody says: to the first disk's storage.
fn state_storage(guest: &Guest) -> String {
    let chosen = guest.config.get("vmstatestorage").map(str::to_owned);
    let drives = guest.drives();
    let first = drives.iter().find(|(_, drive)| !drive.is_cdrom()).map(|(_, drive)| drive.storage().to_owned());
    chosen.or(first).unwrap_or_else(|| "local".to_owned())
}

/// Writes the memory into a volume and stops the VM; the next start takes it from there.
async fn to_disk(worker: &Worker, node: &str, vmid: u32, storage: Option<String>) -> Result<(), String> {
    let (volid, size) = {
        let mut state = worker.sandbox.state();
        let guest = found(&state, node, Kind::Qemu, vmid)?;
        guest.check_lock()?;
        let size = guest.maxmem().saturating_mul(2).saturating_add(500 << 20);
        let storage = storage.unwrap_or_else(|| state_storage(guest));
        let storage = state.storage(&storage, node).map_err(|refusal| refusal.message)?.clone();
        let (year, month, day, ..) = crate::sandbox::wire::civil(worker.sandbox.clock().now());
        let name = format!("vm-{vmid}-state-suspend-{year}-{month:02}-{day:02}");
        let volid = crate::sandbox::storage::disk_volid(&storage, vmid, &name, "raw");
        state.volumes.put(&storage, node, Volume::new(volid.as_str(), "images", "raw", size).of(vmid));
        let line = crate::sandbox::drives::formatting(&storage, &volid, "raw", size);
        drop(state);
        worker.log(line);
        (volid, size)
    };
    worker.work(Duration::from_secs_f64(1.0 + size as f64 / 2e9)).await;
    if let Some(guest) = worker.sandbox.state().guest_mut(vmid) {
        guest.config.set("lock", "suspended");
        guest.config.set("vmstate", volid);
        guest.run = None;
    }
    worker.log("State saved, quitting");
    Ok(())
}

fn resume(call: &Call) -> Answered {
    let (kind, vmid, node) = (kind(call), call.vmid(), call.node().to_owned());
    root_only(call, &["skiplock", "nocheck"])?;
    // A VM that was suspended to disk is started.
    let hibernated =
        kind == Kind::Qemu && call.sandbox.state().guests().get(&vmid).is_some_and(|g| g.lock() == Some("suspended"));
    if !hibernated {
        running(call, kind.word())?;
    }
    let skiplock = call.flag("skiplock");
    call.fork(&node.clone(), &task(kind, "resume"), vmid, async move |worker| {
        let _lock = worker.lock(kind, vmid).await?;
        if hibernated {
            return bring_up(&worker, &node, kind, vmid, skiplock).await;
        }
        pause(&worker, &node, vmid, false, skiplock || kind == Kind::Lxc)
    })
}
