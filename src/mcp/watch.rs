//! Watches resources for whoever subscribed to them: one poller for the whole process reads each watched resource now and
//! then, tells its subscribers when it became another, and ends when there are none. Knows no protocol.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures::{StreamExt, stream};
use tokio::sync::mpsc::UnboundedSender;
use tokio_util::sync::CancellationToken;

use super::{
    digest,
    resource_kinds::Target,
    resources::{self, Content},
};
use crate::{
    call::App,
    error::{Error, Kind, Result},
};

/// How long a change goes unnoticed at most, where Proxmox answers.
pub const INTERVAL: Duration = Duration::from_secs(5);
/// Resources that are watched at most, whoever does. Each costs a request or three every interval.
pub const MOST: usize = 100;
/// Resources that are read at the same time.
pub const AT_ONCE: usize = 8;

/// Everything that is watched in this process.
pub struct Watch {
    app: Arc<App>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// By URI.
    watched: BTreeMap<String, Watched>,
    /// Of the last subscription.
    number: u64,
    polling: bool,
}

struct Watched {
    target: Target,
    /// The tool that answered last.
    tool: Option<&'static str>,
    seen: Seen,
    /// Ends the reading under way when nobody wants to know any more.
    cancel: CancellationToken,
    subscribers: HashMap<u64, UnboundedSender<String>>,
}

/// What a resource was when it was read last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Seen {
    /// Its first subscriber is about to read it.
    NotYet,
    /// It could not be read: what it is then, may be news.
    Unknown,
    Gone,
    Known(u64),
}

/// One subscriber's interest in one resource: ends when dropped.
pub struct Subscription {
    watch: Arc<Watch>,
    uri: String,
    number: u64,
}

impl Drop for Subscription {
    fn drop(&mut self) {
        let mut state = self.watch.state();
        let Some(watched) = state.watched.get_mut(&self.uri) else { return };
        watched.subscribers.remove(&self.number);
        if watched.subscribers.is_empty() {
            watched.cancel.cancel();
            state.watched.remove(&self.uri);
        }
    }
}

impl Watch {
    pub fn new(app: Arc<App>) -> Arc<Self> {
        Arc::new(Self { app, state: Mutex::default() })
    }

    /// Whether one more may be watched, beside `more` others.
    pub fn has_room(&self, uri: &str, more: usize) -> bool {
        let state = self.state();
        state.watched.contains_key(uri) || state.watched.len() + more < MOST
    }

    /// Subscribes, and remembers how the resource is now: only what comes after is news. The sender is given the URI. What
    /// cannot be read now, or is not there yet, is watched all the same; the error comes with the subscription.
    ///
    /// # Errors
    /// `Refused` where too many are watched already.
    pub async fn subscribe(
        self: &Arc<Self>,
        uri: &str,
        target: Target,
        sender: UnboundedSender<String>,
    ) -> Result<(Subscription, Option<Error>)> {
        let (subscription, first) = self.add(uri, target, sender)?;
        let error = if first { self.look(uri).await } else { None };
        Ok((subscription, error))
    }

    /// Whether it must be read first is the second answer.
    fn add(
        self: &Arc<Self>,
        uri: &str,
        target: Target,
        sender: UnboundedSender<String>,
    ) -> Result<(Subscription, bool)> {
        let mut state = self.state();
        if !state.watched.contains_key(uri) && state.watched.len() >= MOST {
            let words = format!("{MOST} resources are watched already, the most there may be");
            return Err(Error::new(Kind::Refused, words).hint("unsubscribe from one"));
        }
        state.number += 1;
        let number = state.number;
        let watched = state.watched.entry(uri.to_owned()).or_insert_with(|| Watched {
            target,
            tool: None,
            seen: Seen::NotYet,
            cancel: CancellationToken::new(),
            subscribers: HashMap::new(),
        });
        watched.subscribers.insert(number, sender);
        let first = watched.seen == Seen::NotYet;
        if !state.polling {
            state.polling = true;
            tokio::spawn(poll(Arc::clone(self)));
        }
        Ok((Subscription { watch: Arc::clone(self), uri: uri.to_owned(), number }, first))
    }

    /// Reads a resource and tells its subscribers if it is not what it was. The error, if it cannot be read.
    async fn look(&self, uri: &str) -> Option<Error> {
        let (target, tool, cancel) = {
            let state = self.state();
            let watched = state.watched.get(uri)?;
            (watched.target.clone(), watched.tool, watched.cancel.clone())
        };
        let read = resources::content(&self.app, &target, tool, cancel.clone()).await;
        let mut state = self.state();
        // Who subscribed meanwhile, after everybody had gone, reads it for himself.
        let watched = state.watched.get_mut(uri).filter(|_| !cancel.is_cancelled())?;
        let (seen, error) = match read {
            Ok(Content { data, tool, .. }) => {
                watched.tool = tool;
                (Seen::Known(digest::of(&target, &data)), None)
            }
            Err(error) if error.is_not_found() => (Seen::Gone, Some(error)),
            Err(error) => {
                tracing::debug!(uri, "a watched resource cannot be read: {error}");
                let seen = if watched.seen == Seen::NotYet { Seen::Unknown } else { watched.seen };
                (seen, Some(error))
            }
        };
        let before = std::mem::replace(&mut watched.seen, seen);
        if before != seen && before != Seen::NotYet {
            for sender in watched.subscribers.values() {
                drop(sender.send(uri.to_owned()));
            }
        }
        error
    }

    /// What is to be read now. Nothing, when nobody listens any more: the poller has then been told to end.
    fn due(&self) -> Option<Vec<String>> {
        let mut state = self.state();
        state.watched.retain(|_, watched| {
            // Whose receiver is gone did not say goodbye.
            watched.subscribers.retain(|_, sender| !sender.is_closed());
            !watched.subscribers.is_empty()
        });
        state.polling = !state.watched.is_empty();
        let due = state.watched.iter().filter(|(_, watched)| watched.seen != Seen::NotYet);
        state.polling.then(|| due.map(|(uri, _)| uri.clone()).collect())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The poller.
async fn poll(watch: Arc<Watch>) {
    loop {
        tokio::time::sleep(INTERVAL).await;
        let Some(due) = watch.due() else { return };
        let watch = &*watch;
        stream::iter(due).for_each_concurrent(AT_ONCE, |uri| async move { drop(watch.look(&uri).await) }).await;
    }
}
