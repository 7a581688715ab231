//! Waits for tasks to end: one waiter for each cluster, shared by all calls. Looks often at first and seldom later, shares
//! its looks among those who wait on one node, and reports what the task's log says. It never starts or stops a task.

mod adopt;
mod log;
#[cfg(test)]
mod recorded;
mod rounds;
mod settle;
#[cfg(test)]
mod tests;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError, Weak},
    time::Duration,
};

use tokio::time::{Instant, sleep, sleep_until, timeout};

pub use self::{adopt::AdoptQuery, settle::Becomes};
use self::{
    log::View,
    rounds::{AFTER_SILENCE, Call, Rounds, pause},
};
use super::{Client, ExitStatus, Request, Scope, TaskEnd, TaskStatus, Upid, WaitOptions, Waited};
use crate::{
    error::{Error, Kind, Result},
    progress::Update,
};

/// Lines of a failed task's log that are shown.
const TAIL: usize = 15;
/// How long the last reads may take when the wait is over.
const LAST_LOOK: Duration = Duration::from_secs(2);
/// A status read just after the end can be `unexpected status` until the log's last line is written.
const REREAD: Duration = Duration::from_millis(250);
/// The longest wait: more is as good as for ever.
const FOR_EVER: Duration = Duration::from_secs(365 * 24 * 3600);

/// The waits of one cluster.
#[derive(Default)]
pub struct Waiter {
    /// Nodes where somebody waits.
    nodes: Mutex<HashMap<String, Weak<Rounds>>>,
}

impl Waiter {
    /// Waits for a task to end well. Reports progress to the scope, where somebody watches. Dropping the future ends the
    /// waiting and nothing else.
    ///
    /// # Errors
    /// `TaskFailed` with the task's own words and the end of its log; `Cancelled` if the scope was (the task goes on);
    /// `NotFound` where the node knows no such task; and what Proxmox refuses. That the node is silent is no error: it is
    /// asked until the time is over. Nor is the end of the time: [`Waited::Running`].
    pub async fn wait(&self, client: &Client, upid: &Upid, options: &WaitOptions, scope: &Scope) -> Result<Waited> {
        match self.watch(client, upid, options, scope).await? {
            Waited::Done(end) => end.check().map(Waited::Done),
            running @ Waited::Running { .. } => Ok(running),
        }
    }

    /// As [`Waiter::wait`], but a task that ended with a failure is `Done` like any other.
    ///
    /// # Errors
    /// As [`Waiter::wait`], without `TaskFailed`.
    pub async fn watch(&self, client: &Client, upid: &Upid, options: &WaitOptions, scope: &Scope) -> Result<Waited> {
        let started = Instant::now();
        let _told = client.observed().wait();
        let wait =
            Wait { client, upid, scope, options, view: View::default(), rounds: self.rounds(&upid.node), started };
        let status = tokio::select! {
            biased;
            () = scope.cancel.cancelled() => return Err(wait.cancelled()),
            ended = wait.until_end() => Some(ended?),
            never = wait.follow(), if scope.progress.is_watched() => match never {},
            () = sleep_until(started + options.timeout.min(FOR_EVER)) => wait.last_look().await,
        };
        match status {
            Some(status) => {
                // What the task changed, nobody knows yet.
                client.resources().ended(upid);
                Ok(Waited::Done(wait.finish(status).await))
            }
            None => {
                let (percent, log, note) = wait.view.into_parts();
                Ok(Waited::Running { log, percent, note })
            }
        }
    }

    fn rounds(&self, node: &str) -> Arc<Rounds> {
        let mut nodes = self.nodes.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(rounds) = nodes.get(node).and_then(Weak::upgrade) {
            return rounds;
        }
        nodes.retain(|_, rounds| rounds.strong_count() > 0);
        let rounds = Arc::new(Rounds::new(node));
        nodes.insert(node.to_owned(), Arc::downgrade(&rounds));
        rounds
    }
}

/// True where the node, or the way to it, gave no answer: it may give one later.
fn is_silence(error: &Error) -> bool {
    matches!(error.kind(), Kind::Unavailable | Kind::Timeout)
}

/// How a task ended; `None` while it runs.
///
/// # Errors
/// `NotFound` where its node knows no such task, and the client's, with the UPID.
pub(super) async fn status(client: &Client, upid: &Upid) -> Result<Option<ExitStatus>> {
    let request = Request::get(format!("{}/status", upid.path()));
    match client.get::<TaskStatus>(&request).await {
        Ok(status) => Ok(status.end()),
        Err(error) => match error.parts().errors.get("upid") {
            Some(words) => Err(Error::not_found(format!("node {} says: {}", upid.node, words.trim()))
                .hint("list the node's tasks: about the last 1,000 are kept, and a UPID must be given whole")
                .upid(upid.as_str())
                .request(request.to_string())),
            None => Err(error.upid(upid.as_str())),
        },
    }
}

/// The last lines of a task's log, cleaned, and the percentage that they tell.
///
/// # Errors
/// The client's.
pub(super) async fn tail(client: &Client, upid: &Upid, count: usize) -> Result<(Vec<String>, Option<f64>)> {
    let view = View::default();
    let lines = view.tail(client, upid, count).await.map_err(|e| e.upid(upid.as_str()))?;
    let percent = lines.iter().rev().find_map(|line| super::task_log::percent(line));
    Ok((lines, percent))
}

/// One wait.
struct Wait<'a> {
    client: &'a Client,
    upid: &'a Upid,
    scope: &'a Scope,
    options: &'a WaitOptions,
    view: View,
    rounds: Arc<Rounds>,
    started: Instant,
}

impl Wait<'_> {
    async fn until_end(&self) -> Result<ExitStatus> {
        let mut seat = self.rounds.join(self.upid.as_str(), self.options.poll_interval);
        let (mut missed, mut reread) = (0, false);
        loop {
            let missing = match seat.called(self.client).await {
                Call::Running => {
                    self.view.answered();
                    continue;
                }
                Call::Silent(error) => {
                    self.silent(&error);
                    continue;
                }
                Call::Ask { missing } => missing,
            };
            let asked = Instant::now();
            match self.status().await {
                Ok(None) => {
                    self.view.answered();
                    missed += u32::from(missing);
                    // Once may be chance: the list was made just before the task was entered.
                    seat.still_running(asked, missed > 1);
                }
                Ok(Some(ExitStatus::Unexpected)) if !reread => {
                    reread = true;
                    seat.look_again_after(REREAD);
                }
                Ok(Some(status)) => return Ok(status),
                Err(error) if is_silence(&error) => {
                    self.silent(&error);
                    let pause = pause(self.started.elapsed(), self.options.poll_interval);
                    seat.look_again_after(pause.max(AFTER_SILENCE));
                }
                Err(error) => return Err(error),
            }
        }
    }

    async fn status(&self) -> Result<Option<ExitStatus>> {
        status(self.client, self.upid).await
    }

    fn silent(&self, error: &Error) {
        let note = format!("node {} does not answer ({error})", self.upid.node);
        let message = format!("{note}; still trying");
        self.view.fell_silent(note);
        self.scope.progress.report(Update::new(self.view.percent(), message));
    }

    /// Reads the log while the task runs. For the eyes only: errors are left to the looks at the status.
    async fn follow(&self) -> std::convert::Infallible {
        let longest = self.options.poll_interval.max(Duration::from_secs(1));
        loop {
            let pause = (self.started.elapsed() / 5).clamp(Duration::from_millis(300), longest);
            sleep(pause).await;
            if self.view.is_silent() {
                continue;
            }
            let Ok(Some(update)) = self.view.read(self.client, self.upid).await else { continue };
            if super::task_log::is_end(&update.message) {
                self.rounds.hurry(self.upid.as_str());
            }
            self.scope.progress.report(update);
        }
    }

    /// When the time is over: whether the task has ended meanwhile, and if not, what its log says. Not of a silent node.
    async fn last_look(&self) -> Option<ExitStatus> {
        if self.view.is_silent() {
            return None;
        }
        let look = async {
            match self.status().await {
                Ok(Some(status)) => Some(status),
                Ok(None) => {
                    // What it says is for the eyes; without it the wait has run out all the same.
                    drop(self.view.read(self.client, self.upid).await);
                    None
                }
                Err(error) => {
                    self.view.fell_silent(format!("node {} does not answer ({error})", self.upid.node));
                    None
                }
            }
        };
        match timeout(LAST_LOOK, look).await {
            Ok(status) => status,
            Err(_) => {
                self.view.fell_silent(format!(
                    "node {} did not answer within {} s",
                    self.upid.node,
                    LAST_LOOK.as_secs()
                ));
                None
            }
        }
    }

    async fn finish(&self, status: ExitStatus) -> TaskEnd {
        let mut end = TaskEnd {
            upid: self.upid.clone(),
            status,
            warnings: Vec::new(),
            log_tail: Vec::new(),
            duration: self.started.elapsed(),
            queued_only: self.upid.is_queued_only(),
        };
        // The end is known: the log only adds to it, and must not hold it up for long.
        match &end.status {
            ExitStatus::Ok => {}
            ExitStatus::Warnings(_) => {
                let warnings = timeout(2 * LAST_LOOK, log::warnings(self.client, self.upid)).await;
                end.warnings = warnings.ok().and_then(Result::ok).unwrap_or_default();
            }
            ExitStatus::Unexpected | ExitStatus::Failed(_) => {
                let tail = timeout(2 * LAST_LOOK, self.view.tail(self.client, self.upid, TAIL)).await;
                end.log_tail = tail.ok().and_then(Result::ok).unwrap_or_default();
            }
        }
        if end.status.is_success() {
            self.scope.progress.report(Update::new(Some(100.0), format!("TASK {}", end.status)));
        }
        end
    }

    fn cancelled(&self) -> Error {
        let Upid { kind, id, .. } = self.upid;
        let what = [kind.as_str(), id.as_str()].join(" ");
        Error::new(
            Kind::Cancelled,
            format!("the waiting was cancelled; task {} ({}) goes on", self.upid, what.trim_end()),
        )
        .hint("wait for it again with its UPID, or stop the task")
        .upid(self.upid.as_str())
    }
}
