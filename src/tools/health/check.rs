//! What a check is, and what it has to tell.

use futures::future::BoxFuture;
use serde_json::Value;

use super::look::Look;
use crate::{
    error::Error,
    tool::{JsonSchema, Serialize},
};

/// One thing that is looked at.
pub struct Check {
    pub name: &'static str,
    /// The endpoints it asks, besides those that all share.
    pub api: &'static [&'static str],
    /// Paths, and any of which privileges has to be held there for lists to be whole.
    pub sees: &'static [(&'static str, &'static [&'static str])],
    pub run: for<'a> fn(&'a Look<'a>) -> BoxFuture<'a, Told>,
}

/// Guests are all seen.
pub const GUESTS: (&str, &[&str]) = ("/vms", &["VM.Audit"]);
/// Storages are all seen.
pub const STORAGES: (&str, &[&str]) = ("/storage", &["Datastore.Audit", "Datastore.AllocateSpace"]);

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    Critical,
    Warning,
    Info,
}

impl Severity {
    pub fn word(self) -> &'static str {
        match self {
            Self::Critical => "critical",
            Self::Warning => "warning",
            Self::Info => "info",
        }
    }
}

/// Something that is not as it should be.
#[derive(Debug)]
pub struct Finding {
    pub severity: Severity,
    /// What it is about, by what Proxmox knows it by; names that people gave are evidence.
    pub subject: String,
    /// With numbers and dates.
    pub evidence: String,
    /// The call of a tool that would help.
    pub help: Option<String>,
}

impl Finding {
    pub fn new(severity: Severity, subject: impl Into<String>, evidence: impl Into<String>) -> Self {
        Self { severity, subject: subject.into(), evidence: evidence.into(), help: None }
    }
    pub fn help(self, tool: &str, arguments: &Value) -> Self {
        Self { help: Some(format!("{tool} {arguments}")), ..self }
    }
}

/// What came of a check.
#[derive(Debug, Default)]
pub struct Told {
    /// Worst first, within one severity.
    pub findings: Vec<Finding>,
    /// What could not be looked at, and why.
    pub unchecked: Vec<(String, String)>,
}

impl Told {
    pub fn find(&mut self, finding: Finding) {
        self.findings.push(finding);
    }
    pub fn unchecked(&mut self, subject: impl Into<String>, why: impl Into<String>) {
        self.unchecked.push((subject.into(), why.into()));
    }
    /// Notes why something could not be looked at; what was, otherwise.
    pub fn unless<T>(&mut self, subject: &str, answer: Result<T, Error>) -> Option<T> {
        answer.map_err(|e| self.unchecked(subject, e.to_string())).ok()
    }
}
