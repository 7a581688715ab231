//! Containers, some of them by selectors: `123`, `pve1:123`, `pve1/name`, `name`, and several of these with commas between.

use serde_json::{Map, Value, json};

use super::{ALL_ROWS, APPROVAL, FORMAT, GUEST, NO_PURGE, NODE, VMID};
use crate::{
    error::{Error, Result},
    pve::encode,
    tool_names::alias::{Alias, Argument, Call, Given, Target::Tool},
};

const SELECTOR: Argument =
    Argument::work("selector", "string").needed().words("123, pve1:123, pve1/name or name; several with commas.");
const GRACE: Argument =
    Argument::own("timeout_seconds", "timeout").kind("integer").default("10").words("Seconds to shut down in.");

pub const ALIASES: &[Alias] = &[
    Alias::new("get_containers", "List containers", "List containers with node, state and size.")
        .to(&[Tool("proxmox-list-lxc")])
        .takes(&[
            Argument::same("node").words("Only those of this node."),
            Argument::nothing("include_stats", "boolean").words("No effect: they always are."),
            Argument::nothing("include_raw", "boolean"),
            FORMAT,
            Argument::work("payload", "object").words("The same arguments as an object."),
        ])
        .fixed(&[ALL_ROWS])
        .work(list)
        .example("Liste tous les containers LXC", "{}"),
    Alias::new("get_container_config", "Show a container", "Show a container's configuration and state.")
        .to(&[Tool("proxmox-lxc-info")])
        .takes(GUEST)
        .example("How is container 108 configured?", r#"{"node": "pve1", "vmid": "108"}"#),
    Alias::new("get_container_ip", "Addresses of a container", "Show a running container's network interfaces with addresses.")
        .to(&[Tool("proxmox-api-get")])
        .takes(&[
            Argument::work("node", "string").needed().words("Its node."),
            Argument::work("vmid", "string").needed().words("VMID."),
        ])
        .work(addresses)
        .example("Which address has container 108?", r#"{"node": "pve1", "vmid": "108"}"#),
    Alias::new("set_container_description", "Write a container's notes", "Replace a container's notes; the old ones are returned.")
        .to(&[Tool("proxmox-lxc-notes-update")])
        .takes(&[NODE, VMID, Argument::own("description", "content").needed().words("The new notes.")])
        .fixed(&[("mode", r#""replace""#)])
        .example(
            "Note on container 108 what it is",
            r#"{"node": "pve1", "vmid": "108", "description": "DNS of the house"}"#,
        ),
    Alias::new("create_container", "Create a container", "Create a container from an OS template that a storage holds.")
        .to(&[Tool("proxmox-create-lxc")])
        .takes(&[
            NODE,
            Argument::same("vmid").kind("string").needed().words("New VMID."),
            Argument::same("ostemplate").needed(),
            Argument::same("hostname").words("ct-VMID where nothing is said."),
            Argument::same("cores").default("1"),
            Argument::own("memory", "memory_mb").default("512").words("MiB."),
            Argument::param("swap", "integer").default("512").words("MiB."),
            Argument::own("disk_size", "rootfs_gb").default("8").words("GiB."),
            Argument::same("storage").default(r#""*""#).words("* chooses one."),
            Argument::same("password"),
            Argument::same("ssh_public_keys").kind("string").words("One on each line."),
            Argument::own("network_bridge", "bridge"),
            Argument::own("start_after_create", "start").default("false"),
            Argument::param("onboot", "boolean").default("false"),
            Argument::work("nesting", "boolean").default("false"),
            Argument::same("unprivileged").default("true"),
            Argument::param("pool", "string"),
            Argument::own("ip", "net_ip"),
            Argument::own("gw", "gateway"),
        ])
        .work(create)
        .example(
            "Make a Debian container 202",
            r#"{"node": "pve1", "vmid": "202", "ostemplate": "local:vztmpl/debian-12-standard_12.7-1_amd64.tar.zst", "storage": "local-lvm"}"#,
        ),
    Alias::new("start_container", "Start containers", "Start one container or several.")
        .to(&[Tool("proxmox-start-lxc")])
        .takes(&[SELECTOR, FORMAT])
        .work(each)
        .example("Start the container devbox", r#"{"selector": "pve3:111"}"#),
    Alias::new("stop_container", "Stop containers", "Shut one container or several down; without graceful, stop them at once.")
        .to(&[Tool("proxmox-shutdown-lxc"), Tool("proxmox-stop-lxc")])
        .takes(&[SELECTOR, Argument::work("graceful", "boolean").default("true"), GRACE, FORMAT])
        .work(stop)
        .example("Stop pihole and redis-01", r#"{"selector": "pve1/pihole,redis-01", "graceful": true}"#),
    Alias::new("restart_container", "Restart containers", "Reboot one container or several cleanly.")
        .to(&[Tool("proxmox-reboot-lxc")])
        .takes(&[SELECTOR, Argument::nothing("timeout_seconds", "integer"), FORMAT])
        .work(each)
        .example("Restart container 109", r#"{"selector": "109"}"#),
    Alias::new(
        "update_container_resources",
        "Change containers' resources",
        "Change cores, memory or swap of one container or several, or add to a disk.",
    )
    .to(&[Tool("proxmox-configure-lxc"), Tool("proxmox-resize-lxc-disk")])
    .takes(&[
        SELECTOR,
        Argument::param("cores", "integer"),
        Argument::param("memory", "integer").words("MiB."),
        Argument::param("swap", "integer").words("MiB."),
        Argument::own("disk_gb", "grow_gb").words("GiB to add."),
        Argument::same("disk").default(r#""rootfs""#).words("The disk that disk_gb is added to."),
        FORMAT,
    ])
    .work(resources)
    .example(
        "Give redis-01 4 cores, 4 GiB and 8 GB more disk",
        r#"{"selector": "pve3:110", "cores": 4, "memory": 4096, "disk_gb": 8}"#,
    ),
    Alias::new("update_container_network", "Change a container's interface", "Change bridge, addresses or gateways of an interface; the rest of it stays.")
        .to(&[Tool("proxmox-configure-lxc")])
        .takes(&[
            NODE,
            VMID,
            Argument::work("network_bridge", "string"),
            Argument::work("ip", "string").words("CIDR, dhcp or manual."),
            Argument::work("gw", "string").words("Empty removes it."),
            Argument::work("ip6", "string").words("CIDR, auto, dhcp or manual."),
            Argument::work("gw6", "string").words("Empty removes it."),
            Argument::work("interface", "string").default(r#""net0""#),
            APPROVAL,
        ])
        .work(network)
        .example(
            "Give container 110 a fixed address",
            r#"{"node": "pve3", "vmid": "110", "ip": "192.168.1.60/24", "gw": "192.168.1.1"}"#,
        ),
    Alias::new("delete_container", "Delete containers", "Delete one container or several with all volumes and snapshots. Cannot be undone.")
        .to(&[Tool("proxmox-delete-lxc")])
        .takes(&[SELECTOR, Argument::same("force").default("false").words("Even while it runs."), FORMAT, APPROVAL])
        .fixed(&[NO_PURGE])
        .work(each)
        .example("Delete devbox", r#"{"selector": "devbox", "confirm": true}"#),
];

/// Older callers wrap the arguments.
fn list(mut given: Given) -> Result<Vec<Call>> {
    let node = given.take("payload").and_then(|payload| payload.get("node").cloned());
    if let Some(node) = node.filter(|node| !node.is_null()) {
        given.args.insert("node".to_owned(), node);
    }
    Ok(vec![given.call(0)])
}

fn addresses(mut given: Given) -> Result<Vec<Call>> {
    let node = given.take_text("node").unwrap_or_default();
    let vmid = number("vmid", &given.take_text("vmid").unwrap_or_default())?;
    let path = format!("/nodes/{}/lxc/{vmid}/interfaces", encode(&node));
    given.args.insert("path".to_owned(), path.into());
    Ok(vec![given.call(0)])
}

fn number(field: &str, text: &str) -> Result<u32> {
    text.trim().parse().map_err(|_| Error::bad_argument(format!("{field}: expected a VMID, got '{text}'")))
}

fn create(mut given: Given) -> Result<Vec<Call>> {
    // Without it our own tool would switch nesting on.
    let features = if given.take_flag("nesting") { json!("nesting=1") } else { Value::Null };
    given.args.entry("params").or_insert_with(|| json!({}))["features"] = features;
    if !given.args.contains_key("hostname")
        && let Some(vmid) = given.args.get("vmid").and_then(Value::as_str)
    {
        let name = format!("ct-{vmid}");
        given.args.insert("hostname".to_owned(), name.into());
    }
    Ok(vec![given.call(0)])
}

/// The containers that a selector names.
fn selected(given: &mut Given) -> Result<Vec<Map<String, Value>>> {
    let text = given.take_text("selector").unwrap_or_default();
    let one = |part: &str| {
        let (node, who) = match part.split_once([':', '/']) {
            Some((node, who)) => (Some(node), who),
            None => (None, part),
        };
        let mut args = Map::new();
        match who.parse::<u32>() {
            Ok(vmid) => args.insert("vmid".to_owned(), vmid.into()),
            Err(_) => args.insert("name".to_owned(), who.into()),
        };
        args.extend(node.map(|node| ("node".to_owned(), node.into())));
        let empty = who.is_empty() || node.is_some_and(str::is_empty);
        (!empty).then_some(args).ok_or_else(|| bad_selector(&text))
    };
    let parts: Vec<&str> = text.split(',').map(str::trim).filter(|part| !part.is_empty()).collect();
    if parts.is_empty() {
        return Err(bad_selector(&text));
    }
    parts.into_iter().map(one).collect()
}

fn bad_selector(text: &str) -> Error {
    Error::bad_argument(format!("selector: expected 123, pve1:123, pve1/name or name, got '{text}'"))
}

/// The same calls for each of the containers.
fn calls(who: Vec<Map<String, Value>>, calls: &[Call]) -> Vec<Call> {
    let of = |who: Map<String, Value>| {
        calls.iter().map(move |call| {
            let args = call.args.iter().chain(&who).map(|(key, value)| (key.clone(), value.clone())).collect();
            Call { to: call.to, args }
        })
    };
    who.into_iter().flat_map(|who| of(who).collect::<Vec<_>>()).collect()
}

fn each(mut given: Given) -> Result<Vec<Call>> {
    let who = selected(&mut given)?;
    Ok(calls(who, &[given.call(0)]))
}

fn stop(mut given: Given) -> Result<Vec<Call>> {
    let who = selected(&mut given)?;
    if given.take_flag("graceful") {
        return Ok(calls(who, &[given.call(0)]));
    }
    given.args.remove("timeout");
    Ok(calls(who, &[given.call(1)]))
}

fn resources(mut given: Given) -> Result<Vec<Call>> {
    let who = selected(&mut given)?;
    let (mut options, mut disk) = (Map::new(), Map::new());
    for (key, value) in given.args {
        if key == "params" { &mut options } else { &mut disk }.insert(key, value);
    }
    let options = (!options.is_empty()).then_some(Call { to: given.to[0], args: options });
    let disk = disk.contains_key("grow_gb").then_some(Call { to: given.to[1], args: disk });
    let wanted: Vec<Call> = options.into_iter().chain(disk).collect();
    if wanted.is_empty() {
        return Err(Error::bad_argument("nothing to change; expected cores, memory, swap or disk_gb"));
    }
    Ok(calls(who, &wanted))
}

fn network(mut given: Given) -> Result<Vec<Call>> {
    let interface = given.take_text("interface").unwrap_or_default();
    let mut keys = Map::new();
    for (name, key) in [("network_bridge", "bridge"), ("ip", "ip"), ("gw", "gw"), ("ip6", "ip6"), ("gw6", "gw6")] {
        let Some(text) = given.take_text(name) else { continue };
        keys.insert(key.to_owned(), if text.is_empty() { Value::Null } else { text.into() });
    }
    if keys.is_empty() {
        return Err(Error::bad_argument("nothing to change; expected network_bridge, ip, gw, ip6 or gw6"));
    }
    given.args.insert("params".to_owned(), json!({interface: keys}));
    Ok(vec![given.call(0)])
}
