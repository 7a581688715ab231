//! Another VMID for a lane whose guest does not exist yet, because somebody took the one that was chosen. Only the places
//! where Proxmox has VMIDs are changed; a name or a note with the same digits in it stays.

use super::{At, Lane, Then};
use crate::pve::{Param, Request};

/// Parameters that hold a VMID, or a list of them.
const VMIDS: [&str; 3] = ["newid", "vmid", "vms"];

impl Lane {
    /// The lane with `to` in the place of `from`.
    pub(super) fn renumber(&mut self, from: u32, to: u32) {
        if self.vmid == Some(from) {
            self.vmid = Some(to);
            self.about.insert("vmid".to_owned(), to.into());
        }
        for step in &mut self.steps {
            step.request.iter_mut().chain(&mut step.back).for_each(|request| renumber(request, from, to));
            match &mut step.then {
                Then::Nothing | Then::Pause { .. } => {}
                Then::Agent { guest, .. }
                | Then::Address { guest, .. }
                | Then::Command { guest, .. }
                | Then::Becomes { guest, .. } => at(guest, from, to),
            }
        }
        if let Some(undo) = &mut self.undo
            && undo.arguments.get("vmid").is_some_and(|vmid| *vmid == from)
        {
            undo.arguments.insert("vmid".to_owned(), to.into());
        }
    }
}

fn at(guest: &mut At, from: u32, to: u32) {
    if guest.vmid == from {
        guest.vmid = to;
    }
}

fn renumber(request: &mut Request, from: u32, to: u32) {
    let old = from.to_string();
    let mut before = "";
    let segments: Vec<String> = request
        .path
        .split('/')
        .map(|segment| {
            let guest = matches!(before, "qemu" | "lxc") && segment == old;
            before = segment;
            if guest { to.to_string() } else { sid(segment, from, to).unwrap_or_else(|| segment.to_owned()) }
        })
        .collect();
    request.path = segments.join("/");
    for (key, value) in &mut request.params {
        let Param::Plain(value) = value else { continue };
        if VMIDS.contains(&key.as_ref()) {
            let each = value.split(',').map(|one| if one == old { to.to_string() } else { one.to_owned() });
            *value = each.collect::<Vec<_>>().join(",");
        } else if key == "sid" {
            *value = sid(value, from, to).unwrap_or_else(|| value.clone());
        }
    }
}

/// `vm:100`, also as it is written in a path.
fn sid(text: &str, from: u32, to: u32) -> Option<String> {
    ["vm:", "ct:", "vm%3A", "ct%3A"]
        .into_iter()
        .find_map(|kind| (text.strip_prefix(kind)? == from.to_string()).then(|| format!("{kind}{to}")))
}
