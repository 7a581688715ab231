//! What those ask who look after the program: whether it lives, and whether it can work.

use axum::{Router, routing::get};

/// The routes for which nobody needs a key.
pub fn routes() -> Router {
    Router::new().route("/livez", get(async || "ok\n"))
}
