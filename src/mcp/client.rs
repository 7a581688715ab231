//! The client side: starts an MCP server as a child process and talks to it, as any MCP client does. For the demo.

use std::{ffi::OsString, path::Path, sync::Arc};

use rmcp::{
    ClientHandler, RoleClient, ServiceExt,
    model::{CallToolRequestParams, ProgressNotificationParam},
    service::{NotificationContext, RunningService},
    transport::TokioChildProcess,
};
use serde_json::Value;

use super::server::{Server, object};
use crate::{
    call::App,
    error::{Error, Result},
    progress::{Progress, Update},
};

/// A running server process and the conversation with it.
pub struct Connection {
    service: RunningService<RoleClient, Listener>,
}

struct Listener {
    progress: Progress,
}

impl ClientHandler for Listener {
    async fn on_progress(&self, note: ProgressNotificationParam, _: NotificationContext<RoleClient>) {
        let percent = note.total.map(|total| note.progress / total * 100.0);
        self.progress.report(Update::new(percent, note.message.unwrap_or_default()));
    }
}

impl Connection {
    /// Starts the program and says hello. Progress of all calls goes to `progress`.
    ///
    /// # Errors
    /// The program does not start, or does not speak MCP.
    pub async fn start(program: &Path, args: &[OsString], progress: Progress) -> Result<Self> {
        let mut command = tokio::process::Command::new(program);
        command.args(args).kill_on_drop(true);
        let transport = TokioChildProcess::new(command)
            .map_err(|e| Error::internal(format!("cannot start {}: {e}", program.display())))?;
        let service = Listener { progress }.serve(transport).await.map_err(|e| Error::internal(e.to_string()))?;
        Ok(Self { service })
    }

    /// A conversation with a server in this process, through a pipe in memory: for tests.
    ///
    /// # Errors
    /// The two do not understand one another.
    pub async fn local(app: Arc<App>, progress: Progress) -> Result<Self> {
        let (here, there) = tokio::io::duplex(1 << 20);
        tokio::spawn(async move {
            if let Ok(server) = Server::new(app).serve(there).await {
                drop(server.waiting().await);
            }
        });
        let service = Listener { progress }.serve(here).await.map_err(|e| Error::internal(e.to_string()))?;
        Ok(Self { service })
    }

    /// What the server calls itself.
    pub fn server(&self) -> String {
        match self.service.peer_info().and_then(|info| info.server_info.clone()) {
            Some(server) => format!("{} {}", server.name, server.version),
            None => "an MCP server".to_owned(),
        }
    }

    /// Names of the tools.
    ///
    /// # Errors
    /// The server's.
    pub async fn tools(&self) -> Result<Vec<String>> {
        let tools = self.service.list_all_tools().await.map_err(|e| Error::internal(e.to_string()))?;
        Ok(tools.into_iter().map(|tool| tool.name.into_owned()).collect())
    }

    /// Calls a tool; the structured result.
    ///
    /// # Errors
    /// The tool's own error, as its text.
    pub async fn call(&self, tool: &str, arguments: Value) -> Result<Value> {
        let params = CallToolRequestParams::new(tool.to_owned()).with_arguments(object(arguments));
        let result = self.service.call_tool(params).await.map_err(|e| Error::internal(e.to_string()))?;
        if result.is_error == Some(true) {
            let text: Vec<_> = result.content.iter().filter_map(|c| c.as_text()).map(|t| t.text.as_str()).collect();
            return Err(Error::internal(text.join("\n")));
        }
        Ok(result.structured_content.unwrap_or_default())
    }

    /// Ends the conversation and the process.
    pub async fn close(self) {
        drop(self.service.cancel().await);
    }
}
