//! Carries out an approved plan: sends each request once, waits for its task, and says truthfully how far it got. An
//! answer that was lost is looked for in the task list before it is called unclear.

pub mod abort;
pub mod lanes;
mod send;

pub use self::send::{Sender, adopted, is_made};

use futures::future::join_all;
use serde_json::{Map, Value, json};
use tokio::time::Instant;

use crate::{
    call::Cx,
    error::{Error, Kind, Result},
    plan::{Goal, Outcome, Plan, State},
    policy::Approved,
    pve::{ExitStatus, Reader, TaskEnd, Upid, WaitOptions, Waited},
    tool::{Action, Done},
};

/// Sends the requests in order. All but the last task are always waited for, the last one if `wait` says so.
///
/// # Errors
/// Proxmox's refusal or the failed task, with what had been done before it.
pub async fn run<T: Action>(
    cx: &Cx<'_>,
    reader: &Reader<'_>,
    tool: &T,
    plan: &Plan,
    approved: &[Approved],
    wait: Option<WaitOptions>,
) -> Result<Outcome> {
    if plan.side_by_side && approved.len() > 1 {
        return side_by_side(cx, reader, plan, approved, wait).await;
    }
    let started = Instant::now();
    let mut outcome = Outcome::new(State::Done, plan);
    let (mut done, mut answers) = (Vec::new(), Vec::new());
    for (i, request) in approved.iter().enumerate() {
        let last = i + 1 == approved.len();
        let renewed = match &plan.safety {
            Some(taken) if i == 1 => taken.renewed(reader, request).await.map_err(|e| with_done(e, &done))?,
            _ => None,
        };
        let request = renewed.as_ref().unwrap_or(request);
        let (answer, upid) = send(cx, reader, request).await.map_err(|e| with_done(e, &done))?;
        answers.push(answer);
        if let Some(upid) = upid {
            outcome.upid = Some(upid.to_string());
            // Steps build on one another: only the last may be left running.
            let Some(wait) = wait.or_else(|| (!last).then_some(BETWEEN_STEPS)) else {
                outcome.state = State::Running;
                outcome.next = Some(follow(&upid));
                break;
            };
            if let Some(hand_over) = cx.context.hand_over.as_ref().filter(|_| !T::LOOKS_AFTER)
                && approved.len() == 1
                && !upid.is_queued_only()
            {
                hand_over.give(cx.client.name(), &upid);
                outcome.state = State::Running;
                break;
            }
            match waited(cx, reader, &upid, wait).await.map_err(|e| with_done(e, &done))? {
                Waited::Done(end) => {
                    note(&mut outcome, &end);
                    if end.queued_only {
                        settle(reader, plan, &mut outcome, wait).await?;
                    }
                }
                Waited::Running { log, percent, note } => {
                    outcome.state = State::Running;
                    outcome.percent = percent;
                    outcome.warnings.extend(note);
                    outcome.warnings.extend(log.map(|line| format!("still running: {line}")));
                    outcome.next = Some(follow(&upid));
                    if !last {
                        let left = approved[i + 1..].iter().map(|r| r.request().to_string()).collect::<Vec<_>>();
                        outcome.warnings.push(format!("not sent yet: {}", left.join(", ")));
                    }
                    break;
                }
            }
        }
        done.push(request.request().to_string());
    }
    if outcome.state == State::Done {
        let read = tool.result(reader, plan, Done { answers: &answers, wait, lanes: None }).await;
        let result = read.map_err(|e| with_done(e, &done))?;
        if let Some(undo) = tool.undo(plan, Done { answers: &answers, wait, lanes: None }, result.as_ref()) {
            outcome.set_undo(Some(&undo));
        }
        if let Some(next) = result.as_ref().and_then(|result| tool.goes_on(plan, result)) {
            (outcome.state, outcome.next) = (State::Running, Some(next));
        }
        outcome.result = result.map(object);
    }
    if wait.is_some() {
        outcome.seconds = Some((started.elapsed().as_secs_f64() * 1000.0).round() / 1000.0);
    }
    Ok(outcome)
}

/// Sends all requests, then waits for all their tasks. The tasks are the outcome's result.
async fn side_by_side(
    cx: &Cx<'_>,
    reader: &Reader<'_>,
    plan: &Plan,
    approved: &[Approved],
    wait: Option<WaitOptions>,
) -> Result<Outcome> {
    let started = Instant::now();
    let mut outcome = Outcome::new(State::Done, plan);
    let (mut done, mut failed, mut begun) = (Vec::new(), Vec::new(), Vec::new());
    for request in approved {
        match send(cx, reader, request).await {
            Ok((_, Some(upid))) => begun.push((request.request(), upid)),
            Ok((_, None)) => done.push(request.request().to_string()),
            Err(e) => failed.push(e),
        }
    }
    let ends = match wait {
        Some(wait) => join_all(begun.iter().map(|(_, upid)| waited(cx, reader, upid, wait))).await,
        None => Vec::new(),
    };
    let mut ends = ends.into_iter();
    let mut tasks = Vec::new();
    for (request, upid) in begun {
        let (state, exitstatus) = match ends.next() {
            Some(Ok(Waited::Done(end))) => {
                note(&mut outcome, &end);
                (State::Done, Some(end.status.to_string()))
            }
            Some(Ok(Waited::Running { .. })) | None => (State::Running, None),
            Some(Err(e)) => {
                failed.push(e);
                continue;
            }
        };
        done.push(format!("{request} ({upid})"));
        if state == State::Running {
            outcome.state = State::Running;
            outcome.next = Some("follow each of the tasks with proxmox-wait-task".to_owned());
        }
        let mut task = json!({"upid": upid.to_string(), "state": state});
        if let Some(exitstatus) = exitstatus {
            task["exitstatus"] = exitstatus.into();
        }
        tasks.push(task);
        outcome.upid = Some(upid.to_string());
    }
    let mut failed = failed.into_iter();
    if let Some(first) = failed.next() {
        let mut more = done;
        more.extend(failed.map(|e| format!("failed too: {e}")));
        return Err(with_done(first, &more));
    }
    outcome.result = Some(object(json!({"tasks": tasks})));
    if wait.is_some() {
        outcome.seconds = Some((started.elapsed().as_secs_f64() * 1000.0).round() / 1000.0);
    }
    Ok(outcome)
}

/// Waits for a task; stops it where the caller gave up and wanted that.
async fn waited(cx: &Cx<'_>, reader: &Reader<'_>, upid: &Upid, wait: WaitOptions) -> Result<Waited> {
    match reader.wait(upid, wait).await {
        Err(e) if e.kind() == Kind::Cancelled && cx.stops_task => Err(abort::stop(cx, reader, upid).await),
        waited => waited,
    }
}

/// Clients want the result of every tool to be an object.
fn object(result: Value) -> Map<String, Value> {
    match result {
        Value::Object(result) => result,
        other => Map::from_iter([("data".to_owned(), other)]),
    }
}

/// How long a step that others build on is waited for when the caller does not wait for the whole.
const BETWEEN_STEPS: WaitOptions =
    WaitOptions { timeout: std::time::Duration::from_secs(900), poll_interval: std::time::Duration::from_secs(2) };

fn follow(upid: &Upid) -> String {
    format!("follow it with proxmox-wait-task upid={upid}")
}

/// One request, once.
async fn send(cx: &Cx<'_>, reader: &Reader<'_>, approved: &Approved) -> Result<(Value, Option<Upid>)> {
    if cx.context.cancel.is_cancelled() {
        let message = format!("the call was cancelled before {} was sent", approved.request());
        return Err(Error::new(Kind::Cancelled, message));
    }
    sender(cx).send(reader, approved).await
}

fn sender<'a>(cx: &'a Cx<'_>) -> Sender<'a> {
    Sender { client: cx.client, policy: cx.app.policy(), trail: &cx.trail }
}

fn note(outcome: &mut Outcome, end: &TaskEnd) {
    outcome.exitstatus = Some(end.status.to_string());
    if let ExitStatus::Warnings(_) = end.status {
        outcome.warnings.extend(end.warnings.iter().cloned());
    }
}

/// HA answers when the request is queued: wait for the guest itself.
async fn settle(reader: &Reader<'_>, plan: &Plan, outcome: &mut Outcome, wait: WaitOptions) -> Result<()> {
    let Some((guest, goal)) = &plan.becomes else {
        outcome.warnings.push("the guest is managed by HA: its task ends when the request is queued".to_owned());
        return Ok(());
    };
    let (reached, goal) = match goal {
        Goal::State(state) => (reader.wait_for_state(guest, state, wait).await?, (*state).to_owned()),
        Goal::Node(node) => (reader.wait_for_node(guest, node, wait).await?, format!("on {node}")),
    };
    if !reached {
        outcome.state = State::Running;
        outcome.warnings.push(format!("HA has queued the request; {guest} is not {goal} yet"));
        outcome.next = Some("look again with proxmox-vm-info or proxmox-lxc-info".to_owned());
    }
    Ok(())
}

fn with_done(error: Error, done: &[String]) -> Error {
    if done.is_empty() { error } else { error.done(done.to_vec()) }
}
