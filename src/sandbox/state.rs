//! Everything the simulated cluster consists of. It is changed only under its lock, by handlers and by tasks; nothing is
//! awaited while it is held.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use serde_json::{Map, Value};

use super::{
    access::Access,
    config::Config,
    firewall::Firewall,
    guest::{Guest, Kind},
    ha::Ha,
    inside::Inside,
    sdn::Sdn,
    storage::{Storage, Volume, Volumes},
    tasks::Tasks,
    wire::Refusal,
};

#[derive(Debug, Clone)]
pub struct Node {
    pub name: String,
    /// Number in the cluster, from 1.
    pub id: u32,
    pub online: bool,
    pub address: String,
    /// SHA-256 of the certificate, `AB:CD:…`.
    pub fingerprint: String,
    /// Simulated Unix time of the boot.
    pub boot: u64,
    pub cpus: u32,
    /// Bytes.
    pub memory: u64,
    /// Bytes of the root file system.
    pub disk: u64,
    /// Interface → its settings, as GET /nodes/{node}/network gives them; with `pending` the unapplied state.
    pub network: BTreeMap<String, Map<String, Value>>,
    pub network_pending: Option<BTreeMap<String, Map<String, Value>>>,
    /// `description`, `wakeonlan`, …
    pub config: super::config::Config,
    pub dns: Map<String, Value>,
    pub timezone: String,
    /// Services that were stopped by hand.
    pub stopped_services: BTreeSet<String>,
    /// Packages that wait: name, version there, version to come, what it is.
    pub updates: Vec<[&'static str; 4]>,
}

#[derive(Debug, Clone, Default)]
pub struct Pool {
    pub comment: Option<String>,
    pub guests: BTreeSet<u32>,
    pub storages: BTreeSet<String>,
}

/// One line of the cluster log.
#[derive(Debug, Clone)]
pub struct LogEntry {
    pub uid: u64,
    pub node: String,
    pub pid: u32,
    /// Syslog priority: 3 error, 4 warning, 6 information.
    pub priority: u8,
    pub tag: &'static str,
    pub time: u64,
    pub user: String,
    pub message: String,
}

pub struct State {
    pub cluster_name: String,
    pub nodes: BTreeMap<String, Node>,
    /// Read freely; change through [`State::guest_mut`], [`State::add_guest`], [`State::remove_guest`].
    guests: BTreeMap<u32, Guest>,
    pub storages: BTreeMap<String, Storage>,
    pub volumes: Volumes,
    /// What is in guests, of those whose agent was asked for more than facts.
    pub inside: BTreeMap<u32, Inside>,
    /// By whose it is: `cluster`, `node/pve`, `guest/100`.
    pub firewalls: BTreeMap<String, Firewall>,
    pub ha: Ha,
    pub sdn: Sdn,
    pub pools: BTreeMap<String, Pool>,
    /// jobs.cfg: the backup jobs, in its order.
    pub backup_jobs: Vec<(String, Config)>,
    /// replication.cfg.
    pub replication: BTreeMap<String, super::replication::Job>,
    /// Guest → its pool, kept beside `pools` because every permission check asks.
    pool_of: HashMap<u32, String>,
    pub access: Access,
    pub tasks: Tasks,
    pub log: Vec<LogEntry>,
    /// datacenter.cfg.
    pub options: Map<String, Value>,
    /// Grows with every change that `/cluster/resources` shows at once.
    pub generation: u64,
    /// The generation that last concerned every guest: a round of the statistics daemon, a node gone or come back.
    pub changed: u64,
    /// Guests changed since the statistics daemon's last round.
    unseen: BTreeSet<u32>,
    /// The statistics daemon's last round.
    pub round: u64,
    /// Source of MAC addresses, UUIDs and the like; seeded.
    pub random: fastrand::Rng,
}

impl State {
    pub fn empty(seed: u64) -> Self {
        Self {
            cluster_name: "sandbox".to_owned(),
            nodes: BTreeMap::new(),
            guests: BTreeMap::new(),
            storages: BTreeMap::new(),
            volumes: Volumes::default(),
            inside: BTreeMap::new(),
            firewalls: BTreeMap::new(),
            ha: Ha::default(),
            sdn: Sdn::default(),
            pools: BTreeMap::new(),
            backup_jobs: Vec::new(),
            replication: BTreeMap::new(),
            pool_of: HashMap::new(),
            access: Access::default(),
            tasks: Tasks::default(),
            log: Vec::new(),
            options: Map::new(),
            generation: 0,
            changed: 0,
            unseen: BTreeSet::new(),
            round: 0,
            random: fastrand::Rng::with_seed(seed),
        }
    }

    /// See [`super::Sandbox::snapshot`].
    pub fn snapshot(&self) -> String {
        let Self { nodes, guests, storages, volumes, inside, firewalls, ha, sdn, pools, .. } = self;
        let Self { backup_jobs, replication, access, options, .. } = self;
        let inside: BTreeMap<_, _> = inside.iter().collect();
        format!(
            "nodes {nodes:#?}\nguests {guests:#?}\nstorages {storages:#?}\nvolumes {volumes:#?}\ninside {inside:#?}\n\
             firewalls {firewalls:#?}\nha {ha:#?}\nsdn {sdn:#?}\npools {pools:#?}\njobs {backup_jobs:#?}\n\
             replication {replication:#?}\naccess {access:#?}\noptions {options:#?}\n"
        )
    }
    pub fn guests(&self) -> &BTreeMap<u32, Guest> {
        &self.guests
    }
    pub fn guest_mut(&mut self, vmid: u32) -> Option<&mut Guest> {
        let guest = self.guests.get_mut(&vmid)?;
        self.unseen.insert(vmid);
        self.generation += 1;
        guest.changed = self.generation;
        Some(guest)
    }
    pub fn add_guest(&mut self, mut guest: Guest) {
        self.unseen.insert(guest.vmid);
        self.generation += 1;
        guest.changed = self.generation;
        self.guests.insert(guest.vmid, guest);
    }
    /// Removes a guest and its membership in a pool; volumes and ACLs stay, as in PVE without `purge`.
    pub fn remove_guest(&mut self, vmid: u32) -> Option<Guest> {
        self.generation += 1;
        self.set_pool(vmid, None);
        self.inside.remove(&vmid);
        self.guests.remove(&vmid)
    }

    /// The guest of that kind on that node.
    ///
    /// # Errors
    /// PVE's 500 for a missing configuration file.
    pub fn guest(&self, node: &str, kind: Kind, vmid: u32) -> Result<&Guest, Refusal> {
        self.guests.get(&vmid).filter(|guest| guest.node == node && guest.kind == kind).ok_or_else(|| {
            Refusal::failed(format!("Configuration file 'nodes/{node}/{}/{vmid}.conf' does not exist", kind.folder()))
        })
    }

    /// Puts a guest into a pool, or takes it out of every pool.
    pub fn set_pool(&mut self, vmid: u32, pool: Option<&str>) {
        if let Some(old) = self.pool_of.remove(&vmid).and_then(|old| self.pools.get_mut(&old)) {
            old.guests.remove(&vmid);
        }
        if let Some((name, pool)) = pool.and_then(|name| self.pools.get_mut(name).map(|pool| (name, pool))) {
            pool.guests.insert(vmid);
            self.pool_of.insert(vmid, name.to_owned());
        }
        self.generation += 1;
        if let Some(guest) = self.guests.get_mut(&vmid) {
            guest.changed = self.generation;
        }
    }
    pub fn pool_of(&self, vmid: u32) -> Option<&str> {
        self.pool_of.get(&vmid).map(String::as_str)
    }
    /// The storage, enabled and present on the node.
    ///
    /// # Errors
    /// PVE's 500s for unknown, disabled and unavailable storages.
    pub fn storage(&self, id: &str, node: &str) -> Result<&Storage, Refusal> {
        let storage = self.storages.get(id).ok_or_else(|| Refusal::failed(format!("storage '{id}' does not exist")))?;
        if !storage.is_enabled() {
            return Err(Refusal::failed(format!("storage '{id}' is disabled")));
        }
        if !storage.is_on(node) {
            return Err(Refusal::failed(format!("storage '{id}' is not available on node '{node}'")));
        }
        Ok(storage)
    }
    /// Adds a volume to a storage that exists.
    pub fn add_volume(&mut self, storage: &str, node: &str, volume: Volume) {
        if let Some(storage) = self.storages.get(storage) {
            self.volumes.put(storage, node, volume);
        }
    }
    /// Removes the volume `storage:name`, if it is there.
    pub fn remove_volume(&mut self, volid: &str, node: &str) -> Option<Volume> {
        let storage = self.storages.get(volid.split(':').next()?)?;
        self.volumes.remove(storage, node, volid)
    }

    /// The smallest free VMID from 100 (or from the datacenter's `next-id` range).
    pub fn next_id(&self) -> Option<u32> {
        let range = self.options.get("next-id");
        let bound = |key: &str| range.and_then(|r| r.get(key)).and_then(|v| v.as_str()?.parse::<u32>().ok());
        let (lower, upper) = (bound("lower").unwrap_or(100), bound("upper").unwrap_or(1_000_000));
        (lower..upper).find(|vmid| !self.guests.contains_key(vmid))
    }

    /// Adds a line to the cluster log, which keeps the last 1,000.
    pub fn log(&mut self, entry: LogEntry) {
        let uid = self.log.last().map_or(1, |last| last.uid + 1);
        if self.log.len() >= 1_000 {
            self.log.drain(..200);
        }
        self.log.push(LogEntry { uid, ..entry });
    }

    /// The statistics daemon's round: `/cluster/resources` learns names and states as they are now.
    pub fn report(&mut self, round: u64) {
        if round <= self.round && self.round > 0 {
            return;
        }
        self.round = round;
        for vmid in std::mem::take(&mut self.unseen) {
            if let Some(guest) = self.guests.get_mut(&vmid)
                && self.nodes.get(&guest.node).is_some_and(|node| node.online)
            {
                guest.shown = Some(guest.observe());
            }
        }
        self.change_all();
    }

    /// Notes a change that concerns every guest.
    pub fn change_all(&mut self) {
        self.generation += 1;
        self.changed = self.generation;
    }

    /// A MAC address with the datacenter's prefix.
    pub fn random_mac(&mut self) -> String {
        let prefix = self.options.get("mac_prefix").and_then(Value::as_str).unwrap_or("BC:24:11").to_owned();
        let mut byte = || self.random.u8(..);
        format!("{prefix}:{:02X}:{:02X}:{:02X}", byte(), byte(), byte())
    }
    /// A random (version 4) UUID.
    pub fn random_uuid(&mut self) -> String {
        let n = self.random.u128(..);
        let n = (n & !(0xf000 << 64) & !(0xc << 60)) | (0x4000 << 64) | (0x8 << 60);
        let hex = format!("{n:032x}");
        format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
    }
}
