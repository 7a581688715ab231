//! The fixtures of the tasks extension: calls that are answered with a task, where the client knows tasks.

use std::time::Duration;

use rmcp::{
    ErrorData, RoleServer,
    model::*,
    service::RequestContext,
    task_manager::{TaskContext, TaskExit, TaskFuture, TaskManager, TaskOptions},
};
use serde_json::{Value, json};

use crate::{
    rounds::{field, form},
    tools::text,
    wire,
};

type Answer = Result<CallToolResponse, ErrorData>;

/// A call of one of these tools; `None`: it is another.
pub async fn call(
    tasks: &TaskManager,
    request: &CallToolRequestParams,
    cx: &RequestContext<RoleServer>,
) -> Option<Answer> {
    let argument = |name: &str| request.arguments.as_ref().and_then(|all| all.get(name)).cloned().unwrap_or_default();
    let knows_tasks = cx.client_capabilities().is_some_and(|has| has.supports_tasks());
    let seconds = argument("seconds").as_f64().unwrap_or_default();
    match request.name.as_ref() {
        "greet" => {
            return Some(Ok(text(format!("Hello, {}!", argument("name").as_str().unwrap_or_default())).into()));
        }
        // The only one that can do without.
        "slow_compute" if !knows_tasks => {
            tokio::time::sleep(Duration::from_secs_f64(seconds)).await;
            return Some(Ok(text("Computed.").into()));
        }
        "slow_compute"
        | "failing_job"
        | "protocol_error_job"
        | "confirm_delete"
        | "multi_input"
        | "test_tool_with_task" => {}
        _ => return None,
    }
    if !knows_tasks {
        let needed = ClientCapabilities::builder().enable_tasks().build();
        return Some(Err(ErrorData::missing_required_client_capability(needed)));
    }
    let user = field(request.input_responses.as_ref(), "user_name", "name").and_then(Value::as_str).map(str::to_owned);
    if request.name == "test_tool_with_task" && user.is_none() {
        let question = wire(json!({"user_name": form("What is your name?", "name", "string")}));
        return Some(Ok(InputRequiredResult::from_input_requests(question).into()));
    }
    let tool = request.name.to_string();
    let task = tasks.spawn(TaskOptions::new().with_poll_interval_ms(200), move |task| -> TaskFuture {
        Box::pin(async move {
            match tool.as_str() {
                "slow_compute" => compute(&task, seconds).await,
                "failing_job" => Ok(CallToolResult::error(vec![ContentBlock::text("The job failed.")])),
                "protocol_error_job" => Err(ErrorData::internal_error("the job broke", None).into()),
                "confirm_delete" => {
                    let answer = ask(&task, "confirm").await?;
                    Ok(text(format!("Answered: {answer}")))
                }
                "multi_input" => {
                    let (one, two) = futures::try_join!(ask(&task, "first"), ask(&task, "second"))?;
                    Ok(text(format!("Answered: {one}, {two}")))
                }
                _ => Ok(text(format!("Hello, {}!", user.unwrap_or_default()))),
            }
        })
    });
    Some(Ok(CreateTaskResult::new(task).into()))
}

async fn compute(task: &TaskContext, seconds: f64) -> Result<CallToolResult, TaskExit> {
    tokio::select! {
        () = tokio::time::sleep(Duration::from_secs_f64(seconds)) => Ok(text("Computed.")),
        () = task.cancelled() => Err(TaskExit::Cancelled),
    }
}

async fn ask(task: &TaskContext, key: &str) -> Result<Value, TaskExit> {
    task.request_input(key, wire(form("Shall it be done?", "ok", "boolean"))).await
}
