//! What a tool is: one struct whose doc comment is the description, whose fields are the parameters, and which either
//! reads ([`Query`]) or plans ([`Action`]). Nothing here sends anything.

use std::{future::Future, pin::Pin};

use schemars::generate::SchemaSettings;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

pub use schemars::JsonSchema;
pub use serde::{Deserialize, Serialize};

use crate::{
    call::{self, Answer, Cx},
    config::ALL_CLUSTERS,
    everywhere,
};
pub use crate::{
    error::{Error, Result},
    plan::{Outcome, Plan},
    policy::Effect,
    pve::{Guest, GuestRef, Reader, Request, WaitOptions, Want},
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

/// A tool that changes something: it returns the plan, and the one path ([`crate::call`]) runs it.
pub trait Action: Tool {
    const EFFECT: Effect;
    const CONTROL: Control;
    /// Called again when another took the VMID meanwhile, so it must not depend on earlier calls.
    ///
    /// # Errors
    /// Bad arguments, and whatever Proxmox refuses to show.
    fn plan(&self, pve: &Reader<'_>) -> impl Future<Output = Result<Plan>> + Send;

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

    /// What to do next, where the result shows that what was begun goes on: the outcome is then `running`.
    fn goes_on(&self, _plan: &Plan, _result: &Value) -> Option<String> {
        None
    }
}

/// What an action's requests were answered.
#[derive(Debug, Clone, Copy)]
pub struct Done<'a> {
    /// The `data` of each request, in order; a UPID where it began a task.
    pub answers: &'a [Value],
    /// How long the caller waits, where it waits.
    pub wait: Option<WaitOptions>,
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
    /// Without a default in the schema.
    pub const fn unlisted_timeout(self) -> Self {
        Self { timeout_listed: false, ..self }
    }
}

type Run = for<'a> fn(Cx<'a>, Map<String, Value>) -> Pin<Box<dyn Future<Output = Result<Answer>> + Send + 'a>>;

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
    input: fn() -> Map<String, Value>,
    output: fn() -> Map<String, Value>,
    pub(crate) run: Run,
}

impl Entry {
    pub const fn query<T: Query>() -> Self {
        Self {
            example: T::EXAMPLE,
            many: false,
            everywhere: false,
            name: T::NAME,
            title: T::TITLE,
            effect: Effect::Read,
            api: T::API,
            control: None,
            input: schema::<T>,
            output: output_schema::<T::Output>,
            run: |cx, args| Box::pin(call::query::<T>(cx, args)),
        }
    }
    /// A query whose rows can be those of all clusters at once.
    pub const fn list<T: Query>() -> Self {
        Self { many: true, ..Self::query::<T>() }
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
            name: T::NAME,
            title: T::TITLE,
            effect: T::EFFECT,
            api: T::API,
            control: Some(T::CONTROL),
            input: schema::<T>,
            output: output_schema::<Outcome>,
            run: |cx, args| Box::pin(call::action::<T>(cx, args)),
        }
    }

    /// What the model reads.
    pub fn description(&self) -> String {
        (self.input)().get("description").and_then(Value::as_str).unwrap_or_default().replace('\n', " ")
    }

    /// JSON Schema of the arguments: the tool's own, the control keys, and `cluster` where there are several.
    pub fn input_schema(&self, clusters: &[&str]) -> Map<String, Value> {
        let mut schema = (self.input)();
        schema.remove("description");
        let properties = schema.entry("properties").or_insert_with(|| Value::Object(Map::new()));
        if let Some(properties) = properties.as_object_mut() {
            if let Some(control) = &self.control {
                properties.extend(call::control_properties(control));
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
        let mut schema = self.input_schema(clusters);
        if let Some(properties) = schema.get_mut("properties").and_then(Value::as_object_mut) {
            for (key, words) in SHARED {
                let Some(listed) = properties.get_mut(*key).and_then(Value::as_object_mut) else { continue };
                if listed.get("description").is_some_and(|description| description == words) {
                    listed.remove("description");
                    // A guest can always be told from others by its VMID.
                    if *key == "node" && !core {
                        properties.remove(*key);
                    }
                }
            }
            if let Some(control) = &self.control {
                for key in call::control_properties(control).keys() {
                    let hidden = match key.as_str() {
                        "dry_run" | "confirm" => false,
                        // Where it waits unasked there is little to say.
                        "wait" => control.instant || (control.wait && !control.polled),
                        _ => !control.polled,
                    };
                    if hidden {
                        properties.remove(key);
                    } else if let Some(property) = properties.get_mut(key).and_then(Value::as_object_mut) {
                        property.remove("description");
                    }
                }
            }
        }
        let mut schema = Value::Object(schema);
        slim(&mut schema);
        match schema {
            Value::Object(schema) => schema,
            _ => Map::new(),
        }
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
        let mut schema = Value::Object(self.output_schema_for(clusters));
        wordless(&mut schema);
        match schema {
            Value::Object(schema) => schema,
            _ => Map::new(),
        }
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

/// What many tools take alike, and what is said of it there.
const SHARED: &[(&str, &str)] = &[
    ("vmid", "VMID. Give this or `name`."),
    ("name", "Exact name."),
    ("node", "Its node: needed only where guests share a name."),
    ("limit", "Most rows to return."),
    ("cursor", "`next_cursor` of the page before."),
];

/// Drops every description.
fn wordless(value: &mut Value) {
    let Value::Object(map) = value else { return };
    map.remove("description");
    for (key, value) in map {
        match (key.as_str(), value) {
            ("properties", Value::Object(fields)) => fields.values_mut().for_each(wordless),
            ("items" | "additionalProperties", value) => wordless(value),
            ("anyOf" | "oneOf", Value::Array(choices)) => choices.iter_mut().for_each(wordless),
            _ => {}
        }
    }
}

/// Drops what a model can do without.
fn slim(value: &mut Value) {
    let Value::Object(map) = value else { return };
    for key in
        ["minimum", "maximum", "minLength", "maxLength", "minItems", "maxItems", "pattern", "additionalProperties"]
    {
        map.remove(key);
    }
    let empty = |v: &Value| {
        *v == Value::Bool(false) || v == "" || *v == Value::Array(vec![]) || *v == Value::Object(Map::new())
    };
    if map.get("default").is_some_and(empty) {
        map.remove("default");
    }
    for (key, value) in map {
        match (key.as_str(), value) {
            ("properties", Value::Object(fields)) => fields.values_mut().for_each(slim),
            ("items", value) => slim(value),
            ("anyOf" | "oneOf", Value::Array(choices)) => choices.iter_mut().for_each(slim),
            _ => {}
        }
    }
}

fn schema<T: JsonSchema>() -> Map<String, Value> {
    generate::<T>(SchemaSettings::draft2020_12())
}

/// For results: what is written, not what would be read (an `Option` that is skipped when empty is not required).
fn output_schema<T: JsonSchema>() -> Map<String, Value> {
    let mut schema = generate::<T>(SchemaSettings::draft2020_12().for_serialize());
    schema.remove("description");
    schema
}

fn generate<T: JsonSchema>(settings: SchemaSettings) -> Map<String, Value> {
    let mut value =
        settings.with(|s| s.inline_subschemas = true).into_generator().into_root_schema_for::<T>().to_value();
    portable(&mut value);
    match value {
        Value::Object(mut schema) => {
            schema.remove("$schema");
            schema.remove("title");
            schema
        }
        _ => Map::new(),
    }
}

/// The words that such choices are between.
fn words(choices: &[Value]) -> Option<Value> {
    let word = |choice: &Value| match (&choice["const"], &choice["enum"]) {
        (Value::String(word), _) => Some(vec![Value::from(word.as_str())]),
        (_, Value::Array(words)) => Some(words.clone()),
        _ => None,
    };
    choices.iter().map(word).collect::<Option<Vec<_>>>().map(|words| words.concat().into())
}

/// Keeps to what every client understands: no integer formats (Ajv prints "unknown format"), no `["string", "null"]`
/// (Gemini's subset has no such thing; what may be null may be left out, and results never hold null).
fn portable(value: &mut Value) {
    match value {
        Value::Object(map) => {
            map.remove("format");
            if map.get("default").is_some_and(Value::is_null) {
                map.remove("default");
            }
            if let Some(Value::Array(types)) = map.get_mut("type") {
                types.retain(|t| t != "null");
                if let [one] = types.as_slice() {
                    let one = one.clone();
                    map.insert("type".to_owned(), one);
                }
            }
            // An optional enumeration is written as a choice between it and null.
            if let Some(Value::Array(choices)) = map.get_mut("anyOf") {
                choices.retain(|c| c["type"] != "null");
                if let [Value::Object(one)] = choices.as_slice() {
                    let mut one = one.clone();
                    map.remove("anyOf");
                    one.append(map);
                    *map = one;
                }
            }
            // An enumeration whose values have descriptions is written as a choice between constants.
            if let Some(words) = map.get("oneOf").and_then(Value::as_array).and_then(|choices| words(choices)) {
                map.remove("oneOf");
                map.insert("type".to_owned(), "string".into());
                map.insert("enum".to_owned(), words);
            }
            if let Some(Value::Array(all)) = map.get_mut("enum") {
                all.retain(|v| !v.is_null());
            }
            for (key, value) in map {
                match (key.as_str(), value) {
                    // Anything at all: some clients know no schema that is a mere `true`.
                    ("items", items @ Value::Bool(true)) => *items = Value::Object(Map::new()),
                    // The keys in here are names of fields (one may be called `format`), not words of the schema.
                    ("properties", Value::Object(fields)) => fields.values_mut().for_each(portable),
                    (_, value) => portable(value),
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(portable),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_of_all_is_what_is_said_of_each() {
        let (guest, page) = (schema::<GuestRef>(), schema::<crate::tools::Page>());
        for (key, words) in SHARED {
            let said = [&guest, &page].iter().find_map(|schema| schema["properties"].get(*key));
            assert_eq!(said.map(|property| &property["description"]), Some(&Value::from(*words)), "{key}");
        }
    }
}
