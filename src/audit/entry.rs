//! What the lines say.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{End, Intent, redact::Redactor};
use crate::{
    error::Error,
    plan::{Change, Outcome, Shown, State, UndoCall},
    trail::Sent,
    undo::{Guests, Identity},
};

/// One line.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Line {
    /// From 1 on.
    pub n: u64,
    /// RFC 3339, UTC.
    pub time: String,
    /// The hash of the line before; empty in the first.
    pub prev: String,
    #[serde(flatten)]
    pub what: What,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "line", rename_all = "snake_case")]
pub enum What {
    /// Begins a file.
    Start {
        version: String,
        /// By which a key is told from another.
        key: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        follows: Option<Follows>,
    },
    Intent(Box<Begun>),
    End(Box<Ended>),
    /// The line before this one was left unfinished by a crash.
    Torn {
        bytes: usize,
        hash: String,
    },
}

/// The end of the file before this one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Follows {
    /// How many lines it has.
    pub lines: u64,
    /// The hash of the last of them.
    pub last: String,
}

/// What was going to be done.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Begun {
    pub id: String,
    pub cluster: String,
    /// The user or token at Proxmox.
    pub who: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client: Option<String>,
    /// The name under which the caller was let in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub caller: Option<String>,
    /// The id of the HTTP request, as in the program's own log.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<String>,
    pub tool: String,
    pub arguments: Value,
    pub summary: String,
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub about: Map<String, Value>,
    pub requests: Value,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub changes: Vec<Change>,
    /// `flag`, `plan`, `human` or `none`.
    pub confirmed: String,
    /// The entry that it takes back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub undoes: Option<String>,
    /// The guests that it touched, as they were.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub guests: Guests,
    /// The guests that it was going to make, as far as that was known.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub makes: Guests,
}

impl Begun {
    pub(super) fn new(id: String, intent: &Intent<'_>, redactor: &Redactor) -> Self {
        let plan = intent.plan;
        let shown: Vec<Shown> = plan.requests.iter().map(Shown::from).collect();
        let about = redactor.value(&Value::Object(plan.about.clone()));
        let made = crate::policy::Reach::of(&plan.requests).made;
        Self {
            id,
            cluster: intent.cluster.to_owned(),
            who: intent.who.clone(),
            client: intent.client.map(str::to_owned),
            caller: intent.caller.map(str::to_owned),
            request: intent.request.map(str::to_owned),
            tool: intent.entry.name.to_owned(),
            arguments: redactor.value(intent.given),
            summary: redactor.text(&plan.summary),
            about: about.as_object().cloned().unwrap_or_default(),
            requests: redactor.value(&serde_json::to_value(shown).unwrap_or_default()),
            changes: redactor.changes(&plan.changes),
            confirmed: if intent.confirmed.is_empty() { "none" } else { intent.confirmed }.to_owned(),
            undoes: intent.undoes.map(str::to_owned),
            guests: intent.guests.clone(),
            makes: made.into_iter().map(|(vmid, made)| (vmid.to_string(), Identity::named(made.name))).collect(),
        }
    }
}

/// What came of it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Ended {
    pub id: String,
    /// Every request that was sent, with the task that it began.
    pub sent: Vec<Sent>,
    /// `done` or `running`; absent where it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exitstatus: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<Failure>,
    /// The call that takes it back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub undo: Option<UndoCall>,
    /// Why nothing does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub no_undo: Option<String>,
    /// Where Proxmox made something else of a value than was sent.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub stored: BTreeMap<String, String>,
    /// The guests that it made, as they were afterwards.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub made: Guests,
}

/// How it failed.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Failure {
    pub kind: String,
    pub message: String,
}

const LOST: &str = "its undo holds a secret, which is not on record";

impl Ended {
    pub(super) fn new(id: &str, end: &End<'_>) -> Self {
        let mut ended = Self {
            id: id.to_owned(),
            sent: end.sent.to_vec(),
            state: None,
            exitstatus: None,
            warnings: Vec::new(),
            error: None,
            undo: None,
            no_undo: None,
            stored: BTreeMap::new(),
            made: end.made.clone(),
        };
        match end.outcome {
            Ok(outcome) => ended.succeeded(outcome),
            Err(error) => ended.error = Some(Failure::of(error)),
        }
        ended
    }

    fn succeeded(&mut self, outcome: &Outcome) {
        let redactor = Redactor::default();
        self.state = Some(if outcome.state == State::Running { "running" } else { "done" }.to_owned());
        self.exitstatus.clone_from(&outcome.exitstatus);
        self.warnings = outcome.warnings.iter().map(|text| redactor.text(text)).collect();
        self.no_undo.clone_from(&outcome.no_undo);
        if let Some(undo) = &outcome.undo {
            let given = Value::Object(undo.arguments.clone());
            // With a mask in the place of a value it would not take back but destroy.
            match redactor.value(&given) == given {
                true => self.undo = Some(undo.clone()),
                false => self.no_undo = Some(LOST.to_owned()),
            }
        }
        let stored = outcome.result.as_ref().and_then(|result| result.get("stored")).and_then(Value::as_object);
        let stored = stored.into_iter().flatten().filter_map(|(key, value)| Some((key.clone(), value.as_str()?)));
        self.stored = stored.map(|(key, value)| (key, redactor.text(value))).collect();
    }
}

impl Failure {
    fn of(error: &Error) -> Self {
        let kind = serde_json::to_value(error.kind()).unwrap_or_default();
        Self {
            kind: kind.as_str().unwrap_or_default().to_owned(),
            message: Redactor::default().text(&error.to_string()),
        }
    }
}

/// An entry: what was going to be done, and what came of it.
#[derive(Debug, Clone, Serialize)]
pub struct Entry {
    /// When it was begun.
    pub time: String,
    #[serde(flatten)]
    pub begun: Begun,
    /// Nothing where the program was stopped meanwhile.
    #[serde(rename = "end", skip_serializing_if = "Option::is_none")]
    pub ended: Option<Ended>,
    /// The entry that took it back.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub undone_by: Option<String>,
}
