//! Stops a task whose call was given up, where the caller wanted it so, and says truthfully what came of that.

use std::time::Duration;

use serde_json::json;

use super::sender;
use crate::{
    app::{App, Cluster},
    audit::{End, Intent},
    call::{self, Context, Cx},
    error::{Error, Kind, Result},
    plan::{Outcome, Plan, State},
    progress::Progress,
    pve::{ExitStatus, Reader, Scope, Upid, WaitOptions, Waited},
    tools,
    undo::Guests,
};

/// How long a stopped task is given to end: cleaning up takes it a while.
const GRACE: WaitOptions = WaitOptions { timeout: Duration::from_secs(10), poll_interval: Duration::from_secs(1) };
/// The tool that stops tasks, under whose name a stop by itself is on record.
const TOOL: &str = "proxmox-stop-task";

/// What came of it.
pub enum Stopped {
    /// It was stopped, in the words of its exit status.
    Ended(ExitStatus),
    /// It came to its end before it was stopped.
    Before(ExitStatus),
    /// It was told to stop, and has not ended yet.
    Told,
}

/// Stops the task that a cancelled call waited for; how the call ends.
pub async fn stop(cx: &Cx<'_>, reader: &Reader<'_>, upid: &Upid) -> Error {
    let task = format!("task {upid} ({})", format!("{} {}", upid.kind, upid.id).trim_end());
    let error = |message: String| Error::new(Kind::Cancelled, message).upid(upid.as_str());
    match try_stop(cx, reader, upid).await {
        Ok(Stopped::Ended(status)) => error(format!("the call was cancelled and {task} stopped: {status}"))
            .hint("what it had done stays: look at what it worked on"),
        Ok(Stopped::Before(status)) => {
            error(format!("the call was cancelled, and {task} ended before it could be stopped: {status}"))
        }
        Ok(Stopped::Told) => error(format!("the call was cancelled and {task} told to stop; it has not ended yet"))
            .hint("wait for it with its UPID"),
        Err(e) => error(format!("the call was cancelled; {task} could not be stopped and goes on: {e}"))
            .hint("wait for it again with its UPID, or stop it"),
    }
}

async fn try_stop(cx: &Cx<'_>, reader: &Reader<'_>, upid: &Upid) -> Result<Stopped> {
    // The call's own reader asks for nothing any more.
    let scope = Scope { cancel: Default::default(), progress: Progress::none(), ..call::scope(cx) };
    let still = Reader::new(cx.client, &scope);
    if let Some(status) = still.task_status(upid).await? {
        return Ok(Stopped::Before(status));
    }
    sender(cx).send(reader, &cx.app.policy().approve_abort(upid)?).await?;
    Ok(match cx.client.waiter().watch(cx.client, upid, &GRACE, &scope).await {
        Ok(Waited::Done(end)) if end.status.is_success() => Stopped::Before(end.status),
        Ok(Waited::Done(end)) => Stopped::Ended(end.status),
        Ok(Waited::Running { .. }) | Err(_) => Stopped::Told,
    })
}

/// Stops a task that an earlier call of the same caller began, and puts it on record.
///
/// # Errors
/// The policy's, Proxmox's, and an audit log that cannot be written.
pub async fn cancel(app: &App, cluster: &Cluster, upid: &Upid, context: &Context) -> Result<Stopped> {
    let Some(entry) = tools::all().find(|entry| entry.name == TOOL) else {
        return Err(Error::internal(format!("no tool {TOOL}")));
    };
    let cx = Cx::new(entry, app, &cluster.client, context);
    let scope = call::scope(&cx);
    let reader = Reader::new(cx.client, &scope);
    let approved = app.policy().approve_abort(upid)?;
    let plan = Plan::new(format!("stop task {} {} on {}", upid.kind, upid.id, upid.node))
        .about("upid", upid.to_string())
        .step(approved.request().clone());
    let record = match app.audit() {
        Some(audit) => {
            let given = json!({"upid": upid.to_string()});
            let intent = Intent {
                entry,
                cluster: cx.client.name(),
                who: cx.client.who(),
                client: context.client.as_deref(),
                caller: app.caller(),
                request: context.request.as_deref(),
                given: &given,
                plan: &plan,
                confirmed: "",
                undoes: None,
                guests: Guests::new(),
            };
            Some((audit, audit.begin(intent).await?))
        }
        None => None,
    };
    let stopped = try_stop(&cx, &reader, upid).await;
    if let Some((audit, id)) = record {
        let outcome = Outcome::new(State::Done, &plan);
        let sent = cx.trail.sent();
        let end = End { sent: &sent, outcome: stopped.as_ref().map(|_| &outcome), made: Guests::new() };
        let written = audit.end(&id, end).await;
        if let Err(e) = written {
            tracing::error!("what came of {id} is not on record: {e}");
        }
    }
    stopped
}
