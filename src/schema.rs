//! JSON Schemas as clients and models can use them: portable, and listed with as few bytes as will do.

use schemars::{JsonSchema, generate::SchemaSettings};
use serde_json::{Map, Value, json};

use crate::{action, outside, tool::Control};

/// A tool's input schema as it is listed for a model, which pays for every byte on every turn; `core`: a tool of the
/// reference's core, of whose arguments none are left out.
pub fn listed(mut schema: Map<String, Value>, control: Option<&Control>, core: bool) -> Map<String, Value> {
    if let Some(properties) = schema.get_mut("properties").and_then(Value::as_object_mut) {
        for (key, words) in SHARED {
            let Some(listed) = properties.get_mut(*key).and_then(Value::as_object_mut) else { continue };
            if listed.get("description").is_some_and(|description| description == words) {
                listed.remove("description");
                // A guest can always be told from others by its VMID.
                if *key == "node" && !core {
                    properties.remove(*key);
                }
            }
        }
        let seldom = |key: &str, property: &Value| {
            SELDOM.iter().any(|(name, words)| key == *name && property["description"] == *words)
        };
        properties.retain(|key, property| core || !seldom(key, property));
        if let Some(control) = control {
            for key in action::control_properties(control).keys() {
                let hidden = match key.as_str() {
                    "dry_run" | "confirm" | "snapshot_first" => false,
                    action::STOPS_TASK => true,
                    // Where it waits unasked there is little to say.
                    "wait" => control.instant || (control.wait && !control.polled),
                    _ => !control.polled,
                };
                if hidden {
                    properties.remove(key);
                } else if let Some(property) = properties.get_mut(key).and_then(Value::as_object_mut) {
                    property.remove("description");
                }
            }
        }
    }
    let mut schema = Value::Object(schema);
    slim(&mut schema);
    match schema {
        Value::Object(schema) => schema,
        _ => Map::new(),
    }
}

/// What many tools take alike, and what is said of it there.
const SHARED: &[(&str, &str)] = &[
    ("vmid", "VMID. Give this or `name`."),
    ("name", "Exact name."),
    ("node", "Its node: needed only where guests share a name."),
    ("limit", "Most rows to return."),
    ("cursor", "`next_cursor` of the page before."),
];

/// What few have a use for, and what is said of it.
const SELDOM: &[(&str, &str)] = &[
    ("node", "One that can reach them."),
    ("prefer_interface", "In the guest, or its device: net1."),
    ("ipv6", "Rather than IPv4."),
    ("keys", "As users."),
    ("kind", "Only VMs, or containers."),
    ("ha_group", "Of Proxmox 8."),
    ("parallel", "Machines at a time."),
    ("storages", "VMID to from:to for its local disks, as undo names them."),
    ("per_target", "Of them, to the same node."),
];

/// Without any description.
pub fn wordless(mut schema: Map<String, Value>) -> Map<String, Value> {
    drop_words(&mut schema);
    schema
}

fn drop_words(map: &mut Map<String, Value>) {
    map.remove("description");
    below(map, &mut drop_words);
}

/// Drops what a model can do without.
fn slim(value: &mut Value) {
    let Value::Object(map) = value else { return };
    for key in
        ["minimum", "maximum", "minLength", "maxLength", "minItems", "maxItems", "pattern", "additionalProperties"]
    {
        map.remove(key);
    }
    let empty = |v: &Value| {
        *v == Value::Bool(false) || v == "" || *v == Value::Array(vec![]) || *v == Value::Object(Map::new())
    };
    if map.get("default").is_some_and(empty) {
        map.remove("default");
    }
    for (key, value) in map {
        match (key.as_str(), value) {
            ("properties", Value::Object(fields)) => fields.values_mut().for_each(slim),
            // An item that may be short for an object (a mere name, say) is listed as the object.
            ("items", Value::Object(any)) if any.is_empty() => {
                any.insert("type".to_owned(), "object".into());
            }
            ("items", value) => slim(value),
            ("anyOf" | "oneOf", Value::Array(choices)) => choices.iter_mut().for_each(slim),
            _ => {}
        }
    }
}

/// Of a tool's arguments.
pub fn of_input<T: JsonSchema>() -> Map<String, Value> {
    let mut schema = generate::<T>(SchemaSettings::draft2020_12());
    for (name, property) in schema.get_mut("properties").and_then(Value::as_object_mut).into_iter().flatten() {
        // Whatever they are called in full: nodes and storages have names.
        let is_name = ["node", "storage"].contains(&name.rsplit('_').next().unwrap_or(name));
        if is_name && property["type"] == "string" && property.get("minLength").is_none() {
            property["minLength"] = 1.into();
        }
    }
    schema
}

/// For results: what is written, not what would be read (an `Option` that is skipped when empty is not required).
pub fn of_output<T: JsonSchema>() -> Map<String, Value> {
    let mut schema = generate::<T>(SchemaSettings::draft2020_12().for_serialize());
    schema.remove("description");
    below(&mut schema, &mut anything);
    outside::declare(&mut schema);
    schema
}

/// Says of what may be anything what that is: a schema without a word constrains nothing, and clients complain of it.
fn anything(map: &mut Map<String, Value>) {
    if map.keys().all(|key| key == "description") {
        let kinds = ["object", "array", "string", "number", "boolean", "null"];
        map.insert("anyOf".to_owned(), kinds.map(|kind| json!({"type": kind})).to_vec().into());
    }
    below(map, &mut anything);
}

/// Each schema that stands in this one.
fn below(map: &mut Map<String, Value>, each: &mut dyn FnMut(&mut Map<String, Value>)) {
    let mut object = |value: &mut Value| {
        if let Value::Object(map) = value {
            each(map);
        }
    };
    for (key, value) in map {
        match (key.as_str(), value) {
            ("properties", Value::Object(fields)) => fields.values_mut().for_each(&mut object),
            ("items" | "additionalProperties", value) => object(value),
            ("anyOf" | "oneOf", Value::Array(choices)) => choices.iter_mut().for_each(&mut object),
            _ => {}
        }
    }
}

fn generate<T: JsonSchema>(settings: SchemaSettings) -> Map<String, Value> {
    let mut value =
        settings.with(|s| s.inline_subschemas = true).into_generator().into_root_schema_for::<T>().to_value();
    portable(&mut value);
    match value {
        Value::Object(mut schema) => {
            schema.remove("$schema");
            schema.remove("title");
            schema
        }
        _ => Map::new(),
    }
}

/// The words that such choices are between.
fn words(choices: &[Value]) -> Option<Value> {
    let word = |choice: &Value| match (&choice["const"], &choice["enum"]) {
        (Value::String(word), _) => Some(vec![Value::from(word.as_str())]),
        (_, Value::Array(words)) => Some(words.clone()),
        _ => None,
    };
    choices.iter().map(word).collect::<Option<Vec<_>>>().map(|words| words.concat().into())
}

/// Keeps to what every client understands: no integer formats (Ajv prints "unknown format"), no `["string", "null"]`
/// (Gemini's subset has no such thing; what may be null may be left out, and results never hold null).
fn portable(value: &mut Value) {
    match value {
        Value::Object(map) => {
            map.remove("format");
            if map.get("default").is_some_and(Value::is_null) {
                map.remove("default");
            }
            if let Some(Value::Array(types)) = map.get_mut("type") {
                types.retain(|t| t != "null");
                if let [one] = types.as_slice() {
                    let one = one.clone();
                    map.insert("type".to_owned(), one);
                }
            }
            // An optional enumeration is written as a choice between it and null.
            if let Some(Value::Array(choices)) = map.get_mut("anyOf") {
                choices.retain(|c| c["type"] != "null");
                if let [Value::Object(one)] = choices.as_slice() {
                    let mut one = one.clone();
                    map.remove("anyOf");
                    one.append(map);
                    *map = one;
                }
            }
            // An enumeration whose values have descriptions is written as a choice between constants.
            if let Some(words) = map.get("oneOf").and_then(Value::as_array).and_then(|choices| words(choices)) {
                map.remove("oneOf");
                map.insert("type".to_owned(), "string".into());
                map.insert("enum".to_owned(), words);
            }
            if let Some(Value::Array(all)) = map.get_mut("enum") {
                all.retain(|v| !v.is_null());
            }
            for (key, value) in map {
                match (key.as_str(), value) {
                    // Anything at all: some clients know no schema that is a mere `true`.
                    ("items", items @ Value::Bool(true)) => *items = Value::Object(Map::new()),
                    // The keys in here are names of fields (one may be called `format`), not words of the schema.
                    ("properties", Value::Object(fields)) => {
                        for field in fields.values_mut() {
                            match field {
                                Value::Bool(true) => *field = Value::Object(Map::new()),
                                field => portable(field),
                            }
                        }
                    }
                    (_, value) => portable(value),
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(portable),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_of_all_is_what_is_said_of_each() {
        let (guest, page) = (of_input::<crate::pve::GuestRef>(), of_input::<crate::tools::Page>());
        for (key, words) in SHARED {
            let said = [&guest, &page].iter().find_map(|schema| schema["properties"].get(*key));
            assert_eq!(said.map(|property| &property["description"]), Some(&Value::from(*words)), "{key}");
        }
    }
}
