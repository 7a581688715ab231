//! The names of the TypeScript server: `listVMs`, `startContainer`.

use super::alias::{Alias, Argument, Target::Tool};

const NODE: Argument = Argument::same("node").needed().words("Its node.");
const GUEST: &[Argument] = &[NODE, Argument::same("vmid").needed().words("VMID.")];
/// It lists everything that is on a node.
const ALL_ROWS: &[(&str, &str)] = &[("limit", "10000")];
/// It leaves a deleted guest in backup jobs, replication and HA.
const NO_PURGE: &[(&str, &str)] = &[("purge", "false")];

pub const ALIASES: &[Alias] = &[
    Alias::new("listVMs", "List VMs", "List the VMs on a node.")
        .to(&[Tool("proxmox-list-vms")])
        .takes(&[NODE.words("Name of the node.")])
        .fixed(ALL_ROWS)
        .example("Lista todas las máquinas virtuales en el nodo pve1", r#"{"node": "pve1"}"#),
    Alias::new("getVM", "Show a VM", "Show a VM's configuration and state.")
        .to(&[Tool("proxmox-vm-info")])
        .takes(GUEST)
        .example("Muéstrame la configuración de la VM 100", r#"{"node": "pve1", "vmid": 100}"#),
    Alias::new("startVM", "Start a VM", "Start a VM.")
        .to(&[Tool("proxmox-start-vm")])
        .takes(GUEST)
        .example("Inicia la VM 107", r#"{"node": "pve2", "vmid": 107}"#),
    Alias::new("stopVM", "Stop a VM", "Power a VM off at once; what it has not written is lost.")
        .to(&[Tool("proxmox-stop-vm")])
        .takes(GUEST)
        .example("Detén la VM 104", r#"{"node": "pve1", "vmid": 104}"#),
    Alias::new("restartVM", "Restart a VM", "Reboot a VM cleanly.")
        .to(&[Tool("proxmox-reboot-vm")])
        .takes(GUEST)
        .example("Reinicia la VM con ID 103 en el nodo pve3", r#"{"node": "pve3", "vmid": 103}"#),
    Alias::new("deleteVM", "Delete a VM", "Delete a stopped VM with all its disks and snapshots. Cannot be undone.")
        .to(&[Tool("proxmox-delete-vm")])
        .takes(GUEST)
        .fixed(NO_PURGE)
        .example("Elimina la VM 107", r#"{"node": "pve2", "vmid": 107, "confirm": true}"#),
    Alias::new("listContainers", "List containers", "List the containers on a node.")
        .to(&[Tool("proxmox-list-lxc")])
        .takes(&[NODE.words("Name of the node.")])
        .fixed(ALL_ROWS)
        .example("Lista los contenedores en el nodo pve1", r#"{"node": "pve1"}"#),
    Alias::new("getContainer", "Show a container", "Show a container's configuration and state.")
        .to(&[Tool("proxmox-lxc-info")])
        .takes(GUEST)
        .example("Muéstrame la configuración del contenedor 108", r#"{"node": "pve1", "vmid": 108}"#),
    Alias::new("startContainer", "Start a container", "Start a container.")
        .to(&[Tool("proxmox-start-lxc")])
        .takes(GUEST)
        .example("Inicia el contenedor 111", r#"{"node": "pve3", "vmid": 111}"#),
    Alias::new("stopContainer", "Stop a container", "Stop a container at once, killing its processes.")
        .to(&[Tool("proxmox-stop-lxc")])
        .takes(GUEST)
        .example("Detén el contenedor 109 en el nodo pve2", r#"{"node": "pve2", "vmid": 109}"#),
    Alias::new("restartContainer", "Restart a container", "Reboot a container cleanly.")
        .to(&[Tool("proxmox-reboot-lxc")])
        .takes(GUEST)
        .example("Reinicia el contenedor 110", r#"{"node": "pve3", "vmid": 110}"#),
    Alias::new(
        "deleteContainer",
        "Delete a container",
        "Delete a stopped container with all its volumes and snapshots. Cannot be undone.",
    )
    .to(&[Tool("proxmox-delete-lxc")])
    .takes(GUEST)
    .fixed(NO_PURGE)
    .example("Elimina el contenedor 111", r#"{"node": "pve3", "vmid": 111, "confirm": true}"#),
];
