//! The keys that callers show, as they are written down: entry by entry, each with a name and with what it may do. Nothing
//! of a key is ever in an error: an entry that cannot be understood is named by its place.

use std::{collections::HashSet, fmt};

use secrecy::{ExposeSecret, SecretString};

use crate::{
    config::{KeySource, Web, table::API_KEY},
    error::{Error, Result},
    policy::{Grant, Mode},
    toolsets::Chosen,
};

/// Fewer characters than this can be guessed.
const SHORTEST: usize = 16;
const LONGEST_NAME: usize = 40;
/// The name of a key that has none.
const ONLY: &str = "default";
/// No file of keys is near this.
pub const LONGEST_FILE: u64 = 1 << 20;

/// One key.
#[derive(Clone)]
pub struct ApiKey {
    pub name: String,
    pub secret: SecretString,
    pub grant: Grant,
    /// What it may do, as it is written: `mode=read-only toolsets=discovery`. Empty: all that the server may.
    pub rights: String,
}

impl ApiKey {
    /// Whether nothing of it has changed.
    pub fn is(&self, other: &Self) -> bool {
        self.name == other.name
            && self.rights == other.rights
            && self.secret.expose_secret() == other.secret.expose_secret()
    }
}

impl fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.name, self.rights)
    }
}

/// The keys of these settings; none where none are set.
///
/// # Errors
/// `BadSetting` for a file that cannot be read, or an entry that cannot be understood.
pub fn of(web: &Web) -> Result<Vec<ApiKey>> {
    match &web.keys {
        None => Ok(Vec::new()),
        Some(KeySource::Text(text)) => parse(text.expose_secret(), API_KEY.name),
        Some(KeySource::File(file)) => {
            let place = file.display().to_string();
            let wrong = |e: std::io::Error| Error::bad_setting(format!("{}: {place}: {e}", API_KEY.name));
            if std::fs::metadata(file).map_err(wrong)?.len() > LONGEST_FILE {
                return Err(wrong(std::io::ErrorKind::FileTooLarge.into()));
            }
            let text: SecretString = std::fs::read_to_string(file).map_err(wrong)?.into();
            parse(text.expose_secret(), &place)
        }
    }
}

/// Entries, one a line or separated by semicolons; `#` begins a comment. `place` is where they stand.
///
/// # Errors
/// `BadSetting` with the entry's place and what was expected.
pub fn parse(text: &str, place: &str) -> Result<Vec<ApiKey>> {
    let mut keys: Vec<ApiKey> = Vec::new();
    for (number, line) in (1..).zip(text.lines()) {
        for (entry, words) in (1..).zip(entries(line)) {
            let wrong = |expected: &str| bad(place, number, entry, expected);
            let key = one(&words).map_err(|e| match &e.parts().hint {
                Some(hint) => wrong(&e.to_string()).hint(hint),
                None => wrong(&e.to_string()),
            })?;
            if keys.iter().any(|known| known.name == key.name) {
                return Err(wrong(&format!("a name of its own: there are several keys named '{}'", key.name)));
            }
            if keys.iter().any(|known| known.secret.expose_secret() == key.secret.expose_secret()) {
                return Err(wrong("a key of its own: another entry has the same"));
            }
            keys.push(key);
        }
    }
    if keys.is_empty() {
        return Err(
            Error::bad_setting(format!("{place}: expected at least one key")).hint("`openssl rand -hex 32` makes one")
        );
    }
    Ok(keys)
}

/// The words of each entry of a line, without the comment.
fn entries(line: &str) -> impl Iterator<Item = Vec<&str>> {
    // A `#` inside a key is part of it.
    let comment =
        line.match_indices('#').map(|(at, _)| at).find(|at| line[..*at].ends_with([' ', '\t', ';']) || *at == 0);
    let line = &line[..comment.unwrap_or(line.len())];
    line.split(';').map(|entry| entry.split_whitespace().collect::<Vec<_>>()).filter(|words| !words.is_empty())
}

fn bad(place: &str, line: usize, entry: usize, expected: &str) -> Error {
    Error::bad_setting(format!("{place}: line {line}, entry {entry}: expected {expected}"))
}

/// One entry; the error says what was expected.
fn one(words: &[&str]) -> Result<ApiKey> {
    let expected = |what: &str| Err(Error::bad_setting(what));
    let Some((first, options)) = words.split_first() else { return expected("NAME:KEY") };
    // Up to the first colon, so that a key may have some.
    let (name, secret) = first.split_once(':').unwrap_or((ONLY, first));
    if !is_name(name) {
        return expected("NAME:KEY, with a name of at most 40 letters, digits, '.', '-' and '_'");
    }
    if secret.chars().count() < SHORTEST || !secret.chars().all(|c| c.is_ascii_graphic()) {
        return expected("a key of at least 16 characters, ASCII only (`openssl rand -hex 32` makes one)");
    }
    let (mut mode, mut lists) = (None, [Vec::new(), Vec::new(), Vec::new()]);
    let mut seen = HashSet::new();
    for option in options {
        // What is no option may be a key that was written in the wrong place, and is not shown.
        let Some((kind, value)) = option.split_once('=').filter(|(kind, _)| OPTIONS.contains(kind)) else {
            return expected("mode=, toolsets=, tools= or exclude= after the key");
        };
        if !seen.insert(kind) || value.is_empty() {
            return expected(&format!("{kind}= once, with a value"));
        }
        match OPTIONS.iter().position(|known| *known == kind) {
            Some(0) | None => match Mode::parse(value) {
                Some(given) => mode = Some(given),
                None => return expected("mode=read-only, mode=no-delete or mode=full"),
            },
            Some(at) => lists[at - 1] = value.split(',').filter(|name| !name.is_empty()).collect(),
        }
    }
    let [sets, single, excluded] = lists;
    let tools = Chosen::new(&sets, &single, &excluded)
        .map_err(|e| Error::bad_setting(format!("toolsets and tools that there are: {}", e.report())))?;
    Ok(ApiKey {
        name: name.to_owned(),
        secret: secret.to_owned().into(),
        grant: Grant { mode, tools },
        rights: options.join(" "),
    })
}

const OPTIONS: [&str; 4] = ["mode", "toolsets", "tools", "exclude"];

fn is_name(text: &str) -> bool {
    let fits = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    (1..=LONGEST_NAME).contains(&text.len()) && text.chars().all(fits)
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: &str = "hunter2-aaaaaaaaaaaa";
    const B: &str = "hunter2:bbbb#bbb=bbb";

    fn shown(text: &str) -> Vec<String> {
        let shown = |key: &ApiKey| format!("{key:?} = {}", key.secret.expose_secret());
        parse(text, "KEYS").unwrap_or_default().iter().map(shown).collect()
    }

    #[test]
    fn keys_are_written_one_a_line_or_separated_by_semicolons() {
        assert_eq!(shown(A), [format!("default  = {A}")]);
        assert_eq!(shown(&format!("\n# all; of\n\n  ops:{B}  # mine\n")), [format!("ops  = {B}")]);
        let two = format!("ops:{A} mode=full; look:{B} mode=read-only toolsets=discovery,snapshots;");
        let expected =
            [format!("ops mode=full = {A}"), format!("look mode=read-only toolsets=discovery,snapshots = {B}")];
        assert_eq!(shown(&two), expected);
        assert_eq!(shown(&two.replace(';', "\n")), expected);
    }

    #[test]
    fn what_cannot_be_understood_is_named_by_its_place_and_never_shown() {
        let cases = [
            (String::new(), "KEYS: expected at least one key"),
            ("# nothing".to_owned(), "KEYS: expected at least one key"),
            ("hunter2".to_owned(), "line 1, entry 1: expected a key of at least 16"),
            ("ops:hunter2".to_owned(), "line 1, entry 1: expected a key of at least 16"),
            (format!("{A}{A}{A}:ops"), "expected NAME:KEY"),
            (format!("ops:{A}ä"), "ASCII only"),
            (format!("a:{A};a:{B}"), "line 1, entry 2: expected a name of its own: there are several keys named 'a'"),
            (format!("a:{A}\nb:{A}"), "line 2, entry 1: expected a key of its own"),
            (format!("{A}\n{A}x"), "several keys named 'default'"),
            (format!("ops {A}"), "at least 16"),
            (format!("ops:{A} {B}"), "expected mode=, toolsets=, tools= or exclude="),
            (format!("ops:{A} mode=hunter2"), "expected mode=read-only, mode=no-delete or mode=full"),
            (format!("ops:{A} mode=full mode=full"), "expected mode= once"),
            (format!("ops:{A} toolsets="), "expected toolsets= once, with a value"),
            (format!("ops:{A} toolsets=vms"), "no toolset 'vms'; there are default, all"),
            (format!("ops:{A} tools=strat-vm"), "did you mean 'proxmox-start-vm'?"),
        ];
        for (text, expected) in cases {
            let error = parse(&text, "KEYS").map(|_| ()).map_err(|e| e.report());
            let error = error.err().unwrap_or_default();
            assert!(error.contains(expected), "{text}: {error}");
            assert!(!error.contains("hunter2"), "{text}: {error}");
        }
    }
}
