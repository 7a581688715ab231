//! Runs lanes: so many at once, each step when the one before it is done, and once something is in the way, the way back or
//! what stands. It owns all that it works with, so that it comes to its end although nobody waits for the call any more.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

use futures::{StreamExt, stream};
use serde_json::Map;
use tokio::{
    sync::{Semaphore, SemaphorePermit},
    time::{Instant, sleep_until},
};
use tokio_util::sync::CancellationToken;

use super::{
    Did, How, Lane, Lanes, OnFailure, Out, Report, Resumed, Run,
    board::Board,
    report,
    run::{Ready, stages},
};
use crate::{
    error::{Error, Kind, Result},
    execute::Sender,
    journal::{Note, Record},
    policy::{Approved, Policy},
    progress::Progress,
    pve::{Client, Scope, Seen, WaitOptions},
    tool::Entry,
    trail::Trail,
};

/// What an engine takes over from the call that it works for.
pub struct Way {
    pub entry: &'static Entry,
    pub client: Client,
    pub policy: Policy,
    pub trail: Trail,
    pub progress: Progress,
    /// The call was cancelled, or nobody waits for it any more.
    pub cancel: CancellationToken,
    /// Until when all has to be done, and how often tasks are looked at.
    pub wait: WaitOptions,
    /// Tasks that are waited for are stopped with the call, also where what is done is kept.
    pub stops_task: bool,
    /// A lane may get another VMID than was shown.
    pub renumbers: bool,
}

/// Why nothing more is begun.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Why {
    Cancelled,
    TimedOut,
    Failed,
}

/// Runs lanes.
pub struct Engine {
    pub(super) way: Way,
    pub(super) lanes: Lanes,
    /// For what is sent, also when nothing more is begun.
    pub(super) scope: Scope,
    pub(super) halt: CancellationToken,
    why: Mutex<Option<Why>>,
    failures: AtomicUsize,
    /// How many more of each group may begin.
    groups: BTreeMap<String, Semaphore>,
    /// The guests that stand, of lanes that have ended.
    pub(super) stand: Mutex<Vec<u32>>,
    pub(super) board: Arc<Board>,
    pub(super) record: Option<Record>,
    pub(super) until: Instant,
}

impl Engine {
    pub fn new(way: Way, lanes: Lanes, record: Option<Record>, from: &[Resumed]) -> Self {
        let done = |i: usize| from.get(i).map_or(0, |r| r.did.iter().filter(|did| **did == Did::Done).count());
        let steps = lanes.lanes.iter().enumerate().map(|(i, lane)| (done(i), lane.steps.len())).collect();
        let until = Instant::now() + way.wait.timeout;
        Self {
            scope: way.scope(CancellationToken::new(), Progress::none()),
            board: Board::new(way.progress.clone(), steps),
            halt: CancellationToken::new(),
            why: Mutex::default(),
            failures: AtomicUsize::default(),
            groups: groups(&lanes),
            stand: Mutex::default(),
            way,
            lanes,
            record,
            until,
        }
    }

    /// Runs everything, or what of it is left; `approved` and `back` are [`Lanes::requests`] and [`Lanes::back`], in that
    /// order.
    pub async fn run(self, approved: Vec<Approved>, back: Vec<Approved>, from: Vec<Resumed>) -> Report {
        let runs = self.runs(approved, back, from);
        let runs = {
            let stages = self.stages(runs);
            let watch = async {
                let why = tokio::select! {
                    () = self.way.cancel.cancelled() => Why::Cancelled,
                    () = sleep_until(self.until) => Why::TimedOut,
                };
                self.stop(why);
                std::future::pending::<()>().await;
            };
            tokio::select! {
                runs = stages => runs,
                () = watch => Vec::new(),
            }
        };
        self.finish(runs).await
    }

    /// Takes back what was done, and nothing else.
    pub async fn take_back(self, back: Vec<Approved>, from: Vec<Resumed>) -> Report {
        let runs = self.runs(Vec::new(), back, from);
        let runs = self.back(runs).await;
        self.report(runs, None).await
    }

    fn runs(&self, approved: Vec<Approved>, back: Vec<Approved>, from: Vec<Resumed>) -> Vec<Run> {
        let mut from = from.into_iter();
        let mut runs: Vec<Run> = Vec::new();
        for (index, lane) in self.lanes.lanes.iter().enumerate() {
            let Resumed { did, identity } = from.next().unwrap_or_default();
            let steps = lane.steps.len();
            runs.push(Run {
                index,
                lane: lane.clone(),
                ready: std::iter::repeat_with(Ready::default).take(steps).collect(),
                did: did.into_iter().chain(std::iter::repeat(Did::Nothing)).take(steps).collect(),
                how: lane.out.as_ref().map_or(How::NotBegun, Out::how),
                error: None,
                found: Map::new(),
                identity,
                undone: Vec::new(),
                left: Vec::new(),
            });
        }
        let (mut approved, mut back) = (approved.into_iter(), back.into_iter());
        runs.sort_by_key(|run| run.lane.stage);
        runs.iter_mut().for_each(|run| run.may_send(&mut approved));
        let mut last_first: Vec<&mut Run> = runs.iter_mut().collect();
        last_first.sort_by_key(|run| (std::cmp::Reverse(run.lane.stage), run.index));
        last_first.into_iter().for_each(|run| run.may_take_back(&mut back));
        runs
    }

    async fn stages(&self, runs: Vec<Run>) -> Vec<Run> {
        let mut ended = Vec::new();
        for now in stages(runs) {
            // All are asked at once, so that one that waits for its group is passed by those of others.
            let (slots, all) = (Semaphore::new(self.parallel()), now.len());
            let now = stream::iter(now).map(|run| self.lane(run, &slots)).buffer_unordered(all);
            ended.extend(now.collect::<Vec<Run>>().await);
        }
        ended
    }

    async fn lane(&self, mut run: Run, slots: &Semaphore) -> Run {
        if run.lane.out.is_some() {
            return run;
        }
        let _turn = self.turn(&run.lane, slots).await;
        if self.halt.is_cancelled() || self.too_many() {
            return run;
        }
        let outcome = self.steps(&mut run).await;
        self.remember(&run);
        (run.how, run.error) = match outcome {
            Ok(()) => (How::Done, None),
            Err(e) if e.kind() == Kind::Cancelled && self.halt.is_cancelled() => {
                let running = run.did.iter().any(|did| matches!(did, Did::Begun(_))) && !self.stops_tasks();
                (if running { How::Running } else { How::Stopped }, None)
            }
            Err(e) => {
                self.failures.fetch_add(1, Ordering::Relaxed);
                if self.lanes.on_failure == OnFailure::Rollback {
                    self.stop(Why::Failed);
                }
                (How::Failed, Some(e))
            }
        };
        let words = run.error.as_ref().map_or_else(|| run.how.word().to_owned(), ToString::to_string);
        let words = format!("{}: {words}", run.lane.name);
        match (run.how, self.lanes.on_failure) {
            // What is going to be taken back is not over.
            (How::Failed | How::Stopped, OnFailure::Rollback) => {
                self.board.back_ended(run.index, &run.lane.name, &words, run.how == How::Failed);
            }
            (how, _) => self.board.ended(run.index, &run.lane.name, &words, how == How::Failed),
        }
        run
    }

    /// Waits until one more may be under way, of its group and of all. Nothing where nothing more is begun.
    async fn turn<'a>(&'a self, lane: &Lane, slots: &'a Semaphore) -> Option<[Option<SemaphorePermit<'a>>; 2]> {
        let group = lane.group.as_ref().and_then(|name| self.groups.get(name));
        let turn = async {
            let group = match group {
                Some(group) => Some(group.acquire().await.ok()?),
                None => None,
            };
            Some([group, Some(slots.acquire().await.ok()?)])
        };
        tokio::select! {
            turn = turn => turn,
            () = self.halt.cancelled() => None,
        }
    }

    async fn finish(&self, runs: Vec<Run>) -> Report {
        let bad = runs.iter().any(|run| !matches!(run.how, How::Done | How::Skipped | How::Refused));
        let error = bad.then(|| self.error(&runs));
        let runs = match bad && self.lanes.on_failure == OnFailure::Rollback {
            true => self.back(runs).await,
            false => runs,
        };
        self.report(runs, error).await
    }

    /// The first thing that went wrong, or why everything was stopped.
    fn error(&self, runs: &[Run]) -> Error {
        let failed = runs.iter().find_map(|run| run.error.as_ref().map(|e| (run, e)));
        match (self.why(), failed) {
            (Some(Why::Cancelled), _) => Error::new(Kind::Cancelled, "the call was cancelled"),
            (Some(Why::TimedOut), _) => {
                let seconds = self.way.wait.timeout.as_secs_f64();
                Error::new(Kind::Timeout, format!("it was not done within {seconds} s"))
            }
            (_, Some((run, e))) => {
                let name = &run.lane.name;
                let doing = run.did.iter().position(|did| *did != Did::Done).and_then(|i| run.lane.steps.get(i));
                let doing = doing.map(|step| step.doing.clone()).unwrap_or_else(|| name.clone());
                e.clone().reworded_message(|words| format!("{doing}: {words}"))
            }
            (_, None) => Error::internal("a lane did not end, and nobody knows why"),
        }
    }

    /// What came of everything; the record goes where nothing is left to be done.
    async fn report(&self, runs: Vec<Run>, error: Option<Error>) -> Report {
        let open = runs.iter().any(|run| matches!(run.how, How::Left));
        if let Some(record) = self.record.as_ref().filter(|_| !open)
            && let Err(e) = record.close().await
        {
            tracing::warn!("the record of what is done cannot be removed: {e}");
        }
        self.board.over(report::counts(&runs));
        Report::new(&self.lanes, runs, error, self.record.as_ref().filter(|_| open).map(Record::id))
    }

    pub(super) fn sender(&self) -> Sender<'_> {
        Sender { client: &self.way.client, policy: &self.way.policy, trail: &self.way.trail }
    }

    pub(super) fn parallel(&self) -> usize {
        self.lanes.parallel.max(1)
    }

    pub(super) async fn note(&self, run: &Run, step: usize, note: Note) -> Result<()> {
        match &self.record {
            Some(record) => record.note(run.index, step, note).await,
            None => Ok(()),
        }
    }

    pub(super) fn stop(&self, why: Why) {
        self.why.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(why);
        self.halt.cancel();
    }

    fn why(&self) -> Option<Why> {
        *self.why.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn stops_tasks(&self) -> bool {
        self.lanes.on_failure == OnFailure::Rollback || self.way.stops_task
    }

    fn too_many(&self) -> bool {
        self.lanes.max_failures.is_some_and(|most| self.failures.load(Ordering::Relaxed) > most)
    }
}

fn groups(lanes: &Lanes) -> BTreeMap<String, Semaphore> {
    let Some(most) = lanes.per_group else { return BTreeMap::new() };
    let names = lanes.lanes.iter().filter_map(|lane| lane.group.clone());
    names.map(|name| (name, Semaphore::new(most.max(1)))).collect()
}

impl Way {
    pub(super) fn scope(&self, cancel: CancellationToken, progress: Progress) -> Scope {
        Scope { tool: self.entry.name, api: self.entry.api, also: &[], progress, cancel, seen: Seen::default() }
    }
}
