//! What is served where, and what every request passes on its way: its id, host and origin, the door.

use std::sync::Arc;

use axum::{Extension, Router, body::Body, extract::Request, middleware, response::Response, routing::any};

use super::{
    Caller, Callers, access,
    door::{self, Door},
    health,
    hosts::{self, Hosts},
    oauth, request_id,
};
use crate::{config::Web, rest as rest_api};

/// Where MCP is spoken: the second is how it was called by the server that n8n workflows were made for, the third where
/// clients of the oldest transport look for it.
pub const MCP_PATHS: [&str; 3] = ["/mcp", "/proxmox/mcp", "/sse"];

/// MCP and REST at one address.
pub fn everything(callers: &Arc<Callers>, web: &Web) -> Router {
    guarded(mcp_routes().merge(rest_api::routes(web)), rest_api::page(), callers, web)
}

/// MCP alone.
pub fn mcp(callers: &Arc<Callers>, web: &Web) -> Router {
    guarded(mcp_routes(), Router::new(), callers, web)
}

/// REST alone.
pub fn rest(callers: &Arc<Callers>, web: &Web) -> Router {
    guarded(rest_api::routes(web), rest_api::page(), callers, web)
}

fn mcp_routes() -> Router {
    MCP_PATHS.into_iter().fold(Router::new(), |router, path| router.route(path, any(converse)))
}

async fn converse(Extension(caller): Extension<Arc<Caller>>, request: Request) -> Response<Body> {
    caller.mcp.answer(request).await
}

/// Puts the door before what is inside, but not before what is open to everybody; and before both what all requests pass.
fn guarded(inside: Router, open: Router, callers: &Arc<Callers>, web: &Web) -> Router {
    let health = callers.health();
    inside
        .merge(health::closed(health))
        .layer(middleware::from_fn_with_state(Door::new(callers, web), door::pass))
        .merge(open)
        .merge(health::open(health))
        .merge(oauth::routes(web))
        .layer(hosts::cors())
        .layer(middleware::from_fn_with_state(Hosts::new(web), hosts::check))
        .layer(middleware::from_fn_with_state(Arc::clone(health.app().metrics()), access::note))
        .layer(middleware::from_fn(request_id::identify))
}
