//! Numbered lines as Proxmox lists them in its logs: a part from the beginning, or the end.

use crate::{
    pve::{
        Listing,
        task_log::{self, LogLine},
    },
    tool::*,
};

/// Which lines.
#[derive(Debug, Deserialize, JsonSchema)]
pub struct Part {
    #[serde(default)]
    start: u64,
    #[serde(default = "hundred")]
    #[schemars(range(min = 1, max = 5000))]
    limit: u64,
    /// So many last lines.
    #[schemars(range(min = 1, max = 5000))]
    tail: Option<u64>,
}

fn hundred() -> u64 {
    100
}

#[derive(Serialize, JsonSchema)]
pub struct Lines {
    /// Of the whole log.
    pub total: u64,
    pub lines: Vec<String>,
    /// `start` of the lines that follow.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_start: Option<u64>,
}

impl Part {
    /// Reads that part of the log at a path. The end needs a request more, to learn where it is.
    pub async fn read(&self, pve: &Reader<'_>, log: Request) -> Result<Lines> {
        let (start, limit) = match self.tail {
            None => (self.start, self.limit),
            Some(tail) => {
                let first: Listing<Vec<LogLine>> = pve.list(&log.clone().param("start", 0).param("limit", 1)).await?;
                (first.total.unwrap_or_default().saturating_sub(tail), tail)
            }
        };
        let found: Listing<Vec<LogLine>> = pve.list(&log.param("start", start).param("limit", limit)).await?;
        if task_log::is_empty(&found.data) {
            return Ok(Lines { total: 0, lines: Vec::new(), next_start: None });
        }
        let read = start + found.data.len() as u64;
        let total = found.total.unwrap_or(read);
        let lines = found.data.iter().map(|line| task_log::clean(&line.t)).collect();
        Ok(Lines { total, lines, next_start: (read < total).then_some(read) })
    }
}
