//! What those ask who look after the program: whether it lives, whether it can work, and its figures.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use axum::{
    Json, Router,
    extract::State,
    response::{IntoResponse, Response},
    routing::get,
};
use futures::{
    FutureExt,
    future::{BoxFuture, Shared, join_all},
};
use http::{StatusCode, header};
use serde::Serialize;
use serde_json::Value;
use tokio::time::{Instant, timeout};

use crate::{
    call::{App, Cluster},
    ending::Ending,
    error::Kind,
    metrics,
    pve::Request,
};

/// How long a look is good for, however many ask: anybody may.
const GOOD_FOR: Duration = Duration::from_secs(5);
/// A login that was refused is not repeated so soon: Proxmox locks a second factor that fails too often.
const REFUSED_FOR: Duration = Duration::from_secs(30);
/// Proxmox takes three seconds to refuse a login; those who ask have limits of their own.
const PATIENCE: Duration = Duration::from_millis(4500);

/// Whether there is work to be done, and by whom.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Readiness {
    pub ready: bool,
    /// Each cluster's state, told in one word: this is read without a key.
    pub clusters: BTreeMap<String, Reached>,
}

/// Whether a cluster can be worked with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Reached {
    Ok,
    /// No member of it answers.
    Unreachable,
    /// Its certificate is not trusted.
    Certificate,
    /// It does not take the login.
    Unauthorized,
    /// It answers something else.
    Error,
}

/// Looks after the clusters, seldom.
pub struct Health {
    app: Arc<App>,
    ending: Ending,
    last: Mutex<Option<Look>>,
}

type Seeing = Shared<BoxFuture<'static, Seen>>;

struct Look {
    began: Instant,
    seeing: Seeing,
}

#[derive(Clone)]
struct Seen {
    at: Instant,
    clusters: BTreeMap<String, Reached>,
}

impl Look {
    fn is_good(&self) -> bool {
        let Some(seen) = self.seeing.peek() else {
            // Under way, or nobody was there any more when it ended.
            return self.began.elapsed() <= PATIENCE;
        };
        let refused = seen.clusters.values().any(|reached| *reached == Reached::Unauthorized);
        seen.at.elapsed() < if refused { REFUSED_FOR } else { GOOD_FOR }
    }
}

impl Health {
    pub fn new(app: Arc<App>, ending: &Ending) -> Self {
        Self { app, ending: ending.clone(), last: Mutex::default() }
    }

    pub fn app(&self) -> &Arc<App> {
        &self.app
    }

    /// Whether calls can be answered: as it was a moment ago, or now where nobody has looked since.
    pub async fn readiness(&self) -> Readiness {
        if self.ending.begun.is_cancelled() {
            return Readiness { ready: false, clusters: BTreeMap::new() };
        }
        let Seen { clusters, .. } = self.look().await;
        // None at all are told of only where the look itself went wrong.
        let ready = !clusters.is_empty() && clusters.values().all(|reached| *reached == Reached::Ok);
        Readiness { ready, clusters }
    }

    /// One look for all who ask meanwhile. It goes on when those who asked have gone, or they could have it begun anew.
    fn look(&self) -> Seeing {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(look) = last.as_ref().filter(|look| look.is_good()) {
            return look.seeing.clone();
        }
        let looking = tokio::spawn(look_at_all(Arc::clone(&self.app)));
        let nothing = || Seen { at: Instant::now(), clusters: BTreeMap::new() };
        let seeing = looking.map(move |seen| seen.unwrap_or_else(|_| nothing())).boxed().shared();
        *last = Some(Look { began: Instant::now(), seeing: seeing.clone() });
        seeing
    }
}

async fn look_at_all(app: Arc<App>) -> Seen {
    let look = async |cluster: &Cluster| {
        let reached = look_at(cluster).await;
        app.metrics().cluster_is(&cluster.name, reached == Reached::Ok);
        (cluster.name.clone(), reached)
    };
    let clusters = join_all(app.clusters().iter().map(look)).await.into_iter().collect();
    Seen { at: Instant::now(), clusters }
}

/// Asks what everybody may know who is logged in.
async fn look_at(cluster: &Cluster) -> Reached {
    let version = Request::get("/version");
    let Ok(answer) = timeout(PATIENCE, cluster.client.get::<Value>(&version)).await else {
        return Reached::Unreachable;
    };
    match answer.map_err(|error| error.kind()) {
        Ok(_) => Reached::Ok,
        Err(Kind::Unavailable | Kind::Timeout) => Reached::Unreachable,
        Err(Kind::Certificate) => Reached::Certificate,
        Err(Kind::Unauthorized) => Reached::Unauthorized,
        Err(_) => Reached::Error,
    }
}

/// For these nobody needs a key.
pub fn open(health: &Arc<Health>) -> Router {
    Router::new().route(LIVE, get(async || "ok\n")).route(READY, get(ready)).with_state(Arc::clone(health))
}

/// These say what is done here, and by which tools.
pub fn closed(health: &Arc<Health>) -> Router {
    Router::new().route(METRICS, get(figures)).with_state(Arc::clone(health))
}

const LIVE: &str = "/livez";
const READY: &str = "/readyz";
const METRICS: &str = "/metrics";

/// Asked every few seconds by machines, for as long as the program runs.
pub fn is_routine(path: &str) -> bool {
    [LIVE, READY, METRICS].contains(&path)
}

async fn ready(State(health): State<Arc<Health>>) -> Response {
    let readiness = health.readiness().await;
    let status = if readiness.ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(readiness)).into_response()
}

async fn figures(State(health): State<Arc<Health>>) -> Response {
    // Whether a cluster is up is a figure, too.
    health.look().await;
    match health.app.metrics().text() {
        Ok(text) => ([(header::CONTENT_TYPE, metrics::CONTENT_TYPE)], text).into_response(),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}
