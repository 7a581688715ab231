//! One lane under way: how far its steps got, what they may send, and how it ended.

use serde_json::{Map, Value};

use super::Lane;
use crate::{error::Error, policy::Approved, pve::Upid, undo::Identity};

/// How far a step got.
#[derive(Debug, Clone, Default, PartialEq)]
pub enum Did {
    #[default]
    Nothing,
    /// It was sent, and nobody knows what came of it.
    Sent,
    /// Its task was begun, and did not end well or not yet.
    Begun(Upid),
    Done,
}

/// How a lane ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum How {
    NotBegun,
    /// Nothing was to be done.
    Skipped,
    /// It could not be, and nothing was sent.
    Refused,
    Done,
    Failed,
    /// Between two steps, because something else was in the way.
    Stopped,
    /// Its task runs on.
    Running,
    RolledBack,
    /// Some of it could not be taken back.
    Left,
}

/// One lane under way.
pub struct Run {
    pub index: usize,
    pub lane: Lane,
    pub(super) ready: Vec<Ready>,
    pub did: Vec<Did>,
    pub how: How,
    pub error: Option<Error>,
    /// What was found out on the way, for the result.
    pub found: Map<String, Value>,
    /// The guest as it was made.
    pub identity: Option<Identity>,
    /// What was taken back, and what could not be, with the reason.
    pub undone: Vec<String>,
    pub left: Vec<String>,
}

/// What a step may send.
#[derive(Default)]
pub(super) struct Ready {
    pub(super) request: Option<Approved>,
    pub(super) back: Vec<Approved>,
}

/// Where lanes that were begun by a process that is no more are to be taken up.
#[derive(Debug, Clone, Default)]
pub struct Resumed {
    pub did: Vec<Did>,
    pub identity: Option<Identity>,
}

/// Stage by stage, in the order in which they stand.
pub(super) fn stages(runs: Vec<Run>) -> Vec<Vec<Run>> {
    let mut stages: Vec<Vec<Run>> = Vec::new();
    for run in runs {
        let same = |stage: &&mut Vec<Run>| stage.first().is_some_and(|first| first.lane.stage == run.lane.stage);
        match stages.last_mut().filter(same) {
            Some(stage) => stage.push(run),
            None => stages.push(vec![run]),
        }
    }
    stages
}

impl Run {
    /// Gives each step its approved request, in the order of [`Lanes::requests`].
    pub(super) fn may_send(&mut self, approved: &mut impl Iterator<Item = Approved>) {
        for (step, ready) in self.lane.steps.iter().zip(&mut self.ready) {
            ready.request = step.request.as_ref().and_then(|_| approved.next());
        }
    }

    /// Gives each step what takes it back, in the order of [`Lanes::back`].
    pub(super) fn may_take_back(&mut self, back: &mut impl Iterator<Item = Approved>) {
        for (step, ready) in self.lane.steps.iter().zip(&mut self.ready).rev() {
            ready.back = back.by_ref().take(step.back.len()).collect();
        }
    }
}
