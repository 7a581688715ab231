//! The firewalls' methods: what is common to the cluster's, the nodes' and the guests'.

pub(super) mod log;
pub(super) mod rules;
pub(super) mod sets;

use serde_json::{Map, Value, json};

use crate::sandbox::{
    call::Call,
    firewall::{Firewall, MACROS},
    guest::Kind,
    router::Route,
    state::State,
    wire::{Answer, Answered, Refusal},
};

pub const ROUTES: &[Route] = &[
    Route::get("/cluster/firewall", |_| {
        Ok(names(&["aliases", "groups", "ipset", "macros", "options", "refs", "rules"]))
    }),
    Route::get("/nodes/{node}/firewall", |_| Ok(names(&["log", "options", "rules"]))),
    Route::get("/nodes/{node}/qemu/{vmid}/firewall", guest_index),
    Route::get("/nodes/{node}/lxc/{vmid}/firewall", guest_index),
    Route::get("/cluster/firewall/macros", macros),
    Route::get("/cluster/firewall/options", options),
    Route::put("/cluster/firewall/options", set_options),
    Route::get("/nodes/{node}/firewall/options", options),
    Route::put("/nodes/{node}/firewall/options", set_options),
    Route::get("/nodes/{node}/qemu/{vmid}/firewall/options", options),
    Route::put("/nodes/{node}/qemu/{vmid}/firewall/options", set_options),
    Route::get("/nodes/{node}/lxc/{vmid}/firewall/options", options),
    Route::put("/nodes/{node}/lxc/{vmid}/firewall/options", set_options),
];

fn names(list: &[&str]) -> Answer {
    list.iter().map(|name| json!({"name": name})).collect::<Vec<_>>().into()
}

fn guest_index(call: &Call) -> Answered {
    scope(call, &call.sandbox.state())?;
    Ok(names(&["aliases", "ipset", "log", "options", "refs", "rules"]))
}

/// Whose firewall the call is about: `cluster`, `node/pve`, `guest/100`.
///
/// # Errors
/// PVE's 500 for a guest that is not there.
fn scope(call: &Call, state: &State) -> Result<String, Refusal> {
    let path = call.endpoint.path;
    if path.starts_with("/cluster/") {
        return Ok("cluster".to_owned());
    }
    let Some(kind) = path.strip_prefix("/nodes/{node}/").and_then(|rest| rest.split('/').next()) else {
        return Ok("cluster".to_owned());
    };
    let kind = match kind {
        "qemu" => Kind::Qemu,
        "lxc" => Kind::Lxc,
        _ => return Ok(format!("node/{}", call.node())),
    };
    state.guest(call.node(), kind, call.vmid())?;
    Ok(format!("guest/{}", call.vmid()))
}

/// Reads the firewall of the call.
fn read<T>(call: &Call, look: impl FnOnce(&Firewall) -> Result<T, Refusal>) -> Result<T, Refusal> {
    let state = call.sandbox.state();
    let scope = scope(call, &state)?;
    match state.firewalls.get(&scope) {
        Some(firewall) => look(firewall),
        None => look(&Firewall::default()),
    }
}

/// Changes the firewall of the call, where the digest given is still its own.
fn change(call: &Call, act: impl FnOnce(&mut Firewall) -> Result<(), Refusal>) -> Answered {
    let mut state = call.sandbox.state();
    let scope = scope(call, &state)?;
    let firewall = state.firewalls.entry(scope).or_default();
    if call.get("digest").is_some_and(|digest| digest != firewall.digest()) {
        let text = "detected modified configuration - file changed by other user? Try again.";
        return Err(Refusal::failed(text));
    }
    act(firewall)?;
    Ok(Answer::null())
}

fn macros(_: &Call) -> Answered {
    Ok(MACROS.iter().map(|(name, what)| json!({"macro": name, "descr": what})).collect::<Vec<_>>().into())
}

/// A figure where the option is one.
fn typed(text: &str) -> Value {
    text.parse::<i64>().map_or_else(|_| text.into(), Value::from)
}

fn options(call: &Call) -> Answered {
    read(call, |firewall| {
        let mut out: Map<String, Value> =
            firewall.options.iter().map(|(key, value)| (key.clone(), typed(value))).collect();
        out.insert("digest".to_owned(), firewall.digest().into());
        Ok(out.into())
    })
}

fn set_options(call: &Call) -> Answered {
    change(call, |firewall| {
        for key in call.list("delete") {
            firewall.options.remove(key);
        }
        let own = |name: &str| !matches!(name, "node" | "vmid" | "digest" | "delete");
        for (key, value) in call.params.iter().filter(|(name, _)| own(name)) {
            firewall.options.insert(key.to_owned(), value.to_owned());
        }
        Ok(())
    })
}
