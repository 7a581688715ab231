//! Deleting guests: what goes with them, and what keeps them.
#![expect(clippy::unwrap_used, reason = "tests")]

mod support;

use serde_json::{Value, json};
use support::{Test, options, start};

async fn problems(test: &Test, tool: &str, vmid: u32) -> String {
    let plan = test.call(tool, json!({"vmid": vmid, "dry_run": true})).await;
    let refused = test.fails(tool, json!({"vmid": vmid, "confirm": true, "wait": true})).await;
    assert_eq!(test.sent.writes(), Vec::<String>::new());
    let problem = plan["problems"][0].as_str().unwrap().to_owned();
    assert!(refused.contains(&problem), "{refused}");
    problem
}

#[tokio::test(start_paused = true)]
async fn the_plan_names_what_is_lost() {
    let test = start(options()).await;
    let hand = test.sandbox.by_hand();
    hand.snapshot(107, "clean").set(107, "unused0", Some("local-lvm:vm-107-disk-9"));
    let plan = test.call("proxmox-delete-vm", json!({"vmid": 107})).await;
    assert_eq!(plan["state"], "needs_confirmation");
    assert_eq!(
        plan["warnings"],
        json!([
            "lost with it: scsi0 local-lvm:vm-107-disk-0 (8G), unused0 local-lvm:vm-107-disk-9, its snapshots (the last is clean)"
        ])
    );
    assert_eq!(test.sent.writes(), Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn protected_locked_and_running_vms_stay() {
    let test = start(options()).await;
    test.sandbox.by_hand().set(107, "protection", Some("1"));
    assert!(problems(&test, "proxmox-delete-vm", 107).await.contains("is protected"));
    test.sandbox.by_hand().set(107, "protection", None).set(107, "lock", Some("backup"));
    assert!(problems(&test, "proxmox-delete-vm", 107).await.contains("is locked (backup): proxmox-explain-lock"));
    assert!(problems(&test, "proxmox-delete-vm", 100).await.contains("is running"));
}

#[tokio::test(start_paused = true)]
async fn a_vm_that_was_just_stopped_can_be_deleted_at_once() {
    let test = start(options()).await;
    test.call("proxmox-stop-vm", json!({"vmid": 104, "wait": true})).await;
    let gone = test.call("proxmox-delete-vm", json!({"vmid": 104, "confirm": true, "wait": true})).await;
    assert_eq!(gone["exitstatus"], "OK");
    assert!(test.fails("proxmox-vm-info", json!({"vmid": 104})).await.contains("no VM"));
}

#[tokio::test(start_paused = true)]
async fn a_stopped_container_is_deleted_and_a_running_one_by_force() {
    let test = start(options()).await;
    let gone = test.call("proxmox-delete-lxc", json!({"name": "devbox", "confirm": true, "wait": true})).await;
    assert_eq!(gone["exitstatus"], "OK");
    test.sent.forget();
    assert!(problems(&test, "proxmox-delete-lxc", 108).await.contains("is running"));
    let forced = json!({"vmid": 108, "purge": false, "force": true, "dry_run": true});
    let plan = test.call("proxmox-delete-lxc", forced.clone()).await;
    assert_eq!((&plan["requests"][0]["params"], &plan["problems"]), (&json!({"force": "1"}), &Value::Null));
    let mut forced = forced;
    (forced["dry_run"], forced["confirm"], forced["wait"]) = (json!(false), json!(true), json!(true));
    assert_eq!(test.call("proxmox-delete-lxc", forced).await["exitstatus"], "OK");
    assert!(test.fails("proxmox-lxc-info", json!({"vmid": 108})).await.contains("no container"));
}

#[tokio::test(start_paused = true)]
async fn a_vm_is_not_deleted_by_the_tool_for_containers() {
    let test = start(options()).await;
    let said = test.fails("proxmox-delete-lxc", json!({"vmid": 107, "confirm": true})).await;
    assert!(said.contains("107 (scratch-01) is a VM, not a container"), "{said}");
    assert_eq!(test.sent.writes(), Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn a_template_with_linked_clones_stays_and_the_base_is_named() {
    let test = start(options()).await;
    test.call("proxmox-clone-vm", json!({"source_vmid": 9000, "full": false, "confirm": true, "wait": true})).await;
    let said = test.fails("proxmox-delete-vm", json!({"vmid": 9000, "confirm": true, "wait": true})).await;
    assert!(said.contains("is still in use by linked cloned"), "{said}");
}
