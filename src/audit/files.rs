//! The files of the log: the lines themselves, `FILE.head` and `FILE.key`. All for the owner's eyes only.

use std::{
    ffi::OsString,
    fs::{File, OpenOptions},
    io::{self, ErrorKind, Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use super::chain;
use crate::{
    error::{Error, Result},
    key::{self, Key, SHORTEST},
};

/// The end of the log as the last writer left it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    pub count: u64,
    /// The hash of the last line.
    pub last: String,
    /// By which a key is told from another.
    pub key: String,
}

/// `FILE.head`, `FILE.key`.
pub fn beside(file: &Path, what: &str) -> PathBuf {
    let mut name = OsString::from(file);
    name.push(".");
    name.push(what);
    PathBuf::from(name)
}

/// An input or output error, with the file it is about.
pub fn of(file: &Path) -> impl Fn(io::Error) -> Error {
    move |e| Error::internal(format!("{}: {e}", file.display()))
}

fn private(options: &mut OpenOptions) -> &mut OpenOptions {
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(options, 0o600);
    options
}

/// Opens the log to add to it, and waits until nobody else does.
///
/// # Errors
/// A file that cannot be opened, read and written.
pub fn lock(file: &Path) -> Result<File> {
    loop {
        let mut options = OpenOptions::new();
        let opened = private(options.create(true).read(true).append(true)).open(file).map_err(of(file))?;
        opened.lock().map_err(of(file))?;
        // It may have been renamed while another had the lock.
        if is_at(&opened, file) {
            return Ok(opened);
        }
    }
}

/// Opens the log to look at it, while nobody adds to it.
///
/// # Errors
/// A file that cannot be opened.
pub fn lock_shared(file: &Path) -> Result<File> {
    let opened = File::open(file).map_err(of(file))?;
    opened.lock_shared().map_err(of(file))?;
    Ok(opened)
}

#[cfg(unix)]
fn is_at(opened: &File, file: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    let same = |a: &std::fs::Metadata, b: &std::fs::Metadata| (a.dev(), a.ino()) == (b.dev(), b.ino());
    matches!((opened.metadata(), std::fs::metadata(file)), (Ok(a), Ok(b)) if same(&a, &b))
}

/// An open file cannot be renamed there.
#[cfg(not(unix))]
fn is_at(_: &File, _: &Path) -> bool {
    true
}

/// The last whole line, and what stands after it: what a crash left unfinished.
///
/// # Errors
/// What cannot be read.
pub fn tail(file: &mut File) -> io::Result<(Vec<u8>, Vec<u8>)> {
    const STEP: u64 = 1 << 16;
    let length = file.metadata()?.len();
    let mut end = Vec::new();
    let mut at = length;
    // Two ends of lines: that of the last whole one, and that of the one before it.
    while at > 0 && end.iter().filter(|byte| **byte == b'\n').count() < 2 {
        let step = at.min(STEP);
        at -= step;
        let mut piece = vec![0; usize::try_from(step).unwrap_or_default()];
        file.seek(SeekFrom::Start(at))?;
        file.read_exact(&mut piece)?;
        piece.append(&mut end);
        end = piece;
    }
    let Some(last) = end.iter().rposition(|byte| *byte == b'\n') else { return Ok((Vec::new(), end)) };
    let rest = end.split_off(last + 1);
    end.pop();
    let start = end.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
    Ok((end.split_off(start), rest))
}

/// The head, where there is one.
///
/// # Errors
/// One that cannot be read, or that no holder of this key wrote.
pub fn read_head(file: &Path, key: &Key) -> Result<Option<Head>> {
    let path = beside(file, "head");
    let text = match std::fs::read(&path) {
        Ok(text) => text,
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(of(&path)(e)),
    };
    let line = text.strip_suffix(b"\n").unwrap_or(&text);
    if let Some((head, _)) = chain::unseal::<Head>(key, chain::HEAD, line) {
        return Ok(Some(head));
    }
    let claimed: Option<Head> = serde_json::from_slice(line).ok();
    Err(match claimed {
        Some(head) if head.key != chain::key_id(key) => Error::internal(format!(
            "{} was written with another key ({}, this one is {})",
            path.display(),
            head.key,
            chain::key_id(key)
        ))
        .hint("give the key back (PROXMOX_KEY, or FILE.key), or move the log and its head away to begin a new one"),
        _ => Error::internal(format!("{} is not what was written", path.display())),
    })
}

/// Replaces the head: whoever reads it finds the old one or the new one.
///
/// # Errors
/// A file that cannot be written.
pub fn write_head(file: &Path, key: &Key, head: &Head) -> Result<()> {
    let (line, _) = chain::seal(key, chain::HEAD, head)?;
    replace(&beside(file, "head"), &format!("{line}\n"))
}

fn replace(path: &Path, text: &str) -> Result<()> {
    let draft = beside(path, &format!("{}.new", std::process::id()));
    let write = || -> io::Result<()> {
        let mut options = OpenOptions::new();
        let mut new = private(options.create(true).write(true).truncate(true)).open(&draft)?;
        new.write_all(text.as_bytes())?;
        new.sync_all()?;
        std::fs::rename(&draft, path)
    };
    write().map_err(|e| {
        drop(std::fs::remove_file(&draft));
        of(path)(e)
    })
}

/// The key in `FILE.key`.
///
/// # Errors
/// A file that is not there, or holds no key.
pub fn read_key(file: &Path) -> Result<Option<Key>> {
    let path = beside(file, "key");
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(of(&path)(e)),
    };
    match text.trim() {
        text if text.len() >= SHORTEST => Ok(Some(Key::new(&text.into()))),
        _ => Err(Error::internal(format!("{}: expected a key of at least {SHORTEST} characters", path.display()))),
    }
}

/// Makes the key of a log that has none. Only with the log locked: there is one.
///
/// # Errors
/// A file that cannot be written; a system without random numbers.
pub fn make_key(file: &Path) -> Result<Key> {
    let text = key::hex(&key::random::<32>()?);
    replace(&beside(file, "key"), &format!("{text}\n"))?;
    Ok(Key::new(&text.into()))
}
