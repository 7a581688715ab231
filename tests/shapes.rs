//! What the simulated cluster answers is held to the return types in the facts: every field that has to be there is
//! there, and of the right type. (Real servers give more fields than the facts know.)
#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a test")]

use std::collections::BTreeMap;

use bytes::Bytes;
use http::Request;
use proxmox_mcp::sandbox::{Options, Sandbox};
use secrecy::ExposeSecret;
use serde_json::{Map, Value};

/// What a real server answers against its own schema.
const SEEN_OTHERWISE: [(&str, &str); 1] = [("/nodes/{node}/disks/list", "[].osdid-list is null instead of \"array\"")];

fn resolve(facts: &Value, value: &Value) -> Value {
    match value {
        Value::Object(map) => match map.get("$d").and_then(Value::as_str) {
            Some(name) if map.len() == 1 => resolve(facts, &facts["defs"][name]),
            _ => map.iter().map(|(k, v)| (k.clone(), resolve(facts, v))).collect::<Map<_, _>>().into(),
        },
        Value::Array(list) => list.iter().map(|v| resolve(facts, v)).collect::<Vec<_>>().into(),
        other => other.clone(),
    }
}

async fn get(sandbox: &Sandbox, path: &str) -> Value {
    let credentials = sandbox.credentials();
    let token = format!("PVEAPIToken={}={}", credentials.token_id, credentials.token_secret.expose_secret());
    let request = Request::get(format!("https://pve1:8006/api2/json{path}")).header("authorization", token);
    let response = sandbox.handle(request.body(Bytes::new()).unwrap()).await.unwrap();
    if response.status() != 200 {
        println!("{path}: {} {}", response.status(), proxmox_mcp::sandbox::reason(&response));
    }
    serde_json::from_slice(response.body()).unwrap_or_default()
}

fn check(at: &str, schema: &Value, value: &Value, wrong: &mut Vec<String>) {
    let right = match schema["type"].as_str().unwrap_or("any") {
        "string" => value.is_string() || value.is_number(),
        "integer" | "number" => value.is_number() || value.as_str().is_some_and(|text| text.parse::<f64>().is_ok()),
        "boolean" => value.is_boolean() || value == &Value::from(0) || value == &Value::from(1),
        "array" => value.is_array(),
        "object" => value.is_object(),
        "null" => value.is_null(),
        _ => true,
    };
    if !right {
        wrong.push(format!("{at} is {value} instead of {}", schema["type"]));
        return;
    }
    match value {
        Value::Array(rows) => {
            for row in rows {
                check(&format!("{at}[]"), &schema["items"], row, wrong);
            }
        }
        Value::Object(fields) => {
            let Some(known) = schema["properties"].as_object().filter(|known| !known.is_empty()) else { return };
            for (name, property) in known {
                let numbered = name.ends_with("[n]");
                match fields.get(name) {
                    Some(value) => check(&format!("{at}.{name}"), property, value, wrong),
                    None if property["optional"] == 1 || numbered => {}
                    None => wrong.push(format!("{at} lacks {name}")),
                }
            }
        }
        _ => {}
    }
}

#[tokio::test(start_paused = true)]
async fn answers_have_the_fields_that_the_facts_know() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../shared/pve/pve-api-facts.json");
    let Ok(facts) = std::fs::read_to_string(path) else {
        println!("skipped: {path} is not there");
        return;
    };
    let facts: Value = serde_json::from_str(&facts).unwrap();
    let sandbox = Sandbox::new(Options::default());
    let guests = get(&sandbox, "/cluster/resources?type=vm").await;
    let tasks = get(&sandbox, "/cluster/tasks").await;
    let mut wrong: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut checked = 0;
    let mut paths: Vec<_> = sandbox.served().filter(|(method, _)| *method == "GET").map(|(_, path)| path).collect();
    paths.sort_unstable();
    for template in paths {
        let schema = resolve(&facts, &facts["endpoints"][format!("GET {template}")]["returns"]);
        let kind = if template.contains("/lxc/") { "lxc" } else { "qemu" };
        let rows = guests["data"].as_array().unwrap().iter();
        let (some, none) = (["running", "stopped"], [""]);
        let states: &[&str] = if template.contains("{vmid}") { &some } else { &none };
        for state in states {
            let guest = rows.clone().find(|row| row["type"] == kind && (state.is_empty() || row["status"] == *state));
            let guest = guest.unwrap();
            let node = guest["node"].as_str().unwrap();
            let task = tasks["data"].as_array().unwrap().iter().find(|task| task["node"] == node).unwrap();
            let path = template
                .replace("{node}", node)
                .replace("{vmid}", &guest["vmid"].to_string())
                .replace("{upid}", task["upid"].as_str().unwrap())
                .replace("{storage}", "local")
                .replace("{volume}", "local:iso/debian-12.7.0-amd64-netinst.iso")
                .replace("{snapname}", "nosuch")
                .replace("{userid}", "root@pam")
                .replace("{tokenid}", "sandbox")
                .replace("{roleid}", "PVEAdmin")
                .replace("{groupid}", "admins")
                .replace("{poolid}", "production")
                .replace("{realm}", "pve")
                .replace("{iface}", "vmbr0")
                .replace("{service}", "pveproxy");
            if path.contains('{') {
                continue;
            }
            let query = if template.ends_with("rrddata") {
                "?timeframe=hour"
            } else if template.ends_with("file-read") {
                "?file=/etc/hostname"
            } else if template.ends_with("feature") {
                "?feature=snapshot"
            } else if template.ends_with("dump") {
                "?type=user"
            } else {
                ""
            };
            let answer = get(&sandbox, &format!("{path}{query}")).await;
            if answer["data"].is_null() {
                continue;
            }
            checked += 1;
            let mut found = Vec::new();
            check("", &schema, &answer["data"], &mut found);
            found.sort();
            found.dedup();
            found.retain(|problem| !SEEN_OTHERWISE.contains(&(template, problem.as_str())));
            if !found.is_empty() {
                wrong.entry(template.to_owned()).or_default().extend(found);
            }
        }
    }
    for (template, found) in &wrong {
        println!("{template}: {}", found.join("; "));
    }
    println!("{checked} answers checked");
    assert!(wrong.is_empty() && checked > 90);
}
