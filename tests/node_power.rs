//! Nodes that are rebooted, shut down and woken, and all guests of a node at once.
#![expect(clippy::unwrap_used, reason = "tests")]

mod support;

use std::time::Duration;

use serde_json::{Value, json};
use support::{Test, options, start};

async fn node(test: &Test, name: &str) -> String {
    let all = test.call("proxmox-list-nodes", json!({})).await;
    let row = all["nodes"].as_array().unwrap().iter().find(|n| n["node"] == name).unwrap().clone();
    row["status"].as_str().unwrap().to_owned()
}

/// The states of guests, by name.
async fn states(test: &Test, node: &str) -> Vec<(String, String)> {
    let mut out = Vec::new();
    for (tool, key) in [("proxmox-list-vms", "vms"), ("proxmox-list-lxc", "containers")] {
        let all = test.call(tool, json!({"node": node, "template": false})).await;
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        out.extend(all[key].as_array().unwrap().iter().map(|g| (text(&g["name"]), text(&g["status"]))));
    }
    out
}

async fn after(seconds: u64) {
    tokio::time::sleep(Duration::from_secs(seconds)).await;
}

#[tokio::test(start_paused = true)]
async fn a_rebooted_node_goes_and_comes_back_with_its_guests() {
    let test = start(options()).await;
    let asked = test.call("proxmox-reboot-node", json!({"node": "pve3"})).await;
    assert_eq!((&asked["state"], &asked["about"]["running_guests"]), (&json!("needs_confirmation"), &json!(3)));
    assert!(asked["warnings"].to_string().contains("mail (103)"), "{asked}");
    assert!(test.sent.writes().is_empty());
    test.call("proxmox-reboot-node", json!({"node": "pve3", "confirm": true})).await;
    assert_eq!(test.sent.writes(), ["POST /nodes/pve3/status"]);
    after(40).await;
    assert_eq!(node(&test, "pve3").await, "offline");
    after(200).await;
    assert_eq!(node(&test, "pve3").await, "online");
    let states = states(&test, "pve3").await;
    let running: Vec<&str> = states.iter().filter(|(_, s)| s == "running").map(|(name, _)| name.as_str()).collect();
    assert_eq!(running, ["mail", "gitlab-runner", "redis-01"], "{states:?}");
}

#[tokio::test(start_paused = true)]
async fn a_node_that_was_shut_down_is_woken() {
    let test = start(options()).await;
    test.call("proxmox-shutdown-node", json!({"node": "pve2", "confirm": true})).await;
    after(300).await;
    assert_eq!(node(&test, "pve2").await, "offline");
    let woken = test.call("proxmox-wake-node", json!({"node": "pve2"})).await;
    assert_eq!(woken["result"]["mac"], "D8:5E:D3:00:00:02");
    after(120).await;
    assert_eq!(node(&test, "pve2").await, "online");
    let said = test.fails("proxmox-wake-node", json!({"node": "pve1"})).await;
    assert!(said.contains("cannot wake my self"), "{said}");
    let said = test.fails("proxmox-shutdown-node", json!({"node": "pve7", "confirm": true})).await;
    assert!(said.contains("no node 'pve7'"), "{said}");
}

#[tokio::test(start_paused = true)]
async fn all_guests_of_a_node_are_stopped_and_those_with_onboot_started_again() {
    let test = start(options()).await;
    let plan = test.call("proxmox-stop-all-guests", json!({"node": "pve1", "dry_run": true})).await;
    assert!(plan["warnings"].to_string().contains("3 guests are shut down: web-01 (100)"), "{plan}");
    assert!(test.sent.writes().is_empty());
    let done = test.call("proxmox-stop-all-guests", json!({"node": "pve1", "confirm": true, "wait": true})).await;
    assert_eq!((&done["state"], &done["exitstatus"]), (&json!("done"), &json!("OK")));
    after(15).await;
    assert!(states(&test, "pve1").await.iter().all(|(_, state)| state == "stopped"));
    let log = test.call("proxmox-task-log", json!({"upid": done["upid"]})).await;
    assert!(log["lines"].to_string().contains("Stopping CT 108 (timeout = 180 seconds)"), "{log}");
    test.call("proxmox-start-all-guests", json!({"node": "pve1", "wait": true})).await;
    after(15).await;
    let states = states(&test, "pve1").await;
    let stopped: Vec<&str> = states.iter().filter(|(_, s)| s == "stopped").map(|(name, _)| name.as_str()).collect();
    assert_eq!(stopped, ["win11-test"], "{states:?}");
}

#[tokio::test(start_paused = true)]
async fn guests_that_are_named_are_started_whatever_their_onboot_says() {
    let test = start(options()).await;
    let plan =
        test.call("proxmox-start-all-guests", json!({"node": "pve1", "vmids": [106, 107], "dry_run": true})).await;
    assert_eq!(plan["requests"][0]["params"], json!({"force": "1", "vms": "106,107"}));
    assert!(plan["warnings"].to_string().contains("not on pve1: 107"), "{plan}");
    test.call("proxmox-start-all-guests", json!({"node": "pve1", "vmids": [106], "wait": true})).await;
    assert_eq!(test.call("proxmox-vm-info", json!({"vmid": 106})).await["status"], "running");
    let stop = json!({"node": "pve1", "vmids": [106], "force_stop": true, "timeout": 5, "confirm": true, "wait": true});
    test.call("proxmox-stop-all-guests", stop).await;
    assert_eq!(test.call("proxmox-vm-info", json!({"vmid": 106})).await["status"], "stopped");
    assert_eq!(test.call("proxmox-vm-info", json!({"vmid": 100})).await["status"], "running");
}
