//! The one path of every call: look up, check arguments, read, or plan and do ([`crate::action`]).

use std::panic::AssertUnwindSafe;

use futures::FutureExt;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

pub use crate::app::{App, Cluster};
use crate::{
    arguments,
    audit::End,
    confirm::Mode,
    error::{Error, Kind, Result},
    everywhere,
    hand_over::HandOver,
    limit::{self, Late},
    outside,
    progress::Progress,
    pve::{Client, Reader, Scope, Seen},
    render, router,
    safety_snapshot::Before,
    sight::Sight,
    tool::{Entry, Query},
    tools,
    trail::Trail,
    undo::{Guests, Undoing},
};

/// What one call brings along: where its progress goes, whether it was cancelled, and who is behind it.
#[derive(Debug, Clone, Default)]
pub struct Context {
    pub progress: Progress,
    pub cancel: CancellationToken,
    /// Name and version of the client, for the audit log.
    pub client: Option<String>,
    /// By which the request is found again in logs, where it came with such an id.
    pub request: Option<String>,
    pub person: Person,
    /// Where a task is left that the caller would rather follow by itself.
    pub hand_over: Option<HandOver>,
}

/// Whom a call can ask whether to go on.
#[derive(Debug, Clone)]
pub enum Person {
    /// Nobody, and why.
    Nobody(&'static str),
    /// The face asks when the outcome is that a confirmation is needed, and calls again.
    CanBeAsked,
    /// Somebody, who said yes to the plan with this id.
    SaidYes(String),
}

impl Default for Person {
    fn default() -> Self {
        Self::Nobody("nobody can be asked here")
    }
}

/// A result: data for programs, and the same facts as text for a model.
#[derive(Debug, Clone)]
pub struct Answer {
    pub data: Value,
}

impl Answer {
    pub(crate) fn new(data: &impl serde::Serialize) -> Result<Self> {
        let mut data = serde_json::to_value(data)
            .map_err(|e| Error::internal(format!("the result cannot be written as JSON: {e}")))?;
        outside::show(&mut data);
        Ok(Self { data })
    }
    pub fn text(&self) -> String {
        render::text(&self.data)
    }
}

/// What a running call has at hand.
#[derive(Clone)]
pub struct Cx<'a> {
    pub entry: &'static Entry,
    pub app: &'a App,
    pub client: &'a Client,
    pub context: &'a Context,
    /// What it has sent so far.
    pub trail: Trail,
    /// A confirmation that the tool does not take by itself.
    pub confirm: Option<Value>,
    /// The cluster was named, and is not just the first.
    pub cluster_named: bool,
    /// What is on record, where this call takes it back.
    pub undoes: Option<&'a Undoing>,
    /// Whether a task that is waited for is stopped where the call is cancelled.
    pub stops_task: bool,
}

impl<'a> Cx<'a> {
    pub fn new(entry: &'static Entry, app: &'a App, client: &'a Client, context: &'a Context) -> Self {
        Self {
            entry,
            app,
            client,
            context,
            trail: Trail::default(),
            confirm: None,
            cluster_named: false,
            undoes: None,
            stops_task: false,
        }
    }
}

/// Calls a tool by name.
///
/// # Errors
/// Everything that can go wrong, a panic in the tool included: that is this call's error and nobody else's.
pub async fn run(app: &App, name: &str, args: Map<String, Value>, context: &Context) -> Result<Answer> {
    if let Some(tool) = router::named(name) {
        return router::run(app, tool, args, context).await;
    }
    run_undoing(app, name, args, context, None).await
}

/// As [`run`], for a call that takes back what is on record.
pub(crate) async fn run_undoing(
    app: &App,
    name: &str,
    args: Map<String, Value>,
    context: &Context,
    undoes: Option<&Undoing>,
) -> Result<Answer> {
    let Some(found) = tools::all().enumerate().find(|(_, entry)| entry.name == name) else {
        return Err(unknown_tool(name));
    };
    let sight = Sight::begin(app, found.1, context);
    let outcome = judged(app, found, args, context, undoes).instrument(sight.span.clone()).await;
    sight.end(&outcome);
    outcome
}

/// Whether it may be called with this, and the call itself.
async fn judged(
    app: &App,
    (index, entry): (usize, &'static Entry),
    mut args: Map<String, Value>,
    context: &Context,
    undoes: Option<&Undoing>,
) -> Result<Answer> {
    app.policy().allows_tool(entry.name, entry.effect, entry.api)?;
    let confirm = confirmation(app, entry, &mut args);
    let everywhere = everywhere::asked(entry, app.clusters(), &mut args);
    let schema = app.schema(index, entry);
    let mut args = arguments::check(schema, args)?;
    if !app.has(entry) {
        let error = Error::new(Kind::Denied, format!("{} needs the audit log, and this server keeps none", entry.name));
        return Err(error.hint("the operator of this server can have one kept with PROXMOX_AUDIT_FILE"));
    }
    if everywhere {
        return everywhere::run(app, entry, schema, args, context).await;
    }
    let cluster_named = args.contains_key("cluster");
    let cluster = app.cluster(&mut args)?;
    let cx = Cx { confirm, cluster_named, undoes, ..Cx::new(entry, app, &cluster.client, context) };
    guarded(cx, args).await
}

/// Takes `confirm` off where the tool's schema has none of that kind: prompts written for the reference may confirm what
/// needs no confirmation here, or with a flag where a plan's id is wanted.
fn confirmation(app: &App, entry: &Entry, args: &mut Map<String, Value>) -> Option<Value> {
    entry.control?;
    let wrong = match app.confirm().mode() {
        Mode::Flag => false,
        Mode::Plan => args.get("confirm").is_some_and(Value::is_boolean),
        Mode::Human => !app.confirm().falls_back() || args.get("confirm").is_some_and(Value::is_boolean),
    };
    if wrong || !app.asks(entry) { args.remove("confirm") } else { None }
}

/// Runs a tool for as long as it may take; a panic in it becomes this call's error, and nobody else's.
pub(crate) async fn guarded(cx: Cx<'_>, args: Map<String, Value>) -> Result<Answer> {
    let (app, name, trail, cancel) = (cx.app, cx.entry.name, cx.trail.clone(), &cx.context.cancel);
    let limit = app.call_timeout();
    let call = AssertUnwindSafe((cx.entry.run)(cx, args)).catch_unwind();
    let error = match (limit::within(limit, cancel, call).await, limit) {
        (Err(Late(Some(Ok(Err(e))))), Some(limit)) if e.kind() == Kind::Cancelled => {
            return Err(limit::too_long(limit, Some(&e), &trail));
        }
        (Ok(Ok(result)) | Err(Late(Some(Ok(result)))), _) => return result,
        (Err(Late(None)), Some(limit)) => limit::too_long(limit, None, &trail),
        _ => Error::internal(format!("a fault in {name}: the call was given up, the server goes on"))
            .hint("what it had sent already may have taken effect: look at proxmox-list-tasks")
            .done(trail.sent().into_iter().map(|sent| sent.request).collect()),
    };
    if let (Some(audit), Some(id)) = (app.audit(), trail.take_record())
        && let Err(e) = audit.end(&id, End { sent: &trail.sent(), outcome: Err(&error), made: Guests::new() }).await
    {
        tracing::error!("what came of {id} is not on record: {e}");
    }
    Err(error)
}

/// What to say of a tool that is not there.
pub fn unknown_tool(name: &str) -> Error {
    let error = Error::not_found(format!("unknown tool '{name}'"));
    match arguments::nearest(name, tools::all().map(|entry| entry.name)) {
        Some(near) => error.hint(format!("did you mean '{near}'?")),
        None => error.hint("tools/list (or `proxmox-mcp tools`) names them all"),
    }
}

/// Runs a tool that reads.
pub(crate) async fn query<T: Query>(cx: Cx<'_>, args: Map<String, Value>) -> Result<Answer> {
    let tool: T = parse(args)?;
    let scope = scope(&cx);
    let reader = Reader::new(cx.client, &scope);
    Answer::new(&tool.query(&reader).await?)
}

pub(crate) fn parse<T: DeserializeOwned>(args: Map<String, Value>) -> Result<T> {
    serde_json::from_value(Value::Object(args)).map_err(|e| Error::bad_argument(e.to_string()))
}

pub(crate) fn scope(cx: &Cx<'_>) -> Scope {
    Scope {
        tool: cx.entry.name,
        api: cx.entry.api,
        also: cx.entry.control.and_then(|control| control.snapshot_first).map_or(&[], Before::api),
        progress: cx.context.progress.clone(),
        cancel: cx.context.cancel.clone(),
        seen: Seen::default(),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::json;

    use super::*;
    use crate::{
        config::Safety,
        sandbox::{Options, Sandbox},
        tool::{Deserialize, JsonSchema, Tool},
    };

    /// Blows up.
    #[derive(Deserialize, JsonSchema)]
    struct Bomb {}

    impl Tool for Bomb {
        const NAME: &str = "proxmox-bomb";
        const TITLE: &str = "Bomb";
        const API: &[&str] = &[];
        const EXAMPLE: (&str, &str) = ("Blow up", "{}");
    }

    impl Query for Bomb {
        type Output = Value;
        #[expect(clippy::panic, reason = "that is the subject")]
        async fn query(&self, _: &Reader<'_>) -> Result<Value> {
            panic!("boom")
        }
    }

    /// Reads what it did not declare.
    #[derive(Deserialize, JsonSchema)]
    struct Nosy {}

    impl Tool for Nosy {
        const NAME: &str = "proxmox-nosy";
        const TITLE: &str = "Nosy";
        const API: &[&str] = &["GET /version"];
        const EXAMPLE: (&str, &str) = ("Who is there?", "{}");
    }

    impl Query for Nosy {
        type Output = Value;
        async fn query(&self, pve: &Reader<'_>) -> Result<Value> {
            let _: Value = pve.get("/version").await?;
            pve.get("/access/users").await
        }
    }

    async fn outcome(entry: &'static Entry) -> (Kind, String) {
        let sandbox = Sandbox::new(Options::default());
        let client = Client::with_transport(&crate::embedded::cluster_config(&sandbox), Arc::new(sandbox));
        let context = Context::default();
        let cluster = Cluster { name: "lab".to_owned(), client: client.clone() };
        let app = App::with_clusters(vec![cluster], &Safety::default()).map_err(|e| (e.kind(), e.to_string()));
        let app = match app {
            Ok(app) => app,
            Err(e) => return e,
        };
        let cx = Cx::new(entry, &app, &client, &context);
        match guarded(cx, Map::new()).await {
            Ok(answer) => (Kind::Internal, answer.text()),
            Err(e) => (e.kind(), e.to_string()),
        }
    }

    #[test]
    fn whole_numbers_are_written_without_a_fraction() {
        let data = json!({"cpus": 2.0, "load": [0.5, -3.0, 1e300], "text": "2.0", "n": 7});
        let text = Answer::new(&data).map(|answer| answer.data.to_string());
        assert_eq!(text.unwrap_or_default(), r#"{"cpus":2,"load":[0.5,-3,1e+300],"text":"2.0","n":7}"#);
    }

    #[tokio::test(start_paused = true)]
    async fn a_panic_is_an_error_of_that_call() {
        static BOMB: Entry = Entry::query::<Bomb>();
        let words = "a fault in proxmox-bomb: the call was given up, the server goes on";
        assert_eq!(outcome(&BOMB).await, (Kind::Internal, words.to_owned()));
    }

    #[tokio::test(start_paused = true)]
    async fn a_tool_may_not_call_what_it_did_not_declare() {
        static NOSY: Entry = Entry::query::<Nosy>();
        let words = "tool proxmox-nosy may not call GET /access/users";
        assert_eq!(outcome(&NOSY).await, (Kind::Internal, words.to_owned()));
    }
}
