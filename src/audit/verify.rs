//! Reading the log: whether it is whole, and what is in it.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    fs::File,
    io::{BufRead, BufReader, Seek},
    path::Path,
};

use serde::Serialize;

use super::{
    chain,
    entry::{Begun, Ended, Entry, Follows, Line, What},
    files::{self, Head},
    log::Log,
};
use crate::{
    error::{Error, Kind, Result},
    key::Key,
};

/// What a whole log holds.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    pub lines: u64,
    pub calls: u64,
    /// Calls whose end is not there: under way, or the program was stopped.
    pub open: u64,
    /// Lines that a crash left unfinished.
    pub torn: u64,
    /// When the first line was written, and the last.
    pub from: String,
    pub to: String,
    /// The hash of the last line.
    pub last: String,
    /// The end of the log before this one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub follows: Option<Follows>,
    /// The hash of the line that the head names.
    #[serde(skip)]
    named: Option<String>,
}

/// What is wrong with a log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Fault {
    /// From 1 on; none where it is not about one line.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub line: Option<u64>,
    pub what: String,
}

impl Fault {
    fn at(line: u64, what: impl Into<String>) -> Self {
        Self { line: Some(line), what: what.into() }
    }
    fn whole(what: impl Into<String>) -> Self {
        Self { line: None, what: what.into() }
    }
}

/// `line 7: …`
impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.line {
            Some(line) => write!(f, "line {line}: {}", self.what),
            None => f.write_str(&self.what),
        }
    }
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        Self::whole(error.to_string())
    }
}

impl From<std::io::Error> for Fault {
    fn from(error: std::io::Error) -> Self {
        Self::whole(error.to_string())
    }
}

/// Logs that follow one another, the last to its end as its head names it; of those before, the next one tells it.
///
/// # Errors
/// What is wrong first.
pub fn verify(logs: &[Log]) -> Result<Report, Fault> {
    let mut sum: Option<(Report, Follows)> = None;
    for (i, log) in logs.iter().enumerate() {
        let name = |fault: Fault| match logs.len() {
            1 => fault,
            _ => Fault { what: format!("{} ({})", fault.what, log.path().display()), ..fault },
        };
        let (report, head) = whole(log, |_| {}).map_err(name)?;
        if i + 1 == logs.len() || head.is_some() {
            ends(&report, head.as_ref()).map_err(name)?;
        }
        let end = Follows { lines: report.lines, last: report.last.clone() };
        let all = match sum {
            None => report,
            Some((_, end)) if report.follows.as_ref() != Some(&end) => {
                let what = "it does not go on where the log before it ends: lines are missing between them";
                return Err(name(Fault::at(1, what)));
            }
            Some((before, _)) => before.and(report),
        };
        sum = Some((all, end));
    }
    sum.map(|(report, _)| report).ok_or_else(|| Fault::whole("no log"))
}

impl Report {
    fn and(self, next: Self) -> Self {
        Self {
            lines: self.lines + next.lines,
            calls: self.calls + next.calls,
            open: self.open + next.open,
            torn: self.torn + next.torn,
            from: self.from,
            follows: self.follows,
            ..next
        }
    }
}

/// Whether the log ends where its head says. Lines after that are a holder of the key's, too: a crash came before the head.
fn ends(report: &Report, head: Option<&Head>) -> Result<(), Fault> {
    let Some(head) = head else {
        let what = "its head (FILE.head) is missing, so that nobody can tell whether lines were cut off from its end";
        return Err(Fault::whole(format!(
            "{what}; of a log that was put aside, the one that follows it can tell: name both"
        )));
    };
    if head.count > report.lines {
        let what =
            format!("lines were cut off from the end: the head counts {}, here are {}", head.count, report.lines);
        return Err(Fault::at(report.lines + 1, what));
    }
    let begun_anew = report.follows.as_ref().is_some_and(|f| (f.lines, &f.last) == (head.count, &head.last));
    match &report.named {
        Some(mac) if *mac == head.last => Ok(()),
        _ if begun_anew && report.lines <= 2 => Ok(()),
        _ => Err(Fault::at(head.count, "the head names another line as the last: this log, or its head, was replaced")),
    }
}

/// Reads a log from its first line to its last.
fn whole(log: &Log, mut each: impl FnMut(Line)) -> Result<(Report, Option<Head>), Fault> {
    let mut file = files::lock_shared(log.path())?;
    let key = log.key()?;
    let head = files::read_head(log.path(), &key)?;
    let mut open = HashSet::new();
    let report = walk(&mut file, &key, head.as_ref(), |line| {
        match &line.what {
            What::Intent(begun) => drop(open.insert(begun.id.clone())),
            What::End(ended) => drop(open.remove(&ended.id)),
            _ => {}
        }
        each(line);
    })?;
    Ok((Report { open: open.len() as u64, ..report }, head))
}

/// Whether a log is whole, and reaches the line that a head names.
///
/// # Errors
/// What cannot be read.
pub fn reaches(file: &mut File, key: &Key, head: &Head) -> Result<bool> {
    let report = match walk(file, key, Some(head), |_| {}) {
        Ok(report) => report,
        Err(fault) => return Err(Error::internal(fault.to_string())),
    };
    Ok(ends(&report, Some(head)).is_ok())
}

/// Holds each line to the one before it.
fn walk(file: &mut File, key: &Key, head: Option<&Head>, mut each: impl FnMut(Line)) -> Result<Report, Fault> {
    file.rewind()?;
    let mut reader = BufReader::new(file);
    let (mut report, mut at, mut raw) = (Report::default(), 0, Vec::new());
    // A line that is none: left unfinished, if the next one says so.
    let mut broken: Option<Vec<u8>> = None;
    loop {
        raw.clear();
        if reader.read_until(b'\n', &mut raw)? == 0 {
            break;
        }
        at += 1;
        let finished = raw.pop_if(|byte| *byte == b'\n').is_some();
        let Some((line, mac)) = chain::unseal::<Line>(key, chain::LINE, &raw) else {
            if broken.is_some() {
                return Err(no_line(at - 1, key, &broken.unwrap_or_default()));
            }
            // The last one, unfinished: nobody has written since.
            match finished {
                true => broken = Some(std::mem::take(&mut raw)),
                false => report.torn += 1,
            }
            continue;
        };
        match (broken.take(), &line.what) {
            (Some(raw), What::Torn { bytes, hash })
                if *bytes == raw.len() && *hash == chain::mac(key, chain::TORN, &raw) =>
            {
                report.torn += 1;
            }
            (Some(raw), _) => return Err(no_line(at - 1, key, &raw)),
            (None, What::Torn { .. }) => {
                return Err(Fault::at(at, "the unfinished line that stood before this one was removed"));
            }
            (None, _) => {}
        }
        if line.n != report.lines + 1 {
            return Err(misplaced(at, report.lines + 1, line.n, &mut reader));
        }
        if line.prev != report.last {
            return Err(Fault::at(at, "not what was written after the line before it: it is of another log"));
        }
        if line.n == 1 {
            report.from.clone_from(&line.time);
        }
        report.to.clone_from(&line.time);
        if head.is_some_and(|head| head.count == line.n) {
            report.named = Some(mac.clone());
        }
        (report.lines, report.last) = (line.n, mac);
        match &line.what {
            What::Start { follows, .. } => report.follows.clone_from(follows),
            What::Intent(_) => report.calls += 1,
            What::End(_) | What::Torn { .. } => {}
        }
        each(line);
    }
    match broken {
        Some(raw) => Err(no_line(at, key, &raw)),
        None => Ok(report),
    }
}

/// A line that no holder of the key wrote.
fn no_line(at: u64, key: &Key, raw: &[u8]) -> Fault {
    #[derive(serde::Deserialize)]
    struct Start {
        key: String,
    }
    match serde_json::from_slice::<Start>(raw) {
        Ok(start) if at == 1 && start.key != chain::key_id(key) => Fault::at(
            at,
            format!("wrong key: the log was begun with {}, this one is {}", start.key, chain::key_id(key)),
        ),
        _ => Fault::at(at, "not what was written: it was edited or put in, or the key is another"),
    }
}

/// A line whose number is not the next one.
fn misplaced(at: u64, expected: u64, found: u64, rest: &mut impl BufRead) -> Fault {
    #[derive(serde::Deserialize)]
    struct Number {
        n: u64,
    }
    let later = rest.split(b'\n').map_while(Result::ok);
    let mut later = later.filter_map(|raw| serde_json::from_slice::<Number>(&raw).ok());
    let what = if found < expected {
        format!("out of order: this is number {found} once more, {expected} was expected")
    } else if later.any(|line| line.n == expected) {
        format!("out of order: this is number {found}, and {expected} stands further down")
    } else if found == expected + 1 {
        format!("number {expected} was removed before it")
    } else {
        format!("numbers {expected} to {} were removed before it", found - 1)
    };
    Fault::at(at, what)
}

/// The entry with this id.
///
/// # Errors
/// `NotFound`; `Conflict` for a log that is not whole.
pub fn find(log: &Log, id: &str) -> Result<Entry> {
    let (mut begun, mut ended): (Option<(Begun, String)>, Option<Ended>) = (None, None);
    let mut undoing: Vec<(String, String)> = Vec::new();
    let mut good: HashMap<String, bool> = HashMap::new();
    let (report, head) = whole(log, |line| match line.what {
        What::Intent(entry) if entry.id == id => begun = Some((*entry, line.time)),
        What::Intent(entry) => {
            let Begun { id, undoes, .. } = *entry;
            undoing.extend(undoes.map(|undone| (undone, id)));
        }
        What::End(end) => {
            good.insert(end.id.clone(), end.error.is_none());
            if end.id == id {
                ended = Some(*end);
            }
        }
        _ => {}
    })
    .map_err(|fault| not_whole(log.path(), &fault))?;
    ends(&report, head.as_ref()).map_err(|fault| not_whole(log.path(), &fault))?;
    let Some((begun, time)) = begun else {
        return Err(Error::not_found(format!("no entry '{id}' is in {}", log.path().display()))
            .hint("audit_id of a result, or `proxmox-mcp audit tail`; a log that was put aside is not looked at"));
    };
    undoing.retain(|(_, by)| good.get(by).copied().unwrap_or(false));
    Ok(Entry { begun, ended, undone_by: undone_by(id, &undoing).map(str::to_owned), time })
}

/// The entry that took this one back, and was not taken back itself.
fn undone_by<'a>(id: &str, undoing: &'a [(String, String)]) -> Option<&'a str> {
    let mut by = undoing.iter().filter(|(undone, _)| undone == id).map(|(_, by)| by.as_str());
    by.rfind(|by| undone_by(by, undoing).is_none())
}

fn not_whole(file: &Path, fault: &Fault) -> Error {
    Error::new(Kind::Conflict, format!("{} is not what was written: {fault}", file.display()))
        .hint("nothing is taken back by it; `proxmox-mcp audit verify` looks at it")
}

/// The last entries, oldest first; whether they are what was written is not looked at.
///
/// # Errors
/// A file that cannot be read.
pub fn read(file: &Path, last: usize) -> Result<Vec<Entry>> {
    let reader = BufReader::new(files::lock_shared(file)?);
    let mut entries: BTreeMap<u64, Entry> = BTreeMap::new();
    let mut numbers: HashMap<String, u64> = HashMap::new();
    for (number, raw) in (0..).zip(reader.split(b'\n')) {
        let raw = raw.map_err(files::of(file))?;
        let Ok(line) = serde_json::from_slice::<Line>(&raw) else { continue };
        match line.what {
            What::Intent(begun) => {
                numbers.insert(begun.id.clone(), number);
                entries.insert(number, Entry { begun: *begun, ended: None, undone_by: None, time: line.time });
                if entries.len() > last
                    && let Some((_, old)) = entries.pop_first()
                {
                    numbers.remove(&old.begun.id);
                }
            }
            What::End(ended) => {
                if let Some(entry) = numbers.get(&ended.id).and_then(|number| entries.get_mut(number)) {
                    entry.ended = Some(*ended);
                }
            }
            _ => {}
        }
    }
    Ok(entries.into_values().collect())
}
