//! One older name: a row of a table, how its schema is made of that of the tools behind, and how a call of it becomes
//! calls of those.

use serde_json::{Map, Value, json};

use super::{CLUSTER, Listed, answer, entry, parse, several};
use crate::{
    app::App,
    arguments,
    call::{self, Answer, Context},
    confirm::Mode,
    error::{Error, Kind, Result},
    policy::Effect,
    pve::{GuestKind, GuestRef, Reader, Scope, Seen, Want},
    schema,
    tool::Entry,
};

/// An older name and what it stands for.
pub struct Alias {
    pub name: &'static str,
    pub title: &'static str,
    pub description: &'static str,
    /// What it may call. Without `work` it is the first.
    pub to: &'static [Target],
    pub arguments: &'static [Argument],
    /// Arguments of the tool behind that are what they are (JSON), whatever the caller says.
    pub fixed: &'static [(&'static str, &'static str)],
    /// Where new names for arguments are not enough.
    pub work: Option<Work>,
    /// Loses nothing, though the tool behind could if it were asked otherwise: needs no confirmation.
    pub harmless: bool,
    /// A question and the arguments (JSON) that answer it on the simulated cluster.
    pub example: (&'static str, &'static str),
}

/// Makes the calls of what was given.
pub type Work = fn(Given) -> Result<Vec<Call>>;

/// A tool, or two that do the same to the two kinds of guests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    Tool(&'static str),
    Guest { vm: &'static str, container: &'static str },
}

impl Target {
    /// The names of its tools.
    pub fn tools(self) -> impl Iterator<Item = &'static str> {
        let (first, second) = match self {
            Self::Tool(tool) => (tool, None),
            Self::Guest { vm, container } => (vm, Some(container)),
        };
        std::iter::once(first).chain(second)
    }
}

/// One argument, by its older name.
pub struct Argument {
    pub name: &'static str,
    pub to: To,
    /// Its type, where that is not the one of the tool's.
    pub kind: Option<&'static str>,
    pub needed: bool,
    /// What it is where it is left out (JSON).
    pub default: Option<&'static str>,
    /// What is said of it, where that is not what the tool says.
    pub words: &'static str,
}

/// What an argument is to the tool behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum To {
    /// Its argument of this name.
    Own(&'static str),
    /// This one among its `params`.
    Param(&'static str),
    /// Something that `work` makes use of.
    Work,
    /// Taken because older callers send it, and without effect.
    Nothing,
}

impl Argument {
    /// With the same name here and there.
    pub const fn same(name: &'static str) -> Self {
        Self::own(name, name)
    }
    pub const fn own(name: &'static str, own: &'static str) -> Self {
        Self { name, to: To::Own(own), kind: None, needed: false, default: None, words: "" }
    }
    pub const fn param(name: &'static str, kind: &'static str) -> Self {
        Self { to: To::Param(name), kind: Some(kind), ..Self::same(name) }
    }
    pub const fn work(name: &'static str, kind: &'static str) -> Self {
        Self { to: To::Work, kind: Some(kind), ..Self::same(name) }
    }
    pub const fn nothing(name: &'static str, kind: &'static str) -> Self {
        Self { to: To::Nothing, kind: Some(kind), words: "No effect here.", ..Self::same(name) }
    }
    pub const fn kind(self, kind: &'static str) -> Self {
        Self { kind: Some(kind), ..self }
    }
    pub const fn needed(self) -> Self {
        Self { needed: true, ..self }
    }
    pub const fn default(self, json: &'static str) -> Self {
        Self { default: Some(json), ..self }
    }
    pub const fn words(self, words: &'static str) -> Self {
        Self { words, ..self }
    }
}

/// What a call brought along: the arguments by the names of the tool behind, and those that only `work` knows.
pub struct Given {
    pub to: &'static [Target],
    pub args: Map<String, Value>,
    pub more: Map<String, Value>,
}

impl Given {
    /// Takes off an argument that only `work` knows.
    pub fn take(&mut self, name: &str) -> Option<Value> {
        self.more.remove(name)
    }
    pub fn take_text(&mut self, name: &str) -> Option<String> {
        self.take(name).and_then(|value| value.as_str().map(str::to_owned))
    }
    pub fn take_flag(&mut self, name: &str) -> bool {
        self.take(name).and_then(|value| value.as_bool()).unwrap_or_default()
    }
    /// The call of the nth target with these arguments.
    pub fn call(self, nth: usize) -> Call {
        Call { to: self.to[nth], args: self.args }
    }
}

/// A call of a tool of ours.
#[derive(Clone)]
pub struct Call {
    pub to: Target,
    pub args: Map<String, Value>,
}

/// The keys about the call itself, which every tool that changes something takes: they keep their names, but for the time
/// of waiting, which some tools call otherwise.
const CONTROL: &[&str] =
    &["dry_run", "confirm", "snapshot_first", "wait", "timeout", "poll_interval", crate::action::STOPS_TASK];
const TIMEOUT: &str = "timeout";

impl Alias {
    pub const fn new(name: &'static str, title: &'static str, description: &'static str) -> Self {
        Self {
            name,
            title,
            description,
            to: &[],
            arguments: &[],
            fixed: &[],
            work: None,
            harmless: false,
            example: ("", ""),
        }
    }
    pub const fn to(self, to: &'static [Target]) -> Self {
        Self { to, ..self }
    }
    pub const fn takes(self, arguments: &'static [Argument]) -> Self {
        Self { arguments, ..self }
    }
    pub const fn fixed(self, fixed: &'static [(&'static str, &'static str)]) -> Self {
        Self { fixed, ..self }
    }
    pub const fn work(self, work: Work) -> Self {
        Self { work: Some(work), ..self }
    }
    pub const fn harmless(self) -> Self {
        Self { harmless: true, ..self }
    }
    pub const fn example(self, question: &'static str, arguments: &'static str) -> Self {
        Self { example: (question, arguments), ..self }
    }

    /// The tools behind.
    pub fn entries(&self) -> impl Iterator<Item = &'static Entry> {
        let names = self.to.iter().flat_map(|target| target.tools());
        names.filter_map(entry)
    }

    /// Whether at least one of the tools behind can be called.
    pub fn can_call(&self, app: &App) -> bool {
        self.entries().any(|entry| app.can_call(entry))
    }

    /// What a caller is told of it; nothing, where none of the tools behind can be called.
    pub fn listed(&'static self, app: &App) -> Option<Listed> {
        let callable: Vec<_> = self.entries().filter(|entry| app.can_call(entry)).collect();
        let first = *callable.first()?;
        Some(Listed {
            name: self.name,
            title: self.title,
            description: self.description.to_owned(),
            input: self.listed_schema(app),
            effect: callable.iter().map(|entry| entry.effect).max().unwrap_or(Effect::Read),
            destroys: !self.harmless && callable.iter().any(|entry| entry.may_destroy()),
            entry: first,
        })
    }

    /// As a model is given it: the older arguments, and of the keys about the call those that matter before it.
    fn listed_schema(&self, app: &App) -> Map<String, Value> {
        let mut schema = schema::listed(self.schema(), None, true);
        let Some(properties) = schema.get_mut("properties").and_then(Value::as_object_mut) else { return schema };
        for entry in self.entries().filter(|entry| app.can_call(entry)) {
            let ours = app.listed(entry);
            let taken = |key: &str| match key {
                "dry_run" => true,
                "confirm" => !self.at_once(app, entry),
                "snapshot_first" => entry.may_destroy() && !self.harmless,
                _ => key == CLUSTER,
            };
            for (key, property) in ours.get("properties").and_then(Value::as_object).into_iter().flatten() {
                if taken(key) {
                    properties.entry(key).or_insert_with(|| property.clone());
                }
            }
        }
        schema
    }

    /// Of the older arguments alone: what a call's are held to.
    pub fn schema(&self) -> Map<String, Value> {
        let ours: Vec<_> = self.entries().map(|entry| entry.input_schema(&[])).collect();
        let property = |own: &str| ours.iter().find_map(|schema| schema.get("properties")?.get(own));
        let mut properties = Map::new();
        for argument in self.arguments {
            let own = match argument.to {
                To::Own(own) => property(own).and_then(Value::as_object),
                _ => None,
            };
            let mut schema = own.cloned().unwrap_or_default();
            schema.shift_remove("default");
            if let Some(kind) = argument.kind {
                schema = Map::from_iter([("type".to_owned(), kind.into())]);
            }
            if let Some(default) = argument.left_out() {
                schema.insert("default".to_owned(), default);
            }
            if !argument.words.is_empty() {
                schema.insert("description".to_owned(), argument.words.into());
            }
            properties.insert(argument.name.to_owned(), schema.into());
        }
        let needed: Vec<_> = self.arguments.iter().filter(|a| a.needed).map(|a| a.name).collect();
        let schema = json!({"type": "object", "properties": properties, "required": needed});
        schema.as_object().cloned().unwrap_or_default()
    }

    /// Whether it is done at once though our own tool would ask: the older server never asked, nothing is lost by it, and
    /// the operator has not said otherwise.
    fn at_once(&self, app: &App, entry: &Entry) -> bool {
        let loses = entry.may_destroy() && !self.harmless;
        !loses && app.confirm().mode() == Mode::Flag && !app.confirm().wants(entry.name)
    }

    /// Calls the tools behind.
    pub(super) async fn call(&self, app: &App, args: Map<String, Value>, context: &Context) -> Result<Answer> {
        let (control, args) = self.apart(args);
        let given = self.given(arguments::check(&self.schema(), args)?);
        let calls = match self.work {
            Some(work) => work(given)?,
            None => vec![given.call(0)],
        };
        let mut made = Vec::new();
        for call in calls {
            let mut args = call.args;
            if let Some(cluster) = control.get(CLUSTER) {
                args.insert(CLUSTER.to_owned(), cluster.clone());
            }
            let entry = choose(app, call.to, &args, context).await.map_err(|e| self.in_its_words(e))?;
            self.complete(app, entry, &control, &mut args);
            made.push((entry, args));
        }
        let answer = match <[_; 1]>::try_from(made) {
            Ok([(entry, args)]) => answer::of(app, entry, args, context).await,
            Err(made) => several::run(app, made, context).await,
        };
        answer.map_err(|e| self.in_its_words(e))
    }

    /// The keys about the call, and the arguments.
    fn apart(&self, args: Map<String, Value>) -> (Map<String, Value>, Map<String, Value>) {
        let changes = self.entries().any(|entry| entry.control.is_some());
        let own = |key: &str| self.arguments.iter().any(|argument| argument.name == key);
        args.into_iter()
            .partition(|(key, _)| key == CLUSTER || (changes && CONTROL.contains(&key.as_str()) && !own(key)))
    }

    /// By the names of the tool behind.
    fn given(&self, mut args: Map<String, Value>) -> Given {
        let mut given = Given { to: self.to, args: Map::new(), more: Map::new() };
        let mut params = Map::new();
        for argument in self.arguments {
            let Some(value) = args.remove(argument.name).or_else(|| argument.left_out()) else { continue };
            match argument.to {
                To::Own(own) => given.args.insert(own.to_owned(), value),
                To::Param(key) => params.insert(key.to_owned(), value),
                To::Work => given.more.insert(argument.name.to_owned(), value),
                To::Nothing => None,
            };
        }
        if !params.is_empty() {
            given.args.insert("params".to_owned(), params.into());
        }
        given.args.extend(self.fixed.iter().map(|(key, json)| ((*key).to_owned(), parse(json))));
        given
    }

    /// Adds the keys about the call, by this tool's names for them.
    fn complete(&self, app: &App, entry: &Entry, control: &Map<String, Value>, args: &mut Map<String, Value>) {
        let Some(own) = &entry.control else { return };
        for (key, value) in control.iter().filter(|(key, _)| *key != CLUSTER) {
            let key = if key == TIMEOUT { own.timeout_key } else { key };
            args.insert(key.to_owned(), value.clone());
        }
        if own.confirm && self.at_once(app, entry) {
            args.entry("confirm").or_insert(Value::Bool(true));
        }
    }

    /// An error about an argument, with the older name for it.
    fn in_its_words(&self, error: Error) -> Error {
        if error.kind() != Kind::BadArgument {
            return error;
        }
        let renamed = self.arguments.iter().filter_map(|argument| match argument.to {
            To::Own(own) if own != argument.name => Some((own, argument.name)),
            _ => None,
        });
        renamed.fold(error, |error, (own, name)| {
            error.reworded(|text| text.replace(&format!("{own}:"), &format!("{name}:")))
        })
    }
}

impl Argument {
    /// What it is where it is left out.
    fn left_out(&self) -> Option<Value> {
        self.default.map(parse)
    }
}

/// The tool that is meant: where there is one for each kind of guest, by the listing that all calls share.
async fn choose(app: &App, to: Target, args: &Map<String, Value>, context: &Context) -> Result<&'static Entry> {
    let tool = match to {
        Target::Tool(tool) => tool,
        Target::Guest { vm, container } => match kind(app, args, context).await? {
            GuestKind::Qemu => vm,
            GuestKind::Lxc => container,
        },
    };
    entry(tool).ok_or_else(|| Error::internal(format!("no tool {tool}")))
}

async fn kind(app: &App, args: &Map<String, Value>, context: &Context) -> Result<GuestKind> {
    let mut args = arguments::check(&guest_schema(), guest_only(args))?;
    let cluster = app.cluster(&mut args)?;
    let who: GuestRef = call::parse(args)?;
    let scope = Scope {
        tool: "finding the guest",
        api: &[],
        also: &[],
        progress: context.progress.clone(),
        cancel: context.cancel.clone(),
        seen: Seen::default(),
    };
    Ok(Reader::new(&cluster.client, &scope).guest(&who, Want::Any).await?.kind)
}

/// The arguments by which a guest is chosen, and the cluster.
fn guest_schema() -> Map<String, Value> {
    let mut schema = schema::of_input::<GuestRef>();
    if let Some(properties) = schema.get_mut("properties").and_then(Value::as_object_mut) {
        properties.insert(CLUSTER.to_owned(), json!({"type": "string"}));
    }
    schema
}

fn guest_only(args: &Map<String, Value>) -> Map<String, Value> {
    let chosen = args.iter().filter(|(key, _)| ["vmid", "name", "node", CLUSTER].contains(&key.as_str()));
    chosen.map(|(key, value)| (key.clone(), value.clone())).collect()
}
