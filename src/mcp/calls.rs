//! One `tools/call`: who calls, where the progress goes, what comes back. Whether a person is asked is for `asking.rs`,
//! what becomes a task for `tasks.rs`.

use rmcp::{
    ErrorData, RoleServer,
    model::{
        CallToolRequestParams, CallToolResponse, CallToolResult, ContentBlock, CreateTaskResult, Implementation,
        InputRequiredResult, InputResponses, JsonObject, MetaObject,
    },
    service::RequestContext,
};

use super::{asking, progress::Forwarder, tasks};
use crate::{
    call::{Answer, App, Context, Person},
    error::{Error, Kind, Result},
    hand_over::HandOver,
    progress::Progress,
    tool_names,
    web::RequestId,
};

/// The key under which an error's machine-readable form stands in a result's `_meta`.
const ERROR_META: &str = "proxmox-mcp/error";

/// One call as it came.
pub struct Call<'a> {
    pub app: &'a App,
    pub tool: &'a str,
    pub arguments: JsonObject,
    /// What the client answered to the questions of the round before, and the state that it gave back.
    pub responses: Option<InputResponses>,
    pub state: Option<String>,
    pub context: &'a RequestContext<RoleServer>,
    pub progress: Progress,
}

/// What comes of one.
pub enum Reply {
    Answer(Answer),
    /// A question, to be answered with the next round.
    Question(InputRequiredResult),
    /// The handle of a task that goes on.
    Task(CreateTaskResult),
}

/// Answers a call.
///
/// # Errors
/// A tool that is not there; all else is a result.
pub async fn run(
    app: &App,
    request: CallToolRequestParams,
    context: RequestContext<RoleServer>,
) -> Result<CallToolResponse, ErrorData> {
    if !tool_names::knows(app, &request.name) {
        let error = tool_names::unknown(app, &request.name);
        return Err(ErrorData::invalid_params(error.report(), None));
    }
    let (progress, forwarder) = match context.meta.get_progress_token() {
        Some(token) => {
            let (progress, forwarder) = Forwarder::start(context.peer.clone(), token);
            (progress, Some(forwarder))
        }
        None => Default::default(),
    };
    let call = Call {
        app,
        tool: &request.name,
        arguments: request.arguments.unwrap_or_default(),
        responses: request.input_responses,
        state: request.request_state,
        context: &context,
        progress,
    };
    let reply = asking::run(&call).await;
    drop(call);
    if let Some(forwarder) = forwarder {
        forwarder.finish().await;
    }
    Ok(match reply {
        Ok(Reply::Answer(answer)) => success(answer).into(),
        Ok(Reply::Question(question)) => question.into(),
        Ok(Reply::Task(task)) => task.into(),
        Err(error) => {
            if error.kind() == Kind::Internal {
                tracing::error!(tool = %request.name, "{error}");
            }
            failure(&error).into()
        }
    })
}

impl Call<'_> {
    /// Goes the one path, once.
    ///
    /// # Errors
    /// The call's.
    pub async fn once(&self, person: Person) -> Result<Reply> {
        let context = Context {
            progress: self.progress.clone(),
            cancel: self.context.ct.clone(),
            client: client(self.context),
            request: request(self.context),
            person,
            hand_over: tasks::hand_over(self.context),
        };
        let answer = tool_names::call(self.app, self.tool, self.arguments.clone(), &context).await?;
        match context.hand_over.as_ref().and_then(HandOver::taken) {
            Some(handed) => tasks::create(self.app, handed, answer).map(Reply::Task),
            None => Ok(Reply::Answer(answer)),
        }
    }
}

/// Who calls, as far as it says.
pub fn client(context: &RequestContext<RoleServer>) -> Option<String> {
    // Where no sessions are kept, rmcp puts its own name for that of a client that said nothing.
    let made_up = |client: &Implementation| parts(context).is_some() && *client == Implementation::default();
    context.client_info().filter(|client| !made_up(client)).map(|client| name(&client))
}

/// The id of the HTTP request that it came with, where it came with one.
pub fn request(context: &RequestContext<RoleServer>) -> Option<String> {
    parts(context)?.extensions.get::<RequestId>().map(|id| id.0.clone())
}

fn parts(context: &RequestContext<RoleServer>) -> Option<&http::request::Parts> {
    context.extensions.get()
}

/// Name and version of a client, as one short line: it may call itself anything.
fn name(client: &Implementation) -> String {
    let text = format!("{} {}", client.name, client.version);
    text.trim().chars().map(|c| if c.is_control() { ' ' } else { c }).take(100).collect()
}

pub fn success(answer: Answer) -> CallToolResult {
    let mut result = CallToolResult::success(vec![ContentBlock::text(answer.text())]);
    result.structured_content = Some(answer.data);
    result
}

/// An error as text for the model, and as data in `_meta`: `structuredContent` is held to the tool's output schema by
/// some clients even for errors.
pub fn failure(error: &Error) -> CallToolResult {
    let mut result = CallToolResult::error(vec![ContentBlock::text(error.report())]);
    if let Ok(parts) = serde_json::to_value(error.parts()) {
        let mut meta = MetaObject::default();
        meta.insert(ERROR_META.to_owned(), parts);
        result.meta = Some(meta);
    }
    result
}
