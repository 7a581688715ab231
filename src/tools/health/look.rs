//! What all checks look with: the lists that several need, read once, and requests that end in time. A node that is offline is
//! not asked, one that did not answer is not asked again.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use futures::{StreamExt, stream};
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::{sync::OnceCell, time::timeout};

use super::{
    Health,
    check::{Finding, Severity, Told},
};
use crate::{
    error::{Error, Kind, Result},
    pve::{Guest, GuestConfig, NodeHere, Reader, Request, Resource, Resources, encode},
    safety_snapshot,
    tool::Deserialize,
};

/// The longest that one request may take.
const REQUEST: Duration = Duration::from_secs(10);
/// Requests at the same time, of one check.
const AT_ONCE: usize = 16;
pub const DAY: u64 = 86_400;

pub struct Look<'a> {
    pub pve: &'a Reader<'a>,
    pub args: &'a Health,
    /// By the cluster's clock.
    pub now: u64,
    /// All nodes, by name.
    pub nodes: Vec<NodeHere>,
    guests: Result<Arc<Resources>>,
    storages: Result<Vec<StorageRow>>,
    /// Nodes that did not answer, and why.
    silent: Mutex<BTreeMap<String, Error>>,
    configs: OnceCell<Configs>,
    permissions: OnceCell<Option<BTreeMap<String, BTreeSet<String>>>>,
}

/// A row of `GET /cluster/resources?type=storage`; bytes.
#[derive(Debug, Clone, Deserialize)]
pub struct StorageRow {
    pub storage: String,
    pub node: String,
    pub status: Option<String>,
    #[serde(default)]
    pub shared: bool,
    pub disk: Option<u64>,
    pub maxdisk: Option<u64>,
}

impl StorageRow {
    pub fn is_available(&self) -> bool {
        self.status.as_deref() == Some("available")
    }
}

/// The configurations of guests that were read.
#[derive(Default)]
pub struct Configs {
    pub read: BTreeMap<u32, GuestConfig>,
    unread: Vec<(String, String)>,
}

impl Configs {
    /// Notes which could not be read.
    pub fn tell(&self, told: &mut Told) {
        told.unchecked.extend(self.unread.iter().cloned());
    }
}

impl<'a> Look<'a> {
    /// Reads what most checks need.
    ///
    /// # Errors
    /// That not even the list of nodes can be had.
    pub async fn new(pve: &'a Reader<'a>, args: &'a Health) -> Result<Self> {
        let storages = Request::get("/cluster/resources").param("type", "storage");
        let (nodes, guests, storages) =
            tokio::join!(pve.nodes(), in_time(pve.resources_now()), in_time(pve.request(&storages)));
        let mut look = Self {
            pve,
            args,
            now: SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs()),
            nodes: nodes?,
            guests,
            storages,
            silent: Mutex::default(),
            configs: OnceCell::new(),
            permissions: OnceCell::new(),
        };
        let clock = look.nodes.iter().find(|node| node.is_online()).map(|node| node.node.clone());
        if let Some(node) = clock
            && let Ok(now) = look.within(&node, safety_snapshot::now(pve, &node)).await
        {
            look.now = now;
        }
        Ok(look)
    }

    /// Names of the nodes that are there.
    pub fn online(&self) -> impl Iterator<Item = &str> {
        self.nodes.iter().filter(|node| node.is_online()).map(|node| node.node.as_str())
    }

    fn is_offline(&self, node: &str) -> bool {
        self.nodes.iter().any(|known| known.node == node && !known.is_online())
    }

    /// All guests that can be seen.
    ///
    /// # Errors
    /// As [`Reader::get`].
    pub fn guests(&self) -> Result<&Resources> {
        self.guests.as_deref().map_err(Clone::clone)
    }

    /// All storages of all nodes that can be seen.
    ///
    /// # Errors
    /// As [`Reader::get`].
    pub fn storages(&self) -> Result<&[StorageRow]> {
        self.storages.as_deref().map_err(Clone::clone)
    }

    /// Whole days since then.
    pub fn days(&self, then: u64) -> u64 {
        self.now.saturating_sub(then) / DAY
    }

    /// A request that is for no node.
    ///
    /// # Errors
    /// As [`Reader::get`]; `Timeout`.
    pub async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T> {
        in_time(self.pve.get(path)).await
    }

    /// A request for a node.
    ///
    /// # Errors
    /// As [`Reader::get`]; `Unavailable`, without asking, where the node is known to be gone.
    pub async fn ask<T: DeserializeOwned>(&self, node: &str, request: &Request) -> Result<T> {
        self.within(node, self.pve.request(request)).await
    }

    /// As [`Look::ask`], for any work that asks this node.
    ///
    /// # Errors
    /// As [`Look::ask`].
    pub async fn within<T>(&self, node: &str, work: impl Future<Output = Result<T>>) -> Result<T> {
        if self.is_offline(node) {
            return Err(Error::new(Kind::Unavailable, "offline"));
        }
        if let Some(error) = self.silent().get(node) {
            return Err(error.clone());
        }
        let answer = in_time(work).await;
        if let Err(error) = &answer
            && matches!(error.kind(), Kind::Timeout | Kind::Unavailable)
        {
            self.silent().entry(node.to_owned()).or_insert_with(|| error.clone());
        }
        answer
    }

    fn silent(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, Error>> {
        self.silent.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks these nodes the same (`rest` follows `/nodes/{node}/`), side by side; notes which did not answer.
    pub async fn each<T: DeserializeOwned>(
        &self,
        told: &mut Told,
        nodes: impl Iterator<Item = &str>,
        rest: impl Fn(Request) -> Request,
        path: &str,
    ) -> Vec<(String, T)> {
        let asked = nodes.map(|node| {
            let request = rest(Request::get(format!("/nodes/{}/{path}", encode(node))));
            async move { (node.to_owned(), self.ask::<T>(node, &request).await) }
        });
        let asked: Vec<_> = asked.collect();
        let answers: Vec<_> = stream::iter(asked).buffered(AT_ONCE).collect().await;
        answers.into_iter().filter_map(|(node, answer)| Some((told.unless(&node, answer)?, node))).map(flip).collect()
    }

    /// Does the same with each, so many at once; in order.
    pub async fn side_by_side<T>(&self, work: Vec<impl Future<Output = T>>) -> Vec<T> {
        stream::iter(work).buffered(AT_ONCE).collect().await
    }

    /// The configurations of guests, a request each: running guests first, and no more than the call allows.
    pub async fn configs(&self) -> &Configs {
        self.configs.get_or_init(|| self.read_configs()).await
    }

    async fn read_configs(&self) -> Configs {
        let Ok(guests) = self.guests() else { return Configs::default() };
        let mut wanted: Vec<&Resource> = guests.iter().filter(|guest| !guest.template).collect();
        wanted.sort_by_key(|guest| (guest.status != "running", guest.vmid));
        let all = wanted.len();
        wanted.truncate(self.args.guests);
        let mut configs = Configs::default();
        if wanted.len() < all {
            let why = format!("the configuration of each is a request: `guests: {all}` reads them all");
            configs.unread.push((format!("{} of {all} guests", all - wanted.len()), why));
        }
        let work = wanted.iter().map(|guest| async {
            let answer = self.within(&guest.node, self.pve.config(&Guest::from(*guest))).await;
            (*guest, answer)
        });
        let mut missing: BTreeMap<(String, String), Vec<String>> = BTreeMap::new();
        for (guest, answer) in self.side_by_side(work.collect()).await {
            match answer {
                Ok(config) => drop(configs.read.insert(guest.vmid, config)),
                Err(e) => {
                    missing.entry((guest.node.to_string(), e.to_string())).or_default().push(guest.vmid.to_string());
                }
            }
        }
        configs.unread.extend(missing.into_iter().map(|((node, why), vmids)| match vmids.as_slice() {
            [vmid] if why != "offline" => (format!("guest {vmid}"), why),
            _ => (node, why),
        }));
        configs
    }

    /// Whether any of these privileges is held on that path, and what is below it. Where nobody says, it is.
    pub async fn may(&self, path: &str, privileges: &[&str]) -> bool {
        let held = self.permissions.get_or_init(|| async {
            let all: BTreeMap<String, BTreeMap<String, Value>> = self.get("/access/permissions").await.ok()?;
            Some(all.into_iter().map(|(path, held)| (path, held.into_keys().collect())).collect())
        });
        let Some(held) = held.await else { return true };
        let of = held.get(path).or_else(|| held.get("/"));
        of.is_some_and(|held| privileges.iter().any(|privilege| held.contains(*privilege)))
    }

    /// Tells the same of several guests: one by one where they are few.
    pub fn tell(&self, told: &mut Told, several: Several<'_>) {
        /// More than so many are told together.
        const EACH: usize = 3;
        /// And so many of them named.
        const NAMED: usize = 10;
        let Several { severity, guests, words, help, help_all } = several;
        if guests.len() <= EACH {
            for (guest, evidence) in guests {
                let evidence = match &guest.name {
                    Some(name) => format!("{name}: {evidence}"),
                    None => evidence,
                };
                let (tool, arguments) = help(guest);
                told.find(Finding::new(severity, label(guest), evidence).help(tool, &arguments));
            }
            return;
        }
        let named = if self.args.rows == 0 { guests.len() } else { NAMED };
        let names = guests.iter().take(named).map(|(guest, _)| match &guest.name {
            Some(name) => format!("{} ({name})", guest.vmid),
            None => guest.vmid.to_string(),
        });
        let mut names = names.collect::<Vec<_>>().join(", ");
        if guests.len() > named {
            names = format!("{names} and {} more", guests.len() - named);
        }
        let Some((tool, arguments)) = help_all.or_else(|| guests.first().map(|(guest, _)| help(guest))) else { return };
        let finding = Finding::new(severity, format!("{} guests", guests.len()), format!("{words}: {names}"));
        told.find(finding.help(tool, &arguments));
    }
}

/// The same of several guests.
pub struct Several<'a> {
    pub severity: Severity,
    /// Each with what is to be said of it alone. Worst first.
    pub guests: Vec<(&'a Resource, String)>,
    /// What is to be said of all.
    pub words: &'a str,
    pub help: &'a dyn Fn(&Resource) -> (&'static str, Value),
    /// For all of them, where one call does it.
    pub help_all: Option<(&'static str, Value)>,
}

/// `VM 100`
pub fn label(guest: &Resource) -> String {
    format!("{} {}", guest.kind, guest.vmid)
}

/// GiB, or TiB.
pub fn size(bytes: u64) -> String {
    let gib = bytes as f64 / f64::from(1 << 30);
    if gib >= 1024.0 { format!("{:.1} TiB", gib / 1024.0) } else { format!("{gib:.1} GiB") }
}

/// `2027-01-15`
pub fn date(unix: u64) -> String {
    super::super::time::iso(unix).chars().take(10).collect()
}

fn flip<A, B>((a, b): (A, B)) -> (B, A) {
    (b, a)
}

async fn in_time<T>(work: impl Future<Output = Result<T>>) -> Result<T> {
    timeout(REQUEST, work)
        .await
        .unwrap_or_else(|_| Err(Error::new(Kind::Timeout, format!("no answer within {} s", REQUEST.as_secs()))))
}
