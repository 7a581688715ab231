//! Names of new guests: one, or a pattern that stands for several, as shells write it. And which of them are taken.

use std::collections::{HashMap, HashSet};

use crate::{error::Kind, pve::GuestKind, tool::*};

/// Machines that one call makes at most.
pub const MOST: usize = 100;
/// As Proxmox has it.
const LENGTH: usize = 255;

/// The names that a pattern stands for, in its order: `web{01..03}` is web01, web02 and web03, `db-{a,b}` is db-a and db-b,
/// and `{a,b}{1..2}` is a1, a2, b1 and b2.
///
/// # Errors
/// `BadArgument` with the field: a pattern that is none, a name that Proxmox does not take, one twice, more than [`MOST`].
pub fn expand(field: &str, pattern: &str) -> Result<Vec<String>> {
    let pattern = pattern.trim();
    let wrong = |why: String| {
        Error::bad_argument(format!("{field}: {why}"))
            .hint("one name, or a pattern: web{01..03} is web01, web02, web03; db-{a,b} is db-a, db-b")
    };
    if pattern.is_empty() {
        return Err(wrong("expected a name or a pattern, got ''".to_owned()));
    }
    let mut names = vec![String::new()];
    let mut rest = pattern;
    while let Some((before, after)) = rest.split_once('{') {
        let Some((inner, after)) = after.split_once('}') else {
            return Err(wrong(format!("'{pattern}' has a {{ without its }}")));
        };
        let choices = choices(inner).map_err(|why| wrong(format!("{{{inner}}} in '{pattern}': {why}")))?;
        if names.len() * choices.len() > MOST {
            return Err(wrong(format!("'{pattern}' stands for more than {MOST} names")));
        }
        names =
            names.iter().flat_map(|name| choices.iter().map(move |choice| format!("{name}{before}{choice}"))).collect();
        rest = after;
    }
    for name in &mut names {
        name.push_str(rest);
        if !is_dns_name(name) {
            return Err(wrong(format!(
                "'{name}' is no name for a guest: letters, digits and '-' between dots, not beginning or ending with '-'"
            )));
        }
        if name.len() > LENGTH {
            return Err(wrong(format!("a name has at most {LENGTH} characters, and one has {}", name.len())));
        }
    }
    let twice = names.iter().enumerate().find(|(i, name)| names[..*i].contains(name));
    match twice {
        Some((_, name)) => Err(wrong(format!("'{pattern}' stands for '{name}' twice"))),
        None => Ok(names),
    }
}

/// What stands between braces: a range of numbers, or words.
fn choices(inner: &str) -> Result<Vec<String>, String> {
    let Some((from, to)) = inner.split_once("..") else {
        let words: Vec<String> = inner.split(',').map(|word| word.trim().to_owned()).collect();
        return match words.as_slice() {
            [one] => Err(format!("expected a range (1..3) or several words (a,b), got '{one}'")),
            _ => Ok(words),
        };
    };
    let number = |text: &str| {
        let digits = !text.is_empty() && text.len() <= 9 && text.bytes().all(|b| b.is_ascii_digit());
        digits.then(|| text.parse::<usize>().ok()).flatten().ok_or_else(|| format!("'{text}' is no number"))
    };
    let (first, last) = (number(from)?, number(to)?);
    if last < first {
        return Err(format!("the range ends before it begins; write {to}..{from}"));
    }
    if last - first >= MOST {
        return Err(format!("more than {MOST} names"));
    }
    // A leading zero at either end means that all are as long.
    let padded = [from, to].iter().any(|text| text.len() > 1 && text.starts_with('0'));
    let width = if padded { from.len().max(to.len()) } else { 0 };
    Ok((first..=last).map(|n| format!("{n:0width$}")).collect())
}

/// Proxmox's own rule: labels of letters, digits and hyphens, with dots between them.
fn is_dns_name(name: &str) -> bool {
    name.split('.').all(|label| {
        !label.is_empty()
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    })
}

/// The guests that have these names already, in the order of the names: as the nodes list them now, because the cluster's
/// list learns names late.
///
/// # Errors
/// Proxmox's; `Conflict` where a guest of the other kind has one, `Ambiguous` where several have the same.
pub async fn taken(pve: &Reader<'_>, names: &[String], kind: GuestKind) -> Result<Vec<Option<Guest>>> {
    let (rows, live) = (pve.resources_now().await?, pve.live().await?);
    let seen: HashSet<u32> = live.guests.iter().map(|guest| guest.vmid).collect();
    let silent = rows.iter().filter(|row| !seen.contains(&row.vmid)).map(Guest::from);
    let mut by_name: HashMap<String, Vec<Guest>> = HashMap::new();
    for guest in live.guests.iter().cloned().chain(silent) {
        if let Some(name) = guest.name.clone() {
            by_name.entry(name).or_default().push(guest);
        }
    }
    let of = |name: &String| match by_name.get(name).map(Vec::as_slice).unwrap_or_default() {
        [] => Ok(None),
        [one] if one.kind == kind && !one.template => Ok(Some(one.clone())),
        [one] => Err(Error::new(Kind::Conflict, format!("name: '{name}' is taken by {one}"))),
        [one, other, ..] => {
            Err(Error::new(Kind::Ambiguous, format!("name: '{name}' is taken by {one} and by {other}")))
        }
    };
    names.iter().map(of).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(pattern: &str) -> Result<Vec<String>, String> {
        expand("name", pattern).map_err(|e| e.to_string())
    }

    #[test]
    fn a_pattern_stands_for_its_names_in_order() {
        for (pattern, names) in [
            ("web01", "web01"),
            (" web{01..03} ", "web01 web02 web03"),
            ("web{9..11}", "web9 web10 web11"),
            ("web{08..10}.example.test", "web08.example.test web09.example.test web10.example.test"),
            ("n{1..02}", "n01 n02"),
            ("db-{a, b}", "db-a db-b"),
            ("{a,b}{1..2}x", "a1x a2x b1x b2x"),
            ("web{,-old}", "web web-old"),
        ] {
            assert_eq!(of(pattern).map(|names| names.join(" ")), Ok(names.to_owned()), "{pattern}");
        }
        assert_eq!(of("n{1..100}").map(|names| names.len()), Ok(100));
    }

    #[test]
    fn what_is_no_name_is_told_by_field() {
        for (pattern, words) in [
            ("", "name: expected a name or a pattern, got ''"),
            ("web{01..03", "without its }"),
            ("web{3..1}", "the range ends before it begins; write 1..3"),
            ("web{a..c}", "'a' is no number"),
            ("web{1}", "got '1'"),
            ("web{}", "expected a range"),
            ("n{1..101}", "more than 100"),
            ("n{1..20}{1..20}", "more than 100 names"),
            ("n{4000000000000..4000000000001}", "is no number"),
            ("web_1", "'web_1' is no name for a guest"),
            ("-web", "'-web' is no name"),
            ("web{1..2}-", "'web1-' is no name"),
            ("a..b", "'a..b' is no name"),
            ("web}", "'web}' is no name"),
            ("web{a,a}", "stands for 'weba' twice"),
        ] {
            let error = of(pattern).err().unwrap_or_default();
            assert!(error.starts_with("name: ") && error.contains(words), "{pattern}: {error}");
        }
    }
}
