//! The tools as they are listed, and a call of one. What a caller may not call it is not told of; all else is, whatever
//! toolset a model would be shown: programs pay for no descriptions.

use std::{collections::HashSet, sync::Arc};

use axum::{
    Json,
    extract::{FromRequest, Request, State},
    response::{IntoResponse, Response},
};
use http::{HeaderValue, Method, StatusCode, Uri, header::ALLOW};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::{
    Site,
    call::Running,
    events, nothing_here,
    outcome::Told,
    prefer::Prefer,
    problems::problem,
    request::{Arguments, Asked, Named, Who},
    wrong_method,
};
use crate::{
    app::App,
    call,
    error::Result,
    hand_over::HandOver,
    tool::{Control, Entry},
    tools::{self, FAMILIES},
    toolsets,
    web::Problem,
};

/// Which of them.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Which {
    /// Only those of this toolset.
    toolset: Option<String>,
}

/// A tool as a caller may use it.
pub struct Offered {
    pub family: &'static str,
    pub entry: &'static Entry,
    /// JSON Schema of its arguments, all of them.
    pub input: Map<String, Value>,
    /// Has to be confirmed, whatever it is called with.
    pub asks: bool,
}

/// The tools that a caller may call, in the registry's order.
///
/// # Errors
/// `BadSetting` for a toolset that there is not.
pub fn offered(app: &App, which: &Which) -> Result<Vec<Offered>> {
    let wanted: Option<HashSet<&str>> = match &which.toolset {
        Some(name) => Some(toolsets::toolset(name)?.into_iter().map(|entry| entry.name).collect()),
        None => None,
    };
    let all = FAMILIES.iter().flat_map(|(family, tools)| tools.iter().map(move |entry| (*family, entry)));
    let wanted = |name: &str| wanted.as_ref().is_none_or(|wanted| wanted.contains(name));
    let offered = all.enumerate().filter(|(_, (_, entry))| wanted(entry.name) && app.can_call(entry));
    Ok(offered
        .map(|(index, (family, entry))| Offered {
            family,
            entry,
            input: app.schema(index, entry).clone(),
            asks: app.asks(entry),
        })
        .collect())
}

impl Offered {
    /// What a list has of it.
    fn brief(&self) -> Map<String, Value> {
        let Self { family, entry, asks, .. } = self;
        let brief = json!({
            "name": entry.name,
            "title": entry.title,
            "description": entry.description(),
            "family": family,
            "effect": entry.effect,
            "confirm": asks,
        });
        brief.as_object().cloned().unwrap_or_default()
    }

    /// The arguments of its example.
    pub fn example(&self) -> Value {
        serde_json::from_str(self.entry.example.1).unwrap_or_default()
    }
}

/// `GET /tools`.
pub async fn list(who: Who, Asked(which): Asked<Which>) -> Result<Response, Problem> {
    let tools = offered(&who.caller.app, &which).map_err(|e| no_toolset(&e))?;
    let tools: Vec<_> = tools.iter().map(Offered::brief).collect();
    Ok(Json(json!({"total": tools.len(), "tools": tools})).into_response())
}

/// What was asked for is wrong, and no setting of the server's.
pub fn no_toolset(error: &crate::error::Error) -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, format!("toolset: {error}"))
}

/// `GET /tools/{name}`: one of them, with its schemas.
pub async fn show(who: Who, Named(name): Named) -> Result<Response, Problem> {
    let app = &who.caller.app;
    let entry = known(&name)?;
    app.policy().allows_tool(entry.name, entry.effect, entry.api).map_err(|e| problem(&e))?;
    let offered = offered(app, &Which { toolset: None }).map_err(|e| problem(&e))?;
    let Some(tool) = offered.into_iter().find(|tool| tool.entry.name == name) else {
        return Err(problem(&call::unknown_tool(&name)));
    };
    let mut shown = tool.brief();
    shown.insert("example".to_owned(), json!({"question": entry.example.0, "arguments": tool.example()}));
    shown.insert("input_schema".to_owned(), tool.input.into());
    shown.insert("output_schema".to_owned(), entry.output_schema_for(&app.names()).into());
    Ok(Json(shown).into_response())
}

fn known(name: &str) -> Result<&'static Entry, Problem> {
    tools::all().find(|entry| entry.name == name).ok_or_else(|| problem(&call::unknown_tool(name)))
}

/// `POST /tools/{name}`.
pub async fn call(
    State(site): State<Arc<Site>>,
    who: Who,
    Named(name): Named,
    request: Request,
) -> Result<Response, Problem> {
    run(&site, who, known(&name)?, request).await
}

/// `POST /{name}`.
pub async fn call_at_root(
    State(site): State<Arc<Site>>,
    who: Who,
    Named(name): Named,
    method: Method,
    uri: Uri,
    request: Request,
) -> Result<Response, Problem> {
    let Ok(entry) = known(&name) else { return Err(nothing_here(uri).await) };
    if method != Method::POST {
        return Err(wrong_method(method, uri).await.header(ALLOW, HeaderValue::from_static("POST")));
    }
    run(&site, who, entry, request).await
}

async fn run(site: &Arc<Site>, who: Who, entry: &'static Entry, request: Request) -> Result<Response, Problem> {
    let prefer = Prefer::of(request.headers());
    let Arguments(mut arguments) = Arguments::from_request(request, &()).await?;
    let prefer = match &entry.control {
        Some(control) => prefer_to_wait(prefer, control, &mut arguments),
        // There is nothing to wait for.
        None => Prefer::default(),
    };
    let told = Told {
        site: Arc::clone(site),
        cluster: who.caller.app.cluster_of(&arguments).map(str::to_owned),
        acts: entry.control.is_some(),
        prefer,
        hand_over: prefer.at_once.then(HandOver::default),
    };
    let mut running = Running::start(&who, told.hand_over.clone(), move |app, context| async move {
        call::run(&app, entry.name, arguments, &context).await
    });
    if who.wants_events {
        return Ok(events::stream(who, running, move |answer| told.body(answer)));
    }
    let answer = running.end().await;
    told.response(answer)
}

/// Waits as if the arguments had said so. What they do say counts, and nothing is left of the preference then.
fn prefer_to_wait(prefer: Prefer, control: &Control, arguments: &mut Map<String, Value>) -> Prefer {
    let Some(wait) = prefer.wait else { return prefer };
    if control.instant || arguments.contains_key("wait") || arguments.contains_key(control.timeout_key) {
        return Prefer::default();
    }
    arguments.insert("wait".to_owned(), true.into());
    arguments.insert(control.timeout_key.to_owned(), wait.as_secs().into());
    prefer
}
