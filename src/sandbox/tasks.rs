//! The records of tasks: UPIDs in PVE's grammar, logs, results, and how lists and the status show them. What tasks do is
//! in [`super::worker`].

use std::collections::{BTreeMap, HashMap};

use serde_json::{Map, Value, json};
use tokio::task::AbortHandle;

/// How many finished tasks are kept.
const ARCHIVE: usize = 5_000;

#[derive(Debug)]
pub struct Task {
    pub upid: String,
    pub node: String,
    pub pid: u32,
    pub pstart: u64,
    /// Simulated Unix time.
    pub starttime: u64,
    pub kind: String,
    pub id: String,
    /// `user@realm`, without the token.
    pub user: String,
    pub token: Option<String>,
    pub log: Vec<String>,
    pub warnings: u32,
    /// When and how it ended: `OK`, `WARNINGS: 2`, the error text, `unexpected status`.
    pub end: Option<(u64, String)>,
    /// Ends the worker; absent in tasks of the past (seeded ones).
    pub abort: Option<AbortHandle>,
}

impl Task {
    /// A task begun at `starttime`; its UPID is made from the rest.
    pub fn new(origin: Origin<'_>, kind: &str, id: &str) -> Self {
        let Origin { node, pid, pstart, starttime, who } = origin;
        let (user, token) = match who.split_once('!') {
            Some((user, token)) => (user.to_owned(), Some(token.to_owned())),
            None => (who.to_owned(), None),
        };
        Self {
            upid: format!("UPID:{node}:{pid:08X}:{pstart:08X}:{starttime:08X}:{kind}:{id}:{who}:"),
            node: node.to_owned(),
            pid,
            pstart,
            starttime,
            kind: kind.to_owned(),
            id: id.to_owned(),
            user,
            token,
            log: Vec::new(),
            warnings: 0,
            end: None,
            abort: None,
        }
    }
    pub fn is_running(&self) -> bool {
        self.end.is_none()
    }
    /// The user as in the UPID: `user@realm!token`.
    pub fn who(&self) -> String {
        self.token.as_ref().map_or_else(|| self.user.clone(), |token| format!("{}!{token}", self.user))
    }

    fn facts(&self) -> Map<String, Value> {
        let mut out = Map::new();
        out.insert("upid".to_owned(), self.upid.as_str().into());
        out.insert("node".to_owned(), self.node.as_str().into());
        out.insert("starttime".to_owned(), self.starttime.into());
        out.insert("type".to_owned(), self.kind.as_str().into());
        out.insert("id".to_owned(), self.id.as_str().into());
        out.insert("user".to_owned(), self.user.as_str().into());
        if let Some(token) = &self.token {
            out.insert("tokenid".to_owned(), token.as_str().into());
        }
        out
    }
    /// As in the status of the task.
    pub fn status(&self) -> Value {
        let mut out = self.facts();
        out.insert("pid".to_owned(), self.pid.into());
        out.insert("pstart".to_owned(), self.pstart.into());
        out.insert("status".to_owned(), if self.is_running() { "running" } else { "stopped" }.into());
        if let Some((_, status)) = &self.end {
            out.insert("exitstatus".to_owned(), status.as_str().into());
        }
        out.into()
    }
    /// As in the list of a node; `active`: among the active ones, where a running task shows `RUNNING`.
    pub fn in_node_list(&self) -> Value {
        let mut out = self.facts();
        out.insert("pid".to_owned(), self.pid.into());
        out.insert("pstart".to_owned(), self.pstart.into());
        match &self.end {
            Some((time, status)) => {
                out.insert("endtime".to_owned(), (*time).into());
                out.insert("status".to_owned(), status.as_str().into());
            }
            None => drop(out.insert("status".to_owned(), "RUNNING".into())),
        }
        out.into()
    }
    /// As in the list of the cluster: a running one has its pid, a finished one `saved`.
    pub fn in_cluster_list(&self) -> Value {
        let mut out = self.facts();
        match &self.end {
            Some((time, status)) => {
                out.insert("endtime".to_owned(), (*time).into());
                out.insert("status".to_owned(), status.as_str().into());
                out.insert("saved".to_owned(), "1".into());
            }
            None => drop(out.insert("pid".to_owned(), self.pid.into())),
        }
        out.into()
    }
    /// Lines `start..start+limit` of the log, as the API gives them; `limit` 0: all.
    pub fn lines(&self, start: usize, limit: usize) -> Vec<Value> {
        let limit = if limit == 0 { usize::MAX } else { limit };
        if self.log.is_empty() {
            return if start == 0 { vec![json!({"n": 1, "t": "no content"})] } else { Vec::new() };
        }
        let lines = self.log.iter().enumerate().skip(start).take(limit);
        lines.map(|(at, line)| json!({"n": at + 1, "t": line})).collect()
    }
    /// What `total` says beside the log.
    pub fn log_total(&self) -> usize {
        self.log.len().max(1)
    }
}

/// Where and by whom a task is begun.
#[derive(Debug, Clone, Copy)]
pub struct Origin<'a> {
    pub node: &'a str,
    pub pid: u32,
    /// Start in clock ticks (1/100 s) since the node's boot.
    pub pstart: u64,
    pub starttime: u64,
    /// `user@realm` or `user@realm!token`.
    pub who: &'a str,
}

/// All tasks of the cluster in the order of their start.
#[derive(Debug, Default)]
pub struct Tasks {
    all: BTreeMap<u64, Task>,
    by_upid: HashMap<String, u64>,
    last: u64,
    last_pid: u32,
}

impl Tasks {
    /// A process id that was not used lately.
    pub fn next_pid(&mut self) -> u32 {
        self.last_pid = if self.last_pid < 4_000_000 { self.last_pid.max(1_200) + 3 } else { 1_200 };
        self.last_pid
    }
    pub fn add(&mut self, task: Task) {
        self.last += 1;
        self.by_upid.insert(task.upid.clone(), self.last);
        self.all.insert(self.last, task);
        if self.all.len() > ARCHIVE
            && let Some(oldest) = self.all.iter().find(|(_, task)| !task.is_running()).map(|(number, _)| *number)
            && let Some(gone) = self.all.remove(&oldest)
        {
            self.by_upid.remove(&gone.upid);
        }
    }
    pub fn get(&self, upid: &str) -> Option<&Task> {
        self.all.get(self.by_upid.get(upid)?)
    }
    pub fn get_mut(&mut self, upid: &str) -> Option<&mut Task> {
        self.all.get_mut(self.by_upid.get(upid)?)
    }
    /// Newest first.
    pub fn newest(&self) -> impl Iterator<Item = &Task> {
        self.all.values().rev()
    }
}

/// The node in a UPID, where the text has a UPID's form at all: `UPID:node:pid:pstart:starttime:type:id:user:`.
pub fn node_of(upid: &str) -> Option<&str> {
    let parts: Vec<&str> = upid.split(':').collect();
    let [tag, node, pid, pstart, start, kind, _, user, end] = parts[..] else { return None };
    let hex =
        |text: &str, lengths: &[usize]| lengths.contains(&text.len()) && text.bytes().all(|b| b.is_ascii_hexdigit());
    let good = tag == "UPID"
        && !node.is_empty()
        && hex(pid, &[8])
        && hex(pstart, &[8, 9])
        && hex(start, &[8])
        && !kind.is_empty()
        && !user.is_empty()
        && end.is_empty();
    good.then_some(node)
}
