//! What a wait has seen of its task's log. Reads the end of logs, never more than is new.

use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::{
    error::Result,
    progress::Update,
    pve::{
        Client, Listing, Request, Upid,
        task_log::{self, LogLine},
    },
};

/// Lines that one read asks for.
const PAGE: usize = 200;
/// Lines among which warnings are looked for.
const WHOLE: usize = 5000;

/// The latest of one task.
#[derive(Default)]
pub(super) struct View(Mutex<Seen>);

#[derive(Default)]
struct Seen {
    percent: Option<f64>,
    line: Option<String>,
    /// Set while the node does not answer.
    note: Option<String>,
    /// How many lines the log had.
    lines: usize,
}

impl View {
    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn percent(&self) -> Option<f64> {
        self.seen().percent
    }
    pub(super) fn is_silent(&self) -> bool {
        self.seen().note.is_some()
    }
    pub(super) fn answered(&self) {
        self.seen().note = None;
    }
    pub(super) fn fell_silent(&self, note: String) {
        self.seen().note = Some(note);
    }

    /// Percent, last line, and why no more is known.
    pub(super) fn into_parts(self) -> (Option<f64>, Option<String>, Option<String>) {
        let seen = self.0.into_inner().unwrap_or_else(PoisonError::into_inner);
        (seen.percent, seen.line, seen.note)
    }

    /// Reads what is new; an update where there is something to tell. The percentage never falls.
    ///
    /// # Errors
    /// The client's.
    pub(super) async fn read(&self, client: &Client, upid: &Upid) -> Result<Option<Update>> {
        // The last line seen may have been written half: it is read again.
        let lines = self.read_end(client, upid, 1).await?;
        let Some(line) = task_log::tail(&lines, 1).pop() else { return Ok(None) };
        let told = lines.iter().rev().find_map(|l| task_log::percent(&task_log::clean(&l.t)));
        let mut seen = self.seen();
        let before = (seen.percent, seen.line.take());
        if let Some(told) = told {
            seen.percent = Some(seen.percent.map_or(told, |known| known.max(told)));
        }
        seen.line = Some(line.clone());
        let percent = seen.percent;
        Ok((before != (percent, Some(line.clone()))).then_some(Update::new(percent, line)))
    }

    /// The last lines, cleaned.
    ///
    /// # Errors
    /// The client's.
    pub(super) async fn tail(&self, client: &Client, upid: &Upid, count: usize) -> Result<Vec<String>> {
        Ok(task_log::tail(&self.read_end(client, upid, count).await?, count))
    }

    /// At least the last `count` lines, in one request, or two where much is new.
    async fn read_end(&self, client: &Client, upid: &Upid, count: usize) -> Result<Vec<LogLine>> {
        let start = self.seen().lines.saturating_sub(count);
        let mut page = lines(client, upid, start, PAGE).await?;
        let read = start + page.data.len();
        let total = page.total.and_then(|n| usize::try_from(n).ok()).unwrap_or(read);
        if total > read && page.data.len() >= PAGE {
            // A few more, for what is written meanwhile.
            page = lines(client, upid, total.saturating_sub(count), count + 50).await?;
        }
        if !task_log::is_empty(&page.data) {
            self.seen().lines = total;
        }
        Ok(page.data)
    }
}

/// The warnings in a task's log.
///
/// # Errors
/// The client's.
pub(super) async fn warnings(client: &Client, upid: &Upid) -> Result<Vec<String>> {
    Ok(task_log::warnings(&lines(client, upid, 0, WHOLE).await?.data))
}

async fn lines(client: &Client, upid: &Upid, start: usize, limit: usize) -> Result<Listing<Vec<LogLine>>> {
    let request = Request::get(format!("{}/log", upid.path())).param("start", start).param("limit", limit);
    client.list(&request).await
}
