//! What a call may leave out: the node, the storage, the bridge.

use serde::Deserialize;

use super::{Reader, Request, undecided};
use crate::error::{Error, Result};

/// Any storage that will do, where there are several.
const ANY: &str = "*";

/// A row of `GET /nodes`; memory in bytes, absent without Sys.Audit.
#[derive(Debug, Clone, Deserialize)]
pub struct NodeHere {
    pub node: String,
    pub status: Option<String>,
    /// Share of its CPUs, 0 to 1.
    pub cpu: Option<f64>,
    mem: Option<u64>,
    maxmem: Option<u64>,
}

impl NodeHere {
    pub fn is_online(&self) -> bool {
        self.status.as_deref() == Some("online")
    }
    /// Memory that is free, in bytes.
    pub fn free(&self) -> Option<u64> {
        Some(self.maxmem?.saturating_sub(self.mem?))
    }
    pub fn maxmem(&self) -> Option<u64> {
        self.maxmem
    }
}

/// A row of `GET /nodes/{node}/storage`; sizes in bytes.
#[derive(Debug, Clone, Deserialize)]
pub struct StorageHere {
    pub storage: String,
    /// `dir`, `lvmthin`, `nfs` …
    pub r#type: String,
    /// Kinds, separated by commas.
    #[serde(default)]
    pub content: String,
    #[serde(default)]
    pub shared: bool,
    #[serde(default)]
    pub active: bool,
    pub avail: Option<u64>,
    pub total: Option<u64>,
}

impl Reader<'_> {
    /// The node a call is about: the one given (Proxmox says if there is none of that name), the configured default,
    /// or the only one.
    ///
    /// # Errors
    /// `BadArgument` where there is a choice.
    pub async fn node(&self, given: Option<&str>) -> Result<String> {
        if let Some(node) = given.or(self.default_node()) {
            return Ok(node.to_owned());
        }
        let nodes = self.nodes().await?;
        match nodes.as_slice() {
            [only] => Ok(only.node.clone()),
            several => Err(undecided(several)),
        }
    }

    /// The node of that name.
    ///
    /// # Errors
    /// `NotFound` with the nodes there are.
    pub async fn known_node(&self, name: &str) -> Result<NodeHere> {
        let mut nodes = self.nodes().await?;
        if let Some(at) = nodes.iter().position(|n| n.node == name) {
            return Ok(nodes.swap_remove(at));
        }
        let names: Vec<&str> = nodes.iter().map(|n| n.node.as_str()).collect();
        Err(Error::not_found(format!("node: no node '{name}' in this cluster"))
            .hint(format!("known: {}", names.join(", "))))
    }

    /// All nodes, by name.
    ///
    /// # Errors
    /// Proxmox's.
    pub async fn nodes(&self) -> Result<Vec<NodeHere>> {
        let mut nodes: Vec<NodeHere> = self.get("/nodes").await?;
        nodes.sort_by(|a, b| a.node.cmp(&b.node));
        Ok(nodes)
    }

    /// The storages of a node that are enabled and take this kind of content (`images`, `rootdir`, `iso`, `vztmpl`,
    /// `backup`, `import`, `snippets`), with their room.
    ///
    /// # Errors
    /// Proxmox's.
    pub async fn storages(&self, node: &str, content: &str) -> Result<Vec<StorageHere>> {
        let path = format!("/nodes/{}/storage", super::encode(node));
        let mut found: Vec<StorageHere> =
            self.request(&Request::get(path).param("content", content).param("enabled", 1)).await?;
        found.sort_by(|a, b| a.storage.cmp(&b.storage));
        Ok(found)
    }

    /// The storage for new content on a node: the one given (unchecked: Proxmox says if it is none), else the configured
    /// default if it takes such content, else the only one that does. `*` leaves the choice: then it is that of Proxmox's
    /// installer, or the one with the most room.
    ///
    /// # Errors
    /// `BadArgument` where there is a choice, `NotFound` where there is none.
    pub async fn storage(&self, given: Option<&str>, node: &str, content: &str) -> Result<String> {
        if let Some(storage) = given.filter(|given| *given != ANY) {
            return Ok(storage.to_owned());
        }
        let found = self.storages(node, content).await?;
        let default = self.default_storage().and_then(|name| found.iter().find(|s| s.storage == name));
        let usual = |s: &&StorageHere| (s.storage == "local-lvm", s.avail);
        let any = found.iter().filter(|s| s.active && given.is_some()).max_by_key(usual);
        match (default.or(any), found.as_slice()) {
            (Some(one), _) => Ok(one.storage.clone()),
            (None, [only]) => Ok(only.storage.clone()),
            (None, []) => Err(Error::not_found(format!("storage: none on {node} takes content '{content}'"))
                .hint("lists show only storages that the token has Datastore.Audit or Datastore.AllocateSpace on")),
            (None, several) => {
                let names: Vec<&str> = several.iter().map(|s| s.storage.as_str()).collect();
                Err(Error::bad_argument("storage: missing; expected the name of a storage")
                    .hint(format!("one of {}; or set PROXMOX_DEFAULT_STORAGE", names.join(", "))))
            }
        }
    }

    /// The bridge for a new NIC: the one given, else the configured default, else the node's only or first one.
    ///
    /// # Errors
    /// `NotFound` where the node has none.
    pub async fn bridge(&self, given: Option<&str>, node: &str) -> Result<String> {
        #[derive(Deserialize)]
        struct Bridge {
            iface: String,
        }
        if let Some(bridge) = given.or(self.default_bridge()) {
            return Ok(bridge.to_owned());
        }
        let path = format!("/nodes/{}/network", super::encode(node));
        let found: Vec<Bridge> = self.request(&Request::get(path).param("type", "any_bridge")).await?;
        let first = found.into_iter().map(|b| b.iface).min();
        first.ok_or_else(|| {
            Error::not_found(format!("bridge: node {node} has none")).hint("name one, or set PROXMOX_DEFAULT_BRIDGE")
        })
    }
}
