//! The one place through which every answer leaves, said as pveproxy says it: status and reason phrase, headers, the
//! JSON envelope, and the `extjs` format. It knows nothing of what the data means.

use std::borrow::Cow;

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};
use hyper::ext::ReasonPhrase;
use serde_json::{Map, Value, json};

const JSON: &str = "application/json;charset=UTF-8";

/// The data of a successful call.
#[derive(Debug, Clone)]
pub enum Data {
    Value(Value),
    /// JSON text made before (a large list that is kept until it changes).
    Text(Bytes),
    /// Not JSON at all: a log file to save.
    File {
        content_type: &'static str,
        /// It is packed already.
        encoding: Option<&'static str>,
        disposition: Option<String>,
        body: Bytes,
    },
}

/// What a handler answers: `data`, and what may stand beside it (`total`, `changes`).
#[derive(Debug, Clone)]
pub struct Answer {
    pub data: Data,
    pub beside: Map<String, Value>,
}

impl Answer {
    pub fn null() -> Self {
        Self::from(Value::Null)
    }
    pub fn text(json: Bytes) -> Self {
        Self { data: Data::Text(json), beside: Map::new() }
    }
    /// Adds a value beside `data`.
    pub fn beside(mut self, key: &str, value: impl Into<Value>) -> Self {
        self.beside.insert(key.to_owned(), value.into());
        self
    }
}

impl<T: Into<Value>> From<T> for Answer {
    fn from(value: T) -> Self {
        Self { data: Data::Value(value.into()), beside: Map::new() }
    }
}

/// Why a handler refuses. `message` is kept without the newline that Perl's `die` ends with; only its first line fits
/// into the reason phrase.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{status} {message}")]
pub struct Refusal {
    pub status: u16,
    pub message: String,
    /// Parameter → what is wrong with it.
    pub errors: Vec<(String, String)>,
    /// 501 for an unknown method has no newline at the end of its message.
    newline: bool,
}

impl Refusal {
    pub fn new(status: u16, message: impl Into<String>) -> Self {
        Self { status, message: message.into(), errors: Vec::new(), newline: true }
    }
    /// What `die` becomes: 500.
    pub fn failed(message: impl Into<String>) -> Self {
        Self::new(500, message)
    }
    /// 400 with one entry in the `errors` map.
    pub fn param(name: impl Into<String>, problem: impl Into<String>) -> Self {
        Self::params(vec![(name.into(), problem.into())])
    }
    /// 400 with the given `errors` map.
    pub fn params(errors: Vec<(String, String)>) -> Self {
        Self { errors, ..Self::new(400, "Parameter verification failed.") }
    }
    /// 403; `what` is what stands in the brackets, e.g. `/vms/100, VM.Audit`; nothing: no brackets.
    pub fn forbidden(what: &str) -> Self {
        match what {
            "" => Self::new(403, "Permission check failed"),
            what => Self::new(403, format!("Permission check failed ({what})")),
        }
    }
    /// 501 for a path or method that is not there.
    pub fn not_implemented(method: &str, path: &str) -> Self {
        Self { newline: false, ..Self::new(501, format!("Method '{method} {path}' not implemented")) }
    }

    fn body_message(&self) -> String {
        if self.newline && !self.message.ends_with('\n') { format!("{}\n", self.message) } else { self.message.clone() }
    }
}

/// What one request is answered with, before it is put into words.
pub type Answered = Result<Answer, Refusal>;

/// The part of the URL that says how to put it: `/api2/json`, `/api2/extjs`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    Json,
    Extjs,
}

/// Puts a handler's answer into words. `now`: Unix time for the `Date` header.
pub fn render(answered: Answered, format: Format, now: u64) -> Response<Bytes> {
    match (answered, format) {
        (Ok(Answer { data: Data::File { content_type, encoding, disposition, body }, .. }), _) => {
            let mut response = plain(200, "OK", body, now);
            response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
            if let Some(encoding) = encoding {
                response.headers_mut().insert(header::CONTENT_ENCODING, HeaderValue::from_static(encoding));
            }
            if let Some(value) = disposition.and_then(|text| HeaderValue::from_str(&text).ok()) {
                response.headers_mut().insert(header::CONTENT_DISPOSITION, value);
            }
            response
        }
        (Ok(answer), format) => {
            let mut beside = answer.beside;
            if format == Format::Extjs {
                beside.insert("success".to_owned(), 1.into());
            }
            typed(200, "OK", envelope(&answer.data, &beside), now)
        }
        // An answer of the proxy, not of the API: no body.
        (Err(refusal), _) if refusal.status >= 595 => empty(refusal.status, &refusal.message, now),
        (Err(refusal), Format::Json) => {
            let mut beside = Map::new();
            beside.insert("message".to_owned(), refusal.body_message().into());
            if !refusal.errors.is_empty() {
                beside.insert("errors".to_owned(), error_map(&refusal));
            }
            typed(refusal.status, &refusal.message, envelope(&Data::Value(Value::Null), &beside), now)
        }
        (Err(refusal), Format::Extjs) => {
            let mut body =
                json!({"data": null, "success": 0, "status": refusal.status, "message": refusal.body_message()});
            if !refusal.errors.is_empty() {
                body["errors"] = error_map(&refusal);
            }
            typed(200, "OK", body.to_string().into(), now)
        }
    }
}

fn error_map(refusal: &Refusal) -> Value {
    refusal.errors.iter().map(|(k, v)| (k.clone(), Value::from(v.as_str()))).collect::<Map<_, _>>().into()
}

fn envelope(data: &Data, beside: &Map<String, Value>) -> Bytes {
    let mut out = Vec::with_capacity(64);
    out.extend_from_slice(b"{\"data\":");
    match data {
        Data::Value(value) => out.extend_from_slice(value.to_string().as_bytes()),
        Data::Text(text) => out.extend_from_slice(text),
        Data::File { .. } => out.extend_from_slice(b"null"),
    }
    for (key, value) in beside {
        out.extend_from_slice(format!(",{}:{value}", Value::from(key.as_str())).as_bytes());
    }
    out.push(b'}');
    out.into()
}

/// An error of the HTTP layer itself, below the API: the text is the body too, without a content type.
pub fn bare(status: u16, message: &str, now: u64) -> Response<Bytes> {
    plain(status, message, Bytes::copy_from_slice(message.as_bytes()), now)
}

/// An answer without a body: the authentication layer's 401, HEAD's 501, a proxy's 595 and 596.
pub fn empty(status: u16, message: &str, now: u64) -> Response<Bytes> {
    plain(status, message, Bytes::new(), now)
}

fn typed(status: u16, reason: &str, body: Bytes, now: u64) -> Response<Bytes> {
    let mut response = plain(status, reason, body, now);
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(JSON));
    response
}

fn plain(status: u16, reason: &str, body: Bytes, now: u64) -> Response<Bytes> {
    let length = body.len();
    let mut response = Response::new(body);
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    if let Some(reason) = phrase(reason) {
        response.extensions_mut().insert(reason);
    }
    let headers = response.headers_mut();
    let date = HeaderValue::from_str(&http_date(now)).ok();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("max-age=0"));
    // PVE ends the connection after every error.
    let connection = if status >= 400 { "close" } else { "Keep-Alive" };
    headers.insert(header::CONNECTION, HeaderValue::from_static(connection));
    headers.insert(header::PRAGMA, HeaderValue::from_static("no-cache"));
    headers.insert(header::SERVER, HeaderValue::from_static("pve-api-daemon/3.0"));
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    if let Some(date) = date {
        headers.insert(header::DATE, date.clone());
        headers.insert(header::EXPIRES, date);
    }
    response
}

/// The first line of a message as a reason phrase; what HTTP forbids in one becomes a space.
fn phrase(message: &str) -> Option<ReasonPhrase> {
    let line = message.lines().next().unwrap_or_default();
    let clean = line.bytes().map(|b| if b == b'\t' || (b >= 0x20 && b != 0x7f) { b } else { b' ' });
    ReasonPhrase::try_from(clean.collect::<Vec<u8>>()).ok()
}

/// The reason phrase of an answer, as text.
pub fn reason(response: &Response<Bytes>) -> Cow<'_, str> {
    match response.extensions().get::<ReasonPhrase>() {
        Some(reason) => String::from_utf8_lossy(reason.as_bytes()),
        None => response.status().canonical_reason().unwrap_or_default().into(),
    }
}

/// Calendar date of a Unix time (UTC): year, month, day, hour, minute, second, day of the week (0 = Thursday).
pub fn civil(unix: u64) -> (u64, u64, u64, u64, u64, u64, usize) {
    let (days, second) = (unix / 86_400, unix % 86_400);
    // Days since 0000-03-01, in eras of 400 years.
    let z = days + 719_468;
    let (era, doe) = (z / 146_097, z % 146_097);
    let yoe = (doe - doe / 1460 + doe / 36_524 - doe / 146_096) / 365;
    let doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    let mp = (5 * doy + 2) / 153;
    let (day, month) = (doy - (153 * mp + 2) / 5 + 1, if mp < 10 { mp + 3 } else { mp - 9 });
    let year = yoe + era * 400 + u64::from(month <= 2);
    (year, month, day, second / 3600, second / 60 % 60, second % 60, (days % 7) as usize)
}

const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// A time as Perl's `gmtime` writes it: `Tue Dec  1 00:00:00 2026`.
pub fn gmtime(unix: u64) -> String {
    let (year, month, day, h, m, s, weekday) = civil(unix);
    let month = MONTHS.get(month as usize - 1).copied().unwrap_or_default();
    format!("{} {month} {day:>2} {h:02}:{m:02}:{s:02} {year}", DAYS[weekday % 7])
}

fn http_date(unix: u64) -> String {
    let (year, month, day, h, m, s, weekday) = civil(unix);
    let month = MONTHS.get(month as usize - 1).copied().unwrap_or_default();
    format!("{}, {day:02} {month} {year} {h:02}:{m:02}:{s:02} GMT", DAYS[weekday % 7])
}
