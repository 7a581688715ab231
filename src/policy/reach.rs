//! What requests touch, read from the requests alone, whatever tool made them: guests, nodes, storages, sizes, commands.

use std::collections::{BTreeMap, BTreeSet};

use http::Method;

use crate::pve::{
    GuestKind, PropertyString, Request, Upid, decode, encode,
    options::{is_drive, volume},
    size,
};

/// Everything that some requests touch.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Reach {
    /// Guests that are changed, with their paths where the requests have them.
    pub guests: BTreeMap<u32, Option<Where>>,
    /// Guests that are made.
    pub made: BTreeMap<u32, Made>,
    /// Nodes all of whose guests are concerned; `None`: of the whole cluster.
    pub all_of: BTreeSet<Option<String>>,
    /// Pools all of whose guests are.
    pub pools: BTreeSet<String>,
    pub nodes: BTreeSet<String>,
    pub storages: BTreeSet<String>,
    pub sizes: Vec<Size>,
    /// Commands in guests; `None` for what is as good as one: files and passwords.
    pub commands: Vec<Option<Vec<String>>>,
}

/// Where a guest is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Where {
    pub node: String,
    pub kind: GuestKind,
}

/// A guest that does not exist yet.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Made {
    pub node: String,
    pub name: Option<String>,
    pub pool: Option<String>,
    pub tags: Vec<String>,
    /// The guest it is a copy of.
    pub from: Option<u32>,
}

/// What a request asks for, of one guest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Size {
    Cores {
        vmid: u32,
        cores: Option<u64>,
        sockets: Option<u64>,
    },
    /// Bytes.
    Memory(u64),
    /// Bytes of a new disk, or of one at its new size.
    Disk(u64),
    /// Bytes by which a disk grows.
    Grows {
        vmid: u32,
        disk: String,
        by: u64,
    },
}

const GIB: f64 = (1u64 << 30) as f64;

impl Reach {
    pub fn of(requests: &[Request]) -> Self {
        let mut reach = Self::default();
        for request in requests.iter().filter(|request| request.method != Method::GET) {
            reach.add(request);
        }
        reach
    }

    /// The VMID of the guest that a request makes, and where its configuration is going to be.
    pub fn makes(request: &Request) -> Option<(u32, String)> {
        let (vmid, made) = Self::of(std::slice::from_ref(request)).made.pop_first()?;
        let kind = if request.path.split('/').nth(3) == Some("lxc") { "lxc" } else { "qemu" };
        Some((vmid, format!("/nodes/{}/{kind}/{vmid}/config", encode(&made.node))))
    }

    /// Where that configuration is meanwhile: a clone for another node is made on its template's first.
    pub fn makes_first(request: &Request) -> Option<String> {
        let (vmid, _) = Self::makes(request)?;
        let mut segments = request.path.split('/').skip(2);
        let (node, kind) = (segments.next()?, segments.next()?);
        Some(format!("/nodes/{node}/{kind}/{vmid}/config"))
    }

    fn add(&mut self, request: &Request) {
        let segments: Vec<String> = request.path.split('/').skip(1).map(decode).collect();
        let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
        let param = |key: &str| request.param_of(key);
        // Whatever the path: these name guests in every request that has them.
        for key in ["vms", "vmids"] {
            self.touch_all(param(key).unwrap_or_default());
        }
        for sid in param("resources").unwrap_or_default().split(',') {
            self.touch_all(sid.split_once(':').map_or("", |(_, vmid)| vmid));
        }
        for key in ["storage", "targetstorage", "target-storage", "vmstatestorage"] {
            self.storages_of(param(key).unwrap_or_default());
        }
        match segments.as_slice() {
            ["nodes", node, rest @ ..] => {
                self.nodes.insert((*node).to_owned());
                self.nodes.extend(param("target").map(str::to_owned));
                self.on_node(request, node, rest);
            }
            ["cluster", "backup", ..] => self.backup(request, None),
            ["cluster", "ha", "resources", rest @ ..] => {
                let sid = rest.first().copied().or(param("sid")).unwrap_or_default();
                self.touch_all(sid.split_once(':').map_or(sid, |(_, vmid)| vmid));
                self.nodes.extend(param("node").map(str::to_owned));
            }
            ["cluster", "replication", rest @ ..] => self.job(rest.first().copied().or(param("id"))),
            ["cluster", "bulk-action", ..] if param("vms").is_none() => drop(self.all_of.insert(None)),
            ["access", "acl"] => self.acl(param("path").unwrap_or_default()),
            ["storage", storage, ..] => drop(self.storages.insert((*storage).to_owned())),
            _ => {}
        }
    }

    fn on_node(&mut self, request: &Request, node: &str, rest: &[&str]) {
        let param = |key: &str| request.param_of(key);
        match rest {
            [kind @ ("qemu" | "lxc")] => {
                let Some(vmid) = param("vmid").and_then(|vmid| vmid.parse().ok()) else { return };
                if param("force") == Some("1") {
                    self.guests.insert(vmid, Some(Where { node: node.to_owned(), kind: kind_of(kind) }));
                }
                let name = param("name").or(param("hostname"));
                self.make(vmid, node, name, request);
                self.config(request, vmid);
            }
            [kind @ ("qemu" | "lxc"), vmid, deed @ ..] => {
                let Ok(vmid) = vmid.parse::<u32>() else { return };
                if deed == ["clone"] {
                    let Some(new) = param("newid").and_then(|vmid| vmid.parse().ok()) else { return };
                    let name = param("name").or(param("hostname"));
                    self.make(new, param("target").unwrap_or(node), name, request);
                    if let Some(made) = self.made.get_mut(&new) {
                        made.from = Some(vmid);
                    }
                    return;
                }
                if !self.made.contains_key(&vmid) {
                    let at = Where { node: node.to_owned(), kind: kind_of(kind) };
                    self.guests.insert(vmid, Some(at));
                }
                match deed {
                    ["config"] => self.config(request, vmid),
                    ["resize"] => self.resize(request, vmid),
                    ["agent", "exec"] => self.commands.push(Some(command(request))),
                    ["agent", "file-write" | "set-user-password"] | ["monitor"] => self.commands.push(None),
                    // A volume may go to another guest.
                    ["move_disk" | "move_volume"] => self.touch_all(param("target-vmid").unwrap_or_default()),
                    _ => {}
                }
            }
            ["vzdump"] => self.backup(request, Some(node)),
            ["startall" | "stopall" | "suspendall" | "migrateall"] if param("vms").is_none() => {
                self.all_of.insert(Some(node.to_owned()));
            }
            // Restarting a node, or ending it, does the same to its guests.
            ["status"] => drop(self.all_of.insert(Some(node.to_owned()))),
            ["storage", storage, rest @ ..] => {
                self.storages.insert((*storage).to_owned());
                match rest {
                    ["content"] => self.touch_all(param("vmid").unwrap_or_default()),
                    ["content", volid @ ..] => self.touch_all(owner(&volid.join("/")).unwrap_or_default()),
                    ["prunebackups"] => match param("vmid") {
                        Some(vmid) => self.touch_all(vmid),
                        None => drop(self.all_of.insert(None)),
                    },
                    _ => {}
                }
            }
            ["replication", job, ..] => self.job(Some(job)),
            ["tasks", upid] => {
                if let Ok(upid) = upid.parse::<Upid>() {
                    self.touch_all(&upid.id);
                }
            }
            _ => {}
        }
    }

    /// A replication job is its guest's: `100-0`.
    fn job(&mut self, id: Option<&str>) {
        self.touch_all(id.and_then(|id| id.split('-').next()).unwrap_or_default());
    }

    /// Adds the guests of a list; what is no VMID is left out.
    fn touch_all(&mut self, vmids: &str) {
        for vmid in vmids.split([',', ';', ' ']).filter_map(|vmid| vmid.trim().parse().ok()) {
            if !self.made.contains_key(&vmid) {
                self.guests.entry(vmid).or_default();
            }
        }
    }

    fn make(&mut self, vmid: u32, node: &str, name: Option<&str>, request: &Request) {
        let text = |key: &str| request.param_of(key).map(str::to_owned);
        let tags = request.param_of("tags").unwrap_or_default();
        let tags = tags.split([',', ';', ' ']).filter(|tag| !tag.is_empty()).map(str::to_owned).collect();
        let made = Made { node: node.to_owned(), name: name.map(str::to_owned), pool: text("pool"), tags, from: None };
        self.made.insert(vmid, made);
    }

    /// Which guests a backup, or a job, is of.
    fn backup(&mut self, request: &Request, node: Option<&str>) {
        self.touch_all(request.param_of("vmid").unwrap_or_default());
        self.pools.extend(request.param_of("pool").map(str::to_owned));
        if request.param_of("all") == Some("1") {
            self.all_of.insert(node.map(str::to_owned));
        }
    }

    /// Rights at a path are rights on everything below it.
    fn acl(&mut self, path: &str) {
        match path.split('/').skip(1).collect::<Vec<_>>().as_slice() {
            ["vms", vmid] => self.touch_all(vmid),
            [""] | ["vms"] => drop(self.all_of.insert(None)),
            ["pool", pool @ ..] => drop(self.pools.insert(pool.join("/"))),
            ["nodes", node] => drop(self.nodes.insert((*node).to_owned())),
            ["storage", storage] => drop(self.storages.insert((*storage).to_owned())),
            _ => {}
        }
    }

    /// One storage, or a mapping of one to another for each.
    fn storages_of(&mut self, text: &str) {
        for part in text.split(',').map(str::trim).filter(|part| !part.is_empty() && *part != "1") {
            let target = part.split_once(':').map_or(part, |(_, target)| target);
            self.storages.insert(target.to_owned());
        }
    }

    fn config(&mut self, request: &Request, vmid: u32) {
        let number = |key: &str| request.param_of(key).and_then(|text| text.parse::<u64>().ok());
        if number("cores").or(number("sockets")).is_some() {
            self.sizes.push(Size::Cores { vmid, cores: number("cores"), sockets: number("sockets") });
        }
        if let Some(memory) = request.param_of("memory") {
            let memory = PropertyString::parse(memory);
            let mib = memory.first().or_else(|| memory.get("current")).and_then(|text| text.parse::<u64>().ok());
            self.sizes.extend(mib.map(|mib| Size::Memory(mib << 20)));
        }
        for (key, value) in request.plain_params().filter(|(key, _)| is_drive(key)) {
            let Some((storage, name)) = volume(value).split_once(':') else { continue };
            if key.starts_with("ide") && value.contains("media=cdrom") && name != "cloudinit" {
                continue;
            }
            self.storages.insert(storage.to_owned());
            let gib = name.parse::<f64>().ok().filter(|gib| *gib > 0.0);
            self.sizes.extend(gib.map(|gib| Size::Disk((gib * GIB) as u64)));
            // A volume of somebody else's.
            if gib.is_none() {
                self.touch_all(owner(name).filter(|owner| *owner != vmid.to_string()).unwrap_or_default());
            }
        }
    }

    fn resize(&mut self, request: &Request, vmid: u32) {
        let (Some(disk), Some(text)) = (request.param_of("disk"), request.param_of("size")) else { return };
        let Some(bytes) = size::configured(text.trim_start_matches('+')) else { return };
        self.sizes.push(match text.starts_with('+') {
            true => Size::Grows { vmid, disk: disk.to_owned(), by: bytes },
            false => Size::Disk(bytes),
        });
    }
}

fn kind_of(path: &str) -> GuestKind {
    if path == "qemu" { GuestKind::Qemu } else { GuestKind::Lxc }
}

/// A command's words, in order.
fn command(request: &Request) -> Vec<String> {
    request.plain_params().filter(|(key, _)| *key == "command").map(|(_, word)| word.to_owned()).collect()
}

/// The VMID in a volume's name: `vm-100-disk-0`, `100/vm-100-disk-0.qcow2`, `backup/vzdump-qemu-100-…`.
fn owner(volid: &str) -> Option<&str> {
    let name = volid.rsplit(['/', ':']).next()?;
    let rest = ["vm-", "base-", "subvol-", "basevol-", "vzdump-qemu-", "vzdump-lxc-"]
        .into_iter()
        .find_map(|start| name.strip_prefix(start));
    // Proxmox Backup Server: backup/vm/100/2026-…
    let rest =
        rest.or_else(|| volid.split_once("backup/vm/").or(volid.split_once("backup/ct/")).map(|(_, rest)| rest))?;
    rest.split(['-', '/', '.']).next().filter(|vmid| vmid.parse::<u32>().is_ok())
}

#[cfg(test)]
mod tests;
