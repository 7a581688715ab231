//! Backups: made, listed, restored, changed, deleted, pruned.
#![expect(clippy::unwrap_used, reason = "tests")]

mod support;

use serde_json::{Value, json};
use support::{Test, options, start};

const OLD: &str = "nas:backup/vzdump-qemu-100-2027_01_07-08_00_00.vma.zst";
const NEW: &str = "nas:backup/vzdump-qemu-100-2027_01_14-08_00_00.vma.zst";

async fn volids(test: &Test, arguments: Value) -> Vec<String> {
    let list = test.call("proxmox-list-backups", arguments).await;
    list["backups"].as_array().unwrap().iter().map(|row| row["volid"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test(start_paused = true)]
async fn backups_are_listed_newest_first_by_guest_and_by_storage() {
    let test = start(options()).await;
    assert_eq!(volids(&test, json!({"name": "web-01"})).await, [NEW, OLD]);
    assert_eq!(volids(&test, json!({"vmid": 101})).await, Vec::<String>::new());
    assert_eq!(volids(&test, json!({"storage": "local"})).await, Vec::<String>::new());
    let page = test.call("proxmox-list-backups", json!({"limit": 1})).await;
    assert_eq!((&page["total"], &page["backups"][0]["volid"]), (&json!(2), &json!(NEW)));
    assert_eq!(volids(&test, json!({"limit": 1, "cursor": page["next_cursor"]})).await, [OLD]);
    let row = &page["backups"][0];
    assert_eq!(
        (&row["type"], &row["time"], &row["notes"]),
        (&json!("qemu"), &json!("2027-01-14T08:00:00Z"), &json!("web-01"))
    );
    let words = test.fails("proxmox-list-backups", json!({"storage": "local-lvm"})).await;
    assert!(words.contains("known: local, nas"), "{words}");
}

#[tokio::test(start_paused = true)]
async fn a_node_that_is_off_hides_only_its_own_storage() {
    let test = start(options()).await;
    test.sandbox.set_online("pve1", false);
    tokio::time::sleep(std::time::Duration::from_secs(60)).await;
    let list = test.call("proxmox-list-backups", json!({})).await;
    assert_eq!(list["total"], 2, "{list}");
    assert!(list["unreadable"].to_string().contains("local on pve1"), "{list}");
}

#[tokio::test(start_paused = true)]
async fn vms_and_containers_are_backed_up_and_the_volume_is_named() {
    let test = start(options()).await;
    for (vmid, name, kind) in [(101, "web-02", "qemu"), (108, "pihole", "lxc")] {
        let done = json!({"vmid": vmid, "storage": "nas", "confirm": true});
        let done = test.call("proxmox-backup-vm", done).await;
        assert_eq!((&done["state"], &done["exitstatus"]), (&json!("done"), &json!("OK")), "{kind}");
        let volid = done["result"]["volid"].as_str().unwrap();
        assert!(volid.starts_with(&format!("nas:backup/vzdump-{kind}-{vmid}-2027")), "{volid}");
        let list = test.call("proxmox-list-backups", json!({"vmid": vmid})).await;
        assert_eq!((&list["backups"][0]["volid"], &list["backups"][0]["notes"]), (&json!(volid), &json!(name)));
        // One that is kept beside: no retention was asked for.
        assert_eq!(volids(&test, json!({"vmid": 100})).await.len(), 2);
    }
}

#[tokio::test(start_paused = true)]
async fn notes_protection_and_compression_are_as_asked() {
    let test = start(options()).await;
    let asked = json!({"vmid": 107, "storage": "local", "compress": "none", "notes": "two\nlines \\ one", "protected": true, "confirm": true});
    let done = test.call("proxmox-backup-vm", asked).await;
    let volid = done["result"]["volid"].as_str().unwrap();
    assert!(volid.ends_with(".vma"), "{volid}");
    let row = test.call("proxmox-list-backups", json!({"vmid": 107})).await["backups"][0].clone();
    assert_eq!(
        (&row["notes"], &row["protected"], &row["node"]),
        (&json!("two\nlines \\ one"), &json!(true), &json!("pve2"))
    );
}

#[tokio::test(start_paused = true)]
async fn a_backup_with_pruning_applies_the_storage_s_retention() {
    let test = start(options()).await;
    for _ in 0..4 {
        test.call("proxmox-backup-vm", json!({"vmid": 107, "storage": "nas", "confirm": true})).await;
        tokio::time::sleep(std::time::Duration::from_secs(3600)).await;
    }
    assert_eq!(volids(&test, json!({"vmid": 107})).await.len(), 4);
    let done = json!({"vmid": 107, "storage": "nas", "prune": true, "confirm": true});
    let done = test.call("proxmox-backup-vm", done).await;
    assert!(done["warnings"].to_string().contains("oldest backups on nas are deleted"), "{done}");
    // keep-last=3, and one week.
    assert_eq!(volids(&test, json!({"vmid": 107})).await.len(), 3);
}

#[tokio::test(start_paused = true)]
async fn where_to_back_up_to_has_to_be_said_where_there_is_a_choice() {
    let test = start(options()).await;
    let words = test.fails("proxmox-backup-vm", json!({"vmid": 101, "confirm": true})).await;
    assert!(words.contains("storage: missing") && words.contains("local, nas"), "{words}");
    let plan =
        test.call("proxmox-backup-vm", json!({"vmid": 101, "storage": "nas", "mode": "stop", "dry_run": true})).await;
    assert!(plan["warnings"].to_string().contains("is shut down for the backup"), "{plan}");
    assert_eq!(plan["requests"][0]["params"]["remove"], "0");
    assert!(test.sent.writes().is_empty());
}

#[tokio::test(start_paused = true)]
async fn the_latest_backup_becomes_a_new_guest_with_new_addresses() {
    let test = start(options()).await;
    let before = test.call("proxmox-vm-info", json!({"vmid": 100})).await;
    let asked = json!({"source_name": "web-01", "name": "web-01-restored", "confirm": true});
    let done = test.call("proxmox-restore-vm", asked).await;
    assert_eq!((&done["state"], &done["about"]["archive"]), (&json!("done"), &json!(NEW)), "{done}");
    assert!(done["warnings"].to_string().contains("new MAC addresses"), "{done}");
    let vmid = done["about"]["vmid"].clone();
    assert_eq!(vmid, 112);
    let after = test.call("proxmox-vm-info", json!({"vmid": vmid})).await;
    assert_eq!((&after["name"], &after["node"]), (&json!("web-01-restored"), &json!("pve1")));
    assert_eq!(after["config"]["cores"], before["config"]["cores"]);
    assert_ne!(after["config"]["net0"], before["config"]["net0"]);
    assert_eq!(test.call("proxmox-vm-info", json!({"vmid": 100})).await["config"], before["config"]);
}

#[tokio::test(start_paused = true)]
async fn an_archive_is_found_by_its_file_name_and_a_time_chooses_an_older_one() {
    let test = start(options()).await;
    let file = OLD.rsplit('/').next().unwrap();
    for asked in
        [json!({"archive": file}), json!({"archive": OLD}), json!({"source_vmid": 100, "before": "2027-01-10"})]
    {
        let mut asked = asked;
        asked["dry_run"] = json!(true);
        let plan = test.call("proxmox-restore-vm", asked).await;
        assert_eq!((&plan["about"]["archive"], &plan["state"]), (&json!(OLD), &json!("planned")));
    }
    for (asked, words) in [
        (json!({"archive": "nosuch.vma.zst"}), "no backup 'nosuch.vma.zst'"),
        (json!({"source_vmid": 101}), "no backup of guest 101"),
        (json!({"source_vmid": 100, "before": "2026-01-01"}), "from before 2026-01-01"),
        (json!({"source_vmid": 100, "before": "yesterday"}), "before: expected a UTC time"),
        (json!({}), "archive: missing"),
        (json!({"archive": OLD, "source_vmid": 100}), "either an archive"),
        (json!({"archive": OLD, "vmid": 50}), "vmid: expected 0"),
    ] {
        let mut asked = asked;
        asked["confirm"] = json!(true);
        let said = test.fails("proxmox-restore-vm", asked).await;
        assert!(said.contains(words), "{said}");
    }
    assert!(test.sent.writes().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_container_is_restored_from_its_backup() {
    let test = start(options()).await;
    let made = test.call("proxmox-backup-vm", json!({"vmid": 108, "storage": "nas", "confirm": true})).await;
    let asked = json!({"archive": made["result"]["volid"], "vmid": 300, "node": "pve3", "storage": "local-lvm", "start": true, "confirm": true});
    let done = test.call("proxmox-restore-vm", asked).await;
    assert_eq!(done["state"], "done", "{done}");
    let restored = test.call("proxmox-lxc-info", json!({"vmid": 300})).await;
    assert_eq!(
        (&restored["name"], &restored["node"], &restored["status"]),
        (&json!("pihole"), &json!("pve3"), &json!("running"))
    );
}

#[tokio::test(start_paused = true)]
async fn a_guest_is_overwritten_only_by_force_and_only_when_it_is_stopped() {
    let test = start(options()).await;
    let plan = test.call("proxmox-restore-vm", json!({"archive": NEW, "vmid": 100, "dry_run": true})).await;
    let problems = plan["problems"].to_string();
    assert!(problems.contains("set force") && problems.contains("is running"), "{plan}");
    let words =
        test.fails("proxmox-restore-vm", json!({"archive": NEW, "vmid": 100, "force": true, "confirm": true})).await;
    assert!(words.contains("is running"), "{words}");
    let words =
        test.fails("proxmox-restore-vm", json!({"archive": NEW, "vmid": 111, "force": true, "confirm": true})).await;
    assert!(words.contains("cannot be overwritten with the backup of a VM"), "{words}");
    assert!(test.sent.writes().is_empty());
    test.call("proxmox-stop-vm", json!({"vmid": 100, "wait": true})).await;
    let done = test.call("proxmox-restore-vm", json!({"vmid": 100, "force": true, "confirm": true})).await;
    assert_eq!((&done["state"], &done["about"]["archive"]), (&json!("done"), &json!(NEW)));
    assert!(done["summary"].as_str().unwrap().starts_with("overwrite VM 100 (web-01)"), "{done}");
    assert_eq!(test.call("proxmox-vm-info", json!({"vmid": 100})).await["name"], "web-01");
}

#[tokio::test(start_paused = true)]
async fn a_protected_backup_is_not_deleted_until_it_is_freed() {
    let test = start(options()).await;
    let asked = json!({"volid": OLD, "protected": true, "notes": "keep this"});
    let done = test.call("proxmox-backup-update", asked).await;
    assert_eq!(
        done["changes"],
        json!([{"key": "notes", "old": "web-01", "new": "keep this"}, {"key": "protected", "old": "false", "new": "true"}])
    );
    let words = test.fails("proxmox-backup-delete", json!({"volid": OLD, "confirm": true})).await;
    assert!(words.contains("is protected"), "{words}");
    let dry = test.call("proxmox-backup-update", json!({"volid": OLD, "protected": false, "dry_run": true})).await;
    assert_eq!(dry["requests"][0]["params"], json!({"protected": "0"}));
    let row = test.call("proxmox-list-backups", json!({"vmid": 100})).await["backups"][1].clone();
    assert_eq!((&row["protected"], &row["notes"]), (&json!(true), &json!("keep this")));
    test.call("proxmox-backup-update", json!({"volid": OLD, "protected": false})).await;
    assert_eq!(test.call("proxmox-backup-delete", json!({"volid": OLD})).await["state"], "needs_confirmation");
    assert_eq!(test.call("proxmox-backup-delete", json!({"volid": OLD, "confirm": true})).await["state"], "done");
    assert_eq!(volids(&test, json!({"vmid": 100})).await, [NEW]);
    for (tool, asked) in [
        ("proxmox-backup-delete", json!({"volid": OLD, "confirm": true})),
        ("proxmox-backup-update", json!({"volid": OLD, "protected": true})),
    ] {
        let words = test.fails(tool, asked).await;
        assert!(words.contains("proxmox-list-backups shows those there are"), "{words}");
    }
    let words = test.fails("proxmox-backup-update", json!({"volid": NEW})).await;
    assert!(words.contains("give notes or protected"), "{words}");
}

#[tokio::test(start_paused = true)]
async fn pruning_tells_beforehand_what_goes_and_then_does_just_that() {
    let test = start(options()).await;
    let asked = json!({"storage": "nas", "keep_last": 1, "dry_run": true});
    let plan = test.call("proxmox-prune-backups", asked).await;
    assert_eq!((&plan["about"]["remove"], &plan["about"]["keep"]), (&json!([OLD]), &json!([NEW])));
    assert!(test.sent.writes().is_empty());
    test.call("proxmox-prune-backups", json!({"storage": "nas", "keep_last": 1, "confirm": true})).await;
    assert_eq!(volids(&test, json!({})).await, [NEW]);
    // Nothing given: as the storage is set.
    let plan = test.call("proxmox-prune-backups", json!({"storage": "nas", "name": "web-01", "dry_run": true})).await;
    assert!(plan["warnings"].to_string().contains("nothing is to be deleted"), "{plan}");
    assert_eq!(plan["requests"][0]["params"], json!({"vmid": "100"}));
}

#[tokio::test(start_paused = true)]
async fn pruning_without_any_rule_or_place_is_refused() {
    let test = start(options()).await;
    for (asked, words) in [
        (json!({"storage": "nas", "keep_last": 0}), "at least one has to be above 0"),
        (json!({"keep_last": 1}), "storage: missing"),
        (json!({"storage": "local", "keep_last": 1}), "node: missing"),
        (json!({"storage": "local", "node": "pve1"}), "no prune-backups options configured"),
        (json!({"storage": "nas", "keep_last": 1, "name": "nobody"}), "no guest is called 'nobody'"),
    ] {
        let mut asked = asked;
        asked["confirm"] = json!(true);
        let said = test.fails("proxmox-prune-backups", asked).await;
        assert!(said.contains(words), "{said}");
    }
    assert!(test.sent.writes().is_empty());
}
