//! What tools may ask a [`Reader`] about guests and tasks.

use std::{collections::HashMap, sync::Arc};

use tokio::time::Instant;

use super::{
    AdoptQuery, Becomes, ExitStatus, Guest, GuestRef, Live, Reader, Request, Resource, Resources, Upid, WaitOptions,
    Waited, Want, waiter,
};
use crate::error::Result;

/// Lines of a log that [`Reader::task_tail`] gives.
const TAIL: usize = 15;

/// The end of a task's log.
#[derive(Debug, Clone)]
pub struct Tail {
    /// Oldest first, cleaned.
    pub lines: Vec<String>,
    /// 0 to 100, where the lines tell.
    pub percent: Option<f64>,
}

impl Reader<'_> {
    /// The one guest that is meant.
    ///
    /// # Errors
    /// As [`super::ResourceCache::find`]; `Cancelled`.
    pub async fn guest(&self, who: &GuestRef, want: Want) -> Result<Guest> {
        self.unless_cancelled(self.client().resources().find(self.client(), who, want)).await
    }

    /// All guests, ordered by VMID: as they were at most 1.5 s ago, and not before this process's last write.
    ///
    /// # Errors
    /// As [`Reader::get`].
    pub async fn resources(&self) -> Result<Arc<Resources>> {
        self.unless_cancelled(self.client().resources().get(self.client())).await
    }

    /// All guests, as Proxmox lists them now. Asked for at once by several calls, it is one request.
    ///
    /// # Errors
    /// As [`Reader::get`].
    pub async fn resources_now(&self) -> Result<Arc<Resources>> {
        self.unless_cancelled(self.client().resources().fresh(self.client())).await
    }

    /// The guests as the online nodes list them now.
    ///
    /// # Errors
    /// As [`Reader::get`], of the list of nodes; a silent node is no error.
    pub async fn live(&self) -> Result<Arc<Live>> {
        self.unless_cancelled(self.client().resources().live(self.client())).await
    }

    /// All guests by VMID, their state, name, lock and tags as their own nodes say now: the cluster's list is some seconds
    /// behind. Of those on a silent node it is what the list says.
    ///
    /// # Errors
    /// As [`Reader::get`].
    pub async fn guests_now(&self) -> Result<Vec<Guest>> {
        let (listed, live) = tokio::try_join!(self.resources_now(), self.live())?;
        let now: HashMap<(u32, &str), &Guest> = live.guests.iter().map(|g| ((g.vmid, g.node.as_str()), g)).collect();
        let with_now = |row: &Resource| {
            let mut guest = Guest::from(row);
            if let Some(&now) = now.get(&(guest.vmid, guest.node.as_str())).filter(|now| now.kind == guest.kind) {
                let Guest { name, status, lock, tags, template, .. } = now.clone();
                guest = Guest { name: name.or(guest.name), status, lock, tags, template, ..guest };
            }
            guest
        };
        Ok(listed.iter().map(with_now).collect())
    }

    /// Waits for a task to end well.
    ///
    /// # Errors
    /// As [`super::Waiter::wait`].
    pub async fn wait(&self, upid: &Upid, options: WaitOptions) -> Result<Waited> {
        self.client().waiter().wait(self.client(), upid, &options, self.scope()).await
    }

    /// Waits for a guest to be `running` or `stopped`. False if the time is over before.
    ///
    /// # Errors
    /// As [`super::Waiter::settle`].
    pub async fn wait_for_state(&self, guest: &Guest, state: &str, options: WaitOptions) -> Result<bool> {
        let becomes = Becomes::Status(state);
        self.client().waiter().settle(self.client(), guest, becomes, &options, self.scope()).await
    }

    /// Waits for a guest to be on this node. False if the time is over before.
    ///
    /// # Errors
    /// As [`super::Waiter::settle`].
    pub async fn wait_for_node(&self, guest: &Guest, node: &str, options: WaitOptions) -> Result<bool> {
        self.client().waiter().settle(self.client(), guest, Becomes::Node(node), &options, self.scope()).await
    }

    /// Whether a guest runs, as its own node says now: the cluster's list is some seconds behind.
    ///
    /// # Errors
    /// As [`Reader::get`].
    pub async fn is_running(&self, guest: &Guest) -> Result<bool> {
        #[derive(serde::Deserialize)]
        struct Current {
            status: String,
        }
        let current: Current = self.request(&guest.current()).await?;
        Ok(current.status == "running")
    }

    /// How a task ended; `None` while it runs.
    ///
    /// # Errors
    /// `NotFound` where its node knows no such task; as [`Reader::get`].
    pub async fn task_status(&self, upid: &Upid) -> Result<Option<ExitStatus>> {
        self.unless_cancelled(waiter::status(self.client(), upid)).await
    }

    /// The last lines of a task's log.
    ///
    /// # Errors
    /// As [`Reader::get`].
    pub async fn task_tail(&self, upid: &Upid) -> Result<Tail> {
        let (lines, percent) = self.unless_cancelled(waiter::tail(self.client(), upid, TAIL)).await?;
        Ok(Tail { lines, percent })
    }

    /// Checks a request against the tool's list.
    ///
    /// # Errors
    /// `Internal` where the tool did not declare it.
    pub fn check(&self, request: &Request) -> Result<()> {
        self.scope().check(request)
    }

    /// The task that a write has started whose answer was lost, if exactly one fits. `since`: just before it was sent.
    ///
    /// # Errors
    /// As [`super::Waiter::adopt`].
    pub async fn adopt_lost_task(&self, request: &Request, since: Instant, known: &[String]) -> Result<Option<Upid>> {
        let Some(query) = AdoptQuery::of(self.api(), request, self.client().who(), since) else { return Ok(None) };
        let query = AdoptQuery { known: known.to_vec(), ..query };
        self.unless_cancelled(self.client().waiter().adopt(self.client(), &query)).await
    }
}
