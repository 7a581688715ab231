//! What decides about one guest: its disks, what of its node it uses, and what Proxmox says of its migration.

use std::collections::{BTreeMap, BTreeSet};

use super::cluster::{Cluster, Disk, Facts};
use crate::{
    pve::{
        self, GuestConfig, GuestKind, PropertyString,
        options::{is_drive, is_numbered, volume},
        size,
    },
    tool::*,
    tools::migrate::Before,
};

/// The facts, and whether it runs.
///
/// # Errors
/// Proxmox's.
pub async fn read(pve: &Reader<'_>, cluster: &Cluster, guest: &pve::Guest) -> Result<(Facts, bool)> {
    let (config, before) = tokio::join!(pve.config(guest), Before::read(pve, guest, ""));
    let (config, before) = (config?, before?);
    let mut facts = Facts { barred: barred(cluster, &before), ..Facts::default() };
    let mut bound = of_config(cluster, guest, &config, &mut facts);
    for disk in before.local_disks.iter().filter(|disk| !disk.cdrom || disk.is_cloudinit) {
        let (storage, _) = disk.volid.split_once(':').unwrap_or_default();
        match facts.disks.iter_mut().find(|known| known.volid == disk.volid) {
            Some(known) => (known.size, known.shared) = (disk.size, false),
            None => facts.disks.push(Disk {
                volid: disk.volid.clone(),
                storage: storage.to_owned(),
                shared: false,
                size: disk.size,
            }),
        }
    }
    if !before.local_resources.is_empty() {
        bound.push(format!("it uses devices of its node: {}", before.local_resources.join(", ")));
    }
    let fixed = before.not_live();
    if before.running && !fixed.is_empty() {
        bound.push(format!("it runs with mapped devices that cannot move live: {}", fixed.join(", ")));
    }
    if guest.hastate.as_deref() == Some("error") {
        bound.push("HA has given it up (error)".to_owned());
    }
    if facts.disks.iter().any(|disk| !disk.shared) {
        #[derive(Deserialize)]
        struct Snapshot {
            name: String,
        }
        let snapshots: Vec<Snapshot> = pve.get(guest.path("snapshot")).await?;
        facts.snapshots = snapshots.iter().any(|snapshot| snapshot.name != "current");
    }
    if let Some(disk) =
        facts.disks.iter().find(|disk| facts.snapshots && !disk.shared && !takes_snapshots(cluster, guest, disk))
    {
        bound.push(format!("it has snapshots, which cannot move with {}", disk.volid));
    }
    if let Some(disk) = facts.disks.iter().find(|disk| !disk.shared && is_linked(&disk.volid)) {
        bound.push(format!("its disk {} is a linked clone on local storage", disk.volid));
    }
    facts.bound = bound.into_iter().next();
    Ok((facts, before.running))
}

/// Disks, bridges, and what keeps the guest on its node, most urgent first.
fn of_config(cluster: &Cluster, guest: &pve::Guest, config: &GuestConfig, facts: &mut Facts) -> Vec<String> {
    let mut bound: Vec<String> = config.lock().map(|lock| format!("it is locked ({lock})")).into_iter().collect();
    let stores = cluster.nodes.get(&guest.node).map(|node| &node.stores);
    let is_shared = |storage: &str| stores.and_then(|stores| stores.get(storage)).is_some_and(|store| store.shared);
    for (key, value) in config.iter() {
        if is_numbered(key, "net") {
            facts.bridges.extend(PropertyString::parse(&value).get("bridge").map(str::to_owned));
        }
        if guest.kind == GuestKind::Lxc && is_numbered(key, "dev") {
            bound.push(format!("it uses a device of its node: {key}"));
        }
        if !is_drive(key) && !is_numbered(key, "unused") {
            continue;
        }
        let parts = PropertyString::parse(&value);
        let (volid, disc) = (volume(&value), parts.get("media") == Some("cdrom") && !value.contains("cloudinit"));
        let Some((storage, _)) = volid.split_once(':').filter(|_| !volid.starts_with('/')) else {
            let shared = guest.kind == GuestKind::Lxc && parts.get("shared") == Some("1");
            if volid != "none" && !volid.is_empty() && !shared {
                bound.push(format!("it uses {volid} of its node ({key})"));
            }
            continue;
        };
        let shared = is_shared(storage);
        if disc && !shared {
            bound.push(format!("it has {volid} of local storage in its CD drive: eject it first"));
            continue;
        }
        let size = parts.get("size").and_then(size::configured).filter(|_| !disc).unwrap_or_default();
        facts.disks.push(Disk { volid: volid.to_owned(), storage: storage.to_owned(), shared, size });
    }
    bound
}

/// Nodes that Proxmox names as impossible. Which storages they lack is found out otherwise: disks may go to others.
fn barred(cluster: &Cluster, before: &Before) -> BTreeMap<String, String> {
    let why = |node: &String| {
        let reasons = before.reasons(node);
        if let Some(first) = reasons.blocking_ha_resources.first() {
            let cause = first.cause.as_deref().unwrap_or("rule");
            return Some((node.clone(), format!("HA does not allow it ({cause}: {})", first.sid)));
        }
        let lacks = reasons.unavailable_resources.join(", ");
        (!lacks.is_empty()).then(|| (node.clone(), format!("lacks what is mapped into it: {lacks}")))
    };
    cluster.nodes.keys().filter_map(why).collect()
}

/// Whether snapshots go along when the disk is copied: those of qcow2 images and of ZFS do.
fn takes_snapshots(cluster: &Cluster, guest: &pve::Guest, disk: &Disk) -> bool {
    let store = cluster.nodes.get(&guest.node).and_then(|node| node.stores.get(&disk.storage));
    disk.volid.ends_with(".qcow2") || store.is_some_and(|store| store.plugin == "zfspool")
}

/// `local:9000/base-9000-disk-0.qcow2/100/vm-100-disk-0.qcow2`
fn is_linked(volid: &str) -> bool {
    base_of(volid).is_some()
}

/// The image on which a linked clone builds.
fn base_of(volid: &str) -> Option<String> {
    let (storage, rest) = volid.split_once(':')?;
    let at = rest.find("base-").or_else(|| rest.find("basevol-"))?;
    let end = at + rest[at..].find('/')?;
    Some(format!("{storage}:{}", &rest[..end]))
}

/// Images on local storage that linked clones build on stay with them.
pub fn bases(cluster: &mut Cluster, vmids: &BTreeSet<u32>) {
    let linked = cluster.guests.values().flat_map(|guest| guest.local().map(move |disk| (guest, disk)));
    let used: BTreeMap<(String, String), String> =
        linked.filter_map(|(guest, disk)| Some(((guest.node.clone(), base_of(&disk.volid)?), guest.words()))).collect();
    for guest in vmids.iter() {
        let Some(guest) = cluster.guests.get_mut(guest) else { continue };
        let clone = guest.local().find_map(|disk| used.get(&(guest.node.clone(), disk.volid.clone())));
        if let (Some(clone), None) = (clone, &guest.facts.bound) {
            guest.facts.bound = Some(format!("linked clones on local storage build on it: {clone}"));
        }
    }
}
