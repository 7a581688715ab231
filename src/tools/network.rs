//! Networks of the nodes; the software-defined one of the cluster is in its own file.

mod sdn;

use crate::{pve::encode, tool::*};

pub const TOOLS: &[Entry] =
    &[Entry::query::<ListBridges>(), Entry::query::<ListNetworks>(), Entry::list::<sdn::ListSdn>()];

/// List a node's bridges: what a NIC can be put on.
#[derive(Deserialize, JsonSchema)]
struct ListBridges {
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
    slaves: Option<String>,
    bond_mode: Option<String>,
    #[serde(rename = "vlan-id")]
    vlan: Option<u32>,
    #[serde(rename = "vlan-raw-device")]
    vlan_device: Option<String>,
    mtu: Option<u32>,
    method: Option<String>,
}

impl Interface {
    /// What it is made of: ports of a bridge, slaves of a bond, the device of a VLAN.
    fn ports(&self) -> Option<String> {
        let ports = [&self.bridge_ports, &self.ovs_ports, &self.slaves, &self.vlan_device];
        ports.into_iter().flatten().find(|ports| !ports.is_empty()).cloned()
    }
    fn comments(&self) -> Option<String> {
        self.comments.as_deref().map(|c| c.trim_end().to_owned()).filter(|c| !c.is_empty())
    }
}

async fn interfaces(pve: &Reader<'_>, node: &str, kind: Option<&str>) -> Result<(Vec<Interface>, Option<String>)> {
    let request = Request::get(format!("/nodes/{}/network", encode(node))).maybe("type", kind);
    let found: crate::pve::Listing<Vec<Interface>> = pve.list(&request).await?;
    let mut interfaces = found.data;
    interfaces.sort_by(|a, b| a.iface.cmp(&b.iface));
    Ok((interfaces, found.changes.filter(|changes| !changes.is_empty())))
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
        let (found, _) = interfaces(pve, &node, Some("any_bridge")).await?;
        let bridges: Vec<Bridge> = found
            .into_iter()
            .map(|i| Bridge {
                active: i.active,
                ports: i.ports(),
                comments: i.comments(),
                bridge: i.iface,
                kind: i.r#type,
                cidr: i.cidr,
                cidr6: i.cidr6,
                gateway: i.gateway,
                vlan_aware: i.bridge_vlan_aware,
            })
            .collect();
        Ok(Bridges { node, total: bridges.len(), bridges })
    }
}

/// List a node's network interfaces, and changes that wait to be applied.
#[derive(Deserialize, JsonSchema)]
struct ListNetworks {
    node: Option<String>,
}

impl Tool for ListNetworks {
    const NAME: &str = "proxmox-list-networks";
    const TITLE: &str = "List network interfaces";
    const API: &[&str] = &["GET /nodes", "GET /nodes/{node}/network"];
    const EXAMPLE: (&str, &str) = ("How is the network of pve1 set up?", r#"{"node": "pve1"}"#);
}

#[derive(Serialize, JsonSchema)]
struct Networks {
    node: String,
    total: usize,
    interfaces: Vec<Row>,
    /// As a diff; Proxmox applies them on request.
    #[serde(skip_serializing_if = "Option::is_none")]
    pending_changes: Option<String>,
}

#[derive(Serialize, JsonSchema)]
struct Row {
    iface: String,
    /// eth, bridge, bond, vlan, OVSBridge …
    #[serde(rename = "type")]
    kind: String,
    active: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    method: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cidr: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cidr6: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    gateway: Option<String>,
    /// Of a bridge or bond, or the device below a VLAN.
    #[serde(skip_serializing_if = "Option::is_none")]
    ports: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    bond_mode: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    vlan: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    vlan_aware: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mtu: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    comments: Option<String>,
}

impl Query for ListNetworks {
    type Output = Networks;
    async fn query(&self, pve: &Reader<'_>) -> Result<Networks> {
        let node = pve.node(self.node.as_deref()).await?;
        let (found, pending_changes) = interfaces(pve, &node, None).await?;
        let rows = found.into_iter().map(|i| Row {
            active: i.active,
            ports: i.ports(),
            comments: i.comments(),
            iface: i.iface,
            kind: i.r#type.unwrap_or_else(|| "unknown".to_owned()),
            method: i.method.filter(|method| method != "manual"),
            cidr: i.cidr,
            cidr6: i.cidr6,
            gateway: i.gateway,
            bond_mode: i.bond_mode,
            vlan: i.vlan,
            vlan_aware: i.bridge_vlan_aware,
            mtu: i.mtu,
        });
        let interfaces: Vec<Row> = rows.collect();
        Ok(Networks { node, total: interfaces.len(), interfaces, pending_changes })
    }
}
