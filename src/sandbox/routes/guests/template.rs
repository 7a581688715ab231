//! Guests that become templates.

use std::time::Duration;

use super::{detach, kind};
use crate::sandbox::{
    call::Call,
    guest::Kind,
    router::Route,
    state::State,
    wire::{Answer, Answered, Refusal},
};

pub const ROUTES: &[Route] = &[
    Route::post("/nodes/{node}/qemu/{vmid}/template", template),
    Route::post("/nodes/{node}/lxc/{vmid}/template", template),
];

fn template(call: &Call) -> Answered {
    let (kind, vmid, node) = (kind(call), call.vmid(), call.node().to_owned());
    {
        let state = call.sandbox.state();
        let guest = state.guest(&node, kind, vmid)?;
        guest.check_lock().map_err(Refusal::failed)?;
        if !guest.snapshots.is_empty() {
            return Err(Refusal::failed(format!(
                "unable to create template, because {} contains snapshots",
                kind.word()
            )));
        }
        if guest.is_template() {
            return Err(Refusal::failed("you can't convert a template to a template"));
        }
        if guest.is_running() {
            return Err(Refusal::failed(match kind {
                Kind::Qemu => "you can't convert a VM to template if VM is running",
                Kind::Lxc => "you can't convert a CT to template if the CT is running",
            }));
        }
    }
    if kind == Kind::Lxc {
        into_template(&mut call.sandbox.state(), &node, vmid);
        return Ok(Answer::null());
    }
    call.fork(&node.clone(), "qmtemplate", vmid, async move |worker| {
        let _lock = worker.lock(kind, vmid).await?;
        worker.work(Duration::from_millis(400)).await;
        into_template(&mut worker.sandbox.state(), &node, vmid);
        Ok(())
    })
}

/// Renames the disks to base volumes and marks the guest.
fn into_template(state: &mut State, node: &str, vmid: u32) {
    let Some(guest) = state.guests().get(&vmid) else { return };
    let drives = guest.drives();
    let mut renamed = vec![("template".to_owned(), "1".to_owned())];
    for (key, mut drive) in drives {
        if drive.is_cdrom() || !drive.volume.contains(':') {
            continue;
        }
        let base = drive.volume.replace(&format!("vm-{vmid}-"), &format!("base-{vmid}-"));
        if let Some(mut volume) = state.remove_volume(&drive.volume, node) {
            volume.volid = base.clone();
            let storage = drive.storage().to_owned();
            state.add_volume(&storage, node, volume);
        }
        drive.volume = base;
        renamed.push((key, drive.to_string()));
    }
    if let Some(guest) = state.guest_mut(vmid) {
        renamed.into_iter().for_each(|(key, value)| guest.config.set(key, value));
        detach::without_boot(guest, "");
    }
}
