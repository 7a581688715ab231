//! Asking a person, through the client, whether a plan is carried out. A session is asked with a request of ours; where
//! there are no sessions the question is the call's result, and the client calls again with the answer. Nothing is kept
//! in between: the plan's id says what the yes is for, and travels with the question.

use std::time::Duration;

use rmcp::{
    model::{
        ClientResult, ElicitRequest, ElicitRequestParams, ElicitResult, ElicitationAction, ElicitationSchema,
        InputRequest, InputRequests, InputRequiredResult, RequestStateCodec, RequestStateError, SealOptions,
        ServerRequest,
    },
    service::{PeerRequestOptions, ServiceError},
};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::time::{Instant, interval_at, sleep};

use super::calls::{Call, Reply};
use crate::{
    app::App,
    call::Person,
    confirm::{Asked, GOOD_FOR, Mode, QUESTIONS, pending, question},
    error::{Error, Kind, Result},
    progress::Update,
    router,
};

/// How often a waiting client hears that it still waits: many give up on calls that are silent for a minute.
const SIGN_OF_LIFE: Duration = Duration::from_secs(15);
/// The field of the form.
const FIELD: &str = "confirm";
const CANNOT: &str = "this client cannot ask one (it has not declared elicitation)";
const NOTHING: &str = "nothing was sent";

/// What travels with a question.
#[derive(Serialize, Deserialize)]
struct State {
    asked: Asked,
    /// Which question of this call it is.
    round: u8,
}

/// A person's answer.
enum Said {
    Yes,
    No,
    /// The question was put away, or nobody answered it in time.
    Nothing(&'static str),
}

/// Runs a call, and asks a person on the way where one has to be asked.
///
/// # Errors
/// The call's, and `Denied` where nobody said yes.
pub async fn run(call: &Call<'_>) -> Result<Reply> {
    if call.app.confirm().mode() != Mode::Human {
        return call.once(Person::default()).await;
    }
    if !can_be_asked(call) {
        return call.once(Person::Nobody(CANNOT)).await;
    }
    let has_session = call.context.protocol_version().is_none_or(|version| version.has_initialize());
    if has_session { ask_at_once(call).await } else { ask_in_result(call).await }
}

/// Whether the client can show a form.
fn can_be_asked(call: &Call<'_>) -> bool {
    let declared = call.context.client_capabilities().and_then(|capabilities| capabilities.elicitation);
    // One that says nothing of forms and addresses means forms: there was nothing else once.
    declared.is_some_and(|elicitation| elicitation.form.is_some() || elicitation.url.is_none())
}

/// The whole question.
fn words(call: &Call<'_>, plan: &Value, round: u8) -> String {
    let (tool, arguments) = router::called(call.tool, &call.arguments);
    let asked = question(tool, call.app.cluster_of(arguments), plan);
    if round == 1 { asked } else { format!("This has changed since the last question.\n\n{asked}") }
}

/// In a session: our request, and the client's answer to it.
async fn ask_at_once(call: &Call<'_>) -> Result<Reply> {
    let mut person = Person::CanBeAsked;
    for round in 1..=QUESTIONS {
        let reply = call.once(person).await?;
        let Reply::Answer(answer) = &reply else { return Ok(reply) };
        let Some(asked) = pending(&answer.data) else { return Ok(reply) };
        match ask(call, words(call, &answer.data, round)).await? {
            Said::Yes => person = Person::SaidYes(asked.plan_id),
            said => return Err(refused(&said, &asked.summary)),
        }
    }
    let reply = call.once(person).await?;
    match &reply {
        Reply::Answer(answer) if pending(&answer.data).is_some() => Err(too_often()),
        _ => Ok(reply),
    }
}

/// Without sessions: the question is the result, and its answer comes with the next call.
async fn ask_in_result(call: &Call<'_>) -> Result<Reply> {
    let codec = codec(call.app, "request state")?;
    let bound = bound_to(call);
    let (person, round) = match &call.state {
        None if call.responses.is_some() => {
            return Err(Error::bad_argument("inputResponses came without the requestState of their question")
                .hint("nothing was sent; call again without inputResponses to be asked"));
        }
        None => (Person::CanBeAsked, 0),
        Some(state) => {
            let State { asked, round } = codec.open_json_with(state, &bound).map_err(|e| unreadable(&e))?;
            let given = call.responses.as_ref().and_then(|responses| responses.get(FIELD));
            match given.map(|given| serde_json::from_value::<ElicitResult>(given.clone())) {
                // Not answered yet: asked again.
                None => (Person::CanBeAsked, round),
                Some(Err(e)) => {
                    let expected = "expected {action, content} as elicitation/create is answered";
                    return Err(
                        Error::bad_argument(format!("inputResponses.{FIELD}: {expected}, got {e}")).hint(NOTHING)
                    );
                }
                Some(Ok(given)) => match said(&given) {
                    Said::Yes => (Person::SaidYes(asked.plan_id), round),
                    said => return Err(refused(&said, &asked.summary)),
                },
            }
        }
    };
    let reply = call.once(person).await?;
    let Reply::Answer(answer) = &reply else { return Ok(reply) };
    let Some(asked) = pending(&answer.data) else { return Ok(reply) };
    if round == QUESTIONS {
        return Err(too_often());
    }
    let round = round + 1;
    let state = codec
        .seal_json_with(&State { asked, round }, &SealOptions::new().associated_data(&bound).ttl(GOOD_FOR))
        .map_err(|e| Error::internal(e.to_string()))?;
    let request = InputRequest::Elicitation(form(words(call, &answer.data, round))?);
    let requests = InputRequests::from([(FIELD.to_owned(), request)]);
    Ok(Reply::Question(InputRequiredResult::new(Some(requests), Some(state))))
}

/// Signs what clients keep for us; each `label` is another key.
///
/// # Errors
/// None in fact: the key is long enough.
pub fn codec(app: &App, label: &str) -> Result<RequestStateCodec> {
    let key = app.confirm().key().sign(label, []);
    RequestStateCodec::try_new(key).map_err(|e| Error::internal(e.to_string()))
}

/// What a state is good for: this tool with these arguments, in whatever order a client writes them down.
fn bound_to(call: &Call<'_>) -> Vec<u8> {
    let mut arguments = Value::Object(call.arguments.clone());
    arguments.sort_all_objects();
    format!("tools/call {} {arguments}", call.tool).into_bytes()
}

fn unreadable(error: &RequestStateError) -> Error {
    let message = match error {
        RequestStateError::Expired => "the question was asked too long ago",
        _ => "requestState is not one that this server gave for this tool with these arguments",
    };
    Error::bad_argument(message).hint("nothing was sent; call again without requestState to be asked anew")
}

/// The form: the plan, and one box to tick.
fn form(message: String) -> Result<ElicitRequest> {
    let schema = ElicitationSchema::builder()
        .required_bool_with(FIELD, |field| field.title("Do it?"))
        .build()
        .map_err(Error::internal)?;
    let params = ElicitRequestParams::FormElicitationParams { meta: None, message, requested_schema: schema };
    Ok(ElicitRequest::new(params))
}

fn said(given: &ElicitResult) -> Said {
    match given.action {
        ElicitationAction::Accept if given.content.as_ref().is_some_and(|content| content[FIELD] == true) => Said::Yes,
        ElicitationAction::Cancel => Said::Nothing("the question was dismissed"),
        _ => Said::No,
    }
}

/// Sends the question, and waits for as long as its plan is good; ends with the call.
async fn ask(call: &Call<'_>, message: String) -> Result<Said> {
    let request = ServerRequest::ElicitRequest(form(message)?);
    let asked = call.context.peer.send_cancellable_request(request, PeerRequestOptions::no_options()).await;
    let mut asked = asked.map_err(|e| unasked(&e))?;
    let waiting = || Update::new(None, "waiting for a person to confirm");
    call.progress.report(waiting());
    let mut signs = interval_at(Instant::now() + SIGN_OF_LIFE, SIGN_OF_LIFE);
    let late = sleep(GOOD_FOR);
    tokio::pin!(late);
    let why = loop {
        tokio::select! {
            biased;
            () = call.context.ct.cancelled() => break Err("the call was cancelled while a person was asked"),
            answer = &mut asked.rx => {
                return match answer.unwrap_or(Err(ServiceError::TransportClosed)) {
                    Ok(ClientResult::ElicitResult(given)) => Ok(said(&given)),
                    Ok(_) => Err(unasked(&ServiceError::UnexpectedResponse)),
                    Err(e) => Err(unasked(&e)),
                };
            }
            () = &mut late => break Ok("nobody answered within ten minutes"),
            _ = signs.tick() => call.progress.report(waiting()),
        }
    };
    // The client may take the question away.
    let reason = why.unwrap_or_else(|why| why);
    drop(asked.cancel(Some(reason.to_owned())).await);
    why.map(Said::Nothing).map_err(|why| Error::new(Kind::Cancelled, why).hint(NOTHING))
}

fn unasked(error: &ServiceError) -> Error {
    Error::new(Kind::Denied, format!("a person has to say yes, and the client could not ask one: {error}"))
        .hint(NOTHING)
}

fn refused(said: &Said, summary: &str) -> Error {
    let why = match said {
        Said::Nothing(why) => why,
        Said::No | Said::Yes => "a person said no",
    };
    Error::new(Kind::Denied, format!("{why}: {summary}")).hint("nothing was sent; do not try it again unasked")
}

fn too_often() -> Error {
    Error::new(Kind::Conflict, format!("the plan changed {QUESTIONS} times while a person was asked"))
        .hint("nothing was sent; something else is changing the same things")
}
