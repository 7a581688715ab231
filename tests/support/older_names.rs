//! A server whose tools have the names of an older one.

use proxmox_mcp::{config::Safety, confirm, sandbox::Sandbox, tool_names::Names, toolsets};
use serde_json::Value;

use super::{Test, everything, guarded, options};

pub async fn with(safety: Safety) -> Test {
    let sandbox = Sandbox::new(options());
    let config = proxmox_mcp::embedded::cluster_config(&sandbox);
    guarded(sandbox, config, safety).await
}

pub async fn named(tool_names: Names) -> Test {
    with(Safety { tool_names, ..everything() }).await
}

/// With what counts as a yes, and tools that are asked about beside those that are anyway.
pub async fn confirming(tool_names: Names, mode: confirm::Mode, tools: &[&str]) -> Test {
    let tools = tools.iter().flat_map(|name| toolsets::named(name).unwrap()).map(|entry| entry.name).collect();
    let confirm = confirm::Settings { mode, tools, ..confirm::Settings::default() };
    with(Safety { tool_names, confirm, ..everything() }).await
}

/// Calls a tool that must succeed.
pub async fn does(test: &Test, tool: &str, arguments: Value) -> Value {
    test.mcp.call(tool, arguments.clone()).await.unwrap_or_else(|e| unreachable!("{tool} {arguments}: {e}"))
}
