//! The cluster's log, where Proxmox notes changes of a VM's configuration that begin no task: who set which options.

use std::collections::BTreeSet;

use super::{
    history::{End, Event},
    object::Key,
    words::{Being, Touches},
};
use crate::tool::*;

/// Entries that are asked for.
const ENTRIES: usize = 5_000;

/// Changes of options since a time, and where the log begins if that is later.
///
/// # Errors
/// As [`Reader::get`].
pub async fn entries(pve: &Reader<'_>, since: u64) -> Result<(Vec<Event>, Option<u64>)> {
    #[derive(Deserialize)]
    struct Entry {
        time: u64,
        #[serde(default)]
        user: String,
        #[serde(default)]
        msg: String,
    }
    let entries: Vec<Entry> = pve.request(&Request::get("/cluster/log").param("max", ENTRIES)).await?;
    let begins = entries.iter().map(|entry| entry.time).min().filter(|time| *time > since);
    let sets = entries.into_iter().filter(|entry| entry.time >= since).filter_map(|entry| {
        let (vmid, keys) = set(&entry.msg)?;
        let names: Vec<&str> = keys.iter().map(String::as_str).collect();
        Some(Event {
            time: entry.time,
            object: Key::guest(vmid),
            by: entry.user,
            word: format!("set {}", names.join(" ")),
            being: Being::Same,
            end: End::Done,
            touches: Touches::Nothing,
            keys,
            kind: "set".to_owned(),
            upid: None,
        })
    });
    Ok((sets.collect(), begins))
}

/// The options in `update VM 120: -delete lock,tags -memory 2048`. Values are not read: they may be secrets.
fn set(message: &str) -> Option<(u32, BTreeSet<String>)> {
    /// Said to the request, and no options.
    const NOT: [&str; 5] = ["skiplock", "force", "revert", "background_delay", "digest"];
    let (vmid, options) = message.strip_prefix("update VM ")?.split_once(": ")?;
    let is_option = |name: &str| {
        name.starts_with(|c: char| c.is_ascii_lowercase())
            && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'_'))
    };
    let mut keys = BTreeSet::new();
    let mut words = options.split_whitespace();
    while let Some(word) = words.next() {
        match word.strip_prefix('-') {
            Some("delete") => keys.extend(words.next().into_iter().flat_map(|list| list.split(',')).map(str::to_owned)),
            Some(name) if is_option(name) && !NOT.contains(&name) => drop(keys.insert(name.to_owned())),
            _ => {}
        }
    }
    Some((vmid.parse().ok()?, keys)).filter(|(_, keys)| !keys.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_options_of_a_change_are_read_and_no_values() {
        let keys = |message| set(message).map(|(vmid, keys)| (vmid, keys.into_iter().collect::<Vec<_>>().join(" ")));
        let is = |vmid, keys: &str| Some((vmid, keys.to_owned()));
        assert_eq!(keys("update VM 120: -protection 0"), is(120, "protection"));
        assert_eq!(keys("update VM 120: -delete lock,tags -skiplock 1"), is(120, "lock tags"));
        assert_eq!(keys("update VM 120: -cipassword <hidden> -net0 virtio,bridge=vmbr0"), is(120, "cipassword net0"));
        assert_eq!(
            (keys("snapshot VM 120: live1"), keys("update VM x: -a 1"), keys("update VM 1: ")),
            (None, None, None)
        );
    }
}
