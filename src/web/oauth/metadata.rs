//! What a client is told that has no token yet: where to get one, and for what (RFC 9728, RFC 6750).

use std::sync::Arc;

use axum::{
    Json, Router,
    extract::State,
    response::{IntoResponse, Response},
    routing::get,
};
use http::{HeaderMap, HeaderValue, StatusCode, Uri, header::HOST, request::Parts};
use serde_json::json;

use crate::{
    config::{OAuth, Web},
    web::{Problem, routes::MCP_PATHS},
};

const WELL_KNOWN: &str = "/.well-known/oauth-protected-resource";

/// For which nobody needs a key.
pub fn routes(web: &Web) -> Router {
    let paths = [""].into_iter().chain(MCP_PATHS).map(|path| format!("{WELL_KNOWN}{path}"));
    let router = paths.fold(Router::new(), |router, path| router.route(&path, get(metadata)));
    router.with_state(Arc::new(web.clone()))
}

async fn metadata(State(web): State<Arc<Web>>, uri: Uri, headers: HeaderMap) -> Response {
    let Some(oauth) = &web.oauth else {
        return Problem::new(StatusCode::NOT_FOUND, "this server takes no access tokens").into_response();
    };
    // Where the whole server is asked for, MCP is meant.
    let path = uri.path().strip_prefix(WELL_KNOWN).filter(|path| !path.is_empty()).unwrap_or(MCP_PATHS[0]);
    let scopes: Vec<&str> = oauth.scopes.iter().map(|(scope, _)| scope.as_str()).collect();
    let about = json!({
        "resource": format!("{}{path}", base(&web, &headers)),
        "authorization_servers": [oauth.issuer],
        "scopes_supported": scopes,
        "bearer_methods_supported": ["header"],
        "resource_name": "Proxmox VE",
    });
    Json(about).into_response()
}

/// Whom a token may be for: as the operator says; where that is this server by its address, at each of its paths.
pub fn audiences(web: &Web, oauth: &OAuth) -> Vec<String> {
    let ours = web.public_url.iter().flat_map(|url| MCP_PATHS.map(|path| format!("{url}{path}")));
    let ours: Vec<String> = ours.collect();
    if ours.contains(&oauth.audience) { ours } else { vec![oauth.audience.clone()] }
}

/// How to get in, for an answer that refuses.
pub fn challenge(web: &Web, parts: &Parts, more: &[(&str, &str)]) -> HeaderValue {
    let path = Some(parts.uri.path()).filter(|path| MCP_PATHS.contains(path)).unwrap_or_default();
    let metadata = web.oauth.as_ref().map(|_| format!("{}{WELL_KNOWN}{path}", base(web, &parts.headers)));
    let metadata = metadata.as_deref().map(|url| ("resource_metadata", url));
    let all = more.iter().copied().chain(metadata).map(|(key, value)| format!("{key}=\"{value}\""));
    let all = all.collect::<Vec<_>>().join(", ");
    HeaderValue::from_str(format!("Bearer {all}").trim_end()).unwrap_or(HeaderValue::from_static("Bearer"))
}

/// How clients reach this server: as the operator says, else as this one did.
fn base(web: &Web, headers: &HeaderMap) -> String {
    let host = || headers.get(HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    let scheme = if web.tls.is_some() { "https" } else { "http" };
    web.public_url.clone().unwrap_or_else(|| format!("{scheme}://{}", host()))
}
