//! Several clusters behind one server.
#![expect(clippy::unwrap_used, reason = "tests")]

mod support;

use std::sync::Arc;

use proxmox_mcp::{
    call::{self, App, Cluster, Context},
    config::ClusterConfig,
    embedded::cluster_config,
    pve::Client,
    sandbox::{Fault, FaultKind, Options, Sandbox},
};
use serde_json::{Map, Value, json};

fn cluster(name: &str, nodes: usize) -> (Cluster, Sandbox) {
    let sandbox = Sandbox::new(Options { nodes: Options::numbered_nodes(nodes), ..support::options() });
    let config = ClusterConfig { name: name.to_owned(), ..cluster_config(&sandbox) };
    let client = Client::with_transport(&config, Arc::new(sandbox.clone()));
    (Cluster { name: name.to_owned(), client }, sandbox)
}

/// `home` has one node, `work` three; the second value is `work`'s sandbox.
fn app() -> (App, Sandbox) {
    let ((home, _), (work, sandbox)) = (cluster("home", 1), cluster("work", 3));
    (App::with_clusters(vec![home, work], &support::everything()).unwrap(), sandbox)
}

/// A call that must succeed, with a result that fits the schema for these clusters.
async fn call(app: &App, tool: &str, arguments: Value) -> Value {
    let answer = call::run(app, tool, object(arguments), &Context::default()).await.unwrap();
    let entry = proxmox_mcp::tools::all().find(|entry| entry.name == tool).unwrap();
    support::fits(tool, entry.output_schema_for(&app.names()), &answer.data);
    answer.data
}

async fn fails(app: &App, tool: &str, arguments: Value) -> String {
    call::run(app, tool, object(arguments), &Context::default()).await.unwrap_err().to_string()
}

fn object(arguments: Value) -> Map<String, Value> {
    arguments.as_object().cloned().unwrap_or_default()
}

fn column<'a>(rows: &'a Value, key: &str) -> Vec<&'a Value> {
    rows.as_array().unwrap().iter().map(|row| &row[key]).collect()
}

#[tokio::test(start_paused = true)]
async fn every_tool_takes_the_cluster_and_the_first_is_the_default() {
    let (app, _) = app();
    for (tool, schema) in app.tools() {
        let cluster = schema["properties"].get("cluster").map(|cluster| &cluster["enum"]);
        let wanted = match tool {
            _ if tool.everywhere => None,
            _ if tool.many => Some(json!(["home", "work", "all"])),
            _ => Some(json!(["home", "work"])),
        };
        assert_eq!(cluster, wanted.as_ref(), "{}", tool.name);
    }
    assert_eq!(call(&app, "proxmox-list-nodes", json!({})).await["total"], 1);
    assert_eq!(call(&app, "proxmox-list-nodes", json!({"cluster": "work"})).await["total"], 3);
    let said = fails(&app, "proxmox-list-nodes", json!({"cluster": "nope"})).await;
    assert_eq!(said, "cluster: expected one of home, work, all, got 'nope'");
    let said = fails(&app, "proxmox-vm-info", json!({"cluster": "all", "vmid": 100})).await;
    assert_eq!(said, "cluster: expected one of home, work, got 'all'");
}

#[tokio::test(start_paused = true)]
async fn all_puts_the_rows_of_every_cluster_together_and_names_it_in_each() {
    let (app, _) = app();
    let nodes = call(&app, "proxmox-list-nodes", json!({"cluster": "all"})).await;
    assert_eq!(column(&nodes["nodes"], "cluster"), ["home", "work", "work", "work"]);
    assert_eq!(column(&nodes["nodes"], "node"), ["pve1", "pve1", "pve2", "pve3"]);
    assert_eq!((&nodes["total"], &nodes["online"], nodes.get("failed_clusters")), (&json!(4), &json!(4), None));

    let each = ["home", "work"].map(|name| call(&app, "proxmox-list-vms", json!({"cluster": name})));
    let [home, work] = futures::future::join_all(each).await.try_into().unwrap();
    let all = call(&app, "proxmox-list-vms", json!({"cluster": "all"})).await;
    assert_eq!(all["untrusted"], json!(["vms[].name", "vms[].tags"]), "each is named once");
    let sum = |at: &str| home.pointer(at).unwrap().as_u64().unwrap() + work.pointer(at).unwrap().as_u64().unwrap();
    assert_eq!(all["total"], sum("/total"));
    assert_eq!(all["counts"]["running"], sum("/counts/running"));
    assert_eq!(all["vms"].as_array().unwrap().len() as u64, sum("/total"));
}

#[tokio::test(start_paused = true)]
async fn every_list_takes_all() {
    let (app, _) = app();
    for entry in proxmox_mcp::tools::all().filter(|entry| entry.many) {
        let mut arguments: Value = serde_json::from_str(entry.example.1).unwrap();
        arguments["cluster"] = json!("all");
        let answer = call(&app, entry.name, arguments).await;
        assert_eq!(answer.get("failed_clusters"), None, "{}", entry.name);
    }
}

#[tokio::test(start_paused = true)]
async fn pages_of_all_clusters_have_every_row_once() {
    let (app, _) = app();
    let everything = call(&app, "proxmox-list-vms", json!({"cluster": "all"})).await;
    let mut wanted: Vec<(Value, Value)> = pairs(&everything);
    for limit in [1, 2, 5, 7] {
        let (mut seen, mut cursor, mut pages) = (Vec::new(), Value::Null, 0);
        loop {
            let arguments = json!({"cluster": "all", "limit": limit, "cursor": cursor});
            let page = call(&app, "proxmox-list-vms", arguments).await;
            let rows = pairs(&page);
            assert!(!rows.is_empty() && rows.len() <= limit, "{limit}: {} rows", rows.len());
            seen.extend(rows);
            cursor = page.get("next_cursor").cloned().unwrap_or_default();
            pages += 1;
            assert!(pages < 100);
            if cursor.is_null() {
                break;
            }
        }
        let key = |pair: &(Value, Value)| format!("{} {}", pair.0, pair.1);
        seen.sort_by_key(key);
        wanted.sort_by_key(key);
        assert_eq!(seen, wanted, "limit {limit}");
    }
    let said = fails(&app, "proxmox-list-vms", json!({"cluster": "all", "cursor": "100"})).await;
    assert_eq!(said, "cursor: expected the next_cursor of the page before, got '100'");
}

fn pairs(page: &Value) -> Vec<(Value, Value)> {
    page["vms"].as_array().unwrap().iter().map(|row| (row["cluster"].clone(), row["vmid"].clone())).collect()
}

#[tokio::test(start_paused = true)]
async fn a_cluster_that_does_not_answer_is_named_beside_the_others_rows() {
    let (app, work) = app();
    work.fault(Fault::new(FaultKind::Refuse));
    for tool in ["proxmox-list-nodes", "proxmox-list-all-nodes-from-all-clusters"] {
        let arguments = if tool == "proxmox-list-nodes" { json!({"cluster": "all"}) } else { json!({}) };
        let nodes = call(&app, tool, arguments).await;
        assert_eq!(column(&nodes["nodes"], "cluster"), ["home"]);
        assert_eq!((&nodes["total"], &nodes["failed_clusters"][0]["cluster"]), (&json!(1), &json!("work")));
        assert!(nodes["failed_clusters"][0]["error"].as_str().unwrap().contains("pve1"), "{nodes}");
    }
    // A page goes on where it can, and tries the one that failed again.
    let page = call(&app, "proxmox-list-vms", json!({"cluster": "all", "limit": 4})).await;
    work.clear_faults();
    let next = json!({"cluster": "all", "limit": 4, "cursor": page["next_cursor"]});
    let next = call(&app, "proxmox-list-vms", next).await;
    assert_eq!(column(&page["vms"], "cluster"), ["home", "home"]);
    assert_eq!(column(&next["vms"], "cluster"), ["home", "home", "work", "work"]);
}

#[tokio::test(start_paused = true)]
async fn where_none_answers_it_is_an_error_and_the_same_fault_is_told_once() {
    let ((home, first), (work, second)) = (cluster("home", 1), cluster("work", 1));
    let app = App::with_clusters(vec![home, work], &support::everything()).unwrap();
    first.fault(Fault::new(FaultKind::Refuse));
    second.fault(Fault::new(FaultKind::Status595));
    let said = fails(&app, "proxmox-list-nodes", json!({"cluster": "all"})).await;
    assert!(said.starts_with("no cluster answered: home: ") && said.contains("; work: "), "{said}");
    first.clear_faults();
    second.clear_faults();
    let said = fails(&app, "proxmox-list-vms", json!({"cluster": "all", "node": "nope"})).await;
    assert_eq!(said, "node: no node 'nope' in this cluster");
}

#[tokio::test(start_paused = true)]
async fn with_one_cluster_all_and_its_name_mean_that_one() {
    let app = App::with_clusters(vec![cluster("home", 3).0], &support::everything()).unwrap();
    let plain = call(&app, "proxmox-list-nodes", json!({})).await;
    assert_eq!(call(&app, "proxmox-list-nodes", json!({"cluster": "all"})).await, plain);
    assert_eq!(call(&app, "proxmox-list-nodes", json!({"cluster": "home"})).await, plain);
    assert_eq!(fails(&app, "proxmox-list-nodes", json!({"cluster": "x"})).await, "unknown argument 'cluster'");
    let all = call(&app, "proxmox-list-all-nodes-from-all-clusters", json!({})).await;
    assert_eq!(column(&all["nodes"], "cluster"), ["home"; 3]);
}

#[tokio::test(start_paused = true)]
async fn the_clusters_are_listed_with_what_they_are_and_whether_they_answer() {
    let (app, work) = app();
    let all = call(&app, "proxmox-list-all-clusters", json!({})).await;
    assert_eq!((&all["total"], &all["reachable"]), (&json!(2), &json!(2)));
    assert_eq!(column(&all["clusters"], "cluster"), ["home", "work"]);
    assert_eq!(column(&all["clusters"], "nodes"), [1, 3]);
    assert_eq!(all["clusters"][1]["endpoints"][0], "https://pve1:8006");
    assert_eq!(all["clusters"][1]["version"], "9.2.11");
    work.fault(Fault::new(FaultKind::Refuse));
    let all = call(&app, "proxmox-list-all-clusters", json!({})).await;
    assert_eq!(column(&all["clusters"], "reachable"), [true, false]);
    assert!(all["clusters"][1]["error"].is_string() && all["reachable"] == 1, "{all}");
}

#[tokio::test(start_paused = true)]
async fn the_status_of_all_clusters_names_what_is_wrong() {
    let (app, work) = app();
    let all = call(&app, "proxmox-get-all-cluster-status", json!({})).await;
    assert_eq!((&all["total"], &all["healthy"]), (&json!(2), &json!(2)));
    work.fault(Fault::new(FaultKind::OfflineNode("pve3".to_owned())));
    let all = call(&app, "proxmox-get-all-cluster-status", json!({})).await;
    assert_eq!(all["healthy"], 1);
    let row = &all["clusters"][1];
    assert_eq!((&row["cluster"], &row["quorate"], &row["offline"]), (&json!("work"), &json!(true), &json!(["pve3"])));
    let vms = call(&app, "proxmox-list-all-vms-from-all-clusters", json!({"limit": 6})).await;
    assert_eq!(column(&vms["vms"], "cluster"), ["home", "home", "home", "work", "work", "work"]);
}

#[tokio::test(start_paused = true)]
async fn what_takes_a_call_back_names_its_cluster() {
    let (app, _) = app();
    let tag = json!({"cluster": "work", "vmid": 100, "tags": ["blue"]});
    let tagged = call(&app, "proxmox-tags-add", tag).await;
    assert_eq!(tagged["undo"]["arguments"]["cluster"], "work", "{tagged}");
}
