//! Progress bars on stderr, where that is a terminal: one for the call, and under it one for each of the things that it does
//! side by side, as far as they are under way. What of them failed stays as a line.

use std::{
    collections::HashMap,
    io::Write,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use crate::progress::{Part, Progress};

/// Bars under that of the call: more are no help.
const MOST: usize = 8;

/// Where bars are drawn; invisible where stderr is no terminal.
#[derive(Clone, Default)]
pub struct Bars(MultiProgress);

impl Bars {
    /// One for a call.
    pub fn bar(&self, title: &str) -> Bar {
        let bar = self.0.add(ProgressBar::new(1000));
        bar.set_style(style("{spinner:.cyan} {prefix} [{bar:30.cyan/dim}] {percent:>3}% {wide_msg}"));
        bar.set_prefix(title.to_owned());
        bar.enable_steady_tick(Duration::from_millis(120));
        Bar { all: self.0.clone(), whole: bar, parts: Parts::default() }
    }

    /// A line above the bars, terminal or not.
    pub fn say(&self, text: &str) {
        let said = if self.0.is_hidden() { writeln!(std::io::stderr(), "{text}") } else { self.0.println(text) };
        // Whoever reads stderr may have gone.
        drop(said);
    }

    /// Takes them off.
    pub fn clear(&self) {
        drop(self.0.clear());
    }
}

/// The bar of one call, with those of its parts.
pub struct Bar {
    all: MultiProgress,
    whole: ProgressBar,
    parts: Parts,
}

type Parts = Arc<Mutex<HashMap<usize, ProgressBar>>>;

impl Bar {
    /// The sink that moves these bars.
    pub fn progress(&self) -> Progress {
        let (all, whole, parts) = (self.all.clone(), self.whole.clone(), Arc::clone(&self.parts));
        Progress::to(move |update| {
            if let Some(part) = &update.part {
                show(&all, &parts, part);
            }
            if let Some(percent) = update.percent {
                whole.set_position((percent * 10.0) as u64);
            }
            whole.set_message(update.message);
        })
    }

    pub fn clear(self) {
        for (_, bar) in self.parts.lock().unwrap_or_else(PoisonError::into_inner).drain() {
            bar.finish_and_clear();
        }
        self.whole.finish_and_clear();
    }
}

fn show(all: &MultiProgress, parts: &Parts, part: &Part) {
    let mut parts = parts.lock().unwrap_or_else(PoisonError::into_inner);
    if part.ended {
        if let Some(bar) = parts.remove(&part.lane) {
            bar.finish_and_clear();
            all.remove(&bar);
        }
        if part.failed && !all.is_hidden() {
            // Whoever reads stderr may have gone.
            drop(all.println(format!("  ✗ {}", part.doing)));
        }
        return;
    }
    if !parts.contains_key(&part.lane) && parts.len() >= MOST {
        return;
    }
    let bar = parts.entry(part.lane).or_insert_with(|| {
        let bar = all.add(ProgressBar::new(1000));
        bar.set_style(style("    {prefix:16!} [{bar:20.cyan/dim}] {percent:>3}% {wide_msg}"));
        bar.set_prefix(part.name.clone());
        bar
    });
    bar.set_position((part.percent * 10.0) as u64);
    bar.set_message(part.doing.clone());
}

fn style(template: &str) -> ProgressStyle {
    let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
    style.progress_chars("━━ ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::progress::Update;

    #[test]
    fn only_so_many_parts_have_bars_and_none_when_they_have_ended() {
        let bar = Bars::default().bar("proxmox-bulk");
        let progress = bar.progress();
        let tell = |lane: usize, ended: bool| {
            let part = Part {
                lane,
                name: format!("web{lane}"),
                doing: "starting".to_owned(),
                percent: 50.0,
                ended,
                failed: lane.is_multiple_of(2),
            };
            progress.report(Update { percent: None, message: String::new(), part: Some(part) });
        };
        let shown = || bar.parts.lock().unwrap_or_else(PoisonError::into_inner).len();
        (0..20).for_each(|lane| tell(lane, false));
        assert_eq!(shown(), MOST);
        tell(3, true);
        tell(12, false);
        assert_eq!(shown(), MOST);
        (0..20).for_each(|lane| tell(lane, true));
        assert_eq!(shown(), 0);
    }
}
