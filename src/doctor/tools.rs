//! Which tools can work with these rights on this release, family by family, and what the others lack.

use std::collections::BTreeMap;

use serde::Serialize;

use super::rights::Permissions;
use crate::{
    pve::{
        api::Api,
        rights::{Demand, Need},
    },
    rights::{self, Call, Release, Rights, Takes},
    tools::FAMILIES,
};

/// A family of tools, as far as it works.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Family {
    pub family: &'static str,
    pub tools: usize,
    /// How many can do at least a part of what they are for.
    pub work: usize,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub lacking: Vec<Lacking>,
}

/// What stands in the way of some tools.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Lacking {
    /// A privilege and its path, or a call that is not there.
    pub what: String,
    /// These cannot do anything without.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub none: Vec<&'static str>,
    /// These may need it, as their arguments go.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub some: Vec<&'static str>,
}

/// Who asks, and of which server.
pub struct Asker<'a> {
    pub permissions: &'a Permissions,
    pub release: Release,
    pub is_token: bool,
    pub is_root: bool,
}

/// Every family.
pub fn families(api: &Api, asker: &Asker<'_>) -> Vec<Family> {
    let of = |(family, tools): &(&'static str, &'static [crate::tool::Entry])| {
        let mut lacking: BTreeMap<String, Lacking> = BTreeMap::new();
        let mut work = 0;
        for entry in *tools {
            let rights = rights::of(api, entry, asker.release);
            let (none, some) = asker.lacks(&rights);
            work += usize::from(none.is_empty());
            let mut note = |what: String, all: bool| {
                let fresh = || Lacking { what: what.clone(), none: Vec::new(), some: Vec::new() };
                let lacking = lacking.entry(what.clone()).or_insert_with(fresh);
                let list = if all { &mut lacking.none } else { &mut lacking.some };
                if !list.contains(&entry.name) {
                    list.push(entry.name);
                }
            };
            none.into_iter().for_each(|what| note(what, true));
            some.into_iter().for_each(|what| note(what, false));
        }
        Family { family, tools: tools.len(), work, lacking: lacking.into_values().collect() }
    };
    FAMILIES.iter().map(of).collect()
}

impl Asker<'_> {
    /// What keeps the tool from doing anything, and what from doing all.
    fn lacks(&self, rights: &Rights) -> (Vec<String>, Vec<String>) {
        let always = rights.always.iter().filter_map(|demand| self.missing(demand));
        let mut none: Vec<String> = always.collect();
        let main: Vec<Vec<String>> = rights.main.iter().map(|call| self.refused(call)).collect();
        let mut some: Vec<String> = rights.also.iter().flat_map(|call| self.refused(call)).collect();
        let all_refused = !main.is_empty() && main.iter().all(|why| !why.is_empty());
        if all_refused { &mut none } else { &mut some }.extend(main.into_iter().flatten());
        if none.is_empty() {
            some.extend(rights.may.iter().filter_map(|(_, demand)| self.missing(demand)));
            return (none, some);
        }
        // What would be lacking next is told once this is there.
        (none, Vec::new())
    }

    /// Why this call would be refused.
    fn refused(&self, call: &Call) -> Vec<String> {
        match &call.takes {
            Takes::Nothing => Vec::new(),
            Takes::Privileges(need) => self.unmet(need),
            Takes::Root if self.is_root && !self.is_token => Vec::new(),
            Takes::Root => vec![format!("the password login of root@pam, for {}", call.name)],
            Takes::NoToken if !self.is_token => Vec::new(),
            Takes::NoToken => vec![format!("a login by password, for {}", call.name)],
            Takes::Absent => vec![format!("{}, which Proxmox VE has since release 9", call.name)],
        }
    }

    fn unmet(&self, need: &Need) -> Vec<String> {
        match need {
            Need::This(demand) => self.missing(demand).into_iter().collect(),
            Need::All(parts) => parts.iter().flat_map(|part| self.unmet(part)).collect(),
            Need::Any(parts) => {
                let all: Vec<Vec<String>> = parts.iter().map(|part| self.unmet(part)).collect();
                if all.iter().any(Vec::is_empty) {
                    return Vec::new();
                }
                vec![all.iter().map(|lacks| lacks.join(" and ")).collect::<Vec<_>>().join(", or ")]
            }
            Need::Unknown => Vec::new(),
        }
    }

    /// What of a demand is held nowhere that its path may lead to.
    fn missing(&self, demand: &Demand) -> Option<String> {
        let lacking: Vec<&String> =
            demand.privileges.iter().filter(|privilege| !self.holds(&demand.path, privilege)).collect();
        let enough = if demand.any { lacking.len() < demand.privileges.len() } else { lacking.is_empty() };
        let between = if demand.any { " or " } else { ", " };
        let words = || lacking.iter().map(|one| one.as_str()).collect::<Vec<_>>().join(between);
        (!enough).then(|| format!("{} on {}", words(), demand.path))
    }

    /// Whether the privilege is held on a path, or somewhere below where the path leaves that open.
    fn holds(&self, path: &str, privilege: &str) -> bool {
        let literal = path.split("/{").next().unwrap_or_default();
        let open = literal != path;
        self.permissions.iter().filter(|(_, held)| held.contains_key(privilege)).any(|(at, held)| {
            let above = at == "/" || literal == at || literal.starts_with(&format!("{at}/"));
            let exact = literal == at || (literal.is_empty() && at == "/");
            let below = open && at.starts_with(&format!("{literal}/"));
            (exact && !open) || (above && held.get(privilege) == Some(&true)) || below
        })
    }
}

impl Family {
    /// One line, and one below it for each thing that is lacking.
    pub fn lines(&self) -> Vec<String> {
        let mut lines = vec![format!("{}: {} of {}", self.family.replace('_', " "), self.work, self.tools)];
        for lacking in &self.lacking {
            let short =
                |names: &[&str]| names.iter().map(|n| n.trim_start_matches("proxmox-")).collect::<Vec<_>>().join(", ");
            let all = lacking.none.len() == self.tools && self.tools > 1;
            let mut parts = Vec::new();
            if all {
                parts.push("all need".to_owned());
            } else if !lacking.none.is_empty() {
                let need = if lacking.none.len() == 1 { "needs" } else { "need" };
                parts.push(format!("{} {need}", short(&lacking.none)));
            }
            if !lacking.some.is_empty() {
                parts.push(format!("{} may need", short(&lacking.some)));
            }
            lines.push(format!("  {} {}", parts.join("; "), lacking.what));
        }
        lines
    }
}
