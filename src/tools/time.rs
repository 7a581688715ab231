//! Times as tools show and read them: UTC, ISO 8601. Proxmox counts seconds since 1970.

use crate::tool::{Error, Result};

/// `2027-01-15T08:00:00Z`
pub fn iso(unix: u64) -> String {
    let (year, month, day) = date(unix / 86_400);
    let second = unix % 86_400;
    format!("{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}Z", second / 3600, second / 60 % 60, second % 60)
}

/// `20270115-080000`: for names.
pub fn stamp(unix: u64) -> String {
    let (year, month, day) = date(unix / 86_400);
    let second = unix % 86_400;
    format!("{year:04}{month:02}{day:02}-{:02}{:02}{:02}", second / 3600, second / 60 % 60, second % 60)
}

/// Reads `2027-01-15`, `2027-01-15T08:00` or `2027-01-15T08:00:00Z`.
///
/// # Errors
/// `BadArgument` that names the field.
pub fn parse(field: &str, text: &str) -> Result<u64> {
    read(text).ok_or_else(|| {
        Error::bad_argument(format!("{field}: expected a UTC time such as 2027-01-15T08:00:00Z, got '{text}'"))
    })
}

/// Reads a time that is over: `90m`, `2h`, `3d`, `1w` before now, a time as RFC 3339 has it, or seconds since 1970.
///
/// # Errors
/// `BadArgument` that names the field.
pub fn past(field: &str, text: &str, now: u64) -> Result<u64> {
    let found = ago(text, now).or_else(|| text.trim().parse().ok()).or_else(|| with_zone(text));
    match found {
        Some(time) if time <= now => Ok(time),
        Some(time) => Err(Error::bad_argument(format!("{field}: {} is yet to come; it is {}", iso(time), iso(now)))),
        None => Err(Error::bad_argument(format!(
            "{field}: expected 90m, 2h, 3d or 1w (ago), a time such as 2027-01-15T08:00:00Z, or seconds since 1970; got '{text}'"
        ))),
    }
}

fn ago(text: &str, now: u64) -> Option<u64> {
    let text = text.trim();
    let seconds = match text.chars().last()? {
        's' => 1,
        'm' => 60,
        'h' => 3600,
        'd' => 86_400,
        'w' => 7 * 86_400,
        _ => return None,
    };
    let count: u64 = text[..text.len() - 1].trim().parse().ok()?;
    now.checked_sub(count.checked_mul(seconds)?)
}

/// `2027-01-15T09:00:00.5+01:00`
fn with_zone(text: &str) -> Option<u64> {
    let (day, time) = text.trim().split_once(['T', ' ']).unwrap_or((text.trim(), ""));
    let at = time.rfind(['+', '-']).unwrap_or(time.len());
    let (time, zone) = time.split_at(at);
    let time = time.split_once('.').map_or(time.trim_end_matches('Z'), |(whole, _)| whole);
    let local = read(&if time.is_empty() { day.to_owned() } else { format!("{day}T{time}") })?;
    let Some((sign, offset)) = zone.split_at_checked(1) else { return Some(local) };
    let (hours, minutes) = offset.split_once(':')?;
    let (hours, minutes): (u64, u64) = (hours.parse().ok()?, minutes.parse().ok()?);
    let offset = Some(hours * 3600 + minutes * 60).filter(|offset| *offset < 86_400)?;
    if sign == "+" { local.checked_sub(offset) } else { local.checked_add(offset) }
}

fn read(text: &str) -> Option<u64> {
    let text = text.trim().trim_end_matches('Z');
    let (day, time) = text.split_once(['T', ' ']).unwrap_or((text, "00:00"));
    let numbers = |text: &str, at: char| text.split(at).map(|part| part.parse().ok()).collect::<Option<Vec<u64>>>();
    let [year, month @ 1..=12, day @ 1..=31] = numbers(day, '-')?[..] else { return None };
    let (hour, minute, second) = match numbers(time, ':')?[..] {
        [hour @ 0..=23, minute @ 0..=59] => (hour, minute, 0),
        [hour @ 0..=23, minute @ 0..=59, second @ 0..=59] => (hour, minute, second),
        _ => return None,
    };
    if !(1970..=9999).contains(&year) {
        return None;
    }
    Some(days(year, month, day) * 86_400 + hour * 3600 + minute * 60 + second)
}

/// Days since 1970 of a date: years begin in March, so that the leap day is the last.
fn days(year: u64, month: u64, day: u64) -> u64 {
    let (year, month) = if month <= 2 { (year - 1, month + 9) } else { (year, month - 3) };
    let (era, of_era) = (year / 400, year % 400);
    let of_year = (153 * month + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

/// Year, month and day of a number of days since 1970.
fn date(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let (era, of_era) = (days / 146_097, days % 146_097);
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (year + era * 400 + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_and_read_alike() {
        for unix in [0, 951_782_400, 1_709_164_799, 1_800_000_000, 4_102_444_800] {
            assert_eq!(read(&iso(unix)), Some(unix), "{}", iso(unix));
        }
        assert_eq!((iso(1_800_000_000).as_str(), stamp(0).as_str()), ("2027-01-15T08:00:00Z", "19700101-000000"));
        assert_eq!(read("2027-01-15"), Some(1_800_000_000 - 8 * 3600));
        assert_eq!((read("yesterday"), read("2027-13-01"), read("2027-01-15T25:00")), (None, None, None));
    }

    #[test]
    fn a_past_time_is_told_in_many_ways() {
        let now = 1_800_000_000;
        for (text, time) in [
            ("90m", now - 5400),
            (" 2h ", now - 7200),
            ("3d", now - 259_200),
            ("1w", now - 604_800),
            ("1799990000", 1_799_990_000),
            ("2027-01-15", now - 28_800),
            ("2027-01-15T07:59", now - 60),
            ("2027-01-15T07:00:00.25Z", now - 3600),
            ("2027-01-15T08:30:00+01:00", now - 1800),
            ("2027-01-15 01:00:00-06:30", now - 1800),
        ] {
            assert_eq!(past("since", text, now).ok(), Some(time), "{text}");
        }
        for wrong in ["", "yesterday", "h", "-2h", "2027-01-15T09:00:00Z", "2027-01-15T08:00:00+1", "99999999999d", "é"]
        {
            let said = past("since", wrong, now).err().map(|e| e.to_string()).unwrap_or_default();
            assert!(said.starts_with("since: "), "{wrong}: {said}");
        }
    }
}
