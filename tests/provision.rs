//! Whole VMs in one call: from templates and images, one or many, again, and gone again.
#![expect(clippy::unwrap_used, reason = "tests")]

mod support;

use http::Method;
use proxmox_mcp::sandbox::{Fault, FaultKind, Sandbox};
use serde_json::json;
use support::{options, settled, start};

const IMAGE: &str = "https://cloud-images.ubuntu.com/noble/current/noble-server-cloudimg-amd64.img";
const SUM: &str = "00000000000000000000000000000000000000000000000000000000000000ff";

fn same(before: &str, sandbox: &Sandbox) {
    let after = settled(sandbox);
    let differ = before.lines().zip(after.lines()).find(|(a, b)| a != b);
    assert!(before == after, "{differ:?}");
}

#[tokio::test(start_paused = true)]
async fn a_dry_run_shows_where_the_machines_go_and_what_would_take_them_back() {
    let test = start(options()).await;
    let call = json!({
        "name": "web01", "template": "debian-12", "cores": 4, "memory_mb": 4096, "disk_gb": 20, "disks": ["nas:8G"],
        "networks": [{"bridge": "vmbr1", "vlan": 30}], "user": "ops", "ip": ["10.0.0.40-10.0.0.49/24"],
        "gateway": "10.0.0.1", "ha": true, "run": ["uname -r"], "dry_run": true,
    });
    let plan = test.call("proxmox-provision-vm", call).await;
    assert!(test.sent.writes().is_empty());
    let requests: Vec<String> = plan["requests"]
        .as_array()
        .unwrap()
        .iter()
        .map(|r| format!("{} {}", r["method"].as_str().unwrap(), r["path"].as_str().unwrap()))
        .collect();
    let (node, at) = (plan["requests"][1]["path"].as_str().unwrap().split('/').nth(2).unwrap(), "qemu/112");
    assert_eq!(
        requests[..6],
        [
            "POST /nodes/pve1/qemu/9000/clone".to_owned(),
            format!("POST /nodes/{node}/{at}/config"),
            format!("PUT /nodes/{node}/{at}/resize"),
            format!("POST /nodes/{node}/{at}/status/start"),
            "POST /cluster/ha/resources".to_owned(),
            format!("POST /nodes/{node}/{at}/agent/exec"),
        ]
    );
    assert_eq!(
        plan["requests"][1]["params"],
        json!({
            "cores": "4", "memory": "4096", "ciuser": "ops", "ipconfig0": "ip=10.0.0.40/24,gw=10.0.0.1",
            "net0": "virtio,bridge=vmbr1,tag=30", "scsi1": "nas:8,discard=on",
        })
    );
    let back: Vec<&str> =
        plan["rollback"].as_array().unwrap().iter().take(3).map(|r| r["path"].as_str().unwrap()).collect();
    let gone = format!("/nodes/{node}/{at}");
    assert_eq!(back, ["/cluster/ha/resources/vm%3A112", format!("{gone}/status/stop").as_str(), gone.as_str()]);
    assert!(plan["checked"].to_string().contains("memory not given to guests"), "{plan}");
}

#[tokio::test(start_paused = true)]
async fn machines_are_ready_when_the_call_ends_and_gone_when_it_is_undone() {
    let test = start(options()).await;
    let before = settled(&test.sandbox);
    let call = json!({
        "name": "web{01..03}", "template": "9000", "disk_gb": 10, "user": "ops", "ip": ["10.0.0.40-10.0.0.49/24"],
        "gateway": "10.0.0.1", "tags": ["web"], "pool": "development", "run": ["uname -r"], "confirm": true,
    });
    let done = test.call("proxmox-provision-vm", call).await;
    assert_eq!(done["state"], "done", "{done}");
    let machines = done["result"]["machines"].as_array().unwrap();
    assert_eq!(machines.len(), 3);
    for (i, machine) in machines.iter().enumerate() {
        let address = format!("10.0.0.{}", 40 + i);
        assert_eq!((&machine["state"], &machine["address"]), (&json!("done"), &json!(address)), "{machine}");
        assert_eq!((&machine["ran"][0]["command"], &machine["ran"][0]["exit_code"]), (&json!("uname -r"), &json!(0)));
        assert_eq!(machine["ansible"], format!("web0{} ansible_host={address} ansible_user=ops", i + 1));
        assert_eq!(machine["undo"]["tool"], "proxmox-delete-vm");
    }
    let undo = &done["undo"];
    assert_eq!(undo["tool"], "proxmox-deprovision");
    let mut arguments = undo["arguments"].clone();
    arguments["confirm"] = json!(true);
    test.call("proxmox-deprovision", arguments).await;
    same(&before, &test.sandbox);
}

#[tokio::test(start_paused = true)]
async fn a_command_that_fails_takes_the_machine_back() {
    let test = start(options()).await;
    let before = settled(&test.sandbox);
    let call = json!({"name": "web01", "template": "9000", "run": ["uname -r", "false"], "confirm": true});
    let said = test.fails("proxmox-provision-vm", call).await;
    assert!(said.contains("`false` ended with exit code 1") && said.contains("was taken back: web01"), "{said}");
    same(&before, &test.sandbox);
}

#[tokio::test(start_paused = true)]
async fn an_image_is_downloaded_once_for_all_machines_and_used_again() {
    let test = start(options()).await;
    let mut call = json!({
        "name": "ubuntu{1..2}", "image_url": IMAGE, "checksum": format!("sha256:{SUM}"), "node": "pve1",
        "storage": "local-lvm", "disk_gb": 20, "ssh_keys": ["ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAICWBFD79BkRJbzud0NCHkaPMJ8MZpOmPbR6v8vh3qDQ+ me"],
        "confirm": true,
    });
    let done = test.call("proxmox-provision-vm", call.clone()).await;
    assert_eq!(done["result"]["machines"].as_array().unwrap().len(), 2, "{done}");
    assert_eq!(done["result"]["others"].as_array().unwrap().len(), 1, "{done}");
    let downloads = |all: &[String]| all.iter().filter(|write| write.ends_with("/download-url")).count();
    assert_eq!(downloads(&test.sent.writes()), 1);
    let info = test.call("proxmox-vm-info", json!({"name": "ubuntu1"})).await;
    assert_eq!(info["status"], "running");
    assert!(info.to_string().contains("size=20G"), "{info}");
    call["name"] = json!("ubuntu3");
    test.call("proxmox-provision-vm", call).await;
    assert_eq!(downloads(&test.sent.writes()), 1);
}

#[tokio::test(start_paused = true)]
async fn what_was_downloaded_goes_again_where_something_fails() {
    let test = start(options()).await;
    let before = settled(&test.sandbox);
    let call = json!({"name": "ubuntu", "image_url": IMAGE, "node": "pve1", "storage": "local-lvm", "confirm": true});
    let mut wrong = call.clone();
    wrong["checksum"] = json!("0".repeat(64));
    let said = test.fails("proxmox-provision-vm", wrong).await;
    assert!(said.contains("checksum mismatch"), "{said}");
    same(&before, &test.sandbox);
    let fault = Fault::new(FaultKind::TaskFailure("no bootable device".to_owned()));
    test.sandbox.fault(fault.on(Method::POST, "/nodes/*/qemu/*/status/start").times(1));
    let said = test.fails("proxmox-provision-vm", call.clone()).await;
    assert!(said.contains("no bootable device"), "{said}");
    same(&before, &test.sandbox);
    let mut shown = call;
    shown["dry_run"] = json!(true);
    let shown = test.call("proxmox-provision-vm", shown).await;
    assert!(shown["warnings"].to_string().contains("no checksum"), "{shown}");
}

#[tokio::test(start_paused = true)]
async fn a_template_on_local_disks_decides_the_node_and_says_so() {
    let test = start(options()).await;
    let plan = test.call("proxmox-provision-vm", json!({"name": "u", "template": "9001", "dry_run": true})).await;
    assert!(plan["summary"].as_str().unwrap().contains("pve1"), "{plan}");
    assert!(plan["checked"].to_string().contains("local-lvm"), "{plan}");
    let said = test
        .fails("proxmox-provision-vm", json!({"name": "u", "template": "9001", "node": "pve2", "dry_run": true}))
        .await;
    assert!(said.contains("node: pve2 is not possible") && said.contains("local storage"), "{said}");
}

#[tokio::test(start_paused = true)]
async fn a_machine_that_exists_is_named_and_nothing_is_sent() {
    let test = start(options()).await;
    let said =
        test.fails("proxmox-provision-vm", json!({"name": "web-{01..03}", "template": "9000", "confirm": true})).await;
    assert!(said.contains("web-01") && said.contains("if_exists: reconcile"), "{said}");
    assert!(test.sent.writes().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_machine_that_exists_is_changed_only_where_it_differs() {
    let test = start(options()).await;
    let mut call = json!({
        "name": "web{01..02}", "template": "9000", "cores": 1, "disk_gb": 10, "disks": ["2G"], "user": "ops",
        "ip": ["10.0.0.40-10.0.0.49/24"], "gateway": "10.0.0.1", "tags": ["web", "b"], "pool": "development",
        "description": "two lines\nof text", "networks": ["vmbr0"], "ha": true, "if_exists": "reconcile", "confirm": true,
    });
    test.call("proxmox-provision-vm", call.clone()).await;
    test.sent.forget();
    let again = test.call("proxmox-provision-vm", call.clone()).await;
    assert_eq!(test.sent.writes(), Vec::<String>::new(), "{again}");
    assert!(again["summary"].as_str().unwrap().starts_with("leave as it is web01"), "{again}");
    assert_eq!(again["result"]["machines"][0]["unchanged"], true, "{again}");
    assert_eq!(again["result"]["machines"][1]["address"], "10.0.0.41", "{again}");
    call["cores"] = json!(2);
    call["disk_gb"] = json!(5);
    call["name"] = json!("web{01..03}");
    let changed = test.call("proxmox-provision-vm", call.clone()).await;
    assert!(changed["warnings"].to_string().contains("does not make disks smaller"), "{changed}");
    let keys: Vec<&str> = changed["changes"].as_array().unwrap().iter().map(|c| c["key"].as_str().unwrap()).collect();
    assert_eq!(keys, ["web01: cores", "web02: cores"]);
    let configured =
        |all: &[String]| all.iter().filter(|write| write.starts_with("PUT") && write.ends_with("/config")).count();
    assert_eq!(configured(&test.sent.writes()), 2);
    // What fails for one is put back for all, also for those that were only changed.
    let before = settled(&test.sandbox);
    let fault = Fault::new(FaultKind::TaskFailure("no bootable device".to_owned()));
    test.sandbox.fault(fault.on(Method::POST, "/nodes/*/qemu/*/status/start").times(1));
    call["cores"] = json!(4);
    call["tags"] = json!([]);
    call["description"] = json!("another");
    call["name"] = json!("web{01..04}");
    let said = test.fails("proxmox-provision-vm", call).await;
    assert!(said.contains("no bootable device") && said.contains("taken back"), "{said}");
    same(&before, &test.sandbox);
}

#[tokio::test(start_paused = true)]
async fn guests_of_both_kinds_are_deleted_whole() {
    let test = start(options()).await;
    test.call("proxmox-ha-set", json!({"name": "web-02", "confirm": true})).await;
    let done = test.call("proxmox-deprovision", json!({"vmids": [101, 111, 108], "confirm": true})).await;
    assert_eq!(done["result"]["done"], 3, "{done}");
    let left = test.sandbox.snapshot();
    for volume in ["vm-101-disk-0", "vm-111-disk-0", "vm-108-disk-0", "\"vm:101\""] {
        assert!(!left.contains(volume), "{volume} is left");
    }
    test.sandbox.by_hand().set(105, "protection", Some("1"));
    let said = test.fails("proxmox-deprovision", json!({"vmids": [105, 106], "confirm": true})).await;
    assert!(said.contains("protected"), "{said}");
    assert!(test.sandbox.snapshot().contains("vm-106-disk-0"));
}

#[tokio::test(start_paused = true)]
async fn bad_arguments_are_named() {
    let test = start(options()).await;
    for (arguments, words) in [
        (json!({"name": "a"}), "give template or image_url"),
        (json!({"name": "a", "template": "9000", "image_url": IMAGE}), "give template or image_url"),
        (json!({"name": "a{", "template": "9000"}), "name:"),
        (json!({"name": "a", "template": "9000", "disks": ["x"]}), "disks: expected whole GiB"),
        (json!({"name": "a", "template": "9000", "networks": [{"vlan": 5000}]}), "vlan"),
        (json!({"name": "a", "template": "9000", "networks": [{"bridg": "x"}]}), "networks: unknown field"),
        (json!({"name": "a", "template": "9000", "ip": ["10.0.0.5"]}), "ip:"),
        (json!({"name": "a", "template": "9000", "backup_job": "none"}), "backup_job:"),
        (json!({"name": "a", "template": "9000", "start": false, "run": ["x"], "confirm": true}), "run:"),
        (json!({"name": "a", "template": "9000", "wait": false, "confirm": true}), "wait: false is not possible"),
    ] {
        let said = test.fails("proxmox-provision-vm", arguments.clone()).await;
        assert!(said.contains(words), "{arguments}: {said}");
    }
    assert_eq!(test.sent.writes(), Vec::<String>::new());
}
