//! Rules that hold for every tool, as loops over the registry.
#![expect(clippy::unwrap_used, clippy::panic, clippy::print_stdout, reason = "tests")]

use std::collections::{BTreeMap, HashSet};

use proxmox_mcp::{policy::Effect, tools};
use serde_json::{Map, Value};

fn shared(file: &str) -> Option<String> {
    let path = format!("{}/../shared/{file}", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(&path).ok();
    if text.is_none() {
        println!("skipped: {path} is not there");
    }
    text
}

#[test]
fn names_are_unique_and_fit_every_client() {
    let mut seen = HashSet::new();
    for tool in tools::all() {
        assert!(seen.insert(tool.name), "{} is there twice", tool.name);
        // Cursor allows 60 characters for server and tool together.
        assert!(tool.name.starts_with("proxmox-") && tool.name.len() <= 45, "{}", tool.name);
        assert!(tool.name.chars().all(|c| c.is_ascii_lowercase() || c == '-'), "{}", tool.name);
    }
}

#[test]
fn descriptions_are_short_sentences() {
    for tool in tools::all() {
        let text = tool.description();
        assert!((20..=240).contains(&text.len()), "{}: {} characters", tool.name, text.len());
        assert!(text.ends_with('.'), "{}: {text}", tool.name);
        assert!(!tool.title.is_empty() && !tool.title.ends_with('.'), "{}", tool.name);
    }
}

/// What a model is given of the tools on every turn: name, description, input schema; four bytes are about a token.
#[test]
fn the_catalogue_costs_a_model_few_tokens() {
    let (mut of_core, mut of_all, mut sizes) = (0, 0, Vec::new());
    for tool in tools::all() {
        let given = serde_json::json!({
            "name": tool.name, "description": tool.description(), "inputSchema": tool.listed_schema(&[]),
        });
        // And what stands between two of them.
        let size = given.to_string().len() + 1;
        of_all += size;
        if tools::CORE.contains(&tool.name) {
            of_core += size;
        }
        sizes.push((size, tool.name));
    }
    sizes.sort_unstable();
    let largest: Vec<String> = sizes.iter().rev().take(8).map(|(size, name)| format!("{name} {size}")).collect();
    println!("the reference's core: {} tokens; all {} tools: {} tokens", of_core / 4, sizes.len(), of_all / 4);
    println!("largest, in bytes: {}", largest.join(", "));
    assert!(of_core / 4 <= 9_000, "the core costs {} tokens", of_core / 4);
    assert!(of_all / 4 <= 18_700, "everything costs {} tokens", of_all / 4);
}

/// Every client must be able to read the schemas: closed objects, one type each, no formats, no references.
#[test]
fn schemas_are_portable() {
    fn walk(tool: &str, value: &Value) {
        match value {
            Value::Object(map) => {
                assert!(!map.contains_key("$ref") && !map.contains_key("$defs"), "{tool}: {value}");
                if let Some(kind) = map.get("type") {
                    assert!(kind.is_string() || kind.is_object(), "{tool}: type {kind}");
                }
                if map.get("type").is_some_and(Value::is_string) {
                    assert!(!map.contains_key("format"), "{tool}: {value}");
                }
                map.values().for_each(|v| walk(tool, v));
            }
            Value::Array(items) => items.iter().for_each(|v| walk(tool, v)),
            _ => {}
        }
    }
    for tool in tools::all() {
        for schema in [tool.input_schema(&["a", "b"]), tool.output_schema_for(&["a", "b"])] {
            assert_eq!(schema["type"], "object", "{}", tool.name);
            walk(tool.name, &Value::Object(schema));
        }
        let named = tool.input_schema(&["a", "b"])["properties"].get("cluster").is_some();
        assert_eq!(named, !tool.everywhere, "{}", tool.name);
    }
}

/// What comes of several clusters is put together by its form: rows, numbers, counts, words.
#[test]
fn lists_of_all_clusters_are_made_of_what_can_be_put_together() {
    for tool in tools::all().filter(|tool| tool.many || tool.everywhere) {
        for (name, property) in tool.output_schema()["properties"].as_object().unwrap() {
            let counts = matches!(property["additionalProperties"]["type"].as_str(), Some("integer" | "string"));
            let good = matches!(property["type"].as_str(), Some("array" | "integer" | "string" | "boolean")) || counts;
            assert!(good, "{}: {name}: {property}", tool.name);
        }
    }
}

#[test]
fn what_reads_takes_no_control_keys_and_what_changes_takes_them() {
    for tool in tools::all() {
        let schema = tool.input_schema(&[]);
        let has = |key: &str| schema["properties"].get(key).is_some();
        assert_eq!(tool.effect != Effect::Read, has("dry_run"), "{}", tool.name);
        assert_eq!(tool.control.is_some_and(|c| c.confirm), has("confirm"), "{}", tool.name);
        assert!(tool.effect != Effect::Destroy || has("confirm"), "{} destroys without asking", tool.name);
        // What runs another tool sends nothing itself.
        let reads = tool.api.iter().all(|api| api.starts_with("GET "));
        assert_eq!(reads, tool.effect == Effect::Read || tool.audited, "{}", tool.name);
    }
}

#[test]
fn what_a_tool_may_call_exists_in_proxmox() {
    let Some(facts) = shared("pve/pve-api-facts.json") else { return };
    let facts: Value = serde_json::from_str(&facts).unwrap();
    for tool in tools::all() {
        for api in tool.api {
            // Any path: for the tools that are for the API itself, which hold what they send to the facts.
            if api.ends_with(" *") {
                assert!(tool.name.starts_with("proxmox-api-"), "{}: {api}", tool.name);
                continue;
            }
            for kind in ["qemu", "lxc"] {
                let endpoint = api.replace("{type}", kind);
                assert!(facts["endpoints"].get(&endpoint).is_some(), "{}: no endpoint {endpoint}", tool.name);
            }
        }
    }
}

/// The reference's core: tool → its arguments with defaults, and whether it demands `confirm`.
fn reference() -> Option<BTreeMap<String, (String, bool)>> {
    let text = shared("reference/bsahane-tools.md")?;
    let core = text.split("## The core").nth(1)?.split("\nNames and arguments").next()?;
    let row = |row: &str| {
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        (cells[1].trim_matches('`').to_owned(), (cells[2].to_owned(), cells[3] == "yes"))
    };
    Some(core.lines().filter(|l| l.starts_with("| `")).map(row).collect())
}

/// Names, arguments and defaults of the reference, read from its table.
#[test]
fn the_reference_s_tools_keep_their_arguments_and_defaults() {
    let Some(wanted) = reference() else { return };
    let mut held = 0;
    for tool in tools::all() {
        let Some((arguments, confirm)) = wanted.get(tool.name) else { continue };
        held += 1;
        assert_eq!(tool.control.is_some_and(|c| c.confirm), *confirm, "{}: confirm", tool.name);
        let (schema, listed) = (tool.input_schema(&[]), tool.listed_schema(&[]));
        let properties = schema["properties"].as_object().unwrap();
        for argument in arguments.split(", ").filter(|a| a.starts_with('`')).map(|a| a.trim_matches('`')) {
            let (name, default) = argument.split_once('=').unwrap_or((argument, ""));
            let property = properties.get(name).unwrap_or_else(|| missing(tool.name, name, properties));
            assert!(listed["properties"].get(name).is_some(), "{}: {name} is not listed", tool.name);
            let ours = property.get("default").map(|d| d.to_string().trim_matches('"').to_owned()).unwrap_or_default();
            let theirs = match default {
                "None" | "''" | "" => String::new(),
                "True" => "true".to_owned(),
                "False" => "false".to_owned(),
                other => other.trim_matches('\'').to_owned(),
            };
            // A flag without a default is false.
            let ours = if ours.is_empty() && theirs == "false" { theirs.clone() } else { ours };
            let same =
                ours == theirs || matches!((ours.parse::<f64>(), theirs.parse::<f64>()), (Ok(a), Ok(b)) if a == b);
            assert!(same, "{}: default of {name}: {ours} instead of {theirs}", tool.name);
        }
    }
    println!("{held} of the reference's {} core tools", wanted.len());
    assert_eq!(held, wanted.len());
    assert_eq!(tools::CORE.iter().copied().collect::<HashSet<_>>(), wanted.keys().map(String::as_str).collect());
}

/// What the reference came to have later: the names and the arguments, in the shape that fits here.
#[test]
fn the_reference_s_later_tools_are_there() {
    let Some(text) = shared("reference/bsahane-tools.md") else { return };
    let later = text.split("## Later additions").nth(1).unwrap().split("\nIts remaining").next().unwrap();
    let mut count = 0;
    for row in later.lines().filter(|l| l.starts_with("| `")) {
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        let name = cells[1].trim_matches('`');
        let tool = tools::all().find(|tool| tool.name == name).unwrap_or_else(|| panic!("{name} is not there"));
        let schema = tool.input_schema(&[]);
        let properties = schema["properties"].as_object().unwrap();
        for argument in cells[2].split(", ").filter(|a| a.starts_with('`')).map(|a| a.trim_matches('`')) {
            let name = argument.split('=').next().unwrap();
            properties.get(name).unwrap_or_else(|| missing(tool.name, name, properties));
        }
        count += 1;
    }
    assert_eq!(count, 19);
}

fn missing<'a>(tool: &str, name: &str, _: &'a Map<String, Value>) -> &'a Value {
    panic!("{tool} lacks the reference's argument {name}")
}
