//! The tools under the names that older servers gave them: which names a caller may use, what is listed of them, and which
//! calls of our own tools a call by such a name becomes. The faces come here; what runs a call knows nothing of it, so
//! policy, confirmation, record and undo are those of the tool behind.

use std::future::ready;

use futures::future::BoxFuture;
use serde_json::{Map, Value};

pub use self::alias::Alias;
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

pub mod alias;
mod answer;
mod calling;
mod camel;
mod listing;
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

    /// Whose names they are, in a sentence.
    pub fn about(self) -> &'static str {
        match self {
            Self::Native => "Our own.",
            Self::Plus => {
                "Those of ProxmoxMCP (canvrno) and ProxmoxMCP-Plus (RekklesNA). Their jobs are Proxmox's tasks here: a `job_id` is a UPID. With several clusters `target` is taken for `cluster`."
            }
            Self::Camel => "Those of the TypeScript server `proxmox-mcp`.",
            Self::Machines => "VMs and containers alike, and nothing that deletes or overwrites.",
        }
    }

    /// The table, by what it is about; empty for our own.
    pub fn aliases(self) -> impl Iterator<Item = &'static Alias> {
        let tables: &'static [&'static [Alias]] = match self {
            Self::Native => &[],
            Self::Plus => plus::TABLES,
            Self::Camel => &[camel::ALIASES],
            Self::Machines => &[machines::ALIASES],
        };
        tables.iter().copied().flatten()
    }

    /// The one of this name.
    pub fn alias(self, name: &str) -> Option<&'static Alias> {
        self.aliases().find(|alias| alias.name == name)
    }

    /// Names that the older server has and this one has not, and why.
    pub fn missing(self) -> &'static [(&'static str, &'static str)] {
        match self {
            Self::Plus => plus::MISSING,
            Self::Native | Self::Camel | Self::Machines => &[],
        }
    }

    /// What the older server calls a cluster.
    fn cluster_key(self) -> &'static str {
        match self {
            Self::Plus => "target",
            Self::Native | Self::Camel | Self::Machines => CLUSTER,
        }
    }
}

const CLUSTER: &str = "cluster";

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
        names => names.aliases().filter_map(|alias| alias.listed(app)).collect(),
    }
}

/// Calls a tool by the name that a caller knows it by. Boxed, because it is where every face's call begins.
///
/// # Errors
/// As [`call::run`]; what is wrong with arguments is said in the caller's names for them.
pub fn call<'a>(
    app: &'a App,
    name: &'a str,
    mut args: Map<String, Value>,
    context: &'a Context,
) -> BoxFuture<'a, Result<Answer>> {
    let names = app.tool_names();
    if names == Names::Native {
        return Box::pin(call::run(app, name, args, context));
    }
    let Some(alias) = names.alias(name) else { return Box::pin(ready(Err(unknown(app, name)))) };
    if let Some(cluster) = args.remove(names.cluster_key()) {
        args.insert(CLUSTER.to_owned(), cluster);
    }
    Box::pin(alias.call(app, args, context))
}

/// Whether a caller may know this name.
pub fn knows(app: &App, name: &str) -> bool {
    match app.tool_names() {
        Names::Native => router::named(name).is_some() || entry(name).is_some(),
        names => names.alias(name).is_some(),
    }
}

/// What to say of a name that is none.
pub fn unknown(app: &App, name: &str) -> Error {
    let names = app.tool_names();
    if names == Names::Native {
        return call::unknown_tool(name);
    }
    let error = Error::not_found(format!("unknown tool '{name}'"));
    if let Some((_, why)) = names.missing().iter().find(|(missing, _)| *missing == name) {
        return error.hint(*why);
    }
    match arguments::nearest(name, names.aliases().map(|alias| alias.name)) {
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

/// JSON that stands in a table; a test reads all of it.
fn parse(json: &str) -> Value {
    serde_json::from_str(json).unwrap_or_default()
}
