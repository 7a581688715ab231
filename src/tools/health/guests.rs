//! Guests that are locked.

use std::collections::BTreeSet;

use serde_json::json;

use super::{
    super::template::{concerns, meaning},
    check::{Check, Finding, GUESTS, Severity, Told},
    look::{Look, label},
};
use crate::{pve::TaskRow, tools::time::iso};

pub const CHECKS: &[Check] = &[Check {
    name: "locks",
    api: &["GET /nodes/{node}/tasks"],
    sees: &[GUESTS, super::tasks::ALL],
    run: |look| Box::pin(locks(look)),
}];

/// A lock whose task runs for longer than this many hours may hang.
const LONG: u64 = 12;

async fn locks(look: &Look<'_>) -> Told {
    let mut told = Told::default();
    let Some(guests) = told.unless("", look.guests()) else { return told };
    let locked: Vec<_> = guests.iter().filter_map(|guest| Some((guest, guest.lock.as_deref()?))).collect();
    let nodes: BTreeSet<&str> = locked.iter().map(|(guest, _)| &*guest.node).collect();
    let active = |request: crate::tool::Request| request.param("source", "active");
    let tasks = look.each::<Vec<TaskRow>>(&mut told, nodes.into_iter(), active, "tasks").await;
    for (guest, lock) in locked {
        // What its node does is not known where that does not answer.
        let Some((_, tasks)) = tasks.iter().find(|(node, _)| *node == *guest.node) else { continue };
        let holder = tasks.iter().find(|task| task.end().is_none() && concerns(task, guest.vmid, Some(lock)));
        let name = guest.name.as_deref().unwrap_or_default();
        let (severity, evidence) = match holder {
            // Hibernated: that is how it stays until it is started.
            None if lock == "suspended" => continue,
            None => (Severity::Warning, "no task runs that could hold it: it was left behind".to_owned()),
            Some(task) => {
                let since = u64::try_from(task.starttime).unwrap_or_default();
                if look.now.saturating_sub(since) < LONG * 3600 {
                    continue;
                }
                (Severity::Info, format!("{} has been running since {}", task.upid, iso(since)))
            }
        };
        let evidence = format!("{name}: locked ({lock}: {}); {evidence}", meaning(lock));
        let finding = Finding::new(severity, label(guest), evidence);
        told.find(finding.help("proxmox-explain-lock", &json!({"vmid": guest.vmid})));
    }
    told
}
