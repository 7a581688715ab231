//! Emptying nodes, bringing guests back, and evening out the load.
#![expect(clippy::unwrap_used, reason = "tests")]

mod support;

use std::collections::BTreeMap;

use serde_json::{Value, json};
use support::{Test, options, start};

const EVACUATE: &str = "proxmox-evacuate-node";

/// VMID → node, of all guests.
async fn placement(test: &Test) -> BTreeMap<u64, String> {
    let mut all = BTreeMap::new();
    for (tool, key) in [("proxmox-list-vms", "vms"), ("proxmox-list-lxc", "containers")] {
        let list = test.call(tool, json!({})).await;
        for row in list[key].as_array().unwrap() {
            all.insert(row["vmid"].as_u64().unwrap(), row["node"].as_str().unwrap().to_owned());
        }
    }
    all
}

async fn on(test: &Test, node: &str) -> Vec<u64> {
    placement(test).await.into_iter().filter(|(_, at)| at == node).map(|(vmid, _)| vmid).collect()
}

/// The row of one guest in a plan or result.
fn row(outcome: &Value, vmid: u32) -> Value {
    let rows = outcome["result"]["guests"].as_array().unwrap();
    rows.iter().find(|row| row["vmid"] == vmid).cloned().unwrap_or_default()
}

async fn plan(test: &Test, mut arguments: Value) -> Value {
    arguments["dry_run"] = json!(true);
    let plan = test.call(EVACUATE, arguments).await;
    assert_eq!(test.sent.writes(), Vec::<String>::new());
    plan
}

async fn refused(test: &Test, arguments: Value, vmid: u32) -> String {
    row(&plan(test, arguments).await, vmid)["refused"].as_str().unwrap_or_default().to_owned()
}

#[tokio::test(start_paused = true)]
async fn a_node_is_emptied_and_one_call_brings_everybody_back() {
    let test = start(options()).await;
    let before = placement(&test).await;
    let unconfirmed = test.call(EVACUATE, json!({"node": "pve2"})).await;
    assert_eq!((&unconfirmed["state"], test.sent.writes().len()), (&json!("needs_confirmation"), 0));
    let done = test.call(EVACUATE, json!({"node": "pve2", "confirm": true})).await;
    assert_eq!((&done["state"], &done["result"]["done"]), (&json!("done"), &json!(4)), "{done}");
    assert_eq!(on(&test, "pve2").await, Vec::<u64>::new());
    for (vmid, how) in [(101, "live"), (102, "live"), (107, "offline"), (109, "restart")] {
        assert_eq!((&row(&done, vmid)["how"], &row(&done, vmid)["state"]), (&json!(how), &json!("done")), "{done}");
    }
    assert_eq!(row(&done, 102)["size"], "16 GiB memory, 200 GiB on local-lvm");
    assert_eq!(done["warnings"], json!(["containers are down while they move: nginx-proxy (about 95 s)"]));
    assert_eq!(done["undo"]["tool"], EVACUATE);
    let mut back = done["undo"]["arguments"].clone();
    assert_eq!(back, json!({"node": "pve2", "back": [101, 102, 107, 109]}));
    back["confirm"] = json!(true);
    let done = test.call(EVACUATE, back).await;
    assert_eq!(placement(&test).await, before, "{done}");
    // They came from two nodes: to send them there again takes a call that names both.
    assert_eq!(done["undo"]["tool"], "proxmox-rebalance");
    let mut again = done["undo"]["arguments"].clone();
    again["confirm"] = json!(true);
    test.call("proxmox-rebalance", again).await;
    assert_eq!(on(&test, "pve2").await, Vec::<u64>::new());
}

#[tokio::test(start_paused = true)]
async fn progress_counts_over_all_guests() {
    let test = start(options()).await;
    test.call(EVACUATE, json!({"node": "pve2", "confirm": true})).await;
    let seen = test.progress.lock().unwrap().clone();
    assert!(seen.iter().any(|u| u.message.contains("of 4: moving postgres-01 to pve1")), "{seen:?}");
    assert!(seen.iter().any(|u| u.percent.is_some_and(|p| p > 1.0 && p < 100.0)), "{seen:?}");
}

#[tokio::test(start_paused = true)]
async fn what_cannot_move_stays_with_a_reason_and_the_rest_moves() {
    let test = start(options()).await;
    let hand = test.sandbox.by_hand();
    hand.set(100, "hostpci0", Some("0000:01:00.0"));
    hand.set(104, "lock", Some("backup"));
    let plan = plan(&test, json!({"node": "pve1"})).await;
    assert_eq!(row(&plan, 100)["refused"], "it uses devices of its node: hostpci0");
    assert_eq!(row(&plan, 104)["refused"], "it is locked (backup)");
    assert_eq!(row(&plan, 9000)["how"], "offline");
    assert!(plan["warnings"].to_string().contains("2 guests stay where they are"), "{plan}");
    let done = test.call(EVACUATE, json!({"node": "pve1", "confirm": true})).await;
    assert_eq!((&done["state"], &done["result"]["refused"]), (&json!("done"), &json!(2)), "{done}");
    assert_eq!(on(&test, "pve1").await, [100, 104]);
}

#[tokio::test(start_paused = true)]
async fn with_all_or_nothing_none_moves_if_one_has_to_stay() {
    let test = start(options()).await;
    let said = test.fails(EVACUATE, json!({"node": "pve3", "all_or_nothing": true, "confirm": true})).await;
    assert!(said.contains("VM 105 (gitlab-runner) stays: it has local:iso/debian"), "{said}");
    assert_eq!(test.sent.writes(), Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn memory_that_targets_keep_free_is_not_promised() {
    let test = start(options()).await;
    // Of 64 GiB each: what runs there now has 16 GiB or less, and postgres-01 alone wants 16.
    let arguments = json!({"node": "pve2", "targets": ["pve3"], "keep_free_percent": 50});
    let why = refused(&test, arguments, 102).await;
    assert!(why.starts_with("no node takes it: pve3: too little memory: it wants 16 GiB, "), "{why}");
    let big = json!({"node": "pve2", "targets": ["pve3"], "keep_free_percent": 10});
    assert_eq!(refused(&test, big, 102).await, "");
}

#[tokio::test(start_paused = true)]
async fn local_disks_need_a_storage_with_room_there() {
    let test = start(options()).await;
    let hand = test.sandbox.by_hand();
    hand.storage("fast", "lvmthin", 500 << 30, &[("content", "images"), ("nodes", "pve2")]);
    hand.storage("ssd", "lvmthin", 2000 << 30, &[("content", "images,rootdir"), ("nodes", "pve1")]);
    hand.set(107, "scsi1", Some("fast:vm-107-disk-1,size=120G"));
    let disk = proxmox_mcp::sandbox::NewVolume {
        volid: "fast:vm-107-disk-1",
        content: "images",
        format: "raw",
        size: 120 << 30,
        used: 1 << 30,
        vmid: Some(107),
    };
    hand.volume("pve2", disk);
    let one = plan(&test, json!({"node": "pve2", "targets": ["pve1"]})).await;
    let size = row(&one, 107)["size"].as_str().unwrap().to_owned();
    assert!(size.contains("120 GiB on fast to ssd") && size.contains("8 GiB on local-lvm"), "{size}");
    let sent = one["requests"].as_array().unwrap().iter().find(|r| r["path"] == "/nodes/pve2/qemu/107/migrate");
    assert_eq!(sent.unwrap()["params"]["targetstorage"], "fast:ssd");
    assert_eq!(one["undo"]["arguments"]["storages"], json!({"107": "ssd:fast"}));
    let arguments = json!({"node": "pve2", "targets": ["pve3"], "with_local_disks": false});
    let why = refused(&test, arguments, 107).await;
    assert_eq!(why, "it has 128 GiB of disks on local storage, and with_local_disks is false");
    let done = test.call(EVACUATE, json!({"node": "pve2", "targets": ["pve1"], "confirm": true})).await;
    let mut back = done["undo"]["arguments"].clone();
    back["confirm"] = json!(true);
    test.call(EVACUATE, back).await;
    let info = test.call("proxmox-vm-info", json!({"vmid": 107})).await;
    assert!(info["config"]["scsi1"].as_str().unwrap().starts_with("fast:vm-107-disk-"), "{info}");
}

#[tokio::test(start_paused = true)]
async fn a_storage_that_is_shared_but_not_there_keeps_the_guest() {
    let test = start(options()).await;
    test.sandbox.by_hand().storage("san", "rbd", 1 << 40, &[("content", "images"), ("nodes", "pve2,pve3")]);
    test.sandbox.by_hand().set(101, "scsi1", Some("san:vm-101-disk-1,size=8G"));
    let both = plan(&test, json!({"node": "pve2"})).await;
    assert_eq!(row(&both, 101)["to"], "pve3", "{both}");
    let arguments = json!({"node": "pve2", "targets": ["pve1"]});
    assert_eq!(refused(&test, arguments, 101).await, "no node takes it: pve1: has no storage san");
}

#[tokio::test(start_paused = true)]
async fn containers_that_may_not_restart_and_snapshots_on_local_disks_stay() {
    let test = start(options()).await;
    test.sandbox.by_hand().snapshot(102, "clean");
    let arguments = json!({"node": "pve2", "allow_restart": false});
    let why = refused(&test, arguments.clone(), 109).await;
    assert_eq!(why, "it is a container that runs and would have to restart, and allow_restart is false");
    let why = refused(&test, arguments, 102).await;
    assert_eq!(why, "it has snapshots, which cannot move with local-lvm:vm-102-disk-0");
}

#[tokio::test(start_paused = true)]
async fn guests_under_ha_are_waited_for_and_its_rules_are_heeded() {
    let test = start(options()).await;
    for name in ["web-01", "web-02", "postgres-01"] {
        test.call("proxmox-ha-set", json!({"name": name, "confirm": true})).await;
    }
    let affinity = [("type", "resource-affinity"), ("affinity", "negative"), ("resources", "vm:100,vm:101")];
    test.sandbox.by_hand().ha_rule("web-apart", &affinity);
    test.sent.forget();
    let plan = plan(&test, json!({"node": "pve2"})).await;
    assert_eq!(row(&plan, 101)["to"], "pve3", "web-01 is on pve1: {plan}");
    let only = json!({"node": "pve2", "targets": ["pve1"]});
    let why = refused(&test, only, 101).await;
    assert_eq!(why, "no node takes it: pve1: HA does not allow it (resource-affinity: vm:100)");
    let done = test.call(EVACUATE, json!({"node": "pve2", "confirm": true})).await;
    assert_eq!(row(&done, 101)["state"], "done", "{done}");
    assert_eq!(on(&test, "pve2").await, Vec::<u64>::new());
    let home = [("type", "node-affinity"), ("nodes", "pve3:2,pve1:1"), ("resources", "vm:101"), ("strict", "0")];
    test.sandbox.by_hand().ha_rule("web-home", &home);
    let stays = test.call(EVACUATE, json!({"node": "pve3", "targets": ["pve2"], "dry_run": true})).await;
    let why = row(&stays, 101)["refused"].clone();
    assert_eq!(why, "no node takes it: pve2: the HA rule web-home would bring it back to pve3");
    assert!(stays["warnings"].to_string().contains("node-maintenance enable"), "{stays}");
}

#[tokio::test(start_paused = true)]
async fn what_ha_keeps_together_goes_together_by_one_request() {
    let test = start(options()).await;
    // HA's manager copies no disks by itself: both are on shared storage.
    test.call("proxmox-migrate-vm", json!({"vmid": 100, "target_node": "pve2"})).await;
    for name in ["web-01", "web-02"] {
        test.call("proxmox-ha-set", json!({"name": name, "confirm": true})).await;
    }
    let affinity = [("type", "resource-affinity"), ("affinity", "positive"), ("resources", "vm:100,vm:101")];
    test.sandbox.by_hand().ha_rule("webs", &affinity);
    test.sent.forget();
    let done = test.call(EVACUATE, json!({"node": "pve2", "parallel": 1, "confirm": true})).await;
    assert_eq!(on(&test, "pve2").await, Vec::<u64>::new(), "{done}");
    assert_eq!(row(&done, 100)["to"], row(&done, 101)["to"]);
    let sent = test.sent.matching(|method, path| *method != http::Method::GET && path.contains("/qemu/10"));
    assert_eq!(sent.iter().filter(|path| path.contains("/qemu/100/") || path.contains("/qemu/101/")).count(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_move_that_fails_leaves_the_others_moved() {
    let test = start(options()).await;
    let broken = proxmox_mcp::sandbox::FaultKind::TaskFailure("connection reset".to_owned());
    test.sandbox.fault(proxmox_mcp::sandbox::Fault::new(broken).on(http::Method::POST, "/nodes/pve2/qemu/101/migrate"));
    let said = test.fails(EVACUATE, json!({"node": "pve2", "confirm": true})).await;
    assert!(said.contains("connection reset") && said.contains("of 4: 3 done, 1 failed"), "{said}");
    assert_eq!(on(&test, "pve2").await, [101]);
}

#[tokio::test(start_paused = true)]
async fn no_more_than_asked_for_go_to_the_same_node_at_once() {
    let mut seconds = Vec::new();
    for per_target in [1, 3] {
        let test = start(options()).await;
        let arguments =
            json!({"node": "pve2", "targets": ["pve1"], "parallel": 4, "per_target": per_target, "confirm": true});
        seconds.push(test.call(EVACUATE, arguments).await["seconds"].as_f64().unwrap());
    }
    // One after the other, the small ones wait for the big one.
    assert!(seconds[0] > seconds[1] + 20.0, "{seconds:?}");
}

#[tokio::test(start_paused = true)]
async fn what_the_operator_forbids_is_no_target() {
    let sandbox = proxmox_mcp::sandbox::Sandbox::new(options());
    let config = proxmox_mcp::embedded::cluster_config(&sandbox);
    let mut safety = support::everything();
    safety.policy.nodes = proxmox_mcp::policy::rules::Names::parse("pve2,pve3").unwrap();
    let test = support::guarded(sandbox, config, safety).await;
    let said = test.fails(EVACUATE, json!({"node": "pve2", "confirm": true})).await;
    assert!(said.contains("node pve1 is not among PROXMOX_ALLOW_NODES"), "{said}");
    let done = test.call(EVACUATE, json!({"node": "pve2", "targets": ["pve3"], "confirm": true})).await;
    assert_eq!(done["state"], "done");
}

#[tokio::test(start_paused = true)]
async fn wrong_nodes_and_guests_are_named() {
    let test = start(options()).await;
    let said = test.fails(EVACUATE, json!({"node": "pve9"})).await;
    assert!(said.contains("node: no node 'pve9'") && said.contains("known: pve1, pve2, pve3"), "{said}");
    let said = test.fails(EVACUATE, json!({"node": "pve1", "targets": ["pve7"]})).await;
    assert!(said.contains("targets: no node 'pve7'"), "{said}");
    let said = test.fails(EVACUATE, json!({"node": "pve1", "back": [4711]})).await;
    assert!(said.contains("back: there is no guest 4711"), "{said}");
    let said = test.fails("proxmox-rebalance", json!({"place": {"web": "pve1"}})).await;
    assert!(said.contains("place: expected a VMID, got 'web'"), "{said}");
    let said = test.fails(EVACUATE, json!({"node": "pve1", "storages": {"100": "tank"}})).await;
    assert!(said.contains("storages: expected from:to for guest 100, got 'tank'"), "{said}");
}

#[tokio::test(start_paused = true)]
async fn load_is_evened_out_only_when_confirmed_and_taken_back_by_one_call() {
    let test = start(options()).await;
    let before = placement(&test).await;
    let arguments = json!({"tolerance_percent": 3, "with_local_disks": true, "max_moves": 2});
    let proposal = test.call("proxmox-rebalance", arguments.clone()).await;
    assert_eq!((&proposal["state"], test.sent.writes().len()), (&json!("needs_confirmation"), 0), "{proposal}");
    let nodes = proposal["about"]["nodes"].as_array().unwrap();
    let spread = |key: &str| {
        let of = |row: &Value| row[key].as_f64().unwrap();
        nodes.iter().map(of).fold(f64::MIN, f64::max) - nodes.iter().map(of).fold(f64::MAX, f64::min)
    };
    assert!(spread("percent_after") < spread("percent_used"), "{proposal}");
    let mut arguments = arguments;
    arguments["confirm"] = json!(true);
    let done = test.call("proxmox-rebalance", arguments).await;
    assert!(done["result"]["guests"].as_array().unwrap().iter().all(|row| row["how"] == "live"), "{done}");
    assert_ne!(placement(&test).await, before);
    let mut back = done["undo"]["arguments"].clone();
    back["confirm"] = json!(true);
    test.call(done["undo"]["tool"].as_str().unwrap(), back).await;
    assert_eq!(placement(&test).await, before);
}
