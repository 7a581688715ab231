//! What was done since a time, and by whom: from the nodes' task lists, and from the cluster's log, where Proxmox notes changes
//! of a VM's configuration that begin no task.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use futures::{StreamExt, stream};

use super::{
    super::time::iso,
    object::{Key, Kind},
    present::Only,
    saved::CONFIGURATION,
    words::{self, Being, Touches},
};
use crate::{
    error::Kind as Fault,
    pve::{ExitStatus, NodeHere, TaskRow, Upid, encode},
    tool::*,
};

/// Rows of one page of a node's tasks, and how many pages: Proxmox keeps one to two thousand.
const PAGE: usize = 500;
const PAGES: usize = 8;
const AT_ONCE: usize = 16;
/// Tasks are listed by their beginning. What began so long before may have ended since.
const LONG: u64 = 86_400;
/// Entries of the cluster's log.
const ENTRIES: usize = 5_000;
/// Clones whose logs are read for the new guest's number.
const CLONES: usize = 100;
/// A task that sets options is noted in the cluster's log too, when it begins.
const SAME: u64 = 2;

/// One thing that was done to one object.
#[derive(Debug, Clone)]
pub struct Event {
    pub time: u64,
    pub object: Key,
    pub by: String,
    pub word: String,
    pub being: Being,
    pub end: End,
    touches: Touches,
    /// Options that it set or removed, where it says so.
    keys: BTreeSet<String>,
    kind: String,
    upid: Option<Upid>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    Running,
    Done,
    /// In Proxmox's words.
    Failed(String),
}

impl Event {
    /// Whether it may be what changed a field.
    pub fn explains(&self, key: &str) -> bool {
        let named = |key: &str| self.keys.contains(key);
        self.end == End::Done && (self.touches.may_change(key) || named(key))
    }
    fn changes_options(&self) -> bool {
        let touches = matches!(self.touches, Touches::Disks | Touches::Snapshots | Touches::Everything);
        self.end == End::Done && (touches || !self.keys.is_empty())
    }
    fn is_of_ha(&self) -> bool {
        self.kind.starts_with("ha")
    }
    /// Whether it is the same again.
    pub fn is_like(&self, other: &Self) -> bool {
        (&self.word, &self.by, &self.end) == (&other.word, &other.by, &other.end)
    }
    /// Where its task ran.
    pub fn node(&self) -> Option<&str> {
        self.upid.as_ref().map(|upid| upid.node.as_str())
    }
}

/// What is on record.
#[derive(Debug, Default)]
pub struct History {
    /// Oldest first, by object.
    pub events: BTreeMap<Key, Vec<Event>>,
    /// What could not be read.
    pub unread: Vec<String>,
    /// How far the record goes.
    pub notes: Vec<String>,
    /// The same of the cluster's log, which matters where something is missing.
    pub log: Option<String>,
}

impl History {
    pub fn of(&self, key: &Key) -> &[Event] {
        self.events.get(key).map_or(&[], Vec::as_slice)
    }

    /// Whether the object was made, or went, the last time that either happened.
    pub fn being(&self, key: &Key) -> Being {
        let done = self.of(key).iter().rev().filter(|event| event.end == End::Done).map(|event| event.being);
        done.into_iter().find(|being| *being != Being::Same).unwrap_or(Being::Same)
    }

    /// Who changed a field, as far as that is on record. What HA did was asked for by somebody.
    pub fn author(&self, key: &Key, field: &str) -> Option<String> {
        let events = self.of(key).iter();
        if field != CONFIGURATION {
            let may = events.filter(|event| event.explains(field));
            return may.max_by_key(|event| (event.is_of_ha(), event.time)).map(|event| event.by.clone());
        }
        // Which options changed is not known: then only if there is but one who may have done it.
        let may: BTreeSet<&str> =
            events.filter(|event| event.changes_options()).map(|event| event.by.as_str()).collect();
        let mut may = may.into_iter();
        may.next().filter(|_| may.next().is_none()).map(str::to_owned)
    }
}

/// Reads what was done since a time.
///
/// # Errors
/// That the call was cancelled; what cannot be read is named.
pub async fn read(pve: &Reader<'_>, nodes: &[NodeHere], since: u64, only: &Only) -> Result<History> {
    let mut history = History::default();
    let mut online = Vec::new();
    for node in nodes {
        match node.is_online() {
            true => online.push(node.node.clone()),
            false => history.unread.push(format!("tasks of {}: it is offline", node.node)),
        }
    }
    let asked = online.into_iter().map(async |node| {
        let tasks = tasks(pve, &node, since).await;
        (node, tasks)
    });
    let (asked, log, audits, reads_log) = tokio::join!(
        stream::iter(asked).buffered(AT_ONCE).collect::<Vec<_>>(),
        entries(pve, since),
        may(pve, "/nodes", "Sys.Audit"),
        may(pve, "/", "Sys.Syslog"),
    );
    let mut events = Vec::new();
    for (node, listed) in asked {
        match listed {
            Ok((rows, begins)) => {
                events.extend(rows.into_iter().filter_map(event));
                if let Some(time) = begins.filter(|_| audits) {
                    history.notes.push(format!("the tasks of {node} are on record from {} on", iso(time)));
                }
            }
            Err(e) if e.kind() == Fault::Cancelled => return Err(e),
            Err(e) => history.unread.push(format!("tasks of {node}: {e}")),
        }
    }
    if !audits {
        let who = pve.who();
        history.notes.push(format!("without Sys.Audit on /nodes only the tasks of {who} itself are listed"));
    }
    match log {
        Ok((sets, begins)) => {
            // Told once, with its keys.
            let is_told = |event: &Event| {
                event.kind == "qmconfig"
                    && event.end == End::Done
                    && sets.iter().any(|set| {
                        set.object == event.object && set.by == event.by && set.time.abs_diff(event.time) <= SAME
                    })
            };
            events.retain(|event| !is_told(event));
            events.extend(sets);
            let begins = begins
                .map(|time| format!("the cluster's log, which tells who set options of VMs, begins {}", iso(time)));
            let who = pve.who();
            let own =
                || format!("without Sys.Syslog on / only the entries of {who} itself in the cluster's log are seen");
            history.log = if reads_log { begins } else { Some(own()) };
        }
        Err(e) if e.kind() == Fault::Cancelled => return Err(e),
        Err(e) => history.unread.push(format!("cluster log: {e}")),
    }
    name_clones(pve, &mut events).await;
    // Within a second by the node's own ticks.
    events.sort_by_key(|event| (event.time, event.upid.as_ref().map(|upid| upid.pstart)));
    for event in events {
        if only.0.is_none() || event.object.vmid().is_some_and(|vmid| only.takes(vmid)) {
            history.events.entry(event.object.clone()).or_default().push(event);
        }
    }
    Ok(history)
}

/// A node's tasks that went on after `since`, and where its list begins if that is later.
async fn tasks(pve: &Reader<'_>, node: &str, since: u64) -> Result<(Vec<TaskRow>, Option<u64>)> {
    let path = format!("/nodes/{}/tasks", encode(node));
    let earlier = Request::get(&path).param("source", "archive").param("until", since).param("limit", 1);
    let (rows, earlier) = tokio::join!(pages(pve, &path, since), pve.request::<Vec<TaskRow>>(&earlier));
    let rows = rows?;
    let oldest = rows.iter().map(|row| row.starttime).min().and_then(|time| u64::try_from(time).ok());
    let begins = oldest.filter(|time| *time > since && earlier.is_ok_and(|rows| rows.is_empty()));
    Ok((rows, begins))
}

/// Newest first; a task that comes between two pages moves the rest on, so that a row may be listed twice.
async fn pages(pve: &Reader<'_>, path: &str, since: u64) -> Result<Vec<TaskRow>> {
    let (mut rows, mut seen) = (Vec::new(), HashSet::new());
    for page in 0..PAGES {
        let request = Request::get(path)
            .param("source", "all")
            .param("since", since.saturating_sub(LONG))
            .param("start", page * PAGE)
            .param("limit", PAGE);
        let listed: Vec<TaskRow> = pve.request(&request).await?;
        let more = listed.len() == PAGE;
        rows.extend(listed.into_iter().filter(|row| lasts_until(row, since) && seen.insert(row.upid.clone())));
        if !more {
            break;
        }
    }
    Ok(rows)
}

fn lasts_until(row: &TaskRow, since: u64) -> bool {
    let after = |time: i64| u64::try_from(time).is_ok_and(|time| time >= since);
    after(row.starttime) || row.end().is_none() || row.endtime.is_some_and(after)
}

fn event(row: TaskRow) -> Option<Event> {
    let upid: Upid = row.upid.parse().ok()?;
    let end = match row.end() {
        None => End::Running,
        Some(status) if status.is_success() => End::Done,
        Some(ExitStatus::Unexpected) => End::Failed("stopped, or killed".to_owned()),
        Some(status) => End::Failed(status.to_string()),
    };
    if words::is_idle(&upid.kind) && !matches!(end, End::Failed(_)) {
        return None;
    }
    let object = upid.vmid().map_or_else(|| Key::new(Kind::Node, &*upid.node), Key::guest);
    let deed = words::of(&upid.kind);
    let word = deed.map_or(upid.kind.as_str(), |deed| deed.word);
    let word = match object.kind {
        Kind::Guest if deed.is_some_and(|deed| deed.touches == Touches::Node) => format!("{word} from {}", upid.node),
        Kind::Guest => word.to_owned(),
        // Of a node the name says what of it.
        _ if upid.id.is_empty() => word.to_owned(),
        _ => format!("{word} {}", upid.id),
    };
    Some(Event {
        time: u64::try_from(row.starttime).unwrap_or_default(),
        object,
        by: row.who(),
        word,
        being: deed.map_or(Being::Same, |deed| deed.being),
        end,
        touches: deed.map_or(Touches::Nothing, |deed| deed.touches),
        keys: BTreeSet::new(),
        kind: upid.kind.clone(),
        upid: Some(upid),
    })
}

/// A clone's task is the source's; whom it made stands in the first line of its log.
async fn name_clones(pve: &Reader<'_>, events: &mut [Event]) {
    #[derive(Deserialize)]
    struct Line {
        t: String,
    }
    let is_clone = |event: &Event| matches!(&*event.kind, "qmclone" | "vzclone") && event.end != End::Running;
    let clones = events.iter().enumerate().filter(|(_, event)| is_clone(event));
    let newest = clones.filter_map(|(at, event)| Some((at, event.upid.as_ref()?.path()))).rev().take(CLONES);
    let asked: Vec<_> = newest.collect();
    let asked = asked.into_iter().map(async |(at, path)| {
        let request = Request::get(format!("{path}/log")).param("start", 0).param("limit", 1);
        let lines: Vec<Line> = pve.request(&request).await.unwrap_or_default();
        (at, lines.first().and_then(|line| made(&line.t)))
    });
    let named: Vec<_> = stream::iter(asked).buffer_unordered(AT_ONCE).collect().await;
    for (at, made) in named {
        let (Some(event), Some(made)) = (events.get_mut(at), made) else { continue };
        // A clone that failed is cleared away again.
        if event.end == End::Done {
            event.word = format!("cloned from {}", event.object.id);
            event.being = Being::Made;
            event.object = Key::guest(made);
            event.touches = Touches::Everything;
        } else {
            event.word = format!("clone to {made}");
        }
    }
}

/// `creating a clone of VM 110 with ID 111`
fn made(line: &str) -> Option<u32> {
    line.strip_prefix("creating a clone of ")?.rsplit_once(" with ID ")?.1.trim().parse().ok()
}

/// Changes of options in the cluster's log, and where the log begins if that is later.
async fn entries(pve: &Reader<'_>, since: u64) -> Result<(Vec<Event>, Option<u64>)> {
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

/// Whether the credentials have a privilege; where that cannot be read, it is taken for granted.
async fn may(pve: &Reader<'_>, path: &str, privilege: &str) -> bool {
    let request = Request::get("/access/permissions").param("path", path);
    let held: Result<BTreeMap<String, BTreeMap<String, bool>>> = pve.request(&request).await;
    held.map_or(true, |held| held.values().any(|privileges| privileges.contains_key(privilege)))
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

    #[test]
    fn whom_a_clone_made_stands_in_its_log() {
        assert_eq!(made("creating a clone of VM 110 with ID 111"), Some(111));
        assert_eq!(made("creating a clone of container 210 with ID 211"), Some(211));
        assert_eq!(made("create full clone of drive ide0"), None);
    }

    #[test]
    fn what_ended_after_the_time_counts_though_it_began_before() {
        let row = |start: i64, end: Option<i64>| TaskRow {
            upid: String::new(),
            node: String::new(),
            kind: String::new(),
            id: String::new(),
            user: String::new(),
            tokenid: None,
            starttime: start,
            endtime: end,
            status: end.map(|_| "OK".to_owned()),
        };
        let lasts = |start, end| lasts_until(&row(start, end), 100);
        assert_eq!(
            (lasts(90, Some(99)), lasts(90, Some(100)), lasts(90, None), lasts(100, Some(101))),
            (false, true, true, true)
        );
    }
}
