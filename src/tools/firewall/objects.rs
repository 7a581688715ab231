//! What rules refer to: security groups, IP sets and aliases.

use futures::future::try_join_all;

use super::{Level, Row, rules};
use crate::{pve::encode, tool::*};

/// List what firewall rules can name: security groups, IP sets, aliases.
#[derive(Deserialize, JsonSchema)]
pub struct Objects {
    #[schemars(range(min = 100, max = 999_999_999))]
    vmid: Option<u32>,
}

impl Tool for Objects {
    const NAME: &str = "proxmox-firewall-objects";
    const TITLE: &str = "Security groups, IP sets, aliases";
    const API: &[&str] = &[
        "GET /cluster/firewall/groups",
        "GET /cluster/firewall/groups/{group}",
        "GET /cluster/firewall/ipset",
        "GET /cluster/firewall/ipset/{name}",
        "GET /cluster/firewall/aliases",
        "GET /cluster/firewall/refs",
        "GET /nodes/{node}/{type}/{vmid}/firewall/ipset",
        "GET /nodes/{node}/{type}/{vmid}/firewall/ipset/{name}",
        "GET /nodes/{node}/{type}/{vmid}/firewall/aliases",
        "GET /nodes/{node}/{type}/{vmid}/firewall/refs",
    ];
    const EXAMPLE: (&str, &str) = ("Which security groups do we have?", r#"{}"#);
}

/// A row of `GET …/aliases`.
#[derive(Deserialize, Serialize, JsonSchema)]
pub struct Alias {
    pub name: String,
    pub cidr: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
    #[serde(skip_serializing)]
    pub digest: Option<String>,
}

/// A row of `GET …/ipset` or, under another name, of `GET /cluster/firewall/groups`.
#[derive(Deserialize, Serialize, JsonSchema)]
pub struct Named {
    #[serde(alias = "group")]
    pub name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
    #[serde(skip_serializing)]
    pub digest: Option<String>,
}

/// A row of `GET …/ipset/{name}`.
#[derive(Deserialize, Serialize, JsonSchema)]
pub struct Member {
    pub cidr: String,
    /// Excluded.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub nomatch: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
}

#[derive(Serialize, JsonSchema)]
pub struct Listed {
    total: usize,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    groups: Vec<Group>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    ipsets: Vec<Set>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    aliases: Vec<Alias>,
    /// As source and dest of rules here may name them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    refs: Vec<String>,
}

#[derive(Serialize, JsonSchema)]
struct Group {
    name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    comment: Option<String>,
    rules: Vec<Row>,
}

#[derive(Serialize, JsonSchema)]
struct Set {
    name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    comment: Option<String>,
    members: Vec<Member>,
}

/// A row of `GET …/refs`.
#[derive(Deserialize)]
struct Ref {
    r#ref: String,
}

pub fn group_path(name: &str) -> String {
    format!("/cluster/firewall/groups/{}", encode(name))
}

pub fn set_path(level: &Level, name: &str) -> String {
    level.path(&format!("ipset/{}", encode(name)))
}

impl Query for Objects {
    type Output = Listed;
    async fn query(&self, pve: &Reader<'_>) -> Result<Listed> {
        let level = Level::of(pve, self.vmid, None).await?;
        let groups = async {
            match level {
                Level::Cluster => pve.get::<Vec<Named>>("/cluster/firewall/groups").await,
                _ => Ok(Vec::new()),
            }
        };
        let (groups, sets, aliases, refs) = tokio::try_join!(
            groups,
            pve.get::<Vec<Named>>(level.path("ipset")),
            pve.get::<Vec<Alias>>(level.path("aliases")),
            pve.get::<Vec<Ref>>(level.path("refs")),
        )?;
        let groups = groups.into_iter().map(async |named: Named| {
            let rules = rules(pve, group_path(&named.name)).await?;
            let rules = rules.iter().enumerate().map(|(pos, rule)| rule.row(pos)).collect();
            Ok::<_, Error>(Group { name: named.name, comment: named.comment, rules })
        });
        let sets = sets.into_iter().map(async |named: Named| {
            let members = pve.get(set_path(&level, &named.name)).await?;
            Ok::<_, Error>(Set { name: named.name, comment: named.comment, members })
        });
        let (mut groups, mut ipsets) = tokio::try_join!(try_join_all(groups), try_join_all(sets))?;
        groups.sort_by(|a, b| a.name.cmp(&b.name));
        ipsets.sort_by(|a, b| a.name.cmp(&b.name));
        let total = groups.len() + ipsets.len() + aliases.len();
        Ok(Listed { total, groups, ipsets, aliases, refs: refs.into_iter().map(|r| r.r#ref).collect() })
    }
}
