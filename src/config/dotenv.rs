//! Reading a `.env` file, with dotenvy's grammar but without its substitutions: a `$` in a password is a `$`.

use std::{collections::BTreeMap, path::Path};

use super::sources::DotEnv;
use crate::error::{Error, Result};

/// Stands for `$` while dotenvy reads, which would put (other) variables in its place. In no character set.
const DOLLAR: char = '\u{10FFFF}';

/// Reads the text of a `.env` file: `NAME=value` lines, comments, `export`, quotes, values over several lines. The last of
/// two lines for one name counts, as in a shell.
///
/// # Errors
/// Names the file and the line number, never the line itself, which may hold a secret.
pub fn parse(path: &Path, text: &str) -> Result<DotEnv> {
    let text = text.strip_prefix('\u{FEFF}').unwrap_or(text);
    let lines: Vec<String> = text.lines().map(|line| format!("{}\n", without_substitution(line))).collect();
    let mut values = BTreeMap::new();
    let mut start = 0;
    while start < lines.len() {
        let Some((taken, entry)) = read_entry(&lines[start..]) else {
            let number = start + 1;
            return Err(Error::bad_setting(format!(
                "{}, line {number}: expected NAME=value (a value with spaces, quotes or backslashes in 'single quotes')",
                path.display()
            )));
        };
        if let Some((name, value)) = entry {
            values.insert(name, value.replace(DOLLAR, "$"));
        }
        start += taken;
    }
    Ok(DotEnv { path: path.to_owned(), values, named: false })
}

/// The first entry and how many lines it takes: more than one only where a quote is open at the end of the line.
fn read_entry(lines: &[String]) -> Option<(usize, Option<(String, String)>)> {
    let mut chunk = String::new();
    for (index, line) in lines.iter().enumerate() {
        chunk.push_str(line);
        match dotenvy::from_read_iter(chunk.as_bytes()).next() {
            None => return Some((index + 1, None)),
            Some(Ok(entry)) => return Some((index + 1, Some(entry))),
            Some(Err(_)) if chunk.contains(['"', '\'']) => {}
            Some(Err(_)) => return None,
        }
    }
    None
}

/// Hides each `$` that no backslash precedes (dotenvy itself makes `$` of `\$` where it reads backslashes at all).
fn without_substitution(line: &str) -> String {
    let mut escaped = false;
    line.chars()
        .map(|c| {
            let hidden = if c == '$' && !escaped { DOLLAR } else { c };
            escaped = c == '\\' && !escaped;
            hidden
        })
        .collect()
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    fn value(line: &str) -> String {
        parse(Path::new(".env"), line).unwrap().values.remove("A").unwrap()
    }

    #[test]
    fn values_are_read_as_they_are_meant() {
        let cases = [
            ("A=1", "1"),
            ("\u{FEFF}A=1", "1"),
            ("A=1\r\n", "1"),
            ("A=1   ", "1"),
            ("A = 1", "1"),
            ("export A=1", "1"),
            ("A=1 # a comment", "1"),
            ("A=1#2", "1#2"),
            ("A=root@pam!name", "root@pam!name"),
            ("A=root@pam!name=secret", "root@pam!name=secret"),
            ("A=\"root@pam!name\"", "root@pam!name"),
            ("A='a \"b\" \\ $c'", "a \"b\" \\ $c"),
            ("A=pa$$word", "pa$$word"),
            ("A=\"pa${HOME}\"", "pa${HOME}"),
            ("A=\"pa\\$word\"", "pa$word"),
            ("A=\"two\nlines\"", "two\nlines"),
            ("A=first\nA=last", "last"),
            ("A=", ""),
            ("# don't\n\nA=1\n", "1"),
        ];
        for (text, expected) in cases {
            assert_eq!(value(text), expected, "{text:?}");
        }
    }

    #[test]
    fn a_bad_line_is_named_by_its_number_and_not_shown() {
        let cases = [
            ("A=1\n\n# x\nhunter2\nB=2", 4),
            ("A=1\nB=\"hunter2\nC=3\n", 2),
            ("A=hunter2 hunter2", 1),
            ("A=1\n=hunter2", 2),
            ("A='hunter2' x\n", 1),
        ];
        for (text, number) in cases {
            let message = parse(Path::new("/etc/x/.env"), text).err().unwrap().to_string();
            assert!(message.starts_with(&format!("/etc/x/.env, line {number}: expected NAME=value")), "{message}");
            assert!(!message.contains("hunter2") && !message.contains('\n'), "{message}");
        }
    }
}
