//! The simulated wall clock: it starts at the real time (or a given one) and runs `scale` times as fast as tokio's
//! clock, so that tests on a paused clock and quick demonstrations see the same cluster.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::time::Instant;

#[derive(Debug, Clone, Copy)]
pub struct Clock {
    start: Instant,
    /// Unix time at `start`.
    epoch: Duration,
    scale: f64,
}

impl Clock {
    /// `epoch`: the Unix time to begin at; the present where none is given. `scale`: simulated seconds per second.
    pub fn new(scale: f64, epoch: Option<Duration>) -> Self {
        let epoch = epoch.unwrap_or_else(|| SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default());
        let scale = if scale.is_finite() { scale.clamp(1e-3, 1e6) } else { 1.0 };
        Self { start: Instant::now(), epoch, scale }
    }

    /// Simulated time since the start of the cluster.
    pub fn elapsed(&self) -> Duration {
        self.start.elapsed().mul_f64(self.scale)
    }

    /// Simulated Unix time.
    pub fn unix(&self) -> Duration {
        self.epoch + self.elapsed()
    }

    /// Simulated Unix time in whole seconds.
    pub fn now(&self) -> u64 {
        self.unix().as_secs()
    }

    /// Unix time at which the cluster began, in whole seconds.
    pub fn begun(&self) -> u64 {
        self.epoch.as_secs()
    }

    /// The real time that a span of simulated time takes.
    pub fn real(&self, simulated: Duration) -> Duration {
        simulated.div_f64(self.scale)
    }

    /// Sleeps for a span of simulated time.
    pub async fn sleep(&self, simulated: Duration) {
        tokio::time::sleep(self.real(simulated)).await;
    }
}
