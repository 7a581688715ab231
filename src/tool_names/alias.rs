//! One older name: a row of a table, and how it is written down.

use serde_json::{Map, Value};

use super::{entry, parse};
use crate::{app::App, confirm::Mode, error::Result, tool::Entry};

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

    /// Whether it is done at once though our own tool would ask: the older server never asked, nothing is lost by it, and
    /// the operator has not said otherwise.
    pub fn at_once(&self, app: &App, entry: &Entry) -> bool {
        let loses = entry.may_destroy() && !self.harmless;
        !loses && app.confirm().mode() == Mode::Flag && !app.confirm().wants(entry.name)
    }
}

impl Argument {
    /// What it is where it is left out.
    pub fn left_out(&self) -> Option<Value> {
        self.default.map(parse)
    }
}
