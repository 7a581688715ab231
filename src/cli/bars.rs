//! Progress bars on stderr, where that is a terminal.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

use crate::progress::Progress;

/// One bar for one call.
pub struct Bar(ProgressBar);

impl Bar {
    /// Invisible where stderr is no terminal.
    pub fn new(title: &str) -> Self {
        let bar = ProgressBar::new(1000);
        if let Ok(style) =
            ProgressStyle::with_template("{spinner:.cyan} {prefix} [{bar:30.cyan/dim}] {percent:>3}% {wide_msg}")
        {
            bar.set_style(style.progress_chars("━━ "));
        }
        bar.set_prefix(title.to_owned());
        bar.enable_steady_tick(Duration::from_millis(120));
        Self(bar)
    }

    /// The sink that moves this bar.
    pub fn progress(&self) -> Progress {
        let bar = self.0.clone();
        Progress::to(move |update| {
            if let Some(percent) = update.percent {
                bar.set_position((percent * 10.0) as u64);
            }
            bar.set_message(update.message);
        })
    }

    pub fn clear(self) {
        self.0.finish_and_clear();
    }
}
