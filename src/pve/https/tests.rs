//! The transport against real TLS on loopback, with certificates made for the test.

#![expect(clippy::unwrap_used, reason = "tests")]

use std::{
    net::SocketAddr,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};
use tokio_rustls::TlsAcceptor;

use super::*;
use crate::{
    config::{Auth, Endpoint, Tls, TokenId},
    error::Kind,
    policy::{Approved, Effect, Facts, Policy, rules::Fact},
    pve::{Client, Request as ApiRequest, fingerprint},
};

/// Certificate of a server, and the PEM of the authority that issued it.
struct Identity {
    config: Arc<rustls::ServerConfig>,
    ca_pem: String,
    fingerprint: String,
    sha256: [u8; 32],
}

fn identity(names: &[&str], expired: bool) -> Identity {
    let ca_key = KeyPair::generate().unwrap();
    let mut ca = CertificateParams::new(Vec::new()).unwrap();
    ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let ca_certificate = ca.self_signed(&ca_key).unwrap();
    let issuer = Issuer::new(ca, ca_key);
    let key = KeyPair::generate().unwrap();
    let mut leaf = CertificateParams::new(names.iter().map(|name| name.to_string()).collect::<Vec<_>>()).unwrap();
    if expired {
        leaf.not_after = rcgen::date_time_ymd(2020, 1, 1);
    }
    let leaf = leaf.signed_by(&key, &issuer).unwrap();
    let sha256: [u8; 32] =
        sha2::Digest::finalize(sha2::Digest::chain_update(sha2::Sha256::default(), leaf.der())).into();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![leaf.der().clone()], PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der())))
        .unwrap();
    Identity { config: Arc::new(config), ca_pem: ca_certificate.pem(), fingerprint: fingerprint(leaf.der()), sha256 }
}

/// What a server does with the n-th request: bytes to answer with, or none to drop the connection.
type Handler = dyn Fn(usize, &str) -> Option<Vec<u8>> + Send + Sync;

/// An answer that ends so is the last of its connection.
const BROKEN_OFF: &[u8] = b"{\"data\":";

#[derive(Default)]
struct Seen {
    connections: AtomicUsize,
    requests: AtomicUsize,
}

async fn serve(
    identity: &Identity,
    handler: impl Fn(usize, &str) -> Option<Vec<u8>> + Send + Sync + 'static,
) -> (SocketAddr, Arc<Seen>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let acceptor = TlsAcceptor::from(identity.config.clone());
    let seen = Arc::new(Seen::default());
    let handler: Arc<Handler> = Arc::new(handler);
    let kept = seen.clone();
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            let (acceptor, seen, handler) = (acceptor.clone(), kept.clone(), handler.clone());
            tokio::spawn(async move {
                let Ok(mut stream) = acceptor.accept(socket).await else { return };
                seen.connections.fetch_add(1, Ordering::SeqCst);
                while let Some(request) = read_request(&mut stream).await {
                    let n = seen.requests.fetch_add(1, Ordering::SeqCst);
                    let Some(answer) = handler(n, &request) else { return };
                    stream.write_all(&answer).await.unwrap();
                    if answer.ends_with(BROKEN_OFF) {
                        return;
                    }
                }
            });
        }
    });
    (address, seen)
}

async fn read_request(stream: &mut (impl AsyncReadExt + Unpin)) -> Option<String> {
    let mut text = String::new();
    let mut buffer = [0; 4096];
    loop {
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap_or("0");
            if body.len() >= length.parse().unwrap() {
                return Some(text);
            }
        }
        match stream.read(&mut buffer).await {
            Ok(0) | Err(_) => return None,
            Ok(n) => text.push_str(std::str::from_utf8(&buffer[..n]).unwrap()),
        }
    }
}

fn http(head: &str, body: &str) -> Option<Vec<u8>> {
    Some(format!("HTTP/1.1 {head}\r\nContent-Length: {}\r\n\r\n{body}", body.len()).into_bytes())
}

fn client(addresses: &[SocketAddr], host: &str, tls: Tls) -> Client {
    let cluster = ClusterConfig {
        name: crate::config::ONLY_CLUSTER.into(),
        endpoints: addresses.iter().map(|to| Endpoint { host: host.into(), port: to.port() }).collect(),
        auth: Auth::Token { id: TokenId { user: "ai@pve".into(), name: "mcp".into() }, secret: "s".into() },
        tls,
        default_node: None,
        default_storage: None,
        default_bridge: None,
        upload_dir: None,
        timeouts: Timeouts { connect: Duration::from_secs(2), request: Duration::from_secs(5) },
        sources: Vec::new(),
    };
    Client::new(&cluster).unwrap()
}

async fn version(client: &Client) -> Result<Value> {
    client.get(&ApiRequest::get("/version")).await
}

async fn start(client: &Client) -> Result<Value> {
    let request = ApiRequest::post("/start").param("a", "b");
    client.execute(&approved(request)).await
}

struct CaFile(PathBuf, #[expect(dead_code, reason = "kept for its drop")] tempfile::TempDir);

fn ca_file(pem: &str) -> CaFile {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("ca.pem");
    std::fs::write(&path, pem).unwrap();
    CaFile(path, directory)
}

#[tokio::test]
async fn ten_calls_take_one_connection_and_present_a_pinned_certificate() {
    let identity = identity(&["nobody.example"], false);
    let (address, seen) = serve(&identity, |_, _| http("200 OK", r#"{"data":"9.2"}"#)).await;
    let client = client(&[address], "127.0.0.1", Tls::Fingerprints(vec![[0; 32], identity.sha256]));
    for _ in 0..10 {
        assert_eq!(version(&client).await.unwrap(), "9.2");
    }
    assert_eq!((seen.connections.load(Ordering::SeqCst), seen.requests.load(Ordering::SeqCst)), (1, 10));
    assert_eq!(client.presented("127.0.0.1"), Some(identity.fingerprint));
}

#[tokio::test]
async fn another_certificate_than_the_pinned_one_is_refused_with_the_line_to_add() {
    let identity = identity(&["localhost"], false);
    let (address, seen) = serve(&identity, |_, _| http("200 OK", r#"{"data":1}"#)).await;
    let error = version(&client(&[address], "127.0.0.1", Tls::Fingerprints(vec![[1; 32]]))).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Certificate);
    let line = format!("PROXMOX_FINGERPRINT={}", identity.fingerprint);
    assert_eq!(error.parts().hint.as_deref(), Some(line.as_str()));
    assert!(error.to_string().contains("another fingerprint"), "{error}");
    assert_eq!(seen.requests.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn a_ca_file_verifies_issuer_name_and_dates_and_says_which_is_wrong() {
    let good = identity(&["localhost", "127.0.0.1"], false);
    let (address, _) = serve(&good, |_, _| http("200 OK", r#"{"data":1}"#)).await;
    let ca = ca_file(&good.ca_pem);
    assert_eq!(version(&client(&[address], "127.0.0.1", Tls::CaFile(ca.0.clone()))).await.unwrap(), 1);
    assert_eq!(version(&client(&[address], "localhost", Tls::CaFile(ca.0.clone()))).await.unwrap(), 1);

    let other = ca_file(&identity(&["localhost"], false).ca_pem);
    let unknown = version(&client(&[address], "localhost", Tls::CaFile(other.0.clone()))).await.unwrap_err();
    assert!(unknown.to_string().contains("the CA file does not know"), "{unknown}");
    let system = version(&client(&[address], "localhost", Tls::System)).await.unwrap_err();
    assert!(matches!(system.kind(), Kind::Certificate | Kind::BadSetting), "{system:?}");

    let elsewhere = identity(&["pve1.example"], false);
    let (address, _) = serve(&elsewhere, |_, _| http("200 OK", r#"{"data":1}"#)).await;
    let ca = ca_file(&elsewhere.ca_pem);
    let named = version(&client(&[address], "127.0.0.1", Tls::CaFile(ca.0.clone()))).await.unwrap_err();
    assert!(named.to_string().contains("it is not for the name 127.0.0.1"), "{named}");

    let old = identity(&["127.0.0.1"], true);
    let (address, _) = serve(&old, |_, _| http("200 OK", r#"{"data":1}"#)).await;
    let ca = ca_file(&old.ca_pem);
    let expired = version(&client(&[address], "127.0.0.1", Tls::CaFile(ca.0.clone()))).await.unwrap_err();
    assert!(expired.to_string().contains("it has expired"), "{expired}");
    assert!(expired.parts().hint.as_deref().unwrap().starts_with("PROXMOX_FINGERPRINT="));
}

#[tokio::test]
async fn a_ca_file_that_is_none_names_the_setting() {
    let file = ca_file("not a certificate");
    let here: SocketAddr = "127.0.0.1:9".parse().unwrap();
    let error = version(&client(&[here], "127.0.0.1", Tls::CaFile(file.0.clone()))).await.unwrap_err();
    assert_eq!(error.kind(), Kind::BadSetting);
    assert!(error.to_string().starts_with("PROXMOX_CA_FILE "), "{error}");
}

#[tokio::test]
async fn without_verification_any_certificate_will_do() {
    let identity = identity(&["nobody.example"], true);
    let (address, _) = serve(&identity, |_, _| http("200 OK", r#"{"data":1}"#)).await;
    assert_eq!(version(&client(&[address], "127.0.0.1", Tls::Insecure)).await.unwrap(), 1);
}

#[tokio::test]
async fn a_dropped_read_is_repeated_and_a_dropped_write_is_unclear_and_was_sent_once() {
    let identity = identity(&["localhost"], false);
    let (address, seen) =
        serve(&identity, |n, _| if n == 1 || n == 3 { None } else { http("200 OK", r#"{"data":1}"#) }).await;
    let client = client(&[address], "127.0.0.1", Tls::Fingerprints(vec![identity.sha256]));
    version(&client).await.unwrap();
    version(&client).await.unwrap();
    assert_eq!(seen.requests.load(Ordering::SeqCst), 3, "the second was dropped and sent again");
    let error = start(&client).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Unclear, "{error:?}");
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(seen.requests.load(Ordering::SeqCst), 4, "on a kept connection, and not sent again");
    start(&client).await.unwrap();
}

#[tokio::test]
async fn a_write_whose_answer_breaks_off_is_unclear() {
    let identity = identity(&["localhost"], false);
    let (address, seen) = serve(&identity, |n, _| match n {
        0 => Some(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{\"data\":".to_vec()),
        _ => None,
    })
    .await;
    let client = client(&[address], "127.0.0.1", Tls::Fingerprints(vec![identity.sha256]));
    let error = start(&client).await.unwrap_err();
    assert_eq!((error.kind(), seen.requests.load(Ordering::SeqCst)), (Kind::Unclear, 1), "{error:?}");
}

#[tokio::test]
async fn a_refused_connection_moves_on_to_the_next_endpoint() {
    let identity = identity(&["localhost"], false);
    let (address, seen) = serve(&identity, |_, _| http("200 OK", r#"{"data":1}"#)).await;
    let closed = {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        listener.local_addr().unwrap()
    };
    let pins = Tls::Fingerprints(vec![identity.sha256]);
    let both = client(&[closed, address], "127.0.0.1", pins.clone());
    start(&both).await.unwrap();
    assert_eq!(seen.requests.load(Ordering::SeqCst), 1);
    let error = version(&client(&[closed], "127.0.0.1", pins)).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Unavailable);
    assert!(error.to_string().to_lowercase().contains("connection refused"), "{error}");
    assert!(error.to_string().contains(&format!("https://127.0.0.1:{}", closed.port())), "{error}");
}

#[tokio::test]
async fn plain_http_behind_the_port_is_recognised() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            let _ = socket.read(&mut [0; 100]).await;
            let _ = socket.write_all(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n").await;
        }
    });
    let error = version(&client(&[address], "127.0.0.1", Tls::Insecure)).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Unavailable);
    assert!(error.to_string().contains("does not speak TLS"), "{error}");
}

#[tokio::test]
async fn a_port_that_hangs_up_on_tls_and_a_name_that_is_none_are_told_in_words() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            let _ = socket.read(&mut [0; 4096]).await;
        }
    });
    let error = version(&client(&[address], "127.0.0.1", Tls::Insecure)).await.unwrap_err();
    assert!(error.to_string().contains("broke the TLS handshake off"), "{error}");
    let error = version(&client(&[address], "no-such-host.invalid", Tls::Insecure)).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Unavailable);
    assert!(error.to_string().contains("lookup"), "{error}");
}

#[tokio::test]
async fn a_server_that_never_finishes_tls_was_never_sent_anything() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let silent = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let mut kept = Vec::new();
        while let Ok(socket) = listener.accept().await {
            kept.push(socket);
        }
    });
    let identity = identity(&["localhost"], false);
    let (address, seen) = serve(&identity, |_, _| http("200 OK", r#"{"data":1}"#)).await;
    let client = client(&[silent, address], "127.0.0.1", Tls::Fingerprints(vec![identity.sha256]));
    start(&client).await.unwrap();
    assert_eq!(seen.requests.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn reason_phrases_with_strange_characters_and_odd_statuses_come_through() {
    let identity = identity(&["localhost"], false);
    let (address, _) = serve(&identity, |n, _| match n {
        0 => http("500 can't lock file '/var/lock/x' (\"a\" | 50%) - got timeout?;", r#"{"data":null}"#),
        1 => http("500 Größe ungültig", r#"{"data":null,"message":"Größe ungültig\n"}"#),
        2 => http("596 Connection timed out", ""),
        _ => http("301 Moved Permanently\r\nLocation: https://elsewhere/", ""),
    })
    .await;
    let client = client(&[address], "127.0.0.1", Tls::Fingerprints(vec![identity.sha256]));
    let mut errors = Vec::new();
    for _ in 0..4 {
        errors.push(start(&client).await.unwrap_err());
    }
    assert_eq!(errors[0].to_string(), "can't lock file '/var/lock/x' (\"a\" | 50%) - got timeout?;");
    assert_eq!(errors[1].to_string(), "Größe ungültig");
    assert_eq!((errors[2].kind(), errors[2].parts().status), (Kind::Unclear, Some(596)));
    assert_eq!(errors[3].kind(), Kind::BadAnswer);
    assert!(errors[3].parts().hint.as_deref().unwrap().contains("https://elsewhere/"), "{:?}", errors[3]);
}

#[tokio::test]
async fn a_server_that_hangs_delays_no_other_call() {
    let identity = identity(&["localhost"], false);
    let (address, _) = serve(&identity, |_, request| {
        if request.contains("/hang") {
            return Some(Vec::new());
        }
        http("200 OK", r#"{"data":1}"#)
    })
    .await;
    let client = client(&[address], "127.0.0.1", Tls::Fingerprints(vec![identity.sha256]));
    let hung = tokio::spawn({
        let client = client.clone();
        async move { client.get::<Value>(&ApiRequest::get("/hang")).await }
    });
    let began = std::time::Instant::now();
    for _ in 0..10 {
        version(&client).await.unwrap();
    }
    assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
    assert!(!hung.is_finished());
    hung.abort();
}

/// Let through: nothing forbids to touch the guest.
fn approved(request: super::super::Request) -> Approved {
    let guests = [1, 100].map(|vmid| Fact { vmid, ..Fact::default() });
    let facts = Facts::known(guests.to_vec());
    let mut approved = Policy::default().approve(Effect::Write, &[request], &facts).unwrap();
    approved.remove(0)
}
