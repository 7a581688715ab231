//! What was done at the recording server's shell, past the API, so that what the recordings speak of is there.

use proxmox_mcp::sandbox::{HeldLock, NewVolume, Options, Sandbox};

const GIB: u64 = 1 << 30;

/// The server as it was before the first recording.
pub fn server() -> Sandbox {
    let sandbox = Sandbox::new(Options {
        nodes: vec!["pve".to_owned()],
        guests: 0,
        epoch: Some(std::time::Duration::from_secs(0x6B00_F570)),
        fixed_secrets: true,
        ..Options::default()
    });
    let local = [("path", "/var/lib/vz"), ("content", "backup,import,snippets,vztmpl,iso")];
    let template = NewVolume {
        volid: "local:vztmpl/alpine-3.20-tiny_1_amd64.tar.gz",
        content: "vztmpl",
        format: "tgz",
        size: 800_000,
        used: 800_000,
        vmid: None,
    };
    sandbox
        .by_hand()
        .clear()
        .password("root@pam", "root-password")
        .token("root@pam!full", "full-secret")
        .storage("local", "dir", 252 * GIB, &local)
        .storage("data", "dir", 252 * GIB, &[("path", "/srv/data"), ("content", "images,rootdir")])
        .volume("pve", template)
        .volume("pve", disk("data:100/vm-100-disk-0.raw", "raw", 100, GIB))
        .guest(
            "qemu/100",
            "pve",
            &[
                ("boot", "order=scsi0;net0"),
                ("memory", "512"),
                ("meta", "creation-qemu=10.0.13,ctime=1795224711"),
                ("name", "test100"),
                ("net0", "virtio=BC:24:11:4B:1D:EB,bridge=vmbr0"),
                ("scsi0", "data:100/vm-100-disk-0.raw,size=1G"),
                ("smbios1", "uuid=1cdc77d8-4ebf-4605-80ed-8a48bd6ebe2f"),
                ("vmgenid", "9f2c0a66-9c0e-4c55-9d5c-0d3c9a6a4c11"),
            ],
            true,
        );
    sandbox
}

fn disk<'a>(volid: &'a str, format: &'a str, vmid: u32, used: u64) -> NewVolume<'a> {
    NewVolume { volid, content: "images", format, size: GIB, used, vmid: Some(vmid) }
}

/// The work at the shell, in its order: what was done before the recording of this number.
const DEEDS: [(u64, Deed); 9] = [
    // The server could not write the state of the job that was to be made.
    (526, Deed::ForgetTheBackupJob),
    // The server was restarted: VM 100 was left off.
    (640, Deed::StopTheFirst),
    // A VM with a system and its agent was made.
    (641, Deed::MakeTheAgentsGuest),
    (815, Deed::LoseAStorage),
    (821, Deed::HoldALock),
    (824, Deed::ReleaseTheLock),
    // The server was restarted again.
    (844, Deed::StopTheSecond),
    (944, Deed::LockForBackup),
    (964, Deed::SnapshotTheAgentsGuest),
];

#[derive(Clone, Copy)]
enum Deed {
    ForgetTheBackupJob,
    StopTheFirst,
    MakeTheAgentsGuest,
    LoseAStorage,
    HoldALock,
    ReleaseTheLock,
    LockForBackup,
    StopTheSecond,
    SnapshotTheAgentsGuest,
}

/// How far the work at the shell has come.
#[derive(Default)]
pub struct Shell {
    done: usize,
    held: Option<HeldLock>,
}

impl Shell {
    /// Does everything that was done before a recording.
    pub async fn before(&mut self, sandbox: &Sandbox, seq: u64) {
        while let Some((_, deed)) = DEEDS.get(self.done).filter(|(at, _)| *at <= seq) {
            self.done += 1;
            self.act(sandbox, *deed).await;
        }
    }

    async fn act(&mut self, sandbox: &Sandbox, deed: Deed) {
        let hand = sandbox.by_hand();
        match deed {
            Deed::ForgetTheBackupJob => drop(hand.forget_backup_jobs()),
            Deed::StopTheFirst => drop(hand.run(100, false)),
            Deed::MakeTheAgentsGuest => {
                let config = [
                    ("agent", "1"),
                    ("boot", "order=scsi0"),
                    ("memory", "256"),
                    ("meta", "creation-qemu=10.0.13,ctime=1795226300"),
                    ("name", "tinyguest"),
                    ("net0", "virtio=BC:24:11:33:44:55,bridge=vmbr0"),
                    ("scsi0", "data:130/vm-130-disk-0.qcow2,size=1G"),
                    ("serial0", "socket"),
                    ("smbios1", "uuid=0b7c8b0e-95b8-4dd9-a52a-7f7f0a7a2c5e"),
                    ("vmgenid", "c7bd2f2e-6a5e-4d39-8fb0-3f6f3d0f2a10"),
                ];
                hand.volume("pve", disk("data:130/vm-130-disk-0.qcow2", "qcow2", 130, GIB / 2));
                hand.guest("qemu/130", "pve", &config, true);
            }
            Deed::LoseAStorage => {
                let config = [
                    ("name", "lost"),
                    ("scsi0", "tmpst:140/vm-140-disk-0.raw,size=1G"),
                    ("scsi1", "tmpst:140/vm-140-disk-1.raw,size=1G"),
                ];
                hand.guest("qemu/140", "pve", &config, false);
            }
            Deed::HoldALock => {
                hand.guest("qemu/141", "pve", &[("memory", "128"), ("name", "locked")], false);
                self.held = Some(hand.hold_lock(141).await);
            }
            Deed::ReleaseTheLock => self.held = None,
            Deed::StopTheSecond => drop(hand.run(110, false)),
            Deed::SnapshotTheAgentsGuest => drop(hand.snapshot(130, "live4")),
            Deed::LockForBackup => drop(hand.set(120, "lock", Some("backup"))),
        }
    }
}
