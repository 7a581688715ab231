//! A machine that exists and is to be as the call says: only what differs is changed, and put back where that can be.

use super::{
    machine::{After, managed, resized, started},
    wanted::Wanted,
};
use crate::{
    lanes::{At, Lane, Step},
    pve::{Edit, GuestConfig, options::is_drive, size},
    tool::*,
    tools::ha,
};

/// A machine, and what it is to be.
pub struct Present<'a> {
    pub guest: &'a Guest,
    pub wanted: &'a Wanted,
    pub ipconfig: Option<&'a str>,
    pub fixed: Option<&'a str>,
    pub node: Option<&'a str>,
    pub pool: Option<&'a str>,
    pub after: &'a After,
}

/// The lane that changes what differs, without steps where nothing does; the differences go to the plan.
///
/// # Errors
/// Proxmox's.
pub async fn lane(pve: &Reader<'_>, plan: &mut Plan, present: &Present<'_>) -> Result<Lane> {
    let Present { guest, wanted, after, .. } = *present;
    let config = pve.config(guest).await?;
    let (name, at) = (guest.name.as_deref().unwrap_or_default(), At::from(guest));
    let mut lane = Lane { stage: 1, ..Lane::of(name, &at) };
    let to = wanted.against(&config, present.ipconfig, false);
    plan.warnings.extend(to.problems.iter().map(|why| format!("{name}: {why}: it stays as it is")));
    if let Some(node) = present.node.filter(|node| *node != guest.node) {
        plan.warnings
            .push(format!("{name} is on {} and stays there; proxmox-migrate-vm moves it to {node}", guest.node));
    }
    if !to.set.is_empty() || !to.delete.is_empty() {
        let edit = to.set.iter().fold(Edit::default(), |edit, (key, value)| edit.set(key, value));
        let edit = to.delete.iter().fold(edit, Edit::delete);
        let edited = edit.step(Plan::new(""), guest, &config);
        plan.problems.extend(edited.problems);
        plan.changes.extend(edited.changes.into_iter().map(|mut change| {
            change.key = format!("{name}: {}", change.key);
            change
        }));
        let back = restored(&at, &config, &to.set, &to.delete);
        for (key, _) in to.set.iter().filter(|(key, _)| is_drive(key)) {
            plan.warnings.push(format!("{name}: {key} is new, and stays should anything fail"));
        }
        lane.steps.extend(edited.requests.into_iter().map(|request| {
            let step = Step::new(format!("changing {name}"), request);
            back.clone().into_iter().fold(step, Step::back)
        }));
        if guest.is_running() {
            plan.warnings.push(format!("{name} runs: what cannot be changed meanwhile waits for its next start"));
        }
    }
    for (disk, old, new) in &to.grow {
        change(plan, name, &format!("{disk} size"), Some(size::text(*old)), size::text(*new));
        plan.warnings.push(format!("{name}: {disk} stays larger should anything fail"));
        lane = lane.step(resized(name, &at, disk, *new));
    }
    // The nodes' own lists, where the guest is from, know nothing of pools.
    let old = pve.resources_now().await?.vmid(guest.vmid).and_then(|row| row.pool.as_deref().map(str::to_owned));
    if let Some(pool) = present.pool.filter(|pool| old.as_deref() != Some(*pool)) {
        change(plan, name, "pool", old.clone(), pool.to_owned());
        lane = lane.step(pooled(name, guest.vmid, (old.as_deref(), pool)));
    }
    let starts = after.start && !guest.is_running();
    if starts {
        change(plan, name, "status", Some(guest.status.clone()), "running".to_owned());
        lane = lane.step(started(name, &at));
    }
    if let Some(group) = &after.ha
        && !ha::is_managed(pve, guest).await?
    {
        let runs = starts || guest.is_running();
        change(plan, name, "ha", None, if runs { "started" } else { "stopped" }.to_owned());
        lane = lane.step(managed(name, &at, runs, group.as_deref()));
    }
    if lane.steps.is_empty() {
        return Ok(with_address(lane.about("unchanged", true), present));
    }
    if starts {
        let commands = After { run: Vec::new(), ..after.clone() };
        return Ok(commands.waits(lane, name, &at, (present.ipconfig, present.fixed)));
    }
    Ok(with_address(lane, present))
}

/// The address of its configuration, where it is not asked for one.
fn with_address(lane: Lane, present: &Present<'_>) -> Lane {
    match present.fixed {
        Some(address) => lane.about("address", address),
        None => lane,
    }
}

fn change(plan: &mut Plan, name: &str, key: &str, old: Option<String>, new: String) {
    plan.changes.push(crate::plan::Change { key: format!("{name}: {key}"), old, new: Some(new) });
}

/// Puts options back as they were. New drives stay: what is on them is not ours to destroy.
fn restored(at: &At, config: &GuestConfig, set: &[(String, String)], delete: &[String]) -> Option<Request> {
    let was = |key: &str| config.get(key).map(|old| old.into_owned());
    let keys = set.iter().map(|(key, _)| key.as_str()).filter(|key| !is_drive(key));
    let (mut request, mut gone) = (Request::put(at.path("config")), Vec::new());
    for key in keys.chain(delete.iter().map(String::as_str)) {
        match was(key) {
            Some(old) => request = request.param(key.to_owned(), old),
            None => gone.push(key),
        }
    }
    let request = request.maybe("delete", (!gone.is_empty()).then(|| gone.join(",")));
    (!request.params.is_empty()).then_some(request)
}

/// Moves it to a pool, and back to where it was.
fn pooled(name: &str, vmid: u32, (old, pool): (Option<&str>, &str)) -> Step {
    let into = |pool: &str| Request::put("/pools").param("poolid", pool).param("vms", vmid);
    let step = Step::new(format!("moving {name} to pool {pool}"), into(pool).param("allow-move", 1));
    step.back(match old {
        Some(old) => into(old).param("allow-move", 1),
        None => into(pool).param("delete", 1),
    })
}
