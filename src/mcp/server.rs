//! The server face: lists the tools of the registry and passes calls to the one path; what else the protocol asks for goes
//! to the files beside this one.

use std::sync::{Arc, OnceLock};

use rmcp::{
    ErrorData, RoleServer, ServerHandler,
    model::{
        CallToolRequestParams, CallToolResponse, CancelTaskParams, CompleteRequestParams, CompleteResult,
        DiscoverResult, GetPromptRequestParams, GetPromptResponse, GetTaskParams, GetTaskResult, JsonObject,
        ListPromptsResult, ListResourceTemplatesResult, ListResourcesResult, ListToolsResult, PaginatedRequestParams,
        ReadResourceRequestParams, ReadResourceResponse, ServerConfig, SubscribeRequestParams, SubscriptionFilter,
        Tool, ToolAnnotations, UnsubscribeRequestParams, UpdateTaskParams,
    },
    service::{RequestContext, SubscriptionContext},
};
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use super::{
    about, calls, completion,
    pages::{self, LISTED_MS, SCOPE},
    prompts, resources,
    subscriptions::{self, Session},
    tasks,
    watch::Watch,
};
use crate::{
    call::App,
    ending::Ending,
    policy::Effect,
    router::{self, Face},
    tool::Entry,
    tool_names::{self, Listed},
};

/// One MCP server; cheap to clone, shares the application and what is watched. A clone is the same connection.
#[derive(Clone)]
pub struct Server {
    app: Arc<App>,
    tools: Arc<OnceLock<Vec<Tool>>>,
    watch: Arc<Watch>,
    session: Arc<Session>,
    ending: Ending,
}

impl Server {
    /// One for the whole process: connections after the first are made with [`Server::another`].
    pub fn new(app: Arc<App>) -> Self {
        let watch = Watch::new(Arc::clone(&app));
        Self { app, tools: Arc::default(), watch, session: Arc::default(), ending: Ending::default() }
    }

    /// The same server for another connection.
    pub fn another(&self) -> Self {
        Self { session: Arc::default(), ..self.clone() }
    }

    /// With the end of the program: first of the streams of news, which would never end by themselves, then of the calls.
    pub fn ended_by(self, ending: Ending) -> Self {
        Self { ending, ..self }
    }

    /// Runs a call, and cancels it when the program ends.
    async fn unless_it_ends<T>(&self, cancel: &CancellationToken, call: impl Future<Output = T>) -> T {
        let ended = async {
            self.ending.calls.cancelled().await;
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
            if self.app.face() == Face::Router {
                return router::listed(&self.app).map(describe_router).collect();
            }
            let clusters = self.app.names();
            // One for all that change something: there are many of them.
            let outcome = OnceLock::new();
            let output = |entry: &Entry| match entry.control {
                Some(_) => Arc::clone(outcome.get_or_init(|| Arc::new(entry.listed_output_schema(&clusters)))),
                None => Arc::new(entry.listed_output_schema(&clusters)),
            };
            let listed = tool_names::listed(&self.app).into_iter();
            listed
                .map(|tool| {
                    let output = output(tool.entry);
                    describe(tool, output)
                })
                .collect()
        })
    }
}

fn describe(listed: Listed, output: Arc<JsonObject>) -> Tool {
    let mut tool = Tool::new(listed.name, listed.description, Arc::new(listed.input));
    tool.title = Some(listed.title.to_owned());
    tool.output_schema = Some(output);
    tool.annotations = Some(hints(listed.title, listed.effect, listed.destroys));
    tool
}

/// Without an output schema: what comes out is what the tool that is meant returns.
fn describe_router(router: &router::Tool) -> Tool {
    let mut tool = Tool::new(router.name, router.description, Arc::new(router.input_schema()));
    tool.title = Some(router.title.to_owned());
    tool.annotations = Some(hints(router.title, router.effect, router.effect >= Effect::Destroy));
    tool
}

/// What clients go by when they ask their user.
fn hints(title: &str, effect: Effect, destroys: bool) -> ToolAnnotations {
    ToolAnnotations::with_title(title)
        .read_only(effect == Effect::Read)
        .destructive(destroys)
        .idempotent(effect == Effect::Read)
        .open_world(false)
}

impl ServerHandler for Server {
    fn get_info(&self) -> ServerConfig {
        about::config(&self.app)
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
        subscriptions::listen(&self.app, &self.watch, context, &self.ending.begun).await
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
        mut context: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        // The end of the program cancels it as its caller can.
        context.ct = context.ct.child_token();
        let cancel = context.ct.clone();
        self.unless_it_ends(&cancel, calls::run(&self.app, request, context)).await
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
