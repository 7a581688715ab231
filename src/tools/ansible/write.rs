//! How single things are written down for Ansible: names that it takes, and values that survive an INI inventory.

use std::net::IpAddr;

use serde_json::{Map, Value};

use crate::pve::{Guest, GuestKind};

/// A host and its variables, as a line of an INI inventory.
pub fn line(host: &str, variables: &Map<String, Value>) -> String {
    let word = |(key, value): (&String, &Value)| format!(" {key}={}", quoted(&literal(value)));
    std::iter::once(host.to_owned()).chain(variables.iter().map(word)).collect()
}

/// A value as INI inventories have it: read as a literal of Python's where it is one, and else as the text that it is.
pub fn literal(value: &Value) -> String {
    match value.as_str() {
        Some(text) if !may_be_literal(text) => text.to_owned(),
        // JSON's strings, numbers and lists are Python's.
        _ => value.to_string(),
    }
}

/// Whether Python might read a text as something else than itself.
fn may_be_literal(text: &str) -> bool {
    let plain = match text.chars().next() {
        Some('/' | '~') => true,
        Some(first) if first.is_ascii_alphabetic() || first == '_' => {
            !text.contains(['\'', '"', '(']) && !matches!(text, "True" | "False" | "None")
        }
        _ => text.parse::<IpAddr>().is_ok(),
    };
    !plain || text.ends_with(char::is_whitespace) || text.contains(char::is_control)
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

/// A group's name: letters, digits and underscores.
pub fn group_name(text: &str) -> String {
    text.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect()
}

/// Text of others as a variable's value: Ansible takes `{{ … }}` and `{% … %}` in values for templates, and runs them.
pub fn without_templates(text: &str) -> String {
    text.chars().filter(|c| !c.is_control() && !matches!(c, '{' | '}')).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn inventory_values_survive_their_format() {
        assert_eq!(quoted("~/.ssh/id_ed25519"), "~/.ssh/id_ed25519");
        assert_eq!(quoted("/my keys/it's"), r#"'/my keys/it'"'"'s'"#);
    }

    #[test]
    fn text_that_python_would_read_as_something_else_is_a_literal() {
        for plain in ["root", "192.0.2.7", "2001:db8::7", "~/.ssh/my key", "/keys/it's", "Debian"] {
            assert_eq!(literal(&json!(plain)), plain);
        }
        for other in ["10.5", "007", "1e5", "", " x", "x ", "None", "True", "[1]", "b'x'", "set()", "-1", "'x'"] {
            assert_eq!(literal(&json!(other)), json!(other).to_string());
        }
        let variables = json!({"n": 100, "tags": ["a", "b"], "pool": "12"});
        let line = variables.as_object().map(|variables| line("h", variables));
        assert_eq!(line.as_deref(), Some(r#"h n=100 tags='["a","b"]' pool='"12"'"#));
    }
}
