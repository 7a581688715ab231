//! Every tool, one file per family. To add a tool, write it in its family's file and name it in that file's `TOOLS`;
//! a new family is one line here. MCP, the CLI, `tools.md` and the tests all walk this table.

use crate::tool::Entry;

mod agent;
pub(crate) mod ansible;
mod api;
mod applied;
mod backup_jobs;
mod backups;
mod bulk;
mod clone;
mod cloudinit;
mod cluster;
mod clusters;
mod configure;
mod create;
mod delete;
mod diff;
mod disks;
mod evacuate;
mod files;
mod firewall;
mod guests;
mod ha;
mod health;
mod list;
mod log_lines;
mod media;
mod metrics;
mod migrate;
mod names;
mod network;
mod nics;
mod node_power;
mod node_system;
mod nodes;
mod notes;
mod os_templates;
mod permissions;
mod pools;
mod power;
mod provision;
mod replication;
mod schedule;
mod snapshots;
pub mod steps;
mod storage;
mod storage_content;
mod storage_status;
mod tags;
mod tasks;
mod template;
pub(crate) mod time;
mod undo;
mod upload;
mod users;
mod volumes;

pub(crate) use agent::exec as commands;
pub use list::Page;

/// Family name → its tools, in the order in which documents show them.
pub const FAMILIES: &[(&str, &[Entry])] = &[
    ("nodes", nodes::TOOLS),
    ("guests", guests::TOOLS),
    ("power", power::TOOLS),
    ("create", create::TOOLS),
    ("provision", provision::TOOLS),
    ("clone", clone::TOOLS),
    ("configure", configure::TOOLS),
    ("cloudinit", cloudinit::TOOLS),
    ("nics", nics::TOOLS),
    ("disks", disks::TOOLS),
    ("media", media::TOOLS),
    ("migrate", migrate::TOOLS),
    ("evacuate", evacuate::TOOLS),
    ("template", template::TOOLS),
    ("delete", delete::TOOLS),
    ("notes", notes::TOOLS),
    ("tags", tags::TOOLS),
    ("snapshots", snapshots::TOOLS),
    ("backups", backups::TOOLS),
    ("backup_jobs", backup_jobs::TOOLS),
    ("replication", replication::TOOLS),
    ("storage", storage::TOOLS),
    ("upload", upload::TOOLS),
    ("os_templates", os_templates::TOOLS),
    ("network", network::TOOLS),
    ("firewall", firewall::TOOLS),
    ("agent", agent::TOOLS),
    ("metrics", metrics::TOOLS),
    ("ansible", ansible::TOOLS),
    ("tasks", tasks::TOOLS),
    ("diff", diff::TOOLS),
    ("cluster", cluster::TOOLS),
    ("health", health::TOOLS),
    ("ha", ha::TOOLS),
    ("node_system", node_system::TOOLS),
    ("node_power", node_power::TOOLS),
    ("pools", pools::TOOLS),
    ("users", users::TOOLS),
    ("permissions", permissions::TOOLS),
    ("api", api::TOOLS),
    ("clusters", clusters::TOOLS),
    ("bulk", bulk::TOOLS),
    ("undo", undo::TOOLS),
];

/// The names of the reference's core: what a prompt written for it may call. Their arguments are all listed; of other tools
/// those are not that a model seldom has a use for.
pub const CORE: &[&str] = &[
    "proxmox-list-nodes",
    "proxmox-node-status",
    "proxmox-list-vms",
    "proxmox-vm-info",
    "proxmox-list-lxc",
    "proxmox-lxc-info",
    "proxmox-list-storage",
    "proxmox-storage-content",
    "proxmox-list-bridges",
    "proxmox-list-tasks",
    "proxmox-task-status",
    "proxmox-clone-vm",
    "proxmox-create-vm",
    "proxmox-delete-vm",
    "proxmox-start-vm",
    "proxmox-stop-vm",
    "proxmox-reboot-vm",
    "proxmox-shutdown-vm",
    "proxmox-migrate-vm",
    "proxmox-resize-vm-disk",
    "proxmox-configure-vm",
    "proxmox-create-lxc",
    "proxmox-delete-lxc",
    "proxmox-start-lxc",
    "proxmox-stop-lxc",
    "proxmox-configure-lxc",
    "proxmox-cloudinit-set",
    "proxmox-vm-nic-add",
    "proxmox-vm-nic-remove",
    "proxmox-vm-firewall-get",
    "proxmox-vm-firewall-set",
    "proxmox-upload-iso",
    "proxmox-upload-template",
    "proxmox-template-vm",
    "proxmox-list-snapshots",
    "proxmox-create-snapshot",
    "proxmox-delete-snapshot",
    "proxmox-rollback-snapshot",
    "proxmox-backup-vm",
    "proxmox-restore-vm",
    "proxmox-vm-metrics",
    "proxmox-node-metrics",
    "proxmox-list-pools",
    "proxmox-create-pool",
    "proxmox-delete-pool",
    "proxmox-pool-add",
    "proxmox-pool-remove",
    "proxmox-list-users",
    "proxmox-list-roles",
    "proxmox-assign-permission",
    "proxmox-wait-task",
    "proxmox-register-vm-as-host",
    "proxmox-guest-exec",
];

/// Every tool, in order.
pub fn all() -> impl Iterator<Item = &'static Entry> {
    FAMILIES.iter().flat_map(|(_, tools)| tools.iter())
}
