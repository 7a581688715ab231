//! What is configured: as it will be, as it runs, and what the two differ in.

use http::Method;
use serde_json::{Map, Value, json};

use super::{detach::add_unused, kind};
use crate::{
    pve::api::{Endpoint, Kind as Type},
    sandbox::{
        call::Call,
        config::Config,
        drives::Drive,
        guest::{Guest, Kind, is_drive_key},
        router::Route,
        wire::{Answered, Refusal},
    },
};

pub const ROUTES: &[Route] = &[
    Route::get("/nodes/{node}/qemu/{vmid}/config", config),
    Route::get("/nodes/{node}/lxc/{vmid}/config", config),
    Route::get("/nodes/{node}/qemu/{vmid}/pending", pending),
    Route::get("/nodes/{node}/lxc/{vmid}/pending", pending),
];

/// The facts of the method that changes the configuration: they know the type of every option.
pub(super) fn options(call: &Call, kind: Kind) -> Option<std::sync::Arc<Endpoint>> {
    call.sandbox.api().endpoint(&Method::PUT, &format!("/nodes/{{node}}/{}/{{vmid}}/config", kind.path()))
}

/// A value as PVE gives it: whole numbers and booleans as numbers, everything else as text.
fn value(options: Option<&Endpoint>, kind: Kind, key: &str, text: &str) -> Value {
    let numeric = matches!(key, "snaptime" | "template")
        || options.and_then(|options| options.param(key)).is_some_and(|property| {
            matches!(property.kind, Type::Integer | Type::Boolean) && property.format.is_none()
        });
    if numeric && let Ok(number) = text.parse::<i64>() {
        return number.into();
    }
    if kind == Kind::Lxc && key == "description" && !text.ends_with('\n') {
        return format!("{text}\n").into();
    }
    text.into()
}

/// A configuration with PVE's types; a password is masked unless `open`.
pub(super) fn typed(call: &Call, kind: Kind, config: &Config, open: bool) -> Map<String, Value> {
    let options = options(call, kind);
    let pairs = config.iter().map(|(key, text)| {
        let shown = if key == "cipassword" && !open { "**********" } else { text };
        (key.to_owned(), value(options.as_deref(), kind, key, shown))
    });
    pairs.collect()
}

impl Guest {
    /// The configuration as it will be once everything pending is applied.
    pub(super) fn coming(&self) -> Config {
        let mut config = self.config.clone();
        for key in &self.pending_delete {
            config.remove(key);
        }
        for (key, value) in self.pending.iter() {
            config.set(key, value);
        }
        config
    }
    /// Applies what is pending. Drives that go are kept as unused; the volumes that are to be destroyed come back.
    pub(super) fn apply_pending(&mut self) -> Vec<String> {
        let (kind, coming) = (self.kind, self.coming());
        let old = std::mem::replace(&mut self.config, coming);
        let (forced, mut doomed) = (std::mem::take(&mut self.pending_force), Vec::new());
        for (key, text) in old.iter().filter(|(key, _)| is_drive_key(kind, key)) {
            let drive = Drive::parse(text);
            let stays = self.volumes().iter().any(|(_, volid)| *volid == drive.volume);
            if stays || !drive.volume.contains(':') || drive.volume.starts_with('/') {
                continue;
            }
            match drive.is_cloud_init() || forced.iter().any(|f| f == key) {
                true => doomed.push(drive.volume),
                false if drive.is_cdrom() => {}
                false => drop(add_unused(self, &drive.volume)),
            }
        }
        self.pending = Config::new();
        self.pending_delete.clear();
        doomed
    }
}

fn config(call: &Call) -> Answered {
    let kind = kind(call);
    let state = call.sandbox.state();
    let guest = state.guest(call.node(), kind, call.vmid())?;
    let config = match call.get("snapshot") {
        Some(name) => {
            let snapshot = guest.snapshots.iter().find(|snapshot| snapshot.name == name);
            let snapshot = snapshot.ok_or_else(|| Refusal::failed(format!("snapshot '{name}' does not exist")))?;
            snapshot.full()
        }
        None if call.flag("current") => guest.config.clone(),
        None => guest.coming(),
    };
    let mut out = typed(call, kind, &config, false);
    out.insert("digest".to_owned(), guest.digest().into());
    Ok(out.into())
}

/// One row an option: its value, and what is to become of it.
fn pending(call: &Call) -> Answered {
    let kind = kind(call);
    let options = options(call, kind);
    let state = call.sandbox.state();
    let guest = state.guest(call.node(), kind, call.vmid())?;
    let show = |key: &str, text: &str| {
        let text = if key == "cipassword" { "**********" } else { text };
        value(options.as_deref(), kind, key, text)
    };
    let mut rows: Vec<Value> = Vec::new();
    for (key, text) in guest.config.iter() {
        let mut row = json!({"key": key, "value": show(key, text)});
        if let Some(new) = guest.pending.get(key) {
            row["pending"] = show(key, new);
        }
        if guest.pending_delete.iter().any(|gone| gone == key) {
            row["delete"] = if guest.pending_force.iter().any(|gone| gone == key) { 2 } else { 1 }.into();
        }
        rows.push(row);
    }
    for (key, text) in guest.pending.iter().filter(|(key, _)| !guest.config.has(key)) {
        rows.push(json!({"key": key, "pending": show(key, text)}));
    }
    rows.push(json!({"key": "digest", "value": guest.digest()}));
    Ok(rows.into())
}
