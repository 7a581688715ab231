//! Roles, and the ACL that gives them.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use crate::sandbox::{
    access::BUILT_IN,
    call::Call,
    router::Route,
    wire::{Answer, Answered, Refusal},
};

pub const ROUTES: &[Route] = &[
    Route::get("/access/roles", list),
    Route::post("/access/roles", create),
    Route::get("/access/roles/{roleid}", read),
    Route::put("/access/roles/{roleid}", update),
    Route::delete("/access/roles/{roleid}", delete),
    Route::get("/access/acl", acl),
    Route::put("/access/acl", update_acl),
];

fn is_built_in(name: &str) -> bool {
    BUILT_IN.iter().any(|(known, _)| *known == name)
}

fn list(call: &Call) -> Answered {
    let state = call.sandbox.state();
    let names = BUILT_IN.iter().map(|(name, _)| *name).chain(state.access.roles.keys().map(String::as_str));
    let rows = names.map(|name| {
        let mut row = json!({"roleid": name, "privs": state.access.role(name).unwrap_or_default().join(",")});
        if is_built_in(name) {
            row["special"] = 1.into();
        }
        row
    });
    Ok(rows.collect::<Vec<_>>().into())
}

fn create(call: &Call) -> Answered {
    let name = call.text("roleid");
    if name.to_ascii_lowercase().starts_with("pve") {
        let text = "cannot use role ID starting with the (case-insensitive) 'PVE' namespace";
        return Err(Refusal::param("roleid", text));
    }
    let mut state = call.sandbox.state();
    if is_built_in(name) || state.access.roles.contains_key(name) {
        return Err(Refusal::failed(format!("create role failed: role '{name}' already exists")));
    }
    let privileges = call.list("privs").into_iter().map(str::to_owned).collect();
    state.access.roles.insert(name.to_owned(), privileges);
    Ok(Answer::null())
}

fn read(call: &Call) -> Answered {
    let state = call.sandbox.state();
    let name = call.text("roleid");
    let role = state.access.role(name).ok_or_else(|| Refusal::failed(format!("role '{name}' does not exist")))?;
    Ok(Value::from(role.into_iter().map(|name| (name.to_owned(), 1.into())).collect::<Map<_, _>>()).into())
}

fn update(call: &Call) -> Answered {
    let name = call.text("roleid");
    if is_built_in(name) {
        return Err(Refusal::failed(format!("auto-generated role '{name}' cannot be modified")));
    }
    let mut state = call.sandbox.state();
    let role = state.access.roles.get_mut(name);
    let role = role.ok_or_else(|| Refusal::failed(format!("role '{name}' does not exist")))?;
    if !call.flag("append") {
        role.clear();
    }
    role.extend(call.list("privs").into_iter().map(str::to_owned));
    Ok(Answer::null())
}

fn delete(call: &Call) -> Answered {
    let name = call.text("roleid");
    if is_built_in(name) {
        return Err(Refusal::failed(format!("auto-generated role '{name}' cannot be deleted")));
    }
    let mut state = call.sandbox.state();
    if state.access.roles.remove(name).is_none() {
        return Err(Refusal::failed(format!("delete role failed: role '{name}' does not exist")));
    }
    for acl in state.access.acl.values_mut() {
        for list in [&mut acl.users, &mut acl.groups, &mut acl.tokens] {
            for roles in list.values_mut() {
                roles.remove(name);
            }
        }
    }
    Ok(Answer::null())
}

fn acl(call: &Call) -> Answered {
    let state = call.sandbox.state();
    let audits = state.check_any(&call.who, "/access", &["Sys.Audit", "Permissions.Modify"]).is_ok();
    let mut rows = Vec::new();
    for (path, acl) in &state.access.acl {
        if !audits && state.may_modify(&call.who, path).is_err() {
            continue;
        }
        for (kind, list) in [("user", &acl.users), ("group", &acl.groups), ("token", &acl.tokens)] {
            for (name, roles) in list {
                rows.extend(roles.iter().map(|(role, propagate)| {
                    json!({"path": path, "type": kind, "ugid": name, "roleid": role, "propagate": u8::from(*propagate)})
                }));
            }
        }
    }
    Ok(rows.into())
}

/// Paths that the ACL knows; a trailing slash and doubled ones are taken off first.
fn normalise(path: &str) -> Option<String> {
    let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
    let number = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let good = match parts.as_slice() {
        [] => true,
        [top] => matches!(*top, "access" | "nodes" | "pool" | "sdn" | "storage" | "vms" | "mapping"),
        ["access", "groups" | "realm"] | ["access", "groups" | "realm", _] => true,
        ["nodes" | "storage", _] => true,
        ["vms", vmid] => number(vmid),
        ["pool", _] | ["pool", _, _] | ["pool", _, _, _] => true,
        ["sdn", kind, rest @ ..] => match *kind {
            "zones" => rest.len() <= 3,
            "controllers" | "dns" | "fabrics" | "ipams" | "prefix-lists" | "route-maps" => rest.len() <= 1,
            _ => false,
        },
        ["mapping", "dir" | "pci" | "usb"] | ["mapping", "dir" | "pci" | "usb", _] => true,
        _ => false,
    };
    (path.starts_with('/') && good).then(|| format!("/{}", parts.join("/")))
}

fn update_acl(call: &Call) -> Answered {
    let kinds = ["groups", "tokens", "users"];
    if kinds.iter().all(|kind| call.get(kind).is_none()) {
        let text = "either 'users', 'groups' or 'tokens' is required.".to_owned();
        return Err(Refusal::params(kinds.iter().map(|kind| ((*kind).to_owned(), text.clone())).collect()));
    }
    let given = call.text("path");
    let path = normalise(given).ok_or_else(|| Refusal::param("path", format!("invalid ACL path '{given}'")))?;
    let propagate = call.get("propagate").is_none_or(|value| value != "0");
    let (remove, roles) = (call.flag("delete"), call.list("roles"));
    let mut state = call.sandbox.state();
    // Whoever has not Permissions.Modify gives only what he has himself.
    if !state.may(&call.who, &path, "Permissions.Modify") {
        for role in &roles {
            let own = state.access.role(role).unwrap_or_default().iter().map(|p| (*p).to_owned()).collect::<Vec<_>>();
            let own: Vec<&str> = own.iter().map(String::as_str).collect();
            state.check(&call.who, &path, &own)?;
        }
    }
    for role in &roles {
        if state.access.role(role).is_none() && !remove {
            return Err(Refusal::failed(format!("role '{role}' does not exist")));
        }
    }
    for kind in kinds {
        for name in call.list(kind) {
            let (user, token) = name.split_once('!').map_or((name, None), |(user, token)| (user, Some(token)));
            let access = &mut state.access;
            let known = match (kind, access.users.get(user)) {
                ("groups", _) => access.groups.contains_key(name),
                ("tokens", Some(user)) => token.is_some_and(|token| user.tokens.contains_key(token)),
                (_, user) => user.is_some(),
            };
            if !known && !remove {
                return Err(Refusal::failed(match kind {
                    "groups" => format!("group '{name}' does not exist"),
                    "tokens" => format!("no such token '{}' for user '{user}'", token.unwrap_or_default()),
                    _ => format!("user '{name}' does not exist"),
                }));
            }
            let acl = access.acl.entry(path.clone()).or_default();
            let list: &mut BTreeMap<String, BTreeMap<String, bool>> = match kind {
                "groups" => &mut acl.groups,
                "tokens" => &mut acl.tokens,
                _ => &mut acl.users,
            };
            let entry = list.entry(name.to_owned()).or_default();
            for role in &roles {
                if remove {
                    entry.remove(*role);
                } else {
                    entry.insert((*role).to_owned(), propagate);
                }
            }
            if entry.is_empty() {
                list.remove(name);
            }
        }
    }
    state.access.acl.retain(|_, acl| !(acl.users.is_empty() && acl.groups.is_empty() && acl.tokens.is_empty()));
    Ok(Answer::null())
}
