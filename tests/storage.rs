//! Storages and single volumes.
#![expect(clippy::unwrap_used, reason = "tests")]

mod support;

use proxmox_mcp::{
    config::{Auth, TokenId},
    sandbox::Sandbox,
};
use serde_json::{Value, json};
use support::{Test, options, start};

async fn holds(test: &Test, node: &str, volid: &str) -> bool {
    let storage = volid.split(':').next().unwrap();
    let found = test.call("proxmox-storage-content", json!({"node": node, "storage": storage})).await;
    found["volumes"].as_array().unwrap().iter().any(|volume| volume["volid"] == volid)
}

fn delete(volid: &str) -> Value {
    json!({"volid": volid, "confirm": true})
}

#[tokio::test(start_paused = true)]
async fn a_storage_s_room_and_configuration_are_shown() {
    let test = start(options()).await;
    let nas = test.call("proxmox-storage-status", json!({"storage": "nas"})).await;
    assert_eq!((&nas["type"], &nas["shared"], &nas["active"]), (&json!("nfs"), &json!(true), &json!(true)));
    assert_eq!((&nas["total_gib"], &nas["config"]["server"]), (&json!(8192), &json!("10.0.0.40")));
    let said = test.fails("proxmox-storage-status", json!({"storage": "nosuch"})).await;
    assert!(said.contains("no storage 'nosuch'") && said.contains("local-lvm"), "{said}");
}

#[tokio::test(start_paused = true)]
async fn who_may_not_see_the_configuration_sees_the_rest() {
    let sandbox = Sandbox::new(options());
    let known = sandbox.credentials().clone();
    let id = TokenId { user: known.auditor.clone(), name: "read".to_owned() };
    let config = support::config(&sandbox, Auth::Token { id, secret: known.auditor_token_secret });
    let test = support::with(sandbox, config).await;
    let nas = test.call("proxmox-storage-status", json!({"storage": "nas", "node": "pve1"})).await;
    assert_eq!(nas["total_gib"], 8192.0);
    assert!(nas["config"].is_null() && nas["note"].as_str().unwrap().contains("Datastore.Allocate"), "{nas}");
}

#[tokio::test(start_paused = true)]
async fn a_volume_that_nobody_uses_is_deleted_on_its_node_only() {
    let test = start(options()).await;
    let volid = "local:iso/virtio-win-0.1.262.iso";
    let mut given = delete(volid);
    let said = test.fails("proxmox-delete-volume", given.clone()).await;
    assert!(said.contains("several nodes have a") && said.contains("pve1"), "{said}");
    given["node"] = json!("pve2");
    assert_eq!(test.call("proxmox-delete-volume", given).await["exitstatus"], "OK");
    assert!(!holds(&test, "pve2", volid).await && holds(&test, "pve1", volid).await);
}

#[tokio::test(start_paused = true)]
async fn a_dry_run_tells_what_a_volume_is_and_deletes_nothing() {
    let test = start(options()).await;
    let volid = "nas:iso/ubuntu-24.04.1-live-server-amd64.iso";
    let plan = test.call("proxmox-delete-volume", json!({"volid": volid, "dry_run": true})).await;
    assert_eq!((&plan["state"], &plan["about"]["content"]), (&json!("planned"), &json!("iso")));
    assert!(plan["summary"].as_str().unwrap().contains("2.59 GiB"), "{plan}");
    assert_eq!(test.call("proxmox-delete-volume", json!({"volid": volid})).await["state"], "needs_confirmation");
    assert!(test.sent.writes().is_empty());
}

#[tokio::test(start_paused = true)]
async fn what_a_guest_uses_is_not_deleted() {
    let test = start(options()).await;
    let volid = "nas:iso/ubuntu-24.04.1-live-server-amd64.iso";
    test.sandbox.by_hand().set(100, "ide2", Some(&format!("{volid},media=cdrom")));
    let plan = test.call("proxmox-delete-volume", json!({"volid": volid, "dry_run": true})).await;
    assert!(plan["problems"][0].as_str().unwrap().contains("ide2 of VM 100 (web-01)"), "{plan}");
    for volid in [volid, "nas:100/vm-100-disk-0.qcow2"] {
        let said = test.fails("proxmox-delete-volume", delete(volid)).await;
        assert!(said.contains("is in use: ") && said.contains("of VM 100 (web-01)"), "{said}");
    }
    // Proxmox would delete this one, of a VM that is stopped, without a word.
    let said = test.fails("proxmox-delete-volume", delete("local-lvm:vm-107-disk-0")).await;
    assert!(said.contains("scsi0 of VM 107 (scratch-01)"), "{said}");
    assert!(test.sent.writes().is_empty());
}

#[tokio::test(start_paused = true)]
async fn what_is_not_there_is_an_error_although_proxmox_would_say_ok() {
    let test = start(options()).await;
    for (volid, words) in [
        ("local:iso/nosuch.iso", "no volume local:iso/nosuch.iso on pve1, pve2, pve3"),
        ("nosuch:iso/x.iso", "no storage 'nosuch' is visible"),
        ("debian.iso", "volid: expected storage:name"),
    ] {
        let said = test.fails("proxmox-delete-volume", delete(volid)).await;
        assert!(said.contains(words), "{said}");
    }
    assert!(test.sent.writes().is_empty());
}

#[tokio::test(start_paused = true)]
async fn storages_can_be_listed_of_all_clusters() {
    let list = proxmox_mcp::tools::all().find(|tool| tool.name == "proxmox-list-storage").unwrap();
    assert!(list.many);
}
