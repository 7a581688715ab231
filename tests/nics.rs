//! Network devices: into the first free slot, out by slot.
#![expect(clippy::unwrap_used, reason = "tests")]

mod support;

use serde_json::{Value, json};
use support::{Test, options, start};

async fn config(test: &Test, tool: &str, vmid: u32) -> Value {
    test.call(tool, json!({"vmid": vmid})).await["config"].clone()
}

#[tokio::test(start_paused = true)]
async fn a_nic_goes_into_the_first_free_slot_and_its_address_is_told() {
    let test = start(options()).await;
    test.sandbox.by_hand().set(107, "net2", Some("virtio=BC:24:11:00:00:02,bridge=vmbr0"));
    let nic = json!({"vmid": 107, "bridge": "vmbr1", "vlan": 20, "firewall": true, "rate": 12.5, "confirm": true});
    let added = test.call("proxmox-vm-nic-add", nic).await;
    assert_eq!((&added["state"], &added["about"]["added"]), (&json!("done"), &json!("net1")));
    let stored = added["result"]["stored"]["net1"].as_str().unwrap();
    assert!(stored.starts_with("virtio=BC:24:11:") && stored.ends_with(",bridge=vmbr1,firewall=1,rate=12.5,tag=20"));
    assert_eq!(config(&test, "proxmox-vm-info", 107).await["net1"], stored);
    let given = json!({"vmid": 107, "bridge": "vmbr0", "model": "e1000", "mac": "BC:24:11:AA:BB:CC", "confirm": true});
    test.call("proxmox-vm-nic-add", given).await;
    assert_eq!(config(&test, "proxmox-vm-info", 107).await["net3"], "e1000=BC:24:11:AA:BB:CC,bridge=vmbr0");
}

#[tokio::test(start_paused = true)]
async fn a_nic_needs_a_confirmation_and_a_dry_run_sends_nothing() {
    let test = start(options()).await;
    let asked = test.call("proxmox-vm-nic-add", json!({"vmid": 107})).await;
    assert_eq!(asked["state"], "needs_confirmation");
    assert_eq!(asked["changes"], json!([{"key": "net1", "new": "virtio,bridge=vmbr0"}]));
    let plan = test.call("proxmox-vm-nic-remove", json!({"vmid": 107, "dry_run": true})).await;
    assert_eq!(plan["requests"][0]["params"]["delete"], "net0");
    let plan = test.call("proxmox-lxc-nic-add", json!({"vmid": 108, "dry_run": true})).await;
    assert_eq!(plan["changes"][0]["new"], "name=eth1,bridge=vmbr0");
    let plan = test.call("proxmox-lxc-nic-remove", json!({"vmid": 108, "slot": 0, "dry_run": true})).await;
    assert_eq!(plan["about"]["removed"], "net0");
    assert_eq!(test.sent.writes(), Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn a_nic_is_removed_by_slot_and_one_that_is_not_there_is_named() {
    let test = start(options()).await;
    let said = test.fails("proxmox-vm-nic-remove", json!({"vmid": 107, "slot": 3, "confirm": true})).await;
    assert!(said.contains("has no net3") && said.contains("it has net0"), "{said}");
    let removed = test.call("proxmox-vm-nic-remove", json!({"vmid": 107, "slot": 0, "confirm": true})).await;
    assert_eq!(removed["warnings"], json!(["net0 leaves the boot order"]));
    assert!(config(&test, "proxmox-vm-info", 107).await["net0"].is_null());
    let said = test.fails("proxmox-vm-nic-remove", json!({"vmid": 107, "confirm": true})).await;
    assert!(said.contains("it has no network device"), "{said}");
    assert_eq!(test.sent.writes(), ["PUT /nodes/pve2/qemu/107/config"]);
}

#[tokio::test(start_paused = true)]
async fn a_nic_that_cannot_be_is_refused_before_anything_is_sent() {
    let test = start(options()).await;
    for (more, words) in [
        (json!({"model": "virtoi"}), "net1.model: value 'virtoi'"),
        (json!({"mac": "01:00:5e:00:00:01"}), "does not look like a valid unicast MAC address"),
        (json!({"vlan": 5000}), "vlan: expected an integer from 1 to 4094"),
    ] {
        let mut nic = json!({"vmid": 107, "bridge": "vmbr0", "confirm": true});
        nic.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let said = test.fails("proxmox-vm-nic-add", nic).await;
        assert!(said.contains(words), "{more}: {said}");
    }
    let said = test.fails("proxmox-lxc-nic-add", json!({"vmid": 108, "ip": "10.0.0.5"})).await;
    assert!(said.contains("net1.ip: invalid format - value does not look like a valid ipv4 network"), "{said}");
    assert_eq!(test.sent.writes(), Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn a_running_vm_without_hotplug_says_that_it_has_to_be_restarted() {
    let test = start(options()).await;
    test.sandbox.by_hand().set(100, "hotplug", Some("disk"));
    let added = test.call("proxmox-vm-nic-add", json!({"vmid": 100, "confirm": true})).await;
    assert!(added["result"]["pending"]["net1"].as_str().unwrap().starts_with("virtio=BC:24:11:"), "{added}");
    let removed = test.call("proxmox-vm-nic-remove", json!({"vmid": 100, "confirm": true})).await;
    assert_eq!(removed["result"]["pending"]["net0"], "(removed)");
}

#[tokio::test(start_paused = true)]
async fn containers_have_nics_too() {
    let test = start(options()).await;
    let nic = json!({"confirm": true, "name": "redis-01", "bridge": "vmbr1", "ip": "10.20.0.50/24", "gw": "10.20.0.1", "vlan": 7});
    let added = test.call("proxmox-lxc-nic-add", nic).await;
    assert_eq!(added["about"]["added"], "net1");
    let stored = config(&test, "proxmox-lxc-info", 110).await["net1"].as_str().unwrap().to_owned();
    assert!(stored.starts_with("name=eth1,bridge=vmbr1,gw=10.20.0.1,hwaddr=BC:24:11:"), "{stored}");
    assert!(stored.ends_with(",ip=10.20.0.50/24,tag=7,type=veth"), "{stored}");
    test.call("proxmox-lxc-nic-remove", json!({"name": "redis-01", "slot": 1, "confirm": true})).await;
    assert!(config(&test, "proxmox-lxc-info", 110).await["net1"].is_null());
}
