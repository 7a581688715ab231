//! YAML: that it is some, and that what it says of this program is so.

use serde_json::Value;

use super::{blocks::Block, metrics, settings};

pub fn parse(place: &str, text: &str) -> Value {
    serde_saphyr::from_str(text).unwrap_or_else(|e| panic!("{place}: {e}"))
}

pub fn load(block: &Block) {
    let value = parse(&block.place, &block.text);
    let known = ["services", "scrape_configs", "groups"].iter().find(|key| value.get(**key).is_some());
    match known {
        Some(&"groups") => rules(&block.place, &value),
        Some(_) => {}
        None if is_group_vars(&value) => {}
        None => panic!("{}: nobody knows what this is", block.place),
    }
    settings::names(&block.place, &block.text);
}

/// Ansible's variables of a group: those by which it connects.
fn is_group_vars(value: &Value) -> bool {
    value.as_object().is_some_and(|map| map.keys().all(|key| key.starts_with("ansible_")))
}

/// Prometheus' rules: each has what it needs, and asks for figures that there are.
fn rules(place: &str, value: &Value) {
    for group in value["groups"].as_array().unwrap() {
        assert!(group["name"].is_string(), "{place}: {group}");
        for rule in group["rules"].as_array().unwrap() {
            let expr = rule["expr"].as_str().unwrap_or_else(|| panic!("{place}: {rule}"));
            assert!(rule["alert"].is_string(), "{place}: {rule}");
            let (open, close) = (expr.matches(['(', '{', '[']).count(), expr.matches([')', '}', ']']).count());
            assert_eq!(open, close, "{place}: {expr}");
            metrics::names(place, expr);
        }
    }
}
