//! What an action is going to do (a plan: the exact requests, in order) and what came of it (an outcome).

use std::{collections::BTreeSet, fmt, net::IpAddr};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{
    lanes::Lanes,
    pve::{Guest, Request},
    safety_snapshot::Taken,
};

/// The exact requests, in order; what is printed by a dry run is what is sent.
#[derive(Debug)]
pub struct Plan {
    /// One sentence for a human, beginning with a verb: "start VM 100 (web) on pve1".
    pub summary: String,
    pub requests: Vec<Request>,
    pub warnings: Vec<String>,
    /// What of a configuration it changes.
    pub changes: Vec<Change>,
    /// What was looked at and found good.
    pub checked: Vec<String>,
    /// Why Proxmox would refuse it. A plan that has any is shown, and not carried out.
    pub problems: Vec<String>,
    /// What the plan is about, for the result: `vmid`, `node`, `name` …
    pub about: Map<String, Value>,
    /// The VMID of a new guest, where it was chosen and not given: if another takes it first, plan again with the next.
    pub chosen_vmid: Option<u32>,
    /// The requests do not build on one another: all are sent before any of their tasks is waited for.
    pub side_by_side: bool,
    /// Lanes that run side by side, where there is more to it than a row of requests; `requests` are theirs, in order.
    pub lanes: Option<Lanes>,
    /// What the guest should be afterwards. HA's tasks end when the request is queued, so there this is what is waited for.
    pub becomes: Option<(Guest, Goal)>,
    /// How it is taken back, made of the state before. Every action says it, or why it cannot be.
    pub undo: Option<Undo>,
    /// What is taken first, so that there is a way back.
    pub safety: Option<Taken>,
}

/// How something done is taken back.
#[derive(Debug, Clone, PartialEq)]
pub enum Undo {
    /// One call of a tool, with these arguments; not confirmed, so that whoever makes it is asked as for any other.
    Call { tool: &'static str, arguments: Map<String, Value>, note: Option<String> },
    /// It cannot be, and why: "a reboot cannot be taken back".
    Never(String),
}

impl Undo {
    pub fn call(tool: &'static str, arguments: Value) -> Self {
        let Value::Object(arguments) = arguments else { return Self::Never("nothing to take back".to_owned()) };
        Self::Call { tool, arguments, note: None }
    }
    pub fn never(why: impl Into<String>) -> Self {
        Self::Never(why.into())
    }
    /// Ready to be made, where there is one.
    pub fn as_call(&self) -> Option<UndoCall> {
        let Self::Call { tool, arguments, note } = self else { return None };
        Some(UndoCall { tool: (*tool).to_owned(), arguments: arguments.clone(), note: note.clone() })
    }
    /// What the call does not bring back; added to what was noted before.
    pub fn note(mut self, text: impl Into<String>) -> Self {
        if let Self::Call { note, .. } = &mut self {
            let text = text.into();
            *note = Some(note.take().map_or_else(|| text.clone(), |before| format!("{before}; {text}")));
        }
        self
    }
    pub fn note_if(self, condition: bool, text: impl FnOnce() -> String) -> Self {
        if condition { self.note(text()) } else { self }
    }
}

/// What a guest becomes by a plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Goal {
    /// `running` or `stopped`.
    State(&'static str),
    /// On this node.
    Node(String),
}

impl Plan {
    pub fn new(summary: impl Into<String>) -> Self {
        Self {
            summary: summary.into(),
            requests: Vec::new(),
            warnings: Vec::new(),
            changes: Vec::new(),
            checked: Vec::new(),
            problems: Vec::new(),
            about: Map::new(),
            chosen_vmid: None,
            side_by_side: false,
            lanes: None,
            becomes: None,
            undo: None,
            safety: None,
        }
    }
    /// A plan about an existing guest.
    pub fn on(guest: &Guest, verb: &str) -> Self {
        let plan = Self::new(format!("{verb} {guest}")).about("vmid", guest.vmid).about("node", guest.node.as_str());
        match &guest.name {
            Some(name) => plan.about("name", name.as_str()),
            None => plan,
        }
    }
    pub fn step(mut self, request: Request) -> Self {
        self.requests.push(request);
        self
    }
    pub fn about(mut self, key: &str, value: impl Into<Value>) -> Self {
        self.about.insert(key.to_owned(), value.into());
        self
    }
    pub fn warn_if(mut self, condition: bool, warning: impl FnOnce() -> String) -> Self {
        if condition {
            self.warnings.push(warning());
        }
        self
    }
    /// One line of the difference; `None` where the key was, or becomes, unset.
    pub fn change(mut self, key: &str, old: Option<impl Into<String>>, new: Option<impl Into<String>>) -> Self {
        self.changes.push(Change { key: key.to_owned(), old: old.map(Into::into), new: new.map(Into::into) });
        self
    }
    /// Something looked at: good, or a reason why Proxmox would refuse.
    pub fn check(mut self, good: bool, what: impl FnOnce() -> String, problem: impl FnOnce() -> String) -> Self {
        if good {
            self.checked.push(what());
        } else {
            self.problems.push(problem());
        }
        self
    }
    /// All requests are sent before any of their tasks is waited for, and one that fails keeps back none of the others.
    pub fn side_by_side(mut self) -> Self {
        self.side_by_side = true;
        self
    }
    /// Lanes that run side by side, in the place of requests.
    pub fn lanes(mut self, lanes: Lanes) -> Self {
        self.requests = lanes.requests();
        self.lanes = Some(lanes);
        self
    }
    /// What would take it back, should a step fail.
    pub fn back(&self) -> Vec<Request> {
        self.lanes.as_ref().map(Lanes::back).unwrap_or_default()
    }
    /// The single tools that its lanes stand for.
    pub fn tools(&self) -> BTreeSet<&'static str> {
        self.lanes.iter().flat_map(|lanes| &lanes.lanes).flat_map(|lane| lane.tools.iter().copied()).collect()
    }
    /// The VMIDs that were chosen and not given.
    pub fn chosen(&self) -> Vec<u32> {
        let lanes = self.lanes.iter().flat_map(|lanes| &lanes.lanes).filter(|lane| lane.chosen);
        self.chosen_vmid.into_iter().chain(lanes.filter_map(|lane| lane.vmid)).collect()
    }
    /// The addresses that its guests get.
    pub fn addresses(&self) -> Vec<IpAddr> {
        self.lanes.iter().flat_map(|lanes| &lanes.lanes).flat_map(|lane| lane.addresses.iter().copied()).collect()
    }
    /// The call that takes it back; `arguments` is an object.
    pub fn undo(self, tool: &'static str, arguments: Value) -> Self {
        self.undone(Undo::call(tool, arguments))
    }
    pub fn undone(mut self, undo: Undo) -> Self {
        self.undo = Some(undo);
        self
    }
    /// Why nothing takes it back.
    pub fn no_undo(mut self, why: impl Into<String>) -> Self {
        self.undo = Some(Undo::never(why));
        self
    }
    pub fn becomes(mut self, guest: &Guest, state: &'static str) -> Self {
        self.becomes = Some((guest.clone(), Goal::State(state)));
        self
    }
    pub fn moves(mut self, guest: &Guest, node: &str) -> Self {
        self.becomes = Some((guest.clone(), Goal::Node(node.to_owned())));
        self
    }
}

/// One changed key of a configuration, in Proxmox's own notation; secrets are masked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Change {
    pub key: String,
    /// Absent: it was not set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub old: Option<String>,
    /// Absent: it is removed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub new: Option<String>,
}

/// `cores: 2 → 4`, `onboot: 1`, `onboot: deleted`.
impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { key, old, new } = self;
        match (old, new) {
            (Some(old), Some(new)) => write!(f, "{key}: {old} → {new}"),
            (None, Some(new)) => write!(f, "{key}: {new}"),
            (_, None) => write!(f, "{key}: deleted"),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Dry run: nothing was sent.
    Planned,
    /// Nothing was sent; the same call with `confirm: true` does it.
    NeedsConfirmation,
    /// The task runs on; follow it by its UPID.
    Running,
    Done,
}

/// What came of an action. A failure is an error instead.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Outcome {
    pub state: State,
    pub summary: String,
    #[serde(skip_serializing_if = "Map::is_empty")]
    pub about: Map<String, Value>,
    /// The requests that would be sent.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub requests: Vec<Shown>,
    /// What would be sent to take it back, should a step fail.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub rollback: Vec<Shown>,
    /// What changes in the configuration.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub changes: Vec<Change>,
    /// What was looked at beforehand and found good.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub checked: Vec<String>,
    /// Why Proxmox would refuse it as things stand.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub problems: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
    /// What came of it, where that is more than that it was done; what is no object stands under `data`. Of a plan for many
    /// that is only shown: each of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub result: Option<Map<String, Value>>,
    /// Of the last task.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub upid: Option<String>,
    /// Proxmox's word for how the task ended: `OK` or `WARNINGS: n`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exitstatus: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seconds: Option<f64>,
    /// How far a running task is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub percent: Option<f64>,
    /// The tool call that takes it back.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub undo: Option<UndoCall>,
    /// Why nothing takes it back.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub no_undo: Option<String>,
    /// What `confirm` has to be to have exactly this plan carried out, where the operator wants it so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub plan_id: Option<String>,
    /// Its entry in the audit log: what proxmox-undo takes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub audit_id: Option<String>,
    /// What to do next.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// A call that takes something back, ready to be made.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct UndoCall {
    pub tool: String,
    pub arguments: Map<String, Value>,
    /// What it does not bring back.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

impl Outcome {
    /// Says how it is taken back.
    pub fn set_undo(&mut self, undo: Option<&Undo>) {
        self.undo = undo.and_then(Undo::as_call);
        self.no_undo = match undo {
            Some(Undo::Never(why)) => Some(why.clone()),
            _ => None,
        };
    }

    pub fn new(state: State, plan: &Plan) -> Self {
        let mut outcome = Self {
            state,
            summary: plan.summary.clone(),
            about: plan.about.clone(),
            requests: Vec::new(),
            rollback: Vec::new(),
            changes: plan.changes.clone(),
            checked: Vec::new(),
            problems: Vec::new(),
            warnings: plan.warnings.clone(),
            result: None,
            upid: None,
            exitstatus: None,
            seconds: None,
            percent: None,
            undo: None,
            no_undo: None,
            plan_id: None,
            audit_id: None,
            next: None,
        };
        outcome.set_undo(plan.undo.as_ref());
        outcome
    }
}

/// A request as shown; secrets are masked.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Shown {
    pub method: String,
    pub path: String,
    pub params: Map<String, Value>,
}

impl From<&Request> for Shown {
    fn from(request: &Request) -> Self {
        Self { method: request.method.to_string(), path: request.path.clone(), params: request.shown_params() }
    }
}
