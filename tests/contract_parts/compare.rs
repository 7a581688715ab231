//! Whether two answers are alike.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

/// An answer of the simulated cluster.
pub struct Answer {
    pub status: u16,
    pub reason: String,
    pub content_type: String,
    /// JSON, or the text of a body that is none.
    pub body: Value,
}

/// What is different; nothing where the answers are alike.
pub fn compare(record: &Value, ours: &Answer) -> Vec<String> {
    let mut out = Vec::new();
    if record["status"] != ours.status || record["reason"] != ours.reason {
        out.push(format!("{} {} instead of {} {}", ours.status, ours.reason, record["status"], record["reason"]));
        return out;
    }
    let kind = record["headers"]["content-type"].as_str().unwrap_or_default();
    if kind != ours.content_type {
        out.push(format!("content type '{}' instead of '{kind}'", ours.content_type));
    }
    let real = &record["body"];
    if real["errors"] != ours.body["errors"] {
        out.push(format!("errors {} instead of {}", ours.body["errors"], real["errors"]));
    }
    if real["message"] != ours.body["message"] {
        out.push(format!("message {} instead of {}", ours.body["message"], real["message"]));
    }
    // How a task ended is said in words that are the same every time.
    for key in ["exitstatus", "status"] {
        if real["data"]["upid"].is_string() && real["data"][key] != ours.body["data"][key] {
            out.push(format!("{key} {} instead of {}", ours.body["data"][key], real["data"][key]));
        }
    }
    shape("", real, &ours.body, &mut out);
    out
}

/// Compares presence and types.
fn shape(at: &str, real: &Value, ours: &Value, out: &mut Vec<String>) {
    match (real, ours) {
        (Value::Object(real), Value::Object(ours)) => {
            if keyed_by_value(real.keys()) {
                return values(at, real.values().collect(), ours.values().collect(), out);
            }
            let missing: Vec<_> = real.keys().filter(|key| !ours.contains_key(*key)).cloned().collect();
            let extra: Vec<_> = ours.keys().filter(|key| !real.contains_key(*key)).cloned().collect();
            if !missing.is_empty() {
                out.push(format!("{at} lacks {}", missing.join(",")));
            }
            if !extra.is_empty() {
                out.push(format!("{at} has {} too", extra.join(",")));
            }
            for (key, value) in real {
                if let Some(other) = ours.get(key) {
                    shape(&format!("{at}.{key}"), value, other, out);
                }
            }
        }
        (Value::Array(real), Value::Array(ours)) => list(at, real, ours, out),
        (real, ours) if kind(real) == kind(ours) => {}
        (real, ours) => out.push(format!("{at} is {} instead of {}", shown(ours), shown(real))),
    }
}

/// Objects whose keys are data: paths, disks, interfaces.
fn keyed_by_value<'a>(mut keys: impl Iterator<Item = &'a String>) -> bool {
    keys.next().is_some_and(|key| key.starts_with('/') || key.starts_with("tap"))
}

fn values(at: &str, real: Vec<&Value>, ours: Vec<&Value>, out: &mut Vec<String>) {
    match (real.first(), ours.first()) {
        (Some(real), Some(ours)) => shape(&format!("{at}.*"), real, ours, out),
        (Some(_), None) => out.push(format!("{at} is empty")),
        _ => {}
    }
}

/// Rows are compared with the row of the same name, where there is one; the others by what keys occur in any row.
fn list(at: &str, real: &[Value], ours: &[Value], out: &mut Vec<String>) {
    if real.is_empty() != ours.is_empty() {
        out.push(format!("{at} has {} rows instead of {}", ours.len(), real.len()));
        return;
    }
    const NAMES: [&str; 12] =
        ["subdir", "vmid", "key", "name", "storage", "volid", "id", "roleid", "userid", "realm", "poolid", "iface"];
    let named = |name: &&&str| real.iter().all(|row| row.get(**name).is_some() && row.get("upid").is_none());
    let name = NAMES.iter().find(named);
    if let Some(name) = name {
        let mut found = 0;
        for row in real {
            let Some(other) = ours.iter().find(|other| other[*name] == row[*name]) else { continue };
            found += 1;
            shape(&format!("{at}[{}]", row[*name]), row, other, out);
        }
        let by_name = matches!(*name, "subdir" | "key");
        if by_name && (found < real.len() || ours.len() > real.len()) {
            let names = |rows: &[Value]| rows.iter().map(|row| row[*name].to_string()).collect::<BTreeSet<_>>();
            out.push(format!("{at} {name} differ: {:?}", names(real).symmetric_difference(&names(ours))));
        }
        if found > 0 {
            return;
        }
    }
    let types = |rows: &[Value]| {
        let mut all: BTreeMap<String, BTreeSet<&'static str>> = BTreeMap::new();
        for row in rows {
            match row {
                Value::Object(row) => {
                    for (key, value) in row {
                        all.entry(key.clone()).or_default().insert(kind(value));
                    }
                }
                other => drop(all.entry(String::new()).or_default().insert(kind(other))),
            }
        }
        all
    };
    let (real, ours) = (types(real), types(ours));
    for (key, kinds) in &real {
        match ours.get(key) {
            None => out.push(format!("{at}[] lacks {key}")),
            Some(other) if other.is_disjoint(kinds) => {
                out.push(format!("{at}[].{key} is {other:?} instead of {kinds:?}"))
            }
            Some(_) => {}
        }
    }
    for key in ours.keys().filter(|key| !real.contains_key(*key)) {
        out.push(format!("{at}[] has {key} too"));
    }
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

fn shown(value: &Value) -> String {
    let text = value.to_string();
    if text.len() > 60 { format!("{}…", text.chars().take(60).collect::<String>()) } else { text }
}
