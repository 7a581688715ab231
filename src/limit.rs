//! How long one call may take. One that takes longer is cancelled, and says how far it got.

use std::{pin::pin, time::Duration};

use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::{
    error::{Error, Kind, Result},
    trail::Trail,
};

/// A request on its way is let to end, so that it is known what came of it; it has a time limit of its own.
const LAST_WORDS: Duration = Duration::from_secs(60);

/// What a call came to that was cancelled because it took too long; nothing, where it did not end even so.
pub struct Late<T>(pub Option<T>);

/// Runs a call, and cancels it when its time is over.
///
/// # Errors
/// It was not over in time.
pub async fn within<T>(
    limit: Option<Duration>,
    cancel: &CancellationToken,
    call: impl Future<Output = T>,
) -> Result<T, Late<T>> {
    let Some(limit) = limit else { return Ok(call.await) };
    let mut call = pin!(call);
    if let Ok(outcome) = timeout(limit, &mut call).await {
        return Ok(outcome);
    }
    cancel.cancel();
    Err(Late(timeout(LAST_WORDS, call).await.ok()))
}

/// What is said of such a call: what was done before it was ended, and the task that goes on.
pub fn too_long(limit: Duration, cancelled: Option<&Error>, trail: &Trail) -> Error {
    let sent = trail.sent();
    let task = cancelled.and_then(|e| e.parts().upid.clone()).or_else(|| sent.last()?.upid.clone());
    let goes_on = match (&task, cancelled) {
        // It knows best: the task may have been stopped with it.
        (Some(_), Some(cancelled)) if cancelled.parts().upid.is_some() => cancelled.to_string(),
        // So it does where it was taken back.
        (_, Some(cancelled)) if !cancelled.parts().report.is_empty() => cancelled.to_string(),
        (task, _) => rest(task.as_deref(), sent.is_empty()),
    };
    let message = format!("the call was ended after {limit:?}, the most that one may take here; {goes_on}");
    let error = Error::new(Kind::Timeout, message).done(match cancelled {
        Some(cancelled) => cancelled.parts().done.clone(),
        None => sent.into_iter().map(|sent| sent.request).collect(),
    });
    let error = error.told(cancelled.map(|cancelled| cancelled.parts().report.clone()).unwrap_or_default());
    match (task, cancelled.and_then(|cancelled| cancelled.parts().hint.clone())) {
        (Some(upid), Some(hint)) => error.hint(hint).upid(upid),
        (Some(upid), None) => error.hint("follow it with proxmox-wait-task").upid(upid),
        (None, _) => error.hint("the operator of this server can allow more with PROXMOX_CALL_TIMEOUT"),
    }
}

/// What became of what was sent.
fn rest(task: Option<&str>, nothing_sent: bool) -> String {
    match task {
        Some(upid) => format!("task {upid} goes on"),
        None if nothing_sent => "nothing was changed".to_owned(),
        None => "what was sent is done".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_call_that_does_not_even_end_when_cancelled_is_given_up() {
        let (cancel, trail) = (CancellationToken::new(), Trail::default());
        let at = trail.sending("POST /nodes/pve1/qemu/100/clone");
        trail.began(at, "UPID:pve1:1");
        let limit = Duration::from_secs(90);
        let outcome = within(Some(limit), &cancel, std::future::pending::<()>()).await;
        assert!(matches!(outcome, Err(Late(None))) && cancel.is_cancelled());
        let error = too_long(limit, None, &trail);
        let words = "the call was ended after 90s, the most that one may take here; task UPID:pve1:1 goes on";
        assert_eq!((error.kind(), error.to_string().as_str()), (Kind::Timeout, words));
        assert_eq!(error.parts().done, ["POST /nodes/pve1/qemu/100/clone"]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_without_a_limit_takes_as_long_as_it_likes() {
        let cancel = CancellationToken::new();
        let outcome = within(None, &cancel, tokio::time::sleep(Duration::from_secs(100_000))).await;
        assert!(outcome.is_ok() && !cancel.is_cancelled());
        let nothing = Error::new(Kind::Cancelled, "the call was cancelled");
        let error = too_long(Duration::from_millis(500), Some(&nothing), &Trail::default());
        assert!(error.to_string().ends_with("after 500ms, the most that one may take here; nothing was changed"));
    }
}
