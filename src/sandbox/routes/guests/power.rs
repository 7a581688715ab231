//! Start, stop, shutdown, reboot and reset.

use std::time::Duration;

use super::{found, has_system, kind, managed, on_node, root_only};
use crate::sandbox::{
    call::Call,
    drives::{bridge, missing},
    guest::{Guest, Kind, Run, is_numbered},
    router::Route,
    state::State,
    wire::{Answered, Refusal},
    worker::Worker,
};

pub const ROUTES: &[Route] = &[
    Route::post("/nodes/{node}/qemu/{vmid}/status/start", start),
    Route::post("/nodes/{node}/qemu/{vmid}/status/stop", stop),
    Route::post("/nodes/{node}/qemu/{vmid}/status/shutdown", shutdown),
    Route::post("/nodes/{node}/qemu/{vmid}/status/reboot", reboot),
    Route::post("/nodes/{node}/qemu/{vmid}/status/reset", reset),
    Route::post("/nodes/{node}/lxc/{vmid}/status/start", start),
    Route::post("/nodes/{node}/lxc/{vmid}/status/stop", stop),
    Route::post("/nodes/{node}/lxc/{vmid}/status/shutdown", shutdown),
    Route::post("/nodes/{node}/lxc/{vmid}/status/reboot", reboot),
];

/// How long a guest takes to come up, and to go down of its own accord.
const BOOT: Duration = Duration::from_millis(1_500);
const SHUTDOWN: Duration = Duration::from_secs(4);
/// Nobody waits longer.
const YEAR: Duration = Duration::from_secs(31_536_000);
/// How long an agent that does not answer is waited for.
const AGENT_PING: Duration = Duration::from_secs(3);
pub(super) const KILL: Duration = Duration::from_millis(700);

pub(in crate::sandbox::routes) fn task(kind: Kind, what: &str) -> String {
    format!("{}{what}", if kind == Kind::Qemu { "qm" } else { "vz" })
}

/// # Errors
/// PVE's 500 for a guest that is not running (or not there).
pub(super) fn running(call: &Call, words: &str) -> Result<(), Refusal> {
    let state = call.sandbox.state();
    on_node(&state, call.node(), kind(call), call.vmid())?;
    match state.guests().get(&call.vmid()) {
        Some(guest) if guest.is_running() => Ok(()),
        _ => Err(Refusal::failed(format!("{words} {} not running", call.vmid()))),
    }
}

/// For containers, which are refused at once where VMs have a task that does nothing.
fn container_running(call: &Call) -> Result<(), Refusal> {
    match kind(call) {
        Kind::Qemu => Ok(()),
        Kind::Lxc => running(call, "CT"),
    }
}

fn start(call: &Call) -> Answered {
    let (kind, vmid, node) = (kind(call), call.vmid(), call.node().to_owned());
    root_only(call, &["skiplock", "stateuri", "migratedfrom", "migration_type", "migration_network", "targetstorage"])?;
    let runs = call.sandbox.state().guests().get(&vmid).is_some_and(|guest| guest.kind == kind && guest.is_running());
    if kind == Kind::Lxc && runs {
        return Err(Refusal::failed(format!("CT {vmid} already running")));
    }
    if let Some(answer) = managed::passed_on(call, kind, vmid, true) {
        return answer;
    }
    let skiplock = call.flag("skiplock");
    call.fork(&node.clone(), &task(kind, "start"), vmid, async move |worker| {
        let _lock = worker.lock(kind, vmid).await?;
        bring_up(&worker, &node, kind, vmid, skiplock).await
    })
}

/// Starts a guest whose file lock is held.
///
/// # Errors
/// The task's text.
pub(in crate::sandbox::routes) async fn bring_up(
    worker: &Worker,
    node: &str,
    kind: Kind,
    vmid: u32,
    skiplock: bool,
) -> Result<(), String> {
    let suspended = {
        let state = worker.sandbox.state();
        let guest = found(&state, node, kind, vmid)?;
        if guest.is_template() {
            let thing = if kind == Kind::Qemu { "vm" } else { "CT" };
            return Err(format!("you can't start a {thing} if it's a template"));
        }
        let suspended = guest.lock() == Some("suspended");
        if !suspended && !skiplock {
            guest.check_lock()?;
        }
        if guest.is_running() {
            return Err(format!("{} {vmid} already running", kind.word()));
        }
        can_start(&state, guest)?;
        suspended.then(|| guest.config.get("vmstate").unwrap_or_default().to_owned())
    };
    if let Some(volid) = &suspended {
        worker.log("Resuming suspended VM");
        worker.log(format!("activating and using '{volid}' as vmstate"));
    }
    worker.work(BOOT).await;
    let now = worker.sandbox.clock().now();
    let mut state = worker.sandbox.state();
    let pid = state.tasks.next_pid();
    let Some(guest) = state.guest_mut(vmid) else { return Ok(()) };
    if suspended.is_some() {
        for key in ["lock", "vmstate", "runningmachine", "runningcpu"] {
            guest.config.remove(key);
        }
    }
    let doomed = guest.apply_pending();
    guest.run = Some(Run { since: now, pid, paused: false, started_with: guest.config.clone() });
    for volid in doomed.iter().chain(&suspended) {
        state.remove_volume(volid, node);
    }
    drop(state);
    if suspended.is_some() {
        worker.log("Resumed VM, removing state");
    }
    Ok(())
}

/// Whether everything that the guest needs is there.
fn can_start(state: &State, guest: &Guest) -> Result<(), String> {
    let node = state.nodes.get(&guest.node);
    for (_, device) in guest.config.iter().filter(|(key, _)| is_numbered(key, "net")) {
        let Some(bridge) = bridge(device) else { continue };
        let there = node.and_then(|node| node.network.get(bridge)).is_some();
        if !there {
            return Err(format!("bridge '{bridge}' does not exist"));
        }
    }
    for (_, drive) in guest.drives() {
        if !drive.volume.contains(':') {
            continue;
        }
        let storage = state.storage(drive.storage(), &guest.node).map_err(|refusal| refusal.message)?;
        if state.volumes.get(storage, &guest.node, &drive.volume).is_none() {
            return Err(missing(&drive.volume));
        }
    }
    Ok(())
}

fn stop(call: &Call) -> Answered {
    let (kind, vmid, node) = (kind(call), call.vmid(), call.node().to_owned());
    root_only(call, &["skiplock", "migratedfrom"])?;
    container_running(call)?;
    if let Some(answer) = managed::passed_on(call, kind, vmid, false) {
        return answer;
    }
    let (skiplock, overrule) = (call.flag("skiplock"), call.flag("overrule-shutdown"));
    call.fork(&node.clone(), &task(kind, "stop"), vmid, async move |worker| {
        if overrule {
            end_shutdowns(&worker, kind, vmid);
        }
        let _lock = worker.lock(kind, vmid).await?;
        {
            let state = worker.sandbox.state();
            let guest = found(&state, &node, kind, vmid)?;
            if !guest.is_running() {
                return Ok(());
            }
            if !skiplock {
                guest.check_lock()?;
            }
        }
        worker.work(KILL).await;
        halt(&worker, vmid);
        Ok(())
    })
}

/// Stops the tasks that wait for the guest to shut down.
fn end_shutdowns(worker: &Worker, kind: Kind, vmid: u32) {
    let name = task(kind, "shutdown");
    let id = vmid.to_string();
    let mut ended = Vec::new();
    for task in worker.sandbox.state().tasks.newest() {
        if task.is_running() && task.kind == name && task.id == id {
            ended.push(task.upid.clone());
            if let Some(abort) = &task.abort {
                abort.abort();
            }
        }
    }
    if !ended.is_empty() {
        worker.log(format!("overruled {name} tasks: {}", ended.join(", ")));
    }
}

fn halt(worker: &Worker, vmid: u32) {
    let now = worker.sandbox.clock().now();
    if let Some(guest) = worker.sandbox.state().guest_mut(vmid) {
        guest.ran = guest.run.take().map(|run| (run.since, now)).or(guest.ran);
        if guest.kind == Kind::Lxc {
            // Nothing of a container is ever forced.
            guest.apply_pending();
        }
    }
}

fn is_paused(call: &Call) -> bool {
    let state = call.sandbox.state();
    state.guests().get(&call.vmid()).is_some_and(|guest| guest.run.as_ref().is_some_and(|run| run.paused))
}

fn shutdown(call: &Call) -> Answered {
    let (kind, vmid, node) = (kind(call), call.vmid(), call.node().to_owned());
    root_only(call, &["skiplock"])?;
    container_running(call)?;
    if kind == Kind::Qemu {
        on_node(&call.sandbox.state(), &node, kind, vmid)?;
    }
    let paused = is_paused(call);
    let force = call.flag("forceStop");
    if paused && !force {
        return Err(Refusal::failed("VM is paused - cannot shutdown"));
    }
    if let Some(answer) = managed::passed_on(call, kind, vmid, false) {
        return answer;
    }
    let timeout = call.int("timeout").and_then(|seconds| u64::try_from(seconds).ok());
    let skiplock = call.flag("skiplock");
    call.fork(&node.clone(), &task(kind, "shutdown"), vmid, async move |worker| {
        let _lock = worker.lock(kind, vmid).await?;
        if paused {
            worker.log("VM is paused - stop instead of shutdown");
            worker.work(KILL).await;
            halt(&worker, vmid);
            return Ok(());
        }
        let went = go_down(&worker, &node, kind, vmid, timeout, skiplock).await?;
        end_down(&worker, vmid, went, force).await
    })
}

/// What comes after a guest was asked to shut down.
///
/// # Errors
/// It did not, and is not to be forced.
async fn end_down(worker: &Worker, vmid: u32, went: bool, force: bool) -> Result<(), String> {
    if !went {
        if !force {
            return Err("VM quit/powerdown failed - got timeout".to_owned());
        }
        worker.log("VM quit/powerdown failed - terminating now with SIGTERM");
        worker.work(KILL).await;
    }
    halt(worker, vmid);
    Ok(())
}

/// Shuts a guest down whose file lock is held.
///
/// # Errors
/// The task's text.
pub(in crate::sandbox::routes) async fn bring_down(
    worker: &Worker,
    node: &str,
    kind: Kind,
    vmid: u32,
    timeout: Option<u64>,
    force: bool,
) -> Result<(), String> {
    let went = go_down(worker, node, kind, vmid, timeout, false).await?;
    end_down(worker, vmid, went, force).await
}

/// Asks the guest to shut down and waits; whether it did.
async fn go_down(
    worker: &Worker,
    node: &str,
    kind: Kind,
    vmid: u32,
    timeout: Option<u64>,
    skiplock: bool,
) -> Result<bool, String> {
    let (answers, agent, default) = {
        let state = worker.sandbox.state();
        let guest = found(&state, node, kind, vmid)?;
        if !guest.is_running() {
            return Ok(true);
        }
        if !skiplock {
            guest.check_lock()?;
        }
        let startup = guest.config.get("startup").unwrap_or_default();
        let down = crate::sandbox::config::property(startup, "down").and_then(|text| text.parse().ok());
        let agent =
            guest.config.get("agent").is_some_and(|agent| agent.starts_with('1') || agent.contains("enabled=1"));
        (has_system(&state, guest), agent, down.unwrap_or(60))
    };
    let timeout = Duration::from_secs(timeout.unwrap_or(default)).min(YEAR);
    if answers && timeout >= SHUTDOWN {
        worker.work(SHUTDOWN).await;
        return Ok(true);
    }
    if agent && !answers {
        worker.work(AGENT_PING).await;
        worker
            .log(format!("QEMU Guest Agent is not running - VM {vmid} qga command 'guest-ping' failed - got timeout"));
    }
    worker.work(timeout).await;
    Ok(false)
}

fn reboot(call: &Call) -> Answered {
    let (kind, vmid, node) = (kind(call), call.vmid(), call.node().to_owned());
    if is_paused(call) {
        return Err(Refusal::failed("VM is paused - cannot shutdown"));
    }
    // Containers are called VMs here, in PVE too.
    running(call, "VM")?;
    let timeout = call.int("timeout").and_then(|seconds| u64::try_from(seconds).ok());
    call.fork(&node.clone(), &task(kind, "reboot"), vmid, async move |worker| {
        let _lock = worker.lock(kind, vmid).await?;
        if !go_down(&worker, &node, kind, vmid, timeout, false).await? {
            return Err("VM quit/powerdown failed - got timeout".to_owned());
        }
        halt(&worker, vmid);
        bring_up(&worker, &node, kind, vmid, false).await
    })
}

fn reset(call: &Call) -> Answered {
    let (vmid, node) = (call.vmid(), call.node().to_owned());
    root_only(call, &["skiplock"])?;
    running(call, "VM")?;
    let skiplock = call.flag("skiplock");
    call.fork(&node.clone(), "qmreset", vmid, async move |worker| {
        let _lock = worker.lock(Kind::Qemu, vmid).await?;
        if !skiplock {
            found(&worker.sandbox.state(), &node, Kind::Qemu, vmid)?.check_lock()?;
        }
        worker.work(Duration::from_millis(200)).await;
        Ok(())
    })
}
