//! Storages and what they hold.

use std::collections::BTreeMap;

use futures::future::join_all;

use super::{
    list::{Page, gib},
    storage_status::StorageStatus,
    volumes::DeleteVolume,
};
use crate::{pve::encode, tool::*};

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
    content: Option<String>,
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

/// List the volumes of a storage: disks, ISO images, container templates, backups, snippets.
#[derive(Deserialize, JsonSchema)]
struct StorageContent {
    node: Option<String>,
    /// `*`: all.
    storage: Option<String>,
    content: Option<Content>,
    /// Only volumes of this guest.
    #[schemars(range(min = 100, max = 999_999_999))]
    vmid: Option<u32>,
    #[serde(flatten)]
    page: Page,
}

#[derive(Deserialize, Serialize, JsonSchema, Clone, Copy)]
#[serde(rename_all = "lowercase")]
enum Content {
    Images,
    Rootdir,
    Iso,
    Vztmpl,
    Backup,
    Snippets,
    Import,
}

impl Tool for StorageContent {
    const NAME: &str = "proxmox-storage-content";
    const TITLE: &str = "List a storage's content";
    const API: &[&str] = &["GET /cluster/resources", "GET /nodes/{node}/storage/{storage}/content"];
    const EXAMPLE: (&str, &str) = ("Which backups are on the NAS?", r#"{"storage": "nas", "content": "backup"}"#);
}

/// A row of `GET /nodes/{node}/storage/{storage}/content`.
#[derive(Deserialize)]
pub(super) struct Found {
    pub volid: String,
    pub content: Option<String>,
    format: Option<String>,
    pub size: Option<u64>,
    used: Option<u64>,
    pub vmid: Option<u32>,
    ctime: Option<u64>,
    notes: Option<String>,
    pub parent: Option<String>,
    #[serde(default)]
    pub protected: bool,
}

#[derive(Serialize, JsonSchema)]
struct Volumes {
    node: String,
    storage: String,
    total: usize,
    counts: BTreeMap<String, usize>,
    volumes: Vec<Volume>,
    /// Storages that could not be read, and why.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    unreadable: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_cursor: Option<String>,
}

#[derive(Serialize, JsonSchema)]
struct Volume {
    volid: String,
    /// Where a local storage is, of all storages.
    #[serde(skip_serializing_if = "Option::is_none")]
    node: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    content: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    format: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    size_gib: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    used_gib: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    vmid: Option<u32>,
    /// Seconds since 1970.
    #[serde(skip_serializing_if = "Option::is_none")]
    ctime: Option<u64>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    protected: bool,
    /// Base volume of a linked clone.
    #[serde(skip_serializing_if = "Option::is_none")]
    parent: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    notes: Option<String>,
}

/// Every storage.
const ALL: &str = "*";

impl Query for StorageContent {
    type Output = Volumes;
    async fn query(&self, pve: &Reader<'_>) -> Result<Volumes> {
        let content = self.content.and_then(|c| serde_json::to_value(c).ok());
        let content = content.as_ref().and_then(|c| c.as_str());
        let (node, storage, found, unreadable) = if self.storage.as_deref() == Some(ALL) {
            let (found, unreadable) = everywhere(pve, self.node.as_deref(), content, self.vmid).await?;
            (self.node.clone().unwrap_or_else(|| ALL.to_owned()), ALL.to_owned(), found, unreadable)
        } else {
            let (node, storage) = place(pve, self.node.as_deref(), self.storage.as_deref()).await?;
            let found = contents(pve, (&node, &storage), content, self.vmid).await?;
            (node, storage, found.into_iter().map(|volume| (None, volume)).collect(), Vec::new())
        };
        let mut counts = BTreeMap::new();
        for (_, volume) in &found {
            *counts.entry(volume.content.clone().unwrap_or_else(|| "other".to_owned())).or_default() += 1;
        }
        let total = found.len();
        let key = |(node, v): &(Option<String>, Found)| match node {
            Some(node) => format!("{} {node}", v.volid),
            None => v.volid.clone(),
        };
        let (found, next_cursor) = self.page.of(found, key)?;
        let volumes = found
            .into_iter()
            .map(|(node, v)| Volume {
                volid: v.volid,
                node,
                content: v.content,
                format: v.format,
                size_gib: v.size.map(gib),
                used_gib: v.used.map(gib),
                vmid: v.vmid,
                ctime: v.ctime,
                protected: v.protected,
                parent: v.parent,
                notes: v.notes.filter(|n| !n.is_empty()),
            })
            .collect();
        Ok(Volumes { node, storage, total, counts, volumes, unreadable, next_cursor })
    }
}

async fn contents(
    pve: &Reader<'_>,
    (node, storage): (&str, &str),
    content: Option<&str>,
    vmid: Option<u32>,
) -> Result<Vec<Found>> {
    let path = format!("/nodes/{}/storage/{}/content", encode(node), encode(storage));
    pve.request(&Request::get(path).maybe("content", content).maybe("vmid", vmid)).await
}

/// A volume, and its node where its storage is local.
type Placed = (Option<String>, Found);

/// What is on all storages, or on those that a node can reach; a storage that cannot be read fails nothing.
async fn everywhere(
    pve: &Reader<'_>,
    node: Option<&str>,
    content: Option<&str>,
    vmid: Option<u32>,
) -> Result<(Vec<Placed>, Vec<String>)> {
    let holds =
        |row: &Row| content.is_none_or(|wanted| kinds(row.content.as_deref()).iter().any(|kind| kind == wanted));
    let mut places: BTreeMap<(String, Option<String>), Row> = BTreeMap::new();
    for row in rows(pve).await?.into_iter().filter(|row| node.is_none_or(|node| row.node == node) && holds(row)) {
        let place = (row.storage.clone(), (!row.shared).then(|| row.node.clone()));
        // One that can be reached goes before one that cannot.
        let old = places.get(&place).and_then(|old| old.status.as_deref());
        if old != Some("available") {
            places.insert(place, row);
        }
    }
    let listings = places.iter().map(|((storage, _), row)| contents(pve, (&row.node, storage), content, vmid));
    let listings = join_all(listings).await;
    let (mut found, mut unreadable) = (Vec::new(), Vec::new());
    for (((storage, place), row), listing) in places.iter().zip(listings) {
        match listing {
            Ok(volumes) => found.extend(volumes.into_iter().map(|volume| (place.clone(), volume))),
            Err(e) => unreadable.push(format!("{storage} on {}: {e}", row.node)),
        }
    }
    Ok((found, unreadable))
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
