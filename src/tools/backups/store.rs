//! Where backups are: on storages of every node, local and shared ones.

use std::collections::BTreeMap;

use futures::future::join_all;

use crate::{
    pve::{GuestKind, encode},
    tool::*,
};

/// A backup as its storage lists it.
#[derive(Debug, Deserialize)]
pub struct Row {
    pub volid: String,
    pub vmid: Option<u32>,
    pub ctime: Option<u64>,
    pub size: Option<u64>,
    pub notes: Option<String>,
    /// `qemu` or `lxc`.
    subtype: Option<String>,
    /// A key's fingerprint, or `1`.
    pub encrypted: Option<String>,
    pub verification: Option<Verification>,
    #[serde(default)]
    pub protected: bool,
}

#[derive(Debug, Deserialize)]
pub struct Verification {
    pub state: String,
}

#[derive(Debug)]
pub struct Backup {
    pub row: Row,
    pub storage: String,
    pub shared: bool,
    /// The nodes that can read it.
    pub nodes: Vec<String>,
}

impl Backup {
    /// Of a VM or of a container; nothing where its storage does not tell and its name follows no rule.
    pub fn kind(&self) -> Option<GuestKind> {
        let is = |kind: &str, marks: [&str; 3]| {
            self.row.subtype.as_deref() == Some(kind) || marks.iter().any(|mark| self.row.volid.contains(mark))
        };
        if is("lxc", ["vzdump-lxc-", ":backup/ct/", "vzdump-openvz-"]) {
            return Some(GuestKind::Lxc);
        }
        is("qemu", ["vzdump-qemu-", ":backup/vm/", ".vma"]).then_some(GuestKind::Qemu)
    }

    /// A key by which the newest comes first.
    pub fn newest_first(&self) -> String {
        /// A time that no backup is of: in the year 5138.
        const LATEST: u64 = 99_999_999_999;
        let node = self.nodes.first().map(String::as_str).unwrap_or_default();
        format!("{:011} {} {node}", LATEST.saturating_sub(self.row.ctime.unwrap_or_default()), self.row.volid)
    }
}

/// Whose backups are looked for.
#[derive(Debug, Default)]
pub struct Of {
    pub vmid: Option<u32>,
    /// Of a guest that is there no more: by the notes, which are its name where nothing else was asked for.
    name: Option<String>,
}

impl Of {
    /// # Errors
    /// A name that several guests carry; as [`Reader::get`].
    pub async fn new(pve: &Reader<'_>, vmid: Option<u32>, name: Option<&str>) -> Result<Self> {
        let Some(name) = name.filter(|_| vmid.is_none()) else { return Ok(Self { vmid, name: None }) };
        match pve.guest(&GuestRef::name(name), Want::Any).await {
            Ok(guest) => Ok(Self { vmid: Some(guest.vmid), name: None }),
            Err(e) if e.is_not_found() => Ok(Self { vmid: None, name: Some(name.to_owned()) }),
            Err(e) => Err(e),
        }
    }

    fn fits(&self, row: &Row) -> bool {
        let noted = |name: &String| {
            row.notes
                .as_deref()
                .is_some_and(|notes| notes.split(|c: char| c == ',' || c.is_whitespace()).any(|w| w == name))
        };
        self.vmid.is_none_or(|vmid| row.vmid == Some(vmid)) && self.name.as_ref().is_none_or(noted)
    }
}

/// A storage that takes backups: a row of `GET /cluster/resources?type=storage`.
#[derive(Deserialize)]
struct Place {
    storage: String,
    node: String,
    status: Option<String>,
    content: Option<String>,
    #[serde(default)]
    shared: bool,
}

/// A storage and the nodes that have it: all of them where it is shared, else one.
#[derive(Debug)]
pub struct Store {
    pub storage: String,
    pub shared: bool,
    pub nodes: Vec<String>,
}

/// The storages that take backups, and those of them that cannot be reached.
///
/// # Errors
/// As [`Reader::get`]; `NotFound` where `only` is none of them.
pub async fn stores(pve: &Reader<'_>, only: Option<&str>) -> Result<(Vec<Store>, Vec<String>)> {
    let rows: Vec<Place> = pve.request(&Request::get("/cluster/resources").param("type", "storage")).await?;
    let takes = |row: &Place| row.content.as_deref().is_some_and(|c| c.split(',').any(|kind| kind == "backup"));
    let rows: Vec<Place> = rows.into_iter().filter(takes).collect();
    let mut names: Vec<&str> = rows.iter().map(|row| row.storage.as_str()).collect();
    names.sort_unstable();
    names.dedup();
    if let Some(only) = only.filter(|only| !names.contains(only)) {
        return Err(Error::not_found(format!("storage: no storage '{only}' for backups is visible")).hint(
            if names.is_empty() {
                "lists show only storages that the token has Datastore.Audit on".to_owned()
            } else {
                format!("known: {}", names.join(", "))
            },
        ));
    }
    let (mut found, mut missing): (BTreeMap<_, Store>, _) = (BTreeMap::new(), Vec::new());
    for row in rows.into_iter().filter(|row| only.is_none_or(|only| only == row.storage)) {
        if row.status.as_deref() != Some("available") {
            if !row.shared {
                missing.push(format!("{} on {}: not available", row.storage, row.node));
            }
            continue;
        }
        let place = if row.shared { String::new() } else { row.node.clone() };
        let new = || Store { storage: row.storage.clone(), shared: row.shared, nodes: Vec::new() };
        let store = found.entry((row.storage.clone(), place)).or_insert_with(new);
        store.nodes.push(row.node);
        store.nodes.sort();
    }
    Ok((found.into_values().collect(), missing))
}

/// What a search brought.
#[derive(Debug, Default)]
pub struct Found {
    /// Newest first.
    pub backups: Vec<Backup>,
    /// Storages that could not be read, and why.
    pub unreadable: Vec<String>,
}

/// Looks through all backup storages, or one. A storage that cannot be read fails nothing.
///
/// # Errors
/// As [`stores`].
pub async fn search(pve: &Reader<'_>, only: Option<&str>, of: &Of) -> Result<Found> {
    let (stores, unreadable) = stores(pve, only).await?;
    let listings = join_all(stores.iter().map(|store| list(pve, store, of.vmid))).await;
    let mut found = Found { backups: Vec::new(), unreadable };
    for (store, listing) in stores.iter().zip(listings) {
        match listing {
            Ok(rows) => found.backups.extend(rows.into_iter().filter(|row| of.fits(row)).map(|row| Backup {
                row,
                storage: store.storage.clone(),
                shared: store.shared,
                nodes: store.nodes.clone(),
            })),
            Err(e) => found.unreadable.push(format!("{} on {}: {e}", store.storage, store.nodes.join(", "))),
        }
    }
    found.backups.sort_by_cached_key(Backup::newest_first);
    Ok(found)
}

async fn list(pve: &Reader<'_>, store: &Store, vmid: Option<u32>) -> Result<Vec<Row>> {
    let node = store.nodes.first().map(String::as_str).unwrap_or_default();
    contents(pve, node, &store.storage, vmid).await
}

/// The backups on one storage of one node.
///
/// # Errors
/// As [`Reader::get`].
pub async fn contents(pve: &Reader<'_>, node: &str, storage: &str, vmid: Option<u32>) -> Result<Vec<Row>> {
    let path = format!("/nodes/{}/storage/{}/content", encode(node), encode(storage));
    pve.request(&Request::get(path).param("content", "backup").maybe("vmid", vmid)).await
}

/// The one backup that is meant: by its volume id, or by its file name alone.
///
/// # Errors
/// `NotFound`, with the backups of the same guest; `Ambiguous` where local storages of several nodes have it.
pub async fn find(pve: &Reader<'_>, archive: &str, node: Option<&str>) -> Result<Backup> {
    let storage = archive.split_once(':').map(|(storage, _)| storage);
    let Found { backups, unreadable } = search(pve, storage, &Of::default()).await?;
    let named = |backup: &Backup| {
        backup.row.volid == archive || storage.is_none() && backup.row.volid.rsplit('/').next() == Some(archive)
    };
    let here = |backup: &Backup| node.is_none_or(|node| backup.nodes.iter().any(|n| n == node));
    let (mut meant, others): (Vec<Backup>, Vec<Backup>) =
        backups.into_iter().partition(|backup| named(backup) && here(backup));
    if let Some(first) = meant.pop() {
        if meant.is_empty() {
            return Ok(first);
        }
        meant.push(first);
        let places: Vec<String> = meant.iter().map(|b| format!("{} on {}", b.row.volid, b.nodes.join(", "))).collect();
        return Err(Error::new(crate::error::Kind::Ambiguous, format!("several backups are called {archive}"))
            .hint(format!("give the node too, or the whole volid: {}", places.join("; "))));
    }
    let elsewhere: Vec<&str> =
        others.iter().filter(|b| named(b)).flat_map(|b| b.nodes.iter().map(String::as_str)).collect();
    if let (Some(node), false) = (node, elsewhere.is_empty()) {
        return Err(Error::bad_argument(format!("node: {archive} cannot be reached from {node}"))
            .hint(format!("it is on {}", elsewhere.join(", "))));
    }
    let error = Error::not_found(format!("no backup '{archive}' is visible"));
    Err(error.hint(if unreadable.is_empty() {
        "proxmox-list-backups shows those there are".to_owned()
    } else {
        format!("not all could be read: {}", unreadable.join("; "))
    }))
}
