//! Users and groups.

use serde_json::{Map, Value, json};

use crate::sandbox::{
    access::User,
    call::Call,
    router::Route,
    state::State,
    wire::{Answer, Answered, Refusal},
};

pub const ROUTES: &[Route] = &[
    Route::get("/access/users", list),
    Route::post("/access/users", create),
    Route::get("/access/users/{userid}", read),
    Route::put("/access/users/{userid}", update),
    Route::delete("/access/users/{userid}", delete),
    Route::get("/access/groups", groups),
    Route::post("/access/groups", create_group),
    Route::get("/access/groups/{groupid}", read_group),
    Route::put("/access/groups/{groupid}", update_group),
    Route::delete("/access/groups/{groupid}", delete_group),
];

/// The fields that lists and single users have in common.
fn facts(user: &User) -> Map<String, Value> {
    let mut out = Map::new();
    out.insert("enable".to_owned(), u8::from(user.enable).into());
    out.insert("expire".to_owned(), user.expire.into());
    let texts = [
        ("comment", &user.comment),
        ("email", &user.email),
        ("firstname", &user.firstname),
        ("lastname", &user.lastname),
        ("keys", &user.keys),
    ];
    for (name, text) in texts {
        if let Some(text) = text {
            out.insert(name.to_owned(), text.as_str().into());
        }
    }
    out
}

/// Whether the caller may see the account: his own (not that of the token he uses), or one in a group whose users he may
/// manage.
fn sees(call: &Call, state: &State, name: &str, user: &User) -> bool {
    let on = |path: &str| state.check_any(&call.who, path, &["User.Modify", "Sys.Audit"]).is_ok();
    name == call.who.full()
        || on("/access/groups")
        || user.groups.iter().any(|group| on(&format!("/access/groups/{group}")))
}

fn list(call: &Call) -> Answered {
    let state = call.sandbox.state();
    let mut rows = Vec::new();
    for (name, user) in &state.access.users {
        if !sees(call, &state, name, user) {
            continue;
        }
        if call.get("enabled").is_some() && call.flag("enabled") != user.enable {
            continue;
        }
        let mut row = facts(user);
        row.insert("userid".to_owned(), name.as_str().into());
        let realm = name.rsplit_once('@').map_or("", |(_, realm)| realm);
        if let Some(realm) = state.access.realms.get(realm) {
            row.insert("realm-type".to_owned(), realm.kind.as_str().into());
        }
        if call.flag("full") {
            row.insert("groups".to_owned(), join(&user.groups).into());
            let tokens = user.tokens.iter().map(|(name, token)| super::tokens::info(Some(name), token));
            let tokens: Vec<Value> = tokens.collect();
            row.insert("tokens".to_owned(), if tokens.is_empty() { Value::Null } else { tokens.into() });
        }
        rows.push(Value::from(row));
    }
    Ok(rows.into())
}

fn join(set: &std::collections::BTreeSet<String>) -> String {
    set.iter().map(String::as_str).collect::<Vec<_>>().join(",")
}

fn set(user: &mut User, call: &Call) {
    let text = |name: &str| call.get(name).filter(|text| !text.is_empty()).map(str::to_owned);
    let fields = [
        ("comment", &mut user.comment),
        ("email", &mut user.email),
        ("firstname", &mut user.firstname),
        ("lastname", &mut user.lastname),
        ("keys", &mut user.keys),
    ];
    for (name, field) in fields {
        if call.get(name).is_some() {
            *field = text(name);
        }
    }
    if let Some(expire) = call.int("expire") {
        user.expire = expire.max(0) as u64;
    }
    if call.get("enable").is_some() {
        user.enable = call.flag("enable");
    }
    if let Some(password) = call.get("password") {
        user.password = Some(password.into());
    }
}

fn create(call: &Call) -> Answered {
    let name = call.text("userid");
    let failed = |text: String| Refusal::failed(format!("create user failed: {text}"));
    let mut state = call.sandbox.state();
    let realm = name.rsplit_once('@').map_or("", |(_, realm)| realm);
    if !state.access.realms.contains_key(realm) {
        return Err(failed(format!("domain '{realm}' does not exist")));
    }
    if state.access.users.contains_key(name) {
        return Err(failed(format!("user '{name}' already exists")));
    }
    let mut user = User { enable: true, ..User::default() };
    set(&mut user, call);
    user.groups = known_groups(call, &state).map_err(failed)?.into_iter().collect();
    state.access.users.insert(name.to_owned(), user);
    Ok(Answer::null())
}

/// The groups of the parameter; they have to exist.
fn known_groups(call: &Call, state: &State) -> Result<Vec<String>, String> {
    let groups = call.list("groups").into_iter();
    groups
        .map(|group| match state.access.groups.contains_key(group) {
            true => Ok(group.to_owned()),
            false => Err(format!("no such group '{group}'")),
        })
        .collect()
}

/// The account of the path.
pub fn account<'a>(call: &Call, state: &'a mut State) -> Result<&'a mut User, Refusal> {
    let name = call.text("userid");
    state.access.users.get_mut(name).ok_or_else(|| Refusal::failed(format!("no such user ('{name}')")))
}

fn read(call: &Call) -> Answered {
    let mut state = call.sandbox.state();
    let user = account(call, &mut state)?;
    let mut out = facts(user);
    out.insert("groups".to_owned(), user.groups.iter().cloned().collect::<Vec<_>>().into());
    let tokens: Map<_, _> =
        user.tokens.iter().map(|(name, token)| (name.clone(), super::tokens::info(None, token))).collect();
    out.insert("tokens".to_owned(), if tokens.is_empty() { Value::Null } else { tokens.into() });
    Ok(Value::from(out).into())
}

fn update(call: &Call) -> Answered {
    let mut state = call.sandbox.state();
    let groups = known_groups(call, &state).map_err(|text| Refusal::failed(format!("update user failed: {text}")))?;
    let user = account(call, &mut state)?;
    set(user, call);
    if call.get("groups").is_some() {
        if !call.flag("append") {
            user.groups.clear();
        }
        user.groups.extend(groups);
    }
    Ok(Answer::null())
}

fn delete(call: &Call) -> Answered {
    let name = call.text("userid").to_owned();
    let mut state = call.sandbox.state();
    if name == "root@pam" {
        return Err(Refusal::failed("delete user failed: unable to delete system account 'root@pam'"));
    }
    let gone = state.access.users.remove(&name);
    if gone.is_none() {
        return Err(Refusal::failed(format!("delete user failed: user '{name}' does not exist")));
    }
    for acl in state.access.acl.values_mut() {
        acl.users.remove(&name);
        acl.tokens.retain(|token, _| token.split('!').next() != Some(&name));
    }
    Ok(Answer::null())
}

fn members<'a>(state: &'a State, group: &'a str) -> impl Iterator<Item = &'a str> {
    state.access.users.iter().filter(move |(_, user)| user.groups.contains(group)).map(|(name, _)| name.as_str())
}

fn groups(call: &Call) -> Answered {
    let state = call.sandbox.state();
    let privileges = ["User.Modify", "Sys.Audit", "Group.Allocate"];
    let seen = state
        .access
        .groups
        .iter()
        .filter(|(name, _)| state.check_any(&call.who, &format!("/access/groups/{name}"), &privileges).is_ok());
    let rows = seen.map(|(name, comment)| {
        let users = members(&state, name).collect::<Vec<_>>().join(",");
        let mut row = json!({"groupid": name, "users": users});
        if let Some(comment) = comment {
            row["comment"] = comment.as_str().into();
        }
        row
    });
    Ok(rows.collect::<Vec<_>>().into())
}

fn comment(call: &Call) -> Option<String> {
    call.get("comment").filter(|text| !text.is_empty()).map(str::to_owned)
}

fn create_group(call: &Call) -> Answered {
    let name = call.text("groupid");
    let mut state = call.sandbox.state();
    if state.access.groups.contains_key(name) {
        return Err(Refusal::failed(format!("create group failed: group '{name}' already exists")));
    }
    state.access.groups.insert(name.to_owned(), comment(call));
    Ok(Answer::null())
}

fn read_group(call: &Call) -> Answered {
    let state = call.sandbox.state();
    let name = call.text("groupid");
    let found = state.access.groups.get(name);
    let known = found.ok_or_else(|| Refusal::failed(format!("group '{name}' does not exist")))?;
    let mut out = json!({"members": members(&state, name).collect::<Vec<_>>()});
    if let Some(comment) = known {
        out["comment"] = comment.as_str().into();
    }
    Ok(out.into())
}

fn update_group(call: &Call) -> Answered {
    let name = call.text("groupid");
    let mut state = call.sandbox.state();
    let group = state.access.groups.get_mut(name);
    let group = group.ok_or_else(|| Refusal::failed(format!("update group failed: group '{name}' does not exist")))?;
    if call.get("comment").is_some() {
        *group = comment(call);
    }
    Ok(Answer::null())
}

fn delete_group(call: &Call) -> Answered {
    let name = call.text("groupid");
    let mut state = call.sandbox.state();
    if state.access.groups.remove(name).is_none() {
        return Err(Refusal::failed(format!("delete group failed: group '{name}' does not exist")));
    }
    for user in state.access.users.values_mut() {
        user.groups.remove(name);
    }
    for acl in state.access.acl.values_mut() {
        acl.groups.remove(name);
    }
    Ok(Answer::null())
}
