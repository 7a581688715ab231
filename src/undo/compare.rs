//! What has changed since: each value must still be what the recorded call made of it, and become what it was before.

use crate::{
    audit::Recorded,
    plan::{Change, Plan},
    pve::{decode, secrets::MASKED},
};

/// Values that are not as that call left them, and what is good to know.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Found {
    pub conflicts: Vec<String>,
    pub notes: Vec<String>,
}

pub fn values(recorded: &Recorded, plan: &Plan) -> Found {
    let mut found = Found::default();
    for change in &recorded.begun.changes {
        let key = &change.key;
        let masked = |value: &Option<String>| value.as_deref() == Some(MASKED);
        if masked(&change.new) || masked(&change.old) {
            continue;
        }
        let stored = recorded.ended.as_ref().and_then(|ended| ended.stored.get(key));
        let left = stored.or(change.new.as_ref()).map(String::as_str);
        let Some(Change { old: is, new: becomes, .. }) = plan.changes.iter().find(|now| now.key == *key) else {
            if !plan.changes.is_empty() {
                found.notes.push(format!("{key} is as it was before that call already"));
            }
            continue;
        };
        let (is, becomes, was) = (is.as_deref(), becomes.as_deref(), change.old.as_deref());
        if !alike(key, is, left) {
            let text = format!("{key} was changed since: that call left {}, now {}", shown(left), shown(is));
            found.conflicts.push(format!("{text}; it would become {}", shown(becomes)));
        } else if !alike(key, becomes, was) {
            found.conflicts.push(format!("{key} would become {}, and was {} before", shown(becomes), shown(was)));
        }
    }
    found
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
    a.map(parts) == b.map(parts)
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
        ] {
            assert_eq!(alike(key, Some(a), Some(b)), same, "{key} {a} {b}");
        }
        assert!(!alike("cores", None, Some("1")) && alike("cores", None, None));
    }
}
