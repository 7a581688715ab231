//! New VMs and containers: from nothing, from an OS template, or cloned from a cloud-init template. What they share: the
//! VMID, further parameters of the API, and the node.

mod cloudinit;
mod lxc;
mod preset;
mod source;
mod vm;

use serde_json::{Map, Value, json};

pub(super) use self::{
    lxc::Address,
    source::{boot_disk, seed_drive, template},
};
use crate::{pve::GuestKind, tool::*};

pub const TOOLS: &[Entry] = &[
    Entry::action::<vm::CreateVm>(),
    Entry::action::<lxc::CreateLxc>(),
    Entry::action::<cloudinit::CreateVmCloudinit>(),
    Entry::action::<preset::CreatePresetVm>(),
];

/// The VMID of a new guest, and whether it was chosen here.
pub(super) struct Vmid {
    pub vmid: u32,
    pub chosen: Option<u32>,
}

/// 0 (or nothing) is the next free one.
///
/// # Errors
/// `BadArgument` for 1 to 99, which Proxmox keeps for itself.
pub(super) async fn vmid(pve: &Reader<'_>, given: u32) -> Result<Vmid> {
    match given {
        0 => {
            let vmid = pve.next_vmid().await?;
            Ok(Vmid { vmid, chosen: Some(vmid) })
        }
        1..100 => {
            Err(Error::bad_argument(format!("vmid: expected 0 (next free) or a number from 100 on, got {given}")))
        }
        vmid => Ok(Vmid { vmid, chosen: None }),
    }
}

/// A new guest is taken back by deleting it, also where it runs because it was to be started.
fn undo(kind: GuestKind, vmid: u32, start: bool) -> Undo {
    let tool = match kind {
        GuestKind::Qemu => "proxmox-delete-vm",
        GuestKind::Lxc => "proxmox-delete-lxc",
    };
    Undo::call(tool, if start { json!({"vmid": vmid, "force": true}) } else { json!({"vmid": vmid}) })
}

/// The parameters of a new guest: defaults that the caller may replace or (with null or "") take back.
struct Parameters(Vec<(String, String)>);

impl Parameters {
    fn new() -> Self {
        Self(Vec::new())
    }

    fn set(&mut self, key: &str, value: impl ToString) {
        match self.0.iter_mut().find(|(k, _)| k == key) {
            Some((_, old)) => *old = value.to_string(),
            None => self.0.push((key.to_owned(), value.to_string())),
        }
    }

    /// Where there is a value that is not empty.
    fn maybe(&mut self, key: &str, value: Option<impl ToString>) {
        if let Some(text) = value.map(|v| v.to_string()).filter(|text| !text.is_empty()) {
            self.set(key, text);
        }
    }

    fn remove(&mut self, key: &str) {
        self.0.retain(|(k, _)| k != key);
    }

    fn get(&self, key: &str) -> Option<&str> {
        self.0.iter().find(|(k, _)| k == key).map(|(_, value)| value.as_str())
    }

    /// Takes what the caller named by Proxmox's own parameters.
    fn overrule(&mut self, params: Option<&Map<String, Value>>) -> Result<()> {
        for (key, value) in params.into_iter().flatten() {
            if matches!(key.as_str(), "vmid" | "node" | "archive" | "restore") {
                return Err(Error::bad_argument(format!("params: '{key}' is not possible here")));
            }
            match text(value) {
                Some(text) if text.is_empty() => self.remove(key),
                Some(text) => self.set(key, text),
                None => {
                    let message = format!("params: {key}: expected text, a number or true/false, got {value}");
                    return Err(Error::bad_argument(message));
                }
            }
        }
        Ok(())
    }

    /// Adds them to the request; passwords are masked wherever it is shown.
    fn onto(self, request: Request) -> Request {
        self.0.into_iter().fold(request, |request, (key, value)| match key.as_str() {
            "password" | "cipassword" => request.secret(key, value),
            _ => request.param(key, value),
        })
    }
}

/// A value as Proxmox's forms take it; empty for null.
fn text(value: &Value) -> Option<String> {
    match value {
        Value::Null => Some(String::new()),
        Value::String(text) => Some(text.clone()),
        Value::Bool(flag) => Some(u8::from(*flag).to_string()),
        Value::Number(number) => Some(number.to_string()),
        Value::Array(_) | Value::Object(_) => None,
    }
}
