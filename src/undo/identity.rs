//! Which guest it is that has a VMID: numbers are given again, and what is taken back must not hit another guest.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{
    plan::Plan,
    policy::{Reach, reach::Where},
    pve::{GuestConfig, GuestKind, PropertyString, Reader, encode},
};

/// Guests by VMID; as text, which is what keys are in JSON.
pub type Guests = BTreeMap<String, Identity>;

/// By what a guest is known.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// When a VM was made, in seconds since 1970: stays the same as long as there is the VM.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ctime: Option<u64>,
    /// Of VMs; another one after a rollback.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vmgenid: Option<String>,
    /// Of its network cards.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub macs: Vec<String>,
}

/// Whether two are the same guest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Same {
    Yes,
    /// Nothing speaks against it.
    Likely,
    No,
    Unknown,
}

impl Identity {
    pub fn named(name: Option<String>) -> Self {
        Self { name, ..Self::default() }
    }

    pub fn of(config: &GuestConfig) -> Self {
        let text = |key: &str| config.get(key).map(|value| value.into_owned());
        let meta = config.get("meta").unwrap_or_default();
        let ctime = PropertyString::parse(&meta).get("ctime").and_then(|time| time.parse().ok());
        let cards = config.iter().filter(|(key, _)| key.starts_with("net"));
        let macs =
            cards.filter_map(|(_, card)| card.split([',', '=']).find(|part| is_mac(part)).map(str::to_uppercase));
        Self { name: text("name").or_else(|| text("hostname")), ctime, vmgenid: text("vmgenid"), macs: macs.collect() }
    }

    /// `self` is what is on record; `names` are others that the guest was given by that call.
    pub fn same(&self, now: &Self, names: &[&str]) -> Same {
        if let (Some(was), Some(is)) = (self.ctime, now.ctime) {
            return if was == is { Same::Yes } else { Same::No };
        }
        if let (Some(was), Some(is)) = (&self.vmgenid, &now.vmgenid) {
            return if was == is { Same::Yes } else { Same::No };
        }
        if !self.macs.is_empty() && !now.macs.is_empty() && !self.macs.iter().any(|mac| now.macs.contains(mac)) {
            return Same::No;
        }
        match (&self.name, &now.name) {
            (Some(was), Some(is)) if was == is || names.contains(&is.as_str()) => Same::Likely,
            (None, Some(is)) if names.contains(&is.as_str()) => Same::Likely,
            (Some(_), _) => Same::No,
            (None, _) => Same::Unknown,
        }
    }
}

/// `web01, made 2027-01-15T08:00:00Z`
impl std::fmt::Display for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name.as_deref().unwrap_or("without a name"))?;
        match self.ctime {
            Some(time) => write!(f, ", made {}", crate::tools::time::iso(time)),
            None => Ok(()),
        }
    }
}

/// `BC:24:11:00:00:0A`
fn is_mac(text: &str) -> bool {
    let pairs: Vec<&str> = text.split(':').collect();
    pairs.len() == 6 && pairs.iter().all(|pair| pair.len() == 2 && pair.chars().all(|c| c.is_ascii_hexdigit()))
}

fn config_of(vmid: u32, at: &Where) -> String {
    format!("/nodes/{}/{}/{vmid}/config", encode(&at.node), at.kind.path())
}

/// A guest as it is now.
pub async fn current(pve: &Reader<'_>, vmid: u32, at: &Where) -> Option<Identity> {
    pve.config_at(config_of(vmid, at)).await.ok().map(|config| Identity::of(&config))
}

/// The guests that a plan touches: their configurations were read to judge it.
pub async fn touched(pve: &Reader<'_>, plan: &Plan) -> Guests {
    let mut guests = Guests::new();
    for (vmid, at) in Reach::of(&plan.requests).guests {
        let Some(at) = at else { continue };
        if let Some(identity) = current(pve, vmid, &at).await {
            guests.insert(vmid.to_string(), identity);
        }
    }
    guests
}

/// The guests that a plan made. What is not finished yet does not tell who it is.
pub async fn made(pve: &Reader<'_>, plan: &Plan) -> Guests {
    let mut guests = Guests::new();
    for (vmid, made) in Reach::of(&plan.requests).made {
        let container = plan.requests.iter().any(|request| request.path.split('/').nth(3) == Some("lxc"));
        let kind = if container { GuestKind::Lxc } else { GuestKind::Qemu };
        let Ok(config) = pve.config_at(config_of(vmid, &Where { node: made.node, kind })).await else { continue };
        if config.lock().is_none() {
            guests.insert(vmid.to_string(), Identity::of(&config));
        }
    }
    guests
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_guest_is_known_by_its_birth_and_else_by_what_it_has() {
        let id = |name: &str, ctime: u64, generation: &str, mac: &str| Identity {
            name: Some(name.to_owned()).filter(|name| !name.is_empty()),
            ctime: Some(ctime).filter(|time| *time > 0),
            vmgenid: Some(generation.to_owned()).filter(|text| !text.is_empty()),
            macs: if mac.is_empty() { Vec::new() } else { vec![mac.to_owned()] },
        };
        for (was, is, names, same) in [
            // Renamed, and rolled back.
            (id("a", 5, "x", ""), id("b", 5, "y", ""), &[][..], Same::Yes),
            (id("a", 5, "x", ""), id("a", 6, "x", ""), &[], Same::No),
            (id("a", 0, "x", ""), id("b", 6, "x", ""), &[], Same::Yes),
            (id("a", 0, "", ""), id("a", 6, "x", ""), &[], Same::Likely),
            (id("a", 0, "", ""), id("b", 0, "", ""), &[], Same::No),
            (id("a", 0, "", ""), id("b", 0, "", ""), &["b"], Same::Likely),
            (id("a", 0, "", "M1"), id("a", 0, "", "M2"), &[], Same::No),
            (id("", 0, "", ""), id("a", 6, "x", ""), &[], Same::Unknown),
        ] {
            assert_eq!(was.same(&is, names), same, "{was:?} {is:?}");
        }
    }
}
