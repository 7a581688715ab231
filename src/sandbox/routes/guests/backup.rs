//! Backups: vzdump of guests into a storage, and the configuration in a backup.

use std::time::Duration;

use super::{
    super::{backup_jobs::verify, content::keep},
    found, power,
};
use crate::sandbox::{
    call::Call,
    config::render_bytes,
    guest::{Guest, Kind},
    router::Route,
    state::State,
    storage::Volume,
    wire::{Answer, Answered, Refusal, civil},
    worker::Worker,
};

pub const ROUTES: &[Route] =
    &[Route::post("/nodes/{node}/vzdump", dump), Route::get("/nodes/{node}/vzdump/extractconfig", extract)];

/// Bytes a second that are read and compressed.
const RATE: u64 = 400 << 20;

/// What a backup was asked to be like.
#[derive(Debug, Clone)]
struct Job {
    storage: String,
    mode: String,
    /// Suffix of the archive: `zst`, `gz`, `lzo`, or nothing.
    compress: &'static str,
    notes: Option<String>,
    protected: bool,
    remove: bool,
    /// Retention, where it was given.
    prune: Option<String>,
}

fn dump(call: &Call) -> Answered {
    let node = call.node().to_owned();
    let storage = call.get("storage").unwrap_or("local").to_owned();
    let listed: Vec<u32> = call.list("vmid").iter().filter_map(|vmid| vmid.parse().ok()).collect();
    let state = call.sandbox.state();
    state.check(&call.who, &format!("/storage/{storage}"), &["Datastore.AllocateSpace"])?;
    let mine =
        |state: &State| state.guests().values().filter(|guest| guest.node == node).map(|guest| guest.vmid).collect();
    let excluded: Vec<u32> = call.list("exclude").iter().filter_map(|vmid| vmid.parse().ok()).collect();
    verify(call.flag("all"), |key| call.get(key).map(str::to_owned))?;
    let mut guests: Vec<u32> = match call.get("pool") {
        _ if call.flag("all") => mine(&state),
        Some(pool) => state.pools.get(pool).map(|pool| pool.guests.iter().copied().collect()).unwrap_or_default(),
        None => listed,
    };
    guests.retain(|vmid| !excluded.contains(vmid));
    // What is on other nodes is passed over; what is nowhere fails visibly later.
    let (guests, elsewhere): (Vec<u32>, Vec<u32>) =
        guests.into_iter().partition(|vmid| state.guests().get(vmid).is_none_or(|guest| guest.node == node));
    if guests.is_empty() && !call.flag("all") {
        return Ok(Answer::from("OK"));
    }
    for vmid in &guests {
        state.check(&call.who, &format!("/vms/{vmid}"), &["VM.Backup"])?;
    }
    drop(state);
    let job = Job {
        storage,
        mode: call.get("mode").unwrap_or("snapshot").to_owned(),
        compress: match call.get("compress") {
            Some("zstd") => "zst",
            Some("gzip" | "1") => "gz",
            Some("lzo") => "lzo",
            _ => "",
        },
        notes: call.get("notes-template").map(str::to_owned),
        protected: call.flag("protected"),
        remove: call.get("remove") != Some("0"),
        prune: call.get("prune-backups").map(str::to_owned),
    };
    let id = match guests.as_slice() {
        [one] => one.to_string(),
        _ => String::new(),
    };
    let options = options(call);
    call.fork(&node.clone(), "vzdump", id, async move |worker| {
        let chosen = Chosen { guests, elsewhere, options };
        run(&worker, &node, chosen, job).await
    })
}

/// The options as the log repeats them.
fn options(call: &Call) -> String {
    let own = |name: &str| !matches!(name, "vmid" | "all");
    let list = call.params.iter().filter(|(name, _)| own(name)).map(|(name, value)| {
        if value.contains([' ', '{']) { format!(" --{name} '{value}'") } else { format!(" --{name} {value}") }
    });
    list.collect()
}

/// The guests of a run, those of them on other nodes, and the options as the log repeats them.
struct Chosen {
    guests: Vec<u32>,
    elsewhere: Vec<u32>,
    options: String,
}

async fn run(worker: &Worker, node: &str, chosen: Chosen, job: Job) -> Result<(), String> {
    let Chosen { guests, elsewhere, options } = chosen;
    {
        let state = worker.sandbox.state();
        let failed = |text: String| format!("could not get storage information for '{}': {text}", job.storage);
        let storage = state.storage(&job.storage, node).map_err(|refusal| failed(refusal.message))?;
        if !storage.holds("backup") {
            return Err(failed(format!("can't use storage '{}' for backups - wrong content type", job.storage)));
        }
    }
    let ids: Vec<String> = guests.iter().map(u32::to_string).collect();
    worker.log(format!("INFO: starting new backup job: vzdump {}{options}", ids.join(" ")));
    if !elsewhere.is_empty() {
        let ids: Vec<String> = elsewhere.iter().map(u32::to_string).collect();
        worker.log(format!("INFO: skip external VMs: {}", ids.join(", ")));
    }
    let mut errors = 0;
    for vmid in guests {
        let begun = worker.sandbox.clock().now();
        if let Err(error) = one(worker, node, vmid, &job).await {
            errors += 1;
            worker.log(format!("ERROR: Backup of VM {vmid} failed - {error}"));
            worker.log(format!("INFO: Failed at {}", time(worker.sandbox.clock().now())));
            continue;
        }
        let took = worker.sandbox.clock().now().saturating_sub(begun);
        worker.log(format!("INFO: Finished Backup of VM {vmid} (00:{:02}:{:02})", took / 60, took % 60));
        worker.log(format!("INFO: Backup finished at {}", time(worker.sandbox.clock().now())));
    }
    if errors > 0 {
        worker.log("INFO: Backup job finished with errors");
        return Err("job errors".to_owned());
    }
    worker.log("INFO: Backup job finished successfully");
    Ok(())
}

fn time(unix: u64) -> String {
    let (year, month, day, hour, minute, second, _) = civil(unix);
    format!("{year}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}")
}

async fn one(worker: &Worker, node: &str, vmid: u32, job: &Job) -> Result<(), String> {
    let now = worker.sandbox.clock().now();
    let (kind, running, name) = {
        let mut state = worker.sandbox.state();
        let guest = state.guests().get(&vmid).filter(|guest| guest.node == node);
        let guest = guest.ok_or_else(|| format!("unable to find VM '{vmid}'"))?;
        guest.check_lock()?;
        let facts = (guest.kind, guest.is_running(), guest.name().unwrap_or_default());
        if let Some(guest) = state.guest_mut(vmid) {
            guest.config.set("lock", "backup");
        }
        facts
    };
    worker.log(format!("INFO: Starting Backup of VM {vmid} ({})", kind.path()));
    worker.log(format!("INFO: Backup started at {}", time(now)));
    worker.log(format!("INFO: status = {}", if running { "running" } else { "stopped" }));
    let mode = if running { job.mode.as_str() } else { "stop" };
    worker.log(format!("INFO: backup mode: {mode}"));
    worker.log("INFO: ionice priority: 7");
    worker.log(format!("INFO: {} Name: {name}", kind.word()));
    let result = write(worker, node, (vmid, kind, &name), job, running && mode == "stop").await;
    if let Some(guest) = worker.sandbox.state().guest_mut(vmid) {
        guest.config.remove("lock");
    }
    if running && mode == "stop" {
        worker.log("INFO: restarting vm");
        power::bring_up(worker, node, kind, vmid, true).await?;
    }
    result
}

/// Writes the archive; `stop`: the guest is stopped meanwhile.
async fn write(
    worker: &Worker,
    node: &str,
    (vmid, kind, name): (u32, Kind, &str),
    job: &Job,
    stop: bool,
) -> Result<(), String> {
    if stop {
        worker.log("INFO: stopping vm");
        worker.work(Duration::from_secs(4)).await;
        if let Some(guest) = worker.sandbox.state().guest_mut(vmid) {
            guest.run = None;
        }
    }
    let now = worker.sandbox.clock().now();
    let (year, month, day, hour, minute, second, _) = civil(now);
    let format = if kind == Kind::Qemu { "vma" } else { "tar" };
    let format = if job.compress.is_empty() { format.to_owned() } else { format!("{format}.{}", job.compress) };
    let file =
        format!("vzdump-{}-{vmid}-{year}_{month:02}_{day:02}-{hour:02}_{minute:02}_{second:02}.{format}", kind.path());
    let (path, total, held) = {
        let state = worker.sandbox.state();
        let storage = state.storage(&job.storage, node).map_err(|refusal| refusal.message)?;
        let (total, held) = sizes(&state, found(&state, node, kind, vmid)?);
        (format!("{}/dump/{file}", storage.path()), total, held)
    };
    worker.log(format!("INFO: creating vzdump archive '{path}'"));
    let seconds = (held as f64 / RATE as f64).max(0.5);
    if kind == Kind::Qemu {
        for percent in [1_u64, 25, 50, 75, 100] {
            worker.work(Duration::from_secs_f64(seconds / 5.0)).await;
            let done = render_bytes(total * percent / 100);
            worker.log(format!(
                "INFO: {percent:>3}% ({done} of {}) in {}s",
                render_bytes(total),
                (seconds * percent as f64 / 100.0) as u64
            ));
        }
        worker.log(format!("INFO: transferred {} in {} seconds", render_bytes(total), seconds.ceil()));
    } else {
        worker.work(Duration::from_secs_f64(seconds)).await;
        worker.log(format!("INFO: Total bytes written: {held} ({:.1}MiB, 90MiB/s)", held as f64 / f64::from(1 << 20)));
    }
    let size = if job.compress.is_empty() { held } else { held * 2 / 5 }.max(40_000);
    worker.log(format!("INFO: archive file size: {}", render_bytes(size)));
    let mut state = worker.sandbox.state();
    let guest = found(&state, node, kind, vmid)?;
    let mut config = guest.config.clone();
    config.remove("lock");
    let mut volume = Volume::new(format!("{}:backup/{file}", job.storage), "backup", &format, size).of(vmid).at(now);
    volume.saved = Some((kind, config));
    volume.protected = job.protected;
    volume.notes = job.notes.as_ref().map(|notes| {
        let values =
            [("guestname", name), ("vmid", &vmid.to_string()), ("node", node), ("cluster", &state.cluster_name)];
        let plain = notes.replace("\\n", "\n").replace(r"\\", r"\");
        values.iter().fold(plain, |text, (key, value)| text.replace(&format!("{{{{{key}}}}}"), value))
    });
    if volume.notes.is_some() {
        let line = "INFO: adding notes to backup".to_owned();
        if let Some(task) = state.tasks.get_mut(&worker.upid) {
            task.log.push(line);
        }
    }
    state.add_volume(&job.storage, node, volume);
    if job.remove {
        prune(&mut state, node, vmid, job);
    }
    Ok(())
}

/// Size of the guest's disks, and how much of it holds something.
fn sizes(state: &State, guest: &Guest) -> (u64, u64) {
    let volumes = guest.volumes().into_iter().filter_map(|(_, volid)| {
        let storage = state.storages.get(volid.split(':').next()?)?;
        let volume = state.volumes.get(storage, &guest.node, &volid)?;
        Some((volume.size, volume.used))
    });
    volumes.fold((0, 0), |(size, used), (a, b)| (size + a, used + b))
}

/// Keeps as many backups of the guest as the job says, else as the storage says.
fn prune(state: &mut State, node: &str, vmid: u32, job: &Job) {
    let Some(storage) = state.storages.get(&job.storage) else { return };
    let Some(rules) = job.prune.as_deref().or(storage.config.get("prune-backups")) else { return };
    let mine = |volume: &&Volume| volume.content == "backup" && volume.vmid == Some(vmid);
    let mut backups: Vec<Volume> = state.volumes.on(storage, node).filter(mine).cloned().collect();
    backups.sort_by_key(|volume| std::cmp::Reverse(volume.ctime));
    for (volume, _) in keep(rules, backups).into_iter().filter(|(_, mark)| *mark == "remove") {
        state.remove_volume(&volume.volid, node);
    }
}

fn extract(call: &Call) -> Answered {
    let volid = call.text("volume");
    let state = call.sandbox.state();
    let id = volid.split(':').next().unwrap_or_default();
    let storage = state.storage(id, call.node())?;
    state.check_any(&call.who, &format!("/storage/{id}"), &["Datastore.Audit", "Datastore.AllocateSpace"])?;
    let volume = state.volumes.get(storage, call.node(), volid);
    let volume = volume.ok_or_else(|| Refusal::failed(format!("volume '{volid}' does not exist")))?;
    let (_, config) = volume.saved.as_ref().ok_or_else(|| Refusal::failed("no configuration in the archive"))?;
    let mut text = String::new();
    config.write(&mut text);
    Ok(Answer::from(text))
}
