//! Tasks that failed in the last day.

use std::collections::BTreeMap;

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

/// Failures of the same kind on the same thing.
struct Group<'a> {
    count: usize,
    last: &'a TaskRow,
    words: String,
}

fn groups<'a>(all: impl Iterator<Item = &'a TaskRow> + Clone, since: i64) -> Vec<Finding> {
    let mut groups: BTreeMap<(&str, &str), Group<'_>> = BTreeMap::new();
    let mut well: BTreeMap<(&str, &str), i64> = BTreeMap::new();
    for row in all {
        let key = (row.kind.as_str(), row.id.as_str());
        let words = match row.end() {
            Some(ExitStatus::Ok | ExitStatus::Warnings(_)) => {
                let time = well.entry(key).or_default();
                *time = row.starttime.max(*time);
                continue;
            }
            Some(ExitStatus::Unexpected) => "stopped or killed".to_owned(),
            Some(ExitStatus::Failed(words)) => words,
            None => continue,
        };
        if row.starttime < since {
            continue;
        }
        match groups.get_mut(&key) {
            Some(group) => {
                group.count += 1;
                if row.starttime >= group.last.starttime {
                    (group.last, group.words) = (row, words);
                }
            }
            None => drop(groups.insert(key, Group { count: 1, last: row, words })),
        }
    }
    let mut found: Vec<_> = groups.into_iter().collect();
    found.sort_by_key(|(_, group)| (std::cmp::Reverse(group.count), -group.last.starttime));
    let finding = |((kind, id), group): ((&str, &str), Group<'_>)| {
        let Group { count, last, words } = group;
        let again = well.get(&(kind, id)).is_some_and(|time| *time > last.starttime);
        let stopped = words == "stopped or killed";
        let severity = if again || stopped { Severity::Info } else { Severity::Warning };
        let times = if count == 1 { "failed".to_owned() } else { format!("failed {count} times") };
        let at = iso(u64::try_from(last.starttime).unwrap_or_default());
        let since = if again { "; it went well since" } else { "" };
        let evidence = format!("{times}, last at {at} on {}: {}{since}; {}", last.node, words.trim(), last.upid);
        let subject = if id.is_empty() { kind.to_owned() } else { format!("{kind} {id}") };
        Finding::new(severity, subject, evidence).help("proxmox-task-log", &json!({"upid": last.upid}))
    };
    found.into_iter().map(finding).collect()
}
