//! The one path of every call: look up, check arguments, read or plan, approve, show or confirm, execute, wait, tell.
//! `dry_run`, `confirm`, `wait`, `timeout` and `poll_interval` exist here and nowhere else.

use std::{panic::AssertUnwindSafe, sync::OnceLock, time::Duration};

use futures::FutureExt;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};
use tokio_util::sync::CancellationToken;

use crate::{
    arguments, checks,
    config::Config,
    error::{Error, Kind, Result},
    everywhere, execute, outside,
    plan::{Outcome, Shown, State},
    policy::Policy,
    progress::Progress,
    pve::{Client, Reader, Scope, WaitOptions},
    render,
    tool::{Action, Control, Entry, Query},
    tools,
};

/// One cluster and its client.
pub struct Cluster {
    pub name: String,
    pub client: Client,
}

/// What all calls share: the clusters, the policy, and the tools' schemas once made.
pub struct App {
    clusters: Vec<Cluster>,
    policy: Policy,
    schemas: Vec<OnceLock<Map<String, Value>>>,
}

impl App {
    /// Contacts nobody.
    ///
    /// # Errors
    /// A cluster's settings that no client can be made of.
    pub fn new(config: &Config) -> Result<Self> {
        let clusters = config
            .clusters
            .iter()
            .map(|cluster| Ok(Cluster { name: cluster.name.clone(), client: Client::new(cluster)? }))
            .collect::<Result<_>>()?;
        Ok(Self::with_clusters(clusters).with_policy(Policy { api_write: config.api_write }))
    }

    /// With clients made by the caller: how tests put in a simulated cluster.
    pub fn with_clusters(clusters: Vec<Cluster>) -> Self {
        Self { clusters, policy: Policy::default(), schemas: tools::all().map(|_| OnceLock::new()).collect() }
    }

    pub fn with_policy(self, policy: Policy) -> Self {
        Self { policy, ..self }
    }

    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    pub fn clusters(&self) -> &[Cluster] {
        &self.clusters
    }

    /// The clusters' names, in order.
    pub fn names(&self) -> Vec<&str> {
        self.clusters.iter().map(|c| c.name.as_str()).collect()
    }

    /// The tools that may be used, with their input schemas as models are given them.
    pub fn tools(&self) -> impl Iterator<Item = (&'static Entry, Map<String, Value>)> {
        let names = self.names();
        tools::all()
            .filter(|entry| self.policy.allows_tool(entry.name, entry.effect, entry.api).is_ok())
            .map(move |entry| (entry, entry.listed_schema(&names)))
    }

    fn schema(&self, index: usize, entry: &Entry) -> &Map<String, Value> {
        self.schemas[index].get_or_init(|| entry.input_schema(&self.names()))
    }

    /// The cluster that a call names, else the first.
    fn cluster(&self, args: &mut Map<String, Value>) -> Result<&Cluster> {
        let named = args.remove("cluster");
        let found = match named.as_ref().and_then(Value::as_str) {
            Some(name) => self.clusters.iter().find(|c| c.name == name),
            None => self.clusters.first(),
        };
        found.ok_or_else(|| {
            Error::bad_setting("no Proxmox cluster is configured").hint("set PROXMOX_API_URL, or try --sandbox")
        })
    }
}

/// What one call brings along: where its progress goes, and whether it was cancelled.
#[derive(Debug, Clone, Default)]
pub struct Context {
    pub progress: Progress,
    pub cancel: CancellationToken,
}

/// A result: data for programs, and the same facts as text for a model.
#[derive(Debug, Clone)]
pub struct Answer {
    pub data: Value,
}

impl Answer {
    fn new(data: &impl serde::Serialize) -> Result<Self> {
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
#[derive(Clone, Copy)]
pub struct Cx<'a> {
    pub entry: &'static Entry,
    pub client: &'a Client,
    pub policy: &'a Policy,
    pub context: &'a Context,
}

/// Calls a tool by name.
///
/// # Errors
/// Everything that can go wrong, a panic in the tool included: that is this call's error and nobody else's.
pub async fn run(app: &App, name: &str, mut args: Map<String, Value>, context: &Context) -> Result<Answer> {
    let Some((index, entry)) = tools::all().enumerate().find(|(_, entry)| entry.name == name) else {
        return Err(unknown_tool(name));
    };
    app.policy.allows_tool(entry.name, entry.effect, entry.api)?;
    // Prompts written for the reference may confirm what needs no confirmation here.
    if entry.control.is_some_and(|control| !control.confirm) {
        args.remove("confirm");
    }
    let everywhere = everywhere::asked(entry, &app.clusters, &mut args);
    let schema = app.schema(index, entry);
    let mut args = arguments::check(schema, args)?;
    if everywhere {
        return everywhere::run(app, entry, schema, args, context).await;
    }
    let cluster = app.cluster(&mut args)?;
    let cx = Cx { entry, client: &cluster.client, policy: &app.policy, context };
    guarded(cx, args).await
}

/// Runs a tool; a panic in it becomes this call's error, and nobody else's.
pub(crate) async fn guarded(cx: Cx<'_>, args: Map<String, Value>) -> Result<Answer> {
    match AssertUnwindSafe((cx.entry.run)(cx, args)).catch_unwind().await {
        Ok(result) => result,
        Err(_) => {
            let name = cx.entry.name;
            Err(Error::internal(format!("a fault in {name}: the call was given up, the server goes on"))
                .hint("what it had sent already may have taken effect: look at proxmox-list-tasks"))
        }
    }
}

/// Whether no tool has this name.
pub fn is_unknown_tool(name: &str) -> bool {
    tools::all().all(|entry| entry.name != name)
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

/// Runs a tool that changes something.
pub(crate) async fn action<T: Action>(cx: Cx<'_>, mut args: Map<String, Value>) -> Result<Answer> {
    /// A VMID chosen by us and taken by another meanwhile is tried again with the next, this often.
    const TRIES: usize = 5;
    let order = Order::take(&T::CONTROL, &mut args);
    let tool: T = parse(args)?;
    let scope = scope(&cx);
    let reader = Reader::new(cx.client, &scope);
    let mut tried = 0;
    loop {
        let plan = tool.plan(&reader).await?;
        let approved =
            plan.requests.iter().map(|r| cx.policy.approve(T::EFFECT, r.clone())).collect::<Result<Vec<_>>>()?;
        let state = match order {
            Order { dry_run: true, .. } => Some(State::Planned),
            Order { confirmed: false, .. } => Some(State::NeedsConfirmation),
            _ => None,
        };
        if let Some(state) = state {
            let checks::Checked { checked, problems, warnings } = checks::run(&reader, &plan).await;
            let requests = plan.requests.iter().map(Shown::from).collect();
            let next = match state {
                _ if !problems.is_empty() => "nothing was sent; what stands under problems is in the way".to_owned(),
                State::NeedsConfirmation => "nothing was sent; call again with confirm: true to do it".to_owned(),
                _ if T::CONTROL.confirm => {
                    "nothing was sent; call again with confirm: true and without dry_run to do it".to_owned()
                }
                _ => "nothing was sent; call again without dry_run to do it".to_owned(),
            };
            let outcome =
                Outcome { requests, checked, problems, warnings, next: Some(next), ..Outcome::new(state, &plan) };
            return Answer::new(&outcome);
        }
        if !plan.problems.is_empty() {
            return Err(Error::new(Kind::Refused, plan.problems.join("; ")).hint("nothing was sent"));
        }
        if let Some(vmid) = plan.chosen_vmid
            && !cx.client.vmids().take(vmid)
        {
            continue;
        }
        let outcome = execute::run(&cx, &reader, &tool, &plan, &approved, order.wait).await;
        if let (Some(vmid), Err(e)) = (plan.chosen_vmid, &outcome) {
            cx.client.vmids().release(vmid);
            // Only where nothing was made yet: a guest that a later step failed on is not made twice.
            if e.is_conflict() && e.parts().done.is_empty() && tried + 1 < TRIES {
                tried += 1;
                continue;
            }
        }
        return Answer::new(&outcome?);
    }
}

/// The control keys of a call.
struct Order {
    dry_run: bool,
    /// Given, or not needed.
    confirmed: bool,
    wait: Option<WaitOptions>,
}

impl Order {
    fn take(control: &Control, args: &mut Map<String, Value>) -> Self {
        let mut flag = |key: &str, default: bool| args.remove(key).and_then(|v| v.as_bool()).unwrap_or(default);
        let dry_run = flag("dry_run", false);
        let confirmed = flag("confirm", false) || !control.confirm;
        let wait = flag("wait", control.wait);
        // A guest that is given ten minutes to shut down is waited for that long, and a little longer.
        let own = args.get("timeout").and_then(Value::as_f64).filter(|_| control.timeout_key != "timeout");
        let default = own.map_or(0.0, |own| own + 30.0).max(control.timeout as f64);
        let mut seconds = |key: &str, default: f64| {
            Duration::from_secs_f64(args.remove(key).and_then(|v| v.as_f64()).unwrap_or(default))
        };
        let timeout = seconds(control.timeout_key, default);
        let poll_interval = seconds("poll_interval", control.poll_interval);
        Self { dry_run, confirmed, wait: wait.then_some(WaitOptions { timeout, poll_interval }) }
    }
}

/// The control keys' part of an action's input schema.
pub(crate) fn control_properties(control: &Control) -> Map<String, Value> {
    let mut keys = Map::new();
    keys.insert("dry_run".to_owned(), json!({"type": "boolean", "description": "Show the plan, send nothing."}));
    if control.confirm {
        keys.insert("confirm".to_owned(), json!({"type": "boolean", "description": "Must be true to do it."}));
    }
    keys.insert(
        "wait".to_owned(),
        json!({"type": "boolean", "default": control.wait, "description": "Wait for the task to end."}),
    );
    let mut timeout =
        json!({"type": "number", "minimum": 0, "maximum": MAX_SECONDS, "description": "Seconds to wait."});
    if control.timeout_listed {
        timeout["default"] = control.timeout.into();
    }
    keys.insert(control.timeout_key.to_owned(), timeout);
    keys.insert(
        "poll_interval".to_owned(),
        json!({"type": "number", "minimum": 0.1, "maximum": 300, "default": control.poll_interval, "description": "Seconds between looks."}),
    );
    keys
}

/// A week: no task is waited for longer in one call.
pub const MAX_SECONDS: u32 = 7 * 24 * 3600;

fn parse<T: DeserializeOwned>(args: Map<String, Value>) -> Result<T> {
    serde_json::from_value(Value::Object(args)).map_err(|e| Error::bad_argument(e.to_string()))
}

fn scope(cx: &Cx<'_>) -> Scope {
    Scope {
        tool: cx.entry.name,
        api: cx.entry.api,
        progress: cx.context.progress.clone(),
        cancel: cx.context.cancel.clone(),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::{
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
        let cx = Cx { entry, client: &client, policy: &Policy::default(), context: &context };
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

    #[test]
    fn a_guest_s_own_time_is_waited_for() {
        let waits = |args: Value| {
            let mut args = args.as_object().cloned().unwrap_or_default();
            Order::take(&Control::new(300).waiting().wait_timeout(), &mut args).wait.map(|w| w.timeout.as_secs())
        };
        assert_eq!(waits(json!({})), Some(300));
        assert_eq!(waits(json!({"timeout": 600})), Some(630));
        assert_eq!(waits(json!({"timeout": 600, "wait_timeout": 5})), Some(5));
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
