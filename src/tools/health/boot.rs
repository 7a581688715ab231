//! Guests that will not come back after a reboot of their node: not started at boot, or unable to start.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::json;

use super::{
    check::{Check, Finding, GUESTS, STORAGES, Severity, Told},
    look::{Look, Several, label},
};
use crate::{
    error::Result,
    pve::{
        Guest, GuestConfig, GuestKind, Request, Resource, encode,
        options::{is_drive, volume},
    },
    tool::Deserialize,
};

const CONFIG: &str = "GET /nodes/{node}/{type}/{vmid}/config";

pub const CHECKS: &[Check] = &[
    Check { name: "boot", api: &[CONFIG], sees: &[GUESTS], run: |look| Box::pin(boot(look)) },
    Check {
        name: "media",
        api: &[CONFIG, "GET /nodes/{node}/storage/{storage}/content"],
        sees: &[GUESTS, STORAGES],
        run: |look| Box::pin(media(look)),
    },
];

/// Whether HA starts it again.
fn is_kept_by_ha(guest: &Resource) -> bool {
    Guest::from(guest).is_ha_managed() && guest.hastate.as_deref() != Some("ignored")
}

async fn boot(look: &Look<'_>) -> Told {
    let mut told = Told::default();
    let Some(guests) = told.unless("", look.guests()) else { return told };
    let configs = look.configs().await;
    configs.tell(&mut told);
    let stays_off = |guest: &&Resource| {
        guest.status == "running"
            && !is_kept_by_ha(guest)
            && configs.read.get(&guest.vmid).is_some_and(|config| !config.flag("onboot"))
    };
    let evidence = "running, onboot is not set, and HA does not keep it";
    let guests: Vec<(&Resource, String)> =
        guests.iter().filter(stays_off).map(|guest| (guest, evidence.to_owned())).collect();
    let help = |guest: &Resource| {
        let tool = match guest.kind {
            GuestKind::Qemu => "proxmox-configure-vm",
            GuestKind::Lxc => "proxmox-configure-lxc",
        };
        (tool, json!({"vmid": guest.vmid, "params": {"onboot": true}}))
    };
    let words = "running, with neither onboot nor HA: they stay off when their node reboots";
    look.tell(&mut told, Several { severity: Severity::Warning, guests, words, help: &help, help_all: None });
    told
}

/// A row of `GET …/content`.
#[derive(Deserialize)]
struct Volume {
    volid: String,
}

/// VMs whose CD is gone do not start.
async fn media(look: &Look<'_>) -> Told {
    let mut told = Told::default();
    let Some(guests) = told.unless("", look.guests()) else { return told };
    let configs = look.configs().await;
    configs.tell(&mut told);
    let mut needed: BTreeMap<(&str, String), Vec<(&Resource, String, String)>> = BTreeMap::new();
    for guest in guests.iter() {
        let Some(config) = configs.read.get(&guest.vmid) else { continue };
        if guest.status != "running" && !config.flag("onboot") && !is_kept_by_ha(guest) {
            continue;
        }
        for (drive, storage, volid) in images(config) {
            needed.entry((&guest.node, storage)).or_default().push((guest, drive, volid));
        }
    }
    let work = needed.into_iter().map(|((node, storage), guests)| async move {
        let there = listed(look, node, &storage).await;
        (format!("ISO images of {storage} on {node}"), there, guests)
    });
    for (subject, there, guests) in look.side_by_side(work.collect()).await {
        let Some(there) = told.unless(&subject, there) else { continue };
        for (guest, drive, volid) in guests.into_iter().filter(|(.., volid)| !there.contains(volid)) {
            let name = guest.name.as_deref().unwrap_or_default();
            let evidence = format!("{name}: {drive} has {volid}, which is not there any more: it cannot start");
            let arguments = json!({"vmid": guest.vmid, "drive": drive});
            told.find(Finding::new(Severity::Warning, label(guest), evidence).help("proxmox-iso-eject", &arguments));
        }
    }
    told
}

/// Drives with an ISO image in them: drive, storage, volume.
fn images(config: &GuestConfig) -> Vec<(String, String, String)> {
    let image = |(key, value): (&str, std::borrow::Cow<'_, str>)| {
        let volid = volume(&value);
        let (storage, name) = volid.split_once(':')?;
        (is_drive(key) && name.starts_with("iso/")).then(|| (key.to_owned(), storage.to_owned(), volid.to_owned()))
    };
    config.iter().filter_map(image).collect()
}

async fn listed(look: &Look<'_>, node: &str, storage: &str) -> Result<BTreeSet<String>> {
    let path = format!("/nodes/{}/storage/{}/content", encode(node), encode(storage));
    let rows: Vec<Volume> = look.ask(node, &Request::get(path).param("content", "iso")).await?;
    Ok(rows.into_iter().map(|row| row.volid).collect())
}
