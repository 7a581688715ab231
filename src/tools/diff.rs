//! What changed, and by whom: since a time, as far as tasks and the cluster's log tell, or since a state that the caller kept.
//! This program keeps none.

mod history;
mod object;
mod present;
mod report;
mod saved;
mod words;

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::{
    list::Page,
    time::{self, iso},
};
use crate::{pve::NodeHere, safety_snapshot, tool::*};
use history::History;
use object::{Difference, Key, differences};
use present::{Only, Present};
use report::{Draft, Report};
use saved::Saved;

pub const TOOLS: &[Entry] = &[Entry::query::<Diff>()];

/// Show what changed and who did it: since a time (tasks, cluster log), or since a saved state.
#[derive(Deserialize, JsonSchema)]
struct Diff {
    /// As in 2h, 3d or RFC 3339; default 1d.
    since: Option<String>,
    /// The `state` of an earlier answer.
    state: Option<Map<String, Value>>,
    /// Answer with a `state` to compare with later.
    #[serde(default)]
    save: bool,
    /// With all values: long, and differences then show old and new.
    #[serde(default)]
    values: bool,
    #[schemars(range(min = 100, max = 999_999_999))]
    vmid: Option<u32>,
    /// Exact name.
    #[schemars(length(min = 1))]
    name: Option<String>,
    node: Option<String>,
    #[serde(flatten)]
    page: Page,
}

impl Tool for Diff {
    const NAME: &str = "proxmox-diff";
    const TITLE: &str = "What changed, and by whom";
    const API: &[&str] = &[
        "GET /access/acl",
        "GET /access/groups",
        "GET /access/permissions",
        "GET /access/roles",
        "GET /access/users",
        "GET /cluster/backup",
        "GET /cluster/firewall/options",
        "GET /cluster/firewall/rules",
        "GET /cluster/ha/resources",
        "GET /cluster/ha/rules",
        "GET /cluster/log",
        "GET /cluster/options",
        "GET /cluster/replication",
        "GET /cluster/resources",
        "GET /nodes",
        "GET /nodes/{node}/tasks",
        "GET /nodes/{node}/tasks/{upid}/log",
        "GET /nodes/{node}/time",
        "GET /nodes/{node}/{type}",
        "GET /nodes/{node}/{type}/{vmid}/config",
        "GET /nodes/{node}/{type}/{vmid}/pending",
        "GET /nodes/{node}/{type}/{vmid}/snapshot",
        "GET /pools",
        "GET /storage",
    ];
    const EXAMPLE: (&str, &str) =
        ("What happened in the cluster since yesterday, and who did it?", r#"{"since": "1d"}"#);
}

impl Query for Diff {
    type Output = Report;
    async fn query(&self, pve: &Reader<'_>) -> Result<Report> {
        if self.since.is_some() && self.state.is_some() {
            return Err(Error::bad_argument("since: give either since or state, which has its own time"));
        }
        if self.save && self.node.is_some() {
            return Err(Error::bad_argument("node: a state is of all nodes; give node when you compare with it"));
        }
        let saved = self.state.as_ref().map(|state| saved::read(pve, state)).transpose()?;
        let nodes = pve.nodes().await?;
        if let Some(node) = self.node.as_deref().filter(|name| nodes.iter().all(|known| known.node != **name)) {
            pve.known_node(node).await?;
        }
        let now = now(pve, &nodes).await?;
        let only = self.only(pve, saved.as_ref()).await?;
        let asks = self.since.is_some() || saved.is_some() || !self.save;
        let since = match &saved {
            Some(saved) => saved.time,
            None => time::past("since", self.since.as_deref().unwrap_or("1d"), now)?,
        };
        let present = async {
            match self.save || saved.is_some() {
                true => present::read(pve, &nodes, &only).await.map(Some),
                false => Ok(None),
            }
        };
        let history = async {
            match asks {
                true => history::read(pve, &nodes, since, &only).await,
                false => Ok(History::default()),
            }
        };
        let (present, history) = tokio::try_join!(present, history)?;
        let draft = Draft::new(history, now, self.node.as_deref());
        let mut report = match (&saved, &present) {
            _ if !asks => Report::default(),
            (Some(saved), Some(present)) => self.since_state(pve, (saved, present, &only), draft).await?,
            _ => self.since_time(pve, (since, &only), draft).await?,
        };
        if asks {
            report.since = Some(iso(since));
            report.until = Some(iso(now));
        }
        if let Some(present) = &present {
            report.not_read(present);
            if self.save {
                report.state = Some(saved::write(pve, now, &only, present, self.values)?);
            }
        }
        Ok(report)
    }
}

/// By the cluster's clock.
async fn now(pve: &Reader<'_>, nodes: &[NodeHere]) -> Result<u64> {
    let node = nodes.iter().find(|node| node.is_online()).or(nodes.first());
    safety_snapshot::now(pve, node.map_or("localhost", |node| &node.node)).await
}

impl Diff {
    /// The guests that are asked about, and are in the state: by number also those that are gone.
    async fn only(&self, pve: &Reader<'_>, saved: Option<&Saved>) -> Result<Only> {
        let mut wanted: Option<BTreeSet<u32>> = self.vmid.map(|vmid| [vmid].into());
        if let Some(name) = &self.name {
            let then = saved.into_iter().flat_map(|saved| &saved.objects);
            let then = then.filter(|(_, was)| was.values().and_then(|was| was.name()) == Some(name));
            let mut named: BTreeSet<u32> = then.filter_map(|(key, _)| key.vmid()).collect();
            named.extend(pve.resources().await?.named(name).map(|guest| guest.vmid));
            if named.is_empty() {
                return Err(Error::not_found(format!("name: no guest '{name}'"))
                    .hint("one that was deleted is found by its vmid, and by its name in a state with values"));
            }
            wanted = Some(wanted.map_or(named.clone(), |vmids| vmids.intersection(&named).copied().collect()));
        }
        let state = saved.and_then(|saved| saved.only.0.as_ref());
        Ok(Only(match (wanted, state) {
            (Some(wanted), Some(state)) if wanted.is_disjoint(state) => {
                return Err(Error::bad_argument("state: it is of other guests than are asked about"));
            }
            (Some(wanted), Some(state)) => Some(wanted.intersection(state).copied().collect()),
            (wanted, state) => wanted.or_else(|| state.cloned()),
        }))
    }

    /// What tasks and the cluster's log tell.
    async fn since_time(&self, pve: &Reader<'_>, (since, only): (u64, &Only), mut draft: Draft) -> Result<Report> {
        let guests = present::guests(pve).await?;
        let mut keys: BTreeSet<Key> = draft.history.events.keys().cloned().collect();
        let mut from_snapshot = Vec::new();
        let alone = only.0.as_ref().filter(|vmids| vmids.len() == 1).and_then(|vmids| vmids.first());
        match alone.and_then(|vmid| guests.get(vmid)) {
            Some(guest) => match since_snapshot(pve, guest, since).await? {
                Some((snapshot, found)) => {
                    draft
                        .note(format!("changes: from snapshot {snapshot}, which may be older than what was asked for"));
                    keys.extend((!found.is_empty()).then(|| Key::guest(guest.vmid)));
                    from_snapshot = found;
                }
                None => draft.by_record = true,
            },
            None => draft.by_record = true,
        }
        for key in keys {
            let found = if key.vmid().is_some() { std::mem::take(&mut from_snapshot) } else { Vec::new() };
            draft.happened(&key, key.vmid().and_then(|vmid| guests.get(&vmid)), found);
        }
        draft.finish(&self.page, false)
    }

    /// What differs from the state, and what was done meanwhile.
    async fn since_state(
        &self,
        pve: &Reader<'_>,
        (saved, present, only): (&Saved, &Present, &Only),
        mut draft: Draft,
    ) -> Result<Report> {
        let is_read = |key: &&Key| !saved.unread.contains(&key.kind) && !present.unread.contains_key(&key.kind);
        let is_asked = |key: &&Key| only.0.is_none() || key.vmid().is_some_and(|vmid| only.takes(vmid));
        let both = || saved.objects.keys().chain(present.objects.keys());
        let known: Vec<&str> = both().filter(|key| key.vmid().is_none()).map(|key| key.id.as_str()).collect();
        let done: Vec<Key> = draft.history.events.keys().cloned().collect();
        let keys: BTreeSet<&Key> = both().filter(is_read).filter(is_asked).chain(&done).collect();
        for key in keys {
            draft.compare(key, saved.objects.get(key), present.objects.get(key), &known);
        }
        if saved.who != pve.who() {
            draft.note(format!("the state was saved by {}, who may see other things than {}", saved.who, pve.who()));
        }
        let mut report = draft.finish(&self.page, saved.digests)?;
        report.pending(pve, present).await;
        Ok(report)
    }
}

/// What differs in a guest's configuration from its newest snapshot that was there at that time.
async fn since_snapshot(pve: &Reader<'_>, guest: &Guest, since: u64) -> Result<Option<(String, Vec<Difference>)>> {
    /// Of the snapshot itself.
    const NOT: [&str; 8] =
        ["description", "lock", "parent", "runningcpu", "runningmachine", "snapstate", "snaptime", "vmstate"];
    #[derive(Deserialize)]
    struct Row {
        name: String,
        snaptime: Option<u64>,
    }
    let rows: Vec<Row> = pve.get(guest.path("snapshot")).await.unwrap_or_default();
    let before = rows.into_iter().filter_map(|row| Some((row.snaptime.filter(|time| *time <= since)?, row.name)));
    let Some((time, name)) = before.max() else { return Ok(None) };
    let (then, now) = tokio::try_join!(
        present::configuration(pve, Request::get(guest.path("config")).param("snapshot", &name)),
        present::configuration(pve, Request::get(guest.path("config"))),
    )?;
    let mut found = differences(&then, &now);
    found.retain(|found| !NOT.contains(&found.key.as_str()));
    Ok(Some((format!("{name} of {}", iso(time)), found)))
}
