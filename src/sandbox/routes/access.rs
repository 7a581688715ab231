//! Login, realms, second factors, passwords, and what one may do.

use std::collections::BTreeSet;

use secrecy::SecretString;
use serde_json::{Map, Value, json};

use crate::sandbox::{
    access::{Login, Tfa, Who, csrf_token, half_ticket, ticket, ticket_user},
    call::Call,
    router::Route,
    state::State,
    wire::{Answer, Answered, Refusal},
};

pub const ROUTES: &[Route] = &[
    Route::get("/access/ticket", |_| Ok(Answer::null())),
    Route::post("/access/ticket", log_in),
    Route::get("/access/domains", domains),
    Route::get("/access/domains/{realm}", domain),
    Route::put("/access/password", set_password),
    Route::get("/access/permissions", permissions),
    Route::get("/access/tfa", second_factors),
    Route::get("/access/tfa/{userid}", second_factors_of),
    Route::get("/access/users/{userid}/tfa", second_factor_types),
];

fn log_in(call: &Call) -> Answered {
    let mut user = call.text("username").to_owned();
    if let Some(realm) = call.get("realm").filter(|_| !user.contains('@')) {
        user = format!("{user}@{realm}");
    }
    let (now, key) = (call.now(), call.sandbox.key());
    let state = call.sandbox.state();
    let password = call.text("password");
    if let Some(path) = call.get("path") {
        // Not a login, but a question: does this ticket have these privileges?
        let good = ticket_user(key, "PVE", password, now).is_some_and(|name| name == user)
            && state.check(&Who::user(&user), path, &call.list("privs")).is_ok();
        return if good { Ok(json!({"username": user}).into()) } else { Err(Refusal::new(401, "permission denied")) };
    }
    match state.access.log_in(key, &user, password, call.get("tfa-challenge"), now) {
        Login::Bad => Err(Refusal::new(401, "authentication failure")),
        Login::SecondFactor(user) => Ok(json!({
            "username": user,
            "ticket": half_ticket(key, &user, now),
            "CSRFPreventionToken": csrf_token(key, &user, now),
            "NeedTFA": 1,
        })
        .into()),
        Login::Good(user) => {
            let mut answer = json!({
                "username": user,
                "ticket": ticket(key, "PVE", &user, now),
                "CSRFPreventionToken": csrf_token(key, &user, now),
                "cap": capabilities(&state, &Who::user(&user)),
            });
            if state.nodes.len() > 1 {
                answer["clustername"] = state.cluster_name.as_str().into();
            }
            Ok(answer.into())
        }
    }
}

/// What the web interface wants to know: privileges by area, wherever in the area the user has them.
fn capabilities(state: &State, who: &Who) -> Value {
    const AREAS: &[(&str, &str, &[&str])] = &[
        ("access", "/access", &["User.Modify", "Group.Allocate", "Permissions.Modify"]),
        ("dc", "/", &["Sys.Audit", "Sys.Modify", "SDN."]),
        ("mapping", "/mapping", &["Mapping.", "Permissions.Modify"]),
        ("nodes", "/nodes", &["Sys.", "Permissions.Modify"]),
        ("sdn", "/sdn", &["SDN.", "Permissions.Modify"]),
        ("storage", "/storage", &["Datastore.", "Permissions.Modify"]),
        ("vms", "/vms", &["VM.", "Permissions.Modify"]),
    ];
    let mut out = Map::new();
    for (area, top, wanted) in AREAS {
        let below = format!("{top}/");
        let mut found = BTreeSet::new();
        let paths = state.access.acl.keys().map(String::as_str).filter(|path| *top != "/" && path.starts_with(&below));
        for path in std::iter::once(*top).chain(paths) {
            found.extend(state.privileges(who, path).into_keys());
        }
        let kept = found
            .into_iter()
            .filter(|name| wanted.iter().any(|w| name == w || (w.ends_with('.') && name.starts_with(w))));
        out.insert((*area).to_owned(), kept.map(|name| (name, Value::from(1))).collect::<Map<_, _>>().into());
    }
    out.into()
}

fn domains(call: &Call) -> Answered {
    let state = call.sandbox.state();
    let rows = state.access.realms.iter().map(|(name, realm)| {
        let mut row = json!({"realm": name, "type": realm.kind, "comment": realm.comment});
        if realm.default && !call.who.user.is_empty() {
            row["default"] = 1.into();
        }
        row
    });
    Ok(rows.collect::<Vec<_>>().into())
}

fn domain(call: &Call) -> Answered {
    let state = call.sandbox.state();
    let name = call.text("realm");
    let realm =
        state.access.realms.get(name).ok_or_else(|| Refusal::failed(format!("domain '{name}' does not exist")))?;
    Ok(json!({"type": realm.kind, "comment": realm.comment, "digest": crate::sandbox::config::digest(&realm.comment)})
        .into())
}

fn set_password(call: &Call) -> Answered {
    let name = call.text("userid");
    let mut state = call.sandbox.state();
    let user = state.access.users.get_mut(name).ok_or_else(|| Refusal::failed(format!("no such user ('{name}')")))?;
    user.password = Some(SecretString::from(call.text("password")));
    Ok(Answer::null())
}

/// The privileges of a user on a path, or on every path that has any.
fn permissions(call: &Call) -> Answered {
    let state = call.sandbox.state();
    let who = match call.get("userid") {
        None => call.who.clone(),
        Some(other) => {
            let (user, token) = other.split_once('!').map_or((other, None), |(u, t)| (u, Some(t.to_owned())));
            if user != call.who.user {
                state.check(&call.who, "/access", &["Sys.Audit"])?;
            }
            Who { user: user.to_owned(), token }
        }
    };
    let paths: BTreeSet<String> = match call.get("path") {
        Some(path) => [path.to_owned()].into(),
        None => {
            let fixed =
                ["/", "/access", "/access/groups", "/access/realm", "/nodes", "/pool", "/sdn", "/storage", "/vms"];
            let pools = state.pools.iter().flat_map(|(name, pool)| {
                let guests = pool.guests.iter().map(|vmid| format!("/vms/{vmid}"));
                let storages = pool.storages.iter().map(|id| format!("/storage/{id}"));
                std::iter::once(format!("/pool/{name}")).chain(guests).chain(storages)
            });
            fixed.into_iter().map(str::to_owned).chain(state.access.acl.keys().cloned()).chain(pools).collect()
        }
    };
    let mut out = Map::new();
    for path in paths {
        let granted = state.privileges(&who, &path);
        if !granted.is_empty() {
            let privileges: Map<_, _> = granted.into_iter().map(|(name, p)| (name, u8::from(p).into())).collect();
            out.insert(path, privileges.into());
        }
    }
    Ok(Value::from(out).into())
}

fn entry(factor: &Tfa) -> Value {
    json!({"id": factor.id, "type": "totp", "description": factor.description, "created": factor.created,
        "enable": u8::from(factor.enable)})
}

fn second_factors(call: &Call) -> Answered {
    let state = call.sandbox.state();
    let seen = |name: &str| name == call.who.user || state.may(&call.who, "/access/groups", "Sys.Audit");
    let users = state.access.users.iter().filter(|(name, user)| !user.tfa.is_empty() && seen(name));
    let rows =
        users.map(|(name, user)| json!({"userid": name, "entries": user.tfa.iter().map(entry).collect::<Vec<_>>()}));
    Ok(rows.collect::<Vec<_>>().into())
}

fn second_factors_of(call: &Call) -> Answered {
    let state = call.sandbox.state();
    let user = state.access.users.get(call.text("userid"));
    Ok(user.map(|user| user.tfa.iter().map(entry).collect::<Vec<_>>()).unwrap_or_default().into())
}

fn second_factor_types(call: &Call) -> Answered {
    let state = call.sandbox.state();
    let name = call.text("userid");
    let user = state.access.users.get(name).ok_or_else(|| Refusal::failed(format!("no such user ('{name}')")))?;
    if user.tfa.is_empty() {
        return Ok(json!({}).into());
    }
    Ok(match call.flag("multiple") {
        true => json!({"types": ["totp"]}),
        false => json!({"user": "oath"}),
    }
    .into())
}
