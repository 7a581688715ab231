//! Storages: how full they are, when they will be full, and where they are missing.

use std::collections::BTreeMap;

use serde_json::json;

use super::{
    check::{Check, Finding, STORAGES, Severity, Told},
    look::{DAY, Look, StorageRow, date, size},
    trend::Trend,
};
use crate::{
    error::Result,
    pve::{Request, encode},
    tool::Deserialize,
};

pub const CHECKS: &[Check] = &[Check {
    name: "storage",
    api: &["GET /nodes/{node}/storage/{storage}/rrddata"],
    sees: &[STORAGES],
    run: |look| Box::pin(storages(look)),
}];

/// From here on it is critical, whatever the call calls nearly full.
const CRITICAL_PERCENT: f64 = 95.0;
/// Days to the day on which it is full.
const CRITICAL_DAYS: f64 = 7.0;
const WARNING_DAYS: f64 = 30.0;

/// A point of `GET …/rrddata`; bytes. What was not recorded is not there.
#[derive(Deserialize)]
struct Point {
    time: u64,
    used: Option<f64>,
}

async fn storages(look: &Look<'_>) -> Told {
    let mut told = Told::default();
    let Some(rows) = told.unless("", look.storages()) else { return told };
    // A shared one is the same on every node.
    let mut places: BTreeMap<(&str, &str), &StorageRow> = BTreeMap::new();
    for row in rows.iter().filter(|row| look.online().any(|node| node == row.node)) {
        if !row.is_available() {
            let evidence = format!("not available on {}: {}", row.node, row.status.as_deref().unwrap_or("unknown"));
            let arguments = json!({"storage": row.storage, "node": row.node});
            let finding = Finding::new(Severity::Warning, format!("storage {}", row.storage), evidence);
            told.find(finding.help("proxmox-storage-status", &arguments));
            continue;
        }
        places.entry((&row.storage, if row.shared { "" } else { &row.node })).or_insert(row);
    }
    let work = places.into_values().map(|row| async move { (row, trend(look, row).await) });
    let mut found = Vec::new();
    for (row, trend) in look.side_by_side(work.collect()).await {
        let trend = told.unless(&format!("growth of {}", place(row)), trend).flatten();
        found.extend(judged(look, row, trend));
    }
    found.sort_by(|(a, _), (b, _)| b.total_cmp(a));
    told.findings.extend(found.into_iter().map(|(_, finding)| finding));
    told
}

fn place(row: &StorageRow) -> String {
    if row.shared { format!("storage {}", row.storage) } else { format!("storage {} on {}", row.storage, row.node) }
}

async fn trend(look: &Look<'_>, row: &StorageRow) -> Result<Option<Trend>> {
    if row.maxdisk.unwrap_or(0) == 0 {
        return Ok(None);
    }
    let path = format!("/nodes/{}/storage/{}/rrddata", encode(&row.node), encode(&row.storage));
    let request = Request::get(path).param("timeframe", "month").param("cf", "AVERAGE");
    let points: Vec<Point> = look.ask(&row.node, &request).await?;
    let points: Vec<(u64, f64)> = points.into_iter().filter_map(|point| Some((point.time, point.used?))).collect();
    Ok(Trend::of(&points))
}

/// What is to be said of it, and how full it is.
fn judged(look: &Look<'_>, row: &StorageRow, trend: Option<Trend>) -> Option<(f64, Finding)> {
    let (used, total) = (row.disk?, row.maxdisk.filter(|total| *total > 0)?);
    let share = used as f64 / total as f64 * 100.0;
    let growth = trend.filter(|trend| trend.is_growth(total as f64));
    let days = growth.map(|trend| total.saturating_sub(used) as f64 / trend.per_day);
    let limit = f64::from(look.args.storage_percent);
    let soon = |limit: f64| days.is_some_and(|days| days <= limit);
    let severity = match () {
        () if share >= CRITICAL_PERCENT.max(limit) || soon(CRITICAL_DAYS) => Severity::Critical,
        () if share >= limit || soon(WARNING_DAYS) => Severity::Warning,
        () => return None,
    };
    let mut evidence = format!("{share:.0}% used, {} of {}", size(used), size(total));
    if let (Some(growth), Some(days)) = (growth, days) {
        let when = date(look.now + (days * DAY as f64) as u64);
        evidence.push_str(&format!("; grows {} a day, full in {days:.0} days ({when})", size(growth.per_day as u64)));
    }
    let arguments =
        if row.shared { json!({"storage": row.storage}) } else { json!({"storage": row.storage, "node": row.node}) };
    Some((share, Finding::new(severity, place(row), evidence).help("proxmox-storage-content", &arguments)))
}
