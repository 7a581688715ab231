//! One request for all who want the same answer at the same time, and for those who come a moment later. Knows nothing
//! of what is asked.
//!
//! There is no background task: the first caller asks, the others wait at the gate. If it is cancelled, the next one
//! asks. If it takes long, the others do not wait for it for ever: they go on to the next gate and ask once more.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::time::{Instant, timeout};

use crate::error::Result;

/// How long one waits for an answer that somebody else asked for, before asking too.
const PATIENCE: Duration = Duration::from_secs(2);
/// So many may be asking at once.
const GATES: usize = 4;

pub(super) struct Flight<T> {
    gates: [tokio::sync::Mutex<()>; GATES],
    last: Mutex<Last<T>>,
    /// Counts the writes to the cluster.
    writes: AtomicU64,
    /// How long an answer is good for.
    keep: Duration,
}

struct Last<T> {
    /// How many answers there were.
    count: u64,
    answer: Option<Answer<T>>,
}

struct Answer<T> {
    value: Result<Arc<T>>,
    /// The writes when it was asked for: an answer that was asked for before a write says nothing about after.
    writes: u64,
    asked: Instant,
    answered: Instant,
}

/// What an answer must be to do.
#[derive(Clone, Copy)]
struct Need {
    writes: u64,
    called: Instant,
    /// Answers there were when it was called: a later one was waited for.
    count: u64,
    /// Not asked for earlier than this.
    since: Option<Instant>,
}

impl<T> Flight<T> {
    pub(super) fn new(keep: Duration) -> Self {
        Self {
            gates: std::array::from_fn(|_| tokio::sync::Mutex::default()),
            last: Mutex::new(Last { count: 0, answer: None }),
            writes: AtomicU64::new(0),
            keep,
        }
    }

    /// No answer that was asked for before this is given to anybody who comes after this.
    pub(super) fn invalidate(&self) {
        self.writes.fetch_add(1, Ordering::SeqCst);
    }

    /// The answer, at most `keep` old; `since`: and not asked for before then. `ask` is called if there is none.
    ///
    /// # Errors
    /// Those of `ask`, shared with who waited for it; an error is not kept.
    pub(super) async fn get<F>(&self, since: Option<Instant>, ask: impl Fn() -> F) -> Result<Arc<T>>
    where
        F: Future<Output = Result<T>>,
    {
        let count = self.last().count;
        let need = Need { writes: self.writes.load(Ordering::SeqCst), called: Instant::now(), count, since };
        if let Some(value) = self.known(need) {
            return value;
        }
        let mut gate = None;
        for candidate in &self.gates {
            gate = timeout(PATIENCE, candidate.lock()).await.ok();
            if let Some(value) = self.known(need) {
                return value;
            }
            if gate.is_some() {
                break;
            }
        }
        let writes = self.writes.load(Ordering::SeqCst);
        let asked = Instant::now();
        let value = ask().await.map(Arc::new);
        self.remember(Answer { value: value.clone(), writes, asked, answered: Instant::now() });
        drop(gate);
        value
    }

    fn known(&self, need: Need) -> Option<Result<Arc<T>>> {
        let last = self.last();
        let answer = last.answer.as_ref()?;
        let waited_for = last.count > need.count;
        let recent = answer.value.is_ok() && need.called - answer.answered < self.keep;
        let late_enough = need.since.is_none_or(|since| answer.asked >= since);
        let good = answer.writes >= need.writes && late_enough && (waited_for || recent);
        good.then(|| answer.value.clone())
    }

    fn remember(&self, answer: Answer<T>) {
        let mut last = self.last();
        // A slow one may come after a later one: the later one is better, unless it failed.
        if last.answer.as_ref().is_none_or(|known| known.asked <= answer.asked || known.value.is_err()) {
            *last = Last { count: last.count + 1, answer: Some(answer) };
        }
    }

    fn last(&self) -> MutexGuard<'_, Last<T>> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use futures::future::join_all;
    use tokio::time::sleep;

    use super::*;
    use crate::error::Error;

    const SECOND: Duration = Duration::from_secs(1);
    const MS: Duration = Duration::from_millis(1);

    /// Answers with the number of the question, after some time.
    struct Counter(AtomicUsize);

    impl Counter {
        async fn ask(&self, takes: Duration) -> Result<usize> {
            let n = self.0.fetch_add(1, Ordering::SeqCst) + 1;
            sleep(takes).await;
            Ok(n)
        }
    }

    fn new() -> (Flight<usize>, Counter) {
        (Flight::new(SECOND), Counter(AtomicUsize::new(0)))
    }

    #[tokio::test(start_paused = true)]
    async fn callers_at_the_same_time_share_one_request() -> Result<()> {
        let (flight, counter) = new();
        let all = join_all((0..50).map(|_| flight.get(None, || counter.ask(300 * MS)))).await;
        assert!(all.into_iter().all(|n| n.is_ok_and(|n| *n == 1)));
        sleep(900 * MS).await;
        assert_eq!(*flight.get(None, || counter.ask(MS)).await?, 1);
        sleep(200 * MS).await;
        assert_eq!(*flight.get(None, || counter.ask(MS)).await?, 2);
        Ok(())
    }

    #[tokio::test(start_paused = true)]
    async fn a_cancelled_leader_leaves_nobody_behind() -> Result<()> {
        let (flight, counter) = new();
        let leader = timeout(100 * MS, flight.get(None, || counter.ask(300 * MS)));
        let (left, stayed) = tokio::join!(leader, flight.get(None, || counter.ask(300 * MS)));
        assert!(left.is_err());
        assert_eq!(*stayed?, 2);
        Ok(())
    }

    #[tokio::test(start_paused = true)]
    async fn after_a_write_nobody_gets_an_answer_asked_for_before_it() -> Result<()> {
        let (flight, counter) = new();
        let early = flight.get(None, || counter.ask(300 * MS));
        let late = async {
            sleep(100 * MS).await;
            flight.invalidate();
            flight.get(None, || counter.ask(300 * MS)).await
        };
        let (early, late) = tokio::join!(early, late);
        assert_eq!((*early?, *late?), (1, 2));
        Ok(())
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_that_hangs_holds_the_others_up_for_two_seconds_only() -> Result<()> {
        let (flight, counter) = new();
        let started = Instant::now();
        let hung = timeout(10 * SECOND, flight.get(None, || counter.ask(3600 * SECOND)));
        let others = async {
            let all = join_all((0..9).map(|_| flight.get(None, || counter.ask(10 * MS)))).await;
            (all.into_iter().filter(|n| n.as_ref().is_ok_and(|n| **n == 2)).count(), started.elapsed())
        };
        let (_, (served, after)) = tokio::join!(hung, others);
        assert_eq!((served, after), (9, 2 * SECOND + 10 * MS));
        Ok(())
    }

    #[tokio::test(start_paused = true)]
    async fn an_error_is_shared_with_who_waited_and_not_kept() -> Result<()> {
        let flight: Flight<usize> = Flight::new(SECOND);
        let asked = AtomicUsize::new(0);
        let fail = || async {
            asked.fetch_add(1, Ordering::SeqCst);
            sleep(10 * MS).await;
            Err(Error::internal("down"))
        };
        let all = join_all((0..20).map(|_| flight.get(None, fail))).await;
        assert!(all.into_iter().all(|n| n.is_err()) && asked.load(Ordering::SeqCst) == 1);
        assert_eq!(*flight.get(None, || async { Ok(7) }).await?, 7);
        Ok(())
    }
}
