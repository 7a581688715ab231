//! Privileges that Proxmox checks in its code and names in prose only, tool by tool: the API's description demands
//! none, or "any" of many where the option decides.

use crate::{pve::rights::Demand, safety_snapshot::Before, tool::Entry};

/// Tools (or calls of theirs), path, privileges (any of those with `|` between them), and for what; without, always.
type Extra = (&'static [&'static str], &'static str, &'static [&'static str], Option<&'static str>);

const GUEST: &str = "/vms/{vmid}";
const STORAGE: &str = "/storage/{storage}";
const BRIDGE: &str = "/sdn/zones/localnetwork/{bridge}";

const EXTRAS: &[Extra] = &[
    // What a listing shows is what may be seen.
    (
        &[
            "proxmox-list-vms",
            "proxmox-list-lxc",
            "proxmox-find-by-tag",
            "proxmox-list-infrastructure",
            "proxmox-health",
            "proxmox-list-all-vms-from-all-clusters",
        ],
        GUEST,
        &["VM.Audit"],
        None,
    ),
    (&["GET /cluster/replication", "GET /nodes/{node}/replication"], GUEST, &["VM.Audit"], None),
    (&["proxmox-list-storage", "proxmox-storage-content", "proxmox-list-backups"], STORAGE, &["Datastore.Audit"], None),
    (
        &["proxmox-list-nodes", "proxmox-list-all-nodes-from-all-clusters"],
        "/nodes/{node}",
        &["Sys.Audit"],
        Some("the state of nodes"),
    ),
    (&["GET /pools"], "/pool/{poolid}", &["Pool.Audit"], None),
    (&["proxmox-list-sdn"], "/sdn/zones/{zone}", &["SDN.Audit|SDN.Allocate"], None),
    (&["GET /nodes/{node}/network"], BRIDGE, &["SDN.Audit|SDN.Use"], Some("bridges")),
    (
        &["proxmox-list-users", "proxmox-list-tokens", "proxmox-list-groups"],
        "/access/groups",
        &["Sys.Audit|User.Modify"],
        None,
    ),
    (
        &[
            "proxmox-list-tasks",
            "proxmox-task-status",
            "proxmox-task-log",
            "proxmox-wait-task",
            "proxmox-explain-lock",
            "proxmox-health",
        ],
        "/nodes/{node}",
        &["Sys.Audit"],
        Some("tasks of others"),
    ),
    (&["proxmox-stop-task"], "/nodes/{node}", &["Sys.Modify"], Some("tasks of others")),
    // Guests that are found by their names, or listed.
    (
        &[
            "proxmox-backup-vm",
            "proxmox-restore-vm",
            "proxmox-run-backup-job",
            "proxmox-ha-set",
            "proxmox-ha-remove",
            "proxmox-pool-add",
            "proxmox-pool-remove",
        ],
        GUEST,
        &["VM.Audit"],
        None,
    ),
    (&["proxmox-health"], GUEST, &["VM.Backup"], Some("backups of guests")),
    (&["proxmox-list-infrastructure", "proxmox-health"], STORAGE, &["Datastore.Audit"], None),
    (
        &["proxmox-list-os-templates"],
        STORAGE,
        &["Datastore.Audit|Datastore.AllocateSpace"],
        Some("what is there already"),
    ),
    (&["proxmox-list-networks"], "/nodes/{node}", &["Sys.Audit"], Some("what is no bridge")),
    (
        &["proxmox-create-vm", "proxmox-create-lxc", "proxmox-provision-vm", "proxmox-provision-lxc"],
        "/nodes/{node}",
        &["Sys.Audit"],
        Some("choosing a node"),
    ),
    (&["proxmox-restore-vm"], GUEST, &["VM.Config.Options", "VM.Config.Network"], Some("a new name")),
    // New guests.
    (
        &["POST /nodes/{node}/qemu", "POST /nodes/{node}/lxc", "POST /nodes/{node}/{type}"],
        GUEST,
        &["VM.Allocate"],
        None,
    ),
    (
        &["POST /nodes/{node}/qemu", "POST /nodes/{node}/lxc", "POST /nodes/{node}/{type}"],
        STORAGE,
        &["Datastore.AllocateSpace"],
        None,
    ),
    (
        &["proxmox-create-vm", "proxmox-create-lxc"],
        GUEST,
        &["VM.Config.CPU", "VM.Config.Memory", "VM.Config.Disk", "VM.Config.Options"],
        None,
    ),
    (&["proxmox-create-vm", "proxmox-create-lxc"], GUEST, &["VM.Config.Network"], Some("network devices")),
    (
        &["proxmox-provision-vm", "proxmox-provision-lxc"],
        GUEST,
        &["VM.Config.CPU", "VM.Config.Memory", "VM.Config.Disk", "VM.Config.Network", "VM.Config.Options"],
        Some("what is set"),
    ),
    (&["proxmox-provision-vm"], GUEST, &["VM.Config.Cloudinit"], Some("what is set")),
    (&["proxmox-provision-lxc"], BRIDGE, &["SDN.Use"], Some("network devices")),
    (&["proxmox-diff"], "/", &["Sys.Syslog"], Some("the cluster's log")),
    (&["proxmox-evacuate-node", "proxmox-rebalance"], STORAGE, &["Datastore.Audit"], None),
    (
        &["proxmox-bulk"],
        GUEST,
        &["VM.Config.CPU", "VM.Config.Memory", "VM.Config.Network", "VM.Config.Disk", "VM.Config.Options"],
        Some("options and tags"),
    ),
    (
        &["proxmox-create-vm"],
        GUEST,
        &["VM.Config.HWType", "VM.Config.CDROM", "VM.Config.Cloudinit"],
        Some("such options"),
    ),
    (&["proxmox-create-vm", "proxmox-create-lxc"], BRIDGE, &["SDN.Use"], Some("network devices")),
    (
        &["POST /nodes/{node}/qemu/{vmid}/clone", "POST /nodes/{node}/lxc/{vmid}/clone"],
        STORAGE,
        &["Datastore.AllocateSpace"],
        None,
    ),
    (
        &["POST /nodes/{node}/qemu/{vmid}/clone", "POST /nodes/{node}/lxc/{vmid}/clone"],
        BRIDGE,
        &["SDN.Use"],
        Some("network devices"),
    ),
    (
        &["proxmox-create-vm-cloudinit", "proxmox-create-preset-vm"],
        GUEST,
        &[
            "VM.Config.CPU",
            "VM.Config.Memory",
            "VM.Config.Disk",
            "VM.Config.Network",
            "VM.Config.Cloudinit",
            "VM.Config.Options",
        ],
        None,
    ),
    // Options of guests.
    (
        &["proxmox-configure-vm", "proxmox-configure-lxc"],
        GUEST,
        &["VM.Config.CPU", "VM.Config.Memory", "VM.Config.Network", "VM.Config.Disk", "VM.Config.Options"],
        Some("such options"),
    ),
    (
        &["proxmox-configure-vm"],
        GUEST,
        &["VM.Config.HWType", "VM.Config.CDROM", "VM.Config.Cloudinit"],
        Some("such options"),
    ),
    (&["proxmox-configure-vm", "proxmox-configure-lxc"], BRIDGE, &["SDN.Use"], Some("network devices")),
    (&["proxmox-configure-vm", "proxmox-configure-lxc"], STORAGE, &["Datastore.AllocateSpace"], Some("new disks")),
    (&["proxmox-cloudinit-set", "proxmox-configure-cloudinit-advanced"], GUEST, &["VM.Config.Cloudinit"], None),
    (
        &["proxmox-cloudinit-set", "proxmox-configure-cloudinit-advanced"],
        GUEST,
        &["VM.Config.Network"],
        Some("addresses"),
    ),
    (
        &["proxmox-vm-nic-add", "proxmox-vm-nic-remove", "proxmox-lxc-nic-add", "proxmox-lxc-nic-remove"],
        GUEST,
        &["VM.Config.Network"],
        None,
    ),
    (&["proxmox-vm-nic-add", "proxmox-lxc-nic-add"], BRIDGE, &["SDN.Use"], None),
    (&["proxmox-iso-attach", "proxmox-iso-eject"], GUEST, &["VM.Config.CDROM"], None),
    (&["proxmox-iso-attach"], STORAGE, &["Datastore.Audit|Datastore.AllocateSpace"], None),
    (
        &["proxmox-disk-add", "proxmox-disk-import", "proxmox-disk-detach", "proxmox-disk-remove"],
        GUEST,
        &["VM.Config.Disk"],
        None,
    ),
    (
        &[
            "proxmox-disk-add",
            "proxmox-disk-import",
            "proxmox-move-disk",
            "proxmox-move-lxc-volume",
            "proxmox-migrate-storage",
        ],
        STORAGE,
        &["Datastore.AllocateSpace"],
        None,
    ),
    (
        &["proxmox-vm-notes-update", "proxmox-vm-notes-remove", "proxmox-lxc-notes-update", "proxmox-lxc-notes-remove"],
        GUEST,
        &["VM.Config.Options"],
        None,
    ),
    (&["proxmox-tags-add", "proxmox-tags-remove"], GUEST, &["VM.Config.Options"], None),
    (&["proxmox-hibernate-vm"], GUEST, &["VM.Config.Disk"], None),
    (&["proxmox-hibernate-vm"], STORAGE, &["Datastore.AllocateSpace"], None),
    (&["POST /nodes/{node}/startall", "POST /nodes/{node}/stopall"], GUEST, &["VM.PowerMgmt"], None),
    // Storage.
    (&["POST /nodes/{node}/vzdump"], GUEST, &["VM.Backup"], None),
    (&["POST /nodes/{node}/vzdump"], STORAGE, &["Datastore.AllocateSpace"], None),
    (
        &["proxmox-restore-vm", "proxmox-backup-update", "proxmox-backup-delete", "proxmox-prune-backups"],
        GUEST,
        &["VM.Backup"],
        None,
    ),
    (
        &["proxmox-backup-update", "proxmox-backup-delete", "proxmox-prune-backups"],
        STORAGE,
        &["Datastore.AllocateSpace"],
        None,
    ),
    (&["proxmox-prune-backups"], STORAGE, &["Datastore.Allocate"], Some("backups of all guests")),
    (&["proxmox-delete-volume"], STORAGE, &["Datastore.Allocate"], None),
    (
        &[
            "POST /cluster/replication",
            "POST /nodes/{node}/replication/{id}/schedule_now",
            "DELETE /cluster/replication/{id}",
        ],
        GUEST,
        &["VM.Replicate"],
        None,
    ),
    // Pools.
    (&["PUT /pools"], GUEST, &["VM.Allocate"], Some("guests")),
    (&["PUT /pools"], STORAGE, &["Datastore.Allocate"], Some("storages")),
];

/// What the calls of `snapshot_first` are for.
pub(super) const FIRST: &str = "snapshot_first";

/// The calls that a tool makes besides its own where `snapshot_first` asks for them.
pub(super) fn first(entry: &Entry) -> &'static [&'static str] {
    entry.control.and_then(|control| control.snapshot_first).map_or(&[], Before::api)
}

/// What a tool takes besides what the API's description demands, and for what.
pub(super) fn of(entry: &Entry) -> Vec<(Option<&'static str>, Demand)> {
    let of_tool = |names: &[&str]| names.iter().any(|name| *name == entry.name || entry.api.contains(name));
    let of_first = |names: &[&str]| names.iter().any(|name| first(entry).contains(name));
    let when = |names: &[&str], when: Option<&'static str>| match (of_tool(names), of_first(names)) {
        (true, _) => Some(when),
        (false, true) => Some(Some(FIRST)),
        (false, false) => None,
    };
    let rows =
        EXTRAS.iter().filter_map(|(names, path, privileges, row)| Some((*path, *privileges, when(names, *row)?)));
    let demand = |path: &str, privilege: &str| Demand {
        path: path.to_owned(),
        privileges: privilege.split('|').map(str::to_owned).collect(),
        any: privilege.contains('|'),
    };
    rows.flat_map(|(path, privileges, when)| privileges.iter().map(move |one| (when, demand(path, one)))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_is_for_tools_that_there_are() {
        for (names, ..) in EXTRAS {
            for name in *names {
                let known = crate::tools::all().any(|entry| entry.name == *name || entry.api.contains(name));
                assert!(known, "{name}");
            }
        }
    }
}
