//! Signals that ask the program to end: Ctrl-C everywhere, and SIGTERM where there is such a thing.

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::bars::Bars;

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

/// The first interrupt cancels the call, which finds its way back; the second ends the program where it is.
pub async fn interrupted(cancel: CancellationToken, bars: Bars) {
    if tokio::signal::ctrl_c().await.is_err() {
        return;
    }
    cancel.cancel();
    bars.say("proxmox-mcp: cancelled; what has to be taken back is taken back now (Ctrl-C again ends at once)");
    if tokio::signal::ctrl_c().await.is_ok() {
        bars.clear();
        bars.say("proxmox-mcp: ended at once; `proxmox-mcp resume` tells what was left under way, and takes it up");
        std::process::exit(INTERRUPTED);
    }
}

/// As shells have it.
const INTERRUPTED: i32 = 130;
