//! Networks of the nodes.

use crate::tool::*;

pub const TOOLS: &[Entry] = &[Entry::query::<ListBridges>()];

/// List a node's bridges (Linux and Open vSwitch) with addresses, ports and VLAN awareness: what a NIC can be put on.
#[derive(Deserialize, JsonSchema)]
struct ListBridges {
    /// Default: PROXMOX_DEFAULT_NODE, or the only node.
    node: Option<String>,
}

impl Tool for ListBridges {
    const NAME: &str = "proxmox-list-bridges";
    const TITLE: &str = "List bridges";
    const API: &[&str] = &["GET /nodes", "GET /nodes/{node}/network"];
    const EXAMPLE: (&str, &str) = ("Which bridges can a NIC be put on?", r#"{"node": "pve1"}"#);
}

/// A row of `GET /nodes/{node}/network`.
#[derive(Deserialize)]
struct Interface {
    iface: String,
    r#type: Option<String>,
    #[serde(default)]
    active: bool,
    cidr: Option<String>,
    cidr6: Option<String>,
    gateway: Option<String>,
    bridge_ports: Option<String>,
    ovs_ports: Option<String>,
    bridge_vlan_aware: Option<bool>,
    comments: Option<String>,
}

#[derive(Serialize, JsonSchema)]
struct Bridges {
    node: String,
    total: usize,
    bridges: Vec<Bridge>,
}

#[derive(Serialize, JsonSchema)]
struct Bridge {
    bridge: String,
    active: bool,
    /// bridge, OVSBridge or vnet (SDN).
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    kind: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cidr: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cidr6: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    gateway: Option<String>,
    /// Physical ports.
    #[serde(skip_serializing_if = "Option::is_none")]
    ports: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    vlan_aware: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    comments: Option<String>,
}

impl Query for ListBridges {
    type Output = Bridges;
    async fn query(&self, pve: &Reader<'_>) -> Result<Bridges> {
        let node = pve.node(self.node.as_deref()).await?;
        let path = format!("/nodes/{}/network", crate::pve::encode(&node));
        let mut found: Vec<Interface> = pve.request(&Request::get(path).param("type", "any_bridge")).await?;
        found.sort_by(|a, b| a.iface.cmp(&b.iface));
        let bridges: Vec<Bridge> = found
            .into_iter()
            .map(|i| Bridge {
                bridge: i.iface,
                active: i.active,
                kind: i.r#type,
                cidr: i.cidr,
                cidr6: i.cidr6,
                gateway: i.gateway,
                ports: i.bridge_ports.or(i.ovs_ports).filter(|p| !p.is_empty()),
                vlan_aware: i.bridge_vlan_aware,
                comments: i.comments.map(|c| c.trim_end().to_owned()),
            })
            .collect();
        Ok(Bridges { node, total: bridges.len(), bridges })
    }
}
