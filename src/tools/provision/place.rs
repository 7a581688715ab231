//! Which node each of several new guests goes to: of those that can have it the one with most memory that no running guest
//! may take, then one that is not busy, then the one with most room on its storage. Those placed already count as if they
//! ran. Counted is what guests may take and not what they take just now, so that a plan that is shown is the same a minute
//! later.

use std::{cmp::Ordering, collections::HashMap};

use futures::{StreamExt, stream};

use crate::{
    error::Kind,
    pve::{NodeHere, StorageHere, undecided},
    tool::*,
};

/// Nodes that are asked at the same time.
const AT_ONCE: usize = 16;
const GIB: u64 = 1 << 30;
/// Share of a node's CPUs above which it is passed over where another is as good.
const BUSY: f64 = 0.8;

/// What has to find a place.
#[derive(Debug, Clone, Copy)]
pub struct Wanted<'a> {
    pub node: Option<&'a str>,
    /// The only nodes that are possible, and why: what the guests are made of is there.
    pub only: Option<(&'a [String], &'a str)>,
    pub count: usize,
    /// Bytes, of each.
    pub memory: u64,
    pub disks: &'a [Disk<'a>],
    /// What the storages have to take: `images`, `rootdir`.
    pub content: &'a str,
}

#[derive(Debug, Clone, Copy)]
pub struct Disk<'a> {
    /// The node's best where none is given.
    pub storage: Option<&'a str>,
    pub bytes: u64,
}

/// Where one guest goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placed {
    pub node: String,
    /// One for each disk.
    pub storages: Vec<String>,
    /// Why there, where there was a choice.
    pub why: Option<String>,
    pub warning: Option<String>,
}

/// A node with what is left of it.
struct Candidate {
    node: NodeHere,
    free: Option<u64>,
    storages: Vec<StorageHere>,
    placed: usize,
}

/// What is left on storages: by name where they are shared, else by node and name.
#[derive(Default)]
struct Rooms(HashMap<(String, String), u64>);

/// Places for all of them, in order.
///
/// # Errors
/// `BadArgument` where nothing tells the nodes apart, `NotFound` and `Refused` with what each node lacks.
pub async fn choose(pve: &Reader<'_>, wanted: Wanted<'_>) -> Result<Vec<Placed>> {
    let (nodes, why) = nodes(pve, &wanted).await?;
    let asked = nodes.into_iter().map(|node| async move {
        let storages = pve.storages(&node.node, wanted.content).await;
        (node, storages)
    });
    let (mut candidates, mut silent) = (Vec::new(), Vec::new());
    let mut asked = stream::iter(asked).buffered(AT_ONCE);
    let promised = promised(pve).await?;
    while let Some((node, storages)) = asked.next().await {
        match storages {
            Ok(storages) => {
                let promised = promised.get(&node.node).copied().unwrap_or_default();
                let free = node.free().and(node.maxmem()).map(|all| all.saturating_sub(promised));
                candidates.push(Candidate { free, node, storages, placed: 0 });
            }
            Err(e) if e.kind() == Kind::Cancelled => return Err(e),
            Err(e) => silent.push(format!("{}: {e}", node.node)),
        }
    }
    if candidates.len() > 1 && candidates.iter().all(|c| c.free.is_none()) {
        let nodes: Vec<NodeHere> = candidates.into_iter().map(|c| c.node).collect();
        return Err(undecided(&nodes));
    }
    let alone = candidates.len() == 1 && silent.is_empty();
    let mut rooms = Rooms::default();
    let mut placed = Vec::new();
    for _ in 0..wanted.count {
        let mut lacks = silent.clone();
        let mut fitting = Vec::new();
        for (i, candidate) in candidates.iter().enumerate() {
            match rooms.find(pve, candidate, &wanted, alone) {
                Ok(storages) => fitting.push((i, storages)),
                Err(lack) => lacks.push(format!("{}: {lack}", candidate.node.node)),
            }
        }
        let most = fitting.iter().filter_map(|(i, _)| candidates[*i].free).max().unwrap_or_default();
        let best = fitting.into_iter().max_by(|(a, at_a), (b, at_b)| {
            let (a, b) = (&candidates[*a], &candidates[*b]);
            let room = |candidate: &Candidate, at: &[usize]| rooms.least(candidate, at);
            better(a, b, most)
                .then_with(|| room(a, at_a).cmp(&room(b, at_b)))
                .then_with(|| b.node.node.cmp(&a.node.node))
        });
        let Some((best, storages)) = best else { return Err(nowhere(&lacks)) };
        let mut one = described(&candidates[best], &storages, &rooms, &wanted);
        one.why = match &why {
            Some(why) if alone => Some(why.clone()),
            _ => one.why.filter(|_| !alone),
        };
        let candidate = &mut candidates[best];
        for (disk, at) in wanted.disks.iter().zip(&storages) {
            rooms.take(candidate, *at, disk.bytes);
        }
        candidate.free = candidate.free.map(|free| free.saturating_sub(wanted.memory));
        candidate.placed += 1;
        placed.push(one);
    }
    Ok(placed)
}

/// Bytes of memory that the running guests of each node may take.
async fn promised(pve: &Reader<'_>) -> Result<HashMap<String, u64>> {
    let mut all = HashMap::new();
    for guest in pve.resources().await?.iter().filter(|guest| &*guest.status == "running") {
        *all.entry(guest.node.to_string()).or_default() += guest.maxmem.unwrap_or_default();
    }
    Ok(all)
}

/// Tells where each goes and why, and what is tight there.
pub fn tell<'a>(plan: &mut Plan, names: impl Iterator<Item = &'a str>, places: &[Placed]) {
    for (name, place) in names.zip(places) {
        plan.checked.extend(place.why.iter().map(|why| format!("{name} on {why}")));
        let warning = place.warning.clone().filter(|words| !plan.warnings.contains(words));
        plan.warnings.extend(warning);
    }
}

/// The node of that name.
///
/// # Errors
/// `NotFound` with those there are, `Unavailable` where it is offline.
pub async fn online(pve: &Reader<'_>, node: &str) -> Result<NodeHere> {
    let node = pve.known_node(node).await?;
    match node.is_online() {
        true => Ok(node),
        false => Err(Error::new(Kind::Unavailable, format!("node: {} is offline", node.node))),
    }
}

/// The nodes that come into question; why, where it is but one and was not given.
async fn nodes(pve: &Reader<'_>, wanted: &Wanted<'_>) -> Result<(Vec<NodeHere>, Option<String>)> {
    let possible = |node: &str| match wanted.only {
        Some((only, why)) if !only.iter().any(|one| one == node) => {
            let words = format!("node: {node} is not possible: {why}");
            Err(Error::bad_argument(words).hint(format!("possible: {}", only.join(", "))))
        }
        _ => Ok(()),
    };
    if let Some(node) = wanted.node {
        possible(node)?;
        let node = online(pve, node).await?;
        return Ok((vec![node], None));
    }
    if let Some(node) = pve.default_node().filter(|node| possible(node).is_ok()) {
        return Ok((vec![pve.known_node(node).await?], Some(format!("{node} is the default node"))));
    }
    let mut nodes = pve.nodes().await?;
    nodes.retain(|node| node.is_online() && possible(&node.node).is_ok());
    let why = match (nodes.as_slice(), wanted.only) {
        ([], Some((only, why))) => {
            let words = format!("node: none is possible: {why}, and {} is offline", only.join(", "));
            return Err(Error::new(Kind::Unavailable, words));
        }
        ([], None) => return Err(Error::new(Kind::Unavailable, "node: none is online")),
        ([_], Some((_, why))) => Some(why.to_owned()),
        ([only], None) => Some(format!("{} is the only node up", only.node)),
        _ => None,
    };
    Ok((nodes, why))
}

/// Which is better, by memory and load. Those that have three quarters of the best one's free memory are alike in that.
fn better(a: &Candidate, b: &Candidate, most: u64) -> Ordering {
    let plenty = |c: &Candidate| c.free.is_some_and(|free| free >= most / 4 * 3);
    if !(plenty(a) && plenty(b)) {
        return a.free.cmp(&b.free);
    }
    let busy = |c: &Candidate| c.node.cpu.is_none_or(|load| load > BUSY);
    busy(b).cmp(&busy(a)).then_with(|| b.placed.cmp(&a.placed))
}

fn nowhere(lacks: &[String]) -> Error {
    Error::new(Kind::Refused, format!("node: none has room for it: {}", lacks.join("; ")))
        .hint("name another storage, a smaller disk, or a node")
}

fn described(candidate: &Candidate, storages: &[usize], rooms: &Rooms, wanted: &Wanted<'_>) -> Placed {
    let (node, free) = (&candidate.node.node, candidate.free);
    let mut facts = Vec::new();
    if let (Some(free), Some(all)) = (free, candidate.node.maxmem()) {
        facts.push(format!("{} of {} GiB memory not given to guests", free / GIB, all / GIB));
    }
    if let Some(cpu) = candidate.node.cpu {
        facts.push(format!("load {:.0} %", cpu * 100.0));
    }
    let mut names: Vec<String> = Vec::new();
    for at in storages {
        let storage = &candidate.storages[*at];
        if let Some(room) = rooms.left(candidate, *at).filter(|_| !names.contains(&storage.storage)) {
            facts.push(format!("{} GiB on {}", room / GIB, storage.storage));
        }
        names.push(storage.storage.clone());
    }
    let short = wanted.disks.iter().zip(storages).zip(&names).find_map(|((disk, at), name)| {
        let room = rooms.left(candidate, *at).filter(|room| *room < disk.bytes)?;
        Some(format!("{name} has {} GiB left on {node}, and gets a disk of {}", room / GIB, disk.bytes / GIB))
    });
    let memory = free.filter(|free| *free < wanted.memory).map(|free| {
        format!(
            "{node} has {:.1} GiB memory not given to guests, and gets a guest with {:.1}",
            gib(free),
            gib(wanted.memory)
        )
    });
    let warning: Vec<String> = memory.into_iter().chain(short).collect();
    Placed {
        node: node.clone(),
        storages: names,
        why: (!facts.is_empty()).then(|| format!("{node}: {}", facts.join(", "))),
        warning: (!warning.is_empty()).then(|| warning.join("; ")),
    }
}

fn gib(bytes: u64) -> f64 {
    bytes as f64 / GIB as f64
}

impl Rooms {
    /// A storage for each disk, by its place in the node's list. `anyhow`: also where there is not room enough, which Proxmox
    /// does not mind where volumes grow by and by.
    fn find(
        &self,
        pve: &Reader<'_>,
        candidate: &Candidate,
        wanted: &Wanted<'_>,
        anyhow: bool,
    ) -> Result<Vec<usize>, String> {
        let mut taken: HashMap<usize, u64> = HashMap::new();
        let mut chosen = Vec::new();
        for disk in wanted.disks {
            let left = |at: usize| {
                self.left(candidate, at).map(|room| room.saturating_sub(taken.get(&at).copied().unwrap_or_default()))
            };
            let enough = |at: usize| anyhow || left(at).is_none_or(|room| room >= disk.bytes);
            let at = match disk.storage {
                Some(name) => {
                    let Some(at) = candidate.storages.iter().position(|s| s.storage == name) else {
                        return Err(format!("no storage '{name}' that takes content '{}'", wanted.content));
                    };
                    at
                }
                None => {
                    let mut active: Vec<usize> =
                        (0..candidate.storages.len()).filter(|at| candidate.storages[*at].active).collect();
                    // The default, where it is one, else that of Proxmox's installer, else the one with most room.
                    let rank = |at: usize| {
                        let name = candidate.storages[at].storage.as_str();
                        (enough(at), pve.default_storage() == Some(name), name == "local-lvm", left(at))
                    };
                    active.sort_by_key(|at| std::cmp::Reverse(rank(*at)));
                    *active.first().ok_or_else(|| format!("no storage that takes content '{}'", wanted.content))?
                }
            };
            let storage = &candidate.storages[at];
            if !storage.active {
                return Err(format!("storage {} is not active", storage.storage));
            }
            if !enough(at) {
                let room = left(at).unwrap_or_default();
                return Err(format!("{} GiB left on {}, {} wanted", room / GIB, storage.storage, disk.bytes / GIB));
            }
            *taken.entry(at).or_default() += disk.bytes;
            chosen.push(at);
        }
        Ok(chosen)
    }

    fn key(candidate: &Candidate, at: usize) -> (String, String) {
        let storage = &candidate.storages[at];
        let node = if storage.shared { String::new() } else { candidate.node.node.clone() };
        (node, storage.storage.clone())
    }

    /// Bytes; `None` where the storage does not say.
    fn left(&self, candidate: &Candidate, at: usize) -> Option<u64> {
        let taken = self.0.get(&Self::key(candidate, at)).copied().unwrap_or_default();
        Some(candidate.storages[at].avail?.saturating_sub(taken))
    }

    /// What is left where least is left.
    fn least(&self, candidate: &Candidate, storages: &[usize]) -> Option<u64> {
        storages.iter().filter_map(|at| self.left(candidate, *at)).min()
    }

    fn take(&mut self, candidate: &Candidate, at: usize, bytes: u64) {
        *self.0.entry(Self::key(candidate, at)).or_default() += bytes;
    }
}
