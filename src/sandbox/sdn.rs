//! The software-defined network as configured and as applied. Nothing is sent over it.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

/// A zone, VNet or subnet.
#[derive(Debug, Clone, Default)]
pub struct Item {
    /// As configured; absent: deleted, and not applied yet.
    pub config: Option<Map<String, Value>>,
    /// As applied; absent: new.
    pub running: Option<Map<String, Value>>,
}

impl Item {
    /// Configured, and applied or not yet.
    pub fn new(config: Value, applied: bool) -> Self {
        let config = match config {
            Value::Object(map) => Some(map),
            _ => None,
        };
        Self { running: config.clone().filter(|_| applied), config }
    }

    /// As running, with what is to change apart.
    pub fn pending(&self) -> Map<String, Value> {
        let none = Map::new();
        let (config, running) = (self.config.as_ref().unwrap_or(&none), self.running.as_ref().unwrap_or(&none));
        let mut out = running.clone();
        let mut pending = Map::new();
        for (key, value) in config {
            if matches!(key.as_str(), "type" | "vnet" | "zone" | "subnet") && running.is_empty() {
                out.insert(key.clone(), value.clone());
            }
            if running.get(key) != Some(value) && !matches!(key.as_str(), "type" | "vnet") {
                pending.insert(key.clone(), value.clone());
            }
        }
        let state = match (self.config.is_some(), self.running.is_some()) {
            (true, false) => Some("new"),
            (false, true) => Some("deleted"),
            _ => (!pending.is_empty()).then_some("changed"),
        };
        if let Some(state) = state {
            out.insert("state".to_owned(), state.into());
        }
        if !pending.is_empty() {
            out.insert("pending".to_owned(), pending.into());
        }
        out
    }
}

#[derive(Debug, Clone, Default)]
pub struct Sdn {
    pub zones: BTreeMap<String, Item>,
    pub vnets: BTreeMap<String, Item>,
    /// Each names its VNet.
    pub subnets: BTreeMap<String, Item>,
}
