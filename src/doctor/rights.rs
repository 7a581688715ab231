//! What a user or token may do, in words, from the privileges that `GET /access/permissions` lists by path.

use std::collections::{BTreeMap, BTreeSet};

/// Privileges by path, as Proxmox lists them; the value says whether they hold for what is below the path too.
pub type Permissions = BTreeMap<String, BTreeMap<String, bool>>;

/// What each privilege lets one do, in the order in which it is told. Several privileges may carry the same words.
const ABILITIES: &[(&str, &[&str])] = &[
    ("see guests", &["VM.Audit"]),
    ("start and stop them", &["VM.PowerMgmt"]),
    ("create and delete them", &["VM.Allocate"]),
    ("clone them", &["VM.Clone"]),
    (
        "configure them",
        &[
            "VM.Config.CPU",
            "VM.Config.Memory",
            "VM.Config.Disk",
            "VM.Config.Network",
            "VM.Config.Options",
            "VM.Config.HWType",
        ],
    ),
    ("set cloud-init", &["VM.Config.Cloudinit"]),
    ("take snapshots", &["VM.Snapshot"]),
    ("back up", &["VM.Backup"]),
    ("migrate", &["VM.Migrate"]),
    ("use the guest agent", &["VM.GuestAgent.Unrestricted", "VM.Monitor"]),
    ("see storage", &["Datastore.Audit"]),
    ("use storage for disks", &["Datastore.AllocateSpace"]),
    ("put images on storage", &["Datastore.AllocateTemplate"]),
    ("configure storage", &["Datastore.Allocate"]),
    ("see nodes", &["Sys.Audit"]),
    ("configure nodes", &["Sys.Modify"]),
    ("use networks", &["SDN.Use"]),
    ("manage pools", &["Pool.Allocate"]),
    ("manage users", &["User.Modify"]),
    ("grant rights", &["Permissions.Modify"]),
];

/// Whoever holds these holds all: only the role Administrator has them together.
const ADMINISTRATOR: &[&str] = &["Permissions.Modify", "Realm.Allocate", "Sys.Modify", "Sys.PowerMgmt", "VM.Allocate"];

/// One line for each path at which something else may be done than above it: `/vms: see guests, start and stop them`.
pub fn summary(permissions: &Permissions) -> Vec<String> {
    let mut lines = Vec::new();
    for (path, privileges) in permissions {
        let held = held(privileges);
        if !held.is_empty() && inherited(permissions, path) != Some(held.clone()) {
            lines.push(format!("{path}: {}", in_words(&held)));
        }
    }
    lines
}

/// Whether nothing at all may be done or seen.
pub fn is_empty(permissions: &Permissions) -> bool {
    permissions.values().all(BTreeMap::is_empty)
}

/// Whether the privilege is held anywhere.
pub fn anywhere(permissions: &Permissions, privilege: &str) -> bool {
    permissions.values().any(|privileges| privileges.contains_key(privilege))
}

fn held(privileges: &BTreeMap<String, bool>) -> BTreeSet<&str> {
    privileges.keys().map(String::as_str).collect()
}

/// What the nearest listed path above this one hands down.
fn inherited<'a>(permissions: &'a Permissions, path: &str) -> Option<BTreeSet<&'a str>> {
    let mut above = path;
    while above != "/" {
        above = match above.rsplit_once('/')?.0 {
            "" => "/",
            parent => parent,
        };
        if let Some(privileges) = permissions.get(above) {
            return Some(privileges.iter().filter(|(_, down)| **down).map(|(name, _)| name.as_str()).collect());
        }
    }
    None
}

fn in_words(held: &BTreeSet<&str>) -> String {
    if ADMINISTRATOR.iter().all(|privilege| held.contains(privilege)) {
        return "everything, as an Administrator".into();
    }
    let mut words = Vec::new();
    let mut told = BTreeSet::new();
    for (ability, privileges) in ABILITIES {
        let of_these: Vec<_> = privileges.iter().copied().filter(|privilege| held.contains(privilege)).collect();
        if of_these.is_empty() {
            continue;
        }
        told.extend(of_these.iter().copied());
        let alternatives = privileges.contains(&"VM.Monitor");
        words.push(match of_these.len() == privileges.len() || alternatives {
            true => ability.to_string(),
            false => format!("{ability} in part ({})", of_these.join(", ")),
        });
    }
    let silent = held.len() - told.len();
    match (words.is_empty(), silent) {
        (true, _) => held.iter().copied().collect::<Vec<_>>().join(", "),
        (false, 0) => words.join(", "),
        (false, n) => format!("{}, and {n} more", words.join(", ")),
    }
}
