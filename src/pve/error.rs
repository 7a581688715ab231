//! Makes an [`Error`] of what Proxmox answered, or of no answer. The one place where Proxmox's words are matched: what
//! they mean (kind) and what to try (hint).

use std::collections::BTreeMap;

use bytes::Bytes;
use http::{Method, Response};
use serde::Deserialize;

use super::{Request, perl, tls::fingerprint_line, transport::SendError};
use crate::error::{Error, Kind};

/// What an answer with an error looks like; every part may be missing.
#[derive(Debug, Default, Deserialize)]
struct Body {
    message: Option<String>,
    #[serde(default)]
    errors: BTreeMap<String, String>,
}

/// The reason phrase of an answer: Proxmox's error text (first line only).
pub fn reason(answer: &Response<Bytes>) -> String {
    match answer.extensions().get::<hyper::ext::ReasonPhrase>() {
        Some(phrase) => String::from_utf8_lossy(phrase.as_bytes()).trim().to_string(),
        None => answer.status().canonical_reason().unwrap_or_default().to_string(),
    }
}

/// The error that an answer with a status of 300 and more stands for. `who` is the user or token, for hints.
pub fn from_answer(request: &Request, answer: &Response<Bytes>, who: &str) -> Error {
    let status = answer.status().as_u16();
    let body: Body = perl::from_slice(answer.body()).unwrap_or_default();
    let reason = reason(answer);
    let said = body.message.as_deref().unwrap_or_default().trim();
    // The phrase is one line, cut at the first; the body has all of it, where the server is new enough to send it.
    let mut message = if said.len() >= reason.len() { said.to_string() } else { reason };
    for (parameter, wrong) in &body.errors {
        message.push_str(&format!("; {parameter}: {}", wrong.trim()));
    }
    if message.is_empty() {
        message = format!("HTTP status {status} without a word of explanation");
    }
    let (kind, hint) = judge(request, status, &message, who);
    let mut error = Error::new(kind, message).status(status).errors(body.errors).request(request.to_string());
    if let Some(hint) = hint {
        error = error.hint(hint);
    }
    error
}

/// The error of a request that got no answer.
pub fn from_send(request: &Request, failure: SendError, limit: std::time::Duration) -> Error {
    let write = request.method != Method::GET;
    let error = match failure {
        SendError::NotReady(error) => error,
        SendError::NeverSent(words) => Error::new(Kind::Unavailable, format!("cannot reach Proxmox: {words}"))
            .hint("is the endpoint right (PROXMOX_API_URL, port 8006), the node up, and no firewall in between?"),
        SendError::Certificate { message, presented } => Error::new(
            Kind::Certificate,
            format!("the server's certificate is refused: {message}; it presented SHA-256 {presented}"),
        )
        .hint(fingerprint_line(&presented)),
        SendError::Lost(words) if write => unclear(format!("the connection was lost before the answer: {words}")),
        SendError::Lost(words) => Error::new(Kind::Unavailable, format!("the connection was lost: {words}")),
        SendError::TimedOut(words) => {
            let words = format!("{words} ({} s; Proxmox's own limit is 30 s)", limit.as_secs());
            if write {
                unclear(words)
            } else {
                Error::new(Kind::Timeout, words)
                    .hint("the node or its storage is slow or hangs: try another node, or later")
            }
        }
        SendError::TooLarge(words) => Error::new(Kind::BadAnswer, words),
    };
    error.request(request.to_string())
}

fn unclear(words: String) -> Error {
    Error::new(Kind::Unclear, format!("{words}; it may or may not have been done"))
        .hint("look at the task list and at the thing itself before trying again")
}

/// The error of an answer that is not what the API documents. Shows its beginning, never all of it.
pub fn bad_answer(request: &Request, body: &[u8], why: &serde_json::Error) -> Error {
    let start: String = String::from_utf8_lossy(&body[..body.len().min(480)]).chars().take(120).collect();
    Error::new(Kind::BadAnswer, format!("Proxmox's answer cannot be read: {why}; it begins: {start}"))
        .hint("is this really the Proxmox VE API, and not a proxy or another service on that port?")
        .request(request.to_string())
}

fn judge(request: &Request, status: u16, message: &str, who: &str) -> (Kind, Option<String>) {
    let write = request.method != Method::GET;
    match status {
        595 => (Kind::Unavailable, Some("the node behind this request is offline or cannot be reached".into())),
        596..=599 if write => (Kind::Unclear, Some("look at the task list before trying again".into())),
        596 if message.contains("timed out") => (Kind::Timeout, None),
        596..=599 => (Kind::Unavailable, None),
        401 => (Kind::Unauthorized, Some(format!("{who} is not accepted"))),
        403 => (Kind::Permission, None),
        501 => (Kind::NotImplemented, None),
        _ if message.contains("does not exist") => (Kind::NotFound, None),
        _ if message.contains("already exists") => (Kind::Conflict, None),
        _ if message.contains("got timeout") || message.contains("is locked") => (Kind::Locked, None),
        _ => (Kind::Refused, None),
    }
}
