//! The program over HTTP, from the outside: what every request passes, whatever it is for.
#![expect(clippy::unwrap_used, reason = "tests")]

mod support;

use serde_json::{Value, json};
use support::web::serve;

#[tokio::test]
async fn every_answer_has_the_id_of_its_request() {
    let server = serve().await;
    let given = server.http.get(server.at("/livez")).header("X-Request-Id", "mine-1").send().await.unwrap();
    assert_eq!(given.headers()["x-request-id"], "mine-1");
    let made = server.http.get(server.at("/livez")).send().await.unwrap();
    assert_eq!(made.headers()["x-request-id"].len(), 16);
    let odd = server.http.get(server.at("/livez")).header("X-Request-Id", "a b").send().await.unwrap();
    assert_ne!(odd.headers()["x-request-id"], "a b");
}

#[tokio::test]
async fn mcp_is_spoken_at_both_paths() {
    let server = serve().await;
    for path in ["/mcp", "/proxmox/mcp"] {
        let hello = json!({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {
            "protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "test", "version": "1"}}});
        let request = server.http.post(server.at(path)).json(&hello);
        let answer = request.header("Accept", "application/json, text/event-stream").send().await.unwrap();
        assert!(answer.headers().contains_key("mcp-session-id"), "{path}");
        let text = answer.text().await.unwrap();
        let data = text.lines().filter_map(|line| line.strip_prefix("data:")).find(|data| !data.trim().is_empty());
        let result: Value = serde_json::from_str(data.unwrap()).unwrap();
        assert_eq!(result["result"]["serverInfo"]["name"], "proxmox-mcp", "{path}");
    }
}
