//! The way of a call that changes something: plan, approve, show or confirm, record, execute, tell. `dry_run`, `confirm`,
//! `wait`, `timeout`, `poll_interval` and `cancel_task_on_abort` exist here and nowhere else.

use std::time::Duration;

use serde_json::{Map, Value, json};

use crate::{
    app,
    audit::{End, Intent},
    call::{self, Answer, Cx, Person},
    checks,
    confirm::{Mode, Subject, looks},
    error::{Error, Kind, Result},
    execute::{self, lanes::Ways},
    lanes::Lanes,
    plan::{Outcome, Plan, Shown, State},
    policy::{Effect, Facts, Reach},
    pve::{Reader, Request, WaitOptions},
    safety_snapshot::{self, Before},
    tool::{Action, Control, Entry},
    tools,
    undo::{Guests, Undoing, identity},
};

/// A VMID chosen by us and taken by another meanwhile is tried again with the next, this often.
const TRIES: usize = 5;

/// Runs a tool that changes something.
pub(crate) async fn run<T: Action>(cx: Cx<'_>, mut args: Map<String, Value>) -> Result<Answer> {
    let given = Value::Object(args.clone());
    let order = Order::take(&T::CONTROL, &mut args);
    let cx = Cx { stops_task: order.stops_task, ..cx };
    let tool: T = call::parse(args)?;
    let scope = call::scope(&cx);
    let reader = Reader::new(cx.client, &scope);
    let mut tried = 0;
    loop {
        scope.seen.begin();
        let mut plan = tool.plan(&reader).await?;
        if let Some(undoing) = cx.undoes {
            undoing.compare(&reader, &mut plan).await?;
        }
        if let Some(what) = order.snapshot_first {
            plan = safety_snapshot::before(&reader, what, plan).await?;
        }
        if plan.lanes.is_some() && order.wait.is_none() {
            return Err(Error::bad_argument(
                "wait: false is not possible here: what is not waited for cannot be taken back",
            )
            .hint("leave it out, and give timeout what it may take"));
        }
        let mut ways = match approve::<T>(&cx, &reader, &plan).await {
            // A dry run shows what stands in the way, whoever put it there.
            Err(e) if order.dry_run && e.kind() == Kind::Denied => {
                plan.problems.insert(0, e.to_string());
                Ways::default()
            }
            approved => approved?,
        };
        let asks = cx.app.asks(cx.entry) || stands_for(&plan).any(|entry| cx.app.asks(entry));
        let needed = asks || ways.there.iter().any(|a| a.request().effect() == Effect::Destroy);
        let consent = match order.dry_run {
            true => Consent::Shown(needed),
            false => {
                cx.app.policy().not_frozen()?;
                consent(&cx, &reader, &plan, &order, needed).await?
            }
        };
        let how = match consent {
            Consent::Given(how) => how,
            not_yet => return show(&cx, &reader, &plan, not_yet).await,
        };
        if !plan.problems.is_empty() {
            return Err(Error::new(Kind::Refused, plan.problems.join("; ")).hint("nothing was sent"));
        }
        let chosen = plan.chosen();
        let addresses = plan.addresses();
        if !cx.client.addresses().take_all(&addresses) {
            continue;
        }
        if !cx.client.vmids().take_all(&chosen) {
            addresses.iter().for_each(|address| cx.client.addresses().release(*address));
            continue;
        }
        let recorded = record(&cx, &reader, &given, &plan, how).await;
        scope.seen.end();
        let _given_up = GivenUp { cx: &cx, goes_on: plan.lanes.is_some() };
        let outcome = match (recorded, plan.lanes.clone(), order.wait) {
            (Ok(()), Some(lanes), Some(wait)) => {
                let ways = std::mem::take(&mut ways);
                execute::lanes::run(&cx, &reader, &tool, execute::lanes::Planned { plan: &plan, lanes, ways, wait })
                    .await
            }
            (Ok(()), ..) => execute::run(&cx, &reader, &tool, &plan, &ways.there, order.wait).await,
            (Err(e), ..) => Err(e),
        };
        let outcome = end(&cx, &reader, &plan, outcome).await;
        if plan.lanes.is_some() || outcome.is_err() {
            chosen.iter().for_each(|vmid| cx.client.vmids().release(*vmid));
        }
        addresses.iter().for_each(|address| cx.client.addresses().release(*address));
        if let (Some(_), Err(e)) = (plan.chosen_vmid, &outcome) {
            // Only where nothing was made yet: a guest that a later step failed on is not made twice.
            if e.is_conflict() && e.parts().done.is_empty() && tried + 1 < TRIES {
                tried += 1;
                continue;
            }
        }
        return answer(&cx, outcome?);
    }
}

/// Names the cluster in the call that takes it back, where there are several.
fn answer(cx: &Cx<'_>, mut outcome: Outcome) -> Result<Answer> {
    if let Some(undo) = outcome.undo.as_mut().filter(|_| cx.app.clusters().len() > 1) {
        undo.arguments.insert("cluster".to_owned(), cx.client.name().into());
    }
    Answer::new(&outcome)
}

/// Has the policy look at everything that is going to be sent.
async fn approve<T: Action>(cx: &Cx<'_>, reader: &Reader<'_>, plan: &Plan) -> Result<Ways> {
    let policy = cx.app.policy();
    for entry in stands_for(plan) {
        policy.allows_tool(entry.name, entry.effect, entry.api)?;
    }
    let facts = Facts::gather(reader, &Reach::of(&plan.requests), policy.asks_for_pools()).await?;
    let there = policy.approve(T::EFFECT, &plan.requests, &facts)?;
    let back = policy.approve_back(&plan.requests, &plan.back())?;
    Ok(Ways { there, back })
}

/// The single tools whose work the plan does: what is said of them holds for it, too.
fn stands_for(plan: &Plan) -> impl Iterator<Item = &'static Entry> {
    let names = plan.tools();
    tools::all().filter(move |entry| names.contains(entry.name))
}

/// Whether somebody has said yes.
enum Consent {
    /// In this way; none was needed where it is empty.
    Given(&'static str),
    /// Not asked for: a dry run. Whether it would be.
    Shown(bool),
    /// Not yet, and what was wrong with what was given.
    Missing(Option<&'static str>),
}

async fn consent(cx: &Cx<'_>, reader: &Reader<'_>, plan: &Plan, order: &Order, needed: bool) -> Result<Consent> {
    let confirm = cx.app.confirm();
    let given = order.confirm.as_ref().or(cx.confirm.as_ref());
    let (id, how) = match (confirm.mode(), &cx.context.person) {
        _ if !needed => return Ok(Consent::Given("")),
        (Mode::Flag, _) => {
            let yes = given.and_then(Value::as_bool) == Some(true);
            return Ok(if yes { Consent::Given("flag") } else { Consent::Missing(None) });
        }
        (Mode::Human, Person::SaidYes(id)) => (Some(id.as_str()), "human"),
        (Mode::Human, Person::CanBeAsked) => return Ok(Consent::Missing(None)),
        (Mode::Human, Person::Nobody(why)) if !confirm.falls_back() => {
            let message = format!("{} has to be confirmed by a person, and {why}", cx.entry.name);
            return Err(Error::new(Kind::Denied, message).hint(
                "nothing was sent; the operator of this server can allow plan ids instead with PROXMOX_CONFIRM_FALLBACK=plan",
            ));
        }
        (Mode::Plan | Mode::Human, _) => (given.and_then(Value::as_str), "plan"),
    };
    let Some(id) = id else { return Ok(Consent::Missing(None)) };
    look(reader, plan).await?;
    let seen = reader.scope().seen.all();
    Ok(match confirm.take(id, &subject(cx, plan, &seen)) {
        Ok(()) => Consent::Given(how),
        Err(bad) => Consent::Missing(Some(bad.why())),
    })
}

fn subject<'a>(cx: &'a Cx<'_>, plan: &'a Plan, seen: &'a [(String, bytes::Bytes)]) -> Subject<'a> {
    Subject { tool: cx.entry.name, cluster: cx.client.name(), plan, seen }
}

/// Sees what the plan's identity needs and its making did not: whether the guests run. Their configurations were read for
/// the policy.
async fn look(reader: &Reader<'_>, plan: &Plan) -> Result<()> {
    for path in looks(&plan.requests) {
        #[derive(serde::Deserialize)]
        struct Current {
            status: String,
        }
        let current: Current = match reader.request(&Request::get(format!("{path}/status/current"))).await {
            Ok(current) => current,
            Err(e) if e.is_not_found() => continue,
            Err(e) => return Err(e),
        };
        reader.scope().seen.add(format!("{path} runs"), current.status.into());
    }
    Ok(())
}

/// Shows the plan; nothing is sent.
async fn show(cx: &Cx<'_>, reader: &Reader<'_>, plan: &Plan, consent: Consent) -> Result<Answer> {
    let (state, needed, wrong) = match consent {
        Consent::Shown(needed) => (State::Planned, needed, None),
        Consent::Missing(wrong) => (State::NeedsConfirmation, true, wrong),
        Consent::Given(_) => (State::Planned, false, None),
    };
    let confirm = cx.app.confirm();
    let by_id = needed && confirm.mode() != Mode::Flag;
    if by_id {
        look(reader, plan).await?;
    }
    let plan_id = by_id.then(|| confirm.id(&subject(cx, plan, &reader.scope().seen.all())));
    let checks::Checked { checked, problems, mut warnings } = checks::run(reader, plan).await;
    if state == State::Planned {
        warnings.extend(cx.app.policy().not_frozen().err().map(|e| e.to_string()));
    }
    let next = match confirm.mode() {
        _ if !problems.is_empty() => "what stands under problems is in the way",
        Mode::Human if by_id && !confirm.falls_back() => "a person is asked before it is done",
        Mode::Flag if state == State::NeedsConfirmation => "call again with confirm: true to do it",
        Mode::Flag if needed => "call again with confirm: true and without dry_run to do it",
        _ if by_id => "show it to the user, then call again with confirm: plan_id and without dry_run to do it",
        _ => "call again without dry_run to do it",
    };
    let next = match wrong {
        Some(wrong) => format!("nothing was sent: {wrong}; this is the plan as things stand; {next}"),
        None => format!("nothing was sent; {next}"),
    };
    let requests = plan.requests.iter().map(Shown::from).collect();
    let rollback = plan.back().iter().map(Shown::from).collect();
    let new = Outcome { result: plan.lanes.as_ref().map(Lanes::planned), ..Outcome::new(state, plan) };
    answer(cx, Outcome { requests, rollback, checked, problems, warnings, plan_id, next: Some(next), ..new })
}

/// Puts on record what is going to be done: what cannot be recorded is not done.
async fn record(cx: &Cx<'_>, reader: &Reader<'_>, given: &Value, plan: &Plan, how: &str) -> Result<()> {
    let Some(audit) = cx.app.audit() else { return Ok(()) };
    let intent = Intent {
        entry: cx.entry,
        cluster: cx.client.name(),
        who: cx.client.who(),
        client: cx.context.client.as_deref(),
        caller: cx.app.caller(),
        request: cx.context.request.as_deref(),
        given,
        plan,
        confirmed: how,
        undoes: cx.undoes.map(Undoing::id),
        guests: identity::touched(reader, plan).await,
    };
    let id = audit.begin(intent).await?;
    cx.trail.recorded(id);
    Ok(())
}

/// Puts on record what came of it.
async fn end(cx: &Cx<'_>, reader: &Reader<'_>, plan: &Plan, outcome: Result<Outcome>) -> Result<Outcome> {
    let Some(audit) = cx.app.audit().filter(|_| cx.trail.is_recorded()) else { return outcome };
    let made = if outcome.is_ok() { identity::made(reader, plan).await } else { Guests::new() };
    let Some(id) = cx.trail.take_record() else { return outcome };
    let written = audit.end(&id, End { sent: &cx.trail.sent(), outcome: outcome.as_ref(), made }).await;
    if let Err(e) = &written {
        tracing::error!("what came of {id} is not on record: {e}");
    }
    outcome.map(|mut outcome| {
        outcome.audit_id = Some(id);
        outcome.warnings.extend(written.err().map(|e| format!("what came of it is not on record: {e}")));
        outcome
    })
}

/// Puts on record that nobody waits for the call any more, where it ends by that: its client has gone, or the server ends.
struct GivenUp<'a> {
    cx: &'a Cx<'a>,
    /// What was begun is brought to its end without the call, and put on record then.
    goes_on: bool,
}

impl Drop for GivenUp<'_> {
    fn drop(&mut self) {
        // A panic is put on record by who catches it.
        if std::thread::panicking() || self.goes_on {
            return;
        }
        let (Some(audit), Some(id)) = (self.cx.app.audit(), self.cx.trail.take_record()) else { return };
        let error = Error::new(Kind::Cancelled, "the call was given up: what it had sent may have taken effect");
        let end = End { sent: &self.cx.trail.sent(), outcome: Err(&error), made: Guests::new() };
        // At once: nothing runs on that could do it later.
        if let Err(e) = audit.end_now(&id, &end) {
            tracing::error!("what came of {id} is not on record: {e}");
        }
    }
}

/// The control keys of a call.
struct Order {
    dry_run: bool,
    confirm: Option<Value>,
    wait: Option<WaitOptions>,
    stops_task: bool,
    snapshot_first: Option<Before>,
}

impl Order {
    fn take(control: &Control, args: &mut Map<String, Value>) -> Self {
        let mut flag = |key: &str, default: bool| args.remove(key).and_then(|v| v.as_bool()).unwrap_or(default);
        let dry_run = flag("dry_run", false);
        let wait = flag("wait", control.wait);
        let stops_task = flag(STOPS_TASK, false);
        let snapshot_first = control.snapshot_first.filter(|_| flag("snapshot_first", false));
        // A guest that is given ten minutes to shut down is waited for that long, and a little longer.
        let own = args.get("timeout").and_then(Value::as_f64).filter(|_| control.timeout_key != "timeout");
        let default = own.map_or(0.0, |own| own + 30.0).max(control.timeout as f64);
        let mut seconds = |key: &str, default: f64| {
            Duration::from_secs_f64(args.remove(key).and_then(|v| v.as_f64()).unwrap_or(default))
        };
        let timeout = seconds(control.timeout_key, default);
        let poll_interval = seconds("poll_interval", control.poll_interval);
        let confirm = args.remove("confirm");
        let wait = wait.then_some(WaitOptions { timeout, poll_interval });
        Self { dry_run, confirm, wait, stops_task, snapshot_first }
    }
}

/// The control keys' part of an action's input schema.
pub(crate) fn control_properties(control: &Control) -> Map<String, Value> {
    let mut keys = Map::new();
    keys.insert("dry_run".to_owned(), json!({"type": "boolean", "description": "Show the plan, send nothing."}));
    if control.confirm {
        keys.insert("confirm".to_owned(), json!({"type": "boolean", "description": app::CONFIRM}));
    }
    if control.snapshot_first.is_some() {
        let words = "Take a snapshot before; it expires after 7 days.";
        keys.insert("snapshot_first".to_owned(), json!({"type": "boolean", "description": words}));
    }
    keys.insert(
        "wait".to_owned(),
        json!({"type": "boolean", "default": control.wait, "description": "Wait for the task to end."}),
    );
    let mut timeout =
        json!({"type": "number", "minimum": 0, "maximum": MAX_SECONDS, "description": "Seconds to wait."});
    if control.timeout_listed {
        timeout["default"] = control.timeout.into();
    }
    keys.insert(control.timeout_key.to_owned(), timeout);
    keys.insert(
        "poll_interval".to_owned(),
        json!({"type": "number", "minimum": 0.1, "maximum": 300, "default": control.poll_interval, "description": "Seconds between looks."}),
    );
    keys.insert(
        STOPS_TASK.to_owned(),
        json!({"type": "boolean", "description": "Stop the task if this call is cancelled while it waits."}),
    );
    keys
}

/// Taken by every action; listed for none, because few have a use for it.
pub(crate) const STOPS_TASK: &str = "cancel_task_on_abort";

/// A week: no task is waited for longer in one call.
pub const MAX_SECONDS: u32 = 7 * 24 * 3600;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_guest_s_own_time_is_waited_for() {
        let waits = |args: Value| {
            let mut args = args.as_object().cloned().unwrap_or_default();
            Order::take(&Control::new(300).waiting().wait_timeout(), &mut args).wait.map(|w| w.timeout.as_secs())
        };
        assert_eq!(waits(json!({})), Some(300));
        assert_eq!(waits(json!({"timeout": 600})), Some(630));
        assert_eq!(waits(json!({"timeout": 600, "wait_timeout": 5})), Some(5));
    }
}
