//! How a change to a configuration is taken back: the values before, as one call of the tool that sets any option. Proxmox's
//! own ways count: a detached volume waits as `unusedN`, a device that goes leaves the boot order.

use serde_json::{Map, Value, json};

use super::{Edit, GuestConfig, readable};
use crate::{
    plan::Undo,
    pve::{
        Guest, GuestKind, Param,
        options::{allocates, is_drive, is_numbered, volume},
    },
};

/// What comes back, and what does not.
#[derive(Default)]
struct Back {
    params: Map<String, Value>,
    /// Options whose former value Proxmox does not tell.
    unreadable: Vec<String>,
    /// Volumes that are destroyed.
    destroyed: Vec<String>,
    /// Options whose new volume is detached again, and not destroyed.
    left: Vec<String>,
}

impl Edit {
    /// The values before, as a call of the tool that sets any option.
    pub(super) fn undo(&self, guest: &Guest, config: &GuestConfig) -> Undo {
        let tool = match guest.kind {
            GuestKind::Qemu => "proxmox-configure-vm",
            GuestKind::Lxc => "proxmox-configure-lxc",
        };
        let back = self.back(config);
        let mut lost = Vec::new();
        if !back.destroyed.is_empty() {
            lost.push(format!("{} is destroyed", back.destroyed.join(", ")));
        }
        if !back.unreadable.is_empty() {
            lost.push(format!("the former value of {} is not readable", back.unreadable.join(", ")));
        }
        let lost = lost.join("; ");
        if back.params.is_empty() {
            return Undo::never(if lost.is_empty() { "nothing changes".to_owned() } else { lost });
        }
        Undo::call(tool, json!({"vmid": guest.vmid, "params": back.params}))
            .note_if(!lost.is_empty(), || lost)
            .note_if(!back.left.is_empty(), || {
                format!("the new volume of {} stays, as an unused disk", back.left.join(", "))
            })
    }

    fn back(&self, config: &GuestConfig) -> Back {
        let mut back = Back::default();
        let force = self.force || self.more.iter().any(|(key, value)| key == "force" && value == "1");
        for (key, new) in &self.set {
            match (config.get(key), new) {
                // Proxmox does not tell a secret that was set before.
                (Some(_), Param::Secret(_)) => back.unreadable.push(key.clone()),
                (Some(old), Param::Plain(new)) if old == *new => {}
                (old, new) => {
                    if is_drive(key) && allocates(new.shown()) && !new.shown().contains(":cloudinit") {
                        back.left.push(key.clone());
                    }
                    back.value(key, old.as_deref());
                }
            }
        }
        for key in &self.delete {
            let Some(old) = config.get(key) else { continue };
            let owned = is_drive(key) && volume(&old).contains(':') && !old.contains("media=cdrom");
            if is_numbered(key, "unused") || force && owned {
                back.destroyed.push(format!("{key} ({})", volume(&old)));
                continue;
            }
            back.value(key, Some(&old));
            let boot = config.get("boot").unwrap_or_default();
            if boot.trim_start_matches("order=").split(';').any(|device| device == key) {
                back.params.entry("boot").or_insert_with(|| boot.as_ref().into());
            }
        }
        // What a configuration shows of a pending change is the coming value: to set it makes the change pend again.
        for key in &self.revert {
            back.value(key, config.get(key).as_deref());
        }
        back
    }
}

impl Back {
    fn value(&mut self, key: &str, old: Option<&str>) {
        let value = match old {
            None => Value::Null,
            // Its volume goes with the drive, and is made anew.
            Some(drive) if is_drive(key) && drive.contains("cloudinit") => {
                let storage = volume(drive).split_once(':').map_or("", |(storage, _)| storage);
                format!("{storage}:cloudinit").into()
            }
            Some(old) => readable(key, old).into(),
        };
        self.params.insert(key.to_owned(), value);
    }
}
