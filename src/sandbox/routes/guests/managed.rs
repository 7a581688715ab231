//! Guests under high availability: who asks for them to be started, stopped or moved is answered with a task that passes
//! the request on and ends; the cluster's manager acts later, in tasks of its own.

use std::time::Duration;

use super::power;
use crate::sandbox::{Sandbox, call::Call, guest::Kind, ha::sid, wire::Answered};

/// The managers look every ten seconds.
const ROUND: Duration = Duration::from_secs(10);
/// What a request takes.
const REQUEST: Duration = Duration::from_millis(400);

/// Passes a start or stop on, where the guest is managed.
pub(super) fn passed_on(call: &Call, kind: Kind, vmid: u32, start: bool) -> Option<Answered> {
    call.sandbox.state().ha.wants(kind, vmid)?;
    let name = sid(kind, vmid);
    let (task, word) = if start { ("hastart", "start") } else { ("hastop", "stop") };
    Some(call.fork(call.node(), task, vmid, async move |worker| {
        worker.log(format!("Requesting HA {word} for {} {vmid}", kind.word()));
        worker.work(REQUEST).await;
        {
            let mut state = worker.sandbox.state();
            if let Some(options) = state.ha.resources.get_mut(&name) {
                options.insert("state".to_owned(), if start { "started" } else { "stopped" }.to_owned());
            }
            state.change_all();
        }
        settle(&worker.sandbox, &name);
        Ok(())
    }))
}

/// Brings a guest into the state that is wanted of it, in the managers' next round.
pub(in crate::sandbox::routes) fn settle(sandbox: &Sandbox, name: &str) {
    let Some((kind, vmid)) = name.split_once(':').and_then(|(kind, vmid)| Some((kind, vmid.parse::<u32>().ok()?)))
    else {
        return;
    };
    let kind = if kind == "vm" { Kind::Qemu } else { Kind::Lxc };
    let sandbox = sandbox.clone();
    tokio::spawn(async move {
        sandbox.clock().sleep(ROUND).await;
        let (node, start) = {
            let state = sandbox.state();
            let Some(guest) = state.guests().get(&vmid) else { return };
            let online = state.nodes.get(&guest.node).is_some_and(|node| node.online);
            match (state.ha.wants(kind, vmid), guest.is_running()) {
                (Some("started"), false) if online && !guest.is_template() => (guest.node.clone(), true),
                (Some("stopped" | "disabled"), true) if online => (guest.node.clone(), false),
                _ => return,
            }
        };
        let task = power::task(kind, if start { "start" } else { "shutdown" });
        sandbox.start_as("root@pam", &node.clone(), &task, &vmid.to_string(), async move |worker| {
            let _lock = worker.lock(kind, vmid).await?;
            if start {
                return power::bring_up(&worker, &node, kind, vmid, false).await;
            }
            power::bring_down(&worker, &node, kind, vmid, None, true).await
        });
    });
}

/// Passes a migration on, where the guest is managed; `act` is what the manager does about it.
pub(super) fn passed_on_migration(
    call: &Call,
    kind: Kind,
    vmid: u32,
    target: &str,
    act: impl FnOnce(&Sandbox) + Send + 'static,
) -> Answered {
    let target = target.to_owned();
    call.fork(call.node(), "hamigrate", vmid, async move |worker| {
        worker.log(format!("Requesting HA migration for {} {vmid} to node {target}", kind.word()));
        worker.work(REQUEST).await;
        let sandbox = worker.sandbox.clone();
        tokio::spawn(async move {
            sandbox.clock().sleep(ROUND).await;
            act(&sandbox);
        });
        Ok(())
    })
}
