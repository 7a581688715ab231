//! One guest (VM or container) of the simulated cluster: configuration, run state, snapshots, and what the statistics
//! daemon last told the cluster about it.

use std::fmt::Write;

use super::config::{Config, digest, parse_size, property};
use crate::pve::GuestKind;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    Qemu,
    Lxc,
}

impl From<Kind> for GuestKind {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::Qemu => Self::Qemu,
            Kind::Lxc => Self::Lxc,
        }
    }
}

impl Kind {
    /// As in paths and in `type`: `qemu`, `lxc`.
    pub fn path(self) -> &'static str {
        match self {
            Self::Qemu => "qemu",
            Self::Lxc => "lxc",
        }
    }
    /// As in messages: `VM`, `CT`.
    pub fn word(self) -> &'static str {
        match self {
            Self::Qemu => "VM",
            Self::Lxc => "CT",
        }
    }
    /// The folder of the configuration files under `nodes/{node}/`.
    pub fn folder(self) -> &'static str {
        match self {
            Self::Qemu => "qemu-server",
            Self::Lxc => "lxc",
        }
    }
}

/// A running guest.
#[derive(Debug, Clone, PartialEq)]
pub struct Run {
    /// Simulated Unix time of the start.
    pub since: u64,
    pub pid: u32,
    /// A VM paused by `status/suspend`.
    pub paused: bool,
    /// The configuration it was started with: what `current=1` shows while changes are pending.
    pub started_with: Config,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Snapshot {
    pub name: String,
    /// The configuration at that time (without snapshot keys).
    pub config: Config,
    /// Simulated Unix time.
    pub time: u64,
    pub parent: Option<String>,
    pub description: Option<String>,
    /// RAM was saved too.
    pub vmstate: bool,
}

/// What `/cluster/resources` knows of a guest beyond its existence: as of the statistics daemon's last round.
#[derive(Debug, Clone, PartialEq)]
pub struct Shown {
    pub name: Option<String>,
    /// Simulated Unix time of the start, where it was running.
    pub running_since: Option<u64>,
    pub template: bool,
    pub maxcpu: f64,
    pub maxmem: u64,
    pub maxdisk: u64,
}

#[derive(Debug, Clone)]
pub struct Guest {
    pub vmid: u32,
    pub kind: Kind,
    pub node: String,
    /// The configuration, text values as in the file; with `lock`, `template`, `parent`, and so on among them.
    pub config: Config,
    /// Changes that wait for a restart: key → value, and keys to be deleted.
    pub pending: Config,
    pub pending_delete: Vec<String>,
    /// Those of them whose volumes are to be destroyed.
    pub pending_force: Vec<String>,
    /// Oldest first. The current state's parent is the `parent` key of `config`.
    pub snapshots: Vec<Snapshot>,
    pub run: Option<Run>,
    /// When it last ran: Unix times of start and end.
    pub ran: Option<(u64, u64)>,
    /// Present once the statistics daemon has seen it.
    pub shown: Option<Shown>,
    /// The generation of the state in which it last changed; kept by the state.
    pub changed: u64,
}

impl Guest {
    pub fn new(vmid: u32, kind: Kind, node: &str, config: Config) -> Self {
        Self {
            vmid,
            kind,
            node: node.to_owned(),
            config,
            pending: Config::new(),
            pending_delete: Vec::new(),
            pending_force: Vec::new(),
            snapshots: Vec::new(),
            run: None,
            ran: None,
            shown: None,
            changed: 0,
        }
    }

    /// The name: `name` of a VM (`VM {vmid}` where there is none), `hostname` of a container (`CT{vmid}`).
    pub fn name(&self) -> Option<String> {
        match self.kind {
            Kind::Qemu => Some(self.config.get("name").map_or_else(|| format!("VM {}", self.vmid), str::to_owned)),
            Kind::Lxc => Some(self.config.get("hostname").map_or_else(|| format!("CT{}", self.vmid), str::to_owned)),
        }
    }
    pub fn is_running(&self) -> bool {
        self.run.is_some()
    }
    /// `running` or `stopped`.
    pub fn status(&self) -> &'static str {
        if self.run.is_some() { "running" } else { "stopped" }
    }
    pub fn is_template(&self) -> bool {
        self.config.flag("template")
    }
    /// The configuration lock: `backup`, `clone`, …
    pub fn lock(&self) -> Option<&str> {
        self.config.get("lock")
    }
    /// Seconds since the start; 0 when stopped.
    pub fn uptime(&self, now: u64) -> u64 {
        self.run.as_ref().map_or(0, |run| now.saturating_sub(run.since).max(1))
    }

    /// Number of virtual CPUs (containers: `cores`, fractions of `cpulimit` do not count here).
    pub fn maxcpu(&self) -> f64 {
        let int = |key| self.config.int(key);
        match self.kind {
            Kind::Qemu => {
                int("vcpus").unwrap_or_else(|| int("cores").unwrap_or(1) * int("sockets").unwrap_or(1)).max(1) as f64
            }
            Kind::Lxc => int("cores").unwrap_or(1) as f64,
        }
    }
    /// Configured memory, in bytes.
    pub fn maxmem(&self) -> u64 {
        let megabytes =
            self.config.get("memory").and_then(|text| text.trim_start_matches("current=").parse::<u64>().ok());
        megabytes.unwrap_or(512) << 20
    }
    /// Size of the boot disk or root file system, in bytes.
    pub fn maxdisk(&self) -> u64 {
        let key = match self.kind {
            Kind::Lxc => "rootfs".to_owned(),
            Kind::Qemu => self.boot_disk().unwrap_or_default(),
        };
        let size = self.config.get(&key).and_then(|value| property(value, "size")).and_then(parse_size);
        size.unwrap_or(if self.kind == Kind::Lxc { 4 << 30 } else { 0 })
    }
    /// The key of a VM's boot disk: the first disk of the boot order, else the first disk there is.
    pub fn boot_disk(&self) -> Option<String> {
        let order = self.config.get("boot").and_then(|boot| property(boot, "order")).unwrap_or_default();
        let ordered = order.split(';').find(|key| self.is_disk(key)).map(str::to_owned);
        ordered.or_else(|| {
            let mut keys: Vec<_> = self.config.keys().filter(|key| self.is_disk(key)).collect();
            keys.sort_unstable();
            keys.first().map(|key| (*key).to_owned())
        })
    }
    /// Whether the key holds a disk image (not a CD-ROM, not a cloud-init drive).
    pub fn is_disk(&self, key: &str) -> bool {
        is_drive_key(self.kind, key)
            && self.config.get(key).is_some_and(|value| {
                property(value, "media") != Some("cdrom") && !value.contains("cloudinit") && !value.starts_with("none")
            })
    }
    /// The volumes of the configuration: key and volume id; CD-ROMs of an ISO are not owned and left out.
    pub fn volumes(&self) -> Vec<(String, String)> {
        let drive = |key: &str| is_drive_key(self.kind, key) || is_numbered(key, "unused");
        let volumes = self.config.iter().filter(|(key, _)| drive(key)).filter_map(|(key, value)| {
            let volid =
                property(value, "").or_else(|| property(value, "file")).or_else(|| property(value, "volume"))?;
            let owned = volid.contains(':') && !volid.contains(":iso/");
            owned.then(|| (key.to_owned(), volid.to_owned()))
        });
        volumes.collect()
    }

    /// The configuration file as PVE writes it, with the pending section and the snapshots.
    pub fn file(&self) -> String {
        let mut out = String::new();
        self.config.write(&mut out);
        if !self.pending.is_empty() || !self.pending_delete.is_empty() {
            out.push_str(if self.kind == Kind::Qemu { "\n[PENDING]\n" } else { "\n[pve:pending]\n" });
            if !self.pending_delete.is_empty() {
                let mark = |key: &String| if self.pending_force.contains(key) { "!" } else { "" };
                let keys = self.pending_delete.iter().map(|key| format!("{}{key}", mark(key)));
                let _ = writeln!(out, "delete: {}", keys.collect::<Vec<_>>().join(","));
            }
            self.pending.write(&mut out);
        }
        for snapshot in &self.snapshots {
            let _ = writeln!(out, "\n[{}]", snapshot.name);
            for line in snapshot.description.iter().flat_map(|text| text.lines()) {
                let _ = writeln!(out, "#{line}");
            }
            snapshot.config.write(&mut out);
            let _ = writeln!(out, "snaptime: {}", snapshot.time);
            if let Some(parent) = &snapshot.parent {
                let _ = writeln!(out, "parent: {parent}");
            }
        }
        out
    }
    /// The digest that guards configuration changes.
    pub fn digest(&self) -> String {
        digest(&self.file())
    }

    /// What the statistics daemon would report at this moment.
    pub fn observe(&self) -> Shown {
        Shown {
            name: self.name(),
            running_since: self.run.as_ref().map(|run| run.since),
            template: self.is_template(),
            maxcpu: self.maxcpu(),
            maxmem: self.maxmem(),
            maxdisk: self.maxdisk(),
        }
    }
}

/// `net0` is `net` and a number.
pub fn is_numbered(key: &str, prefix: &str) -> bool {
    key.strip_prefix(prefix).is_some_and(|rest| !rest.is_empty() && rest.bytes().all(|b| b.is_ascii_digit()))
}

/// Whether the key names a drive of a VM or a mount point of a container.
pub fn is_drive_key(kind: Kind, key: &str) -> bool {
    match kind {
        Kind::Qemu => {
            ["scsi", "virtio", "sata", "ide"].iter().any(|bus| is_numbered(key, bus))
                || key == "efidisk0"
                || key == "tpmstate0"
        }
        Kind::Lxc => key == "rootfs" || is_numbered(key, "mp"),
    }
}
