//! How hosts are written down for Ansible: names that it takes, and values that survive an INI inventory.

use serde_json::{Map, Value};

use crate::pve::{Guest, GuestKind};

/// A host and its variables, as a line of an INI inventory.
pub fn line(host: &str, variables: &Map<String, Value>) -> String {
    variables.iter().fold(host.to_owned(), |line, (key, value)| {
        format!("{line} {key}={}", value.as_str().map_or_else(|| value.to_string(), quoted))
    })
}

/// As one word of an INI inventory's line, which is taken apart as a shell would.
fn quoted(text: &str) -> String {
    if text.chars().all(|c| c.is_alphanumeric() || "_-./:@~+%".contains(c)) {
        return text.to_owned();
    }
    format!("'{}'", text.replace('\'', r#"'"'"'"#))
}

/// The guest's name, as far as an inventory takes it: no ranges, lists or spaces.
pub fn host_name(guest: &Guest) -> String {
    let allowed = |c: char| if c.is_ascii_alphanumeric() || "._-".contains(c) { c } else { '-' };
    let name: String = guest.name.as_deref().unwrap_or_default().chars().map(allowed).collect();
    match name.trim_matches(['-', '.', '_']) {
        "" if guest.kind == GuestKind::Lxc => format!("ct-{}", guest.vmid),
        "" => format!("vm-{}", guest.vmid),
        name => name.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inventory_values_survive_their_format() {
        assert_eq!(quoted("~/.ssh/id_ed25519"), "~/.ssh/id_ed25519");
        assert_eq!(quoted("/my keys/it's"), r#"'/my keys/it'"'"'s'"#);
    }
}
