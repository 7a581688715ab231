//! One firewall rule: as callers give it (an object, or a line as in Proxmox's own files), as Proxmox lists it, and as it is
//! sent.

use std::{collections::BTreeMap, fmt};

use serde_json::{Map, Value};

use crate::{
    pve::api::{Endpoint, Given},
    tool::*,
};

/// The options of a rule, in the order of a line; with the switches that stand for them there.
const OPTIONS: [(&str, &[&str]); 8] = [
    ("iface", &["i", "iface"]),
    ("source", &["source"]),
    ("dest", &["dest"]),
    ("proto", &["p", "proto"]),
    ("dport", &["dport"]),
    ("sport", &["sport"]),
    ("icmp-type", &["icmp-type"]),
    ("log", &["log"]),
];
const DIRECTIONS: &str = "in, out, forward or group";

/// Option → value, in Proxmox's words. Always with `type`, `action` and `enable`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule(BTreeMap<String, String>);

/// A rule in a result; it can be given back as it is.
#[derive(Serialize, JsonSchema)]
pub struct Row {
    pos: usize,
    enable: bool,
    #[serde(rename = "type")]
    kind: String,
    action: String,
    #[serde(rename = "macro", skip_serializing_if = "Option::is_none")]
    template: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    iface: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    source: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    dest: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    proto: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    dport: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sport: Option<String>,
    #[serde(rename = "icmp-type", skip_serializing_if = "Option::is_none")]
    icmp_type: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    log: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    comment: Option<String>,
}

impl Rule {
    /// From a row of a list.
    pub fn listed(row: Map<String, Value>) -> Self {
        let own = |key: &str| !matches!(key, "pos" | "digest" | "ipversion");
        Self(
            row.into_iter().filter(|(key, _)| own(key)).filter_map(|(key, value)| Some((key, text(&value)?))).collect(),
        )
    }

    /// From what a caller gave.
    ///
    /// # Errors
    /// What was expected instead.
    pub fn parse(given: &Value) -> Result<Self, String> {
        let mut rule = match given {
            Value::String(line) => Self::line(line)?,
            Value::Object(fields) => Self::fields(fields)?,
            other => return Err(format!("expected an object or a line, got {other}")),
        };
        let kind = rule.get("type").unwrap_or_default().to_ascii_lowercase();
        if !matches!(kind.as_str(), "in" | "out" | "forward" | "group") {
            return Err(format!("type: expected {DIRECTIONS}, got '{kind}'"));
        }
        let Some(action) = rule.get("action").map(str::to_owned) else { return Err("action: missing".to_owned()) };
        if kind != "group" {
            let word = action.to_ascii_uppercase();
            if !matches!(word.as_str(), "ACCEPT" | "DROP" | "REJECT") {
                return Err(format!("action: expected ACCEPT, DROP or REJECT, got '{action}'"));
            }
            rule.set("action", word);
        }
        rule.set("type", kind);
        if rule.get("enable").is_none() {
            rule.set("enable", "1");
        }
        for port in ["dport", "sport"] {
            if rule.get(port).is_some() && rule.get("proto").is_none() && rule.get("macro").is_none() {
                return Err(format!("proto: missing; {port} needs it (tcp or udp)"));
            }
        }
        Ok(rule)
    }

    fn fields(fields: &Map<String, Value>) -> Result<Self, String> {
        let mut rule = Self(BTreeMap::new());
        for (key, value) in fields.iter().filter(|(key, value)| !value.is_null() && *key != "pos") {
            let name = if key == "icmp_type" { "icmp-type" } else { key };
            let known = OPTIONS.iter().any(|(option, _)| *option == name)
                || matches!(name, "type" | "action" | "macro" | "enable" | "comment");
            if !known {
                let options: Vec<&str> = OPTIONS.iter().map(|(option, _)| *option).collect();
                return Err(format!(
                    "{key}: no part of a rule; those are type, action, macro, {}, enable, comment",
                    options.join(", ")
                ));
            }
            rule.set(name, text(value).ok_or_else(|| format!("{key}: expected text, got {value}"))?);
        }
        Ok(rule)
    }

    /// `IN ACCEPT -p tcp -dport 22 # why`, `IN SSH(ACCEPT) -source 10.0.0.0/8`, `GROUP web`; `|` in front: switched off.
    fn line(line: &str) -> Result<Self, String> {
        let mut rule = Self(BTreeMap::new());
        let (line, comment) = line.split_once('#').map_or((line, ""), |(line, comment)| (line, comment.trim()));
        let line = line.trim();
        let (line, enable) = line.strip_prefix('|').map_or((line, "1"), |rest| (rest, "0"));
        rule.set("enable", enable);
        if !comment.is_empty() {
            rule.set("comment", comment);
        }
        let mut words = line.split_whitespace();
        let (Some(kind), Some(action)) = (words.next(), words.next()) else {
            return Err(format!("expected a line as in 'IN ACCEPT -p tcp -dport 22', got '{line}'"));
        };
        rule.set("type", kind.to_ascii_lowercase());
        match action.strip_suffix(')').and_then(|rest| rest.split_once('(')) {
            Some((name, action)) => {
                rule.set("macro", name);
                rule.set("action", action);
            }
            None => rule.set("action", action),
        }
        while let Some(word) = words.next() {
            let switch = word.trim_start_matches('-');
            let option = OPTIONS.iter().find(|(_, switches)| word.starts_with('-') && switches.contains(&switch));
            let (Some((option, _)), Some(value)) = (option, words.next()) else {
                return Err(format!("expected switches with values as in '-p tcp -dport 22', got '{word}'"));
            };
            rule.set(option, value);
        }
        Ok(rule)
    }

    /// As a caller would give it, to have the same again.
    pub fn fields_again(&self) -> Value {
        let known = |key: &str| {
            OPTIONS.iter().any(|(option, _)| *option == key) || matches!(key, "type" | "action" | "macro" | "comment")
        };
        let fields = self.0.iter().filter(|(key, value)| known(key) && !value.is_empty());
        let mut fields: Map<String, Value> = fields.map(|(key, value)| (key.clone(), value.as_str().into())).collect();
        // One that does not say so is off, where a caller's is on.
        if !self.is_enabled() {
            fields.insert("enable".to_owned(), 0.into());
        }
        fields.into()
    }

    pub fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key).map(String::as_str)
    }
    fn set(&mut self, key: &str, value: impl Into<String>) {
        self.0.insert(key.to_owned(), value.into());
    }
    pub fn is_enabled(&self) -> bool {
        self.get("enable").is_some_and(|enable| enable != "0")
    }

    pub fn row(&self, pos: usize) -> Row {
        let text = |key: &str| self.get(key).filter(|text| !text.is_empty()).map(str::to_owned);
        Row {
            pos,
            enable: self.is_enabled(),
            kind: text("type").unwrap_or_default(),
            action: text("action").unwrap_or_default(),
            template: text("macro"),
            iface: text("iface"),
            source: text("source"),
            dest: text("dest"),
            proto: text("proto"),
            dport: text("dport"),
            sport: text("sport"),
            icmp_type: text("icmp-type"),
            log: text("log"),
            comment: text("comment"),
        }
    }

    /// Adds its options to the request that makes it.
    pub fn send(&self, request: Request) -> Request {
        self.0.iter().fold(request, |request, (key, value)| request.param(key.clone(), value))
    }

    /// Holds it to the API's own schema of a new rule.
    ///
    /// # Errors
    /// Proxmox's words, with the option in front.
    pub fn check(&self, endpoint: &Endpoint) -> Result<(), String> {
        let mut params: BTreeMap<String, Given> =
            self.0.iter().map(|(key, value)| (key.clone(), Given::Text(value.clone()))).collect();
        for (name, value) in [("node", "pve"), ("vmid", "100"), ("group", "group")] {
            if endpoint.param(name).is_some() {
                params.insert(name.to_owned(), Given::Text(value.to_owned()));
            }
        }
        match endpoint.validate(&params) {
            Ok(_) => Ok(()),
            Err(errors) => Err(errors
                .iter()
                .map(|(name, problem)| format!("{name}: {}", problem.trim_end()))
                .collect::<Vec<_>>()
                .join("; ")),
        }
    }

    /// Whether it lets connections to this TCP port in, from wherever.
    pub fn lets_in(&self, port: u16, name: &str) -> bool {
        let fits = |list: &str| {
            list.split(',').any(|part| match part.split_once(':') {
                Some((from, to)) => {
                    from.parse().is_ok_and(|from: u16| from <= port) && to.parse().is_ok_and(|to: u16| port <= to)
                }
                None => part == port.to_string() || part.eq_ignore_ascii_case(name),
            })
        };
        self.is_enabled()
            && self.get("type") == Some("in")
            && self.get("action") == Some("ACCEPT")
            && match (self.get("macro"), self.get("dport")) {
                (Some(template), _) => template.eq_ignore_ascii_case(name),
                (None, Some(list)) => fits(list),
                (None, None) => self.get("proto").is_none_or(|proto| proto == "tcp"),
            }
    }
}

fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.trim().to_owned()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(flag) => Some(u8::from(*flag).to_string()),
        _ => None,
    }
}

/// As in Proxmox's files.
impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = |key: &str| self.get(key).unwrap_or_default();
        if !self.is_enabled() {
            f.write_str("|")?;
        }
        write!(f, "{} ", text("type").to_ascii_uppercase())?;
        match self.get("macro") {
            Some(name) => write!(f, "{name}({})", text("action"))?,
            None => f.write_str(text("action"))?,
        }
        for (option, switches) in OPTIONS {
            if let (Some(value), Some(switch)) = (self.get(option), switches.first()) {
                write!(f, " -{switch} {value}")?;
            }
        }
        match self.get("comment") {
            Some(comment) => write!(f, " # {}", comment.trim_end()),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn words(given: &Value) -> String {
        Rule::parse(given).map_or_else(|problem| problem, |rule| rule.to_string())
    }

    #[test]
    fn lines_and_objects_say_the_same() {
        let line = "IN SSH(ACCEPT) -i net0 -source 10.0.0.0/8 -log info # from the office";
        assert_eq!(words(&json!(line)), line);
        let fields = json!({"type": "in", "action": "accept", "proto": "tcp", "dport": 8006});
        assert_eq!(words(&fields), "IN ACCEPT -p tcp -dport 8006");
        assert_eq!(words(&json!("|group web")), "|GROUP web");
    }

    #[test]
    fn what_is_no_rule_is_told_what_was_expected() {
        assert_eq!(words(&json!("in")), "expected a line as in 'IN ACCEPT -p tcp -dport 22', got 'in'");
        assert_eq!(words(&json!("IN ALLOW")), "action: expected ACCEPT, DROP or REJECT, got 'ALLOW'");
        assert_eq!(words(&json!({"type": "sideways"})), "type: expected in, out, forward or group, got 'sideways'");
        assert_eq!(words(&json!("IN DROP -dport 22")), "proto: missing; dport needs it (tcp or udp)");
        assert!(words(&json!({"type": "in", "port": 22})).starts_with("port: no part of a rule"));
    }

    #[test]
    fn a_port_is_let_in_by_name_number_range_or_everything() {
        for (line, ssh) in [
            ("IN ACCEPT -p tcp -dport 20:25", true),
            ("IN SSH(ACCEPT)", true),
            ("IN ACCEPT", true),
            ("|IN SSH(ACCEPT)", false),
            ("IN ACCEPT -p tcp -dport 80,443", false),
            ("OUT ACCEPT", false),
        ] {
            assert_eq!(Rule::parse(&json!(line)).map(|rule| rule.lets_in(22, "SSH")), Ok(ssh), "{line}");
        }
    }
}
