//! Progress of a call as MCP notifications: in order, ever increasing, all sent before the result.

use rmcp::{
    Peer, RoleServer,
    model::{ProgressNotificationParam, ProgressToken},
};
use tokio::{sync::mpsc, task::JoinHandle};

use crate::progress::{Progress, Update};

const TOTAL: f64 = 100.0;

/// Forwards reports to the client that asked for them.
pub struct Forwarder {
    sender: JoinHandle<()>,
}

impl Forwarder {
    /// The sink for the call, and the task that empties it.
    pub fn start(peer: Peer<RoleServer>, token: ProgressToken) -> (Progress, Self) {
        let (tx, mut rx) = mpsc::unbounded_channel::<Update>();
        let sender = tokio::spawn(async move {
            let mut last = 0.0;
            while let Some(update) = rx.recv().await {
                // The protocol wants every value above the one before, also where only the message changed.
                if last >= TOTAL {
                    continue;
                }
                last = update.percent.unwrap_or(0.0).max(last + 0.001).min(TOTAL);
                let note =
                    ProgressNotificationParam::new(token.clone(), last).with_total(TOTAL).with_message(update.message);
                if peer.notify_progress(note).await.is_err() {
                    return;
                }
            }
        });
        let progress = Progress::to(move |update| drop(tx.send(update)));
        (progress, Self { sender })
    }

    /// Waits until everything is sent. The call's [`Progress`] must have been dropped.
    pub async fn finish(self) {
        drop(self.sender.await);
    }
}
