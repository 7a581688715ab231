//! What is wrong with a request, for whoever sent it: problem details as JSON (RFC 9457). Every refusal over HTTP that is not
//! MCP's own is one of these.

use axum::response::{IntoResponse, Response};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header::CONTENT_TYPE};
use serde::Serialize;
use serde_json::{Map, Value};

use crate::{error::Error, outside::cleaned};

/// The media type of all of them.
pub const MEDIA_TYPE: &str = "application/problem+json";

/// One refusal. Boxed inside, so that a `Result` with one stays small.
#[derive(Debug, Clone)]
pub struct Problem(Box<Parts>);

#[derive(Debug, Clone)]
struct Parts {
    status: StatusCode,
    detail: String,
    /// What else is known, in order.
    more: Map<String, Value>,
    headers: HeaderMap,
}

impl Problem {
    /// `detail`: what is wrong with this one request, in a sentence.
    pub fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        let detail = cleaned(detail.into());
        Self(Box::new(Parts { status, detail, more: Map::new(), headers: HeaderMap::new() }))
    }

    /// The error of a call: its message is the detail, and all else that is known of it stands beside: `kind`, `hint`,
    /// `upid`, `errors` … Proxmox's own status is told as `proxmox_status`.
    pub fn of(status: StatusCode, error: &Error) -> Self {
        let problem = Self::new(status, error.to_string());
        let Ok(Value::Object(parts)) = serde_json::to_value(error.parts()) else { return problem };
        let named = parts.into_iter().filter(|(key, _)| key != "message");
        named.fold(problem, |problem, (key, value)| match key.as_str() {
            "status" => problem.with("proxmox_status", value),
            _ => problem.with(&key, value),
        })
    }

    /// With something else that is known.
    pub fn with(mut self, key: &str, value: impl Serialize) -> Self {
        if let Ok(value) = serde_json::to_value(value) {
            self.0.more.insert(key.to_owned(), value);
        }
        self
    }

    /// With a hint what to try.
    pub fn hint(self, hint: impl Into<String>) -> Self {
        self.with("hint", cleaned(hint.into()))
    }

    /// With a header of the answer.
    pub fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.0.headers.append(name, value);
        self
    }

    pub fn status(&self) -> StatusCode {
        self.0.status
    }

    /// As it is sent.
    pub fn body(&self) -> Map<String, Value> {
        let title = self.0.status.canonical_reason().unwrap_or("Error");
        let mut body = Map::new();
        body.insert("type".to_owned(), "about:blank".into());
        body.insert("title".to_owned(), title.into());
        body.insert("status".to_owned(), self.0.status.as_u16().into());
        body.insert("detail".to_owned(), self.0.detail.clone().into());
        body.extend(self.0.more.clone());
        body
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let body = Value::Object(self.body()).to_string();
        let mut response = (self.status(), [(CONTENT_TYPE, MEDIA_TYPE)], body).into_response();
        response.headers_mut().extend(self.0.headers.clone());
        // For those on its way out who have something to add.
        response.extensions_mut().insert(self);
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Kind;

    #[test]
    fn an_error_is_told_with_all_that_is_known_of_it() {
        let error = Error::new(Kind::Locked, "VM is locked (backup)").status(500).hint("try again later");
        let body = Value::Object(Problem::of(StatusCode::CONFLICT, &error).body());
        let expected = serde_json::json!({
            "type": "about:blank",
            "title": "Conflict",
            "status": 409,
            "detail": "VM is locked (backup)",
            "kind": "locked",
            "hint": "try again later",
            "proxmox_status": 500,
        });
        assert_eq!(body, expected);
    }
}
