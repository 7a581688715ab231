//! MCP over HTTP for one caller: its sessions, and nobody else's. Who the caller is, and what it may send, has been decided
//! before. Says which transport a request is for; `accept.rs` what its client takes, `sessions.rs` and `sse.rs` what is kept.

use std::sync::Arc;

use axum::{body::Body, response::IntoResponse};
use http::{HeaderMap, Method, Request, Response, StatusCode, header::ALLOW};
use rmcp::{
    ErrorData,
    model::{ClientJsonRpcMessage, ErrorCode, RequestId},
    transport::streamable_http_server::{
        StreamableHttpServerConfig, StreamableHttpService,
        session::{SessionId, SessionManager},
    },
};
use serde_json::Value;

use super::{
    accept::{self, INVALID_REQUEST},
    server::Server,
    sessions::Sessions,
    sse::Streams,
};
use crate::{call::App, config::Web, ending::Ending};

const SESSION: &str = "mcp-session-id";
const VERSION: &str = "mcp-protocol-version";

/// The conversations of one caller.
#[derive(Clone)]
pub struct Conversations {
    streamable: StreamableHttpService<Server, Sessions>,
    sessions: Arc<Sessions>,
    /// None where no sessions are kept: they are sessions.
    streams: Option<Streams>,
    body: usize,
}

impl Conversations {
    pub fn new(app: Arc<App>, web: &Web, ending: &Ending) -> Self {
        let config = StreamableHttpServerConfig::default()
            // Both were looked at when the request came in, for all that is served.
            .disable_allowed_hosts()
            .disable_allowed_origins()
            .with_legacy_session_mode(!web.stateless)
            .with_json_response(web.stateless)
            .with_max_request_body_bytes(web.limits.body)
            // We do that ourselves, by tokio's clock.
            .with_sse_keep_alive(None);
        let metrics = Arc::clone(app.metrics());
        let server = Server::new(app).ended_by(ending.clone());
        // Streams count as calls, so there is always a session without one that can make room.
        let most = web.limits.calls.saturating_mul(2);
        let sessions = Arc::new(Sessions::new(ending.clone(), most, Arc::clone(&metrics)));
        let streams = (!web.stateless).then(|| Streams::new(server.clone(), ending.clone(), most, metrics));
        let streamable = StreamableHttpService::new(move || Ok(server.another()), Arc::clone(&sessions), config);
        Self { streamable, sessions, streams, body: web.limits.body }
    }

    /// Answers one HTTP request.
    pub async fn answer(&self, mut request: Request<Body>) -> Response<Body> {
        if request.method() == Method::GET && !is_streamable(&request) {
            return self.begin(&request);
        }
        if request.method() == Method::POST
            && let Some(id) = query(&request, "sessionId")
            && let Some(streams) = &self.streams
        {
            return streams.take(&id, request, self.body).await;
        }
        let events = request.method() != Method::POST || accept::asks_for_events(request.headers());
        let session = session(request.headers());
        let is_json = accept::is_json(request.headers());
        let ends = request.method() == Method::DELETE;
        accept::all(request.headers_mut());
        let mut response = self.streamable.handle(request).await.into_response();
        if ends && response.status() == StatusCode::ACCEPTED {
            // It has been done; some clients complain of a mere promise.
            *response.status_mut() = StatusCode::NO_CONTENT;
        }
        if is_json && response.status() == StatusCode::UNSUPPORTED_MEDIA_TYPE {
            return accept::unreadable(response).await;
        }
        if events {
            return accept::kept_alive(response);
        }
        accept::alone(response, async |id| self.refuse(session.as_ref(), id).await).await
    }

    /// A stream of the older transport.
    fn begin(&self, request: &Request<Body>) -> Response<Body> {
        if accept::asks_for_a_page(request.headers()) {
            let words = "this is an MCP server: give its address to an MCP client";
            return accept::problem(StatusCode::NOT_ACCEPTABLE, INVALID_REQUEST, words);
        }
        match &self.streams {
            Some(streams) => streams.begin(request),
            None => {
                let words = "this server keeps no sessions (--stateless), and so has no event streams: use POST";
                let mut refusal = accept::problem(StatusCode::METHOD_NOT_ALLOWED, INVALID_REQUEST, words);
                refusal.headers_mut().insert(ALLOW, http::HeaderValue::from_static("POST"));
                refusal
            }
        }
    }

    /// Answers a question for a client that takes no events, and so never hears it.
    async fn refuse(&self, session: Option<&SessionId>, id: Value) {
        let (Some(session), Ok(id)) = (session, serde_json::from_value::<RequestId>(id)) else { return };
        let words = "the client takes no event streams (Accept), so that nothing can be asked of it";
        let refusal = ClientJsonRpcMessage::error(ErrorData::new(ErrorCode::METHOD_NOT_FOUND, words, None), Some(id));
        drop(self.sessions.accept_message(session, refusal).await);
    }
}

fn session(headers: &HeaderMap) -> Option<SessionId> {
    headers.get(SESSION).and_then(|value| value.to_str().ok()).map(SessionId::from)
}

/// Whether a GET is for the newer transport. At `/sse` only one that names a session there is.
fn is_streamable(request: &Request<Body>) -> bool {
    let has = |name: &str| request.headers().contains_key(name);
    has(SESSION) || (has(VERSION) && !request.uri().path().ends_with("/sse"))
}

/// What a query says, as it stands there: session ids have nothing that needs decoding.
fn query(request: &Request<Body>, name: &str) -> Option<String> {
    let pairs = request.uri().query()?.split('&').filter_map(|pair| pair.split_once('='));
    pairs.into_iter().find(|(key, _)| *key == name).map(|(_, value)| value.to_owned())
}
