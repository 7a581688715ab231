//! What a tool takes: privileges, a release of Proxmox VE, and credentials other than a token's. From the permissions of
//! the calls it declares, and from [`extras`] where Proxmox names them in prose only. Asks nobody, and knows nobody's rights.

mod extras;

use std::collections::BTreeSet;

use http::Method;

use crate::{
    policy::Effect,
    pve::{
        api::{Access, Api, Before, Endpoint, Permission, before_9},
        rights::{Demand, Need},
    },
    tool::Entry,
};

/// Which server is spoken of: much changed with release 9.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Release {
    Eight,
    Nine,
}

/// One call of a tool's list, on one release.
#[derive(Debug, Clone)]
pub struct Call {
    /// `METHOD /path`, with its parameters in braces.
    pub name: String,
    pub takes: Takes,
}

/// What a call takes. Paths have the call's parameters in braces.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Takes {
    /// Any credentials.
    Nothing,
    Privileges(Need),
    /// `root@pam` with its password.
    Root,
    /// A login by password.
    NoToken,
    /// This release has no such call.
    Absent,
}

/// What a tool takes.
#[derive(Debug, Clone)]
pub struct Rights {
    pub tool: &'static str,
    /// The calls that destroy, else those that change something; for a tool that reads, those that read.
    pub main: Vec<Call>,
    /// What it reads besides.
    pub also: Vec<Call>,
    /// Whatever it is used for.
    pub always: Vec<Demand>,
    /// For some arguments: for what, and which.
    pub may: Vec<(&'static str, Demand)>,
}

/// What a tool takes on a server of this release.
pub fn of(api: &Api, entry: &Entry, release: Release) -> Rights {
    let calls = calls(api, entry.api, release);
    // What destroys is known by its DELETE, whatever else it may send before.
    let deletes = entry.effect == Effect::Destroy && entry.api.iter().any(|call| call.starts_with("DELETE "));
    let changes = entry.effect != Effect::Read;
    let is_main = |(write, call): &(bool, Call)| match deletes {
        true => call.name.starts_with("DELETE "),
        false => *write == changes,
    };
    let (main, also) = calls.into_iter().partition(is_main);
    let plain = |all: Vec<(bool, Call)>| all.into_iter().map(|(_, call)| call).collect();
    let mut always: Vec<Demand> = Vec::new();
    let mut may = Vec::new();
    // A guest is found in the cluster's listing first, which shows those that may be seen.
    if entry.api.iter().any(|call| call.contains("/{vmid}")) {
        always.push(Demand::one("/vms/{vmid}", "VM.Audit"));
    }
    for (when, demand) in extras::of(entry) {
        match when {
            None => always.push(demand),
            Some(when) => may.push((when, demand)),
        }
    }
    always.dedup();
    for (_, call) in self::calls(api, extras::first(entry), release) {
        if let Takes::Privileges(Need::This(demand)) = call.takes {
            may.push((extras::FIRST, demand));
        }
    }
    Rights { tool: entry.name, main: plain(main), also: plain(also), always, may }
}

/// The declared calls, and whether they write; `{type}` as far as its two kinds differ.
fn calls(api: &Api, declared: &[&str], release: Release) -> Vec<(bool, Call)> {
    let mut calls: Vec<(bool, Call)> = Vec::new();
    for declared in declared {
        let Some((method, path)) = declared.split_once(' ') else { continue };
        let Ok(method) = Method::from_bytes(method.as_bytes()) else { continue };
        let kinds: &[&str] = if path.contains("{type}") { &["qemu", "lxc"] } else { &[""] };
        for kind in kinds {
            let Some(endpoint) = api.endpoint(&method, &path.replace("{type}", kind)) else { continue };
            let name = format!("{method} {path}");
            let takes = takes(&endpoint, release);
            if !calls.iter().any(|(_, call)| call.name == name && call.takes == takes) {
                calls.push((method != Method::GET, Call { name, takes }));
            }
        }
    }
    calls
}

fn takes(endpoint: &Endpoint, release: Release) -> Takes {
    let before = before_9(endpoint).filter(|_| release == Release::Eight);
    let access = match before {
        Some(Before::Absent) => return Takes::Absent,
        Some(Before::Access(access)) => access,
        None => &endpoint.access,
    };
    match access {
        _ if !endpoint.allow_token => Takes::NoToken,
        Access::World | Access::User => Takes::Nothing,
        Access::Root => Takes::Root,
        Access::Check(permission) => Takes::Privileges(template(permission)),
    }
}

/// The API's expression with its parameters left open.
fn template(permission: &Permission) -> Need {
    let any_of = |path: &str, privileges: &[&str]| {
        let privileges = privileges.iter().map(|privilege| (*privilege).to_owned()).collect();
        Need::This(Demand { path: path.to_owned(), privileges, any: true })
    };
    match permission {
        Permission::Privileges { path, privileges, any, .. } => {
            let privileges = privileges.iter().map(|privilege| (*privilege).to_owned()).collect();
            Need::This(Demand { path: (*path).to_owned(), privileges, any: *any })
        }
        // Whose permissions are changed is any path.
        Permission::Modify { .. } => any_of("/", &["Permissions.Modify"]),
        Permission::UserIsSelf => Need::Unknown,
        Permission::UserRealm { privilege } => any_of("/access/realm/{realm}", &[*privilege]),
        Permission::UserGroup { privileges, .. } => any_of("/access/groups", privileges),
        Permission::And(parts) => Need::All(parts.iter().map(template).collect()),
        Permission::Or(parts) => {
            let parts = parts.iter().map(template);
            Need::Any(parts.filter(|part| *part != Need::Unknown).collect())
        }
    }
}

impl Rights {
    /// Every demand that is made, each alternative among them.
    pub fn demands(&self) -> Vec<Demand> {
        fn of(need: &Need, out: &mut Vec<Demand>) {
            match need {
                Need::This(demand) => out.push(demand.clone()),
                Need::All(parts) | Need::Any(parts) => parts.iter().for_each(|part| of(part, out)),
                Need::Unknown => {}
            }
        }
        let mut all = Vec::new();
        for call in self.main.iter().chain(&self.also) {
            if let Takes::Privileges(need) = &call.takes {
                of(need, &mut all);
            }
        }
        all.extend(self.always.iter().cloned());
        all.extend(self.may.iter().map(|(_, demand)| demand.clone()));
        let mut seen = BTreeSet::new();
        all.retain(|demand| seen.insert(demand.clone()));
        all
    }

    /// The calls that no token may make.
    pub fn beyond_tokens(&self) -> impl Iterator<Item = &Call> {
        self.main.iter().chain(&self.also).filter(|call| matches!(call.takes, Takes::Root | Takes::NoToken))
    }
}
