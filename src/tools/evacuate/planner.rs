//! Who goes where: guests in, moves out. The biggest first, each to the node where most stays free; if some find no place
//! that way, once more with each put where it fits most tightly. Asks nobody anything.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    cluster::{Cluster, Guest},
    constraints::{Fit, Ledger, Limits, bound, gib},
};

/// Who is to go, and the nodes to choose from for each.
pub type Wishes = BTreeMap<u32, Vec<String>>;

#[derive(Debug, Clone)]
pub struct Move {
    pub vmid: u32,
    pub to: String,
    pub fit: Fit,
    pub why: String,
    /// HA brings it along with this one.
    pub along: Option<u32>,
}

#[derive(Debug, Clone)]
pub struct Stay {
    pub vmid: u32,
    pub why: String,
}

#[derive(Debug, Clone, Default)]
pub struct Placed {
    /// In the order in which they are to be made.
    pub moves: Vec<Move>,
    pub stay: Vec<Stay>,
}

#[derive(Clone, Copy, PartialEq)]
enum Taste {
    Roomy,
    Tight,
}

/// Finds a place for everybody who has one.
pub fn place(cluster: &Cluster, wishes: &Wishes, limits: &Limits) -> Placed {
    let roomy = attempt(cluster, wishes, limits, Taste::Roomy);
    if roomy.stay.is_empty() {
        return roomy;
    }
    let tight = attempt(cluster, wishes, limits, Taste::Tight);
    if tight.stay.len() < roomy.stay.len() { tight } else { roomy }
}

fn attempt(cluster: &Cluster, wishes: &Wishes, limits: &Limits, taste: Taste) -> Placed {
    let mut ledger = Ledger::new(cluster, limits);
    let mut placed = Placed::default();
    for unit in units(cluster, wishes) {
        match together(&ledger, &unit, wishes, taste) {
            Ok(moves) => {
                for (guest, one) in unit.iter().zip(&moves) {
                    ledger.put(guest, &one.to, &one.fit);
                }
                placed.moves.extend(moves);
            }
            Err(stay) => placed.stay.extend(stay),
        }
    }
    placed.stay.sort_by_key(|stay| stay.vmid);
    placed
}

/// Those who go, in groups that HA keeps together; the biggest first.
fn units<'a>(cluster: &'a Cluster, wishes: &Wishes) -> Vec<Vec<&'a Guest>> {
    let mut seen = BTreeSet::new();
    let mut units = Vec::new();
    for guest in wishes.keys().filter_map(|vmid| cluster.guests.get(vmid)) {
        if !seen.contains(&guest.vmid) {
            let all = cluster.together(guest);
            let unit: Vec<&Guest> = all.iter().filter_map(|vmid| cluster.guests.get(vmid)).collect();
            seen.extend(all);
            units.push(unit);
        }
    }
    let size = |unit: &Vec<&Guest>| {
        let memory: u64 = unit.iter().filter(|guest| guest.running).map(|guest| guest.memory).sum();
        (memory, unit.iter().map(|guest| guest.local_bytes()).sum::<u64>())
    };
    units.sort_by_key(|unit| std::cmp::Reverse(size(unit)));
    units
}

/// One node for all of a group, or why there is none: nobody is left without a word.
fn together(ledger: &Ledger<'_>, unit: &[&Guest], wishes: &Wishes, taste: Taste) -> Result<Vec<Move>, Vec<Stay>> {
    let leave = |why: &dyn Fn(&Guest) -> String| {
        let asked = unit.iter().filter(|guest| wishes.contains_key(&guest.vmid));
        asked.map(|guest| Stay { vmid: guest.vmid, why: why(guest) }).collect::<Vec<Stay>>()
    };
    if let Some(other) = unit.iter().find(|guest| !wishes.contains_key(&guest.vmid)) {
        return Err(leave(&|_| format!("HA keeps it together with {}, which is not to move", other.words())));
    }
    for guest in unit {
        if let Some(why) = bound(guest, ledger.limits) {
            return Err(leave(&|other| match other.vmid == guest.vmid {
                true => why.clone(),
                false => format!("HA keeps it together with {}, which cannot move: {why}", guest.words()),
            }));
        }
    }
    let Some(targets) = unit.first().and_then(|guest| wishes.get(&guest.vmid)) else { return Ok(Vec::new()) };
    let mut fits: Vec<(&String, Vec<Fit>)> = Vec::new();
    let mut reasons: Vec<(String, Vec<&str>)> = Vec::new();
    for target in targets {
        match all_fit(ledger, unit, target) {
            Ok(found) => fits.push((target, found)),
            Err(why) => match reasons.iter_mut().find(|(known, _)| *known == why) {
                Some((_, nodes)) => nodes.push(target),
                None => reasons.push((why, vec![target])),
            },
        }
    }
    let told =
        || reasons.iter().map(|(why, nodes)| format!("{}: {why}", nodes.join(", "))).collect::<Vec<_>>().join("; ");
    let best = fits
        .iter()
        .rev()
        .max_by(|(_, a), (_, b)| rank(a, taste).partial_cmp(&rank(b, taste)).unwrap_or(std::cmp::Ordering::Equal));
    let Some((target, found)) = best else {
        return Err(leave(&|_| match targets.is_empty() {
            true => "there is no other node to go to".to_owned(),
            false => format!("no node takes it: {}", told()),
        }));
    };
    let why = why(found, fits.len(), targets.len(), taste);
    let leader = unit.first().map(|guest| guest.vmid);
    let moves = unit.iter().zip(found).map(|(guest, fit)| Move {
        vmid: guest.vmid,
        to: (*target).clone(),
        fit: fit.clone(),
        why: if Some(guest.vmid) == leader { why.clone() } else { "HA keeps them together".to_owned() },
        along: leader.filter(|leader| *leader != guest.vmid),
    });
    Ok(moves.collect())
}

/// Whether all of a group fit on one node, one after the other.
fn all_fit(ledger: &Ledger<'_>, unit: &[&Guest], target: &str) -> Result<Vec<Fit>, String> {
    let mut trial = ledger.clone();
    let mut fits = Vec::new();
    for guest in unit {
        let fit = trial.fit(guest, target)?;
        trial.put(guest, target, &fit);
        fits.push(fit);
    }
    Ok(fits)
}

/// Greater is better: little to copy, disks on storages of the same name, where HA likes it, then memory.
fn rank(fits: &[Fit], taste: Taste) -> (f64, f64, i64, f64) {
    let copies = || fits.iter().flat_map(|fit| &fit.copies);
    let bytes: u64 = copies().map(|copy| copy.bytes).sum();
    let other = copies().filter(|copy| copy.from != copy.to).count();
    let left = fits.last().map_or(0.0, |fit| fit.part_left);
    let priority = fits.iter().map(|fit| fit.priority).sum();
    (-(bytes as f64), -(other as f64), priority, if taste == Taste::Roomy { left } else { -left })
}

/// Why this node.
fn why(fits: &[Fit], possible: usize, asked: usize, taste: Taste) -> String {
    let left = gib(fits.last().map_or(0, |fit| fit.left));
    match (asked, possible) {
        (1, _) => format!("{left} of memory left there"),
        (_, 1) => format!("no other node takes it; {left} of memory left there"),
        _ if fits.iter().any(|fit| fit.replicated) => "its disks are replicated there".to_owned(),
        _ if fits.iter().any(|fit| fit.priority > 0) => "HA likes it there best".to_owned(),
        _ if taste == Taste::Roomy => format!("most memory left there: {left}"),
        _ => format!("fits most tightly there: {left} of memory left"),
    }
}
