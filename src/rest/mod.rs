//! The tools for whoever can send JSON: one route for each, made from the registry, with the document that describes them
//! and a page to read it by. Who calls, and what that caller may do, has been decided before.

use std::sync::Arc;

use axum::{
    Router,
    extract::DefaultBodyLimit,
    routing::{any, get},
};
use http::{Method, StatusCode, Uri};

use crate::{config::Web, web::Problem};

mod call;
mod content;
mod events;
mod openapi;
mod outcome;
mod page;
mod prefer;
mod problems;
mod request;
mod tasks;
mod tools;

/// What the routes know of the settings.
struct Site {
    /// Without a slash at the end; empty where nobody said.
    public_url: String,
    /// A key or a token has to be shown.
    locked: bool,
}

impl Site {
    /// Where something of this server is, for whoever follows it from an answer.
    fn at(&self, path: &str) -> String {
        let host = self.public_url.find("://").map_or(0, |at| at + 3);
        let prefix = self.public_url[host..].find('/').map_or("", |at| &self.public_url[host + at..]);
        format!("{prefix}{path}")
    }
}

/// The API, for whom the door has let in.
pub fn routes(web: &Web) -> Router {
    let site = Site {
        public_url: web.public_url.clone().unwrap_or_default(),
        locked: web.keys.is_some() || web.oauth.is_some(),
    };
    Router::new()
        .route("/openapi.json", get(openapi::serve))
        .route("/tools", get(tools::list))
        .route("/tools/{name}", get(tools::show).post(tools::call))
        .route("/tasks/{upid}", get(tasks::show).delete(tasks::stop))
        // As it was called by a proxy that many workflows were made for.
        .route("/{name}", any(tools::call_at_root))
        .method_not_allowed_fallback(wrong_method)
        .fallback(nothing_here)
        // The door has held it to the operator's limit.
        .layer(DefaultBodyLimit::disable())
        .with_state(Arc::new(site))
}

/// The page: a browser can show no key before it has asked for one.
pub fn page() -> Router {
    page::routes()
}

async fn nothing_here(uri: Uri) -> Problem {
    Problem::new(StatusCode::NOT_FOUND, format!("nothing at {}", uri.path()))
        .hint("the tools are at /tools/{name}; /openapi.json describes everything")
}

async fn wrong_method(method: Method, uri: Uri) -> Problem {
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, format!("{method} is nothing that {} takes", uri.path()))
        .hint("the header Allow has what it takes; /openapi.json describes everything")
}
