//! What happens on the way to Proxmox, told to whoever wants to count it. Knows nothing of counting.

use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

use http::{Method, StatusCode};
use tokio::time::Instant;

use super::SendError;

/// Something that happened with one cluster.
pub enum Event<'a> {
    /// One request went to one member of the cluster: its answer's status, or why there is none.
    Sent { method: &'a Method, answer: Result<StatusCode, &'a SendError>, took: Duration },
    /// Somebody waits for a task.
    WaitBegan,
    /// And no longer does, however it ended.
    WaitEnded { took: Duration },
}

/// Is told of every event, while it happens: it must be quick.
pub type Observer = Arc<dyn Fn(Event<'_>) + Send + Sync>;

/// Who is told of one cluster's events, if anybody.
#[derive(Default)]
pub struct Observed(OnceLock<Observer>);

impl Observed {
    /// The first stays.
    pub fn by(&self, observer: Observer) {
        drop(self.0.set(observer));
    }

    pub fn tell(&self, event: Event<'_>) {
        if let Some(observer) = self.0.get() {
            observer(event);
        }
    }

    /// Tells that somebody waits, for as long as the value lives.
    pub fn wait(&self) -> Waiting<'_> {
        self.tell(Event::WaitBegan);
        Waiting { observed: self, began: Instant::now() }
    }
}

/// One wait under way.
pub struct Waiting<'a> {
    observed: &'a Observed,
    began: Instant,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.observed.tell(Event::WaitEnded { took: self.began.elapsed() });
    }
}
