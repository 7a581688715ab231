//! A running task that a call leaves to its caller, who follows it without waiting in the call: nothing of it is kept here.

use std::sync::{Arc, OnceLock};

use crate::pve::Upid;

/// Where a call leaves its task; clones are one. A call that has more to do than wait for one task leaves none, and waits.
#[derive(Debug, Clone, Default)]
pub struct HandOver(Arc<OnceLock<Handed>>);

/// What the caller needs to follow it.
#[derive(Debug, Clone)]
pub struct Handed {
    pub cluster: String,
    pub upid: Upid,
}

impl HandOver {
    pub fn give(&self, cluster: &str, upid: &Upid) {
        let handed = Handed { cluster: cluster.to_owned(), upid: upid.clone() };
        // A call has one last task.
        drop(self.0.set(handed));
    }

    pub fn taken(&self) -> Option<&Handed> {
        self.0.get()
    }
}
