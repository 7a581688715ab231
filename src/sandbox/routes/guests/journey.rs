//! A migration under way: the checks and copies of its task, in the words of PVE's own log.

use std::{collections::BTreeMap, time::Duration};

use super::{
    found,
    migrate::{local_drives, local_resources},
    power,
};
use crate::sandbox::{
    config::render_bytes,
    drives::{Drive, bridge},
    guest::{Guest, Kind, Run, is_numbered},
    state::State,
    wire::civil,
    worker::Worker,
};

/// Bytes a second over the cluster's network.
const RATE: u64 = 500 << 20;

pub(super) struct Journey {
    pub kind: Kind,
    pub vmid: u32,
    pub node: String,
    pub target: String,
    pub online: bool,
    pub restart: bool,
    /// Local disks go along.
    pub with_disks: bool,
    /// Storage here → storage there.
    pub mapping: BTreeMap<String, String>,
}

/// One line, with the time that PVE puts before it.
fn log(worker: &Worker, text: impl AsRef<str>) {
    let (y, m, d, h, min, s, _) = civil(worker.sandbox.clock().now());
    worker.log(format!("{y:04}-{m:02}-{d:02} {h:02}:{min:02}:{s:02} {}", text.as_ref()));
}

impl Journey {
    pub(super) async fn run(&self, worker: &Worker) -> Result<(), String> {
        let Self { kind, vmid, target, .. } = self;
        let _lock = worker.lock(*kind, *vmid).await?;
        let began = worker.sandbox.clock().now();
        let address = worker.sandbox.state().nodes.get(target).map_or_else(String::new, |node| node.address.clone());
        log(worker, format!("starting migration of {} {vmid} to node '{target}' ({address})", kind.word()));
        let result = self.travel(worker, &address).await;
        let seconds = worker.sandbox.clock().now().saturating_sub(began);
        let duration = format!("{:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60);
        match result {
            Ok(()) => log(worker, format!("migration finished successfully (duration {duration})")),
            Err(error) => {
                if let Some(guest) = worker.sandbox.state().guest_mut(*vmid)
                    && guest.lock() == Some("migrate")
                {
                    guest.config.remove("lock");
                }
                log(worker, "aborting phase 1 - cleanup resources");
                log(worker, format!("ERROR: migration aborted (duration {duration}): {error}"));
                return Err("migration aborted".to_owned());
            }
        }
        Ok(())
    }

    async fn travel(&self, worker: &Worker, address: &str) -> Result<(), String> {
        let Self { kind, vmid, node, target, .. } = self;
        if !worker.sandbox.state().nodes.get(target).is_some_and(|node| node.online) {
            worker.work(Duration::from_secs(3)).await;
            worker.log(format!("ssh: connect to host {address} port 22: No route to host"));
            return Err("Can't connect to destination address using public key".to_owned());
        }
        let (problems, drives, running, memory) = {
            let mut state = worker.sandbox.state();
            let guest = found(&state, node, *kind, *vmid)?;
            guest.check_lock()?;
            let problems = self.problems(&state, guest)?;
            let mut drives = local_drives(&state, guest);
            drives.retain(|(_, drive)| !drive.is_cdrom() || drive.is_cloud_init());
            let facts = (problems, drives, guest.is_running(), guest.maxmem());
            if let Some(guest) = state.guest_mut(*vmid) {
                guest.config.set("lock", "migrate");
            }
            facts
        };
        if running && *kind == Kind::Lxc {
            log(worker, format!("shutdown CT {vmid}"));
            worker.work(Duration::from_secs(3)).await;
            if let Some(guest) = worker.sandbox.state().guest_mut(*vmid) {
                guest.run = None;
            }
        }
        for (_, drive) in &drives {
            let thing = if *kind == Kind::Qemu { "disk" } else { "volume" };
            let place = if *kind == Kind::Qemu { "attached" } else { "in current VM config" };
            log(worker, format!("found local {thing} '{}' ({place})", drive.volume));
        }
        if !problems.is_empty() {
            problems.iter().for_each(|problem| log(worker, format!("ERROR: {problem}")));
            let text = "Problem found while scanning volumes - can't migrate VM - check log";
            return Err(text.to_owned());
        }
        for (key, drive) in &drives {
            let to = self.mapping.get(drive.storage()).map_or("", String::as_str);
            self.copy(worker, (key, drive, to), running && *kind == Kind::Qemu).await;
        }
        if running && *kind == Kind::Qemu {
            self.send_memory(worker, memory).await;
        } else {
            worker.work(Duration::from_millis(800)).await;
        }
        self.arrive(worker);
        if running && *kind == Kind::Lxc {
            log(worker, "start container on target node");
            power::bring_up(worker, target, *kind, *vmid, false).await?;
        }
        Ok(())
    }

    /// What stands in the way once the task looks: an error ends it at once, the rest is listed.
    fn problems(&self, state: &State, guest: &Guest) -> Result<Vec<String>, String> {
        if self.kind == Kind::Lxc && self.online && !self.restart {
            return Err("lxc live migration is currently not implemented".to_owned());
        }
        let resources = local_resources(guest);
        if self.kind == Kind::Qemu && !resources.is_empty() {
            return Err(format!("can't migrate VM which uses local devices: {}", resources.join(", ")));
        }
        for (_, device) in guest.config.iter().filter(|(key, _)| is_numbered(key, "net")) {
            let there = |bridge: &str| state.nodes.get(&self.target).is_some_and(|n| n.network.contains_key(bridge));
            if let Some(bridge) = bridge(device).filter(|bridge| guest.is_running() && !there(bridge)) {
                return Err(format!("bridge '{bridge}' does not exist on node '{}'", self.target));
            }
        }
        let mut problems = Vec::new();
        for (key, drive) in local_drives(state, guest) {
            let mut problem =
                |text: &str| problems.push(format!("can't migrate local disk '{}': {text}", drive.volume));
            if drive.is_cloud_init() {
                continue;
            }
            if drive.is_cdrom() {
                problem("local cdrom image");
            } else if !self.with_disks {
                problem("can't live migrate attached local disks without with-local-disks option");
            } else if kept_by_snapshots(state, guest, &key, &drive) {
                problem(match guest.is_running() && self.kind == Kind::Qemu {
                    true => "online storage migration not possible if non-replicated snapshot exists",
                    false => "non-migratable snapshot exists",
                });
            }
        }
        Ok(problems)
    }

    /// Copies one disk: while the VM runs as a mirror, with its progress; else as a stream.
    async fn copy(&self, worker: &Worker, (key, drive, to): (&str, &Drive, &str), live: bool) {
        let (size, vmid) = (drive.size(), self.vmid);
        let seconds = (size as f64 / RATE as f64).ceil().max(1.0);
        let steps = (seconds as u32).clamp(1, 60);
        if live {
            let socket = format!("nbd:unix:/run/qemu-server/{vmid}_nbd.migrate:exportname=drive-{key}");
            log(worker, format!("{key}: start migration to {socket}"));
            worker.log(format!("mirror-{key}: transferred 0.0 B of {} (0.00%) in 0s", render_bytes(size)));
        } else {
            log(worker, format!("copying local disk image: \"{}\" -> storage \"{to}\"", drive.volume));
        }
        for step in 1..=steps {
            worker.work(Duration::from_secs_f64(seconds / f64::from(steps))).await;
            let done = (size as f64 * f64::from(step) / f64::from(steps)) as u64;
            let after = (seconds * f64::from(step) / f64::from(steps)) as u64;
            worker.log(match live {
                true => format!(
                    "mirror-{key}: transferred {} of {} ({:.2}%) in {after}s",
                    render_bytes(done),
                    render_bytes(size),
                    100.0 * f64::from(step) / f64::from(steps)
                ),
                false => format!("{done} bytes ({}) copied, {after} s, 524 MB/s", render_bytes(done)),
            });
        }
        if live {
            worker.log("all 'mirror' jobs are ready");
        }
        let mut state = worker.sandbox.state();
        carry(&mut state, (&self.node, &self.target), vmid, (key, drive, to));
    }

    async fn send_memory(&self, worker: &Worker, memory: u64) {
        let Self { vmid, target, .. } = self;
        log(worker, format!("starting VM {vmid} on remote node '{target}'"));
        worker.work(Duration::from_secs(1)).await;
        log(worker, "start remote tunnel");
        log(worker, format!("starting online/live migration on unix:/run/qemu-server/{vmid}.migrate"));
        let socket = format!("unix:/run/qemu-server/{vmid}.migrate");
        log(worker, format!("start migrate command to {socket}"));
        for part in 1..=4_u64 {
            worker.work(Duration::from_secs_f64(memory as f64 / RATE as f64 / 4.0)).await;
            let done = render_bytes(memory / 4 * part);
            let all = render_bytes(memory);
            log(worker, format!("migration active, transferred {done} of {all} VM-state, 500.0 MiB/s"));
        }
        log(worker, "average migration speed: 500.0 MiB/s - downtime 42 ms");
        log(worker, "migration status: completed");
    }

    /// The guest is on the other node.
    fn arrive(&self, worker: &Worker) {
        let mut state = worker.sandbox.state();
        let pid = state.tasks.next_pid();
        if let Some(guest) = state.guest_mut(self.vmid) {
            guest.node = self.target.clone();
            guest.config.remove("lock");
            guest.run = match guest.run.take() {
                Some(run) if self.kind == Kind::Qemu => Some(Run { pid, ..run }),
                _ => None,
            };
        }
    }
}

/// Whether snapshots keep a local disk where it is: only qcow2 images and ZFS volumes take theirs along, and those of a
/// running VM never do.
fn kept_by_snapshots(state: &State, guest: &Guest, key: &str, drive: &Drive) -> bool {
    let same = |value: &str| Drive::parse(value).volume == drive.volume;
    let in_snapshot = guest.snapshots.iter().any(|snapshot| snapshot.config.get(key).is_some_and(same));
    if !in_snapshot {
        return false;
    }
    let storage = state.storages.get(drive.storage());
    let travels = storage.is_some_and(|storage| storage.plugin == "zfspool") || drive.volume.ends_with(".qcow2");
    !travels || guest.kind == Kind::Qemu && guest.is_running()
}

/// Moves one local volume to the other node.
fn carry(state: &mut State, (node, target): (&str, &str), vmid: u32, (key, drive, to): (&str, &Drive, &str)) {
    let Some(mut volume) = state.remove_volume(&drive.volume, node) else { return };
    let Some(storage) = state.storages.get(to).cloned() else { return };
    if to != drive.storage() || state.volumes.get(&storage, target, &volume.volid).is_some() {
        if !storage.is_files() {
            volume.format = "raw".to_owned();
        }
        volume.volid = state.volumes.next_disk(&storage, target, vmid, "vm", &volume.format);
    }
    let moved = Drive { volume: volume.volid.clone(), options: drive.options.clone() };
    state.volumes.put(&storage, target, volume);
    if let Some(guest) = state.guest_mut(vmid) {
        guest.config.set(key, moved.to_string());
    }
}
