//! What the planner is told: nodes, guests, storages and rules, as data. Where it comes from is in `read.rs`.

use std::collections::{BTreeMap, BTreeSet};

use crate::pve::GuestKind;

#[derive(Debug, Clone, Default)]
pub struct Cluster {
    pub nodes: BTreeMap<String, Node>,
    pub guests: BTreeMap<u32, Guest>,
    pub rules: Vec<Rule>,
}

#[derive(Debug, Clone, Default)]
pub struct Node {
    pub online: bool,
    /// HA lets nothing run there.
    pub maintenance: bool,
    /// Bytes.
    pub memory: u64,
    pub used: u64,
    pub cpus: u64,
    /// CPUs in use.
    pub busy: f64,
    /// Nothing where they could not be read.
    pub bridges: Option<BTreeSet<String>>,
    pub stores: BTreeMap<String, Store>,
}

/// A storage as one node has it.
#[derive(Debug, Clone, Default)]
pub struct Store {
    pub shared: bool,
    pub active: bool,
    /// `dir`, `lvmthin` …
    pub plugin: String,
    /// Kinds, separated by commas.
    pub content: String,
    pub total: u64,
    pub avail: u64,
}

#[derive(Debug, Clone)]
pub struct Guest {
    pub vmid: u32,
    pub kind: GuestKind,
    /// Its VMID where it has none.
    pub name: String,
    pub node: String,
    pub running: bool,
    /// Bytes that it may take.
    pub memory: u64,
    /// Bytes that it takes.
    pub used: u64,
    pub cpus: u64,
    /// CPUs in use.
    pub busy: f64,
    /// `vm:100`, where HA manages it.
    pub sid: Option<String>,
    /// What only those have that may be moved.
    pub facts: Facts,
}

/// What decides where a guest can go.
#[derive(Debug, Clone, Default)]
pub struct Facts {
    /// Why it can go nowhere.
    pub bound: Option<String>,
    /// Node → why Proxmox does not let it go there.
    pub barred: BTreeMap<String, String>,
    pub disks: Vec<Disk>,
    pub bridges: BTreeSet<String>,
    pub snapshots: bool,
    /// Nodes that have copies of its disks.
    pub replicas: BTreeSet<String>,
}

#[derive(Debug, Clone, Default)]
pub struct Disk {
    pub volid: String,
    pub storage: String,
    pub shared: bool,
    /// Bytes.
    pub size: u64,
}

/// What HA heeds when guests are moved.
#[derive(Debug, Clone)]
pub struct Rule {
    pub name: String,
    pub sids: BTreeSet<String>,
    pub what: What,
}

#[derive(Debug, Clone)]
pub enum What {
    /// On these nodes, by priority; nowhere else where it is strict.
    Nodes {
        nodes: BTreeMap<String, i64>,
        strict: bool,
        failback: bool,
    },
    Together,
    Apart,
}

impl Guest {
    /// `VM 100 (web01)`
    pub fn words(&self) -> String {
        let named = self.name != self.vmid.to_string();
        if named {
            format!("{} {} ({})", self.kind, self.vmid, self.name)
        } else {
            format!("{} {}", self.kind, self.vmid)
        }
    }
    pub fn local(&self) -> impl Iterator<Item = &Disk> {
        self.facts.disks.iter().filter(|disk| !disk.shared)
    }
    pub fn local_bytes(&self) -> u64 {
        self.local().map(|disk| disk.size).sum()
    }
    /// The kind of content that its disks are.
    pub fn content(&self) -> &'static str {
        if self.kind == GuestKind::Qemu { "images" } else { "rootdir" }
    }
}

impl Store {
    pub fn takes(&self, content: &str) -> bool {
        self.active && self.content.split(',').any(|kind| kind.trim() == content)
    }
}

impl Rule {
    pub fn is_about(&self, guest: &Guest) -> bool {
        guest.sid.as_ref().is_some_and(|sid| self.sids.contains(sid))
    }
}

impl Cluster {
    /// Guests that HA keeps together with this one, itself included.
    pub fn together(&self, guest: &Guest) -> BTreeSet<u32> {
        let mut all = BTreeSet::from([guest.vmid]);
        loop {
            let before = all.len();
            for rule in self.rules.iter().filter(|rule| matches!(rule.what, What::Together)) {
                let about = |vmid: &u32| self.guests.get(vmid).is_some_and(|guest| rule.is_about(guest));
                if all.iter().any(about) {
                    all.extend(self.guests.values().filter(|guest| rule.is_about(guest)).map(|guest| guest.vmid));
                }
            }
            if all.len() == before {
                return all;
            }
        }
    }
}
