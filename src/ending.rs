//! The end of the program in good order, whatever it serves: first nothing new is begun, and calls under way go on for a
//! while; then those that still wait are cancelled, and say so.

use std::time::Duration;

use tokio::{sync::mpsc, time::sleep};
use tokio_util::sync::CancellationToken;

use crate::error::{Error, Kind, Result};

/// What a cancelled call may take to say so.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// The two steps of an end.
#[derive(Debug, Clone, Default)]
pub struct Ending {
    /// Nothing more is read: the input has ended, or a signal came.
    pub begun: CancellationToken,
    /// What still runs is cancelled, and answered as such.
    pub calls: CancellationToken,
}

impl Ending {
    /// Waits for the end to begin, by itself or by a signal, and then for as long as calls may still take.
    ///
    /// # Errors
    /// A second signal, at which nothing is waited for any more.
    pub async fn run(&self, grace: Duration, mut signals: mpsc::Receiver<()>) -> Result<()> {
        tokio::select! {
            () = self.begun.cancelled() => {}
            Some(()) = signals.recv() => self.begun.cancel(),
        }
        let patience = async {
            sleep(grace).await;
            self.calls.cancel();
            sleep(LAST_WORDS).await;
        };
        tokio::select! {
            () = patience => Ok(()),
            Some(()) = signals.recv() => Err(Error::new(Kind::Cancelled, "stopped before all calls had ended")),
        }
    }
}
