//! The server face: lists the tools of the registry and passes calls to the one path.

use std::sync::{Arc, OnceLock};

use rmcp::{
    ErrorData, RoleServer, ServerHandler, ServiceExt,
    model::{
        CallToolRequestParams, CallToolResponse, CancelTaskParams, GetTaskParams, GetTaskResult, Implementation,
        JsonObject, ListToolsResult, PaginatedRequestParams, ServerCapabilities, ServerConfig, Tool, ToolAnnotations,
        UpdateTaskParams,
    },
    service::RequestContext,
};
use serde_json::Value;

use super::{calls, tasks};
use crate::{
    call::App,
    error::{Error, Result},
    policy::Effect,
    router::{self, Face},
    tool::Entry,
};

const INSTRUCTIONS: &str = "Runs a Proxmox VE cluster. Guests are chosen by vmid or exact name; node is needed only where guests share a name. Lists \
return limit rows; give next_cursor as cursor for the rest. Tools that change something take \
dry_run (shows the exact requests, sends nothing); where confirm is listed, show the plan to the user before calling with confirm: true. \
Calls that start a task return its UPID at once, or wait with wait: true (timeout and poll_interval in seconds, listed or not; cancel_task_on_abort: true stops the task if the call is cancelled); follow a UPID with proxmox-wait-task. \
Sizes are MiB and GiB, times seconds.";

/// In place of the above where the tools stand behind three.
const ROUTER_INSTRUCTIONS: &str = "Runs a Proxmox VE cluster. Find tools with proxmox-find-tools, then call those whose effect is read with proxmox-read and \
all others with proxmox-write. Guests are chosen by vmid or exact name; node is needed only where guests share a name. Lists \
return limit rows; give next_cursor as cursor for the rest. Tools that change something take \
dry_run (shows the exact requests, sends nothing); where confirm is listed, show the plan to the user before calling with confirm. \
Calls that start a task return its UPID at once, or wait with wait: true (timeout and poll_interval in seconds); follow a UPID with proxmox-wait-task. \
Sizes are MiB and GiB, times seconds.";

/// One MCP server; cheap to clone, shares the application.
#[derive(Clone)]
pub struct Server {
    app: Arc<App>,
    tools: Arc<OnceLock<Vec<Tool>>>,
}

impl Server {
    pub fn new(app: Arc<App>) -> Self {
        Self { app, tools: Arc::default() }
    }

    fn tools(&self) -> &[Tool] {
        self.tools.get_or_init(|| {
            if self.app.face() == Face::Router {
                return router::TOOLS.iter().map(describe_router).collect();
            }
            let clusters = self.app.names();
            // One for all that change something: there are many of them.
            let outcome = OnceLock::new();
            let output = |entry: &Entry| match entry.control {
                Some(_) => Arc::clone(outcome.get_or_init(|| Arc::new(entry.listed_output_schema(&clusters)))),
                None => Arc::new(entry.listed_output_schema(&clusters)),
            };
            self.app.tools().map(|(entry, schema)| describe(entry, schema, output(entry))).collect()
        })
    }
}

/// Serves until stdin ends; calls under way are let to end first.
///
/// # Errors
/// A client that does not speak the protocol.
pub async fn serve_stdio(app: Arc<App>) -> Result<()> {
    // The pipe transport works on what MCP clients give; anything else (a file, a terminal) falls back to blocking reads.
    let running = match Server::new(app).serve(rmcp::transport::stdio_pipes()).await {
        Ok(running) => running,
        // A client that goes before it has said anything is no fault.
        Err(rmcp::service::ServerInitializeError::ConnectionClosed(_)) => return Ok(()),
        Err(e) => return Err(Error::internal(format!("MCP over stdio: {e}"))),
    };
    running.waiting().await.map_err(|e| Error::internal(format!("MCP over stdio: {e}")))?;
    Ok(())
}

fn describe(entry: &Entry, schema: JsonObject, output: Arc<JsonObject>) -> Tool {
    let mut tool = Tool::new(entry.name, entry.description(), Arc::new(schema));
    tool.title = Some(entry.title.to_owned());
    tool.output_schema = Some(output);
    tool.annotations = Some(hints(entry.title, entry.effect));
    tool
}

/// Without an output schema: what comes out is what the tool that is meant returns.
fn describe_router(router: &router::Tool) -> Tool {
    let mut tool = Tool::new(router.name, router.description, Arc::new(router.input_schema()));
    tool.title = Some(router.title.to_owned());
    tool.annotations = Some(hints(router.title, router.effect));
    tool
}

/// What clients go by when they ask their user.
fn hints(title: &str, effect: Effect) -> ToolAnnotations {
    ToolAnnotations::with_title(title)
        .read_only(effect == Effect::Read)
        .destructive(effect >= Effect::Destroy)
        .idempotent(effect == Effect::Read)
        .open_world(false)
}

impl ServerHandler for Server {
    fn get_info(&self) -> ServerConfig {
        ServerConfig::new(ServerCapabilities::builder().enable_tools().enable_tasks().build())
            .with_server_info(
                Implementation::new(env!("CARGO_PKG_NAME"), env!("CARGO_PKG_VERSION")).with_title("Proxmox VE"),
            )
            .with_instructions(if self.app.face() == Face::Router { ROUTER_INSTRUCTIONS } else { INSTRUCTIONS })
    }

    async fn list_tools(
        &self,
        _: Option<PaginatedRequestParams>,
        _: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        Ok(ListToolsResult::with_all_items(self.tools().to_vec()))
    }

    fn get_tool(&self, name: &str) -> Option<Tool> {
        self.tools().iter().find(|tool| tool.name == name).cloned()
    }

    async fn call_tool(
        &self,
        request: CallToolRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        calls::run(&self.app, request, context).await
    }

    async fn get_task(
        &self,
        request: GetTaskParams,
        context: RequestContext<RoleServer>,
    ) -> Result<GetTaskResult, ErrorData> {
        tasks::get(&self.app, request.task_id, &context).await
    }

    async fn update_task(&self, request: UpdateTaskParams, _: RequestContext<RoleServer>) -> Result<(), ErrorData> {
        tasks::update(&self.app, &request.task_id)
    }

    async fn cancel_task(
        &self,
        request: CancelTaskParams,
        context: RequestContext<RoleServer>,
    ) -> Result<(), ErrorData> {
        tasks::cancel(&self.app, &request.task_id, &context).await
    }
}

/// `Value` as the arguments of a call.
pub(super) fn object(value: Value) -> JsonObject {
    match value {
        Value::Object(map) => map,
        _ => JsonObject::new(),
    }
}
