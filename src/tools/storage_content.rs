//! The volumes of a storage, or of all of them.

use std::collections::BTreeMap;

use futures::future::join_all;

use super::{
    list::{Page, gib},
    storage::{Row, kinds, place, rows},
};
use crate::{pve::encode, tool::*};

/// List a storage's volumes: disks, ISO images, container templates, backups, snippets.
#[derive(Deserialize, JsonSchema)]
pub(super) struct StorageContent {
    node: Option<String>,
    /// *: all
    storage: Option<String>,
    content: Option<Content>,
    /// Of this guest.
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
pub(super) struct Volumes {
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
pub(super) struct Volume {
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
