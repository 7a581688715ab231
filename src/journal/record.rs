//! One record, while its call goes on: lines are added before and after each request.

use std::{
    fs::{self, File, OpenOptions},
    io::Write,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::{SystemTime, UNIX_EPOCH},
};

use serde::{Deserialize, Serialize};

use super::{Head, Journal, Line, Outline, seal, unusable};
use crate::{
    audit,
    error::{Error, Result},
    key::Key,
    lanes::{Lane, Lanes},
    undo::Identity,
};

/// How far a step got.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "note", rename_all = "snake_case")]
pub enum Note {
    /// It is sent now: whether it arrives is not known yet.
    Sending,
    /// It was not taken.
    Refused,
    /// Its task runs.
    Begun {
        upid: String,
    },
    Done,
    /// The guest is there, and known again by this.
    Made {
        identity: Identity,
    },
    /// The lane has another VMID.
    Renumbered {
        vmid: Option<u32>,
        sealed: String,
    },
}

/// What a record says beside the lanes.
pub struct About<'a> {
    pub tool: &'a str,
    pub cluster: &'a str,
    pub who: String,
    pub summary: &'a str,
    pub audit: Option<String>,
}

/// The file of one call. Clones are one.
#[derive(Clone)]
pub struct Record(Arc<Inner>);

struct Inner {
    id: String,
    path: PathBuf,
    /// Locked as long as it is open, so that nobody takes the call up while it goes on.
    file: Mutex<File>,
    key: Key,
}

impl Journal {
    /// Begins a record.
    ///
    /// # Errors
    /// A directory or a file that cannot be written.
    pub async fn begin(&self, about: About<'_>, lanes: &Lanes, key: Key) -> Result<Record> {
        let id = audit::new_id()?;
        let at = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let outline = |lane: &Lane| Outline {
            name: lane.name.clone(),
            vmid: lane.vmid,
            steps: lane.steps.iter().map(|step| step.doing.clone()).collect(),
        };
        let head = Head {
            id: id.clone(),
            at,
            tool: about.tool.to_owned(),
            cluster: about.cluster.to_owned(),
            who: about.who,
            summary: about.summary.to_owned(),
            lanes: lanes.lanes.iter().map(outline).collect(),
            audit: about.audit,
            sealed: seal::seal(&key, lanes)?,
        };
        let line = serde_json::to_string(&head).map_err(|e| Error::internal(format!("a record: {e}")))?;
        let path = self.directory().join(format!("{id}.jsonl"));
        let directory = self.directory().to_owned();
        off_thread(move || {
            fs::create_dir_all(&directory).map_err(|e| unusable(&directory, &e))?;
            let mut options = OpenOptions::new();
            options.create_new(true).read(true).append(true);
            #[cfg(unix)]
            std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
            let file = options.open(&path).map_err(|e| unusable(&path, &e))?;
            file.lock().map_err(|e| unusable(&path, &e))?;
            let record = Record(Arc::new(Inner { id, path, file: Mutex::new(file), key }));
            record.write(&line)?;
            Ok(record)
        })
        .await
    }
}

impl Record {
    /// Goes on with one that was left behind; `lock` is the file, locked.
    pub(super) fn again(id: String, path: PathBuf, lock: File, key: Key) -> Result<Self> {
        use std::io::{Seek, SeekFrom};
        let mut file = lock;
        file.seek(SeekFrom::End(0)).map_err(|e| unusable(&path, &e))?;
        let record = Self(Arc::new(Inner { id, path, file: Mutex::new(file), key }));
        // Behind a line that was not finished, a new one begins.
        record.write("")?;
        Ok(record)
    }

    pub fn id(&self) -> &str {
        &self.0.id
    }

    /// Adds how far a step got: on disk when this returns.
    ///
    /// # Errors
    /// A file that cannot be written.
    pub async fn note(&self, lane: usize, step: usize, note: Note) -> Result<()> {
        let line = serde_json::to_string(&Line { lane, step, note });
        let line = line.map_err(|e| Error::internal(format!("a record: {e}")))?;
        let record = self.clone();
        off_thread(move || record.write(&line)).await
    }

    /// Adds that a lane has another VMID.
    ///
    /// # Errors
    /// As [`Record::note`].
    pub async fn renumbered(&self, at: usize, lane: &Lane) -> Result<()> {
        let sealed = seal::seal(&self.0.key, lane)?;
        self.note(at, 0, Note::Renumbered { vmid: lane.vmid, sealed }).await
    }

    /// Takes the file away: there is nothing left to be done.
    ///
    /// # Errors
    /// A file that cannot be removed.
    pub async fn close(&self) -> Result<()> {
        let record = self.clone();
        off_thread(move || fs::remove_file(&record.0.path).map_err(|e| unusable(&record.0.path, &e))).await
    }

    fn write(&self, line: &str) -> Result<()> {
        let mut file = self.0.file.lock().unwrap_or_else(PoisonError::into_inner);
        let written = file.write_all(format!("{line}\n").as_bytes()).and_then(|()| file.sync_data());
        written.map_err(|e| unusable(&self.0.path, &e))
    }
}

async fn off_thread<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|e| Err(Error::internal(format!("a record: {e}"))))
}
