//! The cluster over HTTPS, with a client that knows nothing of it.

use std::time::Duration;

use super::*;
use crate::sandbox::{Fault, FaultKind, Server};

async fn listening(sandbox: &Sandbox) -> (Server, reqwest::Client) {
    let server = sandbox.listen("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let provider = std::sync::Arc::new(rustls::crypto::ring::default_provider());
    let mut roots = rustls::RootCertStore::empty();
    let pem = server.ca_pem.clone();
    let der =
        <rustls::pki_types::CertificateDer<'_> as rustls::pki_types::pem::PemObject>::from_pem_slice(pem.as_bytes());
    roots.add(der.unwrap()).unwrap();
    let tls = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    (server, reqwest::Client::builder().tls_backend_preconfigured(tls).no_proxy().build().unwrap())
}

#[tokio::test]
async fn it_answers_over_https_with_a_certificate_for_localhost() {
    let sandbox = cluster(|_| {});
    let (server, client) = listening(&sandbox).await;
    let (name, value) = root(&sandbox);
    let url = format!("https://localhost:{}/api2/json/version", server.addr.port());
    let answer = client.get(url).header(name, value).send().await.unwrap();
    assert_eq!(answer.headers()["server"], "pve-api-daemon/3.0");
    let body: Value = serde_json::from_str(&answer.text().await.unwrap()).unwrap();
    assert_eq!(body["data"]["release"], "9.2");
}

#[tokio::test]
async fn a_dropped_request_is_processed_and_its_connection_closed() {
    let sandbox = cluster(|_| {});
    let (server, client) = listening(&sandbox).await;
    sandbox.fault(Fault::new(FaultKind::Drop).on(http::Method::POST, "/pools").times(1));
    let (name, value) = root(&sandbox);
    let url = format!("https://127.0.0.1:{}/api2/json/pools", server.addr.port());
    let error = client.post(url).header(name, value).body("poolid=lost").send().await.unwrap_err();
    assert!(!error.is_connect(), "{error:?}");
    assert!(sandbox.state().pools.contains_key("lost"));
}

#[tokio::test]
async fn plain_http_is_redirected_to_https() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let sandbox = cluster(|_| {});
    let (server, _) = listening(&sandbox).await;
    let mut stream = tokio::net::TcpStream::connect(server.addr).await.unwrap();
    stream.write_all(b"GET /api2/json/version HTTP/1.1\r\nHost: example.test:8006\r\n\r\n").await.unwrap();
    let mut text = String::new();
    tokio::time::timeout(Duration::from_secs(5), stream.read_to_string(&mut text)).await.unwrap().unwrap();
    assert!(text.contains("Location: https://example.test:8006/api2/json/version\r\n"), "{text}");
}
