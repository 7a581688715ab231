//! Requests and what they touch.

use super::*;

fn of(request: Request) -> Reach {
    Reach::of(&[request])
}

fn guests(request: Request) -> Vec<u32> {
    of(request).guests.into_keys().collect()
}

#[test]
fn a_guest_is_touched_wherever_a_request_names_it() {
    for request in [
        Request::post("/nodes/pve1/qemu/100/status/start"),
        Request::delete("/nodes/pve1/lxc/100"),
        Request::post("/nodes/pve1/qemu/100/firewall/rules"),
        Request::post("/nodes/pve1/vzdump").param("vmid", "100"),
        Request::post("/nodes/pve1/stopall").param("vms", "100"),
        Request::put("/pools").param("poolid", "dev").param("vms", "100"),
        Request::put("/access/acl").param("path", "/vms/100").param("roles", "PVEAdmin"),
        Request::post("/cluster/ha/resources").param("sid", "vm:100"),
        Request::delete("/cluster/ha/resources/vm%3A100"),
        Request::post("/cluster/replication").param("id", "100-0"),
        Request::post("/nodes/pve1/replication/100-0/schedule_now"),
        Request::post("/cluster/ha/rules").param("resources", "vm:100"),
        Request::post("/nodes/pve1/storage/local-lvm/content").param("vmid", "100"),
        Request::post("/cluster/backup").param("vmid", "100"),
        Request::delete("/nodes/pve1/storage/local-lvm/content/local-lvm%3Avm-100-disk-1"),
        Request::delete("/nodes/pve1/storage/nas/content/nas%3A100%2Fvm-100-disk-0.qcow2"),
        Request::delete("/nodes/pve1/storage/nas/content/nas%3Abackup%2Fvzdump-qemu-100-2026_01_01-00_00_00.vma.zst"),
        Request::delete("/nodes/pve1/storage/pbs/content/pbs%3Abackup%2Fvm%2F100%2F2026-01-01T00%3A00%3A00Z"),
        Request::delete("/nodes/pve1/storage/nas/prunebackups").param("vmid", "100"),
        Request::delete(
            "/nodes/pve1/tasks/UPID%3Apve1%3A00000F00%3A0000F000%3A6A000000%3Aqmstart%3A100%3Aroot%40pam%3A",
        ),
        Request::post("/nodes/pve1/qemu").param("vmid", "100").param("archive", "a").param("force", "1"),
        Request::post("/nodes/pve1/qemu/100/move_disk").param("disk", "scsi0").param("target-vmid", "100"),
    ] {
        let text = request.to_string();
        assert_eq!(guests(request), [100], "{text}");
    }
}

#[test]
fn what_only_reads_touches_nothing() {
    assert_eq!(of(Request::get("/nodes/pve1/qemu/100/config")), Reach::default());
}

#[test]
fn a_copy_is_made_and_its_source_left_alone() {
    let reach = of(Request::post("/nodes/pve1/qemu/9000/clone")
        .param("newid", 120)
        .param("name", "web")
        .param("pool", "dev")
        .param("target", "pve2")
        .param("storage", "nas"));
    assert!(reach.guests.is_empty());
    let made = reach.made.get(&120).cloned().unwrap_or_default();
    assert_eq!((made.node.as_str(), made.from, made.pool.as_deref()), ("pve2", Some(9000), Some("dev")));
    assert_eq!(reach.nodes.into_iter().collect::<Vec<_>>(), ["pve1", "pve2"]);
    assert_eq!(reach.storages.into_iter().collect::<Vec<_>>(), ["nas"]);
}

#[test]
fn what_is_done_to_a_guest_just_made_is_no_other_guest_s() {
    let made = Request::post("/nodes/pve1/qemu/9000/clone").param("newid", 120);
    let then = Request::put("/nodes/pve1/qemu/120/config").param("cores", 4).param("memory", 4096);
    let reach = Reach::of(&[made, then]);
    assert!(reach.guests.is_empty());
    assert_eq!(reach.sizes, [Size::Cores { vmid: 120, cores: Some(4), sockets: None }, Size::Memory(4 << 30)]);
}

#[test]
fn some_requests_concern_all_guests() {
    for (request, all) in [
        (Request::post("/nodes/pve1/stopall"), Some("pve1")),
        (Request::post("/nodes/pve1/status").param("command", "reboot"), Some("pve1")),
        (Request::post("/nodes/pve1/vzdump").param("all", 1), Some("pve1")),
        (Request::put("/access/acl").param("path", "/").param("roles", "Administrator"), None),
        (Request::put("/access/acl").param("path", "/vms").param("roles", "PVEAdmin"), None),
    ] {
        let text = request.to_string();
        assert_eq!(of(request).all_of.into_iter().collect::<Vec<_>>(), [all.map(str::to_owned)], "{text}");
    }
    let pool = of(Request::put("/access/acl").param("path", "/pool/dev").param("roles", "PVEAdmin"));
    assert!(pool.pools.contains("dev"));
}

#[test]
fn disks_and_their_storages_are_counted() {
    let reach = of(Request::post("/nodes/pve1/qemu")
        .param("vmid", 120)
        .param("scsi0", "local-lvm:32,discard=on")
        .param("ide2", "nas:iso/debian.iso,media=cdrom"));
    assert_eq!(reach.storages.into_iter().collect::<Vec<_>>(), ["local-lvm"]);
    assert_eq!(reach.sizes, [Size::Disk(32 << 30)]);
    let grows = of(Request::put("/nodes/pve1/qemu/100/resize").param("disk", "scsi0").param("size", "+8G"));
    assert_eq!(grows.sizes, [Size::Grows { vmid: 100, disk: "scsi0".to_owned(), by: 8 << 30 }]);
    let foreign = Request::put("/nodes/pve1/qemu/100/config").param("scsi1", "local-lvm:vm-200-disk-0");
    assert_eq!(guests(foreign), [100, 200]);
}

#[test]
fn commands_and_what_is_as_good_as_one_are_told_apart() {
    let exec = Request::post("/nodes/pve1/qemu/100/agent/exec").param("command", "ls").param("command", "-l");
    assert_eq!(of(exec).commands, [Some(vec!["ls".to_owned(), "-l".to_owned()])]);
    let file = Request::post("/nodes/pve1/qemu/100/agent/file-write").param("file", "/etc/crontab");
    assert_eq!(of(file).commands, [None]);
}
