//! Backups: guests without a recent one, and guests that no backup job is for.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::json;

use super::{
    super::backups::store::{Store, contents, stores},
    check::{Check, GUESTS, STORAGES, Severity, Told},
    look::{DAY, Look, Several, date},
};
use crate::{
    error::{Error, Kind},
    pve::{PropertyString, Resource},
    tool::Deserialize,
};

pub const CHECKS: &[Check] = &[Check {
    name: "backups",
    api: &[
        "GET /cluster/backup-info/not-backed-up",
        "GET /nodes/{node}/storage/{storage}/content",
        "GET /nodes/{node}/{type}/{vmid}/config",
    ],
    sees: &[GUESTS, STORAGES],
    run: |look| Box::pin(backups(look)),
}];

/// A row of `GET /cluster/backup-info/not-backed-up`.
#[derive(Deserialize)]
struct Jobless {
    vmid: u32,
}

/// The newest backup of each guest.
struct Newest {
    of: BTreeMap<u32, u64>,
    /// A storage that backups can be made to: with the newest ones, else a shared one.
    storage: Option<String>,
    /// Every storage was read.
    whole: bool,
    /// Those of all guests are listed.
    seen: bool,
}

/// What is wrong with a guest's backups, worst first.
#[derive(PartialEq, Eq, PartialOrd, Ord, Clone, Copy)]
enum Lack {
    Everything,
    Backup,
    Recent,
    /// A job; whether there is a backup, nobody may know.
    JobUnseen,
    Job,
    YoungJob,
}

async fn backups(look: &Look<'_>) -> Told {
    let mut told = Told::default();
    let Some(guests) = told.unless("", look.guests()) else { return told };
    let jobless = look.get::<Vec<Jobless>>("/cluster/backup-info/not-backed-up");
    let (jobless, newest) = tokio::join!(jobless, newest(look));
    let jobless = told.unless("backup jobs", jobless);
    let jobless: Option<BTreeSet<u32>> = jobless.map(|rows| rows.into_iter().map(|row| row.vmid).collect());
    let (newest, unread) = newest;
    told.unchecked.extend(unread);
    let Some(newest) = newest else { return told };
    let limit = look.now.saturating_sub(look.args.backup_days * DAY);
    let made = made(look, guests.iter().filter(|guest| newest.of.get(&guest.vmid).is_none_or(|at| *at < limit))).await;
    let mut lacks: BTreeMap<Lack, Vec<(&Resource, String)>> = BTreeMap::new();
    for guest in guests.iter().filter(|guest| !guest.template) {
        let has_job = jobless.as_ref().map(|jobless| !jobless.contains(&guest.vmid));
        let last = newest.of.get(&guest.vmid).copied();
        let young = made.get(&guest.vmid).is_some_and(|made| *made >= limit);
        let lack = match (last, has_job) {
            (Some(last), Some(false)) if last >= limit => Lack::Job,
            (Some(last), _) if last >= limit => continue,
            (None, Some(false)) if young => Lack::YoungJob,
            (None, Some(false)) if !newest.seen => Lack::JobUnseen,
            (None, _) if young || !newest.seen => continue,
            (Some(_), _) => Lack::Recent,
            (None, Some(false)) => Lack::Everything,
            (None, _) => Lack::Backup,
        };
        let evidence = match (last, made.get(&guest.vmid).filter(|_| young)) {
            (Some(last), _) => format!("the newest backup is of {} ({} days)", date(last), look.days(last)),
            (None, Some(made)) => format!("made on {}", date(*made)),
            (None, None) if newest.seen => "no backup at all".to_owned(),
            (None, None) => "whether it has a backup is not known".to_owned(),
        };
        let job = if has_job == Some(false) { ", and it is in no backup job" } else { "" };
        lacks.entry(lack).or_default().push((guest, format!("{evidence}{job}")));
    }
    for (lack, mut guests) in lacks {
        if lack == Lack::Recent {
            guests.sort_by_key(|(guest, _)| newest.of.get(&guest.vmid).copied());
        }
        tell(look, &mut told, &newest, (lack, guests));
    }
    told
}

fn tell<'a>(look: &Look<'_>, told: &mut Told, newest: &Newest, (lack, guests): (Lack, Vec<(&'a Resource, String)>)) {
    let days = look.args.backup_days;
    let (severity, words) = match lack {
        Lack::Everything => (Severity::Warning, "no backup at all, and in no backup job".to_owned()),
        Lack::Backup => (Severity::Warning, "no backup at all".to_owned()),
        Lack::Recent => (Severity::Warning, format!("no backup in {days} days")),
        Lack::JobUnseen => (Severity::Warning, "in no backup job".to_owned()),
        Lack::Job => (Severity::Info, "in no backup job, though backed up".to_owned()),
        Lack::YoungJob => (Severity::Info, format!("made in the last {days} days, and in no backup job")),
    };
    let words = if newest.whole { words } else { format!("{words}, on the storages that could be read") };
    let help = |guest: &Resource| {
        if matches!(lack, Lack::JobUnseen | Lack::Job | Lack::YoungJob) {
            return ("proxmox-list-backup-jobs", json!({}));
        }
        let mut arguments = json!({"vmid": guest.vmid});
        if let Some(storage) = &newest.storage {
            arguments["storage"] = storage.as_str().into();
        }
        ("proxmox-backup-vm", arguments)
    };
    let help_all = Some(("proxmox-list-backup-jobs", json!({})));
    look.tell(told, Several { severity, guests, words: &words, help: &help, help_all });
}

/// Reads every storage that takes backups, a shared one once.
async fn newest(look: &Look<'_>) -> (Option<Newest>, Vec<(String, String)>) {
    let mut told = Told::default();
    let (stores, missing) = match look.within("", stores(look.pve, None)).await {
        Ok(found) => found,
        Err(e) => {
            told.unchecked("backups", e.to_string());
            return (None, told.unchecked);
        }
    };
    told.unchecked.extend(missing.into_iter().map(|why| ("backups".to_owned(), why)));
    let work = stores.iter().map(|store| async move { (store, backups_on(look, store).await) });
    let mut newest = Newest { of: BTreeMap::new(), storage: None, whole: true, seen: true };
    let mut best = None;
    for (store, answer) in look.side_by_side(work.collect()).await {
        let Some(rows) = told.unless(&format!("backups on {}", store.storage), answer) else { continue };
        let last = rows.iter().map(|(_, time)| *time).max();
        if best.is_none_or(|(shared, time)| (store.shared, last) > (shared, time)) {
            best = Some((store.shared, last));
            newest.storage = Some(store.storage.clone());
        }
        for (vmid, time) in rows {
            let known = newest.of.entry(vmid).or_default();
            *known = time.max(*known);
        }
    }
    newest.whole = told.unchecked.is_empty();
    newest.seen = look.may("/vms", &["VM.Backup"]).await || look.may("/storage", &["Datastore.Allocate"]).await;
    if !newest.seen {
        told.unchecked("backups", "only those of guests that this token has VM.Backup on are listed");
    }
    (Some(newest), told.unchecked)
}

async fn backups_on(look: &Look<'_>, store: &Store) -> Result<Vec<(u32, u64)>, Error> {
    let node = store.nodes.iter().find(|node| look.online().any(|online| online == *node));
    let Some(node) = node else { return Err(Error::new(Kind::Unavailable, "no node that has it is online")) };
    let rows = look.within(node, contents(look.pve, node, &store.storage, None)).await?;
    Ok(rows.into_iter().filter_map(|row| Some((row.vmid?, row.ctime?))).collect())
}

/// When these guests were made, as far as it is known: VMs have it in their configuration.
async fn made<'a>(look: &Look<'_>, guests: impl Iterator<Item = &'a Resource>) -> BTreeMap<u32, u64> {
    let vmids: Vec<u32> = guests.filter(|guest| !guest.template).map(|guest| guest.vmid).collect();
    if vmids.is_empty() {
        return BTreeMap::new();
    }
    let configs = look.configs().await;
    let ctime = |vmid: &u32| {
        let meta = configs.read.get(vmid)?.get("meta")?;
        Some((*vmid, PropertyString::parse(&meta).get("ctime")?.parse().ok()?))
    };
    vmids.iter().filter_map(ctime).collect()
}
