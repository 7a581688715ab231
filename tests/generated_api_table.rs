//! Makes `src/pve/api/table.txt` from the facts about Proxmox VE, and checks that the one in the tree is current:
//! `UPDATE_EXPECT=1 cargo test --test generated_api_table` rewrites it. The notation is explained in `src/pve/api/table.rs`.
#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a test")]

use std::{collections::BTreeMap, fmt::Write, path::Path};

use expect_test::expect_file;
use serde_json::{Map, Value};

#[test]
fn the_table_of_the_api_is_what_the_facts_give() {
    let folder = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../shared/pve"));
    let Ok(facts) = std::fs::read(folder.join("pve-api-facts.json")) else {
        println!("skipped: {} is not there", folder.display());
        return;
    };
    let facts: Value = serde_json::from_slice(&facts).unwrap();
    let privileges: Value = serde_json::from_slice(&std::fs::read(folder.join("pve-privs.json")).unwrap()).unwrap();
    let table = Generator::new(&facts).table(&privileges);
    println!("{} bytes", table.len());
    assert!(table.len() < 250_000, "the table is to stay small");
    expect_file!["../src/pve/api/table.txt"].assert_eq(&table);
}

#[test]
fn what_was_otherwise_before_release_9_is_what_the_facts_give() {
    let folder = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../shared/pve"));
    let (Ok(new), Ok(old)) =
        (std::fs::read(folder.join("pve-api-facts.json")), std::fs::read(folder.join("pve-api-facts-8.4.json")))
    else {
        println!("skipped: {} is not there", folder.display());
        return;
    };
    let [new, old]: [Value; 2] = [new, old].map(|facts| serde_json::from_slice(&facts).unwrap());
    let mut table = String::from(
        "# Facts about Proxmox VE 8.4, made by tests/generated_api_table.rs; the notation is explained in before_9.rs.\n",
    );
    for (key, endpoint) in new["endpoints"].as_object().unwrap() {
        let permission = |endpoint: &Value| access(&endpoint["perm"]);
        match old["endpoints"].get(key) {
            None => writeln!(table, "{key} -").unwrap(),
            Some(before) if permission(before) != permission(endpoint) => {
                writeln!(table, "{key} {}", permission(before)).unwrap();
            }
            Some(_) => {}
        }
    }
    let absent = table.lines().filter(|line| line.ends_with(" -")).count();
    println!("{absent} methods are new, {} permissions were others", table.lines().count() - 1 - absent);
    assert!(absent > 70);
    expect_file!["../src/pve/api/before_9.txt"].assert_eq(&table);
}

struct Generator<'a> {
    facts: &'a Value,
    /// (name, definition) → the key it is listed under.
    properties: BTreeMap<String, Vec<String>>,
    property_lines: String,
    shapes: BTreeMap<String, Vec<String>>,
    shape_lines: String,
}

impl<'a> Generator<'a> {
    fn new(facts: &'a Value) -> Self {
        Self {
            facts,
            properties: BTreeMap::new(),
            property_lines: String::new(),
            shapes: BTreeMap::new(),
            shape_lines: String::new(),
        }
    }

    fn table(mut self, privileges: &Value) -> String {
        let mut endpoints = String::new();
        for (key, endpoint) in self.facts["endpoints"].as_object().unwrap() {
            let endpoint = self.resolve(endpoint);
            self.endpoint(key, &endpoint, &mut endpoints);
        }
        let mut formats = String::new();
        for (name, format) in self.facts["formats"].as_object().unwrap() {
            let mut format = self.resolve(format);
            if name == "pve-priv" {
                let names: Vec<&str> = match &privileges["privileges"] {
                    Value::Object(map) => map.keys().map(String::as_str).collect(),
                    list => list.as_array().unwrap().iter().map(|p| p.as_str().unwrap()).collect(),
                };
                format["enum"] = names.into();
            }
            self.named_format(name, &format, &mut formats);
        }
        format!(
            "# Facts about the Proxmox VE API, made by tests/generated_api_table.rs; the notation is explained in table.rs.\n\
             [formats]\n{formats}[shapes]\n{}[properties]\n{}[endpoints]\n{endpoints}",
            self.shape_lines, self.property_lines
        )
    }

    fn resolve(&self, value: &Value) -> Value {
        match value {
            Value::Object(map) => match map.get("$d").and_then(Value::as_str) {
                Some(name) if map.len() == 1 => self.resolve(&self.facts["defs"][name]),
                _ => map.iter().map(|(k, v)| (k.clone(), self.resolve(v))).collect::<Map<_, _>>().into(),
            },
            Value::Array(list) => list.iter().map(|v| self.resolve(v)).collect::<Vec<_>>().into(),
            other => other.clone(),
        }
    }

    fn endpoint(&mut self, key: &str, endpoint: &Value, out: &mut String) {
        write!(out, "{key} {}", endpoint["name"].as_str().unwrap()).unwrap();
        for flag in ["protected", "expose_credentials", "download_allowed"] {
            if endpoint[flag] == 1 {
                write!(out, " {flag}").unwrap();
            }
        }
        if let Some(node) = endpoint["proxyto"].as_str() {
            write!(out, " proxyto={node}").unwrap();
        }
        if endpoint["allowtoken"] == 0 {
            out.push_str(" notoken");
        }
        if endpoint["additionalProperties"] != 0 {
            out.push_str(" open");
        }
        write!(out, " | {}", access(&endpoint["perm"])).unwrap();
        out.push_str(" |");
        let params = endpoint["params"].as_object().unwrap().clone();
        for (name, property) in &params {
            self.param(name, property, out);
        }
        for part in endpoint["allOf"].as_array().into_iter().flatten() {
            self.all_of(part, out);
        }
        let tasks: Vec<String> = endpoint["task"]
            .as_array()
            .into_iter()
            .flatten()
            .map(|t| format!("{}:{}", t[0].as_str().unwrap(), t[1].as_str().unwrap()))
            .collect();
        if !tasks.is_empty() {
            write!(out, " | {}", tasks.join("; ")).unwrap();
        }
        out.push('\n');
    }

    /// The parts of a union; what `oneOf` picks between becomes parameters that belong to some types only.
    fn all_of(&mut self, part: &Value, out: &mut String) {
        for (name, property) in part["properties"].as_object().into_iter().flatten() {
            self.param(name, property, out);
        }
        let Some(options) = part["oneOf"].as_array() else { return };
        let by = part["type-property"].as_str().unwrap();
        let types: Vec<&str> = options.iter().map(|o| o["instance-type"].as_str().unwrap()).collect();
        self.param(by, &serde_json::json!({"type": "string", "enum": types}), out);
        for option in options {
            for (name, property) in option["properties"].as_object().unwrap() {
                let mut property = property.clone();
                property["type-property"] = by.into();
                property["instance-types"] = serde_json::json!([option["instance-type"]]);
                self.param(name, &property, out);
            }
        }
    }

    fn param(&mut self, name: &str, property: &Value, out: &mut String) {
        if let Some(options) = property["oneOf"].as_array() {
            for option in options {
                let mut option = option.clone();
                option["type"] = property["type"].clone();
                option["type-property"] = property["type-property"].clone();
                self.param(name, &option, out);
            }
            return;
        }
        let line = self.property(name, property);
        let known = self.properties.entry(name.to_owned()).or_default();
        let index = known.iter().position(|l| *l == line).unwrap_or_else(|| {
            known.push(line.clone());
            writeln!(self.property_lines, "{}{line}", numbered(name, known.len() - 1)).unwrap();
            known.len() - 1
        });
        write!(out, " {}", numbered(name, index)).unwrap();
    }

    /// Everything after the name: a type and the facts.
    fn property(&mut self, name: &str, property: &Value) -> String {
        let mut out = String::new();
        if let Some(alias) = property["alias"].as_str() {
            write!(out, " alias={alias}").unwrap();
            if let Some(key) = property["keyAlias"].as_str() {
                write!(out, " sets={key}").unwrap();
            }
            return out;
        }
        let array = property["type"] == "array";
        let facts = if array { &property["items"] } else { property };
        let (kind, format) = match facts["type"].as_str().unwrap() {
            "ip" => ("string", Some("ip".to_owned())),
            kind => (
                kind,
                match &facts["format"] {
                    Value::String(format) => Some(format.clone()),
                    Value::Object(keys) => Some(format!("@{}", self.shape(name, keys))),
                    _ => None,
                },
            ),
        };
        write!(out, " {kind}").unwrap();
        if array {
            out.push_str("[]");
        }
        if property["optional"] == 1 {
            out.push('?');
        }
        if property["default_key"] == 1 {
            out.push_str(" key");
        }
        if let Some(format) = format {
            write!(out, " format={format}").unwrap();
        }
        for (label, least, most) in [("range", "minimum", "maximum"), ("len", "minLength", "maxLength")] {
            let bound = |key: &str| facts[key].as_number().map(ToString::to_string).unwrap_or_default();
            if facts.get(least).or(facts.get(most)).is_some() {
                write!(out, " {label}={}..{}", bound(least), bound(most)).unwrap();
            }
        }
        if let Some(values) = facts["enum"].as_array() {
            write!(out, " enum={}", enumeration(values)).unwrap();
        }
        if let Some(pattern) = facts["pattern"].as_str() {
            write!(out, " pattern={}", quoted(pattern)).unwrap();
        }
        match &property["default"] {
            Value::Null => {}
            Value::String(text) => write!(out, " default={}", quoted(text)).unwrap(),
            other => write!(out, " default={other}").unwrap(),
        }
        if let Some(other) = property["requires"].as_str() {
            write!(out, " requires={other}").unwrap();
        }
        if let Some(types) = property["instance-types"].as_array() {
            let by = property["type-property"].as_str().unwrap();
            write!(out, " only={by}:{}", enumeration(types)).unwrap();
        }
        out
    }

    /// The keys of a property string that has no name of its own.
    fn shape(&mut self, name: &str, keys: &Map<String, Value>) -> String {
        let mut lines = String::new();
        for (key, property) in keys {
            writeln!(lines, " {key}{}", self.property(key, property)).unwrap();
        }
        let known = self.shapes.entry(name.to_owned()).or_default();
        let index = known.iter().position(|l| *l == lines).unwrap_or_else(|| {
            known.push(lines.clone());
            write!(self.shape_lines, "{}\n{lines}", numbered(name, known.len() - 1)).unwrap();
            known.len() - 1
        });
        numbered(name, index)
    }

    fn named_format(&mut self, name: &str, format: &Value, out: &mut String) {
        out.push_str(name);
        if let Some(pattern) = format["re"].as_str() {
            write!(out, " re={}", quoted(pattern)).unwrap();
        }
        if let Some(values) = format["enum"].as_array() {
            write!(out, " enum={}", enumeration(values)).unwrap();
        }
        if let Some(error) = format["err"].as_str() {
            write!(out, " err={}", quoted(error)).unwrap();
        }
        out.push('\n');
        for (key, property) in format["props"].as_object().into_iter().flatten() {
            let line = self.property(key, property);
            writeln!(out, " {key}{line}").unwrap();
        }
    }
}

fn numbered(name: &str, index: usize) -> String {
    if index == 0 { name.to_owned() } else { format!("{name}#{}", index + 1) }
}

fn quoted(text: &str) -> String {
    assert!(!text.contains(['`', '\n']), "{text}");
    if text.is_empty() || text.contains(' ') { format!("`{text}`") } else { text.to_owned() }
}

/// `a|b|c`; runs such as `mp0`, `mp1` … are shortened to `mp{0..255}`.
fn enumeration(values: &[Value]) -> String {
    let values: Vec<&str> = values.iter().map(|v| v.as_str().unwrap()).collect();
    let mut out: Vec<String> = Vec::new();
    let mut at = 0;
    while at < values.len() {
        let stem = values[at].trim_end_matches(|c: char| c.is_ascii_digit());
        let first = values[at][stem.len()..].parse::<usize>().ok().filter(|_| !stem.is_empty());
        let run = first.map_or(1, |first| {
            values[at..].iter().enumerate().take_while(|(i, v)| **v == format!("{stem}{}", first + i)).count()
        });
        match first {
            Some(first) if run > 3 => out.push(format!("{stem}{{{first}..{}}}", first + run - 1)),
            _ => out.extend(values[at..at + run].iter().map(ToString::to_string)),
        }
        at += run;
    }
    quoted(&out.join("|"))
}

fn access(perm: &Value) -> String {
    if let Some(who) = perm["user"].as_str() {
        return who.to_owned();
    }
    if perm["root_only"] == 1 {
        return "root".to_owned();
    }
    expression(&perm["check"])
}

fn expression(check: &Value) -> String {
    let parts: Vec<String> = check
        .as_array()
        .unwrap()
        .iter()
        .map(|part| match part {
            Value::String(text) => text.clone(),
            Value::Array(list) if list.first().is_some_and(|p| p.as_str().is_some_and(|p| p.contains('.'))) => {
                list.iter().map(|p| p.as_str().unwrap()).collect::<Vec<_>>().join(",")
            }
            Value::Array(_) => expression(part),
            other => other.to_string(),
        })
        .collect();
    format!("({})", parts.join(" "))
}
