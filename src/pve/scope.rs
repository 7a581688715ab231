//! What one call of a tool may do to the API: the requests its tool declared, its progress and its cancellation.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use bytes::Bytes;
use tokio_util::sync::CancellationToken;

use super::Request;
use crate::{
    error::{Error, Result},
    progress::Progress,
};

/// What any tool may read besides its own list: finding guests, choosing what a call left out, checking a plan before it is
/// shown, and watching tasks.
const COMMON: &[&str] = &[
    "GET /access/permissions",
    "GET /cluster/ha/resources",
    "GET /cluster/nextid",
    "GET /cluster/options",
    "GET /cluster/replication",
    "GET /cluster/resources",
    "GET /nodes",
    "GET /nodes/{node}/network",
    "GET /nodes/{node}/storage",
    "GET /nodes/{node}/storage/{storage}/content",
    "GET /nodes/{node}/{type}",
    "GET /nodes/{node}/{type}/{vmid}/config",
    "GET /nodes/{node}/{type}/{vmid}/snapshot",
    "GET /nodes/{node}/{type}/{vmid}/status/current",
    "GET /nodes/{node}/tasks",
    "GET /nodes/{node}/tasks/{upid}/log",
    "GET /nodes/{node}/tasks/{upid}/status",
];

/// What a call may do once it is cancelled, whatever its tool is: stop the task that it waits for.
const ABORT: &str = "DELETE /nodes/{node}/tasks/{upid}";

/// One call of one tool. `api` is the tool's list of `METHOD /path` patterns, where `{x}` stands for one segment and
/// `{type}` for `qemu` or `lxc`. `METHOD *` is any path: for the tools that are for the API itself, and no other.
#[derive(Debug)]
pub struct Scope {
    pub tool: &'static str,
    pub api: &'static [&'static str],
    /// What it may call besides, for what a caller can ask of many tools.
    pub also: &'static [&'static str],
    pub progress: Progress,
    pub cancel: CancellationToken,
    pub seen: Seen,
}

/// What a plan was made from: every answer that was read since [`Seen::begin`], by its request. A configuration is asked
/// for once by all who want to see it meanwhile.
#[derive(Debug, Default)]
pub struct Seen(Mutex<Option<BTreeMap<String, Bytes>>>);

impl Seen {
    /// Forgets, and remembers from now on.
    pub fn begin(&self) {
        *self.lock() = Some(BTreeMap::new());
    }
    /// Forgets, and remembers no more: what is read from now on is to be current.
    pub fn end(&self) {
        *self.lock() = None;
    }
    pub(super) fn answer(&self, request: &Request) -> Option<Bytes> {
        self.lock().as_ref()?.get(&name(request)).cloned()
    }
    pub(super) fn note(&self, request: &Request, body: &Bytes) {
        if let Some(seen) = self.lock().as_mut() {
            seen.insert(name(request), body.clone());
        }
    }
    /// Something else that was found out meanwhile.
    pub fn add(&self, what: String, answer: Bytes) {
        if let Some(seen) = self.lock().as_mut() {
            seen.insert(what, answer);
        }
    }
    /// `path?parameters` and the answer, in the order of the former.
    pub fn all(&self) -> Vec<(String, Bytes)> {
        self.lock().iter().flatten().map(|(request, body)| (request.clone(), body.clone())).collect()
    }
    fn lock(&self) -> MutexGuard<'_, Option<BTreeMap<String, Bytes>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn name(request: &Request) -> String {
    format!("{}?{}", request.path, request.encoded())
}

impl Scope {
    /// Checks a request against the tool's list.
    ///
    /// # Errors
    /// `Internal` where the tool did not declare it: a fault of the tool, not of its caller. `BadArgument` where a name in its
    /// path is empty.
    pub fn check(&self, request: &Request) -> Result<()> {
        let mut declared = self.api.iter().chain(self.also).chain(COMMON);
        let aborts = self.cancel.is_cancelled() && matches(ABORT, request);
        if aborts || declared.any(|pattern| matches(pattern, request)) {
            return Ok(());
        }
        if request.path.split('/').skip(1).any(str::is_empty) {
            let words = format!("an argument is empty that is part of an address: {request}");
            return Err(Error::bad_argument(words).hint("give it a value, or leave it out"));
        }
        Err(Error::internal(format!("tool {} may not call {request}", self.tool))
            .hint("a fault in this program: the tool's API list lacks this request")
            .request(request.to_string()))
    }
}

fn matches(pattern: &str, request: &Request) -> bool {
    let Some((method, path)) = pattern.split_once(' ') else { return false };
    if method != request.method.as_str() {
        return false;
    }
    if path == "*" {
        return true;
    }
    let mut wanted = path.split('/');
    let mut given = request.path.split('/');
    loop {
        match (wanted.next(), given.next()) {
            (None, None) => return true,
            (Some("{type}"), Some("qemu" | "lxc")) => {}
            (Some("{type}"), _) => return false,
            (Some(w), Some(g)) if w == g || (w.starts_with('{') && w.ends_with('}') && !g.is_empty()) => {}
            _ => return false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scope(api: &'static [&'static str]) -> Scope {
        Scope {
            tool: "proxmox-test",
            api,
            also: &[],
            progress: Progress::none(),
            cancel: CancellationToken::new(),
            seen: Seen::default(),
        }
    }

    #[test]
    fn a_declared_request_passes_for_both_kinds_of_guest() {
        let scope = scope(&["GET /nodes/{node}/{type}/{vmid}/config"]);
        assert!(scope.check(&Request::get("/nodes/pve1/qemu/100/config")).is_ok());
        assert!(scope.check(&Request::get("/nodes/pve1/lxc/100/config")).is_ok());
        assert!(scope.check(&Request::get("/nodes/pve1/storage/100/config")).is_err());
    }

    #[test]
    fn method_length_and_empty_segments_count() {
        let scope = scope(&["POST /nodes/{node}/qemu/{vmid}/clone", "DELETE /pools"]);
        assert!(scope.check(&Request::post("/nodes/a/qemu/1/clone")).is_ok());
        assert!(scope.check(&Request::delete("/pools").param("poolid", "x")).is_ok());
        for refused in [
            Request::get("/nodes/a/qemu/1/clone"),
            Request::post("/nodes/a/qemu/1/clone/more"),
            Request::post("/nodes/a/qemu/1"),
        ] {
            let error = scope.check(&refused).err().map(|e| e.to_string());
            assert_eq!(error, Some(format!("tool proxmox-test may not call {refused}")));
        }
        let empty = scope.check(&Request::post("/nodes//qemu/1/clone")).err().map(|e| e.kind());
        assert_eq!(empty, Some(crate::error::Kind::BadArgument));
    }

    #[test]
    fn any_path_is_of_one_method() {
        let scope = scope(&["PUT *"]);
        assert!(scope.check(&Request::put("/cluster/options")).is_ok());
        assert!(scope.check(&Request::post("/cluster/options")).is_err());
    }

    #[test]
    fn guests_and_tasks_may_always_be_looked_up() {
        let scope = scope(&[]);
        assert!(scope.check(&Request::get("/cluster/resources").param("type", "vm")).is_ok());
        assert!(scope.check(&Request::get("/nodes/a/tasks/UPID%3Aa/status")).is_ok());
        assert!(scope.check(&Request::delete("/nodes/a/tasks/UPID%3Aa")).is_err());
    }

    #[test]
    fn a_cancelled_call_may_stop_a_task_and_delete_nothing_else() {
        let scope = scope(&[]);
        scope.cancel.cancel();
        assert!(scope.check(&Request::delete("/nodes/a/tasks/UPID%3Aa")).is_ok());
        assert!(scope.check(&Request::delete("/nodes/a/qemu/100")).is_err());
    }
}
