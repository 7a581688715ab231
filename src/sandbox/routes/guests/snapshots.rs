//! Snapshots of VMs and containers.

use std::time::Duration;

use serde_json::{Value, json};

use super::{config::typed, disks::can_snapshot, found, kind, power};
use crate::sandbox::{
    call::Call,
    config::Config,
    guest::{Guest, Kind, Run, Snapshot},
    router::Route,
    storage::{Volume, disk_volid},
    wire::{Answer, Answered, Refusal},
    worker::Worker,
};

pub const ROUTES: &[Route] = &[
    Route::get("/nodes/{node}/qemu/{vmid}/snapshot", list),
    Route::get("/nodes/{node}/lxc/{vmid}/snapshot", list),
    Route::post("/nodes/{node}/qemu/{vmid}/snapshot", create),
    Route::post("/nodes/{node}/lxc/{vmid}/snapshot", create),
    Route::get("/nodes/{node}/qemu/{vmid}/snapshot/{snapname}", index),
    Route::get("/nodes/{node}/lxc/{vmid}/snapshot/{snapname}", index),
    Route::delete("/nodes/{node}/qemu/{vmid}/snapshot/{snapname}", delete),
    Route::delete("/nodes/{node}/lxc/{vmid}/snapshot/{snapname}", delete),
    Route::get("/nodes/{node}/qemu/{vmid}/snapshot/{snapname}/config", config),
    Route::get("/nodes/{node}/lxc/{vmid}/snapshot/{snapname}/config", config),
    Route::put("/nodes/{node}/qemu/{vmid}/snapshot/{snapname}/config", update),
    Route::put("/nodes/{node}/lxc/{vmid}/snapshot/{snapname}/config", update),
    Route::post("/nodes/{node}/qemu/{vmid}/snapshot/{snapname}/rollback", rollback),
    Route::post("/nodes/{node}/lxc/{vmid}/snapshot/{snapname}/rollback", rollback),
];

fn task(kind: Kind, what: &str) -> String {
    format!("{}{what}", if kind == Kind::Qemu { "qm" } else { "vz" })
}

fn unknown(name: &str) -> String {
    format!("snapshot '{name}' does not exist")
}

impl Snapshot {
    /// The configuration with the keys that belong to the snapshot.
    pub(super) fn full(&self) -> Config {
        let mut config = self.config.clone();
        config.set("snaptime", self.time.to_string());
        for (key, value) in [("parent", &self.parent), ("description", &self.description)] {
            match value {
                Some(value) => config.set(key, value.as_str()),
                None => drop(config.remove(key)),
            }
        }
        config
    }
}

fn list(call: &Call) -> Answered {
    let kind = kind(call);
    let state = call.sandbox.state();
    let guest = state.guest(call.node(), kind, call.vmid())?;
    let mut rows: Vec<Value> = Vec::new();
    for snapshot in &guest.snapshots {
        let description = snapshot.description.clone().unwrap_or_default();
        let mut row = json!({"name": snapshot.name, "snaptime": snapshot.time, "description": description});
        if let Some(parent) = &snapshot.parent {
            row["parent"] = parent.as_str().into();
        }
        if kind == Kind::Qemu {
            row["vmstate"] = u8::from(snapshot.vmstate).into();
        }
        rows.push(row);
    }
    let mut here = json!({
        "name": "current", "description": "You are here!", "digest": guest.digest(),
        "running": u8::from(guest.is_running()),
    });
    if let Some(parent) = guest.config.get("parent") {
        here["parent"] = parent.into();
    }
    rows.push(here);
    Ok(rows.into())
}

fn index(_: &Call) -> Answered {
    Ok(Answer::from(json!([{"cmd": "rollback"}, {"cmd": "config"}])))
}

fn config(call: &Call) -> Answered {
    let (kind, name) = (kind(call), call.text("snapname"));
    let state = call.sandbox.state();
    let guest = state.guest(call.node(), kind, call.vmid())?;
    let snapshot = guest.snapshots.iter().find(|snapshot| snapshot.name == name);
    let snapshot = snapshot.ok_or_else(|| Refusal::failed(unknown(name)))?;
    Ok(typed(call, kind, &snapshot.full(), true).into())
}

fn update(call: &Call) -> Answered {
    let (kind, name) = (kind(call), call.text("snapname"));
    let mut state = call.sandbox.state();
    let guest = state.guest(call.node(), kind, call.vmid())?;
    guest.check_lock().map_err(Refusal::failed)?;
    let guest = state.guest_mut(call.vmid());
    let snapshot = guest.and_then(|guest| guest.snapshots.iter_mut().find(|snapshot| snapshot.name == name));
    let snapshot = snapshot.ok_or_else(|| Refusal::failed(unknown(name)))?;
    if let Some(description) = call.get("description") {
        snapshot.description = Some(description.to_owned()).filter(|text| !text.is_empty());
    }
    Ok(Answer::null())
}

fn create(call: &Call) -> Answered {
    let (kind, vmid, node) = (kind(call), call.vmid(), call.node().to_owned());
    let name = call.text("snapname").to_owned();
    match (name.as_str(), kind) {
        ("current", _) => return Err(Refusal::failed("unable to use snapshot name 'current' (reserved name)")),
        ("pending", Kind::Qemu) => {
            return Err(Refusal::failed("unable to use snapshot name 'pending' (reserved name)"));
        }
        ("vzdump", Kind::Lxc) => return Err(Refusal::failed("unable to use snapshot name 'vzdump' (reserved name)")),
        _ => {}
    }
    call.sandbox.state().guest(&node, kind, vmid)?;
    let description = call.get("description").map(str::to_owned);
    let vmstate = call.flag("vmstate");
    call.fork(&node.clone(), &task(kind, "snapshot"), vmid, async move |worker| {
        let _lock = worker.lock(kind, vmid).await?;
        take(&worker, &node, (kind, vmid), (name, description, vmstate)).await
    })
}

async fn take(
    worker: &Worker,
    node: &str,
    (kind, vmid): (Kind, u32),
    (name, description, vmstate): (String, Option<String>, bool),
) -> Result<(), String> {
    let (drives, memory) = {
        let mut state = worker.sandbox.state();
        let guest = found(&state, node, kind, vmid)?;
        guest.check_lock()?;
        if guest.is_template() {
            return Err("you can't take a snapshot if it's a template".to_owned());
        }
        if guest.snapshots.iter().any(|snapshot| snapshot.name == name) {
            return Err(format!("snapshot name '{name}' already used"));
        }
        if !can_snapshot(&state, guest) {
            return Err("snapshot feature is not available".to_owned());
        }
        let drives: Vec<_> =
            guest.drives().into_iter().filter(|(_, d)| d.volume.contains(':') && !d.is_cdrom()).collect();
        let memory = (vmstate && guest.is_running() && kind == Kind::Qemu).then(|| guest.maxmem());
        if let Some(guest) = state.guest_mut(vmid) {
            guest.config.set("lock", "snapshot");
        }
        (drives, memory)
    };
    if let Some(bytes) = memory {
        save_memory(worker, node, vmid, &name, bytes, drives.first().map(|(_, drive)| drive.storage().to_owned()))
            .await;
    }
    for (key, drive) in &drives {
        worker.work(Duration::from_millis(150)).await;
        worker.log(match kind {
            Kind::Qemu => format!("snapshotting 'drive-{key}' ({})", drive.volume),
            Kind::Lxc => format!("  Logical volume \"snap_vm-{vmid}-disk-0_{name}\" created."),
        });
    }
    let now = worker.sandbox.clock().now();
    let mut state = worker.sandbox.state();
    if let Some(guest) = state.guest_mut(vmid) {
        let mut config = guest.config.clone();
        let parent = config.remove("parent");
        for key in ["lock", "description"] {
            config.remove(key);
        }
        if memory.is_some() {
            guest.config.remove("vmstate");
        }
        guest.snapshots.push(Snapshot {
            name: name.clone(),
            config,
            time: now,
            parent,
            description,
            vmstate: memory.is_some(),
        });
        guest.config.remove("lock");
        guest.config.set("parent", name);
    }
    Ok(())
}

async fn save_memory(worker: &Worker, node: &str, vmid: u32, name: &str, bytes: u64, storage: Option<String>) {
    let size = bytes.saturating_mul(2).saturating_add(500 << 20);
    let storage = storage.and_then(|id| worker.sandbox.state().storage(&id, node).ok().cloned());
    if let Some(storage) = storage {
        let volid = disk_volid(&storage, vmid, &format!("vm-{vmid}-state-{name}"), "raw");
        worker.log(crate::sandbox::drives::formatting(&storage, &volid, "raw", size));
        let mut state = worker.sandbox.state();
        state.volumes.put(&storage, node, Volume::new(volid.as_str(), "images", "raw", size).of(vmid));
        if let Some(guest) = state.guest_mut(vmid) {
            guest.config.set("vmstate", volid);
        }
    }
    worker.log("saving VM state and RAM using storage");
    worker.work(Duration::from_secs_f64(0.5 + bytes as f64 / 2e9)).await;
    worker.log("completed saving the VM state in 1s, saved 256.00 MiB");
}

fn delete(call: &Call) -> Answered {
    let (kind, vmid, node) = (kind(call), call.vmid(), call.node().to_owned());
    call.sandbox.state().guest(&node, kind, vmid)?;
    let name = call.text("snapname").to_owned();
    call.fork(&node.clone(), &task(kind, "delsnapshot"), vmid, async move |worker| {
        let _lock = worker.lock(kind, vmid).await?;
        {
            let state = worker.sandbox.state();
            let guest = found(&state, &node, kind, vmid)?;
            if !guest.snapshots.iter().any(|snapshot| snapshot.name == name) {
                return Err(unknown(&name));
            }
            guest.check_lock()?;
        }
        worker.work(Duration::from_millis(400)).await;
        let mut state = worker.sandbox.state();
        let Some(guest) = state.guest_mut(vmid) else { return Ok(()) };
        let Some(at) = guest.snapshots.iter().position(|snapshot| snapshot.name == name) else { return Ok(()) };
        let gone = guest.snapshots.remove(at);
        for snapshot in guest.snapshots.iter_mut().filter(|snapshot| snapshot.parent.as_deref() == Some(name.as_str()))
        {
            snapshot.parent = gone.parent.clone();
        }
        if guest.config.get("parent") == Some(name.as_str()) {
            match &gone.parent {
                Some(parent) => guest.config.set("parent", parent.as_str()),
                None => drop(guest.config.remove("parent")),
            }
        }
        if let Some(volid) = gone.config.get("vmstate") {
            state.remove_volume(volid, &node);
        }
        Ok(())
    })
}

fn rollback(call: &Call) -> Answered {
    let (kind, vmid, node) = (kind(call), call.vmid(), call.node().to_owned());
    call.sandbox.state().guest(&node, kind, vmid)?;
    let (name, start) = (call.text("snapname").to_owned(), call.flag("start"));
    // The start is a second task, of the same user.
    let again = Call {
        sandbox: call.sandbox.clone(),
        who: call.who.clone(),
        endpoint: call.endpoint.clone(),
        params: call.params.clone(),
        faults: call.faults.clone(),
    };
    call.fork(&node.clone(), &task(kind, "rollback"), vmid, async move |worker| {
        let with_memory = {
            let _lock = worker.lock(kind, vmid).await?;
            go_back(&worker, &node, (kind, vmid), &name).await?
        };
        if start && !with_memory {
            again.start(&node.clone(), &task(kind, "start"), &vmid.to_string(), async move |worker| {
                let _lock = worker.lock(kind, vmid).await?;
                power::bring_up(&worker, &node, kind, vmid, false).await
            });
        }
        Ok(())
    })
}

/// Puts the guest back; whether it runs again because its memory was saved too.
async fn go_back(worker: &Worker, node: &str, (kind, vmid): (Kind, u32), name: &str) -> Result<bool, String> {
    let snapshot = {
        let state = worker.sandbox.state();
        let guest = found(&state, node, kind, vmid)?;
        let snapshot = guest.snapshots.iter().find(|snapshot| snapshot.name == name);
        let snapshot = snapshot.ok_or_else(|| unknown(name))?.clone();
        guest.check_lock()?;
        if guest.is_template() {
            return Err("unable to rollback to snapshot of a template".to_owned());
        }
        snapshot
    };
    worker.work(Duration::from_millis(600)).await;
    let now = worker.sandbox.clock().now();
    let mut state = worker.sandbox.state();
    let (generation, pid) = (state.random_uuid(), state.tasks.next_pid());
    let Some(guest) = state.guest_mut(vmid) else { return Ok(false) };
    restore_config(guest, &snapshot, generation);
    guest.run = snapshot.vmstate.then(|| Run { since: now, pid, paused: false, started_with: guest.config.clone() });
    Ok(snapshot.vmstate)
}

fn restore_config(guest: &mut Guest, snapshot: &Snapshot, generation: String) {
    let description = guest.config.get("description").map(str::to_owned);
    guest.config = snapshot.config.clone();
    guest.config.remove("vmstate");
    guest.config.set("parent", snapshot.name.as_str());
    if let Some(description) = description {
        guest.config.set("description", description);
    }
    if guest.config.has("vmgenid") {
        guest.config.set("vmgenid", generation);
    }
    guest.pending = Config::new();
    guest.pending_delete.clear();
    guest.pending_force.clear();
}
