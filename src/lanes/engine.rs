//! Runs lanes: so many at once, each step when the one before it is done, and once something is in the way, the way back or
//! what stands. It owns all that it works with, so that it comes to its end although nobody waits for the call any more.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use futures::{StreamExt, stream};
use serde_json::{Map, Value};
use tokio::{
    sync::{Semaphore, SemaphorePermit},
    time::{Instant, sleep, sleep_until},
};
use tokio_util::sync::CancellationToken;

use super::{Lane, Lanes, OnFailure, Out, Report, Step, after, back::guest_of, board::Board};
use crate::{
    error::{Error, Kind, Result},
    execute::Sender,
    journal::{Note, Record},
    policy::{Approved, Facts, Policy, Reach},
    progress::Progress,
    pve::{Client, Reader, Request, Scope, Seen, Upid, WaitOptions, Waited, decode},
    tool::Entry,
    trail::Trail,
    undo::Identity,
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

/// How far a step got.
#[derive(Debug, Clone, Default, PartialEq)]
pub enum Did {
    #[default]
    Nothing,
    /// It was sent, and nobody knows what came of it.
    Sent,
    /// Its task was begun, and did not end well or not yet.
    Begun(Upid),
    Done,
}

/// How a lane ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum How {
    NotBegun,
    /// Nothing was to be done.
    Skipped,
    /// It could not be, and nothing was sent.
    Refused,
    Done,
    Failed,
    /// Between two steps, because something else was in the way.
    Stopped,
    /// Its task runs on.
    Running,
    RolledBack,
    /// Some of it could not be taken back.
    Left,
}

/// One lane under way.
pub struct Run {
    pub index: usize,
    pub lane: Lane,
    pub(super) ready: Vec<Ready>,
    pub did: Vec<Did>,
    pub how: How,
    pub error: Option<Error>,
    /// What was found out on the way, for the result.
    pub found: Map<String, Value>,
    /// The guest as it was made.
    pub identity: Option<Identity>,
    /// What was taken back, and what could not be, with the reason.
    pub undone: Vec<String>,
    pub left: Vec<String>,
}

/// What a step may send.
#[derive(Default)]
pub(super) struct Ready {
    request: Option<Approved>,
    pub(super) back: Vec<Approved>,
}

/// Where lanes that were begun by a process that is no more are to be taken up.
#[derive(Debug, Clone, Default)]
pub struct Resumed {
    pub did: Vec<Did>,
    pub identity: Option<Identity>,
}

/// Why nothing more is begun.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Why {
    Cancelled,
    TimedOut,
    Failed,
}

pub struct Engine {
    pub(super) way: Way,
    lanes: Lanes,
    /// For what is sent, also when nothing more is begun.
    pub(super) scope: Scope,
    halt: CancellationToken,
    why: Mutex<Option<Why>>,
    failures: AtomicUsize,
    /// How many more of each group may begin.
    groups: BTreeMap<String, Semaphore>,
    /// Planned VMID → the one that the lane's guest has, once the lane has ended; nothing where it was not made.
    made: Mutex<BTreeMap<u32, Option<u32>>>,
    pub(super) board: Arc<Board>,
    record: Option<Record>,
    until: Instant,
}

/// How long a stopped task is given to clean up.
const STOPPING: WaitOptions = WaitOptions { timeout: Duration::from_secs(120), poll_interval: Duration::from_secs(1) };
/// How often a lane whose VMID was taken gets the next one.
const NUMBERS: usize = 20;
/// How often a backup job is changed until the change lasts.
const JOINS: usize = 8;

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
            made: Mutex::default(),
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
        let mut runs = runs.into_iter().peekable();
        while let Some(stage) = runs.peek().map(|run| run.lane.stage) {
            let mut now = Vec::new();
            while let Some(run) = runs.next_if(|run| run.lane.stage == stage) {
                now.push(run);
            }
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

    async fn steps(&self, run: &mut Run) -> Result<()> {
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
        if !run.lane.steps[i].joins.is_empty() {
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
    async fn sent(&self, run: &mut Run, i: usize) -> Result<Value> {
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

    /// Gives a lane the next free VMID in the place of one that was taken.
    async fn renumber(&self, run: &mut Run) -> Result<()> {
        let scope = self.way.scope(self.halt.clone(), Progress::none());
        let reader = Reader::new(&self.way.client, &scope);
        let Some(from) = run.lane.vmid else { return Ok(()) };
        let to = loop {
            let free = reader.free_vmids(1, run.lane.within).await?;
            let taken = free.into_iter().find(|vmid| self.way.client.vmids().take(*vmid));
            // One that another lane is going to use stays that lane's, although it is not held any more.
            if let Some(vmid) = taken.filter(|vmid| self.lanes.lanes.iter().all(|lane| lane.vmid != Some(*vmid))) {
                break vmid;
            }
        };
        run.lane.renumber(from, to);
        let one = Lanes { lanes: vec![run.lane.clone()], ..self.lanes.clone() };
        let (requests, back) = (one.requests(), one.back());
        let approved = self.approved(&reader, &requests).await?;
        let back = self.way.policy.approve_back(&requests, &back)?;
        run.may_send(&mut approved.into_iter());
        run.may_take_back(&mut back.into_iter());
        if let Some(record) = &self.record {
            record.renumbered(run.index, &run.lane).await?;
        }
        Ok(())
    }

    async fn approved(&self, reader: &Reader<'_>, requests: &[Request]) -> Result<Vec<Approved>> {
        let facts = Facts::gather(reader, &Reach::of(requests), self.way.policy.asks_for_pools()).await?;
        self.way.policy.approve(self.way.entry.effect, requests, &facts)
    }

    /// Sends a request that adds guests to a backup job until they are in it: of two who change a job at once, one may undo
    /// what the other did.
    async fn join(&self, reader: &Reader<'_>, run: &mut Run, i: usize) -> Result<()> {
        for _ in 0..JOINS {
            self.joined(reader, run, i).await?;
            if run.ready[i].request.is_none() {
                return Ok(());
            }
            self.sent(run, i).await?;
            sleep(Duration::from_millis(fastrand::u64(300..1500))).await;
        }
        Err(Error::new(Kind::Conflict, "somebody else goes on changing the backup job"))
    }

    /// Brings a request that adds guests to a backup job up to date: the list as it is now, and the VMIDs that the guests got.
    /// Where the job has them all there is nothing to send.
    async fn joined(&self, reader: &Reader<'_>, run: &mut Run, i: usize) -> Result<()> {
        let Some(mut request) = run.lane.steps[i].request.clone() else { return Ok(()) };
        let id = decode(request.path.rsplit('/').next().unwrap_or_default());
        let jobs: Vec<Value> = reader.get("/cluster/backup").await?;
        let job = jobs.into_iter().find(|job| job["id"] == *id);
        let job = job.ok_or_else(|| Error::not_found(format!("there is no backup job {id} any more")))?;
        let mut list: Vec<String> = job["vmid"].as_str().map(str::to_owned).into_iter().collect();
        let there: Vec<u32> = list
            .iter()
            .flat_map(|list| list.split([',', ';', ' ']))
            .filter_map(|vmid| vmid.trim().parse().ok())
            .collect();
        let joins: Vec<u32> = {
            let made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
            let now = |vmid: &u32| made.get(vmid).copied().unwrap_or(Some(*vmid));
            run.lane.steps[i].joins.iter().filter_map(now).filter(|vmid| !there.contains(vmid)).collect()
        };
        // Without a list it has become one for all guests, or for a pool.
        if joins.is_empty() || there.is_empty() {
            run.ready[i].request = None;
            return Ok(());
        }
        list.extend(joins.iter().map(u32::to_string));
        request.params.retain(|(key, _)| key != "vmid");
        request = request.param("vmid", list.join(","));
        run.ready[i].request = self.approved(reader, std::slice::from_ref(&request)).await?.pop();
        run.lane.steps[i].request = Some(request);
        Ok(())
    }

    /// Puts down whether a lane's guest stands, and under which VMID.
    fn remember(&self, run: &Run) {
        let planned = self.lanes.lanes.get(run.index).and_then(|lane| lane.vmid);
        let Some((planned, vmid)) = planned.zip(run.lane.vmid) else { return };
        let makes = run.lane.steps.first().and_then(|step| step.request.clone());
        let makes = makes.is_some_and(|request| Reach::of(&[request]).made.contains_key(&vmid));
        let stands = !makes || run.did.first() == Some(&Did::Done);
        self.made.lock().unwrap_or_else(PoisonError::into_inner).insert(planned, stands.then_some(vmid));
    }

    /// Who the lane's guest is, where it is there already and something may be taken back.
    async fn existing(&self, reader: &Reader<'_>, run: &Run) -> Option<Identity> {
        let lane = &run.lane;
        let first = lane.steps.first()?.request.as_ref()?;
        let made = Reach::of(std::slice::from_ref(first)).made;
        if made.contains_key(&lane.vmid?) || lane.steps.iter().all(|step| step.back.is_empty()) {
            return None;
        }
        let guest = lane.steps.iter().filter_map(|step| step.request.as_ref()).find_map(|r| guest_of(r, lane.vmid))?;
        reader.config_at(format!("{guest}/config")).await.ok().map(|config| Identity::of(&config))
    }

    /// Who the guest is that the first step made, so that nothing else is ever taken for it.
    async fn made(&self, run: &Run) -> Option<Identity> {
        let request = run.lane.steps.first()?.request.clone()?;
        let vmid = run.lane.vmid?;
        let made = Reach::of(&[request.clone()]).made.remove(&vmid)?;
        let kind = if request.path.contains("/lxc") { "lxc" } else { "qemu" };
        let path = format!("/nodes/{}/{kind}/{vmid}/config", crate::pve::encode(&made.node));
        let reader = Reader::new(&self.way.client, &self.scope);
        reader.config_at(path).await.ok().map(|config| Identity::of(&config))
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
        self.board.over(told(&runs));
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

    fn stop(&self, why: Why) {
        self.why.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(why);
        self.halt.cancel();
    }

    fn why(&self) -> Option<Why> {
        *self.why.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn stops_tasks(&self) -> bool {
        self.lanes.on_failure == OnFailure::Rollback || self.way.stops_task
    }

    fn too_many(&self) -> bool {
        self.lanes.max_failures.is_some_and(|most| self.failures.load(Ordering::Relaxed) > most)
    }
}

/// How many ended how.
fn told(runs: &[Run]) -> String {
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

fn groups(lanes: &Lanes) -> BTreeMap<String, Semaphore> {
    let Some(most) = lanes.per_group else { return BTreeMap::new() };
    let names = lanes.lanes.iter().filter_map(|lane| lane.group.clone());
    names.map(|name| (name, Semaphore::new(most.max(1)))).collect()
}

impl Run {
    /// Gives each step its approved request, in the order of [`Lanes::requests`].
    fn may_send(&mut self, approved: &mut impl Iterator<Item = Approved>) {
        for (step, ready) in self.lane.steps.iter().zip(&mut self.ready) {
            ready.request = step.request.as_ref().and_then(|_| approved.next());
        }
    }

    /// Gives each step what takes it back, in the order of [`Lanes::back`].
    fn may_take_back(&mut self, back: &mut impl Iterator<Item = Approved>) {
        for (step, ready) in self.lane.steps.iter().zip(&mut self.ready).rev() {
            ready.back = back.by_ref().take(step.back.len()).collect();
        }
    }
}

impl Way {
    fn scope(&self, cancel: CancellationToken, progress: Progress) -> Scope {
        Scope { tool: self.entry.name, api: self.entry.api, also: &[], progress, cancel, seen: Seen::default() }
    }
}
