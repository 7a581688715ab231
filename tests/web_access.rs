//! Who gets in over HTTP, and how much of it: keys with their rights, revoked keys, hosts, origins. Each refusal is looked
//! at: its status, its headers, its words, and that nothing went to Proxmox.
#![expect(clippy::unwrap_used, reason = "tests")]

mod support;

use std::path::Path;

use futures::StreamExt;
use http::StatusCode;
use proxmox_mcp::{
    config::{KeySource, Safety, Web},
    sandbox::Options,
};
use reqwest::{RequestBuilder, Response};
use serde_json::{Value, json};
use support::{
    everything, options,
    web::{Served, serve, serve_with},
};

const OPS: &str = "hunter2-ops-0123456789";
const LOOK: &str = "hunter2-look-0123456789";
const SNAP: &str = "hunter2-snap-0123456789";

fn quick() -> Options {
    Options { time_scale: 100.0, ..options() }
}

fn keys() -> String {
    format!("ops:{OPS}; look:{LOOK} mode=read-only; snap:{SNAP} toolsets=snapshots exclude=delete-snapshot")
}

fn with_keys() -> Web {
    Web { keys: Some(KeySource::Text(keys().into())), ..Web::default() }
}

async fn guarded() -> Served {
    serve_with(with_keys(), everything(), quick()).await
}

/// A refusal: a problem as JSON with the answer's status, and nothing sent to the cluster.
async fn refused(server: &Served, request: RequestBuilder, status: StatusCode) -> (http::HeaderMap, Value) {
    let before = server.sent.count();
    let answer: Response = request.send().await.unwrap();
    let (got, headers) = (answer.status(), answer.headers().clone());
    let text = answer.text().await.unwrap();
    assert_eq!(got, status, "{text}");
    assert_eq!(headers["content-type"], "application/problem+json", "{text}");
    assert!(headers.contains_key("x-request-id"));
    let body: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(body["status"], status.as_u16());
    assert!(!body["title"].as_str().unwrap().is_empty() && !body["detail"].as_str().unwrap().is_empty());
    assert!(!text.contains("hunter2"), "{text}");
    assert_eq!(server.sent.count(), before, "something was sent");
    (headers, body)
}

#[tokio::test]
async fn without_a_good_key_nobody_gets_in() {
    let server = guarded().await;
    let get = |path: &str| server.http.get(server.at(path));
    for path in ["/mcp", "/proxmox/mcp", "/tools"] {
        let (headers, body) = refused(&server, get(path), StatusCode::UNAUTHORIZED).await;
        assert_eq!(headers["www-authenticate"], "Bearer");
        assert!(body["detail"].as_str().unwrap().contains("X-API-Key"), "{body}");
    }
    let cut = &OPS[..OPS.len() - 1];
    refused(&server, get("/tools").bearer_auth(""), StatusCode::UNAUTHORIZED).await;
    refused(&server, get("/tools").header("X-API-Key", ""), StatusCode::UNAUTHORIZED).await;
    for wrong in ["wrong", cut, &format!("{OPS}x"), &OPS.to_uppercase(), &format!("ops:{OPS}")] {
        let (headers, _) = refused(&server, get("/tools").bearer_auth(wrong), StatusCode::UNAUTHORIZED).await;
        assert_eq!(headers["www-authenticate"], "Bearer error=\"invalid_token\"", "{wrong}");
        refused(&server, get("/tools").header("X-API-Key", wrong), StatusCode::UNAUTHORIZED).await;
    }
    let (_, body) = refused(&server, get("/mcp").bearer_auth("wrong"), StatusCode::UNAUTHORIZED).await;
    assert_eq!(body["detail"], "this key is none of this server's");
    let twice = get("/tools").header("X-API-Key", OPS).header("X-API-Key", OPS);
    refused(&server, twice, StatusCode::UNAUTHORIZED).await;
    refused(&server, get("/tools").basic_auth("ops", Some(OPS)), StatusCode::UNAUTHORIZED).await;
}

#[tokio::test]
async fn a_key_is_shown_as_bearer_token_or_in_its_own_header() {
    let server = guarded().await;
    let get = || server.http.get(server.at("/tools"));
    for request in [
        get().bearer_auth(OPS),
        get().header("Authorization", format!("bearer  {OPS}")),
        get().header("X-API-Key", OPS),
        // A proxy's own password is for the proxy.
        get().basic_auth("somebody", Some("else")).header("x-api-key", OPS),
    ] {
        assert_eq!(request.send().await.unwrap().status(), 200);
    }
    // Whoever looks after the program needs none.
    assert_eq!(server.http.get(server.at("/livez")).send().await.unwrap().status(), 200);
}

#[tokio::test]
async fn each_key_has_its_own_tools_and_its_own_mode() {
    let server = guarded().await;
    let (ops, look, snap) =
        (server.session(Some(OPS)).await, server.session(Some(LOOK)).await, server.session(Some(SNAP)).await);
    let tools = ops.tools().await;
    assert!(tools.iter().any(|tool| tool == "proxmox-delete-vm"), "{tools:?}");
    let reading = look.tools().await;
    let is_read = |name: &String| {
        let found = proxmox_mcp::tools::all().find(|entry| entry.name == name);
        found.is_some_and(|entry| entry.effect == proxmox_mcp::policy::Effect::Read)
    };
    assert!(reading.len() > 20 && reading.iter().all(is_read), "{reading:?}");
    let snapshots = snap.tools().await;
    assert!(snapshots.iter().any(|tool| tool == "proxmox-create-snapshot"), "{snapshots:?}");
    assert!(snapshots.iter().all(|tool| tool.contains("snapshot")), "{snapshots:?}");
    assert!(!snapshots.iter().any(|tool| tool == "proxmox-delete-snapshot"), "{snapshots:?}");

    server.sent.forget();
    let change = json!({"vmid": 100, "confirm": true});
    let refused = look.call("proxmox-reboot-vm", change.clone()).await;
    assert_eq!(refused["isError"], true, "{refused}");
    assert!(refused.to_string().contains("the mode of this caller is read-only"), "{refused}");
    let refused = snap.call("proxmox-reboot-vm", change.clone()).await;
    assert!(refused.to_string().contains("is not among the tools"), "{refused}");
    assert_eq!(server.sent.count(), 0);
    let done = ops.call("proxmox-reboot-vm", change).await;
    assert_ne!(done["isError"], true, "{done}");
    assert_eq!(server.sent.writes().len(), 1, "{:?}", server.sent.writes());
}

#[tokio::test]
async fn the_session_of_one_key_is_not_there_for_another() {
    let server = guarded().await;
    let (ops, mut look) = (server.session(Some(OPS)).await, server.session(Some(LOOK)).await);
    look.id = ops.id.clone();
    let list = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/list"});
    assert_eq!(look.post(&list).await.status(), 404);
    assert_eq!(ops.post(&list).await.status(), 200);
}

#[tokio::test]
async fn the_record_has_the_name_of_the_key() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("audit.jsonl");
    let safety = Safety { audit_file: Some(file.clone()), ..everything() };
    let server = serve_with(with_keys(), safety, quick()).await;
    let done = server.session(Some(OPS)).await.call("proxmox-reboot-vm", json!({"vmid": 100, "confirm": true})).await;
    assert_ne!(done["isError"], true, "{done}");
    let text = std::fs::read_to_string(&file).unwrap();
    let begun: Value =
        serde_json::from_str(text.lines().find(|line| line.contains("proxmox-reboot-vm")).unwrap()).unwrap();
    assert!(begun.to_string().contains("\"caller\":\"ops\""), "{begun}");
    assert!(!text.contains("hunter2"), "{text}");
}

/// Asks until the answer has this status; one that is on its way when the key is taken away is broken off.
async fn until(server: &Served, key: &str, status: u16) {
    let get = async || server.http.get(server.at("/tools")).bearer_auth(key).send().await;
    while !get().await.is_ok_and(|answer| answer.status() == status) {
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
}

fn write(file: &Path, text: &str) {
    let draft = file.with_extension("new");
    std::fs::write(&draft, text).unwrap();
    std::fs::rename(draft, file).unwrap();
}

#[tokio::test]
async fn a_key_that_was_taken_out_of_the_file_ends_with_all_it_has_and_the_others_go_on() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("keys");
    write(&file, &keys().replace(';', "\n"));
    let mut web = Web { keys: Some(KeySource::File(file.clone())), ..Web::default() };
    web.limits.reread = std::time::Duration::from_millis(20);
    let server = serve_with(web, everything(), quick()).await;
    let (ops, look) = (server.session(Some(OPS)).await, server.session(Some(LOOK)).await);
    let news = |session: &support::web::Session<'_>| session.with_headers(server.http.get(server.at("/mcp"))).send();
    let (of_ops, of_look) = (news(&ops).await.unwrap(), news(&look).await.unwrap());
    assert_eq!((of_ops.status(), of_look.status()), (StatusCode::OK, StatusCode::OK));

    write(&file, &format!("ops:{OPS}\nnew:{SNAP}"));
    until(&server, LOOK, 401).await;
    let list = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/list"});
    assert_eq!(look.post(&list).await.status(), 401);
    // Its stream of news ends; a stream that goes on would make this wait for ever.
    let mut stream = of_look.bytes_stream();
    while let Some(Ok(_)) = stream.next().await {}
    until(&server, SNAP, 200).await;
    assert!(ops.tools().await.len() > 20, "who was left in the file keeps the session");

    // A file that is not understood lets nobody in, and what is put right is as it was.
    for broken in [format!("ops:{OPS} mode=hunter2"), String::new(), "ops:hunter2".to_owned()] {
        write(&file, &broken);
        until(&server, OPS, 503).await;
        let request = server.http.get(server.at("/tools")).bearer_auth(OPS);
        let (_, body) = refused(&server, request, StatusCode::SERVICE_UNAVAILABLE).await;
        assert!(body["detail"].as_str().unwrap().contains("cannot read its keys"), "{body}");
        write(&file, &format!("# put right\nops:{OPS}"));
        until(&server, OPS, 200).await;
    }
    std::fs::remove_file(&file).unwrap();
    until(&server, OPS, 503).await;
    write(&file, &format!("ops:{OPS}"));
    until(&server, OPS, 200).await;
    assert!(ops.tools().await.len() > 20);
    drop(of_ops);

    // The same name with other rights is another caller.
    write(&file, &format!("ops:{OPS} mode=read-only"));
    let gone = async || {
        let post = ops.with_headers(server.http.post(server.at("/mcp")).json(&list));
        // An answer that is on its way at that moment is broken off.
        post.send().await.is_ok_and(|answer| answer.status() == StatusCode::NOT_FOUND)
    };
    while !gone().await {
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn a_call_under_way_ends_with_its_key() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("keys");
    write(&file, &keys().replace(';', "\n"));
    let mut web = Web { keys: Some(KeySource::File(file.clone())), ..Web::default() };
    web.limits.reread = std::time::Duration::from_millis(20);
    // Tasks take their time here.
    let server = serve_with(web, everything(), Options { time_scale: 0.01, ..options() }).await;
    let ops = server.session(Some(OPS)).await;
    let reboot = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call",
        "params": {"name": "proxmox-reboot-vm", "arguments": {"vmid": 100, "confirm": true}}});
    let answer = async { ops.post(&reboot).await.text().await };
    let revoke = async {
        while server.sent.writes().is_empty() {
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
        write(&file, &format!("look:{LOOK}"));
    };
    let (answer, ()) = tokio::join!(answer, revoke);
    assert!(!answer.unwrap_or_default().contains("\"done\""));
    until(&server, OPS, 401).await;
}

#[tokio::test]
async fn another_host_or_a_foreign_page_gets_nothing_whatever_it_asks_for() {
    let server = guarded().await;
    for path in ["/mcp", "/tools", "/livez", "/.well-known/oauth-protected-resource"] {
        let get = || server.http.get(server.at(path)).bearer_auth(OPS);
        let (_, body) = refused(&server, get().header("Host", "evil.example"), StatusCode::FORBIDDEN).await;
        assert!(body["hint"].as_str().unwrap().contains("PROXMOX_MCP_ALLOWED_HOSTS"), "{body}");
        let (headers, body) =
            refused(&server, get().header("Origin", "https://evil.example"), StatusCode::FORBIDDEN).await;
        assert!(body["hint"].as_str().unwrap().contains("PROXMOX_MCP_ALLOWED_ORIGINS"), "{body}");
        assert!(!headers.contains_key("access-control-allow-origin"), "{headers:?}");
        refused(&server, get().header("Origin", "null"), StatusCode::FORBIDDEN).await;
        refused(&server, get().header("Host", "a b"), StatusCode::BAD_REQUEST).await;
    }
    let preflight =
        server.http.request(http::Method::OPTIONS, server.at("/mcp")).header("Origin", "https://evil.example");
    refused(&server, preflight.header("Access-Control-Request-Method", "POST"), StatusCode::FORBIDDEN).await;
}

#[tokio::test]
async fn a_page_that_may_call_is_told_so_before_it_shows_a_key() {
    let web = Web { allowed_origins: vec!["https://chat.example".to_owned()], ..with_keys() };
    let server = serve_with(web, everything(), quick()).await;
    let wanted = "authorization, content-type, mcp-session-id, mcp-param-vmid, x-api-key";
    let preflight = server
        .http
        .request(http::Method::OPTIONS, server.at("/mcp"))
        .header("Origin", "https://chat.example")
        .header("Access-Control-Request-Method", "POST")
        .header("Access-Control-Request-Headers", wanted);
    let answer = preflight.send().await.unwrap();
    assert_eq!(answer.status(), 200);
    let headers = answer.headers();
    assert_eq!(headers["access-control-allow-origin"], "https://chat.example");
    assert_eq!(headers["access-control-allow-headers"], wanted);
    assert!(headers["access-control-allow-methods"].to_str().unwrap().contains("DELETE"));
    assert!(!headers.contains_key("access-control-allow-credentials"));

    // The page can read why it was refused, and what it is told with the answer.
    let post = server.http.post(server.at("/mcp")).header("Origin", "https://chat.example");
    let (headers, _) = refused(&server, post, StatusCode::UNAUTHORIZED).await;
    assert_eq!(headers["access-control-allow-origin"], "https://chat.example");
    let exposed = headers["access-control-expose-headers"].to_str().unwrap();
    assert!(exposed.contains("mcp-session-id") && exposed.contains("www-authenticate"), "{exposed}");
    let get = server.http.get(server.at("/tools")).header("Origin", "https://chat.example").bearer_auth(OPS);
    assert_eq!(get.send().await.unwrap().status(), 200);
}

#[tokio::test]
async fn where_no_key_is_set_everybody_on_this_machine_gets_in() {
    let server = serve().await;
    assert!(server.session(None).await.tools().await.len() > 20);
    // Even one who shows something.
    assert_eq!(server.http.get(server.at("/tools")).bearer_auth("whatever").send().await.unwrap().status(), 200);
    let get = server.http.get(server.at("/tools")).header("Origin", "http://localhost:5173");
    assert_eq!(get.send().await.unwrap().headers()["access-control-allow-origin"], "http://localhost:5173");
}
