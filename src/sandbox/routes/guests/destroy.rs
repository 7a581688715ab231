//! Deleting guests.

use std::time::Duration;

use super::{found, kind, root_only};
use crate::sandbox::{
    call::Call,
    guest::{Guest, Kind},
    ha::sid,
    router::Route,
    state::State,
    wire::{Answered, Refusal},
    worker::Worker,
};

pub const ROUTES: &[Route] =
    &[Route::delete("/nodes/{node}/qemu/{vmid}", destroy), Route::delete("/nodes/{node}/lxc/{vmid}", destroy)];

fn destroy(call: &Call) -> Answered {
    let (kind, vmid, node) = (kind(call), call.vmid(), call.node().to_owned());
    root_only(call, &["skiplock"])?;
    let force = kind == Kind::Lxc && call.flag("force");
    {
        let state = call.sandbox.state();
        let guest = state.guest(&node, kind, vmid)?;
        if guest.config.flag("protection") {
            let text = format!("can't remove {} {vmid} - protection mode enabled", kind.word());
            return Err(Refusal::failed(text));
        }
        if let Some((id, _)) = state.replication.iter().find(|(_, job)| job.guest == vmid) {
            let text = format!("There is a replication job '{id}' for guest '{vmid}' - Please remove that first.");
            return Err(Refusal::failed(text));
        }
        if guest.is_running() && !force {
            return Err(Refusal::failed(match kind {
                Kind::Qemu => format!("VM {vmid} is running - destroy failed"),
                Kind::Lxc => format!("unable to destroy CT {vmid} - container is running"),
            }));
        }
        if state.ha.resources.contains_key(&sid(kind, vmid)) && !call.flag("purge") {
            let thing = kind.word();
            let text = format!("unable to remove {thing} {vmid} - used in HA resources and purge parameter not set.");
            return Err(Refusal::failed(text));
        }
    }
    let (skiplock, unreferenced) = (call.flag("skiplock"), call.flag("destroy-unreferenced-disks"));
    let purge = call.flag("purge");
    let task = if kind == Kind::Qemu { "qmdestroy" } else { "vzdestroy" };
    call.fork(&node.clone(), task, vmid, async move |worker| {
        let _lock = worker.lock(kind, vmid).await?;
        {
            let state = worker.sandbox.state();
            let guest = found(&state, &node, kind, vmid)?;
            if !skiplock {
                guest.check_lock()?;
            }
            if guest.is_running() && !force {
                return Err(format!("{} {vmid} is running - destroy failed", kind.word()));
            }
            free_of_clones(&state, guest)?;
        }
        let volumes = worker.sandbox.state().guests().get(&vmid).map_or(0, |guest| guest.volumes().len() as u32);
        worker.work(Duration::from_millis(80) + Duration::from_millis(250) * volumes).await;
        remove(&worker, &node, vmid, unreferenced);
        if purge {
            worker.sandbox.state().forget_in_backup_jobs(vmid);
        }
        if worker.sandbox.state().ha.resources.remove(&sid(kind, vmid)).is_some() {
            worker.log(format!("NOTE: removed {} {vmid} from HA resource configuration.", kind.word()));
        }
        Ok(())
    })
}

/// # Errors
/// Names the base volume that linked clones still need.
fn free_of_clones(state: &State, guest: &Guest) -> Result<(), String> {
    for (_, volid) in guest.volumes() {
        let needed = state.guests().values().filter(|other| other.vmid != guest.vmid).any(|other| {
            other.volumes().iter().any(|(_, clone)| {
                let storage = state.storages.get(clone.split(':').next().unwrap_or_default());
                let volume = storage.and_then(|storage| state.volumes.get(storage, &other.node, clone));
                volume.is_some_and(|volume| volume.parent.as_deref() == Some(volid.as_str()))
            })
        });
        if needed {
            return Err(format!("base volume '{volid}' is still in use by linked cloned"));
        }
    }
    Ok(())
}

fn remove(worker: &Worker, node: &str, vmid: u32, unreferenced: bool) {
    let mut warnings = Vec::new();
    let mut state = worker.sandbox.state();
    let mut volumes = state.guests().get(&vmid).map(Guest::volumes).unwrap_or_default();
    volumes.sort();
    for (_, volid) in volumes {
        let id = volid.split(':').next().unwrap_or_default();
        if state.storages.contains_key(id) {
            state.remove_volume(&volid, node);
        } else {
            warnings.push(format!("failed to get path and owner of volume '{volid}': storage '{id}' does not exist"));
        }
    }
    if unreferenced {
        state.remove_images(vmid, node);
    }
    state.remove_guest(vmid);
    state.firewalls.remove(&format!("guest/{vmid}"));
    state.access.acl.remove(&format!("/vms/{vmid}"));
    drop(state);
    warnings.iter().for_each(|text| worker.warn(text));
}
