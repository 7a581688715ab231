//! Tasks that failed in the last day.

use std::{cmp::Reverse, collections::BTreeMap};

use serde_json::json;

use super::{
    check::{Check, Finding, Severity, Told},
    look::{DAY, Look},
};
use crate::{
    pve::{ExitStatus, TaskRow},
    tools::time::iso,
};

pub const CHECKS: &[Check] = &[Check {
    name: "tasks",
    api: &["GET /cluster/tasks", "GET /nodes/{node}/tasks"],
    sees: &[ALL],
    run: |look| Box::pin(tasks(look)),
}];

/// Tasks of others are seen.
pub const ALL: (&str, &[&str]) = ("/nodes", &["Sys.Audit"]);

/// The most failures that are read of one node.
const MOST: usize = 1000;

async fn tasks(look: &Look<'_>) -> Told {
    let mut told = Told::default();
    let since = look.now.saturating_sub(DAY);
    let failed = |request: crate::tool::Request| request.param("errors", 1).param("since", since).param("limit", MOST);
    let nodes = look.nodes.iter().map(|node| node.node.as_str());
    let of_nodes = look.each::<Vec<TaskRow>>(&mut told, nodes, failed, "tasks").await;
    // The cluster's list has what nodes that are gone did last, and what went well since.
    let recent = told.unless("recent tasks", look.get::<Vec<TaskRow>>("/cluster/tasks").await).unwrap_or_default();
    let mut all: BTreeMap<String, TaskRow> = BTreeMap::new();
    for (node, rows) in of_nodes {
        if rows.len() >= MOST {
            told.unchecked(&node, format!("more than {MOST} tasks failed in a day: only the newest were read"));
        }
        all.extend(rows.into_iter().map(|row| (row.upid.clone(), row)));
    }
    all.extend(recent.into_iter().map(|row| (row.upid.clone(), row)));
    told.findings = groups(all.values(), i64::try_from(since).unwrap_or_default());
    told
}

/// What tells one thing that was done from another: type, id, and the node where the id means something there only.
type Deed<'a> = (&'a str, &'a str, &'a str);

fn deed(row: &TaskRow) -> Deed<'_> {
    let of_guest = row.id.parse::<u32>().is_ok();
    (&row.kind, &row.id, if of_guest { "" } else { &row.node })
}

/// Failures of the same kind on the same thing.
struct Group<'a> {
    count: usize,
    last: &'a TaskRow,
    end: ExitStatus,
}

fn groups<'a>(all: impl Iterator<Item = &'a TaskRow>, since: i64) -> Vec<Finding> {
    let mut groups: BTreeMap<Deed<'_>, Group<'_>> = BTreeMap::new();
    let mut well: BTreeMap<Deed<'_>, i64> = BTreeMap::new();
    for row in all {
        let Some(end) = row.end() else { continue };
        if end.is_success() {
            let time = well.entry(deed(row)).or_default();
            *time = row.starttime.max(*time);
        } else if row.starttime >= since {
            let group = groups.entry(deed(row)).or_insert_with(|| Group { count: 0, last: row, end: end.clone() });
            group.count += 1;
            if row.starttime >= group.last.starttime {
                (group.last, group.end) = (row, end);
            }
        }
    }
    let mut found: Vec<(Deed<'_>, Group<'_>)> = groups.into_iter().collect();
    found.sort_by_key(|(_, group)| (Reverse(group.count), Reverse(group.last.starttime)));
    found.into_iter().map(|(deed, group)| finding(deed, &group, well.get(&deed).copied())).collect()
}

/// `well`: when the same went well last.
fn finding((kind, id, _): Deed<'_>, group: &Group<'_>, well: Option<i64>) -> Finding {
    let Group { count, last, end } = group;
    let again = well.is_some_and(|time| time > last.starttime);
    let (severity, words) = match end {
        // Somebody stopped it, or its node went down.
        ExitStatus::Unexpected => (Severity::Info, "stopped before its end".to_owned()),
        _ if again => (Severity::Info, end.to_string()),
        _ => (Severity::Warning, end.to_string()),
    };
    let times = if *count == 1 { "failed".to_owned() } else { format!("failed {count} times, last") };
    let at = iso(u64::try_from(last.starttime).unwrap_or_default());
    let since = if again { "; it went well since" } else { "" };
    let evidence = format!("{times} at {at} on {}: {}{since}", last.node, words.trim());
    let subject = format!("{kind} {id}");
    Finding::new(severity, subject.trim(), evidence).help("proxmox-task-log", &json!({"upid": last.upid}))
}
