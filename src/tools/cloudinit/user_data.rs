//! Cloud-config user-data as YAML. Passwords are never among it. Values are written as JSON, which YAML takes.

use std::fmt::Write;

use serde_json::Value;

use crate::tool::{Deserialize, Error, Result};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct User {
    pub name: String,
    #[serde(default, alias = "ssh_authorized_keys", alias = "sshkeys")]
    pub ssh_keys: Vec<String>,
    pub password: Option<String>,
    #[serde(default)]
    pub groups: Vec<String>,
    /// `true`, or a rule for sudoers.
    pub sudo: Option<Value>,
    pub shell: Option<String>,
}

impl User {
    /// More than Proxmox's own options can say.
    pub fn is_special(&self) -> bool {
        !self.groups.is_empty() || self.sudo.is_some() || self.shell.is_some()
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct File {
    pub path: String,
    pub content: String,
    pub permissions: Option<String>,
    pub owner: Option<String>,
}

/// One item of a list argument in its type.
///
/// # Errors
/// `BadArgument` that names the item.
pub fn item<T: serde::de::DeserializeOwned>(field: &str, index: usize, given: &Value) -> Result<T> {
    let mut given = given.clone();
    // A bare name is a user, and one key or group is a list of one.
    if field == "users" && given.is_string() {
        given = serde_json::json!({"name": given});
    }
    for key in ["ssh_keys", "ssh_authorized_keys", "sshkeys", "groups"] {
        if let Some(one) = given.get_mut(key).filter(|value| value.is_string()) {
            *one = Value::Array(vec![one.take()]);
        }
    }
    serde_json::from_value(given).map_err(|e| {
        // Words about a value could show a password.
        let words = e.to_string();
        let harmless = words.starts_with("unknown field") || words.starts_with("missing field");
        Error::bad_argument(format!(
            "{field}[{index}]: {}",
            if harmless { &words } else { "a value is of the wrong type" }
        ))
    })
}

/// What the file says.
pub struct UserData<'a> {
    pub hostname: Option<&'a str>,
    /// The VM's `ciuser` and its keys: for the image's own user, where no users are named.
    pub ciuser: Option<&'a str>,
    pub ssh_keys: &'a [String],
    pub users: &'a [User],
    pub packages: &'a [String],
    pub commands: &'a [String],
    pub files: &'a [File],
}

/// The file that the operator stores as a snippet. It stands in for all that Proxmox would write into user-data.
pub fn render(data: &UserData<'_>) -> String {
    let UserData { hostname, ciuser, ssh_keys, users, packages, commands, files } = data;
    let mut out = "#cloud-config\n".to_owned();
    if let Some(hostname) = hostname {
        let _ = writeln!(out, "hostname: {hostname}\nmanage_etc_hosts: true");
    }
    if users.is_empty() {
        if let Some(user) = ciuser {
            let _ = writeln!(out, "user: {}", text(user));
        }
        list(&mut out, "ssh_authorized_keys", ssh_keys);
    }
    out.push_str(if users.is_empty() { "users:\n  - default\n" } else { "users:\n" });
    for user in *users {
        let _ = writeln!(out, "  - name: {}", text(&user.name));
        if !user.groups.is_empty() {
            let _ = writeln!(out, "    groups: {}", text(&user.groups.join(", ")));
        }
        match &user.sudo {
            Some(Value::Bool(true)) => out.push_str("    sudo: \"ALL=(ALL) NOPASSWD:ALL\"\n"),
            Some(Value::String(rule)) => drop(writeln!(out, "    sudo: {}", text(rule))),
            _ => {}
        }
        let _ = writeln!(out, "    shell: {}", text(user.shell.as_deref().unwrap_or("/bin/bash")));
        list(&mut out, "    ssh_authorized_keys", &user.ssh_keys);
    }
    if !packages.is_empty() {
        out.push_str("package_update: true\n");
    }
    list(&mut out, "packages", packages);
    if !files.is_empty() {
        out.push_str("write_files:\n");
    }
    for file in *files {
        let _ = writeln!(out, "  - path: {}\n    content: {}", text(&file.path), text(&file.content));
        for (key, value) in [("permissions", &file.permissions), ("owner", &file.owner)] {
            if let Some(value) = value {
                let _ = writeln!(out, "    {key}: {}", text(value));
            }
        }
    }
    list(&mut out, "runcmd", commands);
    out
}

fn list(out: &mut String, key: &str, items: &[String]) {
    if items.is_empty() {
        return;
    }
    let indent = key.len() - key.trim_start().len();
    let _ = writeln!(out, "{key}:");
    for item in items {
        let _ = writeln!(out, "{:indent$}  - {}", "", text(item));
    }
}

/// A double-quoted scalar.
fn text(value: &str) -> String {
    Value::from(value).to_string()
}
