//! Options of guests: which of a call's parameters they are, in which form they are kept, and who may set them.

use std::collections::BTreeSet;

use base64::{Engine, prelude::BASE64_STANDARD};
use percent_encoding::percent_decode_str;

use crate::{
    pve::api::option_privilege,
    sandbox::{
        call::Call,
        config::property,
        drives::{Drive, Wanted, check_storage},
        guest::{Kind, is_drive_key, is_numbered},
        params::split_list,
        state::State,
        wire::Refusal,
    },
};

/// Parameters that are not options of the guest.
const CONTROL: [&str; 23] = [
    "node",
    "vmid",
    "digest",
    "delete",
    "revert",
    "force",
    "skiplock",
    "background_delay",
    "import-working-storage",
    "archive",
    "pool",
    "storage",
    "start",
    "unique",
    "bwlimit",
    "live-restore",
    "ha-managed",
    "ostemplate",
    "restore",
    "ssh-public-keys",
    "password",
    "ignore-unpack-errors",
    "rootfs-size",
];

/// The options among a call's parameters.
pub(super) fn options_of(call: &Call) -> Vec<(String, String)> {
    let options = call.params.iter().filter(|(name, _)| !CONTROL.contains(name));
    options.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

/// Checks single values, and puts them into the form that is kept.
///
/// # Errors
/// PVE's refusal of the first value that is not good.
pub(super) fn check_values(call: &Call, kind: Kind, set: &mut [(String, String)]) -> Result<(), Refusal> {
    for (key, value) in set {
        match key.as_str() {
            "hookscript" => {
                let state = call.sandbox.state();
                let storage = state.storages.get(value.split(':').next().unwrap_or_default());
                if storage.and_then(|storage| state.volumes.get(storage, call.node(), value)).is_none() {
                    return Err(Refusal::param("hookscript", format!("script '{value}' does not exist\n")));
                }
            }
            "tags" => *value = tags(value),
            "sshkeys" => {
                let keys = percent_decode_str(value).decode_utf8_lossy().into_owned();
                let mut lines = keys.lines().filter(|line| !line.trim().is_empty() && !line.starts_with('#'));
                if !lines.all(is_ssh_key) {
                    return Err(Refusal::failed("SSH public key validation error"));
                }
            }
            "cipassword" if !value.starts_with('$') => *value = hashed(value),
            "features" if !call.who.is_root() => {
                let only_nesting = value.split(',').all(|part| part.starts_with("nesting="));
                if !only_nesting {
                    let text = "changing feature flags (except nesting) is only allowed for root@pam";
                    return Err(Refusal::forbidden(text));
                }
            }
            key if is_drive_key(kind, key) => check_drive(call, kind, (key, value))?,
            _ => {}
        }
    }
    Ok(())
}

/// Whether the caller may use the storage a drive is on, and it can hold the drive.
fn check_drive(call: &Call, kind: Kind, (key, value): (&str, &str)) -> Result<(), Refusal> {
    let drive = Drive::parse(value);
    let state = call.sandbox.state();
    if let Some(source) = drive.options.get("import-from") {
        check_import(call, &state, (key, &drive), source)?;
    }
    let iso = drive.volume.split_once(':').is_some_and(|(_, name)| name.starts_with("iso/"));
    if iso && kind == Kind::Qemu && !drive.is_cdrom() {
        return Err(Refusal::param(key, "explicit 'media=cdrom' is required for iso images"));
    }
    match drive.wanted() {
        Wanted::Nothing => Ok(()),
        Wanted::New { storage, .. } | Wanted::CloudInit { storage } => {
            state.storage(storage, call.node())?;
            state.check(&call.who, &format!("/storage/{storage}"), &["Datastore.AllocateSpace"])?;
            check_storage(&state, storage, call.node(), kind).map(drop)
        }
        Wanted::Existing { storage } => {
            state.storage(storage, call.node())?;
            let path = format!("/storage/{storage}");
            let own = drive.volume.contains(&format!("-{}-", call.vmid()));
            if own {
                Ok(())
            } else {
                state.check_any(&call.who, &path, &["Datastore.Audit", "Datastore.AllocateSpace"])
            }
        }
    }
}

/// Whether an image may be imported: from a disk, or from what was put on a storage for that.
fn check_import(call: &Call, state: &State, (key, drive): (&str, &Drive), source: &str) -> Result<(), Refusal> {
    if !matches!(drive.wanted(), Wanted::New { size: 0, .. }) {
        let text = "'import-from' requires special syntax - use <storage ID>:0,import-from=<source>";
        return Err(Refusal::param(key, text));
    }
    let Some((storage, name)) = source.split_once(':').filter(|_| !source.starts_with('/')) else { return Ok(()) };
    let storage = state.storage(storage, call.node())?;
    let kind = match name.split_once('/') {
        Some((kind @ ("iso" | "vztmpl" | "backup" | "snippets" | "import"), _)) => kind,
        _ => "images",
    };
    if kind != "images" && kind != "import" {
        let text = format!("{source} has wrong type '{kind}' - needs to be 'images' or 'import'");
        return Err(Refusal::param(key, text));
    }
    let owner = state.volumes.get(storage, call.node(), source).and_then(|volume| volume.vmid);
    match owner {
        Some(owner) => state.check(&call.who, &format!("/vms/{owner}"), &["VM.Clone"]),
        None => {
            let path = format!("/storage/{}", storage.id);
            state.check_any(&call.who, &path, &["Datastore.Audit", "Datastore.AllocateSpace"])
        }
    }
}

/// Lower case, sorted, each once.
pub(super) fn tags(text: &str) -> String {
    let tags: BTreeSet<String> = split_list(text).map(str::to_lowercase).collect();
    tags.into_iter().collect::<Vec<_>>().join(";")
}

/// Something in the form of a crypt hash: what it hides is not kept.
fn hashed(password: &str) -> String {
    let digest = crate::sandbox::config::digest(password);
    format!("$5${}${}", &digest[..8], BASE64_STANDARD.encode(&digest).replace(['+', '='], ".").get(..43).unwrap_or("."))
}

/// One line of authorized keys: a type and a blob that says the same type and is complete.
fn is_ssh_key(line: &str) -> bool {
    let mut words = line.split_whitespace().skip_while(|word| !word.contains("ssh-") && !word.contains("ecdsa-"));
    let (Some(kind), Some(blob)) = (words.next(), words.next()) else { return false };
    let Ok(blob) = BASE64_STANDARD.decode(blob) else { return false };
    let mut rest = blob.as_slice();
    let mut parts = Vec::new();
    while let Some((length, after)) = rest.split_first_chunk::<4>() {
        let length = u32::from_be_bytes(*length) as usize;
        let Some((part, after)) = after.split_at_checked(length) else { return false };
        parts.push(part);
        rest = after;
    }
    rest.is_empty() && parts.len() > 1 && parts.first() == Some(&kind.as_bytes())
}

/// # Errors
/// 403 for the first option that the caller may not set; 500 for those that are root's alone.
pub(super) fn check_privileges(call: &Call, kind: Kind, keys: &[(&str, &str)]) -> Result<(), Refusal> {
    let path = format!("/vms/{}", call.vmid());
    for (key, value) in keys {
        let stem = key.trim_end_matches(|c: char| c.is_ascii_digit());
        let devices = matches!(stem, "usb" | "hostpci" | "serial") && !value.is_empty();
        let real = devices && !value.contains("mapping=") && !value.starts_with("spice") && *value != "socket";
        if !call.who.is_root() {
            if real && kind == Kind::Qemu {
                return Err(Refusal::failed(format!("only root can set '{key}' config for real devices")));
            }
            if matches!(stem, "args" | "lock" | "parallel" | "hookscript") && !value.is_empty() {
                return Err(Refusal::failed(format!("only root can set '{key}' config")));
            }
        }
        if *key == "lock" {
            continue;
        }
        call.check(&path, &[option_privilege(kind.into(), key, value)])?;
        if let (true, Some(bridge)) = (is_numbered(key, "net"), property(value, "bridge")) {
            call.check(&format!("/sdn/zones/localnetwork/{bridge}"), &["SDN.Use"])?;
        }
    }
    Ok(())
}
