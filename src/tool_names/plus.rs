//! The names of ProxmoxMCP and ProxmoxMCP-Plus: `get_vms`, `execute_vm_command`, `update_container_resources`.

mod cluster;
mod containers;
mod guests;
mod storage;
mod vms;

use super::alias::{Alias, Argument};

pub const TABLES: &[&[Alias]] =
    &[cluster::ALIASES, vms::ALIASES, containers::ALIASES, guests::ALIASES, storage::ALIASES];

const NO_SHELL: &str = "it needs SSH to the node: the Proxmox API has no way into a container";
const NO_JOBS: &str = "jobs are Proxmox's own tasks here, which cannot be repeated: call the tool again";

pub const MISSING: &[(&str, &str)] = &[
    ("execute_container_command", NO_SHELL),
    ("update_container_ssh_keys", NO_SHELL),
    ("retry_job", NO_JOBS),
    ("reconcile_job", NO_JOBS),
];

const NODE: Argument = Argument::same("node").needed().words("Its node.");
/// A text in the older server's schemas; numbers are taken, too.
const VMID: Argument = Argument::same("vmid").kind("string").needed().words("VMID.");
const GUEST: &[Argument] = &[NODE, VMID];
/// Confirmation is the operator's business here, and has an argument of its own.
const APPROVAL: Argument = Argument::nothing("approval_token", "string");
const FORMAT: Argument = Argument::nothing("format_style", "string");
/// Which of the two a guest is, its VMID says.
const KIND: Argument = Argument::nothing("vm_type", "string");
/// The older lists have no pages.
const ALL_ROWS: (&str, &str) = ("limit", "10000");
/// The older server leaves a deleted guest in backup jobs, replication and HA.
const NO_PURGE: (&str, &str) = ("purge", "false");
