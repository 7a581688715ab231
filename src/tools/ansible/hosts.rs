//! An inventory: hosts, groups, and the variables of both, as Ansible's inventory scripts say it; and the same as YAML and INI.
//! Knows nothing of guests.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write,
};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{Format, write};
use crate::error::{Error, Result};

/// The group of all hosts: it has variables, and the others as its children.
pub const ALL: &str = "all";

/// As a script answers `--list`.
#[derive(Default, Serialize, Deserialize)]
pub struct Inventory {
    #[serde(rename = "_meta")]
    meta: Meta,
    #[serde(flatten)]
    pub groups: BTreeMap<String, Group>,
}

#[derive(Default, Serialize, Deserialize)]
struct Meta {
    hostvars: BTreeMap<String, Map<String, Value>>,
}

#[derive(Default, Serialize, Deserialize)]
pub struct Group {
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    hosts: BTreeSet<String>,
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub vars: Map<String, Value>,
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    children: BTreeSet<String>,
}

impl Inventory {
    /// # Errors
    /// `Internal` for what is none.
    pub fn from_json(text: &str) -> Result<Self> {
        serde_json::from_str(text).map_err(|e| Error::internal(format!("no inventory: {e}")))
    }

    pub fn hosts(&self) -> &BTreeMap<String, Map<String, Value>> {
        &self.meta.hostvars
    }

    /// Adds a host to some groups, each of which is made where there is none of that name.
    pub fn add(&mut self, host: &str, variables: Map<String, Value>, groups: impl IntoIterator<Item = String>) {
        for group in groups {
            self.groups.entry(ALL.to_owned()).or_default().children.insert(group.clone());
            self.groups.entry(group).or_default().hosts.insert(host.to_owned());
        }
        self.meta.hostvars.insert(host.to_owned(), variables);
    }

    /// Takes in the hosts of another one, by the names that `rename` gives them.
    pub fn absorb(&mut self, other: Self, rename: impl Fn(&str) -> String) {
        for (name, group) in other.groups {
            let here = self.groups.entry(name).or_default();
            here.hosts.extend(group.hosts.iter().map(|host| rename(host)));
            here.vars.extend(group.vars);
            here.children.extend(group.children);
        }
        self.meta.hostvars.extend(other.meta.hostvars.into_iter().map(|(host, variables)| (rename(&host), variables)));
    }

    /// The variables that hold for a host, in Ansible's order: of all, of its groups by name, its own.
    pub fn variables_of(&self, host: &str) -> Option<Map<String, Value>> {
        let own = self.meta.hostvars.get(host)?;
        let of_all = self.groups.get(ALL).map(|all| &all.vars);
        let of_groups = self.groups.values().filter(|group| group.hosts.contains(host)).map(|group| &group.vars);
        let layers = of_all.into_iter().chain(of_groups).chain([own]);
        Some(layers.flatten().map(|(key, value)| (key.clone(), value.clone())).collect())
    }

    pub fn text(&self, format: Format) -> String {
        match format {
            Format::Json => serde_json::to_string_pretty(self).unwrap_or_default(),
            Format::Yaml => self.yaml(),
            Format::Ini => self.ini(),
        }
    }

    /// The groups but that of all.
    fn named(&self) -> impl Iterator<Item = (&String, &Group)> {
        self.groups.iter().filter(|(name, _)| *name != ALL)
    }

    /// JSON's strings, numbers and lists are YAML's.
    fn yaml(&self) -> String {
        let mut out = "all:\n".to_owned();
        if let Some(all) = self.groups.get(ALL).filter(|all| !all.vars.is_empty()) {
            out.push_str("  vars:\n");
            values(&mut out, 4, &all.vars);
        }
        if self.meta.hostvars.is_empty() {
            out.push_str("  hosts: {}\n");
            return out;
        }
        out.push_str("  hosts:\n");
        for (host, variables) in &self.meta.hostvars {
            let _ = writeln!(out, "    {}:", Value::from(host.as_str()));
            values(&mut out, 6, variables);
        }
        out.push_str("  children:\n");
        for (name, group) in self.named() {
            let _ = writeln!(out, "    {name}:");
            if !group.vars.is_empty() {
                out.push_str("      vars:\n");
                values(&mut out, 8, &group.vars);
            }
            out.push_str("      hosts:\n");
            for host in &group.hosts {
                let _ = writeln!(out, "        {}:", Value::from(host.as_str()));
            }
        }
        out
    }

    fn ini(&self) -> String {
        let mut out = String::new();
        for (host, variables) in &self.meta.hostvars {
            out.push_str(&write::line(host, variables));
            out.push('\n');
        }
        for (name, group) in &self.groups {
            if !group.hosts.is_empty() {
                let _ = writeln!(out, "\n[{name}]");
            }
            for host in &group.hosts {
                let _ = writeln!(out, "{host}");
            }
            if !group.vars.is_empty() {
                let _ = writeln!(out, "\n[{name}:vars]");
            }
            for (key, value) in &group.vars {
                let _ = writeln!(out, "{key}={}", write::literal(value));
            }
        }
        out
    }
}

fn values(out: &mut String, indent: usize, variables: &Map<String, Value>) {
    for (key, value) in variables {
        let _ = writeln!(out, "{:indent$}{key}: {value}", "");
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_host_s_variables_are_its_own_before_its_groups_before_all() -> Result<()> {
        let inventory = Inventory::from_json(
            &json!({
                "_meta": {"hostvars": {"a": {"own": 1}, "b": {}}},
                "all": {"children": ["g", "h"], "vars": {"own": 0, "who": "all", "port": 22}},
                "g": {"hosts": ["a"], "vars": {"who": "g", "own": 2}},
                "h": {"hosts": ["a", "b"], "vars": {"who": "h"}},
            })
            .to_string(),
        )?;
        let of = |host: &str| inventory.variables_of(host).map(Value::Object);
        assert_eq!(of("a"), Some(json!({"own": 1, "who": "h", "port": 22})));
        assert_eq!(of("b"), Some(json!({"own": 0, "who": "h", "port": 22})));
        assert_eq!(of("c"), None);
        Ok(())
    }
}
