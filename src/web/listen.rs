//! Listens on one address: connections, TLS, and an end in good order. Knows no routes.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use axum::{Router, extract::ConnectInfo};
use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::graceful::GracefulShutdown,
    service::TowerToHyperService,
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
};
use tower_http::add_extension::AddExtension;

use crate::{
    config::{Limits, Web},
    ending::Ending,
    error::{Error, Result},
};

/// How long a client may take to say what it wants.
const HEADERS: Duration = Duration::from_secs(10);
/// Bytes of a request's head.
const HEAD: usize = 32 << 10;

/// An address that is listened on.
pub struct Listener {
    tcp: TcpListener,
    address: SocketAddr,
}

impl Listener {
    /// # Errors
    /// An address that is taken, or not this machine's.
    pub async fn bind(address: SocketAddr, _: &Web) -> Result<Self> {
        let wrong = |e: std::io::Error| Error::bad_setting(format!("cannot listen on {address}: {e}"));
        let tcp = TcpListener::bind(address).await.map_err(wrong)?;
        let address = tcp.local_addr().map_err(wrong)?;
        Ok(Self { tcp, address })
    }

    /// Where it is reached from this machine.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

/// Serves until the end begins, and then until every request is answered.
pub async fn serve_on(listener: Listener, routes: Router, limits: Limits, ending: Ending) {
    let places = Arc::new(Semaphore::new(limits.connections));
    let connections = GracefulShutdown::new();
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { break };
        let stream = tokio::select! {
            () = ending.begun.cancelled() => break,
            accepted = listener.tcp.accept() => accepted,
        };
        let Ok((stream, peer)) = stream else {
            // Out of file descriptors, say: it passes, and a loop that spins would not help.
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        let served = connections.watch(connection(stream, peer, routes.clone()));
        tokio::spawn(async move {
            if let Err(e) = served.await {
                tracing::debug!("a connection ended: {e}");
            }
            drop(place);
        });
    }
    drop(listener);
    connections.shutdown().await;
}

type Served = http1::Connection<TokioIo<TcpStream>, TowerToHyperService<AddExtension<Router, ConnectInfo<SocketAddr>>>>;

fn connection(stream: TcpStream, peer: SocketAddr, routes: Router) -> Served {
    // An answer that is written in two pieces shall not wait for the first to be acknowledged.
    drop(stream.set_nodelay(true));
    let mut server = http1::Builder::new();
    server.timer(TokioTimer::new()).header_read_timeout(HEADERS).max_buf_size(HEAD);
    server
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(AddExtension::new(routes, ConnectInfo(peer))))
}
