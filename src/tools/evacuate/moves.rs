//! From where guests are to go to a plan: a lane for each, made of what the tool that moves one guest would send.

use std::collections::{BTreeMap, BTreeSet};

use futures::{StreamExt, stream};
use serde_json::{Map, Value, json};

use super::{
    EvacuateNode, Rebalance,
    cluster::{Cluster, Guest as Known},
    constraints::{How, Limits, gib},
    planner::{Move, Placed, Stay},
};
use crate::{
    error::Kind,
    lanes::{At, Lane, Lanes, Out, Step, Then},
    pve::GuestKind,
    tool::*,
    tools::steps::{self, For},
};

/// Plans asked for at once.
const AT_ONCE: usize = 16;

/// What a caller may say of every kind of moving.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
pub struct Bounds {
    /// Moves at the same time.
    #[serde(default = "two")]
    #[schemars(range(min = 1, max = 32))]
    pub parallel: usize,
    /// Of them, to the same node.
    #[serde(default = "two")]
    #[schemars(range(min = 1, max = 32))]
    pub per_target: usize,
    /// Memory and storage left free on targets.
    #[serde(default = "ten")]
    #[schemars(range(min = 0, max = 90))]
    pub keep_free_percent: u32,
    /// VMID to from:to for its local disks, as undo names them.
    #[serde(default)]
    pub storages: BTreeMap<String, String>,
}

fn two() -> usize {
    2
}

fn ten() -> u32 {
    10
}

impl Bounds {
    /// # Errors
    /// `BadArgument` for `storages` that are no pairs.
    pub fn limits(&self, local_disks: bool, restart: bool) -> Result<Limits> {
        let mut storages = BTreeMap::new();
        for (vmid, pairs) in &self.storages {
            let id = vmid_of("storages", vmid)?;
            let pair = |pair: &str| pair.trim().split_once(':').map(|(from, to)| (from.to_owned(), to.to_owned()));
            let map: Option<BTreeMap<String, String>> = pairs.split(',').map(pair).collect();
            let wrong = || Error::bad_argument(format!("storages: expected from:to for guest {vmid}, got '{pairs}'"));
            storages.insert(id, map.ok_or_else(wrong)?);
        }
        Ok(Limits { keep_free: f64::from(self.keep_free_percent) / 100.0, local_disks, restart, storages })
    }
}

/// # Errors
/// `BadArgument`.
pub fn vmid_of(field: &str, text: &str) -> Result<u32> {
    text.trim().parse().map_err(|_| Error::bad_argument(format!("{field}: expected a VMID, got '{text}'")))
}

/// Makes the moves a plan, with a row for each that stays. A guest that the tool for one guest would not move stays, too.
///
/// # Errors
/// Proxmox's.
pub async fn plan(pve: &Reader<'_>, cluster: &Cluster, placed: &mut Placed, bounds: &Bounds) -> Result<Plan> {
    let asked: Vec<_> = placed.moves.iter().map(async |one| (one.vmid, lane(pve, cluster, one).await)).collect();
    let answers: Vec<_> = stream::iter(asked).buffered(AT_ONCE).collect().await;
    let mut lanes = Vec::new();
    for (vmid, answer) in answers {
        match answer? {
            Ok(lane) => lanes.push(lane),
            Err(why) => placed.stay.push(Stay { vmid, why }),
        }
    }
    // Those whom HA would bring along with one that stays.
    let gone: BTreeSet<u32> = lanes.iter().filter_map(|lane| lane.vmid).collect();
    for one in placed.moves.iter().filter(|one| gone.contains(&one.vmid)) {
        if let Some(leader) = one.along.filter(|leader| !gone.contains(leader)) {
            let why = format!("HA keeps it together with {leader}, which cannot move");
            placed.stay.push(Stay { vmid: one.vmid, why });
        }
    }
    placed.moves.retain(|one| gone.contains(&one.vmid) && one.along.is_none_or(|leader| gone.contains(&leader)));
    lanes.retain(|lane| placed.moves.iter().any(|one| Some(one.vmid) == lane.vmid));
    lanes.extend(placed.stay.iter().filter_map(|stay| stays(cluster, stay)));
    let plan = told(Plan::new("").undone(back(cluster, &placed.moves)), cluster, placed);
    if lanes.is_empty() {
        return Ok(plan);
    }
    Ok(plan.lanes(Lanes {
        parallel: bounds.parallel,
        per_group: Some(bounds.per_target),
        ..Lanes::new("guests", lanes)
    }))
}

/// Warns of what is felt by those who use the guests.
fn told(plan: Plan, cluster: &Cluster, placed: &Placed) -> Plan {
    let down: Vec<String> = placed
        .moves
        .iter()
        .filter(|one| one.fit.how == How::Restart)
        .filter_map(|one| {
            let name = &cluster.guests.get(&one.vmid)?.name;
            let bytes: u64 = one.fit.copies.iter().map(|copy| copy.bytes).sum();
            Some(format!("{name} (about {} s)", 10 + bytes / 100_000_000))
        })
        .collect();
    let returns = placed.stay.iter().any(|stay| stay.why.contains("would bring it back"));
    plan.warn_if(!down.is_empty(), || format!("containers are down while they move: {}", down.join(", "))).warn_if(
        returns,
        || {
            "what HA would bring back moves once its node is in maintenance: `ha-manager crm-command node-maintenance enable NODE` at a shell of the cluster".to_owned()
        },
    )
}

/// The lane of one guest, or why it stays after all.
async fn lane(pve: &Reader<'_>, cluster: &Cluster, one: &Move) -> Result<Result<Lane, String>> {
    let resources = pve.resources().await?;
    let (Some(facts), Some(row)) = (cluster.guests.get(&one.vmid), resources.vmid(one.vmid)) else {
        return Ok(Err("it is gone".to_owned()));
    };
    let guest = Guest::from(row);
    let doing = format!("moving {} to {}", facts.name, one.to);
    let (tool, args) = call(facts, one);
    let mut lane = Lane { vmid: Some(guest.vmid), group: Some(one.to.clone()), ..Lane::new(&facts.name) }
        .about("vmid", guest.vmid)
        .about("from", guest.node.as_str())
        .about("to", one.to.as_str())
        .about("how", one.fit.how.word())
        .about("size", size(facts, one))
        .about("why", one.why.as_str());
    lane.tools = vec![tool];
    if one.along.is_some() {
        let there = Then::Becomes { guest: At::from(&guest), status: None, node: Some(one.to.clone()) };
        return Ok(Ok(lane.step(Step::wait(doing, there))));
    }
    let single = match steps::of(pve, For { tool, doing: "moving", guest: &guest, args, seconds: 0 }).await {
        Ok(single) => single,
        Err(e) if e.kind() == Kind::Cancelled => return Err(e),
        Err(e) => return Ok(Err(e.to_string())),
    };
    if !single.problems.is_empty() {
        return Ok(Err(single.problems.join("; ")));
    }
    lane.steps = single.steps;
    lane.steps.iter_mut().for_each(|step| step.doing.clone_from(&doing));
    Ok(Ok(lane))
}

/// The call that moves this one guest.
fn call(guest: &Known, one: &Move) -> (&'static str, Map<String, Value>) {
    let mut arguments = Map::new();
    arguments.insert("target_node".to_owned(), one.to.clone().into());
    if let Some(pairs) = pairs(one) {
        arguments.insert("target_storage".to_owned(), pairs.into());
    }
    match guest.kind {
        GuestKind::Qemu => {
            if !one.fit.copies.is_empty() {
                arguments.insert("with_local_disks".to_owned(), true.into());
            }
            ("proxmox-migrate-vm", arguments)
        }
        GuestKind::Lxc => {
            if guest.running {
                arguments.insert("restart".to_owned(), true.into());
            }
            ("proxmox-migrate-lxc", arguments)
        }
    }
}

/// `local-lvm:tank`, where disks change their storage.
fn pairs(one: &Move) -> Option<String> {
    let other = one.fit.copies.iter().filter(|copy| copy.from != copy.to);
    let pairs: Vec<String> = other.map(|copy| format!("{}:{}", copy.from, copy.to)).collect();
    (!pairs.is_empty()).then(|| pairs.join(","))
}

/// What has to be sent: memory, and disks with their storage.
fn size(guest: &Known, one: &Move) -> String {
    let memory = (one.fit.how == How::Live).then(|| format!("{} memory", gib(guest.memory)));
    let disks = one.fit.copies.iter().map(|copy| {
        let storage = if copy.from == copy.to { copy.to.clone() } else { format!("{} to {}", copy.from, copy.to) };
        if one.fit.replicated { format!("changes on {storage}") } else { format!("{} on {storage}", gib(copy.bytes)) }
    });
    let parts: Vec<String> = memory.into_iter().chain(disks).collect();
    if parts.is_empty() { "configuration".to_owned() } else { parts.join(", ") }
}

fn stays(cluster: &Cluster, stay: &Stay) -> Option<Lane> {
    let guest = cluster.guests.get(&stay.vmid)?;
    let out = Some(Out::Refused(stay.why.clone()));
    let lane = Lane { vmid: Some(guest.vmid), out, ..Lane::new(&guest.name) };
    Some(lane.about("vmid", guest.vmid).about("from", guest.node.as_str()))
}

/// The call that puts everybody where they were.
fn back(cluster: &Cluster, moves: &[Move]) -> Undo {
    let origin = |one: &Move| cluster.guests.get(&one.vmid).map(|guest| guest.node.clone());
    let places: BTreeMap<u32, String> = moves.iter().filter_map(|one| Some((one.vmid, origin(one)?))).collect();
    let nodes: BTreeSet<&String> = places.values().collect();
    let mut storages = Map::new();
    let mut lost = Vec::new();
    let mut restart = false;
    for one in moves {
        let Some(guest) = cluster.guests.get(&one.vmid) else { continue };
        restart |= one.fit.how == How::Restart;
        match home(cluster, guest, one) {
            Ok(Some(pairs)) => drop(storages.insert(guest.vmid.to_string(), pairs.into())),
            Ok(None) => {}
            Err(to) => lost.push(format!("the disks of {} stay on {to}", guest.name)),
        }
    }
    let (tool, mut arguments) = match nodes.iter().next() {
        None => return Undo::never("nothing moves"),
        Some(node) if nodes.len() == 1 => {
            (EvacuateNode::NAME, json!({"node": node, "back": places.keys().collect::<Vec<_>>()}))
        }
        Some(_) => {
            let place: Map<String, Value> =
                places.iter().map(|(vmid, node)| (vmid.to_string(), node.as_str().into())).collect();
            (Rebalance::NAME, json!({"place": place}))
        }
    };
    if tool == Rebalance::NAME {
        arguments["with_local_disks"] = true.into();
        arguments["allow_restart"] = true.into();
    }
    if !storages.is_empty() {
        arguments["storages"] = storages.into();
    }
    let undo = Undo::call(tool, arguments).note_if(!lost.is_empty(), || lost.join("; "));
    undo.note_if(restart, || "containers restart once more".to_owned())
}

/// The storages that its disks came from, where that can be told; else the one on which they stay.
fn home(cluster: &Cluster, guest: &Known, one: &Move) -> Result<Option<String>, String> {
    let mut pairs = Vec::new();
    for copy in one.fit.copies.iter().filter(|copy| copy.from != copy.to) {
        let shared = cluster.nodes.get(&one.to).and_then(|node| node.stores.get(&copy.to)).is_some_and(|s| s.shared);
        let others = one.fit.copies.iter().filter(|other| other.to == copy.to).count() > 1;
        if shared || others || guest.facts.disks.iter().any(|disk| disk.storage == copy.to) {
            return Err(copy.to.clone());
        }
        pairs.push(format!("{}:{}", copy.to, copy.from));
    }
    Ok((!pairs.is_empty()).then(|| pairs.join(",")))
}

/// "3 guests live, 1 restarting, 2 switched off; 40 GiB of disks"
pub fn counted(moves: &[Move]) -> String {
    let count = |how: How| moves.iter().filter(|one| one.fit.how == how).count();
    let parts = [(How::Live, "live"), (How::Restart, "with a restart"), (How::Offline, "switched off")];
    let parts: Vec<String> =
        parts.iter().filter(|(how, _)| count(*how) > 0).map(|(how, word)| format!("{} {word}", count(*how))).collect();
    let bytes: u64 = moves.iter().flat_map(|one| &one.fit.copies).map(|copy| copy.bytes).sum();
    let disks = if bytes > 0 { format!("; {} of disks are copied", gib(bytes)) } else { String::new() };
    format!("{}{disks}", parts.join(", "))
}
