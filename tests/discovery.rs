//! Nodes, guests, storages, bridges: what an agent sees first.
#![expect(clippy::unwrap_used, reason = "tests")]

mod support;

use proxmox_mcp::sandbox::{Fault, FaultKind, Options, Sandbox};
use serde_json::json;
use support::{config, options, start, with};

#[tokio::test(start_paused = true)]
async fn nodes_are_listed_in_one_request() {
    let test = start(options()).await;
    let nodes = test.call("proxmox-list-nodes", json!({})).await;
    assert_eq!((nodes["total"].as_u64(), nodes["online"].as_u64()), (Some(3), Some(3)));
    assert_eq!(nodes["nodes"][0]["node"], "pve1");
    assert!(nodes["nodes"][0]["maxmem_mib"].as_u64().unwrap() > 1000);
    assert_eq!(test.sent.count(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_offline_node_fails_no_listing() {
    let test = start(options()).await;
    test.sandbox.fault(Fault::new(FaultKind::OfflineNode("pve2".to_owned())));
    let nodes = test.call("proxmox-list-nodes", json!({})).await;
    assert_eq!(nodes["nodes"][1]["status"], "offline");
    assert_eq!(test.call("proxmox-list-vms", json!({})).await["total"], 10);
    assert!(test.call("proxmox-list-storage", json!({})).await["total"].as_u64().unwrap() >= 3);
    let words = test.fails("proxmox-node-status", json!({"node": "pve2"})).await;
    assert!(words.contains("595") && words.contains("offline"), "{words}");
}

#[tokio::test(start_paused = true)]
async fn a_node_is_described_and_must_be_named_where_there_is_a_choice() {
    let test = start(options()).await;
    let node = test.call("proxmox-node-status", json!({"node": "pve1"})).await;
    assert!(node["pve_version"].as_str().unwrap().starts_with("pve-manager/9"));
    assert_eq!(node["loadavg"].as_array().unwrap().len(), 3);
    let words = test.fails("proxmox-node-status", json!({})).await;
    assert!(words.starts_with("node: missing") && words.contains("pve1, pve2, pve3"), "{words}");
    let words = test.fails("proxmox-node-status", json!({"node": "pve9"})).await;
    assert!(words.contains("hostname lookup 'pve9' failed"), "{words}");
}

#[tokio::test(start_paused = true)]
async fn the_only_node_need_not_be_named() {
    let test = start(Options { nodes: vec!["pve".to_owned()], ..options() }).await;
    assert_eq!(test.call("proxmox-node-status", json!({})).await["node"], "pve");
    assert_eq!(test.call("proxmox-list-bridges", json!({})).await["bridges"][0]["bridge"], "vmbr0");
}

#[tokio::test(start_paused = true)]
async fn vms_and_containers_are_told_apart_and_filtered() {
    let test = start(options()).await;
    let vms = test.call("proxmox-list-vms", json!({})).await;
    assert_eq!(vms["total"], 10);
    assert_eq!(vms["counts"], json!({"running": 6, "stopped": 2, "template": 2}));
    let containers = test.call("proxmox-list-lxc", json!({})).await;
    assert_eq!(containers["total"], 4);
    assert_eq!(containers["containers"][0]["name"], "pihole");
    for (filter, count) in [
        (json!({"status": "running"}), 6),
        (json!({"search": "WEB"}), 2),
        (json!({"search": "web", "node": "pve2"}), 1),
        (json!({"tag": "windows"}), 1),
        (json!({"pool": "production"}), 4),
        (json!({"template": true}), 2),
        (json!({"status": "paused"}), 0),
    ] {
        assert_eq!(test.call("proxmox-list-vms", filter.clone()).await["total"], count, "{filter}");
    }
    let words = test.fails("proxmox-list-vms", json!({"node": "pve7"})).await;
    assert!(words.contains("no node 'pve7'") && words.contains("pve1, pve2, pve3"), "{words}");
}

#[tokio::test(start_paused = true)]
async fn ten_thousand_guests_come_in_pages_of_a_hundred() {
    let test = start(Options { guests: 10_000, ..options() }).await;
    let first = test.call("proxmox-list-vms", json!({})).await;
    let rows = first["vms"].as_array().unwrap();
    assert_eq!(rows.len(), 100);
    let total = first["total"].as_u64().unwrap();
    assert_eq!(first["counts"].as_object().unwrap().values().map(|n| n.as_u64().unwrap()).sum::<u64>(), total);
    let (mut seen, mut page) = (rows.len() as u64, first);
    while let Some(cursor) = page["next_cursor"].as_str() {
        let last = page["vms"].as_array().unwrap().last().unwrap()["vmid"].as_u64();
        page = test.call("proxmox-list-vms", json!({"cursor": cursor, "limit": 1000})).await;
        assert!(page["vms"][0]["vmid"].as_u64() > last);
        seen += page["vms"].as_array().unwrap().len() as u64;
    }
    assert_eq!(seen, total);
    assert_eq!(test.sent.count(), 1, "pages that follow one another share one answer of Proxmox");
}

#[tokio::test(start_paused = true)]
async fn a_guest_is_found_by_vmid_and_by_name_and_kinds_are_never_mixed_up() {
    let test = start(options()).await;
    let by_name = test.call("proxmox-vm-info", json!({"name": "web-01"})).await;
    assert_eq!(by_name["vmid"], 100);
    assert_eq!(by_name["config"]["name"], "web-01");
    assert_eq!(by_name["config"]["memory"], "4096", "as Proxmox has it");
    assert_eq!(test.call("proxmox-vm-info", json!({"vmid": "100"})).await["name"], "web-01");
    let container = test.call("proxmox-lxc-info", json!({"name": "pihole"})).await;
    assert_eq!((&container["vmid"], &container["config"]["memory"]), (&json!(108), &json!(512)));
    let words = test.fails("proxmox-vm-info", json!({"vmid": 108})).await;
    assert!(words.contains("container"), "{words}");
    let words = test.fails("proxmox-lxc-info", json!({"name": "web-01"})).await;
    assert!(words.contains("VM"), "{words}");
}

#[tokio::test(start_paused = true)]
async fn a_shared_storage_is_one_row_and_its_content_is_found_without_a_node() {
    let test = start(options()).await;
    let storages = test.call("proxmox-list-storage", json!({})).await;
    let rows = storages["storages"].as_array().unwrap();
    let shared: Vec<_> = rows.iter().filter(|r| r["shared"] == true).collect();
    assert!(shared.iter().all(|r| r["nodes"].as_array().unwrap().len() == 3), "{shared:?}");
    let content = test.call("proxmox-storage-content", json!({"storage": "nas"})).await;
    assert!(content["counts"]["images"].as_u64().unwrap() >= 2, "{content}");
    let only = test.call("proxmox-storage-content", json!({"storage": "nas", "content": "images", "vmid": 100})).await;
    assert_eq!(only["volumes"][0]["vmid"], 100);
    // Of all storages, local ones say where they are.
    let all = test.call("proxmox-storage-content", json!({"storage": "*", "content": "iso", "limit": 3})).await;
    assert!(all["total"].as_u64().unwrap() > 3 && all["next_cursor"].is_string(), "{all}");
    assert!(all["volumes"][0]["node"].is_string(), "{all}");
    let rest = json!({"storage": "*", "content": "iso", "cursor": all["next_cursor"]});
    let rest = test.call("proxmox-storage-content", rest).await;
    assert_eq!(rest["volumes"].as_array().unwrap().len() as u64 + 3, all["total"].as_u64().unwrap());
    let words = test.fails("proxmox-storage-content", json!({})).await;
    assert!(words.starts_with("storage: missing") && words.contains("nas"), "{words}");
    let words = test.fails("proxmox-storage-content", json!({"storage": "nope"})).await;
    assert!(words.contains("no storage 'nope'") && words.contains("nas"), "{words}");
}

#[tokio::test(start_paused = true)]
async fn a_token_without_rights_sees_an_empty_cluster_and_is_told_why() {
    let sandbox = Sandbox::new(options());
    let root = start_as_root_makes_token(&sandbox).await;
    let test = with(sandbox, root).await;
    let vms = test.call("proxmox-list-vms", json!({})).await;
    assert_eq!(vms["total"], 0);
    assert!(vms["note"].as_str().unwrap().contains("VM.Audit"), "{vms}");
    assert_eq!(test.call("proxmox-list-nodes", json!({})).await["total"], 3);
    let words = test.fails("proxmox-vm-info", json!({"vmid": 100})).await;
    assert!(words.contains("VM.Audit"), "{words}");
}

/// A privilege-separated token of root's, as the web interface makes them: without any rights.
async fn start_as_root_makes_token(sandbox: &Sandbox) -> proxmox_mcp::config::ClusterConfig {
    use proxmox_mcp::{
        policy::{Effect, Facts, Policy},
        pve::{Client, Request},
    };
    let client =
        Client::with_transport(&proxmox_mcp::embedded::cluster_config(sandbox), std::sync::Arc::new(sandbox.clone()));
    let request = Request::post("/access/users/root@pam/token/fresh").param("privsep", 1);
    let approved = Policy::default().approve(Effect::Write, &[request], &Facts::default()).unwrap();
    let made = client.execute(&approved[0]).await.unwrap();
    config(
        sandbox,
        proxmox_mcp::config::Auth::Token {
            id: proxmox_mcp::config::TokenId { user: "root@pam".to_owned(), name: "fresh".to_owned() },
            secret: made["value"].as_str().unwrap().to_owned().into(),
        },
    )
}
