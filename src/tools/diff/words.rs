//! What tasks do, by their types: in words, and which fields of a guest they may change.

/// What a task does to its object's being there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Being {
    Same,
    Made,
    Gone,
}

/// What a task may change of a guest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Touches {
    Nothing,
    Node,
    Status,
    Disks,
    Snapshots,
    /// Any of its fields.
    Everything,
}

pub struct Deed {
    pub word: &'static str,
    pub being: Being,
    pub touches: Touches,
}

const fn deed(word: &'static str, touches: Touches) -> Deed {
    Deed { word, being: Being::Same, touches }
}

/// What is the same of VMs (`qm…`) and containers (`vz…`).
const OF_GUESTS: &[(&str, Deed)] = &[
    ("create", Deed { word: "created", being: Being::Made, touches: Touches::Everything }),
    ("clone", deed("cloned", Touches::Nothing)),
    ("restore", deed("restored", Touches::Everything)),
    ("destroy", Deed { word: "destroyed", being: Being::Gone, touches: Touches::Nothing }),
    ("start", deed("started", Touches::Status)),
    ("stop", deed("stopped", Touches::Status)),
    ("shutdown", deed("shut down", Touches::Status)),
    ("reboot", deed("rebooted", Touches::Status)),
    ("reset", deed("reset", Touches::Nothing)),
    ("suspend", deed("suspended", Touches::Status)),
    ("pause", deed("paused", Touches::Status)),
    ("resume", deed("resumed", Touches::Status)),
    ("migrate", MIGRATED),
    ("config", deed("configured", Touches::Everything)),
    ("snapshot", deed("snapshot taken", Touches::Snapshots)),
    ("delsnapshot", deed("snapshot deleted", Touches::Snapshots)),
    ("rollback", deed("rolled back", Touches::Everything)),
    ("template", deed("made a template", Touches::Everything)),
    ("move", deed("disk moved", Touches::Disks)),
];

const MIGRATED: Deed = deed("migrated", Touches::Node);

const OTHERS: &[(&str, Deed)] = &[
    // Of VMs, without the second m.
    ("qmigrate", MIGRATED),
    // Of HA they say that it was asked for; what HA then does are tasks of its own.
    ("hastart", deed("HA asked to start", Touches::Status)),
    ("hastop", deed("HA asked to stop", Touches::Status)),
    ("hashutdown", deed("HA asked to shut down", Touches::Status)),
    ("hamigrate", deed("HA asked to migrate", Touches::Node)),
    ("harelocate", deed("HA asked to relocate", Touches::Node)),
    ("move_volume", deed("volume moved", Touches::Disks)),
    ("resize", deed("disk resized", Touches::Disks)),
    ("vzdump", deed("backed up", Touches::Nothing)),
    ("imgdel", deed("volume deleted", Touches::Disks)),
    ("imgcopy", deed("file copied", Touches::Nothing)),
    ("download", deed("downloaded", Touches::Nothing)),
    ("prunebackups", deed("backups pruned", Touches::Nothing)),
];

/// Types of tasks that change nothing: consoles, the ends of other tasks, and looking for updates.
const IDLE: [&str; 10] = [
    "vncproxy",
    "vncshell",
    "spiceproxy",
    "spiceshell",
    "termproxy",
    "qmtunnel",
    "vzmtunnel",
    "pbs-download",
    "auth-realm-sync-test",
    "aptupdate",
];

pub fn is_idle(kind: &str) -> bool {
    IDLE.contains(&kind)
}

/// What a type of task does; nothing where it is not known.
pub fn of(kind: &str) -> Option<&'static Deed> {
    let find = |table: &'static [(&str, Deed)], name: &str| table.iter().find(|(known, _)| *known == name);
    let of_guest = kind.strip_prefix("qm").or_else(|| kind.strip_prefix("vz")).and_then(|name| find(OF_GUESTS, name));
    find(OTHERS, kind).or(of_guest).map(|(_, deed)| deed)
}

impl Touches {
    /// Whether what changed in a field may come from it.
    pub fn may_change(self, key: &str) -> bool {
        let is_disk = || {
            let stem = key.trim_end_matches(|c: char| c.is_ascii_digit());
            matches!(stem, "scsi" | "virtio" | "sata" | "ide" | "efidisk" | "tpmstate" | "unused" | "mp" | "rootfs")
        };
        match self {
            Self::Nothing => false,
            // Disks may be on other storages there.
            Self::Node => key == "node" || is_disk(),
            Self::Status => key == "status",
            Self::Disks => is_disk(),
            Self::Snapshots => key == "parent",
            Self::Everything => key != "node" && key != "pool",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_of_both_kinds_of_guest_are_told_alike_and_a_backup_is_none_of_them() {
        let word = |kind| of(kind).map(|deed| deed.word);
        assert_eq!((word("qmstart"), word("vzstart")), (Some("started"), Some("started")));
        assert_eq!((word("qmigrate"), word("vzmigrate")), (Some("migrated"), Some("migrated")));
        assert_eq!((word("vzdump"), word("srvrestart")), (Some("backed up"), None));
        assert!(Touches::Disks.may_change("scsi0") && !Touches::Disks.may_change("scsihw"));
    }
}
