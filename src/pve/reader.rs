//! The view of a cluster that tools are given: it reads what the tool declared, and cannot write.

use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, de::DeserializeOwned};
use tokio::time::{Instant, sleep};

use super::{
    Client, ExitStatus, Guest, GuestRef, Listing, Request, Resources, Scope, TaskStatus, Upid, WaitOptions, Waited,
    Want, waiter,
};
use crate::error::{Error, Kind, Result};

/// GETs only, each checked against the tool's list, each ended by the call's cancellation.
#[derive(Clone, Copy)]
pub struct Reader<'a> {
    client: &'a Client,
    scope: &'a Scope,
}

impl<'a> Reader<'a> {
    pub fn new(client: &'a Client, scope: &'a Scope) -> Self {
        Self { client, scope }
    }

    pub(crate) fn client(&self) -> &'a Client {
        self.client
    }

    pub fn scope(&self) -> &'a Scope {
        self.scope
    }

    /// The name of the cluster that is read.
    pub fn cluster(&self) -> &'a str {
        self.client.name()
    }

    /// The `data` at a path.
    ///
    /// # Errors
    /// Proxmox's; `Internal` where the tool did not declare the request; `Cancelled`.
    pub async fn get<T: DeserializeOwned>(&self, path: impl Into<String>) -> Result<T> {
        self.request(&Request::get(path)).await
    }

    /// As [`Reader::get`], with parameters.
    ///
    /// # Errors
    /// As [`Reader::get`].
    pub async fn request<T: DeserializeOwned>(&self, request: &Request) -> Result<T> {
        self.list(request).await.map(|listing: Listing<T>| listing.data)
    }

    /// As [`Reader::request`], with the `total` and `changes` that some lists have beside their `data`.
    ///
    /// # Errors
    /// As [`Reader::get`].
    pub async fn list<T: DeserializeOwned>(&self, request: &Request) -> Result<Listing<T>> {
        self.scope.check(request)?;
        self.unless_cancelled(self.client.list(request)).await
    }

    /// The whole answer as bytes: `{"data": …}`.
    ///
    /// # Errors
    /// As [`Reader::get`].
    pub async fn fetch(&self, request: &Request) -> Result<Bytes> {
        self.scope.check(request)?;
        self.unless_cancelled(self.client.fetch(request)).await
    }

    /// The lowest free VMID. Nothing is reserved: another may take it before it is used.
    ///
    /// # Errors
    /// As [`Reader::get`].
    pub async fn next_id(&self) -> Result<u32> {
        self.get("/cluster/nextid").await
    }

    pub fn default_node(&self) -> Option<&'a str> {
        self.client.defaults().node.as_deref()
    }
    pub fn default_storage(&self) -> Option<&'a str> {
        self.client.defaults().storage.as_deref()
    }
    pub fn default_bridge(&self) -> Option<&'a str> {
        self.client.defaults().bridge.as_deref()
    }

    /// The guest that is meant.
    ///
    /// # Errors
    /// None or several are meant, or one of the other kind; and as [`Reader::get`].
    pub async fn guest(&self, who: &GuestRef, want: Want) -> Result<Guest> {
        self.unless_cancelled(self.client.resources().find(self.client, who, want)).await
    }

    /// Every guest that may be seen, a moment old at most.
    ///
    /// # Errors
    /// As [`Reader::get`].
    pub async fn resources(&self) -> Result<Arc<Resources>> {
        self.unless_cancelled(self.client.resources().get(self.client)).await
    }

    /// Waits for a task to end well, or for the time to be over.
    ///
    /// # Errors
    /// As [`super::Waiter::wait`].
    pub async fn wait(&self, upid: &Upid, options: WaitOptions) -> Result<Waited> {
        let waited = self.client.waiter().wait(self.client, upid, &options, self.scope).await;
        // A task that has ended has changed what it was about.
        self.client.resources().invalidate();
        waited
    }

    /// Waits until a guest is in this power state (`running`, `stopped`), where no task tells; false if it is not when
    /// the time is over.
    ///
    /// # Errors
    /// As [`Reader::get`].
    pub async fn wait_for_state(&self, guest: &Guest, state: &str, options: WaitOptions) -> Result<bool> {
        #[derive(Deserialize)]
        struct Current {
            status: String,
        }
        let deadline = Instant::now() + options.timeout;
        loop {
            let current: Current = self.request(&guest.current()).await?;
            if current.status == state {
                return Ok(true);
            }
            if Instant::now() + options.poll_interval > deadline {
                return Ok(false);
            }
            self.unless_cancelled(async { Ok(sleep(options.poll_interval).await) }).await?;
        }
    }

    /// How a task ended; `None` while it runs.
    ///
    /// # Errors
    /// As [`Reader::get`].
    pub async fn task_status(&self, upid: &Upid) -> Result<Option<ExitStatus>> {
        let status: TaskStatus = self.get(format!("{}/status", upid.path())).await?;
        Ok(status.end())
    }

    /// The last lines of a task's log, cleaned.
    ///
    /// # Errors
    /// As [`Reader::get`].
    pub async fn task_log(&self, upid: &Upid, lines: usize) -> Result<Vec<String>> {
        self.unless_cancelled(waiter::tail(self.client, upid, lines)).await
    }

    async fn unless_cancelled<T>(&self, work: impl Future<Output = Result<T>>) -> Result<T> {
        tokio::select! {
            outcome = work => outcome,
            () = self.scope.cancel.cancelled() => Err(Error::new(Kind::Cancelled, "the call was cancelled")),
        }
    }
}
