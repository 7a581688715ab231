//! Every outcome says how it is taken back, and what it says is true: the call is made, and the cluster is as it was.
#![expect(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod support;

use std::{collections::BTreeMap, time::Duration};

use proxmox_mcp::tool::Entry;
use serde_json::{Map, Value, json};
use support::{Test, options, start};

/// Families of which not every outcome says yet how it is taken back.
const MISSING: &[&str] = &[
    "backups",
    "backup_jobs",
    "replication",
    "storage",
    "upload",
    "os_templates",
    "network",
    "firewall",
    "agent",
    "ansible",
    "tasks",
    "cluster",
    "ha",
    "node_system",
    "node_power",
    "pools",
    "users",
    "permissions",
    "api",
    "clusters",
];

/// What is not as before, of which tool (or of all), and why that is no matter. Parts of the paths that [`state`] makes.
const DIFFERS: &[(&str, &str, &str)] = &[
    ("", "changed:", "counts changes"),
    ("", "shown:", "what the statistics daemon saw last"),
    ("", "ran:", "when it last ran"),
    ("", "since:", "when it was started"),
    ("", "pid:", "of its process"),
];

/// The actions whose outcomes say how they are taken back.
fn actions() -> impl Iterator<Item = &'static Entry> {
    let families = proxmox_mcp::tools::FAMILIES.iter().filter(|(family, _)| !MISSING.contains(family));
    families.flat_map(|(_, tools)| tools.iter()).filter(|entry| entry.control.is_some())
}

/// The simulated cluster's state: what holds a value, and the value. The order of a configuration's keys does not count.
fn state(test: &Test) -> Vec<String> {
    let pair = regex::Regex::new(r#"\(\n\s*("(?:[^"\\]|\\.)*",)\n\s*("(?:[^"\\]|\\.)*"),\n\s*\)"#).unwrap();
    let text = test.sandbox.snapshot();
    let text = pair.replace_all(&text, "$1 $2");
    let mut open: Vec<(usize, String, Option<usize>)> = Vec::new();
    let mut all = Vec::new();
    for line in text.lines() {
        let depth = line.len() - line.trim_start().len();
        let line = line.trim().trim_end_matches(',');
        while open.last().is_some_and(|(above, ..)| *above >= depth) {
            open.pop();
        }
        if matches!(line, "}" | ")" | "]" | "})") {
            continue;
        }
        // What stands in a list has its number; the pairs of a configuration have none.
        let mut name = line.trim_end_matches(['{', '(', '[', ' ']).to_owned();
        if let Some((_, _, Some(next))) = open.last_mut()
            && !line.starts_with('"')
        {
            name = format!("{next} {name}");
            *next += 1;
        }
        if line.ends_with(['{', '(', '[']) {
            open.push((depth, name, line.ends_with('[').then_some(0)));
        } else {
            let path: Vec<&str> = open.iter().map(|(_, name, _)| name.as_str()).collect();
            all.push(format!("{} / {name}", path.join(" / ")));
        }
    }
    all.sort();
    all
}

/// What only one of both has, but for what may differ.
fn differences(tool: &str, before: &[String], after: &[String]) -> Vec<String> {
    let mut count: BTreeMap<&str, i32> = BTreeMap::new();
    before.iter().for_each(|line| *count.entry(line).or_default() -= 1);
    after.iter().for_each(|line| *count.entry(line).or_default() += 1);
    let explained =
        |line: &str| DIFFERS.iter().any(|(of, part, _)| (of.is_empty() || *of == tool) && line.contains(part));
    let sign = |n: i32| if n < 0 { '-' } else { '+' };
    let lines = count.into_iter().filter(|(line, n)| *n != 0 && !explained(line));
    lines.map(|(line, n)| format!("{} {line}", sign(n))).collect()
}

fn object(value: &Value) -> Map<String, Value> {
    value.as_object().cloned().unwrap()
}

fn entry(tool: &str) -> &'static Entry {
    proxmox_mcp::tools::all().find(|entry| entry.name == tool).unwrap_or_else(|| panic!("no tool {tool}"))
}

/// Makes a call, confirmed and waited for where the tool knows such a thing.
async fn run(test: &Test, tool: &str, mut arguments: Map<String, Value>) -> Value {
    let control = entry(tool).control.unwrap();
    if control.confirm {
        arguments.insert("confirm".to_owned(), json!(true));
    }
    arguments.insert("wait".to_owned(), json!(true));
    let done = test.call(tool, Value::Object(arguments)).await;
    assert_eq!(done["state"], "done", "{tool}: {done}");
    // Tasks that others follow on, and what a guest does by itself.
    tokio::time::sleep(Duration::from_secs(60)).await;
    done
}

/// Makes the call that an outcome names.
async fn take_back(test: &Test, done: &Value) -> Value {
    let undo = &done["undo"];
    let tool = undo["tool"].as_str().unwrap_or_else(|| panic!("no undo: {done}"));
    assert!(undo["arguments"].get("confirm").is_none(), "{undo}");
    run(test, tool, object(&undo["arguments"])).await
}

/// Does something and takes it back; what is not as before.
async fn there_and_back(test: &Test, tool: &str, arguments: Value) -> Vec<String> {
    let before = state(test);
    let done = run(test, tool, object(&arguments)).await;
    take_back(test, &done).await;
    differences(tool, &before, &state(test))
}

#[tokio::test(start_paused = true)]
async fn every_outcome_says_how_it_is_taken_back_or_why_it_is_not() {
    for entry in actions() {
        let test = start(options()).await;
        let arguments: Value = serde_json::from_str(entry.example.1).unwrap();
        let mut dry = object(&arguments);
        dry.insert("dry_run".to_owned(), json!(true));
        let planned = test.call(entry.name, Value::Object(dry)).await;
        let done = test.call(entry.name, arguments).await;
        for outcome in [&planned, &done] {
            let (undo, why) = (outcome["undo"].is_object(), outcome["no_undo"].is_string());
            assert!(undo != why, "{}: {outcome}", entry.name);
        }
        assert_eq!((&planned["undo"], &planned["no_undo"]), (&done["undo"], &done["no_undo"]), "{}", entry.name);
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_taken_back_is_as_it_was() {
    let mut wrong = Vec::new();
    for entry in actions() {
        let test = start(options()).await;
        let arguments = object(&serde_json::from_str(entry.example.1).unwrap());
        let before = state(&test);
        let done = run(&test, entry.name, arguments).await;
        if done["undo"].is_null() {
            continue;
        }
        take_back(&test, &done).await;
        let differences = differences(entry.name, &before, &state(&test));
        if !differences.is_empty() {
            wrong.push(format!("{} ({}):\n  {}", entry.name, done["undo"], differences.join("\n  ")));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
