//! The check of a call's parameters, in the order, the depth and the words of Proxmox's own.

use std::{collections::BTreeMap, fmt::Write};

use serde_json::Value;

use super::{
    Endpoint,
    property::{Format, FormatUse, Kind, Property, Shape, names},
};

/// What a caller gave for one parameter: text in a form or a query, anything in a JSON body.
#[derive(Debug, Clone, PartialEq)]
pub enum Given {
    Text(String),
    Bool(bool),
    List(Vec<Given>),
    Object,
}

/// The parameters of a call, by name, those of the path among them.
pub type Params = BTreeMap<String, Given>;

/// Parameters that were found to be right: texts, and lists of texts; booleans are `1` and `0`.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Checked(BTreeMap<String, Vec<String>>);

/// What is wrong: parameter → message.
type Errors = BTreeMap<String, String>;

impl Given {
    /// A value of a JSON body; `None` for null, which is as good as not given.
    pub fn from_json(value: &Value) -> Option<Self> {
        Some(match value {
            Value::Null => return None,
            Value::Bool(value) => Self::Bool(*value),
            Value::Number(number) => Self::Text(number.to_string()),
            Value::String(text) => Self::Text(text.clone()),
            Value::Array(list) => Self::List(list.iter().filter_map(Self::from_json).collect()),
            Value::Object(_) => Self::Object,
        })
    }

    /// One more value under the same name makes a list.
    pub fn and(self, more: Self) -> Self {
        match self {
            Self::List(mut all) => {
                all.push(more);
                Self::List(all)
            }
            first => Self::List(vec![first, more]),
        }
    }

    fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            Self::Bool(value) => Some(if *value { "1" } else { "0" }),
            Self::List(_) | Self::Object => None,
        }
    }

    /// What Perl calls this sort of value.
    fn perl(&self) -> &'static str {
        match self {
            Self::Text(_) => "SCALAR",
            Self::Bool(_) => "JSON::PP::Boolean",
            Self::List(_) => "ARRAY",
            Self::Object => "HASH",
        }
    }
}

impl From<&str> for Given {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl Checked {
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name)?.first().map(String::as_str)
    }
    /// Given and not `0`.
    pub fn flag(&self, name: &str) -> bool {
        self.get(name).is_some_and(|v| v != "0")
    }
    pub fn int(&self, name: &str) -> Option<i64> {
        self.get(name)?.trim_start_matches('+').parse().ok()
    }
    /// All values of an array parameter.
    pub fn list(&self, name: &str) -> &[String] {
        self.0.get(name).map_or(&[], Vec::as_slice)
    }
    /// Name and (first) value of everything given.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().filter_map(|(name, values)| Some((name.as_str(), values.first()?.as_str())))
    }
}

impl Endpoint {
    /// As [`Endpoint::validate`], each message on one line: for people.
    pub fn complaints(&self, params: &Params) -> Vec<(String, String)> {
        let one_line = |message: String| {
            let lines: Vec<&str> = message.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
            lines.join(" ")
        };
        let errors = self.validate(params).err().unwrap_or_default();
        errors.into_iter().map(|(key, message)| (key, one_line(message))).collect()
    }

    /// Checks the parameters of a call, those of the path included.
    ///
    /// # Errors
    /// What is wrong with which parameter, in Proxmox's words: the `errors` of its 400 answer.
    pub fn validate(&self, params: &Params) -> Result<Checked, BTreeMap<String, String>> {
        let mut errors = Errors::new();
        let mut checked = Checked::default();
        for (name, property) in &self.params {
            if applies(property, params) && !name.ends_with("[n]") && !params.contains_key(*name) && !property.optional
            {
                add(&mut errors, name, "property is missing and it is not optional".to_owned());
            }
        }
        // `_dc` is what browsers' caches are outwitted with; Proxmox takes no notice of it.
        for (name, given) in params.iter().filter(|(name, _)| *name != "_dc") {
            let found = self.params.iter().find(|(known, property)| names(known, name) && applies(property, params));
            let Some((_, property)) = found else {
                if !self.open {
                    add(&mut errors, name, UNDEFINED.to_owned());
                }
                checked.0.insert(name.clone(), given.text().map(str::to_owned).into_iter().collect());
                continue;
            };
            let given = settle(property, given);
            check(name, property, &given, &mut errors);
            if let Some(other) = property.requires.filter(|other| !params.contains_key(*other)) {
                add(&mut errors, other, format!("missing property - '{name}' requires this property"));
            }
            let values = match &given {
                Given::List(list) => list.iter().filter_map(|v| v.text().map(str::to_owned)).collect(),
                one => one.text().map(str::to_owned).into_iter().collect(),
            };
            checked.0.insert(name.clone(), values);
        }
        if errors.is_empty() { Ok(checked) } else { Err(errors) }
    }
}

const UNDEFINED: &str = "property is not defined in schema and the schema does not allow additional properties";

/// Whether the parameter belongs to the values the others have.
fn applies(property: &Property, params: &Params) -> bool {
    let Some((by, types)) = &property.only else { return true };
    params.get(*by).and_then(Given::text).is_none_or(|value| types.iter().any(|t| t == value))
}

/// One value for an array becomes an array of one; an array for a list becomes the list's text.
fn settle(property: &Property, given: &Given) -> Given {
    match given {
        Given::List(list) if !property.array && property.format.as_ref().is_some_and(|f| f.list) => {
            Given::Text(list.iter().filter_map(Given::text).collect::<Vec<_>>().join(","))
        }
        one @ (Given::Text(_) | Given::Bool(_)) if property.array => Given::List(vec![one.clone()]),
        other => other.clone(),
    }
}

fn add(errors: &mut Errors, path: &str, message: String) {
    match errors.get_mut(path) {
        // A backslash and an n, not a line end: so it is in Proxmox.
        Some(known) => drop(write!(known, "\\n{message}")),
        None => drop(errors.insert(path.to_owned(), message)),
    }
}

fn check(path: &str, property: &Property, given: &Given, errors: &mut Errors) {
    if property.array {
        let Given::List(list) = given else {
            return add(errors, path, "type check ('array') failed".to_owned());
        };
        for (index, one) in list.iter().enumerate() {
            check_one(&format!("{path}[{index}]"), property, one, errors);
        }
        return;
    }
    check_one(path, property, given, errors);
}

fn check_one(path: &str, property: &Property, given: &Given, errors: &mut Errors) {
    let kind = property.kind.name();
    let value = match given {
        Given::Text(text) => text.as_str(),
        Given::Bool(_) if property.kind == Kind::Boolean => return,
        other => return add(errors, path, format!("type check ('{kind}') failed - got {}", other.perl())),
    };
    let right = match property.kind {
        Kind::String => true,
        Kind::Boolean => matches!(value, "0" | "1"),
        Kind::Integer => is_integer(value),
        Kind::Number => is_number(value),
    };
    if !right {
        return add(errors, path, format!("type check ('{kind}') failed - got '{value}'"));
    }
    if let Err(message) = facts(path, property, value) {
        add(errors, path, message);
    }
}

fn facts(path: &str, property: &Property, value: &str) -> Result<(), String> {
    if let Some(format) = &property.format {
        check_format(format, value, path).map_err(|e| format!("invalid format - {e}"))?;
    }
    if property.pattern.as_ref().is_some_and(|pattern| pattern.matches(value) == Some(false)) {
        return Err("value does not match the regex pattern".to_owned());
    }
    let length = value.chars().count();
    if let Some(most) = property.max_length.filter(|most| length > *most) {
        return Err(format!("value may only be {most} characters long"));
    }
    if let Some(least) = property.min_length.filter(|least| length < *least) {
        return Err(format!("value must be at least {least} characters long"));
    }
    if is_number(value) {
        let number: f64 = value.parse().unwrap_or(0.0);
        let bound = |text: Option<&'static str>| text.and_then(|t| Some((t, t.parse::<f64>().ok()?)));
        if let Some((most, _)) = bound(property.maximum).filter(|(_, most)| number > *most) {
            return Err(format!("value must have a maximum value of {most}"));
        }
        if let Some((least, _)) = bound(property.minimum).filter(|(_, least)| number < *least) {
            return Err(format!("value must have a minimum value of {least}"));
        }
    }
    if !property.values.is_empty() && !property.values.iter().any(|v| v == value) {
        let values = property.values.join(", ");
        return Err(format!("value '{value}' does not have a value in the enumeration '{values}'"));
    }
    Ok(())
}

fn check_format(usage: &FormatUse, value: &str, path: &str) -> Result<(), String> {
    match &*usage.format {
        Format::Keys(shape) => parse_property_string(shape, value, path).map(drop),
        Format::Rule(rule) if usage.list => split_list(value).try_for_each(|one| rule.check(one)),
        Format::Rule(_) if usage.opt && value.is_empty() => Ok(()),
        Format::Rule(rule) => rule.check(value),
    }
}

/// The elements of a `-list`.
fn split_list(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| c == ',' || c == ';' || c == '\0' || c.is_ascii_whitespace()).filter(|part| !part.is_empty())
}

/// Takes a property string (`virtio,bridge=vmbr0`) apart: key → value, aliases resolved, booleans as `1` and `0`.
/// `path` is the parameter's name, for the messages.
///
/// # Errors
/// Proxmox's message, with its line ends.
pub fn parse_property_string(shape: &Shape, text: &str, path: &str) -> Result<BTreeMap<String, String>, String> {
    let mut out = BTreeMap::new();
    for part in text.split(',').filter(|part| !part.trim().is_empty()) {
        let Some((key, value)) = part.split_once('=') else {
            let key = shape.keys.iter().find(|(_, p)| p.default_key).map(|(key, _)| *key);
            let key = key.ok_or("value without key, but schema does not define a default key\n")?;
            if out.insert(key.to_owned(), part.to_owned()).is_some() {
                return Err(format!("duplicate key in comma-separated list property: {key}\n"));
            }
            continue;
        };
        if key.is_empty() || value.is_empty() {
            return Err("missing key in comma-separated list property\n".to_owned());
        }
        let mut name = key;
        if out.contains_key(key) {
            return Err(format!("duplicate key in comma-separated list property: {key}\n"));
        }
        let mut property = shape.key(key);
        if let Some((alias, found)) = property.and_then(|p| Some((p.alias?, p))) {
            if let Some(sets) = found.sets
                && out.insert(sets.to_owned(), key.to_owned()).is_some()
            {
                return Err(format!("key alias '{sets}' is already defined\n"));
            }
            (name, property) = (alias, shape.key(alias));
        }
        let value = match property {
            Some(p) if p.kind == Kind::Boolean => match value.to_ascii_lowercase().as_str() {
                "1" | "on" | "yes" | "true" => "1",
                "0" | "off" | "no" | "false" => "0",
                _ => value,
            },
            _ => value,
        };
        out.insert(name.to_owned(), value.to_owned());
    }
    let mut errors = Errors::new();
    for (key, property) in &shape.keys {
        match out.get(*key) {
            Some(value) => check(&format!("{path}.{key}"), property, &Given::Text(value.clone()), &mut errors),
            None if property.optional || property.alias.is_some() => {}
            None => add(&mut errors, &format!("{path}.{key}"), "property is missing and it is not optional".to_owned()),
        }
    }
    for key in out.keys() {
        let full = format!("{path}.{key}");
        match shape.key(key) {
            None => add(&mut errors, &full, UNDEFINED.to_owned()),
            Some(property) => {
                if let Some(other) = property.requires.filter(|other| !out.contains_key(*other)) {
                    let message = format!("missing property - '{full}' requires this property");
                    add(&mut errors, &format!("{path}.{other}"), message);
                }
            }
        }
    }
    if errors.is_empty() {
        return Ok(out);
    }
    let lines: String = errors.iter().map(|(path, message)| format!("{path}: {message}\n")).collect();
    Err(format!("format error\n{lines}"))
}

fn is_integer(value: &str) -> bool {
    let digits = value.strip_prefix(['+', '-']).unwrap_or(value);
    !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit())
}

fn is_number(value: &str) -> bool {
    let looks = value.strip_prefix(['+', '-']).unwrap_or(value).starts_with(|c: char| c.is_ascii_digit() || c == '.');
    looks && value.parse::<f64>().is_ok()
}
