//! The transport of the protocol's first edition (2024-11-05), which rmcp has not: a stream of events from the server, whose
//! first names the address to which the client posts its messages. A session is its stream, and ends with it.

use std::{
    collections::HashMap,
    convert::Infallible,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
};

use axum::{
    body::{Body, to_bytes},
    response::{
        IntoResponse,
        sse::{Event, KeepAlive, Sse},
    },
};
use futures::{SinkExt, Stream, StreamExt, channel::mpsc, stream};
use http::{HeaderMap, Request, Response, StatusCode};
use rmcp::{
    RoleServer, ServiceExt,
    model::{GetExtensions, JsonRpcMessage},
    service::{RxJsonRpcMessage, TxJsonRpcMessage},
    transport::sink_stream::SinkStreamTransport,
};

use super::{
    accept::{INTERNAL_ERROR, INVALID_REQUEST, PARSE_ERROR, problem},
    ending::Answering,
    server::Server,
};
use crate::{
    ending::Ending,
    key,
    metrics::{self, Metrics},
};

/// Messages that wait for one side or the other.
const QUEUE: usize = 64;

/// The sessions of one caller.
#[derive(Clone)]
pub struct Streams {
    server: Server,
    ending: Ending,
    /// Sessions at a time.
    most: usize,
    metrics: Arc<Metrics>,
    open: Open,
}

/// Where what is posted goes, by session.
type Open = Arc<Mutex<HashMap<String, mpsc::Sender<RxJsonRpcMessage<RoleServer>>>>>;

fn locked(open: &Open) -> MutexGuard<'_, HashMap<String, mpsc::Sender<RxJsonRpcMessage<RoleServer>>>> {
    open.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Streams {
    pub fn new(server: Server, ending: Ending, most: usize, metrics: Arc<Metrics>) -> Self {
        Self { server, ending, most, metrics, open: Open::default() }
    }

    /// Begins a session: its stream of events.
    pub fn begin(&self, request: &Request<Body>) -> Response<Body> {
        let Ok(id) = key::random::<16>().map(|bytes| key::hex(&bytes)) else {
            return problem(StatusCode::INTERNAL_SERVER_ERROR, INTERNAL_ERROR, "the system gives no random numbers");
        };
        let (posted, messages) = mpsc::channel(QUEUE);
        let (replies, events) = mpsc::channel::<TxJsonRpcMessage<RoleServer>>(QUEUE);
        {
            let mut open = locked(&self.open);
            if open.len() >= self.most {
                let words = format!("{} sessions are open, the most there may be", self.most);
                return problem(StatusCode::SERVICE_UNAVAILABLE, INVALID_REQUEST, &words);
            }
            open.insert(id.clone(), posted);
        }
        let transport = Answering::while_there(SinkStreamTransport::new(replies, messages), self.ending.clone());
        let server = self.server.another();
        tokio::spawn(async move {
            match server.serve(transport).await {
                Ok(running) => drop(running.waiting().await),
                Err(e) => tracing::debug!("an SSE session ended before it began: {e}"),
            }
        });
        let endpoint = format!("{}{}?sessionId={id}", prefix(request.headers()), request.uri().path());
        let first = stream::once(async { Event::default().event("endpoint").data(endpoint) });
        let rest = events.filter_map(async |message| {
            let text = serde_json::to_string(&message).ok()?;
            Some(Event::default().event("message").data(text))
        });
        let counted = self.metrics.session("sse");
        let open = Arc::clone(&self.open);
        let events = Session { events: Box::pin(first.chain(rest)), id, open, _counted: counted };
        let mut response = Sse::new(events).keep_alive(KeepAlive::default()).into_response();
        response.headers_mut().insert("x-accel-buffering", http::HeaderValue::from_static("no"));
        response
    }

    /// Takes a message for a session. What comes of it goes to the session's stream.
    pub async fn take(&self, id: &str, request: Request<Body>, limit: usize) -> Response<Body> {
        let gone =
            || problem(StatusCode::NOT_FOUND, INVALID_REQUEST, "sessionId: no such session; open its stream anew");
        let Some(mut session) = locked(&self.open).get(id).cloned() else { return gone() };
        let (parts, body) = request.into_parts();
        let Ok(body) = to_bytes(body, limit).await else {
            let words = format!("the message has more than {limit} bytes");
            return problem(StatusCode::PAYLOAD_TOO_LARGE, INVALID_REQUEST, &words);
        };
        let mut message: RxJsonRpcMessage<RoleServer> = match serde_json::from_slice(&body) {
            Ok(message) => message,
            Err(e) => return problem(StatusCode::BAD_REQUEST, PARSE_ERROR, &format!("no message of MCP: {e}")),
        };
        // As rmcp does it for its own transport.
        match &mut message {
            JsonRpcMessage::Request(request) => drop(request.request.extensions_mut().insert(parts)),
            JsonRpcMessage::Notification(note) => drop(note.notification.extensions_mut().insert(parts)),
            JsonRpcMessage::Response(_) | JsonRpcMessage::Error(_) => {}
        }
        match session.send(message).await {
            Ok(()) => (StatusCode::ACCEPTED, "Accepted").into_response(),
            Err(_) => gone(),
        }
    }
}

/// The stream of a session, which ends the session when it is dropped.
struct Session {
    events: Pin<Box<dyn Stream<Item = Event> + Send>>,
    id: String,
    open: Open,
    _counted: metrics::Session,
}

impl Stream for Session {
    type Item = Result<Event, Infallible>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.events.poll_next_unpin(cx).map(|event| event.map(Ok))
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        locked(&self.open).remove(&self.id);
    }
}

/// What a proxy took off the path on the way here, as it says: only what can be a path.
fn prefix(headers: &HeaderMap) -> &str {
    let given = headers.get("x-forwarded-prefix").and_then(|value| value.to_str().ok()).unwrap_or_default();
    let path = given.trim_end_matches('/');
    let fits = |c: char| c.is_ascii_alphanumeric() || "-_.~/".contains(c);
    let is_path = path.starts_with('/') && path.chars().all(fits) && !path.contains("//") && !path.contains("..");
    if is_path { path } else { "" }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn a_prefix_is_a_path_and_nothing_else() {
        let of = |text: &'static str| {
            let headers = HeaderMap::from_iter([("x-forwarded-prefix".parse().ok()?, HeaderValue::from_static(text))]);
            Some(prefix(&headers).to_owned())
        };
        for (given, kept) in [("/pve/", "/pve"), ("/a/b-c", "/a/b-c"), ("/", ""), ("", "")] {
            assert_eq!(of(given).as_deref(), Some(kept), "{given}");
        }
        for odd in ["//evil.example", "https://evil.example", "/a?b", "/a#b", "/../a", "a/b", "/a b"] {
            assert_eq!(of(odd).as_deref(), Some(""), "{odd}");
        }
    }
}
