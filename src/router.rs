//! The catalogue behind three tools: one finds, one calls what reads, one calls what changes. A model pays for three
//! descriptions instead of all; whatever it calls goes the same path as by its own name, and is judged and recorded by that.

use futures::future::BoxFuture;
use serde_json::{Map, Value, json};

pub use self::search::find;
use crate::{
    app::App,
    call::{self, Answer, Context},
    error::{Error, Result},
    policy::Effect,
    tools,
};

mod search;

/// Which tools a model is told of.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Face {
    /// Each by itself.
    #[default]
    Full,
    /// The three of this file.
    Router,
}

impl Face {
    pub fn parse(text: &str) -> Option<Self> {
        match text.to_ascii_lowercase().as_str() {
            "full" => Some(Self::Full),
            "router" => Some(Self::Router),
            _ => None,
        }
    }
}

/// One of the three.
#[derive(Debug, PartialEq, Eq)]
pub struct Tool {
    pub name: &'static str,
    pub title: &'static str,
    pub description: &'static str,
    /// What it may do at most: hints derive from it.
    pub effect: Effect,
}

const FIND: &str = "proxmox-find-tools";
const READ: &str = "proxmox-read";
const WRITE: &str = "proxmox-write";

pub const TOOLS: &[Tool] = &[
    Tool {
        name: FIND,
        title: "Find tools",
        description: "Find tools for a Proxmox VE cluster by words (\"list vms\", \"snapshot\", \"resize disk\"): their names, arguments, effects and an example of each. Without words, the toolsets.",
        effect: Effect::Read,
    },
    Tool {
        name: READ,
        title: "Read from Proxmox",
        description: "Call a found tool whose effect is read.",
        effect: Effect::Read,
    },
    Tool {
        name: WRITE,
        title: "Change something in Proxmox",
        description: "Call a found tool that changes, deletes or runs something. Its arguments may have dry_run (shows the plan, sends nothing) and confirm.",
        effect: Effect::Destroy,
    },
];

/// How many tools are found where nobody says.
const FEW: usize = 5;
const MANY: u64 = 30;

impl Tool {
    pub fn input_schema(&self) -> Map<String, Value> {
        let (properties, required) = if self.name == FIND {
            let properties = json!({
                "query": {"type": "string", "description": "Words, a tool's name or a toolset's."},
                "limit": {"type": "integer", "minimum": 1, "maximum": MANY, "default": FEW},
            });
            (properties, json!([]))
        } else {
            let properties = json!({
                "name": {"type": "string", "description": "The tool's name."},
                "arguments": {"type": "object", "description": "Its arguments."},
            });
            (properties, json!(["name"]))
        };
        let schema = json!({"type": "object", "properties": properties, "required": required});
        schema.as_object().cloned().unwrap_or_default()
    }
}

/// Those of which a model is told: not the one that changes things, where nothing may be changed.
pub fn listed(app: &App) -> impl Iterator<Item = &'static Tool> {
    let changes = tools::all().any(|entry| entry.effect > Effect::Read && app.can_call(entry));
    TOOLS.iter().filter(move |tool| changes || tool.effect == Effect::Read)
}

/// The one of this name.
pub fn named(name: &str) -> Option<&'static Tool> {
    TOOLS.iter().find(|tool| tool.name == name)
}

/// The tool that is meant, and its arguments: through one of these, or by its own name.
pub fn called<'a>(name: &'a str, args: &'a Map<String, Value>) -> (&'a str, &'a Map<String, Value>) {
    let inner = args.get("name").and_then(Value::as_str).filter(|_| [READ, WRITE].contains(&name));
    match (inner, args.get("arguments").and_then(Value::as_object)) {
        (Some(inner), Some(arguments)) => (inner, arguments),
        (Some(inner), None) => (inner, args),
        (None, _) => (name, args),
    }
}

/// Calls one of the three. Boxed, because the call of the tool that is meant begins where this one did.
///
/// # Errors
/// A tool that is not there or has another effect, and those of the tool that is called.
pub fn run<'a>(
    app: &'a App,
    tool: &'static Tool,
    args: Map<String, Value>,
    context: &'a Context,
) -> BoxFuture<'a, Result<Answer>> {
    Box::pin(route(app, tool, args, context))
}

async fn route(app: &App, tool: &Tool, mut args: Map<String, Value>, context: &Context) -> Result<Answer> {
    unpack(&mut args);
    let mut args = crate::arguments::check(&tool.input_schema(), args)?;
    if tool.name == FIND {
        let query = args.get("query").and_then(Value::as_str).unwrap_or_default();
        let limit = args.get("limit").and_then(Value::as_u64).map_or(FEW, |limit| limit as usize);
        return Answer::new(&find(app, query, limit));
    }
    let name = args.get("name").and_then(Value::as_str).unwrap_or_default().to_owned();
    let Some(entry) = tools::all().find(|entry| entry.name == name) else {
        let error = call::unknown_tool(&name);
        return Err(match error.parts().hint.as_deref() {
            Some(near) if near.starts_with("did you mean") => error,
            _ => error.hint(format!("{FIND} finds tools by words")),
        });
    };
    let reads = entry.effect == Effect::Read;
    if reads != (tool.name == READ) {
        let (does, with) = if reads { ("only reads", READ) } else { ("changes something", WRITE) };
        return Err(Error::bad_argument(format!("name: {name} {does}")).hint(format!("call it with {with}")));
    }
    let inner = match args.remove("arguments") {
        Some(Value::Object(inner)) => inner,
        _ => Map::new(),
    };
    call::run(app, &name, inner, context).await
}

/// Some models write the inner arguments as a text of JSON.
fn unpack(args: &mut Map<String, Value>) {
    if let Some(Value::String(text)) = args.get("arguments")
        && let Ok(Value::Object(inner)) = serde_json::from_str(text)
    {
        args.insert("arguments".to_owned(), Value::Object(inner));
    }
}
