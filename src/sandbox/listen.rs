//! The cluster on the network: HTTPS with a certificate made at start, HTTP/1.1 as pveproxy speaks it.

use std::{convert::Infallible, io, net::SocketAddr, sync::Arc, time::Duration};

use bytes::{Bytes, BytesMut};
use futures::TryStreamExt;
use http::{HeaderValue, Request, Response, header};
use http_body_util::{BodyExt, Full};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair, SanType};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use sha2::{Digest, Sha256};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::AbortHandle,
};
use tokio_rustls::TlsAcceptor;

use super::{
    Sandbox,
    router::BODY_LIMIT,
    upload::{Body, is_upload},
};
use crate::pve::SendError;

/// pveproxy ends an idle connection after this time, and any after this many requests.
const IDLE: Duration = Duration::from_secs(5);
const REQUESTS: usize = 100;

/// A listening cluster; dropping it (or [`Server::shutdown`]) closes the listener and its connections.
#[derive(Debug)]
pub struct Server {
    /// Where it listens, with the port that was chosen.
    pub addr: SocketAddr,
    /// SHA-256 of the certificate, `AB:CD:…`.
    pub fingerprint: String,
    /// The same as bytes.
    pub sha256: [u8; 32],
    /// The certificate, which is its own authority.
    pub ca_pem: String,
    accepting: AbortHandle,
}

impl Server {
    pub fn shutdown(self) {}
}

impl Drop for Server {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

struct Identity {
    acceptor: TlsAcceptor,
    fingerprint: String,
    sha256: [u8; 32],
    pem: String,
}

/// A self-signed certificate for this machine and the nodes' names.
fn identity(sandbox: &Sandbox, addr: SocketAddr) -> Result<Identity, String> {
    let mut names = vec!["localhost".to_owned()];
    let mut addresses: Vec<std::net::IpAddr> =
        vec![[127, 0, 0, 1].into(), std::net::Ipv6Addr::LOCALHOST.into(), addr.ip()];
    addresses.dedup();
    for (name, node) in &sandbox.state().nodes {
        names.push(name.clone());
        addresses.extend(node.address.parse::<std::net::IpAddr>().ok());
    }
    let mut params = CertificateParams::new(names).map_err(|e| e.to_string())?;
    params.subject_alt_names.extend(addresses.into_iter().map(SanType::IpAddress));
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::OrganizationName, "Proxmox VE sandbox");
    params.distinguished_name.push(DnType::CommonName, "proxmox-mcp sandbox");
    let key = KeyPair::generate().map_err(|e| e.to_string())?;
    let certificate = params.self_signed(&key).map_err(|e| e.to_string())?;
    let der: CertificateDer<'static> = certificate.der().clone();
    let fingerprint = crate::pve::fingerprint(&der);
    let sha256 = Sha256::digest(&der).into();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|e| e.to_string())?
        .with_no_client_auth()
        .with_single_cert(vec![der], PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der())))
        .map_err(|e| e.to_string())?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Identity { acceptor: TlsAcceptor::from(Arc::new(config)), fingerprint, sha256, pem: certificate.pem() })
}

impl Sandbox {
    /// Listens on an address (port 0: any free one) and serves until the [`Server`] is dropped.
    ///
    /// # Errors
    /// When the address cannot be bound, or no certificate can be made.
    pub async fn listen(&self, addr: SocketAddr) -> io::Result<Server> {
        let listener = TcpListener::bind(addr).await?;
        let addr = listener.local_addr()?;
        let Identity { acceptor, fingerprint, sha256, pem } = identity(self, addr).map_err(io::Error::other)?;
        for node in self.state().nodes.values_mut() {
            node.fingerprint.clone_from(&fingerprint);
        }
        let sandbox = self.clone();
        let accepting = tokio::spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            loop {
                let Ok((stream, _)) = listener.accept().await else {
                    // Out of file descriptors, most likely: give the others time to close theirs.
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    continue;
                };
                if sandbox.faults().refuses_connection() {
                    drop(stream);
                    continue;
                }
                connections.spawn(connection(sandbox.clone(), acceptor.clone(), stream));
                while connections.try_join_next().is_some() {}
            }
        });
        Ok(Server { addr, fingerprint, sha256, ca_pem: pem, accepting: accepting.abort_handle() })
    }
}

async fn connection(sandbox: Sandbox, acceptor: TlsAcceptor, mut stream: TcpStream) {
    let _ = stream.set_nodelay(true);
    let mut first = [0];
    match tokio::time::timeout(IDLE, stream.peek(&mut first)).await {
        Ok(Ok(1)) => {}
        _ => return,
    }
    // A TLS record of the handshake begins with 22.
    if first != [22] {
        redirect(&mut stream).await;
        return;
    }
    let Ok(Ok(stream)) = tokio::time::timeout(IDLE, acceptor.accept(stream)).await else { return };
    let served = std::sync::atomic::AtomicUsize::new(0);
    let service = service_fn(|request: Request<Incoming>| {
        let count = 1 + served.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let sandbox = sandbox.clone();
        async move {
            let mut response = respond(&sandbox, request).await?;
            if count >= REQUESTS {
                response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
            }
            Ok::<_, Dropped>(response)
        }
    });
    // An error here is the client's going away, or a fault that asked for the connection to be cut.
    let _ = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(IDLE)
        .serve_connection(TokioIo::new(stream), service)
        .await;
}

/// The connection is to be closed without an answer.
#[derive(Debug, thiserror::Error)]
#[error("connection closed without an answer")]
struct Dropped;

impl From<SendError> for Dropped {
    fn from(_: SendError) -> Self {
        Self
    }
}

impl From<Infallible> for Dropped {
    fn from(never: Infallible) -> Self {
        match never {}
    }
}

async fn respond(sandbox: &Sandbox, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Dropped> {
    let (parts, mut body) = request.into_parts();
    let path = parts.uri.path().trim_start_matches("/api2/json");
    if is_upload(&parts.method, path) && !parts.headers.contains_key(header::TRANSFER_ENCODING) {
        let lost = |e: hyper::Error| SendError::Lost(e.to_string());
        let body = Body::Stream(Box::pin(body.into_data_stream().map_err(lost)));
        return Ok(sandbox.serve(parts, body).await?.map(Full::new));
    }
    let mut bytes = BytesMut::new();
    // A chunked body is refused whatever is in it; one byte over the limit shows that it is too large.
    while !parts.headers.contains_key(header::TRANSFER_ENCODING)
        && bytes.len() <= BODY_LIMIT
        && let Some(frame) = body.frame().await
    {
        let Ok(frame) = frame else { return Err(Dropped) };
        bytes.extend_from_slice(frame.data_ref().map_or(&[][..], |data| data));
    }
    let response = sandbox.handle(Request::from_parts(parts, bytes.freeze())).await?;
    Ok(response.map(Full::new))
}

/// pveproxy answers plain HTTP with a redirect to the same address by HTTPS.
async fn redirect(stream: &mut TcpStream) {
    let mut head = vec![0; 8192];
    let Ok(Ok(length)) = tokio::time::timeout(IDLE, stream.read(&mut head)).await else { return };
    let text = String::from_utf8_lossy(&head[..length]).into_owned();
    let path = text.split_whitespace().nth(1).unwrap_or("/");
    let host = text.lines().find_map(|line| line.split_once(':').filter(|(k, _)| k.eq_ignore_ascii_case("host")));
    let host = host.map_or("localhost:8006", |(_, value)| value.trim());
    let status = if text.starts_with("GET") { "301 Moved Permanently" } else { "308 Permanent Redirect" };
    let answer = format!(
        "HTTP/1.1 {status}\r\nLocation: https://{host}{path}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
    );
    let _ = stream.write_all(answer.as_bytes()).await;
    let _ = stream.shutdown().await;
}
