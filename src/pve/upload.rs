//! A file on its way to Proxmox: a multipart form whose last field is read from disk while it is sent, of a length that is
//! known beforehand, in exactly the words that pveproxy's own parser looks for.

use std::{
    fs::File,
    io::{self, Read, Seek, SeekFrom},
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use futures::{Stream, stream};
use percent_encoding::percent_decode_str;

use super::{Request, SendError, error};
use crate::{
    error::{Error, Kind},
    progress::{Progress, Update},
};

/// How much is read at a time: all that an upload holds in memory, but for the connection's own buffers.
const CHUNK: u64 = 256 << 10;

/// An upload that moves nothing for this long has failed. More than a request's limit: what was handed to the system last
/// may be on its way for a while yet.
pub const IDLE: Duration = Duration::from_secs(120);

/// A file of this machine: opened once, so that what is sent is what was looked at.
#[derive(Debug, Clone)]
pub struct FilePart {
    pub path: PathBuf,
    /// What it is called on the storage.
    pub name: String,
    /// Bytes.
    pub size: u64,
    file: Arc<File>,
}

impl PartialEq for FilePart {
    fn eq(&self, other: &Self) -> bool {
        (&self.path, &self.name, self.size) == (&other.path, &other.name, other.size)
    }
}

impl FilePart {
    /// # Errors
    /// The system's; a directory or a pipe is no file.
    pub fn open(path: &Path, name: &str) -> io::Result<Self> {
        // A pipe would block: looked at before it is opened.
        if !std::fs::metadata(path)?.is_file() {
            return Err(io::Error::other("it is not a regular file"));
        }
        let file = File::open(path)?;
        let size = file.metadata()?.len();
        Ok(Self { path: path.to_owned(), name: name.to_owned(), size, file: Arc::new(file) })
    }

    /// The bytes from an offset on, as many as one chunk holds; none at the end.
    ///
    /// # Errors
    /// The system's; or the file is shorter than it was.
    pub async fn chunk(&self, offset: u64) -> io::Result<Bytes> {
        let wanted = CHUNK.min(self.size.saturating_sub(offset)) as usize;
        let file = self.file.clone();
        let read = tokio::task::spawn_blocking(move || {
            let mut chunk = vec![0; wanted];
            let mut file = &*file;
            file.seek(SeekFrom::Start(offset))?;
            file.read_exact(&mut chunk)?;
            Ok::<_, io::Error>(Bytes::from(chunk))
        });
        match read.await.map_err(io::Error::other)? {
            Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => Err(io::Error::other("it became shorter meanwhile")),
            chunk => chunk,
        }
    }
}

/// The body of one upload. Clones are the same upload; each stream begins anew.
#[derive(Debug, Clone)]
pub struct Upload {
    head: Bytes,
    file: FilePart,
    tail: Bytes,
    boundary: Arc<str>,
    /// The fields before the file, for those who look at what is sent.
    encoded: Arc<str>,
    state: Arc<State>,
}

#[derive(Debug)]
struct State {
    progress: Progress,
    /// Bytes handed to the connection.
    sent: AtomicU64,
    /// Why the file could not be read to its end.
    unreadable: Mutex<Option<String>>,
}

enum Step {
    Head,
    File(u64),
    Tail,
    End,
}

impl Upload {
    /// The form of a request with a file. pveproxy knows fields by literal text, wants the file last, and takes its content
    /// to begin after the first empty line: so `Content-Disposition` comes first, and a `Content-Type` must follow.
    pub fn new(request: &Request, file: FilePart, progress: Progress) -> Self {
        // Nothing in the file may look like it.
        let boundary = format!("----proxmox-mcp-{:032x}", fastrand::u128(..));
        let mut head = String::new();
        for (key, value) in &request.params {
            head.push_str(&format!(
                "--{boundary}\r\nContent-Disposition: form-data; name=\"{key}\"\r\n\r\n{}\r\n",
                value.shown()
            ));
        }
        head.push_str(&format!(
            "--{boundary}\r\nContent-Disposition: form-data; name=\"filename\"; filename=\"{}\"\r\n\
             Content-Type: application/octet-stream\r\n\r\n",
            file.name
        ));
        let tail = format!("\r\n--{boundary}--\r\n");
        let state = State { progress, sent: AtomicU64::new(0), unreadable: Mutex::new(None) };
        Self {
            head: head.into(),
            file,
            tail: tail.into(),
            boundary: boundary.into(),
            encoded: request.encoded().into(),
            state: Arc::new(state),
        }
    }

    pub fn content_type(&self) -> String {
        format!("multipart/form-data; boundary={}", self.boundary)
    }

    /// Bytes of the whole body.
    pub fn length(&self) -> u64 {
        self.head.len() as u64 + self.file.size + self.tail.len() as u64
    }

    /// The fields of the form: those before the file, and the file's name.
    pub fn fields(&self) -> Vec<(String, String)> {
        let decode = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
        let pairs = self.encoded.split('&').filter_map(|pair| pair.split_once('='));
        let file = ("filename".to_owned(), self.file.name.clone());
        pairs.map(|(key, value)| (decode(key), decode(value))).chain([file]).collect()
    }

    /// The body from its beginning.
    pub fn stream(&self) -> impl Stream<Item = io::Result<Bytes>> + Send + Sync + use<> {
        self.state.sent.store(0, Ordering::Relaxed);
        stream::try_unfold((self.clone(), Step::Head), |(upload, step)| async move {
            let (bytes, next) = match step {
                Step::Head if upload.file.size == 0 => (upload.head.clone(), Step::Tail),
                Step::Head => (upload.head.clone(), Step::File(0)),
                Step::File(offset) => {
                    let bytes = upload.file.chunk(offset).await.inspect_err(|e| upload.fail(e))?;
                    let next = offset + bytes.len() as u64;
                    (bytes, if next < upload.file.size { Step::File(next) } else { Step::Tail })
                }
                Step::Tail => (upload.tail.clone(), Step::End),
                Step::End => return Ok(None),
            };
            upload.count(bytes.len() as u64);
            Ok(Some((bytes, (upload, next))))
        })
    }

    fn fail(&self, error: &io::Error) {
        *self.state.unreadable.lock().unwrap_or_else(PoisonError::into_inner) = Some(error.to_string());
    }

    fn count(&self, bytes: u64) {
        let before = self.state.sent.fetch_add(bytes, Ordering::Relaxed);
        let percent = |sent: u64| sent * 100 / self.length();
        let now = percent(before + bytes);
        if now > percent(before) {
            // The end is the task's to tell.
            let percent = Some(now.min(99) as f64);
            let message =
                format!("sending {}: {} of {} MiB", self.file.name, (before + bytes) >> 20, self.file.size >> 20);
            self.state.progress.report(Update::new(percent, message));
        }
    }

    /// Everything was handed over: it may be processed from now on, and not before.
    pub fn is_complete(&self) -> bool {
        self.state.sent.load(Ordering::Relaxed) >= self.length()
    }

    /// Runs the sending until it ends, or until nothing moved for `idle`.
    pub async fn unless_idle<T>(&self, idle: Duration, sending: impl Future<Output = T>) -> Option<T> {
        let mut sending = std::pin::pin!(sending);
        loop {
            let before = self.state.sent.load(Ordering::Relaxed);
            tokio::select! {
                outcome = &mut sending => return Some(outcome),
                () = tokio::time::sleep(idle) => {}
            }
            if self.state.sent.load(Ordering::Relaxed) == before {
                return None;
            }
        }
    }

    /// The error of an upload without an answer: until the form's last line was sent, nothing can have come of it.
    pub fn failed(&self, request: &Request, failure: SendError) -> Error {
        let unreadable = self.state.unreadable.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(why) = unreadable {
            let words = format!("{} cannot be read: {why}; nothing was stored", self.file.path.display());
            return Error::bad_argument(words).request(request.to_string());
        }
        if failure.is_never_sent() || self.is_complete() || matches!(failure, SendError::NotReady(_)) {
            return error::from_send(request, failure);
        }
        let sent = self.state.sent.load(Ordering::Relaxed);
        let words = format!(
            "the upload broke off after {} of {} MiB: {}; nothing was stored",
            sent >> 20,
            self.length() >> 20,
            failure.words()
        );
        Error::new(Kind::Unavailable, words)
            .hint("is there room in /var/tmp of the node that the upload goes to? It keeps the whole file there first")
            .request(request.to_string())
    }

    /// The error of an upload that its caller broke off.
    pub fn cancelled(&self, request: &Request) -> Error {
        Error::new(Kind::Cancelled, "the upload was cancelled; nothing was stored").request(request.to_string())
    }
}

/// An upload as a request's parameter is shown.
impl From<&FilePart> for serde_json::Value {
    fn from(file: &FilePart) -> Self {
        serde_json::json!({"name": file.name, "path": file.path.to_string_lossy(), "bytes": file.size})
    }
}
