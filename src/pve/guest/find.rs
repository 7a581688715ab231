//! Finds the guest that a caller names: in the cluster's list, and where that does not know it (yet), in the nodes' own.
//! Never takes one kind for the other, and never chooses between two.

use std::time::Duration;

use serde::Deserialize;
use tokio::time::timeout;

use super::{Guest, GuestRef, Want};
use crate::{
    error::{Error, Kind, Result},
    pve::{Client, Live, ResourceCache, Resources},
};

/// How long a guest's node may take to say what the cluster's list does not.
const ASIDE: Duration = Duration::from_secs(2);
/// Candidates and similar names that are shown at most.
const SHOWN: usize = 10;

impl ResourceCache {
    /// The one guest that is meant.
    ///
    /// # Errors
    /// `BadArgument` where nothing, or something contradictory, is asked for, or a guest of the other kind; `Ambiguous`
    /// with the candidates; `NotFound` with what was searched and similar names; and the client's.
    pub async fn find(&self, client: &Client, who: &GuestRef, want: Want) -> Result<Guest> {
        who.check()?;
        let asked = tokio::time::Instant::now();
        let mut rows = self.get(client).await?;
        let mut verdict = judge(candidates(&rows, who), who, want);
        if !matches!(verdict, Verdict::One(_)) {
            // Nobody is sent away because of an answer from before the call.
            rows = self.since(client, Some(asked)).await?;
            verdict = judge(candidates(&rows, who), who, want);
        }
        let doubt = match verdict {
            Verdict::One(guest) => match self.confirm(client, guest, who).await {
                Some(guest) => return Ok(guest),
                None => None,
            },
            // Numbers, kinds and nodes are current in the cluster's list; names are not.
            Verdict::Doubt(error) if error.kind() == Kind::Ambiguous => return Err(error),
            Verdict::Doubt(error) if who.name.is_none() => return Err(error),
            Verdict::Doubt(error) => Some(error),
            Verdict::None => None,
        };
        let live = self.live(client).await?;
        let seen = live.guests.iter().filter(|g| is_candidate(g, who)).cloned().collect();
        match judge(seen, who, want) {
            Verdict::One(guest) => Ok(with_pool(guest, &rows)),
            Verdict::Doubt(error) => Err(error),
            Verdict::None => Err(doubt.unwrap_or_else(|| not_found(who, want, &rows, &live))),
        }
    }

    /// Where a guest is now, and how: for one that may have moved since it was found.
    ///
    /// # Errors
    /// `NotFound` if it is gone, and the client's.
    pub async fn find_again(&self, client: &Client, guest: &Guest) -> Result<Guest> {
        let rows = self.fresh(client).await?;
        if let Some(row) = rows.vmid(guest.vmid).filter(|row| row.kind == guest.kind) {
            return Ok(Guest::from(row));
        }
        let live = self.live(client).await?;
        let found = live.guests.iter().find(|g| g.vmid == guest.vmid && g.kind == guest.kind);
        found.cloned().ok_or_else(|| Error::not_found(format!("{guest} is not there any more")))
    }

    /// What the cluster's list does not know of a guest for sure, its own node says: the state and name of one that is
    /// new, or whether it still has the name it was found by, when this process has just changed something. `None` if
    /// it has not.
    async fn confirm(&self, client: &Client, mut guest: Guest, who: &GuestRef) -> Option<Guest> {
        let unknown = guest.name.is_none() || guest.status == "unknown";
        let doubtful = unknown || (who.name.is_some() && self.may_be_behind());
        if !doubtful {
            return Some(guest);
        }
        let current = timeout(ASIDE, client.get::<Current>(&guest.current())).await;
        if let Ok(Ok(current)) = current {
            guest.name = current.name.filter(|n| !n.is_empty()).or(guest.name);
            guest.status = current.status;
            guest.lock = current.lock;
        }
        let named_so = who.name.as_ref().is_none_or(|name| guest.name.as_ref() == Some(name));
        named_so.then_some(guest)
    }
}

/// `GET …/status/current`, as far as it matters here.
#[derive(Deserialize)]
struct Current {
    name: Option<String>,
    status: String,
    lock: Option<String>,
}

enum Verdict {
    One(Guest),
    None,
    /// Something is there, but not what was asked for.
    Doubt(Error),
}

/// By VMID if there is one; the name is compared later.
fn is_candidate(guest: &Guest, who: &GuestRef) -> bool {
    match (who.vmid, &who.name) {
        (Some(vmid), _) => guest.vmid == vmid,
        (None, name) => guest.name == *name,
    }
}

fn candidates(rows: &Resources, who: &GuestRef) -> Vec<Guest> {
    match (who.vmid, &who.name) {
        (Some(vmid), _) => rows.vmid(vmid).map(Guest::from).into_iter().collect(),
        (None, Some(name)) => rows.named(name).map(Guest::from).collect(),
        (None, None) => Vec::new(),
    }
}

fn judge(candidates: Vec<Guest>, who: &GuestRef, want: Want) -> Verdict {
    let on_node = |g: &Guest| who.node.as_ref().is_none_or(|node| g.node == *node);
    let (right, wrong): (Vec<_>, Vec<_>) = candidates.into_iter().partition(|g| want.takes(g.kind));
    let (mut here, elsewhere): (Vec<_>, Vec<_>) = right.into_iter().partition(on_node);
    match (here.len(), here.pop()) {
        (1, Some(guest)) => match (&who.name, &guest.name) {
            (Some(asked), Some(name)) if asked != name => Verdict::Doubt(
                Error::bad_argument(format!("vmid {} and name {asked:?} disagree: that is {guest}", guest.vmid))
                    .hint("give only one of them"),
            ),
            _ => Verdict::One(guest),
        },
        (_, Some(last)) => {
            here.push(last);
            Verdict::Doubt(ambiguous(who, want, &here))
        }
        (_, None) => match (elsewhere.first(), wrong.first()) {
            (Some(guest), _) => {
                let (asked, node) = (who.node.as_deref().unwrap_or_default(), &guest.node);
                let error = Error::bad_argument(format!("{guest}, not on {asked}"));
                Verdict::Doubt(error.hint(format!("leave node out, or give node={node}")))
            }
            (None, Some(guest)) => Verdict::Doubt(wrong_kind(guest, want)),
            (None, None) => Verdict::None,
        },
    }
}

fn wrong_kind(guest: &Guest, want: Want) -> Error {
    let name = guest.name.as_ref().map(|n| format!(" ({n})")).unwrap_or_default();
    let message = format!("{}{name} is {}, not a {want}", guest.vmid, guest.kind.one());
    Error::bad_argument(message).hint(match want {
        Want::Vm => "use the tool for containers (their names contain lxc)",
        _ => "use the tool for VMs (their names contain vm)",
    })
}

fn ambiguous(who: &GuestRef, want: Want, found: &[Guest]) -> Error {
    let name = who.name.as_deref().unwrap_or_default();
    let mut list: Vec<String> =
        found.iter().take(SHOWN).map(|g| format!("{} {} on {}", g.kind, g.vmid, g.node)).collect();
    if found.len() > SHOWN {
        list.push(format!("and {} more", found.len() - SHOWN));
    }
    let message = format!("{} {want}s are named {name:?}: {}", found.len(), list.join(", "));
    let one_each = found.iter().all(|a| found.iter().filter(|b| a.node == b.node).count() == 1);
    let hint = if one_each { "give the vmid, or the node too" } else { "give the vmid" };
    Error::new(Kind::Ambiguous, message).hint(hint)
}

fn not_found(who: &GuestRef, want: Want, rows: &Resources, live: &Live) -> Error {
    let mut message = match (who.vmid, &who.name) {
        (Some(vmid), _) => format!("no {want} has the vmid {vmid}"),
        (None, name) => format!("no {want} is named {:?}", name.as_deref().unwrap_or_default()),
    };
    if let Some(node) = &who.node {
        message.push_str(&format!(" on node {node}"));
    }
    message
        .push_str(&format!(" among the {} guests that these credentials may see", rows.len().max(live.guests.len())));
    if !live.silent.is_empty() {
        message.push_str(&format!("; not asked, as it gave no answer: {}", live.silent.join(", ")));
    }
    let mut hints = Vec::new();
    if let Some(node) = who.node.as_ref().filter(|node| !live.nodes.contains(node)) {
        hints.push(format!("there is no node {node}, only {}", live.nodes.join(", ")));
    }
    let similar = who.name.as_ref().map(|name| similar(name, rows, live, want)).unwrap_or_default();
    if !similar.is_empty() {
        hints.push(format!("did you mean {}?", similar.join(", ")));
    }
    let number = who.name.as_deref().filter(|n| n.len() >= 3 && n.bytes().all(|b| b.is_ascii_digit()));
    if let Some(number) = number {
        hints.push(format!("if {number} is a VMID, give it as vmid"));
    }
    hints.push("a guest without the privilege VM.Audit for this user or token is not shown at all".into());
    Error::not_found(message).hint(hints.join("; "))
}

/// Names that may have been meant, most similar first, each with its VMID.
fn similar(name: &str, rows: &Resources, live: &Live, want: Want) -> Vec<String> {
    let wanted = name.to_lowercase();
    let most = (wanted.chars().count() / 3).max(1);
    let rows = rows.iter().map(|r| (r.kind, r.name.as_deref(), r.vmid));
    let live = live.guests.iter().map(|g| (g.kind, g.name.as_deref(), g.vmid));
    let named = rows.chain(live).filter(|(kind, ..)| want.takes(*kind)).filter_map(|(_, n, id)| Some((n?, id)));
    let mut near: Vec<(usize, &str, u32)> =
        named.filter_map(|(name, vmid)| Some((distance(&wanted, &name.to_lowercase(), most)?, name, vmid))).collect();
    near.sort_unstable();
    near.dedup();
    near.into_iter().take(3).map(|(_, name, vmid)| format!("{name} ({vmid})")).collect()
}

/// How many letters must be changed, added or left out; `None` if more than `most`, unless the one contains the other.
fn distance(a: &str, b: &str, most: usize) -> Option<usize> {
    if a.len().abs_diff(b.len()) > most {
        return (a.len() >= 3 && b.contains(a)).then_some(most);
    }
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(x != *y);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row.last().copied().filter(|d| *d <= most)
}

/// The nodes do not say which pool a guest is in; the cluster's list may.
fn with_pool(mut guest: Guest, rows: &Resources) -> Guest {
    if let Some(row) = rows.vmid(guest.vmid) {
        guest.pool = row.pool.as_deref().map(str::to_owned);
        guest.hastate = row.hastate.as_deref().map(str::to_owned);
    }
    guest
}

#[cfg(test)]
mod tests;
