//! Disks as a real server treats them: what is refused in which words, what waits, what is kept.

use super::{
    guests::{config, run, vm},
    *,
};

async fn refused(sandbox: &Sandbox, line: &str, params: &str) -> String {
    let got = call(sandbox, line, params).await;
    assert!(got.status >= 400, "{}", got.body);
    let errors = got.body["errors"].as_object().into_iter().flatten().map(|(key, text)| format!("{key}: {text}"));
    errors.fold(got.reason.clone(), |all, error| format!("{all} {error}"))
}

#[tokio::test(start_paused = true)]
async fn a_disk_is_handed_to_another_vm_with_a_name_of_its_own() {
    let sandbox = cluster(|_| {});
    vm(&sandbox).await;
    let line = "POST /nodes/pve1/qemu/500/move_disk";
    for (params, words) in [
        ("disk=scsi0", "both 'storage' and 'target-vmid' missing, either needs to be set"),
        ("disk=scsi0&storage=nas&target-vmid=106", "either set 'storage' or 'target-vmid', but not both"),
        ("disk=scsi0&target-vmid=500", "must be different than source VMID to reassign disk"),
        ("disk=scsi0&target-vmid=777", "could not find target VM 777"),
        ("disk=scsi0&target-vmid=101", "Both VMs need to be on the same node (pve1 != pve2)"),
        ("disk=scsi0&target-vmid=9000", "Can't move disks from or to template VMs"),
        ("disk=scsi0&target-vmid=106", "Target disk key 'scsi0' is already in use for VM '106'"),
        ("disk=scsi7&target-vmid=106", "Disk 'scsi7' for VM '500' does not exist"),
    ] {
        let said = refused(&sandbox, line, params).await;
        assert!(said.contains(words), "{params}: {said}");
    }
    let (status, log) = run(&sandbox, line, "disk=scsi0&target-vmid=106&target-disk=scsi3").await;
    assert_eq!(
        (status.as_str(), log[0].as_str()),
        ("OK", "reassign disk 'scsi0' from VM '500' as 'scsi3' to VM '106'")
    );
    assert_eq!(config(&sandbox, "qemu/106").await["scsi3"], "local-lvm:vm-106-disk-1,discard=on,size=8G");
    let left = config(&sandbox, "qemu/500").await;
    assert_eq!((left.get("scsi0"), &left["boot"]), (None, &"order=net0".into()));
}

#[tokio::test(start_paused = true)]
async fn what_a_running_vm_does_not_give_up_is_pending_until_it_is_started_again() {
    let sandbox = cluster(|_| {});
    vm(&sandbox).await;
    let add = "sata0=local-lvm:1&sata1=local-lvm:1";
    call(&sandbox, "PUT /nodes/pve1/qemu/500/config", add).await.data();
    assert_eq!(run(&sandbox, "POST /nodes/pve1/qemu/500/status/start", "").await.0, "OK");
    call(&sandbox, "PUT /nodes/pve1/qemu/500/config", "delete=sata0").await.data();
    call(&sandbox, "PUT /nodes/pve1/qemu/500/unlink", "idlist=sata1&force=1").await.data();
    let pending = call(&sandbox, "GET /nodes/pve1/qemu/500/pending", "").await.data().clone();
    let doom = |key: &str| pending.as_array().unwrap().iter().find(|row| row["key"] == key).unwrap()["delete"].clone();
    assert_eq!((doom("sata0"), doom("sata1")), (1.into(), 2.into()));
    assert_eq!(run(&sandbox, "POST /nodes/pve1/qemu/500/status/stop", "").await.0, "OK");
    assert_eq!(run(&sandbox, "POST /nodes/pve1/qemu/500/status/start", "").await.0, "OK");
    let config = config(&sandbox, "qemu/500").await;
    assert_eq!((config.get("sata0"), config.get("sata1")), (None, None));
    assert_eq!((&config["unused0"], config.get("unused1")), (&"local-lvm:vm-500-disk-1".into(), None));
    let content = call(&sandbox, "GET /nodes/pve1/storage/local-lvm/content", "vmid=500").await;
    assert_eq!(content.data().as_array().unwrap().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn an_import_needs_its_own_syntax_and_the_right_content() {
    let sandbox = cluster(|_| {});
    vm(&sandbox).await;
    let line = "PUT /nodes/pve1/qemu/500/config";
    let image = "local:import/debian-12-generic-amd64.qcow2";
    for (value, words) in [
        (
            format!("local-lvm:8,import-from={image}"),
            "requires special syntax - use <storage ID>:0,import-from=<source>",
        ),
        ("local-lvm:0,import-from=local:iso/x.iso".to_owned(), "local:iso/x.iso has wrong type 'iso'"),
        ("local-lvm:0,import-from=local:import/no.raw".to_owned(), "could not get size of local:import/no.raw"),
        ("local:iso/virtio-win-0.1.262.iso".to_owned(), "explicit 'media=cdrom' is required for iso images"),
    ] {
        let said = refused(&sandbox, line, &format!("scsi1={}", crate::pve::encode(&value))).await;
        assert!(said.contains(words), "{value}: {said}");
    }
    let value = format!("local-lvm:0,import-from={image}");
    call(&sandbox, line, &format!("scsi1={}", crate::pve::encode(&value))).await.data();
    assert_eq!(config(&sandbox, "qemu/500").await["scsi1"], "local-lvm:vm-500-disk-1,size=3G");
    let listed = call(&sandbox, "GET /nodes/pve1/storage/local/content", "content=import").await;
    assert_eq!(listed.data()[0]["size"], 424 << 20);
}

#[tokio::test(start_paused = true)]
async fn volumes_of_snapshots_and_of_protected_guests_are_kept() {
    let sandbox = cluster(|_| {});
    vm(&sandbox).await;
    assert_eq!(run(&sandbox, "POST /nodes/pve1/qemu/500/snapshot", "snapname=one").await.0, "OK");
    let line = "PUT /nodes/pve1/qemu/500/config";
    let said = refused(&sandbox, "POST /nodes/pve1/qemu/500/move_disk", "disk=scsi0&storage=nas&delete=1").await;
    assert_eq!(said, "you can't move a disk with snapshots and delete the source");
    call(&sandbox, line, "delete=scsi0").await.data();
    let said = refused(&sandbox, line, "delete=unused0").await;
    assert_eq!(said, "unable to delete 'local-lvm:vm-500-disk-0' - volume is still in use (snapshot?)");
    call(&sandbox, line, "scsi0=local-lvm:vm-500-disk-0&protection=1").await.data();
    let said = refused(&sandbox, line, "delete=scsi0").await;
    assert_eq!(said, "can't remove drive 'scsi0' - protection mode enabled");
}

#[tokio::test(start_paused = true)]
async fn a_new_cd_drive_joins_the_boot_order() {
    let sandbox = cluster(|_| {});
    vm(&sandbox).await;
    call(&sandbox, "PUT /nodes/pve1/qemu/500/config", "ide2=none,media%3Dcdrom").await.data();
    assert_eq!(config(&sandbox, "qemu/500").await["boot"], "order=scsi0;net0;ide2");
}

#[tokio::test(start_paused = true)]
async fn a_size_that_is_there_already_is_nothing_for_a_vm_and_an_error_for_a_container() {
    let sandbox = cluster(|_| {});
    vm(&sandbox).await;
    assert_eq!(run(&sandbox, "PUT /nodes/pve1/qemu/500/resize", "disk=scsi0&size=8G").await.0, "OK");
    let said = refused(&sandbox, "PUT /nodes/pve1/lxc/108/resize", "disk=rootfs&size=8G").await;
    assert_eq!(said, "disk is already at specified size");
}
