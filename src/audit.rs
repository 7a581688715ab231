//! The record of what was done: before anything is sent and after it.

use std::{
    fs::OpenOptions,
    io::Write,
    path::{Path, PathBuf},
};

use serde_json::{Value, json};

use crate::{
    error::{Error, Result},
    key::{self, Key},
    plan::{Outcome, Plan},
    tool::Entry,
    trail::Sent,
};

/// What is going to be done.
pub struct Intent<'a> {
    pub entry: &'static Entry,
    pub cluster: &'a str,
    /// Name and version of the client, where it said them.
    pub client: Option<&'a str>,
    /// The arguments as they were given, secrets included: they are taken out here.
    pub given: &'a Value,
    pub plan: &'a Plan,
    /// How it was confirmed: `flag`, `plan`, `human`; empty where nobody had to.
    pub confirmed: &'a str,
}

/// A file of JSON lines that only grows.
#[derive(Debug)]
pub struct Audit {
    file: PathBuf,
}

impl Audit {
    /// # Errors
    /// A file that cannot be written.
    pub fn open(file: &Path, _key: Option<Key>) -> Result<Self> {
        Ok(Self { file: file.to_owned() })
    }

    /// Records what is going to be done; its id.
    ///
    /// # Errors
    /// What cannot be recorded must not be done.
    pub async fn begin(&self, intent: Intent<'_>) -> Result<String> {
        let id = key::hex(&key::random::<6>()?);
        self.append(&json!({"id": id, "tool": intent.entry.name, "plan": intent.plan.summary}))?;
        Ok(id)
    }

    /// Records what came of it.
    ///
    /// # Errors
    /// A file that cannot be written.
    pub async fn end(&self, id: &str, sent: &[Sent], outcome: Result<&Outcome, &Error>) -> Result<()> {
        let outcome = match outcome {
            Ok(outcome) => serde_json::to_value(outcome),
            Err(error) => serde_json::to_value(error.parts()),
        };
        self.append(&json!({"id": id, "sent": sent, "outcome": outcome.unwrap_or_default()}))
    }

    fn append(&self, line: &Value) -> Result<()> {
        let write = || -> std::io::Result<()> {
            let mut file = OpenOptions::new().create(true).append(true).open(&self.file)?;
            writeln!(file, "{line}")?;
            file.sync_data()
        };
        write().map_err(|e| Error::internal(format!("cannot write {}: {e}", self.file.display())))
    }
}
