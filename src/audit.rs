//! The record of what was done: a file of JSON lines that only grows. Before anything is sent, an `intent` line says who
//! asked for what, the plan and how it was confirmed; after it, an `end` line says what was really sent and what came of
//! it. What cannot be recorded is not done. Knows nothing of how a call runs.
//!
//! Each line has a number, the keyed hash (HMAC-SHA256) of the line before it, and one of its own. `FILE.head`, replaced with
//! every line, holds the number and the hash of the last one, under a hash of its own.
//!
//! What the chain proves, to somebody with the key: the lines are those that a holder of the key wrote, all of them from
//! the first to the one that the head names, in this order. A line that was changed, taken out, put in, copied or moved is
//! found, and so is an end that was cut off.
//!
//! What it cannot prove:
//! - anything against who has the key: whoever can read `FILE.key` (the user this program runs as, and root) can write the
//!   whole log anew. `PROXMOX_KEY` keeps the key off the disk, out of backups, and away from others who may write the file;
//! - that file and head were not both put back to an earlier state together, or both removed. Who wants to notice that keeps
//!   the count and the hash that `audit verify` prints somewhere else, or ships the lines away as they come;
//! - that nothing was done to the cluster by other ways: Proxmox's own task log tells of those.
//!
//! A line that a crash left unfinished stays as it is; the next writer adds a `torn` line with its hash, so that it is known
//! for what it is. A file that does not fit its head is not written to any more, and so nothing is done any more either.
//!
//! Rotation: rename FILE and leave `FILE.head` and `FILE.key` where they are. The next line begins a new file, whose first
//! line (`start`) names the number and the hash of the old one's last line. `audit verify OLD FILE` checks both, and that
//! one goes on where the other ends. Truncating after copying (logrotate's `copytruncate`) does the same, but what is written
//! between the two is lost, and found to be missing.

mod chain;
mod entry;
mod files;
mod log;
mod redact;
#[cfg(test)]
mod tests;
mod verify;

use std::{
    path::Path,
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use serde_json::Value;

use self::redact::Redactor;
pub use self::{
    entry::{Begun, Ended, Entry as Recorded, Failure, Follows, Line, What},
    log::Log,
    verify::{Fault, Report, read, verify},
};
use crate::{
    error::{Error, Kind, Result},
    key::{self, Key},
    plan::{Outcome, Plan},
    tool::Entry,
    trail::Sent,
    undo::Guests,
};

/// What is going to be done.
pub struct Intent<'a> {
    pub entry: &'static Entry,
    pub cluster: &'a str,
    /// The user or token at Proxmox.
    pub who: String,
    /// Name and version of the client, where it said them.
    pub client: Option<&'a str>,
    /// The name under which the caller was let in, where it has one.
    pub caller: Option<&'a str>,
    /// The id of the request that it came with.
    pub request: Option<&'a str>,
    /// The arguments as they were given, secrets included: they are taken out here.
    pub given: &'a Value,
    pub plan: &'a Plan,
    /// How it was confirmed: `flag`, `plan`, `human`; empty where nobody had to.
    pub confirmed: &'a str,
    /// The entry that it takes back.
    pub undoes: Option<&'a str>,
    /// The guests that it touches, as they are now.
    pub guests: Guests,
}

/// What came of it.
pub struct End<'a> {
    pub sent: &'a [Sent],
    pub outcome: Result<&'a Outcome, &'a Error>,
    /// The guests that it made.
    pub made: Guests,
}

/// The log. Clones are one.
#[derive(Debug, Clone)]
pub struct Audit(Arc<Log>);

impl Audit {
    /// Finds out whether the log can be written, and begins it where it is not there yet.
    ///
    /// # Errors
    /// `BadSetting`: a file that cannot be written, or one that does not fit its head or the key.
    pub fn open(file: &Path, key: Option<Key>) -> Result<Self> {
        let log = Log::new(file.to_owned(), key);
        log.append(Vec::new()).map_err(|e| Error::bad_setting(format!("PROXMOX_AUDIT_FILE: {e}")))?;
        Ok(Self(Arc::new(log)))
    }

    pub fn file(&self) -> &Path {
        self.0.path()
    }

    /// Records what is going to be done; its id.
    ///
    /// # Errors
    /// `Denied`: what cannot be recorded must not be done.
    pub async fn begin(&self, intent: Intent<'_>) -> Result<String> {
        let id = new_id()?;
        let begun = Begun::new(id.clone(), &intent, &Redactor::of(intent.plan));
        let denied = |e: Error| {
            Error::new(Kind::Denied, format!("the audit log cannot be written, so nothing was sent: {e}")).hint(
                "what cannot be recorded is not done; the operator of this server has to look at PROXMOX_AUDIT_FILE",
            )
        };
        self.append(What::Intent(Box::new(begun))).await.map_err(denied)?;
        Ok(id)
    }

    /// Records what came of it.
    ///
    /// # Errors
    /// A file that cannot be written.
    pub async fn end(&self, id: &str, end: End<'_>) -> Result<()> {
        self.append(What::End(Box::new(Ended::new(id, &end)))).await
    }

    /// As [`Audit::end`], at once: for a call that nobody waits for any more.
    ///
    /// # Errors
    /// A file that cannot be written.
    pub fn end_now(&self, id: &str, end: &End<'_>) -> Result<()> {
        self.0.append(vec![What::End(Box::new(Ended::new(id, end)))])
    }

    /// The entry with this id.
    ///
    /// # Errors
    /// `NotFound`; `Conflict` where the log is not what was written: nothing of it is to be believed then.
    pub async fn find(&self, id: &str) -> Result<Recorded> {
        let (log, id) = (Arc::clone(&self.0), id.to_owned());
        off_thread(move || verify::find(&log, &id)).await
    }

    async fn append(&self, what: What) -> Result<()> {
        let log = Arc::clone(&self.0);
        off_thread(move || log.append(vec![what])).await
    }
}

async fn off_thread<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|e| Err(Error::internal(format!("the audit log: {e}"))))
}

/// Milliseconds since 1970.
fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or_default()
}

/// Short, unique, and in the order of time: milliseconds and a little chance.
pub(crate) fn new_id() -> Result<String> {
    const DIGITS: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
    let chance = u32::from_be_bytes(key::random::<4>()?);
    let digit = |number: u64, place: u32| DIGITS[(number >> (5 * place) & 31) as usize] as char;
    let time = (0..9).rev().map(|place| digit(now(), place));
    Ok(time.chain((0..4).rev().map(|place| digit(chance.into(), place))).collect())
}
