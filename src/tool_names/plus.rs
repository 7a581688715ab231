//! The names of ProxmoxMCP and ProxmoxMCP-Plus: `get_vms`, `execute_vm_command`.

use super::{
    Alias,
    alias::{Argument, Target::Tool},
};

const BASE: Alias = Alias::BASE;

pub const ALIASES: &[Alias] = &[
    Alias {
        name: "get_nodes",
        title: "List nodes",
        description: "List the cluster's nodes with state, load and memory.",
        to: &[Tool("proxmox-list-nodes")],
        example: ("Which nodes are there?", "{}"),
        ..BASE
    },
    Alias {
        name: "get_node_status",
        title: "Node status",
        description: "Show one node's load, memory and versions.",
        to: &[Tool("proxmox-node-status")],
        arguments: &[Argument::same("node").needed()],
        example: ("Montre moi le statut du node pve1", r#"{"node": "pve1"}"#),
        ..BASE
    },
    Alias {
        name: "get_vms",
        title: "List VMs",
        description: "List all VMs with node, state and size.",
        to: &[Tool("proxmox-list-vms")],
        fixed: &[("limit", "10000")],
        example: ("Liste toutes les VMs sur Proxmox", "{}"),
        ..BASE
    },
];
