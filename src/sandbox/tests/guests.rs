//! Virtual machines, containers, and their disks.

use std::time::Duration;

use super::*;

/// Calls something that begins a task on node pve1, and waits for its end; how it ended, and its log.
pub(super) async fn run(sandbox: &Sandbox, line: &str, params: &str) -> (String, Vec<String>) {
    let got = call(sandbox, line, params).await;
    let upid = got.data().as_str().unwrap().to_owned();
    ended(sandbox, &upid).await
}

async fn ended(sandbox: &Sandbox, upid: &str) -> (String, Vec<String>) {
    let node = upid.split(':').nth(1).unwrap();
    let path = format!("GET /nodes/{node}/tasks/{}", crate::pve::encode(upid));
    loop {
        let status = call(sandbox, &format!("{path}/status"), "").await.data().clone();
        if status["status"] == "stopped" {
            let log = call(sandbox, &format!("{path}/log"), "limit=0").await;
            let lines = log.data().as_array().unwrap().iter().map(|line| line["t"].as_str().unwrap().to_owned());
            return (status["exitstatus"].as_str().unwrap().to_owned(), lines.collect());
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

pub(super) async fn config(sandbox: &Sandbox, guest: &str) -> Value {
    call(sandbox, &format!("GET /nodes/pve1/{guest}/config"), "").await.data().clone()
}

/// A stopped VM 500 with a disk and a network device.
pub(super) async fn vm(sandbox: &Sandbox) {
    let params = "vmid=500&name=one&memory=1024&cores=2&net0=virtio,bridge%3Dvmbr0&scsi0=local-lvm:8,discard%3Don";
    assert_eq!(run(sandbox, "POST /nodes/pve1/qemu", params).await.0, "OK");
}

#[tokio::test(start_paused = true)]
async fn a_new_vm_gets_its_disk_its_address_and_a_boot_order() {
    let sandbox = cluster(|_| {});
    vm(&sandbox).await;
    let config = config(&sandbox, "qemu/500").await;
    assert_eq!(config["scsi0"], "local-lvm:vm-500-disk-0,discard=on,size=8G");
    assert!(config["net0"].as_str().unwrap().starts_with("virtio=BC:24:11:"), "{config}");
    assert_eq!(config["boot"], "order=scsi0;net0");
    // Text where the option is a property string, a number where it is one.
    assert_eq!((&config["memory"], &config["cores"]), (&"1024".into(), &2.into()));
    let taken = call(&sandbox, "POST /nodes/pve1/qemu", "vmid=500").await;
    assert_eq!(taken.refusal(), (500, "unable to create VM 500 - VM 500 already exists on node 'pve1'"));
    let content = call(&sandbox, "GET /nodes/pve1/storage/local-lvm/content", "vmid=500").await;
    assert_eq!(content.data()[0]["volid"], "local-lvm:vm-500-disk-0");
}

#[tokio::test(start_paused = true)]
async fn a_vm_that_is_not_there_can_be_started_and_the_task_fails() {
    let sandbox = cluster(|_| {});
    let (status, _) = run(&sandbox, "POST /nodes/pve1/qemu/777/status/start", "").await;
    assert_eq!(status, "Configuration file 'nodes/pve1/qemu-server/777.conf' does not exist");
    let got = call(&sandbox, "GET /nodes/pve1/qemu/777/config", "").await;
    assert_eq!(got.refusal(), (500, "Configuration file 'nodes/pve1/qemu-server/777.conf' does not exist"));
}

#[tokio::test(start_paused = true)]
async fn changes_of_a_running_vm_wait_until_it_is_started_again() {
    let sandbox = cluster(|_| {});
    vm(&sandbox).await;
    assert_eq!(run(&sandbox, "POST /nodes/pve1/qemu/500/status/start", "").await.0, "OK");
    let again = run(&sandbox, "POST /nodes/pve1/qemu/500/status/start", "").await;
    assert_eq!(again.0, "VM 500 already running");
    assert_eq!(call(&sandbox, "PUT /nodes/pve1/qemu/500/config", "memory=2048&name=two").await.data(), &Value::Null);
    assert_eq!(config(&sandbox, "qemu/500").await["memory"], "2048");
    let now = call(&sandbox, "GET /nodes/pve1/qemu/500/config", "current=1").await;
    assert_eq!((&now.data()["memory"], &now.data()["name"]), (&"1024".into(), &"two".into()));
    let pending = call(&sandbox, "GET /nodes/pve1/qemu/500/pending", "").await;
    let memory = pending.data().as_array().unwrap().iter().find(|row| row["key"] == "memory").unwrap().clone();
    assert_eq!((&memory["value"], &memory["pending"]), (&"1024".into(), &"2048".into()));
    assert_eq!(run(&sandbox, "POST /nodes/pve1/qemu/500/status/stop", "").await.0, "OK");
    assert_eq!(run(&sandbox, "POST /nodes/pve1/qemu/500/status/start", "").await.0, "OK");
    let status = call(&sandbox, "GET /nodes/pve1/qemu/500/status/current", "").await;
    assert_eq!((&status.data()["maxmem"], &status.data()["status"]), (&(2_u64 << 30).into(), &"running".into()));
}

#[tokio::test(start_paused = true)]
async fn a_digest_that_is_old_guards_the_configuration() {
    let sandbox = cluster(|_| {});
    vm(&sandbox).await;
    let digest = config(&sandbox, "qemu/500").await["digest"].as_str().unwrap().to_owned();
    let first = call(&sandbox, "PUT /nodes/pve1/qemu/500/config", &format!("cores=4&digest={digest}")).await;
    assert_eq!(first.data(), &Value::Null);
    let second = call(&sandbox, "PUT /nodes/pve1/qemu/500/config", &format!("cores=8&digest={digest}")).await;
    assert_eq!(second.refusal(), (500, "checksum mismatch (file change by other user?)"));
    assert_eq!(config(&sandbox, "qemu/500").await["cores"], 4);
}

#[tokio::test(start_paused = true)]
async fn a_template_is_cloned_with_its_disks_and_cannot_go_while_clones_need_it() {
    let sandbox = cluster(|_| {});
    vm(&sandbox).await;
    assert_eq!(run(&sandbox, "POST /nodes/pve1/qemu/500/template", "").await.0, "OK");
    assert_eq!(config(&sandbox, "qemu/500").await["scsi0"], "local-lvm:base-500-disk-0,discard=on,size=8G");
    let (status, log) = run(&sandbox, "POST /nodes/pve1/qemu/500/clone", "newid=501&name=copy").await;
    assert_eq!((status.as_str(), log[0].as_str()), ("OK", "creating a clone of VM 500 with ID 501"));
    assert!(log.contains(&"create linked clone of drive scsi0 (local-lvm:base-500-disk-0)".to_owned()), "{log:?}");
    let (old, new) = (config(&sandbox, "qemu/500").await, config(&sandbox, "qemu/501").await);
    assert_eq!((&new["name"], &new["template"]), (&"copy".into(), &Value::Null));
    assert_ne!(old["net0"], new["net0"]);
    let (status, log) = run(&sandbox, "POST /nodes/pve1/qemu/500/clone", "newid=502&full=1").await;
    assert_eq!(status, "OK");
    assert!(log.iter().any(|line| line == "transferred 8.0 GiB of 8.0 GiB (100.00%)"), "{log:?}");
    let (status, _) = run(&sandbox, "DELETE /nodes/pve1/qemu/500", "").await;
    assert_eq!(status, "base volume 'local-lvm:base-500-disk-0' is still in use by linked cloned");
    assert_eq!(run(&sandbox, "DELETE /nodes/pve1/qemu/501", "purge=1").await.0, "OK");
    assert_eq!(run(&sandbox, "DELETE /nodes/pve1/qemu/500", "").await.0, "OK");
}

#[tokio::test(start_paused = true)]
async fn a_clone_that_is_stopped_leaves_nothing() {
    let sandbox = cluster(|_| {});
    vm(&sandbox).await;
    let got = call(&sandbox, "POST /nodes/pve1/qemu/500/clone", "newid=501&full=1").await;
    let upid = got.data().as_str().unwrap().to_owned();
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(config(&sandbox, "qemu/501").await["lock"], "clone");
    let stop = format!("DELETE /nodes/pve1/tasks/{}", crate::pve::encode(&upid));
    assert_eq!(call(&sandbox, &stop, "").await.data(), &Value::Null);
    assert_eq!(ended(&sandbox, &upid).await.0, "unexpected status");
    tokio::time::sleep(Duration::from_millis(1)).await;
    assert_eq!(call(&sandbox, "GET /nodes/pve1/qemu/501/config", "").await.status, 500);
    let content = call(&sandbox, "GET /nodes/pve1/storage/local-lvm/content", "vmid=501").await;
    assert_eq!(content.data().as_array().unwrap().len(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_snapshot_brings_the_configuration_back() {
    let sandbox = cluster(|_| {});
    vm(&sandbox).await;
    assert_eq!(run(&sandbox, "POST /nodes/pve1/qemu/500/snapshot", "snapname=before").await.0, "OK");
    call(&sandbox, "PUT /nodes/pve1/qemu/500/config", "cores=7").await.data();
    assert_eq!(run(&sandbox, "POST /nodes/pve1/qemu/500/snapshot/before/rollback", "").await.0, "OK");
    let config = config(&sandbox, "qemu/500").await;
    assert_eq!((&config["cores"], &config["parent"]), (&2.into(), &"before".into()));
    let list = call(&sandbox, "GET /nodes/pve1/qemu/500/snapshot", "").await;
    let names: Vec<_> = list.data().as_array().unwrap().iter().map(|row| row["name"].clone()).collect();
    assert_eq!(names, ["before", "current"]);
    assert_eq!(run(&sandbox, "DELETE /nodes/pve1/qemu/500/snapshot/before", "").await.0, "OK");
    assert_eq!(
        run(&sandbox, "DELETE /nodes/pve1/qemu/500/snapshot/before", "").await.0,
        "snapshot 'before' does not exist"
    );
}

#[tokio::test(start_paused = true)]
async fn disks_grow_and_never_shrink() {
    let sandbox = cluster(|_| {});
    vm(&sandbox).await;
    assert_eq!(run(&sandbox, "PUT /nodes/pve1/qemu/500/resize", "disk=scsi0&size=%2B2G").await.0, "OK");
    assert_eq!(config(&sandbox, "qemu/500").await["scsi0"], "local-lvm:vm-500-disk-0,discard=on,size=10G");
    let (status, _) = run(&sandbox, "PUT /nodes/pve1/qemu/500/resize", "disk=scsi0&size=1G").await;
    assert_eq!(status, "shrinking disks is not supported");
    call(&sandbox, "PUT /nodes/pve1/qemu/500/unlink", "idlist=scsi0").await.data();
    let config = config(&sandbox, "qemu/500").await;
    assert_eq!((&config["unused0"], &config["boot"]), (&"local-lvm:vm-500-disk-0".into(), &"order=net0".into()));
}

#[tokio::test(start_paused = true)]
async fn a_vm_moves_to_another_node_with_its_disks() {
    let sandbox = cluster(|_| {});
    vm(&sandbox).await;
    let can = call(&sandbox, "GET /nodes/pve1/qemu/500/migrate", "").await;
    assert_eq!(can.data()["local_disks"][0]["volid"], "local-lvm:vm-500-disk-0");
    let here = call(&sandbox, "POST /nodes/pve1/qemu/500/migrate", "target=pve1").await;
    assert_eq!((here.status, &here.body["errors"]["target"]), (400, &"target is local node.".into()));
    assert_eq!(run(&sandbox, "POST /nodes/pve1/qemu/500/migrate", "target=pve2").await.0, "OK");
    assert_eq!(call(&sandbox, "GET /nodes/pve1/qemu/500/config", "").await.status, 500);
    let there = call(&sandbox, "GET /nodes/pve2/qemu/500/config", "").await;
    assert_eq!(there.data()["scsi0"], "local-lvm:vm-500-disk-0,discard=on,size=8G");
    let content = call(&sandbox, "GET /nodes/pve2/storage/local-lvm/content", "vmid=500").await;
    assert_eq!(content.data().as_array().unwrap().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_container_is_made_from_a_template_and_refuses_at_once() {
    let sandbox = cluster(|_| {});
    let template = "ostemplate=local:vztmpl/debian-12-standard_12.7-1_amd64.tar.zst";
    let params =
        format!("vmid=600&hostname=ct&rootfs=local-lvm:4&net0=name%3Deth0,bridge%3Dvmbr0,ip%3Ddhcp&{template}");
    assert_eq!(run(&sandbox, "POST /nodes/pve1/lxc", &params).await.0, "OK");
    let config = config(&sandbox, "lxc/600").await;
    assert_eq!((&config["ostype"], &config["memory"]), (&"debian".into(), &512.into()));
    assert_eq!(config["rootfs"], "local-lvm:vm-600-disk-0,size=4G");
    let stopped = call(&sandbox, "POST /nodes/pve1/lxc/600/status/stop", "").await;
    assert_eq!(stopped.refusal(), (500, "CT 600 not running"));
    assert_eq!(run(&sandbox, "POST /nodes/pve1/lxc/600/status/start", "").await.0, "OK");
    let again = call(&sandbox, "POST /nodes/pve1/lxc/600/status/start", "").await;
    assert_eq!(again.refusal(), (500, "CT 600 already running"));
    let delete = call(&sandbox, "DELETE /nodes/pve1/lxc/600", "").await;
    assert_eq!(delete.refusal(), (500, "unable to destroy CT 600 - container is running"));
    let taken = call(&sandbox, "POST /nodes/pve1/lxc", &params).await;
    assert_eq!(taken.refusal(), (500, "CT 600 already exists on node 'pve1'"));
}

#[tokio::test(start_paused = true)]
async fn a_vm_without_a_system_does_not_shut_down_and_holds_the_lock_meanwhile() {
    let sandbox = cluster(|_| {});
    vm(&sandbox).await;
    assert_eq!(run(&sandbox, "POST /nodes/pve1/qemu/500/status/start", "").await.0, "OK");
    let got = call(&sandbox, "POST /nodes/pve1/qemu/500/status/shutdown", "timeout=30").await;
    let upid = got.data().as_str().unwrap().to_owned();
    let (status, _) = run(&sandbox, "POST /nodes/pve1/qemu/500/status/stop", "").await;
    assert_eq!(status, "can't lock file '/var/lock/qemu-server/lock-500.conf' - got timeout");
    assert_eq!(run(&sandbox, "POST /nodes/pve1/qemu/500/status/stop", "overrule-shutdown=1").await.0, "OK");
    assert_eq!(ended(&sandbox, &upid).await.0, "unexpected status");
}

#[tokio::test(start_paused = true)]
async fn a_backup_can_be_restored_under_another_number() {
    let sandbox = cluster(|_| {});
    vm(&sandbox).await;
    assert_eq!(run(&sandbox, "POST /nodes/pve1/vzdump", "vmid=500&storage=nas&compress=zstd").await.0, "OK");
    let content = call(&sandbox, "GET /nodes/pve1/storage/nas/content", "content=backup&vmid=500").await;
    let volid = content.data()[0]["volid"].as_str().unwrap().to_owned();
    let params = format!("vmid=510&archive={}&storage=local-lvm&unique=1", crate::pve::encode(&volid));
    assert_eq!(run(&sandbox, "POST /nodes/pve1/qemu", &params).await.0, "OK");
    let (old, new) = (config(&sandbox, "qemu/500").await, config(&sandbox, "qemu/510").await);
    assert_eq!(new["scsi0"], "local-lvm:vm-510-disk-0,discard=on,size=8G");
    assert_eq!(old["name"], new["name"]);
    assert_ne!(old["net0"], new["net0"]);
}
