//! Several clusters behind one server.
#![expect(clippy::unwrap_used, reason = "tests")]

mod support;

use std::sync::Arc;

use proxmox_mcp::{
    call::{self, App, Cluster, Context},
    pve::Client,
    sandbox::{Options, Sandbox},
};
use serde_json::{Map, Value, json};

fn app() -> App {
    let clusters = [("home", 1), ("work", 3)].map(|(name, nodes)| {
        let sandbox = Sandbox::new(Options { nodes: Options::numbered_nodes(nodes), ..support::options() });
        let client = Client::with_transport(&proxmox_mcp::embedded::cluster_config(&sandbox), Arc::new(sandbox));
        Cluster { name: name.to_owned(), client }
    });
    App::with_clusters(clusters.into())
}

async fn nodes(app: &App, arguments: Value) -> Result<Value, String> {
    let arguments = arguments.as_object().cloned().unwrap_or_else(Map::new);
    let answer = call::run(app, "proxmox-list-nodes", arguments, &Context::default()).await;
    answer.map(|answer| answer.data["total"].clone()).map_err(|e| e.to_string())
}

#[tokio::test(start_paused = true)]
async fn every_tool_takes_the_cluster_and_the_first_is_the_default() {
    let app = app();
    for (tool, schema) in app.tools() {
        assert_eq!(schema["properties"]["cluster"]["enum"], json!(["home", "work"]), "{}", tool.name);
    }
    assert_eq!(nodes(&app, json!({})).await, Ok(json!(1)));
    assert_eq!(nodes(&app, json!({"cluster": "work"})).await, Ok(json!(3)));
    let said = nodes(&app, json!({"cluster": "nope"})).await.unwrap_err();
    assert_eq!(said, "cluster: expected one of home, work, got 'nope'");
}
