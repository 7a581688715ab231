//! Records of calls that do several things: what is going to be done, and how far it got, on disk before it happens. Such
//! a file is there while the call is; one whose process is no more is what `proxmox-mcp resume` takes up. What would be
//! sent is sealed with the cluster's own credentials, for it may hold secrets.

mod record;
mod seal;
#[cfg(test)]
mod tests;

use std::{
    fs::{self, File, OpenOptions},
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

pub use self::record::{About, Note, Record};
use crate::{
    error::{Error, Kind, Result},
    key::Key,
    lanes::{Did, Lane, Lanes, Resumed},
    pve::Upid,
};

/// Where records are kept.
#[derive(Debug, Clone)]
pub struct Journal(PathBuf);

/// The first line of a record.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Head {
    pub id: String,
    /// Seconds since 1970.
    pub at: u64,
    pub tool: String,
    pub cluster: String,
    /// The user or token at Proxmox.
    pub who: String,
    pub summary: String,
    /// The lanes' names and what they are going to do, for those who cannot open the seal.
    pub lanes: Vec<Outline>,
    /// The entry in the audit log.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub audit: Option<String>,
    /// [`Lanes`], as [`seal`] leaves them.
    sealed: String,
}

/// What is told of a lane.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Outline {
    pub name: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vmid: Option<u32>,
    pub steps: Vec<String>,
}

/// A line of a record, but for the first.
#[derive(Debug, Serialize, Deserialize)]
struct Line {
    lane: usize,
    #[serde(default)]
    step: usize,
    #[serde(flatten)]
    note: Note,
}

/// A record that was left behind.
pub struct Left {
    pub head: Head,
    pub file: PathBuf,
    /// How far each lane got.
    pub got: Vec<Resumed>,
    /// Lanes that got another VMID, sealed.
    renumbered: Vec<(usize, String)>,
    /// Held, so that nobody else takes it up.
    lock: File,
}

impl Journal {
    pub fn new(directory: PathBuf) -> Self {
        Self(directory)
    }

    pub fn directory(&self) -> &Path {
        &self.0
    }

    /// Records that no process is at work on; those that cannot be read are named in the second list.
    ///
    /// # Errors
    /// A directory that cannot be read. One that is not there holds none.
    pub fn left(&self) -> Result<(Vec<Left>, Vec<String>)> {
        let entries = match fs::read_dir(&self.0) {
            Ok(entries) => entries,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok((Vec::new(), Vec::new())),
            Err(e) => return Err(unusable(&self.0, &e)),
        };
        let mut files: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
        files.retain(|file| file.extension().is_some_and(|ext| ext == "jsonl"));
        files.sort();
        let (mut left, mut bad) = (Vec::new(), Vec::new());
        for file in files {
            match read(&file) {
                Ok(Some(one)) => left.push(one),
                Ok(None) => {}
                Err(e) => bad.push(format!("{}: {e}", file.display())),
            }
        }
        Ok((left, bad))
    }
}

/// Nothing where a process is at work on it.
fn read(file: &Path) -> Result<Option<Left>> {
    let lock = OpenOptions::new().read(true).write(true).open(file).map_err(|e| unusable(file, &e))?;
    if lock.try_lock().is_err() {
        return Ok(None);
    }
    let mut lines = BufReader::new(&lock).lines();
    let wrong = |what: &str| Error::new(Kind::BadAnswer, what);
    let first = lines.next().transpose().map_err(|e| unusable(file, &e))?.ok_or_else(|| wrong("empty"))?;
    let mut head: Head = serde_json::from_str(&first).map_err(|e| wrong(&format!("no record: {e}")))?;
    let mut got: Vec<Resumed> = vec![Resumed::default(); head.lanes.len()];
    let mut renumbered = Vec::new();
    for line in lines {
        let Ok(line) = line else { break };
        // The process may have ended in the middle of the last line: what it says did not happen yet.
        let Ok(Line { lane, step, note }) = serde_json::from_str(&line) else { continue };
        let (Some(at), Some(outline)) = (got.get_mut(lane), head.lanes.get_mut(lane)) else { continue };
        if let Note::Renumbered { vmid, sealed } = note {
            outline.vmid = vmid;
            renumbered.push((lane, sealed));
            continue;
        }
        note.apply(at, step);
    }
    Ok(Some(Left { head, file: file.to_owned(), got, renumbered, lock }))
}

impl Note {
    fn apply(self, at: &mut Resumed, step: usize) {
        let did = match self {
            Self::Sending => Did::Sent,
            Self::Refused => Did::Nothing,
            Self::Begun { upid } => upid.parse::<Upid>().map_or(Did::Sent, Did::Begun),
            Self::Done => Did::Done,
            Self::Made { identity } => {
                at.identity = Some(identity);
                return;
            }
            Self::Renumbered { .. } => return,
        };
        if at.did.len() <= step {
            at.did.resize(step + 1, Did::Nothing);
        }
        at.did[step] = did;
    }
}

impl Left {
    /// What it was going to do.
    ///
    /// # Errors
    /// `Unauthorized`: it was made with other credentials.
    pub fn lanes(&self, key: &Key) -> Result<Lanes> {
        let mut lanes: Lanes = seal::open(key, &self.head.sealed)?;
        for (at, sealed) in &self.renumbered {
            let lane: Lane = seal::open(key, sealed)?;
            if let Some(old) = lanes.lanes.get_mut(*at) {
                *old = lane;
            }
        }
        Ok(lanes)
    }

    /// Goes on with the record.
    ///
    /// # Errors
    /// A file that cannot be written.
    pub fn record(self, key: Key) -> Result<(Head, Vec<Resumed>, Record)> {
        let record = Record::again(self.head.id.clone(), self.file, self.lock, key)?;
        Ok((self.head, self.got, record))
    }

    /// Forgets it: nothing of it is taken up any more.
    ///
    /// # Errors
    /// A file that cannot be removed.
    pub fn forget(self) -> Result<()> {
        fs::remove_file(&self.file).map_err(|e| unusable(&self.file, &e))
    }
}

fn unusable(path: &Path, e: &std::io::Error) -> Error {
    Error::bad_setting(format!("PROXMOX_STATE_DIR: {}: {e}", path.display()))
}
