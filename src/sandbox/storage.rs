//! Storages of the simulated cluster and the volumes on them.

use std::collections::BTreeMap;

use super::config::Config;

/// One entry of storage.cfg.
#[derive(Debug, Clone)]
pub struct Storage {
    pub id: String,
    /// `dir`, `lvmthin`, `nfs`, `zfspool`, `rbd`, …
    pub plugin: String,
    /// The lines of its section: `content`, `path`, `nodes`, `shared`, `disable`, …
    pub config: Config,
    /// Size on each node (or altogether, where shared), in bytes.
    pub total: u64,
}

impl Storage {
    pub fn is_shared(&self) -> bool {
        self.config.flag("shared")
            || matches!(self.plugin.as_str(), "nfs" | "cifs" | "rbd" | "cephfs" | "pbs" | "iscsi")
    }
    pub fn is_enabled(&self) -> bool {
        !self.config.flag("disable")
    }
    /// Content types, as configured.
    pub fn content(&self) -> Vec<&str> {
        self.config.get("content").unwrap_or("images,rootdir").split(',').collect()
    }
    pub fn holds(&self, content: &str) -> bool {
        self.content().contains(&content)
    }
    /// Whether it is there on this node (`nodes` restricts it).
    pub fn is_on(&self, node: &str) -> bool {
        self.config.get("nodes").is_none_or(|nodes| nodes.split(',').any(|n| n == node))
    }
    /// Volumes are files in folders, not block devices.
    pub fn is_files(&self) -> bool {
        matches!(self.plugin.as_str(), "dir" | "nfs" | "cifs" | "cephfs" | "btrfs")
    }
    /// Where a file storage is mounted.
    pub fn path(&self) -> String {
        let path = self.config.get("path").map(str::to_owned);
        path.unwrap_or_else(|| format!("/mnt/pve/{}", self.id))
    }
    /// The format that a new image has where none is asked for.
    pub fn default_format(&self) -> &'static str {
        if self.is_files() { "qcow2" } else { "raw" }
    }
    /// Snapshots of a raw volume are possible.
    pub fn snapshots_raw(&self) -> bool {
        matches!(self.plugin.as_str(), "lvmthin" | "zfspool" | "rbd" | "btrfs")
    }
}

#[derive(Debug, Clone, PartialEq)]
pub struct Volume {
    /// `local:iso/debian.iso`, `local-lvm:vm-100-disk-0`.
    pub volid: String,
    /// `images`, `rootdir`, `iso`, `vztmpl`, `backup`, `snippets`, `import`.
    pub content: String,
    pub format: String,
    /// Bytes.
    pub size: u64,
    /// Bytes really taken.
    pub used: u64,
    /// The guest that owns it.
    pub vmid: Option<u32>,
    /// The base volume of a linked clone.
    pub parent: Option<String>,
    pub ctime: u64,
    pub notes: Option<String>,
    pub protected: bool,
    /// For a backup: the guest's configuration, and its kind.
    pub saved: Option<(super::guest::Kind, Config)>,
}

impl Volume {
    pub fn new(volid: impl Into<String>, content: &str, format: &str, size: u64) -> Self {
        Self {
            volid: volid.into(),
            content: content.to_owned(),
            format: format.to_owned(),
            size,
            used: size,
            vmid: None,
            parent: None,
            ctime: 0,
            notes: None,
            protected: false,
            saved: None,
        }
    }
    pub fn of(mut self, vmid: u32) -> Self {
        self.vmid = Some(vmid);
        self
    }
    pub fn at(mut self, ctime: u64) -> Self {
        self.ctime = ctime;
        self
    }
}

/// All volumes, by the storage and (where it is not shared) the node, then by volume id.
#[derive(Debug, Clone, Default)]
pub struct Volumes(BTreeMap<(String, String), BTreeMap<String, Volume>>);

impl Volumes {
    fn place(storage: &Storage, node: &str) -> (String, String) {
        (storage.id.clone(), if storage.is_shared() { String::new() } else { node.to_owned() })
    }
    pub fn on<'a>(&'a self, storage: &Storage, node: &str) -> impl Iterator<Item = &'a Volume> {
        self.0.get(&Self::place(storage, node)).into_iter().flat_map(BTreeMap::values)
    }
    pub fn get(&self, storage: &Storage, node: &str, volid: &str) -> Option<&Volume> {
        self.0.get(&Self::place(storage, node))?.get(volid)
    }
    pub fn get_mut(&mut self, storage: &Storage, node: &str, volid: &str) -> Option<&mut Volume> {
        self.0.get_mut(&Self::place(storage, node))?.get_mut(volid)
    }
    pub fn put(&mut self, storage: &Storage, node: &str, volume: Volume) {
        self.0.entry(Self::place(storage, node)).or_default().insert(volume.volid.clone(), volume);
    }
    pub fn remove(&mut self, storage: &Storage, node: &str, volid: &str) -> Option<Volume> {
        let place = Self::place(storage, node);
        let volumes = self.0.get_mut(&place)?;
        let gone = volumes.remove(volid);
        if volumes.is_empty() {
            self.0.remove(&place);
        }
        gone
    }
    /// Bytes taken on the storage (of that node).
    pub fn used(&self, storage: &Storage, node: &str) -> u64 {
        self.on(storage, node).map(|volume| volume.used).sum()
    }
    /// The next free disk name of a guest there: `vm-100-disk-0`, or in a file storage `100/vm-100-disk-0.qcow2`;
    /// `stem` is `vm`, `base`, or `subvol`.
    pub fn next_disk(&self, storage: &Storage, node: &str, vmid: u32, stem: &str, format: &str) -> String {
        let taken: Vec<&str> =
            self.on(storage, node).filter(|v| v.vmid == Some(vmid)).map(|v| v.volid.as_str()).collect();
        let mut number = 0;
        loop {
            let part = format!("-{vmid}-disk-{number}");
            if !taken.iter().any(|volid| volid.split('.').next().is_some_and(|v| v.ends_with(&part))) {
                return disk_volid(storage, vmid, &format!("{stem}{part}"), format);
            }
            number += 1;
        }
    }
}

/// The volume id of a guest's image with this name: with folder and suffix in a file storage.
pub fn disk_volid(storage: &Storage, vmid: u32, name: &str, format: &str) -> String {
    if storage.is_files() { format!("{}:{vmid}/{name}.{format}", storage.id) } else { format!("{}:{name}", storage.id) }
}
