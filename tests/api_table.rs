//! The built-in table of the API is held to the facts it was made from, and to what a real server answered.
#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a test")]

use std::{collections::BTreeMap, path::PathBuf, sync::Arc};

use http::Method;
use proxmox_mcp::pve::api::{Access, Api, Format, Given, Kind, Params, Permission, Property};
use serde_json::{Map, Value};

fn shared(file: &str) -> Option<String> {
    let path = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../shared/pve")).join(file);
    let text = std::fs::read_to_string(&path).ok();
    if text.is_none() {
        println!("skipped: {} is not there", path.display());
    }
    text
}

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

#[test]
fn every_method_agrees_with_the_facts() {
    let Some(facts) = shared("pve-api-facts.json") else { return };
    let facts: Value = serde_json::from_str(&facts).unwrap();
    let api = Api::embedded();
    let (mut methods, mut params) = (0, 0);
    for (key, fact) in facts["endpoints"].as_object().unwrap() {
        let fact = resolve(&facts, fact);
        let (method, path) = key.split_once(' ').unwrap();
        let endpoint = api.endpoint(&Method::from_bytes(method.as_bytes()).unwrap(), path).unwrap();
        assert_eq!(endpoint.name, fact["name"].as_str().unwrap(), "{key}");
        assert_eq!(endpoint.allow_token, fact["allowtoken"] == 1, "{key}");
        assert_eq!(endpoint.protected, fact["protected"] == 1, "{key}");
        assert_eq!(endpoint.proxy_to, fact["proxyto"].as_str(), "{key}");
        assert_eq!(endpoint.open, fact["additionalProperties"] != 0, "{key}");
        match (&endpoint.access, &fact["perm"]) {
            (Access::World, perm) => assert_eq!(perm["user"], "world", "{key}"),
            (Access::User, perm) => assert_eq!(perm["user"], "all", "{key}"),
            (Access::Root, perm) => assert_eq!(perm["root_only"], 1, "{key}"),
            (Access::Check(check), perm) => assert_eq!(said(check), perm["check"], "{key}"),
        }
        let tasks: Vec<Value> = endpoint.tasks.iter().map(|(kind, id)| serde_json::json!([kind, id])).collect();
        assert_eq!(tasks, fact["task"].as_array().cloned().unwrap_or_default(), "{key}");
        for (name, property) in fact["params"].as_object().unwrap() {
            let variants: Vec<&Arc<Property>> =
                endpoint.params.iter().filter(|(n, _)| n == name).map(|(_, p)| p).collect();
            let options = property["oneOf"].as_array();
            assert_eq!(variants.len(), options.map_or(1, Vec::len), "{key} {name}");
            if options.is_none() {
                agree(&format!("{key} {name}"), variants[0], property);
            }
            params += 1;
        }
        methods += 1;
    }
    assert_eq!(api.endpoints().count(), methods);
    println!("{methods} methods and {params} parameters agree");
    assert!(methods >= 680);
}

fn said(check: &Permission) -> Value {
    use serde_json::json;
    match check {
        Permission::Privileges { path, privileges, any, require_param } => {
            let mut out = vec![json!("perm"), json!(path), json!(privileges)];
            if *any {
                out.extend([json!("any"), json!(1)]);
            }
            if let Some(param) = require_param {
                out.extend([json!("require_param"), json!(param)]);
            }
            out.into()
        }
        Permission::Modify { path } => json!(["perm-modify", path]),
        Permission::UserIsSelf => json!(["userid-param", "self"]),
        Permission::UserRealm { privilege } => json!(["userid-param", privilege]),
        Permission::UserGroup { privileges, groups_param: None } => json!(["userid-group", privileges]),
        Permission::UserGroup { privileges, groups_param: Some(how) } => {
            json!(["userid-group", privileges, "groups_param", how])
        }
        Permission::And(parts) => [json!("and")].into_iter().chain(parts.iter().map(said)).collect::<Vec<_>>().into(),
        Permission::Or(parts) => [json!("or")].into_iter().chain(parts.iter().map(said)).collect::<Vec<_>>().into(),
    }
}

fn agree(at: &str, ours: &Property, fact: &Value) {
    assert_eq!(ours.alias, fact["alias"].as_str(), "{at}");
    if ours.alias.is_some() {
        return assert_eq!(ours.sets, fact["keyAlias"].as_str(), "{at}");
    }
    assert_eq!(ours.array, fact["type"] == "array", "{at}");
    assert_eq!(ours.optional, fact["optional"] == 1, "{at}");
    assert_eq!(ours.default_key, fact["default_key"] == 1, "{at}");
    assert_eq!(ours.requires, fact["requires"].as_str(), "{at}");
    let inner = if ours.array { &fact["items"] } else { fact };
    let kind = inner["type"].as_str().unwrap();
    if kind != "ip" {
        assert_eq!(ours.kind.name(), kind, "{at}");
    }
    let number = |key: &str| inner[key].as_number().map(ToString::to_string);
    assert_eq!(ours.minimum.map(str::to_owned), number("minimum"), "{at}");
    assert_eq!(ours.maximum.map(str::to_owned), number("maximum"), "{at}");
    assert_eq!(ours.min_length.map(|n| n.to_string()), number("minLength"), "{at}");
    assert_eq!(ours.max_length.map(|n| n.to_string()), number("maxLength"), "{at}");
    assert_eq!(ours.pattern.as_ref().map(|p| p.text), inner["pattern"].as_str(), "{at}");
    if let Some(pattern) = &ours.pattern {
        assert!(pattern.matches("x").is_some(), "{at}: {} does not compile", pattern.text);
    }
    let values: Vec<&str> = inner["enum"].as_array().into_iter().flatten().map(|v| v.as_str().unwrap()).collect();
    assert_eq!(ours.values, values, "{at}");
    match (&inner["format"], &ours.format) {
        (Value::String(name), Some(usage)) => {
            let suffix = if usage.list { "-list" } else { ["", "-opt"][usize::from(usage.opt)] };
            assert_eq!(*name, format!("{}{suffix}", usage.name), "{at}");
        }
        (Value::Object(keys), Some(usage)) => {
            let Format::Keys(shape) = &*usage.format else { unreachable!("{at}") };
            assert_eq!(shape.keys.len(), keys.len(), "{at}");
            for (key, property) in keys {
                agree(&format!("{at} {key}"), shape.key(key).unwrap(), property);
            }
        }
        (_, usage) => assert_eq!(usage.is_some(), kind == "ip", "{at}"),
    }
    if ours.kind == Kind::Boolean {
        assert!(ours.values.is_empty(), "{at}");
    }
}

/// Messages that come from the methods themselves, not from the check of the parameters.
const FROM_THE_METHOD: &[&str] = &[
    "no such task",
    "No such ",
    "cannot use role ID starting with",
    "Token already exists.",
    "invalid ACL path",
    "either 'users', 'groups' or 'tokens' is required.",
    "does not exist",
    "Only root may use this option.",
    "already exists",
    "does not support",
    "unknown option",
    "you can't use '-",
    "unknown macro",
    "unknown action",
    "no such alias",
    "wrong file extension",
    "hotplug problem",
    "target is local node.",
    "missing property - 'dport' requires this property",
];

#[test]
fn the_check_of_parameters_says_what_a_real_server_said() {
    let Some(recordings) = shared("recordings.jsonl") else { return };
    let api = Api::embedded();
    let mut wrong = Vec::new();
    let (mut refused, mut accepted, mut elsewhere) = (0, 0, 0);
    for line in recordings.lines() {
        let record: Value = serde_json::from_str(line).unwrap();
        let Some(path) = record["path"].as_str().unwrap().strip_prefix("/api2/json") else { continue };
        let (path, query) = path.split_once('?').unwrap_or((path, ""));
        let path = percent_encoding::percent_decode_str(path).decode_utf8().unwrap();
        let Ok(method) = Method::from_bytes(record["method"].as_str().unwrap().as_bytes()) else { continue };
        let Some((endpoint, in_path)) = api.lookup(&method, &path) else {
            assert_ne!(record["status"], 200, "{record}");
            continue;
        };
        if record["path"].as_str().unwrap().contains("/upload") {
            continue; // multipart: the fields are not among the recorded parameters
        }
        let mut params: Params = in_path.into_iter().map(|(k, v)| (k.to_owned(), Given::Text(v))).collect();
        for (name, value) in record["params"].as_object().into_iter().flatten() {
            params.extend(Given::from_json(value).map(|given| (name.clone(), given)));
        }
        for pair in record["params"].as_array().into_iter().flatten() {
            let (name, given) = (pair[0].as_str().unwrap(), Given::from_json(&pair[1]).unwrap());
            let given = params.remove(name).map_or(given.clone(), |first: Given| first.and(given));
            params.insert(name.to_owned(), given);
        }
        let form = record["request_body"].as_str().unwrap_or_default();
        for (name, value) in query.split('&').chain(form.split(';')).filter_map(|pair| pair.split_once('=')) {
            let value = percent_encoding::percent_decode_str(value).decode_utf8().unwrap();
            let given = Given::from(&*value);
            let given = params.remove(name).map_or(given.clone(), |first: Given| first.and(given));
            params.insert(name.to_owned(), given);
        }
        let result = endpoint.validate(&params).err().unwrap_or_default();
        let at = format!("{} {} {}", record["seq"], record["method"], record["path"]);
        if record["status"] == 200 {
            if !result.is_empty() {
                wrong.push(format!("{at}: {result:?}"));
            }
            accepted += 1;
            continue;
        }
        let Some(errors) = record["body"]["errors"].as_object() else { continue };
        let errors: BTreeMap<String, String> =
            errors.iter().map(|(k, v)| (k.clone(), v.as_str().unwrap().to_owned())).collect();
        if result == errors {
            refused += 1;
        } else {
            let known = errors.values().all(|e| FROM_THE_METHOD.iter().any(|text| e.contains(text)));
            if !known && errors.get("vmid").is_none_or(|e| e != "property is missing") || !result.is_empty() {
                wrong.push(format!("{at}\n  real: {errors:?}\n  ours: {result:?}"));
            }
            elsewhere += 1;
        }
    }
    println!("{accepted} accepted, {refused} refused in the same words, {elsewhere} refused by the methods themselves");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(refused > 30 && accepted > 500);
}

#[test]
fn paths_are_found_by_their_templates() {
    let api = Api::embedded();
    let found = |method: Method, path: &str| api.lookup(&method, path).map(|(e, params)| (e.path, params));
    let params = |list: &[(&'static str, &str)]| list.iter().map(|(k, v)| (*k, (*v).to_owned())).collect();
    assert_eq!(
        found(Method::GET, "/nodes/pve/storage/local/content/local:iso/a.iso"),
        Some((
            "/nodes/{node}/storage/{storage}/content/{volume}",
            params(&[("node", "pve"), ("storage", "local"), ("volume", "local:iso/a.iso")])
        ))
    );
    assert_eq!(found(Method::GET, "/version"), Some(("/version", params(&[]))));
    assert_eq!(found(Method::DELETE, "/version"), None);
    assert_eq!(found(Method::GET, "/nodes/pve/nothing"), None);
    assert_eq!(found(Method::POST, "/nodes/pve/qemu").unwrap().0, "/nodes/{node}/qemu");
}

#[test]
fn parameters_are_refused_in_the_words_of_proxmox() {
    let api = Api::embedded();
    let refusal = |method: Method, path: &str, given: &[(&str, Given)]| {
        let (endpoint, in_path) = api.lookup(&method, path).unwrap();
        let mut params: Params = in_path.into_iter().map(|(k, v)| (k.to_owned(), Given::Text(v))).collect();
        params.extend(given.iter().map(|(k, v)| ((*k).to_owned(), v.clone())));
        endpoint
            .validate(&params)
            .err()
            .unwrap_or_default()
            .into_iter()
            .map(|(k, v)| format!("{k}: {v}"))
            .collect::<Vec<_>>()
    };
    let said: Vec<String> = [
        refusal(Method::POST, "/nodes/pve/qemu/99/status/start", &[]),
        refusal(Method::POST, "/nodes/pve/qemu/100/clone", &[("newid", "x".into()), ("full", Given::Bool(true))]),
        refusal(Method::PUT, "/nodes/pve/qemu/100/config", &[("net40", "virtio".into()), ("cores", Given::Bool(true))]),
        refusal(Method::PUT, "/nodes/pve/qemu/100/config", &[("net0", "virtio=BC:24:11:00:00:01,e1000=x".into())]),
        refusal(Method::PUT, "/nodes/pve/qemu/100/config", &[("ipconfig0", "gw=10.0.0.1".into())]),
        refusal(Method::PUT, "/nodes/pve/qemu/100/config", &[("boot", "order=scsi0;net0".into())]),
        refusal(Method::POST, "/nodes/pve/qemu/100/agent/exec", &[("command", "ls".into())]),
        refusal(Method::GET, "/nodes/pve/tasks", &[("limit", "-1".into()), ("typefilter", "a b".into())]),
    ]
    .concat();
    let expected = expect_test::expect![[r#"
        [
            "vmid: invalid format - value does not look like a valid VM ID\n",
            "newid: type check ('integer') failed - got 'x'",
            "cores: type check ('integer') failed - got JSON::PP::Boolean",
            "net40: property is not defined in schema and the schema does not allow additional properties",
            "net0: invalid format - key alias 'model' is already defined\n",
            "ipconfig0: invalid format - format error\nipconfig0.ip: missing property - 'ipconfig0.gw' requires this property\n",
            "limit: value must have a minimum value of 0",
        ]
    "#]];
    expected.assert_debug_eq(&said);
}
