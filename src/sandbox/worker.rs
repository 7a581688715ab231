//! The task engine: what `fork_worker` is in PVE. A worker runs in the background, takes simulated time, writes its log,
//! holds file locks, and ends with `OK`, `WARNINGS: n`, an error, or (when it is stopped) `unexpected status`.

use std::{sync::Arc, time::Duration};

use tokio::sync::OwnedMutexGuard;

use super::{
    Sandbox,
    call::Call,
    config::render_bytes,
    faults::FaultKind,
    guest::Kind,
    state::LogEntry,
    tasks::{Origin, Task},
    wire::{Answer, Answered, Refusal},
};

/// How long PVE waits for a guest's file lock.
const LOCK_TIMEOUT: Duration = Duration::from_secs(10);

/// A held file lock; released when dropped.
pub type FileLock = OwnedMutexGuard<()>;

/// The hands of a running task.
#[derive(Clone)]
pub struct Worker {
    pub sandbox: Sandbox,
    pub upid: String,
    faults: Arc<[FaultKind]>,
}

impl Worker {
    /// Writes one line to the task's log.
    pub fn log(&self, line: impl Into<String>) {
        if let Some(task) = self.sandbox.state().tasks.get_mut(&self.upid) {
            task.log.push(line.into());
        }
    }
    /// Writes a warning, and counts it: the task then ends with `WARNINGS: n`.
    pub fn warn(&self, text: &str) {
        if let Some(task) = self.sandbox.state().tasks.get_mut(&self.upid) {
            task.log.push(format!("WARN: {text}"));
            task.warnings += 1;
        }
    }
    /// Lets simulated time pass.
    pub async fn work(&self, simulated: Duration) {
        self.sandbox.clock().sleep(simulated).await;
    }

    /// Copies `total` bytes at `rate` bytes a second, with the progress lines of a clone or a disk move, one a second
    /// as in PVE (fewer for very long copies).
    pub async fn transfer(&self, total: u64, rate: u64) {
        let seconds = total as f64 / rate.max(1) as f64;
        let steps = (seconds.ceil() as u32).clamp(1, 100);
        for step in 0..=steps {
            let done = (total as f64 * f64::from(step) / f64::from(steps)) as u64;
            let percent = if total == 0 { 100.0 } else { done as f64 * 100.0 / total as f64 };
            self.log(format!("transferred {} of {} ({percent:.2}%)", render_bytes(done), render_bytes(total)));
            if step < steps {
                self.work(Duration::from_secs_f64(seconds / f64::from(steps))).await;
            }
        }
    }

    /// Takes the guest's file lock; where it has to wait it says so in the log.
    ///
    /// # Errors
    /// `can't lock file … - got timeout` after ten seconds.
    pub async fn lock(&self, kind: Kind, vmid: u32) -> Result<FileLock, String> {
        if self.faults.contains(&FaultKind::LockTimeout) {
            self.log("trying to acquire lock...");
            self.work(LOCK_TIMEOUT).await;
            return Err(lock_timeout(kind, vmid));
        }
        let lock = self.sandbox.file_lock(kind, vmid);
        if let Ok(held) = lock.clone().try_lock_owned() {
            return Ok(held);
        }
        self.log("trying to acquire lock...");
        let waited = tokio::time::timeout(self.sandbox.clock().real(LOCK_TIMEOUT), lock.lock_owned()).await;
        let held = waited.map_err(|_| lock_timeout(kind, vmid))?;
        self.log(" OK");
        Ok(held)
    }
}

fn lock_timeout(kind: Kind, vmid: u32) -> String {
    let file = match kind {
        Kind::Qemu => format!("/var/lock/qemu-server/lock-{vmid}.conf"),
        Kind::Lxc => format!("/run/lock/lxc/pve-config-{vmid}.lock"),
    };
    format!("can't lock file '{file}' - got timeout")
}

impl Call {
    /// Takes the guest's file lock in the call itself (PUT config and the like), waiting up to ten seconds for it.
    ///
    /// # Errors
    /// PVE's 500 when the lock stays held.
    pub async fn lock(&self, kind: Kind, vmid: u32) -> Result<FileLock, Refusal> {
        let clock = self.sandbox.clock();
        if self.faults.contains(&FaultKind::LockTimeout) {
            clock.sleep(LOCK_TIMEOUT).await;
            return Err(Refusal::failed(lock_timeout(kind, vmid)));
        }
        let lock = self.sandbox.file_lock(kind, vmid);
        let waited = tokio::time::timeout(clock.real(LOCK_TIMEOUT), lock.lock_owned()).await;
        waited.map_err(|_| Refusal::failed(lock_timeout(kind, vmid)))
    }

    /// Starts a task on a node and answers its UPID. `work` ends with nothing, or with the error's text (without
    /// `TASK ERROR:`).
    ///
    /// # Errors
    /// None at present; the type is that of a handler's answer.
    pub fn fork<F, W>(&self, node: &str, kind: &str, id: impl ToString, work: W) -> Answered
    where
        W: FnOnce(Worker) -> F,
        F: Future<Output = Result<(), String>> + Send + 'static,
    {
        Ok(Answer::from(self.start(node, kind, &id.to_string(), work)))
    }

    /// The same as [`Call::fork`], for a handler that wants the UPID itself.
    pub fn start<F, W>(&self, node: &str, kind: &str, id: &str, work: W) -> String
    where
        W: FnOnce(Worker) -> F,
        F: Future<Output = Result<(), String>> + Send + 'static,
    {
        let worker = self.sandbox.begin(node, kind, id, &self.who.full(), &self.faults);
        launch(worker, work)
    }
}

fn launch<F, W>(worker: Worker, work: W) -> String
where
    W: FnOnce(Worker) -> F,
    F: Future<Output = Result<(), String>> + Send + 'static,
{
    let (upid, sandbox) = (worker.upid.clone(), worker.sandbox.clone());
    let running = run(worker.clone(), work(worker));
    let handle = tokio::spawn(running).abort_handle();
    if let Some(task) = sandbox.state().tasks.get_mut(&upid) {
        task.abort = Some(handle);
    }
    upid
}

impl Sandbox {
    /// Starts a task that no call asked for: the cluster's own, or one begun by another task. Its UPID.
    pub fn start_as<F, W>(&self, who: &str, node: &str, kind: &str, id: &str, work: W) -> String
    where
        W: FnOnce(Worker) -> F,
        F: Future<Output = Result<(), String>> + Send + 'static,
    {
        launch(self.begin(node, kind, id, who, &[]), work)
    }

    /// Makes the record of a task and the worker for it.
    fn begin(&self, node: &str, kind: &str, id: &str, who: &str, faults: &[FaultKind]) -> Worker {
        let now = self.clock().unix();
        let mut state = self.state();
        let pid = state.tasks.next_pid();
        let boot = state.nodes.get(node).map_or(0, |node| node.boot);
        let pstart = ((now.as_millis() as u64).saturating_sub(boot * 1000) / 10) & 0xF_FFFF_FFFF;
        let task = Task::new(Origin { node, pid, pstart, starttime: now.as_secs(), who }, kind, id);
        let upid = task.upid.clone();
        state.log(entry(node, pid, 6, now.as_secs(), who, format!("starting task {upid}")));
        state.tasks.add(task);
        drop(state);
        Worker { sandbox: self.clone(), upid, faults: faults.into() }
    }

    /// Writes the end of a task: its last line, its result (`None`: `unexpected status`), the cluster log.
    pub fn finish(&self, upid: &str, result: Option<Result<(), String>>) {
        let now = self.clock().now();
        let mut state = self.state();
        let Some(task) = state.tasks.get_mut(upid).filter(|task| task.is_running()) else { return };
        let status = match result {
            Some(Ok(())) if task.warnings > 0 => {
                task.log.push(format!("TASK WARNINGS: {}", task.warnings));
                format!("WARNINGS: {}", task.warnings)
            }
            Some(Ok(())) => {
                task.log.push("TASK OK".to_owned());
                "OK".to_owned()
            }
            Some(Err(error)) => {
                task.log.push(format!("TASK ERROR: {error}"));
                error
            }
            None => "unexpected status".to_owned(),
        };
        let priority = if status == "OK" { 6 } else { 3 };
        let line = entry(&task.node, task.pid, priority, now, &task.who(), format!("end task {upid} {status}"));
        task.end = Some((now, status));
        task.abort = None;
        state.log(line);
    }
}

fn entry(node: &str, pid: u32, priority: u8, time: u64, user: &str, message: String) -> LogEntry {
    LogEntry { uid: 0, node: node.to_owned(), pid, priority, tag: "pvedaemon", time, user: user.to_owned(), message }
}

/// Sees to it that a task that is stopped (its future dropped) or panics has an end.
struct Ending<'a>(&'a Worker, Option<Result<(), String>>);

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        self.0.sandbox.finish(&self.0.upid, self.1.take());
    }
}

async fn run(worker: Worker, work: impl Future<Output = Result<(), String>>) {
    let mut ending = Ending(&worker, None);
    let mut failure = None;
    let mut warnings = 0;
    for fault in worker.faults.iter() {
        match fault {
            FaultKind::TaskFailure(text) => failure = Some(text.clone()),
            FaultKind::TaskWarnings(n) => warnings += n,
            _ => {}
        }
    }
    if let Some(text) = failure {
        worker.work(Duration::from_secs(1)).await;
        ending.1 = Some(Err(text));
        return;
    }
    let result = work.await;
    for n in 1..=warnings {
        worker.warn(&format!("simulated warning {n}"));
    }
    ending.1 = Some(result);
}
