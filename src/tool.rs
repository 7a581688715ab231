//! What a tool is: one struct whose doc comment is the description, whose fields are the parameters, and which either
//! reads ([`Query`]) or plans ([`Action`]). Nothing here sends anything.

use std::{future::Future, pin::Pin};

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

pub use schemars::JsonSchema;
pub use serde::{Deserialize, Serialize};

use crate::{
    action, arguments,
    call::{self, Answer, Cx},
    config::ALL_CLUSTERS,
    everywhere,
    lanes::Report,
    schema,
};
pub use crate::{
    error::{Error, Result},
    plan::{Outcome, Plan, Undo},
    policy::Effect,
    pve::{Guest, GuestRef, Reader, Request, WaitOptions, Want},
    safety_snapshot::Before,
};

/// Parameters that are also the tool. The struct's doc comment is what the model reads: first sentence what, second when.
pub trait Tool: DeserializeOwned + JsonSchema + Send + Sync + 'static {
    const NAME: &'static str;
    const TITLE: &'static str;
    /// The endpoints it may touch, as the API viewer prints them; `{type}` stands for `qemu` and `lxc`. Anything else
    /// is refused before it is sent.
    const API: &'static [&'static str];
    /// What somebody might ask, and the arguments (JSON) that answer it on the simulated cluster: shown in `tools.md`, run
    /// by the tests.
    const EXAMPLE: (&'static str, &'static str);
}

/// A tool that reads.
pub trait Query: Tool {
    type Output: Serialize + JsonSchema + Send;
    /// # Errors
    /// Bad arguments, and whatever Proxmox refuses.
    fn query(&self, pve: &Reader<'_>) -> impl Future<Output = Result<Self::Output>> + Send;
}

/// A query whose answers of several clusters become one in a way of its own, not row by row.
pub trait Together: Query {
    /// What each cluster is asked for that.
    fn of_each(args: &mut Map<String, Value>);
    /// Makes one answer of the clusters'; `args` are the call's own.
    ///
    /// # Errors
    /// Answers that do not fit together.
    fn together(args: Map<String, Value>, answers: Vec<(&str, Value)>) -> Result<Self::Output>;
}

/// [`Together`], as the registry has it.
#[derive(Clone, Copy)]
pub(crate) struct Joining {
    pub of_each: fn(&mut Map<String, Value>),
    pub join: Join,
}

type Join = fn(Map<String, Value>, Vec<(&str, Value)>) -> Result<Answer>;

/// A tool that changes something: it returns the plan, and the one path ([`crate::call`]) runs it.
pub trait Action: Tool {
    const EFFECT: Effect;
    const CONTROL: Control;
    /// Called again when another took the VMID meanwhile, so it must not depend on earlier calls.
    ///
    /// # Errors
    /// Bad arguments, and whatever Proxmox refuses to show.
    fn plan(&self, pve: &Reader<'_>) -> impl Future<Output = Result<Plan>> + Send;

    /// Whether somebody has to be there when its task has ended: where `result`, `undo` or `goes_on` is written. The task of
    /// any other can be left to a caller who follows it by itself.
    const LOOKS_AFTER: bool = false;

    /// Reads what came of it, once every request was answered and waited for: becomes the outcome's `result`. Most actions
    /// have nothing to add.
    ///
    /// # Errors
    /// What cannot be read; what was done stays done, and the error says so.
    fn result(
        &self,
        _pve: &Reader<'_>,
        _plan: &Plan,
        _done: Done<'_>,
    ) -> impl Future<Output = Result<Option<Value>>> + Send {
        async { Ok(None) }
    }

    /// How it is taken back, where only the answers or the result tell (the file that a backup became); else the plan's.
    fn undo(&self, _plan: &Plan, _done: Done<'_>, _result: Option<&Value>) -> Option<Undo> {
        None
    }

    /// What to do next, where the result shows that what was begun goes on: the outcome is then `running`.
    fn goes_on(&self, _plan: &Plan, _result: &Value) -> Option<String> {
        None
    }
}

/// What an action's requests were answered.
#[derive(Clone, Copy)]
pub struct Done<'a> {
    /// The `data` of each request, in order; a UPID where it began a task.
    pub answers: &'a [Value],
    /// How long the caller waits, where it waits.
    pub wait: Option<WaitOptions>,
    /// What came of the plan's lanes, where it had any.
    pub lanes: Option<&'a Report>,
}

/// How an action is confirmed and waited for when the call does not say: the reference's defaults.
#[derive(Debug, Clone, Copy)]
pub struct Control {
    /// Demands `confirm: true`.
    pub confirm: bool,
    pub wait: bool,
    /// Seconds to wait for the task.
    pub timeout: u64,
    /// The waiting's own key, where `timeout` is the guest's.
    pub timeout_key: &'static str,
    /// Its default stands in the schema; not where the reference has none.
    pub timeout_listed: bool,
    /// Seconds between looks at a long task.
    pub poll_interval: f64,
    /// How long and how often to look are listed for models, which seldom have a use for it.
    pub polled: bool,
    /// Proxmox answers when it is done: the keys about waiting are taken, and mean nothing.
    pub instant: bool,
    /// Takes `snapshot_first`.
    pub snapshot_first: Option<Before>,
}

impl Control {
    pub const fn new(timeout: u64) -> Self {
        Self {
            confirm: false,
            wait: false,
            timeout,
            timeout_key: "timeout",
            timeout_listed: true,
            poll_interval: 2.0,
            polled: false,
            instant: false,
            snapshot_first: None,
        }
    }
    /// For requests that begin no task.
    pub const fn instant() -> Self {
        Self { instant: true, ..Self::new(600) }
    }
    pub const fn confirmed(self) -> Self {
        Self { confirm: true, ..self }
    }
    pub const fn waiting(self) -> Self {
        Self { wait: true, ..self }
    }
    /// For tools whose `timeout` is a parameter of Proxmox's.
    pub const fn wait_timeout(self) -> Self {
        Self { timeout_key: "wait_timeout", ..self }
    }
    /// Lists `timeout` and `poll_interval`, as the reference does for some.
    pub const fn polled(self) -> Self {
        Self { polled: true, ..self }
    }
    /// Takes `snapshot_first`, before this.
    pub const fn snapshot_first(self, what: Before) -> Self {
        Self { snapshot_first: Some(what), ..self }
    }
    /// Without a default in the schema.
    pub const fn unlisted_timeout(self) -> Self {
        Self { timeout_listed: false, ..self }
    }
}

pub(crate) type Run =
    for<'a> fn(Cx<'a>, Map<String, Value>) -> Pin<Box<dyn Future<Output = Result<Answer>> + Send + 'a>>;

/// Makes an action's plan, from arguments that were checked.
pub(crate) type Planned =
    for<'a> fn(Reader<'a>, Map<String, Value>) -> Pin<Box<dyn Future<Output = Result<Plan>> + Send + 'a>>;

/// A tool as every face sees it.
#[derive(Clone, Copy)]
pub struct Entry {
    pub name: &'static str,
    pub title: &'static str,
    pub effect: Effect,
    pub api: &'static [&'static str],
    pub control: Option<Control>,
    /// A question and the arguments that answer it.
    pub example: (&'static str, &'static str),
    /// Takes `cluster: "all"`.
    pub many: bool,
    /// Asks every cluster, whatever the call says.
    pub everywhere: bool,
    /// Needs the audit log; not there without one.
    pub audited: bool,
    /// Something may be lost by it although its own effect is no deletion: it stands for tools some of which delete.
    pub may_lose: bool,
    pub(crate) joining: Option<Joining>,
    input: fn() -> Map<String, Value>,
    output: fn() -> Map<String, Value>,
    pub(crate) run: Run,
    /// Of an action: for those that do the same to many.
    planned: Option<Planned>,
}

impl Entry {
    pub const fn query<T: Query>() -> Self {
        Self {
            example: T::EXAMPLE,
            many: false,
            everywhere: false,
            audited: false,
            may_lose: false,
            joining: None,
            name: T::NAME,
            title: T::TITLE,
            effect: Effect::Read,
            api: T::API,
            control: None,
            input: schema::of_input::<T>,
            output: schema::of_output::<T::Output>,
            run: |cx, args| Box::pin(call::query::<T>(cx, args)),
            planned: None,
        }
    }
    /// A query whose rows can be those of all clusters at once.
    pub const fn list<T: Query>() -> Self {
        Self { many: true, ..Self::query::<T>() }
    }
    /// A list whose parts are put together in a way of its own.
    pub const fn together<T: Together>() -> Self {
        let join = |args, answers: Vec<(&str, Value)>| Answer::new(&T::together(args, answers)?);
        Self { joining: Some(Joining { of_each: T::of_each, join }), ..Self::list::<T>() }
    }
    /// A query that always asks all clusters.
    pub const fn everywhere<T: Query>() -> Self {
        Self { everywhere: true, ..Self::query::<T>() }
    }
    pub const fn action<T: Action>() -> Self {
        Self {
            example: T::EXAMPLE,
            many: false,
            everywhere: false,
            audited: false,
            may_lose: false,
            joining: None,
            name: T::NAME,
            title: T::TITLE,
            effect: T::EFFECT,
            api: T::API,
            control: Some(T::CONTROL),
            input: schema::of_input::<T>,
            output: schema::of_output::<Outcome>,
            run: |cx, args| Box::pin(action::run::<T>(cx, args)),
            planned: Some(|reader, args| Box::pin(async move { call::parse::<T>(args)?.plan(&reader).await })),
        }
    }
    /// An action that stands for others, some of which delete or run commands.
    pub const fn of_many<T: Action>() -> Self {
        Self { may_lose: true, ..Self::action::<T>() }
    }

    /// A tool that runs another one by what is on record of it; that one is what is planned, judged and confirmed. `T` has
    /// the arguments, but for those that both take.
    pub const fn by_record<T: Tool>(effect: Effect, control: Control, run: Run) -> Self {
        Self {
            example: T::EXAMPLE,
            many: false,
            everywhere: false,
            audited: true,
            may_lose: true,
            joining: None,
            name: T::NAME,
            title: T::TITLE,
            effect,
            api: T::API,
            control: Some(control),
            input: schema::of_input::<T>,
            output: schema::of_output::<Outcome>,
            run,
            planned: None,
        }
    }

    /// The plan that this action would make of these arguments: how a tool that does it to many guests comes by the steps for
    /// each. Its requests have to be in that tool's own list, too.
    ///
    /// # Errors
    /// Bad arguments, and whatever Proxmox refuses to show; `Internal` for what is no action.
    pub async fn plan(&self, pve: &Reader<'_>, args: Map<String, Value>) -> Result<Plan> {
        let Some(planned) = self.planned else {
            return Err(Error::internal(format!("{} changes nothing", self.name)));
        };
        planned(*pve, arguments::check(&self.own_schema(), args)?).await
    }

    /// JSON Schema of the tool's own arguments.
    pub fn own_schema(&self) -> Map<String, Value> {
        let mut schema = (self.input)();
        schema.remove("description");
        schema
    }

    /// Whether something may be lost by it.
    pub fn may_destroy(&self) -> bool {
        self.effect >= Effect::Destroy || self.may_lose
    }

    /// What the model reads.
    pub fn description(&self) -> String {
        (self.input)().get("description").and_then(Value::as_str).unwrap_or_default().replace('\n', " ")
    }

    /// JSON Schema of the arguments: the tool's own, the control keys, and `cluster` where there are several.
    pub fn input_schema(&self, clusters: &[&str]) -> Map<String, Value> {
        let mut schema = self.own_schema();
        let properties = schema.entry("properties").or_insert_with(|| Value::Object(Map::new()));
        if let Some(properties) = properties.as_object_mut() {
            if let Some(control) = &self.control {
                properties.extend(action::control_properties(control));
            }
            if clusters.len() > 1 && !self.everywhere {
                let all = self.many.then_some(ALL_CLUSTERS);
                let names: Vec<&str> = clusters.iter().copied().chain(all).collect();
                properties.insert(
                    "cluster".to_owned(),
                    serde_json::json!({"type": "string", "enum": names, "description": "Cluster; default the first."}),
                );
            }
        }
        schema
    }

    /// The input schema as it is listed for a model, which pays for every byte on every turn: without bounds (a value
    /// outside them is answered with what was expected) and without what is the same for all tools and stands in the
    /// server's instructions. What is not listed is taken all the same.
    pub fn listed_schema(&self, clusters: &[&str]) -> Map<String, Value> {
        let core = crate::tools::CORE.contains(&self.name);
        schema::listed(self.input_schema(clusters), self.control.as_ref(), core)
    }

    /// JSON Schema of `structuredContent`, as one cluster answers.
    pub fn output_schema(&self) -> Map<String, Value> {
        let mut schema = (self.output)();
        if self.everywhere {
            everywhere::widen(&mut schema);
        }
        schema
    }

    /// As [`Entry::output_schema_for`], without the words: clients check results against it, and some show it to the model.
    pub fn listed_output_schema(&self, clusters: &[&str]) -> Map<String, Value> {
        schema::wordless(self.output_schema_for(clusters))
    }

    /// JSON Schema of `structuredContent` where these clusters are configured.
    pub fn output_schema_for(&self, clusters: &[&str]) -> Map<String, Value> {
        let mut schema = self.output_schema();
        if self.many && clusters.len() > 1 {
            everywhere::widen(&mut schema);
        }
        schema
    }
}
