//! Decoding of parameters with all of PVE's habits, before they are checked.

use std::collections::BTreeMap;

use percent_encoding::percent_decode_str;
use serde_json::Value;

use crate::pve::api::{Given, Params};

/// Decodes a form body or query string: split at `&` and at `;`, a value cut at a second raw `=`, `+` for a space, a
/// repeated key as an array. The `_dc` that browsers add against caching is dropped.
pub fn form(text: &str) -> Params {
    let mut all = BTreeMap::new();
    for pair in text.split(['&', ';']).filter(|pair| !pair.is_empty()) {
        let mut parts = pair.split('=');
        let key = unescape(parts.next().unwrap_or_default());
        let Some(value) = parts.next() else { continue };
        let value = Given::Text(unescape(value));
        let value = match all.remove(&key) {
            Some(Given::List(mut list)) => {
                list.push(value);
                Given::List(list)
            }
            Some(first) => Given::List(vec![first, value]),
            None => value,
        };
        all.insert(key, value);
    }
    all.remove("_dc");
    all
}

/// The parameters of a JSON body; nothing where it is not an object.
///
/// # Errors
/// What Perl's parser says.
pub fn json(body: &[u8]) -> Result<Params, String> {
    let parsed = serde_json::from_slice(body).map_err(|error| complaint(body, &error))?;
    let Value::Object(all) = parsed else { return Ok(Params::new()) };
    Ok(all.iter().filter_map(|(key, value)| Some((key.clone(), Given::from_json(value)?))).collect())
}

/// A parser's error in the words of Perl's JSON::XS, as far as the place tells what was expected there.
fn complaint(body: &[u8], error: &serde_json::Error) -> String {
    let before: usize =
        body.split_inclusive(|b| *b == b'\n').take(error.line().saturating_sub(1)).map(<[u8]>::len).sum();
    // At the end of the input the column is that of the last character, otherwise that of the offending one.
    let at = (before + error.column()).saturating_sub(usize::from(!error.is_eof())).min(body.len());
    let last = body[..at].iter().rev().find(|b| !b.is_ascii_whitespace());
    let what = match last {
        Some(b'{' | b',') => "'\"' expected",
        Some(b'"' | b'}' | b']' | b'0'..=b'9') => ", or } expected while parsing object/hash",
        _ => "malformed JSON string, neither tag, array, object, number, string or atom",
    };
    let rest = String::from_utf8_lossy(&body[at..]);
    let rest = if rest.is_empty() { "(end of string)" } else { &rest };
    format!("{what}, at character offset {at} (before \"{rest}\")")
}

/// PVE's `split_list`: commas, semicolons, white space and NULs separate.
pub fn split_list(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| matches!(c, ',' | ';' | '\0') || c.is_ascii_whitespace()).filter(|part| !part.is_empty())
}

/// One value, percent-decoded.
pub fn unescape(text: &str) -> String {
    let text = text.replace('+', " ");
    percent_decode_str(&text).decode_utf8_lossy().into_owned()
}
