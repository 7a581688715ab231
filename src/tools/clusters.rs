//! All configured clusters at once.

use super::{
    guests::{Filter, ListVms, Vms},
    list::Page,
    nodes::{ListNodes, Nodes},
};
use crate::{error::Kind, pve::GuestKind, tool::*};

pub const TOOLS: &[Entry] = &[
    Entry::everywhere::<ListClusters>(),
    Entry::everywhere::<AllNodes>(),
    Entry::everywhere::<AllVms>(),
    Entry::everywhere::<AllStatus>(),
];

/// List the configured clusters: addresses, whether they answer, version, counts.
#[derive(Deserialize, JsonSchema)]
struct ListClusters {}

impl Tool for ListClusters {
    const NAME: &str = "proxmox-list-all-clusters";
    const TITLE: &str = "List clusters";
    const API: &[&str] = &["GET /version", "GET /nodes", "GET /cluster/resources"];
    const EXAMPLE: (&str, &str) = ("Which clusters can you reach?", "{}");
}

#[derive(Deserialize)]
struct Version {
    version: String,
}

#[derive(Serialize, JsonSchema)]
struct Clusters {
    total: usize,
    reachable: usize,
    /// The first is the default.
    clusters: Vec<ClusterRow>,
}

#[derive(Serialize, JsonSchema)]
struct ClusterRow {
    reachable: bool,
    /// Its members, in the order in which they are asked.
    endpoints: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    nodes: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    nodes_online: Option<usize>,
    /// Templates included.
    #[serde(skip_serializing_if = "Option::is_none")]
    vms: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    containers: Option<usize>,
    /// Why it does not answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

impl Query for ListClusters {
    type Output = Clusters;
    async fn query(&self, pve: &Reader<'_>) -> Result<Clusters> {
        let endpoints = pve.endpoints().iter().map(ToString::to_string).collect();
        let nodes = ListNodes {};
        let answers = tokio::try_join!(pve.get::<Version>("/version"), nodes.query(pve), pve.resources());
        let mut row = ClusterRow {
            reachable: true,
            endpoints,
            version: None,
            nodes: None,
            nodes_online: None,
            vms: None,
            containers: None,
            error: None,
        };
        match answers {
            Ok((version, nodes, guests)) => {
                let count = |kind| Some(guests.iter().filter(|guest| guest.kind == kind).count());
                row.version = Some(version.version);
                row.nodes = Some(nodes.total);
                row.nodes_online = Some(nodes.online);
                row.vms = count(GuestKind::Qemu);
                row.containers = count(GuestKind::Lxc);
            }
            Err(error) if error.kind() == Kind::Cancelled => return Err(error),
            Err(error) => {
                row.reachable = !matches!(error.kind(), Kind::Unavailable | Kind::Timeout | Kind::Certificate);
                row.error = Some(error.to_string());
            }
        }
        Ok(Clusters { total: 1, reachable: usize::from(row.reachable), clusters: vec![row] })
    }
}

/// List the nodes of all configured clusters, with state, load and memory.
#[derive(Deserialize, JsonSchema)]
struct AllNodes {}

impl Tool for AllNodes {
    const NAME: &str = "proxmox-list-all-nodes-from-all-clusters";
    const TITLE: &str = "List nodes of all clusters";
    const API: &[&str] = ListNodes::API;
    const EXAMPLE: (&str, &str) = ("Which nodes are there in all our clusters?", "{}");
}

impl Query for AllNodes {
    type Output = Nodes;
    async fn query(&self, pve: &Reader<'_>) -> Result<Nodes> {
        ListNodes {}.query(pve).await
    }
}

/// List the VMs of all configured clusters. To filter, use proxmox-list-vms with cluster all.
#[derive(Deserialize, JsonSchema)]
struct AllVms {
    #[serde(flatten)]
    page: Page,
}

impl Tool for AllVms {
    const NAME: &str = "proxmox-list-all-vms-from-all-clusters";
    const TITLE: &str = "List VMs of all clusters";
    const API: &[&str] = ListVms::API;
    const EXAMPLE: (&str, &str) = ("Which VMs do we have anywhere?", "{}");
}

impl Query for AllVms {
    type Output = Vms;
    async fn query(&self, pve: &Reader<'_>) -> Result<Vms> {
        ListVms { filter: Filter::default(), page: self.page.clone() }.query(pve).await
    }
}

/// Show the health of all configured clusters: quorum, nodes that are offline, guests by state.
#[derive(Deserialize, JsonSchema)]
struct AllStatus {}

impl Tool for AllStatus {
    const NAME: &str = "proxmox-get-all-cluster-status";
    const TITLE: &str = "Status of all clusters";
    const API: &[&str] = &["GET /cluster/status", "GET /cluster/resources"];
    const EXAMPLE: (&str, &str) = ("Are all our clusters healthy?", "{}");
}

/// A row of `GET /cluster/status`: the cluster itself (not on a server that is in none), or a node.
#[derive(Deserialize)]
struct StatusRow {
    r#type: String,
    name: String,
    #[serde(default)]
    quorate: Option<bool>,
    #[serde(default)]
    online: bool,
}

#[derive(Serialize, JsonSchema)]
struct Statuses {
    total: usize,
    /// Clusters with quorum and all nodes online.
    healthy: usize,
    clusters: Vec<Status>,
}

#[derive(Serialize, JsonSchema)]
struct Status {
    /// Its own name; absent for a server that is in no cluster.
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    quorate: Option<bool>,
    nodes: usize,
    nodes_online: usize,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    offline: Vec<String>,
    guests: usize,
    guests_running: usize,
}

impl Query for AllStatus {
    type Output = Statuses;
    async fn query(&self, pve: &Reader<'_>) -> Result<Statuses> {
        let (rows, guests) = tokio::try_join!(pve.get::<Vec<StatusRow>>("/cluster/status"), pve.resources())?;
        let (nodes, cluster): (Vec<StatusRow>, Vec<StatusRow>) = rows.into_iter().partition(|row| row.r#type == "node");
        let offline: Vec<String> = nodes.iter().filter(|node| !node.online).map(|node| node.name.clone()).collect();
        let quorate = cluster.first().and_then(|row| row.quorate);
        let status = Status {
            name: cluster.into_iter().next().map(|row| row.name),
            quorate,
            nodes: nodes.len(),
            nodes_online: nodes.len() - offline.len(),
            guests: guests.iter().count(),
            guests_running: guests.iter().filter(|guest| &*guest.status == "running").count(),
            offline,
        };
        let healthy = quorate != Some(false) && status.offline.is_empty();
        Ok(Statuses { total: 1, healthy: usize::from(healthy), clusters: vec![status] })
    }
}
