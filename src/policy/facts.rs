//! What the rules have to know of the guests that requests touch: read before anything is approved.

use std::collections::{BTreeMap, BTreeSet};

use futures::{StreamExt, stream};

use super::{
    reach::{Reach, Where},
    rules::Fact,
};
use crate::{
    error::Result,
    pve::{GuestConfig, Reader, Resource, Resources},
};

/// Guests read at the same time.
const AT_ONCE: usize = 16;

/// What is known of the guests that some requests touch.
#[derive(Debug, Default)]
pub struct Facts {
    guests: BTreeMap<u32, Known>,
}

/// A guest, with its configuration where that could be read.
#[derive(Debug, Default)]
pub struct Known {
    pub fact: Fact,
    pub config: Option<GuestConfig>,
}

impl Facts {
    /// Reads the configuration of every guest that is touched (a plan that has read it already is not charged again), and,
    /// where a guest's place or pool is not known otherwise, the list of guests. A guest that is not there has no facts:
    /// Proxmox says so soon enough.
    ///
    /// # Errors
    /// What cannot be read: then nobody can tell whether the guest is protected.
    pub async fn gather(pve: &Reader<'_>, reach: &Reach, pools: bool) -> Result<Self> {
        let unknown = reach.guests.values().any(Option::is_none);
        let wide = !reach.all_of.is_empty() || !reach.pools.is_empty();
        let from = reach.made.values().filter_map(|made| made.from);
        if reach.guests.is_empty() && !wide && from.clone().next().is_none() {
            return Ok(Self::default());
        }
        let list = match unknown || wide || pools || from.clone().next().is_some() {
            true => Some(pve.resources().await?),
            false => None,
        };
        let list = list.as_deref();
        let mut wanted: BTreeMap<u32, Option<Where>> = reach.guests.clone();
        for row in list.into_iter().flat_map(|list| list.iter()) {
            let node = reach.all_of.contains(&Some(row.node.to_string()));
            let pool = row.pool.as_deref().is_some_and(|pool| reach.pools.contains(pool));
            if node || pool {
                wanted.entry(row.vmid).or_default();
            }
        }
        let read = wanted.into_iter().map(|(vmid, at)| one(pve, list, vmid, at));
        let read: Vec<Result<Known>> = stream::iter(read).buffered(AT_ONCE).collect().await;
        let mut facts = Self::default();
        for known in read {
            let known = known?;
            facts.guests.insert(known.fact.vmid, known);
        }
        // Of the whole cluster's guests, and of those that are only copied, what the list says has to do.
        let listed: BTreeSet<u32> = from.collect();
        for row in list.into_iter().flat_map(|list| list.iter()) {
            if reach.all_of.contains(&None) || listed.contains(&row.vmid) {
                let known = || Known { fact: of_row(row), config: None };
                facts.guests.entry(row.vmid).or_insert_with(known);
            }
        }
        Ok(facts)
    }

    #[cfg(test)]
    pub(crate) fn known(guests: Vec<Fact>) -> Self {
        let known = guests.into_iter().map(|fact| (fact.vmid, Known { fact, config: None }));
        Self { guests: known.collect() }
    }

    pub fn get(&self, vmid: u32) -> Option<&Known> {
        self.guests.get(&vmid)
    }

    pub fn iter(&self) -> impl Iterator<Item = &Known> {
        self.guests.values()
    }
}

async fn one(pve: &Reader<'_>, list: Option<&Resources>, vmid: u32, at: Option<Where>) -> Result<Known> {
    let row = list.and_then(|list| list.vmid(vmid));
    let mut fact = row.map(of_row).unwrap_or_else(|| Fact { vmid, ..Fact::default() });
    let at = at.or_else(|| row.map(|row| Where { node: row.node.to_string(), kind: row.kind }));
    let Some(at) = at else { return Ok(Known { fact, config: None }) };
    let path = format!("/nodes/{}/{}/{vmid}/config", at.node, at.kind.path());
    let config = match pve.config_at(path).await {
        Ok(config) => config,
        Err(e) if e.is_not_found() => return Ok(Known { fact, config: None }),
        Err(e) => {
            return Err(
                e.hint("its configuration tells whether the guest is protected: without it, nothing is changed")
            );
        }
    };
    fact.node = Some(at.node);
    fact.name = config.get("name").or(config.get("hostname")).map(Into::into).or(fact.name);
    fact.protection = config.flag("protection");
    fact.tags = tags(&config.get("tags").unwrap_or_default());
    Ok(Known { fact, config: Some(config) })
}

fn of_row(row: &Resource) -> Fact {
    Fact {
        vmid: row.vmid,
        name: row.name.as_deref().map(str::to_owned),
        node: Some(row.node.to_string()),
        pool: row.pool.as_deref().map(str::to_owned),
        tags: row.tags().map(str::to_owned).collect(),
        protection: false,
    }
}

fn tags(text: &str) -> Vec<String> {
    text.split([';', ',', ' ']).filter(|tag| !tag.is_empty()).map(str::to_owned).collect()
}
