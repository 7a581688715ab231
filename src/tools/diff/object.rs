//! What a state is made of: objects of the cluster by kind and name, each with flat fields as text; and how two of one
//! object differ.

use std::{collections::BTreeMap, fmt, str::FromStr};

use serde_json::Value;

use crate::outside;

/// In the order in which they are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    Guest,
    Node,
    Storage,
    Pool,
    Ha,
    HaRule,
    BackupJob,
    Replication,
    User,
    Group,
    Role,
    Acl,
    Firewall,
    Options,
}

const KINDS: [(Kind, &str); 14] = [
    (Kind::Guest, "guest"),
    (Kind::Node, "node"),
    (Kind::Storage, "storage"),
    (Kind::Pool, "pool"),
    (Kind::Ha, "ha"),
    (Kind::HaRule, "ha-rule"),
    (Kind::BackupJob, "backup-job"),
    (Kind::Replication, "replication"),
    (Kind::User, "user"),
    (Kind::Group, "group"),
    (Kind::Role, "role"),
    (Kind::Acl, "acl"),
    (Kind::Firewall, "firewall"),
    (Kind::Options, "options"),
];

impl Kind {
    pub fn name(self) -> &'static str {
        KINDS.iter().find(|(kind, _)| *kind == self).map_or("", |(_, name)| name)
    }
    pub fn named(name: &str) -> Option<Self> {
        KINDS.iter().find(|(_, known)| *known == name).map(|(kind, _)| *kind)
    }
}

/// `guest/100`, `storage/nas`, `acl//vms/100 user alice@pve`: by kind, then by number, then by name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key {
    pub kind: Kind,
    number: Option<u32>,
    pub id: String,
}

impl Key {
    pub fn new(kind: Kind, id: impl Into<String>) -> Self {
        let id = id.into();
        Self { kind, number: id.parse().ok(), id }
    }
    pub fn guest(vmid: u32) -> Self {
        Self::new(Kind::Guest, vmid.to_string())
    }
    pub fn vmid(&self) -> Option<u32> {
        self.number.filter(|_| self.kind == Kind::Guest)
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.kind.name(), self.id)
    }
}

impl FromStr for Key {
    type Err = ();
    fn from_str(text: &str) -> Result<Self, ()> {
        let (kind, id) = text.split_once('/').ok_or(())?;
        let key = Self::new(Kind::named(kind).ok_or(())?, id);
        // A guest without a number is none.
        if id.is_empty() || (key.kind == Kind::Guest && key.number.is_none()) { Err(()) } else { Ok(key) }
    }
}

/// What is not part of the configuration, and known even where that cannot be read.
pub const PLACE: [&str; 4] = ["type", "node", "status", "pool"];

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Object {
    pub fields: BTreeMap<String, String>,
    /// Its configuration could not be read: the fields are [`PLACE`] only.
    pub partial: bool,
}

impl Object {
    pub fn get(&self, key: &str) -> Option<&str> {
        self.fields.get(key).map(String::as_str)
    }
    pub fn name(&self) -> Option<&str> {
        self.get("name").or_else(|| self.get("hostname"))
    }
    /// When a VM was made, in seconds since 1970, as Proxmox notes it: another guest with the same number has another.
    fn born(&self) -> Option<&str> {
        self.get("meta")?.split(',').find_map(|part| part.strip_prefix("ctime="))
    }
    /// Whether it is another guest that was given this one's number.
    pub fn is_another(&self, before: &Self) -> bool {
        let differ = |was: Option<&str>, is: Option<&str>| was.is_some() && is.is_some() && was != is;
        differ(before.born(), self.born()) || differ(before.get("type"), self.get("type"))
    }
    /// The fields beside [`PLACE`], for what is compared as one.
    pub fn configuration(&self) -> impl Iterator<Item = (&str, &str)> {
        let fields = self.fields.iter().map(|(key, value)| (key.as_str(), value.as_str()));
        fields.filter(|(key, _)| !PLACE.contains(key))
    }
    pub fn set(&mut self, key: &str, value: &Value) {
        if let Some(text) = text(key, value) {
            self.fields.insert(outside::clean(key).into_owned(), text);
        }
    }
}

/// A value as text that is the same whenever it says the same; nothing where there is none.
fn text(key: &str, value: &Value) -> Option<String> {
    /// Lists whose order says nothing; Proxmox writes them as they come out of a hash.
    const SETS: [&str; 7] = ["content", "groups", "nodes", "privs", "roles", "users", "vmid"];
    Some(match value {
        Value::Null => return None,
        Value::Bool(flag) => u8::from(*flag).to_string(),
        Value::String(text) if text.is_empty() => return None,
        Value::String(text) if SETS.contains(&key) => {
            let mut parts: Vec<&str> = text.split([',', ';', ' ']).filter(|part| !part.is_empty()).collect();
            parts.sort_unstable();
            parts.join(",")
        }
        // Containers' notes come with a line's end, or without.
        Value::String(text) => outside::clean(text.trim_end()).into_owned(),
        Value::Number(number) => number.to_string(),
        Value::Array(items) if items.is_empty() => return None,
        Value::Array(_) | Value::Object(_) => outside::clean(&sorted(value.clone()).to_string()).into_owned(),
    })
}

/// With keys in order: Proxmox's are in none.
fn sorted(value: Value) -> Value {
    match value {
        Value::Object(map) => {
            let by_key: BTreeMap<String, Value> = map.into_iter().map(|(key, value)| (key, sorted(value))).collect();
            Value::Object(by_key.into_iter().collect())
        }
        Value::Array(items) => Value::Array(items.into_iter().map(sorted).collect()),
        other => other,
    }
}

/// One field that is not as it was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    pub key: String,
    pub old: Option<String>,
    pub new: Option<String>,
}

impl Difference {
    pub fn new(key: &str, old: Option<&str>, new: Option<&str>) -> Self {
        Self { key: key.to_owned(), old: old.map(str::to_owned), new: new.map(str::to_owned) }
    }
}

/// Field by field. What could not be read on either side is not compared, and neither is a status that nobody knew.
pub fn differences(before: &Object, now: &Object) -> Vec<Difference> {
    let mut keys: Vec<&String> = before.fields.keys().chain(now.fields.keys()).collect();
    // Where it is comes first.
    keys.sort_by_key(|key| (!PLACE.contains(&key.as_str()), *key));
    keys.dedup();
    let partial = before.partial || now.partial;
    let compared = keys.into_iter().filter(|key| !partial || PLACE.contains(&key.as_str()));
    let differ = compared.map(|key| Difference::new(key, before.get(key), now.get(key))).filter(|d| d.old != d.new);
    differ.filter(|d| d.key != "status" || is_known(d.old.as_deref()) && is_known(d.new.as_deref())).collect()
}

pub fn is_known(status: Option<&str>) -> bool {
    status.is_some_and(|status| status != "unknown")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn object(fields: Value) -> Object {
        let mut object = Object::default();
        for (key, value) in fields.as_object().into_iter().flatten() {
            object.set(key, value);
        }
        object
    }

    #[test]
    fn keys_are_ordered_by_number_and_read_as_they_are_written() {
        let mut keys: Vec<Key> = ["node/b", "guest/1000", "acl//vms user a@pve", "guest/101"]
            .iter()
            .filter_map(|k| k.parse().ok())
            .collect();
        keys.sort();
        let written: Vec<String> = keys.iter().map(Key::to_string).collect();
        assert_eq!(written, ["guest/101", "guest/1000", "node/b", "acl//vms user a@pve"]);
        for wrong in ["guest/x", "guest", "planet/1", "node/"] {
            assert!(wrong.parse::<Key>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn what_says_the_same_is_no_difference() {
        let a = object(json!({"content": "iso,backup", "prune": {"b": 1, "a": "2"}, "onboot": true, "tags": ""}));
        let b = object(json!({"content": "backup,iso", "prune": {"a": "2", "b": 1}, "onboot": 1, "x": null}));
        assert_eq!(differences(&a, &b), []);
    }

    #[test]
    fn what_could_not_be_read_is_not_compared() {
        let whole = object(json!({"node": "a", "status": "running", "cores": 2}));
        let partial = Object { partial: true, ..object(json!({"node": "b", "status": "unknown"})) };
        assert_eq!(differences(&whole, &partial), [Difference::new("node", Some("a"), Some("b"))]);
        assert_eq!(differences(&partial, &whole), [Difference::new("node", Some("b"), Some("a"))]);
    }
}
