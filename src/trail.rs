//! What one call has sent so far: for the audit log, and for saying how far a call got that was given up.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};

/// A request that was sent, and the task that it began.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sent {
    /// `METHOD /path`.
    pub request: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upid: Option<String>,
}

/// Clones are one trail.
#[derive(Debug, Clone, Default)]
pub struct Trail(Arc<Mutex<Steps>>);

#[derive(Debug, Default)]
struct Steps {
    sent: Vec<Sent>,
    record: Option<String>,
}

impl Trail {
    /// Just before it leaves; its place, for [`Trail::began`].
    pub fn sending(&self, request: impl ToString) -> usize {
        let mut steps = self.lock();
        steps.sent.push(Sent { request: request.to_string(), upid: None });
        steps.sent.len() - 1
    }
    /// The task of the request at this place.
    pub fn began(&self, at: usize, upid: impl ToString) {
        if let Some(sent) = self.lock().sent.get_mut(at) {
            sent.upid = Some(upid.to_string());
        }
    }
    pub fn sent(&self) -> Vec<Sent> {
        self.lock().sent.clone()
    }
    /// The entry in the audit log that waits for its end.
    pub fn recorded(&self, id: String) {
        let mut steps = self.lock();
        steps.record = Some(id);
        // A second try of the same call is an entry of its own.
        steps.sent.clear();
    }
    pub fn is_recorded(&self) -> bool {
        self.lock().record.is_some()
    }
    pub fn record(&self) -> Option<String> {
        self.lock().record.clone()
    }
    pub fn take_record(&self) -> Option<String> {
        self.lock().record.take()
    }
    fn lock(&self) -> MutexGuard<'_, Steps> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
