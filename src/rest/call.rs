//! One call under way. It runs by itself, so that one whose client has gone is cancelled and not torn off: what was on its
//! way to Proxmox arrives, what came of it is on record, and a task goes on.

use std::sync::Arc;

use tokio::{
    sync::mpsc::{self, UnboundedReceiver},
    task::JoinHandle,
};
use tokio_util::sync::DropGuard;

use super::request::Who;
use crate::{
    call::{Answer, App, Context, Person},
    error::{Error, Result},
    hand_over::HandOver,
    progress::{Progress, Update},
};

const NOBODY: &str = "REST cannot ask one";

/// Cancelled when it is dropped.
pub struct Running {
    answer: JoinHandle<Result<Answer>>,
    updates: Option<UnboundedReceiver<Update>>,
    _cancel: DropGuard,
}

impl Running {
    /// Begins a call, and listens to how it goes where the client wants to know.
    pub fn start<F, Call>(who: &Who, hand_over: Option<HandOver>, call: F) -> Self
    where
        F: FnOnce(Arc<App>, Context) -> Call,
        Call: Future<Output = Result<Answer>> + Send + 'static,
    {
        let (progress, updates) = if who.wants_events {
            let (sender, updates) = mpsc::unbounded_channel();
            (Progress::to(move |update| drop(sender.send(update))), Some(updates))
        } else {
            (Progress::none(), None)
        };
        let context = Context {
            progress,
            // Ends with the server, too.
            cancel: who.caller.ended().child_token(),
            client: Some(who.client.clone()),
            request: who.request.clone(),
            person: Person::Nobody(NOBODY),
            hand_over,
        };
        let cancel = context.cancel.clone().drop_guard();
        let answer = tokio::spawn(call(Arc::clone(&who.caller.app), context));
        Self { answer, updates, _cancel: cancel }
    }

    /// The next report; nothing when there are no more.
    pub async fn update(&mut self) -> Option<Update> {
        self.updates.as_mut()?.recv().await
    }

    /// What comes of it.
    ///
    /// # Errors
    /// The call's.
    pub async fn end(&mut self) -> Result<Answer> {
        (&mut self.answer).await.unwrap_or_else(|e| Err(Error::internal(format!("the call was lost: {e}"))))
    }
}
