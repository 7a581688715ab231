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
}
