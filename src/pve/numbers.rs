//! VMIDs for new guests: free ones, that no other call of this process is creating guests with. Choosing takes nothing: a
//! plan that is only shown shows the same ones again.

use std::fmt;

use futures::{StreamExt, stream};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Reader, Request};
use crate::error::{Error, Kind, Result};

/// Where VMIDs are looked for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Within {
    /// The next free ones, in the range that the datacenter's options give.
    #[default]
    Next,
    /// From this one on.
    From(u32),
    /// From the first to the last, both included.
    Range(u32, u32),
}

const LOWEST: u32 = 100;
const HIGHEST: u32 = 999_999_999;
/// Where Proxmox itself stops looking, unless the datacenter's options say otherwise.
const USUAL_END: u32 = 999_999;
/// VMIDs that are asked for at the same time.
const AT_ONCE: usize = 16;
/// VMIDs that turned out to be taken, though nobody lists them, after which it is given up.
const SURPRISES: usize = 300;

impl Within {
    /// From `200-299`, `200-` (from 200 on) or `200`.
    ///
    /// # Errors
    /// `BadArgument` with the field.
    pub fn parse(field: &str, text: &str) -> Result<Self> {
        let text = text.trim();
        let wrong = || {
            Error::bad_argument(format!(
                "{field}: expected a VMID (200), the first of several (200-) or a range (200-299), got '{text}'"
            ))
            .hint(format!("VMIDs are numbers from {LOWEST} to {HIGHEST}; leave it out for the next free one"))
        };
        let number = |text: &str| {
            let number = text.trim().parse::<u32>().map_err(|_| wrong())?;
            if (LOWEST..=HIGHEST).contains(&number) { Ok(number) } else { Err(wrong()) }
        };
        match text.split_once("..").or_else(|| text.split_once('-')) {
            None if text.is_empty() || text == "0" => Ok(Self::Next),
            None => number(text).map(|only| Self::Range(only, only)),
            Some((from, "")) => number(from).map(Self::From),
            Some((from, to)) => {
                let (from, to) = (number(from)?, number(to)?);
                if to < from { Err(wrong()) } else { Ok(Self::Range(from, to)) }
            }
        }
    }

    /// The one VMID that is meant and no other.
    pub fn only(self) -> Option<u32> {
        match self {
            Self::Range(from, to) if from == to => Some(from),
            _ => None,
        }
    }
}

/// `from 200 to 299`
impl fmt::Display for Within {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Next => f.write_str("in the range of the datacenter's options"),
            Self::From(from) => write!(f, "from {from} on"),
            Self::Range(from, to) if from == to => write!(f, "beside {from}"),
            Self::Range(from, to) => write!(f, "from {from} to {to}"),
        }
    }
}

impl Reader<'_> {
    /// The next free VMID that no other call of this process is creating a guest with.
    ///
    /// # Errors
    /// Proxmox's.
    pub async fn next_vmid(&self) -> Result<u32> {
        let mut found = self.free_vmids(1, Within::Next).await?;
        found.pop().ok_or_else(|| Error::internal("one VMID was asked for, and none came"))
    }

    /// So many free VMIDs, in ascending order.
    ///
    /// # Errors
    /// `Conflict` where there are not so many, with how many there are; Proxmox's.
    pub async fn free_vmids(&self, count: usize, within: Within) -> Result<Vec<u32>> {
        let held = self.client().vmids();
        let (from, to) = match within {
            Within::Range(from, to) => (from, to),
            Within::From(from) => (from, HIGHEST),
            Within::Next => {
                let next = self.next_id().await?;
                if count == 1 && !held.is_held(next) {
                    return Ok(vec![next]);
                }
                (next, self.last_id().await)
            }
        };
        // Of all guests that may be seen; of the others `nextid` knows.
        let rows = self.resources_now().await?;
        let mut likely = (from..=to).filter(|vmid| rows.vmid(*vmid).is_none() && !held.is_held(*vmid));
        let (mut found, mut surprises) = (Vec::new(), 0);
        while found.len() < count && surprises < SURPRISES {
            let some: Vec<u32> = likely.by_ref().take(count - found.len()).collect();
            if some.is_empty() {
                break;
            }
            let asked = some.into_iter().map(|vmid| async move { self.is_free(vmid).await.map(|free| (vmid, free)) });
            let mut asked = stream::iter(asked).buffered(AT_ONCE);
            while let Some(answer) = asked.next().await {
                match answer? {
                    (vmid, true) => found.push(vmid),
                    _ => surprises += 1,
                }
            }
        }
        if found.len() == count {
            return Ok(found);
        }
        let words = match (within.only(), found.len()) {
            (Some(vmid), 0) if count == 1 => match rows.vmid(vmid) {
                Some(row) => format!("vmid: {vmid} is taken by {}", super::Guest::from(row)),
                None => format!("vmid: {vmid} is taken"),
            },
            (_, free) => {
                format!("vmid: {count} are needed, and {free} free {} {within}", if free == 1 { "is" } else { "are" })
            }
        };
        Err(Error::new(Kind::Conflict, words).hint("give another range, or leave vmid out for the next free ones"))
    }

    /// With `vmid`, `nextid` is a check, whatever the datacenter's range.
    async fn is_free(&self, vmid: u32) -> Result<bool> {
        match self.request::<u32>(&Request::get("/cluster/nextid").param("vmid", vmid)).await {
            Ok(_) => Ok(true),
            Err(e) if e.kind() == Kind::BadArgument || e.is_conflict() => Ok(false),
            Err(e) => Err(e),
        }
    }

    /// The last VMID that Proxmox would choose; without Sys.Audit its usual one.
    async fn last_id(&self) -> u32 {
        let options: Value = self.get("/cluster/options").await.unwrap_or_default();
        let upper = &options["next-id"]["upper"];
        let upper = upper.as_u64().or_else(|| upper.as_str()?.parse().ok());
        upper.and_then(|upper| u32::try_from(upper).ok()).map_or(USUAL_END, |upper| upper.saturating_sub(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_read_as_people_write_them() {
        for (text, within) in [
            ("", Within::Next),
            ("0", Within::Next),
            ("200", Within::Range(200, 200)),
            ("200-299", Within::Range(200, 299)),
            ("200 - 299", Within::Range(200, 299)),
            ("200..299", Within::Range(200, 299)),
            ("200-", Within::From(200)),
        ] {
            assert_eq!(Within::parse("vmid", text).ok(), Some(within), "{text}");
        }
        for wrong in ["99", "web", "299-200", "100-1000000000", "-200", "1-2-3"] {
            let error = Within::parse("vmid", wrong).err().map(|e| e.to_string()).unwrap_or_default();
            assert!(error.starts_with("vmid: expected a VMID") && error.contains(wrong), "{wrong}: {error}");
        }
    }
}
