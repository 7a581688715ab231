//! Faults asked for by name, from tests and from the command line; never through the API.

use std::{str::FromStr, sync::Mutex, sync::PoisonError};

use http::Method;

/// What goes wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FaultKind {
    /// The connection is refused: nothing reaches the server. Over the network that can only be done before a request is
    /// known, so a fault with a filter closes the connection there instead, without processing anything.
    Refuse,
    /// The request is taken and never answered.
    Stall,
    /// The request is processed and the connection closed without an answer.
    Drop,
    /// The node behind the proxy cannot be reached: `595 Connection refused`, nothing processed.
    Status595,
    /// `596 Connection timed out`: processed, but the answer is lost at the proxy.
    Status596,
    /// Whoever needs the guest's file lock gets `can't lock file … - got timeout` (in the task, or at once).
    LockTimeout,
    /// The task that the request starts ends with this text.
    TaskFailure(String),
    /// The task that the request starts prints that many warnings more.
    TaskWarnings(u32),
    /// The ticket is refused as expired; API tokens are not affected.
    ExpiredTicket,
    /// The node goes offline, at once and until it is set online again.
    OfflineNode(String),
}

/// A fault and the requests that it befalls.
///
/// As text: `KIND[=VALUE][:[METHOD ][/path][:count=N]]`, e.g. `stall:GET /cluster/resources:count=1`,
/// `task-failure=no space left:POST /nodes/*/qemu/*/clone`, `offline-node=pve2`. In the path, `*` and `{name}` stand for
/// one segment, `**` at the end for the rest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    pub kind: FaultKind,
    pub method: Option<Method>,
    pub path: Option<String>,
    /// How many requests it befalls; always, where it is not given.
    pub count: Option<u32>,
}

impl Fault {
    pub fn new(kind: FaultKind) -> Self {
        Self { kind, method: None, path: None, count: None }
    }
    /// Only for requests of this method, to paths of this pattern.
    pub fn on(mut self, method: Method, path: &str) -> Self {
        self.method = Some(method);
        self.path = Some(path.to_owned());
        self
    }
    /// Only that many times.
    pub fn times(mut self, count: u32) -> Self {
        self.count = Some(count);
        self
    }

    fn befalls(&self, method: &Method, path: &str) -> bool {
        self.count != Some(0)
            && self.method.as_ref().is_none_or(|m| m == method)
            && self.path.as_ref().is_none_or(|pattern| path_matches(pattern, path))
    }
}

impl FromStr for Fault {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut parts = text.split(':');
        let head = parts.next().unwrap_or_default();
        let (name, value) = head.split_once('=').map_or((head, None), |(n, v)| (n, Some(v)));
        let kind = match (name.trim(), value) {
            ("refuse", None) => FaultKind::Refuse,
            ("stall", None) => FaultKind::Stall,
            ("drop-after-sending", None) => FaultKind::Drop,
            ("595", None) => FaultKind::Status595,
            ("596", None) => FaultKind::Status596,
            ("lock-timeout", None) => FaultKind::LockTimeout,
            ("task-failure", text) => FaultKind::TaskFailure(text.unwrap_or("command failed: exit code 1").to_owned()),
            ("task-warnings", n) => FaultKind::TaskWarnings(
                n.unwrap_or("1").parse().map_err(|_| format!("'{text}': task-warnings=NUMBER expected"))?,
            ),
            ("expired-ticket", None) => FaultKind::ExpiredTicket,
            ("offline-node", Some(node)) => FaultKind::OfflineNode(node.to_owned()),
            ("offline-node", None) => return Err("offline-node needs a node: offline-node=pve2".to_owned()),
            _ => {
                return Err(format!(
                    "unknown fault '{head}'; one of refuse, stall, drop-after-sending, 595, 596, lock-timeout, \
                     task-failure[=TEXT], task-warnings[=N], expired-ticket, offline-node=NODE"
                ));
            }
        };
        let mut fault = Self::new(kind);
        for part in parts.map(str::trim).filter(|part| !part.is_empty()) {
            if let Some(count) = part.strip_prefix("count=") {
                fault.count = Some(count.parse().map_err(|_| format!("'{part}' is no number of times"))?);
                continue;
            }
            let (method, path) = match part.split_once(' ') {
                Some((method, path)) => (Some(method), Some(path.trim())),
                None if part.starts_with('/') => (None, Some(part)),
                None => (Some(part), None),
            };
            if let Some(method) = method {
                let method = method.to_ascii_uppercase();
                if !["GET", "POST", "PUT", "DELETE"].contains(&method.as_str()) {
                    return Err(format!("'{method}' in fault '{text}' is no method of the API"));
                }
                fault.method = method.parse().ok();
            }
            fault.path = path.map(str::to_owned);
        }
        Ok(fault)
    }
}

/// Whether a path fits a pattern, segment by segment.
pub fn path_matches(pattern: &str, path: &str) -> bool {
    let mut want = pattern.trim_matches('/').split('/');
    let mut have = path.trim_matches('/').split('/');
    loop {
        match (want.next(), have.next()) {
            (None, None) => return true,
            (Some("**"), _) => return true,
            (Some(w), Some(h)) if w == "*" || w == h || (w.starts_with('{') && w.ends_with('}')) => {}
            _ => return false,
        }
    }
}

/// The faults that are armed.
#[derive(Debug, Default)]
pub struct Faults(Mutex<Vec<Fault>>);

impl Faults {
    pub fn add(&self, fault: Fault) {
        self.lock().push(fault);
    }
    pub fn clear(&self) {
        self.lock().clear();
    }
    /// The faults that befall this request; each counts as used once.
    pub fn take(&self, method: &Method, path: &str) -> Vec<FaultKind> {
        let mut all = self.lock();
        let mut hit = Vec::new();
        for fault in all.iter_mut().filter(|fault| fault.befalls(method, path)) {
            hit.push(fault.kind.clone());
            fault.count = fault.count.map(|n| n - 1);
        }
        all.retain(|fault| fault.count != Some(0));
        hit
    }
    /// Whether a new connection is to be refused before anything is read: only for a fault without a filter.
    pub fn refuses_connection(&self) -> bool {
        let mut all = self.lock();
        let hit = all
            .iter_mut()
            .find(|f| f.kind == FaultKind::Refuse && f.method.is_none() && f.path.is_none() && f.count != Some(0));
        match hit {
            Some(fault) => {
                fault.count = fault.count.map(|n| n - 1);
                true
            }
            None => false,
        }
    }
    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Fault>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
