//! What is answered: a row for each object that something happened to, and a row for each field that is not as it was.

use std::collections::BTreeSet;

use futures::{StreamExt, stream};
use serde_json::{Map, Value};

use super::{
    super::{list::Page, time::iso},
    history::{End, Event, History},
    object::{Difference, Key, Kind, Object},
    present::{self, Present},
    saved::Was,
    words::Being,
};
use crate::tool::*;

/// Guests that are asked at once what waits for their restart.
const AT_ONCE: usize = 16;
/// What is shown of one value, and of one object's history.
const CHARACTERS: usize = 300;
const DEEDS: usize = 12;

const WHAT_A_TIME_HIDES: &str = "shown is what began a task or stands in the cluster's log (options of VMs); of what else is \
     changed at once Proxmox keeps no record: compare with a saved state for that";
const WITHOUT_BY: &str =
    "changes without `by`: made at once, which begins no task, or by nobody's call; no record says who";
const DIGESTS: &str =
    "the state has digests only, which do not tell the options that changed; those that are known stand in `did`";

#[derive(Serialize, JsonSchema, Default)]
pub struct Report {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until: Option<String>,
    /// Objects that something happened to.
    #[serde(skip_serializing_if = "Option::is_none")]
    total: Option<usize>,
    /// Tasks that failed.
    #[serde(skip_serializing_if = "is_zero")]
    failed: usize,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    objects: Vec<Row>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    changes: Vec<Change>,
    /// What could not be read, and so is not compared.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    unread: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    notes: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_cursor: Option<String>,
    /// To be given back as `state`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state: Option<Map<String, Value>>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
fn is_zero(number: &usize) -> bool {
    *number == 0
}

#[derive(Serialize, JsonSchema)]
struct Row {
    /// Kind and name, as in guest/100.
    object: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    node: Option<String>,
    /// new, gone, replaced (another guest has its number) or changed; absent: it is as it was.
    #[serde(skip_serializing_if = "Option::is_none")]
    change: Option<&'static str>,
    /// Who did what `did` says.
    #[serde(skip_serializing_if = "Option::is_none")]
    by: Option<String>,
    /// On record: tasks, and options set. UTC.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    did: Vec<String>,
    /// Options that wait for its restart.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pending: Vec<String>,
}

#[derive(Serialize, JsonSchema)]
struct Change {
    object: String,
    key: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    old: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    new: Option<String>,
    /// Who made it, where a record tells.
    #[serde(skip_serializing_if = "Option::is_none")]
    by: Option<String>,
}

/// One object that something happened to.
struct Item {
    key: Key,
    name: Option<String>,
    /// Where it is, or was.
    node: Option<String>,
    change: Option<&'static str>,
    found: Vec<Difference>,
}

/// A report while it is made.
pub struct Draft {
    pub history: History,
    items: Vec<Item>,
    notes: Vec<String>,
    until: u64,
    node: Option<String>,
    /// Nothing is known but what is on record.
    pub by_record: bool,
}

impl Draft {
    /// `node`: only what is or was there.
    pub fn new(history: History, until: u64, node: Option<&str>) -> Self {
        Self { history, items: Vec::new(), notes: Vec::new(), until, node: node.map(str::to_owned), by_record: false }
    }

    pub fn note(&mut self, note: String) {
        self.notes.push(note);
    }

    /// What the record has of an object, where nothing is known of how it was.
    pub fn happened(&mut self, key: &Key, guest: Option<&Guest>, found: Vec<Difference>) {
        let being = self.history.being(key);
        let change = match (being, guest) {
            (Being::Made, Some(_)) => Some("new"),
            (Being::Made | Being::Gone, None) => Some("gone"),
            _ => None,
        };
        let own = (key.kind == Kind::Node).then(|| key.id.clone());
        let item = Item {
            key: key.clone(),
            name: guest.and_then(|guest| guest.name.clone()),
            node: guest.map(|guest| guest.node.clone()).or(own),
            change: change.or((!found.is_empty()).then_some("changed")),
            found,
        };
        self.add(item);
    }

    /// An object as it was and as it is; `known`: names of nodes and pools.
    pub fn compare(&mut self, key: &Key, was: Option<&Was>, now: Option<&Object>, known: &[&str]) {
        let before = was.and_then(Was::values);
        let replaced = match (before, now) {
            (Some(before), Some(now)) => now.is_another(before),
            _ => was.is_some() && self.history.being(key) == Being::Made,
        };
        let found = match (was, now) {
            (Some(was), Some(now)) => was.differences(key.kind, now, known),
            // Of a guest it is enough that it came or went.
            _ if key.kind == Kind::Guest => Vec::new(),
            _ => only(before, now),
        };
        let change = match (was, now) {
            (None, Some(_)) => Some("new"),
            (Some(_), None) => Some("gone"),
            // Came and went.
            (None, None) if key.kind == Kind::Guest => Some("gone"),
            _ if replaced => Some("replaced"),
            _ => (!found.is_empty()).then_some("changed"),
        };
        let text =
            |of: fn(&Object) -> Option<&str>| now.and_then(of).or_else(|| before.and_then(of)).map(str::to_owned);
        let own = (key.kind == Kind::Node).then(|| key.id.clone());
        let item = Item {
            key: key.clone(),
            name: text(Object::name).filter(|_| key.kind == Kind::Guest),
            node: own.or_else(|| text(|object| object.get("node")).filter(|_| key.kind == Kind::Guest)),
            change,
            found,
        };
        self.add(item);
    }

    /// Takes it, where something happened to it and it is asked about.
    fn add(&mut self, item: Item) {
        let events = self.history.of(&item.key);
        if item.change.is_none() && events.is_empty() {
            return;
        }
        let moved = item.found.iter().filter(|found| found.key == "node").filter_map(|found| found.old.as_deref());
        let mut nodes = moved.chain(item.node.as_deref()).chain(events.iter().filter_map(Event::node));
        if self.node.as_deref().is_none_or(|wanted| nodes.any(|node| node == wanted)) {
            self.items.push(item);
        }
    }

    /// The part of it that is asked for.
    ///
    /// # Errors
    /// A cursor that no page gave.
    pub fn finish(self, page: &Page, digests: bool) -> Result<Report> {
        let Self { history, items, mut notes, until, by_record, .. } = self;
        let total = items.len();
        let failures = |item: &Item| history.of(&item.key).iter().filter(|e| matches!(e.end, End::Failed(_))).count();
        let failed = items.iter().map(failures).sum();
        let (items, next_cursor) = page.of(items, |item| item.key.clone())?;
        let (mut objects, mut changes) = (Vec::new(), Vec::new());
        for item in items {
            let object = item.key.to_string();
            changes.extend(item.found.iter().map(|found| Change {
                object: object.clone(),
                key: found.key.clone(),
                old: found.old.as_deref().map(brief),
                new: found.new.as_deref().map(brief),
                by: history.author(&item.key, &found.key),
            }));
            let (by, did) = told(history.of(&item.key), until);
            objects.push(Row {
                object,
                name: item.name,
                node: item.node,
                change: item.change,
                by,
                did,
                pending: Vec::new(),
            });
        }
        notes.extend(history.notes);
        let unclaimed = changes.iter().any(|change| change.by.is_none());
        notes.extend(history.log.filter(|_| unclaimed || by_record));
        notes.extend(unclaimed.then(|| WITHOUT_BY.to_owned()));
        notes.extend(by_record.then(|| WHAT_A_TIME_HIDES.to_owned()));
        if digests && !changes.is_empty() {
            notes.push(DIGESTS.to_owned());
        }
        let total = Some(total);
        Ok(Report { total, failed, objects, changes, unread: history.unread, notes, next_cursor, ..Report::default() })
    }
}

/// The fields of what came or went.
fn only(before: Option<&Object>, now: Option<&Object>) -> Vec<Difference> {
    let (fields, came) = match (before, now) {
        (_, Some(now)) => (&now.fields, true),
        (Some(before), None) => (&before.fields, false),
        (None, None) => return Vec::new(),
    };
    let each = fields.iter().map(|(key, value)| match came {
        true => Difference::new(key, None, Some(value)),
        false => Difference::new(key, Some(value), None),
    });
    each.collect()
}

fn brief(text: &str) -> String {
    if text.chars().count() <= CHARACTERS {
        text.to_owned()
    } else {
        text.chars().take(CHARACTERS).chain(['…']).collect()
    }
}

/// Who, and what they did: each thing once, with how often. Where there were several, each says whose it was.
fn told(events: &[Event], until: u64) -> (Option<String>, Vec<String>) {
    let who: Vec<&str> = events.iter().map(|event| event.by.as_str()).collect::<BTreeSet<_>>().into_iter().collect();
    let mut groups: Vec<(&Event, usize)> = Vec::new();
    for event in events {
        match groups.last_mut() {
            Some((last, count)) if last.is_like(event) => (*last, *count) = (event, *count + 1),
            _ => groups.push((event, 1)),
        }
    }
    let earlier = groups.len().saturating_sub(DEEDS);
    let left_out = (earlier > 0).then(|| format!("{earlier} earlier"));
    let did = groups.iter().skip(earlier).map(|(event, count)| {
        let mut line = format!("{} {}", clock(event.time, until), event.word);
        if *count > 1 {
            line += &format!(" ({count}×)");
        }
        if who.len() > 1 {
            line += &format!(" by {}", event.by);
        }
        match &event.end {
            End::Done => line,
            End::Running => line + " (running)",
            End::Failed(words) => format!("{line} failed: {}", brief(words)),
        }
    });
    ((!who.is_empty()).then(|| who.join(" ")), left_out.into_iter().chain(did).collect())
}

/// `08:00:12`, or `01-14 08:00:12` on another day than the last.
fn clock(time: u64, until: u64) -> String {
    const DAY: u64 = 86_400;
    let text = iso(time);
    let from = if time / DAY == until / DAY { 11 } else { 5 };
    text.get(from..19).unwrap_or(&text).replace('T', " ")
}

impl Report {
    /// Names what could not be read of the cluster as it is.
    pub fn not_read(&mut self, present: &Present) {
        self.unread.extend(present.unread.iter().map(|(kind, why)| format!("{}: {why}", kind.name())));
        let guests = present.silent.iter().map(|(vmid, why)| format!("configuration of {}: {why}", Key::guest(*vmid)));
        self.unread.extend(guests);
    }

    /// Adds what waits for a restart of the guests that changed.
    pub async fn pending(&mut self, pve: &Reader<'_>, present: &Present) {
        let mut asked = Vec::new();
        for (at, row) in self.objects.iter().enumerate().filter(|(_, row)| row.change == Some("changed")) {
            let Ok(key) = row.object.parse::<Key>() else { continue };
            let running =
                present.objects.get(&key).filter(|guest| guest.get("status") == Some("running") && !guest.partial);
            let path = running.and_then(|guest| present::path(key.vmid()?, guest));
            if let Some(path) = path {
                asked.push(async move { (at, present::pending(pve, &path).await) });
            }
        }
        let waiting: Vec<_> = stream::iter(asked).buffer_unordered(AT_ONCE).collect().await;
        for (at, keys) in waiting {
            if let Some(row) = self.objects.get_mut(at) {
                row.pending = keys;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_of_another_day_has_its_date() {
        assert_eq!(clock(1_800_000_000, 1_800_000_100), "08:00:00");
        assert_eq!(clock(1_800_000_000 - 86_400, 1_800_000_100), "01-14 08:00:00");
    }

    #[test]
    fn long_values_are_cut() {
        assert_eq!(brief(&"é".repeat(301)).chars().count(), 301);
        assert_eq!(brief("short"), "short");
    }
}
