//! Calls over HTTP that take a while: as event streams, with clients that leave, and with a server that ends.
#![expect(clippy::unwrap_used, reason = "tests")]

mod support;

use std::{path::Path, time::Duration};

use futures::StreamExt;
use proxmox_mcp::{
    config::{Safety, Web},
    sandbox::{Fault, FaultKind, Options},
};
use reqwest::{Method, Response};
use serde_json::{Value, json};
use support::{
    everything, options,
    web::{Served, serve, serve_with},
};

const CLONE: &str = "/tools/proxmox-clone-vm";

fn clone(more: Value) -> Value {
    let mut arguments = json!({"source_vmid": 9000, "name": "new", "confirm": true, "wait": true});
    arguments.as_object_mut().unwrap().extend(more.as_object().cloned().unwrap());
    arguments
}

async fn stream(server: &Served, path: &str, arguments: Value) -> Response {
    let request = server.http.post(server.at(path)).json(&arguments).header("Accept", "text/event-stream");
    let response = request.send().await.unwrap();
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    response
}

/// Name and data of each event.
fn events(text: &str) -> Vec<(String, Value)> {
    let field = |event: &str, name: &str| event.lines().find_map(|line| line.strip_prefix(name).map(str::to_owned));
    let event = |event: &str| Some((field(event, "event: ")?, serde_json::from_str(&field(event, "data: ")?).unwrap()));
    text.split("\n\n").filter_map(event).collect()
}

/// A server on which a clone takes half a minute, with a record.
async fn slow(file: &Path) -> Served {
    let safety = Safety { audit_file: Some(file.to_owned()), ..everything() };
    serve_with(Web::default(), safety, Options { time_scale: 0.1, ..options() }).await
}

/// The newest task of that kind, as soon as it is as wanted.
async fn task(server: &Served, kind: &str, wanted: impl Fn(&Value) -> bool) -> Value {
    loop {
        let list = server.http.post(server.at("/tools/proxmox-list-tasks")).json(&json!({})).send().await.unwrap();
        let list: Value = list.json().await.unwrap();
        let found = list["tasks"].as_array().unwrap().iter().find(|task| task["type"] == kind).cloned();
        if let Some(task) = found.filter(&wanted) {
            return task;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// The record, as soon as it has these words.
async fn recorded(file: &Path, words: &str) -> String {
    loop {
        let log = std::fs::read_to_string(file).unwrap_or_default();
        if log.contains(words) {
            return log;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn progress_is_streamed_and_then_the_result() {
    let server = serve().await;
    let text = stream(&server, CLONE, clone(json!({"poll_interval": 0.1}))).await.text().await.unwrap();
    let events = events(&text);
    let (last, before) = events.split_last().unwrap();
    assert_eq!((last.0.as_str(), &last.1["state"]), ("result", &json!("done")), "{text}");
    assert!(!before.is_empty() && before.iter().all(|(name, _)| name == "progress"), "{text}");
    assert!(before.iter().all(|(_, data)| data["message"].is_string()), "{text}");
    assert!(before.iter().any(|(_, data)| data["percent"].is_number()), "{text}");
}

#[tokio::test]
async fn an_error_is_the_last_event_and_a_plan_without_a_yes_is_one() {
    let server = serve().await;
    server.sandbox.fault(
        Fault::new(FaultKind::TaskFailure("no space left".to_owned())).on(Method::POST, "/nodes/pve1/qemu/9000/clone"),
    );
    for (tool, arguments, status, key) in [
        (CLONE, clone(json!({})), 422, "log"),
        (CLONE, clone(json!({"confirm": false})), 428, "outcome"),
        ("/tools/proxmox-vm-info", json!({"vmid": 1}), 400, "detail"),
    ] {
        let text = stream(&server, tool, arguments).await.text().await.unwrap();
        let (name, problem) = events(&text).pop().unwrap();
        assert_eq!((name.as_str(), &problem["status"]), ("error", &json!(status)), "{text}");
        assert!(!problem[key].is_null() && problem["request_id"].is_string(), "{text}");
    }
    // What is no call at all has its status.
    let request = server.http.post(server.at("/tools/no-tool")).header("Accept", "text/event-stream");
    assert_eq!(request.send().await.unwrap().status(), 404);
}

#[tokio::test]
async fn a_task_can_be_followed_as_a_stream() {
    let server = serve().await;
    let begun = server.http.post(server.at(CLONE)).json(&clone(json!({"wait": false}))).send().await.unwrap();
    let task = begun.headers()["location"].to_str().unwrap();
    let request = server.http.get(server.at(task)).header("Accept", "text/event-stream");
    let text = request.send().await.unwrap().text().await.unwrap();
    let (name, report) = events(&text).pop().unwrap();
    assert_eq!((name.as_str(), &report["success"]), ("result", &json!(true)), "{text}");
}

#[tokio::test]
async fn when_a_client_leaves_the_call_ends_and_the_task_goes_on() {
    for wants_events in [false, true] {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("audit.jsonl");
        let server = slow(&file).await;
        let accept = if wants_events { "text/event-stream" } else { "application/json" };
        let request = server.http.post(server.at(CLONE)).json(&clone(json!({}))).header("Accept", accept);
        let call = tokio::spawn(async move {
            let mut body = request.send().await.unwrap().bytes_stream();
            while body.next().await.is_some() {}
        });
        let begun = task(&server, "qmclone", |task| task["status"] == "running").await;
        call.abort();
        let log = recorded(&file, "cancelled").await;
        assert!(log.contains("qmclone"), "{log}");
        let still = task(&server, "qmclone", |_| true).await;
        assert_eq!((&still["upid"], &still["status"]), (&begun["upid"], &json!("running")), "{accept}");
    }
}

#[tokio::test]
async fn when_a_client_leaves_that_wants_it_so_the_task_is_stopped_too() {
    let folder = tempfile::tempdir().unwrap();
    let server = slow(&folder.path().join("audit.jsonl")).await;
    let request = server.http.post(server.at(CLONE)).json(&clone(json!({"cancel_task_on_abort": true})));
    let call = tokio::spawn(request.send());
    task(&server, "qmclone", |task| task["status"] == "running").await;
    call.abort();
    let ended = task(&server, "qmclone", |task| task["status"] != "running").await;
    assert_ne!(ended["status"], "OK", "{ended}");
}

#[tokio::test]
async fn when_the_server_ends_its_clients_are_told() {
    let folder = tempfile::tempdir().unwrap();
    let server = slow(&folder.path().join("audit.jsonl")).await;
    let plain = tokio::spawn(server.http.post(server.at(CLONE)).json(&clone(json!({}))).send());
    task(&server, "qmclone", |task| task["status"] == "running").await;
    let streamed = stream(&server, CLONE, clone(json!({"name": "other"}))).await;
    let both = async |task: Value| task["status"] == "running" && task["id"] == "9000";
    assert!(both(task(&server, "qmclone", |task| task["status"] == "running").await).await);
    server.ending.begun.cancel();
    server.ending.calls.cancel();
    let plain = plain.await.unwrap().unwrap();
    assert_eq!(plain.status(), 503);
    let problem: Value = plain.json().await.unwrap();
    assert_eq!(problem["kind"], "cancelled", "{problem}");
    let text = streamed.text().await.unwrap();
    assert_eq!(events(&text).pop().unwrap().1["kind"], "cancelled", "{text}");
}
