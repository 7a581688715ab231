//! The members of one cluster: tried in order until one answers, and that one remembered. Holds no lock while a request
//! is under way: a request that hangs delays no other.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response};
use tokio::time::Instant;

use super::{
    observe::{Event, Observed},
    transport::{SendError, Transport},
    upload::{IDLE, Upload},
};
use crate::config::Endpoint;

/// One request, for whichever endpoint takes it. `target` is the path under `/api2/json` with its query.
pub struct Outgoing {
    pub method: Method,
    pub target: String,
    pub headers: HeaderMap,
    pub body: Payload,
}

#[derive(Clone)]
pub enum Payload {
    Whole(Bytes),
    File(Upload),
}

pub struct Endpoints {
    all: Vec<Endpoint>,
    /// Where the last answer came from.
    current: AtomicUsize,
    transport: Arc<dyn Transport>,
    /// How long callers wait, to be named when it is over.
    limit: Duration,
    observed: Arc<Observed>,
}

impl Endpoints {
    pub fn new(all: Vec<Endpoint>, transport: Arc<dyn Transport>, limit: Duration) -> Self {
        Self { all, current: AtomicUsize::new(0), transport, limit, observed: Arc::default() }
    }

    pub fn observed(self, observed: Arc<Observed>) -> Self {
        Self { observed, ..self }
    }

    pub fn all(&self) -> &[Endpoint] {
        &self.all
    }

    /// The endpoint that the next request goes to first.
    pub fn current(&self) -> Option<&Endpoint> {
        self.all.get(self.current.load(Ordering::Relaxed))
    }

    /// Sends to the first endpoint that can be reached. `repeatable` (GETs, logins) also moves on where the request may
    /// have been processed.
    ///
    /// # Errors
    /// The failure of the last endpoint tried, with each endpoint's words where there are several.
    pub async fn send(
        &self,
        out: &Outgoing,
        deadline: Instant,
        repeatable: bool,
    ) -> Result<Response<Bytes>, SendError> {
        let first = self.current.load(Ordering::Relaxed);
        let mut failures = Vec::new();
        let mut last = None;
        for turn in 0..self.all.len() {
            let index = (first + turn) % self.all.len();
            let endpoint = &self.all[index];
            let is_last = turn + 1 == self.all.len();
            let failure = match self.send_to(endpoint, out, deadline).await {
                Ok(answer) if unreachable_behind(&answer) && !is_last => {
                    failures.push(format!("{endpoint}: the node behind it cannot be reached"));
                    continue;
                }
                Ok(answer) => {
                    self.current.store(index, Ordering::Relaxed);
                    return Ok(answer);
                }
                Err(failure) => failure,
            };
            failures.push(format!("{endpoint}: {}", failure.words()));
            let move_on = failure.is_never_sent() || (repeatable && matches!(failure, SendError::Lost(_)));
            if !move_on {
                // It took the connection and is silent, or is not to be trusted: let the next request begin elsewhere.
                self.current.store((index + 1) % self.all.len(), Ordering::Relaxed);
                return Err(failure.reworded(failures.join("; ")));
            }
            if !is_last {
                tracing::warn!(%endpoint, why = failure.words(), "trying the next endpoint");
            }
            // A refused certificate says more than that another endpoint is down.
            if !matches!(last, Some(SendError::Certificate { .. })) {
                last = Some(failure);
            }
        }
        Err(match last {
            Some(failure) => failure.reworded(failures.join("; ")),
            None => SendError::NeverSent("no endpoint is configured".into()),
        })
    }

    async fn send_to(
        &self,
        endpoint: &Endpoint,
        out: &Outgoing,
        deadline: Instant,
    ) -> Result<Response<Bytes>, SendError> {
        let mut request = Request::builder().method(&out.method).uri(format!("{endpoint}/api2/json{}", out.target));
        if let Some(headers) = request.headers_mut() {
            headers.clone_from(&out.headers);
        }
        let unfit = |e| SendError::NeverSent(format!("{} cannot be made a request: {e}", out.target));
        let began = Instant::now();
        let (sent, limit) = match &out.body {
            Payload::Whole(body) => {
                let request = request.body(body.clone()).map_err(unfit)?;
                (tokio::time::timeout_at(deadline, self.transport.send(request)).await.ok(), self.limit)
            }
            // However long a file takes, as long as it moves.
            Payload::File(upload) => {
                let limit = self.limit.max(IDLE);
                let request = request.body(upload.clone()).map_err(unfit)?;
                (upload.unless_idle(limit, self.transport.upload(request)).await, limit)
            }
        };
        let outcome = sent.unwrap_or_else(|| {
            let seconds = limit.as_secs();
            Err(SendError::TimedOut(format!("no answer within {seconds} s (Proxmox itself gives up after 30 s)")))
        });
        let (method, took) = (&out.method, began.elapsed());
        self.observed.tell(Event::Sent { method, answer: outcome.as_ref().map(Response::status), took });
        let answer = outcome.as_ref().map(|answer| answer.status().as_u16()).map_err(SendError::words);
        // The path without its query: parameters may hold secrets.
        let path = out.target.split('?').next().unwrap_or_default();
        tracing::debug!(%method, path, %endpoint, ?answer, elapsed = ?took);
        outcome
    }
}

/// 595: the endpoint could not connect to the node that the request is for, so nothing was processed; another endpoint
/// may reach it. Not after a connect time-out, which would be waited for again.
fn unreachable_behind(answer: &Response<Bytes>) -> bool {
    answer.status().as_u16() == 595 && !super::error::reason(answer).contains("timed out")
}

impl SendError {
    pub(super) fn words(&self) -> &str {
        match self {
            Self::NeverSent(words) | Self::Lost(words) | Self::TimedOut(words) | Self::TooLarge(words) => words,
            Self::Certificate { message, .. } => message,
            Self::NotReady(_) => "it cannot be set up",
        }
    }

    /// Certain that nothing reached the server.
    pub(super) fn is_never_sent(&self) -> bool {
        matches!(self, Self::NeverSent(_) | Self::Certificate { .. })
    }

    fn reworded(self, words: String) -> Self {
        match self {
            Self::NeverSent(_) => Self::NeverSent(words),
            Self::Lost(_) => Self::Lost(words),
            Self::TimedOut(_) => Self::TimedOut(words),
            Self::TooLarge(_) => Self::TooLarge(words),
            Self::Certificate { presented, .. } => Self::Certificate { message: words, presented },
            Self::NotReady(error) => Self::NotReady(error),
        }
    }
}
