//! Replication jobs of the simulated cluster. How one is doing follows from its schedule and the clock: nothing runs in the
//! background.

use super::calendar::{last, next};

/// One section of replication.cfg.
#[derive(Debug, Clone)]
pub struct Job {
    pub guest: u32,
    pub number: u32,
    pub target: String,
    /// As last written to the file.
    pub source: String,
    pub schedule: Option<String>,
    pub rate: Option<String>,
    pub comment: Option<String>,
    pub disable: bool,
    /// `local` or `full`, and when that was asked for.
    pub remove: Option<(&'static str, u64)>,
    /// Unix time.
    pub created: u64,
    /// When it was last asked to run at once.
    pub asked: Option<u64>,
    pub failing: Option<Failing>,
}

/// Runs that all failed.
#[derive(Debug, Clone)]
pub struct Failing {
    /// Unix time.
    pub since: u64,
    pub count: u32,
    pub words: String,
}

/// How a job is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Status {
    /// 0: never.
    pub last_try: u64,
    pub last_sync: u64,
    pub next_sync: u64,
    pub running: bool,
}

/// Seconds that a run takes.
pub const DURATION: u64 = 5;

/// The scheduler looks once a minute.
fn tick(time: u64) -> u64 {
    time.next_multiple_of(60)
}

impl Job {
    pub fn schedule(&self) -> &str {
        self.schedule.as_deref().unwrap_or("*/15")
    }

    /// Whether the scheduler has taken it out of the file.
    pub fn is_gone(&self, now: u64) -> bool {
        self.remove.is_some_and(|(_, asked)| now >= tick(asked + 1))
    }

    pub fn status(&self, now: u64) -> Status {
        let (last_try, before) = self.runs(now);
        let running = last_try > 0 && now < last_try + DURATION;
        let last_sync = match &self.failing {
            Some(failing) => self.runs(failing.since).0,
            None if running => before,
            None => last_try,
        };
        let planned = match self.asked.filter(|asked| *asked > last_try) {
            // 0: at once.
            Some(_) => 0,
            None if last_try == 0 => 0,
            None => next(self.schedule(), last_try).unwrap_or(0),
        };
        Status { last_try, last_sync, next_sync: planned, running }
    }

    /// The last run that has begun, and the one before.
    fn runs(&self, now: u64) -> (u64, u64) {
        let first = tick(self.created);
        let by_hand = self.asked.map(tick);
        let up_to = |until: u64| {
            let scheduled = last(self.schedule(), first, until);
            [Some(first), by_hand, scheduled].into_iter().flatten().filter(|time| *time <= until).max().unwrap_or(0)
        };
        let run = up_to(now);
        (run, if run == 0 { 0 } else { up_to(run - 1) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_800_000_000;

    #[test]
    fn a_job_runs_soon_then_by_its_schedule_and_when_asked() {
        let mut job = Job {
            guest: 100,
            number: 0,
            target: "b".to_owned(),
            source: "a".to_owned(),
            schedule: Some("*/15".to_owned()),
            rate: None,
            comment: None,
            disable: false,
            remove: None,
            created: NOW + 10,
            asked: None,
            failing: None,
        };
        let times = |job: &Job, at: u64| {
            let Status { last_sync, next_sync, running, .. } = job.status(NOW + at);
            (last_sync.saturating_sub(NOW), next_sync.saturating_sub(NOW), running)
        };
        assert_eq!(times(&job, 20), (0, 0, false));
        assert_eq!(times(&job, 62), (0, 900, true));
        assert_eq!(times(&job, 70), (60, 900, false));
        assert_eq!(times(&job, 950), (900, 1800, false));
        job.asked = Some(NOW + 1000);
        assert_eq!(times(&job, 1001), (900, 0, false));
        assert_eq!(times(&job, 1030), (1020, 1800, false));
        assert!(!job.is_gone(NOW + 4000));
    }
}
