//! Backup jobs, and the guests that are in none.

use serde_json::{Map, Value, json};

use crate::sandbox::{
    calendar,
    call::Call,
    config::Config,
    guest::Guest,
    params::split_list,
    router::Route,
    state::State,
    wire::{Answer, Answered, Refusal, gmtime},
};

pub const ROUTES: &[Route] = &[
    Route::get("/cluster/backup", list),
    Route::post("/cluster/backup", create),
    Route::get("/cluster/backup/{id}", read),
    Route::put("/cluster/backup/{id}", update),
    Route::delete("/cluster/backup/{id}", remove),
    Route::get("/cluster/backup/{id}/included_volumes", included_volumes),
    Route::get("/cluster/jobs/schedule-analyze", analyze),
    Route::get("/cluster/backup-info", |_| Ok(json!([{"subdir": "not-backed-up"}]).into())),
    Route::get("/cluster/backup-info/not-backed-up", not_backed_up),
];

/// Values that are numbers; truth is one too.
const NUMBERS: &[&str] = &[
    "all",
    "bwlimit",
    "enabled",
    "ionice",
    "lockwait",
    "pigz",
    "protected",
    "quiet",
    "remove",
    "repeat-missed",
    "stdexcludes",
    "stop",
    "stopwait",
    "zstd",
];
/// Property strings, which are shown taken apart.
const SHAPES: &[&str] = &["fleecing", "performance", "prune-backups"];

fn shown(id: &str, job: &Config, now: u64) -> Value {
    let mut row = Map::new();
    row.insert("id".to_owned(), id.into());
    row.insert("type".to_owned(), "vzdump".into());
    for (key, text) in job.iter() {
        let value = match key {
            key if NUMBERS.contains(&key) => text.parse::<i64>().map_or_else(|_| text.into(), Value::from),
            key if SHAPES.contains(&key) => {
                let pairs = text.split(',').filter_map(|part| part.split_once('='));
                pairs.map(|(key, value)| (key.to_owned(), value.into())).collect::<Map<_, _>>().into()
            }
            "exclude-path" => text.split('\0').collect::<Vec<_>>().into(),
            _ => text.into(),
        };
        row.insert(key.to_owned(), value);
    }
    if job.get("enabled") != Some("0")
        && let Some(next) = job.get("schedule").and_then(|schedule| calendar::next(schedule, now))
    {
        row.insert("next-run".to_owned(), next.into());
    }
    row.into()
}

fn list(call: &Call) -> Answered {
    let state = call.sandbox.state();
    let rows = state.backup_jobs.iter().map(|(id, job)| shown(id, job, call.now()));
    Ok(rows.collect::<Vec<_>>().into())
}

fn no_such_job(call: &Call) -> Refusal {
    let id = call.text("id");
    Refusal::param("id", format!("No such job '{id}'"))
}

fn find<'a>(state: &'a State, call: &Call) -> Option<&'a Config> {
    state.backup_jobs.iter().find(|(id, _)| id == call.text("id")).map(|(_, job)| job)
}

fn read(call: &Call) -> Answered {
    let state = call.sandbox.state();
    let job = find(&state, call).ok_or_else(|| no_such_job(call))?;
    Ok(shown(call.text("id"), job, call.now()).into())
}

/// The rules that hold between the options of a backup.
///
/// # Errors
/// PVE's 400.
pub(super) fn verify(all: bool, get: impl Fn(&str) -> Option<String>) -> Result<(), Refusal> {
    let given = |key: &str| get(key).is_some_and(|value| !value.is_empty());
    let conflict = |key: &str| Err(Refusal::param(key, "option conflicts with option 'vmid'"));
    match given("vmid") {
        true if all => conflict("all"),
        true if given("exclude") => conflict("exclude"),
        true if given("pool") => conflict("pool"),
        false if !all && !given("pool") && !given("exclude") && get("stop").as_deref() != Some("1") => {
            Err(Refusal::param("vmid", "property is missing"))
        }
        _ => Ok(()),
    }
}

fn only_root(call: &Call) -> Result<(), Refusal> {
    for key in ["tmpdir", "dumpdir", "script"] {
        if call.get(key).is_some() && call.who.full() != "root@pam" {
            return Err(Refusal::param(key, "Only root may set this option."));
        }
    }
    Ok(())
}

/// The parameters that become lines of jobs.cfg; the old way of giving a time is turned into the new one.
fn settings(call: &Call) -> Config {
    let own = |name: &str| !matches!(name, "id" | "delete" | "starttime" | "dow" | "exclude-path");
    let mut job: Config = call.params.iter().filter(|(name, _)| own(name)).collect();
    let paths = call.params.list("exclude-path");
    if !paths.is_empty() {
        job.set("exclude-path", paths.join("\0"));
    }
    if let Some(time) = call.get("starttime") {
        let days = call.get("dow").map(|days| format!("{days} ")).unwrap_or_default();
        job.set("schedule", format!("{days}{time}"));
    }
    job
}

fn create(call: &Call) -> Answered {
    only_root(call)?;
    let mut state = call.sandbox.state();
    let id = match call.get("id") {
        Some(id) => id.to_owned(),
        None => format!("backup-{}", &state.random_uuid()[..13]),
    };
    if state.backup_jobs.iter().any(|(other, _)| *other == id) {
        return Err(Refusal::failed(format!("Job '{id}' already exists")));
    }
    let mut job = settings(call);
    verify(job.flag("all"), |key| job.get(key).map(str::to_owned))?;
    if !job.has("schedule") {
        return Err(Refusal::param("schedule", "property is missing and it is not optional"));
    }
    if job.has("exclude") && !job.has("pool") {
        job.set("all", "1");
    }
    if !job.has("enabled") {
        job.set("enabled", "1");
    }
    state.backup_jobs.push((id, job));
    Ok(Answer::null())
}

fn update(call: &Call) -> Answered {
    only_root(call)?;
    let mut state = call.sandbox.state();
    let found = state.backup_jobs.iter_mut().find(|(id, _)| id == call.text("id"));
    let (_, job) = found.ok_or_else(|| Refusal::failed("no such vzdump job"))?;
    let mut changed = job.clone();
    for key in call.list("delete") {
        changed.remove(key);
    }
    let new = settings(call);
    for (key, value) in new.iter() {
        changed.set(key, value);
    }
    // One way of choosing the guests takes the place of another.
    let ways: &[&str] = match (new.has("vmid"), new.has("pool"), new.flag("all")) {
        (true, ..) => &["all", "exclude", "pool"],
        (_, true, _) => &["all", "vmid"],
        (_, _, true) => &["vmid", "pool"],
        _ => &[],
    };
    for key in ways {
        changed.remove(key);
    }
    verify(changed.flag("all"), |key| changed.get(key).map(str::to_owned))?;
    *job = changed;
    Ok(Answer::null())
}

fn remove(call: &Call) -> Answered {
    let id = call.text("id");
    let mut state = call.sandbox.state();
    let at = state.backup_jobs.iter().position(|(other, _)| other == id);
    // The inner refusal comes through as the text of an outer one.
    let at =
        at.ok_or_else(|| Refusal::failed(format!("400 Parameter verification failed.\nid: No such job '{id}'")))?;
    state.backup_jobs.remove(at);
    Ok(Answer::null())
}

impl State {
    /// Takes a guest that is deleted out of the backup jobs that name it; a job that has no other goes.
    pub fn forget_in_backup_jobs(&mut self, vmid: u32) {
        self.backup_jobs.retain_mut(|(_, job)| {
            for key in ["vmid", "exclude"] {
                let Some(listed) = job.get(key) else { continue };
                let others: Vec<&str> = split_list(listed).filter(|id| id.parse() != Ok(vmid)).collect();
                let others = others.join(",");
                match others.is_empty() {
                    true if key == "vmid" => return false,
                    true => drop(job.remove(key)),
                    false => job.set(key, others),
                }
            }
            true
        });
    }
}

/// When a schedule's next times are.
fn analyze(call: &Call) -> Answered {
    let start = call.int("starttime").and_then(|time| u64::try_from(time).ok()).unwrap_or_else(|| call.now());
    let count = call.int("iterations").and_then(|n| usize::try_from(n).ok()).unwrap_or(10);
    let schedule = call.text("schedule");
    let times = std::iter::successors(calendar::next(schedule, start), |time| calendar::next(schedule, *time));
    let rows = times.take(count).map(|time| json!({"timestamp": time, "utc": gmtime(time)}));
    Ok(rows.collect::<Vec<_>>().into())
}

/// The guests of a job.
fn included<'a>(state: &'a State, job: &Config) -> Vec<&'a Guest> {
    let numbers = |key: &str| -> Vec<u32> {
        split_list(job.get(key).unwrap_or_default()).filter_map(|vmid| vmid.parse().ok()).collect()
    };
    let (vmids, excluded) = (numbers("vmid"), numbers("exclude"));
    let chosen = |guest: &&Guest| {
        let way = match job.get("pool") {
            Some(pool) => state.pool_of(guest.vmid) == Some(pool),
            None => job.flag("all") || vmids.contains(&guest.vmid),
        };
        way && !excluded.contains(&guest.vmid) && job.get("node").is_none_or(|node| node == guest.node)
    };
    state.guests().values().filter(chosen).collect()
}

fn included_volumes(call: &Call) -> Answered {
    let state = call.sandbox.state();
    let job = find(&state, call).ok_or_else(|| no_such_job(call))?;
    let guests = included(&state, job).into_iter().map(|guest| {
        let drives = guest.drives().into_iter().filter(|(_, drive)| !drive.is_cdrom());
        let volumes = drives.map(|(key, drive)| {
            let out = drive.options.get("backup").is_some_and(|flag| flag == "0");
            let reason = if out { "backup=no" } else { "backup=yes" };
            json!({"id": key, "name": drive.volume, "included": u8::from(!out), "reason": reason})
        });
        let volumes: Vec<Value> = volumes.collect();
        json!({"id": guest.vmid, "name": guest.name(), "type": guest.kind.path(), "children": volumes})
    });
    Ok(json!({"children": guests.collect::<Vec<_>>()}).into())
}

fn not_backed_up(call: &Call) -> Answered {
    let state = call.sandbox.state();
    let covered: std::collections::BTreeSet<u32> =
        state.backup_jobs.iter().flat_map(|(_, job)| included(&state, job)).map(|guest| guest.vmid).collect();
    let rows = state.guests().values().filter(|guest| !covered.contains(&guest.vmid)).map(|guest| {
        let mut row = json!({"vmid": guest.vmid, "type": guest.kind.path()});
        if let Some(name) = guest.config.get("name").or(guest.config.get("hostname")) {
            row["name"] = name.into();
        }
        row
    });
    Ok(rows.collect::<Vec<_>>().into())
}
