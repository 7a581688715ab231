//! How a call by an older name becomes calls of the tools behind.

use serde_json::{Map, Value, json};

use super::{
    CLUSTER,
    alias::{Alias, Given, Target, To},
    answer, entry, parse, several,
};
use crate::{
    app::App,
    arguments,
    call::{self, Answer, Context},
    error::{Error, Kind, Result},
    pve::{GuestKind, GuestRef, Reader, Scope, Seen, Want},
    schema,
    tool::Entry,
};

/// The keys about the call itself, which every tool that changes something takes: they keep their names, but for the time
/// of waiting, which some tools call otherwise.
const CONTROL: &[&str] =
    &["dry_run", "confirm", "snapshot_first", "wait", "timeout", "poll_interval", crate::action::STOPS_TASK];
const TIMEOUT: &str = "timeout";

impl Alias {
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
