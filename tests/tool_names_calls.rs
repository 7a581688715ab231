//! What calls by older names become: requests, defaults, several calls at once, errors.
#![expect(clippy::unwrap_used, reason = "tests")]

mod support;

use std::{collections::BTreeSet, sync::Arc};

use proxmox_mcp::{
    call::{App, Cluster, Context},
    config::Safety,
    confirm,
    pve::Client,
    sandbox::{Options, Sandbox},
    tool_names::{self, Names},
};
use serde_json::{Value, json};
use support::{
    Test, everything,
    older_names::{confirming, does, named},
    options,
};

/// The parameters of the only request that this would send.
async fn sends(test: &Test, tool: &str, mut arguments: Value) -> Value {
    arguments["dry_run"] = json!(true);
    let plan = does(test, tool, arguments).await;
    assert_eq!(plan["requests"].as_array().unwrap().len(), 1, "{plan}");
    plan["requests"][0]["params"].clone()
}

#[tokio::test(start_paused = true)]
async fn stop_machine_is_gentle_unless_it_is_forced() {
    let test = named(Names::Machines).await;
    for (vm_id, node, force, sent) in [
        (100, "pve1", json!(null), "POST /nodes/pve1/qemu/100/status/shutdown"),
        (100, "pve1", json!(true), "POST /nodes/pve1/qemu/100/status/stop"),
        (108, "pve1", json!(false), "POST /nodes/pve1/lxc/108/status/shutdown"),
        (108, "pve1", json!("true"), "POST /nodes/pve1/lxc/108/status/stop"),
    ] {
        let plan = json!({"vm_id": vm_id, "node": node, "force": force, "dry_run": true});
        let plan = does(&test, "stop_machine", plan).await;
        let request = &plan["requests"][0];
        let shown = format!("{} {}", request["method"].as_str().unwrap(), request["path"].as_str().unwrap());
        assert_eq!(shown, sent);
    }
}

#[tokio::test(start_paused = true)]
async fn machines_are_listed_with_all_that_is_promised() {
    let test = named(Names::Machines).await;
    let machines = does(&test, "list_machines", json!({})).await["data"].clone();
    assert_eq!(machines.as_array().unwrap().len(), 14);
    for machine in machines.as_array().unwrap() {
        let has = ["vmid", "name", "node", "status", "type"].iter().all(|key| machine.get(*key).is_some());
        assert!(has && (machine["type"] == "qemu" || machine["type"] == "lxc"), "{machine}");
    }
}

#[tokio::test(start_paused = true)]
async fn errors_speak_of_the_arguments_that_the_caller_knows() {
    let cases = [
        (
            Names::Machines,
            "start_machine",
            json!({"node": "pve1"}),
            "vm_id: missing; expected an integer from 100 to 999999999",
        ),
        (Names::Machines, "start_machine", json!({"vm_id": 5, "node": "pve1"}), "vm_id: expected an integer from 100"),
        (Names::Machines, "start_machine", json!({"vmid": 100, "node": "pve1"}), "did you mean 'vm_id'?"),
        (Names::Machines, "list_storage", json!({"node": "pve1"}), "this tool takes no arguments"),
        (Names::Machines, "start_machin", json!({}), "unknown tool 'start_machin'"),
        (
            Names::Machines,
            "start_machine",
            json!({"vm_id": 100, "node": "pve1", "wait": "soon"}),
            "wait: expected true or false",
        ),
        (Names::Camel, "startVM", json!({"node": "pve1"}), "vmid: missing"),
        (Names::Plus, "start_vm", json!({"node": "pve1", "vmid": "web"}), "vmid: expected an integer"),
        (Names::Plus, "get_job", json!({"job_id": "7"}), "job_id"),
        (
            Names::Plus,
            "create_vm",
            json!({"node": "pve1", "vmid": "200", "name": "a", "cpus": 0, "memory": 1, "disk_size": 5}),
            "cpus: expected an integer of at least 1, got 0; memory: expected",
        ),
        (Names::Plus, "start_container", json!({"selector": "pve1:"}), "selector: expected 123, pve1:123"),
        (Names::Plus, "start_container", json!({"selector": " , "}), "selector: expected 123"),
        (Names::Plus, "update_container_resources", json!({"selector": "110"}), "nothing to change; expected cores"),
        (Names::Plus, "execute_container_command", json!({}), "needs SSH to the node"),
        (Names::Plus, "retry_job", json!({}), "call the tool again"),
    ];
    for (names, tool, arguments, words) in cases {
        let test = named(names).await;
        let said = test.fails(tool, arguments).await;
        assert!(said.contains(words), "{tool}: {said}");
        assert_eq!(test.sent.writes(), Vec::<String>::new(), "{tool}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_left_out_is_as_the_older_servers_have_it() {
    let test = named(Names::Plus).await;
    let create = json!({"node": "pve1", "vmid": "200", "name": "a", "cpus": 2, "memory": 2048, "disk_size": 10});
    let sent = sends(&test, "create_vm", create).await;
    assert_eq!((&sent["cores"], &sent["memory"], &sent["ostype"]), (&json!("2"), &json!("2048"), &json!("l26")));
    assert!(sent["scsi0"].as_str().unwrap().starts_with("local-lvm:10,"), "{sent}");
    assert!(sent["net0"].as_str().unwrap().contains("bridge=vmbr0"), "{sent}");
    let iso = json!({"node": "pve1", "vmid": "200", "name": "a", "cpus": 2, "memory": 2048, "disk_size": 10, "storage": "nas",
        "iso_volume": "local:iso/debian-12.7.0-amd64-netinst.iso", "pool": "development"});
    let sent = sends(&test, "create_vm", iso).await;
    assert_eq!((&sent["boot"], &sent["pool"]), (&json!("order=ide3;scsi0"), &json!("development")));
    assert_eq!(sent["ide3"], "local:iso/debian-12.7.0-amd64-netinst.iso,media=cdrom");
    let template = "local:vztmpl/debian-12-standard_12.7-1_amd64.tar.zst";
    let container = json!({"node": "pve1", "vmid": "202", "ostemplate": template});
    let sent = sends(&test, "create_container", container).await;
    assert_eq!(["cores", "memory", "swap"].map(|key| sent[key].clone()), ["1", "512", "512"]);
    assert_eq!((&sent["hostname"], &sent["rootfs"]), (&json!("ct-202"), &json!("local-lvm:8")));
    assert_eq!(sent.get("features"), None, "{sent}");
    let nesting =
        json!({"node": "pve1", "vmid": "202", "ostemplate": template, "nesting": true, "ssh_public_keys": ""});
    assert_eq!(sends(&test, "create_container", nesting).await["features"], "nesting=1");
    assert_eq!(sends(&test, "stop_container", json!({"selector": "110"})).await["timeout"], "10");
    assert_eq!(sends(&test, "stop_container", json!({"selector": "110", "graceful": false})).await, json!({}));
    assert_eq!(sends(&test, "delete_vm", json!({"node": "pve2", "vmid": "107"})).await, json!({}));
    let backup = sends(&test, "create_backup", json!({"node": "pve2", "vmid": "101", "storage": "nas"})).await;
    assert_eq!((&backup["compress"], &backup["mode"]), (&json!("zstd"), &json!("snapshot")));
    let camel = named(Names::Camel).await;
    assert_eq!(sends(&camel, "deleteVM", json!({"node": "pve2", "vmid": 107})).await, json!({}));
}

#[tokio::test(start_paused = true)]
async fn a_selector_names_containers_in_every_way_and_several() {
    for selector in ["111", "pve3:111", "pve3/devbox", "devbox"] {
        let test = named(Names::Plus).await;
        does(&test, "start_container", json!({"selector": selector, "format_style": "json"})).await;
        assert_eq!(test.sent.writes(), ["POST /nodes/pve3/lxc/111/status/start"], "{selector}");
    }
    let test = named(Names::Plus).await;
    let all = json!({"selector": "pve1:108, nginx-proxy,pve3/redis-01", "wait": true});
    let result = does(&test, "restart_container", all.clone()).await;
    assert_eq!((&result["state"], &result["result"]["outcomes"][2]["about"]["vmid"]), (&json!("done"), &json!(110)));
    assert_eq!(test.sent.writes().len(), 3);
    // A dry run of all of them sends nothing.
    let mut dry = all.clone();
    dry["dry_run"] = json!(true);
    assert_eq!(does(&test, "restart_container", dry).await["state"], "planned");
    assert_eq!(test.sent.writes().len(), 3);
    // The one that fails ends it, and what was done is told.
    let said = test.fails("stop_container", json!({"selector": "108,999,109", "wait": true})).await;
    assert!(said.contains("done before: shut") && said.contains("999"), "{said}");
    assert_eq!(test.sent.writes().len(), 4);
    // What deletes wants a yes for all.
    let delete = json!({"selector": "111,110"});
    assert_eq!(does(&test, "delete_container", delete).await["state"], "needs_confirmation");
    // One yes is for one plan.
    let test = confirming(Names::Plus, confirm::Mode::Plan, &["restart_container"]).await;
    let said = test.fails("restart_container", all).await;
    assert!(said.contains("each has to be confirmed by itself"), "{said}");
    assert_eq!(test.sent.writes(), Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn resources_and_a_bigger_disk_are_two_plans() {
    let test = named(Names::Plus).await;
    does(&test, "update_container_resources", json!({"selector": "110", "memory": 4096, "swap": 0})).await;
    assert_eq!(test.sent.writes(), ["PUT /nodes/pve3/lxc/110/config"]);
    does(&test, "update_container_resources", json!({"selector": "110", "disk_gb": 4})).await;
    assert_eq!(test.sent.writes()[1..], ["PUT /nodes/pve3/lxc/110/resize"]);
    let both = json!({"selector": "110", "cores": 4, "disk_gb": 4, "disk": "rootfs"});
    let result = does(&test, "update_container_resources", both).await;
    assert_eq!(test.sent.writes()[2..], ["PUT /nodes/pve3/lxc/110/config", "PUT /nodes/pve3/lxc/110/resize"]);
    assert!(result["summary"].as_str().unwrap().starts_with("2 calls: "), "{result}");
    let now = does(&test, "get_container_config", json!({"node": "pve3", "vmid": "110"})).await["config"].clone();
    assert_eq!((&now["cores"], &now["memory"], &now["swap"]), (&json!(4), &json!(4096), &json!(0)));
    assert!(now["rootfs"].to_string().contains("24G"), "{now}");
}

#[tokio::test(start_paused = true)]
async fn interfaces_discs_and_boot_order_change_and_nothing_else() {
    let test = named(Names::Plus).await;
    let config = async |tool: &str, node: &str, vmid: &str| {
        does(&test, tool, json!({"node": node, "vmid": vmid})).await["config"].clone()
    };
    let fixed = json!({"node": "pve3", "vmid": "110", "ip": "192.168.1.60/24", "gw": "192.168.1.1"});
    does(&test, "update_container_network", fixed).await;
    let net = config("get_container_config", "pve3", "110").await["net0"].to_string();
    assert!(net.contains("192.168.1.60/24") && net.contains("192.168.1.1") && net.contains("vmbr0"), "{net}");
    does(&test, "update_container_network", json!({"node": "pve3", "vmid": "110", "gw": ""})).await;
    let net = config("get_container_config", "pve3", "110").await["net0"].to_string();
    assert!(net.contains("192.168.1.60/24") && !net.contains("192.168.1.1\"") && !net.contains("gw="), "{net}");
    let disc = json!({"node": "pve2", "vmid": "107", "iso_volume": "local:iso/debian-12.7.0-amd64-netinst.iso",
        "boot_order": "ide3;scsi0", "cores": 2, "network_bridge": "vmbr1"});
    does(&test, "update_vm_config", disc).await;
    let now = config("get_vm_config", "pve2", "107").await;
    assert!(now["ide3"].to_string().contains("debian-12.7.0"), "{now}");
    assert!(now["boot"].to_string().contains("ide3;scsi0") && now["net0"].to_string().contains("vmbr1"), "{now}");
    does(&test, "update_vm_config", json!({"node": "pve2", "vmid": "107", "iso_volume": "none"})).await;
    assert!(config("get_vm_config", "pve2", "107").await["ide3"].to_string().contains("none"));
    let onto = json!({"node": "pve2", "vmid": "107", "iso_volume": "local:iso/x.iso", "cdrom_device": "scsi0"});
    let said = test.fails("update_vm_config", onto).await;
    assert!(said.contains("no CD drive"), "{said}");
}

#[tokio::test(start_paused = true)]
async fn images_and_backups_of_every_storage_are_listed_or_those_of_one() {
    let test = named(Names::Plus).await;
    let volumes = async |tool: &str, arguments: Value| -> Vec<(String, Value)> {
        let found = does(&test, tool, arguments).await;
        let row = |v: &Value| (v["volid"].as_str().unwrap().to_owned(), v["node"].clone());
        found["volumes"].as_array().unwrap().iter().map(row).collect()
    };
    let all = volumes("list_isos", json!({})).await;
    let nodes: BTreeSet<&str> = all.iter().filter_map(|(_, node)| node.as_str()).collect();
    assert!(all.iter().all(|(volid, _)| volid.contains(":iso/")) && nodes.contains("pve1"), "{all:?}");
    let here = volumes("list_isos", json!({"node": "pve1"})).await;
    assert!(!here.is_empty() && here.iter().all(|(_, node)| node.is_null() || node == "pve1"), "{here:?}");
    let local = volumes("list_isos", json!({"node": "pve1", "storage": "local"})).await;
    assert!(!local.is_empty() && local.iter().all(|(volid, _)| volid.starts_with("local:iso/")), "{local:?}");
    assert!(volumes("list_templates", json!({})).await.iter().all(|(volid, _)| volid.contains(":vztmpl/")));
    // A node that is away hides its own storages and fails nothing.
    test.sandbox.set_online("pve1", false);
    let rest = does(&test, "list_isos", json!({})).await;
    assert!(rest["volumes"].as_array().unwrap().iter().all(|v| v["node"] != "pve1"), "{rest}");
    let total = async |arguments: Value| does(&test, "list_backups", arguments).await["total"].as_u64();
    assert_eq!(total(json!({"vmid": "100"})).await, Some(2));
    assert_eq!(total(json!({"vmid": "100", "node": "pve2"})).await, Some(2));
    assert_eq!(total(json!({"vmid": "100", "node": "nowhere"})).await, Some(0));
}

#[tokio::test(start_paused = true)]
async fn a_target_is_a_cluster() {
    let cluster = |name: &str, nodes: usize| {
        let sandbox = Sandbox::new(Options { nodes: Options::numbered_nodes(nodes), ..options() });
        let config = proxmox_mcp::embedded::cluster_config(&sandbox);
        Cluster { name: name.to_owned(), client: Client::with_transport(&config, Arc::new(sandbox)) }
    };
    let safety = Safety { tool_names: Names::Plus, ..everything() };
    let app = App::with_clusters(vec![cluster("home", 1), cluster("work", 3)], &safety).unwrap();
    let ask = async |tool: &str, arguments: Value| {
        let arguments = arguments.as_object().unwrap().clone();
        tool_names::call(&app, tool, arguments, &Context::default()).await.map(|answer| answer.data)
    };
    assert_eq!(ask("get_nodes", json!({})).await.unwrap()["total"], 1);
    assert_eq!(ask("get_nodes", json!({"target": "work"})).await.unwrap()["total"], 3);
    assert_eq!(ask("get_nodes", json!({"cluster": "work"})).await.unwrap()["total"], 3);
    assert_eq!(ask("list_targets", json!({})).await.unwrap()["total"], 2);
    let restarted = ask("restart_container", json!({"selector": "pve3:110", "target": "work"})).await.unwrap();
    assert_eq!(restarted["about"]["node"], "pve3");
    let said = ask("get_nodes", json!({"target": "away"})).await.unwrap_err().to_string();
    assert!(said.contains("home, work"), "{said}");
}
