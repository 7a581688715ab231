//! The cluster as a whole: what there is, whether it has quorum, its version, its next VMID.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::list::{gib, percent};
use crate::{error::Kind, tool::*};

pub const TOOLS: &[Entry] = &[
    Entry::list::<ListInfrastructure>(),
    Entry::list::<ClusterStatus>(),
    Entry::query::<NextVmid>(),
    Entry::list::<Version>(),
];

/// Show the cluster at a glance: nodes with load, guests by state, storages, quorum.
#[derive(Deserialize, JsonSchema)]
struct ListInfrastructure {}

impl Tool for ListInfrastructure {
    const NAME: &str = "proxmox-list-infrastructure";
    const TITLE: &str = "Cluster at a glance";
    const API: &[&str] = &["GET /cluster/resources", "GET /cluster/status"];
    const EXAMPLE: (&str, &str) = ("Give me an overview of our Proxmox cluster", r#"{}"#);
}

/// A row of `GET /cluster/resources`, of whatever type.
#[derive(Deserialize)]
struct Resource {
    r#type: String,
    node: Option<String>,
    storage: Option<String>,
    status: Option<String>,
    #[serde(default)]
    template: bool,
    #[serde(default)]
    shared: bool,
    cpu: Option<f64>,
    maxcpu: Option<f64>,
    mem: Option<u64>,
    maxmem: Option<u64>,
    disk: Option<u64>,
    maxdisk: Option<u64>,
    uptime: Option<u64>,
}

/// A row of `GET /cluster/status`.
#[derive(Deserialize)]
struct Member {
    r#type: String,
    name: String,
    ip: Option<String>,
    #[serde(default)]
    online: bool,
    quorate: Option<bool>,
}

#[derive(Serialize, JsonSchema)]
struct Infrastructure {
    /// Absent: a single node.
    #[serde(skip_serializing_if = "Option::is_none")]
    cluster: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    quorate: Option<bool>,
    total: usize,
    online: usize,
    nodes: Vec<Node>,
    vms: BTreeMap<String, usize>,
    containers: BTreeMap<String, usize>,
    storages: Vec<Storage>,
}

#[derive(Serialize, JsonSchema)]
struct Node {
    node: String,
    status: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    cpus: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cpu_percent: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mem_gib: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    maxmem_gib: Option<f64>,
    /// Running guests on it.
    running: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    uptime_s: Option<u64>,
}

#[derive(Serialize, JsonSchema)]
struct Storage {
    storage: String,
    /// Absent: shared.
    #[serde(skip_serializing_if = "Option::is_none")]
    node: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    used_percent: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    total_gib: Option<f64>,
    /// Where it is not available.
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<String>,
}

impl Query for ListInfrastructure {
    type Output = Infrastructure;
    async fn query(&self, pve: &Reader<'_>) -> Result<Infrastructure> {
        let (rows, members) =
            tokio::join!(pve.get::<Vec<Resource>>("/cluster/resources"), pve.get::<Vec<Member>>("/cluster/status"));
        let rows = rows?;
        // The quorum needs a privilege that the rest does not.
        let members = members.unwrap_or_default();
        let cluster = members.iter().find(|m| m.r#type == "cluster");
        let (mut vms, mut containers) = (BTreeMap::new(), BTreeMap::new());
        let mut running: BTreeMap<&str, usize> = BTreeMap::new();
        let mut storages: BTreeMap<(&str, Option<&str>), Storage> = BTreeMap::new();
        for row in &rows {
            let status = row.status.as_deref().unwrap_or("unknown");
            let counts = match row.r#type.as_str() {
                "qemu" => &mut vms,
                "lxc" => &mut containers,
                "storage" => {
                    let Some(name) = row.storage.as_deref() else { continue };
                    let node = row.node.as_deref().filter(|_| !row.shared);
                    let size = row.maxdisk.filter(|size| *size > 0);
                    let found = Storage {
                        storage: name.to_owned(),
                        node: node.map(str::to_owned),
                        used_percent: size.zip(row.disk).map(|(size, used)| percent(used as f64 / size as f64)),
                        total_gib: size.map(gib),
                        status: (status != "available").then(|| status.to_owned()),
                    };
                    // A shared one is there if any node has it.
                    if found.status.is_none() || !storages.contains_key(&(name, node)) {
                        storages.insert((name, node), found);
                    }
                    continue;
                }
                _ => continue,
            };
            *counts.entry(if row.template { "template" } else { status }.to_owned()).or_insert(0) += 1;
            if status == "running" {
                *running.entry(row.node.as_deref().unwrap_or_default()).or_default() += 1;
            }
        }
        let mut nodes: Vec<Node> = rows
            .iter()
            .filter(|row| row.r#type == "node")
            .map(|row| Node {
                node: row.node.clone().unwrap_or_default(),
                status: row.status.clone().unwrap_or_else(|| "unknown".to_owned()),
                cpus: row.maxcpu,
                cpu_percent: row.cpu.map(percent),
                mem_gib: row.mem.map(gib),
                maxmem_gib: row.maxmem.map(gib),
                running: running.get(row.node.as_deref().unwrap_or_default()).copied().unwrap_or(0),
                uptime_s: row.uptime,
            })
            .collect();
        nodes.sort_by(|a, b| a.node.cmp(&b.node));
        Ok(Infrastructure {
            cluster: cluster.map(|c| c.name.clone()),
            quorate: cluster.and_then(|c| c.quorate),
            total: nodes.len(),
            online: nodes.iter().filter(|n| n.status == "online").count(),
            nodes,
            vms,
            containers,
            storages: storages.into_values().collect(),
        })
    }
}

/// Show quorum, nodes with addresses and maintenance, the HA master, Proxmox's version.
#[derive(Deserialize, JsonSchema)]
struct ClusterStatus {}

impl Tool for ClusterStatus {
    const NAME: &str = "proxmox-cluster-status";
    const TITLE: &str = "Cluster status";
    const API: &[&str] = &["GET /cluster/status", "GET /cluster/ha/status/manager_status", "GET /version"];
    const EXAMPLE: (&str, &str) = ("Does the cluster have quorum?", r#"{}"#);
}

#[derive(Serialize, JsonSchema)]
struct Status {
    /// Absent: a single node.
    #[serde(skip_serializing_if = "Option::is_none")]
    cluster: Option<String>,
    /// Without quorum nothing can be changed.
    quorate: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<String>,
    total: usize,
    online: usize,
    nodes: Vec<MemberRow>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ha_master: Option<String>,
}

#[derive(Serialize, JsonSchema)]
struct MemberRow {
    node: String,
    online: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    ip: Option<String>,
    /// As HA sees it: online, maintenance, unknown, fence, gone.
    #[serde(skip_serializing_if = "Option::is_none")]
    ha: Option<String>,
}

/// The useful part of `GET /cluster/ha/status/manager_status`.
#[derive(Deserialize, Default)]
pub struct Manager {
    #[serde(default)]
    manager_status: ManagerStatus,
}

#[derive(Deserialize, Default)]
pub struct ManagerStatus {
    pub master_node: Option<String>,
    #[serde(default)]
    pub node_status: BTreeMap<String, String>,
}

impl Manager {
    /// What HA knows; nothing where it may not be read, or HA was never used.
    pub async fn read(pve: &Reader<'_>) -> ManagerStatus {
        let manager: Result<Manager> = pve.get("/cluster/ha/status/manager_status").await;
        manager.unwrap_or_default().manager_status
    }
}

impl Query for ClusterStatus {
    type Output = Status;
    async fn query(&self, pve: &Reader<'_>) -> Result<Status> {
        let (members, manager, version) = tokio::join!(
            pve.get::<Vec<Member>>("/cluster/status"),
            Manager::read(pve),
            pve.get::<Map<String, Value>>("/version")
        );
        let members = members?;
        let cluster = members.iter().find(|m| m.r#type == "cluster");
        let mut nodes: Vec<MemberRow> = members
            .iter()
            .filter(|m| m.r#type == "node")
            .map(|m| MemberRow {
                node: m.name.clone(),
                online: m.online,
                ip: m.ip.clone(),
                ha: manager.node_status.get(&m.name).cloned(),
            })
            .collect();
        nodes.sort_by(|a, b| a.node.cmp(&b.node));
        Ok(Status {
            cluster: cluster.map(|c| c.name.clone()),
            // A single node is its own quorum.
            quorate: cluster.is_none_or(|c| c.quorate.unwrap_or(false)),
            version: version.ok().and_then(|v| v.get("version")?.as_str().map(str::to_owned)),
            total: nodes.len(),
            online: nodes.iter().filter(|n| n.online).count(),
            nodes,
            ha_master: manager.master_node,
        })
    }
}

/// Show the next free VMID, or whether one is free. Nothing is reserved.
#[derive(Deserialize, JsonSchema)]
struct NextVmid {
    /// Look whether this one is free.
    #[schemars(range(min = 100, max = 999_999_999))]
    vmid: Option<u32>,
}

impl Tool for NextVmid {
    const NAME: &str = "proxmox-next-vmid";
    const TITLE: &str = "Next free VMID";
    const API: &[&str] = &["GET /cluster/nextid"];
    const EXAMPLE: (&str, &str) = ("Which VMID is free?", r#"{}"#);
}

#[derive(Serialize, JsonSchema)]
struct Next {
    vmid: u32,
    free: bool,
}

impl Query for NextVmid {
    type Output = Next;
    async fn query(&self, pve: &Reader<'_>) -> Result<Next> {
        let Some(vmid) = self.vmid else { return Ok(Next { vmid: pve.next_id().await?, free: true }) };
        match pve.request::<u32>(&Request::get("/cluster/nextid").param("vmid", vmid)).await {
            Ok(vmid) => Ok(Next { vmid, free: true }),
            Err(e) if e.kind() == Kind::BadArgument || e.is_conflict() => Ok(Next { vmid, free: false }),
            Err(e) => Err(e),
        }
    }
}

/// Show the Proxmox VE version of the server that answers.
#[derive(Deserialize, JsonSchema)]
struct Version {}

impl Tool for Version {
    const NAME: &str = "proxmox-version";
    const TITLE: &str = "Proxmox version";
    const API: &[&str] = &["GET /version"];
    const EXAMPLE: (&str, &str) = ("Which Proxmox version is it?", r#"{}"#);
}

#[derive(Deserialize, Serialize, JsonSchema)]
struct VersionReport {
    version: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    release: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    repoid: Option<String>,
}

impl Query for Version {
    type Output = VersionReport;
    async fn query(&self, pve: &Reader<'_>) -> Result<VersionReport> {
        pve.get("/version").await
    }
}
