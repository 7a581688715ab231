//! The server face: lists the tools of the registry and passes calls to the one path; what else the protocol asks for goes
//! to the files beside this one.

use std::sync::{Arc, OnceLock};

use rmcp::{
    ErrorData, RoleServer, ServerHandler,
    model::{
        CallToolRequestParams, CallToolResponse, CallToolResult, CompleteRequestParams, CompleteResult, ContentBlock,
        DiscoverResult, GetPromptRequestParams, GetPromptResponse, JsonObject, ListPromptsResult,
        ListResourceTemplatesResult, ListResourcesResult, ListToolsResult, MetaObject, PaginatedRequestParams,
        ReadResourceRequestParams, ReadResourceResponse, ServerConfig, SubscribeRequestParams, SubscriptionFilter,
        Tool, ToolAnnotations, UnsubscribeRequestParams,
    },
    service::{RequestContext, SubscriptionContext},
};
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use super::{
    about, completion,
    pages::{self, LISTED_MS, SCOPE},
    progress::Forwarder,
    prompts, resources,
    subscriptions::{self, Session},
    watch::Watch,
};
use crate::{
    call::{self, Answer, App, Context},
    error::{Error, Kind},
    policy::Effect,
    tool::Entry,
};

/// The key under which an error's machine-readable form stands in a result's `_meta`.
const ERROR_META: &str = "proxmox-mcp/error";

/// One MCP server; cheap to clone, shares the application and what is watched. A clone is the same connection.
#[derive(Clone)]
pub struct Server {
    app: Arc<App>,
    tools: Arc<OnceLock<Vec<Tool>>>,
    watch: Arc<Watch>,
    session: Arc<Session>,
    /// Cancels every call: the program ends.
    end: CancellationToken,
}

impl Server {
    /// One for the whole process: connections after the first are made with [`Server::another`].
    pub fn new(app: Arc<App>) -> Self {
        let watch = Watch::new(Arc::clone(&app));
        Self { app, tools: Arc::default(), watch, session: Arc::default(), end: CancellationToken::new() }
    }

    /// The same server for another connection.
    pub fn another(&self) -> Self {
        Self { session: Arc::default(), ..self.clone() }
    }

    /// Cancelled when the connection's client has said its last word: streams of news would never end by themselves.
    pub(super) fn session_ended(&self) -> CancellationToken {
        self.session.ended()
    }

    /// With what cancels every call that still runs.
    pub fn ended_by(self, end: CancellationToken) -> Self {
        Self { end, ..self }
    }

    /// Runs a call, and cancels it when the program ends.
    async fn unless_it_ends<T>(&self, cancel: &CancellationToken, call: impl Future<Output = T>) -> T {
        let ended = async {
            self.end.cancelled().await;
            cancel.cancel();
            std::future::pending().await
        };
        tokio::select! {
            outcome = call => outcome,
            outcome = ended => outcome,
        }
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
        about::config()
    }

    async fn discover(&self, _: RequestContext<RoleServer>) -> Result<DiscoverResult, ErrorData> {
        let versions = self.supported_protocol_versions().into_owned();
        let result = DiscoverResult::from_server_info(versions, self.get_info());
        Ok(result.with_ttl_ms(LISTED_MS).with_cache_scope(SCOPE))
    }

    async fn list_tools(
        &self,
        request: Option<PaginatedRequestParams>,
        _: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        // All at once: clients that read only the first page are not rare.
        let (tools, _) = pages::page(self.tools(), usize::MAX, request, |tool| tool.name.to_string())?;
        Ok(ListToolsResult::with_all_items(tools).with_ttl_ms(LISTED_MS).with_cache_scope(SCOPE))
    }

    async fn list_resources(
        &self,
        request: Option<PaginatedRequestParams>,
        _: RequestContext<RoleServer>,
    ) -> Result<ListResourcesResult, ErrorData> {
        resources::list(&self.app, request)
    }

    async fn list_resource_templates(
        &self,
        request: Option<PaginatedRequestParams>,
        _: RequestContext<RoleServer>,
    ) -> Result<ListResourceTemplatesResult, ErrorData> {
        resources::templates(&self.app, request)
    }

    async fn read_resource(
        &self,
        request: ReadResourceRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<ReadResourceResponse, ErrorData> {
        resources::read(&self.app, &request.uri, context.ct).await.map(Into::into)
    }

    async fn subscribe(
        &self,
        request: SubscribeRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<(), ErrorData> {
        self.session.subscribe(&self.app, &self.watch, request.uri, context.peer).await
    }

    async fn unsubscribe(
        &self,
        request: UnsubscribeRequestParams,
        _: RequestContext<RoleServer>,
    ) -> Result<(), ErrorData> {
        self.session.unsubscribe(&request.uri);
        Ok(())
    }

    fn accepted_subscription_filter(&self, requested: &SubscriptionFilter) -> Option<SubscriptionFilter> {
        Some(subscriptions::accepted(&self.app, &self.watch, requested))
    }

    async fn listen(&self, context: SubscriptionContext) -> Result<(), ErrorData> {
        self.session.listen(&self.app, &self.watch, context).await
    }

    async fn list_prompts(
        &self,
        request: Option<PaginatedRequestParams>,
        _: RequestContext<RoleServer>,
    ) -> Result<ListPromptsResult, ErrorData> {
        prompts::list(&self.app, request)
    }

    async fn get_prompt(
        &self,
        request: GetPromptRequestParams,
        _: RequestContext<RoleServer>,
    ) -> Result<GetPromptResponse, ErrorData> {
        prompts::get(&self.app, request).map(Into::into)
    }

    async fn complete(
        &self,
        request: CompleteRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<CompleteResult, ErrorData> {
        completion::complete(&self.app, request, context.ct).await
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
        let cx = Context { progress, cancel: context.ct.child_token(), ..Context::default() };
        let call = call::run(&self.app, &request.name, request.arguments.unwrap_or_default(), &cx);
        let outcome = self.unless_it_ends(&cx.cancel, call).await;
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
