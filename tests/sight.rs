//! The figures of the program: they count what happened, exactly, and their labels are nobody's to choose.
#![expect(clippy::unwrap_used, reason = "tests")]

mod support;

use std::collections::{BTreeMap, BTreeSet};

use http::Method;
use proxmox_mcp::sandbox::{Fault, FaultKind};
use serde_json::json;
use support::{Test, options, start, web};

/// Each sample by its name and labels. Checks the form: every sample belongs to the family that was declared last, and
/// nothing stands behind the end.
fn samples(text: &str) -> BTreeMap<String, f64> {
    let body = text.strip_suffix("# EOF\n").unwrap();
    let (mut family, mut all) = (String::new(), BTreeMap::new());
    for line in body.lines() {
        if let Some(declared) = line.strip_prefix("# TYPE ") {
            family = declared.split(' ').next().unwrap().to_owned();
        } else if !line.starts_with("# HELP ") {
            let (name, value) = line.rsplit_once(' ').unwrap();
            assert!(name.starts_with(&family), "{line} is not of {family}");
            assert!(all.insert(name.to_owned(), value.parse().unwrap()).is_none(), "{line} twice");
        }
    }
    all
}

fn figures(test: &Test) -> BTreeMap<String, f64> {
    samples(&test.app.metrics().text().unwrap())
}

/// Those of one family, without its name.
fn of(figures: &BTreeMap<String, f64>, family: &str) -> BTreeMap<String, f64> {
    let rest = |name: &str| Some(name.strip_prefix("proxmox_mcp_")?.strip_prefix(family)?.to_owned());
    figures.iter().filter_map(|(name, value)| Some((rest(name)?, *value))).collect()
}

#[tokio::test(start_paused = true)]
async fn calls_are_counted_by_tool_and_by_how_they_ended() {
    let test = start(options()).await;
    test.call("proxmox-list-nodes", json!({})).await;
    test.call("proxmox-list-nodes", json!({})).await;
    test.fails("proxmox-vm-info", json!({"name": "nobody"})).await;
    test.fails("proxmox-vm-info", json!({"vmid": "x"})).await;
    test.call("proxmox-delete-vm", json!({"name": "web-01", "dry_run": true})).await;
    test.call("proxmox-delete-vm", json!({"name": "web-01"})).await;
    test.fails("proxmox-no-such-tool", json!({})).await;
    let figures = figures(&test);
    let expected = [
        (r#"{tool="proxmox-delete-vm",outcome="needs_confirmation"}"#, 1.0),
        (r#"{tool="proxmox-delete-vm",outcome="planned"}"#, 1.0),
        (r#"{tool="proxmox-list-nodes",outcome="ok"}"#, 2.0),
        (r#"{tool="proxmox-vm-info",outcome="error"}"#, 2.0),
    ];
    assert_eq!(of(&figures, "calls_total"), expected.map(|(name, value)| (name.to_owned(), value)).into());
    let expected = [
        (r#"{tool="proxmox-vm-info",kind="bad_argument"}"#, 1.0),
        (r#"{tool="proxmox-vm-info",kind="not_found"}"#, 1.0),
    ];
    assert_eq!(of(&figures, "call_errors_total"), expected.map(|(name, value)| (name.to_owned(), value)).into());
    assert_eq!(figures[r#"proxmox_mcp_call_duration_seconds_count{tool="proxmox-list-nodes"}"#], 2.0);
    assert_eq!(figures["proxmox_mcp_calls_in_progress"], 0.0);
}

#[tokio::test(start_paused = true)]
async fn requests_to_proxmox_are_counted_as_they_were_sent() {
    let test = start(options()).await;
    test.sent.forget();
    test.call("proxmox-list-nodes", json!({})).await;
    test.call("proxmox-start-vm", json!({"vmid": 107, "wait": true})).await;
    let sent = |method: Method| test.sent.matching(|m, _| *m == method).len() as f64;
    let before = figures(&test);
    let got = of(&before, "upstream_requests_total");
    assert_eq!(got[r#"{cluster="default",method="GET",answer="2xx"}"#], sent(Method::GET));
    assert_eq!(got[r#"{cluster="default",method="POST",answer="2xx"}"#], sent(Method::POST));
    assert_eq!(got.len(), 2, "{got:?}");
    let timed = r#"upstream_request_duration_seconds_count{cluster="default",method="POST"}"#;
    assert_eq!(of(&before, timed)[""], sent(Method::POST));

    test.sandbox.fault(Fault::new(FaultKind::Refuse));
    test.fails("proxmox-list-nodes", json!({})).await;
    let got = of(&figures(&test), "upstream_requests_total");
    assert!(got[r#"{cluster="default",method="GET",answer="never_sent"}"#] >= 1.0, "{got:?}");
}

#[tokio::test(start_paused = true)]
async fn waits_are_counted_while_they_last_and_timed_when_they_are_over() {
    let test = start(options()).await;
    let started = test.call("proxmox-clone-vm", json!({"source_vmid": 9000, "name": "w", "confirm": true})).await;
    assert_eq!(started["state"], "running");
    assert_eq!(of(&figures(&test), "task_waits"), BTreeMap::new());
    let app = std::sync::Arc::clone(&test.app);
    let args = json!({"upid": started["upid"]}).as_object().unwrap().clone();
    let context = proxmox_mcp::call::Context::default();
    let call = proxmox_mcp::call::run(&app, "proxmox-wait-task", args, &context);
    {
        let mut call = std::pin::pin!(call);
        assert!(tokio::time::timeout(std::time::Duration::from_millis(300), &mut call).await.is_err());
        let now = figures(&test);
        assert_eq!(now[r#"proxmox_mcp_task_waits{cluster="default"}"#], 1.0);
        assert_eq!(now["proxmox_mcp_calls_in_progress"], 1.0);
        call.await.unwrap();
    }
    let now = figures(&test);
    assert_eq!(now[r#"proxmox_mcp_task_waits{cluster="default"}"#], 0.0);
    assert_eq!(now[r#"proxmox_mcp_task_wait_duration_seconds_count{cluster="default"}"#], 1.0);
}

#[tokio::test(start_paused = true)]
async fn a_call_that_nobody_waits_for_any_more_has_an_end() {
    let test = start(options()).await;
    test.sandbox.fault(Fault::new(FaultKind::Stall));
    let context = proxmox_mcp::call::Context::default();
    let call = proxmox_mcp::call::run(&test.app, "proxmox-list-nodes", serde_json::Map::new(), &context);
    assert!(tokio::time::timeout(std::time::Duration::from_secs(1), call).await.is_err());
    let now = figures(&test);
    assert_eq!(now[r#"proxmox_mcp_call_errors_total{tool="proxmox-list-nodes",kind="cancelled"}"#], 1.0);
    assert_eq!(now["proxmox_mcp_calls_in_progress"], 0.0);
}

#[tokio::test]
async fn whatever_is_asked_for_over_http_makes_no_new_labels() {
    let server = web::serve().await;
    for path in ["/a", "/b?x=1", "/x/y/z", "/tools/proxmox-nothing", "/livez", "/readyz"] {
        server.http.get(server.at(path)).send().await.unwrap();
    }
    server.http.request("BREW".parse().unwrap(), server.at("/livez")).send().await.unwrap();
    let answer = server.http.get(server.at("/metrics")).send().await.unwrap();
    assert_eq!(answer.headers()["content-type"], "application/openmetrics-text; version=1.0.0; charset=utf-8");
    let figures = samples(&answer.text().await.unwrap());
    let names: BTreeSet<String> = of(&figures, "http_requests_total").into_keys().collect();
    let expected = [
        r#"{route="/livez",method="GET",status="200"}"#,
        r#"{route="/livez",method="other",status="405"}"#,
        r#"{route="/readyz",method="GET",status="200"}"#,
        r#"{route="/tools/{name}",method="GET",status="404"}"#,
        r#"{route="/{name}",method="GET",status="404"}"#,
        r#"{route="none",method="GET",status="404"}"#,
    ];
    assert_eq!(names, expected.map(str::to_owned).into());
    assert_eq!(figures[r#"proxmox_mcp_http_requests_total{route="/{name}",method="GET",status="404"}"#], 2.0);
    assert_eq!(figures[r#"proxmox_mcp_cluster_up{cluster="default"}"#], 1.0);
    assert_eq!(figures["proxmox_mcp_http_requests_in_progress"], 1.0);
}

#[tokio::test]
async fn open_sessions_are_counted_until_they_end() {
    let server = web::serve().await;
    let open = || of(&samples(&server.app.metrics().text().unwrap()), "sessions");
    let hello = json!({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {
        "protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "test", "version": "1"}}});
    let accept = "application/json, text/event-stream";
    let begun = server.http.post(server.at("/mcp")).header("Accept", accept).json(&hello).send().await.unwrap();
    let session = begun.headers()["mcp-session-id"].clone();
    let mut stream = server.http.get(server.at("/mcp")).header("Accept", "text/event-stream").send().await.unwrap();
    assert!(stream.chunk().await.unwrap().unwrap().starts_with(b"event: endpoint"));
    let two = [(r#"{transport="sse"}"#, 1.0), (r#"{transport="streamable"}"#, 1.0)];
    assert_eq!(open(), two.map(|(name, value)| (name.to_owned(), value)).into());
    drop(stream);
    server.http.delete(server.at("/mcp")).header("Mcp-Session-Id", session).send().await.unwrap();
    // That a client has gone is noticed in its own time.
    while open().values().sum::<f64>() > 0.0 {
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
}
