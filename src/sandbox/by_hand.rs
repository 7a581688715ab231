//! What an administrator does at a node's shell, past the API: for tests that need a certain guest, storage or lock to
//! be there. None of it can be reached over the API.

use secrecy::SecretString;
use tokio::sync::OwnedMutexGuard;

use super::{
    Sandbox,
    access::{Access, Token, User},
    config::Config,
    guest::{Guest, Kind, Run, Snapshot},
    storage::{Storage, Volume, Volumes},
};

/// The hands; see [`Sandbox::by_hand`].
#[derive(Debug)]
pub struct ByHand<'a>(&'a Sandbox);

/// For how many seconds a guest that is started by hand has been running: it is up.
const UP: u64 = 60;

/// A guest's file lock; held until it is dropped.
#[derive(Debug)]
pub struct HeldLock {
    _held: OwnedMutexGuard<()>,
}

/// A volume to be put onto a storage.
#[derive(Debug, Clone, Copy)]
pub struct NewVolume<'a> {
    /// `local:iso/debian.iso`.
    pub volid: &'a str,
    /// `images`, `iso`, `vztmpl`, `backup`, …
    pub content: &'a str,
    pub format: &'a str,
    /// Bytes, and how many of them hold something.
    pub size: u64,
    pub used: u64,
    pub vmid: Option<u32>,
}

impl Sandbox {
    /// Work at a node's shell.
    pub fn by_hand(&self) -> ByHand<'_> {
        ByHand(self)
    }
}

impl ByHand<'_> {
    /// Leaves the nodes and nothing else: no guests, storages, pools, firewalls, HA, SDN, updates, tasks, log, and of the accounts `root@pam` alone,
    /// without tokens.
    pub fn clear(&self) -> &Self {
        let mut state = self.0.state();
        let vmids: Vec<u32> = state.guests().keys().copied().collect();
        for vmid in vmids {
            state.remove_guest(vmid);
        }
        state.storages.clear();
        state.volumes = Volumes::default();
        state.pools.clear();
        state.backup_jobs.clear();
        state.replication.clear();
        state.firewalls.clear();
        state.ha = super::ha::Ha::default();
        state.sdn = super::sdn::Sdn::default();
        for node in state.nodes.values_mut() {
            node.updates.clear();
        }
        state.tasks = super::tasks::Tasks::default();
        state.log.clear();
        state.options.retain(|key, _| key == "mac_prefix");
        let old = std::mem::take(&mut state.access);
        let root = User { enable: true, ..User::default() };
        let users = [("root@pam".to_owned(), root)].into_iter().collect();
        state.access = Access { users, realms: old.realms, ..Access::default() };
        drop(state);
        self
    }

    /// Puts a node into maintenance, or takes it out: `ha-manager crm-command node-maintenance`.
    pub fn maintenance(&self, node: &str, on: bool) -> &Self {
        let mut state = self.0.state();
        match on {
            true => drop(state.ha.maintenance.insert(node.to_owned())),
            false => drop(state.ha.maintenance.remove(node)),
        }
        drop(state);
        self
    }

    /// A managed guest that could not be started as often as its settings allow: `vm:100`.
    pub fn ha_gives_up(&self, sid: &str) -> &Self {
        let mut state = self.0.state();
        state.ha.errors.insert(sid.to_owned());
        state.change_all();
        drop(state);
        self
    }

    /// From now on runs of a replication job fail; so many have, one after the other.
    pub fn replication_fails(&self, id: &str, count: u32, words: &str) -> &Self {
        let since = self.0.clock().now();
        if let Some(job) = self.0.state().replication.get_mut(id) {
            job.failing = Some(super::replication::Failing { since, count, words: words.to_owned() });
        }
        self
    }

    /// Writes a rule of HA.
    pub fn ha_rule(&self, name: &str, options: &[(&str, &str)]) -> &Self {
        let options = options.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        self.0.state().ha.rules.insert(name.to_owned(), options);
        self
    }

    /// Makes a user, or changes the password of one.
    pub fn password(&self, user: &str, password: &str) -> &Self {
        let mut state = self.0.state();
        let account = state.access.users.entry(user.to_owned()).or_default();
        account.enable = true;
        account.password = Some(SecretString::from(password));
        drop(state);
        self
    }

    /// Makes a token, `user@realm!name`, with all rights of its user, who has to be there.
    pub fn token(&self, id: &str, secret: &str) -> &Self {
        let mut state = self.0.state();
        if let Some((user, name)) = id.split_once('!')
            && let Some(user) = state.access.users.get_mut(user)
        {
            let token = Token { secret: secret.into(), privsep: false, expire: 0, comment: None };
            user.tokens.insert(name.to_owned(), token);
        }
        drop(state);
        self
    }

    /// Takes every backup job out of jobs.cfg.
    pub fn forget_backup_jobs(&self) -> &Self {
        self.0.state().backup_jobs.clear();
        self
    }

    /// Adds a storage of so many bytes to storage.cfg.
    pub fn storage(&self, id: &str, plugin: &str, total: u64, settings: &[(&str, &str)]) -> &Self {
        let config: Config = settings.iter().copied().collect();
        let storage = Storage { id: id.to_owned(), plugin: plugin.to_owned(), config, total };
        self.0.state().storages.insert(id.to_owned(), storage);
        self
    }

    /// Puts a volume onto a storage that is there.
    pub fn volume(&self, node: &str, new: NewVolume<'_>) -> &Self {
        let mut volume = Volume::new(new.volid, new.content, new.format, new.size).at(self.0.clock().now());
        volume.used = new.used;
        volume.vmid = new.vmid;
        let mut state = self.0.state();
        if new.content == "backup" {
            let guest = new.vmid.and_then(|vmid| state.guests().get(&vmid));
            volume.saved = guest.map(|guest| (guest.kind, guest.config.clone()));
        }
        let storage = new.volid.split(':').next().unwrap_or_default();
        state.add_volume(storage, node, volume);
        drop(state);
        self
    }

    /// Writes the configuration file of a guest, `qemu/100` or `lxc/100`, and starts it where it is to run.
    pub fn guest(&self, guest: &str, node: &str, config: &[(&str, &str)], running: bool) -> &Self {
        let (kind, vmid) = guest.split_once('/').unwrap_or(("qemu", guest));
        let kind = if kind == "lxc" { Kind::Lxc } else { Kind::Qemu };
        let config: Config = config.iter().copied().collect();
        let mut state = self.0.state();
        let mut guest = Guest::new(vmid.parse().unwrap_or(100), kind, node, config.clone());
        if running {
            let pid = state.tasks.next_pid();
            guest.run =
                Some(Run { since: self.0.clock().now().saturating_sub(UP), pid, paused: false, started_with: config });
        }
        state.add_guest(guest);
        drop(state);
        self
    }

    /// Removes a guest's configuration file; its volumes stay.
    pub fn remove(&self, vmid: u32) -> &Self {
        self.0.state().remove_guest(vmid);
        self
    }

    /// Starts or kills a guest.
    pub fn run(&self, vmid: u32, running: bool) -> &Self {
        let now = self.0.clock().now();
        let mut state = self.0.state();
        let pid = state.tasks.next_pid();
        if let Some(guest) = state.guest_mut(vmid) {
            let started_with = guest.config.clone();
            guest.run = running.then_some(Run { since: now.saturating_sub(UP), pid, paused: false, started_with });
        }
        drop(state);
        self
    }

    /// Sets or removes a line of a guest's configuration file: `lock`, for one.
    pub fn set(&self, vmid: u32, key: &str, value: Option<&str>) -> &Self {
        if let Some(guest) = self.0.state().guest_mut(vmid) {
            match value {
                Some(value) => guest.config.set(key, value),
                None => drop(guest.config.remove(key)),
            }
        }
        self
    }

    /// Takes a snapshot of a guest as it is, with its memory where it runs.
    pub fn snapshot(&self, vmid: u32, name: &str) -> &Self {
        let time = self.0.clock().now();
        if let Some(guest) = self.0.state().guest_mut(vmid) {
            let mut config = guest.config.clone();
            let parent = config.remove("parent");
            let vmstate = guest.is_running();
            guest.snapshots.push(Snapshot { name: name.to_owned(), config, time, parent, description: None, vmstate });
            guest.config.set("parent", name);
        }
        self
    }

    /// Takes a guest's file lock, waiting for whoever has it.
    pub async fn hold_lock(&self, vmid: u32) -> HeldLock {
        let kind = self.0.state().guests().get(&vmid).map_or(Kind::Qemu, |guest| guest.kind);
        HeldLock { _held: self.0.file_lock(kind, vmid).lock_owned().await }
    }
}
