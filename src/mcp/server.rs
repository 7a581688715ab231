//! The server face: lists the tools of the registry and passes calls to the one path.

use std::sync::{Arc, OnceLock};

use rmcp::{
    ErrorData, RoleServer, ServerHandler, ServiceExt,
    model::{
        CallToolRequestParams, CallToolResponse, CallToolResult, ContentBlock, Implementation, JsonObject,
        ListToolsResult, MetaObject, PaginatedRequestParams, ServerCapabilities, ServerConfig, Tool, ToolAnnotations,
    },
    service::RequestContext,
};
use serde_json::Value;

use super::progress::Forwarder;
use crate::{
    call::{self, Answer, App, Context},
    error::{Error, Kind, Result},
    policy::Effect,
    tool::Entry,
};

const INSTRUCTIONS: &str = "Runs a Proxmox VE cluster. Guests are chosen by vmid or exact name; node is needed only where guests share a name. Lists \
return limit rows; give next_cursor as cursor for the rest. Tools that change something take \
dry_run (shows the exact requests, sends nothing); where confirm is listed, show the plan to the user before calling with confirm: true. \
Calls that start a task return its UPID at once, or wait with wait: true (timeout and poll_interval in seconds, listed or not); follow a UPID with proxmox-wait-task. \
Sizes are MiB and GiB, times seconds.";

/// The key under which an error's machine-readable form stands in a result's `_meta`.
const ERROR_META: &str = "proxmox-mcp/error";

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
    tool.annotations = Some(
        ToolAnnotations::with_title(entry.title)
            .read_only(entry.effect == Effect::Read)
            .destructive(entry.may_destroy())
            .idempotent(entry.effect == Effect::Read)
            .open_world(false),
    );
    tool
}

fn success(answer: Answer) -> CallToolResult {
    let mut result = CallToolResult::success(vec![ContentBlock::text(answer.text())]);
    result.structured_content = Some(answer.data);
    result
}

/// An error as text for the model, and as data in `_meta`: `structuredContent` is held to the tool's output schema by
/// some clients even for errors.
fn failure(error: &Error) -> CallToolResult {
    let mut result = CallToolResult::error(vec![ContentBlock::text(error.report())]);
    if let Ok(parts) = serde_json::to_value(error.parts()) {
        let mut meta = MetaObject::default();
        meta.insert(ERROR_META.to_owned(), parts);
        result.meta = Some(meta);
    }
    result
}

impl ServerHandler for Server {
    fn get_info(&self) -> ServerConfig {
        ServerConfig::new(ServerCapabilities::builder().enable_tools().build())
            .with_server_info(
                Implementation::new(env!("CARGO_PKG_NAME"), env!("CARGO_PKG_VERSION")).with_title("Proxmox VE"),
            )
            .with_instructions(INSTRUCTIONS)
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
        if call::is_unknown_tool(&request.name) {
            let error = call::unknown_tool(&request.name);
            return Err(ErrorData::invalid_params(error.report(), None));
        }
        let (progress, forwarder) = match context.meta.get_progress_token() {
            Some(token) => {
                let (progress, forwarder) = Forwarder::start(context.peer.clone(), token);
                (progress, Some(forwarder))
            }
            None => Default::default(),
        };
        let cx = Context { progress, cancel: context.ct.clone(), ..Context::default() };
        let outcome = call::run(&self.app, &request.name, request.arguments.unwrap_or_default(), &cx).await;
        drop(cx);
        if let Some(forwarder) = forwarder {
            forwarder.finish().await;
        }
        Ok(match outcome {
            Ok(answer) => success(answer),
            Err(error) => {
                if error.kind() == Kind::Internal {
                    tracing::error!(tool = %request.name, "{error}");
                }
                failure(&error)
            }
        }
        .into())
    }
}

/// `Value` as the arguments of a call.
pub(super) fn object(value: Value) -> JsonObject {
    match value {
        Value::Object(map) => map,
        _ => JsonObject::new(),
    }
}
