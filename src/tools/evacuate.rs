//! Emptying a node, bringing its guests back, and making the load of nodes even: who goes where is decided at once, for all,
//! by what fits; how one guest is moved is the business of `migrate.rs`.

mod balance;
mod cluster;
mod constraints;
mod facts;
mod moves;
mod planner;
mod read;
mod rebalance;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;

use self::{
    cluster::Cluster,
    moves::{Bounds, counted},
    planner::{Placed, Wishes, place},
    rebalance::Rebalance,
};
use crate::tool::*;

pub const TOOLS: &[Entry] = &[Entry::action::<EvacuateNode>(), Entry::action::<Rebalance>()];

/// Move every guest off a node, live where possible, to nodes that have room; `back` brings them back afterwards.
#[derive(Deserialize, JsonSchema)]
struct EvacuateNode {
    node: String,
    /// Default all others.
    #[serde(default)]
    targets: Vec<String>,
    /// VMIDs to bring to the node instead.
    #[serde(default)]
    back: Vec<u32>,
    /// Copy disks on local storage.
    #[serde(default = "yes")]
    with_local_disks: bool,
    /// Containers may restart: they cannot move live.
    #[serde(default = "yes")]
    allow_restart: bool,
    /// Move none if one has to stay.
    #[serde(default)]
    all_or_nothing: bool,
    #[serde(flatten)]
    bounds: Bounds,
}

fn yes() -> bool {
    true
}

impl Tool for EvacuateNode {
    const NAME: &str = "proxmox-evacuate-node";
    const TITLE: &str = "Empty a node";
    const API: &[&str] = &read::API;
    const EXAMPLE: (&str, &str) =
        ("Empty pve2 for maintenance, whatever may restart", r#"{"node": "pve2", "confirm": true}"#);
}

impl Action for EvacuateNode {
    const EFFECT: Effect = Effect::Write;
    const CONTROL: Control = Control::new(14_400).confirmed().waiting();
    async fn plan(&self, pve: &Reader<'_>) -> Result<Plan> {
        let limits = self.bounds.limits(self.with_local_disks, self.allow_restart)?;
        let mut cluster = read::cluster(pve).await?;
        let wishes = self.wishes(&cluster)?;
        look(pve, &mut cluster, &wishes).await?;
        let mut placed = place(&cluster, &wishes, &limits);
        let mut plan = moves::plan(pve, &cluster, &mut placed, &self.bounds).await?;
        plan.summary = self.summary(&placed);
        let held = !placed.stay.is_empty() && (self.all_or_nothing || placed.moves.is_empty());
        let said: Vec<String> = placed.stay.iter().filter_map(|stay| told(&cluster, stay)).collect();
        Ok(match held {
            true => plan.check(false, String::new, || said.join("; ")),
            false => plan.warn_if(!said.is_empty(), || match said.len() {
                1 => "1 guest stays where it is: see refused".to_owned(),
                n => format!("{n} guests stay where they are: see refused"),
            }),
        }
        .about("node", self.node.as_str()))
    }
}

impl EvacuateNode {
    /// Who is to go, and to which nodes.
    fn wishes(&self, cluster: &Cluster) -> Result<Wishes> {
        known(cluster, "node", &self.node)?;
        for target in &self.targets {
            known(cluster, "targets", target)?;
        }
        if !self.back.is_empty() {
            if !self.targets.is_empty() {
                return Err(Error::bad_argument("targets: not with back: guests go to the node then"));
            }
            if let Some(vmid) = self.back.iter().find(|vmid| !cluster.guests.contains_key(vmid)) {
                return Err(Error::not_found(format!("back: there is no guest {vmid}")));
            }
            let away = self.back.iter().filter(|vmid| cluster.guests.get(vmid).is_some_and(|g| g.node != self.node));
            return Ok(away.map(|vmid| (*vmid, vec![self.node.clone()])).collect());
        }
        if cluster.nodes.get(&self.node).is_some_and(|node| !node.online) {
            return Err(Error::bad_argument(format!("node: {} is offline, and nothing moves off it", self.node))
                .hint("guests under high availability are started elsewhere by HA"));
        }
        let others = cluster.nodes.keys().filter(|name| **name != self.node);
        let chosen = others.filter(|name| self.targets.is_empty() || self.targets.contains(name));
        let chosen: Vec<String> = chosen.cloned().collect();
        let here = cluster.guests.values().filter(|guest| guest.node == self.node);
        Ok(here.map(|guest| (guest.vmid, chosen.clone())).collect())
    }

    fn summary(&self, placed: &Placed) -> String {
        let node = &self.node;
        let what = if self.back.is_empty() { format!("empty {node}") } else { format!("bring guests back to {node}") };
        let stay = match placed.stay.len() {
            0 => String::new(),
            n => format!("; {n} cannot"),
        };
        match placed.moves.len() {
            0 if placed.stay.is_empty() => format!("{what}: nothing has to move"),
            n => format!("{what}: move {n} ({}){stay}", counted(&placed.moves)),
        }
    }
}

/// # Errors
/// `NotFound` with the nodes there are.
fn known(cluster: &Cluster, field: &str, name: &str) -> Result<()> {
    if cluster.nodes.contains_key(name) {
        return Ok(());
    }
    let names: Vec<&str> = cluster.nodes.keys().map(String::as_str).collect();
    Err(Error::not_found(format!("{field}: no node '{name}' in this cluster"))
        .hint(format!("known: {}", names.join(", "))))
}

/// Reads what the planner has to know of those who are to go and of the nodes in question.
async fn look(pve: &Reader<'_>, cluster: &mut Cluster, wishes: &Wishes) -> Result<()> {
    let vmids: BTreeSet<u32> = wishes.keys().copied().collect();
    let homes = cluster.guests.values().filter(|guest| vmids.contains(&guest.vmid)).map(|guest| guest.node.clone());
    let names: BTreeSet<String> = homes.chain(wishes.values().flatten().cloned()).collect();
    read::nodes(pve, cluster, &names).await?;
    read::guests(pve, cluster, &vmids).await
}

fn told(cluster: &Cluster, stay: &planner::Stay) -> Option<String> {
    Some(format!("{} stays: {}", cluster.guests.get(&stay.vmid)?.words(), stay.why))
}
