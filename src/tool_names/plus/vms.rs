//! VMs.

use serde_json::{Value, json};

use super::{ALL_ROWS, APPROVAL, GUEST, NO_PURGE, NODE, VMID};
use crate::{
    error::{Error, Result},
    tool_names::alias::{Alias, Argument, Call, Given, Target::Tool},
};

/// Where the older server puts a CD.
const DRIVE: Argument = Argument::work("cdrom_device", "string").default(r#""ide3""#).words("Drive for iso_volume.");
const BOOT: Argument = Argument::work("boot_order", "string").words("ide3;scsi0");

pub const ALIASES: &[Alias] = &[
    Alias::new("get_vms", "List VMs", "List all VMs with node, state and size.")
        .to(&[Tool("proxmox-list-vms")])
        .fixed(&[ALL_ROWS])
        .example("Liste toutes les VMs sur Proxmox", "{}"),
    Alias::new("get_vm_config", "Show a VM", "Show a VM's configuration and state.")
        .to(&[Tool("proxmox-vm-info")])
        .takes(GUEST)
        .example("How is VM 100 configured?", r#"{"node": "pve1", "vmid": "100"}"#),
    Alias::new("get_vm_ip_addresses", "Addresses of a VM", "Ask a running VM's guest agent for its addresses.")
        .to(&[Tool("proxmox-agent-info")])
        .takes(GUEST)
        .fixed(&[("include", r#"["network"]"#)])
        .example("Which address has VM 100?", r#"{"node": "pve1", "vmid": "100"}"#),
    Alias::new("set_vm_description", "Write a VM's notes", "Replace a VM's notes; the old ones are returned.")
        .to(&[Tool("proxmox-vm-notes-update")])
        .takes(&[NODE, VMID, Argument::own("description", "content").needed().words("The new notes.")])
        .fixed(&[("mode", r#""replace""#)])
        .example(
            "Note on VM 100 who looks after it",
            r#"{"node": "pve1", "vmid": "100", "description": "Ask the web team"}"#,
        ),
    Alias::new("create_vm", "Create a VM", "Create a VM with one disk, and an ISO to install from if given.")
        .to(&[Tool("proxmox-create-vm")])
        .takes(&[
            NODE,
            Argument::same("vmid").kind("string").needed().words("New VMID."),
            Argument::same("name").needed(),
            Argument::own("cpus", "cores").needed().words("Cores."),
            Argument::own("memory", "memory_mb").needed().words("MiB."),
            Argument::own("disk_size", "disk_gb").needed().words("GiB."),
            Argument::same("storage").default(r#""*""#).words("* chooses one."),
            Argument::same("ostype"),
            Argument::own("network_bridge", "bridge"),
            Argument::param("pool", "string"),
            Argument::work("iso_volume", "string").words("local:iso/debian.iso"),
            DRIVE,
            BOOT,
        ])
        .work(create)
        .example(
            "Crée une VM de 2 coeurs",
            r#"{"node": "pve1", "vmid": "200", "name": "test-vm", "cpus": 2, "memory": 2048, "disk_size": 10}"#,
        ),
    Alias::new("clone_vm", "Clone a VM", "Clone a VM or template into a new VM.")
        .to(&[Tool("proxmox-clone-vm")])
        .takes(&[
            Argument::own("node", "source_node").needed().words("Node of the source."),
            Argument::same("source_vmid").kind("string").needed(),
            Argument::own("target_vmid", "new_vmid").kind("string").needed().words("New VMID."),
            Argument::same("name"),
            Argument::same("target_node"),
            Argument::same("full").default("true"),
            Argument::same("storage"),
            Argument::same("pool"),
            Argument::same("snapname"),
        ])
        .example(
            "Clone the template 9000 to 201",
            r#"{"node": "pve1", "source_vmid": "9000", "target_vmid": "201", "name": "web-03"}"#,
        ),
    Alias::new(
        "update_vm_config",
        "Configure a VM",
        "Change a VM's memory, cores, name, tags, cloud-init, CD, boot order or bridge.",
    )
    .to(&[Tool("proxmox-configure-vm"), Tool("proxmox-iso-attach"), Tool("proxmox-iso-eject")])
    .takes(&[
        NODE,
        VMID,
        Argument::param("memory", "integer").words("MiB."),
        Argument::param("cores", "integer"),
        Argument::param("sockets", "integer"),
        Argument::param("name", "string"),
        Argument::param("sshkeys", "string"),
        Argument::param("ciuser", "string"),
        Argument::param("ipconfig0", "string"),
        Argument::param("nameserver", "string"),
        Argument::param("searchdomain", "string"),
        Argument::param("tags", "string"),
        Argument::work("network_bridge", "string").words("Of net0."),
        Argument::work("iso_volume", "string").words("Volume id; none ejects."),
        DRIVE,
        BOOT,
        APPROVAL,
    ])
    .work(update)
    .example("Give VM 107 2 GiB", r#"{"node": "pve2", "vmid": "107", "memory": 2048}"#),
    Alias::new("execute_vm_command", "Run a command in a VM", "Run a shell command in a VM through its guest agent.")
        .to(&[Tool("proxmox-guest-exec")])
        .takes(&[NODE, VMID, Argument::same("command").needed().words("Shell line."), APPROVAL])
        .example("Which kernel does VM 100 run?", r#"{"node": "pve1", "vmid": "100", "command": "uname -a"}"#),
    Alias::new("start_vm", "Start a VM", "Start a VM.")
        .to(&[Tool("proxmox-start-vm")])
        .takes(GUEST)
        .example("Demarre la VM avec l ID 107", r#"{"node": "pve2", "vmid": "107"}"#),
    Alias::new("stop_vm", "Stop a VM", "Power a VM off at once; what it has not written is lost.")
        .to(&[Tool("proxmox-stop-vm")])
        .takes(GUEST)
        .example("Arrête la VM 104", r#"{"node": "pve1", "vmid": "104"}"#),
    Alias::new("shutdown_vm", "Shut down a VM", "Shut a VM down cleanly.")
        .to(&[Tool("proxmox-shutdown-vm")])
        .takes(GUEST)
        .example("Shut VM 103 down", r#"{"node": "pve3", "vmid": "103"}"#),
    Alias::new("reset_vm", "Reset a VM", "Reset a VM like its reset button; what it has not written is lost.")
        .to(&[Tool("proxmox-reset-vm")])
        .takes(GUEST)
        .example("VM 105 hangs, reset it", r#"{"node": "pve3", "vmid": "105"}"#),
    Alias::new("delete_vm", "Delete a VM", "Delete a VM with all its disks and snapshots. Cannot be undone.")
        .to(&[Tool("proxmox-delete-vm")])
        .takes(&[NODE, VMID, Argument::same("force").default("false").words("Even while it runs."), APPROVAL])
        .fixed(&[NO_PURGE])
        .example("Delete VM 107", r#"{"node": "pve2", "vmid": "107", "confirm": true}"#),
];

/// `params` of the call, made if need be.
fn param(given: &mut Given, key: &str, value: Value) {
    let params = given.args.entry("params").or_insert_with(|| json!({}));
    params[key] = value;
}

fn create(mut given: Given) -> Result<Vec<Call>> {
    let drive = given.take_text("cdrom_device").unwrap_or_default();
    let iso = given.take_text("iso_volume");
    let order = given.take_text("boot_order").or_else(|| iso.as_ref().map(|_| format!("{drive};scsi0")));
    if let Some(iso) = iso {
        param(&mut given, &drive, format!("{iso},media=cdrom").into());
    }
    if let Some(order) = order {
        param(&mut given, "boot", format!("order={order}").into());
    }
    Ok(vec![given.call(0)])
}

/// The CD first, with tools that know its drive from a disk: a boot order may name it.
fn update(mut given: Given) -> Result<Vec<Call>> {
    let drive = given.take("cdrom_device").unwrap_or_default();
    let cd = given.take_text("iso_volume").map(|iso| {
        let mut args = given.args.clone();
        args.remove("params");
        args.insert("drive".to_owned(), drive);
        if iso == "none" {
            return Call { to: given.to[2], args };
        }
        args.insert("iso".to_owned(), iso.into());
        Call { to: given.to[1], args }
    });
    if let Some(bridge) = given.take("network_bridge") {
        param(&mut given, "net0", json!({"bridge": bridge}));
    }
    if let Some(order) = given.take_text("boot_order") {
        param(&mut given, "boot", format!("order={order}").into());
    }
    let options = given.args.contains_key("params").then(|| given.call(0));
    let calls: Vec<Call> = cd.into_iter().chain(options).collect();
    if calls.is_empty() {
        return Err(Error::bad_argument("nothing to change; expected memory, cores, name or another option"));
    }
    Ok(calls)
}
