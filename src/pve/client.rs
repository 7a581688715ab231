//! The client of one cluster: sends requests, decides what may be sent again, and reads answers. GETs are retried; a
//! write is sent again only where it is certain that nothing reached the server.

use std::{
    net::IpAddr,
    path::PathBuf,
    sync::{Arc, OnceLock},
    time::Duration,
};

use backon::{ExponentialBuilder, Retryable};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, header};
use serde::{Deserialize, de::DeserializeOwned};
use tokio::time::Instant;

use super::{
    FilePart, Request, ResourceCache, Scope, SendError, Waiter,
    api::Api,
    auth::{Credentials, Pass},
    endpoints::{Endpoints, Outgoing, Payload},
    error,
    held::Held,
    https::Https,
    observe::{Observed, Observer},
    perl,
    tls::Presented,
    transport::Transport,
    upload::Upload,
};
use crate::{
    config::{ClusterConfig, Endpoint, own_name, table::FINGERPRINT},
    error::{Error, Kind, Result},
    key::Key,
    policy::Approved,
};

/// pveproxy refuses longer bodies with a 501.
const MAX_REQUEST_BODY: usize = 512 << 10;

/// How long a VMID taken by one call is not given to another: the time that Proxmox needs to create the guest's
/// configuration, after which `nextid` itself passes over it.
const VMID_HELD: Duration = Duration::from_secs(30);
/// An address is in a configuration when its guest is made, which may take as long as a template takes to be copied.
const ADDRESS_HELD: Duration = Duration::from_secs(3600);

const USER_AGENT: &str = concat!("proxmox-mcp/", env!("CARGO_PKG_VERSION"));

/// Cheap to clone: all clones are one client.
#[derive(Clone)]
pub struct Client(Arc<Inner>);

struct Inner {
    name: String,
    observed: Arc<Observed>,
    endpoints: Arc<Endpoints>,
    credentials: Arc<Credentials>,
    /// The longest that one call waits for its answer, retries included.
    limit: Duration,
    presented: Option<Presented>,
    defaults: Defaults,
    resources: ResourceCache,
    waiter: Waiter,
    vmids: Held<u32>,
    addresses: Held<IpAddr>,
    /// Read when it is first asked for.
    api: OnceLock<Api>,
}

/// What a call falls back on where it names none.
#[derive(Debug, Clone, Default)]
pub struct Defaults {
    pub node: Option<String>,
    pub storage: Option<String>,
    pub bridge: Option<String>,
    /// Files of this machine that lie in here may be uploaded.
    pub upload_dir: Option<PathBuf>,
}

/// The `data` of an answer, with what stands beside it.
#[derive(Debug, Clone, Deserialize)]
pub struct Listing<T> {
    pub data: T,
    /// How many there are in all, where `data` is a part of them (task lists and logs).
    pub total: Option<u64>,
    /// Pending changes of the network configuration, as a diff.
    pub changes: Option<String>,
}

/// A failed attempt, and whether to make another.
struct Failed {
    error: Error,
    again: bool,
}

impl Client {
    /// A client over HTTPS. Opens nothing, reads nothing: that is for the first request.
    ///
    /// # Errors
    /// `BadSetting` without endpoints.
    pub fn new(cluster: &ClusterConfig) -> Result<Self> {
        if cluster.endpoints.is_empty() {
            return Err(Error::bad_setting(format!("cluster {} has no endpoint (PROXMOX_API_URL)", cluster.name)));
        }
        let https = Https::new(cluster);
        let presented = https.presented().clone();
        Ok(Self::build(cluster, https, Some(presented)))
    }

    /// A client over another transport: a simulated cluster in the same process.
    pub fn with_transport(cluster: &ClusterConfig, transport: Arc<dyn Transport>) -> Self {
        Self::build(cluster, transport, None)
    }

    fn build(cluster: &ClusterConfig, transport: Arc<dyn Transport>, presented: Option<Presented>) -> Self {
        let observed = Arc::<Observed>::default();
        let endpoints = Endpoints::new(cluster.endpoints.clone(), transport, cluster.timeouts.request);
        Self(Arc::new(Inner {
            name: cluster.name.clone(),
            endpoints: Arc::new(endpoints.observed(Arc::clone(&observed))),
            observed,
            credentials: Arc::new(Credentials::new(cluster.auth.clone(), cluster.timeouts.request)),
            limit: cluster.timeouts.request,
            presented,
            defaults: Defaults {
                node: cluster.default_node.clone(),
                storage: cluster.default_storage.clone(),
                bridge: cluster.default_bridge.clone(),
                upload_dir: cluster.upload_dir.clone(),
            },
            resources: ResourceCache::default(),
            waiter: Waiter::default(),
            vmids: Held::new(VMID_HELD),
            addresses: Held::new(ADDRESS_HELD),
            api: OnceLock::new(),
        }))
    }

    /// The cluster's name in the settings.
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// Tells somebody of every request and every wait from now on; the first who asks for it.
    pub fn tell(&self, observer: Observer) {
        self.0.observed.by(observer);
    }

    pub(super) fn observed(&self) -> &Observed {
        &self.0.observed
    }

    /// `user@realm` or `user@realm!token`.
    pub fn who(&self) -> String {
        self.0.credentials.who()
    }

    pub fn is_token(&self) -> bool {
        self.0.credentials.is_token()
    }

    /// The guests of this cluster.
    pub fn resources(&self) -> &ResourceCache {
        &self.0.resources
    }

    /// A key that only those have who have this cluster's credentials.
    pub fn key(&self) -> Key {
        self.0.credentials.key()
    }

    /// Waits for tasks of this cluster.
    pub fn waiter(&self) -> &Waiter {
        &self.0.waiter
    }

    pub fn defaults(&self) -> &Defaults {
        &self.0.defaults
    }

    /// What Proxmox's API accepts.
    pub fn api(&self) -> &Api {
        self.0.api.get_or_init(Api::embedded)
    }

    /// The VMIDs that calls are creating guests with.
    pub fn vmids(&self) -> &Held<u32> {
        &self.0.vmids
    }

    /// The addresses that calls are giving to guests.
    pub fn addresses(&self) -> &Held<IpAddr> {
        &self.0.addresses
    }

    pub fn endpoints(&self) -> &[Endpoint] {
        self.0.endpoints.all()
    }

    /// The endpoint that the next request goes to first.
    pub fn current_endpoint(&self) -> Option<&Endpoint> {
        self.0.endpoints.current()
    }

    /// The SHA-256 of the certificate that this host presented last, if it was asked.
    pub fn presented(&self, host: &str) -> Option<String> {
        self.0.presented.as_ref()?.by(host)
    }

    /// The body of a GET's answer, whole: `{"data": …}`. Retried for a while where the connection fails.
    ///
    /// # Errors
    /// Whatever Proxmox refuses with, or the lack of an answer; `Internal` for anything but a GET.
    pub async fn fetch(&self, request: &Request) -> Result<Bytes> {
        if request.method != Method::GET {
            return Err(Error::internal(format!("{request} is not a GET and was not approved")));
        }
        self.exchange(request).await
    }

    /// The `data` of a GET's answer, read tolerantly (see [`perl`]).
    ///
    /// # Errors
    /// As [`Client::fetch`]; `BadAnswer` where the data is no `T`.
    pub async fn get<T: DeserializeOwned>(&self, request: &Request) -> Result<T> {
        self.list(request).await.map(|listing: Listing<T>| listing.data)
    }

    /// The `data` of a GET's answer with `total` and `changes`, which some lists have beside it.
    ///
    /// # Errors
    /// As [`Client::get`].
    pub async fn list<T: DeserializeOwned>(&self, request: &Request) -> Result<Listing<T>> {
        let body = self.fetch(request).await?;
        perl::from_slice(&body).map_err(|e| error::bad_answer(request, &body, &e))
    }

    /// Sends a request that the policy let through, and returns its `data`: a UPID, an object, or null.
    ///
    /// # Errors
    /// As [`Client::fetch`]; `Unclear` where it may have been processed although no answer came.
    pub async fn execute(&self, approved: &Approved) -> Result<serde_json::Value> {
        let request = approved.request();
        self.written(request, self.exchange(request).await)
    }

    /// As [`Client::execute`], for a request with a file: tells how far it is, and can be cancelled until all of the file
    /// was sent.
    ///
    /// # Errors
    /// As [`Client::execute`]; `Cancelled`.
    pub async fn upload(&self, approved: &Approved, file: FilePart, scope: &Scope) -> Result<serde_json::Value> {
        let request = approved.request();
        let upload = Upload::new(request, file, scope.progress.clone());
        let out = form(request, &upload)?;
        let cancelled = async {
            scope.cancel.cancelled().await;
            if upload.is_complete() {
                std::future::pending().await
            }
        };
        let body = tokio::select! {
            body = self.repeated(request, &out) => body,
            () = cancelled => Err(upload.cancelled(request)),
        };
        self.written(request, body)
    }

    fn written(&self, request: &Request, body: Result<Bytes>) -> Result<serde_json::Value> {
        // After a failure too: it may have been processed in part.
        self.0.resources.wrote(request);
        let body = body?;
        let answer: Listing<serde_json::Value> =
            serde_json::from_slice(&body).map_err(|e| error::bad_answer(request, &body, &e))?;
        Ok(answer.data)
    }

    async fn exchange(&self, request: &Request) -> Result<Bytes> {
        let out = outgoing(request)?;
        self.repeated(request, &out).await
    }

    async fn repeated(&self, request: &Request, out: &Outgoing) -> Result<Bytes> {
        let deadline = Instant::now() + self.0.limit;
        let attempt = || self.attempt(request, out, deadline);
        let patience = ExponentialBuilder::default()
            .with_min_delay(Duration::from_millis(100))
            .with_factor(3.0)
            .with_max_times(3)
            .with_jitter();
        let outcome = attempt.retry(patience).when(|failed: &Failed| failed.again && Instant::now() < deadline).await;
        outcome.map_err(|failed| self.named(failed.error))
    }

    /// A hint to pin the certificate names this cluster's own setting, where it has a name.
    fn named(&self, error: Error) -> Error {
        match &error.parts().hint {
            Some(hint) if error.kind() == Kind::Certificate && hint.starts_with(FINGERPRINT.name) => {
                let hint = hint.replacen(FINGERPRINT.name, &own_name(&self.0.name, FINGERPRINT.name), 1);
                error.hint(hint)
            }
            _ => error,
        }
    }

    async fn attempt(&self, request: &Request, out: &Outgoing, deadline: Instant) -> Result<Bytes, Failed> {
        let inner = &*self.0;
        let not_sent = |error: Error| Failed { again: error.kind() == Kind::Unavailable, error };
        let pass = inner.credentials.pass(&inner.endpoints, deadline).await.map_err(not_sent)?;
        let answer = self.send(request, out, &pass, deadline).await?;
        if answer.status() != http::StatusCode::UNAUTHORIZED {
            return self.judge(request, answer);
        }
        // The authentication check comes before everything: a 401 was not processed, and may be sent again. What was sent
        // of a file until then may have taken its time.
        let deadline = if request.file.is_some() { Instant::now() + inner.limit } else { deadline };
        match inner.credentials.replace(&pass, &inner.endpoints, deadline).await.map_err(not_sent)? {
            None => self.judge(request, answer),
            Some(pass) => {
                let answer = self.send(request, out, &pass, deadline).await?;
                self.judge(request, answer)
            }
        }
    }

    async fn send(
        &self,
        request: &Request,
        out: &Outgoing,
        pass: &Pass,
        deadline: Instant,
    ) -> Result<http::Response<Bytes>, Failed> {
        let repeatable = request.method == Method::GET;
        let mut headers = out.headers.clone();
        pass.add_to(&mut headers, &out.method);
        let out = Outgoing { method: out.method.clone(), target: out.target.clone(), headers, body: out.body.clone() };
        self.0.endpoints.send(&out, deadline, repeatable).await.map_err(|failure| match &out.body {
            Payload::Whole(_) => {
                let error = error::from_send(request, failure);
                Failed { again: error.kind() == Kind::Unavailable, error }
            }
            Payload::File(upload) => {
                let again = matches!(failure, SendError::NeverSent(_));
                Failed { again, error: upload.failed(request, failure) }
            }
        })
    }

    fn judge(&self, request: &Request, answer: http::Response<Bytes>) -> Result<Bytes, Failed> {
        if answer.status().is_success() {
            return super::gzip::unpacked(answer).map_err(|e| {
                let error = Error::new(Kind::BadAnswer, format!("the answer cannot be unpacked: {e}"));
                Failed { error: error.request(request.to_string()), again: false }
            });
        }
        let status = answer.status().as_u16();
        let mut error = error::from_answer(request, &answer, &self.who());
        if matches!(status, 403 | 501) {
            error = error::with_facts(error, request, self.api(), &self.who());
        }
        let read = request.method == Method::GET;
        let again = read && matches!(error.kind(), Kind::Unavailable | Kind::Locked) && status != 595;
        Err(Failed { again, error })
    }
}

/// GET and DELETE carry their parameters in the query (a body there is a 501), POST and PUT as a form.
fn outgoing(request: &Request) -> Result<Outgoing> {
    let mut headers = HeaderMap::new();
    let parameters = request.encoded();
    let mut target = request.path.clone();
    let mut body = Bytes::new();
    if !parameters.is_empty() {
        if matches!(request.method, Method::GET | Method::DELETE) {
            target = format!("{target}?{parameters}");
        } else {
            if parameters.len() > MAX_REQUEST_BODY {
                return Err(Error::bad_argument(format!(
                    "the parameters take {} KiB; Proxmox takes no more than 512",
                    parameters.len() >> 10
                ))
                .request(request.to_string()));
            }
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"));
            body = parameters.into();
        }
    }
    headers.insert(header::ACCEPT, HeaderValue::from_static("application/json"));
    headers.insert(header::USER_AGENT, HeaderValue::from_static(USER_AGENT));
    Ok(Outgoing { method: request.method.clone(), target, headers, body: Payload::Whole(body) })
}

/// A form with a file at its end.
fn form(request: &Request, upload: &Upload) -> Result<Outgoing> {
    let content_type = HeaderValue::from_str(&upload.content_type());
    let content_type = content_type.map_err(|e| Error::internal(format!("no header for the upload: {e}")))?;
    let headers = [
        (header::CONTENT_TYPE, content_type),
        (header::CONTENT_LENGTH, upload.length().into()),
        (header::ACCEPT, HeaderValue::from_static("application/json")),
        (header::USER_AGENT, HeaderValue::from_static(USER_AGENT)),
    ];
    Ok(Outgoing {
        method: request.method.clone(),
        target: request.path.clone(),
        headers: headers.into_iter().collect(),
        body: Payload::File(upload.clone()),
    })
}

#[cfg(test)]
mod tests;
