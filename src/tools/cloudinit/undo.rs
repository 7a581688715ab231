//! How cloud-init options are taken back: by the tool that sets them, because it also renews the drive of a VM that runs.

use serde_json::{Map, Value, json};

use crate::{
    pve::{GuestConfig, SshKeys},
    tool::*,
};

/// The call that brings the former values back; nothing where it cannot say them all (then the one that sets any option
/// does), or where none would change.
pub fn call<'a>(guest: &Guest, config: &GuestConfig, keys: impl Iterator<Item = &'a str>) -> Option<Undo> {
    let (mut arguments, mut further, mut lost) = (Map::new(), Map::new(), false);
    for key in keys {
        let old = config.get(key);
        let old = old.as_deref().unwrap_or_default();
        let value = match key {
            // What Proxmox shows of a password is stars.
            "cipassword" if !old.is_empty() => {
                lost = true;
                continue;
            }
            "sshkeys" => json!(SshKeys::parse("sshkeys", [old]).ok()?.iter().collect::<Vec<_>>()),
            "ciupgrade" if old.is_empty() => return None,
            "ciupgrade" => (old == "1").into(),
            _ => old.into(),
        };
        match key.strip_prefix("ipconfig").filter(|nic| *nic != "0") {
            Some(nic) => drop(further.insert(nic.to_owned(), value)),
            None => drop(arguments.insert(key.to_owned(), value)),
        }
    }
    if !further.is_empty() {
        arguments.insert("ipconfig".to_owned(), Value::Object(further));
    }
    if arguments.is_empty() {
        return None;
    }
    arguments.insert("vmid".to_owned(), guest.vmid.into());
    let undo = Undo::call("proxmox-cloudinit-set", Value::Object(arguments));
    Some(undo.note_if(lost, || "not the former password, which is not readable".to_owned()))
}
