//! Which characters of a text are not shown, and why:
//!
//! - control characters, and escape sequences as a whole: in a terminal they move, recolour, hide or answer;
//! - marks that turn the direction of writing: they make a text read otherwise than it is;
//! - characters without width, tags and selectors that select nothing: they hide words from people, and not from models.
//!
//! Letters of all scripts and emoji stay, with the joiners and selectors that belong to them. `\n` and `\t` stay; a carriage
//! return becomes a line's end.

use std::borrow::Cow;

const ESC: char = '\u{1b}';

/// The text as it may be shown.
pub fn clean(text: &str) -> Cow<'_, str> {
    if is_dirty(text) { Cow::Owned(cleaning(text)) } else { Cow::Borrowed(text) }
}

/// As [`clean`], of a text that is one's own.
pub fn cleaned(text: String) -> String {
    if is_dirty(&text) { cleaning(&text) } else { text }
}

/// Whether anything may have to go; most texts are plain, and are looked at once.
pub(super) fn is_dirty(text: &str) -> bool {
    let plain = |b: &u8| (0x20..0x7f).contains(b) || matches!(b, b'\n' | b'\t');
    match text.bytes().all(|b| plain(&b)) {
        true => false,
        false => text.chars().any(|c| !is_shown(c) || is_joiner(c) || is_selector(c) || is_line_end(c)),
    }
}

/// Whether a character is ever shown.
pub fn is_shown(c: char) -> bool {
    !matches!(c,
        '\0'..='\u{8}' | '\u{b}' | '\u{c}' | '\r' | '\u{e}'..='\u{1f}' | '\u{7f}'..='\u{9f}'
        // Soft hyphen, combining grapheme joiner, Mongolian vowel separator, zero-width space and no-break space.
        | '\u{ad}' | '\u{34f}' | '\u{180e}' | '\u{200b}' | '\u{feff}'
        // Direction: Arabic letter mark, marks, embeddings, overrides.
        | '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}'
        // Word joiner, invisible operators, isolates, what is deprecated; annotations; beams and slurs.
        | '\u{2060}'..='\u{206f}' | '\u{fff9}'..='\u{fffb}' | '\u{1d173}'..='\u{1d17a}'
        // Tags, and what is reserved beside them; not the selectors among them.
        | '\u{e0000}'..='\u{e00ff}' | '\u{e01f0}'..='\u{e0fff}')
}

/// What joins or parts letters of some scripts, and makes one emoji of several.
fn is_joiner(c: char) -> bool {
    matches!(c, '\u{200c}' | '\u{200d}')
}

/// What chooses between forms of the character before it.
fn is_selector(c: char) -> bool {
    matches!(c, '\u{fe00}'..='\u{fe0f}' | '\u{e0100}'..='\u{e01ef}')
}

fn is_line_end(c: char) -> bool {
    matches!(c, '\u{2028}' | '\u{2029}')
}

fn cleaning(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut last = None;
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        rest = &rest[c.len_utf8()..];
        let shown = match c {
            c if is_introducer(c) => {
                rest = &rest[sequence(c, rest)..];
                continue;
            }
            '\r' if rest.starts_with('\n') => continue,
            '\r' => Some('\n'),
            c if is_line_end(c) => Some('\n'),
            c if is_joiner(c) => Some(c).filter(|_| belongs(last) && belongs(rest.chars().next())),
            // One after each character that may have it: more of them spell something else. Digits make keycaps.
            c if is_selector(c) => {
                Some(c).filter(|_| belongs(last) || last.is_some_and(|l| l.is_ascii_digit() || matches!(l, '#' | '*')))
            }
            c => Some(c).filter(|c| is_shown(*c)),
        };
        if let Some(c) = shown {
            out.push(c);
            last = Some(c);
        }
    }
    out
}

/// The text without escape sequences; other control characters stay.
pub fn without_escapes(text: &str) -> Cow<'_, str> {
    let Some(first) = text.find(is_introducer) else { return Cow::Borrowed(text) };
    let (mut out, mut rest) = (text[..first].to_owned(), &text[first..]);
    while let Some(c) = rest.chars().next() {
        rest = &rest[c.len_utf8()..];
        match is_introducer(c) {
            true => rest = &rest[sequence(c, rest)..],
            false => out.push(c),
        }
    }
    Cow::Owned(out)
}

/// What begins an escape sequence: ESC, or one of the single characters that stand for ESC and another.
fn is_introducer(c: char) -> bool {
    matches!(c, ESC | '\u{90}' | '\u{98}' | '\u{9b}' | '\u{9d}'..='\u{9f}')
}

/// Whether a joiner or selector may stand beside it: a visible character beyond ASCII. The emoji's own selector is one that a
/// joiner may follow.
fn belongs(c: Option<char>) -> bool {
    c.is_some_and(|c| {
        !c.is_ascii() && !c.is_whitespace() && is_shown(c) && !is_joiner(c) && (!is_selector(c) || c == '\u{fe0f}')
    })
}

/// How many bytes after its introducer belong to an escape sequence. Of one without an end nothing does: it must not take
/// with it what follows.
fn sequence(introducer: char, rest: &str) -> usize {
    let skip = |text: &str, from: u8, to: u8| text.bytes().take_while(|b| (from..=to).contains(b)).count();
    let ends = |at: usize, from: u8| match rest.as_bytes().get(at) {
        Some(b) if (from..=0x7e).contains(b) => at + 1,
        _ => 0,
    };
    let (control, at) = match (introducer, rest.bytes().next()) {
        (ESC, Some(b @ (b'[' | b']' | b'P' | b'X' | b'^' | b'_'))) => (b == b'[', 1),
        (ESC, _) => return ends(skip(rest, 0x20, 0x2f), 0x30),
        (introducer, _) => (introducer == '\u{9b}', 0),
    };
    if control {
        let at = at + skip(&rest[at..], 0x30, 0x3f);
        let at = at + skip(&rest[at..], 0x20, 0x2f);
        return ends(at, 0x40).max(usize::from(introducer == ESC));
    }
    // A string, as of a title or a link, ends with BEL or ST.
    let line = rest.split('\n').next().unwrap_or_default();
    let end = |mark: &str| line.find(mark).map(|found| found + mark.len());
    [end("\u{7}"), end("\u{1b}\\"), end("\u{9c}")].into_iter().flatten().min().unwrap_or(at)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escape_sequences_go_as_a_whole() {
        for (given, shown) in [
            ("\u{1b}[1;31mred\u{1b}[0m", "red"),
            ("\u{1b}]0;title\u{7}text", "text"),
            ("\u{1b}]8;;http://x\u{1b}\\link\u{1b}]8;;\u{1b}\\", "link"),
            ("\u{1b}(Bplain\u{1b}7\u{1b}c", "plain"),
            ("\u{9b}2Jcleared", "cleared"),
            ("\u{1b}[?25lhidden\u{1b}[?25h", "hidden"),
            ("\u{1b}]0;no end\nthe rest", "0;no end\nthe rest"),
            ("\u{1b}[31", "31"),
            ("end\u{1b}", "end"),
            ("\u{1b}é", "é"),
        ] {
            assert_eq!(clean(given), shown, "{given:?}");
        }
    }

    #[test]
    fn control_characters_go_and_lines_stay() {
        assert_eq!(clean("a\0b\u{7}c\u{8}d\u{7f}e\u{85}f\tg\nh"), "abcdef\tg\nh");
        assert_eq!(clean("one\r\ntwo\rthree\u{2028}four"), "one\ntwo\nthree\nfour");
    }

    #[test]
    fn what_is_hidden_from_people_is_hidden_from_models() {
        assert_eq!(clean("safe\u{202e}txt.exe\u{2066}\u{200f}"), "safetxt.exe");
        assert_eq!(clean("ig\u{200b}no\u{ad}re\u{feff}"), "ignore");
        let tags: String = "rm -rf".chars().filter_map(|c| char::from_u32(0xe0000 + u32::from(c))).collect();
        assert_eq!(clean(&format!("hello{tags}")), "hello");
        assert_eq!(clean("x\u{fe01}\u{e0105}\u{e0106}"), "x");
        assert_eq!(clean("😀\u{e0105}\u{e0106}\u{e0107}"), "😀\u{e0105}");
        assert_eq!(clean("a\u{200d}\u{200c}\u{200d}b"), "ab");
    }

    #[test]
    fn scripts_and_emoji_stay_as_they_are() {
        for text in [
            "Grüße",
            "می\u{200c}خواهم",
            "ありがとう",
            "👩\u{200d}🚀",
            "🏳\u{fe0f}\u{200d}🌈",
            "1\u{fe0f}\u{20e3}",
            "葛\u{e0100}",
            "עברית",
        ] {
            assert_eq!(clean(text), text);
        }
        assert!(matches!(clean("plain"), Cow::Borrowed(_)));
    }
}
