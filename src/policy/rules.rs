//! Rules about guests and names, as the operator writes them: `100-199`, `pool:dev`, `tag:web`, `node:pve1`, `name:web-*`.

use crate::toolsets::matches;

/// A guest as far as rules ask for it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Fact {
    pub vmid: u32,
    pub name: Option<String>,
    pub node: Option<String>,
    pub pool: Option<String>,
    pub tags: Vec<String>,
    /// Proxmox's own flag.
    pub protection: bool,
}

/// Rules, any of which may fit; each keeps the words that it was written in.
#[derive(Debug, Clone, Default)]
pub struct Rules(Vec<(String, Rule)>);

#[derive(Debug, Clone)]
enum Rule {
    Vmids(u32, u32),
    Pool(String),
    Tag(String),
    Node(String),
    Name(String),
}

impl Rules {
    /// A list separated by commas; `None` where a part is none of the forms.
    pub fn parse(text: &str) -> Option<Self> {
        let parts = text.split(',').map(str::trim).filter(|part| !part.is_empty());
        parts.map(|part| Some((part.to_owned(), Rule::parse(part)?))).collect::<Option<Vec<_>>>().map(Self)
    }

    pub const FORMS: &str =
        "VMIDs and ranges (100, 200-299), pool:NAME, tag:NAME, node:NAME or name:PATTERN, separated by commas";

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether any of them is about a pool.
    pub fn name_pools(&self) -> bool {
        self.0.iter().any(|(_, rule)| matches!(rule, Rule::Pool(_)))
    }

    /// The first rule that this guest fits, as it was written.
    pub fn fit(&self, guest: &Fact) -> Option<&str> {
        self.0.iter().find(|(_, rule)| rule.fits(guest)).map(|(text, _)| text.as_str())
    }

    /// The rules as they were written.
    pub fn text(&self) -> String {
        self.0.iter().map(|(text, _)| text.as_str()).collect::<Vec<_>>().join(",")
    }
}

impl Rule {
    fn parse(text: &str) -> Option<Self> {
        if let Some((what, value)) = text.split_once(':') {
            let value = value.trim().to_owned();
            return match what.trim() {
                _ if value.is_empty() => None,
                "pool" => Some(Self::Pool(value)),
                "tag" => Some(Self::Tag(value)),
                "node" => Some(Self::Node(value)),
                "name" => Some(Self::Name(value)),
                "vmid" => Self::parse(&value),
                _ => None,
            };
        }
        let (from, to) = text.split_once('-').unwrap_or((text, text));
        let (from, to) = (from.trim().parse().ok()?, to.trim().parse().ok()?);
        (from <= to).then_some(Self::Vmids(from, to))
    }

    fn fits(&self, guest: &Fact) -> bool {
        let is = |pattern: &str, value: &Option<String>| value.as_ref().is_some_and(|value| matches(pattern, value));
        match self {
            Self::Vmids(from, to) => (*from..=*to).contains(&guest.vmid),
            Self::Pool(pool) => is(pool, &guest.pool),
            // Proxmox keeps tags in lower case unless it is told otherwise.
            Self::Tag(tag) => guest.tags.iter().any(|have| matches(&tag.to_lowercase(), &have.to_lowercase())),
            Self::Node(node) => is(node, &guest.node),
            Self::Name(name) => is(name, &guest.name),
        }
    }
}

/// Names that are allowed, with `*` for any characters; none given: all.
#[derive(Debug, Clone, Default)]
pub struct Names(Vec<String>);

impl Names {
    pub fn parse(text: &str) -> Option<Self> {
        let names: Vec<String> = text.split(',').map(|name| name.trim().to_owned()).filter(|n| !n.is_empty()).collect();
        (!names.is_empty()).then_some(Self(names))
    }
    pub fn allow(&self, name: &str) -> bool {
        self.0.is_empty() || self.0.iter().any(|pattern| matches(pattern, name))
    }
    /// The names as they were written.
    pub fn text(&self) -> String {
        self.0.join(",")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_guest_is_known_by_any_of_its_marks() {
        let guest = Fact {
            vmid: 150,
            name: Some("web-01".to_owned()),
            node: Some("pve1".to_owned()),
            pool: Some("dev".to_owned()),
            tags: vec!["Blue".to_owned()],
            protection: false,
        };
        for (rules, fits) in [
            ("150", Some("150")),
            ("1-9, 100-199", Some("100-199")),
            ("vmid:150", Some("vmid:150")),
            ("pool:dev", Some("pool:dev")),
            ("tag:blue", Some("tag:blue")),
            ("node:pve2,name:web-*", Some("name:web-*")),
            ("151-200,pool:prod,tag:red,node:pve2,name:db*", None),
            ("", None),
        ] {
            assert_eq!(Rules::parse(rules).unwrap_or_default().fit(&guest), fits, "{rules}");
        }
    }

    #[test]
    fn what_is_no_rule_is_refused() {
        for text in ["web-01", "200-100", "pool:", "colour:red", "-5", "100-"] {
            assert!(Rules::parse(text).is_none(), "{text}");
        }
    }
}
