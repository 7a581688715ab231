//! The table of facts and its notation.
//!
//! One line per named format, shared property string, parameter and method, in four parts:
//!
//! - `[formats]` — `name re=… enum=… err=…`; where indented lines follow, it is a property string with those keys.
//! - `[shapes]` — property strings without a name of their own, named after the parameter that has them.
//! - `[properties]` — `name type facts…`: `?` marks an optional one, `[]` an array, `key` the key that may stand without
//!   its name, `range=1..8`, `len=..40`, `only=type:a|b` (belongs to those values of `type`), `format=name` or
//!   `format=@shape`. Different parameters of one name are told apart by `#2`, `#3` ….
//! - `[endpoints]` — `METHOD path name flags | access | parameters | tasks`.
//!
//! A value with a space in it stands between backquotes. `mp{0..255}` in an enumeration is `mp0`, `mp1` … `mp255`.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, OnceLock},
};

use http::Method;

use super::{Access, Endpoint, Format, FormatUse, Property, Rule, Shape};

const TABLE: &str = include_str!("table.txt");

/// The table, indexed; a method's line is read when it is first asked for.
#[derive(Debug)]
pub struct Api {
    formats: HashMap<&'static str, Entry<Format>>,
    shapes: HashMap<&'static str, Entry<Format>>,
    properties: HashMap<&'static str, Entry<Property>>,
    endpoints: Vec<(&'static str, OnceLock<Option<Arc<Endpoint>>>)>,
    nodes: Vec<Node>,
}

/// A line of the table (and the indented ones below it), and what was read from it.
#[derive(Debug)]
struct Entry<T> {
    line: &'static str,
    below: Vec<&'static str>,
    read: OnceLock<Arc<T>>,
}

/// One segment of the tree of paths.
#[derive(Debug, Default)]
struct Node {
    /// As it is written: `nodes`, `{node}`.
    segment: &'static str,
    literal: BTreeMap<&'static str, usize>,
    param: Option<usize>,
    rest: Option<usize>,
    methods: Vec<(&'static str, usize)>,
}

/// Proxmox lets these last parameters have slashes in them.
pub(super) fn takes_the_rest(segment: &str) -> bool {
    matches!(segment, "{volume}" | "{cidr}")
}

impl Api {
    /// The table that is built in: PVE 9.2.
    pub fn embedded() -> Self {
        let mut api = Self {
            formats: HashMap::new(),
            shapes: HashMap::new(),
            properties: HashMap::new(),
            endpoints: Vec::new(),
            nodes: vec![Node::default()],
        };
        let mut part = "";
        let mut last = "";
        for line in TABLE.lines().filter(|l| !l.starts_with('#')) {
            if line.starts_with('[') {
                part = line;
                continue;
            }
            let name = line.split(' ').next().unwrap_or_default();
            match part {
                "[formats]" => add(&mut api.formats, &mut last, name, line),
                "[shapes]" => add(&mut api.shapes, &mut last, name, line),
                "[properties]" => add(&mut api.properties, &mut last, name, line),
                _ => api.add_endpoint(line),
            }
        }
        api
    }

    fn add_endpoint(&mut self, line: &'static str) {
        let mut words = line.split(' ');
        let (Some(method), Some(path)) = (words.next(), words.next()) else { return };
        let mut at = 0;
        for segment in path.split('/').filter(|s| !s.is_empty()) {
            let next = self.nodes.len();
            let node = &mut self.nodes[at];
            at = if takes_the_rest(segment) {
                *node.rest.get_or_insert(next)
            } else if segment.starts_with('{') {
                *node.param.get_or_insert(next)
            } else {
                *node.literal.entry(segment).or_insert(next)
            };
            if at == next {
                self.nodes.push(Node { segment, ..Node::default() });
            }
        }
        self.nodes[at].methods.push((method, self.endpoints.len()));
        self.endpoints.push((line, OnceLock::new()));
    }

    /// The method that answers for a path, which is relative to `/api2/json`, begins with `/` and is decoded already
    /// (Proxmox decodes before it splits), and the parameters in that path.
    pub fn lookup(&self, method: &Method, path: &str) -> Option<(Arc<Endpoint>, BTreeMap<&'static str, String>)> {
        let (at, rest) = self.descend(path);
        if !rest.is_empty() {
            return None;
        }
        let (_, index) = self.nodes[at].methods.iter().find(|(m, _)| *m == method.as_str())?;
        let endpoint = self.read_endpoint(*index)?;
        let params = endpoint.path_params(path);
        Some((endpoint, params))
    }

    /// Every method that answers for a path, which is as in [`Api::lookup`].
    pub fn methods(&self, path: &str) -> Vec<Arc<Endpoint>> {
        let (at, rest) = self.descend(path);
        let found = rest.is_empty().then(|| self.nodes[at].methods.iter());
        found.into_iter().flatten().filter_map(|(_, index)| self.read_endpoint(*index)).collect()
    }

    /// What may follow the known part of a path: how many of its segments are known, and the next ones.
    pub fn below(&self, path: &str) -> (usize, Vec<&'static str>) {
        let (at, rest) = self.descend(path);
        let known = path.split('/').filter(|s| !s.is_empty()).count() - rest.len();
        let node = &self.nodes[at];
        let variable = node.param.into_iter().chain(node.rest).map(|next| self.nodes[next].segment);
        (known, variable.chain(node.literal.keys().copied()).collect())
    }

    /// As far as a path is known, and the segments that are not.
    fn descend<'a>(&self, path: &'a str) -> (usize, Vec<&'a str>) {
        let mut at = 0;
        let mut left = path.split('/').filter(|s| !s.is_empty());
        while let Some(segment) = left.next() {
            let node = &self.nodes[at];
            match (node.literal.get(segment).copied().or(node.param), node.rest) {
                (Some(next), _) => at = next,
                (None, Some(rest)) => return (rest, Vec::new()),
                (None, None) => return (at, std::iter::once(segment).chain(left).collect()),
            }
        }
        (at, Vec::new())
    }

    /// The method of exactly this template, such as `/nodes/{node}/qemu`.
    pub fn endpoint(&self, method: &Method, template: &str) -> Option<Arc<Endpoint>> {
        self.lookup(method, template).map(|(endpoint, _)| endpoint).filter(|e| e.path == template)
    }

    /// All methods, read.
    pub fn endpoints(&self) -> impl Iterator<Item = Arc<Endpoint>> {
        (0..self.endpoints.len()).filter_map(|index| self.read_endpoint(index))
    }

    /// A named format, such as `pve-storage-id`, without a `-list` or `-opt` suffix.
    pub fn format(&self, name: &str) -> Option<Arc<Format>> {
        let entry = self.formats.get(name)?;
        Some(entry.read.get_or_init(|| Arc::new(self.read_format(name, entry))).clone())
    }

    fn shape(&self, name: &str) -> Option<Arc<Format>> {
        let entry = self.shapes.get(name)?;
        Some(entry.read.get_or_init(|| Arc::new(self.read_format(name, entry))).clone())
    }

    fn read_format(&self, name: &str, entry: &Entry<Format>) -> Format {
        if entry.below.is_empty() {
            let facts: Vec<_> = Facts(entry.line).skip(1).collect();
            return Format::Rule(Rule::read(name, &facts));
        }
        let keys = entry.below.iter().map(|line| {
            let mut facts = Facts(line.trim_start());
            let name = facts.next().map(|(name, _)| name).unwrap_or_default();
            (name, self.read_property(facts))
        });
        Format::Keys(Shape { keys: keys.collect() })
    }

    fn read_property(&self, facts: Facts) -> Property {
        let mut property = Property::default();
        for (fact, value) in facts {
            if fact != "format" {
                property.add(fact, value);
                continue;
            }
            property.format = if let Some(shape) = value.strip_prefix('@') {
                self.shape(shape).map(|format| FormatUse { name: "", list: false, opt: false, format })
            } else {
                let (name, list, opt) = match (value.strip_suffix("-list"), value.strip_suffix("-opt")) {
                    (Some(name), _) => (name, true, false),
                    (_, Some(name)) => (name, false, true),
                    _ => (value, false, false),
                };
                self.format(name).map(|format| FormatUse { name, list, opt, format })
            };
        }
        property
    }

    fn read_endpoint(&self, index: usize) -> Option<Arc<Endpoint>> {
        let (line, read) = &self.endpoints[index];
        read.get_or_init(|| {
            let mut fields = line.split(" | ").map(|f| f.trim_end_matches(" |"));
            let mut head = fields.next()?.split(' ');
            let (method, path, name) = (head.next()?, head.next()?, head.next()?);
            let mut endpoint = Endpoint {
                method: Method::from_bytes(method.as_bytes()).ok()?,
                path,
                name,
                params: Vec::new(),
                open: false,
                allow_token: true,
                protected: false,
                proxy_to: None,
                access: Access::read(fields.next()?),
                tasks: Vec::new(),
            };
            for flag in head {
                match flag {
                    "open" => endpoint.open = true,
                    "notoken" => endpoint.allow_token = false,
                    "protected" => endpoint.protected = true,
                    other => endpoint.proxy_to = other.strip_prefix("proxyto=").or(endpoint.proxy_to),
                }
            }
            for key in fields.next().unwrap_or_default().split(' ').filter(|k| !k.is_empty()) {
                let entry = self.properties.get(key)?;
                let property = entry.read.get_or_init(|| {
                    let mut facts = Facts(entry.line);
                    facts.next();
                    Arc::new(self.read_property(facts))
                });
                endpoint.params.push((key.split('#').next().unwrap_or(key), property.clone()));
            }
            endpoint.tasks = fields.flat_map(|f| f.split("; ")).filter_map(|t| t.split_once(':')).collect();
            Some(Arc::new(endpoint))
        })
        .clone()
    }
}

fn add<T>(map: &mut HashMap<&'static str, Entry<T>>, last: &mut &'static str, name: &'static str, line: &'static str) {
    if name.is_empty() {
        if let Some(entry) = map.get_mut(last) {
            entry.below.push(line);
        }
        return;
    }
    *last = name;
    map.insert(name, Entry { line, below: Vec::new(), read: OnceLock::new() });
}

/// The facts of a line: `key=value`, or a word alone, whose value is empty.
#[derive(Clone)]
pub(super) struct Facts(pub &'static str);

impl Iterator for Facts {
    type Item = (&'static str, &'static str);

    fn next(&mut self) -> Option<Self::Item> {
        let text = self.0.trim_start();
        if text.is_empty() {
            return None;
        }
        let end = text.find([' ', '=']).unwrap_or(text.len());
        let (word, rest) = text.split_at(end);
        let Some(value) = rest.strip_prefix('=') else {
            self.0 = rest;
            return Some((word, ""));
        };
        let (value, rest) = match value.strip_prefix('`').and_then(|v| v.split_once('`')) {
            Some(quoted) => quoted,
            None => value.split_once(' ').unwrap_or((value, "")),
        };
        self.0 = rest;
        Some((word, value))
    }
}
