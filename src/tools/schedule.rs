//! Schedules: Proxmox's calendar events as they are, and simple cron lines translated into them.

use super::time::iso;
use crate::tool::{Deserialize, Error, Reader, Request, Result};

const DAYS: [&str; 8] = ["sun", "mon", "tue", "wed", "thu", "fri", "sat", "sun"];
const FORMS: &str =
    "Proxmox's own form: */15 (minutes), hourly, daily, 02:30, mon..fri 22:00, sun 01:00, *-1 03:00 (monthly)";

/// A schedule in Proxmox's form. Five words are a cron line.
///
/// # Errors
/// `BadArgument` that names the field, for cron lines with no simple counterpart.
fn calendar(field: &str, text: &str) -> Result<String> {
    let words: Vec<&str> = text.split_whitespace().collect();
    if let [word] = words.as_slice()
        && let Some(word) = word.strip_prefix('@')
    {
        return Ok(word.to_owned());
    }
    match words.as_slice() {
        [] => Err(Error::bad_argument(format!("{field}: expected a schedule, got nothing")).hint(FORMS)),
        [minute, hour, day, month, weekday] => cron(minute, hour, (day, month, weekday)).ok_or_else(|| {
            Error::bad_argument(format!("{field}: the cron line '{text}' has no simple counterpart in Proxmox"))
                .hint(FORMS)
        }),
        words => Ok(words.join(" ")),
    }
}

/// The schedule in Proxmox's form, as Proxmox itself reads it, and when it comes next.
///
/// # Errors
/// As [`calendar`], and Proxmox's.
pub async fn next(pve: &Reader<'_>, field: &str, text: &str) -> Result<(String, Option<String>)> {
    #[derive(Deserialize)]
    struct Row {
        timestamp: u64,
    }
    let event = calendar(field, text)?;
    let request = Request::get("/cluster/jobs/schedule-analyze").param("schedule", &event).param("iterations", 1);
    let rows: Vec<Row> = pve.request(&request).await?;
    Ok((event, rows.first().map(|row| iso(row.timestamp))))
}

fn cron(minute: &str, hour: &str, (day, month, weekday): (&str, &str, &str)) -> Option<String> {
    let (minutes, hours) = (figures(minute, 59)?, figures(hour, 23)?);
    let time = match (minute, hour) {
        ("*", "*") => "minutely".to_owned(),
        ("0", "*") => "hourly".to_owned(),
        (minute, "*") if minute.starts_with("*/") => minutes,
        _ => format!("{hours}:{minutes}"),
    };
    if month != "*" {
        return None;
    }
    match (day, weekday) {
        ("*", "*") => Some(time),
        // "hourly" and the like stand alone.
        _ if !time.contains([':', '*']) => None,
        ("*", weekday) => Some(format!("{} {}", weekdays(weekday)?, full(&time))),
        (day, "*") => Some(format!("*-{} {}", figures(day, 31)?, full(&time))),
        // To cron both together mean: either.
        _ => None,
    }
}

/// Minutes alone would be read as a date beside a weekday.
fn full(time: &str) -> String {
    if time.contains(':') { time.to_owned() } else { format!("*:{time}") }
}

/// `*`, `*/5`, `7`, `1,2`, `8-17`.
fn figures(text: &str, most: u32) -> Option<String> {
    let number = |text: &str| text.parse::<u32>().ok().filter(|n| *n <= most);
    if text == "*" {
        return Some("*".to_owned());
    }
    if let Some(step) = text.strip_prefix("*/") {
        return number(step).filter(|n| *n > 0).map(|n| format!("*/{n}"));
    }
    let part = |part: &str| match part.split_once('-') {
        Some((from, to)) => Some(format!("{:02}..{:02}", number(from)?, number(to)?)),
        None => Some(format!("{:02}", number(part)?)),
    };
    Some(text.split(',').map(part).collect::<Option<Vec<_>>>()?.join(","))
}

fn weekdays(text: &str) -> Option<String> {
    let day = |text: &str| match text.parse::<usize>() {
        Ok(number) => DAYS.get(number).copied(),
        Err(_) => DAYS.iter().find(|day| text.eq_ignore_ascii_case(day)).copied(),
    };
    let part = |part: &str| match part.split_once('-') {
        Some((from, to)) => Some(format!("{}..{}", day(from)?, day(to)?)),
        None => day(part).map(str::to_owned),
    };
    Some(text.split(',').map(part).collect::<Option<Vec<_>>>()?.join(","))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn simple_cron_lines_become_calendar_events() {
        for (cron, event) in [
            ("*/15 * * * *", "*/15"),
            ("0 * * * *", "hourly"),
            ("20 * * * *", "*:20"),
            ("30 2 * * *", "02:30"),
            ("0 */2 * * *", "*/2:00"),
            ("0 22 * * 1-5", "mon..fri 22:00"),
            ("0 1 * * 0,3", "sun,wed 01:00"),
            ("*/10 * * * sat", "sat *:*/10"),
            ("0 3 1 * *", "*-01 03:00"),
            ("mon..fri 22:00", "mon..fri 22:00"),
            ("@daily", "daily"),
        ] {
            assert_eq!(calendar("schedule", cron).ok().as_deref(), Some(event), "{cron}");
        }
    }

    #[test]
    fn what_has_no_counterpart_is_refused_with_the_forms_there_are() {
        for cron in ["0 0 1 1 *", "0 0 1 * 1", "61 * * * *", "0 0 * * someday", "0 1-5/2 * * *"] {
            let error = calendar("schedule", cron).err().map(|e| e.report()).unwrap_or_default();
            assert!(error.starts_with("schedule: ") && error.contains("mon..fri"), "{cron}: {error}");
        }
    }
}
