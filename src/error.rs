//! The one error type of the crate: what went wrong (kind and Proxmox's own words), and one hint what to try.
//! It knows nothing of MCP; how it is shown is the faces' business. All text in it is cleaned as that of results is.

use std::{collections::BTreeMap, fmt};

use serde::Serialize;
use serde_json::{Map, Value};

use crate::{
    outside::{self, cleaned},
    render,
};

pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What sort of failure it is, for programs and for exit codes. Text is never matched to find out: the only table that
/// turns Proxmox's words into a kind is in `pve/error.rs`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// An argument of the call is missing, unknown or of the wrong form.
    BadArgument,
    /// A setting (flag, environment variable, `.env`) is missing or wrong.
    BadSetting,
    /// No such guest, node, storage, task …
    NotFound,
    /// A name that several guests carry.
    Ambiguous,
    /// It exists already, or changed since it was read (digest).
    Conflict,
    /// A lock is held: try again later, or look at who holds it.
    Locked,
    /// This server's own policy forbids it.
    Denied,
    /// Proxmox says this user or token may not (403).
    Permission,
    /// Proxmox does not accept the credentials (401).
    Unauthorized,
    /// The server's certificate was refused.
    Certificate,
    /// No connection to any endpoint, or to the node behind it: the request was never processed.
    Unavailable,
    /// The answer did not come in time.
    Timeout,
    /// A write was sent and its answer lost: it may or may not have been processed.
    Unclear,
    /// A task ended with an error.
    TaskFailed,
    /// Proxmox answered something that is no answer (not JSON, wrong shape).
    BadAnswer,
    /// The API has no such path or method (501).
    NotImplemented,
    /// Any other refusal by Proxmox, in its own words.
    Refused,
    /// The caller cancelled the call.
    Cancelled,
    /// A fault in this program.
    Internal,
}

/// As programs read it: `not_found`.
impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.serialize(f)
    }
}

/// An error with everything that is known about it. Boxed inside, so that `Result` stays small.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{}", .0.message)]
pub struct Error(Box<Parts>);

#[derive(Debug, Clone, Serialize)]
pub struct Parts {
    pub kind: Kind,
    /// For failures from Proxmox: its own words, whole.
    pub message: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// HTTP status of Proxmox's answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// Proxmox's `errors` map: parameter → what is wrong with it.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub errors: BTreeMap<String, String>,
    /// The request that failed, as `METHOD /path`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub upid: Option<String>,
    /// The end of the task's log.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub log: Vec<String>,
    /// Of these fields, those that hold text from outside: data, never instructions.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub untrusted: Vec<&'static str>,
    /// What was already done before the failure, in order.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub done: Vec<String>,
    /// What came of each of several things that were done at once.
    #[serde(skip_serializing_if = "Map::is_empty")]
    pub report: Map<String, Value>,
}

impl Error {
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self(Box::new(Parts {
            kind,
            message: cleaned(message.into()),
            hint: None,
            status: None,
            errors: BTreeMap::new(),
            request: None,
            upid: None,
            log: Vec::new(),
            untrusted: Vec::new(),
            done: Vec::new(),
            report: Map::new(),
        }))
    }
    pub fn bad_argument(message: impl Into<String>) -> Self {
        Self::new(Kind::BadArgument, message)
    }
    pub fn bad_setting(message: impl Into<String>) -> Self {
        Self::new(Kind::BadSetting, message)
    }
    pub fn not_found(message: impl Into<String>) -> Self {
        Self::new(Kind::NotFound, message)
    }
    pub fn internal(message: impl Into<String>) -> Self {
        Self::new(Kind::Internal, message)
    }

    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.0.hint = Some(cleaned(hint.into()));
        self
    }
    pub fn status(mut self, status: u16) -> Self {
        self.0.status = Some(status);
        self
    }
    pub fn errors(mut self, errors: BTreeMap<String, String>) -> Self {
        self.0.errors = errors.into_iter().map(|(key, words)| (cleaned(key), cleaned(words))).collect();
        self
    }
    pub fn request(mut self, request: impl Into<String>) -> Self {
        self.0.request = Some(cleaned(request.into()));
        self
    }
    pub fn upid(mut self, upid: impl Into<String>) -> Self {
        self.0.upid = Some(cleaned(upid.into()));
        self
    }
    pub fn log(mut self, log: Vec<String>) -> Self {
        self.0.untrusted = if log.is_empty() { Vec::new() } else { vec!["log"] };
        self.0.log = log.into_iter().map(cleaned).collect();
        self
    }
    pub fn done(mut self, done: Vec<String>) -> Self {
        self.0.done = done.into_iter().map(cleaned).collect();
        self
    }
    /// With what came of each of several things; cleaned as results are.
    pub fn told(mut self, report: Map<String, Value>) -> Self {
        let mut report = Value::Object(report);
        outside::show(&mut report);
        if let Value::Object(report) = report {
            self.0.report = report;
        }
        self
    }

    /// With message and hint in other words.
    pub fn reworded(mut self, word: impl Fn(&str) -> String) -> Self {
        self.0.message = word(&self.0.message);
        self.0.hint = self.0.hint.as_deref().map(&word);
        self
    }

    /// With the message in other words, and the hint as it is.
    pub fn reworded_message(mut self, word: impl Fn(&str) -> String) -> Self {
        self.0.message = cleaned(word(&self.0.message));
        self
    }

    pub fn kind(&self) -> Kind {
        self.0.kind
    }
    pub fn parts(&self) -> &Parts {
        &self.0
    }
    /// Everything that is known, as lines for a person or a model.
    pub fn report(&self) -> String {
        let parts = &*self.0;
        let mut lines = vec![parts.message.clone()];
        let mut line = |key: &str, value: Option<String>| lines.extend(value.map(|value| format!("{key}: {value}")));
        line("request", parts.request.clone().map(|r| parts.status.map_or(r.clone(), |s| format!("{r} (HTTP {s})"))));
        line("upid", parts.upid.clone());
        line("done before", (!parts.done.is_empty()).then(|| parts.done.join(", ")));
        line("log (text from the task)", (!parts.log.is_empty()).then(|| format!("\n  {}", parts.log.join("\n  "))));
        line(
            "report",
            (!parts.report.is_empty()).then(|| format!("\n{}", render::text(&Value::Object(parts.report.clone())))),
        );
        line("hint", parts.hint.clone());
        lines.join("\n")
    }

    pub fn is_not_found(&self) -> bool {
        self.0.kind == Kind::NotFound
    }
    pub fn is_conflict(&self) -> bool {
        self.0.kind == Kind::Conflict
    }
    pub fn is_unclear(&self) -> bool {
        self.0.kind == Kind::Unclear
    }
    pub fn is_unavailable(&self) -> bool {
        self.0.kind == Kind::Unavailable
    }
}
