//! The tools under the names that older servers gave them: which names a caller may use, what is listed of them, and which
//! calls of our own tools a call by such a name becomes. The faces come here; what runs a call knows nothing of it, so
//! policy, confirmation, record and undo are those of the tool behind.

use std::future::ready;

use futures::future::BoxFuture;
use serde_json::{Map, Value};

pub use self::alias::{Alias, Argument, Call, Given, Target};
use crate::{
    app::App,
    arguments,
    call::{self, Answer, Context},
    error::{Error, Result},
    policy::Effect,
    router,
    tool::Entry,
    tools,
};

mod alias;
mod camel;
mod machines;
mod plus;
mod several;

/// Whose names.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Names {
    /// Our own.
    #[default]
    Native,
    /// `ProxmoxMCP` and `ProxmoxMCP-Plus`: `get_vms`.
    Plus,
    /// The TypeScript server's: `listVMs`.
    Camel,
    /// VMs and containers alike, and nothing that deletes: `start_machine`.
    Machines,
}

impl Names {
    /// All that are not our own.
    pub const OLDER: &[Self] = &[Self::Plus, Self::Camel, Self::Machines];

    pub fn parse(text: &str) -> Option<Self> {
        [Self::Native].iter().chain(Self::OLDER).copied().find(|names| text.eq_ignore_ascii_case(names.name()))
    }

    pub fn name(self) -> &'static str {
        match self {
            Self::Native => "native",
            Self::Plus => "plus",
            Self::Camel => "camel",
            Self::Machines => "machines",
        }
    }

    /// The table; empty for our own.
    pub fn aliases(self) -> &'static [Alias] {
        match self {
            Self::Native => &[],
            Self::Plus => plus::ALIASES,
            Self::Camel => camel::ALIASES,
            Self::Machines => machines::ALIASES,
        }
    }
}

/// A tool as a caller is told of it.
pub struct Listed {
    pub name: &'static str,
    pub title: &'static str,
    pub description: String,
    /// Its input schema as a model is given it.
    pub input: Map<String, Value>,
    /// What it may do at most.
    pub effect: Effect,
    /// Whether something may be lost by it.
    pub destroys: bool,
    /// The tool behind, whose answer it gives: of several that answer alike, the first.
    pub entry: &'static Entry,
}

impl From<(&'static Entry, Map<String, Value>)> for Listed {
    fn from((entry, input): (&'static Entry, Map<String, Value>)) -> Self {
        Self {
            name: entry.name,
            title: entry.title,
            description: entry.description(),
            input,
            effect: entry.effect,
            destroys: entry.may_destroy(),
            entry,
        }
    }
}

/// The tools that a caller is told of, by the names that were chosen.
pub fn listed(app: &App) -> Vec<Listed> {
    match app.tool_names() {
        Names::Native => app.tools().map(Listed::from).collect(),
        names => names.aliases().iter().filter_map(|alias| alias.listed(app)).collect(),
    }
}

/// Calls a tool by the name that a caller knows it by. Boxed, because it is where every face's call begins.
///
/// # Errors
/// As [`call::run`]; what is wrong with arguments is said in the caller's names for them.
pub fn call<'a>(
    app: &'a App,
    name: &'a str,
    args: Map<String, Value>,
    context: &'a Context,
) -> BoxFuture<'a, Result<Answer>> {
    if app.tool_names() == Names::Native {
        return Box::pin(call::run(app, name, args, context));
    }
    match app.tool_names().aliases().iter().find(|alias| alias.name == name) {
        Some(alias) => Box::pin(alias.call(app, args, context)),
        None => Box::pin(ready(Err(unknown(app, name)))),
    }
}

/// Whether a caller may know this name.
pub fn knows(app: &App, name: &str) -> bool {
    match app.tool_names() {
        Names::Native => router::named(name).is_some() || entry(name).is_some(),
        names => names.aliases().iter().any(|alias| alias.name == name),
    }
}

/// What to say of a name that is none.
pub fn unknown(app: &App, name: &str) -> Error {
    let names = app.tool_names();
    if names == Names::Native {
        return call::unknown_tool(name);
    }
    let error = Error::not_found(format!("unknown tool '{name}'"));
    match arguments::nearest(name, names.aliases().iter().map(|alias| alias.name)) {
        Some(near) => error.hint(format!("did you mean '{near}'?")),
        None => error.hint(format!(
            "this server has the tools of PROXMOX_TOOL_NAMES={}: tools/list names them all",
            names.name()
        )),
    }
}

/// One of our own tools.
fn entry(name: &str) -> Option<&'static Entry> {
    tools::all().find(|entry| entry.name == name)
}
