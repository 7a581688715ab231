//! What a client takes as an answer. rmcp wants clients to name both JSON and event streams; many simple ones name neither.
//! Whoever does not ask for events is given the answer alone, as JSON.

use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use futures::{StreamExt, stream};
use http::{
    HeaderMap, HeaderValue, Response, StatusCode,
    header::{ACCEPT, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE},
};
use serde_json::Value;
use tokio::time::timeout;

use crate::web::taken;

pub const JSON: HeaderValue = HeaderValue::from_static("application/json");
pub const EVENTS: HeaderValue = HeaderValue::from_static("text/event-stream");
/// JSON-RPC's codes.
pub const PARSE_ERROR: i32 = -32_700;
pub const INVALID_REQUEST: i32 = -32_600;
pub const INTERNAL_ERROR: i32 = -32_603;
const SIGN_OF_LIFE: Duration = Duration::from_secs(15);
/// To be read by nobody.
const COMMENT: Bytes = Bytes::from_static(b":\n\n");
const BOTH: HeaderValue = HeaderValue::from_static("application/json, text/event-stream");

/// Whether event streams are asked for by name.
pub fn asks_for_events(headers: &HeaderMap) -> bool {
    taken(headers, ACCEPT).any(|name| name == "text/event-stream" || name == "text/*")
}

/// Whether it is a browser that somebody looks at.
pub fn asks_for_a_page(headers: &HeaderMap) -> bool {
    taken(headers, ACCEPT).any(|name| name == "text/html")
}

/// Whether what came says that it is JSON.
pub fn is_json(headers: &HeaderMap) -> bool {
    let given = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    given.split(';').next().is_some_and(|name| name.trim().eq_ignore_ascii_case("application/json"))
}

/// JSON that is no message: rmcp calls that a media type.
pub async fn unreadable(response: Response<Body>) -> Response<Body> {
    let said = axum::body::to_bytes(response.into_body(), 1000).await.unwrap_or_default();
    problem(StatusCode::BAD_REQUEST, PARSE_ERROR, &String::from_utf8_lossy(&said))
}

/// Lets rmcp serve whoever asks.
pub fn all(headers: &mut HeaderMap) {
    headers.insert(ACCEPT, BOTH);
}

/// What came in a stream of events.
enum Event {
    /// The answer: the last of them.
    Answer(Value),
    /// A request to the client, by its id.
    Request(Value),
}

/// The answer out of a stream of events, as JSON. What else comes on the way is left out, but `asked` is told of what the
/// server asks the client, who will never read it.
pub async fn alone<F>(response: Response<Body>, asked: impl Fn(Value) -> F) -> Response<Body>
where
    F: Future<Output = ()>,
{
    if response.headers().get(CONTENT_TYPE) != Some(&EVENTS) {
        return response;
    }
    let (mut head, body) = response.into_parts();
    let mut body = body.into_data_stream();
    let mut text = Vec::new();
    while let Some(Ok(piece)) = body.next().await {
        text.extend_from_slice(&piece);
        while let Some(end) = text.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = text.drain(..=end).collect();
            match event(&line) {
                Some(Event::Answer(answer)) => {
                    head.headers.remove(CACHE_CONTROL);
                    head.headers.remove(CONTENT_LENGTH);
                    head.headers.insert(CONTENT_TYPE, JSON);
                    return Response::from_parts(head, Body::from(answer.to_string()));
                }
                Some(Event::Request(id)) => asked(id).await,
                None => {}
            }
        }
    }
    problem(StatusCode::OK, INTERNAL_ERROR, "the request was cancelled, or the server is ending")
}

/// A stream of events that says something now and then, so that nobody on the way takes it for dead.
pub fn kept_alive(response: Response<Body>) -> Response<Body> {
    if response.headers().get(CONTENT_TYPE) != Some(&EVENTS) {
        return response;
    }
    response.map(|body| {
        Body::from_stream(stream::unfold(body.into_data_stream(), async |mut body| {
            let piece = timeout(SIGN_OF_LIFE, body.next()).await.unwrap_or(Some(Ok(COMMENT)))?;
            Some((piece, body))
        }))
    })
}

/// rmcp writes each message on one line.
fn event(line: &[u8]) -> Option<Event> {
    let message: Value = serde_json::from_slice(line.strip_prefix(b"data:")?).ok()?;
    match (message.get("method"), message.get("id")) {
        (None, Some(_)) => Some(Event::Answer(message)),
        (Some(_), Some(id)) => Some(Event::Request(id.clone())),
        _ => None,
    }
}

/// An error of JSON-RPC that answers no request in particular.
pub fn problem(status: StatusCode, code: i32, message: &str) -> Response<Body> {
    let error = serde_json::json!({"jsonrpc": "2.0", "id": null, "error": {"code": code, "message": message}});
    let mut response = Response::new(Body::from(error.to_string()));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, JSON);
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(accept: &[&'static str]) -> HeaderMap {
        accept.iter().map(|value| (ACCEPT, HeaderValue::from_static(value))).collect()
    }

    #[test]
    fn events_are_for_those_who_name_them() {
        for yes in [&["text/event-stream"][..], &["application/json, Text/Event-Stream;q=0.5"], &["*/*", "text/*"]] {
            assert!(asks_for_events(&headers(yes)), "{yes:?}");
        }
        for no in [&[][..], &["*/*"], &["application/json"], &["text/event-stream;q=0, */*"], &["text/html"]] {
            assert!(!asks_for_events(&headers(no)), "{no:?}");
        }
    }
}
