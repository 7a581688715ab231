//! The planner on clusters made at random: whatever they are like, what it promises holds.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::collections::{BTreeMap, BTreeSet};

use fastrand::Rng;

use super::{
    balance::{By, Goal, apart, balance, shares},
    cluster::{Cluster, Disk, Facts, Guest, Node, Rule, Store, What},
    constraints::{How, Limits},
    planner::{Move, Wishes, place},
};
use crate::pve::GuestKind;

const GIB: u64 = 1 << 30;
const KEPT: f64 = 0.1;

fn limits() -> Limits {
    Limits { keep_free: KEPT, local_disks: true, restart: true, storages: BTreeMap::new() }
}

fn store(shared: bool, plugin: &str, total: u64, avail: u64) -> Store {
    Store {
        shared,
        active: true,
        plugin: plugin.to_owned(),
        content: "images,rootdir".to_owned(),
        total: total * GIB,
        avail: avail * GIB,
    }
}

fn node(memory: u64) -> Node {
    let bridges = Some(BTreeSet::from(["vmbr0".to_owned()]));
    let stores = BTreeMap::from([("nas".to_owned(), store(true, "nfs", 1000, 900))]);
    Node { online: true, memory: memory * GIB, used: GIB, cpus: 16, bridges, stores, ..Node::default() }
}

fn guest(vmid: u32, at: &str, memory: u64) -> Guest {
    Guest {
        vmid,
        kind: GuestKind::Qemu,
        name: format!("g{vmid}"),
        node: at.to_owned(),
        running: true,
        memory: memory * GIB,
        used: memory * GIB / 2,
        cpus: 2,
        busy: 0.5,
        sid: None,
        facts: Facts::default(),
    }
}

fn disk(vmid: u32, storage: &str, shared: bool, size: u64) -> Disk {
    Disk { volid: format!("{storage}:vm-{vmid}-disk-0"), storage: storage.to_owned(), shared, size: size * GIB }
}

fn cluster(nodes: &[(&str, u64)], guests: Vec<Guest>) -> Cluster {
    Cluster {
        nodes: nodes.iter().map(|(name, memory)| ((*name).to_owned(), node(*memory))).collect(),
        guests: guests.into_iter().map(|guest| (guest.vmid, guest)).collect(),
        rules: Vec::new(),
    }
}

/// All of `a` to any other node.
fn off(cluster: &Cluster, from: &str) -> Wishes {
    let others: Vec<String> = cluster.nodes.keys().filter(|name| *name != from).cloned().collect();
    let here = cluster.guests.values().filter(|guest| guest.node == from);
    here.map(|guest| (guest.vmid, others.clone())).collect()
}

fn places(moves: &[Move]) -> Vec<(u32, &str)> {
    let mut places: Vec<(u32, &str)> = moves.iter().map(|one| (one.vmid, one.to.as_str())).collect();
    places.sort_unstable();
    places
}

/// A cluster of any kind: tight, lopsided, with nodes that are off, storages that are missing, rules and odd guests.
fn random(rng: &mut Rng) -> Cluster {
    let names: Vec<String> = (0..rng.usize(2..7)).map(|n| format!("n{n}")).collect();
    let mut all = Cluster::default();
    for name in &names {
        let mut node = node(rng.u64(8..128));
        node.online = name == "n0" || rng.u8(..10) > 0;
        node.maintenance = name != "n0" && rng.u8(..10) == 0;
        node.cpus = rng.u64(2..32);
        for (id, plugin) in [("lvm", "lvmthin"), ("zfs", "zfspool")] {
            if rng.u8(..4) > 0 {
                let total = rng.u64(50..2000);
                node.stores.insert(id.to_owned(), store(false, plugin, total, rng.u64(0..=total)));
            }
        }
        if rng.u8(..6) == 0 {
            node.bridges.get_or_insert_default().insert("vmbr1".to_owned());
        }
        if rng.u8(..5) == 0 {
            node.stores.remove("nas");
        }
        all.nodes.insert(name.clone(), node);
    }
    for vmid in 100..100 + rng.u32(0..60) {
        let mut one = guest(vmid, if rng.bool() { "n0" } else { &names[rng.usize(..names.len())] }, rng.u64(1..24));
        one.kind = if rng.u8(..3) == 0 { GuestKind::Lxc } else { GuestKind::Qemu };
        one.running = rng.u8(..4) > 0;
        one.cpus = rng.u64(1..20);
        one.sid = (rng.u8(..3) == 0).then(|| format!("vm:{vmid}"));
        let storage = ["nas", "lvm", "zfs"][rng.usize(..3)];
        one.facts.disks =
            (0..rng.usize(0..3)).map(|_| disk(vmid, storage, storage == "nas", rng.u64(1..300))).collect();
        one.facts.bridges.insert(if rng.u8(..8) == 0 { "vmbr1" } else { "vmbr0" }.to_owned());
        one.facts.snapshots = rng.u8(..6) == 0;
        if rng.u8(..10) == 0 {
            one.facts.replicas.insert(names[rng.usize(..names.len())].clone());
        }
        if rng.u8(..12) == 0 {
            one.facts.bound = Some("it uses devices of its node: hostpci0".to_owned());
        }
        if rng.u8(..8) == 0 {
            one.facts.barred.insert(names[rng.usize(..names.len())].clone(), "HA does not allow it".to_owned());
        }
        all.guests.insert(vmid, one);
    }
    let sids: Vec<String> = all.guests.values().filter_map(|guest| guest.sid.clone()).collect();
    for n in 0..rng.usize(0..4) {
        let of = sids.iter().filter(|_| rng.u8(..5) == 0).cloned().collect();
        let what = match n {
            0 => What::Apart,
            1 => What::Together,
            _ => What::Nodes {
                nodes: names
                    .iter()
                    .map(|name| (name.clone(), rng.i64(0..6)))
                    .filter(|(_, weight)| *weight < 3)
                    .collect(),
                strict: rng.bool(),
                failback: rng.bool(),
            },
        };
        all.rules.push(Rule { name: format!("r{n}"), sids: of, what });
    }
    all
}

/// Everything that has to be true once these moves are made, beside what was so before.
fn holds(cluster: &Cluster, moves: &[Move], seed: u64) {
    let mut taken: BTreeMap<(&str, &str), u64> = BTreeMap::new();
    let mut at: BTreeMap<u32, &str> = cluster.guests.values().map(|guest| (guest.vmid, guest.node.as_str())).collect();
    for one in moves {
        let (guest, target) = (&cluster.guests[&one.vmid], &cluster.nodes[&one.to]);
        at.insert(one.vmid, &one.to);
        let words = format!("seed {seed}, guest {}, to {}", one.vmid, one.to);
        assert!(target.online && !target.maintenance && one.to != guest.node, "{words}");
        assert!(guest.facts.bound.is_none() && !guest.facts.barred.contains_key(&one.to), "{words}");
        assert!(guest.kind == GuestKind::Lxc || guest.cpus <= target.cpus, "{words}");
        assert!(guest.facts.bridges.is_subset(target.bridges.as_ref().unwrap()), "{words}");
        let live = guest.running && guest.kind == GuestKind::Qemu;
        assert_eq!(one.fit.how == How::Live, live, "{words}");
        for disk in &guest.facts.disks {
            let copy = one.fit.copies.iter().find(|copy| copy.from == disk.storage);
            let store = target.stores.get(copy.map_or(&disk.storage, |copy| &copy.to));
            assert!(store.is_some_and(|store| store.active) && copy.is_some() != disk.shared, "{words}");
            if let Some(copy) = copy.filter(|_| !one.fit.replicated) {
                let shared = store.is_some_and(|store| store.shared);
                *taken.entry((if shared { "" } else { &one.to }, &copy.to)).or_default() += disk.size;
            }
        }
        let local = guest.local_bytes() > 0;
        let kept = !guest.facts.replicas.is_empty() || guest.facts.snapshots;
        assert!(!kept || one.fit.copies.iter().all(|copy| copy.from == copy.to), "{words}");
        assert!(!(live && local && guest.facts.snapshots && guest.facts.replicas.is_empty()), "{words}");
    }
    for (name, node) in cluster.nodes.iter().filter(|(name, _)| moves.iter().any(|one| one.to == **name)) {
        let here = |guest: &&Guest| guest.running && (guest.node == *name || at[&guest.vmid] == name);
        let promised: u64 = cluster.guests.values().filter(here).map(|guest| guest.memory).sum();
        let grew = moves.iter().any(|one| one.to == *name && cluster.guests[&one.vmid].running);
        assert!(!grew || promised as f64 <= node.memory as f64 * (1.0 - KEPT), "seed {seed}, memory of {name}");
        for (id, store) in &node.stores {
            let bytes = taken.get(&(if store.shared { "" } else { name }, id.as_str())).copied().unwrap_or_default();
            let most = store.avail.saturating_sub((store.total as f64 * KEPT) as u64);
            assert!(bytes <= most, "seed {seed}, room on {id} of {name}");
        }
    }
    for rule in &cluster.rules {
        let about: Vec<&Guest> = cluster.guests.values().filter(|guest| rule.is_about(guest)).collect();
        let moved = |guest: &&&Guest| moves.iter().any(|one| one.vmid == guest.vmid);
        for guest in about.iter().filter(moved) {
            let others = about.iter().filter(|other| other.vmid != guest.vmid);
            let with = others.clone().filter(|other| at[&other.vmid] == at[&guest.vmid]).count();
            match &rule.what {
                What::Apart => assert_eq!(with, 0, "seed {seed}: {}", rule.name),
                What::Together => assert_eq!(with, about.len() - 1, "seed {seed}: {}", rule.name),
                What::Nodes { nodes, strict, .. } => {
                    assert!(!strict || nodes.contains_key(at[&guest.vmid]), "seed {seed}: {}", rule.name);
                }
            }
        }
    }
}

#[test]
fn no_move_breaks_a_limit_and_every_guest_is_moved_or_told_why_not() {
    let mut moved = 0;
    for seed in 0..1500 {
        let all = random(&mut Rng::with_seed(seed));
        let wishes = off(&all, "n0");
        let placed = place(&all, &wishes, &limits());
        holds(&all, &placed.moves, seed);
        let stay = placed.stay.iter().map(|stay| stay.vmid);
        let mut told: Vec<u32> = placed.moves.iter().map(|one| one.vmid).chain(stay).collect();
        told.sort_unstable();
        assert_eq!(told, wishes.keys().copied().collect::<Vec<u32>>(), "seed {seed}");
        assert!(placed.stay.iter().all(|stay| stay.why.len() > 10), "seed {seed}: {:?}", placed.stay);
        moved += placed.moves.len();
    }
    assert!(moved > 3000, "{moved} moves are too few to prove anything");
}

#[test]
fn evening_out_breaks_no_limit_and_makes_nothing_worse() {
    let mut moved = 0;
    for seed in 0..600 {
        let mut all = random(&mut Rng::with_seed(seed));
        for (name, node) in &mut all.nodes {
            let here = all.guests.values().filter(|guest| guest.running && guest.node == *name);
            node.used = GIB + here.map(|guest| guest.used).sum::<u64>();
        }
        let names: BTreeSet<String> = all.nodes.keys().cloned().collect();
        let goal = Goal { by: By::Memory, tolerance: 0.1, max_moves: 4 };
        let even = balance(&all, &names, &limits(), &goal);
        holds(&all, &even.moves, seed);
        assert!(even.moves.len() <= 4, "seed {seed}");
        let givers: BTreeSet<&String> = even.moves.iter().map(|one| &all.guests[&one.vmid].node).collect();
        assert!(even.moves.iter().all(|one| !givers.contains(&one.to)), "seed {seed}: a node gives and takes");
        let before = apart(&shares(&all, &names, By::Memory));
        assert!(even.moves.is_empty() || apart(&even.after) <= before + 1e-9, "seed {seed}");
        moved += even.moves.len();
    }
    assert!(moved > 300, "{moved} moves are too few to prove anything");
}

#[test]
fn guests_spread_to_where_most_memory_is_left() {
    let all =
        cluster(&[("a", 64), ("b", 32), ("c", 64)], vec![guest(100, "a", 8), guest(101, "a", 8), guest(102, "a", 8)]);
    let placed = place(&all, &off(&all, "a"), &limits());
    assert_eq!(places(&placed.moves), [(100, "c"), (101, "c"), (102, "b")]);
}

#[test]
fn what_would_not_fit_by_spreading_is_packed_tightly() {
    // Spread, 20 and 12 fill the node that alone could have taken 30.
    let guests = vec![guest(100, "a", 30), guest(101, "a", 20), guest(102, "a", 12)];
    let mut all = cluster(&[("a", 128), ("b", 48), ("c", 25)], guests);
    all.nodes.get_mut("c").unwrap().used = 0;
    let placed = place(&all, &off(&all, "a"), &limits());
    assert_eq!(placed.stay.len(), 0, "{:?}", placed.stay);
    assert_eq!(places(&placed.moves), [(100, "b"), (101, "c"), (102, "b")]);
}

#[test]
fn a_guest_that_fits_nowhere_is_told_of_each_node() {
    let mut all = cluster(&[("a", 64), ("b", 16), ("c", 64), ("d", 64)], vec![guest(100, "a", 20)]);
    all.nodes.get_mut("c").unwrap().online = false;
    all.nodes.get_mut("d").unwrap().bridges = Some(BTreeSet::new());
    all.guests.get_mut(&100).unwrap().facts.bridges.insert("vmbr0".to_owned());
    let placed = place(&all, &off(&all, "a"), &limits());
    assert_eq!(
        placed.stay[0].why,
        "no node takes it: b: has 16 GiB of memory, and it wants 20 GiB; c: offline; d: has no bridge vmbr0"
    );
}

#[test]
fn local_disks_go_to_the_same_storage_else_to_the_one_most_like_it() {
    let mut one = guest(100, "a", 4);
    one.facts.disks = vec![disk(100, "lvm", false, 50)];
    let mut all = cluster(&[("a", 64), ("b", 64)], vec![one]);
    let put = |all: &mut Cluster, node: &str, id: &str, plugin: &str, avail: u64| {
        all.nodes.get_mut(node).unwrap().stores.insert(id.to_owned(), store(false, plugin, 1000, avail));
    };
    let to = |all: &Cluster| {
        let placed = place(all, &off(all, "a"), &limits());
        placed.moves.first().map(|one| one.fit.copies[0].to.clone()).ok_or_else(|| placed.stay[0].why.clone())
    };
    put(&mut all, "a", "lvm", "lvmthin", 500);
    put(&mut all, "b", "zfs", "zfspool", 800);
    put(&mut all, "b", "fast", "lvmthin", 300);
    put(&mut all, "b", "lvm", "lvmthin", 151);
    assert_eq!(to(&all), Ok("lvm".to_owned()));
    put(&mut all, "b", "lvm", "lvmthin", 149);
    assert_eq!(to(&all), Ok("fast".to_owned()));
    all.guests.get_mut(&100).unwrap().facts.snapshots = true;
    all.guests.get_mut(&100).unwrap().running = false;
    let why = to(&all).unwrap_err();
    assert_eq!(why, "no node takes it: b: too little room for its local disks: 50 GiB to copy, 49 GiB may be used");
}

#[test]
fn ha_is_heeded() {
    let managed = |vmid: u32, at: &str| Guest { sid: Some(format!("vm:{vmid}")), ..guest(vmid, at, 4) };
    let rule = |what: What| Rule {
        name: "r".to_owned(),
        sids: BTreeSet::from(["vm:100".to_owned(), "vm:101".to_owned()]),
        what,
    };
    let mut all = cluster(&[("a", 64), ("b", 64), ("c", 32)], vec![managed(100, "a"), managed(101, "b")]);
    all.rules = vec![rule(What::Apart)];
    assert_eq!(places(&place(&all, &off(&all, "a"), &limits()).moves), [(100, "c")]);
    all.rules = vec![rule(What::Together)];
    let placed = place(&all, &off(&all, "a"), &limits());
    assert_eq!(placed.stay[0].why, "HA keeps it together with VM 101 (g101), which is not to move");
    let nodes = |failback: bool| What::Nodes {
        nodes: BTreeMap::from([("a".to_owned(), 2), ("c".to_owned(), 1)]),
        strict: false,
        failback,
    };
    all.rules = vec![rule(nodes(true))];
    let why = &place(&all, &off(&all, "a"), &limits()).stay[0].why;
    assert_eq!(why, "no node takes it: b, c: the HA rule r would bring it back to a");
    all.nodes.get_mut("a").unwrap().maintenance = true;
    assert_eq!(places(&place(&all, &off(&all, "a"), &limits()).moves), [(100, "c")]);
    all.rules = vec![rule(nodes(false))];
    assert_eq!(places(&place(&all, &off(&all, "a"), &limits()).moves), [(100, "c")]);
}
