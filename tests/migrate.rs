//! Moving guests to other nodes: live, with their disks, and what stands in the way.
#![expect(clippy::unwrap_used, reason = "tests")]

mod support;

use serde_json::{Value, json};
use support::{Test, options, start};

async fn node(test: &Test, tool: &str, vmid: u32) -> Value {
    test.call(tool, json!({"vmid": vmid})).await["node"].clone()
}

/// What keeps a migration from being sent, as a dry run tells it.
async fn problems(test: &Test, tool: &str, mut arguments: Value) -> Vec<String> {
    let refused = test.fails(tool, arguments.clone()).await;
    arguments["dry_run"] = json!(true);
    let plan = test.call(tool, arguments).await;
    assert_eq!(test.sent.writes(), Vec::<String>::new());
    let problems: Vec<String> = serde_json::from_value(plan["problems"].clone()).unwrap();
    assert!(problems.iter().all(|problem| refused.contains(problem)), "{refused}\n{problems:?}");
    problems
}

#[tokio::test(start_paused = true)]
async fn a_running_vm_on_shared_storage_moves_live_with_progress() {
    let test = start(options()).await;
    let moved = test.call("proxmox-migrate-vm", json!({"name": "web-02", "target_node": "pve3"})).await;
    assert_eq!((&moved["state"], &moved["exitstatus"]), (&json!("done"), &json!("OK")), "{moved}");
    let info = test.call("proxmox-vm-info", json!({"vmid": 101})).await;
    assert_eq!((&info["node"], &info["status"]), (&json!("pve3"), &json!("running")));
    let seen = test.progress.lock().unwrap().clone();
    assert!(seen.iter().any(|u| u.percent.is_some_and(|p| p > 1.0 && p < 100.0)), "{seen:?}");
}

#[tokio::test(start_paused = true)]
async fn the_plan_of_a_live_migration_says_online_and_that_of_a_stopped_vm_does_not() {
    let test = start(options()).await;
    let plan = test.call("proxmox-migrate-vm", json!({"vmid": 101, "target_node": "pve1", "dry_run": true})).await;
    assert_eq!(plan["requests"][0]["params"], json!({"target": "pve1", "online": "1"}));
    assert_eq!(plan["summary"], "migrate live to pve1: VM 101 (web-02) on pve2");
    let plan = test.call("proxmox-migrate-vm", json!({"vmid": 107, "target_node": "pve1", "dry_run": true})).await;
    assert_eq!(plan["requests"][0]["params"], json!({"target": "pve1"}));
    assert_eq!(plan["warnings"], json!(["copies over the network: scsi0 local-lvm:vm-107-disk-0 (8 GiB)"]));
    assert_eq!(test.sent.writes(), Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn a_running_vm_with_local_disks_moves_only_when_told_to_copy_them() {
    let test = start(options()).await;
    let call = json!({"name": "postgres-01", "target_node": "pve1"});
    assert_eq!(
        problems(&test, "proxmox-migrate-vm", call.clone()).await,
        [
            "VM 102 (postgres-01) on pve2 has disks on local storage: give with_local_disks: true to copy scsi0 local-lvm:vm-102-disk-0 (200 GiB)"
        ]
    );
    let mut call = call;
    call["with_local_disks"] = json!(true);
    let moved = test.call("proxmox-migrate-vm", call).await;
    assert_eq!(moved["exitstatus"], "OK", "{moved}");
    assert_eq!(node(&test, "proxmox-vm-info", 102).await, "pve1");
    let there = json!({"node": "pve1", "storage": "local-lvm", "vmid": 102});
    assert_eq!(test.call("proxmox-storage-content", there).await["total"], 1);
}

#[tokio::test(start_paused = true)]
async fn a_stopped_vm_takes_its_local_disks_along_to_another_storage() {
    let test = start(options()).await;
    let call = json!({"vmid": 107, "target_node": "pve3", "target_storage": "nas"});
    assert_eq!(test.call("proxmox-migrate-vm", call).await["exitstatus"], "OK");
    let info = test.call("proxmox-vm-info", json!({"vmid": 107})).await;
    assert_eq!(info["node"], "pve3");
    assert!(info["config"]["scsi0"].as_str().unwrap().starts_with("nas:107/vm-107-disk-0"), "{info}");
}

#[tokio::test(start_paused = true)]
async fn what_is_bound_to_a_node_keeps_the_vm_there() {
    let test = start(options()).await;
    let hand = test.sandbox.by_hand();
    hand.set(101, "hostpci0", Some("0000:01:00.0"));
    hand.set(101, "ide2", Some("local:iso/debian-12.7.0-amd64-netinst.iso,media=cdrom,size=631M"));
    let found = problems(&test, "proxmox-migrate-vm", json!({"vmid": 101, "target_node": "pve1"})).await;
    assert_eq!(found.len(), 2, "{found:?}");
    assert!(found[0].contains("devices of its node, which cannot move: hostpci0"), "{found:?}");
    assert!(found[1].contains("eject local:iso/debian-12.7.0-amd64-netinst.iso first"), "{found:?}");
}

#[tokio::test(start_paused = true)]
async fn a_node_without_the_guest_s_storage_is_a_problem() {
    let test = start(options()).await;
    test.sandbox.by_hand().storage("san", "rbd", 1 << 40, &[("content", "images"), ("nodes", "pve2,pve3")]);
    test.sandbox.by_hand().set(101, "scsi1", Some("san:vm-101-disk-1,size=8G"));
    let found = problems(&test, "proxmox-migrate-vm", json!({"vmid": 101, "target_node": "pve1"})).await;
    assert_eq!(found, ["pve1 lacks storage san, which VM 101 (web-02) on pve2 uses: give target_storage"]);
}

#[tokio::test(start_paused = true)]
async fn a_missing_or_wrong_target_is_answered_with_the_possible_ones() {
    let test = start(options()).await;
    let said = test.fails("proxmox-migrate-vm", json!({"vmid": 100})).await;
    assert!(said.starts_with("target_node: missing") && said.contains("possible: pve2, pve3"), "{said}");
    let said = test.fails("proxmox-migrate-vm", json!({"vmid": 100, "target_node": "pve1"})).await;
    assert!(said.starts_with("target_node: VM 100 (web-01) on pve1 is there already"), "{said}");
    let said = test.fails("proxmox-migrate-vm", json!({"vmid": 100, "target_node": "pve9"})).await;
    assert!(said.contains("no such cluster node 'pve9'"), "{said}");
}

#[tokio::test(start_paused = true)]
async fn a_running_container_moves_by_a_restart_only() {
    let test = start(options()).await;
    let found = problems(&test, "proxmox-migrate-lxc", json!({"name": "redis-01", "target_node": "pve1"})).await;
    assert!(found[0].contains("give restart: true, or stop it"), "{found:?}");
    let call = json!({"name": "redis-01", "target_node": "pve1", "restart": true});
    assert_eq!(test.call("proxmox-migrate-lxc", call).await["exitstatus"], "OK");
    let info = test.call("proxmox-lxc-info", json!({"vmid": 110})).await;
    assert_eq!((&info["node"], &info["status"]), (&json!("pve1"), &json!("running")));
}

#[tokio::test(start_paused = true)]
async fn a_stopped_container_takes_its_local_volume_along() {
    let test = start(options()).await;
    let plan = json!({"vmid": 111, "target_node": "pve2", "dry_run": true});
    let plan = test.call("proxmox-migrate-lxc", plan).await;
    assert_eq!(plan["requests"][0]["params"], json!({"target": "pve2"}));
    assert_eq!(test.sent.writes(), Vec::<String>::new());
    test.call("proxmox-migrate-lxc", json!({"vmid": 111, "target_node": "pve2"})).await;
    assert_eq!(node(&test, "proxmox-lxc-info", 111).await, "pve2");
}

#[tokio::test(start_paused = true)]
async fn a_migration_that_fails_tells_the_reason_and_the_guest_stays() {
    let test = start(options()).await;
    test.sandbox.by_hand().snapshot(107, "clean");
    let said = test.fails("proxmox-migrate-vm", json!({"vmid": 107, "target_node": "pve1"})).await;
    assert!(said.starts_with("migration aborted") && said.contains("non-migratable snapshot exists"), "{said}");
    let info = test.call("proxmox-vm-info", json!({"vmid": 107})).await;
    assert_eq!((&info["node"], &info["config"]["lock"]), (&json!("pve2"), &Value::Null));
}

/// The task of the request ends long before the guest is where it is to be.
#[tokio::test(start_paused = true)]
async fn a_vm_under_high_availability_is_waited_for_until_it_is_there() {
    let test = start(options()).await;
    test.call("proxmox-ha-set", json!({"name": "web-02", "confirm": true})).await;
    let moved = test.call("proxmox-migrate-vm", json!({"name": "web-02", "target_node": "pve3"})).await;
    assert_eq!(moved["state"], "done", "{moved}");
    assert!(moved["upid"].as_str().unwrap().contains(":hamigrate:101:"), "{moved}");
    assert!(moved["seconds"].as_f64().unwrap() > 10.0, "{moved}");
    let info = test.call("proxmox-vm-info", json!({"vmid": 101})).await;
    assert_eq!((&info["node"], &info["status"]), (&json!("pve3"), &json!("running")));
}

#[tokio::test(start_paused = true)]
async fn a_migration_that_ha_has_only_queued_is_told_so_when_the_time_is_over() {
    let test = start(options()).await;
    test.call("proxmox-ha-set", json!({"name": "web-02", "confirm": true})).await;
    let moved = test.call("proxmox-migrate-vm", json!({"vmid": 101, "target_node": "pve3", "timeout": 5})).await;
    assert_eq!(moved["state"], "running", "{moved}");
    assert_eq!(moved["warnings"], json!(["HA has queued the request; VM 101 (web-02) on pve2 is not on pve3 yet"]));
}
