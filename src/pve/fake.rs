//! A Proxmox that a test writes as one function from path to answer, in the same process, for a paused clock.

use std::{sync::Mutex, time::Duration};

use bytes::Bytes;
use futures::{FutureExt, future::BoxFuture};
use http::{Request, Response};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use super::{Client, Scope, SendError, Transport};
use crate::{
    config::{Auth, ClusterConfig, Endpoint, Timeouts, Tls, TokenId},
    progress::Progress,
};

pub enum Answer {
    Data(Value),
    /// With `total` beside it.
    Part(Value, usize),
    Error(u16, &'static str),
    /// 400 with an `errors` map.
    BadParameter(&'static str, &'static str),
    /// The connection breaks.
    Lost,
    Never,
}

type Handler = dyn Fn(&str) -> Answer + Send + Sync;

/// Keeps what it was asked, and when.
pub struct Fake {
    handler: Box<Handler>,
    latency: Duration,
    pub asked: Mutex<Vec<(Instant, String)>>,
}

impl Fake {
    /// The handler gets the path under `/api2/json` with its query, decoded.
    pub fn new(
        latency: Duration,
        handler: impl Fn(&str) -> Answer + Send + Sync + 'static,
    ) -> (std::sync::Arc<Self>, Client) {
        let fake = std::sync::Arc::new(Self { handler: Box::new(handler), latency, asked: Mutex::default() });
        let cluster = ClusterConfig {
            name: "test".into(),
            endpoints: vec![Endpoint { host: "pve".into(), port: 8006 }],
            auth: Auth::Token {
                id: TokenId { user: "root@pam".into(), name: "full".into() },
                secret: "secret".to_owned().into(),
            },
            tls: Tls::Insecure,
            default_node: None,
            default_storage: None,
            default_bridge: None,
            upload_dir: None,
            timeouts: Timeouts { connect: Duration::from_secs(5), request: Duration::from_secs(30) },
            sources: Vec::new(),
        };
        let client = Client::with_transport(&cluster, fake.clone());
        (fake, client)
    }

    /// How many requests had this in their path.
    pub fn count(&self, part: &str) -> usize {
        self.paths().iter().filter(|path| path.contains(part)).count()
    }

    pub fn paths(&self) -> Vec<String> {
        self.asked.lock().map(|asked| asked.iter().map(|(_, path)| path.clone()).collect()).unwrap_or_default()
    }
}

impl Transport for Fake {
    fn send(&self, request: Request<Bytes>) -> BoxFuture<'_, Result<Response<Bytes>, SendError>> {
        async move {
            let target = request.uri().path_and_query().map(|p| p.as_str()).unwrap_or_default();
            let target = percent_encoding::percent_decode_str(target).decode_utf8_lossy();
            let target = target.trim_start_matches("/api2/json");
            if let Ok(mut asked) = self.asked.lock() {
                asked.push((Instant::now(), target.to_owned()));
            }
            if !self.latency.is_zero() {
                sleep(self.latency).await;
            }
            let (status, body, reason) = match (self.handler)(target) {
                Answer::Data(data) => (200, json!({ "data": data }), "OK"),
                Answer::Part(data, total) => (200, json!({ "data": data, "total": total }), "OK"),
                Answer::Error(status, reason) => (status, json!({ "data": null, "message": reason }), reason),
                Answer::BadParameter(name, wrong) => {
                    (400, json!({ "data": null, "errors": { name: wrong } }), "Parameter verification failed.")
                }
                Answer::Lost => return Err(SendError::Lost("connection reset".into())),
                Answer::Never => std::future::pending().await,
            };
            let mut answer = Response::new(Bytes::from(body.to_string()));
            *answer.status_mut() = http::StatusCode::from_u16(status).unwrap_or_default();
            answer.extensions_mut().insert(hyper::ext::ReasonPhrase::from_static(reason.as_bytes()));
            Ok(answer)
        }
        .boxed()
    }
}

pub fn scope() -> Scope {
    Scope {
        tool: "proxmox-test",
        api: &[],
        also: &[],
        progress: Progress::none(),
        cancel: CancellationToken::new(),
        seen: super::Seen::default(),
    }
}
