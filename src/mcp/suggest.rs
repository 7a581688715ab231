//! What could be written where somebody is typing: the values of a kind, read with the tools of the registry. Ranks and
//! cuts them; knows nothing of prompts and templates.

use std::{
    collections::{BTreeSet, HashMap},
    time::Duration,
};

use futures::future::join_all;
use serde_json::{Map, Value, json};
use tokio_util::sync::CancellationToken;

use super::{reference, resource_kinds::CLUSTER};
use crate::{
    call::{self, App, Context},
    error::Result,
};

/// Values that are offered at most: the protocol's limit.
const MOST: usize = 100;
/// Somebody is typing: what takes longer is not offered.
const PATIENCE: Duration = Duration::from_secs(5);
/// Rows that are asked for at most: what is not among them is found by typing more.
const ROWS: usize = 1000;
/// Storages whose volumes are read.
const STORAGES: usize = 4;

/// Where values come from.
#[derive(Debug, Clone, Copy)]
pub enum Source {
    /// Nothing is offered.
    Free,
    Fixed(&'static [&'static str]),
    Clusters,
    Nodes,
    /// VMIDs alone.
    Vmids,
    /// Names and VMIDs.
    Guests,
    Storages,
    Snapshots,
    /// What a guest is made of: templates by name, volumes with ISO images and container templates.
    Images,
    Pools,
    /// Users, their tokens, and groups.
    Users,
    Bridges,
    /// UPIDs, newest first.
    Tasks,
    Tools,
}

/// A question.
pub struct Ask<'a> {
    pub app: &'a App,
    pub source: Source,
    /// What was typed so far.
    pub typed: &'a str,
    /// What was chosen for other arguments.
    pub chosen: HashMap<String, String>,
    pub cancel: CancellationToken,
}

/// Values that fit, the best first.
#[derive(Debug, Default)]
pub struct Offer {
    pub values: Vec<String>,
    /// Of all that fit, where all are known.
    pub total: Option<usize>,
    pub has_more: bool,
}

/// What fits. Nothing where the cluster does not answer, or not in time.
pub async fn offer(ask: &Ask<'_>) -> Offer {
    let all = match tokio::time::timeout(PATIENCE, values(ask)).await {
        Ok(Ok(all)) => all,
        Ok(Err(error)) => {
            tracing::debug!("nothing to offer: {error}");
            return Offer::default();
        }
        Err(_) => return Offer::default(),
    };
    rank(all, ask.typed)
}

/// Values, and whether there are more that were not read.
struct All {
    values: Vec<String>,
    cut: bool,
}

impl From<Vec<String>> for All {
    fn from(values: Vec<String>) -> Self {
        Self { values, cut: false }
    }
}

/// Those that begin with what was typed, then those that contain it; each once, in the order they came.
fn rank(all: All, typed: &str) -> Offer {
    let typed = typed.to_lowercase();
    let mut seen = BTreeSet::new();
    let (mut begin, mut contain) = (Vec::new(), Vec::new());
    for value in all.values {
        let lower = value.to_lowercase();
        if !lower.contains(&typed) || !seen.insert(value.clone()) {
            continue;
        }
        if lower.starts_with(&typed) { begin.push(value) } else { contain.push(value) }
    }
    begin.append(&mut contain);
    let total = begin.len();
    begin.truncate(MOST);
    Offer { has_more: all.cut || total > MOST, total: (!all.cut).then_some(total), values: begin }
}

async fn values(ask: &Ask<'_>) -> Result<All> {
    Ok(match ask.source {
        Source::Free => Vec::new().into(),
        Source::Fixed(values) => values.iter().map(|value| (*value).to_owned()).collect::<Vec<_>>().into(),
        Source::Clusters => ask.app.names().into_iter().map(str::to_owned).collect::<Vec<_>>().into(),
        Source::Tools => reference::names(ask.app).into_iter().map(str::to_owned).collect::<Vec<_>>().into(),
        Source::Nodes => nodes(ask).await?.into(),
        Source::Vmids => guests(ask, &["vmid"]).await?,
        Source::Guests => guests(ask, &["name", "vmid"]).await?,
        Source::Storages => storages(ask).await?.into(),
        Source::Snapshots => snapshots(ask).await?.into(),
        Source::Images => images(ask).await?.into(),
        Source::Pools => texts(&ask.run("proxmox-list-pools", json!({})).await?["pools"], "poolid").into(),
        Source::Users => users(ask).await?.into(),
        Source::Bridges => bridges(ask).await?.into(),
        Source::Tasks => tasks(ask).await?,
    })
}

impl Ask<'_> {
    /// What was chosen for another argument.
    fn chosen(&self, name: &str) -> Option<&str> {
        self.chosen.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    async fn run(&self, tool: &str, args: Value) -> Result<Value> {
        let mut args = match args {
            Value::Object(args) => args,
            _ => Map::new(),
        };
        args.retain(|_, value| !value.is_null());
        if let Some(cluster) = self.chosen(CLUSTER) {
            args.insert(CLUSTER.to_owned(), cluster.into());
        }
        let context = Context { cancel: self.cancel.clone(), ..Context::default() };
        Ok(call::run(self.app, tool, args, &context).await?.data)
    }
}

/// One field of every row, as text.
fn texts(rows: &Value, field: &str) -> Vec<String> {
    rows.as_array().into_iter().flatten().filter_map(|row| text(&row[field])).collect()
}

fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) if !text.is_empty() => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

/// Where a storage was chosen, those that have it.
async fn nodes(ask: &Ask<'_>) -> Result<Vec<String>> {
    let Some(storage) = ask.chosen("storage") else {
        return Ok(texts(&ask.run("proxmox-list-nodes", json!({})).await?["nodes"], "node"));
    };
    let found = ask.run("proxmox-list-storage", json!({})).await?;
    let mut nodes = BTreeSet::new();
    for row in found["storages"].as_array().into_iter().flatten().filter(|row| row["storage"] == storage) {
        nodes.extend(row["nodes"].as_array().into_iter().flatten().filter_map(text));
    }
    Ok(nodes.into_iter().collect())
}

/// These fields of the guests that fit, VMs and containers in one order.
async fn guests(ask: &Ask<'_>, fields: &[&str]) -> Result<All> {
    let search = (!ask.typed.is_empty()).then_some(ask.typed);
    let args = json!({"search": search, "node": ask.chosen("node"), "pool": ask.chosen("pool"), "limit": ROWS});
    let (vms, containers) =
        futures::join!(ask.run("proxmox-list-vms", args.clone()), ask.run("proxmox-list-lxc", args));
    // Who may look at one kind only is offered that.
    let (vms, containers) = match (vms, containers) {
        (Err(error), Err(_)) => return Err(error),
        (vms, containers) => (vms.unwrap_or_default(), containers.unwrap_or_default()),
    };
    let rows = |list: &Value, key: &str| list[key].as_array().cloned().unwrap_or_default();
    let cut = [&vms, &containers].iter().any(|list| list["next_cursor"].is_string());
    let mut all = rows(&vms, "vms");
    all.extend(rows(&containers, "containers"));
    all.sort_by_key(|row| row["vmid"].as_u64());
    let values = fields.iter().flat_map(|field| all.iter().filter_map(move |row| text(&row[*field]))).collect();
    Ok(All { values, cut })
}

/// Where a node was chosen, those that it has.
async fn storages(ask: &Ask<'_>) -> Result<Vec<String>> {
    let found = ask.run("proxmox-list-storage", json!({})).await?;
    let node = ask.chosen("node");
    let here =
        |row: &&Value| node.is_none_or(|node| row["nodes"].as_array().into_iter().flatten().any(|name| name == node));
    let rows: Vec<Value> = found["storages"].as_array().into_iter().flatten().filter(here).cloned().collect();
    Ok(texts(&Value::Array(rows), "storage"))
}

/// Of the guest that was chosen.
async fn snapshots(ask: &Ask<'_>) -> Result<Vec<String>> {
    let Some(guest) = ask.chosen("vmid").or_else(|| ask.chosen("guest")) else { return Ok(Vec::new()) };
    let args = match guest.parse::<u32>() {
        Ok(vmid) => json!({"vmid": vmid}),
        Err(_) => json!({"name": guest}),
    };
    Ok(texts(&ask.run("proxmox-list-snapshots", args).await?["snapshots"], "name"))
}

async fn images(ask: &Ask<'_>) -> Result<Vec<String>> {
    let (vms, containers) = (ask.chosen("kind") != Some("container"), ask.chosen("kind") != Some("vm"));
    let mut values = Vec::new();
    if vms {
        let args = json!({"template": true, "limit": ROWS});
        values.extend(texts(&ask.run("proxmox-list-vms", args).await?["vms"], "name"));
    }
    let found = ask.run("proxmox-list-storage", json!({})).await?;
    let wanted: Vec<&str> = [(vms, "iso"), (containers, "vztmpl")].iter().filter(|(is, _)| *is).map(|w| w.1).collect();
    let mut reads = Vec::new();
    for row in found["storages"].as_array().into_iter().flatten() {
        let nodes: Vec<&str> = row["nodes"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        let node = match ask.chosen("node") {
            Some(node) => nodes.iter().find(|name| **name == node),
            None => nodes.first(),
        };
        let holds = |content: &str| row["content"].as_array().into_iter().flatten().any(|held| held == content);
        if let (Some(node), true) = (node, row["status"] == "available") {
            let contents = wanted.iter().filter(|content| holds(content));
            reads
                .extend(contents.map(
                    |content| json!({"node": node, "storage": row["storage"], "content": content, "limit": ROWS}),
                ));
        }
    }
    reads.truncate(STORAGES * wanted.len());
    let lists = join_all(reads.into_iter().map(|args| ask.run("proxmox-storage-content", args))).await;
    // A storage that cannot be read hides no other.
    values.extend(lists.into_iter().flatten().flat_map(|list| texts(&list["volumes"], "volid")));
    Ok(values)
}

async fn users(ask: &Ask<'_>) -> Result<Vec<String>> {
    let found = ask.run("proxmox-list-users", json!({})).await?;
    let (mut users, mut others) = (Vec::new(), BTreeSet::new());
    for row in found["users"].as_array().into_iter().flatten() {
        let Some(user) = text(&row["userid"]) else { continue };
        others.extend(texts_of(&row["tokens"]).map(|token| format!("{user}!{token}")));
        others.extend(texts_of(&row["groups"]).map(|group| format!("@{group}")));
        users.push(user);
    }
    users.extend(others);
    Ok(users)
}

fn texts_of(list: &Value) -> impl Iterator<Item = String> {
    list.as_array().into_iter().flatten().filter_map(text)
}

/// Of the node that was chosen, else of the first that is online.
async fn bridges(ask: &Ask<'_>) -> Result<Vec<String>> {
    let node = match ask.chosen("node") {
        Some(node) => Some(node.to_owned()),
        None => {
            let found = ask.run("proxmox-list-nodes", json!({})).await?;
            let mut rows = found["nodes"].as_array().into_iter().flatten();
            rows.find(|row| row["status"] == "online").and_then(|row| text(&row["node"]))
        }
    };
    Ok(texts(&ask.run("proxmox-list-bridges", json!({"node": node})).await?["bridges"], "bridge"))
}

/// Those that run before those that ended, of the guest or node where one was chosen.
async fn tasks(ask: &Ask<'_>) -> Result<All> {
    let vmid = ["vmid", "guest"].iter().find_map(|name| ask.chosen(name)?.parse::<u32>().ok());
    let args = json!({"node": ask.chosen("node"), "vmid": vmid, "limit": ROWS});
    let found = ask.run("proxmox-list-tasks", args).await?;
    let rows = found["tasks"].as_array().cloned().unwrap_or_default();
    let (running, ended): (Vec<_>, Vec<_>) = rows.into_iter().partition(|row| row["status"] == "running");
    let values = running.into_iter().chain(ended).filter_map(|row| text(&row["upid"])).collect();
    Ok(All { values, cut: found["next_cursor"].is_string() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_begins_so_comes_before_what_contains_it_and_each_once() {
        let values = ["web-02", "my-web", "db", "WEB-01", "web-02"].map(str::to_owned).to_vec();
        let offer = rank(values.into(), "web");
        assert_eq!((offer.values.join(" "), offer.total), ("web-02 WEB-01 my-web".to_owned(), Some(3)));
    }

    #[test]
    fn no_more_than_a_hundred_are_offered() {
        let values: Vec<String> = (0..250).map(|n| n.to_string()).collect();
        let offer = rank(values.into(), "");
        assert_eq!((offer.values.len(), offer.total, offer.has_more), (100, Some(250), true));
    }
}
