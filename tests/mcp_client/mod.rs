//! A real MCP client, of either era of the protocol, for what is not a tool call: against a server in this process, on a
//! simulated cluster.
#![expect(clippy::unwrap_used, clippy::panic, reason = "tests")]
#![expect(dead_code, reason = "each test file uses its own part")]

use std::{
    collections::HashMap,
    future::Future,
    sync::{Arc, Mutex},
};

use proxmox_mcp::{call::App, mcp::Server};
use rmcp::{
    ClientHandler, RoleClient, ServiceExt,
    model::{
        ArgumentInfo, CompleteRequestParams, CompletionContext, CompletionInfo, GetPromptRequestParams,
        PaginatedRequestParams, ProtocolVersion, ReadResourceRequestParams, Reference, ResourceContents,
        ResourceUpdatedNotificationParam,
    },
    service::{ClientLifecycleMode, ClientServiceExt, NotificationContext, RunningService, ServiceError},
};
use serde_json::Value;

/// Which protocol the client speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Era {
    /// Up to 2025-11-25: with `initialize`.
    Legacy,
    /// 2026-07-28: stateless.
    Modern,
}

pub const ERAS: [Era; 2] = [Era::Legacy, Era::Modern];

impl Era {
    /// The code of "resource not found".
    pub fn not_found(self) -> i32 {
        if self == Self::Legacy { -32002 } else { -32602 }
    }
}

/// Remembers notifications.
#[derive(Clone, Default)]
pub struct Listener {
    updated: Arc<Mutex<Vec<String>>>,
}

impl ClientHandler for Listener {
    async fn on_resource_updated(&self, note: ResourceUpdatedNotificationParam, _: NotificationContext<RoleClient>) {
        self.updated.lock().unwrap().push(note.uri);
    }
}

pub struct Client {
    pub service: RunningService<RoleClient, Listener>,
    pub updated: Arc<Mutex<Vec<String>>>,
}

/// A client of a server of its own.
pub async fn connect(app: &Arc<App>, era: Era) -> Client {
    join(&Server::new(Arc::clone(app)), era).await
}

/// A client more of this server.
pub async fn join(server: &Server, era: Era) -> Client {
    let (here, there) = tokio::io::duplex(1 << 20);
    let server = server.another();
    tokio::spawn(async move {
        if let Ok(running) = server.serve(there).await {
            drop(running.waiting().await);
        }
    });
    let lifecycle = match era {
        Era::Legacy => ClientLifecycleMode::Initialize,
        Era::Modern => ClientLifecycleMode::Discover { preferred_versions: vec![ProtocolVersion::V_2026_07_28] },
    };
    let listener = Listener::default();
    let updated = Arc::clone(&listener.updated);
    let service = listener.serve_with_lifecycle(here, lifecycle).await.unwrap();
    Client { service, updated }
}

impl Client {
    /// A resource's type and text.
    pub async fn read(&self, uri: &str) -> (String, String) {
        let result = self.service.read_resource(ReadResourceRequestParams::new(uri)).await.unwrap();
        match &result.contents[..] {
            [ResourceContents::TextResourceContents { uri: named, mime_type, text, .. }] => {
                assert_eq!(named, uri);
                (mime_type.clone().unwrap_or_default(), text.clone())
            }
            other => panic!("{uri}: {other:?}"),
        }
    }

    /// A resource that is JSON.
    pub async fn json(&self, uri: &str) -> Value {
        let (mime_type, text) = self.read(uri).await;
        assert_eq!(mime_type, "application/json", "{uri}");
        serde_json::from_str(&text).unwrap()
    }

    /// Code and words of a read that must fail.
    pub async fn unreadable(&self, uri: &str) -> (i32, String) {
        refusal(self.service.read_resource(ReadResourceRequestParams::new(uri))).await
    }

    pub async fn prompt(&self, name: &str, arguments: Value) -> String {
        let result = self.service.get_prompt(with_arguments(name, arguments)).await.unwrap();
        let texts = result.messages.iter().filter_map(|message| message.content.as_text());
        texts.map(|text| text.text.as_str()).collect::<Vec<_>>().join("\n")
    }

    pub async fn no_prompt(&self, name: &str, arguments: Value) -> (i32, String) {
        refusal(self.service.get_prompt(with_arguments(name, arguments))).await
    }

    pub async fn complete(
        &self,
        reference: Reference,
        (argument, typed): (&str, &str),
        chosen: &[(&str, &str)],
    ) -> CompletionInfo {
        self.service.complete(completion(reference, (argument, typed), chosen)).await.unwrap().completion
    }

    pub async fn no_completion(&self, reference: Reference, argument: (&str, &str)) -> (i32, String) {
        refusal(self.service.complete(completion(reference, argument, &[]))).await
    }
}

/// A cursor that no page gave.
pub fn bad_cursor() -> Option<PaginatedRequestParams> {
    Some(PaginatedRequestParams::default().with_cursor(Some("nonsense".to_owned())))
}

/// Code and words of a request that must fail.
pub async fn refusal<T: std::fmt::Debug>(request: impl Future<Output = Result<T, ServiceError>>) -> (i32, String) {
    match request.await {
        Err(ServiceError::McpError(error)) => (error.code.0, error.message.into_owned()),
        other => panic!("{other:?}"),
    }
}

fn with_arguments(name: &str, arguments: Value) -> GetPromptRequestParams {
    GetPromptRequestParams::new(name).with_arguments(arguments.as_object().cloned().unwrap_or_default())
}

fn completion(reference: Reference, (argument, typed): (&str, &str), chosen: &[(&str, &str)]) -> CompleteRequestParams {
    let chosen: HashMap<String, String> =
        chosen.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    CompleteRequestParams::new(reference, ArgumentInfo::new(argument, typed))
        .with_context(CompletionContext::with_arguments(chosen))
}
