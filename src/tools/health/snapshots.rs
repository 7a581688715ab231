//! Snapshots that have been there for long, and safety snapshots that nobody needs any more.

use serde_json::json;

use super::{
    super::snapshots::rows,
    check::{Check, Finding, GUESTS, Severity, Told},
    look::{DAY, Look, date, label},
};
use crate::{
    pve::{Guest, Resource},
    safety_snapshot::expires,
};

pub const CHECKS: &[Check] = &[Check {
    name: "snapshots",
    api: &["GET /nodes/{node}/{type}/{vmid}/config", "GET /nodes/{node}/{type}/{vmid}/snapshot"],
    sees: &[GUESTS],
    run: |look| Box::pin(snapshots(look)),
}];

/// A guest whose present state builds on a snapshot has `parent` in its configuration: only those are asked for theirs.
async fn snapshots(look: &Look<'_>) -> Told {
    let mut told = Told::default();
    let Some(guests) = told.unless("", look.guests()) else { return told };
    let configs = look.configs().await;
    configs.tell(&mut told);
    let has = |guest: &&Resource| configs.read.get(&guest.vmid).is_some_and(|config| config.get("parent").is_some());
    let work = guests.iter().filter(has).map(|guest| async move {
        let of = Guest::from(guest);
        (guest, look.within(&guest.node, rows(look.pve, &of)).await)
    });
    let limit = look.now.saturating_sub(look.args.snapshot_days * DAY);
    let mut found = Vec::new();
    for (guest, answer) in look.side_by_side(work.collect()).await {
        let Some((rows, _)) = told.unless(&label(guest), answer) else { continue };
        let name = guest.name.as_deref().unwrap_or_default();
        let (ours, others): (Vec<_>, Vec<_>) = rows
            .iter()
            .filter_map(|row| Some((row.name.as_str(), row.snaptime?, row.description.as_deref().and_then(expires))))
            .partition(|(.., expires)| expires.is_some());
        let expired = ours.iter().filter(|(.., expires)| expires.is_some_and(|when| when <= look.now)).count();
        if expired > 0 {
            let evidence = format!("{name}: {expired} safety snapshots of this program have expired");
            let finding = Finding::new(Severity::Info, label(guest), evidence);
            let finding = finding.help("proxmox-delete-expired-snapshots", &json!({"vmid": guest.vmid}));
            found.push((u64::MAX, finding));
        }
        let old: Vec<_> = others.iter().filter(|(_, time, _)| *time < limit).collect();
        // They come oldest first.
        let Some((oldest, time, _)) = old.first() else { continue };
        let more = if old.len() > 1 { format!(", the oldest of {} as old", old.len()) } else { String::new() };
        let evidence = format!("{name}: {oldest} is of {} ({} days){more}", date(*time), look.days(*time));
        let arguments = json!({"vmid": guest.vmid, "snapname": oldest});
        let finding = Finding::new(Severity::Warning, label(guest), evidence);
        found.push((*time, finding.help("proxmox-delete-snapshot", &arguments)));
    }
    found.sort_by_key(|(time, _)| *time);
    told.findings = found.into_iter().map(|(_, finding)| finding).collect();
    told
}
