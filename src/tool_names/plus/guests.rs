//! What goes for VMs and containers alike: snapshots, backups, firewall logs.

use super::{ALL_ROWS, APPROVAL, KIND, NODE, VMID};
use crate::{
    error::Result,
    tool_names::alias::{Alias, Argument, Call, Given, Target::Tool},
};

const SNAPSHOT: Argument = Argument::same("snapname").needed().words("Its name.");

pub const ALIASES: &[Alias] = &[
    Alias::new("list_snapshots", "List snapshots", "List the snapshots of a VM or container.")
        .to(&[Tool("proxmox-list-snapshots")])
        .takes(&[NODE, VMID, KIND])
        .example("Which snapshots has VM 100?", r#"{"node": "pve1", "vmid": "100"}"#),
    Alias::new("create_snapshot", "Take a snapshot", "Take a snapshot of a VM or container.")
        .to(&[Tool("proxmox-create-snapshot")])
        .takes(&[NODE, VMID, SNAPSHOT, Argument::same("description"), Argument::same("vmstate").default("false"), KIND])
        .example(
            "Take a snapshot of container 108",
            r#"{"node": "pve1", "vmid": "108", "snapname": "before-update", "vm_type": "lxc"}"#,
        ),
    Alias::new("delete_snapshot", "Delete a snapshot", "Delete a snapshot. The guest itself stays as it is.")
        .to(&[Tool("proxmox-delete-snapshot")])
        .takes(&[NODE, VMID, SNAPSHOT, KIND, APPROVAL])
        .example(
            "Delete the snapshot before-upgrade of VM 100",
            r#"{"node": "pve1", "vmid": "100", "snapname": "before-upgrade", "confirm": true}"#,
        ),
    Alias::new("rollback_snapshot", "Roll back", "Put a VM or container back to a snapshot. What changed since is lost.")
        .to(&[Tool("proxmox-rollback-snapshot")])
        .takes(&[NODE, VMID, SNAPSHOT, KIND, APPROVAL])
        .example(
            "Put VM 100 back to before-upgrade",
            r#"{"node": "pve1", "vmid": "100", "snapname": "before-upgrade", "confirm": true}"#,
        ),
    Alias::new("list_backups", "List backups", "List backups, newest first.")
        .to(&[Tool("proxmox-list-backups")])
        .takes(&[
            Argument::same("node").words("Only what this node can reach."),
            Argument::same("storage").words("Only those on this storage."),
            Argument::same("vmid").kind("string").words("Only those of this guest."),
        ])
        .fixed(&[ALL_ROWS])
        .example("Which backups are there of VM 100?", r#"{"vmid": "100"}"#),
    Alias::new("create_backup", "Back up a guest", "Back up a VM or container now.")
        .to(&[Tool("proxmox-backup-vm")])
        .takes(&[
            NODE,
            VMID,
            Argument::same("storage").needed().words("Where to."),
            Argument::same("compress").default(r#""zstd""#),
            Argument::same("mode").default(r#""snapshot""#),
            Argument::same("notes"),
        ])
        .example("Back VM 101 up to the NAS", r#"{"node": "pve2", "vmid": "101", "storage": "nas"}"#),
    Alias::new("restore_backup", "Restore a backup", "Restore a VM or container from a backup, as a new guest.")
        .to(&[Tool("proxmox-restore-vm")])
        .takes(&[
            NODE.words("Where to."),
            Argument::same("archive").needed().words("Volume id of the backup."),
            Argument::same("vmid").kind("string").needed().words("New VMID."),
            Argument::same("storage").words("For its disks."),
            Argument::same("unique").default("true"),
            APPROVAL,
        ])
        // Onto a guest that is there it fails.
        .fixed(&[("force", "false")])
        .harmless()
        .example(
            "Restore the older backup of VM 100 as 210",
            r#"{"node": "pve1", "archive": "nas:backup/vzdump-qemu-100-2027_01_07-08_00_00.vma.zst", "vmid": "210"}"#,
        ),
    Alias::new("delete_backup", "Delete a backup", "Delete a backup. Cannot be undone.")
        .to(&[Tool("proxmox-backup-delete")])
        .takes(&[
            NODE.words("A node that can reach it."),
            Argument::work("storage", "string").needed().words("Its storage."),
            Argument::same("volid").needed().words("Volume id."),
            APPROVAL,
        ])
        .work(delete_backup)
        .example(
            "Delete the older backup of VM 100",
            r#"{"node": "pve1", "storage": "nas", "volid": "nas:backup/vzdump-qemu-100-2027_01_07-08_00_00.vma.zst", "confirm": true}"#,
        ),
    Alias::new("get_guest_firewall_log", "Guest firewall log", "Read the firewall log of a VM or container.")
        .to(&[Tool("proxmox-firewall-log")])
        .takes(&[
            NODE,
            VMID,
            KIND,
            Argument::same("limit").default("100").words("Most lines."),
            Argument::same("start").words("First line, from 0."),
            Argument::same("since").words("Unix time."),
        ])
        .example("What did the firewall of VM 100 drop?", r#"{"node": "pve1", "vmid": "100"}"#),
];

/// A volume id may come without its storage.
fn delete_backup(mut given: Given) -> Result<Vec<Call>> {
    let storage = given.take_text("storage").unwrap_or_default();
    if let Some(volid) = given.args.get_mut("volid")
        && let Some(name) = volid.as_str().filter(|name| !name.contains(':') || name.starts_with("backup/"))
    {
        *volid = format!("{storage}:{name}").into();
    }
    Ok(vec![given.call(0)])
}
