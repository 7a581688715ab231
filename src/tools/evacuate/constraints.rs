//! Whether one guest fits on one node as things will be, and how it gets there; if not, why, in a few words.

use std::collections::BTreeMap;

use super::cluster::{Cluster, Disk, Guest, Store, What};
use crate::pve::GuestKind;

/// What a caller allows.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Part of a node's memory, and of a storage, that stays free: 0 to 1.
    pub keep_free: f64,
    pub local_disks: bool,
    /// Containers that run may restart.
    pub restart: bool,
    /// VMID → storage there → storage where its disks are wanted.
    pub storages: BTreeMap<u32, BTreeMap<String, String>>,
}

/// Where everything is, or will be.
#[derive(Debug, Clone)]
pub struct Ledger<'a> {
    pub cluster: &'a Cluster,
    pub limits: &'a Limits,
    /// Node → bytes of memory that may be in use.
    memory: BTreeMap<&'a str, u64>,
    /// Node (empty: all) and storage → bytes that are free for disks.
    room: BTreeMap<(String, String), u64>,
    at: BTreeMap<u32, String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum How {
    Live,
    /// A container is shut down, moved and started.
    Restart,
    Offline,
}

/// Disks on their way from one storage to another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Copy {
    pub from: String,
    pub to: String,
    pub bytes: u64,
}

/// How a guest can go to a node.
#[derive(Debug, Clone)]
pub struct Fit {
    pub how: How,
    pub copies: Vec<Copy>,
    /// Its disks are there already, but for what has changed.
    pub replicated: bool,
    /// What HA thinks of the node.
    pub priority: i64,
    /// Bytes of memory that may be used there afterwards, and their part of all.
    pub left: u64,
    pub part_left: f64,
}

impl How {
    pub fn word(self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::Restart => "restart",
            Self::Offline => "offline",
        }
    }
}

impl<'a> Ledger<'a> {
    pub fn new(cluster: &'a Cluster, limits: &'a Limits) -> Self {
        let mut ledger = Self { cluster, limits, memory: BTreeMap::new(), room: BTreeMap::new(), at: BTreeMap::new() };
        for (name, node) in &cluster.nodes {
            let running = cluster.guests.values().filter(|guest| guest.running && guest.node == *name);
            let promised: u64 = running.map(|guest| guest.memory).sum();
            // What guests have not asked for yet, they may; and the node itself takes some.
            ledger.memory.insert(name, promised.max(node.used));
            for (id, store) in &node.stores {
                let kept = (store.total as f64 * limits.keep_free) as u64;
                ledger.room.insert(place(name, id, store), store.avail.saturating_sub(kept));
            }
        }
        ledger.at = cluster.guests.values().map(|guest| (guest.vmid, guest.node.clone())).collect();
        ledger
    }

    pub fn at(&self, vmid: u32) -> Option<&str> {
        self.at.get(&vmid).map(String::as_str)
    }

    /// Bytes of memory that may still be promised on a node.
    pub fn memory_left(&self, node: &str) -> u64 {
        let Some(facts) = self.cluster.nodes.get(node) else { return 0 };
        let most = (facts.memory as f64 * (1.0 - self.limits.keep_free)) as u64;
        most.saturating_sub(self.memory.get(node).copied().unwrap_or_default())
    }

    /// Puts a guest where it fits. What it leaves is not given to others: it leaves at an unknown time.
    pub fn put(&mut self, guest: &Guest, target: &str, fit: &Fit) {
        if let (true, Some((name, _))) = (guest.running, self.cluster.nodes.get_key_value(target)) {
            *self.memory.entry(name).or_default() += guest.memory;
        }
        for copy in fit.copies.iter().filter(|_| !fit.replicated) {
            let store = self.cluster.nodes.get(target).and_then(|node| node.stores.get(&copy.to));
            if let Some(room) = store.and_then(|store| self.room.get_mut(&place(target, &copy.to, store))) {
                *room = room.saturating_sub(copy.bytes);
            }
        }
        self.at.insert(guest.vmid, target.to_owned());
    }

    /// # Errors
    /// Why it does not go there.
    pub fn fit(&self, guest: &Guest, target: &str) -> Result<Fit, String> {
        let Some(node) = self.cluster.nodes.get(target) else { return Err("there is no such node".to_owned()) };
        if self.at(guest.vmid) == Some(target) {
            return Err("it is there already".to_owned());
        }
        if !node.online {
            return Err("offline".to_owned());
        }
        if node.maintenance {
            return Err("in maintenance".to_owned());
        }
        if let Some(why) = guest.facts.barred.get(target) {
            return Err(why.clone());
        }
        if guest.kind == GuestKind::Qemu && guest.cpus > node.cpus {
            return Err(format!("has {} CPUs, and it wants {}", node.cpus, guest.cpus));
        }
        let missing = |bridge: &&String| node.bridges.as_ref().is_some_and(|there| !there.contains(*bridge));
        if let Some(bridge) = guest.facts.bridges.iter().find(missing) {
            return Err(format!("has no bridge {bridge}"));
        }
        let priority = self.rules(guest, target)?;
        let copies = self.copies(guest, target)?;
        let left = self.memory_left(target);
        let wanted = if guest.running { guest.memory } else { 0 };
        if guest.memory > node.memory {
            return Err(format!("has {} of memory, and it wants {}", gib(node.memory), gib(guest.memory)));
        }
        if wanted > left {
            return Err(format!("too little memory: it wants {}, {} may be used", gib(wanted), gib(left)));
        }
        let how = match (guest.running, guest.kind) {
            (false, _) => How::Offline,
            (true, GuestKind::Qemu) => How::Live,
            (true, GuestKind::Lxc) => How::Restart,
        };
        let left = left - wanted;
        let replicated = guest.facts.replicas.contains(target);
        let part_left = left as f64 / node.memory.max(1) as f64;
        Ok(Fit { how, copies, replicated, priority, left, part_left })
    }

    /// What HA's rules say of it there: the node's priority.
    fn rules(&self, guest: &Guest, target: &str) -> Result<i64, String> {
        let mut priority = 0;
        for rule in self.cluster.rules.iter().filter(|rule| rule.is_about(guest)) {
            match &rule.what {
                What::Together => {}
                What::Apart => {
                    let others = self.cluster.guests.values().filter(|other| other.vmid != guest.vmid);
                    let mut there = others.filter(|other| rule.is_about(other) && self.at(other.vmid) == Some(target));
                    if let Some(other) = there.next() {
                        return Err(format!("the HA rule {} keeps it apart from {}", rule.name, other.name));
                    }
                }
                What::Nodes { nodes, strict, failback } => {
                    let there = nodes.get(target);
                    if there.is_none() && *strict {
                        return Err(format!("the HA rule {} does not allow it", rule.name));
                    }
                    let up = |name: &&String| {
                        self.cluster.nodes.get(*name).is_some_and(|node| node.online && !node.maintenance)
                    };
                    let best = nodes.iter().filter(|(name, _)| up(name)).max_by_key(|(_, priority)| **priority);
                    let mine = there.copied().unwrap_or(i64::MIN);
                    if let Some((home, _)) = best.filter(|(_, best)| *failback && **best > mine) {
                        return Err(format!("the HA rule {} would bring it back to {home}", rule.name));
                    }
                    priority = there.copied().unwrap_or(-1);
                }
            }
        }
        Ok(priority)
    }

    /// Where its local disks go, one storage for each that it has some on.
    fn copies(&self, guest: &Guest, target: &str) -> Result<Vec<Copy>, String> {
        let Some(node) = self.cluster.nodes.get(target) else { return Ok(Vec::new()) };
        let gone = |disk: &&Disk| disk.shared && node.stores.get(&disk.storage).is_none_or(|store| !store.active);
        if let Some(disk) = guest.facts.disks.iter().find(gone) {
            return Err(format!("has no storage {}", disk.storage));
        }
        let mut sizes: BTreeMap<&str, u64> = BTreeMap::new();
        for disk in guest.local() {
            *sizes.entry(&disk.storage).or_default() += disk.size;
        }
        let mut used: BTreeMap<(String, String), u64> = BTreeMap::new();
        let mut copies = Vec::new();
        for (from, bytes) in sizes {
            let replicated = guest.facts.replicas.contains(target);
            let to = self.storage(guest, target, (from, if replicated { 0 } else { bytes }), &used)?;
            if let Some(store) = node.stores.get(&to) {
                *used.entry(place(target, &to, store)).or_default() += bytes;
            }
            copies.push(Copy { from: from.to_owned(), to, bytes: if replicated { 0 } else { bytes } });
        }
        Ok(copies)
    }

    /// The storage there for what is on `from`: the one that is wanted, the same, or the one most like it with the most room.
    fn storage(
        &self,
        guest: &Guest,
        target: &str,
        (from, bytes): (&str, u64),
        used: &BTreeMap<(String, String), u64>,
    ) -> Result<String, String> {
        let here = self.cluster.nodes.get(&guest.node).and_then(|node| node.stores.get(from));
        let stores = self.cluster.nodes.get(target).map(|node| &node.stores);
        let room = |id: &str, store: &Store| {
            let place = place(target, id, store);
            let taken = used.get(&place).copied().unwrap_or_default();
            self.room.get(&place).copied().unwrap_or_default().saturating_sub(taken)
        };
        let kind = guest.content();
        let takes: Vec<(&String, &Store)> =
            stores.into_iter().flatten().filter(|(_, store)| store.takes(kind)).collect();
        // Snapshots and copies that are kept up to date go nowhere else, and HA cannot be told another storage.
        let fixed = guest.facts.snapshots || !guest.facts.replicas.is_empty() || guest.sid.is_some();
        let wanted = self.limits.storages.get(&guest.vmid).and_then(|map| map.get(from)).map(String::as_str);
        let same = |id: &str| id == wanted.unwrap_or(from);
        let usable = takes.iter().filter(|(id, _)| !fixed || *id == from);
        let best = usable.clone().filter(|(id, store)| room(id, store) >= bytes).max_by_key(|(id, store)| {
            let alike = here.is_some_and(|here| here.plugin == store.plugin);
            (same(id), *id == from, !store.shared, alike, room(id, store))
        });
        if let Some((id, _)) = best {
            return Ok((*id).clone());
        }
        match usable.clone().map(|(id, store)| room(id, store)).max() {
            None if fixed && !takes.is_empty() => {
                Err(format!("has no storage {from}, and its disks cannot change theirs (snapshots, replication or HA)"))
            }
            None => Err(format!("has no storage for its local disks on {from}")),
            Some(most) => {
                Err(format!("too little room for its local disks: {} to copy, {} may be used", gib(bytes), gib(most)))
            }
        }
    }
}

/// Why a guest goes nowhere, whatever the node.
pub fn bound(guest: &Guest, limits: &Limits) -> Option<String> {
    if let Some(why) = &guest.facts.bound {
        return Some(why.clone());
    }
    let local = guest.local_bytes();
    if local > 0 && !limits.local_disks {
        return Some(format!("it has {} of disks on local storage, and with_local_disks is false", gib(local)));
    }
    if guest.running && guest.kind == GuestKind::Lxc && !limits.restart {
        return Some("it is a container that runs and would have to restart, and allow_restart is false".to_owned());
    }
    let replicated = !guest.facts.replicas.is_empty();
    if guest.facts.snapshots && guest.running && guest.kind == GuestKind::Qemu && !replicated && local > 0 {
        return Some("it runs on local disks that have snapshots, which cannot move live".to_owned());
    }
    None
}

fn place(node: &str, id: &str, store: &Store) -> (String, String) {
    (if store.shared { String::new() } else { node.to_owned() }, id.to_owned())
}

pub fn gib(bytes: u64) -> String {
    format!("{} GiB", (bytes as f64 / f64::from(1 << 30) * 10.0).round() / 10.0)
}
