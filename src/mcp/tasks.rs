//! The tasks extension, for clients that declare it: a call that would wait for a Proxmox task is answered with a handle at
//! once, and the client asks how it goes. Nothing is kept here: the handle holds, signed, what the answer needs, and
//! Proxmox knows the rest. Calls that have more to do than wait for one task are answered as ever.

use rmcp::{
    ErrorData, RoleServer,
    model::{
        CreateTaskResult, DetailedTask, GetTaskResult, RequestStateCodec, SealOptions, Task, TaskPayload, TaskStatus,
    },
    service::RequestContext,
};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{
    asking,
    calls::{self, failure, success},
};
use crate::{
    app::{App, Cluster},
    call::{Answer, Context},
    error::{Error, Kind, Result},
    execute::abort,
    hand_over::{HandOver, Handed},
    outside::cleaned,
    progress::Progress,
    pve::{ExitStatus, Scope, Seen, TaskEnd, Upid, WaitOptions, Waited},
    tools::time,
};

/// A handle is good for nothing else.
const BOUND: &[u8] = b"tasks";
/// How often a client should ask, in milliseconds.
const POLL: u64 = 2_000;

/// What a handle holds.
#[derive(Serialize, Deserialize)]
struct Ticket {
    cluster: String,
    upid: String,
    /// What the call said when the task had begun.
    outcome: Value,
}

/// Where the call may leave its task, for clients that can follow one.
pub fn hand_over(context: &RequestContext<RoleServer>) -> Option<HandOver> {
    let knows = context.client_capabilities().is_some_and(|capabilities| capabilities.supports_tasks());
    let sessionless = context.protocol_version().is_some_and(|version| !version.has_initialize());
    (knows && sessionless).then(HandOver::default)
}

/// The handle of a task that a call left.
///
/// # Errors
/// `Internal` where it cannot be written.
pub fn create(app: &App, handed: &Handed, answer: Answer) -> Result<CreateTaskResult> {
    let Handed { cluster, upid } = handed;
    let ticket = Ticket { cluster: cluster.clone(), upid: upid.to_string(), outcome: answer.data };
    let sealed = codec(app)?.seal_json_with(&ticket, &SealOptions::new().associated_data(BOUND));
    let id = sealed.map_err(|e| Error::internal(e.to_string()))?;
    let summary = ticket.outcome["summary"].as_str().unwrap_or(&upid.kind);
    Ok(CreateTaskResult::new(task(id, upid).with_status_message(summary)))
}

fn codec(app: &App) -> Result<RequestStateCodec> {
    asking::codec(app, "task handle")
}

/// Proxmox keeps its tasks for longer than any client asks: no time is set.
fn task(id: String, upid: &Upid) -> Task {
    let began = time::iso(u64::try_from(upid.starttime).unwrap_or_default());
    Task::new(id, TaskStatus::Working, began, rmcp::task_manager::current_timestamp()).with_poll_interval_ms(POLL)
}

/// How a task goes, as Proxmox says just now.
///
/// # Errors
/// A handle that is none of this server's, a task that Proxmox has forgotten, a cluster that does not answer.
pub async fn get(app: &App, id: String, context: &RequestContext<RoleServer>) -> Result<GetTaskResult, ErrorData> {
    let (ticket, cluster, upid) = open(app, &id)?;
    let scope = Scope {
        tool: "tasks/get",
        api: &[],
        also: &[],
        progress: Progress::none(),
        cancel: context.ct.clone(),
        seen: Seen::default(),
    };
    let look = WaitOptions { timeout: Default::default(), poll_interval: std::time::Duration::from_secs(1) };
    let waited = cluster.client.waiter().watch(&cluster.client, &upid, &look, &scope).await;
    let task = task(id, &upid);
    let task = match waited.map_err(|e| told(&e))? {
        Waited::Running { log, percent, note } => {
            let percent = percent.map(|percent| format!("{percent:.0} %"));
            let message: Vec<String> = [percent, log, note].into_iter().flatten().collect();
            let working = if message.is_empty() { task } else { task.with_status_message(cleaned(message.join(": "))) };
            DetailedTask::new(working, TaskPayload::Working)
        }
        Waited::Done(end) if was_stopped(&end.status) => {
            let last = end.log_tail.last().map(|line| format!(" ({line})")).unwrap_or_default();
            let message = format!("the task was stopped: {}{last}", end.status);
            DetailedTask::new(task.with_status_message(cleaned(message)), TaskPayload::Cancelled)
        }
        Waited::Done(end) => {
            let status = cleaned(end.status.to_string());
            let result = match end.check() {
                Ok(end) => success(ended(ticket.outcome, end).map_err(|e| told(&e))?),
                Err(error) => failure(&error),
            };
            let result = serde_json::to_value(result).map_err(|e| ErrorData::internal_error(e.to_string(), None))?;
            let result = result.as_object().cloned().unwrap_or_default();
            DetailedTask::new(task.with_status_message(status), TaskPayload::Completed { result })
        }
    };
    Ok(GetTaskResult::new(task))
}

/// Of a task that was stopped Proxmox says no more than this.
fn was_stopped(status: &ExitStatus) -> bool {
    *status == ExitStatus::Unexpected
}

/// The outcome that the call would have had, had it waited.
fn ended(mut outcome: Value, end: TaskEnd) -> Result<Answer> {
    if let Value::Object(outcome) = &mut outcome {
        outcome.insert("state".to_owned(), "done".into());
        // That was until it was left.
        outcome.shift_remove("seconds");
        outcome.insert("exitstatus".to_owned(), end.status.to_string().into());
        if !end.warnings.is_empty() {
            let warnings = outcome.entry("warnings").or_insert_with(|| Value::Array(Vec::new()));
            if let Value::Array(warnings) = warnings {
                warnings.extend(end.warnings.into_iter().map(Value::from));
            }
        }
    }
    Answer::new(&outcome)
}

/// Takes answers to questions: no task here has any, so there is nothing to do with them.
///
/// # Errors
/// A handle that is none of this server's.
pub fn update(app: &App, id: &str) -> Result<(), ErrorData> {
    open(app, id).map(drop)
}

/// Stops the Proxmox task.
///
/// # Errors
/// As [`get`], and what the policy says.
pub async fn cancel(app: &App, id: &str, context: &RequestContext<RoleServer>) -> Result<(), ErrorData> {
    let (_, cluster, upid) = open(app, id)?;
    let context = Context {
        cancel: context.ct.clone(),
        client: calls::client(context),
        request: calls::request(context),
        ..Context::default()
    };
    abort::cancel(app, cluster, &upid, &context).await.map(drop).map_err(|e| told(&e))
}

fn open<'a>(app: &'a App, id: &str) -> Result<(Ticket, &'a Cluster, Upid), ErrorData> {
    let unknown = || {
        let words = "taskId: none of this server's, or from before it was started anew (see PROXMOX_KEY); Proxmox's own task goes on all the same";
        ErrorData::invalid_params(words, None)
    };
    let codec = codec(app).map_err(|e| told(&e))?;
    let ticket: Ticket = codec.open_json_with(id, BOUND).map_err(|_| unknown())?;
    let cluster = app.clusters().iter().find(|cluster| cluster.name == ticket.cluster).ok_or_else(unknown)?;
    let upid = ticket.upid.parse().map_err(|_| unknown())?;
    Ok((ticket, cluster, upid))
}

fn told(error: &Error) -> ErrorData {
    match error.kind() {
        Kind::NotFound => ErrorData::invalid_params(error.report(), None),
        _ => ErrorData::internal_error(error.report(), None),
    }
}
