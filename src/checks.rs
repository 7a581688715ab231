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

use futures::{StreamExt, stream};

use self::{asked::Asked, looks::Look};
use crate::{plan::Plan, pve::Reader};

/// Things looked at at the same time.
const AT_ONCE: usize = 16;
/// Of so many guests each is told by itself.
const FEW: usize = 8;

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
    let found: Vec<_> = looks.iter().map(|look| look_at(&asked, plan, look)).collect();
    let found = stream::iter(found).buffered(AT_ONCE).collect::<Vec<_>>();
    let (mut found, rights) = tokio::join!(found, privileges::check(&asked, pve.api(), &plan.requests));
    all.checked.extend(of_many(&looks, &mut found));
    for one in found.into_iter().flatten() {
        all.add(one);
    }
    all.add(rights.unwrap_or_default());
    all
}

/// What is the same good thing of many guests, said once: taken out of what was found of each.
fn of_many(looks: &[Look], found: &mut [Option<Checked>]) -> Vec<String> {
    let mut counts: Vec<(String, usize)> = Vec::new();
    let guests = looks.iter().filter(|look| matches!(look, Look::Guest(_))).count();
    if guests <= FEW {
        return Vec::new();
    }
    for (look, found) in looks.iter().zip(found) {
        let (Look::Guest(guest), Some(found)) = (look, found) else { continue };
        let name = format!("{} ", guest.name());
        found.checked.retain(|text| {
            let Some(rest) = text.strip_prefix(&name) else { return true };
            match counts.iter_mut().find(|(known, _)| known == rest) {
                Some((_, count)) => *count += 1,
                None => counts.push((rest.to_owned(), 1)),
            }
            false
        });
    }
    counts.into_iter().map(|(text, count)| format!("each of {count} guests {text}")).collect()
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
