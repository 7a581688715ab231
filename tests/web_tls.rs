//! HTTPS with a given certificate, also when that is renewed; and the real process over HTTP: what it refuses to begin
//! with, what it logs, what `doctor` says of it.
#![expect(clippy::unwrap_used, reason = "tests")]

mod support;

use std::{
    io::{BufRead, BufReader, Read, Write},
    path::Path,
    process::{Child, Command, Output, Stdio},
    sync::Arc,
    time::Duration,
};

use proxmox_mcp::{
    config::{TlsFiles, Web},
    web::Listener,
};
use rcgen::{CertifiedKey, KeyPair, generate_simple_self_signed};
use serde_json::{Value, json};
use support::{everything, options, web::serve_with};
use tokio::{io::AsyncReadExt, net::TcpStream};

const KEY: &str = "hunter2-ops-0123456789";

fn write(files: &TlsFiles) -> CertifiedKey<KeyPair> {
    let made = generate_simple_self_signed(["127.0.0.1".to_owned(), "localhost".to_owned()]).unwrap();
    std::fs::write(&files.key, made.signing_key.serialize_pem()).unwrap();
    std::fs::write(&files.cert, made.cert.pem()).unwrap();
    made
}

fn files(folder: &Path) -> TlsFiles {
    TlsFiles { cert: folder.join("cert.pem"), key: folder.join("key.pem") }
}

/// A client that trusts this certificate and no other.
fn trusting(made: &CertifiedKey<KeyPair>) -> reqwest::Client {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(made.cert.der().clone()).unwrap();
    let config = rustls::ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    reqwest::Client::builder().tls_backend_preconfigured(config).build().unwrap()
}

#[tokio::test]
async fn https_is_served_and_a_renewed_certificate_taken_without_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let files = files(folder.path());
    let old = write(&files);
    let mut web = Web { tls: Some(files.clone()), ..Web::default() };
    web.limits.reread = Duration::from_millis(20);
    web.limits.patience = Duration::from_millis(200);
    let server = serve_with(web, everything(), options()).await;
    assert!(server.url.starts_with("https://"), "{}", server.url);
    let get =
        async |client: reqwest::Client| client.get(server.at("/livez")).send().await.map(|answer| answer.status());
    assert_eq!(get(trusting(&old)).await.unwrap(), 200);

    // One that is half written changes nothing.
    std::fs::write(&files.cert, "-----BEGIN CERTIFICATE-----\n").unwrap();
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(get(trusting(&old)).await.unwrap(), 200);
    let new = write(&files);
    while get(trusting(&new)).await.is_err() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(get(trusting(&old)).await.is_err());

    // Who does not say hello is not waited for.
    let mut silent = TcpStream::connect(server.url.strip_prefix("https://").unwrap()).await.unwrap();
    assert_eq!(silent.read(&mut [0; 1]).await.unwrap_or_default(), 0);
}

#[tokio::test]
async fn a_certificate_that_is_none_is_named_with_its_setting() {
    let folder = tempfile::tempdir().unwrap();
    let files = files(folder.path());
    let web = Web { tls: Some(files.clone()), ..Web::default() };
    let wrong = async || Listener::bind(([127, 0, 0, 1], 0).into(), &web).await.map(|_| ()).unwrap_err().to_string();
    assert!(wrong().await.starts_with("PROXMOX_MCP_TLS_CERT: "), "{}", wrong().await);
    write(&files);
    let other = generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    std::fs::write(&files.key, other.signing_key.serialize_pem()).unwrap();
    assert!(wrong().await.ends_with("this is not the key of that certificate"), "{}", wrong().await);
    std::fs::write(&files.key, "hunter2").unwrap();
    let text = wrong().await;
    assert!(text.starts_with("PROXMOX_MCP_TLS_KEY: ") && text.contains("expected a private key as PEM"), "{text}");
    std::fs::write(&files.cert, "nothing").unwrap();
    assert!(wrong().await.ends_with("expected at least one certificate as PEM"), "{}", wrong().await);
}

fn program(args: &[&str], env: &[(&str, &str)]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_proxmox-mcp"));
    command.args(args).env_clear().envs(env.iter().copied()).current_dir(std::env::temp_dir());
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Ends the process however the test ends.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn without_a_key_no_address_of_other_machines_is_listened_on() {
    let serve = |args: &[&str], env: &[(&str, &str)]| -> Output {
        program(&[&["--sandbox"], args].concat(), env).output().unwrap()
    };
    for args in [["--http", "0.0.0.0:0"], ["--http", "[::]:0"], ["--rest", "192.0.2.1:80"]] {
        let refused = serve(&args, &[]);
        let said = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert_eq!(refused.status.code(), Some(2), "{said}");
        assert!(said.contains("can be reached from other machines") && said.contains("--insecure-no-auth"), "{said}");
    }
    let both = serve(&["--http", "127.0.0.1:0", "--rest", "0.0.0.0:0"], &[]);
    assert!(String::from_utf8_lossy(&both.stderr).contains("PROXMOX_MCP_REST: 0.0.0.0:0"));
    let short = serve(&["--http", "127.0.0.1:0"], &[("PROXMOX_MCP_API_KEY", "hunter2")]);
    let said = String::from_utf8_lossy(&short.stderr).into_owned();
    assert!(short.status.code() == Some(2) && said.contains("PROXMOX_MCP_API_KEY: line 1, entry 1"), "{said}");
    assert!(!said.contains("hunter2"), "{said}");
}

#[test]
fn at_its_most_the_log_holds_no_key_and_no_token() {
    let log = ("PROXMOX_LOG", "trace");
    let started = program(&["--sandbox", "--http", "0.0.0.0:0"], &[("PROXMOX_MCP_API_KEY", KEY), log]).spawn().unwrap();
    let mut running = Running(started);
    let mut stderr = BufReader::new(running.0.stderr.take().unwrap());
    let mut said = String::new();
    let port = loop {
        let from = said.len();
        assert_ne!(stderr.read_line(&mut said).unwrap(), 0, "{said}");
        if let Some((_, port)) = said[from..].trim().split_once("http://0.0.0.0:") {
            break port.to_owned();
        }
    };
    let reading = std::thread::spawn(move || {
        let mut rest = String::new();
        // Up to what is logged of the last one, which was no request at all.
        while !rest.contains("DEBUG") && stderr.read_line(&mut rest).unwrap() > 0 {}
        rest
    });
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let http = support::web::http_client();
        let url = format!("http://127.0.0.1:{port}");
        let hello = json!({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {
            "protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "test", "version": "1"}}});
        let post =
            || http.post(format!("{url}/mcp")).header("Accept", "application/json, text/event-stream").json(&hello);
        for (request, status) in [
            (post().bearer_auth(KEY), 200),
            (post().header("X-API-Key", KEY), 200),
            (post().bearer_auth(format!("{KEY}-wrong")), 401),
            (post().header("X-API-Key", format!("{KEY}-wrong")).header("Host", "evil.example"), 403),
            (http.get(format!("{url}/tools")).bearer_auth(KEY), 200),
        ] {
            assert_eq!(request.send().await.unwrap().status(), status);
        }
    });
    // What is no request at all is logged, too.
    let mut garbled = std::net::TcpStream::connect(format!("127.0.0.1:{port}")).unwrap();
    garbled.write_all(format!("Authorization: Bearer {KEY}\r\n\r\n").as_bytes()).unwrap();
    let mut answer = String::new();
    garbled.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
    let said = format!("{said}{}", reading.join().unwrap());
    drop(running);
    assert!(said.contains("was not let in") && said.contains("DEBUG"), "nothing was logged: {said}");
    assert!(!said.contains("hunter2"), "{said}");
}

#[test]
fn doctor_says_where_it_listens_and_who_gets_in() {
    let keys = format!("ops:{KEY};look:{KEY}x mode=read-only toolsets=discovery");
    let doctor = |args: &[&str], env: &[(&str, &str)]| -> Value {
        let output = program(&[&["--sandbox", "doctor", "--json"], args].concat(), env).output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(!text.contains("hunter2"), "{text}");
        serde_json::from_str::<Value>(&text).unwrap()["http"].take()
    };
    let env = [("PROXMOX_MCP_API_KEY", keys.as_str())];
    assert_eq!(
        doctor(&["--http", "0.0.0.0:8812"], &env),
        json!({"name": "http", "verdict": "ok", "text": "MCP and REST at http://0.0.0.0:8812; 2 keys: ops, \
            look (mode=read-only toolsets=discovery); without TLS, which has to come from a proxy in front of it"})
    );
    let open = doctor(&["--http", "0.0.0.0:8812", "--insecure-no-auth"], &[]);
    assert_eq!(open["verdict"], "warning");
    let refused = doctor(&["--http", "0.0.0.0:8812"], &[]);
    assert_eq!(refused["verdict"], "failed");
    assert!(refused["hint"].as_str().unwrap().contains("openssl rand"), "{refused}");
    assert_eq!(doctor(&[], &[]), Value::Null);
}
