//! A line of the log and its keyed hashes: sealed by a holder of the key, and opened only if it still is what was sealed.

use serde::{Serialize, de::DeserializeOwned};

use crate::{
    error::{Error, Result},
    key::{Key, hex},
};

/// What is signed: a label each, so that none can stand for another.
pub const LINE: &str = "audit line";
pub const HEAD: &str = "audit head";
pub const TORN: &str = "audit torn line";
const ID: &str = "audit key";

/// What stands between what is signed and its hash.
const MAC: &str = ",\"mac\":\"";
const DIGITS: usize = 64;
const END: &str = "\"}";

/// The keyed hash, in hexadecimal digits.
pub fn mac(key: &Key, label: &str, bytes: &[u8]) -> String {
    hex(&key.sign(label, [bytes]))
}

/// By which a key is told from another.
pub fn key_id(key: &Key) -> String {
    mac(key, ID, &[])[..16].to_owned()
}

/// One line of JSON with its own hash as the last field, without a line's end; and the hash.
///
/// # Errors
/// `Internal`: what is no JSON object.
pub fn seal(key: &Key, label: &str, object: &impl Serialize) -> Result<(String, String)> {
    let text = serde_json::to_string(object).map_err(|e| Error::internal(format!("the audit log: {e}")))?;
    let Some(open) = text.strip_suffix('}') else { return Err(Error::internal("the audit log: not an object")) };
    let mac = mac(key, label, open.as_bytes());
    Ok((format!("{open}{MAC}{mac}{END}"), mac))
}

/// What was sealed, and its hash; `None` where it is not what a holder of this key sealed.
pub fn unseal<T: DeserializeOwned>(key: &Key, label: &str, line: &[u8]) -> Option<(T, String)> {
    let line = std::str::from_utf8(line).ok()?;
    let at = line.len().checked_sub(MAC.len() + DIGITS + END.len())?;
    let (open, sealed) = line.split_at_checked(at)?;
    let given = sealed.strip_prefix(MAC)?.strip_suffix(END)?;
    let good = mac(key, label, open.as_bytes());
    if good != given {
        return None;
    }
    Some((serde_json::from_str(line).ok()?, good))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn only_what_was_sealed_is_opened_and_only_with_its_key() -> Result<()> {
        let key = |c: &str| Key::new(&c.repeat(32).into());
        let (line, mac) = seal(&key("a"), LINE, &json!({"n": 1, "text": "ü"}))?;
        let open = |key: &Key, label: &str, line: &str| unseal::<Value>(key, label, line.as_bytes());
        assert_eq!(open(&key("a"), LINE, &line).map(|(value, mac)| (value["n"].clone(), mac)), Some((json!(1), mac)));
        for (key, label, line) in [
            (key("b"), LINE, line.clone()),
            (key("a"), HEAD, line.clone()),
            (key("a"), LINE, line.replace(":1", ":2")),
            (key("a"), LINE, format!("{line} ")),
            (key("a"), LINE, "ü".repeat(60)),
            (key("a"), LINE, String::new()),
        ] {
            assert!(open(&key, label, &line).is_none(), "{line}");
        }
        Ok(())
    }
}
