//! What is known of a task: its rows in lists, its status, how it ended, and what a failure means. Waiting for the end
//! is [`super::waiter`]'s business.

use std::{fmt, time::Duration};

use serde::{Deserialize, Serialize};

use super::Upid;
use crate::error::{Error, Kind};

/// How a task ended. A warning is a success: the work was done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ExitStatus {
    Ok,
    /// Done, with this many warnings in the log.
    Warnings(u32),
    /// The worker was killed or its log cut: nobody knows how far it came.
    Unexpected,
    /// Proxmox's own words.
    Failed(String),
}

impl ExitStatus {
    /// From `exitstatus`, or from the `status` of a row in a task list.
    pub fn parse(text: &str) -> Self {
        let text = text.trim();
        match text {
            "OK" => Self::Ok,
            "unexpected status" => Self::Unexpected,
            _ => match text.strip_prefix("WARNINGS:").map(|n| n.trim().parse()) {
                Some(Ok(n)) => Self::Warnings(n),
                _ => Self::Failed(text.to_owned()),
            },
        }
    }

    pub fn is_success(&self) -> bool {
        matches!(self, Self::Ok | Self::Warnings(_))
    }
}

/// As Proxmox writes it.
impl fmt::Display for ExitStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ok => f.write_str("OK"),
            Self::Warnings(n) => write!(f, "WARNINGS: {n}"),
            Self::Unexpected => f.write_str("unexpected status"),
            Self::Failed(words) => f.write_str(words),
        }
    }
}

impl Serialize for ExitStatus {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// `GET /nodes/{node}/tasks/{upid}/status`.
#[derive(Debug, Clone, Deserialize)]
pub struct TaskStatus {
    /// `running` or `stopped`.
    pub status: String,
    pub exitstatus: Option<String>,
    /// Seconds since 1970, by the node's clock.
    pub starttime: Option<i64>,
}

impl TaskStatus {
    /// How it ended; `None` while it runs.
    pub fn end(&self) -> Option<ExitStatus> {
        if self.status != "stopped" {
            return None;
        }
        // Stopped without a result is what Proxmox elsewhere calls an unexpected status.
        Some(self.exitstatus.as_deref().map_or(ExitStatus::Unexpected, ExitStatus::parse))
    }
}

/// A row of `GET /nodes/{node}/tasks` or `GET /cluster/tasks`.
#[derive(Debug, Clone, Deserialize)]
pub struct TaskRow {
    pub upid: String,
    #[serde(default)]
    pub node: String,
    #[serde(rename = "type", default)]
    pub kind: String,
    #[serde(default)]
    pub id: String,
    /// `user@realm`, without the token's name.
    #[serde(default)]
    pub user: String,
    pub tokenid: Option<String>,
    /// Seconds since 1970, by the node's clock; so is `endtime`.
    #[serde(default)]
    pub starttime: i64,
    pub endtime: Option<i64>,
    /// `RUNNING` or absent while it runs, the exit status after.
    pub status: Option<String>,
}

impl TaskRow {
    /// `user@realm`, with the token's name where it was a token's.
    pub fn who(&self) -> String {
        match &self.tokenid {
            Some(token) if !self.user.contains('!') => format!("{}!{token}", self.user),
            _ => self.user.clone(),
        }
    }

    /// How it ended; `None` while it runs.
    pub fn end(&self) -> Option<ExitStatus> {
        match self.status.as_deref() {
            None | Some("RUNNING" | "") => None,
            Some(status) => Some(ExitStatus::parse(status)),
        }
    }
}

/// How long to wait, and how often to look.
#[derive(Debug, Clone, Copy)]
pub struct WaitOptions {
    /// After this the wait ends and the task goes on: no failure.
    pub timeout: Duration,
    /// The longest pause between two looks. They begin close together, so that a short task costs little extra.
    pub poll_interval: Duration,
}

impl Default for WaitOptions {
    fn default() -> Self {
        Self { timeout: Duration::from_secs(900), poll_interval: Duration::from_secs(2) }
    }
}

/// What a wait came to.
#[derive(Debug, Clone)]
pub enum Waited {
    Done(TaskEnd),
    /// The time ran out; the task goes on.
    Running {
        /// The last line of its log.
        log: Option<String>,
        /// 0 to 100, where the task says so.
        percent: Option<f64>,
        /// Why no more is known: the node does not answer.
        note: Option<String>,
    },
}

/// A task that has ended.
#[derive(Debug, Clone)]
pub struct TaskEnd {
    pub upid: Upid,
    pub status: ExitStatus,
    /// The log's warnings, where the status counts some.
    pub warnings: Vec<String>,
    /// The end of the log, oldest line first; read only where the task failed.
    pub log_tail: Vec<String>,
    /// From the beginning of the wait until the end was seen.
    pub duration: Duration,
    /// A task of the HA stack: the request was queued, and what was asked for may be yet to come.
    pub queued_only: bool,
}

impl TaskEnd {
    /// Itself if the task succeeded, with or without warnings.
    ///
    /// # Errors
    /// `TaskFailed` with Proxmox's words, the end of the log, the UPID, and a hint where one is known.
    pub fn check(self) -> Result<Self, Error> {
        if self.status.is_success() {
            return Ok(self);
        }
        let words = match &self.status {
            ExitStatus::Unexpected => "unexpected status: the task ended without a result".to_owned(),
            other => other.to_string(),
        };
        let error = Error::new(Kind::TaskFailed, &words).upid(self.upid.as_str()).log(self.log_tail);
        Err(match hint(&words) {
            Some(hint) => error.hint(hint),
            None => error,
        })
    }
}

/// What to try after a failure that only tasks have, by words of its exit status in lower case. First match counts; what
/// requests are refused with as well is in the table of [`super::error`].
const HINTS: &[(&str, &str)] = &[
    ("can't lock file", "another task works on this guest: wait for it (list the running tasks), then try again"),
    ("out of memory", "the node has too little free memory for it"),
    ("cannot allocate memory", "the node has too little free memory for it"),
    ("if it's a template", "templates cannot be started: clone it and start the clone"),
    ("bridge '", "choose a bridge that exists on this node"),
    ("can't migrate running vm", "ask for a live migration (online)"),
    ("local disk", "migrate with its local disks, or move them to shared storage first"),
    (
        "kvm virtualisation configured, but not available",
        "the node has no hardware virtualisation: set kvm=0 for the VM, or enable it in the firmware",
    ),
    ("already used", "choose another name"),
    ("checksum mismatch:", "what was downloaded is not what was expected: look at the URL and the checksum"),
    ("job errors", "the log names the guests whose backup failed"),
    ("interrupted by signal", "somebody stopped the task"),
    (
        "unexpected status",
        "the worker was stopped or killed, perhaps with its node: look at what it worked on before trying again",
    ),
];

fn hint(words: &str) -> Option<&'static str> {
    let lower = words.to_lowercase();
    let of_tasks = HINTS.iter().find(|(part, _)| lower.contains(part)).map(|(_, hint)| *hint);
    of_tasks.or_else(|| super::error::meaning(words).map(|(_, hint)| hint).filter(|hint| !hint.is_empty()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ended(status: ExitStatus) -> Result<TaskEnd, Error> {
        Ok(TaskEnd {
            upid: "UPID:pve:000040EC:0006D198:6B010091:qmstart:120:root@pam:".parse()?,
            status,
            warnings: Vec::new(),
            log_tail: vec!["TASK ERROR".into()],
            duration: Duration::ZERO,
            queued_only: false,
        })
    }

    #[test]
    fn each_exit_status_is_told_apart_and_reads_as_proxmox_wrote_it() {
        for (text, status, success) in [
            ("OK", ExitStatus::Ok, true),
            ("WARNINGS: 2", ExitStatus::Warnings(2), true),
            ("unexpected status", ExitStatus::Unexpected, false),
            ("WARNINGS: many", ExitStatus::Failed("WARNINGS: many".into()), false),
            ("VM 120 already running", ExitStatus::Failed("VM 120 already running".into()), false),
        ] {
            let parsed = ExitStatus::parse(text);
            assert_eq!((parsed.is_success(), parsed.to_string().as_str()), (success, text));
            assert_eq!(parsed, status);
        }
    }

    #[test]
    fn a_running_task_has_no_end_in_either_form() {
        let status = TaskStatus { status: "running".into(), exitstatus: None, starttime: None };
        assert_eq!(status.end(), None);
        let row: Result<TaskRow, _> = serde_json::from_str(r#"{"upid":"x","status":"RUNNING"}"#);
        assert_eq!(row.map(|r| r.end()).ok(), Some(None));
    }

    #[test]
    fn a_failure_carries_the_words_the_upid_the_log_and_a_hint() -> Result<(), Error> {
        let words = "can't lock file '/var/lock/qemu-server/lock-141.conf' - got timeout";
        let error = ended(ExitStatus::Failed(words.into()))?.check().err();
        let parts = error.as_ref().map(Error::parts);
        let (kind, message) = (parts.map(|p| p.kind), parts.map(|p| p.message.as_str()));
        assert_eq!((kind, message), (Some(Kind::TaskFailed), Some(words)));
        assert!(parts.is_some_and(|p| p.upid.is_some() && p.log.len() == 1));
        assert!(parts.and_then(|p| p.hint.as_deref()).is_some_and(|h| h.contains("another task")));
        Ok(())
    }

    #[test]
    fn warnings_are_no_failure() -> Result<(), Error> {
        assert_eq!(ended(ExitStatus::Warnings(2))?.check()?.status, ExitStatus::Warnings(2));
        Ok(())
    }
}
