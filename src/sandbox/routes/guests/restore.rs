//! Restoring a guest from a backup.

use std::time::Duration;

use super::{
    super::content::owner,
    create::{self, reserve, size_of},
    power,
    update::{Change, apply},
};
use crate::sandbox::{
    call::Call,
    config::Config,
    drives::{Drive, missing},
    guest::{Guest, Kind, is_drive_key, is_numbered},
    wire::{Answered, Refusal},
    worker::Worker,
};

/// What a restore was asked to do beside restoring.
struct Wishes {
    archive: String,
    storage: Option<String>,
    set: Vec<(String, String)>,
    unique: bool,
    start: bool,
}

/// Starts the restore of `archive` into the call's VMID.
///
/// # Errors
/// Where the archive is not there, or an existing guest cannot be overwritten.
pub(super) fn restore(call: &Call, kind: Kind, archive: &str, set: Vec<(String, String)>) -> Answered {
    let (vmid, node) = (call.vmid(), call.node().to_owned());
    {
        let state = call.sandbox.state();
        let storage = state.storage(archive.split(':').next().unwrap_or_default(), &node)?;
        if state.volumes.get(storage, &node, archive).is_none() {
            return Err(Refusal::failed(missing(archive)));
        }
        let path = format!("/storage/{}", storage.id);
        if !state.may(&call.who, &path, "Datastore.Allocate") {
            state.check(&call.who, &path, &["Datastore.AllocateSpace"])?;
            if let Some(owner) = owner(archive) {
                state.check(&call.who, &format!("/vms/{owner}"), &["VM.Backup"])?;
            }
        }
        if let Some(guest) = state.guests().get(&vmid) {
            if guest.kind != kind {
                return Err(Refusal::failed(format!(
                    "{} {vmid} already exists on node '{}'",
                    guest.kind.word(),
                    guest.node
                )));
            }
            if guest.is_running() {
                return Err(Refusal::failed(format!(
                    "unable to restore {} {vmid} - {} is running",
                    kind.word(),
                    kind.word()
                )));
            }
            guest.check_lock().map_err(Refusal::failed)?;
            if guest.config.flag("protection") {
                let text = format!("unable to restore {} {vmid} - protection mode enabled", kind.word());
                return Err(Refusal::failed(text));
            }
        }
    }
    let wishes = Wishes {
        archive: archive.to_owned(),
        storage: call.get("storage").map(str::to_owned),
        set,
        unique: call.flag("unique"),
        start: call.flag("start"),
    };
    let old = call.sandbox.state().guests().get(&vmid).map(Guest::volumes).unwrap_or_default();
    for (_, volid) in old {
        call.sandbox.state().remove_volume(&volid, &node);
    }
    let making = reserve(call, kind, vmid);
    let task = if kind == Kind::Qemu { "qmrestore" } else { "vzrestore" };
    call.fork(&node.clone(), task, vmid, async move |worker| {
        let lock = worker.lock(kind, vmid).await?;
        let start = wishes.start;
        unpack(&worker, &node, (kind, vmid), wishes).await?;
        making.finish();
        if start {
            power::bring_up(&worker, &node, kind, vmid, false).await?;
        }
        drop(lock);
        Ok(())
    })
}

async fn unpack(worker: &Worker, node: &str, (kind, vmid): (Kind, u32), wishes: Wishes) -> Result<(), String> {
    let now = worker.sandbox.clock().now();
    let (saved, archived, path) = {
        let state = worker.sandbox.state();
        let storage = state.storage(wishes.archive.split(':').next().unwrap_or_default(), node);
        let storage = storage.map_err(|refusal| refusal.message)?;
        let volume = state.volumes.get(storage, node, &wishes.archive).ok_or_else(|| missing(&wishes.archive))?;
        let saved = volume.saved.clone().filter(|(saved, _)| *saved == kind).map(|(_, config)| config);
        let name = wishes.archive.rsplit('/').next().unwrap_or_default();
        (saved, volume.size, format!("{}/dump/{name}", storage.path()))
    };
    let Some(saved) = saved else {
        return Err(format!("unable to restore {} {vmid} - no configuration in the archive", kind.word()));
    };
    match kind {
        Kind::Lxc => worker.log(format!("recovering backed-up configuration from '{}'", wishes.archive)),
        Kind::Qemu => worker.log(format!(
            "restore vma archive: zstd -q -d -c {path} | vma extract -v -r /var/tmp/vzdumptmp.fifo - /var/tmp/vzdumptmp"
        )),
    }
    let mut set = Vec::new();
    let mut plain = Config::new();
    for (key, value) in saved.iter() {
        if is_numbered(key, "unused") || matches!(key, "lock" | "parent" | "template") {
            continue;
        }
        let drive = Drive::parse(value);
        if is_drive_key(kind, key) && drive.volume.contains(':') && !drive.volume.contains(":iso/") {
            let storage = wishes.storage.clone().unwrap_or_else(|| drive.storage().to_owned());
            let mut options = drive.options.clone();
            options.remove("size");
            let gigabytes = size_of(value) as f64 / f64::from(1 << 30);
            let volume =
                if drive.is_cloud_init() { format!("{storage}:cloudinit") } else { format!("{storage}:{gigabytes}") };
            set.push((key.to_owned(), Drive { volume, options }.to_string()));
        } else {
            plain.set(key, value);
        }
    }
    let mut log = Vec::new();
    {
        let mut state = worker.sandbox.state();
        if let Some(guest) = state.guest_mut(vmid) {
            for (key, value) in plain.iter() {
                guest.config.set(key, value);
            }
        }
        set.extend(wishes.set);
        let change = Change { set, ..Change::default() };
        let done = apply(&mut state, (node, kind, vmid), &change, now, &mut log);
        done.map_err(|refusal| refusal.message)?;
        if wishes.unique {
            state.renew_addresses(vmid);
        }
    }
    for line in log.into_iter().filter(|line| !line.contains("successfully created disk")) {
        worker.log(line);
        if kind == Kind::Lxc {
            let size = worker.sandbox.state().guests().get(&vmid).map_or(0, Guest::maxdisk);
            create::file_system(worker, size);
        }
    }
    if kind == Kind::Lxc {
        worker.log(format!("restoring '{}' now..", wishes.archive));
        worker.log(format!("extracting archive '{path}'"));
    }
    for percent in (0..=100).step_by(25) {
        if kind == Kind::Qemu {
            worker.log(format!(
                "progress {percent}% (read {} bytes, duration {} sec)",
                archived * percent / 100,
                percent / 25
            ));
        }
        worker.work(Duration::from_secs_f64(0.2 + archived as f64 / 2e9)).await;
    }
    if kind == Kind::Lxc {
        worker.log(format!("Total bytes read: {} ({:.1}MiB, 76MiB/s)", archived * 2, archived as f64 / 524_288.0));
        worker.log("merging backed-up and given configuration..");
    }
    let mut state = worker.sandbox.state();
    let volumes = state.guests().get(&vmid).map(Guest::volumes).unwrap_or_default();
    for (_, volid) in volumes {
        create::fill(&mut state, node, &volid, archived * 2);
    }
    Ok(())
}
