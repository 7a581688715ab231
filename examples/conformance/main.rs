//! What the official MCP conformance suite is run against: this program's own server on the simulated cluster, over
//! Streamable HTTP, and beside its tools those that the suite asks for by name. For tests only. Prints its address.
#![expect(clippy::expect_used, clippy::print_stdout, reason = "a program for tests")]

mod lists;
mod rounds;
mod tasks;
mod tools;

use std::sync::Arc;

use axum::Router;
use proxmox_mcp::{
    call::{App, Cluster},
    config::{Limits, Safety, Web},
    embedded,
    ending::Ending,
    mcp::Server,
    pve::Client,
    sandbox::{Options, Sandbox},
    web::{Listener, serve_on},
};
use rmcp::{
    ErrorData, RoleServer, ServerHandler,
    model::*,
    service::{NotificationContext, RequestContext, SubscriptionContext, SubscriptionSink},
    task_manager::TaskManager,
    transport::streamable_http_server::{
        StreamableHttpServerConfig, StreamableHttpService, session::local::LocalSessionManager,
    },
};
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::sync::broadcast;

/// Our server, with the suite's fixtures added. What is not one of them goes to ours.
#[derive(Clone)]
struct Subject {
    ours: Server,
    tasks: TaskManager,
    state: RequestStateCodec,
    /// Lists that a fixture claims to have changed.
    changes: broadcast::Sender<Changed>,
}

#[derive(Debug, Clone, Copy)]
enum Changed {
    Tools,
    Prompts,
}

/// A value of the protocol from the JSON that it is on the wire.
fn wire<T: DeserializeOwned>(value: Value) -> T {
    serde_json::from_value(value).expect("a fixture is what the protocol says")
}

impl Subject {
    fn new(ours: Server) -> Self {
        let state = RequestStateCodec::try_new(*b"the conformance suite's own key!").expect("long enough");
        Self { ours, tasks: TaskManager::new(), state, changes: broadcast::channel(16).0 }
    }

    /// For another session.
    fn another(&self) -> Self {
        Self { ours: self.ours.another(), ..self.clone() }
    }

    /// Ours, and what the fixtures need beyond them.
    fn capabilities(&self) -> ServerCapabilities {
        let mut all = self.ours.get_info().capabilities;
        all.tools.get_or_insert_default().list_changed = Some(true);
        all.prompts.get_or_insert_default().list_changed = Some(true);
        all.resources.get_or_insert_default().subscribe = Some(true);
        all.completions.get_or_insert_default();
        all.logging.get_or_insert_default();
        let with_tasks = ServerCapabilities::builder().enable_tasks().build();
        all.extensions.get_or_insert_default().extend(with_tasks.extensions.unwrap_or_default());
        all
    }

    async fn tell_changes(&self, sink: &SubscriptionSink) {
        let mut changes = self.changes.subscribe();
        while let Ok(change) = changes.recv().await {
            // One that was not asked for is refused by the sink.
            drop(match change {
                Changed::Tools => sink.notify_tool_list_changed().await,
                Changed::Prompts => sink.notify_prompt_list_changed().await,
            });
        }
    }
}

impl ServerHandler for Subject {
    fn get_info(&self) -> ServerConfig {
        let mut info = self.ours.get_info();
        info.capabilities = self.capabilities();
        info
    }

    fn supported_protocol_versions(&self) -> std::borrow::Cow<'static, [ProtocolVersion]> {
        self.ours.supported_protocol_versions()
    }

    async fn initialize(
        &self,
        request: InitializeRequestParams,
        cx: RequestContext<RoleServer>,
    ) -> Result<InitializeResult, ErrorData> {
        let mut result = self.ours.initialize(request, cx).await?;
        result.capabilities = self.capabilities();
        Ok(result)
    }

    async fn discover(&self, cx: RequestContext<RoleServer>) -> Result<DiscoverResult, ErrorData> {
        let mut result = self.ours.discover(cx).await?;
        result.capabilities = self.capabilities();
        Ok(result)
    }

    async fn ping(&self, cx: RequestContext<RoleServer>) -> Result<(), ErrorData> {
        self.ours.ping(cx).await
    }

    async fn list_tools(
        &self,
        page: Option<PaginatedRequestParams>,
        cx: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        let mut result = self.ours.list_tools(page, cx).await?;
        if result.next_cursor.is_none() {
            result.tools.extend(lists::tools());
        }
        Ok(result)
    }

    fn get_tool(&self, name: &str) -> Option<Tool> {
        lists::tools().into_iter().find(|tool| tool.name == name).or_else(|| self.ours.get_tool(name))
    }

    async fn call_tool(
        &self,
        request: CallToolRequestParams,
        cx: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        if lists::tools().iter().all(|tool| tool.name != request.name) {
            return self.ours.call_tool(request, cx).await;
        }
        if let Some(answer) = rounds::call(self, &request, &cx) {
            return answer;
        }
        if let Some(answer) = tasks::call(&self.tasks, &request, &cx).await {
            return answer;
        }
        tools::call(self, request, cx).await
    }

    async fn list_resources(
        &self,
        page: Option<PaginatedRequestParams>,
        cx: RequestContext<RoleServer>,
    ) -> Result<ListResourcesResult, ErrorData> {
        let mut result = self.ours.list_resources(page, cx).await?;
        if result.next_cursor.is_none() {
            result.resources.extend(lists::resources());
        }
        Ok(result)
    }

    async fn list_resource_templates(
        &self,
        page: Option<PaginatedRequestParams>,
        cx: RequestContext<RoleServer>,
    ) -> Result<ListResourceTemplatesResult, ErrorData> {
        let mut result = self.ours.list_resource_templates(page, cx).await?;
        if result.next_cursor.is_none() {
            result.resource_templates.extend(lists::templates());
        }
        Ok(result)
    }

    async fn read_resource(
        &self,
        request: ReadResourceRequestParams,
        cx: RequestContext<RoleServer>,
    ) -> Result<ReadResourceResponse, ErrorData> {
        match lists::resource(&request.uri) {
            Some(contents) => Ok(ReadResourceResult::new(vec![contents]).into()),
            None => self.ours.read_resource(request, cx).await,
        }
    }

    #[expect(deprecated, reason = "the older era subscribes this way")]
    async fn subscribe(
        &self,
        request: SubscribeRequestParams,
        cx: RequestContext<RoleServer>,
    ) -> Result<(), ErrorData> {
        // Nothing under test:// ever changes.
        if request.uri.starts_with("test://") { Ok(()) } else { self.ours.subscribe(request, cx).await }
    }

    #[expect(deprecated, reason = "the older era subscribes this way")]
    async fn unsubscribe(
        &self,
        request: UnsubscribeRequestParams,
        cx: RequestContext<RoleServer>,
    ) -> Result<(), ErrorData> {
        if request.uri.starts_with("test://") { Ok(()) } else { self.ours.unsubscribe(request, cx).await }
    }

    fn accepted_subscription_filter(&self, requested: &SubscriptionFilter) -> Option<SubscriptionFilter> {
        let mut accepted = self.ours.accepted_subscription_filter(requested).unwrap_or_default();
        accepted.tools_list_changed = requested.tools_list_changed;
        accepted.prompts_list_changed = requested.prompts_list_changed;
        Some(accepted)
    }

    async fn listen(&self, context: SubscriptionContext) -> Result<(), ErrorData> {
        let sink = context.sink().clone();
        tokio::select! {
            ended = self.ours.listen(context) => ended,
            () = self.tell_changes(&sink) => Ok(()),
        }
    }

    async fn list_prompts(
        &self,
        page: Option<PaginatedRequestParams>,
        cx: RequestContext<RoleServer>,
    ) -> Result<ListPromptsResult, ErrorData> {
        let mut result = self.ours.list_prompts(page, cx).await?;
        if result.next_cursor.is_none() {
            result.prompts.extend(lists::prompts());
        }
        Ok(result)
    }

    async fn get_prompt(
        &self,
        request: GetPromptRequestParams,
        cx: RequestContext<RoleServer>,
    ) -> Result<GetPromptResponse, ErrorData> {
        if request.name == "test_input_required_result_prompt" {
            return Ok(rounds::prompt(&request));
        }
        match lists::prompt(&request) {
            Some(result) => Ok(result.into()),
            None => self.ours.get_prompt(request, cx).await,
        }
    }

    async fn complete(
        &self,
        request: CompleteRequestParams,
        cx: RequestContext<RoleServer>,
    ) -> Result<CompleteResult, ErrorData> {
        match &request.r#ref {
            Reference::Prompt(prompt) if prompt.name.starts_with("test_") => Ok(CompleteResult::default()),
            _ => self.ours.complete(request, cx).await,
        }
    }

    #[expect(deprecated, reason = "the older era has it")]
    async fn set_level(&self, _: SetLevelRequestParams, _: RequestContext<RoleServer>) -> Result<(), ErrorData> {
        // Fixtures log at the level `info` only, and the suite never asks for less.
        Ok(())
    }

    async fn get_task(
        &self,
        request: GetTaskParams,
        cx: RequestContext<RoleServer>,
    ) -> Result<GetTaskResult, ErrorData> {
        match self.tasks.get_task(&request.task_id) {
            Ok(task) => Ok(GetTaskResult::new(task)),
            Err(unknown) => self.ours.get_task(request, cx).await.map_err(|e| known(e, unknown)),
        }
    }

    async fn update_task(&self, request: UpdateTaskParams, cx: RequestContext<RoleServer>) -> Result<(), ErrorData> {
        match self.tasks.update_task(&request.task_id, request.input_responses.clone()) {
            Ok(()) => Ok(()),
            Err(unknown) => self.ours.update_task(request, cx).await.map_err(|e| known(e, unknown)),
        }
    }

    async fn cancel_task(&self, request: CancelTaskParams, cx: RequestContext<RoleServer>) -> Result<(), ErrorData> {
        match self.tasks.cancel_task(&request.task_id) {
            Ok(()) => Ok(()),
            Err(unknown) => self.ours.cancel_task(request, cx).await.map_err(|e| known(e, unknown)),
        }
    }

    async fn on_custom_request(
        &self,
        request: CustomRequest,
        cx: RequestContext<RoleServer>,
    ) -> Result<CustomResult, ErrorData> {
        self.ours.on_custom_request(request, cx).await
    }

    async fn on_cancelled(&self, note: CancelledNotificationParam, cx: NotificationContext<RoleServer>) {
        self.ours.on_cancelled(note, cx).await;
    }

    async fn on_initialized(&self, cx: NotificationContext<RoleServer>) {
        self.ours.on_initialized(cx).await;
    }
}

/// Our server's error about a task, unless it knows no tasks at all.
fn known(ours: ErrorData, unknown: ErrorData) -> ErrorData {
    if ours.code == ErrorCode::METHOD_NOT_FOUND { unknown } else { ours }
}

#[tokio::main]
async fn main() {
    let sandbox = Sandbox::new(Options::default());
    let config = embedded::cluster_config(&sandbox);
    let client = Client::with_transport(&config, Arc::new(sandbox));
    let clusters = vec![Cluster { name: config.name, client }];
    let app = App::with_clusters(clusters, &Safety::default()).expect("no audit log to open");
    let subject = Subject::new(Server::new(Arc::new(app)));

    let config = StreamableHttpServerConfig::default().with_allowed_origins([
        "http://localhost:*",
        "http://127.0.0.1:*",
        "http://[::1]:*",
    ]);
    let sessions = Arc::new(LocalSessionManager::default());
    let service = StreamableHttpService::new(move || Ok(subject.another()), sessions, config);

    let listener = Listener::bind(([127, 0, 0, 1], 0).into(), &Web::default()).await.expect("a free port");
    println!("{}/mcp", listener.url());
    let routes = Router::new().fallback_service(service);
    serve_on(listener, routes, Limits::default(), Ending::default()).await;
}
