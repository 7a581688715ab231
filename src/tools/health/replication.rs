//! Replication: jobs whose last runs failed.

use std::collections::BTreeSet;

use serde_json::json;

use super::{
    check::{Check, Finding, GUESTS, Severity, Told},
    look::{Look, date},
};
use crate::tool::Deserialize;

pub const CHECKS: &[Check] = &[Check {
    name: "replication",
    api: &["GET /cluster/replication", "GET /nodes/{node}/replication"],
    sees: &[GUESTS],
    run: |look| Box::pin(replication(look)),
}];

/// A row of `GET /cluster/replication`.
#[derive(Deserialize)]
struct Job {
    guest: u32,
    #[serde(default)]
    disable: bool,
}

/// A row of `GET /nodes/{node}/replication`.
#[derive(Deserialize)]
struct Status {
    id: String,
    target: Option<String>,
    last_sync: Option<u64>,
    #[serde(default)]
    fail_count: u32,
    error: Option<String>,
}

async fn replication(look: &Look<'_>) -> Told {
    let mut told = Told::default();
    let Some(jobs) = told.unless("", look.get::<Vec<Job>>("/cluster/replication").await) else { return told };
    let Some(guests) = told.unless("", look.guests()) else { return told };
    // A job runs where its guest is.
    let jobs = jobs.iter().filter(|job| !job.disable);
    let nodes: BTreeSet<&str> = jobs.filter_map(|job| Some(guests.vmid(job.guest)?.node.as_ref())).collect();
    let answers = look.each::<Vec<Status>>(&mut told, nodes.into_iter(), |request| request, "replication").await;
    for (node, rows) in answers {
        for row in rows.into_iter().filter(|row| row.fail_count > 0 || row.error.is_some()) {
            let last = match row.last_sync.filter(|time| *time > 1) {
                Some(time) => format!("last went well on {} ({} days)", date(time), look.days(time)),
                None => "never went well".to_owned(),
            };
            let error = row.error.map(|error| format!(": {}", error.trim())).unwrap_or_default();
            let target = row.target.unwrap_or_default();
            let evidence = format!("{node} to {target}: {} failures, {last}{error}", row.fail_count);
            let finding = Finding::new(Severity::Warning, format!("replication {}", row.id), evidence);
            told.find(finding.help("proxmox-replicate-now", &json!({"id": row.id})));
        }
    }
    told
}
