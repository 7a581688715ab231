//! `snapshot_first`: what is taken before something is changed, what is refused where nothing can be, and what becomes of it.
#![expect(clippy::unwrap_used, reason = "tests")]

mod support;

use std::time::Duration;

use serde_json::{Value, json};
use support::{Test, options, start};

async fn snapshots(test: &Test, vmid: u32) -> Vec<Value> {
    let list = test.call("proxmox-list-snapshots", json!({"vmid": vmid})).await;
    list["snapshots"].as_array().unwrap().clone()
}

async fn names(test: &Test, vmid: u32) -> Vec<String> {
    snapshots(test, vmid).await.iter().map(|row| row["name"].as_str().unwrap().to_owned()).collect()
}

fn with(arguments: &Value, key: &str, value: Value) -> Value {
    let mut arguments = arguments.clone();
    arguments[key] = value;
    arguments
}

#[tokio::test(start_paused = true)]
async fn a_guest_is_saved_before_it_is_configured() {
    let test = start(options()).await;
    for (tool, vmid) in [("proxmox-configure-vm", 107), ("proxmox-configure-lxc", 111)] {
        let asked = json!({"vmid": vmid, "params": {"memory": 2048}, "snapshot_first": true});
        let dry = with(&asked, "dry_run", json!(true));
        let (plan, again) = (test.call(tool, dry.clone()).await, test.call(tool, dry).await);
        assert_eq!(plan["requests"], again["requests"], "the same plan, made twice");
        let requests = plan["requests"].as_array().unwrap();
        assert_eq!((requests.len(), &requests[0]["method"]), (2, &json!("POST")), "{plan}");
        assert_eq!(names(&test, vmid).await, Vec::<String>::new());

        // The snapshot changes the digest, and the change is held to the new one.
        let done = test.call(tool, with(&asked, "confirm", json!(true))).await;
        assert_eq!(done["state"], "done", "{done}");
        let name = done["about"]["safety_snapshot"].as_str().unwrap();
        assert_eq!(requests[0]["params"]["snapname"], name);
        assert!(name.starts_with("before-configure-") && name.len() <= 40, "{name}");
        assert_eq!(names(&test, vmid).await, [name]);
        let description = snapshots(&test, vmid).await[0]["description"].clone();
        assert_eq!(description, "proxmox-mcp safety snapshot; expires 2027-01-23");
        assert_eq!(done["undo"], plan["undo"], "{done}");
        let info = if vmid == 107 { "proxmox-vm-info" } else { "proxmox-lxc-info" };
        assert!(test.call(info, json!({"vmid": vmid})).await.to_string().contains("2048"));
    }
}

#[tokio::test(start_paused = true)]
async fn a_digest_that_was_given_still_counts() {
    let test = start(options()).await;
    let asked = |digest: &str| json!({"vmid": 107, "params": {"cores": 3, "digest": digest}, "snapshot_first": true, "confirm": true});
    let words = test.fails("proxmox-configure-vm", asked(&"0".repeat(40))).await;
    assert!(words.contains("has changed since"), "{words}");
    assert!(test.sent.writes().is_empty());
    let plan = test.call("proxmox-configure-vm", json!({"vmid": 107, "params": {"cores": 3}, "dry_run": true})).await;
    let digest = plan["requests"][0]["params"]["digest"].as_str().unwrap();
    assert_eq!(test.call("proxmox-configure-vm", asked(digest)).await["state"], "done");
}

#[tokio::test(start_paused = true)]
async fn what_somebody_else_changes_meanwhile_is_not_overwritten() {
    let test = start(options()).await;
    let asked = json!({"vmid": 102, "params": {"memory": 20480}, "snapshot_first": true, "confirm": true});
    let other = async {
        // While the snapshot is under way.
        while !test.sent.writes().iter().any(|write| write.ends_with("/snapshot")) {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        test.sandbox.by_hand().set(102, "cores", Some("5"));
    };
    let (words, ()) = tokio::join!(test.fails("proxmox-configure-vm", asked), other);
    assert!(words.contains("was changed meanwhile") && words.contains("safety snapshot was taken"), "{words}");
    assert!(!test.call("proxmox-vm-info", json!({"vmid": 102})).await.to_string().contains("20480"));
}

#[tokio::test(start_paused = true)]
async fn where_no_snapshot_is_possible_nothing_is_done() {
    let test = start(options()).await;
    // Raw images on NFS; a template.
    for (tool, vmid, word) in [
        ("proxmox-configure-lxc", 110, "not all that container 110 (redis-01) on pve3 has (nas) takes snapshots"),
        ("proxmox-configure-vm", 9000, "Proxmox takes no snapshots of templates"),
    ] {
        let asked = json!({"vmid": vmid, "params": {"cores": 3}, "snapshot_first": true});
        let plan = test.call(tool, with(&asked, "dry_run", json!(true))).await;
        assert!(plan["problems"].to_string().contains(word), "{plan}");
        let words = test.fails(tool, with(&asked, "confirm", json!(true))).await;
        assert!(words.contains(word), "{words}");
    }
    assert!(test.sent.writes().is_empty());
}

#[tokio::test(start_paused = true)]
async fn going_back_can_itself_be_taken_back() {
    let test = start(options()).await;
    let taken = json!({"vmid": 102, "snapname": "good", "confirm": true});
    test.call("proxmox-create-snapshot", taken).await;
    test.call("proxmox-configure-vm", json!({"vmid": 102, "params": {"name": "renamed"}, "confirm": true})).await;
    let back = json!({"vmid": 102, "snapname": "good", "snapshot_first": true, "start": true, "confirm": true});
    let done = test.call("proxmox-rollback-snapshot", back).await;
    let saved = done["about"]["safety_snapshot"].as_str().unwrap();
    assert_eq!(names(&test, 102).await.iter().filter(|name| *name == saved).count(), 1, "{done}");
    assert_eq!(test.call("proxmox-vm-info", json!({"vmid": 102})).await["config"]["name"], "postgres-01");

    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(done["undo"]["arguments"]["snapname"], saved);
    let undo = with(&done["undo"]["arguments"], "confirm", json!(true));
    test.call(done["undo"]["tool"].as_str().unwrap(), undo).await;
    tokio::time::sleep(Duration::from_secs(60)).await;
    let info = test.call("proxmox-vm-info", json!({"vmid": 102})).await;
    assert_eq!((&info["config"]["name"], &info["status"]), (&json!("renamed"), &json!("running")), "{info}");
}

#[tokio::test(start_paused = true)]
async fn on_zfs_a_new_snapshot_would_be_in_the_way_of_going_back() {
    let test = start(options()).await;
    test.call("proxmox-create-snapshot", json!({"vmid": 103, "snapname": "good", "confirm": true})).await;
    test.sent.forget();
    let back = json!({"vmid": 103, "snapname": "good", "snapshot_first": true, "confirm": true});
    let words = test.fails("proxmox-rollback-snapshot", back).await;
    assert!(words.contains("tank goes back to the newest snapshot only"), "{words}");
    assert!(test.sent.writes().is_empty());
    // To be configured it may have one more.
    let asked = json!({"vmid": 103, "params": {"memory": 4096}, "snapshot_first": true, "confirm": true});
    assert_eq!(test.call("proxmox-configure-vm", asked).await["state"], "done");
}

#[tokio::test(start_paused = true)]
async fn a_guest_is_backed_up_before_a_backup_overwrites_it() {
    let test = start(options()).await;
    test.call("proxmox-stop-vm", json!({"vmid": 100, "wait": true})).await;
    let params = json!({"description": "the state to save"});
    test.call("proxmox-configure-vm", json!({"vmid": 100, "params": params, "confirm": true})).await;
    let over = json!({"vmid": 100, "force": true, "snapshot_first": true, "confirm": true});
    let done = test.call("proxmox-restore-vm", over).await;
    assert_eq!((&done["state"], &done["about"]["safety_backup"]), (&json!("done"), &json!("nas")), "{done}");
    assert_eq!(test.sent.writes().iter().filter(|write| write.ends_with("/vzdump")).count(), 1);
    let notes = async || test.call("proxmox-vm-notes-read", json!({"vmid": 100})).await["notes"].clone();
    assert_ne!(notes().await, "the state to save");
    let backups = test.call("proxmox-list-backups", json!({"vmid": 100})).await;
    let noted = backups["backups"][0]["notes"].as_str().unwrap();
    assert_eq!(noted, "proxmox-mcp safety backup of web-01; expires 2027-01-23");

    let undo = with(&done["undo"]["arguments"], "confirm", json!(true));
    test.call(done["undo"]["tool"].as_str().unwrap(), undo).await;
    assert_eq!(notes().await, "the state to save");
}

#[tokio::test(start_paused = true)]
async fn a_restore_as_a_new_guest_has_nothing_to_save() {
    let test = start(options()).await;
    let beside = json!({"source_vmid": 100, "snapshot_first": true, "dry_run": true});
    let plan = test.call("proxmox-restore-vm", beside).await;
    assert_eq!(plan["requests"].as_array().unwrap().len(), 1);
    assert!(plan["warnings"].to_string().contains("no guest yet"), "{plan}");
}

#[tokio::test(start_paused = true)]
async fn only_safety_snapshots_that_have_expired_are_deleted() {
    let test = start(options()).await;
    let asked = json!({"vmid": 107, "params": {"cores": 3}, "snapshot_first": true, "confirm": true});
    test.call("proxmox-configure-vm", asked).await;
    test.call("proxmox-create-snapshot", json!({"vmid": 107, "snapname": "before-configure-1", "confirm": true})).await;
    let early = test.call("proxmox-delete-expired-snapshots", json!({"confirm": true})).await;
    assert_eq!(early["no_undo"], "nothing changes", "{early}");

    tokio::time::sleep(Duration::from_secs(5 * 86_400)).await;
    let later = json!({"vmid": 111, "params": {"cores": 3}, "snapshot_first": true, "confirm": true});
    test.call("proxmox-configure-lxc", later).await;
    tokio::time::sleep(Duration::from_secs(3 * 86_400)).await;
    test.sent.forget();
    let plan = test.call("proxmox-delete-expired-snapshots", json!({})).await;
    assert_eq!((&plan["state"], plan["requests"].as_array().unwrap().len()), (&json!("needs_confirmation"), 1));
    assert!(plan["summary"].as_str().unwrap().contains("of VM 107"), "{plan}");
    let other = test.call("proxmox-delete-expired-snapshots", json!({"vmid": 111, "confirm": true})).await;
    assert_eq!((&other["no_undo"], test.sent.writes()), (&json!("nothing changes"), vec![]));
    test.call("proxmox-delete-expired-snapshots", json!({"confirm": true})).await;
    assert_eq!(names(&test, 107).await, ["before-configure-1"]);
    assert_eq!(names(&test, 111).await.len(), 1);
}
