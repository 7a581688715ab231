//! The tools for whoever can send JSON: one route for each, made from the registry, with the document that describes them.

use std::sync::Arc;

use axum::{Extension, Json, Router, routing::get};
use serde_json::{Value, json};

use crate::web::Caller;

/// Everything of it.
pub fn routes() -> Router {
    Router::new().route("/tools", get(tools))
}

async fn tools(Extension(caller): Extension<Arc<Caller>>) -> Json<Value> {
    Json(caller.app.tools().map(|(entry, _)| json!({"name": entry.name})).collect())
}
