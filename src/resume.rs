//! Takes up what a process left behind that was killed: finds out what came of the step it was at, then goes on or takes all
//! of it back, by the same engine and the same policy as the call itself.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Map, Value, json};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::{
    app::{App, Cluster},
    audit::End,
    error::{Error, Kind, Result},
    execute::{adopted, is_made},
    journal::{Head, Left, Record},
    lanes::{Did, Engine, Lanes, OnFailure, Report, Resumed, Way},
    plan::{Outcome, Plan, State},
    policy::{Facts, Reach},
    progress::Progress,
    pve::{Reader, Request, Scope, Seen, WaitOptions, encode},
    tool::Entry,
    tools,
    trail::Trail,
    undo::Guests,
};

/// What is to become of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wish {
    Finish,
    Rollback,
}

/// What a resumed call may take.
const PATIENCE: WaitOptions = WaitOptions { timeout: Duration::from_secs(3600), poll_interval: Duration::from_secs(2) };

/// Goes on with a record, or takes back what it says was done; the result as the call would have had it.
///
/// # Errors
/// Credentials that do not open it, a step of which nobody can tell what came of it, and what went wrong on the way, with
/// what became of everything. The record stays where something is left to be done.
pub async fn take_up(
    app: &App,
    left: Left,
    wish: Wish,
    progress: Progress,
    cancel: CancellationToken,
) -> Result<Map<String, Value>> {
    let cluster = cluster(app, &left.head)?;
    let entry = entry(&left.head)?;
    let key = cluster.client.key();
    let mut lanes = left.lanes(&key)?;
    let scope = Scope {
        tool: entry.name,
        api: entry.api,
        also: LOOKS,
        progress: Progress::none(),
        cancel: cancel.clone(),
        seen: Seen::default(),
    };
    let reader = Reader::new(&cluster.client, &scope);
    let mut got = left.got.clone();
    settle(&reader, &left.head, &lanes, &mut got, wish).await?;
    if wish == Wish::Finish {
        certain(&lanes, &got)?;
    } else {
        lanes.on_failure = OnFailure::Rollback;
    }
    let (requests, back) = (lanes.requests(), lanes.back());
    let policy = app.policy();
    policy.allows_tool(entry.name, entry.effect, entry.api)?;
    let facts = Facts::gather(&reader, &Reach::of(&requests), policy.asks_for_pools()).await?;
    let there = policy.approve(entry.effect, &requests, &facts)?;
    let back = policy.approve_back(&requests, &back)?;
    let (head, _, record): (Head, _, Record) = left.record(key)?;
    let trail = Trail::default();
    let way = Way {
        entry,
        client: cluster.client.clone(),
        policy: policy.clone(),
        trail: trail.clone(),
        progress,
        cancel,
        wait: PATIENCE,
        stops_task: false,
        renumbers: true,
    };
    let engine = Engine::new(way, lanes, Some(record), &got);
    let report = match wish {
        Wish::Finish => engine.run(there, back, got).await,
        Wish::Rollback => engine.take_back(back, got).await,
    };
    put_on_record(app, &head, &trail, &report).await;
    told(&head, report)
}

/// What is looked at to find out what came of a step.
const LOOKS: &[&str] = &["GET /cluster/ha/resources/{sid}", "GET /nodes/{node}/time"];

fn told(head: &Head, report: Report) -> Result<Map<String, Value>> {
    if let Some(error) = report.error {
        return Err(error);
    }
    let mut rows = report.rows;
    if rows.contains_key("left") {
        let message = format!("not everything of {} could be taken back (see not_undone)", head.summary);
        return Err(Error::new(Kind::Refused, message)
            .hint(format!("`proxmox-mcp resume {}` tries again", head.id))
            .told(rows));
    }
    rows.shift_insert(0, "summary".to_owned(), head.summary.clone().into());
    Ok(rows)
}

/// The end of the call's entry in the audit log, which it could not write itself.
async fn put_on_record(app: &App, head: &Head, trail: &Trail, report: &Report) {
    let (Some(audit), Some(id)) = (app.audit(), &head.audit) else { return };
    let plan = Plan::new(&head.summary);
    let outcome = Outcome::new(State::Done, &plan);
    let taken_back = Error::new(Kind::Cancelled, "the program was killed, and what had been done was taken back later");
    let back = report.rows.contains_key("rolled_back");
    let outcome = match &report.error {
        Some(e) => Err(e),
        None if back => Err(&taken_back),
        None => Ok(&outcome),
    };
    if let Err(e) = audit.end(id, End { sent: &trail.sent(), outcome, made: Guests::new() }).await {
        tracing::error!("what came of {id} is not on record: {e}");
    }
}

fn cluster<'a>(app: &'a App, head: &Head) -> Result<&'a Cluster> {
    app.clusters().iter().find(|cluster| cluster.name == head.cluster).ok_or_else(|| {
        Error::bad_setting(format!("record {} is of the cluster {}, which is not configured", head.id, head.cluster))
            .hint(format!("configured: {}", app.names().join(", ")))
    })
}

fn entry(head: &Head) -> Result<&'static Entry> {
    tools::all()
        .find(|entry| entry.name == head.tool)
        .ok_or_else(|| Error::not_found(format!("record {} is of {}, which is no tool here", head.id, head.tool)))
}

/// Finds out, as far as that is possible, what came of what had been sent when the process ended.
async fn settle(pve: &Reader<'_>, head: &Head, lanes: &Lanes, got: &mut [Resumed], wish: Wish) -> Result<()> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let age = now.saturating_sub(Duration::from_secs(head.at));
    let since = Instant::now().checked_sub(age + Duration::from_secs(5)).unwrap_or_else(Instant::now);
    let begun = got.iter().flat_map(|got| &got.did).filter_map(|did| match did {
        Did::Begun(upid) => Some(upid.to_string()),
        _ => None,
    });
    let mut known: Vec<String> = begun.collect();
    for (lane, got) in lanes.lanes.iter().zip(got) {
        for (step, did) in lane.steps.iter().zip(&mut got.did) {
            let (Did::Sent, Some(request)) = (&*did, &step.request) else { continue };
            if let Some(upid) = adopted(pve, request, since, &known).await? {
                known.push(upid.to_string());
                *did = Did::Begun(upid);
            } else if wish == Wish::Finish
                && let Some(is_there) = seen(pve, request).await?
            {
                // The way back looks for itself, and also waits for what is still coming into being.
                *did = if is_there { Did::Done } else { Did::Nothing };
            }
        }
    }
    Ok(())
}

/// Whether what a request makes is there; nothing where that cannot be told from looking.
async fn seen(pve: &Reader<'_>, request: &Request) -> Result<Option<bool>> {
    // Setting the same once more changes nothing.
    if request.method == http::Method::PUT {
        return Ok(Some(false));
    }
    if let Some(guest) = request.path.strip_suffix("/status/start") {
        let current: Value = pve.get(format!("{guest}/status/current")).await?;
        return Ok(Some(current["status"] == "running"));
    }
    let ha = request.param_of("sid").filter(|_| request.path == "/cluster/ha/resources");
    let Some(sid) = ha else {
        // A guest without a task that made it may be anybody's.
        return Ok(is_made(pve, request).await?.filter(|made| !made));
    };
    match pve.get::<Value>(format!("/cluster/ha/resources/{}", encode(sid))).await {
        Ok(_) => Ok(Some(true)),
        Err(e) if e.is_not_found() => Ok(Some(false)),
        Err(e) => Err(e),
    }
}

/// Nothing is done twice: what may have been done and cannot be seen is not sent again.
fn certain(lanes: &Lanes, got: &[Resumed]) -> Result<()> {
    for (lane, got) in lanes.lanes.iter().zip(got) {
        let at = got.did.iter().position(|did| *did == Did::Sent);
        if let Some(step) = at.and_then(|at| lane.steps.get(at)) {
            let message = format!("{}: it was sent, and nobody can tell what came of it", step.doing);
            return Err(Error::new(Kind::Unclear, message)
                .hint("nothing was sent; take it back with --rollback, or look yourself and --forget the record"));
        }
    }
    Ok(())
}

/// What is told of a record: how far each of its lanes got.
pub fn about(left: &Left) -> Value {
    let lanes = left.head.lanes.iter().zip(&left.got).map(|(lane, got)| {
        let done = got.did.iter().filter(|did| **did == Did::Done).count();
        let at = lane.steps.get(done).map_or("done", String::as_str);
        let how = match got.did.get(done) {
            Some(Did::Sent) => " (sent, nobody knows what came of it)",
            Some(Did::Begun(_)) => " (its task was begun)",
            _ => "",
        };
        json!({"name": lane.name, "vmid": lane.vmid, "done": done, "of": lane.steps.len(), "at": format!("{at}{how}")})
    });
    let Head { id, at, tool, cluster, who, summary, .. } = &left.head;
    json!({
        "id": id,
        "at": crate::tools::time::iso(*at),
        "tool": tool,
        "cluster": cluster,
        "who": who,
        "summary": summary,
        "lanes": lanes.collect::<Vec<_>>(),
    })
}
