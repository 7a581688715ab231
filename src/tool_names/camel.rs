//! The names of the TypeScript server: `listVMs`, `startContainer`.

use super::{
    Alias,
    alias::{Argument, Target::Tool},
};

const BASE: Alias = Alias::BASE;
const NODE: Argument = Argument::same("node").needed().words("Name of the node.");
/// They list everything that is on a node.
const ALL_ROWS: (&str, &str) = ("limit", "10000");
/// They leave a deleted guest in backup jobs, replication and HA.
const NO_PURGE: (&str, &str) = ("purge", "false");
const GUEST: &[Argument] = &[NODE, Argument::same("vmid").needed().words("VMID.")];

pub const ALIASES: &[Alias] = &[
    Alias {
        name: "listVMs",
        title: "List VMs",
        description: "List the VMs on a node.",
        to: &[Tool("proxmox-list-vms")],
        arguments: &[NODE],
        fixed: &[ALL_ROWS],
        example: ("Lista todas las máquinas virtuales en el nodo pve1", r#"{"node": "pve1"}"#),
        ..BASE
    },
    Alias {
        name: "getVM",
        title: "Show a VM",
        description: "Show a VM's configuration and state.",
        to: &[Tool("proxmox-vm-info")],
        arguments: GUEST,
        example: ("Muéstrame la configuración de la VM 100", r#"{"node": "pve1", "vmid": 100}"#),
        ..BASE
    },
    Alias {
        name: "startVM",
        title: "Start a VM",
        description: "Start a VM.",
        to: &[Tool("proxmox-start-vm")],
        arguments: GUEST,
        example: ("", "{}"),
        ..BASE
    },
    Alias {
        name: "stopVM",
        title: "Stop a VM",
        description: "Power a VM off at once; what it has not written is lost.",
        to: &[Tool("proxmox-stop-vm")],
        arguments: GUEST,
        example: ("", "{}"),
        ..BASE
    },
    Alias {
        name: "restartVM",
        title: "Restart a VM",
        description: "Reboot a VM cleanly.",
        to: &[Tool("proxmox-reboot-vm")],
        arguments: GUEST,
        example: ("", "{}"),
        ..BASE
    },
    Alias {
        name: "deleteVM",
        title: "Delete a VM",
        description: "Delete a stopped VM with all its disks and snapshots. Cannot be undone.",
        to: &[Tool("proxmox-delete-vm")],
        arguments: GUEST,
        fixed: &[NO_PURGE],
        example: ("", "{}"),
        ..BASE
    },
    Alias {
        name: "listContainers",
        title: "List containers",
        description: "List the containers on a node.",
        to: &[Tool("proxmox-list-lxc")],
        arguments: &[NODE],
        fixed: &[ALL_ROWS],
        example: ("Lista los contenedores en el nodo pve1", r#"{"node": "pve1"}"#),
        ..BASE
    },
    Alias {
        name: "getContainer",
        title: "Show a container",
        description: "Show a container's configuration and state.",
        to: &[Tool("proxmox-lxc-info")],
        arguments: GUEST,
        example: ("", "{}"),
        ..BASE
    },
    Alias {
        name: "startContainer",
        title: "Start a container",
        description: "Start a container.",
        to: &[Tool("proxmox-start-lxc")],
        arguments: GUEST,
        example: ("", "{}"),
        ..BASE
    },
    Alias {
        name: "stopContainer",
        title: "Stop a container",
        description: "Stop a container at once, killing its processes.",
        to: &[Tool("proxmox-stop-lxc")],
        arguments: GUEST,
        example: ("", "{}"),
        ..BASE
    },
    Alias {
        name: "restartContainer",
        title: "Restart a container",
        description: "Reboot a container cleanly.",
        to: &[Tool("proxmox-reboot-lxc")],
        arguments: GUEST,
        example: ("", "{}"),
        ..BASE
    },
    Alias {
        name: "deleteContainer",
        title: "Delete a container",
        description: "Delete a stopped container with all its volumes and snapshots. Cannot be undone.",
        to: &[Tool("proxmox-delete-lxc")],
        arguments: GUEST,
        fixed: &[NO_PURGE],
        example: ("", "{}"),
        ..BASE
    },
];
