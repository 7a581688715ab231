//! Backup jobs: listed, created, run at once, deleted.
#![expect(clippy::unwrap_used, reason = "tests")]

mod support;

use http::Method;
use proxmox_mcp::sandbox::{Fault, FaultKind};
use serde_json::{Value, json};
use support::{Test, options, start};

async fn job(test: &Test, id: &str) -> Value {
    let list = test.call("proxmox-list-backup-jobs", json!({})).await;
    list["jobs"].as_array().unwrap().iter().find(|job| job["id"] == id).cloned().unwrap_or_default()
}

#[tokio::test(start_paused = true)]
async fn a_list_tells_schedules_guests_and_who_is_left_out() {
    let test = start(options()).await;
    let list = test.call("proxmox-list-backup-jobs", json!({})).await;
    assert_eq!(
        list["jobs"][0],
        json!({
            "id": "backup-nightly", "enabled": true, "schedule": "02:30", "next_run": "2027-01-16T02:30:00Z",
            "guests": "pool production", "storage": "nas", "mode": "snapshot", "compress": "zstd",
            "keep": "keep-daily=7,keep-weekly=4", "comment": "production, every night"
        })
    );
    let missing: Vec<&str> =
        list["not_backed_up"].as_array().unwrap().iter().filter_map(|g| g["name"].as_str()).collect();
    assert!(missing.contains(&"grafana") && !missing.contains(&"web-01"), "{missing:?}");
}

#[tokio::test(start_paused = true)]
async fn jobs_are_created_for_all_for_a_pool_and_for_guests() {
    let test = start(options()).await;
    for (asked, guests) in [
        (json!({"all": true, "exclude": [111, 106]}), "all but 111,106"),
        (json!({"pool": "development"}), "pool development"),
        (json!({"vmids": [100, 104]}), "100,104"),
    ] {
        let mut asked = asked;
        asked["storage"] = json!("nas");
        asked["schedule"] = json!("30 22 * * 1-5");
        asked["keep"] = json!("last=3,keep-weekly=4");
        let done = test.call("proxmox-create-backup-job", asked).await;
        assert_eq!(done["state"], "done", "{done}");
        let job = job(&test, done["about"]["id"].as_str().unwrap()).await;
        assert_eq!((&job["guests"], &job["schedule"]), (&json!(guests), &json!("mon..fri 22:30")));
        assert_eq!(
            (&job["keep"], &job["next_run"]),
            (&json!("keep-last=3,keep-weekly=4"), &json!("2027-01-15T22:30:00Z"))
        );
    }
    assert_eq!(job(&test, "backup-nas-3").await["guests"], "100,104");
}

#[tokio::test(start_paused = true)]
async fn a_job_in_a_dry_run_is_not_created() {
    let test = start(options()).await;
    let asked = json!({"storage": "nas", "schedule": "daily", "vmids": [100, 777], "dry_run": true});
    let plan = test.call("proxmox-create-backup-job", asked).await;
    assert_eq!((&plan["state"], &plan["requests"][0]["params"]["vmid"]), (&json!("planned"), &json!("100,777")));
    assert!(plan["warnings"].to_string().contains("no such guests at present: 777"), "{plan}");
    assert!(plan["summary"].as_str().unwrap().ends_with("daily, first at 2027-01-16T00:00:00Z"), "{plan}");
    assert!(test.sent.writes().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_job_that_makes_no_sense_is_refused() {
    let test = start(options()).await;
    for (asked, words) in [
        (json!({"schedule": "daily"}), "give one of vmids, all and pool"),
        (json!({"schedule": "daily", "all": true, "pool": "production"}), "give one of vmids, all and pool"),
        (json!({"schedule": "daily", "pool": "production", "exclude": [100]}), "exclude: goes only with all"),
        (json!({"schedule": "daily", "all": true, "keep": "a lot"}), "keep: expected counts"),
        (json!({"schedule": "0 0 1 1 *", "all": true}), "no simple counterpart"),
        (json!({"schedule": "whenever", "all": true}), "invalid calendar event 'whenever'"),
        (
            json!({"schedule": "daily", "all": true, "id": "backup-nightly"}),
            "there is a backup job backup-nightly already",
        ),
    ] {
        let mut asked = asked;
        asked["storage"] = json!("nas");
        let said = test.fails("proxmox-create-backup-job", asked).await;
        assert!(said.contains(words), "{said}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_job_runs_on_all_its_nodes_at_once() {
    let test = start(options()).await;
    let asked = json!({"id": "backup-nightly", "wait": true, "confirm": true});
    let done = test.call("proxmox-run-backup-job", asked).await;
    assert_eq!((&done["state"], &done["result"]["tasks"].as_array().unwrap().len()), (&json!("done"), &3), "{done}");
    assert_eq!(test.sent.writes(), ["POST /nodes/pve1/vzdump", "POST /nodes/pve2/vzdump", "POST /nodes/pve3/vzdump"]);
    for name in ["web-01", "web-02", "mail", "nginx-proxy"] {
        let list = test.call("proxmox-list-backups", json!({"name": name})).await;
        assert!(list["backups"][0]["time"].as_str().unwrap().starts_with("2027-01-15"), "{name}: {list}");
    }
    let list = test.call("proxmox-list-backups", json!({"name": "grafana"})).await;
    assert_eq!(list["total"], 0);
}

#[tokio::test(start_paused = true)]
async fn a_job_s_fields_are_sent_as_proxmox_writes_them() {
    let test = start(options()).await;
    let plan = test.call("proxmox-run-backup-job", json!({"id": "backup-nightly", "dry_run": true})).await;
    assert_eq!(plan["requests"].as_array().unwrap().len(), 3);
    assert_eq!(
        plan["requests"][0]["params"],
        json!({
            "pool": "production", "storage": "nas", "mode": "snapshot", "compress": "zstd",
            "notes-template": "{{guestname}}", "prune-backups": "keep-daily=7,keep-weekly=4"
        })
    );
    assert!(test.sent.writes().is_empty());
    let asked = json!({"storage": "nas", "schedule": "daily", "vmids": [100, 104, 107, 777]});
    test.call("proxmox-create-backup-job", asked).await;
    let plan = test.call("proxmox-run-backup-job", json!({"id": "backup-nas-1", "dry_run": true})).await;
    let vmids: Vec<&Value> = plan["requests"].as_array().unwrap().iter().map(|r| &r["params"]["vmid"]).collect();
    assert_eq!(vmids, ["100,104", "107"]);
    assert!(plan["warnings"].to_string().contains("these are no more: 777"), "{plan}");
}

#[tokio::test(start_paused = true)]
async fn one_node_that_refuses_does_not_keep_the_others_from_their_backups() {
    let test = start(options()).await;
    test.sandbox.fault(Fault::new(FaultKind::Status595).on(Method::POST, "/nodes/pve1/vzdump"));
    let words =
        test.fails("proxmox-run-backup-job", json!({"id": "backup-nightly", "wait": true, "confirm": true})).await;
    assert!(words.contains("Connection refused"), "{words}");
    assert!(words.contains("done before: POST /nodes/pve2/vzdump (UPID:pve2:"), "{words}");
    assert_eq!(test.call("proxmox-list-backups", json!({"name": "mail"})).await["total"], 1);
}

#[tokio::test(start_paused = true)]
async fn a_job_is_deleted_and_its_backups_stay() {
    let test = start(options()).await;
    assert_eq!(
        test.call("proxmox-delete-backup-job", json!({"id": "backup-nightly"})).await["state"],
        "needs_confirmation"
    );
    let plan = test.call("proxmox-delete-backup-job", json!({"id": "backup-nightly", "dry_run": true})).await;
    assert_eq!(plan["requests"][0]["path"], "/cluster/backup/backup-nightly");
    assert!(test.sent.writes().is_empty());
    test.call("proxmox-delete-backup-job", json!({"id": "backup-nightly", "confirm": true})).await;
    assert_eq!(test.call("proxmox-list-backup-jobs", json!({})).await["total"], 0);
    assert_eq!(test.call("proxmox-list-backups", json!({})).await["total"], 2);
    for tool in ["proxmox-delete-backup-job", "proxmox-run-backup-job"] {
        let words = test.fails(tool, json!({"id": "backup-nightly", "confirm": true})).await;
        assert!(words.contains("no backup job 'backup-nightly'") && words.contains("there is none"), "{words}");
    }
}
