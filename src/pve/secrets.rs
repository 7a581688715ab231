//! Which parameters and fields of the API hold secrets, by their names.

use serde_json::Value;

/// What is shown in place of a secret.
pub const MASKED: &str = "********";

/// Whether a parameter of this name holds a secret.
pub fn is_secret(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    (name.contains("password") && name != "generate-password")
        || name.contains("ticket")
        || name.ends_with("-key")
        || matches!(
            name.as_str(),
            "secret" | "token" | "otp" | "totp" | "key" | "keyring" | "certkey" | "csrfpreventiontoken"
        )
}

/// Whether a field of an answer may be shown: `key` and `token` have harmless meanings there.
fn is_secret_field(name: &str) -> bool {
    is_secret(name) && !matches!(name, "key" | "keyring")
}

/// Masks the secrets in an answer from this path.
pub fn mask(path: &str, answer: &mut Value) {
    // Credentials of DNS providers, under names that mean other things elsewhere.
    let also: &[&str] = match path {
        _ if path.starts_with("/cluster/sdn/dns") => &["key"],
        _ if path.starts_with("/cluster/acme/plugins") => &["data"],
        _ => &[],
    };
    mask_fields(also, answer);
}

fn mask_fields(also: &[&str], value: &mut Value) {
    match value {
        Value::Object(map) => {
            for (name, value) in map {
                match value {
                    Value::String(text) if is_secret_field(name) || also.contains(&name.as_str()) => {
                        MASKED.clone_into(text);
                    }
                    value => mask_fields(also, value),
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| mask_fields(also, item)),
        // The password's hash in a cloud-init file.
        Value::String(text) => {
            if let Some(masked) = masked_lines(text) {
                *text = masked;
            }
        }
        _ => {}
    }
}

/// A text without the passwords in lines such as `password: …`, where it has any.
pub fn masked_lines(text: &str) -> Option<String> {
    if !text.lines().any(is_password_line) {
        return None;
    }
    let line = |line: &str| match line.split_once(':') {
        Some((name, _)) if is_password_line(line) => format!("{name}: {MASKED}"),
        _ => line.to_owned(),
    };
    Some(text.lines().map(line).collect::<Vec<_>>().join("\n"))
}

fn is_password_line(line: &str) -> bool {
    line.trim_start().starts_with("password:")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn secrets_are_masked_wherever_they_stand_and_nothing_else() {
        let mut answer = json!({
            "ticket": "PVE:x", "rows": [{"key": "cores", "value": 2}, {"cipassword": "p", "tokenid": "t"}],
            "text": "user: a\n  password: $5$x", "port": "5900", "privsep": 1,
        });
        mask("/nodes/a/qemu/100/pending", &mut answer);
        let masked = json!({
            "ticket": MASKED, "rows": [{"key": "cores", "value": 2}, {"cipassword": MASKED, "tokenid": "t"}],
            "text": format!("user: a\n  password: {MASKED}"), "port": "5900", "privsep": 1,
        });
        assert_eq!(answer, masked);
        let mut dns = json!([{"dns": "a", "key": "x"}]);
        mask("/cluster/sdn/dns", &mut dns);
        assert_eq!(dns, json!([{"dns": "a", "key": MASKED}]));
    }
}
