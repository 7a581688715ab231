//! Progress of one call, from whoever knows it (the task waiter) to whoever shows it (MCP, a progress bar). A closure,
//! so that neither side knows the other.

use std::sync::Arc;

use crate::outside;

/// One report.
#[derive(Debug, Clone, PartialEq)]
pub struct Update {
    /// 0 to 100, where the task says so.
    pub percent: Option<f64>,
    /// One line: what is being done, or the last line of the task's log.
    pub message: String,
    /// Of which of several things at once it is.
    pub part: Option<Part>,
}

/// One of several things that a call does side by side.
#[derive(Debug, Clone, PartialEq)]
pub struct Part {
    /// Its place among them.
    pub lane: usize,
    /// A guest, mostly.
    pub name: String,
    pub doing: String,
    /// 0 to 100, of this part alone.
    pub percent: f64,
    pub ended: bool,
    /// Not well.
    pub failed: bool,
}

impl Update {
    /// Of a call that does one thing.
    pub fn new(percent: Option<f64>, message: impl Into<String>) -> Self {
        Self { percent, message: message.into(), part: None }
    }
}

/// Where reports go; [`Progress::none`] drops them.
#[derive(Clone, Default)]
pub struct Progress(Option<Arc<dyn Fn(Update) + Send + Sync>>);

impl Progress {
    pub fn none() -> Self {
        Self(None)
    }
    pub fn to(sink: impl Fn(Update) + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(sink)))
    }
    /// False where nobody listens: then the waiter need not read task logs.
    pub fn is_watched(&self) -> bool {
        self.0.is_some()
    }
    pub fn report(&self, update: Update) {
        if let Some(sink) = &self.0 {
            sink(Update { message: outside::cleaned(update.message), ..update });
        }
    }
}

impl std::fmt::Debug for Progress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Progress(watched: {})", self.is_watched())
    }
}
