//! How much one caller may do in a minute: a bucket that refills by itself, as one moment in time.

use std::{
    collections::HashMap,
    hash::Hash,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

const MINUTE: Duration = Duration::from_secs(60);

/// Lets so many pass a minute, up to as many at once.
#[derive(Debug)]
pub struct Rate {
    a_minute: u32,
    /// When the bucket is full again.
    full: Mutex<Instant>,
}

impl Rate {
    /// 0: no limit.
    pub fn new(a_minute: u32) -> Self {
        Self { a_minute, full: Mutex::new(Instant::now()) }
    }

    /// Lets one pass.
    ///
    /// # Errors
    /// How long to wait before the next can pass.
    pub fn pass(&self) -> Result<(), Duration> {
        let Some(each) = MINUTE.checked_div(self.a_minute) else { return Ok(()) };
        let now = Instant::now();
        let mut full = self.full.lock().unwrap_or_else(PoisonError::into_inner);
        let next = (*full).max(now) + each;
        match next.duration_since(now).checked_sub(MINUTE) {
            Some(wait) if !wait.is_zero() => Err(wait),
            _ => {
                *full = next;
                Ok(())
            }
        }
    }

    fn is_full(&self) -> bool {
        *self.full.lock().unwrap_or_else(PoisonError::into_inner) <= Instant::now()
    }
}

/// A bucket for each of many; those that are full again are forgotten.
#[derive(Debug)]
pub struct Rates<K> {
    a_minute: u32,
    known: Mutex<HashMap<K, Rate>>,
}

/// More than this are not told apart.
const MOST: usize = 10_000;

impl<K: Hash + Eq> Rates<K> {
    pub fn new(a_minute: u32) -> Self {
        Self { a_minute, known: Mutex::default() }
    }

    /// As [`Rate::pass`].
    ///
    /// # Errors
    /// How long to wait before the next can pass.
    pub fn pass(&self, who: K) -> Result<(), Duration> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= MOST && !known.contains_key(&who) {
            known.retain(|_, rate| !rate.is_full());
            if known.len() >= MOST {
                return Err(MINUTE);
            }
        }
        known.entry(who).or_insert_with(|| Rate::new(self.a_minute)).pass()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn as_many_pass_at_once_as_in_a_minute_and_then_one_at_a_time() {
        let rate = Rate::new(60);
        assert_eq!((0..100).filter(|_| rate.pass().is_ok()).count(), 60);
        assert_eq!(rate.pass(), Err(Duration::from_secs(1)));
        tokio::time::advance(Duration::from_millis(2500)).await;
        assert_eq!((0..100).filter(|_| rate.pass().is_ok()).count(), 2);
        tokio::time::advance(MINUTE * 10).await;
        assert_eq!((0..100).filter(|_| rate.pass().is_ok()).count(), 60);
        assert!((0..100).all(|_| Rate::new(0).pass().is_ok()));
    }

    #[tokio::test(start_paused = true)]
    async fn of_many_only_those_are_remembered_who_did_something_lately() {
        let rates = Rates::new(1);
        assert!((0..MOST).all(|who| rates.pass(who).is_ok()));
        assert!(rates.pass(0).is_err() && rates.pass(MOST).is_err());
        tokio::time::advance(MINUTE).await;
        assert!(rates.pass(MOST).is_ok() && rates.pass(0).is_ok());
    }
}
