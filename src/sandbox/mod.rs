//! A stateful simulated Proxmox VE cluster that speaks the Proxmox API, over HTTPS ([`Sandbox::listen`]) or in-process
//! ([`Sandbox::handle`], and as a [`crate::pve::Transport`]). It knows nothing of MCP or of this program's tools.
//!
//! The way of a request is in `router.rs`; all answers leave through `wire.rs`.
//!
//! # Adding an endpoint
//! 1. Write `fn name(call: &Call) -> Answered` in the family's file under `routes/`. Parameters are checked already
//!    (`call.text("name")`, `call.flag(…)`, `call.list(…)`); so are login, the permission that the schema names, and
//!    whether the node is there. Further permissions: `call.check(path, &[…])?`. Lists filter by
//!    `state.may(&call.who, …)`.
//! 2. Read and change the cluster through `call.sandbox.state()`; never hold it over an `await`, and never take it twice
//!    in one expression. Guests are changed through `state.guest_mut(vmid)`.
//! 3. Answer anything that becomes JSON (`Ok(json!(…).into())`, `Ok(Answer::null())`), or `Err(Refusal::failed("…"))`
//!    (500), `Refusal::param("name", "…")` (400), `Refusal::forbidden("/vms/100, VM.Audit")` (403).
//! 4. Long work is a task: `call.fork(node, "qmstart", vmid, |worker| async move { … Ok(()) })`; inside, `worker.log`,
//!    `worker.warn`, `worker.work(duration)`, `worker.transfer(bytes, rate)`, `let _lock = worker.lock(kind, vmid).await?`,
//!    and `Err("text")` for `TASK ERROR: text`. Work that waits without a task is a [`router::Route::slow`] handler.
//! 5. Add one line to the family's `ROUTES`; a new family goes into `routes::FAMILIES`.

mod access;
mod appliances;
mod by_hand;
mod calendar;
mod call;
mod clock;
mod config;
mod drives;
mod faults;
mod firewall;
mod guest;
mod ha;
mod inside;
mod listen;
mod params;
mod replication;
mod router;
mod routes;
mod sdn;
mod seed;
mod state;
mod storage;
mod tasks;
#[cfg(test)]
mod tests;
mod upload;
mod web;
mod wire;
mod worker;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use futures::{TryStreamExt, future::BoxFuture};
use http::{Request, Response};

pub use by_hand::{ByHand, HeldLock, NewVolume};
pub use faults::{Fault, FaultKind};
pub use listen::Server;
pub use seed::Credentials;
pub use wire::reason;

use crate::pve::{SendError, Transport, Upload, api::Api};

/// What the cluster is like.
#[derive(Debug, Clone)]
pub struct Options {
    /// Names of the nodes; at least one.
    pub nodes: Vec<String>,
    /// How many guests, templates not counted; up to 10,000.
    pub guests: usize,
    /// The same seed makes the same cluster.
    pub seed: u64,
    /// Simulated seconds per second: 10 makes tasks ten times as fast.
    pub time_scale: f64,
    /// Added to every answer; real time.
    pub latency: Duration,
    pub faults: Vec<Fault>,
    /// The Unix time at which the cluster begins; the present where none is given.
    pub epoch: Option<Duration>,
    /// Passwords and token secrets are made from the seed, not at random: for tests.
    pub fixed_secrets: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            nodes: Self::numbered_nodes(3),
            guests: 12,
            seed: 1,
            time_scale: 1.0,
            latency: Duration::ZERO,
            faults: Vec::new(),
            epoch: None,
            fixed_secrets: false,
        }
    }
}

impl Options {
    /// `pve1`, `pve2`, ….
    pub fn numbered_nodes(count: usize) -> Vec<String> {
        (1..=count).map(|n| format!("pve{n}")).collect()
    }
}

/// The cluster. Cheap to clone: clones are the same cluster.
#[derive(Clone)]
pub struct Sandbox(Arc<Inner>);

struct Inner {
    options: Options,
    clock: clock::Clock,
    state: Mutex<state::State>,
    router: router::Router,
    api: Api,
    faults: faults::Faults,
    /// Signs tickets.
    key: [u8; 32],
    credentials: Credentials,
    file_locks: Mutex<FileLocks>,
    resources: routes::ResourceCache,
    uploads: upload::Uploads,
}

/// The file locks of guests.
type FileLocks = HashMap<(guest::Kind, u32), Arc<tokio::sync::Mutex<()>>>;

/// How often the statistics daemon tells the cluster about guests.
const ROUND: u64 = 10;

impl Sandbox {
    /// Makes a cluster. Needs no network; its clock starts now.
    pub fn new(options: Options) -> Self {
        let clock = clock::Clock::new(options.time_scale, options.epoch);
        let (state, credentials, key) = seed::cluster(&options, clock.begun());
        let faults = faults::Faults::default();
        let inner = Inner {
            clock,
            state: Mutex::new(state),
            router: router::Router::new(routes::FAMILIES),
            api: Api::embedded(),
            faults,
            key,
            credentials,
            file_locks: Mutex::default(),
            resources: routes::ResourceCache::default(),
            uploads: upload::Uploads::default(),
            options,
        };
        let sandbox = Self(Arc::new(inner));
        for fault in sandbox.options().faults.clone() {
            sandbox.fault(fault);
        }
        sandbox
    }

    pub fn options(&self) -> &Options {
        &self.0.options
    }
    /// Who can log in, and how.
    pub fn credentials(&self) -> &Credentials {
        &self.0.credentials
    }
    /// Lets somebody in who may do everything: a user (`root@pam`) with this password, or a token (`root@pam!mcp`, without
    /// privilege separation) with this secret. For credentials that stand in a configuration already.
    pub fn admit(&self, who: &str, secret: secrecy::SecretString) {
        let mut state = self.state();
        let (name, token) = who.split_once('!').map_or((who, None), |(user, token)| (user, Some(token)));
        let known = state.access.users.contains_key(name);
        let user = state.access.users.entry(name.to_owned()).or_default();
        user.enable = true;
        match token {
            Some(token) => {
                let token_of = access::Token { secret, privsep: false, expire: 0, comment: None };
                user.tokens.insert(token.to_owned(), token_of);
            }
            None => user.password = Some(secret),
        }
        if !known {
            state.access.grant("/", name, "Administrator", true);
        }
    }
    /// Arms a fault. A node's going offline happens at once where the fault has no filter.
    pub fn fault(&self, fault: Fault) {
        match fault {
            Fault { kind: FaultKind::OfflineNode(node), method: None, path: None, .. } => self.set_online(&node, false),
            other => self.0.faults.add(other),
        }
    }
    /// Disarms all faults; nodes that went offline stay so.
    pub fn clear_faults(&self) {
        self.0.faults.clear();
    }
    /// Takes a node off the network, or brings it back.
    pub fn set_online(&self, node: &str, online: bool) {
        let mut state = self.state();
        if let Some(node) = state.nodes.get_mut(node) {
            node.online = online;
        }
        state.change_all();
    }
    /// The settings that connect a client to the cluster at this address, as lines of a `.env`. It holds a secret.
    pub fn env(&self, server: &Server) -> String {
        use secrecy::ExposeSecret;
        let known = self.credentials();
        format!(
            "PROXMOX_API_URL=https://{}\nPROXMOX_TOKEN_ID={}\nPROXMOX_TOKEN_SECRET={}\nPROXMOX_FINGERPRINT={}\n",
            server.addr,
            known.token_id,
            known.token_secret.expose_secret(),
            server.fingerprint
        )
    }
    /// Everything that a caller can change, one thing a line: to tell whether anything was. Without what moves by itself
    /// (task and cluster logs, statistics).
    pub fn snapshot(&self) -> String {
        self.state().snapshot()
    }
    /// Every method that is served, as `(method, path template)`.
    pub fn served(&self) -> impl Iterator<Item = (&http::Method, &'static str)> {
        self.0.router.served()
    }

    fn clock(&self) -> &clock::Clock {
        &self.0.clock
    }
    fn router(&self) -> &router::Router {
        &self.0.router
    }
    fn api(&self) -> &Api {
        &self.0.api
    }
    fn faults(&self) -> &faults::Faults {
        &self.0.faults
    }
    fn key(&self) -> &[u8; 32] {
        &self.0.key
    }
    fn uploads(&self) -> &upload::Uploads {
        &self.0.uploads
    }
    fn resources(&self) -> &routes::ResourceCache {
        &self.0.resources
    }

    /// The state, under its lock; brought up to the statistics daemon's last round first.
    fn state(&self) -> MutexGuard<'_, state::State> {
        let mut state = self.0.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.report(1 + self.0.clock.elapsed().as_secs() / ROUND);
        state
    }

    /// The file lock of a guest.
    fn file_lock(&self, kind: guest::Kind, vmid: u32) -> Arc<tokio::sync::Mutex<()>> {
        let mut locks = self.0.file_locks.lock().unwrap_or_else(PoisonError::into_inner);
        locks.entry((kind, vmid)).or_default().clone()
    }
}

impl Transport for Sandbox {
    fn send(&self, request: Request<Bytes>) -> BoxFuture<'_, Result<Response<Bytes>, SendError>> {
        Box::pin(self.handle(request))
    }

    fn upload(&self, request: Request<Upload>) -> BoxFuture<'_, Result<Response<Bytes>, SendError>> {
        let (parts, upload) = request.into_parts();
        let body = upload.stream().map_err(|e| SendError::Lost(e.to_string()));
        Box::pin(self.serve(parts, upload::Body::Stream(Box::pin(body))))
    }
}

impl std::fmt::Debug for Sandbox {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sandbox").field("options", &self.0.options).finish_non_exhaustive()
    }
}
