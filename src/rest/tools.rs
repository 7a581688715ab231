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
    arguments,
    error::{Error, Result},
    hand_over::HandOver,
    policy::Effect,
    tool::{Control, Entry},
    tool_names::{self, Alias, Listed, Names},
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

/// A tool as a caller may use it, by the name by which it knows it.
pub struct Offered {
    pub name: &'static str,
    pub title: &'static str,
    pub description: String,
    pub family: &'static str,
    pub effect: Effect,
    /// JSON Schema of its arguments: all of them, where the name is our own.
    pub input: Map<String, Value>,
    /// Has to be confirmed, whatever it is called with.
    pub asks: bool,
    /// A question, and the arguments (JSON) that answer it.
    example: (&'static str, &'static str),
    /// The tool behind.
    pub entry: &'static Entry,
}

/// The tools that a caller may call.
///
/// # Errors
/// `BadSetting` for a toolset that there is not.
pub fn offered(app: &App, which: &Which) -> Result<Vec<Offered>> {
    let wanted: Option<HashSet<&str>> = match &which.toolset {
        Some(name) => Some(toolsets::toolset(name)?.into_iter().map(|entry| entry.name).collect()),
        None => None,
    };
    let offered = match app.tool_names() {
        Names::Native => native(app),
        names => names.aliases().filter_map(|alias| Offered::by_alias(app, alias)).collect(),
    };
    let wanted = |tool: &Offered| wanted.as_ref().is_none_or(|wanted| wanted.contains(tool.entry.name));
    Ok(offered.into_iter().filter(wanted).collect())
}

fn native(app: &App) -> Vec<Offered> {
    let all = FAMILIES.iter().flat_map(|(family, tools)| tools.iter().map(move |entry| (*family, entry)));
    let callable = all.enumerate().filter(|(_, (_, entry))| app.can_call(entry));
    let offer = |(index, (family, entry)): (usize, (&'static str, &'static Entry))| {
        let mut input = app.schema(index, entry).clone();
        // They are refused, so it may be said.
        input.entry("additionalProperties").or_insert(false.into());
        Offered {
            name: entry.name,
            title: entry.title,
            description: entry.description(),
            family,
            effect: entry.effect,
            input,
            asks: app.asks(entry),
            example: entry.example,
            entry,
        }
    };
    callable.map(offer).collect()
}

impl Offered {
    fn by_alias(app: &App, alias: &'static Alias) -> Option<Self> {
        let Listed { name, title, description, input, effect, entry, .. } = alias.listed(app)?;
        let of_entry = |(_, tools): &&(&str, &[Entry])| tools.iter().any(|tool| tool.name == entry.name);
        let family = FAMILIES.iter().find(of_entry).map_or("", |(family, _)| *family);
        let asks = input.get("properties").is_some_and(|properties| !properties["confirm"].is_null());
        Some(Self { name, title, description, family, effect, input, asks, example: alias.example, entry })
    }

    /// What a list has of it.
    fn brief(&self) -> Map<String, Value> {
        let Self { name, title, description, family, effect, asks, .. } = self;
        let brief = json!({
            "name": name,
            "title": title,
            "description": description,
            "family": family,
            "effect": effect,
            "confirm": asks,
        });
        brief.as_object().cloned().unwrap_or_default()
    }

    /// The arguments of its example, as far as they are taken here, in their proper types.
    pub fn example(&self) -> Value {
        let Ok(Value::Object(mut example)) = serde_json::from_str(self.example.1) else { return json!({}) };
        let property = |key: &str| self.input.get("properties").and_then(|properties| properties.get(key));
        example.retain(|key, _| match property(key) {
            // It may be a plan's id that is wanted.
            Some(property) => key != "confirm" || property["type"] == "boolean",
            None => false,
        });
        arguments::check(&self.input, example.clone()).unwrap_or(example).into()
    }
}

/// `GET /tools`.
pub async fn list(who: Who, Asked(which): Asked<Which>) -> Result<Response, Problem> {
    let tools = offered(&who.caller.app, &which).map_err(|e| no_toolset(&e))?;
    let tools: Vec<_> = tools.iter().map(Offered::brief).collect();
    Ok(Json(json!({"total": tools.len(), "tools": tools})).into_response())
}

/// What was asked for is wrong, and no setting of the server's.
pub fn no_toolset(error: &Error) -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, format!("toolset: {error}"))
}

/// `GET /tools/{name}`: one of them, with its schemas.
pub async fn show(who: Who, Named(name): Named) -> Result<Response, Problem> {
    let app = &who.caller.app;
    let entry = known(app, &name)?;
    let offered = offered(app, &Which { toolset: None }).map_err(|e| problem(&e))?;
    let Some(tool) = offered.into_iter().find(|tool| tool.name == name) else {
        // Why it may not be called.
        let denied = app.policy().allows_tool(entry.name, entry.effect, entry.api).err();
        return Err(problem(&denied.unwrap_or_else(|| tool_names::unknown(app, &name))));
    };
    let mut shown = tool.brief();
    shown.insert("example".to_owned(), json!({"question": tool.example.0, "arguments": tool.example()}));
    shown.insert("output_schema".to_owned(), entry.output_schema_for(&app.names()).into());
    shown.insert("input_schema".to_owned(), tool.input.into());
    Ok(Json(shown).into_response())
}

/// The tool that a name stands for: of several that it may call, the first.
fn known(app: &App, name: &str) -> Result<&'static Entry, Problem> {
    let found = match app.tool_names() {
        Names::Native => tools::all().find(|entry| entry.name == name),
        names => names.alias(name).and_then(|alias| alias.entries().next()),
    };
    found.ok_or_else(|| problem(&tool_names::unknown(app, name)))
}

/// `POST /tools/{name}`.
pub async fn call(
    State(site): State<Arc<Site>>,
    who: Who,
    Named(name): Named,
    request: Request,
) -> Result<Response, Problem> {
    run(&site, who, name, request).await
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
    if known(&who.caller.app, &name).is_err() {
        return Err(nothing_here(uri).await);
    }
    if method != Method::POST {
        return Err(wrong_method(method, uri).await.header(ALLOW, HeaderValue::from_static("POST")));
    }
    run(&site, who, name, request).await
}

async fn run(site: &Arc<Site>, who: Who, name: String, request: Request) -> Result<Response, Problem> {
    let entry = known(&who.caller.app, &name)?;
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
        tool_names::call(&app, &name, arguments, &context).await
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
