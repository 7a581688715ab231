//! The cluster that the sandbox begins with: nodes, storages and their content, templates, guests, accounts, and a little
//! history. The same seed makes the same cluster.

mod extras;
mod guests;
mod hardware;

use fastrand::Rng;
use secrecy::SecretString;
use sha2::{Digest, Sha256};

use super::{
    Options,
    access::{Realm, Token, User},
    config::Config,
    state::{Pool, State},
    storage::{Storage, Volume},
    tasks::{Origin, Task},
};

/// Who can log in to the sandbox.
#[derive(Debug, Clone)]
pub struct Credentials {
    /// `root@pam`.
    pub username: String,
    pub password: SecretString,
    /// `root@pam!sandbox`, without privilege separation.
    pub token_id: String,
    pub token_secret: SecretString,
    /// `auditor@pve`: may look at everything and change nothing.
    pub auditor: String,
    pub auditor_password: SecretString,
    /// `auditor@pve!read`, without privilege separation.
    pub auditor_token_id: String,
    pub auditor_token_secret: SecretString,
}

/// Makes the cluster; `now`: Unix time at which it begins.
pub fn cluster(options: &Options, now: u64) -> (State, Credentials, [u8; 32]) {
    let mut state = State::empty(options.seed);
    let nodes = if options.nodes.is_empty() { vec!["pve".to_owned()] } else { options.nodes.clone() };
    state.options.insert("mac_prefix".to_owned(), "BC:24:11".into());
    state.options.insert("keyboard".to_owned(), "en-us".into());
    for (index, name) in nodes.iter().enumerate() {
        state.nodes.insert(name.clone(), hardware::node(name, index, now));
    }
    storages(&mut state, &nodes, now);
    let mut key = [0; 32];
    let (credentials, key) = {
        let mut secrets = Secrets::new(options);
        key.copy_from_slice(&secrets.bytes());
        (accounts(&mut state, &mut secrets), key)
    };
    for (name, comment) in [
        ("production", "Customer-facing services"),
        ("development", "Build and test machines"),
        ("archive", "Switched off, kept for a year"),
    ] {
        state.pools.insert(name.to_owned(), Pool { comment: Some(comment.to_owned()), ..Pool::default() });
    }
    guests::populate(&mut state, &nodes, options.guests.min(10_000), now);
    if options.guests > 0 {
        extras::furnish(&mut state, &nodes);
    }
    history(&mut state, &nodes, now);
    // The statistics daemon has long seen all that.
    state.report(1);
    (state, credentials, key)
}

/// Where passwords and keys come from.
struct Secrets {
    /// Present for secrets that are made from the seed.
    fixed: Option<Rng>,
}

impl Secrets {
    fn new(options: &Options) -> Self {
        Self { fixed: options.fixed_secrets.then(|| Rng::with_seed(options.seed ^ 0x5ec2e7)) }
    }
    fn bytes(&mut self) -> [u8; 32] {
        let mut bytes = [0; 32];
        match &mut self.fixed {
            Some(rng) => rng.fill(&mut bytes),
            None => {
                let random = rustls::crypto::ring::default_provider().secure_random;
                if random.fill(&mut bytes).is_err() {
                    fastrand::fill(&mut bytes);
                }
            }
        }
        bytes
    }
    fn password(&mut self) -> SecretString {
        let hex: String = self.bytes()[..8].iter().map(|byte| format!("{byte:02x}")).collect();
        format!("sandbox-{hex}").into()
    }
    /// A token's secret looks like a UUID.
    fn uuid(&mut self) -> SecretString {
        let bytes = Sha256::digest(self.bytes());
        let hex: String = bytes[..16].iter().map(|byte| format!("{byte:02x}")).collect();
        let uuid = format!("{}-{}-4{}-8{}-{}", &hex[..8], &hex[8..12], &hex[13..16], &hex[17..20], &hex[20..]);
        uuid.into()
    }
}

fn accounts(state: &mut State, secrets: &mut Secrets) -> Credentials {
    let access = &mut state.access;
    for (name, kind, comment) in
        [("pam", "pam", "Linux PAM standard authentication"), ("pve", "pve", "Proxmox VE authentication server")]
    {
        let realm = Realm { kind: kind.to_owned(), comment: comment.to_owned(), default: name == "pam" };
        access.realms.insert(name.to_owned(), realm);
    }
    let credentials = Credentials {
        username: "root@pam".to_owned(),
        password: secrets.password(),
        token_id: "root@pam!sandbox".to_owned(),
        token_secret: secrets.uuid(),
        auditor: "auditor@pve".to_owned(),
        auditor_password: secrets.password(),
        auditor_token_id: "auditor@pve!read".to_owned(),
        auditor_token_secret: secrets.uuid(),
    };
    let token = |secret: &SecretString, comment: &str| Token {
        secret: secret.clone(),
        privsep: false,
        expire: 0,
        comment: Some(comment.to_owned()),
    };
    let mut root = User { enable: true, password: Some(credentials.password.clone()), ..User::default() };
    root.tokens.insert("sandbox".to_owned(), token(&credentials.token_secret, "made when the sandbox started"));
    access.users.insert("root@pam".to_owned(), root);
    let mut auditor = User {
        enable: true,
        comment: Some("Read-only account".to_owned()),
        password: Some(credentials.auditor_password.clone()),
        ..User::default()
    };
    auditor.tokens.insert("read".to_owned(), token(&credentials.auditor_token_secret, "read-only"));
    access.users.insert("auditor@pve".to_owned(), auditor);
    access.groups.insert("admins".to_owned(), Some("Administrators".to_owned()));
    let mut alice = User {
        enable: true,
        comment: Some("Alice, operations".to_owned()),
        email: Some("alice@example.com".to_owned()),
        firstname: Some("Alice".to_owned()),
        groups: ["operators".to_owned()].into(),
        ..User::default()
    };
    alice.tokens.insert("laptop".to_owned(), Token { privsep: true, ..token(&secrets.uuid(), "her notebook") });
    access.users.insert("alice@pve".to_owned(), alice);
    access.groups.insert("operators".to_owned(), Some("On call".to_owned()));
    let operator = ["VM.Audit", "VM.Console", "VM.PowerMgmt", "VM.Snapshot"].map(str::to_owned);
    access.roles.insert("Operator".to_owned(), operator.into());
    access.grant("/pool/development", "@operators", "Operator", true);
    access.grant("/", "auditor@pve", "PVEAuditor", true);
    access.grant("/", "@admins", "Administrator", true);
    credentials
}

const GIB: u64 = 1 << 30;
const MIB: u64 = 1 << 20;

fn storages(state: &mut State, nodes: &[String], now: u64) {
    let add = |state: &mut State, id: &str, plugin: &str, total: u64, config: Config| {
        state.storages.insert(id.to_owned(), Storage { id: id.to_owned(), plugin: plugin.to_owned(), config, total });
    };
    let local = Config::new().with("path", "/var/lib/vz").with("content", "backup,import,snippets,vztmpl,iso");
    add(state, "local", "dir", 94 * GIB, local);
    let lvm = Config::new().with("thinpool", "data").with("vgname", "pve").with("content", "images,rootdir");
    add(state, "local-lvm", "lvmthin", 800 * GIB, lvm);
    let nas = Config::new()
        .with("path", "/mnt/pve/nas")
        .with("server", "10.0.0.40")
        .with("export", "/export/pve")
        .with("content", "images,rootdir,iso,vztmpl,backup")
        .with("prune-backups", "keep-last=3,keep-weekly=4");
    add(state, "nas", "nfs", 8 * 1024 * GIB, nas);
    let tank = Config::new().with("pool", "tank/guests").with("sparse", 1).with("content", "images,rootdir");
    add(state, "tank", "zfspool", 1_800 * GIB, tank);
    let files = [
        ("iso/debian-12.7.0-amd64-netinst.iso", "iso", "iso", 631 * MIB),
        ("iso/virtio-win-0.1.262.iso", "iso", "iso", 708 * MIB),
        ("vztmpl/debian-12-standard_12.7-1_amd64.tar.zst", "vztmpl", "tzst", 123 * MIB),
        ("vztmpl/alpine-3.20-default_20240908_amd64.tar.xz", "vztmpl", "txz", 3 * MIB),
    ];
    for node in nodes {
        for (name, content, format, size) in files {
            state.add_volume(
                "local",
                node,
                Volume::new(format!("local:{name}"), content, format, size).at(now - 4_000_000),
            );
        }
        let image = "local:import/debian-12-generic-amd64.qcow2";
        let mut image = Volume::new(image, "import", "qcow2", 3 * GIB).at(now - 2_000_000);
        image.used = 424 * MIB;
        state.add_volume("local", node, image);
    }
    let shared = [
        ("iso/ubuntu-24.04.1-live-server-amd64.iso", "iso", "iso", 2_652 * MIB),
        ("vztmpl/ubuntu-24.04-standard_24.04-2_amd64.tar.zst", "vztmpl", "tzst", 139 * MIB),
    ];
    for (name, content, format, size) in shared {
        let volume = Volume::new(format!("nas:{name}"), content, format, size).at(now - 3_000_000);
        state.add_volume("nas", "", volume);
    }
}

/// Tasks that are over, so that lists are not empty.
fn history(state: &mut State, nodes: &[String], now: u64) {
    let running: Vec<(u32, String, &str)> = state
        .guests()
        .values()
        .filter(|guest| guest.is_running())
        .take(nodes.len() * 2)
        .map(|guest| (guest.vmid, guest.node.clone(), if guest.kind.path() == "qemu" { "qmstart" } else { "vzstart" }))
        .collect();
    for (index, (vmid, node, kind)) in running.into_iter().enumerate() {
        past(state, &node, (kind, &vmid.to_string()), now - 86_000 + index as u64 * 5, ("OK", &["TASK OK"]));
    }
    for (index, node) in nodes.iter().enumerate() {
        let start = now - 40_000 + index as u64;
        let job = "INFO: starting new backup job: vzdump --all 1 --mode snapshot --storage nas --compress zstd";
        past(state, node, ("vzdump", ""), start, ("OK", &[job, "INFO: Backup job finished successfully", "TASK OK"]));
        past(state, node, ("aptupdate", ""), start + 20_000, ("OK", &["starting apt-get update", "TASK OK"]));
    }
    if let Some(node) = nodes.first() {
        let error = "command 'apt-get update' failed: exit code 100";
        let log = ["starting apt-get update", "TASK ERROR: command 'apt-get update' failed: exit code 100"];
        past(state, node, ("aptupdate", ""), now - 80_000, (error, &log));
    }
}

fn past(state: &mut State, node: &str, (kind, id): (&str, &str), start: u64, (status, log): (&str, &[&str])) {
    let pid = state.tasks.next_pid();
    let boot = state.nodes.get(node).map_or(start, |node| node.boot);
    let origin = Origin { node, pid, pstart: start.saturating_sub(boot) * 100, starttime: start, who: "root@pam" };
    let mut task = Task::new(origin, kind, id);
    task.log = log.iter().map(|line| (*line).to_owned()).collect();
    task.end = Some((start + 3, status.to_owned()));
    state.tasks.add(task);
}
