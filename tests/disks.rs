//! Disks of VMs and volumes of containers: grown, added, detached, destroyed, moved and imported.
#![expect(clippy::unwrap_used, reason = "tests")]

mod support;

use serde_json::{Value, json};
use support::{Test, options, start};

async fn config(test: &Test, vmid: u32) -> Value {
    let vm = !(108..9000).contains(&vmid);
    let tool = if vm { "proxmox-vm-info" } else { "proxmox-lxc-info" };
    test.call(tool, json!({"vmid": vmid})).await["config"].clone()
}

fn path(request: &Value) -> &str {
    request["path"].as_str().unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_disk_grows_by_what_is_given() {
    let test = start(options()).await;
    let grown = test.call("proxmox-resize-vm-disk", json!({"vmid": 102, "grow_gb": 50, "confirm": true})).await;
    assert_eq!((&grown["state"], &grown["exitstatus"]), (&json!("done"), &json!("OK")));
    assert!(grown["summary"].as_str().unwrap().contains("grow scsi0 (200G → 250G)"), "{grown}");
    assert!(grown["warnings"][0].as_str().unwrap().contains("file system"), "{grown}");
    assert!(config(&test, 102).await["scsi0"].as_str().unwrap().ends_with("size=250G"));
    assert_eq!(test.sent.writes(), ["PUT /nodes/pve2/qemu/102/resize"]);
}

#[tokio::test(start_paused = true)]
async fn a_volume_of_a_container_grows_to_the_size_given() {
    let test = start(options()).await;
    for size in [json!("12G"), json!(13)] {
        let grown = test.call("proxmox-resize-lxc-disk", json!({"name": "pihole", "size": size, "confirm": true}));
        assert_eq!(grown.await["exitstatus"], "OK");
    }
    assert!(config(&test, 108).await["rootfs"].as_str().unwrap().ends_with("size=13G"));
}

#[tokio::test(start_paused = true)]
async fn a_dry_run_of_a_resize_shows_old_and_new_and_sends_nothing() {
    let test = start(options()).await;
    let plan = test.call("proxmox-resize-vm-disk", json!({"vmid": 107, "size": "20G", "dry_run": true})).await;
    let change = &plan["changes"][0];
    assert_eq!(change["key"], "scsi0");
    assert!(change["old"].as_str().unwrap().ends_with("size=8G"), "{plan}");
    assert!(change["new"].as_str().unwrap().ends_with("size=20G"), "{plan}");
    assert_eq!(plan["requests"][0]["params"]["size"], "20G");
    assert_eq!(
        test.call("proxmox-resize-vm-disk", json!({"vmid": 107, "grow_gb": 1})).await["state"],
        "needs_confirmation"
    );
    assert!(test.sent.writes().is_empty());
}

#[tokio::test(start_paused = true)]
async fn what_would_shrink_or_not_grow_is_refused_before_it_is_sent() {
    let test = start(options()).await;
    for (arguments, words) in [
        (json!({"size": "4G"}), "scsi0 has 8G already"),
        (json!({"size": "8G"}), "scsi0 has 8G already"),
        (json!({}), "grow_gb: expected at least 1"),
        (json!({"size": "20G", "grow_gb": 2}), "expected one of them"),
        (json!({"size": "big"}), "size: expected a size such as '40G'"),
        (json!({"disk": "scsi3", "grow_gb": 1}), "scsi0 (local-lvm:vm-107-disk-0"),
        (json!({"disk": "ide2", "grow_gb": 1}), "is a CD drive"),
    ] {
        let mut all = json!({"vmid": 107, "confirm": true});
        all.as_object_mut().unwrap().extend(arguments.as_object().unwrap().clone());
        let said = test.fails("proxmox-resize-vm-disk", all).await;
        assert!(said.contains(words), "{arguments}: {said}");
    }
    let said =
        test.fails("proxmox-resize-vm-disk", json!({"vmid": 9000, "disk": "ide2", "grow_gb": 1, "confirm": true}));
    assert!(said.await.contains("cloud-init"));
    assert!(test.sent.writes().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_disk_is_added_detached_attached_again_and_destroyed() {
    let test = start(options()).await;
    let added = test
        .call("proxmox-disk-add", json!({"vmid": 104, "size_gb": 20, "storage": "local-lvm", "options": "ssd=1"}))
        .await;
    assert_eq!(added["result"]["disk"], "scsi1", "{added}");
    assert_eq!(added["result"]["value"], "local-lvm:vm-104-disk-1,size=20G,ssd=1", "{added}");
    let off = test.call("proxmox-disk-detach", json!({"vmid": 104, "disk": "scsi1", "confirm": true})).await;
    assert_eq!(off["result"], json!({"detached": "scsi1", "kept_as": "unused0", "volume": "local-lvm:vm-104-disk-1"}));
    let on = json!({"vmid": 104, "volume": "unused0", "bus": "virtio", "boot": true});
    assert_eq!(test.call("proxmox-disk-add", on).await["result"]["disk"], "virtio0");
    let config = config(&test, 104).await;
    assert!(config["virtio0"].as_str().unwrap().starts_with("local-lvm:vm-104-disk-1"), "{config}");
    assert!(config.get("unused0").is_none() && config["boot"] == "order=virtio0;scsi0;ide2;net0", "{config}");
    let said = test.fails("proxmox-disk-remove", json!({"vmid": 104, "disk": "virtio0", "confirm": true})).await;
    assert!(said.contains("is attached") && said.contains("force: true"), "{said}");
    let gone =
        test.call("proxmox-disk-remove", json!({"vmid": 104, "disk": "virtio0", "force": true, "confirm": true})).await;
    assert_eq!(gone["exitstatus"], "OK", "{gone}");
    let volumes =
        test.call("proxmox-storage-content", json!({"storage": "local-lvm", "node": "pve1", "vmid": 104})).await;
    assert_eq!(volumes["total"], 1, "{volumes}");
}

#[tokio::test(start_paused = true)]
async fn a_detached_disk_is_destroyed_only_when_that_is_confirmed() {
    let test = start(options()).await;
    test.call("proxmox-disk-detach", json!({"vmid": 107, "disk": "scsi0", "confirm": true})).await;
    test.sent.forget();
    let asked = test.call("proxmox-disk-remove", json!({"vmid": 107, "disk": "unused0"})).await;
    assert_eq!(asked["state"], "needs_confirmation");
    assert!(asked["warnings"][0].as_str().unwrap().contains("all data"), "{asked}");
    assert!(test.sent.writes().is_empty());
    test.call("proxmox-disk-remove", json!({"vmid": 107, "disk": "unused0", "confirm": true})).await;
    let volumes =
        test.call("proxmox-storage-content", json!({"storage": "local-lvm", "node": "pve2", "vmid": 107})).await;
    assert_eq!(volumes["total"], 0, "{volumes}");
}

#[tokio::test(start_paused = true)]
async fn a_protected_guest_keeps_its_disks() {
    let test = start(options()).await;
    test.sandbox.by_hand().set(107, "protection", Some("1"));
    let arguments = json!({"vmid": 107, "disk": "scsi0", "force": true, "confirm": true});
    let said = test.fails("proxmox-disk-remove", arguments).await;
    assert!(said.contains("protected"), "{said}");
    assert!(test.sent.writes().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_disk_on_a_bus_without_hotplug_waits_for_the_next_start() {
    let test = start(options()).await;
    let added =
        test.call("proxmox-disk-add", json!({"vmid": 104, "size_gb": 1, "storage": "local-lvm", "bus": "sata"})).await;
    assert!(added["warnings"][0].as_str().unwrap().contains("stopped and started"), "{added}");
    assert!(added["result"]["pending"].is_string(), "{added}");
    for tool in ["proxmox-stop-vm", "proxmox-start-vm"] {
        test.call(tool, json!({"vmid": 104, "wait": true})).await;
    }
    let off = test.call("proxmox-disk-detach", json!({"vmid": 104, "disk": "sata0", "confirm": true})).await;
    assert!(off["result"]["pending"].as_str().unwrap().contains("until then it is attached"), "{off}");
    for tool in ["proxmox-stop-vm", "proxmox-start-vm"] {
        test.call(tool, json!({"vmid": 104, "wait": true})).await;
    }
    let config = config(&test, 104).await;
    assert_eq!(config["unused0"], "local-lvm:vm-104-disk-1", "{config}");
}

#[tokio::test(start_paused = true)]
async fn a_container_gets_a_mount_point_and_loses_it_when_it_is_stopped() {
    let test = start(options()).await;
    let arguments =
        json!({"vmid": 108, "size_gb": 4, "storage": "local-lvm", "path": "/srv/data", "options": "backup=1"});
    let added = test.call("proxmox-disk-add", arguments).await;
    assert_eq!(added["result"]["value"], "local-lvm:vm-108-disk-1,backup=1,mp=/srv/data,size=4G", "{added}");
    let off = test.call("proxmox-disk-detach", json!({"vmid": 108, "disk": "mp0", "confirm": true})).await;
    assert!(off["result"]["pending"].is_string(), "{off}");
    test.call("proxmox-stop-lxc", json!({"vmid": 108, "wait": true})).await;
    assert_eq!(config(&test, 108).await["unused0"], "local-lvm:vm-108-disk-1");
    test.call("proxmox-disk-remove", json!({"vmid": 108, "disk": "unused0", "confirm": true})).await;
    assert!(config(&test, 108).await.get("unused0").is_none());
}

#[tokio::test(start_paused = true)]
async fn disks_that_make_no_sense_are_refused_with_what_was_expected() {
    let test = start(options()).await;
    for (tool, arguments, words) in [
        ("proxmox-disk-add", json!({"vmid": 104}), "size_gb, volume: expected one of them"),
        ("proxmox-disk-add", json!({"vmid": 104, "size_gb": 1, "path": "/x"}), "path: expected for containers only"),
        ("proxmox-disk-add", json!({"vmid": 108, "size_gb": 1, "storage": "nas"}), "path: expected where"),
        ("proxmox-disk-add", json!({"vmid": 104, "volume": "scsi0"}), "scsi0 is attached"),
        (
            "proxmox-disk-add",
            json!({"vmid": 104, "size_gb": 1, "storage": "nas", "options": "ssd"}),
            "expected key=value",
        ),
        ("proxmox-disk-add", json!({"vmid": 104, "size_gb": 1}), "storage: missing"),
        ("proxmox-disk-detach", json!({"vmid": 104, "disk": "scsi9", "confirm": true}), "has no 'scsi9'"),
        ("proxmox-disk-detach", json!({"vmid": 108, "disk": "rootfs", "confirm": true}), "rootfs"),
        ("proxmox-disk-detach", json!({"vmid": 104, "disk": "ide2", "confirm": true}), "CD drive"),
        ("proxmox-disk-remove", json!({"vmid": 104, "disk": "ide2", "confirm": true}), "CD drive"),
        ("proxmox-disk-remove", json!({"vmid": 108, "disk": "rootfs", "confirm": true}), "rootfs"),
        ("proxmox-move-disk", json!({"vmid": 100, "disk": "scsi0"}), "storage, target_vmid: expected one of them"),
        ("proxmox-move-disk", json!({"vmid": 100, "disk": "scsi0", "storage": "nas"}), "is on nas already"),
        ("proxmox-move-disk", json!({"vmid": 100, "disk": "scsi0", "target_vmid": 101}), "not on the same node"),
        ("proxmox-disk-import", json!({"vmid": 107, "source": "/tmp/x.qcow2"}), "expected a volume id or URL"),
        ("proxmox-disk-import", json!({"vmid": 107, "source": "https://x.test/noble.img"}), "filename"),
        (
            "proxmox-migrate-storage",
            json!({"vmid": 100, "source_storage": "x", "target_storage": "nas"}),
            "has no disk on x",
        ),
    ] {
        let said = test.fails(tool, arguments.clone()).await;
        assert!(said.contains(words), "{tool} {arguments}: {said}");
    }
    assert!(test.sent.writes().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_disk_moves_while_its_vm_runs_and_its_source_is_kept_or_deleted() {
    let test = start(options()).await;
    let moved = test.call("proxmox-move-disk", json!({"vmid": 101, "disk": "scsi0", "storage": "local-lvm"})).await;
    assert_eq!((&moved["state"], &moved["exitstatus"]), (&json!("done"), &json!("OK")), "{moved}");
    let now = config(&test, 101).await;
    assert!(now["scsi0"].as_str().unwrap().starts_with("local-lvm:vm-101-disk-0,"), "{now}");
    assert_eq!(now["unused0"], "nas:101/vm-101-disk-0.qcow2");
    let back = json!({"vmid": 101, "disk": "scsi0", "storage": "nas", "format": "qcow2", "delete": true});
    test.call("proxmox-move-disk", back).await;
    let now = config(&test, 101).await;
    assert!(now["scsi0"].as_str().unwrap().starts_with("nas:101/vm-101-disk-1.qcow2,"), "{now}");
    assert!(now.get("unused1").is_none(), "{now}");
}

#[tokio::test(start_paused = true)]
async fn a_source_that_snapshots_use_is_not_deleted_and_the_plan_warns() {
    let test = start(options()).await;
    let arguments = json!({"vmid": 100, "disk": "scsi0", "storage": "local-lvm", "delete": true});
    let said = test.fails("proxmox-move-disk", arguments.clone()).await;
    assert!(said.contains("you can't move a disk with snapshots and delete the source"), "{said}");
    let mut dry = arguments;
    dry["dry_run"] = true.into();
    assert!(test.call("proxmox-move-disk", dry).await["warnings"][0].as_str().unwrap().contains("snapshots"));
}

#[tokio::test(start_paused = true)]
async fn a_detached_disk_is_handed_to_another_vm_of_the_node() {
    let test = start(options()).await;
    let running = test.fails("proxmox-move-disk", json!({"vmid": 104, "disk": "scsi0", "target_vmid": 106})).await;
    assert!(running.contains("while the source VM is running"), "{running}");
    let handed = test.call("proxmox-move-disk", json!({"vmid": 106, "disk": "scsi0", "target_vmid": 104})).await;
    assert_eq!(handed["exitstatus"], "OK", "{handed}");
    assert!(handed["upid"].as_str().unwrap().contains("106-scsi0>104-scsi1"), "{handed}");
    assert!(config(&test, 104).await["scsi1"].as_str().unwrap().starts_with("local-lvm:vm-104-disk-1,"));
    let left = config(&test, 106).await;
    assert!(left.get("scsi0").is_none() && left["boot"] == "order=ide2;net0", "{left}");
}

#[tokio::test(start_paused = true)]
async fn a_stopped_container_s_volume_moves_and_a_running_one_s_does_not() {
    let test = start(options()).await;
    let moved = test.call("proxmox-move-lxc-volume", json!({"vmid": 111, "storage": "nas", "delete": true})).await;
    assert_eq!(moved["exitstatus"], "OK", "{moved}");
    let now = config(&test, 111).await;
    assert!(now["rootfs"].as_str().unwrap().starts_with("nas:111/vm-111-disk-0.raw,"), "{now}");
    assert!(now.get("unused0").is_none() && now.get("lock").is_none(), "{now}");
    let said = test.fails("proxmox-move-lxc-volume", json!({"vmid": 108, "storage": "nas"})).await;
    assert!(said.contains("cannot move volumes of a running container"), "{said}");
}

#[tokio::test(start_paused = true)]
async fn everything_a_guest_has_on_a_storage_moves_one_disk_after_the_other() {
    let test = start(options()).await;
    test.call("proxmox-disk-add", json!({"vmid": 101, "size_gb": 2, "storage": "nas", "options": "format=qcow2"}))
        .await;
    test.sent.forget();
    let arguments = json!({"vmid": 101, "source_storage": "nas", "target_storage": "local-lvm"});
    let mut dry = arguments.clone();
    dry["dry_run"] = true.into();
    let plan = test.call("proxmox-migrate-storage", dry).await;
    let paths: Vec<&str> = plan["requests"].as_array().unwrap().iter().map(path).collect();
    assert_eq!(paths, ["/nodes/pve2/qemu/101/move_disk"; 2]);
    assert!(test.sent.writes().is_empty());
    let moved = test.call("proxmox-migrate-storage", arguments).await;
    assert_eq!((&moved["state"], test.sent.writes().len()), (&json!("done"), 2), "{moved}");
    let now = config(&test, 101).await;
    for key in ["scsi0", "scsi1"] {
        assert!(now[key].as_str().unwrap().starts_with("local-lvm:"), "{now}");
    }
    assert!(now.get("unused0").is_none(), "{now}");
    let offline = json!({"vmid": 101, "source_storage": "local-lvm", "target_storage": "nas", "online": false});
    assert!(test.fails("proxmox-migrate-storage", offline).await.contains("online is false"));
}

#[tokio::test(start_paused = true)]
async fn an_image_is_imported_with_its_own_size_and_booted_from() {
    let test = start(options()).await;
    let source = "local:import/debian-12-generic-amd64.qcow2";
    let arguments = json!({"vmid": 107, "source": source, "storage": "local-lvm", "boot": true});
    let done = test.call("proxmox-disk-import", arguments).await;
    assert_eq!(done["result"]["value"], "local-lvm:vm-107-disk-1,size=3G", "{done}");
    assert_eq!(config(&test, 107).await["boot"], "order=scsi1;scsi0;ide2;net0");
    let iso = json!({"vmid": 107, "source": "local:iso/virtio-win-0.1.262.iso", "storage": "local-lvm"});
    let said = test.fails("proxmox-disk-import", iso).await;
    assert!(said.contains("needs to be 'images' or 'import'"), "{said}");
}

#[tokio::test(start_paused = true)]
async fn an_image_from_the_web_is_downloaded_first_unless_it_is_there() {
    let test = start(options()).await;
    let sum = "0".repeat(64);
    let url = "https://cloud.test/noble.qcow2?x=1";
    let arguments = json!({"vmid": 107, "source": url, "storage": "nas", "checksum": sum, "dry_run": true});
    let plan = test.call("proxmox-disk-import", arguments).await;
    let requests = plan["requests"].as_array().unwrap();
    assert_eq!(path(&requests[0]), "/nodes/pve2/storage/local/download-url");
    assert_eq!(
        requests[0]["params"],
        json!({"content": "import", "filename": "noble.qcow2", "url": url, "checksum": sum, "checksum-algorithm": "sha256"})
    );
    assert_eq!(requests[1]["params"]["scsi1"], "nas:0,import-from=local:import/noble.qcow2");
    let there = "https://cloud.debian.org/images/cloud/bookworm/latest/debian-12-generic-amd64.qcow2";
    let done = test.call("proxmox-disk-import", json!({"vmid": 107, "source": there, "storage": "nas"})).await;
    assert_eq!(done["result"]["disk"], "scsi1", "{done}");
    assert_eq!(test.sent.writes(), ["POST /nodes/pve2/qemu/107/config"]);
    test.sent.forget();
    let url = "https://cloud-images.ubuntu.com/noble/current/noble-server-cloudimg-amd64.img";
    let arguments = json!({"vmid": 107, "source": url, "filename": "noble server.qcow2", "storage": "local-lvm"});
    let done = test.call("proxmox-disk-import", arguments).await;
    assert_eq!((&done["state"], &done["result"]["disk"]), (&json!("done"), &json!("scsi2")), "{done}");
    let writes = ["POST /nodes/pve2/storage/local/download-url", "POST /nodes/pve2/qemu/107/config"];
    assert_eq!(test.sent.writes(), writes);
    let there =
        test.call("proxmox-storage-content", json!({"storage": "local", "node": "pve2", "content": "import"})).await;
    assert!(there.to_string().contains("local:import/noble_server.qcow2"), "{there}");
}
