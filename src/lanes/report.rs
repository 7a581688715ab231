//! What came of lanes, as the result or the error says it.

use serde_json::{Map, Value, json};

use super::{Did, How, Lanes, OnFailure, Run};
use crate::error::Error;

/// What came of everything.
pub struct Report {
    pub runs: Vec<Run>,
    /// The result: a row for each lane, and counts.
    pub rows: Map<String, Value>,
    /// What went wrong, with what became of what had been done.
    pub error: Option<Error>,
}

impl Report {
    /// `open` is the record that stays, where something is left to be taken back.
    pub(super) fn new(lanes: &Lanes, mut runs: Vec<Run>, error: Option<Error>, open: Option<&str>) -> Self {
        runs.sort_by_key(|run| run.index);
        let mut rows = Map::new();
        let count = |how: &[How]| runs.iter().filter(|run| how.contains(&run.how)).count();
        for (key, how) in [
            ("done", &[How::Done][..]),
            ("failed", &[How::Failed]),
            ("stopped", &[How::Stopped]),
            ("running", &[How::Running]),
            ("not_begun", &[How::NotBegun]),
            ("rolled_back", &[How::RolledBack]),
            ("left", &[How::Left]),
            ("skipped", &[How::Skipped]),
            ("refused", &[How::Refused]),
        ] {
            let count = count(how);
            if count > 0 {
                rows.insert(key.to_owned(), count.into());
            }
        }
        rows.insert(lanes.rows.clone(), runs.iter().map(row).collect());
        let error = error.map(|e| explained(e, lanes, &runs, open).told(rows.clone()));
        Self { runs, rows, error }
    }
}

fn row(run: &Run) -> Value {
    let mut row = Map::new();
    row.insert("name".to_owned(), run.lane.name.clone().into());
    row.insert("state".to_owned(), run.how.key().into());
    row.extend(run.lane.about.clone());
    row.extend(run.found.clone());
    if let Some(out) = &run.lane.out {
        row.insert("reason".to_owned(), out.why().into());
    }
    if let Some(e) = &run.error {
        row.insert("error".to_owned(), e.to_string().into());
        if !e.parts().log.is_empty() {
            row.insert("log".to_owned(), json!(e.parts().log));
        }
    }
    if run.how == How::Running {
        let upid = run.did.iter().find_map(|did| match did {
            Did::Begun(upid) => Some(upid.to_string()),
            _ => None,
        });
        row.extend(upid.map(|upid| ("upid".to_owned(), upid.into())));
    }
    if run.how == How::Done
        && let Some(undo) = &run.lane.undo
    {
        row.insert("undo".to_owned(), json!(undo));
    }
    if matches!(run.how, How::Failed | How::Stopped) {
        let stands = run.lane.steps.iter().zip(&run.did).filter(|(_, did)| **did == Did::Done);
        let stands: Vec<&str> = stands.map(|(step, _)| step.doing.as_str()).collect();
        if !stands.is_empty() {
            row.insert("stands".to_owned(), json!(stands));
        }
    }
    for (key, what) in [("undone", &run.undone), ("not_undone", &run.left)] {
        if !what.is_empty() {
            row.insert(key.to_owned(), json!(what));
        }
    }
    Value::Object(row)
}

/// How many ended how.
pub(super) fn counts(runs: &[Run]) -> String {
    let mut counts: Vec<(How, usize)> = Vec::new();
    for run in runs {
        match counts.iter_mut().find(|(how, _)| *how == run.how) {
            Some((_, count)) => *count += 1,
            None => counts.push((run.how, 1)),
        }
    }
    counts.sort_by_key(|(how, _)| *how != How::Done);
    counts.into_iter().map(|(how, count)| format!("{count} {}", how.word())).collect::<Vec<_>>().join(", ")
}

/// Says beside what went wrong what became of the rest.
fn explained(error: Error, lanes: &Lanes, runs: &[Run], open: Option<&str>) -> Error {
    let named = |how: How| {
        let names: Vec<&str> = runs.iter().filter(|run| run.how == how).map(|run| run.lane.name.as_str()).collect();
        match names.len() {
            0..=12 => names.join(", "),
            n => format!("{} and {} more", names[..10].join(", "), n - 10),
        }
    };
    let count = |how: How| runs.iter().filter(|run| run.how == how).count();
    let left = count(How::Left);
    let rest = match lanes.on_failure {
        OnFailure::Rollback if left > 0 => {
            format!("not everything could be taken back: {} (see not_undone)", named(How::Left))
        }
        OnFailure::Rollback if count(How::RolledBack) > 0 => {
            format!("everything that this call had made was taken back: {}", named(How::RolledBack))
        }
        OnFailure::Rollback => "nothing had been made yet".to_owned(),
        OnFailure::Keep => {
            let of = runs.len();
            let all = [
                (How::Done, "done"),
                (How::Failed, "failed"),
                (How::Stopped, "stopped half way"),
                (How::Running, "still running"),
                (How::NotBegun, "not begun"),
                (How::Skipped, "skipped"),
                (How::Refused, "refused"),
            ];
            let told = all
                .into_iter()
                .filter(|(how, _)| count(*how) > 0)
                .map(|(how, words)| format!("{} {words}", count(how)));
            format!("of {of}: {}", told.collect::<Vec<_>>().join(", "))
        }
    };
    let error = error.reworded_message(|words| format!("{words}; {rest}"));
    match open {
        Some(id) => error.hint(format!("`proxmox-mcp resume {id}` tries again to take it back")),
        None => error,
    }
}

impl How {
    /// As programs read it.
    pub fn key(self) -> &'static str {
        match self {
            Self::NotBegun => "not_begun",
            Self::Skipped => "skipped",
            Self::Refused => "refused",
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Stopped => "stopped",
            Self::Running => "running",
            Self::RolledBack => "rolled_back",
            Self::Left => "left",
        }
    }
    /// As progress tells it.
    pub fn word(self) -> &'static str {
        match self {
            Self::NotBegun => "not begun",
            Self::RolledBack => "taken back",
            Self::Left => "not taken back whole",
            other => other.key(),
        }
    }
}
