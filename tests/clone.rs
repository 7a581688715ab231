//! Clones and deletions: plan, confirmation, progress, collisions.
#![expect(clippy::unwrap_used, reason = "tests")]

mod support;

use futures::future::join_all;
use http::Method;
use proxmox_mcp::sandbox::{Fault, FaultKind, Options};
use serde_json::{Value, json};
use support::{options, start};

#[tokio::test(start_paused = true)]
async fn without_confirmation_the_plan_comes_back_and_nothing_is_sent() {
    let test = start(options()).await;
    let plan = test.call("proxmox-clone-vm", json!({"source_vmid": 9000, "new_vmid": 500, "name": "x"})).await;
    assert_eq!(plan["state"], "needs_confirmation");
    assert_eq!(plan["requests"][0]["params"], json!({"newid": "500", "name": "x", "full": "1"}));
    assert!(plan["next"].as_str().unwrap().contains("confirm: true"));
    assert!(test.sent.writes().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_clone_takes_the_next_free_vmid_and_is_found_by_its_name_at_once() {
    let test = start(options()).await;
    let clone = test
        .call("proxmox-clone-vm", json!({"source_vmid": 9000, "name": "fresh", "confirm": true, "wait": true}))
        .await;
    assert_eq!(clone["state"], "done", "{clone}");
    assert_eq!(clone["about"]["vmid"], 112);
    let seen = test.progress.lock().unwrap().clone();
    assert!(seen.iter().filter(|u| u.percent.is_some_and(|p| p > 1.0 && p < 100.0)).count() >= 2, "{seen:?}");
    assert!(seen.windows(2).all(|w| w[0].percent < w[1].percent), "{seen:?}");
    let info = test.call("proxmox-vm-info", json!({"name": "fresh"})).await;
    assert_eq!((&info["vmid"], &info["status"]), (&json!(112), &json!("stopped")));
    assert_eq!(test.call("proxmox-start-vm", json!({"name": "fresh", "wait": true})).await["exitstatus"], "OK");
}

#[tokio::test(start_paused = true)]
async fn what_a_dry_run_showed_is_what_is_done() {
    let test = start(options()).await;
    let mut call = json!({"source_vmid": 9000, "name": "x", "dry_run": true});
    let shown = test.call("proxmox-clone-vm", call.clone()).await;
    call["dry_run"] = json!(false);
    let asked = test.call("proxmox-clone-vm", call.clone()).await;
    call["confirm"] = json!(true);
    let done = test.call("proxmox-clone-vm", call).await;
    assert_eq!((&shown["summary"], &shown["about"]), (&asked["summary"], &asked["about"]));
    assert_eq!((&shown["summary"], &shown["about"]), (&done["summary"], &done["about"]));
}

#[tokio::test(start_paused = true)]
async fn clones_made_at_once_get_different_vmids() {
    let test = start(options()).await;
    let clones = join_all((0..5).map(|i| {
        test.call(
            "proxmox-clone-vm",
            json!({"source_vmid": 9000, "name": format!("c{i}"), "confirm": true, "wait": true}),
        )
    }))
    .await;
    let mut vmids: Vec<u64> = clones.iter().map(|c| c["about"]["vmid"].as_u64().unwrap()).collect();
    vmids.sort_unstable();
    vmids.dedup();
    assert_eq!(vmids.len(), 5, "{clones:?}");
    assert!(clones.iter().all(|c| c["state"] == "done"), "{clones:?}");
}

#[tokio::test(start_paused = true)]
async fn a_vmid_that_is_taken_is_refused_in_proxmox_s_words() {
    let test = start(options()).await;
    let words = test.fails("proxmox-clone-vm", json!({"source_vmid": 9000, "new_vmid": 100, "confirm": true})).await;
    assert!(words.contains("100") && words.contains("exist"), "{words}");
}

#[tokio::test(start_paused = true)]
async fn a_linked_clone_with_a_storage_is_refused_before_anything_is_asked() {
    let test = start(options()).await;
    let words = test
        .fails("proxmox-clone-vm", json!({"source_vmid": 9000, "full": false, "storage": "nas", "confirm": true}))
        .await;
    assert!(words.starts_with("storage: not possible for a linked clone"), "{words}");
    assert_eq!(test.sent.count(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_name_that_is_no_dns_name_is_refused_by_proxmox_and_the_field_is_named() {
    let test = start(options()).await;
    let words =
        test.fails("proxmox-clone-vm", json!({"source_vmid": 9000, "name": "no good_name", "confirm": true})).await;
    assert!(words.contains("name: invalid format - value does not look like a valid DNS name"), "{words}");
}

#[tokio::test(start_paused = true)]
async fn a_clone_that_fails_leaves_nothing_and_tells_the_log() {
    let test = start(options()).await;
    test.sandbox.fault(
        Fault::new(FaultKind::TaskFailure("clone failed: no space left on device".to_owned()))
            .on(Method::POST, "/nodes/*/qemu/*/clone"),
    );
    let words =
        test.fails("proxmox-clone-vm", json!({"source_vmid": 9000, "name": "x", "confirm": true, "wait": true})).await;
    assert!(words.starts_with("clone failed: no space left on device"), "{words}");
    assert!(test.fails("proxmox-vm-info", json!({"name": "x"})).await.contains("no VM"));
}

#[tokio::test(start_paused = true)]
async fn a_clone_of_a_snapshot_goes_into_a_pool_with_its_description() {
    let test = start(options()).await;
    let call = json!({"source_vmid": 100, "snapname": "before-upgrade", "name": "old-web", "pool": "development",
        "description": "as it was", "confirm": true, "wait": true});
    assert_eq!(test.call("proxmox-clone-vm", call).await["exitstatus"], "OK");
    let info = test.call("proxmox-vm-info", json!({"vmid": 112})).await;
    assert_eq!(info["config"]["description"], "as it was");
    tokio::time::sleep(std::time::Duration::from_secs(15)).await;
    let listed = test.call("proxmox-list-vms", json!({"pool": "development", "search": "old-web"})).await;
    assert_eq!(listed["total"], 1, "{listed}");
}

#[tokio::test(start_paused = true)]
async fn a_snapshot_that_is_not_there_is_answered_with_those_that_are() {
    let test = start(options()).await;
    let words = test.fails("proxmox-clone-vm", json!({"source_vmid": 100, "snapname": "x", "confirm": true})).await;
    assert!(words.contains("VM 100 (web-01) on pve1 has no snapshot x, only before-upgrade"), "{words}");
    assert!(test.sent.writes().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_clone_for_another_node_needs_shared_storage() {
    let test = start(options()).await;
    let words =
        test.fails("proxmox-clone-vm", json!({"source_vmid": 9001, "target_node": "pve2", "confirm": true})).await;
    let local = "cannot be cloned to pve2: on local storage are ide2 (local-lvm:vm-9001-cloudinit), scsi0 (local-lvm:base-9001-disk-0)";
    assert!(words.contains(local), "{words}");
    assert!(test.sent.writes().is_empty());
    let call = json!({"source_vmid": 9000, "target_node": "pve2", "name": "far", "confirm": true, "wait": true});
    assert_eq!(test.call("proxmox-clone-vm", call).await["exitstatus"], "OK");
    assert_eq!(test.call("proxmox-vm-info", json!({"vmid": 112})).await["node"], "pve2");
}

#[tokio::test(start_paused = true)]
async fn a_stopped_container_is_cloned_and_a_running_one_from_a_snapshot_only() {
    let test = start(options()).await;
    let call = json!({"source_vmid": 111, "hostname": "devbox-2", "confirm": true, "wait": true});
    assert_eq!(test.call("proxmox-clone-lxc", call).await["exitstatus"], "OK");
    assert_eq!(test.call("proxmox-lxc-info", json!({"vmid": 112})).await["config"]["hostname"], "devbox-2");
    test.sent.forget();
    let words = test.fails("proxmox-clone-lxc", json!({"source_vmid": 108, "confirm": true})).await;
    assert!(words.contains("from a snapshot only (snapname)"), "{words}");
    assert!(test.sent.writes().is_empty());
    test.sandbox.by_hand().snapshot(108, "now");
    let call = json!({"source_vmid": 108, "snapname": "now", "confirm": true, "wait": true});
    assert_eq!(test.call("proxmox-clone-lxc", call).await["exitstatus"], "OK");
}

#[tokio::test(start_paused = true)]
async fn a_deletion_needs_confirmation_and_then_the_vm_is_gone() {
    let test = start(options()).await;
    let plan = test.call("proxmox-delete-vm", json!({"vmid": 107})).await;
    assert_eq!(plan["state"], "needs_confirmation");
    assert_eq!(
        plan["requests"][0],
        json!({"method": "DELETE", "path": "/nodes/pve2/qemu/107", "params": {"purge": "1"}})
    );
    let gone = test.call("proxmox-delete-vm", json!({"vmid": 107, "confirm": true, "wait": true})).await;
    assert_eq!(gone["exitstatus"], "OK");
    let words = test.fails("proxmox-vm-info", json!({"vmid": 107})).await;
    assert!(words.contains("107"), "{words}");
}

#[tokio::test(start_paused = true)]
async fn a_running_vm_is_not_deleted() {
    let test = start(options()).await;
    let plan = test.call("proxmox-delete-vm", json!({"vmid": 100, "dry_run": true})).await;
    assert!(plan["problems"][0].as_str().unwrap().contains("running"), "{plan}");
    let words = test.fails("proxmox-delete-vm", json!({"vmid": 100, "confirm": true, "wait": true})).await;
    assert!(words.contains("is running"), "{words}");
}

#[tokio::test(start_paused = true)]
async fn two_guests_of_one_name_are_listed_and_none_is_chosen() {
    let test = start(options()).await;
    test.call("proxmox-clone-vm", json!({"source_vmid": 9000, "name": "web-01", "confirm": true, "wait": true})).await;
    // The statistics daemon needs a while to see it.
    tokio::time::sleep(std::time::Duration::from_secs(15)).await;
    let words = test.fails("proxmox-start-vm", json!({"name": "web-01"})).await;
    for part in ["100", "112", "pve1"] {
        assert!(words.contains(part), "{words}");
    }
    assert_eq!(test.sent.writes().len(), 1);
}

/// What is named after a while must be told from what is running.
#[tokio::test(start_paused = true)]
async fn calls_on_other_guests_are_not_held_up_by_a_request_that_hangs() {
    let test = start(Options { time_scale: 1.0, ..options() }).await;
    test.sandbox.fault(Fault::new(FaultKind::Stall).on(Method::GET, "/nodes/pve1/qemu/100/config"));
    let hung = test.mcp.call("proxmox-vm-info", json!({"vmid": 100}));
    let quick = async {
        let started = tokio::time::Instant::now();
        test.call("proxmox-vm-info", json!({"vmid": 101})).await;
        started.elapsed()
    };
    let (hung, quick): (Result<Value, _>, _) = tokio::join!(hung, quick);
    assert!(quick < std::time::Duration::from_secs(1), "{quick:?}");
    let words = hung.unwrap_err().to_string();
    assert!(words.contains("30 s"), "{words}");
}
