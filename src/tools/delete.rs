//! Deleting VMs and containers, with what belongs to them.

use super::clone::holds_volume;
use crate::{
    pve::{GuestConfig, GuestKind, PropertyString},
    tool::*,
};

pub const TOOLS: &[Entry] = &[Entry::action::<DeleteVm>(), Entry::action::<DeleteLxc>()];

/// Delete a stopped VM with all its disks and snapshots. Cannot be undone.
#[derive(Deserialize, JsonSchema)]
struct DeleteVm {
    #[serde(flatten)]
    guest: GuestRef,
    /// Also from backup, replication, HA.
    #[serde(default = "yes")]
    purge: bool,
    #[serde(default)]
    force: bool,
}

/// Delete a stopped container with all its volumes and snapshots. Cannot be undone.
#[derive(Deserialize, JsonSchema)]
struct DeleteLxc {
    #[serde(flatten)]
    guest: GuestRef,
    /// Also from backup, replication, HA.
    #[serde(default = "yes")]
    purge: bool,
    /// Even while it runs.
    #[serde(default)]
    force: bool,
}

fn yes() -> bool {
    true
}

impl Tool for DeleteVm {
    const NAME: &str = "proxmox-delete-vm";
    const TITLE: &str = "Delete a VM";
    const API: &[&str] = &["DELETE /nodes/{node}/qemu/{vmid}", "POST /nodes/{node}/qemu/{vmid}/status/stop"];
    const EXAMPLE: (&str, &str) = (
        "Delete gitlab-runner, even though it runs",
        r#"{"name": "gitlab-runner", "force": true, "confirm": true, "wait": true}"#,
    );
}

impl Tool for DeleteLxc {
    const NAME: &str = "proxmox-delete-lxc";
    const TITLE: &str = "Delete a container";
    const API: &[&str] = &["DELETE /nodes/{node}/lxc/{vmid}"];
    const EXAMPLE: (&str, &str) =
        ("Delete the container devbox", r#"{"name": "devbox", "confirm": true, "wait": true}"#);
}

impl Action for DeleteVm {
    const EFFECT: Effect = Effect::Destroy;
    const CONTROL: Control = Control::new(600).confirmed().polled();
    async fn plan(&self, pve: &Reader<'_>) -> Result<Plan> {
        delete(pve, &pve.guest(&self.guest, Want::Vm).await?, self.purge, self.force).await
    }
}

impl Action for DeleteLxc {
    const EFFECT: Effect = Effect::Destroy;
    const CONTROL: Control = Control::new(600).confirmed().polled();
    async fn plan(&self, pve: &Reader<'_>) -> Result<Plan> {
        delete(pve, &pve.guest(&self.guest, Want::Container).await?, self.purge, self.force).await
    }
}

async fn delete(pve: &Reader<'_>, guest: &Guest, purge: bool, force: bool) -> Result<Plan> {
    let config = pve.config(guest).await?;
    // The list may not know yet that it was stopped, or started, just now.
    let running = (force || guest.is_running()) && pve.is_running(guest).await?;
    let goes = with_it(guest, &config);
    // Of VMs Proxmox deletes only what is stopped.
    let vm = guest.kind == GuestKind::Qemu;
    let mut plan = Plan::on(guest, "delete");
    if vm && force && running {
        plan = plan.step(Request::post(guest.path("status/stop")));
    }
    let request = Request::delete(guest.path("")).flag("purge", purge).flag("force", force && !vm);
    Ok(plan
        .step(request)
        .no_undo("its disks are destroyed; proxmox-restore-vm brings it back from a backup, if there is one")
        .check(
            !config.flag("protection"),
            || format!("{guest} is not protected"),
            || format!("{guest} is protected: Proxmox does not delete it while its option protection is set"),
        )
        .check(
            config.lock().is_none(),
            || format!("{guest} is not locked"),
            || format!("{guest} is locked ({}): proxmox-explain-lock tells why", config.lock().unwrap_or_default()),
        )
        .check(
            !running || force,
            || format!("{guest} is {}", if running { "running, and stopped by force" } else { "not running" }),
            || format!("{guest} is running: Proxmox deletes only what is stopped"),
        )
        .warn_if(!goes.is_empty(), || format!("lost with it: {}", goes.join(", ")))
        .warn_if(guest.template, || format!("{guest} is a template: not deleted while linked clones of it exist")))
}

/// What the guest's configuration says goes with it.
fn with_it(guest: &Guest, config: &GuestConfig) -> Vec<String> {
    let mut goes = Vec::new();
    for (key, value) in config.iter() {
        let unused = key.starts_with("unused");
        if !unused && !holds_volume(guest.kind, key) {
            continue;
        }
        let drive = PropertyString::parse(&value);
        let disc = drive.get("media") == Some("cdrom");
        // A bind mount's directory stays, and so does the image in a CD drive.
        if let Some(volume) = drive.first().filter(|volume| !disc && volume.contains(':') && !volume.starts_with('/')) {
            let size = drive.get("size").map(|size| format!(" ({size})")).unwrap_or_default();
            goes.push(format!("{key} {volume}{size}"));
        }
    }
    goes.sort();
    if let Some(parent) = config.get("parent") {
        goes.push(format!("its snapshots (the last is {parent})"));
    }
    goes
}
