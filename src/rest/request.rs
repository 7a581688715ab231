//! What a request brings: who sent it, the name in its path, its query, its arguments. What is wrong with one of them is a
//! problem that names it.

use std::sync::Arc;

use axum::{
    body::Bytes,
    extract::{FromRequest, FromRequestParts, Path, Query, Request, rejection::BytesRejection},
};
use http::{
    HeaderMap, StatusCode,
    header::{ACCEPT, CONTENT_TYPE, USER_AGENT},
    request::Parts,
};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::{
    outside::cleaned,
    web::{Caller, Problem, RequestId, taken},
};

/// The most of a client's name that is put on record.
const NAME: usize = 100;

/// Who calls.
pub struct Who {
    pub caller: Arc<Caller>,
    /// What the client calls itself.
    pub client: String,
    pub request: Option<String>,
    /// Wants to be told how it goes while it goes.
    pub wants_events: bool,
}

impl<S: Sync> FromRequestParts<S> for Who {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let Some(caller) = parts.extensions.get::<Arc<Caller>>() else {
            return Err(Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "nobody has said who calls"));
        };
        Ok(Self {
            caller: Arc::clone(caller),
            client: client(&parts.headers),
            request: parts.extensions.get::<RequestId>().map(|id| id.0.clone()),
            wants_events: wants_events(&parts.headers),
        })
    }
}

/// One short line: a client may call itself anything.
fn client(headers: &HeaderMap) -> String {
    let name = headers.get(USER_AGENT).map(|name| cleaned(String::from_utf8_lossy(name.as_bytes()).into_owned()));
    match name.as_deref().map(str::trim).filter(|name| !name.is_empty()) {
        Some(name) => name.chars().map(|c| if c.is_control() { ' ' } else { c }).take(NAME).collect(),
        None => "REST".to_owned(),
    }
}

/// Only who names them, and not JSON too: that is what everybody gets.
fn wants_events(headers: &HeaderMap) -> bool {
    let accepts = |media_type: &str| taken(headers, ACCEPT).any(|one| one == media_type);
    accepts("text/event-stream") && !accepts("application/json")
}

/// What stands in the path.
pub struct Named(pub String);

impl<S: Send + Sync> FromRequestParts<S> for Named {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        match Path::<String>::from_request_parts(parts, state).await {
            Ok(Path(name)) => Ok(Self(name)),
            Err(e) => Err(Problem::new(StatusCode::BAD_REQUEST, format!("the path: {}", e.body_text()))),
        }
    }
}

/// What stands behind the question mark.
pub struct Asked<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for Asked<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        match Query::<T>::from_request_parts(parts, state).await {
            Ok(Query(asked)) => Ok(Self(asked)),
            Err(e) => Err(Problem::new(StatusCode::BAD_REQUEST, e.body_text())),
        }
    }
}

/// The body: a JSON object, or nothing for an empty one.
pub struct Arguments(pub Map<String, Value>);

impl<S: Send + Sync> FromRequest<S> for Arguments {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let is_json = is_json(request.headers());
        let body = Bytes::from_request(request, state).await.map_err(|e| unread(&e))?;
        if body.trim_ascii().is_empty() {
            return Ok(Self(Map::new()));
        }
        if !is_json {
            let words = "expected the arguments as JSON, with Content-Type: application/json";
            return Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, words).hint("with curl: --json '{…}'"));
        }
        match serde_json::from_slice(&body) {
            Ok(Value::Object(arguments)) => Ok(Self(arguments)),
            Ok(other) => Err(no_object(&format!("got {}", kind(&other)))),
            Err(e) => Err(no_object(&e.to_string())),
        }
    }
}

fn unread(error: &BytesRejection) -> Problem {
    Problem::new(error.status(), format!("the body could not be read: {}", error.body_text()))
}

fn no_object(why: &str) -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, format!("the body: expected a JSON object with the arguments; {why}"))
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

fn is_json(headers: &HeaderMap) -> bool {
    let given = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let media_type = given.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    media_type == "application/json" || (media_type.starts_with("application/") && media_type.ends_with("+json"))
}
