//! Carries out a plan of lanes. The engine runs by itself: a call that is dropped cancels it, and it still finds its way back
//! and puts on record what came of it.

use std::sync::{Arc, Mutex, PoisonError};

use serde_json::{Map, Value};
use tokio::sync::oneshot;

use super::object;
use crate::{
    audit::{Audit, End},
    call::Cx,
    confirm::Mode,
    error::{Error, Kind, Result},
    journal::{About, Record},
    lanes::{Engine, Lanes, Report, Way},
    plan::{Outcome, Plan, State},
    policy::Approved,
    progress::Progress,
    pve::{Reader, WaitOptions},
    tool::{Action, Done},
    trail::Trail,
    undo::Guests,
};

/// What was approved: the way there and the way back.
#[derive(Default)]
pub struct Ways {
    pub there: Vec<Approved>,
    pub back: Vec<Approved>,
}

/// An approved plan of lanes.
pub struct Planned<'a> {
    pub plan: &'a Plan,
    pub lanes: Lanes,
    pub ways: Ways,
    pub wait: WaitOptions,
}

/// Runs the plan's lanes to their end, or takes them back.
///
/// # Errors
/// What went wrong first, with what became of everything.
pub async fn run<T: Action>(
    cx: &Cx<'_>,
    reader: &Reader<'_>,
    tool: &T,
    Planned { plan, lanes, ways, wait }: Planned<'_>,
) -> Result<Outcome> {
    let started = tokio::time::Instant::now();
    let mut outcome = Outcome::new(State::Done, plan);
    let record = match record(cx, plan, &lanes).await {
        Ok(record) => record,
        Err(e) => {
            outcome.warnings.push(format!("it could not have been resumed, had this program been killed: {e}"));
            None
        }
    };
    // Cancelled with the call, and when nobody waits for it any more.
    let cancel = cx.context.cancel.child_token();
    let _gone = cancel.clone().drop_guard();
    let (progress, _heard) = heard(&cx.context.progress);
    let way = Way {
        entry: cx.entry,
        client: cx.client.clone(),
        policy: cx.app.policy().clone(),
        trail: cx.trail.clone(),
        progress,
        cancel,
        wait,
        stops_task: cx.stops_task,
        // A yes to a plan's id is one to its VMIDs.
        renumbers: cx.app.confirm().mode() == Mode::Flag,
    };
    let engine = Engine::new(way, lanes, record, &[]);
    let report = begun(cx, engine, ways).await?;
    if let Some(error) = report.error {
        return Err(error);
    }
    let mut result: Map<String, Value> = report.rows.clone();
    let done = Done { answers: &[], wait: Some(wait), lanes: Some(&report) };
    result.extend(tool.result(reader, plan, done).await?.map(object).unwrap_or_default());
    let result = Value::Object(result);
    if let Some(undo) = tool.undo(plan, done, Some(&result)) {
        outcome.set_undo(Some(&undo));
    }
    outcome.result = Some(object(result));
    outcome.seconds = Some((started.elapsed().as_secs_f64() * 1000.0).round() / 1000.0);
    Ok(outcome)
}

async fn record(cx: &Cx<'_>, plan: &Plan, lanes: &Lanes) -> Result<Option<Record>> {
    let Some(journal) = cx.app.journal() else { return Ok(None) };
    let about = About {
        tool: cx.entry.name,
        cluster: cx.client.name(),
        who: cx.client.who(),
        summary: &plan.summary,
        audit: cx.trail.record(),
    };
    journal.begin(about, lanes, cx.client.key()).await.map(Some)
}

/// Runs the engine beside the call.
async fn begun(cx: &Cx<'_>, engine: Engine, Ways { there, back }: Ways) -> Result<Report> {
    let (tell, told) = oneshot::channel();
    let (audit, trail) = (cx.app.audit().cloned(), cx.trail.clone());
    let span = tracing::Span::current();
    let work = async move {
        let report = engine.run(there, back, Vec::new()).await;
        // Nobody waits any more: what came of it is still put on record.
        if let Err(report) = tell.send(report) {
            put_on_record(audit, &trail, &report).await;
        }
    };
    cx.app.lasting().spawn(tracing::Instrument::instrument(work, span));
    told.await.map_err(|_| {
        Error::internal("a fault while several things were done at once").hint(
            "what had been sent may have taken effect: `proxmox-mcp resume` tells how far it got, and takes it back",
        )
    })
}

async fn put_on_record(audit: Option<Audit>, trail: &Trail, report: &Report) {
    let (Some(audit), Some(id)) = (audit, trail.take_record()) else { return };
    let gone = || Error::new(Kind::Cancelled, "the call was given up, and came to its end all the same");
    let error = report.error.clone().unwrap_or_else(gone);
    let end = End { sent: &trail.sent(), outcome: Err(&error), made: Guests::new() };
    if let Err(e) = audit.end(&id, end).await {
        tracing::error!("what came of {id} is not on record: {e}");
    }
}

/// Cuts the progress off when it goes: its listener ends with the call.
struct Heard(Arc<Mutex<Option<Progress>>>);

impl Drop for Heard {
    fn drop(&mut self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
    }
}

fn heard(progress: &Progress) -> (Progress, Heard) {
    let shared = Arc::new(Mutex::new(Some(progress.clone())));
    let heard = Heard(Arc::clone(&shared));
    if !progress.is_watched() {
        return (Progress::none(), heard);
    }
    let tell = move |update| {
        if let Some(progress) = shared.lock().unwrap_or_else(PoisonError::into_inner).as_ref() {
            progress.report(update);
        }
    };
    (Progress::to(tell), heard)
}
