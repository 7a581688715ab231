//! What is to be seen of each call from outside: figures, and one line in the program's log. Never its arguments.

use tokio::time::Instant;
use tracing::Span;

use crate::{
    app::App,
    call::{Answer, Context},
    error::{Kind, Result},
    metrics::Ended,
    tool::Entry,
};

/// One call under way. One that is dropped without an end was given up by its caller.
pub struct Sight<'a> {
    app: &'a App,
    entry: &'static Entry,
    /// Whatever is logged in it says which call it was for.
    pub span: Span,
    began: Instant,
    ended: Option<Ended>,
}

impl<'a> Sight<'a> {
    pub fn begin(app: &'a App, entry: &'static Entry, context: &Context) -> Self {
        app.metrics().call_began();
        let request = context.request.as_deref();
        let span = tracing::error_span!("call", tool = entry.name, request, caller = app.caller());
        Self { app, entry, span, began: Instant::now(), ended: None }
    }

    pub fn end(mut self, outcome: &Result<Answer>) {
        self.ended = Some(match outcome {
            Err(error) => Ended::Error(error.kind()),
            // Only what changes something has a plan to show; what reads may have a `state` of its own.
            Ok(answer) => match (self.entry.control, answer.data["state"].as_str()) {
                (Some(_), Some("planned")) => Ended::Planned,
                (Some(_), Some("needs_confirmation")) => Ended::NeedsConfirmation,
                _ => Ended::Ok,
            },
        });
    }
}

impl Drop for Sight<'_> {
    fn drop(&mut self) {
        let took = self.began.elapsed();
        let ended = self.ended.unwrap_or(Ended::Error(Kind::Cancelled));
        self.app.metrics().call_ended(self.entry.name, ended, took);
        let kind = match ended {
            Ended::Error(kind) => Some(kind.to_string()),
            _ => None,
        };
        let ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
        tracing::info!(parent: &self.span, outcome = ended.word(), kind, ms, "call");
    }
}
