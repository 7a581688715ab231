//! A plan for many things at once: lanes that run side by side, each a row of steps that build on one another. What is
//! sent, what is waited for and what takes it back are data, so that a dry run can show them and a record can keep them.
//! Knows nothing of what a tool does with it.

mod after;
mod back;
mod board;
mod engine;
mod kept;
mod numbers;
mod report;
#[cfg(test)]
mod tests;

use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

pub use self::{
    engine::{Did, Engine, How, Resumed, Run, Way},
    report::Report,
};
use crate::{
    plan::UndoCall,
    pve::{GuestKind, Request, Within, encode},
};

/// Everything that one call does, lane by lane.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Lanes {
    pub lanes: Vec<Lane>,
    /// Lanes under way at the same time.
    pub parallel: usize,
    /// Lanes of the same group under way at the same time.
    #[serde(default)]
    pub per_group: Option<usize>,
    pub on_failure: OnFailure,
    /// Once more lanes than this have failed, no other is begun. Means nothing where everything is taken back.
    pub max_failures: Option<usize>,
    /// What a lane is called in the result: `machines`, `guests`.
    pub rows: String,
}

/// What becomes of what was done, where a step fails, the call is cancelled or its time is over.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum OnFailure {
    /// It is taken back, in reverse order.
    #[default]
    Rollback,
    /// It stays.
    Keep,
}

/// One guest, or whatever is done beside others.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Lane {
    /// By which it is told from the others.
    pub name: String,
    pub vmid: Option<u32>,
    /// The VMID was chosen and not given: if another takes it first, the lane gets the next free one.
    pub chosen: bool,
    /// Where that free one has to lie.
    #[serde(default)]
    pub within: Within,
    /// What its guest gets for itself: no other call gives it out meanwhile.
    #[serde(default)]
    pub addresses: Vec<IpAddr>,
    /// Begun when all lanes of lower stages have ended.
    pub stage: u32,
    /// What it weighs on, such as the node that it moves a guest to: [`Lanes::per_group`].
    #[serde(default)]
    pub group: Option<String>,
    /// What the result says of it beside what came of it.
    pub about: Map<String, Value>,
    pub steps: Vec<Step>,
    /// The call that takes it back once it is done.
    pub undo: Option<UndoCall>,
    /// What a plan that is only shown says of it besides: how it is now, what it is going to be.
    pub before: Map<String, Value>,
    /// Nothing is done with it; it is listed all the same.
    pub out: Option<Out>,
    /// The single tools that it stands for: who may not use one of them may not do it this way either.
    #[serde(skip)]
    pub tools: Vec<&'static str>,
}

/// Why nothing is done with something that was asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Out {
    /// It is so already, or it was not meant.
    Skipped(String),
    /// It cannot be.
    Refused(String),
}

/// One request and what is waited for after it; either may be missing.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Step {
    /// As progress tells it: `resizing web02`.
    pub doing: String,
    #[serde(with = "kept::maybe")]
    pub request: Option<Request>,
    pub then: Then,
    /// What takes it back, in the order of sending.
    #[serde(with = "kept::all")]
    pub back: Vec<Request>,
    /// Guests that the request adds to the `vmid` list of a backup job. It is sent with what the list is then, and without
    /// those that were not made: others may have changed the job meanwhile, and Proxmox has no digest for it.
    #[serde(default)]
    pub joins: Vec<u32>,
}

/// What a step waits for once its task, if it began one, has ended.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Then {
    #[default]
    Nothing,
    /// The guest agent answers.
    Agent { guest: At, seconds: u64 },
    /// The guest has an address that leads outside: `address` in the result. `fixed` is that of its configuration, taken
    /// where the guest cannot be asked.
    Address { guest: At, seconds: u64, fixed: Option<String>, ipv6: bool },
    /// The command that the request began has ended: a row of `ran` in the result. Any exit code but 0 is a failure.
    Command { guest: At, seconds: u64, line: String },
    /// So much time has passed.
    Pause { seconds: u64 },
    /// HA has done what its queue was given. `status` or `node` is what the guest becomes.
    Becomes { guest: At, status: Option<String>, node: Option<String> },
}

/// Where a guest is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct At {
    pub vmid: u32,
    pub kind: GuestKind,
    pub node: String,
}

impl At {
    /// `/nodes/pve1/qemu/100/config`
    pub fn path(&self, rest: &str) -> String {
        let base = format!("/nodes/{}/{}/{}", encode(&self.node), self.kind.path(), self.vmid);
        if rest.is_empty() { base } else { format!("{base}/{rest}") }
    }
}

impl Lane {
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), ..Self::default() }
    }
    /// A lane about a guest.
    pub fn of(name: impl Into<String>, at: &At) -> Self {
        Self { vmid: Some(at.vmid), ..Self::new(name) }.about("vmid", at.vmid).about("node", at.node.as_str())
    }
    pub fn about(mut self, key: &str, value: impl Into<Value>) -> Self {
        self.about.insert(key.to_owned(), value.into());
        self
    }
    /// As [`Lane::about`], for a plan that is only shown.
    pub fn before(mut self, key: &str, value: impl Into<Value>) -> Self {
        self.before.insert(key.to_owned(), value.into());
        self
    }
    pub fn step(mut self, step: Step) -> Self {
        self.steps.push(step);
        self
    }
    /// What is known of it before anything is done: a row of a plan that is shown.
    fn planned(&self) -> Value {
        let mut row = Map::from_iter([("name".to_owned(), self.name.clone().into())]);
        row.extend(self.about.clone());
        row.extend(self.before.clone());
        if let Some(out) = &self.out {
            row.insert(out.how().key().to_owned(), out.why().into());
        }
        Value::Object(row)
    }
}

impl Out {
    pub fn why(&self) -> &str {
        let (Self::Skipped(why) | Self::Refused(why)) = self;
        why
    }
    fn how(&self) -> How {
        match self {
            Self::Skipped(_) => How::Skipped,
            Self::Refused(_) => How::Refused,
        }
    }
}

impl Step {
    pub fn new(doing: impl Into<String>, request: Request) -> Self {
        Self { doing: doing.into(), request: Some(request), then: Then::Nothing, back: Vec::new(), joins: Vec::new() }
    }
    /// Sends nothing.
    pub fn wait(doing: impl Into<String>, then: Then) -> Self {
        Self { doing: doing.into(), request: None, then, back: Vec::new(), joins: Vec::new() }
    }
    pub fn then(mut self, then: Then) -> Self {
        self.then = then;
        self
    }
    pub fn back(mut self, request: Request) -> Self {
        self.back.push(request);
        self
    }
}

impl Lanes {
    pub fn new(rows: &str, lanes: Vec<Lane>) -> Self {
        Self {
            lanes,
            parallel: 4,
            per_group: None,
            on_failure: OnFailure::Keep,
            max_failures: None,
            rows: rows.to_owned(),
        }
    }
    /// A row for each lane, of what is known before anything is done.
    pub fn planned(&self) -> Map<String, Value> {
        Map::from_iter([(self.rows.clone(), self.lanes.iter().map(Lane::planned).collect())])
    }
    /// Everything that is going to be sent, in order, lane by lane.
    pub fn requests(&self) -> Vec<Request> {
        let mut lanes: Vec<&Lane> = self.lanes.iter().collect();
        lanes.sort_by_key(|lane| lane.stage);
        lanes.iter().flat_map(|lane| lane.steps.iter().filter_map(|step| step.request.clone())).collect()
    }
    /// Everything that would take it back, last things first; nothing where it is kept.
    pub fn back(&self) -> Vec<Request> {
        if self.on_failure == OnFailure::Keep {
            return Vec::new();
        }
        let mut lanes: Vec<&Lane> = self.lanes.iter().collect();
        lanes.sort_by_key(|lane| std::cmp::Reverse(lane.stage));
        lanes.iter().flat_map(|lane| lane.steps.iter().rev().flat_map(|step| step.back.iter().cloned())).collect()
    }
}
