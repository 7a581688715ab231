//! The sessions of one caller, for clients of the older protocol: how many there may be, how long each is kept, and what
//! becomes of a request whose client does not come back for the answer. The sessions themselves are rmcp's.

use std::{
    collections::HashMap,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
    time::Duration,
};

use futures::{Stream, StreamExt};
use rmcp::{
    model::{ClientJsonRpcMessage, JsonRpcMessage, RequestId, ServerJsonRpcMessage},
    transport::{
        WorkerTransport,
        streamable_http_server::session::{
            ServerSseMessage, SessionId, SessionManager,
            local::{LocalSessionManager, LocalSessionManagerError, LocalSessionWorker},
        },
    },
};
use tokio::time::{Instant, sleep, timeout};

use super::ending::{Answering, cancelled};
use crate::{
    ending::Ending,
    metrics::{self, Metrics},
};

/// How long a session is kept that nobody uses. Clients that think for long, or whose user does, do not all begin anew.
const IDLE: Duration = Duration::from_secs(30 * 60);
/// How long a client whose stream broke may take to come back for the answer: they are told to try after three seconds.
const RETURN: Duration = Duration::from_secs(30);
/// How often is looked after both.
const LOOK: Duration = Duration::from_secs(5);
/// What a session may take to end, before nobody waits for it any more.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// All of one caller.
pub struct Sessions(Arc<Inner>);

struct Inner {
    local: LocalSessionManager,
    ending: Ending,
    most: usize,
    metrics: Arc<Metrics>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    kept: HashMap<SessionId, Kept>,
    looking: bool,
}

/// What is known of one session.
struct Kept {
    used: Instant,
    /// Streams that somebody reads.
    streams: usize,
    asked: HashMap<RequestId, Asked>,
    _counted: metrics::Session,
}

/// A request that is not answered yet.
#[derive(Default)]
struct Asked {
    /// What the ids of its stream's events end with: by it a client comes back.
    stream: Option<String>,
    /// Since when nobody reads that stream.
    left: Option<Instant>,
}

/// What nobody wants any more.
struct Overdue {
    idle: Vec<SessionId>,
    requests: Vec<(SessionId, RequestId)>,
}

impl Sessions {
    /// With at most so many at a time: one that nobody reads from must make room for another.
    pub fn new(ending: Ending, most: usize, metrics: Arc<Metrics>) -> Self {
        let mut local = LocalSessionManager::default();
        // rmcp's own limit would end calls that wait in silence.
        local.session_config.keep_alive = None;
        Self(Arc::new(Inner { local, ending, most: most.max(1), metrics, state: Mutex::default() }))
    }
}

impl Inner {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn close(&self, id: &SessionId) -> Result<(), LocalSessionManagerError> {
        self.state().kept.remove(id);
        // One whose client reads nothing hears nothing either; it ends when it is let go.
        timeout(LAST_WORDS, self.local.close_session(id)).await.unwrap_or(Ok(()))
    }

    /// Those that must go for another to come.
    fn too_many(&self) -> Option<SessionId> {
        let state = self.state();
        if state.kept.len() < self.most {
            return None;
        }
        let least = state.kept.iter().min_by_key(|(_, kept)| (kept.streams, kept.asked.len(), kept.used));
        least.map(|(id, _)| Arc::clone(id))
    }

    /// Which sessions nobody has used for long, and which requests nobody has come back for. Nothing, when there is no
    /// session left to look after.
    fn overdue(&self) -> Option<Overdue> {
        let mut state = self.state();
        let mut requests = Vec::new();
        for (session, kept) in &mut state.kept {
            let late = |asked: &mut Asked| asked.left.is_some_and(|left| left.elapsed() >= RETURN);
            requests.extend(kept.asked.extract_if(|_, asked| late(asked)).map(|(id, _)| (Arc::clone(session), id)));
        }
        let idle = state.kept.iter().filter(|(_, kept)| kept.streams == 0 && kept.used.elapsed() >= IDLE);
        let idle = idle.map(|(id, _)| Arc::clone(id)).collect();
        state.looking = !state.kept.is_empty();
        state.looking.then_some(Overdue { idle, requests })
    }

    /// Wraps a stream that a client begins to read; `request` is what it is to answer.
    fn held(
        self: &Arc<Self>,
        session: &SessionId,
        request: Option<RequestId>,
        inner: impl Stream<Item = ServerSseMessage> + Send + Sync + 'static,
    ) -> Held {
        if let Some(kept) = self.state().kept.get_mut(session) {
            kept.streams += 1;
        }
        Held { inner: Box::pin(inner), sessions: Arc::clone(self), session: Arc::clone(session), request }
    }
}

/// Looks after the sessions while there are any.
async fn look(sessions: Arc<Inner>) {
    loop {
        sleep(LOOK).await;
        let Some(Overdue { idle, requests }) = sessions.overdue() else { return };
        for (session, request) in requests {
            let gone = cancelled(request, "its client did not come back for the answer");
            drop(timeout(LAST_WORDS, sessions.local.accept_message(&session, gone)).await);
        }
        for session in idle {
            drop(sessions.close(&session).await);
        }
    }
}

/// A stream while somebody reads it.
struct Held {
    inner: Pin<Box<dyn Stream<Item = ServerSseMessage> + Send + Sync>>,
    sessions: Arc<Inner>,
    session: SessionId,
    /// What it is to answer, and has not yet.
    request: Option<RequestId>,
}

impl Held {
    /// What passes says which stream it is, and whether the answer has come.
    fn passes(&mut self, event: Option<&ServerSseMessage>) {
        let Some(request) = &self.request else { return };
        let mut state = self.sessions.state();
        let Some(kept) = state.kept.get_mut(&self.session) else { return };
        let answer = event.is_none_or(|event| {
            event
                .message
                .as_deref()
                .is_some_and(|m| matches!(m, JsonRpcMessage::Response(_) | JsonRpcMessage::Error(_)))
        });
        if answer {
            kept.asked.remove(request);
            self.request = None;
        } else if let Some(asked) = kept.asked.get_mut(request).filter(|asked| asked.stream.is_none()) {
            asked.stream = event.and_then(|event| event.event_id.as_deref()).and_then(stream_of).map(str::to_owned);
        }
    }
}

impl Stream for Held {
    type Item = ServerSseMessage;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<ServerSseMessage>> {
        let next = self.inner.poll_next_unpin(cx);
        if let Poll::Ready(event) = &next {
            self.passes(event.as_ref());
        }
        next
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let mut state = self.sessions.state();
        let Some(kept) = state.kept.get_mut(&self.session) else { return };
        kept.streams = kept.streams.saturating_sub(1);
        kept.used = Instant::now();
        if let Some(asked) = self.request.as_ref().and_then(|request| kept.asked.get_mut(request)) {
            asked.left = Some(kept.used);
        }
    }
}

/// The stream that an event belongs to, where it is not the session's own.
fn stream_of(event: &str) -> Option<&str> {
    event.split_once('/').map(|(_, stream)| stream)
}

impl SessionManager for Sessions {
    type Error = LocalSessionManagerError;
    type Transport = Answering<WorkerTransport<LocalSessionWorker>>;

    async fn create_session(&self) -> Result<(SessionId, Self::Transport), Self::Error> {
        while let Some(id) = self.0.too_many() {
            tracing::debug!("a session makes room for another");
            self.0.close(&id).await?;
        }
        let (id, transport) = self.0.local.create_session().await?;
        let mut state = self.0.state();
        let counted = self.0.metrics.session("streamable");
        let kept = Kept { used: Instant::now(), streams: 0, asked: HashMap::new(), _counted: counted };
        state.kept.insert(Arc::clone(&id), kept);
        if !state.looking {
            state.looking = true;
            tokio::spawn(look(Arc::clone(&self.0)));
        }
        Ok((id, Answering::while_there(transport, self.0.ending.clone())))
    }

    async fn initialize_session(
        &self,
        id: &SessionId,
        message: ClientJsonRpcMessage,
    ) -> Result<ServerJsonRpcMessage, Self::Error> {
        self.0.local.initialize_session(id, message).await
    }

    async fn has_session(&self, id: &SessionId) -> Result<bool, Self::Error> {
        if let Some(kept) = self.0.state().kept.get_mut(id) {
            kept.used = Instant::now();
        }
        self.0.local.has_session(id).await
    }

    async fn close_session(&self, id: &SessionId) -> Result<(), Self::Error> {
        self.0.close(id).await
    }

    async fn create_stream(
        &self,
        id: &SessionId,
        message: ClientJsonRpcMessage,
    ) -> Result<impl Stream<Item = ServerSseMessage> + Send + Sync + 'static, Self::Error> {
        let request = match &message {
            JsonRpcMessage::Request(request) => Some(request.id.clone()),
            _ => None,
        };
        if let (Some(request), Some(kept)) = (&request, self.0.state().kept.get_mut(id)) {
            kept.asked.insert(request.clone(), Asked::default());
        }
        let stream = self.0.local.create_stream(id, message).await?;
        Ok(self.0.held(id, request, stream))
    }

    async fn accept_message(&self, id: &SessionId, message: ClientJsonRpcMessage) -> Result<(), Self::Error> {
        self.0.local.accept_message(id, message).await
    }

    /// Ends with the program's end at the latest: what it carries is news.
    async fn create_standalone_stream(
        &self,
        id: &SessionId,
    ) -> Result<impl Stream<Item = ServerSseMessage> + Send + Sync + 'static, Self::Error> {
        let stream = self.0.local.create_standalone_stream(id).await?;
        Ok(self.0.held(id, None, stream.take_until(self.0.ending.begun.clone().cancelled_owned())))
    }

    async fn resume(
        &self,
        id: &SessionId,
        last_event_id: String,
    ) -> Result<impl Stream<Item = ServerSseMessage> + Send + Sync + 'static, Self::Error> {
        let of = stream_of(&last_event_id).map(str::to_owned);
        let stream = self.0.local.resume(id, last_event_id).await?;
        let Some(of) = of else {
            return Ok(self.0.held(id, None, stream.take_until(self.0.ending.begun.clone().cancelled_owned())));
        };
        let request = self.0.state().kept.get_mut(id).and_then(|kept| {
            let (request, asked) = kept.asked.iter_mut().find(|(_, asked)| asked.stream.as_ref() == Some(&of))?;
            asked.left = None;
            Some(request.clone())
        });
        Ok(self.0.held(id, request, stream))
    }
}
