//! The cluster as a whole, and high availability.
#![expect(clippy::unwrap_used, reason = "tests")]

mod support;

use http::Method;
use serde_json::json;
use support::{options, start};

#[tokio::test(start_paused = true)]
async fn the_overview_counts_nodes_guests_and_storages_in_two_requests() {
    let test = start(options()).await;
    let all = test.call("proxmox-list-infrastructure", json!({})).await;
    assert_eq!(test.sent.count(), 2);
    assert_eq!(
        (&all["total"], &all["online"], &all["quorate"], &all["cluster"]),
        (&json!(3), &json!(3), &json!(true), &json!("sandbox"))
    );
    assert_eq!(all["vms"], json!({"running": 6, "stopped": 2, "template": 2}));
    assert_eq!(all["containers"], json!({"running": 3, "stopped": 1}));
    let storages = all["storages"].as_array().unwrap();
    assert_eq!(storages.iter().filter(|s| s["storage"] == "nas").count(), 1);
    assert_eq!(storages.iter().filter(|s| s["storage"] == "local-lvm").count(), 3);
    assert_eq!(all["nodes"][0]["running"], 3);
}

#[tokio::test(start_paused = true)]
async fn an_offline_node_is_told_and_breaks_nothing() {
    let test = start(options()).await;
    test.sandbox.set_online("pve3", false);
    let all = test.call("proxmox-list-infrastructure", json!({})).await;
    assert_eq!((&all["online"], &all["nodes"][2]["status"]), (&json!(2), &json!("offline")));
    assert!(all["vms"]["unknown"].as_u64().unwrap() > 0, "{all}");
    let status = test.call("proxmox-cluster-status", json!({})).await;
    assert_eq!((&status["quorate"], &status["online"]), (&json!(true), &json!(2)));
    assert_eq!((&status["nodes"][2]["online"], &status["nodes"][2]["ha"]), (&json!(false), &json!("unknown")));
}

#[tokio::test(start_paused = true)]
async fn the_status_tells_quorum_version_addresses_and_maintenance() {
    let test = start(options()).await;
    test.sandbox.by_hand().maintenance("pve2", true);
    let status = test.call("proxmox-cluster-status", json!({})).await;
    assert_eq!(
        (&status["quorate"], &status["version"], &status["ha_master"]),
        (&json!(true), &json!("9.2.11"), &json!("pve1"))
    );
    assert_eq!((&status["nodes"][1]["ip"], &status["nodes"][1]["ha"]), (&json!("10.0.0.12"), &json!("maintenance")));
    let one = proxmox_mcp::sandbox::Options { nodes: vec!["pve".to_owned()], ..options() };
    let alone = start(one).await.call("proxmox-cluster-status", json!({})).await;
    assert_eq!((&alone["quorate"], &alone["total"], alone["cluster"].is_null()), (&json!(true), &json!(1), true));
}

#[tokio::test(start_paused = true)]
async fn a_vmid_is_found_and_looked_up() {
    let test = start(options()).await;
    assert_eq!(test.call("proxmox-next-vmid", json!({})).await, json!({"vmid": 112, "free": true}));
    assert_eq!(test.call("proxmox-next-vmid", json!({"vmid": 100})).await, json!({"vmid": 100, "free": false}));
    assert_eq!(test.call("proxmox-next-vmid", json!({"vmid": 500})).await, json!({"vmid": 500, "free": true}));
    let said = test.fails("proxmox-next-vmid", json!({"vmid": 5})).await;
    assert!(said.contains("from 100"), "{said}");
    assert_eq!(test.call("proxmox-version", json!({})).await["version"], "9.2.11");
}

#[tokio::test(start_paused = true)]
async fn high_availability_is_listed_with_rules_and_states() {
    let test = start(options()).await;
    let ha = test.call("proxmox-list-ha", json!({})).await;
    assert_eq!((&ha["quorate"], &ha["master"], &ha["total"]), (&json!(true), &json!("pve1"), &json!(1)));
    let mail = &ha["resources"][0];
    assert_eq!(
        (&mail["sid"], &mail["wanted"], &mail["state"]),
        (&json!("vm:103"), &json!("ignored"), &json!("ignored"))
    );
    assert_eq!((&ha["rules"][0]["rule"], &ha["rules"][0]["nodes"]), (&json!("mail-at-home"), &json!("pve3:2,pve2:1")));
    assert_eq!(ha["nodes"]["pve1"], "online");
    assert!(test.sent.matching(|_, path| path.ends_with("/groups")).is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_guest_under_high_availability_is_started_and_stopped_by_it() {
    let test = start(options()).await;
    let set = json!({"name": "sandbox-vm", "max_restart": 2, "confirm": true});
    let done = test.call("proxmox-ha-set", set).await;
    assert!(done["warnings"].to_string().contains("HA starts"), "{done}");
    tokio::time::sleep(std::time::Duration::from_secs(30)).await;
    let info = test.call("proxmox-vm-info", json!({"vmid": 107})).await;
    assert_eq!((&info["status"], &info["current"]["ha"]), (&json!("running"), &json!("started")));
    // Others now ask HA.
    let stopped = test.call("proxmox-stop-vm", json!({"vmid": 107, "wait": true})).await;
    assert!(stopped["upid"].as_str().unwrap().contains(":hastop:107:"), "{stopped}");
    assert_eq!(stopped["state"], "done");
    assert_eq!(test.call("proxmox-vm-info", json!({"vmid": 107})).await["status"], "stopped");
    let ha = test.call("proxmox-list-ha", json!({})).await;
    let row = ha["resources"].as_array().unwrap().iter().find(|r| r["sid"] == "vm:107").unwrap();
    assert_eq!((&row["wanted"], &row["state"], &row["max_restart"]), (&json!("stopped"), &json!("stopped"), &json!(2)));
    let started = test.call("proxmox-start-vm", json!({"vmid": 107, "wait": true})).await;
    assert_eq!(started["state"], "done");
    assert_eq!(test.call("proxmox-vm-info", json!({"vmid": 107})).await["status"], "running");
}

#[tokio::test(start_paused = true)]
async fn a_resource_is_changed_with_its_digest_and_removed() {
    let test = start(options()).await;
    let plan = test
        .call("proxmox-ha-set", json!({"name": "mail", "state": "started", "comment": "back", "dry_run": true}))
        .await;
    assert_eq!(plan["requests"][0]["path"], "/cluster/ha/resources/vm%3A103");
    assert!(plan["requests"][0]["params"]["digest"].is_string());
    assert_eq!(plan["changes"][0], json!({"key": "state", "old": "ignored", "new": "started"}));
    assert!(test.sent.writes().is_empty());
    test.call("proxmox-ha-set", json!({"name": "mail", "state": "started", "confirm": true})).await;
    assert_eq!(test.call("proxmox-list-ha", json!({})).await["resources"][0]["state"], "started");
    let same = test.fails("proxmox-ha-set", json!({"name": "mail", "state": "started", "confirm": true})).await;
    assert!(same.starts_with("nothing to change"), "{same}");
    test.call("proxmox-ha-remove", json!({"name": "mail", "confirm": true})).await;
    let ha = test.call("proxmox-list-ha", json!({})).await;
    assert_eq!((&ha["total"], ha["rules"].is_null()), (&json!(0), true));
    assert_eq!(test.call("proxmox-vm-info", json!({"name": "mail"})).await["status"], "running");
    test.sent.forget();
    let said = test.fails("proxmox-ha-remove", json!({"name": "mail", "confirm": true})).await;
    assert!(said.contains("HA does not manage"), "{said}");
    assert!(test.sent.matching(|method, _| *method == Method::DELETE).is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_group_is_refused_in_proxmox_s_words() {
    let test = start(options()).await;
    let said = test.fails("proxmox-ha-set", json!({"vmid": 100, "group": "fast", "confirm": true})).await;
    assert!(said.starts_with("invalid parameter 'group': ha groups have been migrated to rules"), "{said}");
    let asked = test.call("proxmox-ha-set", json!({"vmid": 100})).await;
    assert_eq!(asked["state"], "needs_confirmation");
}
