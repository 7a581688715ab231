//! Tasks: the lists of a node and of the cluster, status, log, and stopping one.

use serde_json::Value;

use crate::sandbox::{
    call::Call,
    router::Route,
    state::State,
    tasks::{Task, node_of},
    wire::{Answer, Answered, Data, Refusal, civil},
};

pub const ROUTES: &[Route] = &[
    Route::get("/cluster/tasks", cluster),
    Route::get("/nodes/{node}/tasks", list),
    Route::get("/nodes/{node}/tasks/{upid}", index),
    Route::get("/nodes/{node}/tasks/{upid}/status", status),
    Route::get("/nodes/{node}/tasks/{upid}/log", log),
    Route::delete("/nodes/{node}/tasks/{upid}", stop),
];

/// The cluster's list has at most so many of one node.
const PER_NODE: usize = 25;

/// A token sees its own tasks, a user those of all his tokens too.
fn owns(call: &Call, task: &Task) -> bool {
    task.user == call.who.user && (call.who.token.is_none() || call.who.token == task.token)
}

fn cluster(call: &Call) -> Answered {
    let state = call.sandbox.state();
    let audits = state.may(&call.who, "/", "Sys.Audit");
    let mut counts = std::collections::HashMap::new();
    let seen = state.tasks.newest().filter(|task| audits || owns(call, task)).filter(|task| {
        let count = counts.entry(task.node.as_str()).or_insert(0);
        *count += 1;
        *count <= PER_NODE
    });
    Ok(seen.map(Task::in_cluster_list).collect::<Vec<_>>().into())
}

fn list(call: &Call) -> Answered {
    let state = call.sandbox.state();
    let node = call.node();
    let audits = state.may(&call.who, &format!("/nodes/{node}"), "Sys.Audit");
    let source = call.get("source").unwrap_or("archive");
    let time = |name: &str| call.int(name).map(|t| t.max(0) as u64);
    let (since, until) = (time("since"), time("until"));
    let filters = call.list("statusfilter");
    let all: Vec<&Task> = state
        .tasks
        .newest()
        .filter(|task| task.node == node && (audits || owns(call, task)))
        .filter(|task| match source {
            "active" => task.is_running(),
            "all" => true,
            _ => !task.is_running(),
        })
        .filter(|task| call.get("vmid").is_none_or(|vmid| task.id == vmid))
        .filter(|task| call.get("typefilter").is_none_or(|kind| task.kind == kind))
        .filter(|task| call.get("userfilter").is_none_or(|user| task.who().contains(user)))
        .filter(|task| since.is_none_or(|t| task.starttime >= t) && until.is_none_or(|t| task.starttime <= t))
        .filter(|task| !call.flag("errors") || task.end.as_ref().is_some_and(|(_, status)| status != "OK"))
        .filter(|task| filters.is_empty() || filters.contains(&status_word(task)))
        .collect();
    let start = call.int("start").unwrap_or(0).max(0) as usize;
    let limit = call.int("limit").unwrap_or(50).max(0) as usize;
    let limit = if limit == 0 { usize::MAX } else { limit };
    let rows: Vec<Value> = all.iter().skip(start).take(limit).map(|task| task.in_node_list()).collect();
    let answer = Answer::from(rows);
    // Nothing found is not counted.
    Ok(if all.is_empty() { answer } else { answer.beside("total", all.len()) })
}

fn status_word(task: &Task) -> &'static str {
    match task.end.as_ref().map(|(_, status)| status.as_str()) {
        Some("OK") => "ok",
        Some(status) if status.starts_with("WARNINGS: ") => "warning",
        Some("unexpected status") | None => "unknown",
        Some(_) => "error",
    }
}

/// The task of the path; `privilege` on the node is needed where it is somebody else's.
fn find<'a>(call: &Call, state: &'a State, privilege: &str) -> Result<&'a Task, Refusal> {
    let upid = call.text("upid");
    let node = node_of(upid).ok_or_else(|| Refusal::failed(format!("unable to parse worker upid '{upid}'")))?;
    let task = state.tasks.get(upid).filter(|task| task.node == node && node == call.node());
    if !task.is_some_and(|task| owns(call, task)) {
        state.check(&call.who, &format!("/nodes/{}", call.node()), &[privilege])?;
    }
    task.ok_or_else(|| Refusal::param("upid", "no such task"))
}

fn index(call: &Call) -> Answered {
    let _ = call;
    Ok(serde_json::json!([{"name": "log"}, {"name": "status"}]).into())
}

fn status(call: &Call) -> Answered {
    let state = call.sandbox.state();
    Ok(find(call, &state, "Sys.Audit")?.status().into())
}

fn log(call: &Call) -> Answered {
    let state = call.sandbox.state();
    let task = match find(call, &state, "Sys.Audit") {
        // The log of a task that is not there is an answer, not an error.
        Err(refusal) if refusal.status == 400 => {
            let line = serde_json::json!([{"n": 1, "t": "unable to open file - No such file or directory"}]);
            return Ok(Answer::from(line).beside("total", 1));
        }
        other => other?,
    };
    if call.flag("download") {
        let (y, m, d, h, min, s, _) = civil(task.starttime);
        let time = format!("{y:04}-{m:02}-{d:02}T{h:02}:{min:02}:{s:02}Z");
        let name = format!("task-{}-{}-{time}.log", task.node, task.kind);
        let body = task.log.iter().flat_map(|line| [line.as_str(), "\n"]).collect::<String>();
        let disposition = Some(format!("attachment; filename=\"{name}\""));
        let data = Data::File { content_type: "text/plain", encoding: None, disposition, body: body.into() };
        return Ok(Answer { data, ..Answer::null() });
    }
    let start = call.int("start").unwrap_or(0).max(0) as usize;
    let limit = call.int("limit").unwrap_or(50).max(0) as usize;
    Ok(Answer::from(task.lines(start, limit)).beside("total", task.log_total()))
}

fn stop(call: &Call) -> Answered {
    let state = call.sandbox.state();
    let abort = find(call, &state, "Sys.Modify")?.abort.clone();
    drop(state);
    if let Some(abort) = abort {
        call.sandbox.finish(call.text("upid"), None);
        abort.abort();
    }
    Ok(Answer::null())
}
