//! Reads task logs: cleans lines, finds the percentage a task prints, its warnings and its end. Pure text; fetches nothing.

use serde::Deserialize;

use crate::outside::without_escapes;

/// One line as Proxmox lists it: `n` counts from 1.
#[derive(Debug, Clone, Deserialize)]
pub struct LogLine {
    #[serde(default)]
    pub n: u64,
    #[serde(default)]
    pub t: String,
}

/// Proxmox's only line for a log that is empty still.
const EMPTY: &str = "no content";

/// True where this is not a log, but Proxmox's way to say that there is none yet.
pub fn is_empty(lines: &[LogLine]) -> bool {
    matches!(lines, [only] if only.n <= 1 && only.t == EMPTY)
}

/// The text of one line as a terminal would show it: backspaces and carriage returns overwrite, escape sequences and other
/// control characters vanish, the end is trimmed.
pub fn clean(line: &str) -> String {
    if !line.contains(char::is_control) {
        return line.trim_end().to_owned();
    }
    let mut shown: Vec<char> = Vec::with_capacity(line.len());
    let mut at = 0_usize;
    for c in without_escapes(line).chars() {
        match c {
            '\u{8}' => at = at.saturating_sub(1),
            '\r' => at = 0,
            '\t' => put(&mut shown, &mut at, ' '),
            c if c.is_control() => {}
            c => put(&mut shown, &mut at, c),
        }
    }
    shown.into_iter().collect::<String>().trim_end().to_owned()
}

fn put(shown: &mut Vec<char>, at: &mut usize, c: char) {
    if *at < shown.len() {
        shown[*at] = c;
    } else {
        shown.push(c);
    }
    *at += 1;
}

/// The last `count` lines that say something, cleaned, oldest first.
pub fn tail(lines: &[LogLine], count: usize) -> Vec<String> {
    if is_empty(lines) {
        return Vec::new();
    }
    let mut last: Vec<String> = lines.iter().rev().map(|l| clean(&l.t)).filter(|t| !t.is_empty()).take(count).collect();
    last.reverse();
    last
}

/// The lines that warn, without the word in front. The final `TASK WARNINGS: n` is the count, not a warning.
pub fn warnings(lines: &[LogLine]) -> Vec<String> {
    lines.iter().map(|l| clean(&l.t)).filter_map(|t| warning(&t).map(str::to_owned)).collect()
}

fn warning(line: &str) -> Option<&str> {
    // A backup puts the time, or the level, before the message.
    let line = line.trim_start();
    for word in ["WARN:", "WARNING:", "Warning:", "warning:"] {
        if let Some(rest) = line.strip_prefix(word) {
            return Some(rest.trim()).filter(|r| !r.is_empty());
        }
    }
    None
}

/// The percentage that one line of a log tells, 0 to 100.
///
/// Each task type has its own way: `transferred 1.0 GiB of 4.0 GiB (25.00%)` (clone, disk move),
/// `INFO:  12% (1.2 GiB of 10.0 GiB) in 3s` (backup), `progress 5% (read …)` (restore),
/// `drive-scsi0: transferred 1.0 GiB of 2.0 GiB (50.00%) in 3s` (migration of disks),
/// `migration active, transferred 200.0 MiB of 1.0 GiB VM-state` (no figure of its own: computed),
/// `  10% [====` or `23 45.6M 23 10.5M` of a download's `12.00% complete`, and rsync's ` 45%  1.20MB/s`.
pub fn percent(line: &str) -> Option<f64> {
    let line = line.trim();
    if let Some(share) = vm_state(line) {
        return Some(share);
    }
    let progress_like =
        ["transferred", "progress", "complete", "download", "INFO:", "import", "mirror", "MB/s", "kB/s"];
    let begins = line.starts_with(|c: char| c.is_ascii_digit());
    if !begins && !progress_like.iter().any(|w| line.contains(w)) {
        return None;
    }
    if let Some(rest) = line.strip_prefix("INFO:") {
        // In a backup other lines have percentages too ("zero data: 3% …"); only the leading one counts.
        return leading_percent(rest.trim_start());
    }
    let end = line.rfind('%')?;
    let start = line[..end].rfind(|c: char| !(c.is_ascii_digit() || c == '.')).map_or(0, |i| i + 1);
    line[start..end].parse().ok().filter(|p| (0.0..=100.0).contains(p))
}

fn leading_percent(text: &str) -> Option<f64> {
    let (number, _) = text.split_once('%')?;
    let number = number.rsplit_once("status:").map_or(number, |(_, n)| n);
    number.trim().parse().ok().filter(|p| (0.0..=100.0).contains(p))
}

/// `migration active, transferred 200.0 MiB of 1.0 GiB VM-state, 100.0 MiB/s`
fn vm_state(line: &str) -> Option<f64> {
    let (before, _) = line.split_once(" VM-state")?;
    let (_, amounts) = before.split_once("transferred ")?;
    let (done, all) = amounts.split_once(" of ")?;
    let (done, all) = (bytes(done)?, bytes(all)?);
    if all > 0.0 { Some((done / all * 100.0).min(100.0)) } else { None }
}

fn bytes(text: &str) -> Option<f64> {
    let (number, unit) = text.trim().split_once(' ')?;
    let power = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"].iter().position(|u| *u == unit)?;
    Some(number.parse::<f64>().ok()? * 1024f64.powi(i32::try_from(power).ok()?))
}

/// True for the line a worker writes last: the task is over, or will be within a moment.
pub fn is_end(line: &str) -> bool {
    line == "TASK OK" || line.starts_with("TASK ERROR:") || line.starts_with("TASK WARNINGS:")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(texts: &[&str]) -> Vec<LogLine> {
        texts.iter().zip(1..).map(|(t, n)| LogLine { n, t: (*t).to_owned() }).collect()
    }

    #[test]
    fn each_sort_of_task_tells_its_percentage() {
        for (line, expected) in [
            ("transferred 0.0 B of 3.0 GiB (0.00%)", Some(0.0)),
            ("transferred 384.0 MiB of 3.0 GiB (12.50%)", Some(12.5)),
            ("transferred 3.0 GiB of 3.0 GiB (100.00%)", Some(100.0)),
            ("INFO:  12% (1.2 GiB of 10.0 GiB) in 3s, read: 400.0 MiB/s, write: 10.0 MiB/s", Some(12.0)),
            ("INFO: status: 45% (4.5 GiB of 10.0 GiB), sparse 3% (300 MiB), duration 12", Some(45.0)),
            ("INFO: backup is sparse: 3.00 GiB (75%) total zero data", None),
            ("progress 5% (read 536870912 bytes, duration 2 sec)", Some(5.0)),
            ("drive-scsi0: transferred 1.0 GiB of 2.0 GiB (50.00%) in 3s", Some(50.0)),
            ("migration active, transferred 256.0 MiB of 1.0 GiB VM-state, 100.0 MiB/s", Some(25.0)),
            ("download progress: 12.00% (12 of 100 MiB)", Some(12.0)),
            ("  1,234,567  45%    1.20MB/s    0:00:03", Some(45.0)),
            ("create full clone of drive scsi0 (data:110/vm-110-disk-0.qcow2)", None),
            ("thin pool is 99% full", None),
            ("progress 500%", None),
        ] {
            assert_eq!(percent(line), expected, "{line}");
        }
    }

    #[test]
    fn an_empty_log_has_no_tail() {
        assert_eq!(tail(&lines(&["no content"]), 5), Vec::<String>::new());
    }

    #[test]
    fn the_tail_is_cleaned_and_skips_blank_lines() {
        let log = lines(&["first", "a  1%\u{8}\u{8}\u{8}\u{8}  2%", "", "\t32768, 98304", "TASK OK"]);
        assert_eq!(tail(&log, 3), ["a  2%", " 32768, 98304", "TASK OK"]);
    }

    #[test]
    fn warnings_come_without_their_word_and_without_the_count() {
        let log = lines(&["WARN: storage 'tmpst' does not exist", "WARNING: low space", "TASK WARNINGS: 2"]);
        assert_eq!(warnings(&log), ["storage 'tmpst' does not exist", "low space"]);
    }
}
