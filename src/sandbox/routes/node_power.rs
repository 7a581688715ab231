//! Power of nodes, and of all guests of a node.

use std::{collections::BTreeSet, time::Duration};

use super::guests::power;
use crate::sandbox::{
    Sandbox,
    call::Call,
    config::property,
    guest::{Guest, Kind},
    router::Route,
    wire::{Answer, Answered, Refusal},
    worker::Worker,
};

pub const ROUTES: &[Route] = &[
    Route::post("/nodes/{node}/status", command),
    Route::post("/nodes/{node}/wakeonlan", wake),
    Route::post("/nodes/{node}/startall", start_all),
    Route::post("/nodes/{node}/stopall", stop_all),
];

/// What a node needs to come up.
const BOOT: Duration = Duration::from_secs(75);
const ROOT: &str = "root@pam";

fn command(call: &Call) -> Answered {
    let (sandbox, node) = (call.sandbox.clone(), call.node().to_owned());
    let reboot = call.text("command") == "reboot";
    tokio::spawn(async move {
        sandbox.clock().sleep(Duration::from_secs(3)).await;
        let stops = Stops { asked: None, timeout: 180, force: true };
        let (own, name) = (sandbox.clone(), node.clone());
        let upid = own.start_as(ROOT, &node, "stopall", "", async move |worker| stop(worker, &name, stops).await);
        ended(&sandbox, &upid).await;
        sandbox.clock().sleep(Duration::from_secs(5)).await;
        // What has not gone down until now is gone with the node.
        let left: Vec<u32> = {
            let state = sandbox.state();
            state.guests().values().filter(|guest| guest.node == node && guest.is_running()).map(|g| g.vmid).collect()
        };
        for vmid in left {
            if let Some(guest) = sandbox.state().guest_mut(vmid) {
                guest.run = None;
            }
        }
        sandbox.set_online(&node, false);
        if reboot {
            boot(sandbox, node).await;
        }
    });
    Ok(Answer::null())
}

/// A node comes up, and its guests that start at boot.
async fn boot(sandbox: Sandbox, node: String) {
    sandbox.clock().sleep(BOOT).await;
    let now = sandbox.clock().now();
    if let Some(node) = sandbox.state().nodes.get_mut(&node) {
        node.boot = now;
    }
    sandbox.set_online(&node, true);
    sandbox.clock().sleep(Duration::from_secs(5)).await;
    let name = node.clone();
    sandbox.start_as(ROOT, &node, "startall", "", async move |worker| start(worker, &name, ROOT, None, false).await);
}

fn wake(call: &Call) -> Answered {
    let node = call.node().to_owned();
    let (mac, off) = {
        let state = call.sandbox.state();
        // Requests reach the first node.
        if node == "localhost" || state.nodes.keys().next() == Some(&node) {
            return Err(Refusal::failed(format!("'{node}' is local node, cannot wake my self!")));
        }
        let Some(found) = state.nodes.get(&node) else {
            return Err(Refusal::failed(format!("no such cluster node '{node}'")));
        };
        let settings = found.config.get("wakeonlan").unwrap_or_default();
        let mac = property(settings, "").or_else(|| property(settings, "mac")).filter(|mac| !mac.is_empty());
        let missing = || Refusal::failed(format!("No wake on LAN MAC address defined for '{node}'!"));
        (mac.ok_or_else(missing)?.to_owned(), !found.online)
    };
    if off {
        tokio::spawn(boot(call.sandbox.clone(), node));
    }
    Ok(mac.into())
}

/// The VMIDs that a call is limited to.
fn asked(call: &Call) -> Option<BTreeSet<u32>> {
    call.get("vms")?;
    Some(call.list("vms").iter().filter_map(|vmid| vmid.parse().ok()).collect())
}

/// # Errors
/// 403 where a guest is named that the caller may not start or stop.
fn allowed(call: &Call) -> Result<(), Refusal> {
    match asked(call) {
        Some(vmids) => vmids.iter().try_for_each(|vmid| call.check(&format!("/vms/{vmid}"), &["VM.PowerMgmt"])),
        None => call.check("/", &["VM.PowerMgmt"]),
    }
}

async fn ended(sandbox: &Sandbox, upid: &str) {
    while sandbox.state().tasks.get(upid).is_some_and(crate::sandbox::tasks::Task::is_running) {
        sandbox.clock().sleep(Duration::from_secs(1)).await;
    }
}

/// The guests of a node in their boot order: by `order`, then by VMID; those under high availability only if named.
fn in_order(sandbox: &Sandbox, node: &str, asked: Option<&BTreeSet<u32>>) -> Vec<Guest> {
    let state = sandbox.state();
    let takes = |guest: &&Guest| {
        guest.node == node
            && !guest.is_template()
            && match asked {
                Some(vmids) => vmids.contains(&guest.vmid),
                None => state.ha.wants(guest.kind, guest.vmid).is_none(),
            }
    };
    let mut guests: Vec<Guest> = state.guests().values().filter(takes).cloned().collect();
    guests.sort_by_key(|guest| (startup(guest, "order").unwrap_or(u64::MAX), guest.vmid));
    guests
}

fn startup(guest: &Guest, key: &str) -> Option<u64> {
    property(guest.config.get("startup")?, key)?.parse().ok()
}

fn start_all(call: &Call) -> Answered {
    allowed(call)?;
    let (node, asked, force, who) = (call.node().to_owned(), asked(call), call.flag("force"), call.who.full());
    call.fork(call.node(), "startall", "", async move |worker| start(worker, &node, &who, asked, force).await)
}

async fn start(worker: Worker, node: &str, who: &str, asked: Option<BTreeSet<u32>>, force: bool) -> Result<(), String> {
    for guest in in_order(&worker.sandbox, node, asked.as_ref()) {
        let (kind, vmid) = (guest.kind, guest.vmid);
        let runs = worker.sandbox.state().guests().get(&vmid).is_none_or(Guest::is_running);
        if runs || !(force || guest.config.flag("onboot")) {
            continue;
        }
        worker.log(format!("Starting {} {vmid}", kind.word()));
        let name = node.to_owned();
        let work = async move |worker: Worker| {
            let _lock = worker.lock(kind, vmid).await?;
            power::bring_up(&worker, &name, kind, vmid, false).await
        };
        let upid = worker.sandbox.start_as(who, node, &power::task(kind, "start"), &vmid.to_string(), work);
        ended(&worker.sandbox, &upid).await;
        let result = worker.sandbox.state().tasks.get(&upid).and_then(|task| task.end.clone());
        match result {
            Some((_, status)) if status != "OK" && !status.starts_with("WARNINGS") => {
                worker.log(format!("Starting {} {vmid} failed: {status}", kind.word()));
            }
            _ => {
                let default = if kind == Kind::Qemu { 3 } else { 1 };
                worker.work(Duration::from_secs(startup(&guest, "up").unwrap_or(default))).await;
            }
        }
    }
    Ok(())
}

/// How guests are stopped.
struct Stops {
    asked: Option<BTreeSet<u32>>,
    /// Seconds.
    timeout: u64,
    force: bool,
}

fn stop_all(call: &Call) -> Answered {
    allowed(call)?;
    let node = call.node().to_owned();
    let stops = Stops {
        asked: asked(call),
        timeout: call.int("timeout").and_then(|t| u64::try_from(t).ok()).unwrap_or(180),
        force: call.get("force-stop").is_none_or(|force| force != "0"),
    };
    call.fork(call.node(), "stopall", "", async move |worker| stop(worker, &node, stops).await)
}

async fn stop(worker: Worker, node: &str, stops: Stops) -> Result<(), String> {
    let who = worker.sandbox.state().tasks.get(&worker.upid).map(crate::sandbox::tasks::Task::who).unwrap_or_default();
    let mut begun = Vec::new();
    for guest in in_order(&worker.sandbox, node, stops.asked.as_ref()).into_iter().rev().filter(Guest::is_running) {
        let (kind, vmid, force) = (guest.kind, guest.vmid, stops.force);
        let timeout = startup(&guest, "down").unwrap_or(stops.timeout);
        worker.log(format!("Stopping {} {vmid} (timeout = {timeout} seconds)", kind.word()));
        let name = node.to_owned();
        let work = async move |worker: Worker| {
            let _lock = worker.lock(kind, vmid).await?;
            power::bring_down(&worker, &name, kind, vmid, Some(timeout), force).await
        };
        begun.push(worker.sandbox.start_as(&who, node, &power::task(kind, "shutdown"), &vmid.to_string(), work));
    }
    for upid in begun {
        ended(&worker.sandbox, &upid).await;
    }
    worker.log("all VMs and CTs stopped");
    Ok(())
}
