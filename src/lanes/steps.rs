//! The steps of one lane, in order: sent, waited for, and stopped where everything is.

use std::time::Duration;

use serde_json::Value;
use tokio::time::Instant;

use super::{Did, Engine, Run, Step, after, engine::Why};
use crate::{
    error::{Error, Kind, Result},
    journal::Note,
    pve::{Reader, Upid, WaitOptions, Waited},
};

/// How long a stopped task is given to clean up.
const STOPPING: WaitOptions = WaitOptions { timeout: Duration::from_secs(120), poll_interval: Duration::from_secs(1) };
/// How often a lane whose VMID was taken gets the next one.
const NUMBERS: usize = 20;

impl Engine {
    pub(super) async fn steps(&self, run: &mut Run) -> Result<()> {
        for i in 0..run.lane.steps.len() {
            if run.did[i] == Did::Done {
                continue;
            }
            if self.halt.is_cancelled() {
                return Err(Error::new(Kind::Cancelled, "stopped before the next step"));
            }
            self.step(run, i).await?;
            run.did[i] = Did::Done;
            self.note(run, i, Note::Done).await?;
            self.board.done(run.index);
        }
        Ok(())
    }

    async fn step(&self, run: &mut Run, i: usize) -> Result<()> {
        let doing = run.lane.steps[i].doing.clone();
        let progress = self.board.listener(run.index, &run.lane.name, &doing);
        let scope = self.way.scope(self.halt.clone(), progress);
        let reader = Reader::new(&self.way.client, &scope);
        let mut answer = Value::Null;
        if i == 0 && run.identity.is_none() {
            run.identity = self.existing(&reader, run).await;
        }
        if run.lane.steps[i].joins {
            return self.join(&reader, run, i).await;
        }
        if run.did[i] == Did::Nothing && run.ready[i].request.is_some() {
            answer = self.sent(run, i).await?;
        }
        if let Did::Begun(upid) = &run.did[i] {
            self.task(&reader, &upid.clone(), run, i).await?;
        }
        if i == 0 {
            run.identity = self.made(run).await.or(run.identity.take());
            if let Some(identity) = &run.identity {
                self.note(run, i, Note::Made { identity: identity.clone() }).await?;
            }
        }
        let Step { then, .. } = &run.lane.steps[i];
        after::wait(&reader, then, &answer, self.until, &mut run.found).await
    }

    /// Sends a step's request, for another VMID where the one that was chosen is taken.
    pub(super) async fn sent(&self, run: &mut Run, i: usize) -> Result<Value> {
        let still = Reader::new(&self.way.client, &self.scope);
        let sender = self.sender();
        for tried in 0.. {
            let Some(request) = &run.ready[i].request else { break };
            self.note(run, i, Note::Sending).await?;
            run.did[i] = Did::Sent;
            match sender.send(&still, request).await {
                Ok((answer, upid)) => {
                    if let Some(upid) = upid {
                        self.note(run, i, Note::Begun { upid: upid.to_string() }).await?;
                        run.did[i] = Did::Begun(upid);
                    }
                    return Ok(answer);
                }
                Err(e) if e.is_unclear() => return Err(e),
                Err(e) => {
                    run.did[i] = Did::Nothing;
                    self.note(run, i, Note::Refused).await?;
                    let again = i == 0 && run.lane.chosen && self.way.renumbers && e.is_conflict() && tried < NUMBERS;
                    if !again {
                        return Err(e);
                    }
                    self.renumber(run).await?;
                }
            }
        }
        Ok(Value::Null)
    }

    /// Waits for a task; stops it where what it does would be taken back.
    async fn task(&self, reader: &Reader<'_>, upid: &Upid, run: &mut Run, i: usize) -> Result<()> {
        let left = self.until.saturating_duration_since(Instant::now());
        let wait = WaitOptions { timeout: left, ..self.way.wait };
        match reader.wait(upid, wait).await {
            Ok(Waited::Done(end)) => {
                if !end.warnings.is_empty() {
                    run.found.insert("warnings".to_owned(), end.warnings.join("; ").into());
                }
                Ok(())
            }
            // The watch over the whole says so, too, at the same moment.
            Ok(Waited::Running { .. }) => {
                self.stop(Why::TimedOut);
                self.given_up(upid, run, i).await
            }
            Err(e) if e.kind() == Kind::Cancelled && self.halt.is_cancelled() => self.given_up(upid, run, i).await,
            Err(e) => Err(e),
        }
    }

    async fn given_up(&self, upid: &Upid, run: &mut Run, i: usize) -> Result<()> {
        let stopped =
            Error::new(Kind::Cancelled, format!("{} was stopped", run.lane.steps[i].doing)).upid(upid.as_str());
        if !self.stops_tasks() {
            return Err(stopped);
        }
        let still = Reader::new(&self.way.client, &self.scope);
        if still.task_status(upid).await.ok().flatten().is_none() {
            // It may end by itself just now; what can be said of it is read below.
            if let Ok(abort) = self.way.policy.approve_abort(upid) {
                drop(self.sender().send(&still, &abort).await);
            }
        }
        let end = self.way.client.waiter().watch(&self.way.client, upid, &STOPPING, &self.scope).await;
        if matches!(&end, Ok(Waited::Done(end)) if end.status.is_success()) {
            run.did[i] = Did::Done;
        }
        Err(stopped)
    }
}
