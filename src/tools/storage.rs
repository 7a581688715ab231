//! Storages and what they hold.

use std::collections::BTreeMap;

use super::{list::gib, storage_content::StorageContent, storage_status::StorageStatus, volumes::DeleteVolume};
use crate::tool::*;

pub const TOOLS: &[Entry] = &[
    Entry::list::<ListStorage>(),
    Entry::query::<StorageStatus>(),
    Entry::query::<StorageContent>(),
    Entry::action::<DeleteVolume>(),
];

/// List the cluster's storages with content kinds, nodes and room.
#[derive(Deserialize, JsonSchema)]
struct ListStorage {}

impl Tool for ListStorage {
    const NAME: &str = "proxmox-list-storage";
    const TITLE: &str = "List storages";
    const API: &[&str] = &["GET /cluster/resources"];
    const EXAMPLE: (&str, &str) = ("How full are our storages?", r#"{}"#);
}

/// A row of `GET /cluster/resources?type=storage`: one for each storage on each node.
#[derive(Deserialize)]
pub(super) struct Row {
    pub storage: String,
    pub node: String,
    pub status: Option<String>,
    plugintype: Option<String>,
    pub content: Option<String>,
    #[serde(default)]
    pub shared: bool,
    disk: Option<u64>,
    maxdisk: Option<u64>,
}

#[derive(Serialize, JsonSchema)]
struct Storages {
    total: usize,
    storages: Vec<Storage>,
    #[serde(skip_serializing_if = "Option::is_none")]
    note: Option<&'static str>,
}

#[derive(Serialize, JsonSchema)]
struct Storage {
    storage: String,
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    kind: Option<String>,
    shared: bool,
    nodes: Vec<String>,
    /// available, or what is wrong.
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<String>,
    content: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    used_gib: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    total_gib: Option<f64>,
}

pub(super) async fn rows(pve: &Reader<'_>) -> Result<Vec<Row>> {
    pve.request(&Request::get("/cluster/resources").param("type", "storage")).await
}

impl Query for ListStorage {
    type Output = Storages;
    async fn query(&self, pve: &Reader<'_>) -> Result<Storages> {
        let mut seen: BTreeMap<(String, String), Storage> = BTreeMap::new();
        for row in rows(pve).await? {
            // A local storage is another one on each node; a shared one is the same everywhere.
            let place = if row.shared { String::new() } else { row.node.clone() };
            let entry = seen.entry((row.storage.clone(), place)).or_insert_with(|| Storage {
                storage: row.storage,
                kind: row.plugintype,
                shared: row.shared,
                nodes: Vec::new(),
                status: row.status.clone(),
                content: kinds(row.content.as_deref()),
                used_gib: None,
                total_gib: None,
            });
            entry.nodes.push(row.node);
            entry.nodes.sort();
            if row.maxdisk.is_some_and(|size| size > 0) {
                entry.used_gib = row.disk.map(gib);
                entry.total_gib = row.maxdisk.map(gib);
            }
            if row.status.as_deref() == Some("available") {
                entry.status = row.status;
            }
        }
        let storages: Vec<Storage> = seen.into_values().collect();
        let note = storages
            .is_empty()
            .then_some("no storage is visible: lists show only what the token has Datastore.Audit on");
        Ok(Storages { total: storages.len(), storages, note })
    }
}

pub(super) fn kinds(content: Option<&str>) -> Vec<String> {
    let mut kinds: Vec<String> =
        content.unwrap_or_default().split(',').filter(|c| !c.is_empty()).map(str::to_owned).collect();
    kinds.sort();
    kinds
}

/// The node and the storage to ask: as given, as configured, or found.
pub(super) async fn place(pve: &Reader<'_>, node: Option<&str>, storage: Option<&str>) -> Result<(String, String)> {
    let storage = storage.or(pve.default_storage());
    let node = node.or(pve.default_node());
    if let (Some(storage), Some(node)) = (storage, node) {
        return Ok((node.to_owned(), storage.to_owned()));
    }
    let rows = rows(pve).await?;
    let mut names: Vec<&str> = rows.iter().map(|r| r.storage.as_str()).collect();
    names.sort_unstable();
    names.dedup();
    let Some(storage) = storage else {
        return Err(Error::bad_argument("storage: missing; expected the name of a storage")
            .hint(format!("one of {}; or set PROXMOX_DEFAULT_STORAGE", names.join(", "))));
    };
    let here: Vec<&Row> = rows.iter().filter(|r| r.storage == storage && node.is_none_or(|n| r.node == n)).collect();
    let row = here.iter().find(|r| r.status.as_deref() == Some("available")).or(here.first()).ok_or_else(|| {
        Error::not_found(format!("storage: no storage '{storage}' is visible")).hint(match names.as_slice() {
            [] => "lists show only what the token has Datastore.Audit on".to_owned(),
            names => format!("known: {}", names.join(", ")),
        })
    })?;
    Ok((row.node.clone(), storage.to_owned()))
}
