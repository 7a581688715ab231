//! How the agent's bytes travel through Proxmox's API. Proxmox decodes the agent's base64 and puts each byte into JSON as
//! one character (U+0000 to U+00FF), and the same way back; that loses nothing, and looks like garbage until it is undone.

use base64::{Engine, engine::general_purpose::STANDARD};

use crate::outside::is_shown;

/// Bytes as they can be shown.
pub struct Shown {
    pub text: String,
    /// `latin-1` (a character is a byte) or `base64`; nothing for UTF-8.
    pub encoding: Option<&'static str>,
}

/// The bytes that such text stands for. Text that cannot be made of bytes was decoded by the server: it is what it says.
pub fn of(text: &str) -> Vec<u8> {
    let bytes: Option<Vec<u8>> = text.chars().map(|c| u8::try_from(u32::from(c)).ok()).collect();
    bytes.unwrap_or_else(|| text.as_bytes().to_vec())
}

/// Text such that Proxmox makes its UTF-8 bytes of it.
pub fn as_sent(text: &str) -> String {
    text.bytes().map(char::from).collect()
}

/// UTF-8 if it is; base64 if it is no text at all; else one character for each byte.
pub fn show(bytes: &[u8]) -> Shown {
    let control = |b: &u8| *b < 0x20 && !matches!(b, 0x07..=0x0d | 0x1b);
    if bytes.iter().any(control) {
        return Shown { text: STANDARD.encode(bytes), encoding: Some("base64") };
    }
    match std::str::from_utf8(bytes) {
        Ok(text) => Shown { text: text.to_owned(), encoding: None },
        Err(_) => {
            // A character that would not be shown has another meaning in the guest's code page.
            let one = |byte: char| if byte.is_ascii() || is_shown(byte) { byte } else { char::REPLACEMENT_CHARACTER };
            let text = bytes.iter().copied().map(char::from).map(one).collect();
            Shown { text, encoding: Some("latin-1") }
        }
    }
}

/// The greatest length up to `limit` that ends a character, where the bytes are UTF-8.
pub fn cut(bytes: &[u8], limit: usize) -> usize {
    if bytes.len() <= limit {
        return bytes.len();
    }
    let starts = |at: &usize| bytes[*at] & 0xc0 != 0x80;
    (limit.saturating_sub(3)..=limit).rev().find(starts).unwrap_or(limit)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(answered: &str) -> (String, Option<&'static str>) {
        let Shown { text, encoding } = show(&of(answered));
        (text, encoding)
    }

    #[test]
    fn what_proxmox_mangles_is_read_as_it_was() {
        assert_eq!(shown("h\u{c3}\u{a9}llo\n"), ("héllo\n".to_owned(), None));
        assert_eq!(shown("plain"), ("plain".to_owned(), None));
        assert_eq!(shown("\u{ff}\u{e9}"), ("ÿé".to_owned(), Some("latin-1")));
        assert_eq!(shown("\u{ff}\u{84}"), ("ÿ\u{fffd}".to_owned(), Some("latin-1")));
        assert_eq!(shown("\0\u{1}\u{2}"), ("AAEC".to_owned(), Some("base64")));
        // Decoded by the server already.
        assert_eq!(shown("5 €"), ("5 €".to_owned(), None));
        assert_eq!(of(&as_sent("5 €")), "5 €".as_bytes());
    }

    #[test]
    fn a_cut_leaves_characters_whole() {
        assert_eq!(cut("aé".as_bytes(), 2), 1);
        assert_eq!(cut("aé".as_bytes(), 3), 3);
        assert_eq!(cut(b"abc", 2), 2);
    }
}
