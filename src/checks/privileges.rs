//! Whether the credentials may do what a plan is going to ask, by the permissions that the API's own description names and by
//! those that come with storages, bridges and options.

use std::collections::{BTreeMap, BTreeSet};

use futures::future::join_all;
use http::Method;

use super::{Checked, asked::Asked};
use crate::pve::{
    GuestKind, PropertyString, Request,
    api::{Access, Api, Permission, option_privilege},
};

/// One demand: all of these privileges on a path, or any of them.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Demand {
    path: String,
    privileges: Vec<&'static str>,
    any: bool,
}

/// What has to hold.
#[derive(Debug)]
enum Need {
    This(Demand),
    All(Vec<Need>),
    Any(Vec<Need>),
    /// Not to be told from here.
    Unknown,
}

/// Privileges by path.
type Held = BTreeMap<String, BTreeSet<String>>;

pub async fn check(pve: &Asked<'_>, api: &Api, requests: &[Request]) -> Option<Checked> {
    let needs: Vec<Need> = requests
        .iter()
        .filter(|request| request.method != Method::GET)
        .flat_map(|request| needs(api, request))
        .collect();
    let mut paths = BTreeSet::new();
    needs.iter().for_each(|need| need.paths(&mut paths));
    if paths.is_empty() {
        return None;
    }
    let held: Option<Held> = join_all(paths.into_iter().map(|path| held(pve, path))).await.into_iter().collect();
    let held = held?;
    let mut missing: Vec<String> = needs.iter().flat_map(|need| need.missing(&held)).collect();
    missing.sort();
    missing.dedup();
    Some(match missing.as_slice() {
        [] => Checked::good("the credentials have the privileges for it"),
        missing => Checked::problem(format!("missing privileges: {}", missing.join(", "))),
    })
}

async fn held(pve: &Asked<'_>, path: String) -> Option<(String, BTreeSet<String>)> {
    let request = Request::get("/access/permissions").param("path", &path);
    let answer: BTreeMap<String, BTreeMap<String, bool>> = pve.request(request).await.ok()?;
    let privileges = answer.into_values().flat_map(BTreeMap::into_keys).collect();
    Some((path, privileges))
}

impl Need {
    fn paths(&self, out: &mut BTreeSet<String>) {
        match self {
            Self::This(demand) => drop(out.insert(demand.path.clone())),
            Self::All(parts) | Self::Any(parts) => parts.iter().for_each(|part| part.paths(out)),
            Self::Unknown => {}
        }
    }

    /// What is lacking, where that is certain.
    fn missing(&self, held: &Held) -> Vec<String> {
        match self {
            Self::This(demand) => {
                let has = |privilege: &&&str| held.get(&demand.path).is_some_and(|all| all.contains(**privilege));
                let there = demand.privileges.iter().filter(has).count();
                let enough = if demand.any { there > 0 } else { there == demand.privileges.len() };
                let word = if demand.any { " or " } else { ", " };
                let missing = (!enough).then(|| format!("{} on {}", demand.privileges.join(word), demand.path));
                missing.into_iter().collect()
            }
            Self::All(parts) => parts.iter().flat_map(|part| part.missing(held)).collect(),
            Self::Any(parts) => {
                let missing: Vec<Vec<String>> = parts.iter().map(|part| part.missing(held)).collect();
                if missing.is_empty() || missing.iter().any(Vec::is_empty) {
                    return Vec::new();
                }
                vec![missing.iter().map(|all| all.join(" and ")).collect::<Vec<_>>().join(" or ")]
            }
            Self::Unknown => Vec::new(),
        }
    }
}

fn needs(api: &Api, request: &Request) -> Vec<Need> {
    let Some((endpoint, vars)) = api.lookup(&request.method, &request.path) else { return Vec::new() };
    let value = |name: &str| vars.get(name).map(String::as_str).or_else(|| request.param_of(name));
    let mut all = Vec::new();
    if let Access::Check(permission) = &endpoint.access {
        all.push(read(permission, &value));
    }
    let on =
        |path: String, privilege: &'static str| Need::This(Demand { path, privileges: vec![privilege], any: false });
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
            let guests = value("vmid").unwrap_or_default().split(',').filter(|v| !v.is_empty());
            all.extend(guests.map(|vmid| on(format!("/vms/{vmid}"), "VM.Backup")));
            storages(&mut all);
        }
        (_, "/nodes/{node}/qemu/{vmid}/config" | "/nodes/{node}/lxc/{vmid}/config") => {
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

/// The API's expression with the request's own values.
fn read<'a>(permission: &Permission, value: &impl Fn(&str) -> Option<&'a str>) -> Need {
    match permission {
        Permission::Privileges { path, privileges, any, require_param } => {
            // Without its parameter such an alternative does not count.
            if require_param.is_some_and(|name| value(name).is_none()) {
                return Need::Any(Vec::new());
            }
            match filled(path, value) {
                Some(path) => Need::This(Demand { path, privileges: privileges.clone(), any: *any }),
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
fn filled<'a>(path: &str, value: &impl Fn(&str) -> Option<&'a str>) -> Option<String> {
    let parts: Option<Vec<&str>> = path
        .split('/')
        .map(|part| match part.strip_prefix('{').and_then(|p| p.strip_suffix('}')) {
            Some(name) => value(name),
            None => Some(part),
        })
        .collect();
    parts.map(|parts| parts.join("/"))
}
