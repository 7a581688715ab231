//! What is known of one parameter, of one key of a property string, and of a named format.

use std::sync::{Arc, OnceLock};

use regex::bytes::{Regex, RegexBuilder};

/// A parameter, or a key of a property string.
#[derive(Debug, Default)]
pub struct Property {
    /// Of the elements, where it is an array.
    pub kind: Kind,
    pub array: bool,
    pub optional: bool,
    /// May stand in a property string without `key=`.
    pub default_key: bool,
    pub format: Option<FormatUse>,
    /// The bounds as they are written in messages.
    pub minimum: Option<&'static str>,
    pub maximum: Option<&'static str>,
    /// In characters.
    pub min_length: Option<usize>,
    pub max_length: Option<usize>,
    /// The only values allowed; empty: any.
    pub values: Vec<String>,
    pub pattern: Option<Pattern>,
    pub default: Option<&'static str>,
    /// Another parameter that has to be given along with this one.
    pub requires: Option<&'static str>,
    /// Belongs only to these values of another parameter.
    pub only: Option<(&'static str, Vec<String>)>,
    /// Another name of this key.
    pub alias: Option<&'static str>,
    /// The key that gets this key's name for its value: `virtio=MAC` sets `model=virtio`.
    pub sets: Option<&'static str>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Kind {
    #[default]
    String,
    Integer,
    Number,
    Boolean,
}

impl Kind {
    pub fn name(self) -> &'static str {
        match self {
            Self::String => "string",
            Self::Integer => "integer",
            Self::Number => "number",
            Self::Boolean => "boolean",
        }
    }
}

/// How a value uses a format.
#[derive(Debug)]
pub struct FormatUse {
    /// Empty for a property string without a name.
    pub name: &'static str,
    /// A list, every element of which is of the format.
    pub list: bool,
    /// The empty text is allowed too.
    pub opt: bool,
    pub format: Arc<Format>,
}

#[derive(Debug)]
pub enum Format {
    /// A property string, `key=value,key=value`.
    Keys(Shape),
    Rule(Rule),
}

/// The keys of a property string.
#[derive(Debug)]
pub struct Shape {
    pub keys: Vec<(&'static str, Property)>,
}

impl Shape {
    pub fn key(&self, name: &str) -> Option<&Property> {
        self.keys.iter().find(|(known, _)| *known == name).map(|(_, property)| property)
    }
}

/// A format with a name: by pattern, by enumeration, or by what [`super::format`] knows of it.
#[derive(Debug)]
pub struct Rule {
    pub name: String,
    pub pattern: Option<Pattern>,
    pub values: Vec<String>,
    /// What Proxmox says of a value that is not of this format; `{v}` stands for the value.
    pub error: Option<&'static str>,
}

impl Rule {
    pub(super) fn read(name: &str, facts: &[(&'static str, &'static str)]) -> Self {
        let mut rule = Self { name: name.to_owned(), pattern: None, values: Vec::new(), error: None };
        for (fact, value) in facts {
            match *fact {
                "re" => rule.pattern = Some(Pattern::new(value)),
                "enum" => rule.values = enumeration(value),
                "err" => rule.error = Some(value),
                _ => {}
            }
        }
        rule
    }
}

impl Property {
    /// Adds one fact in the table's notation.
    pub(super) fn add(&mut self, fact: &'static str, value: &'static str) {
        match fact {
            "key" => self.default_key = true,
            "range" => (self.minimum, self.maximum) = bounds(value),
            "len" => {
                let (least, most) = bounds(value);
                self.min_length = least.and_then(|n| n.parse().ok());
                self.max_length = most.and_then(|n| n.parse().ok());
            }
            "enum" => self.values = enumeration(value),
            "pattern" => self.pattern = Some(Pattern::new(value)),
            "default" => self.default = Some(value),
            "requires" => self.requires = Some(value),
            "only" => self.only = value.split_once(':').map(|(by, types)| (by, enumeration(types))),
            "alias" => self.alias = Some(value),
            "sets" => self.sets = Some(value),
            kind => {
                let (kind, optional) = kind.strip_suffix('?').map_or((kind, false), |kind| (kind, true));
                let (kind, array) = kind.strip_suffix("[]").map_or((kind, false), |kind| (kind, true));
                (self.optional, self.array) = (optional, array);
                self.kind = match kind {
                    "integer" => Kind::Integer,
                    "number" => Kind::Number,
                    "boolean" => Kind::Boolean,
                    _ => Kind::String,
                };
            }
        }
    }
}

fn bounds(text: &'static str) -> (Option<&'static str>, Option<&'static str>) {
    let (least, most) = text.split_once("..").unwrap_or((text, ""));
    (Some(least).filter(|t| !t.is_empty()), Some(most).filter(|t| !t.is_empty()))
}

fn enumeration(text: &str) -> Vec<String> {
    let mut out = Vec::new();
    for part in text.split('|') {
        let run = part.strip_suffix('}').and_then(|p| p.split_once('{'));
        match run.and_then(|(stem, run)| Some((stem, run.split_once("..")?))) {
            Some((stem, (first, last))) => {
                let (first, last) = (first.parse().unwrap_or(0), last.parse().unwrap_or(0_u32));
                out.extend((first..=last).map(|n| format!("{stem}{n}")));
            }
            None => out.push(part.to_owned()),
        }
    }
    out
}

/// A Perl pattern of the table, anchored at both ends; compiled when it is first used.
#[derive(Debug)]
pub struct Pattern {
    pub text: &'static str,
    compiled: OnceLock<Option<Regex>>,
}

impl Pattern {
    fn new(text: &'static str) -> Self {
        Self { text, compiled: OnceLock::new() }
    }

    /// `None` where the pattern uses what the regex crate has not.
    pub fn matches(&self, value: &str) -> Option<bool> {
        let compiled = self.compiled.get_or_init(|| {
            let mut text = self.text.replace("(?^:", "(?:").replace("(?^u:", "(?:").replace("(?^i:", "(?i:");
            for (perl, ours) in [("(?>", "(?:"), ("{,", "{0,"), ("(?!\\n)", ""), ("\\0\\w", "\\x00\\w")] {
                text = text.replace(perl, ours);
            }
            RegexBuilder::new(&format!("^(?:{text})$")).unicode(false).build().ok()
        });
        compiled.as_ref().map(|regex| regex.is_match(value.as_bytes()))
    }
}

/// How many devices of a numbered parameter there may be.
fn how_many(stem: &str) -> usize {
    match stem {
        "net" | "ipconfig" => 32,
        "scsi" => 31,
        "virtio" | "hostpci" => 16,
        "usb" => 14,
        "virtiofs" => 10,
        "numa" | "link" => 8,
        "sata" | "acmedomain" => 6,
        "ide" | "serial" => 4,
        "parallel" => 3,
        _ => 256,
    }
}

/// Whether a parameter of the table, perhaps `net[n]`, has this name, perhaps `net0`.
pub(super) fn names(known: &str, name: &str) -> bool {
    let Some(stem) = known.strip_suffix("[n]") else { return known == name };
    name.strip_prefix(stem)
        .is_some_and(|index| index.parse::<usize>().is_ok_and(|n| n < how_many(stem) && n.to_string() == index))
}
