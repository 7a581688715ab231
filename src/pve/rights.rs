//! Which privileges a request takes: by the permissions that the API's own description names, and by those that come with
//! storages, bridges and options, which it names in prose only. Whether somebody has them is judged by what is held.

use std::collections::{BTreeMap, BTreeSet};

use http::Method;

use super::{
    GuestKind, PropertyString, Request,
    api::{Access, Api, Permission, option_privilege},
};

/// Privileges by path.
pub type Held = BTreeMap<String, BTreeSet<String>>;

/// One demand: all of these privileges on a path, or any of them.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Demand {
    pub path: String,
    pub privileges: Vec<String>,
    pub any: bool,
}

/// What has to hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Need {
    This(Demand),
    All(Vec<Need>),
    Any(Vec<Need>),
    /// Not to be told from here.
    Unknown,
}

/// What is missing, in words, and the least that would do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lack {
    pub words: String,
    pub least: Vec<Demand>,
}

impl Demand {
    pub fn one(path: impl Into<String>, privilege: impl Into<String>) -> Self {
        Self { path: path.into(), privileges: vec![privilege.into()], any: false }
    }

    /// `VM.Clone on /vms/100`.
    pub fn words(&self) -> String {
        let between = if self.any { " or " } else { ", " };
        format!("{} on {}", self.privileges.join(between), self.path)
    }

    /// The same with as few privileges as will do.
    #[must_use]
    pub fn least(&self) -> Self {
        let privileges = match (self.any, self.privileges.iter().min_by_key(|privilege| weight(privilege))) {
            (true, Some(lightest)) => vec![lightest.clone()],
            _ => self.privileges.clone(),
        };
        Self { path: self.path.clone(), privileges, any: false }
    }

    fn is_met(&self, held: &Held) -> bool {
        let has = |privilege: &String| held.get(&self.path).is_some_and(|all| all.contains(privilege));
        match self.any {
            true => self.privileges.iter().any(has),
            false => self.privileges.iter().all(has),
        }
    }
}

/// How much a privilege gives away: where one of several will do, the lightest is asked for.
pub fn weight(privilege: &str) -> usize {
    match privilege {
        "Permissions.Modify" | "Realm.Allocate" => 5,
        "VM.GuestAgent.Unrestricted" | "Sys.Console" | "Sys.Modify" | "Sys.PowerMgmt" | "User.Modify" => 4,
        other if other.ends_with(".Audit") => 0,
        other if other.ends_with(".Use") || other.ends_with("AllocateSpace") => 1,
        other if other.ends_with(".Allocate") => 3,
        _ => 2,
    }
}

impl Need {
    /// Every path that it asks about.
    pub fn paths(&self, out: &mut BTreeSet<String>) {
        match self {
            Self::This(demand) => drop(out.insert(demand.path.clone())),
            Self::All(parts) | Self::Any(parts) => parts.iter().for_each(|part| part.paths(out)),
            Self::Unknown => {}
        }
    }

    /// What is lacking, where that is certain.
    pub fn missing(&self, held: &Held) -> Vec<Lack> {
        match self {
            Self::This(demand) if demand.is_met(held) => Vec::new(),
            Self::This(demand) => vec![Lack { words: demand.words(), least: vec![demand.least()] }],
            Self::All(parts) => parts.iter().flat_map(|part| part.missing(held)).collect(),
            Self::Any(parts) => {
                let missing: Vec<Vec<Lack>> = parts.iter().map(|part| part.missing(held)).collect();
                if missing.iter().any(Vec::is_empty) {
                    return Vec::new();
                }
                let words = |all: &Vec<Lack>| all.iter().map(|l| l.words.as_str()).collect::<Vec<_>>().join(" and ");
                let demands = |all: &Vec<Lack>| all.iter().flat_map(|l| l.least.clone()).collect::<Vec<_>>();
                let given_away = |all: &Vec<Demand>| {
                    all.iter().flat_map(|d| &d.privileges).map(|privilege| 1 + weight(privilege)).sum::<usize>()
                };
                let Some(least) = missing.iter().map(demands).min_by_key(given_away) else { return Vec::new() };
                vec![Lack { words: missing.iter().map(words).collect::<Vec<_>>().join(" or "), least }]
            }
            Self::Unknown => Vec::new(),
        }
    }
}

/// What a request takes.
pub fn needs(api: &Api, request: &Request) -> Vec<Need> {
    let Some((endpoint, vars)) = api.lookup(&request.method, &request.path) else { return Vec::new() };
    let value = |name: &str| vars.get(name).cloned().or_else(|| request.param_of(name).map(str::to_owned));
    let mut all: Vec<Need> = of_access(&endpoint.access, &value).into_iter().collect();
    let on = |path: String, privilege: &'static str| Need::This(Demand::one(path, privilege));
    let storages = |all: &mut Vec<Need>| {
        for (key, text) in request.plain_params() {
            let stem = key.trim_end_matches(|c: char| c.is_ascii_digit());
            let value = PropertyString::parse(text);
            match stem {
                "net" => all.extend(value.get("bridge").map(|b| on(format!("/sdn/zones/localnetwork/{b}"), "SDN.Use"))),
                "ide" | "sata" | "scsi" | "virtio" | "efidisk" | "tpmstate" | "rootfs" | "mp" => {
                    let new = value
                        .first()
                        .and_then(|v| v.split_once(':'))
                        .filter(|(_, size)| size.parse::<f64>().is_ok() || *size == "cloudinit");
                    all.extend(new.map(|(s, _)| on(format!("/storage/{s}"), "Datastore.AllocateSpace")));
                }
                "storage" | "targetstorage" if !text.contains([':', ',']) && text != "1" => {
                    all.push(on(format!("/storage/{text}"), "Datastore.AllocateSpace"));
                }
                _ => {}
            }
        }
    };
    match (&request.method, endpoint.path) {
        (&Method::POST, "/nodes/{node}/qemu" | "/nodes/{node}/lxc") => {
            let vmid = value("vmid").unwrap_or_default();
            let own = on(format!("/vms/{vmid}"), "VM.Allocate");
            all.push(match value("pool") {
                Some(pool) => Need::Any(vec![own, on(format!("/pool/{pool}"), "VM.Allocate")]),
                None => own,
            });
            storages(&mut all);
        }
        (&Method::POST, "/nodes/{node}/vzdump") => {
            let guests = value("vmid").unwrap_or_default();
            let guests = guests.split(',').filter(|v| !v.is_empty());
            all.extend(guests.map(|vmid| on(format!("/vms/{vmid}"), "VM.Backup")));
            storages(&mut all);
        }
        (_, "/nodes/{node}/qemu/{vmid}/config" | "/nodes/{node}/lxc/{vmid}/config")
            if request.method != Method::GET =>
        {
            let kind = if endpoint.path.contains("/qemu/") { GuestKind::Qemu } else { GuestKind::Lxc };
            let own = format!("/vms/{}", value("vmid").unwrap_or_default());
            for (key, text) in request.params.iter().map(|(key, value)| (key.as_ref(), value.shown())) {
                match key {
                    "digest" | "background_delay" | "force" => {}
                    "delete" | "revert" => {
                        let keys = text.split([',', ';', ' ']).filter(|k| !k.is_empty());
                        all.extend(keys.map(|key| on(own.clone(), option_privilege(kind, key, ""))));
                    }
                    key => all.push(on(own.clone(), option_privilege(kind, key, text))),
                }
            }
            storages(&mut all);
        }
        (_, path)
            if path.starts_with("/nodes/{node}/qemu/{vmid}/") || path.starts_with("/nodes/{node}/lxc/{vmid}/") =>
        {
            storages(&mut all);
        }
        _ => {}
    }
    all
}

/// What the API's description demands, the parameters in its paths filled in; `None` where it demands nothing.
pub fn of_access(access: &Access, value: &impl Fn(&str) -> Option<String>) -> Option<Need> {
    match access {
        Access::Check(permission) => Some(read(permission, value)),
        Access::World | Access::User | Access::Root => None,
    }
}

/// The API's expression with the request's own values.
fn read(permission: &Permission, value: &impl Fn(&str) -> Option<String>) -> Need {
    match permission {
        Permission::Privileges { path, privileges, any, require_param } => {
            // Without its parameter such an alternative does not count.
            if require_param.is_some_and(|name| value(name).is_none()) {
                return Need::Any(Vec::new());
            }
            let privileges = privileges.iter().map(|privilege| (*privilege).to_owned()).collect();
            match filled(path, value) {
                Some(path) => Need::This(Demand { path, privileges, any: *any }),
                None => Need::Unknown,
            }
        }
        Permission::And(parts) => Need::All(parts.iter().map(|p| read(p, value)).collect()),
        Permission::Or(parts) => {
            let parts = parts.iter().map(|p| read(p, value));
            Need::Any(parts.filter(|p| !matches!(p, Need::Any(none) if none.is_empty())).collect())
        }
        Permission::Modify { .. }
        | Permission::UserIsSelf
        | Permission::UserRealm { .. }
        | Permission::UserGroup { .. } => Need::Unknown,
    }
}

/// The path with its braces filled in; `None` where a value is not given.
fn filled(path: &str, value: &impl Fn(&str) -> Option<String>) -> Option<String> {
    let parts: Option<Vec<String>> = path
        .split('/')
        .map(|part| match part.strip_prefix('{').and_then(|p| p.strip_suffix('}')) {
            Some(name) => value(name),
            None => Some(part.to_owned()),
        })
        .collect();
    parts.map(|parts| parts.join("/"))
}
