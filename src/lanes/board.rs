//! One progress for everything that runs side by side: "3 of 7: resizing web02 (41 %)".

use std::sync::{Arc, Mutex, PoisonError};

use crate::progress::{Part, Progress, Update};

/// What is known of each lane.
pub struct Board {
    to: Progress,
    state: Mutex<State>,
}

struct State {
    /// Steps, done and all, of each lane; and how far the one under way is, from 0 to 1.
    lanes: Vec<(usize, usize, f64)>,
}

impl Board {
    /// `lanes`: steps done and steps in all.
    pub fn new(to: Progress, lanes: Vec<(usize, usize)>) -> Arc<Self> {
        let lanes = lanes.into_iter().map(|(done, all)| (done, all, 0.0)).collect();
        Arc::new(Self { to, state: Mutex::new(State { lanes }) })
    }

    /// What the waiting of one lane's step reports to.
    pub fn listener(self: &Arc<Self>, lane: usize, name: &str, doing: &str) -> Progress {
        if !self.to.is_watched() {
            return Progress::none();
        }
        let (board, name, doing) = (Arc::clone(self), name.to_owned(), doing.to_owned());
        board.tell(lane, &name, &doing, Some(0.0));
        Progress::to(move |update| board.tell(lane, &name, &doing, update.percent))
    }

    /// A step has ended.
    pub fn done(&self, lane: usize, name: &str, doing: &str) {
        {
            let mut state = self.lock();
            if let Some((done, _, part)) = state.lanes.get_mut(lane) {
                (*done, *part) = (*done + 1, 0.0);
            }
        }
        self.report(lane, name, doing, None);
    }

    /// A lane has ended, well or not.
    pub fn ended(&self, lane: usize, name: &str, words: &str) {
        self.report(lane, name, words, Some(true));
    }

    fn tell(&self, lane: usize, name: &str, doing: &str, percent: Option<f64>) {
        if let (Some(percent), Some((.., part))) = (percent, self.lock().lanes.get_mut(lane)) {
            *part = (percent / 100.0).clamp(0.0, 1.0);
        }
        self.report(lane, name, doing, Some(false));
    }

    /// `ended` is nothing where a step was just done: then the next one says more.
    fn report(&self, lane: usize, name: &str, doing: &str, ended: Option<bool>) {
        let (percent, number, of, mine) = {
            let state = self.lock();
            let done: usize = state.lanes.iter().map(|(done, ..)| done).sum();
            let of: usize = state.lanes.iter().map(|(_, all, _)| all).sum();
            let parts: f64 = state.lanes.iter().map(|(.., part)| part).sum();
            let mine = state.lanes.get(lane).copied().unwrap_or((0, 1, 0.0));
            ((done as f64 + parts) * 100.0 / of.max(1) as f64, (done + 1).min(of), of, mine)
        };
        let (done, all, part) = mine;
        let shown = if part > 0.0 { format!(" ({:.0} %)", part * 100.0) } else { String::new() };
        let part = Part {
            lane,
            name: name.to_owned(),
            doing: doing.to_owned(),
            percent: (done as f64 + part) * 100.0 / all.max(1) as f64,
            ended: ended == Some(true),
        };
        let message = format!("{number} of {of}: {doing}{shown}");
        self.to.report(Update { percent: Some(percent), message, part: Some(part) });
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
