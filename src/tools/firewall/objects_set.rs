//! Security groups, IP sets and aliases: made, changed, deleted.

use serde_json::{Value, json};

use super::{
    Level,
    change::{self, List},
    objects::{Alias, Member, Named, group_path, set_path},
    rule::Rule,
    rules,
};
use crate::{pve::encode, tool::*};

#[derive(Deserialize, JsonSchema, Clone, Copy, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
enum Kind {
    Group,
    Ipset,
    Alias,
}

impl Kind {
    fn word(self) -> &'static str {
        match self {
            Self::Group => "security group",
            Self::Ipset => "IP set",
            Self::Alias => "alias",
        }
    }

    /// The arguments that name one.
    fn arguments(self, name: &str, vmid: Option<u32>) -> Value {
        let kind = match self {
            Self::Group => "group",
            Self::Ipset => "ipset",
            Self::Alias => "alias",
        };
        match vmid {
            Some(vmid) => json!({"kind": kind, "name": name, "vmid": vmid}),
            None => json!({"kind": kind, "name": name}),
        }
    }

    /// The call that makes one what it was.
    fn before(self, name: &str, vmid: Option<u32>, was: &Was<'_>) -> Undo {
        let mut arguments = self.arguments(name, vmid);
        if let Some(members) = &was.members {
            arguments["members"] = members.clone().into();
        }
        if let Some(comment) = was.comment {
            arguments["comment"] = comment.into();
        }
        let undo = Undo::call(ObjectSet::NAME, arguments);
        if was.comments { undo.note("not the comments of its members") } else { undo }
    }

    /// The firewall that holds it.
    async fn level(self, pve: &Reader<'_>, vmid: Option<u32>) -> Result<Level> {
        if self == Self::Group && vmid.is_some() {
            return Err(Error::bad_argument("vmid: security groups are the cluster's; leave it out"));
        }
        Level::of(pve, vmid, None).await
    }
}

/// What an object was.
#[derive(Default)]
struct Was<'a> {
    members: Option<Vec<Value>>,
    comment: Option<&'a str>,
    /// Its members have comments.
    comments: bool,
}

/// The last is sent first: Proxmox puts each new one on top.
fn addresses_again(members: &[Member]) -> Vec<Value> {
    members.iter().rev().map(|m| format!("{}{}", if m.nomatch { "!" } else { "" }, m.cidr).into()).collect()
}

/// Create or change a security group, IP set or alias of the cluster, or of a guest (vmid).
#[derive(Deserialize, JsonSchema)]
pub struct ObjectSet {
    kind: Kind,
    #[schemars(length(min = 2, max = 64))]
    name: String,
    #[schemars(range(min = 100, max = 999_999_999))]
    vmid: Option<u32>,
    /// All of them: rules, CIDRs, or one CIDR.
    #[schemars(schema_with = "change::rules")]
    #[serde(default)]
    members: Option<Vec<Value>>,
    comment: Option<String>,
}

impl Tool for ObjectSet {
    const NAME: &str = "proxmox-firewall-object-set";
    const TITLE: &str = "Set a security group, IP set or alias";
    const API: &[&str] = &[
        "GET /cluster/firewall/groups",
        "POST /cluster/firewall/groups",
        "GET /cluster/firewall/groups/{group}",
        "POST /cluster/firewall/groups/{group}",
        "DELETE /cluster/firewall/groups/{group}/{pos}",
        "GET /cluster/firewall/ipset",
        "POST /cluster/firewall/ipset",
        "GET /cluster/firewall/ipset/{name}",
        "POST /cluster/firewall/ipset/{name}",
        "DELETE /cluster/firewall/ipset/{name}/{cidr}",
        "GET /cluster/firewall/aliases",
        "POST /cluster/firewall/aliases",
        "PUT /cluster/firewall/aliases/{name}",
        "GET /nodes/{node}/{type}/{vmid}/firewall/ipset",
        "POST /nodes/{node}/{type}/{vmid}/firewall/ipset",
        "GET /nodes/{node}/{type}/{vmid}/firewall/ipset/{name}",
        "POST /nodes/{node}/{type}/{vmid}/firewall/ipset/{name}",
        "DELETE /nodes/{node}/{type}/{vmid}/firewall/ipset/{name}/{cidr}",
        "GET /nodes/{node}/{type}/{vmid}/firewall/aliases",
        "POST /nodes/{node}/{type}/{vmid}/firewall/aliases",
        "PUT /nodes/{node}/{type}/{vmid}/firewall/aliases/{name}",
    ];
    const EXAMPLE: (&str, &str) = (
        "Make an IP set of our offices",
        r#"{"kind": "ipset", "name": "offices", "members": ["10.9.0.0/16", "192.0.2.7"], "comment": "who may log in", "confirm": true}"#,
    );
}

impl Action for ObjectSet {
    const EFFECT: Effect = Effect::Write;
    const CONTROL: Control = Control::instant().confirmed();
    async fn plan(&self, pve: &Reader<'_>) -> Result<Plan> {
        let level = self.kind.level(pve, self.vmid).await?;
        let mut plan = level.plan(&format!("set {} {} in", self.kind.word(), self.name));
        // Where it was there, what it was takes the place of this.
        plan.undo = Some(Undo::call(ObjectDelete::NAME, self.kind.arguments(&self.name, self.vmid)));
        let plan = match self.kind {
            Kind::Group => self.group(pve, plan).await?,
            Kind::Ipset => self.ipset(pve, &level, plan).await?,
            Kind::Alias => self.alias(pve, &level, plan).await?,
        };
        if plan.requests.is_empty() {
            return Err(Error::bad_argument(format!("nothing to change: {} is like that already", self.name)));
        }
        Ok(plan)
    }
}

impl ObjectSet {
    /// Makes what has a name and a comment, or changes the comment, which Proxmox does where it is renamed to itself.
    fn named(&self, plan: Plan, there: Option<&Named>, path: String, key: &'static str) -> Plan {
        let comment = self.comment.as_deref();
        match there {
            None => plan
                .change(self.kind.word(), None::<&str>, Some(self.name.as_str()))
                .step(Request::post(path).param(key, &self.name).maybe("comment", comment)),
            Some(named) if comment.is_some() && comment != named.comment.as_deref() => {
                let request = Request::post(path).param(key, &self.name).param("rename", &self.name);
                plan.change("comment", named.comment.clone(), comment)
                    .step(request.maybe("comment", comment).maybe("digest", named.digest.as_deref()))
            }
            Some(_) => plan,
        }
    }

    async fn group(&self, pve: &Reader<'_>, plan: Plan) -> Result<Plan> {
        let new =
            change::parse(pve.api(), "/cluster/firewall/groups/{group}", self.members.as_deref().unwrap_or_default())?;
        let groups: Vec<Named> = pve.get("/cluster/firewall/groups").await?;
        let there = groups.iter().find(|group| group.name == self.name);
        let plan = self.named(plan, there, "/cluster/firewall/groups".to_owned(), "group");
        let old = match there {
            Some(_) => rules(pve, group_path(&self.name)).await?,
            None => Vec::new(),
        };
        let changes = self.members.is_some() && new != old;
        let mut plan = plan;
        if let Some(there) = there {
            let members = changes.then(|| old.iter().map(Rule::fields_again).collect());
            let was = Was { members, comment: self.former(there.comment.as_deref()), comments: false };
            plan.undo = Some(self.kind.before(&self.name, None, &was));
        }
        if !changes {
            return Ok(plan);
        }
        let digest = there.and_then(|group| group.digest.as_deref());
        Ok(List { path: group_path(&self.name), rules: &old, digest }.change(plan, &new, true))
    }

    async fn ipset(&self, pve: &Reader<'_>, level: &Level, plan: Plan) -> Result<Plan> {
        let sets: Vec<Named> = pve.get(level.path("ipset")).await?;
        let there = sets.iter().find(|set| set.name == self.name);
        let mut plan = self.named(plan, there, level.path("ipset"), "name");
        let wanted = self.addresses()?;
        let old: Vec<Member> = match there {
            Some(_) if wanted.is_some() => pve.get(set_path(level, &self.name)).await?,
            _ => Vec::new(),
        };
        if let Some(there) = there {
            let members = wanted.is_some().then(|| addresses_again(&old));
            let comments = old.iter().any(|member| member.comment.is_some());
            let was = Was { members, comment: self.former(there.comment.as_deref()), comments };
            plan.undo = Some(self.kind.before(&self.name, self.vmid, &was));
        }
        let Some(wanted) = wanted else { return Ok(plan) };
        let same = |member: &Member, (cidr, nomatch): &(&str, bool)| member.cidr == *cidr && member.nomatch == *nomatch;
        // What goes, goes first: an address that is to be excluded from now on cannot be there twice.
        for member in old.iter().filter(|member| !wanted.iter().any(|new| same(member, new))) {
            let path = format!("{}/{}", set_path(level, &self.name), encode(&member.cidr));
            plan = plan
                .change("member", Some(shown(&member.cidr, member.nomatch)), None::<&str>)
                .step(Request::delete(path));
        }
        for (cidr, nomatch) in wanted.iter().filter(|new| !old.iter().any(|member| same(member, new))) {
            plan = plan
                .change("member", None::<&str>, Some(shown(cidr, *nomatch)))
                .step(Request::post(set_path(level, &self.name)).param("cidr", cidr).flag("nomatch", *nomatch));
        }
        Ok(plan)
    }

    async fn alias(&self, pve: &Reader<'_>, level: &Level, plan: Plan) -> Result<Plan> {
        let aliases: Vec<Alias> = pve.get(level.path("aliases")).await?;
        let there = aliases.iter().find(|alias| alias.name == self.name);
        let wanted = self.addresses()?.unwrap_or_default();
        let cidr = match (wanted.as_slice(), there) {
            ([(cidr, false)], _) => *cidr,
            ([], Some(alias)) => alias.cidr.as_str(),
            _ => {
                return Err(Error::bad_argument(
                    "members: expected the alias's one address or network, as in [\"10.9.0.0/16\"]",
                ));
            }
        };
        let comment = self.comment.as_deref();
        let mut plan = plan;
        if let Some(alias) = there {
            let was = Was {
                members: Some(vec![alias.cidr.as_str().into()]),
                comment: self.former(alias.comment.as_deref()),
                comments: false,
            };
            plan.undo = Some(self.kind.before(&self.name, self.vmid, &was));
        }
        Ok(match there {
            None => plan.change("alias", None::<&str>, Some(format!("{} {cidr}", self.name))).step(
                Request::post(level.path("aliases"))
                    .param("name", &self.name)
                    .param("cidr", cidr)
                    .maybe("comment", comment),
            ),
            Some(alias) if alias.cidr == cidr && comment.is_none_or(|c| Some(c) == alias.comment.as_deref()) => plan,
            Some(alias) => plan.change("cidr", Some(alias.cidr.as_str()), Some(cidr)).step(
                Request::put(level.path(&format!("aliases/{}", encode(&self.name))))
                    .param("cidr", cidr)
                    .maybe("comment", comment.or(alias.comment.as_deref()))
                    .maybe("digest", alias.digest.as_deref()),
            ),
        })
    }

    /// The comment that it had, where it gets another.
    fn former<'a>(&self, old: Option<&'a str>) -> Option<&'a str> {
        self.comment.as_deref().filter(|new| Some(*new) != old).map(|_| old.unwrap_or_default())
    }

    /// The members as addresses; true where excluded.
    fn addresses(&self) -> Result<Option<Vec<(&str, bool)>>> {
        let one = |member: &'_ Value| match member {
            Value::String(_) => Ok(()),
            other => Err(Error::bad_argument(format!("members: expected addresses or networks, got {other}"))),
        };
        let Some(members) = &self.members else { return Ok(None) };
        members.iter().try_for_each(one)?;
        let text = members.iter().filter_map(Value::as_str).map(str::trim);
        Ok(Some(text.map(|cidr| cidr.strip_prefix('!').map_or((cidr, false), |rest| (rest.trim(), true))).collect()))
    }
}

/// Delete a security group, IP set or alias with what it holds.
#[derive(Deserialize, JsonSchema)]
pub struct ObjectDelete {
    kind: Kind,
    name: String,
    #[schemars(range(min = 100, max = 999_999_999))]
    vmid: Option<u32>,
}

impl Tool for ObjectDelete {
    const NAME: &str = "proxmox-firewall-object-delete";
    const TITLE: &str = "Delete a security group, IP set or alias";
    const API: &[&str] = &[
        "GET /cluster/firewall/groups",
        "GET /cluster/firewall/groups/{group}",
        "DELETE /cluster/firewall/groups/{group}",
        "DELETE /cluster/firewall/groups/{group}/{pos}",
        "GET /cluster/firewall/ipset",
        "GET /cluster/firewall/ipset/{name}",
        "DELETE /cluster/firewall/ipset/{name}",
        "GET /cluster/firewall/aliases",
        "DELETE /cluster/firewall/aliases/{name}",
        "GET /nodes/{node}/{type}/{vmid}/firewall/ipset",
        "GET /nodes/{node}/{type}/{vmid}/firewall/ipset/{name}",
        "DELETE /nodes/{node}/{type}/{vmid}/firewall/ipset/{name}",
        "GET /nodes/{node}/{type}/{vmid}/firewall/aliases",
        "DELETE /nodes/{node}/{type}/{vmid}/firewall/aliases/{name}",
    ];
    const EXAMPLE: (&str, &str) =
        ("Delete the security group webserver", r#"{"kind": "group", "name": "webserver", "confirm": true}"#);
}

/// A member of an IP set; `!` excludes it.
fn shown(cidr: &str, nomatch: bool) -> String {
    format!("{}{cidr}", if nomatch { "!" } else { "" })
}

impl Action for ObjectDelete {
    const EFFECT: Effect = Effect::Destroy;
    const CONTROL: Control = Control::instant().confirmed();
    async fn plan(&self, pve: &Reader<'_>) -> Result<Plan> {
        let level = self.kind.level(pve, self.vmid).await?;
        let mut plan = level.plan(&format!("delete {} {} from", self.kind.word(), self.name));
        let again = |was: &Was<'_>| Some(self.kind.before(&self.name, self.vmid, was));
        let gone = |plan: Plan, was: String| plan.change(self.kind.word(), Some(was), None::<&str>);
        match self.kind {
            Kind::Group => {
                let groups: Vec<Named> = pve.get("/cluster/firewall/groups").await?;
                let group = self.find(groups, |group| &group.name)?;
                let rules = rules(pve, group_path(&self.name)).await?;
                let list = List { path: group_path(&self.name), rules: &rules, digest: group.digest.as_deref() };
                let members = Some(rules.iter().map(Rule::fields_again).collect());
                plan.undo = again(&Was { members, comment: group.comment.as_deref(), comments: false });
                Ok(gone(list.change(plan, &[], true), self.name.clone()).step(Request::delete(group_path(&self.name))))
            }
            Kind::Ipset => {
                let sets: Vec<Named> = pve.get(level.path("ipset")).await?;
                let set = self.find(sets, |set| &set.name)?;
                let members: Vec<Member> = pve.get(set_path(&level, &self.name)).await?;
                let comments = members.iter().any(|member| member.comment.is_some());
                let comment = set.comment.as_deref();
                plan.undo = again(&Was { members: Some(addresses_again(&members)), comment, comments });
                let request = Request::delete(set_path(&level, &self.name)).flag("force", !members.is_empty());
                let lost = |plan: Plan, member: &Member| {
                    plan.change("member", Some(shown(&member.cidr, member.nomatch)), None::<&str>)
                };
                Ok(members.iter().fold(gone(plan, self.name.clone()), lost).step(request))
            }
            Kind::Alias => {
                let aliases: Vec<Alias> = pve.get(level.path("aliases")).await?;
                let alias = self.find(aliases, |alias| &alias.name)?;
                let path = level.path(&format!("aliases/{}", encode(&self.name)));
                let members = Some(vec![alias.cidr.as_str().into()]);
                plan.undo = again(&Was { members, comment: alias.comment.as_deref(), comments: false });
                Ok(gone(plan, format!("{} {}", self.name, alias.cidr))
                    .step(Request::delete(path).maybe("digest", alias.digest)))
            }
        }
    }
}

impl ObjectDelete {
    fn find<T>(&self, all: Vec<T>, name: impl Fn(&T) -> &String) -> Result<T> {
        let known: Vec<String> = all.iter().map(|one| name(one).clone()).collect();
        all.into_iter().find(|one| *name(one) == self.name).ok_or_else(|| {
            Error::not_found(format!("name: there is no {} '{}'", self.kind.word(), self.name))
                .hint(format!("known: {}", known.join(", ")))
        })
    }
}
