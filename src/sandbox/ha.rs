//! High availability: what its configuration files hold, and what its manager would say of it. Who acts on it is in
//! `routes/guests/managed.rs`.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use super::{
    config::digest,
    guest::{Guest, Kind},
};

/// Options of one resource or rule, as in the file.
pub type Options = BTreeMap<String, String>;

#[derive(Debug, Clone, Default)]
pub struct Ha {
    /// `vm:100` → `state`, `max_restart`, ….
    pub resources: BTreeMap<String, Options>,
    /// Name → `type`, `resources`, `nodes`, ….
    pub rules: BTreeMap<String, Options>,
    /// Nodes that were put into maintenance at the shell.
    pub maintenance: BTreeSet<String>,
    /// Resources that HA has given up, until somebody disables them.
    pub errors: BTreeSet<String>,
}

/// `vm:100`, `ct:100`.
pub fn sid(kind: Kind, vmid: u32) -> String {
    format!("{}:{vmid}", if kind == Kind::Qemu { "vm" } else { "ct" })
}

pub fn file_digest(sections: &BTreeMap<String, Options>) -> String {
    let lines = sections.iter().map(|(name, options)| {
        let options: String = options.iter().map(|(key, value)| format!("\t{key} {value}\n")).collect();
        format!("{name}\n{options}\n")
    });
    digest(&lines.collect::<String>())
}

/// Options as the API gives them: figures are numbers.
pub fn shown(options: &Options) -> Map<String, Value> {
    let number = |key: &str| {
        matches!(key, "max_restart" | "max_relocate" | "failback" | "auto-rebalance" | "strict" | "disable")
    };
    let value = |(key, text): (&String, &String)| {
        let value = text.parse::<i64>().ok().filter(|_| number(key)).map_or_else(|| text.as_str().into(), Value::from);
        (key.clone(), value)
    };
    options.iter().map(value).collect()
}

impl Ha {
    /// What is wanted of the guest, where it is managed: an ignored resource is as none.
    pub fn wants(&self, kind: Kind, vmid: u32) -> Option<&str> {
        let options = self.resources.get(&sid(kind, vmid))?;
        let state = options.get("state").map_or("started", String::as_str);
        (state != "ignored").then_some(if state == "enabled" { "started" } else { state })
    }

    /// The resources that rules of this kind of affinity name together with this one.
    pub fn others<'a>(&'a self, name: &'a str, affinity: &'a str) -> impl Iterator<Item = &'a str> {
        let of = |rule: &'a Options, key: &str| rule.get(key).map(String::as_str).unwrap_or_default();
        let rules = self.active("resource-affinity", name).filter(move |rule| of(rule, "affinity") == affinity);
        rules.flat_map(move |rule| of(rule, "resources").split(',')).filter(move |other| *other != name)
    }

    /// Whether a strict rule keeps the resource from a node.
    pub fn forbids(&self, name: &str, node: &str) -> bool {
        let on = |rule: &Options| {
            let nodes = rule.get("nodes").map(String::as_str).unwrap_or_default();
            nodes.split(',').any(|one| one.split(':').next() == Some(node))
        };
        let strict = |rule: &&Options| rule.get("strict").is_some_and(|strict| strict == "1");
        self.active("node-affinity", name).filter(strict).any(|rule| !on(rule))
    }

    /// Rules of a type that are about the resource.
    fn active<'a>(&'a self, kind: &'a str, name: &'a str) -> impl Iterator<Item = &'a Options> {
        let is = |rule: &Options, key: &str, wanted: &str| rule.get(key).is_some_and(|value| value == wanted);
        let about =
            move |rule: &Options| rule.get("resources").is_some_and(|all| all.split(',').any(|one| one == name));
        self.rules.values().filter(move |rule| is(rule, "type", kind) && !is(rule, "disable", "1") && about(rule))
    }

    /// The state that lists show of a guest.
    pub fn state_of(&self, guest: &Guest) -> Option<&'static str> {
        let name = sid(guest.kind, guest.vmid);
        let options = self.resources.get(&name)?;
        if self.errors.contains(&name) {
            return Some("error");
        }
        Some(match options.get("state").map_or("started", String::as_str) {
            "ignored" => "ignored",
            "disabled" if !guest.is_running() => "disabled",
            "stopped" | "disabled" if guest.is_running() => "request_stop",
            "stopped" => "stopped",
            _ => "started",
        })
    }

    /// The same in the words of the status.
    pub fn verbose(&self, guest: &Guest) -> &'static str {
        match (self.state_of(guest), guest.is_running()) {
            (Some("request_stop"), _) => "stopping",
            (Some("started"), false) => "starting",
            (Some(other), _) => other,
            (None, _) => "deleting",
        }
    }
}
