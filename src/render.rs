//! A result as compact text: the same facts as its JSON, complete, at a fraction of the tokens. Objects become lines
//! `key: value`, lists of objects tab-separated tables with a header.

use std::fmt::Write;

use serde_json::{Map, Value};

/// Renders any result.
pub fn text(value: &Value) -> String {
    let mut out = String::new();
    match value {
        Value::Object(map) => object(&mut out, map, 0),
        Value::Array(items) => list(&mut out, items, 0),
        other => scalar(&mut out, other),
    }
    out.truncate(out.trim_end().len());
    out
}

fn object(out: &mut String, map: &Map<String, Value>, depth: usize) {
    for (key, value) in map {
        indent(out, depth);
        out.push_str(key);
        match value {
            Value::Object(inner) if inner.values().all(is_flat) && inner.len() <= 6 => {
                out.push_str(": ");
                inline(out, inner);
                out.push('\n');
            }
            Value::Object(inner) => {
                out.push_str(":\n");
                object(out, inner, depth + 1);
            }
            // Sentences (warnings, log lines) read better as lines; words (tags) on one.
            Value::Array(items)
                if items.iter().any(|i| !is_flat(i) || i.as_str().is_some_and(|s| s.contains([' ', '\n']))) =>
            {
                out.push_str(":\n");
                list(out, items, depth + 1);
            }
            Value::String(s) if s.contains('\n') => {
                out.push_str(":\n");
                for line in s.lines() {
                    indent(out, depth + 1);
                    out.push_str(line);
                    out.push('\n');
                }
            }
            other => {
                out.push_str(": ");
                scalar(out, other);
                out.push('\n');
            }
        }
    }
}

/// Objects as a table (columns: every key that occurs, in order of appearance), anything else as lines.
fn list(out: &mut String, items: &[Value], depth: usize) {
    let rows: Option<Vec<&Map<String, Value>>> = items.iter().map(Value::as_object).collect();
    let Some(rows) = rows.filter(|rows| !rows.is_empty()) else {
        for item in items {
            // A line that has lines of its own must not be taken for several, or for another field.
            let mut lines = item.as_str().unwrap_or_default().split('\n');
            indent(out, depth);
            match lines.next() {
                Some(first) if item.is_string() => out.push_str(first),
                _ => scalar(out, item),
            }
            for line in lines {
                out.push('\n');
                indent(out, depth + 1);
                out.push_str(line);
            }
            out.push('\n');
        }
        return;
    };
    let mut columns: Vec<&str> = Vec::new();
    for row in &rows {
        // Rows of one kind have nearly the same keys: the linear look-up is over a dozen names.
        for key in row.keys() {
            if !columns.contains(&key.as_str()) {
                columns.push(key);
            }
        }
    }
    indent(out, depth);
    out.push_str(&columns.join("\t"));
    out.push('\n');
    for row in rows {
        indent(out, depth);
        for (i, column) in columns.iter().enumerate() {
            if i > 0 {
                out.push('\t');
            }
            if let Some(value) = row.get(*column) {
                cell(out, value);
            }
        }
        out.push('\n');
    }
}

fn is_flat(value: &Value) -> bool {
    !matches!(value, Value::Object(_) | Value::Array(_))
}

fn indent(out: &mut String, depth: usize) {
    for _ in 0..depth {
        out.push_str("  ");
    }
}

fn inline(out: &mut String, map: &Map<String, Value>) {
    for (i, (key, value)) in map.iter().enumerate() {
        if i > 0 {
            out.push_str(", ");
        }
        out.push_str(key);
        out.push('=');
        cell(out, value);
    }
}

/// In a table, a tab or a line break would start another cell.
fn cell(out: &mut String, value: &Value) {
    match value {
        Value::String(s) if s.contains(['\t', '\n', '\r']) => out.extend(s.escape_debug()),
        Value::Array(_) | Value::Object(_) => {
            let start = out.len();
            scalar(out, value);
            if out[start..].contains(['\t', '\n', '\r']) {
                let escaped = out.split_off(start);
                out.extend(escaped.escape_debug());
            }
        }
        other => scalar(out, other),
    }
}

fn scalar(out: &mut String, value: &Value) {
    match value {
        Value::String(s) => out.push_str(s),
        Value::Array(items) => {
            for (i, item) in items.iter().enumerate() {
                if i > 0 {
                    out.push_str(", ");
                }
                scalar(out, item);
            }
        }
        Value::Object(map) => inline(out, map),
        other => drop(write!(out, "{other}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_list_is_a_table_and_nothing_is_lost() {
        let value = json!({
            "total": 2, "counts": {"running": 1, "stopped": 1},
            "vms": [
                {"vmid": 100, "name": "web", "tags": ["a", "b"]},
                {"vmid": 101, "note": "two\nlines"},
            ],
            "log": ["one 1", "two\ntotal: 3"],
            "user": {"name": "a\ntotal: 4"},
        });
        expect_test::expect![[r"
            total: 2
            counts: running=1, stopped=1
            vms:
              vmid	name	tags	note
              100	web	a, b	
              101			two\nlines
            log:
              one 1
              two
                total: 3
            user: name=a\ntotal: 4"]]
        .assert_eq(&text(&value));
    }
}
