//! What a call may leave out: the node and the next free VMID.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use serde::Deserialize;
use tokio::time::Instant;

use super::{Reader, Request};
use crate::error::{Error, Kind, Result};

/// How long a VMID taken by one call is not given to another: the time that Proxmox needs to create the guest's
/// configuration, after which `nextid` itself passes over it.
const HELD: Duration = Duration::from_secs(30);

/// VMIDs that calls of this process are creating guests with right now. `nextid` reserves nothing: without this, calls
/// made at once would all choose the same one and collide.
#[derive(Debug, Default)]
pub struct Vmids(Mutex<HashMap<u32, Instant>>);

impl Vmids {
    /// Takes `vmid`, unless another call holds it.
    pub fn take(&self, vmid: u32) -> bool {
        let mut held = self.held();
        held.insert(vmid, Instant::now()).is_none()
    }

    /// Gives back one that was not used after all.
    pub fn release(&self, vmid: u32) {
        self.held().remove(&vmid);
    }

    fn is_held(&self, vmid: u32) -> bool {
        self.held().contains_key(&vmid)
    }

    fn held(&self) -> MutexGuard<'_, HashMap<u32, Instant>> {
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        held.retain(|_, at| at.elapsed() < HELD);
        held
    }
}

/// A row of `GET /nodes`.
#[derive(Deserialize)]
struct Node {
    node: String,
    status: Option<String>,
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
            several => {
                let online: Vec<&str> =
                    several.iter().filter(|n| n.status.as_deref() == Some("online")).map(|n| n.node.as_str()).collect();
                Err(Error::bad_argument("node: missing; expected the name of a node")
                    .hint(format!("online: {}; or set PROXMOX_DEFAULT_NODE", online.join(", "))))
            }
        }
    }

    /// Makes sure that there is such a node.
    ///
    /// # Errors
    /// `NotFound` with the nodes there are.
    pub async fn known_node(&self, name: &str) -> Result<()> {
        let nodes = self.nodes().await?;
        if nodes.iter().any(|n| n.node == name) {
            return Ok(());
        }
        let names: Vec<&str> = nodes.iter().map(|n| n.node.as_str()).collect();
        Err(Error::not_found(format!("node: no node '{name}' in this cluster"))
            .hint(format!("known: {}", names.join(", "))))
    }

    async fn nodes(&self) -> Result<Vec<Node>> {
        let mut nodes: Vec<Node> = self.get("/nodes").await?;
        nodes.sort_by(|a, b| a.node.cmp(&b.node));
        Ok(nodes)
    }

    /// The next free VMID that no other call of this process is creating a guest with. Choosing it takes nothing: a plan
    /// that is only shown shows the same one again.
    ///
    /// # Errors
    /// Proxmox's.
    pub async fn next_vmid(&self) -> Result<u32> {
        let mut vmid = self.next_id().await?;
        while self.client().vmids().is_held(vmid) {
            vmid = self.free_from(vmid + 1).await?;
        }
        Ok(vmid)
    }

    /// The first free VMID from `from` on. With `vmid`, `nextid` is a check.
    async fn free_from(&self, from: u32) -> Result<u32> {
        /// A run of used VMIDs longer than this is not walked one by one.
        const TRIES: u32 = 200;
        for vmid in from..from.saturating_add(TRIES) {
            match self.request::<u32>(&Request::get("/cluster/nextid").param("vmid", vmid)).await {
                Ok(free) => return Ok(free),
                Err(e) if e.kind() == Kind::BadArgument || e.is_conflict() => {}
                Err(e) => return Err(e),
            }
        }
        Err(Error::not_found(format!("no free VMID from {from} on")).hint("name the VMID yourself"))
    }
}
