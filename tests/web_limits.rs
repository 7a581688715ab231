//! How much of it there may be over HTTP: bodies, heads, slow clients, connections, requests at a time and in a minute.
#![expect(clippy::unwrap_used, reason = "tests")]

mod support;

use std::time::Duration;

use http::StatusCode;
use proxmox_mcp::{
    config::{KeySource, Limits, Web},
    sandbox::Options,
};
use serde_json::{Value, json};
use support::{
    everything, options,
    web::{Served, serve, serve_with},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

const OPS: &str = "hunter2-ops-0123456789";
const LOOK: &str = "hunter2-look-0123456789";
const SHORT: Duration = Duration::from_millis(100);

async fn limited(limits: Limits) -> Served {
    let keys = Some(KeySource::Text(format!("ops:{OPS};look:{LOOK}").into()));
    serve_with(Web { keys, limits, ..Web::default() }, everything(), Options { time_scale: 100.0, ..options() }).await
}

async fn connect(server: &Served) -> TcpStream {
    TcpStream::connect(server.url.strip_prefix("http://").unwrap()).await.unwrap()
}

/// Sends this, and reads until the server closes.
async fn raw(server: &Served, text: &str) -> String {
    let mut stream = connect(server).await;
    stream.write_all(text.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    // A connection that is cut with something unread is closed, too.
    let _ = stream.read_to_end(&mut answer).await;
    String::from_utf8_lossy(&answer).into_owned()
}

async fn tools(server: &Served, key: &str) -> reqwest::Response {
    server.http.get(server.at("/tools")).bearer_auth(key).send().await.unwrap()
}

#[tokio::test]
async fn a_body_that_is_too_large_is_refused_whether_its_length_is_told_or_not() {
    let server = limited(Limits { body: 1000, ..Limits::default() }).await;
    let post = || server.http.post(server.at("/mcp")).bearer_auth(OPS);
    let piece = "x".repeat(600);
    let pieces = futures::stream::iter([Ok::<_, std::io::Error>(piece.clone()), Ok(piece.clone())]);
    for request in [post().body("x".repeat(1001)), post().body(reqwest::Body::wrap_stream(pieces))] {
        let answer = request.send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::PAYLOAD_TOO_LARGE);
        let body: Value = serde_json::from_str(&answer.text().await.unwrap()).unwrap();
        assert!(body["detail"].as_str().unwrap().contains("PROXMOX_MCP_MAX_BODY"), "{body}");
    }
    // Nobody's body is read before the key is known.
    let answer = server.http.post(server.at("/mcp")).body("x".repeat(1001)).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::UNAUTHORIZED);
    let answer = post().body("x".repeat(1000)).send().await.unwrap();
    assert_ne!(answer.status(), StatusCode::PAYLOAD_TOO_LARGE);
    assert_eq!(server.sent.count(), 0);
}

#[tokio::test]
async fn a_head_that_is_too_large_is_refused() {
    let server = limited(Limits::default()).await;
    let long =
        raw(&server, &format!("GET /livez HTTP/1.1\r\nHost: localhost\r\nX: {}\r\n\r\n", "x".repeat(200_000))).await;
    assert!(long.starts_with("HTTP/1.1 431 "), "{long}");
    let many: String = (0..200).map(|n| format!("X-{n}: x\r\n")).collect();
    let many = raw(&server, &format!("GET /livez HTTP/1.1\r\nHost: localhost\r\n{many}\r\n")).await;
    assert!(many.starts_with("HTTP/1.1 431 "), "{many}");
}

#[tokio::test]
async fn a_host_that_is_missing_twice_there_or_garbled_is_a_bad_request() {
    let server = limited(Limits::default()).await;
    for hosts in ["", "Host: localhost\r\nHost: localhost\r\n", "Host: a b\r\n", "Host: \r\n"] {
        let answer = raw(&server, &format!("GET /livez HTTP/1.1\r\n{hosts}Connection: close\r\n\r\n")).await;
        assert!(answer.starts_with("HTTP/1.1 400 "), "{hosts}: {answer}");
    }
}

#[tokio::test]
async fn a_client_that_takes_its_time_is_not_waited_for() {
    let server = limited(Limits { patience: SHORT, ..Limits::default() }).await;
    // Nothing at all, and a head that never ends: closed, without a word.
    assert_eq!(raw(&server, "").await, "");
    assert_eq!(raw(&server, "POST /mcp HTTP/1.1\r\nHost: local").await, "");
    // A head letter by letter has no more time for it.
    let mut drip = connect(&server).await;
    let mut sent = 0;
    while drip.write_all(b"G").await.is_ok() {
        sent += 1;
        tokio::time::sleep(SHORT / 5).await;
    }
    assert!(sent > 1, "the connection was there for a while");
    // Nor has a body, whether it stops or drips.
    let head = format!("POST /mcp HTTP/1.1\r\nHost: localhost\r\nX-API-Key: {OPS}\r\nContent-Length: 100\r\n\r\n");
    let stopped = raw(&server, &format!("{head}{{")).await;
    assert!(stopped.starts_with("HTTP/1.1 408 ") && stopped.contains("application/problem+json"), "{stopped}");
    let stream = connect(&server).await;
    let (mut read, mut written) = stream.into_split();
    written.write_all(head.as_bytes()).await.unwrap();
    let drip = async {
        while written.write_all(b" ").await.is_ok() {
            tokio::time::sleep(SHORT / 5).await;
        }
    };
    let mut answer = [0; 12];
    let read = async { read.read_exact(&mut answer).await.unwrap() };
    tokio::select! { () = drip => {}, _ = read => {} }
    assert_eq!(String::from_utf8_lossy(&answer), "HTTP/1.1 408");
    assert_eq!(server.sent.count(), 0);
}

#[tokio::test]
async fn an_answer_may_take_longer_than_a_question() {
    let server = limited(Limits { patience: SHORT, ..Limits::default() }).await;
    let session = server.session(Some(OPS)).await;
    let mut news = session.with_headers(server.http.get(server.at("/mcp"))).send().await.unwrap();
    assert_eq!(news.status(), 200);
    // The stream is still there when a client that said nothing has long been sent away.
    assert_eq!(raw(&server, "").await, "");
    assert_eq!(raw(&server, "").await, "");
    let more = async { while let Ok(Some(_)) = news.chunk().await {} };
    assert!(tokio::time::timeout(SHORT, more).await.is_err(), "the stream of news has ended");
}

#[tokio::test]
async fn one_caller_has_so_many_requests_at_a_time_and_takes_no_place_from_others() {
    let server = limited(Limits { calls: 2, ..Limits::default() }).await;
    let (ops, second) = (server.session(Some(OPS)).await, server.session(Some(OPS)).await);
    let open = |session: &support::web::Session<'_>| session.with_headers(server.http.get(server.at("/mcp"))).send();
    let (first, second) = (open(&ops).await.unwrap(), open(&second).await.unwrap());
    assert_eq!((first.status(), second.status()), (StatusCode::OK, StatusCode::OK));
    let refused = tools(&server, OPS).await;
    assert_eq!(refused.status(), StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(refused.headers()["retry-after"], "1");
    assert!(refused.text().await.unwrap().contains("PROXMOX_MCP_MAX_CALLS"));
    assert_eq!(tools(&server, LOOK).await.status(), 200);
    // A stream that its client has closed gives its place back.
    drop(first);
    while tools(&server, OPS).await.status() != 200 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn one_caller_has_so_many_requests_a_minute() {
    let server = limited(Limits { rate: 3, ..Limits::default() }).await;
    for _ in 0..3 {
        assert_eq!(tools(&server, OPS).await.status(), 200);
    }
    let refused = tools(&server, OPS).await;
    assert_eq!(refused.status(), StatusCode::TOO_MANY_REQUESTS);
    let wait: u32 = refused.headers()["retry-after"].to_str().unwrap().parse().unwrap();
    assert!((1..=20).contains(&wait), "{wait}");
    assert!(refused.text().await.unwrap().contains("PROXMOX_MCP_RATE"));
    assert_eq!(tools(&server, LOOK).await.status(), 200);
    let open = Web { limits: Limits { rate: 3, ..Limits::default() }, ..Web::default() };
    let open = serve_with(open, everything(), options()).await;
    for _ in 0..5 {
        assert_eq!(open.http.get(open.at("/tools")).send().await.unwrap().status(), 200);
    }
}

#[tokio::test]
async fn who_tries_keys_is_told_to_wait_and_locks_nobody_out() {
    let server = limited(Limits { failures: 3, ..Limits::default() }).await;
    for _ in 0..3 {
        assert_eq!(tools(&server, "wrong").await.status(), StatusCode::UNAUTHORIZED);
    }
    let refused = tools(&server, "wrong").await;
    assert_eq!(refused.status(), StatusCode::TOO_MANY_REQUESTS);
    assert!(refused.headers().contains_key("retry-after"));
    assert_eq!(tools(&server, OPS).await.status(), 200);
}

#[tokio::test]
async fn connections_beyond_the_limit_wait_for_a_place() {
    let server = limited(Limits { connections: 1, ..Limits::default() }).await;
    let first = connect(&server).await;
    let head = "GET /livez HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    let second = raw(&server, head);
    tokio::pin!(second);
    assert!(tokio::time::timeout(SHORT, &mut second).await.is_err(), "served although there is no place");
    drop(first);
    assert!(second.await.starts_with("HTTP/1.1 200 "));
}

#[tokio::test]
async fn two_hundred_clients_at_once_are_all_served() {
    let server = serve().await;
    let client = async |number: u64| {
        // Each with a connection of its own, and a whole conversation.
        let session = server.session(None).await;
        let got = session.call("proxmox-get-vm", json!({"vmid": 100})).await;
        assert_ne!(got["isError"], true, "{number}: {got}");
        assert!(session.tools().await.len() > 20, "{number}");
    };
    futures::future::join_all((0..200).map(client)).await;
    assert!(server.sent.writes().is_empty());
}
