//! Guests as Ansible hosts: where the address comes from, and how the inventory is written.
#![expect(clippy::unwrap_used, reason = "tests")]

mod support;

use serde_json::{Value, json};
use support::{options, start};

const TOOL: &str = "proxmox-register-vm-as-host";

#[tokio::test(start_paused = true)]
async fn a_running_vm_s_address_comes_from_its_agent() {
    let test = start(options()).await;
    let arguments =
        json!({"name": "web-01", "ssh_user": "admin", "ssh_private_key_path": "~/.ssh/my key", "port": 2222});
    let host = test.call(TOOL, arguments).await;
    let address = host["address"].as_str().unwrap();
    assert!(address.starts_with("192.168."), "{host}");
    assert_eq!((&host["source"], &host["interface"]), (&json!("guest agent"), &json!("eth0")));
    let line = format!(
        "web-01 ansible_host={address} ansible_user=admin ansible_port=2222 \
         ansible_ssh_private_key_file='~/.ssh/my key'"
    );
    assert_eq!(host["inventory"], line);
}

#[tokio::test(start_paused = true)]
async fn containers_are_hosts_too_and_stopped_ones_by_their_configuration() {
    let test = start(options()).await;
    let host = test.call(TOOL, json!({"name": "pihole"})).await;
    assert_eq!((&host["source"], &host["host"]), (&json!("container's interfaces"), &json!("pihole")));
    let words = test.fails(TOOL, json!({"name": "devbox"})).await;
    assert!(words.contains("no address of container 111 (devbox)") && words.contains("start it"), "{words}");
    test.sandbox.by_hand().set(111, "net0", Some("name=eth0,bridge=vmbr0,hwaddr=BC:24:11:00:00:07,ip=10.1.2.3/24"));
    let host = test.call(TOOL, json!({"name": "devbox"})).await;
    assert_eq!((&host["address"], &host["source"]), (&json!("10.1.2.3"), &json!("configuration")));
    assert!(host["notes"][0].as_str().unwrap().contains("not running"), "{host}");
}

#[tokio::test(start_paused = true)]
async fn a_vm_whose_agent_is_silent_has_its_fixed_address() {
    let test = start(options()).await;
    let words = test.fails(TOOL, json!({"vmid": 107})).await;
    assert!(words.contains("VM 107 is not running") && words.contains("ipconfig0"), "{words}");
    test.sandbox.by_hand().set(107, "ipconfig0", Some("ip=10.9.8.7/24,gw=10.9.8.1,ip6=2001:db8::7/64"));
    let host = test.call(TOOL, json!({"vmid": 107})).await;
    assert_eq!((&host["address"], &host["source"]), (&json!("10.9.8.7"), &json!("configuration")));
    let host = test.call(TOOL, json!({"vmid": 107, "ipv6": true})).await;
    assert_eq!(host["address"], "2001:db8::7");
}

#[tokio::test(start_paused = true)]
async fn another_network_device_can_be_preferred() {
    let test = start(options()).await;
    test.sandbox.by_hand().set(100, "net1", Some("virtio=BC:24:11:AA:BB:CC,bridge=vmbr0"));
    for preferred in ["eth1", "net1"] {
        let host = test.call(TOOL, json!({"vmid": 100, "prefer_interface": preferred})).await;
        assert!(host["interface"] == "eth1" && host["address"].as_str().unwrap().starts_with("10.1."), "{host}");
    }
    let host = test.call(TOOL, json!({"vmid": 100, "prefer_interface": "eth9"})).await;
    assert_eq!(host["interface"], "eth0");
    assert!(host["notes"][0].as_str().unwrap().contains("eth9 has no usable address"), "{host}");
}

#[tokio::test(start_paused = true)]
async fn inventories_come_in_three_formats_and_with_clean_names() {
    let test = start(options()).await;
    test.sandbox.by_hand().set(100, "name", Some("web.01"));
    let host = test.call(TOOL, json!({"vmid": 100, "format": "json"})).await;
    let inventory: Value = serde_json::from_str(host["inventory"].as_str().unwrap()).unwrap();
    assert_eq!(inventory["all"]["hosts"][host["host"].as_str().unwrap()]["ansible_user"], "root");
    let host = test.call(TOOL, json!({"vmid": 100, "format": "yaml"})).await;
    let yaml = host["inventory"].as_str().unwrap();
    let address = host["address"].as_str().unwrap();
    assert!(yaml.starts_with("all:\n  hosts:\n    \"web"), "{yaml}");
    assert!(yaml.contains(&format!("\n      ansible_host: \"{address}\"\n")), "{yaml}");
}
