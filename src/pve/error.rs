//! Makes an [`Error`] of what Proxmox answered, or of no answer. The one place where Proxmox's words are matched, with
//! its [`table`]: what they mean (kind) and what to try (hint).

mod table;

use std::collections::BTreeMap;

use bytes::Bytes;
use http::{Method, Response, header};
use serde::Deserialize;

pub use self::table::meaning;
use super::{
    Request,
    api::{Api, Before, before_9},
    grant, perl, rights,
    tls::fingerprint_line,
    transport::SendError,
};
use crate::{
    config::ONLY_CLUSTER,
    error::{Error, Kind},
};

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
        let between = if message.ends_with('.') { " " } else { "; " };
        message.push_str(&format!("{between}{parameter}: {}", wrong.trim()));
    }
    if message.is_empty() {
        message = format!("HTTP status {status} without a word of explanation");
    }
    let mut errors = body.errors;
    for secret in request.params.iter().filter_map(|(_, value)| value.secret()).filter(|secret| secret.len() > 3) {
        // Proxmox may quote a value that it refuses.
        message = message.replace(secret, "********");
        errors.values_mut().for_each(|wrong| *wrong = wrong.replace(secret, "********"));
    }
    let (kind, hint) = judge(request, answer, &message, who);
    let mut error =
        Error::new(kind, explained(status, message)).status(status).errors(errors).request(request.to_string());
    if let Some(hint) = hint {
        error = error.hint(hint);
    }
    error
}

/// Adds what the facts about the API say: which privileges a request takes, where Proxmox does not name the one that is
/// lacking; and since when there is the method, where it says that there is none.
pub fn with_facts(error: Error, request: &Request, api: &Api, who: &str) -> Error {
    let message = error.to_string();
    match error.kind() {
        Kind::Permission if meaning(&message).is_none() && table::lack(&message).is_none() => {
            let nothing = rights::Held::new();
            let lacks: Vec<rights::Lack> =
                rights::needs(api, request).iter().flat_map(|need| need.missing(&nothing)).collect();
            let words: Vec<&str> = lacks.iter().map(|lack| lack.words.as_str()).collect();
            if words.is_empty() {
                return error;
            }
            error.hint(format!("it takes {}; {}", words.join("; "), table::too_few(who)))
        }
        Kind::NotImplemented if table::is_no_method(&message) => match api.lookup(&request.method, &request.path) {
            Some((endpoint, _)) if before_9(&endpoint) == Some(&Before::Absent) => {
                error.hint("Proxmox VE has this call since release 9: this server is older")
            }
            Some(_) => error.hint("Proxmox VE 9.2 has this call: this server is of another release"),
            None => error,
        },
        _ => error,
    }
}

/// The error of a request that got no answer.
pub fn from_send(request: &Request, failure: SendError) -> Error {
    let write = request.method != Method::GET;
    let error = match failure {
        SendError::NotReady(error) => error,
        SendError::NeverSent(words) => Error::new(Kind::Unavailable, format!("cannot reach Proxmox: {words}"))
            .hint("is the endpoint right (PROXMOX_API_URL, port 8006), the node up, and no firewall in between?"),
        SendError::Certificate { message, presented } => Error::new(
            Kind::Certificate,
            format!(
                "the server's certificate is refused: {message}; it presented SHA-256 {presented} (compare that with \
                 `pvenode cert info` on the node before trusting it)"
            ),
        )
        .hint(fingerprint_line(ONLY_CLUSTER, &presented)),
        SendError::Lost(words) if write => unclear(format!("the connection was lost before the answer: {words}")),
        SendError::Lost(words) => Error::new(Kind::Unavailable, format!("the connection was lost: {words}")),
        SendError::TimedOut(words) if write => unclear(words),
        SendError::TimedOut(words) => Error::new(Kind::Timeout, words).hint(SLOW),
        SendError::TooLarge(words) => Error::new(Kind::BadAnswer, words),
    };
    error.request(request.to_string())
}

const UNCLEAR: &str = "look at the task list and at the thing itself before trying again";
const NO_PROGRAM: &str = "Proxmox answers so where the guest has no such program: is it spelled right, with its path? A \
                          shell line needs a shell (shell: sh), a program with arguments args";
const NO_API: &str = "is this really the Proxmox VE API, and not a proxy or another service on that port?";
const SLOW: &str = "the node or its storage is slow or hangs: try another node, or later";

fn unclear(words: String) -> Error {
    Error::new(Kind::Unclear, format!("{words}; it may or may not have been done")).hint(UNCLEAR)
}

/// The error of an answer that is not what the API documents. Shows its beginning, never all of it.
pub fn bad_answer(request: &Request, body: &[u8], why: &serde_json::Error) -> Error {
    let start: String = String::from_utf8_lossy(&body[..body.len().min(480)]).chars().take(120).collect();
    Error::new(Kind::BadAnswer, format!("Proxmox's answer cannot be read: {why}; it begins: {start}"))
        .hint(NO_API)
        .request(request.to_string())
}

/// What kind of failure an answer is, and what to try.
fn judge(request: &Request, answer: &Response<Bytes>, message: &str, who: &str) -> (Kind, Option<String>) {
    let write = request.method != Method::GET;
    let told = |hint: &str| Some(hint.to_string());
    match answer.status().as_u16() {
        300..=399 => {
            let target = answer.headers().get(header::LOCATION).map(|to| String::from_utf8_lossy(to.as_bytes()));
            let target = target.map(|to| format!(" to {to}")).unwrap_or_default();
            (Kind::BadAnswer, Some(format!("that address redirects{target}; set PROXMOX_API_URL to https://host:8006")))
        }
        401 => (Kind::Unauthorized, Some(table::unauthorized(message, who))),
        403 => match meaning(message) {
            // Who may not see a thing, and who names one that is not there, get the same status.
            Some((Kind::NotFound, _)) => (Kind::NotFound, told("or this user or token may not see it")),
            Some((Kind::Permission, hint)) => (Kind::Permission, told(hint)),
            _ => match table::lack(message) {
                Some(lack) => (Kind::Permission, Some(grant::told(who, &[lack]))),
                None => (Kind::Permission, Some(table::too_few(who))),
            },
        },
        // The API says 501 for a path that it does not have, and 500 for a thing that is not there.
        404 => (Kind::BadAnswer, told(NO_API)),
        501 => (Kind::NotImplemented, told("this version of Proxmox VE does not have this call")),
        503 | 595 => (Kind::Unavailable, told("the node behind this request is offline or cannot be reached")),
        596 if write && request.path.ends_with("/agent/exec") => (Kind::Unclear, told(NO_PROGRAM)),
        502 | 504 | 596..=599 if write => (Kind::Unclear, told(UNCLEAR)),
        504 => (Kind::Timeout, told(SLOW)),
        596..=599 if message.to_ascii_lowercase().contains("timed out") => (Kind::Timeout, told(SLOW)),
        502 | 596..=599 => (Kind::Unavailable, told("the node behind this request broke the connection off")),
        status => match meaning(message) {
            Some((kind, hint)) => (kind, (!hint.is_empty()).then(|| hint.to_string())),
            None if status == 400 => (Kind::BadArgument, None),
            None => (Kind::Refused, None),
        },
    }
}

/// What the status itself says, where its words ("Broken pipe") do not.
fn explained(status: u16, message: String) -> String {
    match status {
        595 => format!("{message} (595: the node that this request is for cannot be reached)"),
        596 if message.contains("timed out") => {
            format!("{message} (596: no answer from the node within Proxmox's own limit of 30 s)")
        }
        596..=599 => format!("{message} ({status}: the connection to the node that this request is for broke)"),
        _ => message,
    }
}

#[cfg(test)]
mod tests {
    //! Against the answers of a real server, where they are at hand.

    #![expect(clippy::unwrap_used, clippy::print_stdout, reason = "tests")]

    use serde_json::Value;

    use super::*;

    const RECORDINGS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../shared/pve/recordings.jsonl");

    #[derive(Deserialize)]
    struct Recording {
        method: String,
        path: String,
        status: u16,
        reason: String,
        body: Value,
    }

    #[test]
    fn every_refusal_of_a_real_server_keeps_its_words_and_gets_a_kind() {
        let Ok(text) = std::fs::read_to_string(RECORDINGS) else {
            println!("skipped: {RECORDINGS} is not there");
            return;
        };
        let mut refusals = 0;
        let mut without_kind = std::collections::BTreeSet::new();
        for line in text.lines() {
            let recording: Recording = serde_json::from_str(line).unwrap();
            if recording.status < 400 {
                continue;
            }
            refusals += 1;
            let body = match &recording.body {
                Value::String(text) => text.clone(),
                other => other.to_string(),
            };
            let mut answer = Response::new(Bytes::from(body));
            *answer.status_mut() = http::StatusCode::from_u16(recording.status).unwrap();
            let phrase = hyper::ext::ReasonPhrase::try_from(recording.reason.clone().into_bytes()).unwrap();
            answer.extensions_mut().insert(phrase);
            let request =
                Request::new(recording.method.parse().unwrap(), recording.path.trim_start_matches("/api2/json"));
            let error = from_answer(&request, &answer, "root@pam!full");
            assert!(error.to_string().starts_with(&recording.reason), "{error} against {}", recording.reason);
            if let Some(errors) = recording.body.get("errors").and_then(Value::as_object) {
                for (parameter, wrong) in errors {
                    let wrong = format!("{parameter}: {}", wrong.as_str().unwrap().trim());
                    assert!(error.to_string().contains(&wrong), "{error} lacks {wrong}");
                }
                assert_ne!(error.kind(), Kind::Refused, "{error:?}");
            }
            let kind_by_status = match recording.status {
                401 => Some(Kind::Unauthorized),
                501 => Some(Kind::NotImplemented),
                _ => None,
            };
            assert!(kind_by_status.is_none_or(|kind| kind == error.kind()), "{error:?}");
            if error.kind() == Kind::Refused && error.parts().hint.is_none() {
                without_kind.insert(error.to_string());
            }
        }
        let share = without_kind.len() * 100 / refusals;
        println!("{refusals} refusals; without a kind or a hint of their own: {without_kind:#?}");
        assert!(share <= 15, "{share} % of the refusals mean nothing to the table: {without_kind:#?}");
    }
}
