//! One older call that is several of ours, in order: each is planned, judged and recorded by itself, so one yes is never for
//! more than one plan.

use serde_json::{Map, Value, json};

use super::answer;
use crate::{
    app::App,
    call::{Answer, Context},
    confirm::Mode,
    error::{Error, Kind, Result},
    tool::Entry,
};

/// From the furthest: what all of them together are is what the least of them is.
const STATES: &[&str] = &["done", "running", "planned", "needs_confirmation"];

/// Makes the calls one after the other, and stops at the first that fails.
///
/// # Errors
/// Of the first that fails, with what was done before; where each has to be confirmed by itself.
pub async fn run(app: &App, calls: Vec<(&'static Entry, Map<String, Value>)>, context: &Context) -> Result<Answer> {
    let one_by_one = |entry: &Entry| app.confirm().mode() != Mode::Flag && app.asks(entry);
    if calls.is_empty() {
        return Err(Error::bad_argument("nothing to do").hint("nothing was sent"));
    }
    let dry = |args: &Map<String, Value>| args.get("dry_run").is_some_and(|dry| dry != &Value::Bool(false));
    if let Some((entry, _)) = calls.iter().find(|(entry, args)| one_by_one(entry) && !dry(args)) {
        let message =
            format!("this would be {} plans of {}, and each has to be confirmed by itself", calls.len(), entry.name);
        return Err(Error::new(Kind::Denied, message).hint("nothing was sent; ask for one thing at a time"));
    }
    // A task is not left to the caller while there is more to do.
    let context = Context { hand_over: None, ..context.clone() };
    let total = calls.len();
    let mut outcomes: Vec<Value> = Vec::new();
    for (entry, args) in calls {
        match answer::of(app, entry, args, &context).await {
            Ok(answer) => outcomes.push(answer.data),
            Err(error) if outcomes.is_empty() => return Err(error),
            Err(error) => {
                let mut done = words(&outcomes);
                done.extend(error.parts().done.clone());
                return Err(error.done(done));
            }
        }
    }
    let state = STATES.iter().rev().find(|state| outcomes.iter().any(|outcome| outcome["state"] == **state));
    let summary = format!("{total} calls: {}", words(&outcomes).join("; "));
    Answer::new(&json!({"state": state.unwrap_or(&"done"), "summary": summary, "result": {"outcomes": outcomes}}))
}

fn words(outcomes: &[Value]) -> Vec<String> {
    let word = |outcome: &Value, key: &str| outcome[key].as_str().unwrap_or_default().to_owned();
    outcomes.iter().map(|outcome| format!("{} ({})", word(outcome, "summary"), word(outcome, "state"))).collect()
}
