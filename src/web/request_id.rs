//! Each request has an id: the one that it came with, or a new one. It goes back in the answer, to the program's log, and to
//! the record of what was done, and stands in every problem that is told.

use axum::{body::Body, extract::Request, middleware::Next, response::Response};
use http::{HeaderName, HeaderValue, header::CONTENT_LENGTH};
use serde_json::Value;

use super::Problem;
use crate::key;

const HEADER: HeaderName = HeaderName::from_static("x-request-id");
const LONGEST: usize = 64;

/// The id of one HTTP request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestId(pub String);

/// Gives the request its id, and the answer too.
pub async fn identify(mut request: Request, next: Next) -> Response {
    let id = request.headers().get(HEADER).and_then(given).unwrap_or_else(new);
    request.extensions_mut().insert(RequestId(id.clone()));
    let mut response = next.run(request).await;
    if let Some(problem) = response.extensions_mut().remove::<Problem>() {
        // Another body, but what was said on the way out stays.
        response = response.map(|_| Body::from(Value::Object(problem.with("request_id", &id).body()).to_string()));
        response.headers_mut().remove(CONTENT_LENGTH);
    }
    if let Ok(id) = HeaderValue::from_str(&id) {
        response.headers_mut().insert(HEADER, id);
    }
    response
}

/// One that somebody before us gave: only what cannot break a log's line.
fn given(header: &HeaderValue) -> Option<String> {
    let text = header.to_str().ok()?;
    let fits = |c: char| c.is_ascii_alphanumeric() || "-_.:/+=".contains(c);
    (!text.is_empty() && text.len() <= LONGEST && text.chars().all(fits)).then(|| text.to_owned())
}

fn new() -> String {
    key::random::<8>().map(|bytes| key::hex(&bytes)).unwrap_or_default()
}
