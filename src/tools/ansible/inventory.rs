//! All guests as an Ansible inventory: one list of them, then each is looked at, side by side.

use std::collections::{BTreeMap, HashMap};

use futures::{StreamExt, TryStreamExt, stream};
use serde_json::{Map, Value, json};

use super::{
    Format,
    hosts::{self, ALL},
    look::{self, Seen, Silent},
    write,
};
use crate::{
    config::ONLY_CLUSTER,
    pve::{GuestKind, Resource, address::Wanted},
    tool::*,
    tools::guests::Status,
    toolsets::matches,
};

/// Guests looked at at the same time.
const AT_ONCE: usize = 16;
/// As many hosts of a kind are named; the inventory has them all.
const NAMED: usize = 20;
/// What Ansible means something else by.
const RESERVED: [&str; 3] = [ALL, "ungrouped", "localhost"];

/// Make an Ansible inventory of guests, with addresses and groups by node, pool, tag, OS, status.
#[derive(Deserialize, JsonSchema)]
pub struct Inventory {
    #[serde(default)]
    format: Format,
    #[schemars(inner(range(min = 100, max = 999_999_999)))]
    vmids: Option<Vec<u32>>,
    /// web-*
    name: Option<String>,
    node: Option<String>,
    pool: Option<String>,
    tag: Option<String>,
    status: Option<Status>,
    /// Only VMs, or containers.
    kind: Option<GuestKind>,
    #[schemars(length(min = 1))]
    ssh_user: Option<String>,
    /// By group: {"tag_db": "admin"}
    #[serde(default)]
    users: BTreeMap<String, String>,
    #[schemars(length(min = 1))]
    ssh_private_key_path: Option<String>,
    /// As users.
    #[serde(default)]
    keys: BTreeMap<String, String>,
    #[schemars(range(min = 1, max = 65_535))]
    port: Option<u16>,
    /// In the guest, or its device: net1.
    prefer_interface: Option<String>,
    /// Rather than IPv4.
    #[serde(default)]
    ipv6: bool,
}

impl Tool for Inventory {
    const NAME: &str = "proxmox-inventory";
    const TITLE: &str = "Make an Ansible inventory";
    const API: &[&str] = &[
        "GET /cluster/resources",
        "GET /nodes",
        "GET /nodes/{node}/lxc/{vmid}/interfaces",
        "GET /nodes/{node}/qemu/{vmid}/agent/get-osinfo",
        "GET /nodes/{node}/qemu/{vmid}/agent/network-get-interfaces",
        "GET /nodes/{node}/{type}/{vmid}/config",
    ];
    const EXAMPLE: (&str, &str) = (
        "Give me an Ansible inventory of what runs in production, user admin, postgres on the databases",
        r#"{"tag": "prod", "status": "running", "ssh_user": "admin", "users": {"tag_db": "postgres"}}"#,
    );
}

#[derive(Serialize, Deserialize, JsonSchema)]
pub struct Made {
    hosts: usize,
    with_address: usize,
    format: Format,
    inventory: String,
    /// By the reason. They are in the inventory all the same.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    without_address: Vec<Without>,
    /// Names that several guests have, or Ansible itself: with the VMID, or the cluster, behind them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    renamed: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    notes: Vec<String>,
}

#[derive(Serialize, Deserialize, JsonSchema)]
struct Without {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    cluster: Option<String>,
    count: usize,
    why: String,
    /// The first 20.
    hosts: Vec<String>,
}

impl Query for Inventory {
    type Output = Made;
    async fn query(&self, pve: &Reader<'_>) -> Result<Made> {
        let (all, nodes) = tokio::try_join!(pve.resources_now(), pve.nodes())?;
        let silent = Silent::default();
        for node in nodes.iter().filter(|node| node.status.as_deref() == Some("offline")) {
            silent.note(&node.node, format!("node {} is offline", node.node));
        }
        if let Some(node) = self.node.as_ref().filter(|name| nodes.iter().all(|node| node.node != **name)) {
            pve.known_node(node).await?;
        }
        let guests = all.iter().filter(|guest| !guest.template);
        let mut named: HashMap<String, usize> = HashMap::new();
        for guest in guests.clone() {
            *named.entry(write::host_name(&guest.into())).or_default() += 1;
        }
        let wanted = Wanted { interface: self.prefer_interface.as_deref(), ipv6: self.ipv6 };
        let silent = &silent;
        let chosen: Vec<Guest> = guests.filter(|guest| self.takes(guest)).map(Guest::from).collect();
        let looked: Vec<(Guest, Seen)> = stream::iter(chosen)
            .map(|guest| async move {
                let seen = look::look(pve, &guest, wanted, silent).await?;
                Ok::<_, Error>((guest, seen))
            })
            .buffered(AT_ONCE)
            .try_collect()
            .await?;

        let mut inventory = hosts::Inventory::default();
        let mut without: BTreeMap<String, Vec<String>> = BTreeMap::new();
        let mut twins = Vec::new();
        for (guest, seen) in looked {
            let mut host = write::host_name(&guest);
            if named.get(&host).is_some_and(|n| *n > 1) || RESERVED.contains(&host.as_str()) {
                host = format!("{host}-{}", guest.vmid);
                twins.push(host.clone());
            }
            inventory.add(&host, variables(pve, &guest, &seen, &host), groups(pve, &guest, &seen));
            if let Some(why) = seen.why {
                without.entry(why).or_default().push(host);
            }
        }
        let without_address = without.into_iter().map(|(why, hosts)| Without::new(None, why, hosts)).collect();
        Ok(self.made(inventory, without_address, twins))
    }
}

impl Together for Inventory {
    fn of_each(args: &mut Map<String, Value>) {
        args.insert("format".to_owned(), json!(Format::Json));
    }

    /// Hosts of one name get that of their cluster behind it.
    fn together(args: Map<String, Value>, answers: Vec<(&str, Value)>) -> Result<Made> {
        let this: Self = crate::call::parse(args)?;
        let mut parts = Vec::new();
        let mut named: HashMap<String, usize> = HashMap::new();
        for (cluster, answer) in answers {
            let made: Made = serde_json::from_value(answer).map_err(|e| Error::internal(e.to_string()))?;
            let inventory = hosts::Inventory::from_json(&made.inventory)?;
            for host in inventory.hosts().keys() {
                *named.entry(host.clone()).or_default() += 1;
            }
            parts.push((cluster, made, inventory));
        }
        let twins: Vec<String> = named.iter().filter(|(_, n)| **n > 1).map(|(host, _)| host.clone()).collect();
        let (mut inventory, mut without_address, mut renamed) = (hosts::Inventory::default(), Vec::new(), Vec::new());
        for (cluster, made, part) in parts {
            let rename = |host: &str| {
                if twins.iter().any(|twin| twin == host) { format!("{host}-{cluster}") } else { host.to_owned() }
            };
            renamed
                .extend(part.hosts().keys().map(|host| (host, rename(host))).filter(|(a, b)| *a != b).map(|(_, b)| b));
            renamed.extend(made.renamed);
            inventory.absorb(part, rename);
            without_address.extend(made.without_address.into_iter().map(|row| Without {
                cluster: Some(cluster.to_owned()),
                hosts: row.hosts.iter().map(|host| rename(host)).collect(),
                ..row
            }));
        }
        Ok(this.made(inventory, without_address, renamed))
    }
}

impl Without {
    fn new(cluster: Option<String>, why: String, mut hosts: Vec<String>) -> Self {
        let count = hosts.len();
        hosts.truncate(NAMED);
        Self { cluster, count, why, hosts }
    }
}

impl Inventory {
    fn takes(&self, guest: &Resource) -> bool {
        let same =
            |wanted: &Option<String>, is: Option<&str>| wanted.as_deref().is_none_or(|wanted| is == Some(wanted));
        self.vmids.as_ref().is_none_or(|vmids| vmids.contains(&guest.vmid))
            && self.name.as_deref().is_none_or(|name| matches(name, guest.name.as_deref().unwrap_or_default()))
            && same(&self.node, Some(&*guest.node))
            && same(&self.pool, guest.pool.as_deref())
            && self.tag.as_deref().is_none_or(|tag| guest.tags().any(|t| t == tag))
            && self.status.is_none_or(|status| status.word() == &*guest.status)
            && self.kind.is_none_or(|kind| kind == guest.kind)
    }

    /// What is left to do when the hosts are known: the variables of groups, and the text.
    fn made(&self, mut inventory: hosts::Inventory, without_address: Vec<Without>, renamed: Vec<String>) -> Made {
        let mut notes = self.connect(&mut inventory);
        if inventory.groups.contains_key("os_windows") {
            notes.push("os_windows: set ansible_connection (winrm, psrp), or ansible_shell_type for SSH".to_owned());
        }
        let without: usize = without_address.iter().map(|row| row.count).sum();
        let hosts = inventory.hosts().len();
        Made {
            hosts,
            with_address: hosts - without,
            format: self.format,
            inventory: inventory.text(self.format),
            without_address,
            renamed,
            notes,
        }
    }

    /// How hosts are connected to: variables of groups, so that those of a playbook's `group_vars` count more. Says which groups are
    /// not there.
    fn connect(&self, inventory: &mut hosts::Inventory) -> Vec<String> {
        const USER: &str = "ansible_user";
        const KEY: &str = "ansible_ssh_private_key_file";
        let of_all = [
            (USER, self.ssh_user.as_deref().map(Value::from)),
            ("ansible_port", self.port.map(Value::from)),
            (KEY, self.ssh_private_key_path.as_deref().map(Value::from)),
        ];
        for (variable, value) in of_all {
            let Some(value) = value else { continue };
            inventory.groups.entry(ALL.to_owned()).or_default().vars.insert(variable.to_owned(), value);
        }
        let mut notes = Vec::new();
        for (variable, by_group) in [(USER, &self.users), (KEY, &self.keys)] {
            for (group, value) in by_group {
                match inventory.groups.get_mut(&write::group_name(group)) {
                    Some(found) => drop(found.vars.insert(variable.to_owned(), value.as_str().into())),
                    None => notes.push(format!("no group {group} here, for {variable} {value}")),
                }
            }
        }
        notes
    }
}

fn variables(pve: &Reader<'_>, guest: &Guest, seen: &Seen, host: &str) -> Map<String, Value> {
    let mut all = Map::new();
    let mut set = |key: &str, value: Option<Value>| all.extend(value.map(|value| (key.to_owned(), value)));
    let text = |text: Option<&str>| text.filter(|t| !t.is_empty()).map(|t| Value::from(write::without_templates(t)));
    set("ansible_host", seen.address.map(|address| address.to_string().into()));
    set("proxmox_cluster", text(cluster(pve)));
    set("proxmox_vmid", Some(guest.vmid.into()));
    set("proxmox_name", text(guest.name.as_deref().filter(|name| *name != host)));
    set("proxmox_node", text(Some(&guest.node)));
    set("proxmox_kind", Some(guest.kind.path().into()));
    set("proxmox_status", text(Some(&guest.status)));
    set("proxmox_pool", text(guest.pool.as_deref()));
    let tags: Vec<Value> = tags(guest).filter_map(|tag| text(Some(tag))).collect();
    set("proxmox_tags", Some(tags.into()));
    set("proxmox_os", text(seen.system.id()));
    set("proxmox_os_version", text(seen.system.version.as_deref()));
    all
}

fn groups(pve: &Reader<'_>, guest: &Guest, seen: &Seen) -> Vec<String> {
    let mut all = Vec::new();
    let mut add = |kind: &str, name: &str| all.push(write::group_name(&format!("{kind}_{name}")));
    if let Some(cluster) = cluster(pve) {
        add("cluster", cluster);
    }
    add("node", &guest.node);
    add("status", &guest.status);
    add("kind", guest.kind.path());
    if let Some(pool) = guest.pool.as_deref().filter(|pool| !pool.is_empty()) {
        add("pool", pool);
    }
    tags(guest).for_each(|tag| add("tag", tag));
    seen.system.groups().for_each(|name| add("os", name));
    all
}

/// The cluster's name, where the operator gave it one.
fn cluster<'a>(pve: &Reader<'a>) -> Option<&'a str> {
    Some(pve.cluster()).filter(|name| *name != ONLY_CLUSTER)
}

fn tags(guest: &Guest) -> impl Iterator<Item = &str> {
    guest.tags.iter().flat_map(|tags| tags.split([';', ',', ' '])).filter(|tag| !tag.is_empty())
}
