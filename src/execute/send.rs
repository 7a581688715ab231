//! One request, sent once: held to the tool's list, kept back while changes are frozen, put on the trail; and where its
//! answer was lost, looked for in the task list.

use serde_json::Value;
use tokio::time::Instant;

use crate::{
    error::Result,
    policy::{Approved, Policy, Reach},
    pve::{Client, Reader, Request, Upid},
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
            Err(e) if e.is_unclear() => {
                let known: Vec<String> = self.trail.sent().into_iter().filter_map(|sent| sent.upid).collect();
                match adopted(reader, approved.request(), before, &known).await {
                    Ok(Some(upid)) => Value::from(upid.to_string()),
                    _ => return Err(e),
                }
            }
            answer => answer?,
        };
        let upid = upid_of(&answer)?;
        if let Some(upid) = &upid {
            self.trail.began(at, upid);
        }
        Ok((answer, upid))
    }
}

/// The task that a request began whose answer was lost; `known` are those of other requests. The task of a clone names the
/// template, of which several may be made at the same time: so the guest has to be there, too.
///
/// # Errors
/// The client's.
pub async fn adopted(reader: &Reader<'_>, request: &Request, since: Instant, known: &[String]) -> Result<Option<Upid>> {
    let found = reader.adopt_lost_task(request, since, known).await?;
    match found.is_none() || is_made(reader, request).await?.unwrap_or(true) {
        true => Ok(found),
        false => Ok(None),
    }
}

/// Whether the guest is there, or coming into being, that a request makes; nothing for one that makes none.
///
/// # Errors
/// The client's.
pub async fn is_made(reader: &Reader<'_>, request: &Request) -> Result<Option<bool>> {
    let places = Reach::makes(request).map(|(_, config)| config).into_iter().chain(Reach::makes_first(request));
    let mut makes = None;
    for config in places {
        match reader.get::<Value>(config).await {
            Ok(_) => return Ok(Some(true)),
            Err(e) if e.is_not_found() => makes = Some(false),
            Err(e) => return Err(e),
        }
    }
    Ok(makes)
}

/// The task, where Proxmox answered with one.
fn upid_of(answer: &Value) -> Result<Option<Upid>> {
    match answer {
        Value::String(text) if text.starts_with("UPID:") => text.parse().map(Some),
        _ => Ok(None),
    }
}
