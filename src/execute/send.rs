//! One request, sent once: held to the tool's list, kept back while changes are frozen, put on the trail; and where its
//! answer was lost, looked for in the task list.

use serde_json::Value;
use tokio::time::Instant;

use crate::{
    error::Result,
    policy::{Approved, Policy},
    pve::{Client, Reader, Upid},
    trail::Trail,
};

/// Whose requests they are.
#[derive(Clone, Copy)]
pub struct Sender<'a> {
    pub client: &'a Client,
    pub policy: &'a Policy,
    pub trail: &'a Trail,
}

impl Sender<'_> {
    /// The answer, and the task that it names.
    ///
    /// # Errors
    /// Proxmox's; `Unclear` where nobody can tell whether it was processed; `Denied` while changes are frozen.
    pub async fn send(&self, reader: &Reader<'_>, approved: &Approved) -> Result<(Value, Option<Upid>)> {
        reader.check(approved.request())?;
        self.policy.not_frozen()?;
        let at = self.trail.sending(approved.request());
        let before = Instant::now();
        let sent = match &approved.request().file {
            None => self.client.execute(approved).await,
            Some(file) => self.client.upload(approved, file.clone(), reader.scope()).await,
        };
        let answer = match sent {
            Err(e) if e.is_unclear() => match reader.adopt_lost_task(approved.request(), before).await {
                Ok(Some(upid)) => Value::from(upid.to_string()),
                _ => return Err(e),
            },
            answer => answer?,
        };
        let upid = upid_of(&answer)?;
        if let Some(upid) = &upid {
            self.trail.began(at, upid);
        }
        Ok((answer, upid))
    }
}

/// The task, where Proxmox answered with one.
fn upid_of(answer: &Value) -> Result<Option<Upid>> {
    match answer {
        Value::String(text) if text.starts_with("UPID:") => text.parse().map(Some),
        _ => Ok(None),
    }
}
