//! The system journal of a node.

use super::address;
use crate::{error::Kind, pve::Listing, tool::*};

/// Read the last lines of a node's system journal.
#[derive(Deserialize, JsonSchema)]
pub struct Journal {
    node: Option<String>,
    /// Most lines.
    #[serde(default = "hundred")]
    #[schemars(range(min = 1, max = 5000))]
    last: usize,
    /// Unix time.
    since: Option<u64>,
    /// Only lines with this text.
    search: Option<String>,
}

fn hundred() -> usize {
    100
}

impl Tool for Journal {
    const NAME: &str = "proxmox-node-journal";
    const TITLE: &str = "Node journal";
    const API: &[&str] = &["GET /nodes/{node}/journal"];
    const EXAMPLE: (&str, &str) = ("Show me the last log lines of pve1", r#"{"node": "pve1", "last": 20}"#);
}

#[derive(Serialize, JsonSchema)]
pub struct JournalLines {
    node: String,
    total: usize,
    lines: Vec<String>,
}

impl Query for Journal {
    type Output = JournalLines;
    async fn query(&self, pve: &Reader<'_>) -> Result<JournalLines> {
        let (node, path) = address(pve, self.node.as_deref(), "journal").await?;
        // Proxmox's reader takes a number of entries or a time, not both. What is searched for may be further back.
        let entries = if self.search.is_some() { self.last.max(2000) } else { self.last };
        let request = match self.since {
            Some(since) => Request::get(path).param("since", since),
            None => Request::get(path).param("lastentries", entries),
        };
        let body = pve.fetch(&request).await?;
        // A node without a journal answers with nothing at all.
        let found: Vec<String> = match body.is_empty() {
            true => Vec::new(),
            false => {
                let listing: Listing<Vec<String>> = crate::pve::from_slice(&body)
                    .map_err(|e| Error::new(Kind::BadAnswer, format!("the journal cannot be read: {e}")))?;
                listing.data
            }
        };
        let is_cursor = |line: &str| line.starts_with("s=") && line.contains(";i=");
        let search = self.search.as_deref().map(str::to_lowercase);
        let mut lines: Vec<String> = found
            .into_iter()
            .filter(|line| !is_cursor(line))
            .filter(|line| search.as_deref().is_none_or(|search| line.to_lowercase().contains(search)))
            .collect();
        lines.drain(..lines.len().saturating_sub(self.last));
        Ok(JournalLines { node, total: lines.len(), lines })
    }
}
