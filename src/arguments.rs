//! Holds a call's arguments to the tool's own input schema before they are parsed: names, types, bounds, enumerations.
//! One place, so that every tool answers bad input alike: the field, what was expected, what came.

use serde_json::{Map, Value, json};

use crate::{
    error::{Error, Result},
    pve::secrets::is_secret,
};

/// Returns the arguments in their proper types: models and older clients send `"100"` for an integer, `"true"` for a
/// boolean and `null` for what they leave out.
///
/// # Errors
/// `BadArgument` that names every wrong field at once.
pub fn check(schema: &Map<String, Value>, args: Map<String, Value>) -> Result<Map<String, Value>> {
    let none = Map::new();
    let properties = schema.get("properties").and_then(Value::as_object).unwrap_or(&none);
    let (mut good, mut problems, mut hint) = (Map::new(), Vec::new(), None);
    for (key, value) in args {
        let Some(property) = properties.get(&key) else {
            problems.push(format!("unknown argument '{key}'"));
            hint = hint.or_else(|| Some(known(properties, &key)));
            continue;
        };
        if value.is_null() {
            continue;
        }
        match fit(property, &value) {
            Ok(value) => drop(good.insert(key, value)),
            // What is meant to be a secret is not repeated.
            Err(expected) if is_secret(&key) => problems.push(format!("{key}: expected {expected}")),
            Err(expected) => problems.push(format!("{key}: expected {expected}, got {}", brief(&value))),
        }
    }
    for key in schema.get("required").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str) {
        if !good.contains_key(key) && !problems.iter().any(|p| p.starts_with(&format!("{key}:"))) {
            let expected = properties.get(key).map_or_else(|| "a value".to_owned(), expectation);
            problems.push(format!("{key}: missing; expected {expected}"));
        }
    }
    if problems.is_empty() {
        return Ok(good);
    }
    let error = Error::bad_argument(problems.join("; "));
    Err(match hint {
        Some(hint) => error.hint(hint),
        None => error,
    })
}

/// What a wrong name was probably meant to be, and else what there is.
fn known(properties: &Map<String, Value>, key: &str) -> String {
    match nearest(key, properties.keys().map(String::as_str)) {
        Some(near) => format!("did you mean '{near}'?"),
        None if properties.is_empty() => "this tool takes no arguments".to_owned(),
        None => format!("known: {}", properties.keys().map(String::as_str).collect::<Vec<_>>().join(", ")),
    }
}

/// The candidate that is one typing slip or a few letters away.
pub fn nearest<'a>(word: &str, candidates: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    candidates
        .map(|c| (distance(word, c), c))
        .filter(|(d, c)| *d <= 1 + c.len().max(word.len()) / 4)
        .min()
        .map(|(_, c)| c)
}

/// Levenshtein distance.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut corner = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let next = (corner + usize::from(x != *y)).min(row[j] + 1).min(row[j + 1] + 1);
            corner = std::mem::replace(&mut row[j + 1], next);
        }
    }
    row[b.len()]
}

/// The value in the property's type, or what was expected.
fn fit(property: &Value, value: &Value) -> Result<Value, String> {
    let expected = || expectation(property);
    let fitted = match property["type"].as_str() {
        Some("integer") => integer(value).map(|n| json!(n)),
        Some("number") => number(value).map(|n| json!(n)),
        Some("boolean") => boolean(value).map(Value::Bool),
        Some("string") => match value {
            Value::String(_) => Some(value.clone()),
            Value::Number(n) => Some(Value::String(n.to_string())),
            _ => None,
        },
        Some("array") => match value {
            Value::Array(items) => {
                let items = items.iter().map(|item| fit(&property["items"], item)).collect::<Result<_, _>>();
                return items.map(Value::Array).map_err(|inner| format!("a list of {inner}"));
            }
            one => fit(&property["items"], one).ok().map(|item| json!([item])),
        },
        Some("object") => value.is_object().then(|| value.clone()),
        _ => Some(value.clone()),
    };
    fitted.filter(|v| within(property, v)).ok_or_else(expected)
}

fn integer(value: &Value) -> Option<i64> {
    match value {
        Value::String(s) => s.trim().parse().ok(),
        Value::Number(n) => {
            n.as_i64().or_else(|| n.as_f64().filter(|f| f.fract() == 0.0 && f.abs() < 9e15).map(|f| f as i64))
        }
        _ => None,
    }
}

fn number(value: &Value) -> Option<f64> {
    match value {
        Value::String(s) => s.trim().parse().ok().filter(|f: &f64| f.is_finite()),
        _ => value.as_f64(),
    }
}

fn boolean(value: &Value) -> Option<bool> {
    match value {
        Value::Bool(b) => Some(*b),
        Value::Number(n) => n.as_u64().filter(|n| *n < 2).map(|n| n == 1),
        Value::String(s) => match s.to_ascii_lowercase().as_str() {
            "true" | "yes" | "on" | "1" => Some(true),
            "false" | "no" | "off" | "0" => Some(false),
            _ => None,
        },
        _ => None,
    }
}

/// Bounds, lengths and enumerations.
fn within(property: &Value, value: &Value) -> bool {
    let bound = |key: &str| property[key].as_f64();
    if let Some(n) = value.as_f64()
        && (bound("minimum").is_some_and(|min| n < min) || bound("maximum").is_some_and(|max| n > max))
    {
        return false;
    }
    if let Some(s) = value.as_str() {
        let length = s.chars().count() as f64;
        if bound("minLength").is_some_and(|min| length < min) || bound("maxLength").is_some_and(|max| length > max) {
            return false;
        }
    }
    property["enum"].as_array().is_none_or(|all| all.contains(value))
}

/// What a property takes, in words.
fn expectation(property: &Value) -> String {
    if let Some(all) = property["enum"].as_array() {
        let all: Vec<_> = all.iter().map(|v| v.as_str().map_or_else(|| v.to_string(), str::to_owned)).collect();
        return format!("one of {}", all.join(", "));
    }
    let range = match (property["minimum"].as_f64(), property["maximum"].as_f64()) {
        (Some(min), Some(max)) => format!(" from {min} to {max}"),
        (Some(min), None) => format!(" of at least {min}"),
        (None, Some(max)) => format!(" of at most {max}"),
        (None, None) => String::new(),
    };
    match property["type"].as_str() {
        Some("integer") => format!("an integer{range}"),
        Some("number") => format!("a number{range}"),
        Some("boolean") => "true or false".to_owned(),
        Some("array") => format!("a list of {}", expectation(&property["items"])),
        Some("object") => "an object".to_owned(),
        Some("string") => match (property["minLength"].as_u64(), property["maxLength"].as_u64()) {
            (Some(_), Some(max)) => format!("text of 1 to {max} characters"),
            (Some(_), None) => "text that is not empty".to_owned(),
            (None, Some(max)) => format!("text of at most {max} characters"),
            (None, None) => "text".to_owned(),
        },
        _ => "a value".to_owned(),
    }
}

/// A value as shown in an error: short.
fn brief(value: &Value) -> String {
    let text = match value {
        Value::String(s) => format!("'{s}'"),
        other => other.to_string(),
    };
    if text.chars().count() <= 60 { text } else { text.chars().take(57).chain("...".chars()).collect() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schema() -> Map<String, Value> {
        let Value::Object(schema) = json!({
            "properties": {
                "vmid": {"type": "integer", "minimum": 100, "maximum": 999_999_999},
                "name": {"type": "string", "minLength": 1},
                "full": {"type": "boolean"},
                "timeout": {"type": "number", "minimum": 0},
                "status": {"type": "string", "enum": ["running", "stopped"]},
                "tags": {"type": "array", "items": {"type": "string"}},
                "password": {"type": "string"},
            },
            "required": ["vmid"],
        }) else {
            return Map::new();
        };
        schema
    }

    fn checked(args: Value) -> Result<Value, String> {
        let Value::Object(args) = args else { return Err("not an object".to_owned()) };
        check(&schema(), args).map(Value::Object).map_err(|e| match &e.parts().hint {
            Some(hint) => format!("{e} ({hint})"),
            None => e.to_string(),
        })
    }

    #[test]
    fn what_models_send_is_brought_into_its_type() {
        assert_eq!(
            checked(json!({"vmid": "100", "full": "yes", "timeout": "1.5", "name": 7, "status": null, "tags": "a"})),
            Ok(json!({"vmid": 100, "full": true, "timeout": 1.5, "name": "7", "tags": ["a"]}))
        );
        assert_eq!(checked(json!({"vmid": 100.0})), Ok(json!({"vmid": 100})));
    }

    #[test]
    fn bad_input_names_the_field_and_what_was_expected() {
        for (args, message) in [
            (json!({}), "vmid: missing; expected an integer from 100 to 999999999"),
            (json!({"vmid": "web"}), "vmid: expected an integer from 100 to 999999999, got 'web'"),
            (json!({"vmid": -1}), "vmid: expected an integer from 100 to 999999999, got -1"),
            (json!({"vmid": 100, "name": ""}), "name: expected text that is not empty, got ''"),
            (json!({"vmid": 100, "status": "up"}), "status: expected one of running, stopped, got 'up'"),
            (json!({"vmid": 100, "full": 2}), "full: expected true or false, got 2"),
            (json!({"vmid": 100, "nmae": "x"}), "unknown argument 'nmae' (did you mean 'name'?)"),
            (json!({"vmid": 100, "password": ["geheim"]}), "password: expected text"),
            (
                json!({"vmid": 1, "full": "x"}),
                "vmid: expected an integer from 100 to 999999999, got 1; full: expected true or false, got 'x'",
            ),
        ] {
            assert_eq!(checked(args), Err(message.to_owned()));
        }
    }
}
