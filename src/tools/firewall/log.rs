//! What firewalls logged.

use super::Level;
use crate::{
    tool::*,
    tools::log_lines::{Lines, Part},
};

/// Read the firewall log of a guest (vmid) or a node.
#[derive(Deserialize, JsonSchema)]
pub struct Log {
    #[schemars(range(min = 100, max = 999_999_999))]
    vmid: Option<u32>,
    node: Option<String>,
    /// Unix time.
    since: Option<u64>,
    #[serde(flatten)]
    part: Part,
}

impl Tool for Log {
    const NAME: &str = "proxmox-firewall-log";
    const TITLE: &str = "Firewall log";
    const API: &[&str] = &["GET /nodes/{node}/firewall/log", "GET /nodes/{node}/{type}/{vmid}/firewall/log"];
    const EXAMPLE: (&str, &str) = ("What did the firewall of pve1 drop last?", r#"{"node": "pve1", "tail": 20}"#);
}

impl Query for Log {
    type Output = Lines;
    async fn query(&self, pve: &Reader<'_>) -> Result<Lines> {
        let level = match self.vmid {
            Some(_) => Level::of(pve, self.vmid, self.node.as_deref()).await?,
            None => Level::Node(pve.node(self.node.as_deref()).await?),
        };
        self.part.read(pve, Request::get(level.path("log")).maybe("since", self.since)).await
    }
}
