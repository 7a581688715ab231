//! Holds requests to `pve-api-facts.json`: the path exists, every parameter is known to it and of its type, none that it
//! needs is missing. By the facts themselves, not by the program's own table of them.

use std::sync::OnceLock;

use bytes::Bytes;
use http::{Method, Request};
use serde_json::Value;

fn facts() -> Option<&'static Value> {
    static FACTS: OnceLock<Option<Value>> = OnceLock::new();
    FACTS
        .get_or_init(|| {
            let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../shared/pve/pve-api-facts.json");
            let Ok(text) = std::fs::read_to_string(path) else {
                eprintln!("requests are not held to the API facts: {path} is not there");
                return None;
            };
            Some(serde_json::from_str(&text).unwrap())
        })
        .as_ref()
}

/// Panics where a request does not fit.
pub fn check(request: &Request<Bytes>) {
    let Some(facts) = facts() else { return };
    let path = request.uri().path().strip_prefix("/api2/json").unwrap();
    let (endpoint, mut given) = endpoint(facts, request.method(), path);
    let encoded = match *request.method() {
        Method::GET | Method::DELETE => request.uri().query().unwrap_or_default().to_owned(),
        _ => String::from_utf8(request.body().to_vec()).unwrap(),
    };
    for pair in encoded.split('&').filter(|p| !p.is_empty()) {
        let (key, value) = pair.split_once('=').unwrap();
        assert!(!value.contains([';', '=', '+', ' ']), "{path}: {pair} is not percent-encoded");
        given.push((decode(key), decode(value)));
    }
    let params = endpoint["params"].as_object().unwrap();
    for (key, value) in &given {
        let indexed = key.trim_end_matches(|c: char| c.is_ascii_digit());
        let fact = params.get(key).or_else(|| params.get(&format!("{indexed}[n]")));
        let fact = resolve(facts, fact.unwrap_or_else(|| panic!("{} {path}: no parameter {key}", request.method())));
        let number = |bound: &str| fact[bound].as_f64();
        match fact["type"].as_str() {
            Some("boolean") => assert!(matches!(value.as_str(), "0" | "1"), "{path}: {key}={value} is no boolean"),
            Some("integer") => {
                let n = value.parse::<i64>().unwrap_or_else(|_| panic!("{path}: {key}={value} is no integer")) as f64;
                assert!(number("minimum").is_none_or(|min| n >= min), "{path}: {key}={value} is too small");
                assert!(number("maximum").is_none_or(|max| n <= max), "{path}: {key}={value} is too large");
            }
            Some("number") => drop(value.parse::<f64>().unwrap()),
            _ => {}
        }
        if let Some(all) = fact["enum"].as_array() {
            assert!(all.iter().any(|v| v == value), "{path}: {key}={value} is none of {all:?}");
        }
    }
    for (name, fact) in params {
        let needed = resolve(facts, fact)["optional"] != 1 && !name.ends_with("[n]");
        assert!(!needed || given.iter().any(|(key, _)| key == name), "{} {path}: {name} is missing", request.method());
    }
}

/// The endpoint's facts, and the values that stand in the path.
fn endpoint<'a>(facts: &'a Value, method: &Method, path: &str) -> (&'a Value, Vec<(String, String)>) {
    let given: Vec<&str> = path.split('/').collect();
    let mut best: Option<(&Value, Vec<(String, String)>)> = None;
    for (name, endpoint) in facts["endpoints"].as_object().unwrap() {
        let Some((m, template)) = name.split_once(' ') else { continue };
        let wanted: Vec<&str> = template.split('/').collect();
        if m != method.as_str() || wanted.len() != given.len() {
            continue;
        }
        let vars: Option<Vec<Option<(String, String)>>> = wanted
            .iter()
            .zip(&given)
            .map(|(w, g)| match w.strip_prefix('{') {
                Some(var) => Some(Some((var.trim_end_matches('}').to_owned(), decode(g)))),
                None => (w == g).then_some(None),
            })
            .collect();
        let Some(vars) = vars else { continue };
        let vars: Vec<_> = vars.into_iter().flatten().collect();
        // A literal segment beats a variable one.
        if best.as_ref().is_none_or(|(_, b)| vars.len() < b.len()) {
            best = Some((endpoint, vars));
        }
    }
    best.unwrap_or_else(|| panic!("the API has no {method} {path}"))
}

fn resolve<'a>(facts: &'a Value, value: &'a Value) -> &'a Value {
    match value["$d"].as_str() {
        Some(name) => resolve(facts, &facts["defs"][name]),
        None => value,
    }
}

fn decode(text: &str) -> String {
    percent_encoding::percent_decode_str(text).decode_utf8().unwrap().into_owned()
}
