//! Signals that ask the program to end: Ctrl-C everywhere, and SIGTERM where there is such a thing.

use tokio::sync::mpsc;

/// Every such signal from now on; none of them ends the program by itself any more.
pub fn endings() -> mpsc::Receiver<()> {
    // More than two nobody counts.
    let (tx, rx) = mpsc::channel(2);
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        for kind in [SignalKind::interrupt(), SignalKind::terminate()] {
            match signal(kind) {
                Ok(mut signals) => {
                    let tx = tx.clone();
                    tokio::spawn(async move { while signals.recv().await.is_some() && tx.send(()).await.is_ok() {} });
                }
                Err(e) => tracing::warn!("signals cannot be waited for: {e}"),
            }
        }
    }
    #[cfg(not(unix))]
    tokio::spawn(async move { while tokio::signal::ctrl_c().await.is_ok() && tx.send(()).await.is_ok() {} });
    rx
}
