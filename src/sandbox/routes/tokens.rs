//! API tokens of users.

use serde_json::{Value, json};

use super::accounts::account;
use crate::sandbox::{
    access::Token,
    call::Call,
    router::Route,
    wire::{Answer, Answered, Refusal},
};

pub const ROUTES: &[Route] = &[
    Route::get("/access/users/{userid}/token", list),
    Route::get("/access/users/{userid}/token/{tokenid}", read),
    Route::post("/access/users/{userid}/token/{tokenid}", create),
    Route::put("/access/users/{userid}/token/{tokenid}", update),
    Route::delete("/access/users/{userid}/token/{tokenid}", delete),
];

/// A token as lists and answers show it, never with its secret.
pub fn info(name: Option<&str>, token: &Token) -> Value {
    let mut out = json!({"expire": token.expire, "privsep": u8::from(token.privsep)});
    if let Some(comment) = &token.comment {
        out["comment"] = comment.as_str().into();
    }
    if let Some(name) = name {
        out["tokenid"] = name.into();
    }
    out
}

fn missing(call: &Call) -> Refusal {
    Refusal::failed(format!("no such token '{}' for user '{}'", call.text("tokenid"), call.text("userid")))
}

fn list(call: &Call) -> Answered {
    let mut state = call.sandbox.state();
    let user = account(call, &mut state)?;
    Ok(user.tokens.iter().map(|(name, token)| info(Some(name), token)).collect::<Vec<_>>().into())
}

fn read(call: &Call) -> Answered {
    let mut state = call.sandbox.state();
    let user = account(call, &mut state)?;
    Ok(info(None, user.tokens.get(call.text("tokenid")).ok_or_else(|| missing(call))?).into())
}

fn create(call: &Call) -> Answered {
    let mut state = call.sandbox.state();
    let secret = state.random_uuid();
    let user = account(call, &mut state)?;
    let name = call.text("tokenid");
    if user.tokens.contains_key(name) {
        return Err(Refusal::param("tokenid", "Token already exists."));
    }
    let token = Token {
        secret: secret.as_str().into(),
        privsep: call.get("privsep").is_none_or(|value| value != "0"),
        expire: call.int("expire").unwrap_or(0).max(0) as u64,
        comment: call.get("comment").map(str::to_owned),
    };
    // What was given comes back as text.
    let mut given = json!({"privsep": u8::from(token.privsep).to_string()});
    for name in ["comment", "expire"] {
        if let Some(value) = call.get(name) {
            given[name] = value.into();
        }
    }
    user.tokens.insert(name.to_owned(), token);
    let full = format!("{}!{name}", call.text("userid"));
    Ok(json!({"full-tokenid": full, "info": given, "value": secret}).into())
}

fn update(call: &Call) -> Answered {
    let mut state = call.sandbox.state();
    let secret = state.random_uuid();
    let user = account(call, &mut state)?;
    let name = call.text("tokenid");
    let token = user.tokens.get_mut(name).ok_or_else(|| missing(call))?;
    for key in call.list("delete") {
        match key {
            "comment" => token.comment = None,
            "expire" => token.expire = 0,
            _ => {}
        }
    }
    if let Some(comment) = call.get("comment") {
        token.comment = Some(comment.to_owned());
    }
    if let Some(expire) = call.int("expire") {
        token.expire = expire.max(0) as u64;
    }
    if call.get("privsep").is_some() {
        token.privsep = call.flag("privsep");
    }
    let mut out = info(None, token);
    if call.flag("regenerate") {
        token.secret = secret.as_str().into();
        out["full-tokenid"] = format!("{}!{name}", call.text("userid")).into();
        out["value"] = secret.into();
    }
    Ok(out.into())
}

fn delete(call: &Call) -> Answered {
    let mut state = call.sandbox.state();
    let user = account(call, &mut state)?;
    let name = call.text("tokenid");
    user.tokens.remove(name).ok_or_else(|| missing(call))?;
    let full = format!("{}!{name}", call.text("userid"));
    for acl in state.access.acl.values_mut() {
        acl.tokens.remove(&full);
    }
    Ok(Answer::null())
}
