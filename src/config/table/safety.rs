//! The settings of what agents may do, how they are asked back, and what is recorded.

use super::{BASE, Group, Scope, Setting};

const SAFETY: Setting = Setting { group: Group::Safety, scope: Scope::Program, ..BASE };

pub static MODE: Setting = Setting {
    name: "PROXMOX_MODE",
    flag: "mode",
    value: "MODE",
    default: Some("full"),
    example: "read-only",
    help: "What tools may do: read-only (nothing is changed), no-delete (nothing is deleted or overwritten, no commands in guests unless PROXMOX_EXEC says so) or full.",
    ..SAFETY
};
pub static READ_ONLY: Setting = Setting {
    name: "PROXMOX_READ_ONLY",
    flag: "read-only",
    value: "BOOL",
    default: Some("false"),
    example: "true",
    help: "Short for PROXMOX_MODE=read-only, and stronger than any other mode.",
    ..SAFETY
};
pub static TOOLSETS: Setting = Setting {
    name: "PROXMOX_TOOLSETS",
    flag: "toolsets",
    value: "NAMES",
    example: "discovery,vm,snapshots",
    help: "Which tools there are, by toolset, separated by commas: default, all, discovery, vm, lxc, fleet, backup, access, or any family of tools.md. Others are refused. Without it, default is listed and every other tool can be called all the same.",
    ..SAFETY
};
pub static TOOLS: Setting = Setting {
    name: "PROXMOX_TOOLS",
    flag: "tools",
    value: "NAMES",
    example: "proxmox-list-ha",
    help: "Single tools beside the toolsets, separated by commas; * stands for any characters. Without PROXMOX_TOOLSETS, these alone.",
    ..SAFETY
};
pub static EXCLUDE_TOOLS: Setting = Setting {
    name: "PROXMOX_EXCLUDE_TOOLS",
    flag: "exclude-tools",
    value: "NAMES",
    example: "proxmox-delete-*",
    help: "Tools that are not there whatever else names them.",
    ..SAFETY
};
pub static FACE: Setting = Setting {
    name: "PROXMOX_FACE",
    flag: "face",
    value: "FACE",
    default: Some("full"),
    example: "router",
    help: "How a model is shown the tools: full (each by itself) or router (three tools, at less than a thousand tokens: one finds the others by words, one calls what reads, one what changes).",
    ..SAFETY
};
pub static TOOL_NAMES: Setting = Setting {
    name: "PROXMOX_TOOL_NAMES",
    flag: "tool-names",
    value: "NAMES",
    default: Some("native"),
    example: "plus",
    help: "The names by which tools are called: native, or those of an older server and no others: plus (get_vms, ProxmoxMCP-Plus), camel (listVMs) or machines (start_machine, nothing that deletes). See tools.md.",
    ..SAFETY
};
pub static ALLOW_GUESTS: Setting = Setting {
    name: "PROXMOX_ALLOW_GUESTS",
    flag: "allow-guests",
    value: "RULES",
    example: "200-299,pool:dev,tag:web,node:pve1,name:test-*",
    help: "Guests that may be changed or made, separated by commas: VMIDs and ranges, pool:, tag:, node:, name: with * for any characters. Without it, all.",
    ..SAFETY
};
pub static PROTECT_GUESTS: Setting = Setting {
    name: "PROXMOX_PROTECT_GUESTS",
    flag: "protect-guests",
    value: "RULES",
    example: "100,tag:prod",
    help: "Guests that are never changed; rules as above. A guest with the tag protected, or with Proxmox's own protection option, never is either.",
    ..SAFETY
};
pub static ALLOW_NODES: Setting = Setting {
    name: "PROXMOX_ALLOW_NODES",
    flag: "allow-nodes",
    value: "NAMES",
    example: "pve1,pve2",
    help: "Nodes on which anything may be changed; * stands for any characters. Without it, all.",
    ..SAFETY
};
pub static ALLOW_STORAGES: Setting = Setting {
    name: "PROXMOX_ALLOW_STORAGES",
    flag: "allow-storages",
    value: "NAMES",
    example: "local-lvm,nas",
    help: "Storages on which anything may be put or deleted. Without it, all.",
    ..SAFETY
};
pub static MAX_GUESTS: Setting = Setting {
    name: "PROXMOX_MAX_GUESTS",
    flag: "max-guests",
    value: "NUMBER",
    example: "5",
    help: "How many guests one call may change.",
    ..SAFETY
};
pub static MAX_CORES: Setting = Setting {
    name: "PROXMOX_MAX_CORES",
    flag: "max-cores",
    value: "NUMBER",
    example: "16",
    help: "Cores (times sockets) that a guest may be given.",
    ..SAFETY
};
pub static MAX_MEMORY: Setting = Setting {
    name: "PROXMOX_MAX_MEMORY",
    flag: "max-memory",
    value: "SIZE",
    example: "64G",
    help: "Memory that a guest may be given, such as 64G; a number alone is MiB.",
    ..SAFETY
};
pub static MAX_DISK: Setting = Setting {
    name: "PROXMOX_MAX_DISK",
    flag: "max-disk",
    value: "SIZE",
    example: "500G",
    help: "Size that one disk may have, such as 500G; a number alone is GiB.",
    ..SAFETY
};
pub static EXEC: Setting = Setting {
    name: "PROXMOX_EXEC",
    flag: "exec",
    value: "POLICY",
    example: "off",
    help: "Commands in guests: off, on, or allow for those of PROXMOX_EXEC_ALLOW. Without it, on in the mode full and off otherwise.",
    ..SAFETY
};
pub static EXEC_ALLOW: Setting = Setting {
    name: "PROXMOX_EXEC_ALLOW",
    flag: "exec-allow",
    value: "PATTERNS",
    example: "uptime,systemctl status *",
    help: "Commands that may be run in guests, separated by commas; * stands for any characters but those by which a shell begins another command.",
    ..SAFETY
};
pub static FREEZE_FILE: Setting = Setting {
    name: "PROXMOX_FREEZE_FILE",
    flag: "freeze-file",
    value: "FILE",
    example: "/run/proxmox-mcp.freeze",
    help: "While this file exists, nothing is changed: looked at before each request, no restart needed.",
    ..SAFETY
};
pub static CONFIRM: Setting = Setting {
    name: "PROXMOX_CONFIRM",
    flag: "confirm",
    value: "HOW",
    default: Some("flag"),
    example: "plan",
    help: "How what has to be confirmed is: flag (confirm: true), plan (confirm must be the plan_id that the dry run returned, good for ten minutes and for that plan only) or human (the client asks a person).",
    ..SAFETY
};
pub static CONFIRM_FALLBACK: Setting = Setting {
    name: "PROXMOX_CONFIRM_FALLBACK",
    flag: "confirm-fallback",
    value: "HOW",
    example: "plan",
    help: "What stands in for a person where the client cannot ask one: plan. Without it, the call is refused.",
    ..SAFETY
};
pub static CONFIRM_TOOLS: Setting = Setting {
    name: "PROXMOX_CONFIRM_TOOLS",
    flag: "confirm-tools",
    value: "NAMES",
    example: "proxmox-stop-*,proxmox-guest-exec",
    help: "Tools that have to be confirmed beside those that have to be anyway; * stands for any characters.",
    ..SAFETY
};
pub static AUDIT_FILE: Setting = Setting {
    name: "PROXMOX_AUDIT_FILE",
    flag: "audit-file",
    value: "FILE",
    example: "/var/log/proxmox-mcp/audit.jsonl",
    help: "Records every change, a JSON object a line, each with a keyed hash of the one before. What cannot be recorded is not done.",
    ..SAFETY
};
pub static STATE_DIR: Setting = Setting {
    name: "PROXMOX_STATE_DIR",
    flag: "state-dir",
    value: "DIRECTORY",
    example: "/var/lib/proxmox-mcp",
    help: "Where calls that do several things are on record while they go on, for proxmox-mcp resume, should the program be killed. Default: $STATE_DIRECTORY, $XDG_STATE_HOME/proxmox-mcp or ~/.local/state/proxmox-mcp.",
    ..SAFETY
};
pub static KEY: Setting = Setting {
    name: "PROXMOX_KEY",
    flag: "key-file",
    value: "SECRET",
    example: "at least 32 random characters",
    help: "Key that signs plan ids and the audit log, at least 32 characters. Without it, plan ids hold for one process, and the log has a key in a file of its own, FILE.key.",
    secret: true,
    ..SAFETY
};
