//! The name of a task: `UPID:node:pid:pstart:starttime:type:id:user:`. Parses it strictly, and knows where the task is
//! asked about; asks nothing itself.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use super::encode;
use crate::error::Error;

/// A parsed UPID. Shown, compared and sent exactly as Proxmox wrote it.
#[derive(Debug, Clone)]
pub struct Upid {
    /// The node that runs the task: the only one that knows how it ended.
    pub node: String,
    pub pid: u32,
    /// Start of the worker process, in clock ticks since the node was booted.
    pub pstart: u64,
    /// Start of the task by the node's clock, in seconds since 1970.
    pub starttime: i64,
    /// Task type: `qmstart`, `vzdump` …
    pub kind: String,
    /// What it works on: a VMID, `100-scsi0>101-scsi1`, a volume; empty for many node tasks.
    pub id: String,
    /// `user@realm`, or `user@realm!token`.
    pub user: String,
    raw: String,
}

impl Upid {
    /// As Proxmox wrote it.
    pub fn as_str(&self) -> &str {
        &self.raw
    }

    /// `/nodes/{node}/tasks/{upid}`, encoded.
    pub fn path(&self) -> String {
        format!("/nodes/{}/tasks/{}", self.node, encode(&self.raw))
    }

    /// The number of the guest it works on, where `id` is (or begins with) one.
    pub fn vmid(&self) -> Option<u32> {
        let digits = self.id.find(|c: char| !c.is_ascii_digit()).unwrap_or(self.id.len());
        let boundary = self.id[digits..].chars().next().is_none_or(|c| matches!(c, '-' | '@' | '>' | ':'));
        if boundary { self.id[..digits].parse().ok().filter(|n| (100..=999_999_999).contains(n)) } else { None }
    }

    /// True for tasks of the HA stack: they end when the request is queued, not when the guest has done what was asked.
    pub fn is_queued_only(&self) -> bool {
        matches!(self.kind.as_str(), "hastart" | "hastop" | "hashutdown" | "hamigrate" | "harelocate")
    }
}

impl FromStr for Upid {
    type Err = Error;

    /// # Errors
    /// `BadArgument` naming the field `upid` and the form it must have.
    fn from_str(text: &str) -> Result<Self, Error> {
        let text = text.trim();
        parse(text).ok_or_else(|| {
            let shown: String = text.chars().take(80).collect();
            let message = if shown.is_empty() { "upid is empty".into() } else { format!("upid: {shown:?} is no UPID") };
            Error::bad_argument(message)
                .hint("expected UPID:node:pid:pstart:starttime:type:id:user: as a task-starting call or the task list gives it, whole, with the last colon")
        })
    }
}

fn parse(text: &str) -> Option<Upid> {
    let mut parts = text.strip_prefix("UPID:")?.strip_suffix(':')?.split(':');
    let mut next = || parts.next();
    let (node, pid, pstart, starttime) = (next()?, next()?, next()?, next()?);
    let (kind, id, user) = (next()?, next()?, next()?);
    let word = |s: &str| !s.is_empty() && !s.contains(|c: char| c.is_whitespace() || c.is_control());
    let plausible = parts.next().is_none() && is_node(node) && word(kind) && word(user) && (id.is_empty() || word(id));
    if !plausible {
        return None;
    }
    Some(Upid {
        node: node.into(),
        pid: u32::try_from(hex(pid, 8..=8)?).ok()?,
        pstart: hex(pstart, 8..=9)?,
        starttime: i64::try_from(hex(starttime, 8..=8)?).ok()?,
        kind: kind.into(),
        id: id.into(),
        user: user.into(),
        raw: text.into(),
    })
}

fn hex(digits: &str, length: std::ops::RangeInclusive<usize>) -> Option<u64> {
    let sound = length.contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_hexdigit());
    if sound { u64::from_str_radix(digits, 16).ok() } else { None }
}

/// A host name of letters, digits and inner hyphens: what may stand in a path.
pub(super) fn is_node(name: &str) -> bool {
    name.len() <= 63
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
        && name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && name.ends_with(|c: char| c.is_ascii_alphanumeric())
}

impl fmt::Display for Upid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.raw)
    }
}

impl PartialEq for Upid {
    fn eq(&self, other: &Self) -> bool {
        self.raw == other.raw
    }
}

impl Eq for Upid {}

impl Serialize for Upid {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.raw)
    }
}

impl<'de> Deserialize<'de> for Upid {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Kind;

    const START: &str = "UPID:pve:000040EC:0006D198:6B010091:qmstart:120:root@pam!full:";

    #[test]
    fn every_field_of_a_token_users_upid_is_read() -> Result<(), Error> {
        let upid: Upid = START.parse()?;
        let numbers = (upid.pid, upid.pstart, upid.starttime);
        assert_eq!(numbers, (16620, 446_872, 1_795_227_793));
        assert_eq!((upid.node.as_str(), upid.kind.as_str(), upid.id.as_str()), ("pve", "qmstart", "120"));
        assert_eq!((upid.user.as_str(), upid.to_string().as_str()), ("root@pam!full", START));
        Ok(())
    }

    #[test]
    fn the_path_is_encoded_whole() -> Result<(), Error> {
        let upid: Upid = START.parse()?;
        let path =
            "/nodes/pve/tasks/UPID%3Apve%3A000040EC%3A0006D198%3A6B010091%3Aqmstart%3A120%3Aroot%40pam%21full%3A";
        assert_eq!(upid.path(), path);
        Ok(())
    }

    #[test]
    fn ids_may_be_empty_or_odd_and_uptimes_long() -> Result<(), Error> {
        for (text, id, vmid) in [
            ("UPID:a-1:00000001:0000000A1:6B010091:aptupdate::root@pam:", "", None),
            (
                "UPID:n:00000001:00000001:6B010091:move_volume:100-scsi0>101-scsi1:root@pam:",
                "100-scsi0>101-scsi1",
                Some(100),
            ),
            ("UPID:n:00000001:00000001:6B010091:imgdel:100@local:root@pam:", "100@local", Some(100)),
            ("UPID:n:00000001:00000001:6B010091:download:debian-13.iso:u@pve!t:", "debian-13.iso", None),
            ("UPID:n:00000001:00000001:6B010091:download:100debian.iso:u@pve!t:", "100debian.iso", None),
        ] {
            let upid: Upid = text.parse()?;
            assert_eq!((upid.id.as_str(), upid.vmid()), (id, vmid), "{text}");
        }
        Ok(())
    }

    #[test]
    fn what_is_no_upid_is_refused_and_the_field_named() {
        for text in [
            "",
            "100",
            "UPID:",
            "UPID:pve:000040EC:0006D198:6B010091:qmstart:120:root@pam!full",
            "UPID:pve:40EC:0006D198:6B010091:qmstart:120:root@pam:",
            "UPID:pve:000040EG:0006D198:6B010091:qmstart:120:root@pam:",
            "UPID:../x:000040EC:0006D198:6B010091:qmstart:120:root@pam:",
            "UPID:pve:000040EC:0006D198:6B010091::120:root@pam:",
            "UPID:pve:000040EC:0006D198:6B010091:qmstart:1 0:root@pam:",
            "UPID:pve:000040EC:0006D198:6B010091:qmstart:120:root@pam:more:",
            "UPID:pve:+00040EC:0006D198:6B010091:qmstart:120:root@pam:",
        ] {
            let error = text.parse::<Upid>().err();
            let named = error.as_ref().is_some_and(|e| e.to_string().contains("upid") && e.kind() == Kind::BadArgument);
            assert!(named, "{text:?}: {error:?}");
        }
    }

    #[test]
    fn tasks_of_the_ha_stack_are_known_to_end_when_queued() -> Result<(), Error> {
        let ha: Upid = "UPID:pve:000040EC:0006D198:6B010091:hastart:120:root@pam:".parse()?;
        assert!(ha.is_queued_only() && !START.parse::<Upid>()?.is_queued_only());
        Ok(())
    }
}
