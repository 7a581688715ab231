//! MCP over HTTP, request by request, in every way there is: what clients accept, sessions, and clients that leave.
#![expect(clippy::unwrap_used, reason = "tests")]

mod mcp_over_http;
mod support;

use std::{sync::Arc, time::Duration};

use axum::body::Body;
use http::{Request, StatusCode};
use mcp_over_http::{BOTH, Events, Talk, WAYS, Way, conversations, get, json_of, post};
use proxmox_mcp::{config::Web, ending::Ending, mcp::Conversations, sandbox::Options};
use serde_json::{Value, json};
use support::{options, start};
use tokio::time::sleep;

fn hello() -> Value {
    json!({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {
        "protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "test", "version": "1"}}})
}

/// Tasks take ten times as long.
fn slow() -> Options {
    Options { time_scale: 0.1, ..options() }
}

/// Takes the cluster many seconds.
fn clone() -> Value {
    json!({"source_vmid": 107, "full": true, "confirm": true, "wait": true})
}

#[tokio::test(start_paused = true)]
async fn tools_are_listed_and_called_in_every_way() {
    let test = start(options()).await;
    for way in WAYS {
        let all = conversations(&test.app, way, &Ending::default());
        let mut talk = Talk::begin(&all, way).await;
        talk.ask(1, "tools/list", json!({})).await;
        let tools = talk.reply().await.unwrap()["result"]["tools"].as_array().unwrap().len();
        assert!(tools > 100, "{way:?}: {tools}");
        assert_eq!(talk.result(2, "proxmox-list-nodes", json!({})).await["total"], 3, "{way:?}");
        let done = talk.result(3, "proxmox-start-vm", json!({"vmid": 107, "wait": true})).await;
        assert_eq!(done["exitstatus"], "OK", "{way:?}");
        talk.result(4, "proxmox-stop-vm", json!({"vmid": 107, "wait": true, "confirm": true})).await;
        talk.call(5, "proxmox-start-vm", json!({"vmid": 9999})).await;
        let reply = talk.reply().await.unwrap();
        assert_eq!(reply["result"]["isError"], true, "{way:?}: {reply}");
    }
}

#[tokio::test(start_paused = true)]
async fn whoever_does_not_ask_for_events_is_answered_with_json() {
    let test = start(options()).await;
    for way in [Way::Session, Way::Modern, Way::Stateless] {
        let all = conversations(&test.app, way, &Ending::default());
        for accept in [None, Some("*/*"), Some("application/json"), Some("application/json, text/event-stream;q=0")] {
            let mut talk = Talk::with(&all, way, json!({}), accept).await;
            let list = json!({"name": "proxmox-list-nodes", "arguments": {}});
            let headers = talk.ask(1, "tools/call", list).await;
            assert_eq!(headers["content-type"], "application/json", "{way:?} {accept:?}");
            assert_eq!(talk.reply().await.unwrap()["id"], 1);
            // One that would tell of its progress on the way.
            let done = talk.result(2, "proxmox-start-vm", json!({"vmid": 107, "wait": true})).await;
            assert_eq!(done["exitstatus"], "OK", "{way:?} {accept:?}");
            talk.result(3, "proxmox-stop-vm", json!({"vmid": 107, "wait": true, "confirm": true})).await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn progress_is_told_to_those_who_read_events() {
    let test = start(options()).await;
    for way in WAYS {
        let all = conversations(&test.app, way, &Ending::default());
        let mut talk = Talk::begin(&all, way).await;
        talk.call(7, "proxmox-clone-vm", clone()).await;
        let mut told = 0;
        loop {
            let message = talk.events.as_mut().unwrap().message().await.unwrap();
            if message["method"] == "notifications/progress" {
                assert_eq!(message["params"]["progressToken"], 7);
                told += 1;
                continue;
            }
            assert_eq!(message["result"]["structuredContent"]["state"], "done", "{way:?}: {message}");
            break;
        }
        assert!(told > 3, "{way:?}: {told}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_get_opens_the_stream_that_it_is_for() {
    let test = start(options()).await;
    let all = conversations(&test.app, Way::Session, &Ending::default());
    let events = ("accept", "text/event-stream");
    for (path, headers) in [
        ("/mcp", &[events][..]),
        ("/proxmox/mcp", &[("accept", "*/*")]),
        ("/mcp", &[]),
        ("/sse", &[events, ("mcp-protocol-version", "2025-06-18")]),
    ] {
        let (event, endpoint) = Events::of(all.answer(get(path, headers)).await).next().await.unwrap();
        assert_eq!(event, "endpoint");
        assert!(endpoint.starts_with(&format!("{path}?sessionId=")), "{endpoint}");
    }
    let behind = all.answer(get("/sse", &[("x-forwarded-prefix", "/pve/")])).await;
    assert!(Events::of(behind).next().await.unwrap().1.starts_with("/pve/sse?sessionId="));
    let page = all.answer(get("/mcp", &[("accept", "text/html, */*;q=0.8")])).await;
    assert_eq!(page.status(), StatusCode::NOT_ACCEPTABLE);

    let talk = Talk::begin(&all, Way::Session).await;
    let session = ("mcp-session-id", talk.session.as_deref().unwrap());
    let mut news = Events::of(all.answer(get("/mcp", &[events, session])).await);
    assert!(tokio::time::timeout(Duration::from_secs(60), news.next()).await.is_err(), "there is no news");
    for (headers, status) in [
        (&[events, ("mcp-session-id", "none")][..], StatusCode::NOT_FOUND),
        (&[events, ("mcp-protocol-version", "2026-07-28")], StatusCode::METHOD_NOT_ALLOWED),
    ] {
        assert_eq!(all.answer(get("/mcp", headers)).await.status(), status, "{headers:?}");
    }
    let stateless = conversations(&test.app, Way::Stateless, &Ending::default());
    for path in ["/mcp", "/sse"] {
        let refused = stateless.answer(get(path, &[events])).await;
        assert_eq!(
            (refused.status(), &refused.headers()["allow"]),
            (StatusCode::METHOD_NOT_ALLOWED, &"POST".parse().unwrap())
        );
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_no_message_or_for_no_session_is_refused() {
    let test = start(options()).await;
    let all = conversations(&test.app, Way::Session, &Ending::default());
    let mut stream = Events::of(all.answer(get("/sse", &[])).await);
    let endpoint = stream.next().await.unwrap().1;
    let broken = |path: &str| {
        let request = Request::post(path).header("host", "localhost").header("content-type", "application/json");
        request.body(Body::from("{\"jsonrpc\": ")).unwrap()
    };
    for path in ["/mcp", &endpoint] {
        let refused = all.answer(broken(path)).await;
        assert_eq!(refused.status(), StatusCode::BAD_REQUEST, "{path}");
        assert_eq!(json_of(refused).await["error"]["code"], -32700, "{path}");
    }
    let refused = all.answer(post("/sse?sessionId=none", None, &hello())).await;
    assert_eq!(refused.status(), StatusCode::NOT_FOUND);
    let mut lost = post("/mcp", Some(BOTH), &json!({"jsonrpc": "2.0", "id": 1, "method": "tools/list"}));
    assert_eq!(
        all.answer(post("/mcp", Some(BOTH), &json!({"jsonrpc": "2.0", "id": 1, "method": "tools/list"})))
            .await
            .status(),
        StatusCode::BAD_REQUEST
    );
    lost.headers_mut().insert("mcp-session-id", "of-a-server-before".parse().unwrap());
    assert_eq!(all.answer(lost).await.status(), StatusCode::NOT_FOUND);
    let small = Web { limits: proxmox_mcp::config::Limits { body: 100, ..Web::default().limits }, ..Web::default() };
    let small = Conversations::new(Arc::clone(&test.app), &small, &Ending::default());
    let endpoint = Events::of(small.answer(get("/sse", &[])).await).next().await.unwrap().1;
    assert_eq!(small.answer(post("/mcp", None, &hello())).await.status(), StatusCode::PAYLOAD_TOO_LARGE);
    // That stream has ended, and its session with it.
    assert_eq!(small.answer(post(&endpoint, None, &hello())).await.status(), StatusCode::NOT_FOUND);
    let stream = Events::of(small.answer(get("/sse", &[])).await);
    let mut stream = stream;
    let endpoint = stream.next().await.unwrap().1;
    assert_eq!(small.answer(post(&endpoint, None, &hello())).await.status(), StatusCode::PAYLOAD_TOO_LARGE);
}

#[tokio::test(start_paused = true)]
async fn sessions_of_one_caller_are_unknown_to_others() {
    let test = start(options()).await;
    let (mine, yours) = (
        conversations(&test.app, Way::Session, &Ending::default()),
        conversations(&test.app, Way::Session, &Ending::default()),
    );
    let mut talk = Talk::begin(&mine, Way::Session).await;
    let mut sse = Talk::begin(&mine, Way::Sse).await;
    talk.result(1, "proxmox-list-nodes", json!({})).await;
    talk.conversations = yours.clone();
    let list = json!({"jsonrpc": "2.0", "id": 2, "method": "tools/list"});
    let mut request = post("/mcp", Some(BOTH), &list);
    request.headers_mut().insert("mcp-session-id", talk.session.clone().unwrap().parse().unwrap());
    assert_eq!(yours.answer(request).await.status(), StatusCode::NOT_FOUND);
    let endpoint = sse.endpoint.clone();
    assert_eq!(yours.answer(post(&endpoint, None, &list)).await.status(), StatusCode::NOT_FOUND);
    assert_eq!(sse.result(1, "proxmox-list-nodes", json!({})).await["total"], 3);
}

/// How long a client may be away in each way, before nobody waits for it.
fn patience(way: Way) -> Duration {
    Duration::from_secs(if way == Way::Session { 40 } else { 2 })
}

#[tokio::test(start_paused = true)]
async fn the_wait_of_a_client_that_has_left_ends_and_the_task_goes_on() {
    for way in WAYS {
        let test = start(slow()).await;
        let all = conversations(&test.app, way, &Ending::default());
        let mut talk = Talk::begin(&all, way).await;
        talk.call(7, "proxmox-clone-vm", clone()).await;
        // The first progress says that the task is there.
        talk.events.as_mut().unwrap().message().await.unwrap();
        sleep(Duration::from_secs(2)).await;
        talk.events = None;
        sleep(patience(way)).await;
        test.sent.forget();
        sleep(Duration::from_secs(30)).await;
        assert_eq!(test.sent.count(), 0, "{way:?}: it still looks at its task");
        sleep(Duration::from_secs(600)).await;
        let tasks = test.call("proxmox-list-tasks", json!({"limit": 1})).await;
        let task = &tasks["tasks"][0];
        assert_eq!((&task["type"], &task["status"]), (&json!("qmclone"), &json!("OK")), "{way:?}: {task}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_that_takes_json_alone_and_leaves_does_not_keep_the_wait() {
    for way in [Way::Session, Way::Modern, Way::Stateless] {
        let test = start(slow()).await;
        let all = conversations(&test.app, way, &Ending::default());
        let mut talk = Talk::with(&all, way, json!({}), None).await;
        let left = tokio::time::timeout(Duration::from_secs(5), talk.call(7, "proxmox-clone-vm", clone())).await;
        assert!(left.is_err(), "{way:?}: it was answered");
        sleep(patience(way)).await;
        assert!(test.sent.count() > 2, "{way:?}: nothing was begun");
        test.sent.forget();
        sleep(Duration::from_secs(30)).await;
        assert_eq!(test.sent.count(), 0, "{way:?}: it still looks at its task");
    }
}

#[tokio::test(start_paused = true)]
async fn a_task_is_stopped_where_the_call_that_was_left_said_so() {
    for way in WAYS {
        let test = start(slow()).await;
        let all = conversations(&test.app, way, &Ending::default());
        let mut talk = Talk::begin(&all, way).await;
        let mut arguments = clone();
        arguments["cancel_task_on_abort"] = json!(true);
        talk.call(7, "proxmox-clone-vm", arguments).await;
        talk.events.as_mut().unwrap().message().await.unwrap();
        sleep(Duration::from_secs(2)).await;
        talk.events = None;
        sleep(patience(way) + Duration::from_secs(10)).await;
        let tasks = test.call("proxmox-list-tasks", json!({"limit": 1})).await;
        assert_eq!(tasks["tasks"][0]["status"], "unexpected status", "{way:?}: {tasks}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_whose_stream_broke_comes_back_for_the_answer() {
    let test = start(options()).await;
    let all = conversations(&test.app, Way::Session, &Ending::default());
    let mut talk = Talk::begin(&all, Way::Session).await;
    talk.call(7, "proxmox-clone-vm", clone()).await;
    talk.events.as_mut().unwrap().message().await.unwrap();
    let last = talk.events.as_ref().unwrap().id.clone().unwrap();
    talk.events = None;
    sleep(Duration::from_secs(3)).await;
    let headers = [
        ("accept", "text/event-stream"),
        ("mcp-session-id", talk.session.as_deref().unwrap()),
        ("last-event-id", &last),
    ];
    talk.events = Some(Events::of(all.answer(get("/mcp", &headers)).await));
    assert_eq!(talk.reply().await.unwrap()["result"]["structuredContent"]["state"], "done");
}

#[tokio::test(start_paused = true)]
async fn a_session_that_is_deleted_waits_for_nothing() {
    let test = start(slow()).await;
    let all = conversations(&test.app, Way::Session, &Ending::default());
    let mut talk = Talk::begin(&all, Way::Session).await;
    talk.call(7, "proxmox-clone-vm", clone()).await;
    talk.events.as_mut().unwrap().message().await.unwrap();
    let session = talk.session.clone().unwrap();
    let delete = || {
        Request::delete("/mcp")
            .header("host", "localhost")
            .header("mcp-session-id", &session)
            .body(Body::empty())
            .unwrap()
    };
    assert!(all.answer(delete()).await.status().is_success());
    assert_eq!(talk.reply().await, None, "the stream ends without an answer");
    sleep(Duration::from_secs(1)).await;
    test.sent.forget();
    sleep(Duration::from_secs(30)).await;
    assert_eq!(test.sent.count(), 0, "it still looks at its task");
    assert!(!is_known(&all, &talk).await);
}

async fn is_known(all: &Conversations, talk: &Talk) -> bool {
    let mut ping = post("/mcp", Some(BOTH), &json!({"jsonrpc": "2.0", "id": 99, "method": "ping"}));
    ping.headers_mut().insert("mcp-session-id", talk.session.clone().unwrap().parse().unwrap());
    match all.answer(ping).await.status() {
        StatusCode::OK => true,
        StatusCode::NOT_FOUND => false,
        other => unreachable!("{other}"),
    }
}

#[tokio::test(start_paused = true)]
async fn a_session_lasts_while_somebody_reads_or_waits_and_then_for_half_an_hour() {
    let test = start(Options { time_scale: 0.003, ..options() }).await;
    let all = conversations(&test.app, Way::Session, &Ending::default());
    let (reads, idle, mut waits) = (
        Talk::begin(&all, Way::Session).await,
        Talk::begin(&all, Way::Session).await,
        Talk::begin(&all, Way::Session).await,
    );
    let headers = [("accept", "text/event-stream"), ("mcp-session-id", reads.session.as_deref().unwrap())];
    let stream = Events::of(all.answer(get("/mcp", &headers)).await);
    // Without a word of progress.
    let mut arguments = clone();
    (arguments["timeout"], arguments["poll_interval"]) = (json!(7200), json!(60));
    waits.ask(1, "tools/call", json!({"name": "proxmox-clone-vm", "arguments": arguments})).await;
    sleep(Duration::from_secs(29 * 60)).await;
    assert!(is_known(&all, &idle).await);
    sleep(Duration::from_secs(31 * 60)).await;
    assert!(is_known(&all, &waits).await);
    assert!(is_known(&all, &reads).await);
    assert!(!is_known(&all, &idle).await);
    let done = waits.reply().await.unwrap();
    assert_eq!(done["result"]["structuredContent"]["state"], "done");
    assert!(done["result"]["structuredContent"]["seconds"].as_f64().unwrap() > 1860.0, "{done}");
    drop(stream);
    sleep(Duration::from_secs(31 * 60)).await;
    assert!(!is_known(&all, &reads).await);
}

#[tokio::test(start_paused = true)]
async fn the_session_that_is_used_least_makes_room() {
    let test = start(options()).await;
    let web = Web { limits: proxmox_mcp::config::Limits { calls: 2, ..Web::default().limits }, ..Web::default() };
    let all = Conversations::new(Arc::clone(&test.app), &web, &Ending::default());
    let mut talks = Vec::new();
    for _ in 0..4 {
        talks.push(Talk::begin(&all, Way::Session).await);
        sleep(Duration::from_secs(1)).await;
    }
    assert!(is_known(&all, &talks[0]).await);
    sleep(Duration::from_secs(1)).await;
    talks.push(Talk::begin(&all, Way::Session).await);
    for (n, known) in [true, false, true, true, true].into_iter().enumerate() {
        assert_eq!(is_known(&all, &talks[n]).await, known, "{n}");
    }
}

#[tokio::test(start_paused = true)]
async fn many_calls_of_one_session_at_once_are_all_answered() {
    let test = start(options()).await;
    for way in [Way::Session, Way::Sse] {
        let all = conversations(&test.app, way, &Ending::default());
        let mut talk = Talk::begin(&all, way).await;
        let mut streams = Vec::new();
        for id in 1..=100 {
            talk.call(id, "proxmox-list-nodes", json!({})).await;
            if way == Way::Session {
                streams.push(talk.events.take().unwrap());
            }
        }
        let mut ids: Vec<u64> = Vec::new();
        for _ in 0..100 {
            if way == Way::Session {
                talk.events = streams.pop();
            }
            ids.push(talk.reply().await.unwrap()["id"].as_u64().unwrap());
        }
        ids.sort_unstable();
        assert_eq!(ids, (1..=100).collect::<Vec<_>>(), "{way:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_end_ends_streams_of_news_at_once_and_answers_calls() {
    for way in WAYS {
        let test = start(slow()).await;
        let ending = Ending::default();
        let all = conversations(&test.app, way, &ending);
        let mut idle = Talk::begin(&all, way).await;
        match way {
            Way::Session => {
                let headers = [("accept", "text/event-stream"), ("mcp-session-id", idle.session.as_deref().unwrap())];
                idle.events = Some(Events::of(all.answer(get("/mcp", &headers)).await));
            }
            Way::Modern => {
                let wanted = json!({"notifications": {"resourceSubscriptions": ["proxmox://default/guest/100"]}});
                idle.ask(1, "subscriptions/listen", wanted).await;
                assert_eq!(idle.reply().await.unwrap()["method"], "notifications/subscriptions/acknowledged");
            }
            Way::Sse | Way::Stateless => {}
        }
        let mut busy = Talk::begin(&all, way).await;
        busy.call(7, "proxmox-clone-vm", clone()).await;
        busy.events.as_mut().unwrap().message().await.unwrap();
        ending.begun.cancel();
        if let Some(events) = &mut idle.events {
            let ends = async { while events.next().await.is_some() {} };
            assert!(tokio::time::timeout(Duration::from_secs(1), ends).await.is_ok(), "{way:?}");
        }
        sleep(Duration::from_secs(5)).await;
        ending.calls.cancel();
        let reply = busy.reply().await.unwrap();
        assert_eq!((&reply["id"], &reply["result"]["isError"]), (&json!(7), &json!(true)), "{way:?}: {reply}");
        assert_eq!(reply["result"]["_meta"]["proxmox-mcp/error"]["kind"], "cancelled", "{way:?}: {reply}");
        assert_eq!(busy.reply().await, None, "{way:?}: its stream ends too");
    }
}
