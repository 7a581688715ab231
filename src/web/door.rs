//! The door: reads from a request who sent it, holds it to that caller's limits, and lets it in with the whole body. What
//! shows who somebody is stays outside.

use std::{
    net::{IpAddr, SocketAddr},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use axum::{
    body::{Body, Bytes},
    extract::{ConnectInfo, Request, State},
    middleware::Next,
    response::{IntoResponse, Response},
};
use http::{
    HeaderMap, HeaderName, HeaderValue, StatusCode,
    header::{AUTHORIZATION, CONTENT_LENGTH, RETRY_AFTER, WWW_AUTHENTICATE},
    request::Parts,
};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::{Body as HttpBody, Frame, SizeHint};
use tokio::sync::OwnedSemaphorePermit;
use tokio_util::sync::WaitForCancellationFutureOwned;

use super::{
    Caller, Callers, Problem,
    callers::Full,
    oauth::{Refused, challenge},
    rate::Rates,
};
use crate::config::{Limits, Web};

pub const X_API_KEY: HeaderName = HeaderName::from_static("x-api-key");

/// What the door knows.
pub struct Door {
    callers: Arc<Callers>,
    web: Web,
    /// Of those who showed what is not good, by where they come from.
    failures: Rates<IpAddr>,
}

impl Door {
    pub fn new(callers: &Arc<Callers>, web: &Web) -> Arc<Self> {
        let failures = Rates::new(web.limits.failures);
        Arc::new(Self { callers: Arc::clone(callers), web: web.clone(), failures })
    }

    async fn admit(&self, parts: &Parts) -> Result<Arc<Caller>, Problem> {
        if let Some(caller) = &self.callers.anybody {
            return Ok(Arc::clone(caller));
        }
        let shown = match shown(&parts.headers) {
            Ok(Some(shown)) => shown,
            Ok(None) => {
                let what = match self.callers.keys {
                    Some(_) => "a key is needed, as `Authorization: Bearer KEY` or `X-API-Key: KEY`",
                    None => "an access token is needed, as `Authorization: Bearer TOKEN`",
                };
                return Err(self.unauthorized(parts, None, what));
            }
            Err(wrong) => return Err(self.failed(parts, wrong)),
        };
        if let Some(keys) = &self.callers.keys {
            match keys.find(shown) {
                Ok(Some(caller)) => return Ok(caller),
                Ok(None) => {}
                Err(_) => {
                    let why = "this server cannot read its keys at the moment, and lets nobody in by one";
                    return Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, why)
                        .hint("its operator finds the reason in its log"));
                }
            }
        }
        let Some(tokens) = &self.callers.tokens else {
            return Err(self.failed(parts, "this key is none of this server's"));
        };
        match tokens.admit(shown).await {
            Ok(caller) => Ok(caller),
            Err(Refused::Bad(why)) => Err(self.failed(parts, &why)),
            Err(Refused::Lacking) => Err(self.forbidden(parts)),
            Err(Refused::Unknown(why)) => {
                Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, why)
                    .header(RETRY_AFTER, HeaderValue::from_static("30")))
            }
        }
    }

    /// What was shown is not good. Whoever tries often is told to wait; what is good is let in all the same, so that nobody
    /// can lock out others who come from the same address, that of a proxy say.
    fn failed(&self, parts: &Parts, why: &str) -> Problem {
        let peer = peer(parts);
        if let Some(Err(wait)) = peer.map(|peer| self.failures.pass(peer)) {
            return too_many("too many attempts to get in came from this address", wait);
        }
        let from = peer.map_or_else(|| "somebody".to_owned(), |peer| peer.to_string());
        tracing::warn!("{from} was not let in: {why}");
        self.unauthorized(parts, Some("invalid_token"), why)
    }

    /// A token that is good for nothing here; the least that would be is named.
    fn forbidden(&self, parts: &Parts) -> Problem {
        let scopes = self.web.oauth.iter().flat_map(|oauth| &oauth.scopes);
        let least = scopes.clone().min_by_key(|(_, mode)| *mode).map(|(scope, _)| scope.as_str()).unwrap_or_default();
        let all: Vec<&str> = scopes.map(|(scope, _)| scope.as_str()).collect();
        let why = format!("the access token has none of the scopes that are taken here: {}", all.join(", "));
        let more = [("error", "insufficient_scope"), ("scope", least)];
        Problem::new(StatusCode::FORBIDDEN, why).header(WWW_AUTHENTICATE, challenge(&self.web, parts, &more))
    }

    fn unauthorized(&self, parts: &Parts, error: Option<&str>, why: &str) -> Problem {
        let more: Vec<(&str, &str)> = error.map(|error| ("error", error)).into_iter().collect();
        Problem::new(StatusCode::UNAUTHORIZED, why).header(WWW_AUTHENTICATE, challenge(&self.web, parts, &more))
    }
}

/// The address that somebody comes from; of IPv6, the network, which one machine has to itself.
fn peer(parts: &Parts) -> Option<IpAddr> {
    let ConnectInfo(address) = parts.extensions.get::<ConnectInfo<SocketAddr>>()?;
    Some(match address.ip().to_canonical() {
        IpAddr::V6(ip) => IpAddr::V6((ip.to_bits() >> 64 << 64).into()),
        ip => ip,
    })
}

/// The key or token of a request: the bearer's, else that of `X-API-Key`.
fn shown(headers: &HeaderMap) -> Result<Option<&str>, &'static str> {
    let one = |name: HeaderName| {
        let mut all = headers.get_all(name).into_iter();
        match (all.next(), all.next()) {
            (None, _) => Ok(None),
            // An empty one is none: somebody left a field of a form empty.
            (Some(value), None) => match value.to_str() {
                Ok(text) => Ok(Some(text.trim()).filter(|text| !text.is_empty())),
                Err(_) => Err("a key is ASCII only"),
            },
            (Some(_), Some(_)) => Err("expected one header that says who calls, and not several"),
        }
    };
    // Another scheme is for somebody else on the way: a proxy with its own passwords.
    let bearer = one(AUTHORIZATION)?.and_then(|text| {
        let (scheme, token) = text.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
    });
    match bearer {
        Some(token) => Ok(Some(token)),
        None => one(X_API_KEY),
    }
}

/// Makes sure that nothing which prints a request prints who sent it.
pub fn hide_credentials(headers: &mut HeaderMap) {
    for name in [AUTHORIZATION, X_API_KEY] {
        if let http::header::Entry::Occupied(mut entry) = headers.entry(name) {
            entry.iter_mut().for_each(|value| value.set_sensitive(true));
        }
    }
}

fn too_many(why: impl Into<String>, wait: Duration) -> Problem {
    let seconds = wait.as_secs_f64().ceil().max(1.0);
    Problem::new(StatusCode::TOO_MANY_REQUESTS, why).header(RETRY_AFTER, whole(seconds))
}

fn whole(seconds: f64) -> HeaderValue {
    HeaderValue::from_str(&format!("{seconds:.0}")).unwrap_or(HeaderValue::from_static("1"))
}

/// Lets in who may come in, and says who it is.
pub async fn pass(State(door): State<Arc<Door>>, request: Request, next: Next) -> Response {
    let (mut parts, body) = request.into_parts();
    match enter(&door, &mut parts, body).await {
        Ok((body, caller, place)) => {
            let request = Request::from_parts(parts, Body::from(body));
            match caller.revoked().run_until_cancelled(next.run(request)).await {
                Some(response) => {
                    let mut response = hold(response, &caller, place);
                    // For the log: who it was.
                    response.extensions_mut().insert(caller);
                    response
                }
                None => Problem::new(StatusCode::UNAUTHORIZED, "the key was taken away").into_response(),
            }
        }
        Err(problem) => problem.into_response(),
    }
}

async fn enter(
    door: &Door,
    parts: &mut Parts,
    body: Body,
) -> Result<(Bytes, Arc<Caller>, OwnedSemaphorePermit), Problem> {
    let caller = door.admit(parts).await?;
    let full = |Full { limit, wait }| too_many(format!("more than this server's {limit} lets one caller do"), wait);
    let place = caller.enter().map_err(full)?;
    let body = whole_body(parts, body, &door.web.limits).await?;
    for name in [AUTHORIZATION, X_API_KEY] {
        parts.headers.remove(name);
    }
    parts.extensions.insert(Arc::clone(&caller));
    Ok((body, caller, place))
}

/// The body, all of it: it is small, and has to come in time.
async fn whole_body(parts: &Parts, body: Body, limits: &Limits) -> Result<Bytes, Problem> {
    let too_large = || {
        let why = format!("the body is larger than the {} bytes of this server's PROXMOX_MCP_MAX_BODY", limits.body);
        Problem::new(StatusCode::PAYLOAD_TOO_LARGE, why)
    };
    let announced = parts.headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
    if announced.is_some_and(|length: usize| length > limits.body) {
        return Err(too_large());
    }
    match tokio::time::timeout(limits.patience, Limited::new(body, limits.body).collect()).await {
        Ok(Ok(whole)) => Ok(whole.to_bytes()),
        Ok(Err(e)) if e.is::<LengthLimitError>() => Err(too_large()),
        Ok(Err(e)) => Err(Problem::new(StatusCode::BAD_REQUEST, format!("the body did not come whole: {e}"))),
        Err(_) => {
            let why = format!("the body did not come within {} s", limits.patience.as_secs_f64());
            Err(Problem::new(StatusCode::REQUEST_TIMEOUT, why))
        }
    }
}

/// Keeps the caller's place until the answer is at its end, and breaks it off when the caller may no longer be here.
fn hold(response: Response, caller: &Caller, place: OwnedSemaphorePermit) -> Response {
    let revoked = Box::pin(caller.revoked().clone().cancelled_owned());
    response.map(|body| Body::new(Held { body, revoked, _place: place }))
}

struct Held {
    body: Body,
    revoked: Pin<Box<WaitForCancellationFutureOwned>>,
    _place: OwnedSemaphorePermit,
}

impl HttpBody for Held {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        if self.revoked.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Some(Err(axum::Error::new("the key was taken away"))));
        }
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
