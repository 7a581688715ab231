//! ISO images in the drives of VMs.
#![expect(clippy::unwrap_used, reason = "tests")]

mod support;

use serde_json::json;
use support::{options, start};

#[tokio::test(start_paused = true)]
async fn an_iso_is_found_by_a_part_of_its_name_and_put_into_the_cd_drive() {
    let test = start(options()).await;
    test.call("proxmox-iso-attach", json!({"name": "win11-test", "iso": "virtio-win", "boot": true})).await;
    assert_eq!(test.sent.writes(), ["PUT /nodes/pve1/qemu/106/config"]);
    let config = test.call("proxmox-vm-info", json!({"vmid": 106})).await["config"].clone();
    assert!(config["ide2"].as_str().unwrap().starts_with("local:iso/virtio-win-0.1.262.iso,media=cdrom"), "{config}");
    assert_eq!(config["boot"], "order=ide2;scsi0;net0");
    test.call("proxmox-iso-eject", json!({"vmid": 106})).await;
    assert_eq!(test.call("proxmox-vm-info", json!({"vmid": 106})).await["config"]["ide2"], "none,media=cdrom");
}

#[tokio::test(start_paused = true)]
async fn a_vm_without_a_cd_drive_gets_one_that_waits_for_its_next_start() {
    let test = start(options()).await;
    test.sandbox.by_hand().set(100, "ide2", None);
    let iso = "nas:iso/ubuntu-24.04.1-live-server-amd64.iso";
    let done = test.call("proxmox-iso-attach", json!({"vmid": 100, "iso": iso})).await;
    assert!(done["summary"].as_str().unwrap().contains("into ide2"), "{done}");
    assert!(done["warnings"][0].as_str().unwrap().contains("stopped and started"), "{done}");
}

#[tokio::test(start_paused = true)]
async fn a_dry_run_shows_the_change_of_the_drive() {
    let test = start(options()).await;
    let plan = test.call("proxmox-iso-eject", json!({"name": "gitlab-runner", "dry_run": true})).await;
    assert_eq!(plan["changes"][0]["new"], "none,media=cdrom", "{plan}");
    assert!(plan["changes"][0]["old"].as_str().unwrap().contains("debian-12.7.0"), "{plan}");
    assert!(test.sent.writes().is_empty());
}

#[tokio::test(start_paused = true)]
async fn what_fits_no_image_or_no_drive_is_refused_with_what_there_is() {
    let test = start(options()).await;
    for (tool, arguments, words) in [
        ("proxmox-iso-attach", json!({"vmid": 100, "iso": "plan9"}), "local:iso/debian-12.7.0-amd64-netinst.iso"),
        ("proxmox-iso-attach", json!({"vmid": 100, "iso": "amd64"}), "fits several"),
        ("proxmox-iso-attach", json!({"vmid": 100, "iso": "virtio-win", "drive": "scsi0"}), "is no CD drive"),
        ("proxmox-iso-attach", json!({"vmid": 100, "iso": "virtio-win", "drive": "ide7"}), "drive: expected ide0"),
        ("proxmox-iso-attach", json!({"vmid": 9000, "iso": "virtio-win", "drive": "ide2"}), "is no CD drive"),
        ("proxmox-iso-eject", json!({"vmid": 100}), "no CD drive"),
        ("proxmox-iso-eject", json!({"vmid": 9000}), "no CD drive"),
    ] {
        let said = test.fails(tool, arguments.clone()).await;
        assert!(said.contains(words), "{tool} {arguments}: {said}");
    }
    assert!(test.sent.writes().is_empty());
}
