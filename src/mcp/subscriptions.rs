//! Subscriptions to resources, as both eras of the protocol have them: `resources/subscribe` with its notifications, and
//! `subscriptions/listen`, a request that lasts. The watching itself is `watch.rs`.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
};

use futures::future::join_all;
use rmcp::{
    ErrorData, Peer, RoleServer,
    model::{ResourceUpdatedNotificationParam, SubscriptionFilter},
    service::SubscriptionContext,
};
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tokio_util::sync::CancellationToken;

use super::{
    resource_kinds::Target,
    resources::{is_readable, refusal, unknown},
    watch::{AT_ONCE, Subscription, Watch},
};
use crate::{call::App, error::Kind};

/// What one connection has subscribed to. Ends with the connection.
#[derive(Default)]
pub struct Session {
    /// Of `resources/subscribe`; a stream has its own.
    subscriptions: Mutex<HashMap<String, Subscription>>,
    sender: OnceLock<UnboundedSender<String>>,
}

impl Session {
    /// Answers `resources/subscribe`. A second one for the same resource changes nothing.
    ///
    /// # Errors
    /// Resource not found, or that too many are watched.
    pub async fn subscribe(
        &self,
        app: &App,
        watch: &Arc<Watch>,
        uri: String,
        peer: Peer<RoleServer>,
    ) -> Result<(), ErrorData> {
        let Some(target) = Target::parse(app, &uri).filter(|target| is_readable(app, target)) else {
            return Err(unknown(&uri));
        };
        if self.subscriptions().contains_key(&uri) {
            return Ok(());
        }
        let sender = self.sender.get_or_init(|| notify(peer)).clone();
        let (subscription, error) =
            watch.subscribe(&uri, target, sender).await.map_err(|error| refusal(&uri, &error))?;
        match error {
            Some(error) if matches!(error.kind(), Kind::NotFound | Kind::BadArgument) => Err(refusal(&uri, &error)),
            // What does not answer now may later.
            _ => {
                self.subscriptions().insert(uri, subscription);
                Ok(())
            }
        }
    }

    /// Answers `resources/unsubscribe`. Of what was never subscribed to, too: it is as asked for.
    pub fn unsubscribe(&self, uri: &str) {
        self.subscriptions().remove(uri);
    }

    fn subscriptions(&self) -> MutexGuard<'_, HashMap<String, Subscription>> {
        self.subscriptions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Answers `subscriptions/listen`: lasts until the client ends it, or goes, or the program begins to end.
///
/// # Errors
/// None of its own.
pub async fn listen(
    app: &App,
    watch: &Arc<Watch>,
    context: SubscriptionContext,
    ended: &CancellationToken,
) -> Result<(), ErrorData> {
    let (sender, mut news) = unbounded_channel();
    let uris = context.accepted().resource_subscriptions.clone().unwrap_or_default();
    let wanted: Vec<_> = uris.iter().filter_map(|uri| Some((uri, Target::parse(app, uri)?))).collect();
    let mut subscriptions: Vec<Subscription> = Vec::new();
    for some in wanted.chunks(AT_ONCE) {
        let subscribing =
            join_all(some.iter().map(|(uri, target)| watch.subscribe(uri, target.clone(), sender.clone())));
        let subscribed = tokio::select! {
            () = context.cancelled() => return Ok(()),
            () = ended.cancelled() => return Ok(()),
            subscribed = subscribing => subscribed,
        };
        // What was too much meanwhile is not watched; what cannot be read now may be later.
        subscriptions.extend(subscribed.into_iter().flatten().map(|(subscription, _)| subscription));
    }
    loop {
        let uri = tokio::select! {
            () = context.cancelled() => return Ok(()),
            () = ended.cancelled() => return Ok(()),
            Some(uri) = news.recv() => uri,
        };
        let told = tokio::select! {
            () = ended.cancelled() => return Ok(()),
            told = context.sink().notify_resource_updated(uri) => told,
        };
        if told.is_err() {
            return Ok(());
        }
    }
}

/// Passes news on to a client while it is there and its session is.
fn notify(peer: Peer<RoleServer>) -> UnboundedSender<String> {
    let (sender, mut news) = unbounded_channel();
    tokio::spawn(async move {
        while let Some(uri) = news.recv().await {
            if peer.notify_resource_updated(ResourceUpdatedNotificationParam::new(uri)).await.is_err() {
                return;
            }
        }
    });
    sender
}

/// What of a `subscriptions/listen` is accepted: resources there can be, as many as may be watched. Lists do not change
/// while the process runs, so there is nothing to say about them.
pub fn accepted(app: &App, watch: &Watch, requested: &SubscriptionFilter) -> SubscriptionFilter {
    let mut uris: Vec<String> = Vec::new();
    for uri in requested.resource_subscriptions.iter().flatten() {
        let readable = Target::parse(app, uri).is_some_and(|target| is_readable(app, &target));
        if readable && !uris.contains(uri) && watch.has_room(uri, uris.len()) {
            uris.push(uri.clone());
        }
    }
    let mut filter = SubscriptionFilter::new();
    filter.resource_subscriptions = Some(uris);
    filter
}
