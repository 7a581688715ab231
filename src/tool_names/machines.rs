//! Names for VMs and containers alike: `start_machine`. Nothing here deletes anything.

use super::alias::{
    Alias, Argument, Call, Given,
    Target::{Guest, Tool},
};
use crate::error::Result;

const VM_ID: Argument = Argument::own("vm_id", "vmid").needed().words("VMID of a VM or container.");
const NODE: Argument = Argument::same("node").needed().words("Its node.");
const MACHINE: &[Argument] = &[VM_ID, NODE];

pub const ALIASES: &[Alias] = &[
    Alias::new("list_infrastructure", "Overview", "Show nodes with load, guests by state, storages, quorum.")
        .to(&[Tool("proxmox-list-infrastructure")])
        .example("How is the cluster?", "{}"),
    Alias::new(
        "list_machines",
        "List machines",
        "List all VMs and containers with vmid, name, node, status and type (qemu, lxc).",
    )
    .to(&[Tool("proxmox-api-get")])
    .fixed(&[("path", r#""/cluster/resources""#), ("params", r#"{"type": "vm"}"#), ("limit", "10000")])
    .example("Which machines are switched off?", "{}"),
    Alias::new("list_storage", "List storages", "List storages with content kinds, nodes and room.")
        .to(&[Tool("proxmox-list-storage")])
        .example("Donne-moi le statut du stockage local", "{}"),
    Alias::new("start_machine", "Start a machine", "Start a VM or container.")
        .to(&[Guest { vm: "proxmox-start-vm", container: "proxmox-start-lxc" }])
        .takes(MACHINE)
        .example("Start the machine 111", r#"{"vm_id": 111, "node": "pve3"}"#),
    Alias::new("stop_machine", "Stop a machine", "Shut a VM or container down cleanly; with force, stop it at once.")
        .to(&[
            Guest { vm: "proxmox-shutdown-vm", container: "proxmox-shutdown-lxc" },
            Guest { vm: "proxmox-stop-vm", container: "proxmox-stop-lxc" },
        ])
        .takes(&[
            VM_ID,
            NODE,
            Argument::work("force", "boolean").default("false").words("What is not written is lost."),
        ])
        .work(stop)
        .example("The machine 105 does not react: stop it", r#"{"vm_id": 105, "node": "pve3", "force": true}"#),
    Alias::new("reboot_machine", "Reboot a machine", "Reboot a VM or container cleanly.")
        .to(&[Guest { vm: "proxmox-reboot-vm", container: "proxmox-reboot-lxc" }])
        .takes(MACHINE)
        .example("Reboot the machine 108", r#"{"vm_id": 108, "node": "pve1"}"#),
];

fn stop(mut given: Given) -> Result<Vec<Call>> {
    let force = given.take_flag("force");
    Ok(vec![given.call(usize::from(force))])
}
