//! JSON: that it is some; and the configurations of MCP clients, as they would start this program or call it.

use serde_json::Value;

use super::{blocks::Block, settings, shell};

/// Whether it was the configuration of a client.
pub fn load(block: &Block) -> bool {
    let place = &block.place;
    let json: Value = serde_json::from_str(&block.text).unwrap_or_else(|e| panic!("{place}: {e}"));
    let Some(servers) = json["mcpServers"].as_object() else { return false };
    assert!(!servers.is_empty(), "{place}: no servers");
    for (name, server) in servers {
        match server["url"].as_str() {
            Some(url) => {
                assert_eq!(server["type"], "http", "{place}: {name}");
                shell::url(place, url);
            }
            None => local(place, server),
        }
    }
    true
}

fn local(place: &str, server: &Value) {
    let command = server["command"].as_str().unwrap_or_else(|| panic!("{place}: no command"));
    assert!(command.ends_with("proxmox-mcp"), "{place}: {command}");
    let text = |value: &Value| value.as_str().unwrap_or_else(|| panic!("{place}: {value} is no text")).to_owned();
    let words: Vec<String> = server["args"].as_array().into_iter().flatten().map(text).collect();
    shell::arguments(place, &words);
    let env: Vec<(String, String)> =
        server["env"].as_object().into_iter().flatten().map(|(name, value)| (name.clone(), text(value))).collect();
    if let Err(e) = settings::resolve(&env) {
        panic!("{place}: {e}");
    }
}
