//! Snapshots: taking, listing, deleting, going back, and policies.
#![expect(clippy::unwrap_used, reason = "tests")]

mod support;

use serde_json::{Value, json};
use support::{Test, options, start};

async fn names(test: &Test, vmid: u32) -> Vec<String> {
    let list = test.call("proxmox-list-snapshots", json!({"vmid": vmid})).await;
    list["snapshots"].as_array().unwrap().iter().map(|row| row["name"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test(start_paused = true)]
async fn a_list_tells_times_parents_and_where_the_guest_is() {
    let test = start(options()).await;
    let list = test.call("proxmox-list-snapshots", json!({"name": "web-01"})).await;
    assert_eq!(
        (&list["vmid"], &list["total"], &list["current_parent"]),
        (&json!(100), &json!(1), &json!("before-upgrade"))
    );
    let row = &list["snapshots"][0];
    assert_eq!(row["name"], "before-upgrade");
    assert_eq!(row["description"], "before the system upgrade");
    assert_eq!(row["time"], "2027-01-08T09:20:00Z");
}

#[tokio::test(start_paused = true)]
async fn snapshots_of_vms_and_containers_are_taken_and_deleted() {
    let test = start(options()).await;
    for (vmid, kind) in [(102, "qemu"), (108, "lxc")] {
        let taken = json!({"vmid": vmid, "snapname": "before-work", "description": "a note", "confirm": true});
        let taken = test.call("proxmox-create-snapshot", taken).await;
        assert_eq!((&taken["state"], &taken["exitstatus"]), (&json!("done"), &json!("OK")), "{kind}");
        let list = test.call("proxmox-list-snapshots", json!({"vmid": vmid})).await;
        assert_eq!(list["snapshots"][0]["description"], "a note", "{kind}");
        let gone = json!({"vmid": vmid, "snapname": "before-work", "confirm": true});
        assert_eq!(test.call("proxmox-delete-snapshot", gone).await["state"], "done", "{kind}");
        assert_eq!(names(&test, vmid).await, Vec::<String>::new(), "{kind}");
    }
}

#[tokio::test(start_paused = true)]
async fn without_confirm_and_in_a_dry_run_nothing_is_sent() {
    let test = start(options()).await;
    for (tool, mut arguments) in [
        ("proxmox-create-snapshot", json!({"vmid": 100, "snapname": "s1"})),
        ("proxmox-delete-snapshot", json!({"vmid": 100, "snapname": "before-upgrade"})),
        ("proxmox-rollback-snapshot", json!({"vmid": 100, "snapname": "before-upgrade"})),
        ("proxmox-snapshot-policy", json!({"vmid": 100, "policy": "daily"})),
    ] {
        assert_eq!(test.call(tool, arguments.clone()).await["state"], "needs_confirmation", "{tool}");
        arguments["dry_run"] = json!(true);
        let plan = test.call(tool, arguments).await;
        assert_eq!((&plan["state"], plan["requests"].as_array().unwrap().len()), (&json!("planned"), 1), "{tool}");
    }
    assert!(test.sent.writes().is_empty());
    assert_eq!(names(&test, 100).await, ["before-upgrade"]);
}

#[tokio::test(start_paused = true)]
async fn names_that_proxmox_refuses_are_told_with_the_rule() {
    let test = start(options()).await;
    let long = "a".repeat(41);
    for name in ["", "1st", "x", "a b", "../x", long.as_str()] {
        let words =
            test.fails("proxmox-create-snapshot", json!({"vmid": 100, "snapname": name, "confirm": true})).await;
        assert!(words.contains("2 to 40 letters"), "{name}: {words}");
    }
    for (vmid, name) in [(100, "current"), (100, "pending"), (108, "vzdump")] {
        let words =
            test.fails("proxmox-create-snapshot", json!({"vmid": vmid, "snapname": name, "confirm": true})).await;
        assert!(words.contains("reserved"), "{name}: {words}");
    }
    assert!(test.sent.writes().is_empty());
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_snapshotted_is_a_problem_before_anything_is_sent() {
    let test = start(options()).await;
    let taken = json!({"vmid": 100, "snapname": "before-upgrade", "confirm": true});
    let words = test.fails("proxmox-create-snapshot", taken).await;
    assert!(words.contains("has a snapshot before-upgrade already"), "{words}");
    let plan = test.call("proxmox-create-snapshot", json!({"vmid": 9000, "snapname": "s1", "dry_run": true})).await;
    assert!(plan["problems"][0].as_str().unwrap().contains("is a template"), "{plan}");
    let words = test.fails("proxmox-create-snapshot", json!({"vmid": 108, "snapname": "s1", "vmstate": true})).await;
    assert!(words.contains("vmstate: only VMs have RAM"), "{words}");
    assert!(test.sent.writes().is_empty());
}

#[tokio::test(start_paused = true)]
async fn an_unknown_snapshot_is_answered_with_those_there_are() {
    let test = start(options()).await;
    for tool in ["proxmox-delete-snapshot", "proxmox-rollback-snapshot"] {
        let words = test.fails(tool, json!({"vmid": 100, "snapname": "nosuch", "confirm": true})).await;
        assert!(words.contains("has no snapshot 'nosuch'") && words.contains("it has before-upgrade"), "{words}");
        let words = test.fails(tool, json!({"vmid": 101, "confirm": true})).await;
        assert!(words.contains("snapname: missing") && words.contains("it has none"), "{words}");
    }
}

#[tokio::test(start_paused = true)]
async fn going_back_brings_the_configuration_back_and_starts_where_asked() {
    let test = start(options()).await;
    let back = json!({"vmid": 100, "snapname": "before-upgrade", "confirm": true});
    let done = test.call("proxmox-rollback-snapshot", back).await;
    assert_eq!(done["state"], "done");
    let warnings = done["warnings"].to_string();
    assert!(warnings.contains("is lost") && warnings.contains("stays off"), "{warnings}");
    assert_eq!(test.call("proxmox-vm-info", json!({"vmid": 100})).await["status"], "stopped");
    let back = json!({"vmid": 100, "snapname": "before-upgrade", "start": true, "confirm": true});
    test.call("proxmox-rollback-snapshot", back).await;
    tokio::time::sleep(std::time::Duration::from_secs(30)).await;
    assert_eq!(test.call("proxmox-vm-info", json!({"vmid": 100})).await["status"], "running");
}

#[tokio::test(start_paused = true)]
async fn with_its_ram_a_vm_comes_back_running() {
    let test = start(options()).await;
    let taken = json!({"vmid": 102, "snapname": "live", "vmstate": true, "confirm": true});
    test.call("proxmox-create-snapshot", taken).await;
    let list = test.call("proxmox-list-snapshots", json!({"vmid": 102})).await;
    assert_eq!(list["snapshots"][0]["vmstate"], true);
    test.call("proxmox-rollback-snapshot", json!({"vmid": 102, "snapname": "live", "confirm": true})).await;
    assert_eq!(test.call("proxmox-vm-info", json!({"vmid": 102})).await["status"], "running");
}

#[tokio::test(start_paused = true)]
async fn a_policy_keeps_so_many_of_its_own_and_touches_no_others() {
    let test = start(options()).await;
    let daily = json!({"vmid": 100, "policy": "daily:2", "confirm": true});
    let mut taken = Vec::new();
    for _ in 0..4 {
        let done = test.call("proxmox-snapshot-policy", daily.clone()).await;
        assert_eq!(done["state"], "done", "{done}");
        taken.push(done["about"]["snapname"].as_str().unwrap().to_owned());
        tokio::time::sleep(std::time::Duration::from_secs(86_400)).await;
    }
    assert!(taken[0].starts_with("auto-daily-20270115-0800"), "{taken:?}");
    test.call("proxmox-snapshot-policy", json!({"vmid": 100, "policy": "weekly", "confirm": true})).await;
    let left = names(&test, 100).await;
    assert_eq!(left.len(), 4, "{left:?}");
    assert_eq!(left[..3], ["before-upgrade".to_owned(), taken[2].clone(), taken[3].clone()]);
    assert!(left[3].starts_with("auto-weekly-"), "{left:?}");
    let kept = json!({"vmid": 100, "policy": "daily:1", "auto_cleanup": false, "compression": true, "dry_run": true});
    let plan = test.call("proxmox-snapshot-policy", kept).await;
    assert_eq!(plan["requests"].as_array().unwrap().len(), 1);
    assert!(plan["warnings"].to_string().contains("does not compress"), "{plan}");
}

#[tokio::test(start_paused = true)]
async fn a_policy_that_is_none_is_refused() {
    let test = start(options()).await;
    for policy in ["yearly", "daily:0", "daily:x", ""] {
        let words =
            test.fails("proxmox-snapshot-policy", json!({"vmid": 100, "policy": policy, "confirm": true})).await;
        assert!(words.contains("policy: expected hourly, daily"), "{words}");
    }
    let _: Value = test.call("proxmox-list-snapshots", json!({"vmid": 100})).await;
}
