//! The guests that the sandbox begins with: templates, a dozen with names that mean something, and as many more as are
//! asked for.

use std::time::Duration;

use super::{GIB, MIB};
use crate::sandbox::{
    config::{Config, format_size},
    guest::{Guest, Kind, Run, Snapshot},
    inside::Ended,
    replication::Job,
    state::State,
    storage::{Volume, disk_volid},
};

/// What a guest is made of.
struct Plan<'a> {
    vmid: u32,
    kind: Kind,
    name: &'a str,
    /// Number of the node, from 0; counted around where there are fewer.
    node: usize,
    cores: u32,
    /// MiB.
    memory: u64,
    /// GiB.
    disk: u64,
    storage: &'a str,
    running: bool,
    tags: &'a str,
    pool: Option<&'a str>,
}

const fn plan(kind: Kind, name: &'static str, node: usize, size: (u32, u64, u64)) -> Plan<'static> {
    let (cores, memory, disk) = size;
    Plan { vmid: 0, kind, name, node, cores, memory, disk, storage: "local-lvm", running: true, tags: "", pool: None }
}

fn dozen() -> [Plan<'static>; 12] {
    use Kind::{Lxc, Qemu};
    let production = Some("production");
    let development = Some("development");
    [
        Plan { tags: "prod;web", pool: production, storage: "nas", ..plan(Qemu, "web-01", 0, (2, 4096, 32)) },
        Plan { tags: "prod;web", pool: production, storage: "nas", ..plan(Qemu, "web-02", 1, (2, 4096, 32)) },
        Plan { tags: "db;prod", pool: production, ..plan(Qemu, "postgres-01", 1, (8, 16_384, 200)) },
        Plan { tags: "prod", pool: production, storage: "tank", ..plan(Qemu, "mail", 2, (4, 8192, 100)) },
        Plan { tags: "monitoring;prod", ..plan(Qemu, "grafana", 0, (2, 4096, 40)) },
        Plan { tags: "ci;dev", pool: development, ..plan(Qemu, "gitlab-runner", 2, (8, 16_384, 80)) },
        Plan { tags: "dev;windows", pool: development, running: false, ..plan(Qemu, "win11-test", 0, (4, 8192, 64)) },
        Plan { tags: "dev", pool: development, running: false, ..plan(Qemu, "scratch-01", 1, (1, 1024, 8)) },
        Plan { tags: "dns;prod", pool: production, ..plan(Lxc, "pihole", 0, (1, 512, 8)) },
        Plan { tags: "prod;proxy", pool: production, ..plan(Lxc, "nginx-proxy", 1, (2, 1024, 8)) },
        Plan { tags: "cache;prod", storage: "nas", ..plan(Lxc, "redis-01", 2, (2, 2048, 16)) },
        Plan { tags: "dev", pool: development, running: false, ..plan(Lxc, "devbox", 2, (4, 4096, 30)) },
    ]
}

/// Fills the cluster.
pub fn populate(state: &mut State, nodes: &[String], count: usize, now: u64) {
    template(state, nodes, now, (9000, "debian-12-cloud", "nas", 3 * GIB, "cloud-init;debian;template"));
    template(state, nodes, now, (9001, "ubuntu-24.04-cloud", "local-lvm", 3584 * MIB, "cloud-init;template;ubuntu"));
    let dozen = dozen();
    let mut vmid = 100;
    for index in 0..count {
        let made;
        let plan = match dozen.get(index) {
            Some(known) => Plan { vmid, ..*known },
            None => {
                made = format!("{}-{:04}", ["app", "worker", "batch", "edge", "ct"][index % 5], index + 1);
                let kind = if index % 5 == 4 { Kind::Lxc } else { Kind::Qemu };
                let size = (1 + (index % 4) as u32, 1024 << (index % 3), 8 + 8 * (index % 5) as u64);
                let tags = ["", "dev", "prod", "batch;prod"][index % 4];
                Plan { vmid, name: &made, running: index % 7 != 3, tags, ..plan(kind, "", index, size) }
            }
        };
        guest(state, nodes, now, &plan);
        vmid += 1;
        if vmid == 9000 {
            vmid = 9002;
        }
    }
    if count > 0 {
        snapshot(state, 100, now);
        backup(state, 100, now);
        jobs(state, nodes, now);
        update(state, 105);
    }
    if let Some(guest) = state.guest_mut(105) {
        guest.config.set("ide2", "local:iso/debian-12.7.0-amd64-netinst.iso,media=cdrom,size=631M");
    }
}

fn guest(state: &mut State, nodes: &[String], now: u64, plan: &Plan<'_>) {
    let Plan { vmid, kind, .. } = *plan;
    let Some(node) = nodes.get(plan.node % nodes.len().max(1)) else { return };
    let Some(storage) = state.storages.get(plan.storage) else { return };
    let bytes = plan.disk * GIB;
    let (format, content) = match kind {
        Kind::Qemu => (storage.default_format(), "images"),
        Kind::Lxc => ("raw", "rootdir"),
    };
    let volid = disk_volid(storage, vmid, &format!("vm-{vmid}-disk-0"), format);
    let mut volume = Volume::new(&volid, content, format, bytes).of(vmid).at(now - 5_000_000);
    volume.used = bytes / 5 * 2;
    let (mac, uuid) = (state.random_mac(), state.random_uuid());
    let size = format_size(bytes);
    let mut config = match kind {
        Kind::Qemu => Config::new()
            .with("agent", "enabled=1")
            .with("boot", "order=scsi0;ide2;net0")
            .with("cores", plan.cores)
            .with("cpu", "x86-64-v2-AES")
            .with("ide2", "none,media=cdrom")
            .with("memory", plan.memory)
            .with("meta", format!("creation-qemu=10.0.13,ctime={}", now - 5_000_000))
            .with("name", plan.name)
            .with("net0", format!("virtio={mac},bridge=vmbr0,firewall=1"))
            .with("numa", 0)
            .with("onboot", u8::from(plan.running))
            .with("ostype", if plan.tags.contains("windows") { "win11" } else { "l26" })
            .with("scsi0", format!("{volid},discard=on,iothread=1,size={size}"))
            .with("scsihw", "virtio-scsi-single")
            .with("smbios1", format!("uuid={uuid}"))
            .with("sockets", 1)
            .with("vmgenid", uuid),
        Kind::Lxc => Config::new()
            .with("arch", "amd64")
            .with("cores", plan.cores)
            .with("features", "nesting=1")
            .with("hostname", plan.name)
            .with("memory", plan.memory)
            .with("net0", format!("name=eth0,bridge=vmbr0,firewall=1,hwaddr={mac},ip=dhcp,type=veth"))
            .with("onboot", u8::from(plan.running))
            .with("ostype", "debian")
            .with("rootfs", format!("{volid},size={size}"))
            .with("swap", 512)
            .with("unprivileged", 1),
    };
    if !plan.tags.is_empty() {
        config.set("tags", plan.tags);
    }
    state.add_volume(plan.storage, node, volume);
    let mut guest = Guest::new(vmid, kind, node, config);
    if plan.running {
        let since = now - 3_600 - u64::from(vmid) * 977 % 1_500_000;
        guest.run = Some(Run { since, pid: 2_000 + vmid, paused: false, started_with: guest.config.clone() });
    }
    state.add_guest(guest);
    state.set_pool(vmid, plan.pool);
}

fn template(
    state: &mut State,
    nodes: &[String],
    now: u64,
    (vmid, name, storage, bytes, tags): (u32, &str, &str, u64, &str),
) {
    let Some((node, found)) = nodes.first().zip(state.storages.get(storage)) else { return };
    let format = found.default_format();
    let disk = disk_volid(found, vmid, &format!("base-{vmid}-disk-0"), format);
    let seed = disk_volid(found, vmid, &format!("vm-{vmid}-cloudinit"), format);
    let mut volume = Volume::new(&disk, "images", format, bytes).of(vmid).at(now - 9_000_000);
    volume.used = bytes / 2;
    state.add_volume(storage, node, volume);
    state.add_volume(storage, node, Volume::new(&seed, "images", format, 4 * MIB).of(vmid).at(now - 9_000_000));
    let (mac, uuid) = (state.random_mac(), state.random_uuid());
    let config = Config::new()
        .with("agent", "enabled=1,fstrim_cloned_disks=1")
        .with("boot", "order=scsi0")
        .with("ciuser", "admin")
        .with("cores", 2)
        .with("cpu", "x86-64-v2-AES")
        .with("description", format!("{name} image, ready to clone"))
        .with("ide2", format!("{seed},media=cdrom,size=4M"))
        .with("ipconfig0", "ip=dhcp")
        .with("memory", 2048)
        .with("meta", format!("creation-qemu=10.0.13,ctime={}", now - 9_000_000))
        .with("name", name)
        .with("net0", format!("virtio={mac},bridge=vmbr0"))
        .with("ostype", "l26")
        .with("scsi0", format!("{disk},discard=on,size={}", format_size(bytes)))
        .with("scsihw", "virtio-scsi-single")
        .with("serial0", "socket")
        .with("smbios1", format!("uuid={uuid}"))
        .with("tags", tags)
        .with("template", 1)
        .with("vga", "serial0")
        .with("vmgenid", uuid);
    state.add_guest(Guest::new(vmid, Kind::Qemu, node, config));
}

fn snapshot(state: &mut State, vmid: u32, now: u64) {
    if let Some(guest) = state.guest_mut(vmid) {
        guest.snapshots.push(Snapshot {
            name: "before-upgrade".to_owned(),
            config: guest.config.clone(),
            time: now - 600_000,
            parent: None,
            description: Some("before the system upgrade".to_owned()),
            vmstate: false,
        });
        guest.config.set("parent", "before-upgrade");
    }
}

/// A program that somebody began through the agent, and whose end nobody has looked at.
fn update(state: &mut State, vmid: u32) {
    let Some(since) = state.guests().get(&vmid).and_then(|guest| guest.run.as_ref()).map(|run| run.since) else {
        return;
    };
    let inside = state.inside.entry(vmid).or_default();
    inside.booted(since);
    let out = b"Reading package lists...\n0 upgraded, 0 newly installed, 0 to remove and 0 not upgraded.\n".to_vec();
    inside.began(164, Duration::ZERO, Ended { out, ..Ended::default() });
}

fn backup(state: &mut State, vmid: u32, now: u64) {
    let Some(guest) = state.guests().get(&vmid) else { return };
    let saved = Some((guest.kind, guest.config.clone()));
    let (notes, node) = (guest.name(), guest.node.clone());
    for days in [8, 1] {
        let time = now - days * 86_400;
        let (y, m, d, h, min, s, _) = crate::sandbox::wire::civil(time);
        let name = format!("nas:backup/vzdump-qemu-{vmid}-{y:04}_{m:02}_{d:02}-{h:02}_{min:02}_{s:02}.vma.zst");
        let mut volume = Volume::new(name, "backup", "vma.zst", 2_140 * MIB).of(vmid).at(time);
        (volume.notes, volume.saved) = (notes.clone(), saved.clone());
        state.add_volume("nas", &node, volume);
    }
}

/// The nightly backup of what is in production, and the mail server's copy on another node.
fn jobs(state: &mut State, nodes: &[String], now: u64) {
    let nightly = Config::new()
        .with("schedule", "02:30")
        .with("enabled", 1)
        .with("pool", "production")
        .with("storage", "nas")
        .with("mode", "snapshot")
        .with("compress", "zstd")
        .with("notes-template", "{{guestname}}")
        .with("prune-backups", "keep-daily=7,keep-weekly=4")
        .with("comment", "production, every night");
    state.backup_jobs.push(("backup-nightly".to_owned(), nightly));
    let (Some(mail), Some(target)) = (state.guests().get(&103), nodes.first()) else { return };
    if mail.node == *target {
        return;
    }
    let job = Job {
        guest: mail.vmid,
        number: 0,
        target: target.clone(),
        source: mail.node.clone(),
        schedule: Some("*/15".to_owned()),
        rate: None,
        comment: None,
        disable: false,
        remove: None,
        created: now - 4_000_000,
        asked: None,
        failing: None,
    };
    state.replication.insert("103-0".to_owned(), job);
}
