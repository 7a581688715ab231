//! The transport to a real server: HTTPS with keep-alive. Its main work is to tell, when no answer came, whether the
//! request can have reached the server.

use std::{error::Error as StdError, io::ErrorKind, sync::Arc, time::Duration};

use bytes::{Bytes, BytesMut};
use futures::{TryStreamExt, future::BoxFuture};
use http::{Request, Response};
use http_body_util::StreamBody;
use hyper::body::Frame;
use tokio::sync::OnceCell;

use super::{
    Upload,
    tls::{self, Presented, Refusal, Trust},
    transport::{SendError, Transport},
};
use crate::{
    config::{ClusterConfig, Timeouts},
    error::{Error, Result},
};

/// pveproxy closes a connection that is idle for 5 s; we drop it before that, so as not to write into a closed one.
const POOL_IDLE: Duration = Duration::from_secs(4);

/// No answer of the API is near this; what is larger is not an answer of the API.
const MAX_BODY: usize = 64 << 20;

/// Nothing is built or read before the first request.
pub struct Https {
    trust: Trust,
    timeouts: Timeouts,
    presented: Presented,
    client: OnceCell<reqwest::Client>,
}

impl Https {
    pub fn new(cluster: &ClusterConfig) -> Arc<Self> {
        Arc::new(Self {
            trust: Trust::of(cluster),
            timeouts: cluster.timeouts,
            presented: Presented::default(),
            client: OnceCell::new(),
        })
    }

    /// What certificates were presented so far.
    pub fn presented(&self) -> &Presented {
        &self.presented
    }

    async fn client(&self) -> Result<&reqwest::Client> {
        let build = || async {
            let (trust, presented, timeouts) = (self.trust.clone(), self.presented.clone(), self.timeouts);
            // The system's trust store is hundreds of files: not on an async thread.
            tokio::task::spawn_blocking(move || build(&trust, presented, timeouts))
                .await
                .map_err(|e| Error::internal(format!("TLS set-up was interrupted: {e}")))?
        };
        self.client.get_or_try_init(build).await
    }
}

fn build(trust: &Trust, presented: Presented, timeouts: Timeouts) -> Result<reqwest::Client> {
    reqwest::Client::builder()
        .tls_backend_preconfigured(tls::client_config(trust, presented)?)
        .user_agent(concat!("proxmox-mcp/", env!("CARGO_PKG_VERSION")))
        .connect_timeout(timeouts.connect)
        .pool_idle_timeout(POOL_IDLE)
        .tcp_nodelay(true)
        .http1_only()
        .redirect(reqwest::redirect::Policy::none())
        // A proxy meant for the web must not silently be handed the cluster's traffic and token.
        .no_proxy()
        .build()
        .map_err(|e| Error::internal(format!("the HTTPS client cannot be built: {}", chain(&e))))
}

impl Transport for Https {
    fn send(&self, request: Request<Bytes>) -> BoxFuture<'_, Result<Response<Bytes>, SendError>> {
        Box::pin(async move {
            let client = self.client().await.map_err(SendError::NotReady)?;
            let request = request.try_into().map_err(|e| SendError::NeverSent(chain(&e)))?;
            let answer = client.execute(request).await.map_err(|e| classify(&e))?;
            read(answer).await
        })
    }

    fn upload(&self, request: Request<Upload>) -> BoxFuture<'_, Result<Response<Bytes>, SendError>> {
        Box::pin(async move {
            let client = self.client().await.map_err(SendError::NotReady)?;
            let body = |upload: Upload| StreamBody::new(upload.stream().map_ok(Frame::data));
            let request = request.map(|upload| reqwest::Body::wrap(body(upload)));
            let request = request.try_into().map_err(|e| SendError::NeverSent(chain(&e)))?;
            let answer = client.execute(request).await.map_err(|e| classify(&e))?;
            read(answer).await
        })
    }
}

async fn read(mut answer: reqwest::Response) -> Result<Response<Bytes>, SendError> {
    let mut whole = BytesMut::new();
    loop {
        match answer.chunk().await {
            Ok(None) => break,
            Ok(Some(chunk)) if whole.len() + chunk.len() > MAX_BODY => return Err(too_large()),
            Ok(Some(chunk)) => whole.extend_from_slice(&chunk),
            Err(e) => return Err(classify(&e)),
        }
    }
    let mut response = Response::new(whole.freeze());
    *response.status_mut() = answer.status();
    *response.headers_mut() = std::mem::take(answer.headers_mut());
    *response.extensions_mut() = std::mem::take(answer.extensions_mut());
    Ok(response)
}

fn too_large() -> SendError {
    SendError::TooLarge(format!("the answer is larger than {} MiB", MAX_BODY >> 20))
}

/// Whether the request can have reached the server. In doubt it can.
fn classify(error: &reqwest::Error) -> SendError {
    if let Some(refusal) = find::<rustls::Error>(error).and_then(refusal) {
        return refusal;
    }
    let words = in_words(error);
    if error.is_connect() || error.is_builder() {
        SendError::NeverSent(words)
    } else if error.is_timeout() {
        SendError::TimedOut(words)
    } else {
        SendError::Lost(words)
    }
}

fn refusal(error: &rustls::Error) -> Option<SendError> {
    let rustls::Error::InvalidCertificate(rustls::CertificateError::Other(other)) = error else { return None };
    let refusal = other.0.downcast_ref::<Refusal>()?;
    Some(SendError::Certificate { message: refusal.message.clone(), presented: refusal.presented.clone() })
}

fn in_words(error: &reqwest::Error) -> String {
    if let Some(rustls::Error::InvalidMessage(_)) = find::<rustls::Error>(error) {
        return "it does not speak TLS there: is this the API port (8006), and not plain HTTP?".into();
    }
    if let Some(tls) = find::<rustls::Error>(error) {
        return format!("TLS: {tls}");
    }
    if error.is_connect() && error.is_timeout() {
        return "no connection within the time limit".into();
    }
    if let Some(io) = find::<std::io::Error>(error) {
        let broken_off = matches!(io.kind(), ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset);
        return match error.is_connect() && broken_off {
            true => format!("it broke the TLS handshake off ({io}): is this the API port (8006)?"),
            false => io.to_string(),
        };
    }
    chain(error)
}

/// The error of this type among the causes. An `io::Error` hides what it wraps from `source`, so it is opened.
fn find<'a, T: StdError + 'static>(error: &'a (dyn StdError + 'static)) -> Option<&'a T> {
    let mut found = None;
    let mut next = Some(error);
    while let Some(current) = next {
        if let Some(wanted) = current.downcast_ref::<T>() {
            found = Some(wanted);
        }
        let inside = current.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
        next = match inside {
            Some(inside) => Some(inside as &(dyn StdError + 'static)),
            None => current.source(),
        };
    }
    found
}

fn chain(error: &dyn StdError) -> String {
    let mut words = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        words = format!("{words}: {cause}");
        next = cause.source();
    }
    words
}

#[cfg(test)]
mod tests;
