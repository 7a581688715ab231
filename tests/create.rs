//! New VMs and containers: from nothing, from an OS template, from a cloud-init template.
#![expect(clippy::unwrap_used, reason = "tests")]

mod support;

use http::Method;
use proxmox_mcp::sandbox::{Fault, FaultKind, Options};
use serde_json::{Value, json};
use support::{Test, options, start};

const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAICWBFD79BkRJbzud0NCHkaPMJ8MZpOmPbR6v8vh3qDQ+ alice@example.test";

/// The parameters of a plan's request.
async fn planned(test: &Test, tool: &str, mut arguments: Value, request: usize) -> Value {
    arguments["dry_run"] = json!(true);
    let plan = test.call(tool, arguments).await;
    assert_eq!(test.sent.writes(), Vec::<String>::new());
    plan["requests"][request]["params"].clone()
}

async fn config(test: &Test, tool: &str, vmid: u64) -> Value {
    test.call(tool, json!({"vmid": vmid})).await["config"].clone()
}

#[tokio::test(start_paused = true)]
async fn a_vm_is_made_with_modern_hardware_on_the_node_with_most_free_memory() {
    let test = start(options()).await;
    let made = test
        .call(
            "proxmox-create-vm",
            json!({"name": "build-01", "storage": "local-lvm", "iso": "debian-12", "confirm": true, "wait": true}),
        )
        .await;
    assert_eq!(made["exitstatus"], "OK", "{made}");
    assert_eq!(made["about"]["vmid"], 112);
    let why = made["about"]["node_chosen"].as_str().unwrap();
    assert!(why.contains("most free memory of 3 online nodes"), "{why}");
    let config = config(&test, "proxmox-vm-info", 112).await;
    for (key, value) in [
        ("boot", "order=scsi0;ide2;net0"),
        ("cpu", "x86-64-v2-AES"),
        ("memory", "2048"),
        ("scsi0", "local-lvm:vm-112-disk-0,discard=on,iothread=1,size=20G"),
        ("scsihw", "virtio-scsi-single"),
    ] {
        assert_eq!(config[key], value, "{config}");
    }
    assert!(config["ide2"].as_str().unwrap().starts_with("local:iso/debian-12.7.0-amd64-netinst.iso,media=cdrom"));
    assert!(config["net0"].as_str().unwrap().ends_with(",bridge=vmbr0,firewall=1"), "{config}");
}

#[tokio::test(start_paused = true)]
async fn what_is_given_by_proxmox_s_own_names_replaces_the_defaults() {
    let test = start(options()).await;
    let call = json!({"node": "pve2", "vmid": 300, "disk_gb": 0, "params": {
        "net0": "e1000,bridge=vmbr0", "agent": null, "onboot": true, "cpu": "host", "cipassword": "hush-hush"}});
    let params = planned(&test, "proxmox-create-vm", call, 0).await;
    let expected = json!({"vmid": "300", "ostype": "l26", "cores": "2", "cpu": "host", "memory": "2048",
        "scsihw": "virtio-scsi-single", "cipassword": "********", "net0": "e1000,bridge=vmbr0", "onboot": "1", "boot": "order=net0"});
    assert_eq!(params, expected);
}

#[tokio::test(start_paused = true)]
async fn bad_input_for_a_new_vm_is_told_by_field() {
    let test = start(options()).await;
    for (arguments, words) in [
        (json!({"vmid": 42}), "vmid: expected 0 (next free) or a number from 100 on, got 42"),
        (json!({"node": "pve1"}), "storage: missing; expected the name of a storage"),
        (json!({"storage": "nas", "iso": "windows"}), "iso: no iso volume on "),
        (json!({"storage": "nas", "iso": "amd64"}), "iso: 'amd64' fits "),
        (json!({"storage": "nas", "params": {"vmid": 7}}), "params: 'vmid' is not possible here"),
        (json!({"storage": "nas", "params": {"boot": ["a"]}}), "params: boot: expected text"),
        (json!({"cores": 0}), "cores: expected an integer of at least 1, got 0"),
    ] {
        let said = test.fails("proxmox-create-vm", arguments).await;
        assert!(said.starts_with(words), "{said}");
    }
    assert_eq!(test.sent.writes(), Vec::<String>::new());
}

/// Two programs choose the same number: one of them is refused, and takes the next.
#[tokio::test(start_paused = true)]
async fn a_vmid_that_another_takes_first_is_replaced_by_the_next() {
    let latency = std::time::Duration::from_millis(50);
    let one = start(Options { latency, ..options() }).await;
    let config = proxmox_mcp::embedded::cluster_config(&one.sandbox);
    let other = support::with(one.sandbox.clone(), config).await;
    let call = json!({"storage": "nas", "node": "pve2", "confirm": true, "wait": true});
    let (first, second) =
        tokio::join!(one.call("proxmox-create-vm", call.clone()), other.call("proxmox-create-vm", call.clone()));
    let mut vmids = [first["about"]["vmid"].as_u64(), second["about"]["vmid"].as_u64()];
    vmids.sort_unstable();
    assert_eq!(vmids, [Some(112), Some(113)]);
    assert_eq!((&first["state"], &second["state"]), (&json!("done"), &json!("done")));
    assert_eq!(one.sent.writes().len() + other.sent.writes().len(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_container_is_made_from_a_template_named_in_part_and_started() {
    let test = start(options()).await;
    let made = test
        .call(
            "proxmox-create-lxc",
            json!({"node": "pve3", "hostname": "cache-02", "ostemplate": "debian-12", "storage": "local-lvm",
                "net_ip": "10.0.0.52/24", "gateway": "10.0.0.1", "password": "correct horse", "ssh_public_keys": KEY,
                "start": true, "params": {"swap": 0}, "confirm": true}),
        )
        .await;
    assert_eq!((&made["state"], &made["exitstatus"]), (&json!("done"), &json!("OK")), "{made}");
    assert!(!made.to_string().contains("correct horse"), "{made}");
    let info = test.call("proxmox-lxc-info", json!({"vmid": 112})).await;
    assert_eq!(info["status"], "running");
    let config = &info["config"];
    assert_eq!((&config["features"], config["swap"].to_string().trim_matches('"')), (&json!("nesting=1"), "0"));
    let net = config["net0"].as_str().unwrap();
    assert!(net.contains("ip=10.0.0.52/24") && net.contains("gw=10.0.0.1"), "{net}");
}

#[tokio::test(start_paused = true)]
async fn a_dry_run_of_a_container_shows_everything_but_its_password() {
    let test = start(options()).await;
    let call = json!({"node": "pve1", "ostemplate": "local:vztmpl/debian-12-standard_12.7-1_amd64.tar.zst",
        "storage": "nas", "password": "correct horse"});
    let params = planned(&test, "proxmox-create-lxc", call, 0).await;
    let expected = json!({"vmid": "112", "ostemplate": "local:vztmpl/debian-12-standard_12.7-1_amd64.tar.zst",
        "cores": "2", "memory": "1024", "rootfs": "nas:8", "net0": "name=eth0,bridge=vmbr0,firewall=1,ip=dhcp",
        "unprivileged": "1", "features": "nesting=1", "password": "********"});
    assert_eq!(params, expected);
}

#[tokio::test(start_paused = true)]
async fn bad_input_for_a_container_is_told_by_field() {
    let test = start(options()).await;
    for (arguments, words) in [
        (json!({"ostemplate": "gentoo"}), "ostemplate: no vztmpl volume on "),
        (json!({}), "ostemplate: missing; there are: local:vztmpl/alpine"),
        (json!({"net_ip": "10.0.0.5"}), "net_ip: expected dhcp or an address such as 10.0.0.5/24, got '10.0.0.5'"),
        (json!({"net_ip": "10.0.0.5/33"}), "net_ip: expected dhcp"),
        (json!({"net_ip": "10.0.0.5/24", "gateway": "fe80::1"}), "gateway: fe80::1 is of another family"),
        (json!({"gateway": "10.0.0.1"}), "gateway: only with a fixed address, not with 'dhcp'"),
        (json!({"ssh_public_keys": ["ssh-rsa AAAA"]}), "ssh_public_keys: key 1: "),
    ] {
        let said = test.fails("proxmox-create-lxc", arguments).await;
        assert!(said.starts_with(words), "{said}");
    }
    let said = test.fails("proxmox-create-lxc", json!({"ostemplate": "x86"})).await;
    assert!(said.contains("hint: proxmox-download-os-template"), "{said}");
}

#[tokio::test(start_paused = true)]
async fn a_cloud_init_vm_is_cloned_configured_grown_and_started_in_one_plan() {
    let test = start(options()).await;
    let made = test
        .call(
            "proxmox-create-vm-cloudinit",
            json!({"name": "web-03", "template": "debian-12", "start": true, "confirm": true, "wait": true,
                "cloudinit_config": {"user": "ops", "password": "correct horse", "ssh_keys": [KEY], "ip": "10.0.0.33/24", "gateway": "10.0.0.1"},
                "hardware": {"cores": 4, "memory_mb": "4096", "disk_gb": 40}}),
        )
        .await;
    assert_eq!((&made["state"], &made["exitstatus"]), (&json!("done"), &json!("OK")), "{made}");
    assert_eq!(
        test.sent.writes(),
        [
            "POST /nodes/pve1/qemu/9000/clone",
            "PUT /nodes/pve1/qemu/112/config",
            "PUT /nodes/pve1/qemu/112/resize",
            "POST /nodes/pve1/qemu/112/status/start"
        ]
    );
    assert!(!made.to_string().contains("correct horse"), "{made}");
    let info = test.call("proxmox-vm-info", json!({"vmid": 112})).await;
    assert_eq!((&info["name"], &info["status"]), (&json!("web-03"), &json!("running")));
    let config = &info["config"];
    assert_eq!((&config["ciuser"], &config["ipconfig0"]), (&json!("ops"), &json!("ip=10.0.0.33/24,gw=10.0.0.1")));
    assert!(config["scsi0"].as_str().unwrap().ends_with("size=40G"), "{config}");
    assert!(config["sshkeys"].as_str().unwrap().starts_with("ssh-ed25519%20AAAA"), "{config}");
}

#[tokio::test(start_paused = true)]
async fn a_dry_run_shows_what_differs_from_the_template() {
    let test = start(options()).await;
    let plan = test
        .call(
            "proxmox-create-vm-cloudinit",
            json!({"template": "9001", "hardware": {"cores": 2, "memory_mb": 4096, "disk_gb": 2, "bridge": "vmbr1"}, "dry_run": true}),
        )
        .await;
    let changes = json!([{"key": "memory", "old": "2048", "new": "4096"}, {"key": "net0",
        "old": plan["changes"][1]["old"], "new": "virtio,bridge=vmbr1"}]);
    assert_eq!(plan["changes"], changes);
    assert_eq!(plan["warnings"][0], "scsi0 has 3584M already, and disks only grow: it keeps that");
    assert_eq!(plan["requests"].as_array().unwrap().len(), 2);
    assert_eq!(test.sent.writes(), Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn a_template_without_a_cloud_init_drive_is_given_one() {
    let test = start(options()).await;
    test.call("proxmox-template-vm", json!({"name": "scratch-01", "confirm": true, "wait": true})).await;
    tokio::time::sleep(std::time::Duration::from_secs(15)).await;
    let call = json!({"template": "scratch-01", "cloudinit_config": {"user": "ops"}, "confirm": true, "wait": true});
    test.call("proxmox-create-vm-cloudinit", call).await;
    let config = config(&test, "proxmox-vm-info", 112).await;
    assert!(config["ide0"].as_str().unwrap().starts_with("local-lvm:vm-112-cloudinit,media=cdrom"), "{config}");
}

#[tokio::test(start_paused = true)]
async fn a_template_that_is_not_there_is_answered_with_those_that_are() {
    let test = start(options()).await;
    let said = test.fails("proxmox-create-vm-cloudinit", json!({})).await;
    assert!(said.contains("no template VM fits 'ubuntu-22.04'"), "{said}");
    assert!(said.contains("debian-12-cloud (9000), ubuntu-24.04-cloud (9001)"), "{said}");
    let said = test.fails("proxmox-create-vm-cloudinit", json!({"template": "cloud"})).await;
    assert!(said.contains("'cloud' fits 2 templates"), "{said}");
    let said = test
        .fails("proxmox-create-vm-cloudinit", json!({"template": "9000", "cloudinit_config": {"packages": "nginx"}}))
        .await;
    assert!(said.contains("unknown key 'packages'") && said.contains("proxmox-configure-cloudinit-advanced"), "{said}");
}

#[tokio::test(start_paused = true)]
async fn a_vm_whose_configuration_fails_is_made_once_and_the_error_says_so() {
    let test = start(options()).await;
    test.sandbox.fault(Fault::new(FaultKind::LockTimeout).on(Method::PUT, "/nodes/*/qemu/*/config"));
    let said = test
        .fails(
            "proxmox-create-vm-cloudinit",
            json!({"template": "9000", "cloudinit_config": {"user": "ops"}, "confirm": true, "wait": true}),
        )
        .await;
    assert!(said.contains("done before: POST /nodes/pve1/qemu/9000/clone"), "{said}");
    assert_eq!(test.sent.writes().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_preset_is_a_size_and_an_unknown_one_is_answered_with_all() {
    let test = start(options()).await;
    let call = json!({"preset": "web-server", "hostname": "shop-01", "template": "debian", "admin_user": "ops", "ssh_keys": [KEY]});
    let clone = planned(&test, "proxmox-create-preset-vm", call.clone(), 0).await;
    assert_eq!(clone["name"], "shop-01");
    let size = planned(&test, "proxmox-create-preset-vm", call.clone(), 2).await;
    assert_eq!(size, json!({"disk": "scsi0", "size": "20G"}));
    let mut call = call;
    (call["confirm"], call["wait"]) = (json!(true), json!(true));
    assert_eq!(test.call("proxmox-create-preset-vm", call).await["state"], "done");
    assert_eq!(config(&test, "proxmox-vm-info", 112).await["ciuser"], "ops");
    let said = test.fails("proxmox-create-preset-vm", json!({"preset": "databse"})).await;
    assert!(said.contains("did you mean database?") && said.contains("docker (4 cores, 8192 MiB, 60 GB)"), "{said}");
}
