//! Few moves that make the load even: the one that helps most, then the next, until the nodes are close enough to one another.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    cluster::{Cluster, Guest, Node},
    constraints::{How, Ledger, Limits, bound},
    planner::Move,
};
use crate::tool::{Deserialize, JsonSchema};

/// What is made even.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum By {
    #[default]
    Memory,
    Cpu,
}

#[derive(Debug, Clone)]
pub struct Goal {
    pub by: By,
    /// Most that two nodes may be apart, of 1.
    pub tolerance: f64,
    pub max_moves: usize,
}

/// Moves, and the share of each node that is in use afterwards.
#[derive(Debug, Clone, Default)]
pub struct Balanced {
    pub moves: Vec<Move>,
    pub after: BTreeMap<String, f64>,
}

impl By {
    fn used(self, node: &Node) -> f64 {
        if self == Self::Memory { node.used as f64 } else { node.busy }
    }
    fn all(self, node: &Node) -> f64 {
        (if self == Self::Memory { node.memory as f64 } else { node.cpus as f64 }).max(1.0)
    }
    fn weight(self, guest: &Guest) -> f64 {
        if self == Self::Memory { guest.used as f64 } else { guest.busy }
    }
    pub fn word(self) -> &'static str {
        if self == Self::Memory { "memory" } else { "CPU" }
    }
}

/// Shares of all nodes that take part.
pub fn shares(cluster: &Cluster, names: &BTreeSet<String>, by: By) -> BTreeMap<String, f64> {
    let nodes = cluster.nodes.iter().filter(|(name, node)| names.contains(*name) && node.online && !node.maintenance);
    nodes.map(|(name, node)| (name.clone(), by.used(node) / by.all(node))).collect()
}

/// How far the busiest is from the idlest.
pub fn apart(shares: &BTreeMap<String, f64>) -> f64 {
    let most = shares.values().copied().fold(f64::MIN, f64::max);
    let least = shares.values().copied().fold(f64::MAX, f64::min);
    (most - least).max(0.0)
}

/// How uneven it is: the squares of the distances from the mean.
fn uneven(shares: &BTreeMap<String, f64>) -> f64 {
    let mean = shares.values().sum::<f64>() / shares.len().max(1) as f64;
    shares.values().map(|share| (share - mean).powi(2)).sum()
}

pub fn balance(cluster: &Cluster, names: &BTreeSet<String>, limits: &Limits, goal: &Goal) -> Balanced {
    let mut ledger = Ledger::new(cluster, limits);
    let mut now = shares(cluster, names, goal.by);
    let (mut moves, mut gave, mut took) = (Vec::<Move>::new(), BTreeSet::new(), BTreeSet::new());
    while moves.len() < goal.max_moves && apart(&now) > goal.tolerance {
        let mut best: Option<(f64, Move, BTreeMap<String, f64>)> = None;
        for guest in cluster.guests.values().filter(|guest| can_go(cluster, guest, limits, &moves)) {
            // A node that both gives and takes would need the moves to be made one after the other.
            if !now.contains_key(&guest.node) || took.contains(&guest.node) {
                continue;
            }
            for target in now.keys().filter(|name| !gave.contains(*name) && **name != guest.node) {
                let then = moved(cluster, &now, guest, target, goal.by);
                // A big guest on a small node can even out the rest and stand out itself.
                if apart(&then) > apart(&now) {
                    continue;
                }
                let score = uneven(&then);
                if score >= best.as_ref().map_or(uneven(&now) * 0.99, |(best, ..)| *best) {
                    continue;
                }
                let Ok(fit) = ledger.fit(guest, target) else { continue };
                if fit.how == How::Restart && !limits.restart {
                    continue;
                }
                let share = |shares: &BTreeMap<String, f64>, node: &str| {
                    format!("{:.0}", shares.get(node).copied().unwrap_or_default() * 100.0)
                };
                let part = |node: &str| format!("{node} from {} to {} %", share(&now, node), share(&then, node));
                let why = format!("{}, {}", part(&guest.node), part(target));
                best = Some((score, Move { vmid: guest.vmid, to: target.clone(), fit, why, along: None }, then));
            }
        }
        let Some((_, one, then)) = best else { break };
        if let Some(guest) = cluster.guests.get(&one.vmid) {
            ledger.put(guest, &one.to, &one.fit);
            gave.insert(guest.node.clone());
        }
        took.insert(one.to.clone());
        now = then;
        moves.push(one);
    }
    Balanced { moves, after: now }
}

fn can_go(cluster: &Cluster, guest: &Guest, limits: &Limits, moves: &[Move]) -> bool {
    guest.running
        && !moves.iter().any(|one| one.vmid == guest.vmid)
        && bound(guest, limits).is_none()
        && cluster.together(guest).len() == 1
}

/// The shares once the guest is there.
fn moved(cluster: &Cluster, now: &BTreeMap<String, f64>, guest: &Guest, to: &str, by: By) -> BTreeMap<String, f64> {
    let mut then = now.clone();
    for (name, sign) in [(guest.node.as_str(), -1.0), (to, 1.0)] {
        if let (Some(share), Some(node)) = (then.get_mut(name), cluster.nodes.get(name)) {
            *share = (*share + sign * by.weight(guest) / by.all(node)).max(0.0);
        }
    }
    then
}
