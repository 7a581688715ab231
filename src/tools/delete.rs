//! Deleting VMs.

use crate::tool::*;

pub const TOOLS: &[Entry] = &[Entry::action::<DeleteVm>()];

/// Delete a stopped VM with all its disks. Cannot be undone.
#[derive(Deserialize, JsonSchema)]
struct DeleteVm {
    #[serde(flatten)]
    guest: GuestRef,
    /// Also remove it from backup, replication and HA jobs and its permissions.
    #[serde(default = "yes")]
    purge: bool,
}

fn yes() -> bool {
    true
}

impl Tool for DeleteVm {
    const NAME: &str = "proxmox-delete-vm";
    const TITLE: &str = "Delete a VM";
    const API: &[&str] = &["GET /nodes/{node}/qemu/{vmid}/config", "DELETE /nodes/{node}/qemu/{vmid}"];
    const EXAMPLE: (&str, &str) =
        ("Delete the VM sandbox-vm", r#"{"name": "sandbox-vm", "confirm": true, "wait": true}"#);
}

/// The part of a VM's configuration that forbids deleting it.
#[derive(Deserialize)]
struct Config {
    #[serde(default)]
    protection: bool,
    lock: Option<String>,
}

impl Action for DeleteVm {
    const EFFECT: Effect = Effect::Destroy;
    const CONTROL: Control = Control::new(600).confirmed();
    async fn plan(&self, pve: &Reader<'_>) -> Result<Plan> {
        let guest = pve.guest(&self.guest, Want::Vm).await?;
        let config: Config = pve.get(guest.path("config")).await?;
        if config.protection {
            return Err(Error::new(
                crate::error::Kind::Refused,
                format!("{guest} is protected: Proxmox does not delete it"),
            )
            .hint("unset its protection option first, if it really shall go"));
        }
        Ok(Plan::on(&guest, "delete")
            .step(Request::delete(guest.path("")).flag("purge", self.purge))
            .warn_if(guest.status == "running", || format!("{guest} is running: Proxmox deletes only stopped VMs"))
            .warn_if(config.lock.is_some(), || format!("{guest} is locked ({})", config.lock.unwrap_or_default())))
    }
}
