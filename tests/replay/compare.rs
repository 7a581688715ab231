//! How two answers are compared: status, reason phrase, presence and types of fields.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

/// What differs between a recording and (status, reason phrase, body) of ours.
pub fn differences(recorded: &Value, (status, reason, body): (u16, &str, &Value)) -> Vec<String> {
    let mut out = Vec::new();
    if recorded["status"] != status {
        out.push(format!("status {} became {status}", recorded["status"]));
    }
    let theirs = recorded["reason"].as_str().unwrap_or_default();
    if plain(theirs) != plain(reason) {
        out.push(format!("reason '{theirs}' became '{reason}'"));
    }
    if out.is_empty() {
        shape("", &recorded["body"], body, &mut out);
    }
    out
}

/// A text without what differs by nature: numbers of more than five digits, hexadecimal, times.
fn plain(text: &str) -> String {
    let long = |word: &str| word.len() > 5 && word.bytes().all(|b| b.is_ascii_hexdigit());
    text.split_inclusive(|c: char| !c.is_ascii_alphanumeric())
        .map(|word| if long(word.trim_end_matches(|c: char| !c.is_ascii_alphanumeric())) { "#" } else { word })
        .collect()
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

/// Maps whose keys are data, not field names.
fn is_open(path: &str) -> bool {
    [".data.cap.", ".errors"].iter().any(|part| path.contains(part))
}

fn shape(path: &str, theirs: &Value, ours: &Value, out: &mut Vec<String>) {
    match (theirs, ours) {
        (Value::Object(theirs), Value::Object(ours)) => {
            for (key, value) in theirs {
                match ours.get(key) {
                    Some(other) => shape(&format!("{path}.{key}"), value, other, out),
                    None => out.push(format!("{path}.{key} is missing")),
                }
            }
            if path.ends_with(".errors") {
                for (key, value) in theirs {
                    let other = ours.get(key);
                    if other.is_some_and(|other| other != value) {
                        out.push(format!("{path}.{key}: {value} became {}", ours[key]));
                    }
                }
            }
            if is_open(path) {
                let more: Vec<_> = ours.keys().filter(|key| !theirs.contains_key(*key)).collect();
                if !more.is_empty() {
                    out.push(format!("{path} has more: {more:?}"));
                }
            }
        }
        // Rows may have a field or not: what any of theirs has, one of ours has too, with one of the types.
        (Value::Array(theirs), Value::Array(ours)) => {
            let (theirs, ours) = (fields(theirs), fields(ours));
            if ours.is_empty() != theirs.is_empty() && !path.ends_with("tokens") {
                out.push(format!("{path}: one list is empty, the other is not"));
                return;
            }
            for (key, types) in &theirs {
                match ours.get(key) {
                    None => out.push(format!("{path}[].{key} is missing")),
                    Some(other) if types.is_disjoint(other) => {
                        out.push(format!("{path}[].{key}: {types:?} became {other:?}"))
                    }
                    Some(_) => {}
                }
            }
        }
        (theirs, ours) if kind(theirs) != kind(ours) => {
            out.push(format!("{path}: {} became {}", kind(theirs), kind(ours)));
        }
        _ => {}
    }
}

/// The fields of a list's rows (`""` for rows that are no objects), with their types.
fn fields(rows: &[Value]) -> BTreeMap<String, BTreeSet<&'static str>> {
    let mut out: BTreeMap<String, BTreeSet<_>> = BTreeMap::new();
    for row in rows {
        match row {
            Value::Object(row) => {
                for (key, value) in row {
                    out.entry(key.clone()).or_default().insert(kind(value));
                }
            }
            other => drop(out.entry(String::new()).or_default().insert(kind(other))),
        }
    }
    out
}

/// Learns what a recorded UPID, digest, token secret or CSRF token is here.
pub fn learn(theirs: &Value, ours: &Value, names: &mut BTreeMap<String, String>) {
    match (theirs, ours) {
        (Value::Object(theirs), Value::Object(ours)) => {
            for (key, value) in theirs {
                let Some(other) = ours.get(key) else { continue };
                match (value.as_str(), other.as_str()) {
                    (Some(a), Some(b))
                        if matches!(key.as_str(), "digest" | "value" | "ticket" | "CSRFPreventionToken") =>
                    {
                        names.insert(a.to_owned(), b.to_owned());
                    }
                    (Some(a), Some(b)) if a.starts_with("UPID:") && b.starts_with("UPID:") => {
                        names.insert(a.to_owned(), b.to_owned());
                    }
                    _ => learn(value, other, names),
                }
            }
        }
        (Value::Array(theirs), Value::Array(ours)) if theirs.len() == ours.len() => {
            for (a, b) in theirs.iter().zip(ours) {
                if a["upid"].is_null() {
                    learn(a, b, names);
                }
            }
        }
        _ => {}
    }
}
