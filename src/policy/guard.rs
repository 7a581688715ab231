//! The guard rails: whether what requests touch, as far as their [`Reach`] tells, is within the operator's rules.

use super::{
    OPERATOR, denied, exec,
    facts::{Facts, Known},
    reach::{Reach, Size},
    rules::Fact,
    settings::Settings,
};
use crate::{
    error::{Error, Result},
    pve::{PropertyString, size},
};

/// The tag that protects whatever else is configured.
const PROTECTED: &str = "protected";

/// # Errors
/// `Denied` with the first rule that forbids it.
pub fn check(settings: &Settings, reach: &Reach, facts: &Facts) -> Result<()> {
    let refused = |why: String| Err(denied(why).hint(OPERATOR));
    for node in &reach.nodes {
        if !settings.nodes.allow(node) {
            return refused(format!("node {node} is not among PROXMOX_ALLOW_NODES={}", settings.nodes.text()));
        }
    }
    for storage in &reach.storages {
        if !settings.storages.allow(storage) {
            let allowed = settings.storages.text();
            return refused(format!("storage {storage} is not among PROXMOX_ALLOW_STORAGES={allowed}"));
        }
    }
    for words in &reach.commands {
        if let Some(why) = exec::refuses(&settings.exec, settings.mode, words.as_deref()) {
            return refused(why);
        }
    }
    if let Some(vmid) = reach.guests.keys().find(|vmid| facts.get(**vmid).is_none()) {
        return Err(Error::internal(format!("nothing was found out about guest {vmid}"))
            .hint("a fault in this program: it approves nothing that it has not looked at"));
    }
    // Guests that are only copied are in the facts, too, and may be protected: that is what templates are for.
    let copied = |vmid: u32| reach.made.values().any(|made| made.from == Some(vmid));
    let touched =
        || facts.iter().filter(|known| reach.guests.contains_key(&known.fact.vmid) || !copied(known.fact.vmid));
    for known in touched() {
        guest(settings, &known.fact)?;
    }
    // A guest that is restored over is judged by what it is now.
    for (vmid, made) in reach.made.iter().filter(|(vmid, _)| !reach.guests.contains_key(vmid)) {
        let source = made.from.and_then(|from| facts.get(from));
        let mut tags = made.tags.clone();
        tags.extend(source.into_iter().flat_map(|source| source.fact.tags.clone()));
        let fact = Fact {
            vmid: *vmid,
            name: made.name.clone(),
            node: Some(made.node.clone()),
            pool: made.pool.clone(),
            // Its template's protection is not its own.
            tags: tags.into_iter().filter(|tag| tag != PROTECTED).collect(),
            protection: false,
        };
        guest(settings, &fact)?;
    }
    let count = touched().count() + reach.made.keys().filter(|vmid| !reach.guests.contains_key(vmid)).count();
    if let Some(limit) = settings.bounds.guests.filter(|limit| count > *limit) {
        return refused(format!(
            "this would change {count} guests: PROXMOX_MAX_GUESTS={limit} is the limit of one call"
        ));
    }
    for size in &reach.sizes {
        bounds(settings, size, facts)?;
    }
    Ok(())
}

fn guest(settings: &Settings, fact: &Fact) -> Result<()> {
    let name = match &fact.name {
        Some(name) => format!("guest {} ({name})", fact.vmid),
        None => format!("guest {}", fact.vmid),
    };
    let why = if fact.protection {
        format!("{name} is protected: its protection option is set")
    } else if fact.tags.iter().any(|tag| tag.eq_ignore_ascii_case(PROTECTED)) {
        format!("{name} is protected: it has the tag '{PROTECTED}'")
    } else if let Some(rule) = settings.protected.fit(fact) {
        format!("{name} is protected: PROXMOX_PROTECT_GUESTS has '{rule}'")
    } else if !settings.allowed.is_empty() && settings.allowed.fit(fact).is_none() {
        format!("{name} may not be touched: it is not among PROXMOX_ALLOW_GUESTS={}", settings.allowed.text())
    } else {
        return Ok(());
    };
    Err(denied(why).hint(OPERATOR))
}

fn bounds(settings: &Settings, asked: &Size, facts: &Facts) -> Result<()> {
    let bounds = &settings.bounds;
    let config = |vmid: &u32| facts.get(*vmid).and_then(|known: &Known| known.config.as_ref());
    let over = |what: &str, asked: String, setting: &str, limit: String| {
        Err(denied(format!("{asked} {what} is over the limit {setting}={limit}")).hint(OPERATOR))
    };
    match asked {
        Size::Cores { vmid, cores, sockets } => {
            let now = |key| config(vmid).and_then(|config| config.get(key)?.parse::<u64>().ok()).unwrap_or(1);
            let all = cores.unwrap_or_else(|| now("cores")) * sockets.unwrap_or_else(|| now("sockets"));
            match bounds.cores {
                Some(limit) if all > limit => over("cores", all.to_string(), "PROXMOX_MAX_CORES", limit.to_string()),
                _ => Ok(()),
            }
        }
        Size::Memory(bytes) => match bounds.memory {
            Some(limit) if *bytes > limit => {
                over("of memory", size::text(*bytes), "PROXMOX_MAX_MEMORY", size::text(limit))
            }
            _ => Ok(()),
        },
        Size::Disk(bytes) => disk(settings, *bytes),
        Size::Grows { vmid, disk: key, by } => {
            let value = config(vmid).and_then(|config| config.get(key));
            let now = value.and_then(|value| size::configured(PropertyString::parse(&value).get("size")?));
            disk(settings, now.unwrap_or_default() + by)
        }
    }
}

fn disk(settings: &Settings, bytes: u64) -> Result<()> {
    match settings.bounds.disk {
        Some(limit) if bytes > limit => {
            let why =
                format!("a disk of {} is over the limit PROXMOX_MAX_DISK={}", size::text(bytes), size::text(limit));
            Err(denied(why).hint(OPERATOR))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests;
