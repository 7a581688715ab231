//! One storage on one node: how full it is, and how it is configured.

use serde_json::{Map, Value};

use super::{
    list::{gib, percent},
    storage::{kinds, place},
};
use crate::{error::Kind, pve::encode, tool::*};

/// Show one storage: state, room, content kinds, configuration.
#[derive(Deserialize, JsonSchema)]
pub struct StorageStatus {
    storage: Option<String>,
    node: Option<String>,
}

impl Tool for StorageStatus {
    const NAME: &str = "proxmox-storage-status";
    const TITLE: &str = "Show a storage";
    const API: &[&str] = &["GET /nodes/{node}/storage/{storage}/status", "GET /storage/{storage}"];
    const EXAMPLE: (&str, &str) = ("How much room is left on the NAS?", r#"{"storage": "nas"}"#);
}

/// `GET …/status`; bytes.
#[derive(Deserialize)]
struct Status {
    #[serde(rename = "type")]
    kind: Option<String>,
    content: Option<String>,
    #[serde(default)]
    shared: bool,
    #[serde(default)]
    enabled: bool,
    #[serde(default)]
    active: bool,
    total: Option<u64>,
    used: Option<u64>,
    avail: Option<u64>,
}

#[derive(Serialize, JsonSchema)]
pub struct Shown {
    storage: String,
    node: String,
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    kind: Option<String>,
    enabled: bool,
    /// It can be used now.
    active: bool,
    shared: bool,
    content: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    total_gib: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    used_gib: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    available_gib: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    used_percent: Option<f64>,
    /// Other settings: path, server, nodes …
    #[serde(skip_serializing_if = "Map::is_empty")]
    config: Map<String, Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    note: Option<String>,
}

impl Query for StorageStatus {
    type Output = Shown;
    async fn query(&self, pve: &Reader<'_>) -> Result<Shown> {
        let (node, storage) = place(pve, self.node.as_deref(), self.storage.as_deref()).await?;
        let path = format!("/nodes/{}/storage/{}/status", encode(&node), encode(&storage));
        let status: Status = pve.get(path).await?;
        let (config, note) = match pve.get::<Map<String, Value>>(format!("/storage/{}", encode(&storage))).await {
            Ok(config) => (others(config), None),
            Err(e) if e.kind() == Kind::Permission => {
                (Map::new(), Some("its configuration may not be seen: that takes Datastore.Allocate".to_owned()))
            }
            Err(e) => return Err(e),
        };
        // An inactive storage is said to have no size at all.
        let size = |bytes: Option<u64>| bytes.filter(|_| status.active).map(gib);
        let share = match (status.used, status.total) {
            (Some(used), Some(total)) if status.active && total > 0 => Some(percent(used as f64 / total as f64)),
            _ => None,
        };
        Ok(Shown {
            total_gib: size(status.total),
            used_gib: size(status.used),
            available_gib: size(status.avail),
            used_percent: share,
            storage,
            node,
            kind: status.kind,
            enabled: status.enabled,
            active: status.active,
            shared: status.shared,
            content: kinds(status.content.as_deref()),
            config,
            note,
        })
    }
}

/// What the status does not say, and nothing that is secret.
fn others(mut config: Map<String, Value>) -> Map<String, Value> {
    const SAID: [&str; 6] = ["storage", "type", "content", "shared", "disable", "digest"];
    const SECRET: [&str; 4] = ["password", "keyring", "encryption-key", "master-pubkey"];
    config.retain(|key, value| !SAID.contains(&key.as_str()) && !SECRET.contains(&key.as_str()) && !value.is_null());
    config
}
