//! When a calendar event comes next: weekdays, a date and a time, each of which may be missing.

use super::wire::civil;

const DAYS: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];

/// The parts of an event; nothing stands for all.
#[derive(Debug, Clone, Default)]
struct Event {
    /// 0: Monday.
    weekdays: Vec<u64>,
    months: Vec<u64>,
    days: Vec<u64>,
    hours: Vec<u64>,
    minutes: Vec<u64>,
}

/// The first time after `after`, in UTC.
pub fn next(event: &str, after: u64) -> Option<u64> {
    let event = parse(event)?;
    let has = |list: &[u64], value: u64| list.is_empty() || list.contains(&value);
    let start = after / 60 + 1;
    // Leap days come at least every eight years.
    for day in start / 1440..start / 1440 + 366 * 9 {
        let (_, month, date, ..) = civil(day * 86_400);
        // 1970 began on a Thursday.
        if !has(&event.weekdays, (day + 3) % 7) || !has(&event.months, month) || !has(&event.days, date) {
            continue;
        }
        let minutes = (day * 1440).max(start)..(day + 1) * 1440;
        let fits = |minute: &u64| has(&event.hours, minute / 60 % 24) && has(&event.minutes, minute % 60);
        if let Some(minute) = minutes.into_iter().find(fits) {
            return Some(minute * 60);
        }
    }
    None
}

/// The last time from `from` on and up to `until`.
pub fn last(event: &str, from: u64, until: u64) -> Option<u64> {
    const HOUR: u64 = 3600;
    for back in [HOUR, 24 * HOUR, 32 * 24 * HOUR, u64::MAX] {
        let mut found = None;
        let mut at = until.saturating_sub(back).max(from).saturating_sub(1);
        while let Some(time) = next(event, at).filter(|time| *time <= until) {
            found = Some(time);
            at = time;
        }
        if found.is_some() {
            return found.filter(|time| *time >= from);
        }
    }
    None
}

fn parse(text: &str) -> Option<Event> {
    let midnight = Event { hours: vec![0], minutes: vec![0], ..Event::default() };
    let first = Event { days: vec![1], ..midnight.clone() };
    let word = match text.trim() {
        "minutely" => Some(Event::default()),
        "hourly" => Some(Event { minutes: vec![0], ..Event::default() }),
        "daily" => Some(midnight.clone()),
        "weekly" => Some(Event { weekdays: vec![0], ..midnight.clone() }),
        "monthly" => Some(first.clone()),
        "quarterly" => Some(Event { months: vec![1, 4, 7, 10], ..first.clone() }),
        "semiannually" => Some(Event { months: vec![1, 7], ..first.clone() }),
        "yearly" => Some(Event { months: vec![1], ..first }),
        _ => None,
    };
    if word.is_some() {
        return word;
    }
    let mut event = Event::default();
    let mut timed = false;
    for part in text.split_whitespace() {
        if part.starts_with(|c: char| c.is_ascii_alphabetic()) {
            event.weekdays = weekdays(part)?;
        } else if let Some((hours, rest)) = part.split_once(':') {
            let minutes = rest.split(':').next().unwrap_or(rest);
            (event.hours, event.minutes) = (figures(hours, 0, 23)?, figures(minutes, 0, 59)?);
            timed = true;
        } else if part.contains('-') {
            let mut parts = part.rsplit('-');
            event.days = figures(parts.next()?, 1, 31)?;
            event.months = figures(parts.next()?, 1, 12)?;
        } else {
            event.minutes = figures(part, 0, 59)?;
            timed = true;
        }
    }
    if !timed {
        (event.hours, event.minutes) = (midnight.hours, midnight.minutes);
    }
    Some(event)
}

fn weekdays(text: &str) -> Option<Vec<u64>> {
    let day = |text: &str| DAYS.iter().position(|day| text.to_lowercase().starts_with(day)).map(|at| at as u64);
    let mut out = Vec::new();
    for part in text.split(',') {
        match part.split_once("..") {
            None => out.push(day(part)?),
            Some((from, to)) => {
                let (from, to) = (day(from)?, day(to)?);
                out.extend((from..from + 7).take(((to + 7 - from) % 7 + 1) as usize).map(|day| day % 7));
            }
        }
    }
    Some(out)
}

/// `*`, `7`, `8..17`, `0/15`, `*/15`, and lists of those.
fn figures(text: &str, least: u64, most: u64) -> Option<Vec<u64>> {
    if text == "*" {
        return Some(Vec::new());
    }
    let mut out = Vec::new();
    for part in text.split(',') {
        let (range, step) = match part.split_once('/') {
            Some((range, step)) => (range, Some(step.parse::<usize>().ok().filter(|step| *step > 0)?)),
            None => (part, None),
        };
        let (from, to) = match range.split_once("..") {
            Some((from, to)) => (from.parse().ok()?, to.parse().ok()?),
            None if range == "*" => (least, most),
            None => {
                let from = range.parse().ok()?;
                (from, if step.is_some() { most } else { from })
            }
        };
        out.extend((from..=to.min(most)).step_by(step.unwrap_or(1)));
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Friday, 2027-01-15 08:00:00 UTC.
    const NOW: u64 = 1_800_000_000;

    #[test]
    fn events_come_when_they_should() {
        const MINUTE: u64 = 60;
        const DAY: u64 = 86_400;
        for (event, after) in [
            ("*/15", 15 * MINUTE),
            ("minutely", MINUTE),
            ("hourly", 60 * MINUTE),
            ("02:30", DAY - 5 * 60 * MINUTE - 30 * MINUTE),
            ("daily", DAY - 8 * 60 * MINUTE),
            ("mon..fri 22:00", 14 * 60 * MINUTE),
            ("sun 01:00", 2 * DAY - 7 * 60 * MINUTE),
            ("monthly", 17 * DAY - 8 * 60 * MINUTE),
            ("*-20 08:00", 5 * DAY),
            ("8..9:0/20", 20 * MINUTE),
        ] {
            assert_eq!(next(event, NOW), Some(NOW + after), "{event}");
        }
        assert_eq!(last("*/15", 0, NOW + 100), Some(NOW));
        assert_eq!(last("daily", NOW, NOW + 100), None);
    }
}
