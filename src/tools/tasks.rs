//! Tasks: what Proxmox is doing and did.

use std::time::Duration;

use super::{
    list::round,
    log_lines::{Lines, Part},
};
use crate::{
    action::MAX_SECONDS,
    pve::{ExitStatus, TaskEnd, TaskRow, Upid, WaitOptions, Waited, encode},
    tool::*,
};

pub const TOOLS: &[Entry] = &[
    Entry::list::<ListTasks>(),
    Entry::query::<TaskStatus>(),
    Entry::query::<TaskLog>(),
    Entry::query::<WaitTask>(),
    Entry::action::<StopTask>(),
];

/// List recent tasks, newest first, with user, guest and result.
#[derive(Deserialize, JsonSchema)]
struct ListTasks {
    node: Option<String>,
    /// user@realm
    user: Option<String>,
    /// Only about this guest.
    #[schemars(range(min = 100, max = 999_999_999))]
    vmid: Option<u32>,
    /// Only tasks that failed.
    #[serde(default)]
    errors: bool,
    /// Most rows to return.
    #[serde(default = "fifty")]
    #[schemars(range(min = 1, max = 1000))]
    limit: usize,
    cursor: Option<String>,
}

fn fifty() -> usize {
    50
}

impl Tool for ListTasks {
    const NAME: &str = "proxmox-list-tasks";
    const TITLE: &str = "List tasks";
    const API: &[&str] = &["GET /cluster/tasks", "GET /nodes/{node}/tasks"];
    const EXAMPLE: (&str, &str) = ("What happened on pve1 lately?", r#"{"node": "pve1", "limit": 5}"#);
}

#[derive(Serialize, JsonSchema)]
struct Tasks {
    total: usize,
    running: usize,
    failed: usize,
    tasks: Vec<Row>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_cursor: Option<String>,
}

#[derive(Serialize, JsonSchema)]
struct Row {
    /// Task type, as in qmstart.
    #[serde(rename = "type")]
    kind: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    id: String,
    node: String,
    user: String,
    /// running, OK, WARNINGS: n, or the error.
    status: String,
    /// Seconds since 1970.
    start: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    seconds: Option<i64>,
    upid: String,
}

impl From<TaskRow> for Row {
    fn from(t: TaskRow) -> Self {
        Self {
            status: t.end().map_or_else(|| "running".to_owned(), |status| status.to_string()),
            seconds: t.endtime.filter(|end| *end > 0).map(|end| end - t.starttime),
            user: t.who(),
            kind: t.kind,
            id: t.id,
            node: t.node,
            start: t.starttime,
            upid: t.upid,
        }
    }
}

impl Query for ListTasks {
    type Output = Tasks;
    async fn query(&self, pve: &Reader<'_>) -> Result<Tasks> {
        let start: usize = match &self.cursor {
            None => 0,
            Some(cursor) => cursor.parse().map_err(|_| {
                Error::bad_argument(format!("cursor: expected the next_cursor of the page before, got '{cursor}'"))
            })?,
        };
        let (mut rows, next_cursor) = match &self.node {
            Some(node) => {
                let request = Request::get(format!("/nodes/{}/tasks", encode(node)))
                    .param("source", "all")
                    .maybe("userfilter", self.user.as_deref())
                    .maybe("vmid", self.vmid)
                    .flag("errors", self.errors)
                    .param("start", start)
                    .param("limit", self.limit);
                let rows: Vec<TaskRow> = pve.request(&request).await?;
                let next = (rows.len() == self.limit).then(|| (start + self.limit).to_string());
                (rows, next)
            }
            None => (pve.get::<Vec<TaskRow>>("/cluster/tasks").await?, None),
        };
        rows.sort_by_key(|t| std::cmp::Reverse(t.starttime));
        let mut tasks: Vec<Row> = rows.into_iter().map(Row::from).filter(|t| self.takes(t)).collect();
        tasks.truncate(self.limit);
        let running = tasks.iter().filter(|t| t.status == "running").count();
        let failed = tasks.iter().filter(|t| failed(&t.status)).count();
        Ok(Tasks { total: tasks.len(), running, failed, tasks, next_cursor })
    }
}

fn failed(status: &str) -> bool {
    status != "running" && !ExitStatus::parse(status).is_success()
}

impl ListTasks {
    /// The filters that `/cluster/tasks` does not have.
    fn takes(&self, task: &Row) -> bool {
        let id = self.vmid.map(|vmid| vmid.to_string());
        self.user.as_deref().is_none_or(|user| task.user == user || task.user.starts_with(&format!("{user}!")))
            && id.is_none_or(|id| task.id.split(['@', '-', '>']).next() == Some(id.as_str()))
            && (!self.errors || failed(&task.status))
    }
}

/// How a caller names a task.
#[derive(Deserialize, JsonSchema)]
struct TaskRef {
    upid: String,
    #[expect(dead_code, reason = "accepted for prompts written for the reference")]
    node: Option<String>,
}

/// Show a task's state, progress and last log lines.
#[derive(Deserialize, JsonSchema)]
struct TaskStatus {
    #[serde(flatten)]
    task: TaskRef,
}

impl Tool for TaskStatus {
    const NAME: &str = "proxmox-task-status";
    const TITLE: &str = "Task status";
    const API: &[&str] = &["GET /nodes/{node}/tasks/{upid}/status", "GET /nodes/{node}/tasks/{upid}/log"];
    const EXAMPLE: (&str, &str) = ("Is that task done?", r#"{"upid": "UPID:…"}"#);
}

#[derive(Serialize, JsonSchema)]
struct TaskReport {
    upid: String,
    #[serde(rename = "type")]
    kind: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    id: String,
    node: String,
    user: String,
    /// running or stopped.
    status: String,
    /// OK, WARNINGS: n, or the error.
    #[serde(skip_serializing_if = "Option::is_none")]
    exitstatus: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    success: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    percent: Option<f64>,
    /// The log's last lines.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    log: Vec<String>,
}

impl Query for TaskStatus {
    type Output = TaskReport;
    async fn query(&self, pve: &Reader<'_>) -> Result<TaskReport> {
        let upid: Upid = self.task.upid.parse()?;
        let (status, tail) = tokio::try_join!(pve.task_status(&upid), pve.task_tail(&upid))?;
        Ok(TaskReport {
            upid: upid.to_string(),
            kind: upid.kind.clone(),
            id: upid.id.clone(),
            node: upid.node.clone(),
            user: upid.user.clone(),
            status: if status.is_some() { "stopped" } else { "running" }.to_owned(),
            success: status.as_ref().map(ExitStatus::is_success),
            percent: tail.percent.filter(|_| status.is_none()),
            exitstatus: status.map(|s| s.to_string()),
            log: tail.lines,
        })
    }
}

/// Wait for a task to end. One still running at the timeout is no error: call again.
#[derive(Deserialize, JsonSchema)]
struct WaitTask {
    #[serde(flatten)]
    task: TaskRef,
    /// Seconds to wait.
    #[serde(default = "quarter_hour")]
    #[schemars(range(min = 0, max = MAX_SECONDS))]
    timeout: f64,
    /// Seconds between looks.
    #[serde(default = "two")]
    #[schemars(range(min = 0.1, max = 300))]
    poll_interval: f64,
}

fn quarter_hour() -> f64 {
    900.0
}

fn two() -> f64 {
    2.0
}

impl Tool for WaitTask {
    const NAME: &str = "proxmox-wait-task";
    const TITLE: &str = "Wait for a task";
    const API: &[&str] = &["GET /nodes/{node}/tasks/{upid}/status", "GET /nodes/{node}/tasks/{upid}/log"];
    const EXAMPLE: (&str, &str) = ("Tell me when that task is done", r#"{"upid": "UPID:…", "timeout": 60}"#);
}

#[derive(Serialize, JsonSchema)]
struct WaitReport {
    upid: String,
    /// done or running.
    state: String,
    /// OK or WARNINGS: n; a task that failed is an error.
    #[serde(skip_serializing_if = "Option::is_none")]
    exitstatus: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    percent: Option<f64>,
    /// How long the task took.
    #[serde(skip_serializing_if = "Option::is_none")]
    seconds: Option<f64>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    warnings: Vec<String>,
    /// The log's last line while it runs.
    #[serde(skip_serializing_if = "Option::is_none")]
    log: Option<String>,
    /// Why no more is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    note: Option<String>,
}

impl Query for WaitTask {
    type Output = WaitReport;
    async fn query(&self, pve: &Reader<'_>) -> Result<WaitReport> {
        let upid: Upid = self.task.upid.parse()?;
        let wait = WaitOptions {
            timeout: Duration::from_secs_f64(self.timeout),
            poll_interval: Duration::from_secs_f64(self.poll_interval),
        };
        let upid_text = upid.to_string();
        Ok(match pve.wait(&upid, wait).await? {
            Waited::Done(TaskEnd { status, warnings, duration, .. }) => WaitReport {
                upid: upid_text,
                state: "done".to_owned(),
                exitstatus: Some(status.to_string()),
                percent: None,
                seconds: Some(round(duration.as_secs_f64())),
                warnings,
                log: None,
                note: None,
            },
            Waited::Running { log, percent, note } => WaitReport {
                upid: upid_text,
                state: "running".to_owned(),
                exitstatus: None,
                percent,
                seconds: None,
                warnings: Vec::new(),
                log,
                note,
            },
        })
    }
}

/// Read a task's log: from start on, or its last lines with tail.
#[derive(Deserialize, JsonSchema)]
struct TaskLog {
    upid: String,
    #[serde(flatten)]
    part: Part,
}

impl Tool for TaskLog {
    const NAME: &str = "proxmox-task-log";
    const TITLE: &str = "Task log";
    const API: &[&str] = &["GET /nodes/{node}/tasks/{upid}/log"];
    const EXAMPLE: (&str, &str) = ("Why did that task fail?", r#"{"upid": "UPID:…", "tail": 30}"#);
}

impl Query for TaskLog {
    type Output = Lines;
    async fn query(&self, pve: &Reader<'_>) -> Result<Lines> {
        let upid: Upid = self.upid.parse()?;
        self.part.read(pve, Request::get(format!("{}/log", upid.path()))).await
    }
}

/// Stop a running task. What it has done stays, perhaps a lock too.
#[derive(Deserialize, JsonSchema)]
struct StopTask {
    upid: String,
}

impl Tool for StopTask {
    const NAME: &str = "proxmox-stop-task";
    const TITLE: &str = "Stop a task";
    const API: &[&str] = &["GET /nodes/{node}/tasks/{upid}/status", "DELETE /nodes/{node}/tasks/{upid}"];
    const EXAMPLE: (&str, &str) = ("Abort that backup", r#"{"upid": "UPID:…", "confirm": true}"#);
}

impl Action for StopTask {
    const EFFECT: Effect = Effect::Destroy;
    const CONTROL: Control = Control::instant().confirmed();
    async fn plan(&self, pve: &Reader<'_>) -> Result<Plan> {
        let upid: Upid = self.upid.parse()?;
        let ended = pve.task_status(&upid).await?;
        let about = if upid.id.is_empty() { String::new() } else { format!(" of {}", upid.id) };
        Ok(Plan::new(format!("stop task {}{about} on {}", upid.kind, upid.node))
            .about("upid", upid.to_string())
            .about("node", upid.node.as_str())
            .no_undo(if ended.is_some() { "nothing changes" } else { "a task that was stopped does not go on" })
            .warn_if(ended.is_some(), || {
                format!(
                    "it has ended already ({}): nothing will change",
                    ended.map(|s| s.to_string()).unwrap_or_default()
                )
            })
            .step(Request::delete(upid.path())))
    }
}
