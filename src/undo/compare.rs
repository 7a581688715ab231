//! What has changed since: each value must still be what the recorded call made of it, and become what it was before.

use crate::{
    audit::Recorded,
    plan::{Change, Plan},
    pve::{
        decode,
        options::{allocates, is_drive},
        secrets::MASKED,
    },
};

/// Values that are not as that call left them, and what is good to know.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Found {
    pub conflicts: Vec<String>,
    pub notes: Vec<String>,
}

pub fn values(recorded: &Recorded, plan: &Plan) -> Found {
    let mut found = Found::default();
    let masked = |value: &Option<String>| value.as_deref() == Some(MASKED);
    let then: Vec<&Change> =
        recorded.begun.changes.iter().filter(|change| !masked(&change.new) && !masked(&change.old)).collect();
    let mut done: Vec<&str> = Vec::new();
    for change in &then {
        let key = stem(&change.key);
        if done.contains(&key) {
            continue;
        }
        let now: Vec<&Change> = plan.changes.iter().filter(|now| stem(&now.key) == key).collect();
        let many = key != change.key || then.iter().chain(&now).filter(|other| other.key == key).count() > 2;
        match (now.as_slice(), many) {
            ([], _) if plan.changes.is_empty() => {}
            ([], _) => found.notes.push(format!("{key} is as it was before that call already")),
            (now, true) => several(&mut found, key, &then, now),
            (now, false) => {
                let stored = recorded.ended.as_ref().and_then(|ended| ended.stored.get(key));
                let left = stored.or(change.new.as_ref()).map(String::as_str);
                now.iter().for_each(|now| one(&mut found, change, now, left));
            }
        }
        done.push(key);
    }
    found
}

/// One value.
fn one(found: &mut Found, change: &Change, now: &Change, left: Option<&str>) {
    let key = &change.key;
    let (is, becomes, was) = (now.old.as_deref(), now.new.as_deref(), change.old.as_deref());
    if !alike(key, is, left) {
        let text = format!("{key} was changed since: that call left {}, now {}", shown(left), shown(is));
        found.conflicts.push(format!("{text}; it would become {}", shown(becomes)));
    } else if !alike(key, becomes, was) {
        found.conflicts.push(format!("{key} would become {}, and was {} before", shown(becomes), shown(was)));
    }
}

/// Values of a list (rules, members), whose places do not count: what that call added has to be there, and nothing may be
/// lost that somebody else added.
fn several(found: &mut Found, key: &str, then: &[&Change], now: &[&Change]) {
    let added: Vec<&str> = then.iter().filter(|c| stem(&c.key) == key).filter_map(|c| c.new.as_deref()).collect();
    let there: Vec<&str> = now.iter().filter_map(|change| change.old.as_deref()).collect();
    let kept: Vec<&str> = now.iter().filter_map(|change| change.new.as_deref()).collect();
    for gone in added.iter().filter(|value| !there.contains(value)) {
        found.conflicts.push(format!("{key} was changed since: '{gone}' is not there any more"));
    }
    for new in there.iter().filter(|value| !added.contains(value) && !kept.contains(value)) {
        found.conflicts.push(format!("{key} was changed since: '{new}' was added, and would be lost"));
    }
}

/// `rule 3` is one of the rules.
fn stem(key: &str) -> &str {
    match key.rsplit_once(' ') {
        Some((stem, number)) if number.parse::<u32>().is_ok() => stem,
        _ => key,
    }
}

fn shown(value: Option<&str>) -> String {
    value.map_or_else(|| "it is not set".to_owned(), |value| format!("it is '{value}'"))
}

/// Whether two values mean the same in Proxmox's notation: the order of an option's keys does not count.
fn alike(key: &str, a: Option<&str>, b: Option<&str>) -> bool {
    let parts = |value: &str| {
        let value = if key == "sshkeys" { decode(value) } else { value.trim_end().to_owned() };
        let separators: &[char] = if key == "tags" { &[';', ',', ' '] } else { &[','] };
        let mut parts: Vec<String> = match key {
            "description" | "sshkeys" => vec![value.trim_end().to_owned()],
            _ => value.split(separators).map(str::to_owned).collect(),
        };
        parts.sort_unstable();
        parts
    };
    if let (true, Some(a), Some(b)) = (is_drive(key), a, b) {
        return same_drive(&parts(a), &parts(b));
    }
    a.map(parts) == b.map(parts)
}

/// Proxmox names the volume that was asked for, and adds its size.
fn same_drive(a: &[String], b: &[String]) -> bool {
    let told = |parts: &[String]| -> Vec<String> {
        let of = |part: &String| match part.split_once(':') {
            Some((storage, rest)) if !part.contains('=') && (allocates(part) || rest.contains("-disk-")) => {
                format!("{storage}:")
            }
            _ => part.clone(),
        };
        let kept = parts.iter().filter(|part| !part.starts_with("size=") && !part.starts_with("import-from="));
        kept.map(of).collect()
    };
    let asked = |parts: &[String]| parts.iter().any(|part| allocates(part));
    if asked(a) || asked(b) { told(a) == told(b) } else { sized(a) == sized(b) }
}

/// A drive without its size, which is no choice of anybody's.
fn sized(parts: &[String]) -> Vec<&String> {
    parts.iter().filter(|part| !part.starts_with("size=")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_and_encoding_do_not_count_and_all_else_does() {
        for (key, a, b, same) in [
            ("net0", "virtio=A,bridge=vmbr0", "bridge=vmbr0,virtio=A", true),
            ("net0", "virtio=A,bridge=vmbr0", "virtio=A,bridge=vmbr0,tag=2", false),
            ("tags", "a;b", "b,a", true),
            ("description", "a,b", "b,a", false),
            ("description", "a\n", "a", true),
            ("sshkeys", "ssh-ed25519%20AA", "ssh-ed25519 AA", true),
            ("cores", "2", "4", false),
            ("scsi1", "local-lvm:20,discard=on", "local-lvm:vm-104-disk-1,discard=on,size=20G", true),
            ("scsi1", "local-lvm:0,import-from=local:import/a.qcow2", "local-lvm:vm-104-disk-1,size=3G", true),
            ("scsi1", "local-lvm:20,discard=on", "nas:104/vm-104-disk-1.qcow2,discard=on", false),
            ("scsi1", "local-lvm:vm-104-disk-0", "local-lvm:vm-104-disk-1", false),
            ("ide2", "local:iso/a.iso,media=cdrom", "local:iso/a.iso,media=cdrom,size=7M", true),
            ("ide2", "local:iso/a.iso,media=cdrom", "local:iso/b.iso,media=cdrom", false),
        ] {
            assert_eq!(alike(key, Some(a), Some(b)), same, "{key} {a} {b}");
        }
        assert!(!alike("cores", None, Some("1")) && alike("cores", None, None));
    }
}
