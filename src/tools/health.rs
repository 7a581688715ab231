//! One answer to "is my cluster all right?": runs the checks side by side, sorts what they found, and says what could not
//! be looked at. What a check looks for is in its own file: a new one is an entry in that file's `CHECKS`, a new file a line
//! in `GROUPS`.

mod backups;
mod boot;
mod check;
mod cluster;
mod guests;
mod look;
mod nodes;
mod replication;
mod snapshots;
mod storage;
mod tasks;
mod trend;

use std::{collections::BTreeMap, time::Duration};

use futures::future::join_all;
use tokio::time::timeout;

use self::{
    check::{Check, Finding, Severity, Told},
    look::Look,
};
use crate::{
    error::Kind,
    tool::{Deserialize, Entry, Error, JsonSchema, Query, Reader, Result, Serialize, Tool},
};

pub const TOOLS: &[Entry] = &[Entry::list::<Health>()];

/// In the order in which findings of one severity are told.
const GROUPS: &[&[Check]] = &[
    cluster::CHECKS,
    storage::CHECKS,
    backups::CHECKS,
    replication::CHECKS,
    guests::CHECKS,
    boot::CHECKS,
    tasks::CHECKS,
    snapshots::CHECKS,
    nodes::CHECKS,
];

/// What the checks share; see [`Look`].
const SHARED: &[&str] = &["GET /access/permissions", "GET /cluster/resources", "GET /nodes", "GET /nodes/{node}/time"];

/// The longest that one check may take.
const CHECK: Duration = Duration::from_secs(60);

/// Tell whether the cluster is all right: nodes, quorum, HA, storages and when they will be full, backups, failed tasks, locks, snapshots, updates, certificates.
#[derive(Deserialize, JsonSchema)]
struct Health {
    #[serde(default = "eight")]
    #[schemars(range(min = 1, max = 3650))]
    backup_days: u64,
    #[serde(default = "thirty")]
    #[schemars(range(min = 1, max = 3650))]
    snapshot_days: u64,
    #[serde(default = "eighty_five")]
    #[schemars(range(min = 1, max = 100))]
    storage_percent: u8,
    #[serde(default = "thirty")]
    #[schemars(range(min = 1, max = 3650))]
    certificate_days: u64,
    /// Only these.
    #[serde(default)]
    checks: Vec<String>,
    /// Of each check; 0: all.
    #[serde(default = "five")]
    #[schemars(range(min = 0, max = 10_000))]
    rows: usize,
    /// So many are read, a request each.
    #[serde(default = "three_hundred")]
    #[schemars(range(min = 0, max = 100_000))]
    guests: usize,
}

/// A backup every week, and a day for it to be made.
fn eight() -> u64 {
    8
}
fn thirty() -> u64 {
    30
}
fn eighty_five() -> u8 {
    85
}
fn five() -> usize {
    5
}
fn three_hundred() -> usize {
    300
}

impl Tool for Health {
    const NAME: &str = "proxmox-health";
    const TITLE: &str = "Is the cluster all right?";
    const API: &[&str] = API.0.split_at(API.1).0;
    const EXAMPLE: (&str, &str) = ("Is my cluster all right?", "{}");
}

/// The endpoints of all checks, each once, and how many they are.
const API: ([&str; declared()], usize) = {
    let mut all = [""; declared()];
    let mut count = add(&mut all, 0, SHARED);
    let mut group = 0;
    while group < GROUPS.len() {
        let mut at = 0;
        while at < GROUPS[group].len() {
            count = add(&mut all, count, GROUPS[group][at].api);
            at += 1;
        }
        group += 1;
    }
    (all, count)
};

const fn declared() -> usize {
    let (mut sum, mut group) = (SHARED.len(), 0);
    while group < GROUPS.len() {
        let mut at = 0;
        while at < GROUPS[group].len() {
            sum += GROUPS[group][at].api.len();
            at += 1;
        }
        group += 1;
    }
    sum
}

const fn add(all: &mut [&'static str], mut count: usize, more: &[&'static str]) -> usize {
    let mut at = 0;
    while at < more.len() {
        let (mut seen, mut known) = (false, 0);
        while known < count {
            seen = seen || same(all[known].as_bytes(), more[at].as_bytes());
            known += 1;
        }
        if !seen {
            all[count] = more[at];
            count += 1;
        }
        at += 1;
    }
    count
}

const fn same(a: &[u8], b: &[u8]) -> bool {
    let mut at = 0;
    while at < a.len() && at < b.len() && a[at] == b[at] {
        at += 1;
    }
    at == a.len() && at == b.len()
}

#[derive(Serialize, JsonSchema)]
struct Report {
    /// ok, warning or critical, and why.
    verdict: String,
    counts: BTreeMap<&'static str, usize>,
    /// Worst first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    findings: Vec<Row>,
    /// What was found and is not told here.
    #[serde(skip_serializing_if = "Option::is_none")]
    more: Option<String>,
    /// What could not be looked at: nothing is known of it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    unchecked: Vec<Unchecked>,
    /// Checks that found nothing.
    #[serde(skip_serializing_if = "String::is_empty")]
    fine: String,
}

#[derive(Serialize, JsonSchema)]
struct Row {
    severity: Severity,
    check: &'static str,
    subject: String,
    evidence: String,
    /// A tool and its arguments.
    #[serde(skip_serializing_if = "Option::is_none")]
    help: Option<String>,
}

#[derive(Serialize, JsonSchema)]
struct Unchecked {
    checks: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    subject: String,
    why: String,
}

impl Query for Health {
    type Output = Report;
    async fn query(&self, pve: &Reader<'_>) -> Result<Report> {
        let checks = self.chosen()?;
        let look = Look::new(pve, self).await?;
        let told = join_all(checks.iter().map(|check| run(check, &look))).await;
        if pve.scope().cancel.is_cancelled() {
            return Err(Error::new(Kind::Cancelled, "the call was cancelled"));
        }
        Ok(self.report(checks.into_iter().zip(told)))
    }
}

/// Runs one check. Whatever goes wrong in it is what could not be looked at.
async fn run(check: &Check, look: &Look<'_>) -> Told {
    let told = timeout(CHECK, (check.run)(look)).await;
    let mut told = told.unwrap_or_else(|_| {
        let mut told = Told::default();
        told.unchecked("", format!("not done within {} s", CHECK.as_secs()));
        told
    });
    // Lists leave out what the credentials may not see, without a word.
    for (path, privileges) in check.sees {
        if !look.may(path, privileges).await {
            told.unchecked(
                path.trim_start_matches('/'),
                format!("only those that this token has {} on are listed", privileges.join(" or ")),
            );
        }
    }
    told
}

impl Health {
    fn chosen(&self) -> Result<Vec<&'static Check>> {
        let all = || GROUPS.iter().copied().flatten();
        for wanted in &self.checks {
            if !all().any(|check| check.name == wanted) {
                let names: Vec<&str> = all().map(|check| check.name).collect();
                return Err(Error::bad_argument(format!("checks: there is no check '{wanted}'"))
                    .hint(format!("known: {}", names.join(", "))));
            }
        }
        Ok(all().filter(|check| self.checks.is_empty() || self.checks.iter().any(|name| name == check.name)).collect())
    }

    fn report(&self, told: impl Iterator<Item = (&'static Check, Told)>) -> Report {
        let (mut rows, mut left_out, mut fine) = (Vec::new(), Vec::new(), Vec::new());
        let mut counts = BTreeMap::new();
        let mut unchecked: Vec<(String, String, Vec<&str>)> = Vec::new();
        for (check, mut told) in told {
            if told.findings.is_empty() && told.unchecked.is_empty() {
                fine.push(check.name);
            }
            for (subject, why) in told.unchecked {
                match unchecked.iter_mut().find(|(s, w, _)| *s == subject && *w == why) {
                    Some((.., checks)) if checks.contains(&check.name) => {}
                    Some((.., checks)) => checks.push(check.name),
                    None => unchecked.push((subject, why, vec![check.name])),
                }
            }
            for finding in &told.findings {
                *counts.entry(finding.severity.word()).or_insert(0) += 1;
            }
            told.findings.sort_by_key(|finding| finding.severity);
            let most = if self.rows == 0 { usize::MAX } else { self.rows };
            if told.findings.len() > most {
                left_out.push(format!("{} {}", check.name, told.findings.len() - most));
                told.findings.truncate(most);
            }
            rows.extend(told.findings.into_iter().map(|finding| row(check, finding)));
        }
        rows.sort_by_key(|row: &Row| row.severity);
        let unchecked: Vec<Unchecked> = unchecked
            .into_iter()
            .map(|(subject, why, checks)| Unchecked { checks: checks.join(", "), subject, why })
            .collect();
        let unknown = !unchecked.is_empty();
        Report {
            verdict: verdict(&rows, if fine.is_empty() && unknown { None } else { Some(unknown) }),
            counts,
            findings: rows,
            more: (!left_out.is_empty()).then(|| format!("{} (rows: 0 tells all)", left_out.join(", "))),
            unchecked,
            fine: fine.join(", "),
        }
    }
}

fn row(check: &Check, finding: Finding) -> Row {
    let Finding { severity, subject, evidence, help } = finding;
    Row { severity, check: check.name, subject, evidence, help }
}

/// The answer in a sentence. `unknown`: whether something could not be looked at; `None` where nothing was found to be fine.
fn verdict(rows: &[Row], unknown: Option<bool>) -> String {
    /// So many subjects are named.
    const NAMED: usize = 3;
    let worst = rows.first().map(|row| row.severity).filter(|severity| *severity < Severity::Info);
    let Some(worst) = worst else {
        return match (unknown, rows.is_empty()) {
            (None, _) => "warning: next to nothing could be looked at".to_owned(),
            (Some(true), _) => "ok, as far as it could be looked at".to_owned(),
            (Some(false), true) => "ok: nothing was found".to_owned(),
            (Some(false), false) => "ok: nothing but notes".to_owned(),
        };
    };
    let of_it: Vec<String> = rows
        .iter()
        .take_while(|row| row.severity == worst)
        .map(|row| format!("{} ({})", row.subject, row.check))
        .collect();
    let named = of_it.iter().take(NAMED).cloned().collect::<Vec<_>>().join(", ");
    match of_it.len().saturating_sub(NAMED) {
        0 => format!("{}: {named}", worst.word()),
        more => format!("{}: {named} and {more} more", worst.word()),
    }
}
