//! What notes are written in, and what of them is better not shown.

use std::sync::OnceLock;

use regex::Regex;

use crate::tool::{Deserialize, JsonSchema, Serialize};

#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Default, PartialEq)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    #[default]
    Auto,
    Html,
    Markdown,
    Plain,
}

fn tag() -> Option<&'static Regex> {
    static TAG: OnceLock<Option<Regex>> = OnceLock::new();
    TAG.get_or_init(|| Regex::new(r"(?is)</?[a-z][a-z0-9]*(\s[^<>]*)?/?>").ok()).as_ref()
}

/// A guess: HTML has tags, Markdown its signs at the beginning of lines or links.
pub fn looks_like(text: &str) -> &'static str {
    let marked = |line: &str| {
        let line = line.trim_start();
        ["# ", "## ", "### ", "- ", "* ", "> ", "|", "```"].iter().any(|sign| line.starts_with(sign))
            || line.contains("](")
            || line.contains("**")
    };
    match text {
        "" => "none",
        _ if tag().is_some_and(|tag| tag.is_match(text)) => "html",
        _ if text.lines().any(marked) => "markdown",
        _ => "plain",
    }
}

const ENTITIES: [(&str, &str); 5] = [("&lt;", "<"), ("&gt;", ">"), ("&quot;", "\""), ("&nbsp;", " "), ("&amp;", "&")];

/// Without markup: tags go, entities become what they stand for, the ends of blocks are ends of lines.
pub fn plain(text: &str) -> String {
    let mut out = text.to_owned();
    for end in ["<br>", "<br/>", "<br />", "</p>", "</tr>", "</li>", "</h1>", "</h2>", "</h3>", "</div>"] {
        out = out.replace(end, "\n");
    }
    out = out.replace("</td>", " ").replace("</th>", " ");
    if let Some(tag) = tag() {
        out = tag.replace_all(&out, "").into_owned();
    }
    for (entity, sign) in ENTITIES {
        out = out.replace(entity, sign);
    }
    let lines: Vec<&str> = out.lines().map(str::trim_end).collect();
    lines.join("\n").trim().to_owned()
}

/// As it is to be stored: plain text in such a way that it is shown as it was written, because Proxmox shows notes as
/// Markdown.
pub fn stored(text: &str, format: Format) -> String {
    if format != Format::Plain {
        return text.to_owned();
    }
    let escaped = text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    let lines: Vec<&str> = escaped.lines().map(str::trim_end).collect();
    // Two spaces at the end of a line are Markdown's line break.
    lines.join("  \n")
}

/// What is wrong with a text in this format.
pub fn problem(text: &str, format: Format) -> Option<String> {
    let lower = text.to_lowercase();
    let active = ["<script", "<iframe", "javascript:"].iter().find(|word| lower.contains(**word));
    match format {
        Format::Plain => None,
        _ if active.is_some() => Some(format!("'{}' does not belong into notes", active?)),
        Format::Html if looks_like(text) != "html" => Some("there is no HTML in it".to_owned()),
        _ => None,
    }
}

/// The text with what looks like a secret masked, and in how many lines.
pub fn masked(text: &str) -> (String, usize) {
    static SECRET: OnceLock<Option<Regex>> = OnceLock::new();
    let word = r"(?i)((?:password|passwd|passphrase|pwd|secret|token|api[ _-]?key|access[ _-]?key|private[ _-]?key|pin)[\w -]{0,16}(?:</[a-z]+>)*\s*\**\s*(?:[:=|]|</t[dh]>\s*<td[^>]*>)\s*\**\s*)([^\s<|]+)";
    let Some(secret) = SECRET.get_or_init(|| Regex::new(word).ok()).as_ref() else { return (text.to_owned(), 0) };
    let mut count = 0;
    let mut inside = false;
    let lines = text.lines().map(|line| {
        // A private key is many lines.
        let key = line.contains("PRIVATE KEY-----");
        if key && line.contains("BEGIN") {
            inside = true;
        }
        if inside {
            count += 1;
            inside = !(key && line.contains("END"));
            return "********".to_owned();
        }
        let hidden = secret.replace_all(line, "${1}********");
        count += usize::from(hidden != line);
        hidden.into_owned()
    });
    let lines: Vec<String> = lines.collect();
    (lines.join("\n"), count)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_looks_like_a_secret_is_masked_and_nothing_else() {
        for (line, shown) in [
            ("password: hunter2", "password: ********"),
            ("Root password = hunter2 (old)", "Root password = ******** (old)"),
            ("**API key:** abc123", "**API key:** ********"),
            ("| token | abc123 |", "| token | ******** |"),
            ("<td>Password</td><td>hunter2</td>", "<td>Password</td><td>********</td>"),
            ("Owner: alice", "Owner: alice"),
            ("ask alice for the password", "ask alice for the password"),
        ] {
            assert_eq!(masked(line).0, shown);
        }
        let key = "key:\n-----BEGIN OPENSSH PRIVATE KEY-----\nb3Bl\n-----END OPENSSH PRIVATE KEY-----\nend";
        assert_eq!(masked(key), ("key:\n********\n********\n********\nend".to_owned(), 3));
    }

    #[test]
    fn plain_text_comes_back_as_it_was_written() {
        let text = "Uses <eth0> & eth1\nsecond line";
        assert_eq!(plain(&stored(text, Format::Plain)), text);
        assert_eq!(plain("<h1>Web</h1><p>port 80<br>port 443</p>"), "Web\nport 80\nport 443");
    }

    #[test]
    fn the_format_is_guessed() {
        for (text, format) in
            [("", "none"), ("<b>x</b>", "html"), ("# Web", "markdown"), ("[a](b)", "markdown"), ("a < b", "plain")]
        {
            assert_eq!(looks_like(text), format, "{text}");
        }
    }
}
