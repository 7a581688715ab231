//! The way back: what each step has, last things first. It goes its way whoever has gone, asks before each request whether
//! there is anything to take back, and touches no guest that is not certainly the one that was made.

use std::time::Duration;

use futures::{StreamExt, stream};
use tokio::time::{Instant, sleep};

use super::{Did, Engine, How, Run, run::stages};
use crate::{
    error::{Error, Kind, Result},
    policy::Approved,
    pve::{Reader, Request, WaitOptions, Waited},
    undo::{Identity, Same},
};

/// How long one request of the way back is waited for.
const PATIENCE: WaitOptions = WaitOptions { timeout: Duration::from_secs(900), poll_interval: Duration::from_secs(1) };
/// A guest that is still busy lets go in a while; what was refused may be sent again.
const AGAIN: [Duration; 4] =
    [Duration::from_secs(1), Duration::from_secs(3), Duration::from_secs(6), Duration::from_secs(15)];

impl Engine {
    /// Takes back what lanes have done, stage by stage from the last.
    pub(super) async fn back(&self, mut runs: Vec<Run>) -> Vec<Run> {
        runs.sort_by_key(|run| std::cmp::Reverse(run.lane.stage));
        let mut ended = Vec::new();
        for now in stages(runs) {
            let now = stream::iter(now).map(|run| self.lane_back(run)).buffer_unordered(self.parallel());
            ended.extend(now.collect::<Vec<Run>>().await);
        }
        ended
    }

    async fn lane_back(&self, mut run: Run) -> Run {
        if run.lane.out.is_some() {
            return run;
        }
        let begun = run.did.iter().any(|did| *did != Did::Nothing);
        for i in (0..run.did.len()).rev() {
            if run.did[i] == Did::Nothing {
                continue;
            }
            for back in std::mem::take(&mut run.ready[i].back) {
                let name = back.request().to_string();
                let doing = format!("taking back {}: {name}", run.lane.name);
                self.board.back(run.index, &run.lane.name, &doing);
                match self.one_back(&run, i, &back).await {
                    Ok(true) => run.undone.push(name),
                    Ok(false) => {}
                    Err(e) => run.left.push(format!("{name}: {e}")),
                }
            }
        }
        run.how = match (begun, run.left.is_empty()) {
            (false, _) => How::NotBegun,
            (true, true) => How::RolledBack,
            (true, false) => How::Left,
        };
        let words = format!("{}: {}", run.lane.name, run.how.word());
        self.board.back_ended(run.index, &run.lane.name, &words, run.how == How::Left);
        run
    }

    /// Whether there was anything to take back.
    async fn one_back(&self, run: &Run, step: usize, back: &Approved) -> Result<bool> {
        let reader = Reader::new(&self.way.client, &self.scope);
        let mut pauses = AGAIN.iter();
        loop {
            if !self.is_there(&reader, run, step, back.request()).await? {
                return Ok(false);
            }
            let error = match self.taken_back(&reader, back).await {
                Ok(()) => return Ok(true),
                // Somebody was quicker; or its answer was lost, and this is what came of it.
                Err(e) if e.is_not_found() => return Ok(true),
                Err(e) => e,
            };
            let Some(pause) = pauses.next() else { return Err(error) };
            if error.kind() == Kind::Denied {
                return Err(error);
            }
            sleep(*pause).await;
        }
    }

    async fn taken_back(&self, reader: &Reader<'_>, back: &Approved) -> Result<()> {
        let (_, upid) = self.sender().send(reader, back).await?;
        let Some(upid) = upid else { return Ok(()) };
        match reader.wait(&upid, PATIENCE).await? {
            Waited::Done(_) => Ok(()),
            Waited::Running { .. } => {
                Err(Error::new(Kind::Timeout, format!("task {upid} still runs")).upid(upid.as_str()))
            }
        }
    }

    /// Whether there is anything for this request to take back, and whether it is what this call made.
    async fn is_there(&self, reader: &Reader<'_>, run: &Run, step: usize, request: &Request) -> Result<bool> {
        let Some(guest) = guest_of(request, run.lane.vmid) else {
            return self.was_fetched(reader, run, step, request).await;
        };
        // A task of ours may still be at work on it.
        if let Did::Begun(upid) = &run.did[step]
            && reader.task_status(upid).await?.is_none()
        {
            reader.wait(upid, PATIENCE).await.map(drop).or_else(|e| match e.kind() {
                Kind::TaskFailed => Ok(()),
                _ => Err(e),
            })?;
        }
        if run.did[step] == Did::Sent {
            self.until_made(reader, run, step, &guest).await?;
        }
        let config = match reader.config_at(format!("{guest}/config")).await {
            Ok(config) => config,
            Err(e) if e.is_not_found() => return Ok(false),
            Err(e) => return Err(e),
        };
        let now = Identity::of(&config);
        let was = run.identity.clone().unwrap_or_else(|| Identity::named(self.name_of(run)));
        if !matches!(was.same(&now, &[]), Same::Yes | Same::Likely) {
            let message = format!("the guest with this VMID is {now}, and not certainly the one that was made");
            return Err(Error::new(Kind::Denied, message));
        }
        if !request.path.ends_with("/status/stop") {
            return Ok(true);
        }
        #[derive(serde::Deserialize)]
        struct Current {
            status: String,
        }
        let current: Current = reader.get(format!("{guest}/status/current")).await?;
        Ok(current.status != "stopped")
    }

    /// A guest may still be being made by a request whose answer was lost, and by a task that nobody can tell from others. Until
    /// that has ended it is locked, and where it goes to another node it is on that of its template.
    async fn until_made(&self, reader: &Reader<'_>, run: &Run, step: usize, guest: &str) -> Result<()> {
        let made_at = run.lane.steps[step].request.as_ref().and_then(|request| {
            let node = request.path.split('/').nth(2)?;
            let mut segments: Vec<&str> = guest.split('/').collect();
            *segments.get_mut(2)? = node;
            Some(segments.join("/"))
        });
        let until = Instant::now() + PATIENCE.timeout;
        while Instant::now() < until {
            let elsewhere = match &made_at {
                Some(path) if path != guest => is_at(reader, path).await?.is_some(),
                _ => false,
            };
            let lock = is_at(reader, guest).await?.flatten();
            if !elsewhere && !lock.is_some_and(|lock| matches!(lock.as_str(), "clone" | "create")) {
                return Ok(());
            }
            sleep(PATIENCE.poll_interval).await;
        }
        Err(Error::new(Kind::Timeout, "it is still being made"))
    }

    /// A download that did not end well left nothing; what is there under that name is somebody else's.
    async fn was_fetched(&self, reader: &Reader<'_>, run: &Run, step: usize, request: &Request) -> Result<bool> {
        let fetches = run.lane.steps[step].request.as_ref().is_some_and(|made| made.fetches(request));
        let Did::Begun(upid) = &run.did[step] else { return Ok(true) };
        if !fetches {
            return Ok(true);
        }
        match reader.wait(upid, PATIENCE).await {
            Ok(Waited::Done(_)) => Ok(true),
            Err(e) if e.kind() == Kind::TaskFailed => Ok(false),
            Ok(Waited::Running { .. }) => Err(Error::new(Kind::Timeout, format!("task {upid} still runs"))),
            Err(e) => Err(e),
        }
    }

    /// The name that the guest was made with.
    fn name_of(&self, run: &Run) -> Option<String> {
        let request = run.lane.steps.first()?.request.as_ref()?;
        request.param_of("name").or(request.param_of("hostname")).map(str::to_owned)
    }
}

/// Whether there is a guest, and its lock.
async fn is_at(reader: &Reader<'_>, guest: &str) -> Result<Option<Option<String>>> {
    match reader.config_at(format!("{guest}/config")).await {
        Ok(config) => Ok(Some(config.lock().map(|lock| lock.into_owned()))),
        Err(e) if e.is_not_found() => Ok(None),
        Err(e) => Err(e),
    }
}

/// `/nodes/pve1/qemu/100`, where the request is about the lane's guest.
pub(super) fn guest_of(request: &Request, vmid: Option<u32>) -> Option<String> {
    let vmid = vmid?.to_string();
    let segments: Vec<&str> = request.path.split('/').collect();
    match segments.as_slice() {
        ["", "nodes", node, kind @ ("qemu" | "lxc"), id, ..] if **id == vmid => {
            Some(format!("/nodes/{node}/{kind}/{id}"))
        }
        _ => None,
    }
}
