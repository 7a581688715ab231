//! A task by its address, through the tools that know tasks: how it goes, also when waited for, and its stop.

use std::sync::Arc;

use axum::{
    Json,
    extract::State,
    response::{IntoResponse, Response},
};
use http::HeaderMap;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::{
    Site,
    call::Running,
    events,
    outcome::Told,
    prefer::{APPLIED, Prefer},
    problems::problem,
    request::{Asked, Named, Who},
};
use crate::{
    action::MAX_SECONDS,
    call::{self, Answer, App, Context},
    confirm::Mode,
    error::{Kind, Result},
    web::Problem,
};

pub const STATUS: &str = "proxmox-task-status";
const WAIT: &str = "proxmox-wait-task";
const STOP: &str = "proxmox-stop-task";

/// What a look may be asked with.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Look {
    cluster: Option<String>,
    /// Seconds for which its end is waited for.
    wait: Option<f64>,
}

/// What a stop may be asked with.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Stop {
    cluster: Option<String>,
    /// The id of the plan that was shown, where a flag is not enough.
    confirm: Option<String>,
}

fn arguments(upid: &str, cluster: Option<String>) -> Map<String, Value> {
    let mut arguments = Map::from_iter([("upid".to_owned(), upid.into())]);
    arguments.extend(cluster.map(|name| ("cluster".to_owned(), name.into())));
    arguments
}

/// `GET /tasks/{upid}`. A task that failed is no failure of the look at it.
pub async fn show(
    who: Who,
    Named(upid): Named,
    Asked(look): Asked<Look>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let preferred = Prefer::of(&headers);
    let task = arguments(&upid, look.cluster);
    let wait = match (look.wait, preferred.wait) {
        (Some(seconds), _) => Some(json!(seconds)),
        (None, Some(wait)) => Some(json!(wait.as_secs())),
        // Whoever wants to hear how it goes wants to hear its end.
        (None, None) => who.wants_events.then(|| json!(MAX_SECONDS)),
    };
    let mut running = Running::start(&who, None, move |app, context| async move {
        if let Some(wait) = wait {
            wait_for(&app, task.clone(), wait, &context).await?;
        }
        call::run(&app, STATUS, task, &context).await
    });
    let body = |answer: Result<Answer>| answer.map(|answer| answer.data).map_err(|e| problem(&e));
    if who.wants_events {
        return Ok(events::stream(who, running, body));
    }
    let mut response = Json(body(running.end().await)?).into_response();
    let applied = if look.wait.is_none() { preferred.applied().filter(|_| !preferred.at_once) } else { None };
    response.headers_mut().extend(applied.map(|applied| (APPLIED, applied)));
    Ok(response)
}

/// Waits for the end, whatever end it is.
async fn wait_for(app: &App, mut task: Map<String, Value>, wait: Value, context: &Context) -> Result<()> {
    task.insert("timeout".to_owned(), wait);
    match call::run(app, WAIT, task, context).await {
        Err(e) if e.kind() != Kind::TaskFailed => Err(e),
        _ => Ok(()),
    }
}

/// `DELETE /tasks/{upid}`: that it is asked for is the yes, where a flag would do.
pub async fn stop(
    State(site): State<Arc<Site>>,
    who: Who,
    Named(upid): Named,
    Asked(stop): Asked<Stop>,
) -> Result<Response, Problem> {
    let flag = who.caller.app.confirm().mode() == Mode::Flag;
    let mut arguments = arguments(&upid, stop.cluster);
    let confirm = stop.confirm.map(Value::from).filter(|_| !flag).or_else(|| flag.then(|| true.into()));
    arguments.extend(confirm.map(|confirm| ("confirm".to_owned(), confirm)));
    let cluster = who.caller.app.cluster_of(&arguments).map(str::to_owned);
    let told = Told { site, cluster, acts: true, prefer: Prefer::default(), hand_over: None };
    let mut running =
        Running::start(&who, None, move |app, context| async move { call::run(&app, STOP, arguments, &context).await });
    told.response(running.end().await)
}
