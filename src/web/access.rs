//! One line and one count for each HTTP request: who asked for what, and what the answer was. Never what was in it, nor
//! the address's query, nor the headers that let somebody in.

use std::{net::SocketAddr, sync::Arc};

use axum::{
    extract::{ConnectInfo, MatchedPath, Request, State},
    middleware::Next,
    response::Response,
};
use http::{HeaderMap, Method, StatusCode};
use tokio::time::Instant;

use super::{Caller, RequestId, health};
use crate::metrics::Metrics;

/// One request under way. One that is dropped without an answer was given up by its caller.
struct Access {
    metrics: Arc<Metrics>,
    began: Instant,
    method: Method,
    path: String,
    route: Option<MatchedPath>,
    request: Option<RequestId>,
    peer: Option<ConnectInfo<SocketAddr>>,
    forwarded: Option<String>,
    caller: Option<String>,
    status: Option<StatusCode>,
}

/// Notes what passes. It stands before the door, and within what gives a request its id.
pub async fn note(State(metrics): State<Arc<Metrics>>, request: Request, next: Next) -> Response {
    let mut access = Access::begin(metrics, &request);
    let response = next.run(request).await;
    access.status = Some(response.status());
    access.caller = response.extensions().get::<Arc<Caller>>().and_then(|caller| caller.name.clone());
    response
}

impl Access {
    fn begin(metrics: Arc<Metrics>, request: &Request) -> Self {
        metrics.http_began();
        Self {
            metrics,
            began: Instant::now(),
            method: request.method().clone(),
            path: shown(request.uri().path()),
            route: request.extensions().get().cloned(),
            request: request.extensions().get().cloned(),
            peer: request.extensions().get().copied(),
            forwarded: forwarded(request.headers()),
            caller: None,
            status: None,
        }
    }
}

impl Drop for Access {
    fn drop(&mut self) {
        let Self { metrics, method, path, route, request, peer, forwarded, caller, status, began } = self;
        let route = route.as_ref().map(MatchedPath::as_str);
        metrics.http_ended(route, method, *status);
        let ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
        let (method, path, status) = (method.as_str(), path.as_str(), status.map(|status| status.as_u16()));
        let (request, caller, forwarded) =
            (request.as_ref().map(|id| id.0.as_str()), caller.as_deref(), forwarded.as_deref());
        let client = peer.map(|peer| tracing::field::display(peer.0));
        if route.is_some_and(health::is_routine) {
            tracing::debug!(method, path, status, ms, request, caller, client, forwarded, "http");
        } else {
            tracing::info!(method, path, status, ms, request, caller, client, forwarded, "http");
        }
    }
}

/// Whoever asks writes the path as they like.
fn shown(path: &str) -> String {
    path.chars().take(200).collect()
}

/// Whom a proxy says that it speaks for: what anybody may write, so only what can be an address.
fn forwarded(headers: &HeaderMap) -> Option<String> {
    let text = headers.get("x-forwarded-for")?.to_str().ok()?;
    let fits = |c: char| c.is_ascii_hexdigit() || ".:, []".contains(c);
    (text.len() <= 200 && text.chars().all(fits)).then(|| text.to_owned())
}
