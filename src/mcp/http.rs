//! MCP over HTTP for one caller: its sessions, and nobody else's. Who the caller is, and what it may send, has been decided
//! before.

use std::sync::Arc;

use axum::{body::Body, response::IntoResponse};
use http::{Request, Response};
use rmcp::transport::streamable_http_server::{
    StreamableHttpServerConfig, StreamableHttpService, session::local::LocalSessionManager,
};

use super::server::Server;
use crate::{call::App, config::Web, ending::Ending};

/// The conversations of one caller.
#[derive(Clone)]
pub struct Conversations {
    streamable: StreamableHttpService<Server, LocalSessionManager>,
}

impl Conversations {
    pub fn new(app: Arc<App>, web: &Web, ending: &Ending) -> Self {
        let config = StreamableHttpServerConfig::default()
            // Both were looked at when the request came in, for all that is served.
            .disable_allowed_hosts()
            .disable_allowed_origins()
            .with_legacy_session_mode(!web.stateless)
            .with_max_request_body_bytes(web.limits.body)
            .with_cancellation_token(ending.calls.clone());
        let server = Server::new(app).ended_by(ending.calls.clone());
        let sessions = Arc::new(LocalSessionManager::default());
        Self { streamable: StreamableHttpService::new(move || Ok(server.another()), sessions, config) }
    }

    /// Answers one HTTP request.
    pub async fn answer(&self, request: Request<Body>) -> Response<Body> {
        self.streamable.handle(request).await.into_response()
    }
}
