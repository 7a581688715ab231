//! The guests of the cluster as `/cluster/resources` lists them: one request, shared, parsed once and briefly kept. For
//! what that list does not know yet there are the nodes' own lists.

mod flight;

use std::{
    borrow::Cow,
    fmt,
    ops::Deref,
    sync::{Arc, Mutex, OnceLock, PoisonError},
    time::Duration,
};

use futures::{StreamExt, stream};
use http::Method;
use serde::{Deserialize, Deserializer, Serialize, de};
use tokio::time::{Instant, timeout};

use self::flight::Flight;
use super::{Client, Guest, GuestKind, Request, Upid};
use crate::error::Result;

/// How long an answer is kept.
const KEEP: Duration = Duration::from_millis(1500);
/// `/cluster/resources` is this far behind at worst, as to names and states.
const BEHIND: Duration = Duration::from_secs(20);
/// How long one node may take to list its guests.
const NODE: Duration = Duration::from_secs(5);
/// Nodes asked for their guests at the same time.
const AT_ONCE: usize = 16;

/// A row of `GET /cluster/resources?type=vm`. Sizes are bytes, times seconds; what the server does not say is `None`.
#[derive(Debug, Clone, Deserialize, Serialize)]
pub struct Resource {
    #[serde(rename = "type", deserialize_with = "kind")]
    pub kind: GuestKind,
    #[serde(default)]
    pub vmid: u32,
    #[serde(default)]
    pub node: Box<str>,
    /// Absent where the server has not heard from the guest's node lately.
    pub name: Option<Box<str>>,
    /// `running`, `stopped`, `unknown` …
    #[serde(default = "unknown", deserialize_with = "word")]
    pub status: Cow<'static, str>,
    #[serde(default)]
    pub template: bool,
    /// Why it is locked: `backup`, `clone`, `migrate` …
    pub lock: Option<Box<str>>,
    /// Separated by `;`.
    pub tags: Option<Box<str>>,
    pub pool: Option<Box<str>>,
    /// State of the HA resource, where it is one.
    pub hastate: Option<Box<str>>,
    /// Share of its CPUs, 0 to 1.
    pub cpu: Option<f64>,
    pub maxcpu: Option<f64>,
    pub mem: Option<u64>,
    pub maxmem: Option<u64>,
    /// What it takes of the node's memory.
    pub memhost: Option<u64>,
    pub disk: Option<u64>,
    pub maxdisk: Option<u64>,
    pub diskread: Option<u64>,
    pub diskwrite: Option<u64>,
    pub netin: Option<u64>,
    pub netout: Option<u64>,
    #[serde(default, deserialize_with = "uptime")]
    pub uptime: Option<u64>,
}

impl Resource {
    /// Its tags, one by one.
    pub fn tags(&self) -> impl Iterator<Item = &str> {
        self.tags.iter().flat_map(|t| t.split([';', ',', ' '])).filter(|t| !t.is_empty())
    }
}

/// `openvz` is what old servers called containers.
fn kind<'de, D: Deserializer<'de>>(deserializer: D) -> Result<GuestKind, D::Error> {
    let word = word(deserializer)?;
    Ok(if matches!(&*word, "lxc" | "openvz") { GuestKind::Lxc } else { GuestKind::Qemu })
}

/// Just after its start a container's can be -1.
fn uptime<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
    Ok(Option::<i64>::deserialize(deserializer)?.map(|seconds| u64::try_from(seconds).unwrap_or(0)))
}

/// Words that thousands of rows share are not copied.
fn word<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Cow<'static, str>, D::Error> {
    struct Word;
    impl de::Visitor<'_> for Word {
        type Value = Cow<'static, str>;
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a word")
        }
        fn visit_str<E: de::Error>(self, text: &str) -> Result<Self::Value, E> {
            let known = ["running", "stopped", "unknown", "paused", "qemu", "lxc"].into_iter().find(|k| *k == text);
            Ok(known.map_or_else(|| Cow::Owned(text.to_owned()), Cow::Borrowed))
        }
        fn visit_unit<E: de::Error>(self) -> Result<Self::Value, E> {
            Ok(unknown())
        }
    }
    deserializer.deserialize_str(Word)
}

fn unknown() -> Cow<'static, str> {
    Cow::Borrowed("unknown")
}

/// All guests that the credentials may see, ordered by VMID.
#[derive(Debug, Default)]
pub struct Resources {
    rows: Vec<Resource>,
    by_name: OnceLock<Vec<u32>>,
}

impl Resources {
    /// From rows as the server lists them: other rows than guests' are dropped.
    pub fn new(mut rows: Vec<Resource>) -> Self {
        rows.retain(|r| r.vmid != 0);
        for row in &mut rows {
            row.name.take_if(|name| name.is_empty());
        }
        rows.sort_by_key(|r| r.vmid);
        Self { rows, by_name: OnceLock::new() }
    }

    pub fn vmid(&self, vmid: u32) -> Option<&Resource> {
        let at = self.rows.binary_search_by_key(&vmid, |r| r.vmid).ok()?;
        self.rows.get(at)
    }

    /// All that have exactly this name, ordered by VMID.
    pub fn named<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a Resource> + use<'a> {
        let name_of = |at: u32| self.rows.get(at as usize).and_then(|r| r.name.as_deref());
        let order = self.by_name.get_or_init(|| {
            let mut order: Vec<u32> = (0..).take(self.rows.len()).collect();
            order.sort_by_key(|at| name_of(*at));
            order
        });
        let from = order.partition_point(|at| name_of(*at) < Some(name));
        let count = order[from..].partition_point(|at| name_of(*at) <= Some(name));
        order[from..from + count].iter().filter_map(|at| self.rows.get(*at as usize))
    }
}

impl Deref for Resources {
    type Target = [Resource];
    fn deref(&self) -> &[Resource] {
        &self.rows
    }
}

/// The guests as the nodes themselves list them: current, at the price of two requests for each node.
#[derive(Debug, Default)]
pub struct Live {
    pub guests: Vec<Guest>,
    /// All nodes, silent ones too.
    pub nodes: Vec<String>,
    /// Nodes that are offline or did not answer, with why.
    pub silent: Vec<String>,
}

/// The shared answers of one cluster.
pub struct ResourceCache {
    cluster: Flight<Resources>,
    nodes: Flight<Live>,
    /// When this process last did something by which guests get, change or lose their names.
    renamed: Mutex<Option<Instant>>,
}

impl Default for ResourceCache {
    fn default() -> Self {
        Self { cluster: Flight::new(KEEP), nodes: Flight::new(KEEP), renamed: Mutex::default() }
    }
}

impl ResourceCache {
    /// The guests, as they were at most 1.5 s ago, and not before the last write of this process.
    ///
    /// # Errors
    /// The client's.
    pub async fn get(&self, client: &Client) -> Result<Arc<Resources>> {
        self.since(client, None).await
    }

    /// The guests, asked for no earlier than now.
    ///
    /// # Errors
    /// The client's.
    pub async fn fresh(&self, client: &Client) -> Result<Arc<Resources>> {
        self.since(client, Some(Instant::now())).await
    }

    pub(super) async fn since(&self, client: &Client, since: Option<Instant>) -> Result<Arc<Resources>> {
        let request = Request::get("/cluster/resources").param("type", "vm");
        let ask = || async { client.get(&request).await.map(Resources::new) };
        self.cluster.get(since, ask).await
    }

    /// The guests as the online nodes list them now.
    ///
    /// # Errors
    /// The client's, if even the list of nodes cannot be had. A silent node is no error.
    pub async fn live(&self, client: &Client) -> Result<Arc<Live>> {
        self.nodes.get(Some(Instant::now()), || live(client)).await
    }

    /// To be called after every write, when its answer is there or lost: nobody gets an answer from before it.
    pub fn wrote(&self, request: &Request) {
        self.changed(request.method == Method::DELETE || request.path.rsplit('/').next().is_some_and(names_guests));
    }

    /// To be called when a task has ended.
    pub fn ended(&self, upid: &Upid) {
        self.changed(upid.kind.strip_prefix("qm").or(upid.kind.strip_prefix("vz")).is_some_and(names_guests));
    }

    fn changed(&self, names: bool) {
        if names {
            *self.renamed.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
        }
        self.cluster.invalidate();
        self.nodes.invalidate();
    }

    /// True while `/cluster/resources` may not show yet the names that this process gave.
    pub(super) fn may_be_behind(&self) -> bool {
        let renamed = self.renamed.lock().unwrap_or_else(PoisonError::into_inner);
        renamed.is_some_and(|at| at.elapsed() < BEHIND)
    }
}

/// Whether an operation of this name (the end of a path, or a task type without its prefix) gives or changes names.
fn names_guests(operation: &str) -> bool {
    matches!(operation, "qemu" | "lxc" | "config" | "clone" | "rollback" | "create" | "restore" | "destroy")
}

#[derive(Deserialize)]
struct NodeRow {
    node: String,
    #[serde(default)]
    status: String,
}

/// A row of `GET /nodes/{node}/qemu` or `/lxc`.
#[derive(Deserialize)]
struct GuestRow {
    vmid: u32,
    name: Option<String>,
    #[serde(default)]
    status: String,
    #[serde(default)]
    template: bool,
    lock: Option<String>,
    tags: Option<String>,
}

async fn live(client: &Client) -> Result<Live> {
    let nodes: Vec<NodeRow> = client.get(&Request::get("/nodes")).await?;
    let names: Vec<String> = nodes.iter().map(|n| n.node.clone()).collect();
    let (online, offline): (Vec<_>, Vec<_>) = nodes.into_iter().partition(|n| n.status != "offline");
    let silent = offline.iter().map(|n| format!("{} (offline)", n.node)).collect();
    let mut live = Live { guests: Vec::new(), nodes: names, silent };
    let lists = online.into_iter().flat_map(|n| [(n.node.clone(), GuestKind::Qemu), (n.node, GuestKind::Lxc)]);
    let mut answers = stream::iter(lists)
        .map(|(node, kind)| async move {
            let request = Request::get(format!("/nodes/{node}/{}", kind.path()));
            (timeout(NODE, client.get::<Vec<GuestRow>>(&request)).await, node, kind)
        })
        .buffer_unordered(AT_ONCE);
    while let Some((answer, node, kind)) = answers.next().await {
        match answer {
            Ok(Ok(rows)) => live.guests.extend(rows.into_iter().map(|row| Guest {
                kind,
                vmid: row.vmid,
                node: node.clone(),
                name: row.name.filter(|n| !n.is_empty()),
                status: row.status,
                template: row.template,
                lock: row.lock,
                tags: row.tags,
                pool: None,
                hastate: None,
            })),
            Ok(Err(error)) => live.silent.push(format!("{node} ({error})")),
            Err(_) => live.silent.push(format!("{node} (nothing within {} s)", NODE.as_secs())),
        }
    }
    live.guests.sort_by_key(|g| g.vmid);
    live.silent.sort();
    // Both lists of a node fail alike.
    live.silent.dedup();
    Ok(live)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{error::Error, pve::from_slice};

    #[test]
    fn rows_are_read_as_the_server_writes_them() -> Result<(), Error> {
        let json = br#"[
            {"cpu":0,"disk":0,"id":"qemu/110","maxcpu":2,"maxmem":805306368,"name":"web-1","node":"pve","status":"stopped",
             "tags":"a;b","template":0,"type":"qemu","uptime":0,"vmid":110},
            {"id":"lxc/210","node":"pve","status":"running","type":"lxc","uptime":-1,"vmid":"210","name":"","template":"1","lock":null},
            {"id":"qemu/100","node":"pve","status":"unknown","type":"qemu","vmid":100,"new-in-10":{"a":[]}},
            {"id":"node/pve","node":"pve","status":"online","type":"node"}]"#;
        let rows: Vec<Resource> = from_slice(json).map_err(|e| Error::internal(e.to_string()))?;
        let rows = Resources::new(rows);
        let read: Vec<_> = rows.iter().map(|r| (r.vmid, r.kind, r.name.as_deref(), &*r.status, r.template)).collect();
        assert_eq!(
            read,
            [
                (100, GuestKind::Qemu, None, "unknown", false),
                (110, GuestKind::Qemu, Some("web-1"), "stopped", false),
                (210, GuestKind::Lxc, None, "running", true),
            ]
        );
        let web = rows.vmid(110).ok_or_else(|| Error::internal("110 is not there"))?;
        assert_eq!(rows.vmid(210).and_then(|r| r.uptime), Some(0));
        assert_eq!((web.tags().collect::<Vec<_>>(), web.maxmem), (vec!["a", "b"], Some(805_306_368)));
        Ok(())
    }

    #[test]
    fn all_of_one_name_are_found_and_no_others() -> Result<(), Error> {
        let rows = (0..3000).map(|n| {
            let name = if n % 1000 == 7 { "twin".into() } else { format!("vm-{n}") };
            format!(r#"{{"type":"qemu","vmid":{},"node":"n","name":"{name}"}}"#, 5000 - n)
        });
        let json = format!("[{}]", rows.collect::<Vec<_>>().join(","));
        let rows = Resources::new(from_slice(json.as_bytes()).map_err(|e| Error::internal(e.to_string()))?);
        let found = |name| rows.named(name).map(|r| r.vmid).collect::<Vec<_>>();
        assert_eq!((found("twin"), found("vm-2999"), found("vm-")), (vec![2993, 3993, 4993], vec![2001], vec![]));
        Ok(())
    }
}
