//! The end of a conversation: when no more is read, the calls under way are still answered. Counts what was asked and not
//! yet answered, and lets the service below see the end of its input only when there is nothing left.

use std::{borrow::Cow, collections::HashSet};

use rmcp::{
    RoleServer,
    model::{ClientNotification, ClientRequest, JsonRpcMessage, RequestId},
    service::{RxJsonRpcMessage, TxJsonRpcMessage},
    transport::Transport,
};
use tokio::sync::watch;

use crate::ending::Ending;

/// A transport whose input ends when `begun` is cancelled, and not before all that was asked is answered.
pub struct Answering<T> {
    inner: T,
    ending: Ending,
    asked: watch::Sender<HashSet<RequestId>>,
}

impl<T> Answering<T> {
    pub fn new(inner: T, ending: Ending) -> Self {
        Self { inner, ending, asked: watch::Sender::default() }
    }

    fn received(&self, message: &RxJsonRpcMessage<RoleServer>) {
        match message {
            // A subscription is answered by its end, which nobody waits for.
            JsonRpcMessage::Request(asked)
                if !matches!(asked.request, ClientRequest::SubscriptionsListenRequest(_)) =>
            {
                self.asked.send_if_modified(|all| all.insert(asked.id.clone()));
            }
            JsonRpcMessage::Notification(note) => {
                if let ClientNotification::CancelledNotification(note) = &note.notification
                    && let Some(id) = &note.params.request_id
                {
                    self.answered(id);
                }
            }
            _ => {}
        }
    }

    fn answered(&self, id: &RequestId) {
        self.asked.send_if_modified(|all| all.remove(id));
    }
}

impl<T: Transport<RoleServer>> Transport<RoleServer> for Answering<T> {
    type Error = T::Error;

    fn name() -> Cow<'static, str> {
        T::name()
    }

    fn send(
        &mut self,
        message: TxJsonRpcMessage<RoleServer>,
    ) -> impl Future<Output = Result<(), Self::Error>> + Send + 'static {
        match &message {
            JsonRpcMessage::Response(response) => self.answered(&response.id),
            JsonRpcMessage::Error(error) => {
                if let Some(id) = &error.id {
                    self.answered(id);
                }
            }
            _ => {}
        }
        self.inner.send(message)
    }

    /// Dropped and called anew whenever something else happens, so that all it knows is in `self`.
    async fn receive(&mut self) -> Option<RxJsonRpcMessage<RoleServer>> {
        tokio::select! {
            biased;
            () = self.ending.begun.cancelled() => {}
            message = self.inner.receive() => match message {
                Some(message) => {
                    self.received(&message);
                    return Some(message);
                }
                None => self.ending.begun.cancel(),
            },
        }
        // The sender is here, so this ends only with the last answer.
        drop(self.asked.subscribe().wait_for(HashSet::is_empty).await);
        None
    }

    async fn close(&mut self) -> Result<(), Self::Error> {
        self.inner.close().await
    }
}
