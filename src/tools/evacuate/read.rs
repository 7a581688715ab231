//! The planner's facts, read from the cluster: nodes with their storages and bridges, HA's rules, and of every guest that is
//! to go what Proxmox says of its migration.

use std::collections::{BTreeMap, BTreeSet};

use futures::{StreamExt, stream};
use serde_json::{Map, Value};

use super::cluster::{Cluster, Guest, Node, Rule, Store, What};
use crate::{
    pve::{self, Resource, StorageHere, encode},
    tool::*,
    tools::{cluster::Manager, ha},
};

/// Guests, or nodes, asked at once.
const AT_ONCE: usize = 16;

/// What is read by all that plan moves.
pub const API: [&str; 8] = [
    "GET /cluster/ha/rules",
    "GET /cluster/ha/groups",
    "GET /cluster/ha/status/manager_status",
    "GET /nodes/{node}/qemu/{vmid}/migrate",
    "GET /nodes/{node}/lxc/{vmid}/migrate",
    "POST /nodes/{node}/qemu/{vmid}/migrate",
    "POST /nodes/{node}/lxc/{vmid}/migrate",
    "GET /cluster/ha/resources",
];

/// A row of `GET /nodes`.
#[derive(Deserialize)]
struct NodeRow {
    node: String,
    #[serde(default)]
    status: String,
    mem: Option<u64>,
    maxmem: Option<u64>,
    cpu: Option<f64>,
    maxcpu: Option<u64>,
}

/// Nodes and guests as they are listed, HA's rules, and nothing yet of what decides about each.
///
/// # Errors
/// Proxmox's.
pub async fn cluster(pve: &Reader<'_>) -> Result<Cluster> {
    let (nodes, resources, manager) =
        tokio::join!(pve.get::<Vec<NodeRow>>("/nodes"), pve.resources(), Manager::read(pve));
    let mut cluster = Cluster::default();
    for row in nodes? {
        let word = manager.node_status.get(&row.node).map(String::as_str);
        let node = Node {
            online: row.status == "online",
            maintenance: word == Some("maintenance"),
            memory: row.maxmem.unwrap_or_default(),
            used: row.mem.unwrap_or_default(),
            cpus: row.maxcpu.unwrap_or_default(),
            busy: row.cpu.unwrap_or_default() * row.maxcpu.unwrap_or_default() as f64,
            ..Node::default()
        };
        cluster.nodes.insert(row.node, node);
    }
    cluster.guests = resources?.iter().map(|row| (row.vmid, guest(row))).collect();
    if cluster.guests.values().any(|guest| guest.sid.is_some()) {
        cluster.rules = rules(pve).await?;
    }
    Ok(cluster)
}

fn guest(row: &Resource) -> Guest {
    let known = pve::Guest::from(row);
    let managed = known.is_ha_managed() && known.hastate.as_deref() != Some("ignored");
    let maxcpu = row.maxcpu.unwrap_or_default();
    Guest {
        vmid: row.vmid,
        kind: row.kind,
        name: row.name.as_deref().map_or_else(|| row.vmid.to_string(), str::to_owned),
        node: row.node.to_string(),
        running: &*row.status == "running",
        memory: row.maxmem.unwrap_or_default(),
        used: row.memhost.filter(|bytes| *bytes > 0).or(row.mem).unwrap_or_default(),
        cpus: maxcpu as u64,
        busy: row.cpu.unwrap_or_default() * maxcpu,
        sid: managed.then(|| ha::sid(&known)),
        facts: super::cluster::Facts::default(),
    }
}

/// A row of `GET /cluster/ha/resources`.
#[derive(Deserialize)]
struct HaResource {
    sid: String,
    group: Option<String>,
    failback: Option<bool>,
}

/// HA's rules, or what groups were before them.
async fn rules(pve: &Reader<'_>) -> Result<Vec<Rule>> {
    let (resources, rules) =
        tokio::join!(pve.get::<Vec<HaResource>>("/cluster/ha/resources"), ha::rules_or_groups(pve));
    let (resources, (rules, groups)) = (resources?, rules?);
    let failback = |sid: &str| resources.iter().find(|one| one.sid == sid).and_then(|one| one.failback) != Some(false);
    let mut all = Vec::new();
    for rule in rules.iter().filter(|rule| !set(rule, "disable")) {
        let name = text(rule, "rule").to_owned();
        let sids: BTreeSet<String> = list(text(rule, "resources")).map(str::to_owned).collect();
        match (text(rule, "type"), text(rule, "affinity")) {
            ("node-affinity", _) => all.extend(sids.into_iter().map(|sid| {
                let nodes = priorities(text(rule, "nodes"));
                let what = What::Nodes { nodes, strict: set(rule, "strict"), failback: failback(&sid) };
                Rule { name: name.clone(), sids: BTreeSet::from([sid]), what }
            })),
            ("resource-affinity", "positive") => all.push(Rule { name, sids, what: What::Together }),
            ("resource-affinity", "negative") => all.push(Rule { name, sids, what: What::Apart }),
            _ => {}
        }
    }
    for group in &groups {
        let name = text(group, "group").to_owned();
        let members = resources.iter().filter(|one| one.group.as_deref() == Some(&name));
        let nodes = priorities(text(group, "nodes"));
        let what = What::Nodes { nodes, strict: set(group, "restricted"), failback: !set(group, "nofailback") };
        all.push(Rule { sids: members.map(|one| one.sid.clone()).collect(), name, what });
    }
    Ok(all)
}

fn text<'a>(row: &'a Map<String, Value>, key: &str) -> &'a str {
    row.get(key).and_then(Value::as_str).unwrap_or_default()
}

fn set(row: &Map<String, Value>, key: &str) -> bool {
    row.get(key).is_some_and(|value| *value == 1 || *value == true || *value == "1")
}

fn list(text: &str) -> impl Iterator<Item = &str> {
    text.split([',', ';', ' ']).filter(|part| !part.is_empty())
}

/// `pve1:2,pve2`: nodes with their priorities, 0 where none is given.
fn priorities(text: &str) -> BTreeMap<String, i64> {
    let pair = |one: &str| match one.split_once(':') {
        Some((node, priority)) => (node.to_owned(), priority.parse().unwrap_or_default()),
        None => (one.to_owned(), 0),
    };
    list(text).map(pair).collect()
}

/// Reads the storages and bridges of these nodes. One that does not answer is taken for offline.
///
/// # Errors
/// `Cancelled`.
pub async fn nodes(pve: &Reader<'_>, cluster: &mut Cluster, names: &BTreeSet<String>) -> Result<()> {
    #[derive(Deserialize)]
    struct Bridge {
        iface: String,
    }
    let online = names.iter().filter(|name| cluster.nodes.get(*name).is_some_and(|node| node.online));
    let asked = online.map(async |name| {
        let path = format!("/nodes/{}", encode(name));
        let storages = Request::get(format!("{path}/storage")).param("enabled", 1);
        let bridges = Request::get(format!("{path}/network")).param("type", "any_bridge");
        let (storages, bridges) =
            tokio::join!(pve.request::<Vec<StorageHere>>(&storages), pve.request::<Vec<Bridge>>(&bridges));
        (name, storages, bridges)
    });
    let asked: Vec<_> = asked.collect();
    let answers: Vec<_> = stream::iter(asked).buffered(AT_ONCE).collect().await;
    for (name, storages, bridges) in answers {
        let Some(node) = cluster.nodes.get_mut(name) else { continue };
        match storages {
            Ok(rows) => node.stores = rows.into_iter().map(|row| (row.storage.clone(), store(row))).collect(),
            Err(e) if e.kind() == crate::error::Kind::Cancelled => return Err(e),
            Err(_) => node.online = false,
        }
        node.bridges = bridges.ok().map(|rows| rows.into_iter().map(|row| row.iface).collect());
    }
    Ok(())
}

fn store(row: StorageHere) -> Store {
    Store {
        shared: row.shared,
        active: row.active,
        plugin: row.r#type,
        content: row.content,
        total: row.total.unwrap_or_default(),
        avail: row.avail.unwrap_or_default(),
    }
}

/// Reads what decides about these guests.
///
/// # Errors
/// `Cancelled`; else what cannot be read of a guest keeps that one where it is.
pub async fn guests(pve: &Reader<'_>, cluster: &mut Cluster, vmids: &BTreeSet<u32>) -> Result<()> {
    #[derive(Deserialize)]
    struct Job {
        guest: u32,
        target: String,
    }
    let resources = pve.resources().await?;
    let jobs: Vec<Job> = pve.get("/cluster/replication").await?;
    let known: Vec<pve::Guest> = vmids.iter().filter_map(|vmid| resources.vmid(*vmid)).map(pve::Guest::from).collect();
    let asked = known.iter().map(async |guest| (guest.vmid, super::facts::read(pve, cluster, guest).await));
    let asked: Vec<_> = asked.collect();
    let answers: Vec<_> = stream::iter(asked).buffered(AT_ONCE).collect().await;
    for (vmid, answer) in answers {
        let Some(guest) = cluster.guests.get_mut(&vmid) else { continue };
        match answer {
            Ok((facts, running)) => (guest.facts, guest.running) = (facts, running),
            Err(e) if e.kind() == crate::error::Kind::Cancelled => return Err(e),
            Err(e) => guest.facts.bound = Some(format!("it cannot be looked at: {e}")),
        }
        let targets = jobs.iter().filter(|job| job.guest == vmid).map(|job| job.target.clone());
        guest.facts.replicas = targets.collect();
    }
    super::facts::bases(cluster, vmids);
    Ok(())
}
