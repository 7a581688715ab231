//! New guests: VMs from nothing, containers from a template; restoring a backup begins here too.

use std::time::Duration;

use super::{
    kind,
    options::{check_privileges, check_values, options_of},
    power, restore,
    update::{Change, apply},
};
use crate::sandbox::{
    Sandbox,
    call::Call,
    config::{Config, property},
    drives::{Drive, check_storage, missing},
    guest::{Guest, Kind, is_drive_key},
    router::Route,
    state::State,
    storage::Volume,
    wire::{Answered, Refusal},
    worker::Worker,
};

pub const ROUTES: &[Route] = &[Route::post("/nodes/{node}/qemu", create), Route::post("/nodes/{node}/lxc", create)];

fn create(call: &Call) -> Answered {
    let (kind, vmid) = (kind(call), call.vmid());
    let archive = match kind {
        Kind::Qemu => call.get("archive"),
        Kind::Lxc if call.flag("restore") => call.get("ostemplate"),
        Kind::Lxc => None,
    };
    may_create(call, vmid, archive.is_some())?;
    if archive.is_none() || !call.flag("force") {
        let words = if kind == Kind::Qemu { format!("unable to create VM {vmid} - ") } else { String::new() };
        vacant(&call.sandbox.state(), vmid).map_err(|taken| {
            let restoring = if archive.is_some() && kind == Kind::Qemu { "unable to restore" } else { "" };
            let words = if restoring.is_empty() { words } else { format!("{restoring} VM {vmid} - ") };
            Refusal::failed(format!("{words}{taken}"))
        })?;
    }
    let mut set = options_of(call);
    let keys: Vec<_> = set.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
    if call.get("pool").is_none() {
        check_privileges(call, kind, &keys)?;
    }
    let rootfs = kind == Kind::Lxc && archive.is_none() && !set.iter().any(|(key, _)| key == "rootfs");
    if rootfs {
        let storage = call.get("storage").unwrap_or("local");
        set.push(("rootfs".to_owned(), format!("{storage}:4")));
    }
    check_values(call, kind, &mut set)?;
    if let Some(storage) = call.get("storage") {
        check_storage(&call.sandbox.state(), storage, call.node(), kind)?;
    }
    match archive {
        Some(archive) => restore::restore(call, kind, archive, set),
        None if kind == Kind::Qemu => create_vm(call, set),
        None => create_container(call, set),
    }
}

/// Whether the caller may make a guest of this number, or in the pool that it goes into; who may back one up may also put it
/// back in its place.
fn may_create(call: &Call, vmid: u32, restoring: bool) -> Result<(), Refusal> {
    let state = call.sandbox.state();
    if let Some(pool) = call.get("pool") {
        if !state.pools.contains_key(pool) {
            return Err(Refusal::forbidden(&format!("pool '{pool}' does not exist")));
        }
        if state.may(&call.who, &format!("/pool/{pool}"), "VM.Allocate") {
            return Ok(());
        }
    }
    let path = format!("/vms/{vmid}");
    let back = restoring && call.flag("force") && state.guests().contains_key(&vmid);
    if state.may(&call.who, &path, "VM.Allocate") || (back && state.may(&call.who, &path, "VM.Backup")) {
        return Ok(());
    }
    Err(Refusal::forbidden(""))
}

/// # Errors
/// Who has the number, in PVE's words.
pub(super) fn vacant(state: &State, vmid: u32) -> Result<(), String> {
    match state.guests().get(&vmid) {
        Some(guest) => Err(format!("{} {vmid} already exists on node '{}'", guest.kind.word(), guest.node)),
        None => Ok(()),
    }
}

/// A guest that is being made: its number is taken already. Unless it is finished, it goes again with its volumes,
/// whatever became of the task.
pub(super) struct Making {
    sandbox: Sandbox,
    node: String,
    vmid: u32,
    finished: bool,
}

impl Making {
    pub(super) fn new(sandbox: &Sandbox, node: &str, vmid: u32) -> Self {
        Self { sandbox: sandbox.clone(), node: node.to_owned(), vmid, finished: false }
    }

    /// The guest is there; its lock is taken off.
    pub(super) fn finish(mut self) {
        self.finished = true;
        if let Some(guest) = self.sandbox.state().guest_mut(self.vmid) {
            guest.config.remove("lock");
        }
    }
}

impl State {
    /// Removes all disks of a guest that are on a node's storages, used or not.
    pub(super) fn remove_images(&mut self, vmid: u32, node: &str) {
        let storages: Vec<_> = self.storages.values().filter(|s| s.is_on(node) && s.is_enabled()).cloned().collect();
        for storage in storages {
            let disk =
                |volume: &&Volume| volume.vmid == Some(vmid) && matches!(volume.content.as_str(), "images" | "rootdir");
            let left = self.volumes.on(&storage, node).filter(disk).map(|volume| volume.volid.clone());
            for volid in left.collect::<Vec<_>>() {
                self.volumes.remove(&storage, node, &volid);
            }
        }
    }
}

impl Drop for Making {
    fn drop(&mut self) {
        if self.finished {
            return;
        }
        let mut state = self.sandbox.state();
        state.remove_images(self.vmid, &self.node);
        state.remove_guest(self.vmid);
    }
}

/// Takes the number of a new guest, and puts it into its pool.
pub(super) fn reserve(call: &Call, kind: Kind, vmid: u32) -> Making {
    let mut state = call.sandbox.state();
    let config = Config::new().with("lock", "create");
    state.add_guest(Guest::new(vmid, kind, call.node(), config));
    if let Some(pool) = call.get("pool") {
        state.set_pool(vmid, Some(pool));
    }
    drop(state);
    Making::new(&call.sandbox, call.node(), vmid)
}

fn create_vm(call: &Call, set: Vec<(String, String)>) -> Answered {
    let (vmid, node, now) = (call.vmid(), call.node().to_owned(), call.now());
    let start = call.flag("start");
    let making = reserve(call, Kind::Qemu, vmid);
    call.fork(&node.clone(), "qmcreate", vmid, async move |worker| {
        let lock = worker.lock(Kind::Qemu, vmid).await?;
        let disks = set.iter().filter(|(key, _)| is_drive_key(Kind::Qemu, key)).count() as u32;
        worker.work(Duration::from_millis(300) + Duration::from_millis(600) * disks).await;
        let mut log = Vec::new();
        let result = {
            let mut state = worker.sandbox.state();
            let change = Change { set, ..Change::default() };
            let done = apply(&mut state, (&node, Kind::Qemu, vmid), &change, now, &mut log);
            done.map_err(|refusal| format!("unable to create VM {vmid} - {}", refusal.message))
        };
        log.into_iter().for_each(|line| worker.log(line));
        result?;
        complete(&mut worker.sandbox.state(), vmid, now);
        making.finish();
        if start {
            worker.log("Execute autostart");
            // A failing start does not make the creation fail.
            if let Err(error) = power::bring_up(&worker, &node, Kind::Qemu, vmid, false).await {
                worker.warn(&error);
            }
        }
        drop(lock);
        Ok(())
    })
}

/// What every new VM is given: boot order, identity, creation time.
pub(super) fn complete(state: &mut State, vmid: u32, now: u64) {
    let (uuid, generation) = (state.random_uuid(), state.random_uuid());
    let Some(guest) = state.guest_mut(vmid) else { return };
    if !guest.config.has("boot") {
        guest.config.set("boot", default_boot(guest));
    }
    guest.config.set("meta", format!("creation-qemu=10.0.13,ctime={now}"));
    if !guest.config.has("smbios1") {
        guest.config.set("smbios1", format!("uuid={uuid}"));
    }
    if !guest.config.has("vmgenid") || guest.config.get("vmgenid") == Some("1") {
        guest.config.set("vmgenid", generation);
    }
}

/// The first disk, the first CD-ROM, the first network device.
fn default_boot(guest: &Guest) -> String {
    let drives = guest.drives();
    let bootable = |key: &str| !key.starts_with("efidisk") && !key.starts_with("tpmstate");
    let disk = drives.iter().find(|(key, drive)| bootable(key) && !drive.is_cdrom());
    let cdrom = drives.iter().find(|(_, drive)| drive.is_cdrom() && !drive.is_cloud_init());
    let mut nets: Vec<_> = guest.config.keys().filter(|key| key.starts_with("net")).collect();
    nets.sort_unstable();
    let order = [disk.map(|(key, _)| key.as_str()), cdrom.map(|(key, _)| key.as_str()), nets.first().copied()];
    let order: Vec<_> = order.into_iter().flatten().collect();
    if order.is_empty() { " ".to_owned() } else { format!("order={}", order.join(";")) }
}

fn create_container(call: &Call, set: Vec<(String, String)>) -> Answered {
    let (vmid, node, now) = (call.vmid(), call.node().to_owned(), call.now());
    let template = call.text("ostemplate").to_owned();
    let start = call.flag("start");
    let making = reserve(call, Kind::Lxc, vmid);
    call.fork(&node.clone(), "vzcreate", vmid, async move |worker| {
        let lock = worker.lock(Kind::Lxc, vmid).await?;
        build(&worker, &node, vmid, (&template, set), now).await?;
        making.finish();
        if start {
            power::bring_up(&worker, &node, Kind::Lxc, vmid, false).await?;
        }
        drop(lock);
        Ok(())
    })
}

/// Makes the container's root file system and configuration.
async fn build(
    worker: &Worker,
    node: &str,
    vmid: u32,
    (template, set): (&str, Vec<(String, String)>),
    now: u64,
) -> Result<(), String> {
    worker.work(Duration::from_millis(800)).await;
    let hostname = format!("CT{vmid}");
    let mut all = vec![
        ("arch".to_owned(), "amd64".to_owned()),
        ("hostname".to_owned(), hostname),
        ("memory".to_owned(), "512".to_owned()),
        ("swap".to_owned(), "512".to_owned()),
        ("ostype".to_owned(), ostype(template).to_owned()),
    ];
    for (key, value) in set {
        match all.iter_mut().find(|(known, _)| *known == key) {
            Some((_, old)) => *old = value,
            None => all.push((key, value)),
        }
    }
    let mut log = Vec::new();
    let applied = {
        let mut state = worker.sandbox.state();
        let change = Change { set: all, ..Change::default() };
        apply(&mut state, (node, Kind::Lxc, vmid), &change, now, &mut log)
    };
    let size = root_size(&worker.sandbox.state(), vmid);
    for line in log.into_iter().filter(|line| !line.contains("successfully created disk")) {
        worker.log(line);
        file_system(worker, size);
    }
    applied.map_err(|refusal| format!("unable to create CT {vmid} - {}", refusal.message))?;
    let archive = {
        let state = worker.sandbox.state();
        let storage = state.storage(template.split(':').next().unwrap_or_default(), node);
        storage.ok().and_then(|storage| {
            let volume = state.volumes.get(storage, node, template)?;
            let name = template.rsplit('/').next().unwrap_or_default();
            Some((format!("{}/template/cache/{name}", storage.path()), volume.size))
        })
    };
    let Some((path, bytes)) = archive else {
        worker.log(missing(template));
        return Err(format!("unable to create CT {vmid} - {}", missing(template)));
    };
    worker.log(format!("extracting archive '{path}'"));
    worker.work(Duration::from_secs_f64(0.5 + bytes as f64 / 2e8)).await;
    let read = bytes * 3;
    worker.log(format!("Total bytes read: {read} ({:.1}MiB, 200MiB/s)", read as f64 / f64::from(1 << 20)));
    worker.log("Detected container architecture: amd64");
    let mut state = worker.sandbox.state();
    let volumes = state.guests().get(&vmid).map(Guest::volumes).unwrap_or_default();
    for (_, volid) in volumes.into_iter().filter(|(key, _)| key == "rootfs") {
        fill(&mut state, node, &volid, read);
    }
    Ok(())
}

fn root_size(state: &State, vmid: u32) -> u64 {
    state.guests().get(&vmid).map_or(0, Guest::maxdisk)
}

/// Notes that a volume holds something.
pub(super) fn fill(state: &mut State, node: &str, volid: &str, used: u64) {
    let Some(storage) = state.storages.get(volid.split(':').next().unwrap_or_default()) else { return };
    if let Some(volume) = state.volumes.get_mut(storage, node, volid) {
        volume.used = used.min(volume.size).max(volume.used);
    }
}

/// What mkfs prints for a file system of so many bytes.
pub(super) fn file_system(worker: &Worker, size: u64) {
    let uuid = worker.sandbox.state().random_uuid();
    let blocks = size / 4096;
    worker.log(format!("Creating filesystem with {blocks} 4k blocks and {} inodes", blocks / 4));
    worker.log(format!("Filesystem UUID: {uuid}"));
    worker.log("Superblock backups stored on blocks: ");
    let backups: Vec<_> = [32_768_u64, 98_304, 163_840, 229_376, 294_912, 819_200, 884_736, 1_605_632]
        .iter()
        .filter(|block| **block < blocks)
        .map(ToString::to_string)
        .collect();
    worker.log(format!("\t{}", backups.join(", ")));
}

/// The distribution, from the template's name.
fn ostype(template: &str) -> &'static str {
    const KNOWN: [&str; 10] =
        ["alpine", "archlinux", "centos", "debian", "devuan", "fedora", "gentoo", "nixos", "opensuse", "ubuntu"];
    KNOWN.iter().find(|name| template.contains(*name)).copied().unwrap_or("unmanaged")
}

/// The size in a drive's text, in bytes.
pub(super) fn size_of(text: &str) -> u64 {
    property(text, "size").and_then(crate::sandbox::config::parse_size).unwrap_or_else(|| Drive::parse(text).size())
}
