//! The cluster's nodes.

use serde_json::{Map, Value};

use super::list::{gib, mib, percent, round};
use crate::tool::*;

pub const TOOLS: &[Entry] = &[Entry::list::<ListNodes>(), Entry::query::<NodeStatus>()];

/// List the cluster's nodes with state, load and memory. Start here to learn the node names.
#[derive(Deserialize, JsonSchema)]
pub(super) struct ListNodes {}

impl Tool for ListNodes {
    const NAME: &str = "proxmox-list-nodes";
    const TITLE: &str = "List nodes";
    const API: &[&str] = &["GET /nodes"];
    const EXAMPLE: (&str, &str) = ("Which nodes are there, and how loaded are they?", r#"{}"#);
}

/// A row of `GET /nodes`; a token without Sys.Audit sees names and states only.
#[derive(Deserialize)]
struct Node {
    node: String,
    status: Option<String>,
    cpu: Option<f64>,
    maxcpu: Option<u32>,
    mem: Option<u64>,
    maxmem: Option<u64>,
    disk: Option<u64>,
    maxdisk: Option<u64>,
    uptime: Option<u64>,
}

#[derive(Serialize, JsonSchema)]
pub(super) struct Nodes {
    pub total: usize,
    pub online: usize,
    nodes: Vec<NodeRow>,
}

#[derive(Serialize, JsonSchema)]
pub(super) struct NodeRow {
    node: String,
    /// online, offline or unknown.
    status: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    cpus: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cpu_percent: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mem_mib: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    maxmem_mib: Option<u64>,
    /// Root file system.
    #[serde(skip_serializing_if = "Option::is_none")]
    disk_gib: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    maxdisk_gib: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    uptime_s: Option<u64>,
}

impl Query for ListNodes {
    type Output = Nodes;
    async fn query(&self, pve: &Reader<'_>) -> Result<Nodes> {
        let mut nodes: Vec<Node> = pve.get("/nodes").await?;
        nodes.sort_by(|a, b| a.node.cmp(&b.node));
        let nodes: Vec<NodeRow> = nodes
            .into_iter()
            .map(|n| NodeRow {
                node: n.node,
                status: n.status.unwrap_or_else(|| "unknown".to_owned()),
                cpus: n.maxcpu,
                cpu_percent: n.cpu.map(percent),
                mem_mib: n.mem.map(mib),
                maxmem_mib: n.maxmem.map(mib),
                disk_gib: n.disk.map(gib),
                maxdisk_gib: n.maxdisk.map(gib),
                uptime_s: n.uptime,
            })
            .collect();
        Ok(Nodes { total: nodes.len(), online: nodes.iter().filter(|n| n.status == "online").count(), nodes })
    }
}

/// Show one node's load, memory, root file system, CPU, kernel and Proxmox version.
#[derive(Deserialize, JsonSchema)]
struct NodeStatus {
    node: Option<String>,
}

impl Tool for NodeStatus {
    const NAME: &str = "proxmox-node-status";
    const TITLE: &str = "Node status";
    const API: &[&str] = &["GET /nodes", "GET /nodes/{node}/status"];
    const EXAMPLE: (&str, &str) = ("How is pve1 doing?", r#"{"node": "pve1"}"#);
}

/// `GET /nodes/{node}/status`. Sizes in bytes, load as text.
#[derive(Deserialize)]
struct Status {
    uptime: Option<u64>,
    cpu: Option<f64>,
    wait: Option<f64>,
    #[serde(default)]
    loadavg: Vec<f64>,
    memory: Option<Space>,
    swap: Option<Space>,
    rootfs: Option<Space>,
    cpuinfo: Option<CpuInfo>,
    pveversion: Option<String>,
    kversion: Option<String>,
    #[serde(rename = "current-kernel")]
    kernel: Option<Kernel>,
    #[serde(rename = "boot-info", default)]
    boot: Map<String, Value>,
}

#[derive(Deserialize)]
struct Space {
    used: u64,
    total: u64,
    avail: Option<u64>,
    available: Option<u64>,
}

#[derive(Deserialize)]
struct CpuInfo {
    model: Option<String>,
    sockets: Option<u32>,
    cores: Option<u32>,
    cpus: Option<u32>,
}

#[derive(Deserialize)]
struct Kernel {
    release: Option<String>,
}

#[derive(Serialize, JsonSchema)]
struct NodeReport {
    node: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pve_version: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    kernel: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    uptime_s: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cpu_percent: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    io_wait_percent: Option<f64>,
    /// Over 1, 5 and 15 minutes.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    loadavg: Vec<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cpu: Option<Cpu>,
    #[serde(skip_serializing_if = "Option::is_none")]
    memory: Option<Usage>,
    #[serde(skip_serializing_if = "Option::is_none")]
    swap: Option<Usage>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rootfs: Option<Usage>,
    #[serde(skip_serializing_if = "Map::is_empty")]
    boot: Map<String, Value>,
}

#[derive(Serialize, JsonSchema)]
struct Cpu {
    #[serde(skip_serializing_if = "Option::is_none")]
    model: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sockets: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cores: Option<u32>,
    /// Threads.
    #[serde(skip_serializing_if = "Option::is_none")]
    cpus: Option<u32>,
}

#[derive(Serialize, JsonSchema)]
struct Usage {
    used_gib: f64,
    total_gib: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    avail_gib: Option<f64>,
}

impl From<Space> for Usage {
    fn from(space: Space) -> Self {
        Self {
            used_gib: gib(space.used),
            total_gib: gib(space.total),
            avail_gib: space.available.or(space.avail).map(gib),
        }
    }
}

impl Query for NodeStatus {
    type Output = NodeReport;
    async fn query(&self, pve: &Reader<'_>) -> Result<NodeReport> {
        let node = pve.node(self.node.as_deref()).await?;
        let s: Status = pve.get(format!("/nodes/{}/status", crate::pve::encode(&node))).await?;
        Ok(NodeReport {
            node,
            pve_version: s.pveversion,
            kernel: s.kernel.and_then(|k| k.release).or(s.kversion),
            uptime_s: s.uptime,
            cpu_percent: s.cpu.map(percent),
            io_wait_percent: s.wait.map(percent),
            loadavg: s.loadavg.into_iter().map(round).collect(),
            cpu: s.cpuinfo.map(|c| Cpu { model: c.model, sockets: c.sockets, cores: c.cores, cpus: c.cpus }),
            memory: s.memory.map(Usage::from),
            swap: s.swap.map(Usage::from),
            rootfs: s.rootfs.map(Usage::from),
            boot: s.boot,
        })
    }
}
