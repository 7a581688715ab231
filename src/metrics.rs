//! Figures of the running program, in the text format of OpenMetrics as Prometheus reads it. Counts what it is told; its
//! labels are names of the registry, the settings and the routes, so that nobody outside can make them grow.

use std::{
    borrow::Cow,
    fmt,
    sync::Arc,
    time::{Duration, SystemTime},
};

use http::{Method, StatusCode};
use prometheus_client::{
    encoding::text::encode,
    metrics::{
        counter::Counter,
        family::{Family, MetricConstructor},
        gauge::Gauge,
        histogram::Histogram,
        info::Info,
    },
    registry::Registry,
};

use crate::{
    error::Kind,
    pve::{Event, Observer, SendError},
};

/// What [`Metrics::text`] is, for the header of an answer.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

type Labels<const N: usize> = [(&'static str, Cow<'static, str>); N];
type Counters<const N: usize> = Family<Labels<N>, Counter>;
type Gauges = Family<Labels<1>, Gauge>;
type Histograms<const N: usize> = Family<Labels<N>, Histogram, Buckets>;

/// Bounds in seconds.
#[derive(Debug, Clone, Copy)]
struct Buckets(&'static [f64]);

/// From what the shared listing answers at once to what Proxmox gives up on.
const SHORT: Buckets = Buckets(&[0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0]);
/// Calls wait for tasks where they are told to.
const CALLS: Buckets = Buckets(&[0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0]);
const TASKS: Buckets = Buckets(&[0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0, 3600.0]);

impl MetricConstructor<Histogram> for Buckets {
    fn new_metric(&self) -> Histogram {
        Histogram::new(self.0.iter().copied())
    }
}

/// How one call ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    Ok,
    /// A dry run showed what would be done.
    Planned,
    /// The plan was shown, and waits for a yes.
    NeedsConfirmation,
    Error(Kind),
}

impl Ended {
    /// As it stands in figures and logs.
    pub fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Planned => "planned",
            Self::NeedsConfirmation => "needs_confirmation",
            Self::Error(_) => "error",
        }
    }
}

/// All figures of one program.
pub struct Metrics {
    registry: Registry,
    calls: Counters<2>,
    errors: Counters<2>,
    call_seconds: Histograms<1>,
    calls_under_way: Gauge,
    requests: Counters<3>,
    request_seconds: Histograms<2>,
    waits: Gauges,
    wait_seconds: Histograms<1>,
    up: Gauges,
    sessions: Gauges,
    http: Counters<3>,
    http_under_way: Gauge,
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}

impl Default for Metrics {
    fn default() -> Self {
        let mut all = Self {
            registry: Registry::with_prefix("proxmox_mcp"),
            calls: Family::default(),
            errors: Family::default(),
            call_seconds: Family::new_with_constructor(CALLS),
            calls_under_way: Gauge::default(),
            requests: Family::default(),
            request_seconds: Family::new_with_constructor(SHORT),
            waits: Family::default(),
            wait_seconds: Family::new_with_constructor(TASKS),
            up: Family::default(),
            sessions: Family::default(),
            http: Family::default(),
            http_under_way: Gauge::default(),
        };
        all.register();
        all
    }
}

impl Metrics {
    fn register(&mut self) {
        let Self { registry, .. } = self;
        let version = [("version", env!("CARGO_PKG_VERSION"))];
        registry.register("build", "The program that runs", Info::new(version));
        let started = Gauge::<i64>::default();
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        started.set(i64::try_from(now.as_secs()).unwrap_or_default());
        registry.register("start_time_seconds", "When it was started, as Unix time", started);
        registry.register("calls", "Calls of tools, by how they ended", self.calls.clone());
        registry.register("call_errors", "Calls of tools that failed, by kind", self.errors.clone());
        let help = "How long calls of tools took, waiting for tasks included";
        registry.register("call_duration_seconds", help, self.call_seconds.clone());
        registry.register("calls_in_progress", "Calls of tools under way", self.calls_under_way.clone());
        let help = "Requests to Proxmox, by the class of the answer or why there was none";
        registry.register("upstream_requests", help, self.requests.clone());
        let help = "How long Proxmox took to answer";
        registry.register("upstream_request_duration_seconds", help, self.request_seconds.clone());
        registry.register("task_waits", "Tasks that are waited for", self.waits.clone());
        registry.register("task_wait_duration_seconds", "How long was waited for tasks", self.wait_seconds.clone());
        let help = "Whether the cluster took the login when it was asked last";
        registry.register("cluster_up", help, self.up.clone());
        let help = "MCP sessions over HTTP that are open, by transport";
        registry.register("sessions", help, self.sessions.clone());
        registry.register("http_requests", "HTTP requests, by route and status", self.http.clone());
        registry.register("http_requests_in_progress", "HTTP requests under way", self.http_under_way.clone());
    }

    /// Everything, as Prometheus reads it.
    ///
    /// # Errors
    /// None that is known of: the text is made in memory.
    pub fn text(&self) -> Result<String, fmt::Error> {
        let mut text = String::new();
        encode(&mut text, &self.registry)?;
        Ok(text)
    }

    pub fn call_began(&self) {
        self.calls_under_way.inc();
    }

    /// Each call that began ends once.
    pub fn call_ended(&self, tool: &'static str, ended: Ended, took: Duration) {
        self.calls_under_way.dec();
        self.calls.get_or_create(&[("tool", tool.into()), ("outcome", ended.word().into())]).inc();
        if let Ended::Error(kind) = ended {
            self.errors.get_or_create(&[("tool", tool.into()), ("kind", kind.to_string().into())]).inc();
        }
        self.call_seconds.get_or_create(&[("tool", tool.into())]).observe(took.as_secs_f64());
    }

    /// Counts what happens with this cluster.
    pub fn observer(self: &Arc<Self>, cluster: &str) -> Observer {
        let (all, cluster) = (Arc::clone(self), Cow::from(cluster.to_owned()));
        Arc::new(move |event| match event {
            Event::Sent { method, answer, took } => {
                let labels = [("cluster", cluster.clone()), ("method", name(method).into())];
                all.request_seconds.get_or_create(&labels).observe(took.as_secs_f64());
                let [cluster, method] = labels;
                all.requests.get_or_create(&[cluster, method, ("answer", class(answer).into())]).inc();
            }
            Event::WaitBegan => drop(all.waits.get_or_create(&[("cluster", cluster.clone())]).inc()),
            Event::WaitEnded { took } => {
                let labels = [("cluster", cluster.clone())];
                all.waits.get_or_create(&labels).dec();
                all.wait_seconds.get_or_create(&labels).observe(took.as_secs_f64());
            }
        })
    }

    /// What asking a cluster whether it takes the login came to.
    pub fn cluster_is(&self, cluster: &str, up: bool) {
        self.up.get_or_create(&[("cluster", cluster.to_owned().into())]).set(up.into());
    }

    /// Counts a session of MCP over HTTP for as long as the value lives.
    pub fn session(&self, transport: &'static str) -> Session {
        let open = self.sessions.get_or_create_owned(&[("transport", transport.into())]);
        open.inc();
        Session(open)
    }

    pub fn http_began(&self) {
        self.http_under_way.inc();
    }

    /// `route` as it was declared, not as it was asked for; nothing where there is none.
    pub fn http_ended(&self, route: Option<&str>, method: &Method, status: Option<StatusCode>) {
        self.http_under_way.dec();
        let route = route.map_or("none".into(), |route| Cow::from(route.to_owned()));
        let status = status.map_or("gone".into(), |status| Cow::from(status.as_str().to_owned()));
        self.http.get_or_create(&[("route", route), ("method", name(method).into()), ("status", status)]).inc();
    }
}

/// One session that is open.
pub struct Session(Gauge);

impl Drop for Session {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// Anybody may send a method that nobody knows.
fn name(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::DELETE => "DELETE",
        Method::HEAD => "HEAD",
        Method::OPTIONS => "OPTIONS",
        _ => "other",
    }
}

fn class(answer: Result<StatusCode, &SendError>) -> &'static str {
    match answer {
        Ok(status) => match status.as_u16() / 100 {
            2 => "2xx",
            3 => "3xx",
            4 => "4xx",
            5 => "5xx",
            _ => "other",
        },
        Err(SendError::NeverSent(_)) => "never_sent",
        Err(SendError::Certificate { .. }) => "certificate",
        Err(SendError::Lost(_)) => "lost",
        Err(SendError::TimedOut(_)) => "timeout",
        Err(SendError::TooLarge(_)) => "too_large",
        Err(SendError::NotReady(_)) => "not_ready",
    }
}
