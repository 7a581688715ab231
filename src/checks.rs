//! What is looked at before a plan is shown: whether Proxmox would take its requests as things stand. Works on the requests
//! themselves, so that every tool is checked alike; knows nothing of tools. A check is a courtesy: what cannot be read is
//! not told, and Proxmox has the last word.

mod asked;
mod guests;
mod looks;
mod parameters;
mod places;
mod privileges;
mod room;

use futures::future::join_all;

use self::{asked::Asked, looks::Look};
use crate::{plan::Plan, pve::Reader};

/// What was looked at.
#[derive(Debug, Default)]
pub struct Checked {
    /// Found good.
    pub checked: Vec<String>,
    /// Why Proxmox would refuse.
    pub problems: Vec<String>,
    /// What it would take, and somebody may not want.
    pub warnings: Vec<String>,
}

impl Checked {
    fn good(text: impl Into<String>) -> Self {
        Self { checked: vec![text.into()], ..Self::default() }
    }
    fn problem(text: impl Into<String>) -> Self {
        Self { problems: vec![text.into()], ..Self::default() }
    }

    /// Adds what is not said yet.
    fn add(&mut self, other: Self) {
        for (all, more) in [
            (&mut self.checked, other.checked),
            (&mut self.problems, other.problems),
            (&mut self.warnings, other.warnings),
        ] {
            for text in more {
                if !all.contains(&text) {
                    all.push(text);
                }
            }
        }
    }
}

/// Looks at everything that the plan's requests depend on, all at once.
pub async fn run(pve: &Reader<'_>, plan: &Plan) -> Checked {
    let mut all =
        Checked { checked: plan.checked.clone(), problems: plan.problems.clone(), warnings: plan.warnings.clone() };
    // Proxmox named it when it was asked for a free one.
    all.add(plan.chosen_vmid.map(|vmid| Checked::good(format!("VMID {vmid} is free"))).unwrap_or_default());
    for request in &plan.requests {
        all.add(parameters::check(pve.api(), request).unwrap_or_default());
    }
    let mut looks = looks::of(plan);
    let asked = Asked::new(*pve);
    for look in room::of(&asked, plan).await {
        looks::add(&mut looks, look);
    }
    let found = join_all(looks.iter().map(|look| look_at(&asked, plan, look)));
    let (found, rights) = tokio::join!(found, privileges::check(&asked, pve.api(), &plan.requests));
    for one in found.into_iter().flatten() {
        all.add(one);
    }
    all.add(rights.unwrap_or_default());
    all
}

async fn look_at(pve: &Asked<'_>, plan: &Plan, look: &Look) -> Option<Checked> {
    match look {
        Look::Guest(guest) => guests::look(pve, plan, guest).await,
        Look::Node(node) => places::node(pve, node).await,
        Look::Storage { storage, node, content, bytes } => places::storage(pve, storage, node, content, *bytes).await,
        Look::Volume { volid, node } => places::volume(pve, volid, node).await,
        Look::Bridge { bridge, node } => places::bridge(pve, bridge, node).await,
        Look::FreeVmid(vmid) => places::free_vmid(pve, *vmid).await,
    }
}

#[cfg(test)]
mod tests;
