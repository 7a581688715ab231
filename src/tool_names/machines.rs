//! Names for VMs and containers alike: `start_machine`. Nothing here deletes anything.

use super::{
    Alias,
    alias::{
        Argument, Call, Given,
        Target::{self, Guest, Tool},
    },
};
use crate::error::Result;

const BASE: Alias = Alias::BASE;
const VM_ID: Argument = Argument::own("vm_id", "vmid").needed().words("VMID of a VM or container.");
const NODE: Argument = Argument::same("node").needed().words("Its node.");
const MACHINE: &[Argument] = &[VM_ID, NODE];
const SHUTDOWN: Target = Guest { vm: "proxmox-shutdown-vm", container: "proxmox-shutdown-lxc" };
const STOP: Target = Guest { vm: "proxmox-stop-vm", container: "proxmox-stop-lxc" };

pub const ALIASES: &[Alias] = &[
    Alias {
        name: "list_infrastructure",
        title: "Overview",
        description: "Show nodes with load, guests by state, storages, quorum.",
        to: &[Tool("proxmox-list-infrastructure")],
        example: ("How is the cluster?", "{}"),
        ..BASE
    },
    Alias {
        name: "start_machine",
        title: "Start a machine",
        description: "Start a VM or container.",
        to: &[Guest { vm: "proxmox-start-vm", container: "proxmox-start-lxc" }],
        arguments: MACHINE,
        example: ("", "{}"),
        ..BASE
    },
    Alias {
        name: "stop_machine",
        title: "Stop a machine",
        description: "Shut a VM or container down cleanly; with force, stop it at once.",
        to: &[SHUTDOWN, STOP],
        arguments: &[VM_ID, NODE, Argument::work("force", "boolean").default("false").words("Stop it at once.")],
        work: Some(stop),
        example: ("", "{}"),
        ..BASE
    },
    Alias {
        name: "reboot_machine",
        title: "Reboot a machine",
        description: "Reboot a VM or container cleanly.",
        to: &[Guest { vm: "proxmox-reboot-vm", container: "proxmox-reboot-lxc" }],
        arguments: MACHINE,
        example: ("", "{}"),
        ..BASE
    },
];

fn stop(mut given: Given) -> Result<Vec<Call>> {
    let force = given.take_flag("force");
    Ok(vec![given.call(usize::from(force))])
}
