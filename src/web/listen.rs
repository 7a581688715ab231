//! Listens on one address: connections, TLS, and an end in good order. Knows no routes.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use axum::{Router, body::Body, extract::ConnectInfo};
use http::Request;
use hyper::{
    body::Incoming,
    server::conn::http1,
    service::{Service, service_fn},
};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::graceful::{GracefulShutdown, Watcher},
    service::TowerToHyperService,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    sync::Semaphore,
};
use tokio_rustls::TlsAcceptor;

use super::tls::Certificate;
use crate::{
    config::{Limits, Web},
    ending::Ending,
    error::{Error, Result},
};

/// Bytes of a request's head.
const HEAD: usize = 32 << 10;

/// An address that is listened on.
pub struct Listener {
    tcp: TcpListener,
    address: SocketAddr,
    certificate: Option<Arc<Certificate>>,
}

impl Listener {
    /// # Errors
    /// An address that is taken, or not this machine's; a certificate that cannot be read.
    pub async fn bind(address: SocketAddr, web: &Web) -> Result<Self> {
        let certificate = web.tls.as_ref().map(Certificate::load).transpose()?;
        let wrong = |e: std::io::Error| Error::bad_setting(format!("cannot listen on {address}: {e}"));
        let tcp = TcpListener::bind(address).await.map_err(wrong)?;
        let address = tcp.local_addr().map_err(wrong)?;
        Ok(Self { tcp, address, certificate })
    }

    /// Where it is reached from this machine.
    pub fn url(&self) -> String {
        let scheme = if self.certificate.is_some() { "https" } else { "http" };
        format!("{scheme}://{}", self.address)
    }
}

/// What all connections of a listener share.
#[derive(Clone)]
struct Shared {
    routes: Router,
    tls: Option<TlsAcceptor>,
    limits: Limits,
    ending: Ending,
}

/// Serves until the end begins, and then until every request is answered.
pub async fn serve_on(listener: Listener, routes: Router, limits: Limits, ending: Ending) {
    let tls = match listener.certificate.as_ref().map(Certificate::acceptor).transpose() {
        Ok(tls) => tls,
        Err(e) => return tracing::error!("{e}"),
    };
    if let Some(certificate) = &listener.certificate {
        tokio::spawn(Arc::clone(certificate).follow(limits.reread, ending.begun.clone()));
    }
    let places = Arc::new(Semaphore::new(limits.connections));
    let connections = GracefulShutdown::new();
    let shared = Shared { routes, tls, limits, ending: ending.clone() };
    loop {
        let place = tokio::select! {
            () = ending.begun.cancelled() => break,
            place = Arc::clone(&places).acquire_owned() => place,
        };
        let accepted = tokio::select! {
            () = ending.begun.cancelled() => break,
            accepted = listener.tcp.accept() => accepted,
        };
        let Ok((stream, peer)) = accepted else {
            // Out of file descriptors, say: it passes, and a loop that spins would not help.
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        let (shared, watcher) = (shared.clone(), connections.watcher());
        tokio::spawn(async move {
            accepted_from(stream, peer, shared, watcher).await;
            drop(place);
        });
    }
    drop(listener);
    connections.shutdown().await;
}

async fn accepted_from(stream: TcpStream, peer: SocketAddr, shared: Shared, watcher: Watcher) {
    // An answer that is written in two pieces shall not wait for the first to be acknowledged.
    drop(stream.set_nodelay(true));
    let Some(tls) = shared.tls.clone() else { return serve(stream, peer, shared, watcher).await };
    let greeted = tokio::time::timeout(shared.limits.patience, tls.accept(stream));
    match shared.ending.begun.run_until_cancelled(greeted).await {
        Some(Ok(Ok(stream))) => serve(stream, peer, shared, watcher).await,
        Some(Ok(Err(e))) => tracing::debug!("no TLS with {peer}: {e}"),
        Some(Err(_)) => tracing::debug!("no TLS with {peer}: it took too long"),
        None => {}
    }
}

async fn serve<S>(stream: S, peer: SocketAddr, shared: Shared, watcher: Watcher)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let mut server = http1::Builder::new();
    server.timer(TokioTimer::new()).header_read_timeout(shared.limits.patience).max_buf_size(HEAD);
    let routes = TowerToHyperService::new(shared.routes);
    let service = service_fn(move |request: Request<Incoming>| {
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(ConnectInfo(peer));
        routes.call(request)
    });
    if let Err(e) = watcher.watch(server.serve_connection(TokioIo::new(stream), service)).await {
        tracing::debug!("a connection with {peer} ended: {e}");
    }
}
