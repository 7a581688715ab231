//! The end of a conversation. When the program ends, no more is read, and the calls under way are still answered: this
//! counts what was asked and not yet answered, and lets the service below see the end of its input only when there is
//! nothing left. When a client has gone, nobody waits for its answers: what it asked is cancelled.

use std::{borrow::Cow, collections::HashSet};

use rmcp::{
    RoleServer,
    model::{
        CancelledNotification, CancelledNotificationParam, ClientNotification, ClientRequest, JsonRpcMessage, RequestId,
    },
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
    /// What the end of the input says.
    at_end: AtEnd,
}

#[derive(Debug, Clone, Copy)]
enum AtEnd {
    /// That the program shall end: there is one client, and answers still reach it.
    Program,
    /// That this client has gone.
    Client,
}

impl<T> Answering<T> {
    /// For the one conversation of the program: with its input the program ends.
    pub fn until_the_end(inner: T, ending: Ending) -> Self {
        Self { inner, ending, asked: watch::Sender::default(), at_end: AtEnd::Program }
    }

    /// For one of many: where its input ends, nobody is there to be answered.
    pub fn while_there(inner: T, ending: Ending) -> Self {
        Self { inner, ending, asked: watch::Sender::default(), at_end: AtEnd::Client }
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

    fn cancel_one(&self) -> Option<RxJsonRpcMessage<RoleServer>> {
        let id = self.asked.borrow().iter().next().cloned()?;
        self.answered(&id);
        Some(cancelled(id, "the client has gone"))
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
                None => match self.at_end {
                    AtEnd::Program => self.ending.begun.cancel(),
                    // One after the other, and then the end.
                    AtEnd::Client => return self.cancel_one(),
                },
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

/// A request taken back, as its client would.
pub fn cancelled(id: RequestId, why: &str) -> RxJsonRpcMessage<RoleServer> {
    let params = CancelledNotificationParam::new(Some(id), Some(why.to_owned()));
    JsonRpcMessage::notification(ClientNotification::CancelledNotification(CancelledNotification::new(params)))
}
