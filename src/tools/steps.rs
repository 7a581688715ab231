//! What a single tool would do to one guest, as steps of a lane: for tools that do it to many, or do several things to one.
//! The single tool makes the plan; nothing is decided here.

use serde_json::{Map, Value};

use crate::{
    lanes::{At, Lane, Step, Then},
    plan::{Change, Goal, UndoCall},
    tool::*,
};

/// What one guest is to go through.
pub struct For<'a> {
    /// The single tool's name.
    pub tool: &'static str,
    /// As progress tells it, before the guest's name: `starting`.
    pub doing: &'a str,
    pub guest: &'a Guest,
    /// The tool's own arguments, but for the guest.
    pub args: Map<String, Value>,
    /// How long a command in the guest may take.
    pub seconds: u64,
}

/// What the tool would do.
pub struct Single {
    pub tool: &'static str,
    /// Empty where there is nothing to do: a warning says why.
    pub steps: Vec<Step>,
    /// Why Proxmox would refuse it. Each names the guest, as do the warnings.
    pub problems: Vec<String>,
    pub warnings: Vec<String>,
    pub changes: Vec<Change>,
    pub undo: Option<UndoCall>,
}

/// The steps of a tool for one guest.
///
/// # Errors
/// As the tool itself; `Internal` where there is no such tool.
pub async fn of(pve: &Reader<'_>, what: For<'_>) -> Result<Single> {
    let For { tool, doing, guest, mut args, seconds } = what;
    let Some(entry) = super::all().find(|entry| entry.name == tool) else {
        return Err(Error::internal(format!("there is no tool {tool}")));
    };
    let line = line(&args);
    args.insert("vmid".to_owned(), guest.vmid.into());
    let plan = entry.plan(pve, args).await?;
    let (undo, becomes) = (plan.undo.as_ref().and_then(Undo::as_call), plan.becomes);
    let mut steps: Vec<Step> =
        plan.requests.into_iter().map(|request| Step::new(format!("{doing} {}", name(guest)), request)).collect();
    for step in &mut steps {
        if step.request.as_ref().is_some_and(|request| request.effect() == Effect::Execute) {
            step.then = Then::Command { guest: At::from(guest), seconds, line: line.clone() };
        }
    }
    // The task of an HA-managed guest ends when HA has queued it.
    if let (Some(last), Some((_, goal)), true) = (steps.last_mut(), becomes, guest.is_ha_managed()) {
        let (status, node) = match goal {
            Goal::State(state) => (Some(state.to_owned()), None),
            Goal::Node(node) => (None, Some(node)),
        };
        last.then = Then::Becomes { guest: At::from(guest), status, node };
    }
    let told = |texts: Vec<String>| texts.into_iter().map(|text| told(guest, text)).collect();
    Ok(Single {
        tool,
        steps,
        problems: told(plan.problems),
        warnings: told(plan.warnings),
        changes: plan.changes,
        undo,
    })
}

impl Single {
    /// As a lane of its own.
    pub fn lane(self, guest: &Guest) -> Lane {
        let lane = Lane::of(name(guest), &At::from(guest));
        Lane { steps: self.steps, undo: self.undo, tools: vec![self.tool], ..lane }
    }
}

/// What a guest is called where there is little room.
pub fn name(guest: &Guest) -> String {
    guest.name.clone().unwrap_or_else(|| guest.vmid.to_string())
}

/// With the guest, where the text does not name it.
fn told(guest: &Guest, text: String) -> String {
    let named = guest.to_string();
    if text.contains(&named) { text } else { format!("{named}: {text}") }
}

/// A command as it is shown: what of it fits on a line.
fn line(args: &Map<String, Value>) -> String {
    const MOST: usize = 100;
    let more = args.get("args").and_then(Value::as_array).into_iter().flatten();
    let words = args.get("command").into_iter().chain(more).filter_map(Value::as_str);
    let all = words.collect::<Vec<_>>().join(" ");
    match all.char_indices().nth(MOST) {
        Some((at, _)) => format!("{}…", &all[..at]),
        None => all,
    }
}
