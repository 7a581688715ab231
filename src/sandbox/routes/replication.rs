//! Replication jobs, and how they are doing on the node that sends.

use serde_json::{Map, Value, json};

use crate::sandbox::{
    call::Call,
    drives::missing,
    replication::{DURATION, Job},
    router::Route,
    state::State,
    wire::{Answer, Answered, Refusal, civil},
};

pub const ROUTES: &[Route] = &[
    Route::get("/cluster/replication", list),
    Route::post("/cluster/replication", create),
    Route::get("/cluster/replication/{id}", read),
    Route::put("/cluster/replication/{id}", update),
    Route::delete("/cluster/replication/{id}", remove),
    Route::get("/nodes/{node}/replication", on_node),
    Route::get("/nodes/{node}/replication/{id}", index),
    Route::get("/nodes/{node}/replication/{id}/status", status),
    Route::get("/nodes/{node}/replication/{id}/log", log),
    Route::post("/nodes/{node}/replication/{id}/schedule_now", schedule_now),
];

/// The guest and the number in a job's id.
fn parts(id: &str) -> (u32, u32) {
    let (guest, number) = id.split_once('-').unwrap_or((id, "0"));
    (guest.parse().unwrap_or_default(), number.parse().unwrap_or_default())
}

impl State {
    /// The jobs that are still there.
    fn replication_at(&mut self, now: u64) -> &mut std::collections::BTreeMap<String, Job> {
        self.replication.retain(|_, job| !job.is_gone(now));
        &mut self.replication
    }
}

fn shown(id: &str, job: &Job) -> Map<String, Value> {
    let mut row = Map::new();
    let mut put = |key: &str, value: Value| drop(row.insert(key.to_owned(), value));
    put("id", id.into());
    put("type", "local".into());
    put("guest", job.guest.into());
    put("jobnum", job.number.to_string().into());
    put("target", job.target.as_str().into());
    put("source", job.source.as_str().into());
    for (key, value) in [("schedule", &job.schedule), ("rate", &job.rate), ("comment", &job.comment)] {
        if let Some(value) = value {
            put(key, value.as_str().into());
        }
    }
    if job.disable {
        put("disable", 1.into());
    }
    if let Some((what, _)) = job.remove {
        put("remove_job", what.into());
    }
    row
}

fn list(call: &Call) -> Answered {
    let mut state = call.sandbox.state();
    state.replication_at(call.now());
    let seen = state.replication.iter().filter(|(_, job)| may(&state, call, job, "VM.Audit"));
    Ok(seen.map(|(id, job)| Value::from(shown(id, job))).collect::<Vec<_>>().into())
}

fn may(state: &State, call: &Call, job: &Job, privilege: &str) -> bool {
    state.may(&call.who, &format!("/vms/{}", job.guest), privilege)
}

/// The job of the call, for somebody with that privilege on its guest.
fn found<'a>(state: &'a mut State, call: &Call, privilege: &str, missing: &str) -> Result<&'a mut Job, Refusal> {
    let id = call.text("id");
    state.replication_at(call.now());
    let guest = state.replication.get(id).map(|job| job.guest);
    let guest = guest.ok_or_else(|| Refusal::failed(format!("{missing} '{id}'")))?;
    state.check(&call.who, &format!("/vms/{guest}"), &[privilege])?;
    state.replication.get_mut(id).ok_or_else(|| Refusal::failed(format!("{missing} '{id}'")))
}

const NO_JOB: &str = "no such job";
const NO_REPLICATION_JOB: &str = "no such replication job";

fn read(call: &Call) -> Answered {
    let mut state = call.sandbox.state();
    let job = found(&mut state, call, "VM.Audit", NO_REPLICATION_JOB)?;
    let mut row = shown(call.text("id"), job);
    let text: String = state.replication.iter().map(|(id, job)| format!("{id} {job:?}\n")).collect();
    row.insert("digest".to_owned(), crate::sandbox::config::digest(&text).into());
    Ok(Value::from(row).into())
}

fn create(call: &Call) -> Answered {
    let (id, target, now) = (call.text("id").to_owned(), call.text("target").to_owned(), call.now());
    let (vmid, number) = parts(&id);
    let mut state = call.sandbox.state();
    state.check(&call.who, &format!("/vms/{vmid}"), &["VM.Replicate"])?;
    let failed = |text: String| Refusal::failed(text);
    let guest = state.guests().get(&vmid).ok_or_else(|| failed(format!("Guest '{vmid}' does not exist.")))?;
    if !state.nodes.contains_key(&target) {
        return Err(failed(format!("Target '{target}' does not exist.")));
    }
    let source = guest.node.clone();
    if let Some(given) = call.get("source").filter(|given| *given != source) {
        let text = format!("Source '{given}' does not match current node of guest '{vmid}' ({source})");
        return Err(failed(text));
    }
    if target == source {
        return Err(failed("Source and target must not be identical".to_owned()));
    }
    let mut count = 0;
    for (_, drive) in guest.drives() {
        if drive.is_cdrom() || drive.options.get("replicate").is_some_and(|flag| flag == "0") {
            continue;
        }
        let Some(storage) = state.storages.get(drive.storage()).filter(|storage| !storage.is_shared()) else {
            continue;
        };
        if state.volumes.get(storage, &source, &drive.volume).is_none() {
            return Err(failed(missing(&drive.volume)));
        }
        if storage.plugin != "zfspool" {
            return Err(failed(format!("missing replicate feature on volume '{}'", drive.volume)));
        }
        count += 1;
    }
    if count == 0 {
        return Err(failed("No replicatable volumes found".to_owned()));
    }
    let text = |key: &str| call.get(key).map(str::to_owned);
    let job = Job {
        guest: vmid,
        number,
        target,
        source,
        schedule: text("schedule"),
        rate: text("rate"),
        comment: text("comment"),
        disable: call.flag("disable"),
        remove: None,
        created: now,
        asked: None,
        failing: None,
    };
    let jobs = state.replication_at(now);
    if jobs.contains_key(&id) {
        return Err(failed(format!("replication job '{id}' already exists")));
    }
    if jobs.values().any(|other| other.guest == vmid && other.target == job.target) {
        return Err(failed(format!("replication job for guest '{vmid}' to target '{}' already exists", job.target)));
    }
    jobs.insert(id, job);
    Ok(Answer::null())
}

fn update(call: &Call) -> Answered {
    let mut state = call.sandbox.state();
    let job = found(&mut state, call, "VM.Replicate", NO_JOB)?;
    let text = |key: &str| call.get(key).map(str::to_owned);
    job.schedule = text("schedule").or(job.schedule.take());
    job.rate = text("rate").or(job.rate.take());
    job.comment = text("comment").or(job.comment.take());
    if call.get("disable").is_some() {
        job.disable = call.flag("disable");
    }
    for key in call.list("delete") {
        match key {
            "schedule" => job.schedule = None,
            "rate" => job.rate = None,
            "comment" => job.comment = None,
            "disable" => job.disable = false,
            "target" | "type" => return Err(Refusal::failed(format!("unable to delete required option '{key}'"))),
            other => return Err(Refusal::failed(format!("no such option '{other}'"))),
        }
    }
    Ok(Answer::null())
}

fn remove(call: &Call) -> Answered {
    let now = call.now();
    if call.flag("force") && call.flag("keep") {
        return Err(Refusal::param("keep", "conflicts with parameter 'force'"));
    }
    let mut state = call.sandbox.state();
    let job = found(&mut state, call, "VM.Replicate", NO_JOB)?;
    if call.flag("force") {
        state.replication.remove(call.text("id"));
    } else {
        job.remove = Some((if call.flag("keep") { "local" } else { "full" }, now));
    }
    Ok(Answer::null())
}

/// A job with its state, where its guest is on this node and it is not disabled.
fn with_state(state: &State, call: &Call, id: &str, job: &Job) -> Option<Value> {
    let guest = state.guests().get(&job.guest).filter(|guest| guest.node == call.node())?;
    if job.remove.is_none() && (job.disable || job.target == call.node()) {
        return None;
    }
    let status = job.status(call.now());
    let mut row = shown(id, job);
    let mut put = |key: &str, value: Value| drop(row.insert(key.to_owned(), value));
    put("vmtype", guest.kind.path().into());
    put("last_try", status.last_try.into());
    put("last_sync", status.last_sync.into());
    put("next_sync", status.next_sync.into());
    put("fail_count", job.failing.as_ref().map_or(0, |failing| failing.count).into());
    if let Some(failing) = &job.failing {
        put("error", failing.words.as_str().into());
    }
    if status.last_sync > 0 {
        put("duration", json!(DURATION as f64 - 0.5));
    }
    if status.running {
        put("pid", (4_000 + job.guest).into());
    }
    Some(row.into())
}

fn on_node(call: &Call) -> Answered {
    let mut state = call.sandbox.state();
    state.replication_at(call.now());
    let wanted = call.int("guest").and_then(|vmid| u32::try_from(vmid).ok());
    let seen = state
        .replication
        .iter()
        .filter(|(_, job)| wanted.is_none_or(|vmid| vmid == job.guest) && may(&state, call, job, "VM.Audit"));
    Ok(seen.filter_map(|(id, job)| with_state(&state, call, id, job)).collect::<Vec<_>>().into())
}

fn index(_: &Call) -> Answered {
    Ok(json!([{"name": "schedule_now"}, {"name": "log"}, {"name": "status"}]).into())
}

fn status(call: &Call) -> Answered {
    let id = call.text("id");
    let mut state = call.sandbox.state();
    let job = found(&mut state, call, "VM.Audit", NO_REPLICATION_JOB)?.clone();
    let row = with_state(&state, call, id, &job);
    Ok(row.ok_or_else(|| Refusal::failed(format!("{NO_REPLICATION_JOB} '{id}'")))?.into())
}

fn log(call: &Call) -> Answered {
    let id = call.text("id");
    let mut state = call.sandbox.state();
    let job = found(&mut state, call, "VM.Audit", NO_REPLICATION_JOB)?.clone();
    let begun = job.status(call.now()).last_sync;
    let kind = state.guests().get(&job.guest).map_or("VM", |guest| guest.kind.word());
    let line = |seconds: u64, text: String| {
        let (year, month, day, hour, minute, second, _) = civil(begun + seconds);
        format!("{year}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02} {id}: {text}")
    };
    let mut lines = Vec::new();
    if begun > 0 {
        lines.push(line(0, "start replication job".to_owned()));
        lines.push(line(0, format!("guest => {kind} {}, running => 1", job.guest)));
        lines.push(line(DURATION, "end replication job".to_owned()));
    }
    let total = lines.len();
    let start = call.int("start").and_then(|n| usize::try_from(n).ok()).unwrap_or(0);
    let limit = call.int("limit").and_then(|n| usize::try_from(n).ok()).unwrap_or(50);
    let rows = lines.into_iter().enumerate().skip(start).take(limit);
    let rows: Vec<Value> = rows.map(|(n, text)| json!({"n": n + 1, "t": text})).collect();
    Ok(Answer::from(rows).beside("total", total))
}

fn schedule_now(call: &Call) -> Answered {
    let now = call.now();
    let mut state = call.sandbox.state();
    found(&mut state, call, "VM.Replicate", NO_REPLICATION_JOB)?.asked = Some(now);
    Ok(Answer::null())
}
