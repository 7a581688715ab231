//! Adding to the log: one writer at a time, who looks first whether the end is the one that the head names.

use std::{
    fs::File,
    io::{Seek, SeekFrom, Write},
    path::{Path, PathBuf},
};

use super::{
    chain,
    entry::{Follows, Line, What},
    files::{self, Head},
    now, verify,
};
use crate::{
    error::{Error, Result},
    key::Key,
    tools::time,
};

/// A file, and the key if one was given; without, it is the one in `FILE.key`.
#[derive(Debug)]
pub struct Log {
    path: PathBuf,
    given: Option<Key>,
}

/// Where the chain goes on.
struct Link {
    n: u64,
    mac: String,
}

impl Log {
    pub fn new(path: PathBuf, given: Option<Key>) -> Self {
        Self { path, given }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The key of a log that is there.
    ///
    /// # Errors
    /// No key was given, and none is in `FILE.key`.
    pub fn key(&self) -> Result<Key> {
        self.known_key()?.ok_or_else(|| {
            let path = files::beside(&self.path, "key");
            Error::internal(format!("{} is not there, and PROXMOX_KEY is not set", path.display()))
        })
    }

    fn known_key(&self) -> Result<Option<Key>> {
        match &self.given {
            Some(key) => Ok(Some(key.clone())),
            None => files::read_key(&self.path),
        }
    }

    /// Adds lines, and before them what has to stand there: the first line of a new file, or a word on a line that was left
    /// unfinished. Either all of it is in the file and on its disk, or it fails.
    ///
    /// # Errors
    /// A file that cannot be written, or does not end as its head says.
    pub fn append(&self, new: Vec<What>) -> Result<()> {
        let mut file = files::lock(&self.path)?;
        let before = file.metadata().map_err(files::of(&self.path))?.len();
        let written = self.append_to(&mut file, new);
        if written.is_err() {
            // Of what was not written whole nothing stays, where that is possible.
            drop(file.set_len(before));
        }
        written
    }

    fn append_to(&self, file: &mut File, new: Vec<What>) -> Result<()> {
        let failed = files::of(&self.path);
        let (last, torn) = files::tail(file).map_err(&failed)?;
        let fresh = last.is_empty() && !files::beside(&self.path, "head").exists();
        let key = match self.known_key()? {
            Some(key) => key,
            None if fresh => files::make_key(&self.path)?,
            None => self.key()?,
        };
        let head = files::read_head(&self.path, &key)?;
        let mut lines = Lines { key: &key, link: self.link(file, &key, &last, head.as_ref())?, text: String::new() };
        let started = !last.is_empty();
        if !torn.is_empty() {
            match chain::unseal::<Line>(&key, chain::LINE, &torn) {
                // Only its end is missing.
                Some((line, mac)) if line.n == lines.link.n + 1 && line.prev == lines.link.mac => {
                    lines.text.push('\n');
                    lines.link = Link { n: line.n, mac };
                }
                _ => {
                    lines.text.push('\n');
                    let hash = chain::mac(&key, chain::TORN, &torn);
                    lines.add(What::Torn { bytes: torn.len(), hash })?;
                }
            }
        }
        if !started && (torn.is_empty() || lines.text.len() > 1) {
            let follows = head.as_ref().map(|head| Follows { lines: head.count, last: head.last.clone() });
            let version = env!("CARGO_PKG_VERSION").to_owned();
            lines.add(What::Start { version, key: chain::key_id(&key), follows })?;
        }
        for what in new {
            lines.add(what)?;
        }
        if !lines.text.is_empty() {
            file.seek(SeekFrom::End(0)).map_err(&failed)?;
            file.write_all(lines.text.as_bytes()).map_err(&failed)?;
            file.sync_data().map_err(&failed)?;
        }
        let now = Head { count: lines.link.n, last: lines.link.mac, key: chain::key_id(&key) };
        // Even where it says the same: at the start it is found out whether this can be done.
        files::write_head(&self.path, &key, &now)
    }

    /// The last whole line, if it is the one that the head names, or comes after that one.
    fn link(&self, file: &mut File, key: &Key, last: &[u8], head: Option<&Head>) -> Result<Link> {
        if last.is_empty() {
            return Ok(Link { n: 0, mac: String::new() });
        }
        let Some((line, mac)) = chain::unseal::<Line>(key, chain::LINE, last) else {
            return Err(self.unfit("its last line is not what was written, or was written with another key"));
        };
        let link = Link { n: line.n, mac };
        match (head, &line.what) {
            (Some(head), _) if head.count == link.n && head.last == link.mac => Ok(link),
            // A crash came between a line and its head: of a new file, or of any.
            (None, What::Start { .. }) => Ok(link),
            (Some(head), What::Start { follows: Some(follows), .. })
                if follows.lines == head.count && follows.last == head.last =>
            {
                Ok(link)
            }
            (Some(head), _) if head.count < link.n && verify::reaches(file, key, head)? => Ok(link),
            (Some(head), _) if head.count > link.n => Err(self
                .unfit(&format!("lines were cut off from its end: it has {}, its head counts {}", link.n, head.count))),
            (Some(_), _) => Err(self.unfit("it does not end as its head says")),
            (None, _) => Err(self.unfit("its head is missing")),
        }
    }

    fn unfit(&self, why: &str) -> Error {
        Error::internal(format!("{}: {why}", self.path.display()))
            .hint("`proxmox-mcp audit verify` says more; move the log and its head away to begin a new one")
    }
}

/// Lines that are going to be written.
struct Lines<'a> {
    key: &'a Key,
    link: Link,
    text: String,
}

impl Lines<'_> {
    fn add(&mut self, what: What) -> Result<()> {
        let line = Line { n: self.link.n + 1, time: stamp(), prev: std::mem::take(&mut self.link.mac), what };
        let (text, mac) = chain::seal(self.key, chain::LINE, &line)?;
        self.text.push_str(&text);
        self.text.push('\n');
        self.link = Link { n: line.n, mac };
        Ok(())
    }
}

/// `2027-01-15T08:00:00.123Z`
fn stamp() -> String {
    let now = now();
    format!("{}.{:03}Z", time::iso(now / 1000).trim_end_matches('Z'), now % 1000)
}
