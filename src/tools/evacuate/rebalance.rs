//! Making the load of nodes even, or putting guests where they are wanted: proposed, and done when confirmed.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::json;

use super::{
    balance::{By, Goal, apart, balance, shares},
    cluster::{Cluster, Guest as Known},
    known, look,
    moves::{self, Bounds, counted, vmid_of},
    planner::{Placed, Wishes, place},
    read, told,
};
use crate::{pve::GuestKind, tool::*};

/// Propose few live migrations that even out the load of nodes; confirmed, they are made.
#[derive(Deserialize, JsonSchema)]
pub struct Rebalance {
    /// Default all.
    #[serde(default)]
    nodes: Vec<String>,
    #[serde(default)]
    by: By,
    /// How far apart nodes may be.
    #[serde(default = "ten")]
    #[schemars(range(min = 1, max = 90))]
    tolerance_percent: u32,
    #[serde(default = "five")]
    #[schemars(range(min = 1, max = 100))]
    max_moves: usize,
    /// VMID to node: make these moves instead.
    #[serde(default)]
    place: BTreeMap<String, String>,
    /// VMs with disks on local storage, too.
    #[serde(default)]
    with_local_disks: bool,
    /// Containers, which restart, too.
    #[serde(default)]
    allow_restart: bool,
    #[serde(flatten)]
    bounds: Bounds,
}

fn ten() -> u32 {
    10
}

fn five() -> usize {
    5
}

impl Tool for Rebalance {
    const NAME: &str = "proxmox-rebalance";
    const TITLE: &str = "Even out the load";
    const API: &[&str] = &read::API;
    const EXAMPLE: (&str, &str) = (
        "Even out the memory of the nodes, as far as one move does it, local disks too",
        r#"{"tolerance_percent": 5, "max_moves": 1, "with_local_disks": true, "confirm": true}"#,
    );
}

impl Action for Rebalance {
    const EFFECT: Effect = Effect::Write;
    const CONTROL: Control = Control::new(14_400).confirmed().waiting();
    async fn plan(&self, pve: &Reader<'_>) -> Result<Plan> {
        let mut cluster = read::cluster(pve).await?;
        for node in &self.nodes {
            known(&cluster, "nodes", node)?;
        }
        match self.place.is_empty() {
            true => self.even(pve, &mut cluster).await,
            false => self.placed(pve, &mut cluster).await,
        }
    }
}

impl Rebalance {
    async fn even(&self, pve: &Reader<'_>, cluster: &mut Cluster) -> Result<Plan> {
        let limits = self.bounds.limits(self.with_local_disks, self.allow_restart)?;
        let names: BTreeSet<String> = match self.nodes.is_empty() {
            true => cluster.nodes.keys().cloned().collect(),
            false => self.nodes.iter().cloned().collect(),
        };
        let by = self.by;
        let before = shares(cluster, &names, by);
        let goal = Goal { by, tolerance: f64::from(self.tolerance_percent) / 100.0, max_moves: self.max_moves };
        let mean = before.values().sum::<f64>() / before.len().max(1) as f64;
        let busy = |node: &str| before.get(node).is_some_and(|share| *share > mean);
        if apart(&before) > goal.tolerance {
            let may = |guest: &Known| guest.running && (guest.kind == GuestKind::Qemu || self.allow_restart);
            let givers = cluster.guests.values().filter(|guest| may(guest) && busy(&guest.node));
            let all: Vec<String> = before.keys().cloned().collect();
            let wishes: Wishes = givers.map(|guest| (guest.vmid, all.clone())).collect();
            look(pve, cluster, &wishes).await?;
            // What nothing was read of stays.
            for guest in cluster.guests.values_mut().filter(|guest| !wishes.contains_key(&guest.vmid)) {
                guest.facts.bound = Some("nothing was read of it".to_owned());
            }
        }
        let balanced = balance(cluster, &names, &limits, &goal);
        let mut placed = Placed { moves: balanced.moves, stay: Vec::new() };
        let plan = moves::plan(pve, cluster, &mut placed, &self.bounds).await?;
        let left = apart(&balanced.after);
        let (percent, word) = (|share: f64| (share * 100.0).round(), by.word());
        let rows: Vec<_> = before
            .iter()
            .map(|(node, share)| {
                let after = balanced.after.get(node).copied().unwrap_or(*share);
                json!({"node": node, "percent_used": percent(*share), "percent_after": percent(after)})
            })
            .collect();
        let mut plan = plan.about("nodes", rows).warn_if(left > goal.tolerance, || {
            let why =
                if placed.moves.len() >= self.max_moves { "max_moves is reached" } else { "no other move would help" };
            format!("nodes stay {:.0} % apart: {why}", left * 100.0)
        });
        // Without figures: they move by themselves, and the plan would be another one for whoever said yes to it.
        plan.summary = match placed.moves.len() {
            0 => format!("even out {word}: nothing to move"),
            n => format!("even out {word}: move {n} ({})", counted(&placed.moves)),
        };
        Ok(plan
            .about("percent_apart", (apart(&before) * 100.0).round())
            .about("percent_apart_after", (left * 100.0).round()))
    }

    /// Each where it is wanted; all, or none.
    async fn placed(&self, pve: &Reader<'_>, cluster: &mut Cluster) -> Result<Plan> {
        let limits = self.bounds.limits(self.with_local_disks, self.allow_restart)?;
        let mut wishes = Wishes::new();
        for (vmid, node) in &self.place {
            let vmid = vmid_of("place", vmid)?;
            known(cluster, "place", node)?;
            let Some(guest) = cluster.guests.get(&vmid) else {
                return Err(Error::not_found(format!("place: there is no guest {vmid}")));
            };
            if guest.node != *node {
                wishes.insert(vmid, vec![node.clone()]);
            }
        }
        look(pve, cluster, &wishes).await?;
        let mut placed = place(cluster, &wishes, &limits);
        let mut plan = moves::plan(pve, cluster, &mut placed, &self.bounds).await?;
        plan.problems.extend(placed.stay.iter().filter_map(|stay| told(cluster, stay)));
        plan.summary = match placed.moves.len() {
            0 => "put guests where they are wanted: nothing to move".to_owned(),
            n => format!("put {n} guests where they are wanted ({})", counted(&placed.moves)),
        };
        Ok(plan)
    }
}
