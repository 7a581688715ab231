//! Firewalls: of a guest, of a node, of the cluster. What is the same at every level is here: where its addresses are, and
//! what it consists of.

mod change;
mod guest;
mod log;
mod objects;
mod objects_set;
mod rule;
mod scopes;

use serde_json::{Map, Value};

use self::rule::{Row, Rule};
use crate::{
    pve::{GuestKind, encode},
    tool::*,
};

pub const TOOLS: &[Entry] = &[
    Entry::query::<guest::Get>(),
    Entry::action::<guest::Set>(),
    Entry::query::<scopes::Get>(),
    Entry::action::<scopes::Set>(),
    Entry::action::<scopes::RuleDelete>(),
    Entry::query::<objects::Objects>(),
    Entry::action::<objects_set::ObjectSet>(),
    Entry::action::<objects_set::ObjectDelete>(),
    Entry::query::<log::Log>(),
];

/// Whose firewall it is.
enum Level {
    Cluster,
    Node(String),
    Guest(Guest),
}

impl Level {
    /// The guest's where one is named, else the node's, else the cluster's.
    async fn of(pve: &Reader<'_>, vmid: Option<u32>, node: Option<&str>) -> Result<Self> {
        Ok(match (vmid, node) {
            (Some(vmid), node) => {
                let guest = GuestRef { node: node.map(str::to_owned), ..GuestRef::vmid(vmid) };
                Self::Guest(pve.guest(&guest, Want::Any).await?)
            }
            (None, Some(node)) => Self::Node(node.to_owned()),
            (None, None) => Self::Cluster,
        })
    }

    fn path(&self, rest: &str) -> String {
        match self {
            Self::Cluster => format!("/cluster/firewall/{rest}"),
            Self::Node(node) => format!("/nodes/{}/firewall/{rest}", encode(node)),
            Self::Guest(guest) => guest.path(format!("firewall/{rest}")),
        }
    }

    /// The same as the API's table has it.
    fn template(&self, rest: &str) -> String {
        match self {
            Self::Cluster => format!("/cluster/firewall/{rest}"),
            Self::Node(_) => format!("/nodes/{{node}}/firewall/{rest}"),
            Self::Guest(guest) if guest.kind == GuestKind::Lxc => {
                format!("/nodes/{{node}}/lxc/{{vmid}}/firewall/{rest}")
            }
            Self::Guest(_) => format!("/nodes/{{node}}/qemu/{{vmid}}/firewall/{rest}"),
        }
    }

    /// As a plan about it begins.
    fn plan(&self, verb: &str) -> Plan {
        match self {
            Self::Cluster => Plan::new(format!("{verb} the cluster's firewall")),
            Self::Node(node) => Plan::new(format!("{verb} the firewall of node {node}")).about("node", node.as_str()),
            Self::Guest(guest) => Plan::on(guest, &format!("{verb} the firewall of")),
        }
    }

    /// A firewall that was never touched: a node's is on, where the cluster's is.
    fn is_on(&self, options: &Map<String, Value>) -> bool {
        match options.get("enable") {
            None => matches!(self, Self::Node(_)),
            Some(Value::String(text)) => text != "0",
            Some(value) => value.as_bool().unwrap_or(value.as_i64() != Some(0)),
        }
    }
}

/// Options and rules as they are now, and the digest of the file that holds both.
struct State {
    options: Map<String, Value>,
    rules: Vec<Rule>,
    digest: Option<String>,
}

impl State {
    async fn read(pve: &Reader<'_>, level: &Level) -> Result<Self> {
        let (mut options, rules) =
            tokio::try_join!(pve.get::<Map<String, Value>>(level.path("options")), rules(pve, level.path("rules")))?;
        let digest = options.remove("digest").and_then(|d| d.as_str().map(str::to_owned));
        Ok(Self { options, rules, digest })
    }
}

/// A list of rules, the first first.
async fn rules(pve: &Reader<'_>, path: String) -> Result<Vec<Rule>> {
    let mut rows: Vec<Map<String, Value>> = pve.get(path).await?;
    rows.sort_by_key(|row| row.get("pos").and_then(position));
    Ok(rows.into_iter().map(Rule::listed).collect())
}

fn position(value: &Value) -> Option<u64> {
    value.as_u64().or_else(|| value.as_str()?.parse().ok())
}

#[derive(Serialize, JsonSchema)]
pub struct Firewall {
    #[serde(skip_serializing_if = "Option::is_none")]
    vmid: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    node: Option<String>,
    /// As its options say; see also notes.
    enabled: bool,
    /// What differs from Proxmox's defaults.
    #[serde(skip_serializing_if = "Map::is_empty")]
    options: Map<String, Value>,
    total: usize,
    /// The first that fits decides.
    rules: Vec<Row>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    aliases: Vec<objects::Alias>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    ipsets: Vec<objects::Named>,
    /// What keeps it from filtering.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    notes: Vec<String>,
}

impl Firewall {
    fn new(level: &Level, state: State) -> Self {
        let (vmid, name, node) = match level {
            Level::Cluster => (None, None, None),
            Level::Node(node) => (None, None, Some(node.clone())),
            Level::Guest(guest) => (Some(guest.vmid), guest.name.clone(), Some(guest.node.clone())),
        };
        let enabled = level.is_on(&state.options);
        let rules: Vec<Row> = state.rules.iter().enumerate().map(|(pos, rule)| rule.row(pos)).collect();
        let mut options = state.options;
        options.shift_remove("enable");
        Self {
            vmid,
            name,
            node,
            enabled,
            options,
            total: rules.len(),
            rules,
            aliases: Vec::new(),
            ipsets: Vec::new(),
            notes: Vec::new(),
        }
    }
}

/// Whether the cluster's firewall is on, where the credentials may know.
async fn cluster_is_on(pve: &Reader<'_>) -> Option<bool> {
    let options: Map<String, Value> = pve.get("/cluster/firewall/options").await.ok()?;
    Some(Level::Cluster.is_on(&options))
}
