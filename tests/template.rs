//! Templates, and what locks mean.
#![expect(clippy::unwrap_used, reason = "tests")]

mod support;

use serde_json::json;
use support::{options, start};

#[tokio::test(start_paused = true)]
async fn a_vm_becomes_a_template_that_linked_clones_are_made_of() {
    let test = start(options()).await;
    let made = test.call("proxmox-template-vm", json!({"name": "scratch-01", "confirm": true, "wait": true})).await;
    assert_eq!(made["exitstatus"], "OK", "{made}");
    let config = test.call("proxmox-vm-info", json!({"vmid": 107})).await["config"].clone();
    assert!(config["scsi0"].as_str().unwrap().starts_with("local-lvm:base-107-disk-0"), "{config}");
    let call = json!({"source_vmid": 107, "full": false, "confirm": true, "wait": true});
    assert_eq!(test.call("proxmox-clone-vm", call).await["exitstatus"], "OK");
    let again = test.fails("proxmox-template-vm", json!({"vmid": 107, "confirm": true})).await;
    assert!(again.contains("is a template already") || again.contains("you can't convert a template"), "{again}");
}

#[tokio::test(start_paused = true)]
async fn a_container_becomes_a_template_at_once() {
    let test = start(options()).await;
    let plan = test.call("proxmox-template-lxc", json!({"name": "devbox", "dry_run": true})).await;
    assert_eq!(plan["requests"][0]["path"], "/nodes/pve3/lxc/111/template");
    assert_eq!(test.sent.writes(), Vec::<String>::new());
    let made = test.call("proxmox-template-lxc", json!({"name": "devbox", "confirm": true})).await;
    assert_eq!(made["state"], "done");
    assert_eq!(test.call("proxmox-lxc-info", json!({"vmid": 111})).await["config"]["template"].to_string(), "1");
}

#[tokio::test(start_paused = true)]
async fn a_running_vm_and_one_with_snapshots_are_refused_before_anything_is_sent() {
    let test = start(options()).await;
    let said = test.fails("proxmox-template-vm", json!({"vmid": 100, "confirm": true})).await;
    assert!(said.contains("is running: shut it down first"), "{said}");
    assert!(said.contains("delete before-upgrade first"), "{said}");
    let plan = test.call("proxmox-template-vm", json!({"vmid": 100, "dry_run": true})).await;
    assert_eq!(plan["problems"].as_array().unwrap().len(), 2, "{plan}");
    assert_eq!(test.sent.writes(), Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn a_guest_without_a_lock_is_told_so() {
    let test = start(options()).await;
    let found = test.call("proxmox-explain-lock", json!({"name": "web-01"})).await;
    assert_eq!((&found["locked"], &found["meaning"]), (&json!(false), &json!("not locked")), "{found}");
}

#[tokio::test(start_paused = true)]
async fn a_lock_that_was_left_behind_is_told_with_the_command_that_clears_it() {
    let test = start(options()).await;
    test.sandbox.by_hand().set(101, "lock", Some("backup")).set(110, "lock", Some("mounted"));
    let found = test.call("proxmox-explain-lock", json!({"vmid": 101})).await;
    assert_eq!(found["lock"], "backup");
    assert!(found["next"].as_str().unwrap().contains("`qm unlock 101` as root on pve2"), "{found}");
    let found = test.call("proxmox-explain-lock", json!({"vmid": 110})).await;
    assert!(found["next"].as_str().unwrap().contains("`pct unmount 110` as root on pve3"), "{found}");
    assert_eq!(test.sent.writes(), Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn the_task_that_holds_a_lock_is_named() {
    let test = start(options()).await;
    let clone = json!({"source_vmid": 9000, "new_vmid": 500, "confirm": true});
    let upid = test.call("proxmox-clone-vm", clone).await["upid"].clone();
    let found = test.call("proxmox-explain-lock", json!({"vmid": 500})).await;
    assert_eq!((&found["lock"], &found["tasks"][0]["upid"]), (&json!("clone"), &upid), "{found}");
    assert!(found["next"].as_str().unwrap().contains("proxmox-wait-task"), "{found}");
    let found = test.call("proxmox-explain-lock", json!({"vmid": 9000})).await;
    assert!(found["meaning"].as_str().unwrap().contains("holds its file lock"), "{found}");
}

#[tokio::test(start_paused = true)]
async fn a_guest_that_is_not_there_has_no_lock_to_explain() {
    let test = start(options()).await;
    assert!(test.fails("proxmox-explain-lock", json!({"vmid": 777})).await.contains("no guest has the vmid 777"));
}
