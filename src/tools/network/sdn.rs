//! The software-defined network.

use futures::future::try_join_all;
use serde_json::{Map, Value};

use crate::{pve::encode, tool::*};

/// List the software-defined network: zones, VNets and subnets, with what is not applied yet.
#[derive(Deserialize, JsonSchema)]
pub struct ListSdn {
    kind: Option<SdnKind>,
}

#[derive(Deserialize, JsonSchema, Clone, Copy, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
enum SdnKind {
    Zones,
    Vnets,
    Subnets,
}

impl Tool for ListSdn {
    const NAME: &str = "proxmox-list-sdn";
    const TITLE: &str = "List SDN";
    const API: &[&str] = &["GET /cluster/sdn/zones", "GET /cluster/sdn/vnets", "GET /cluster/sdn/vnets/{vnet}/subnets"];
    const EXAMPLE: (&str, &str) = ("Which VNets can guests use?", r#"{"kind": "vnets"}"#);
}

#[derive(Serialize, JsonSchema)]
pub struct Sdn {
    total: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    zones: Option<Vec<Zone>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    vnets: Option<Vec<Vnet>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    subnets: Option<Vec<Subnet>>,
}

#[derive(Deserialize, Serialize, JsonSchema)]
struct Zone {
    zone: String,
    /// simple, vlan, qinq, vxlan, evpn.
    #[serde(rename = "type")]
    kind: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    nodes: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    bridge: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tag: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    peers: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    controller: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mtu: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    dhcp: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ipam: Option<String>,
    /// Not applied yet: new, changed or deleted.
    #[serde(skip_serializing_if = "Option::is_none")]
    state: Option<String>,
}

#[derive(Deserialize, Serialize, JsonSchema)]
struct Vnet {
    vnet: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    zone: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tag: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    alias: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    vlanaware: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    state: Option<String>,
}

#[derive(Deserialize, Serialize, JsonSchema)]
struct Subnet {
    subnet: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    cidr: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    vnet: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    zone: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    gateway: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    snat: Option<bool>,
    #[serde(rename = "dhcp-range", skip_serializing_if = "Option::is_none")]
    dhcp_range: Option<Vec<Value>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    state: Option<String>,
}

/// The rows of an SDN list as they will be: what waits for being applied stands apart in Proxmox's answer.
async fn sdn<T: serde::de::DeserializeOwned>(pve: &Reader<'_>, path: String) -> Result<Vec<T>> {
    let rows: Vec<Map<String, Value>> = pve.request(&Request::get(path.as_str()).param("pending", 1)).await?;
    let merged = rows.into_iter().map(|mut row| {
        if let Some(Value::Object(pending)) = row.shift_remove("pending") {
            row.extend(pending);
        }
        let row = Value::Object(row).to_string();
        crate::pve::from_slice(row.as_bytes()).map_err(|e| Error::internal(format!("GET {path}: {e}")))
    });
    merged.collect()
}

impl Query for ListSdn {
    type Output = Sdn;
    async fn query(&self, pve: &Reader<'_>) -> Result<Sdn> {
        let wants = |kind| self.kind.is_none_or(|wanted| wanted == kind);
        let zones = async {
            match wants(SdnKind::Zones) {
                true => sdn::<Zone>(pve, "/cluster/sdn/zones".to_owned()).await.map(Some),
                false => Ok(None),
            }
        };
        let vnets = async {
            match wants(SdnKind::Vnets) || wants(SdnKind::Subnets) {
                true => sdn::<Vnet>(pve, "/cluster/sdn/vnets".to_owned()).await,
                false => Ok(Vec::new()),
            }
        };
        let (mut zones, mut vnets) = tokio::try_join!(zones, vnets)?;
        let subnets = match wants(SdnKind::Subnets) {
            true => {
                let of = |vnet: &Vnet| sdn::<Subnet>(pve, format!("/cluster/sdn/vnets/{}/subnets", encode(&vnet.vnet)));
                let mut all: Vec<Subnet> = try_join_all(vnets.iter().map(of)).await?.into_iter().flatten().collect();
                all.sort_by(|a, b| a.subnet.cmp(&b.subnet));
                Some(all)
            }
            false => None,
        };
        zones.iter_mut().for_each(|zones| zones.sort_by(|a, b| a.zone.cmp(&b.zone)));
        vnets.sort_by(|a, b| a.vnet.cmp(&b.vnet));
        let vnets = wants(SdnKind::Vnets).then_some(vnets);
        let count = |n: Option<usize>| n.unwrap_or(0);
        Ok(Sdn {
            total: count(zones.as_ref().map(Vec::len))
                + count(vnets.as_ref().map(Vec::len))
                + count(subnets.as_ref().map(Vec::len)),
            zones,
            vnets,
            subnets,
        })
    }
}
