//! One progress for everything that runs side by side: "3 of 7: resizing web02 (41 %)". It never goes back, and is full when
//! everything is over.

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
    /// The highest that was told.
    percent: f64,
}

/// As far as it goes before everything is over.
const NEARLY: f64 = 99.9;

impl Board {
    /// `lanes`: steps done and steps in all.
    pub fn new(to: Progress, lanes: Vec<(usize, usize)>) -> Arc<Self> {
        let lanes = lanes.into_iter().map(|(done, all)| (done, all, 0.0)).collect();
        Arc::new(Self { to, state: Mutex::new(State { lanes, percent: 0.0 }) })
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

    /// A step has ended; what comes next says more.
    pub fn done(&self, lane: usize) {
        if let Some((done, _, part)) = self.lock().lanes.get_mut(lane) {
            (*done, *part) = (*done + 1, 0.0);
        }
    }

    /// A lane has ended, well or not: what is left of it is over, too.
    pub fn ended(&self, lane: usize, name: &str, words: &str, failed: bool) {
        if let Some((done, all, part)) = self.lock().lanes.get_mut(lane) {
            (*done, *part) = (*all, 0.0);
        }
        let (percent, done, of, _) = self.look(lane);
        let part = self.part(lane, name, words);
        let message = format!("{done} of {of}: {words}");
        self.report(Some(percent), message, Some(Part { ended: true, failed, ..part }));
    }

    /// Something of a lane is taken back.
    pub fn back(&self, lane: usize, name: &str, words: &str) {
        self.report(None, words.to_owned(), Some(self.part(lane, name, words)));
    }

    /// What can be taken back of a lane was.
    pub fn back_ended(&self, lane: usize, name: &str, words: &str, failed: bool) {
        let part = Part { ended: true, failed, ..self.part(lane, name, words) };
        self.report(None, words.to_owned(), Some(part));
    }

    /// Everything is over.
    pub fn over(&self, words: String) {
        self.report(Some(100.0), words, None);
    }

    fn tell(&self, lane: usize, name: &str, doing: &str, percent: Option<f64>) {
        if let (Some(percent), Some((.., part))) = (percent, self.lock().lanes.get_mut(lane)) {
            *part = (percent / 100.0).clamp(0.0, 1.0);
        }
        let (percent, done, of, part) = self.look(lane);
        let shown = if part > 0.0 { format!(" ({:.0} %)", part * 100.0) } else { String::new() };
        let message = format!("{} of {of}: {doing}{shown}", (done + 1).min(of));
        self.report(Some(percent), message, Some(self.part(lane, name, doing)));
    }

    /// How far everything is, in percent and in steps, and the step of this lane.
    fn look(&self, lane: usize) -> (f64, usize, usize, f64) {
        let mut state = self.lock();
        let done: usize = state.lanes.iter().map(|(done, ..)| done).sum();
        let of: usize = state.lanes.iter().map(|(_, all, _)| all).sum();
        let parts: f64 = state.lanes.iter().map(|(.., part)| part).sum();
        let percent = ((done as f64 + parts) * 100.0 / of.max(1) as f64).min(NEARLY);
        // A task that counts from nothing again takes nothing back.
        state.percent = state.percent.max(percent);
        (state.percent, done, of, state.lanes.get(lane).map_or(0.0, |(.., part)| *part))
    }

    fn part(&self, lane: usize, name: &str, doing: &str) -> Part {
        let (done, all, part) = self.lock().lanes.get(lane).copied().unwrap_or((0, 1, 0.0));
        let percent = (done as f64 + part) * 100.0 / all.max(1) as f64;
        Part { lane, name: name.to_owned(), doing: doing.to_owned(), percent, ended: false, failed: false }
    }

    fn report(&self, percent: Option<f64>, message: String, part: Option<Part>) {
        self.to.report(Update { percent, message, part });
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_counted_and_nothing_goes_back() {
        let told = Arc::new(Mutex::new(Vec::new()));
        let heard = Arc::clone(&told);
        let to = Progress::to(move |update: Update| {
            let percent = update.percent.map(|percent| percent.round());
            heard.lock().unwrap_or_else(PoisonError::into_inner).push((percent, update.message));
        });
        let board = Board::new(to, vec![(0, 2), (0, 2)]);
        let web = board.listener(0, "web01", "cloning web01");
        web.report(Update::new(Some(60.0), "first disk"));
        web.report(Update::new(Some(20.0), "second disk"));
        board.done(0);
        let db = board.listener(1, "db01", "cloning db01");
        db.report(Update::new(None, "no number"));
        board.ended(1, "db01", "db01: no space left", true);
        drop(board.listener(0, "web01", "starting web01"));
        board.done(0);
        board.ended(0, "web01", "web01: done", false);
        board.back(0, "web01", "taking back web01: DELETE /x");
        board.over("1 done, 1 failed".to_owned());
        let told = told.lock().unwrap_or_else(PoisonError::into_inner);
        let lines: Vec<String> = told
            .iter()
            .map(|(percent, words)| format!("{} {words}", percent.map_or("-".to_owned(), |p| p.to_string())))
            .collect();
        assert_eq!(
            lines,
            [
                "0 1 of 4: cloning web01",
                "15 1 of 4: cloning web01 (60 %)",
                "15 1 of 4: cloning web01 (20 %)",
                "25 2 of 4: cloning db01",
                "25 2 of 4: cloning db01",
                "75 3 of 4: db01: no space left",
                "75 4 of 4: starting web01",
                "100 4 of 4: web01: done",
                "- taking back web01: DELETE /x",
                "100 1 done, 1 failed",
            ]
        );
    }
}
