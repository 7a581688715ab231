//! Replication: set up, listed, run at once, deleted.
#![expect(clippy::unwrap_used, reason = "tests")]

mod support;

use std::time::Duration;

use serde_json::{Value, json};
use support::{Test, options, start};

async fn job(test: &Test, id: &str) -> Value {
    let list = test.call("proxmox-list-replication", json!({})).await;
    list["jobs"].as_array().unwrap().iter().find(|job| job["id"] == id).cloned().unwrap_or_default()
}

#[tokio::test(start_paused = true)]
async fn a_list_tells_how_each_job_is_doing() {
    let test = start(options()).await;
    assert_eq!(
        job(&test, "103-0").await,
        json!({
            "id": "103-0", "vmid": 103, "name": "mail", "source": "pve3", "target": "pve1", "schedule": "*/15",
            "state": "running", "last_sync": "2027-01-15T07:45:00Z", "next_sync": "2027-01-15T08:15:00Z",
            "duration_s": 4.5
        })
    );
    tokio::time::sleep(Duration::from_secs(20)).await;
    let job = job(&test, "103-0").await;
    assert_eq!((&job["state"], &job["last_sync"]), (&json!("ok"), &json!("2027-01-15T08:00:00Z")));
}

#[tokio::test(start_paused = true)]
async fn a_source_that_is_off_makes_its_jobs_unknown_and_nothing_fail() {
    let test = start(options()).await;
    test.sandbox.set_online("pve3", false);
    let list = test.call("proxmox-list-replication", json!({})).await;
    assert_eq!((&list["total"], &list["jobs"][0]["state"]), (&json!(1), &json!("unknown")));
    assert!(list["unreadable"][0].as_str().unwrap().starts_with("pve3: "), "{list}");
}

#[tokio::test(start_paused = true)]
async fn a_guest_on_zfs_is_replicated_and_a_cron_line_is_translated() {
    let test = start(options()).await;
    let asked = json!({"name": "mail", "source_storage": "tank", "target_node": "pve2", "target_storage": "tank",
        "schedule": "*/30 * * * *", "compression": true});
    let mut dry = asked.clone();
    dry["dry_run"] = json!(true);
    let plan = test.call("proxmox-setup-replication", dry).await;
    assert_eq!(
        plan["requests"][0]["params"],
        json!({"id": "103-1", "type": "local", "target": "pve2", "schedule": "*/30"})
    );
    assert!(plan["warnings"].to_string().contains("compression: nothing to set"), "{plan}");
    assert!(test.sent.writes().is_empty());
    assert_eq!(test.call("proxmox-setup-replication", asked).await["state"], "done");
    assert_eq!(job(&test, "103-1").await["target"], "pve2");
    tokio::time::sleep(Duration::from_secs(90)).await;
    assert_eq!(job(&test, "103-1").await["state"], "ok");
}

#[tokio::test(start_paused = true)]
async fn a_storage_s_guests_are_replicated_but_those_that_cannot_be() {
    let test = start(options()).await;
    let done = json!({"source_storage": "tank", "target_node": "pve2", "target_storage": "tank"});
    let done = test.call("proxmox-setup-replication", done).await;
    assert_eq!((&done["about"]["vmids"], &done["about"]["schedule"]), (&json!([103]), &json!("*/15")));
    let words = test.fails("proxmox-setup-replication", json!({"source_storage": "tank", "target_node": "pve1"})).await;
    assert!(words.contains("no guest on tank") && words.contains("replicated to pve1 already"), "{words}");
    let words =
        test.fails("proxmox-setup-replication", json!({"source_storage": "local-lvm", "target_node": "pve3"})).await;
    assert!(words.contains("only ZFS storages can replicate"), "{words}");
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_replicated_is_told_before_anything_is_sent() {
    let test = start(options()).await;
    for (asked, words) in [
        (json!({"vmid": 102, "target_node": "pve3"}), "only ZFS storages can replicate, and local-lvm:vm-102-disk-0"),
        (json!({"vmid": 100, "target_node": "pve3"}), "has no volumes to replicate"),
        (json!({"vmid": 103, "target_node": "pve3"}), "is on pve3 already"),
        (json!({"vmid": 103, "target_node": "pve1"}), "is replicated to pve1 already"),
        (json!({"vmid": 103, "target_node": "pve9"}), "no node 'pve9'"),
        (json!({"target_node": "pve1"}), "give vmid, name or source_storage"),
        (json!({"source_storage": "nosuch", "target_node": "pve1"}), "no storage 'nosuch'"),
        (
            json!({"source_storage": "tank", "target_node": "pve2", "target_storage": "nas"}),
            "target_storage: expected 'tank'",
        ),
        (json!({"vmid": 103, "target_node": "pve2", "schedule": "0 0 1 1 *"}), "schedule: the cron line"),
    ] {
        let said = test.fails("proxmox-setup-replication", asked).await;
        assert!(said.contains(words), "{said}");
    }
    assert!(test.sent.writes().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_job_is_run_when_asked() {
    let test = start(options()).await;
    tokio::time::sleep(Duration::from_secs(100)).await;
    let plan = test.call("proxmox-replicate-now", json!({"id": "103-0", "dry_run": true})).await;
    assert_eq!(plan["requests"][0]["path"], "/nodes/pve3/replication/103-0/schedule_now");
    assert!(test.sent.writes().is_empty());
    assert_eq!(test.call("proxmox-replicate-now", json!({"name": "mail"})).await["state"], "done");
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(job(&test, "103-0").await["last_sync"], "2027-01-15T08:02:00Z");
    for (asked, words) in [
        (json!({"id": "103-7"}), "known: 103-0"),
        (json!({"vmid": 100}), "is not replicated"),
        (json!({}), "give id, vmid or name"),
    ] {
        let said = test.fails("proxmox-replicate-now", asked).await;
        assert!(said.contains(words), "{said}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_job_is_deleted_in_the_background_or_at_once() {
    let test = start(options()).await;
    assert_eq!(test.call("proxmox-delete-replication", json!({"id": "103-0"})).await["state"], "needs_confirmation");
    let plan = test.call("proxmox-delete-replication", json!({"vmid": 103, "keep": true, "dry_run": true})).await;
    assert!(plan["summary"].as_str().unwrap().contains("the copies on pve1 stay"), "{plan}");
    assert!(test.sent.writes().is_empty());
    test.call("proxmox-delete-replication", json!({"vmid": 103, "confirm": true})).await;
    assert_eq!(job(&test, "103-0").await["state"], "being removed");
    tokio::time::sleep(Duration::from_secs(70)).await;
    assert_eq!(test.call("proxmox-list-replication", json!({})).await["total"], 0);
    test.call("proxmox-setup-replication", json!({"vmid": 103, "target_node": "pve2"})).await;
    test.call("proxmox-setup-replication", json!({"vmid": 103, "target_node": "pve1"})).await;
    let words = test.fails("proxmox-delete-replication", json!({"vmid": 103, "confirm": true})).await;
    assert!(words.contains("one of 103-0, 103-1"), "{words}");
    test.call("proxmox-delete-replication", json!({"id": "103-1", "force": true, "confirm": true})).await;
    assert_eq!(test.call("proxmox-list-replication", json!({})).await["total"], 1);
    let words = test
        .fails("proxmox-delete-replication", json!({"id": "103-0", "keep": true, "force": true, "confirm": true}))
        .await;
    assert!(words.contains("keep: goes not with force"), "{words}");
}
