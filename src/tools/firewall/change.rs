//! Changes to a firewall as a plan. Proxmox puts every new rule on top, switched off unless told otherwise, and knows one
//! digest for the whole file: so new rules are sent last first, before anything is deleted, and options come last.

use std::collections::BTreeMap;

use schemars::{Schema, SchemaGenerator, json_schema};
use serde_json::{Map, Value};

use super::{Level, State, guest, rule::Rule, scopes};
use crate::{
    pve::api::{Api, Given},
    tool::*,
};

/// What a caller wants changed.
#[derive(Deserialize, JsonSchema)]
pub struct Wanted {
    enable: Option<bool>,
    /// To put on top: Proxmox's fields, or "IN ACCEPT -p tcp -dport 22".
    #[schemars(schema_with = "rules")]
    #[serde(default)]
    rules: Option<Vec<Value>>,
    /// Delete the old rules.
    #[serde(default)]
    replace: bool,
    /// As policy_in.
    options: Option<Map<String, Value>>,
}

pub fn rules(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "array", "items": {"anyOf": [{"type": "object"}, {"type": "string"}]}})
}

impl Wanted {
    pub async fn plan(&self, pve: &Reader<'_>, level: &Level) -> Result<Plan> {
        let api = pve.api();
        let new = parse(api, &level.template("rules"), self.rules.as_deref().unwrap_or_default())?;
        let options = self.options(api, level)?;
        let unset = self.unset();
        if new.is_empty() && options.is_empty() && unset.is_empty() && !self.replace {
            return Err(Error::bad_argument("nothing to change: give enable, rules, replace or options"));
        }
        let state = State::read(pve, level).await?;
        let list = List { path: level.path("rules"), rules: &state.rules, digest: state.digest.as_deref() };
        let mut plan = list.change(level.plan("change"), &new, self.replace);
        plan = names(pve, level, plan, &new).await;
        let asked = options.keys().map(String::as_str).chain(unset.iter().copied());
        plan.undo = Some(before(level, &state, asked, (!new.is_empty() || self.replace).then_some(&state.rules)));
        if !options.is_empty() || !unset.is_empty() {
            // The digest guards the first request; after that the file is another.
            let digest = state.digest.as_deref().filter(|_| plan.requests.is_empty());
            let mut request = Request::put(level.path("options"));
            for (key, value) in &options {
                let old = state.options.get(key).map(shown);
                if old.as_deref() != Some(value) {
                    plan = plan.change(key, old, Some(value));
                }
                request = request.param(key.clone(), value);
            }
            for key in &unset {
                plan = plan.change(key, state.options.get(*key).map(shown), None::<&str>);
            }
            let unset = (!unset.is_empty()).then(|| unset.join(","));
            plan = plan.step(request.maybe("delete", unset).maybe("digest", digest));
        }
        let after: Vec<&Rule> =
            if self.replace { new.iter().collect() } else { new.iter().chain(&state.rules).collect() };
        let kept = |key: &str| state.options.get(key).filter(|_| !unset.contains(&key));
        let set = |key: &str| options.get(key).cloned().or_else(|| kept(key).map(shown));
        let on = match self.enable {
            Some(enable) => enable,
            None => level.is_on(&kept("enable").map(|on| ("enable".to_owned(), on.clone())).into_iter().collect()),
        };
        Ok(if on {
            consequences(pve, level, plan, &after, set("policy_in"), self.enable == Some(true) || self.replace).await
        } else {
            plan
        })
    }

    /// The options to take away: those that are null.
    fn unset(&self) -> Vec<&str> {
        let null = self.options.iter().flatten().filter(|(_, value)| value.is_null()).map(|(key, _)| key.as_str());
        null.filter(|key| self.enable.is_none() || *key != "enable").collect()
    }

    /// The options in Proxmox's words.
    fn options(&self, api: &Api, level: &Level) -> Result<BTreeMap<String, String>> {
        let given = self.options.iter().flatten().filter(|(_, value)| !value.is_null());
        let mut options: BTreeMap<String, String> = given.map(|(key, value)| (key.clone(), shown(value))).collect();
        if let Some(enable) = self.enable {
            options.insert("enable".to_owned(), u8::from(enable).to_string());
        }
        let Some(endpoint) = api.endpoint(&http::Method::PUT, &level.template("options")) else { return Ok(options) };
        let mut params: BTreeMap<String, Given> =
            options.iter().map(|(key, value)| (key.clone(), Given::Text(value.clone()))).collect();
        for (name, value) in [("node", "pve"), ("vmid", "100")] {
            if endpoint.param(name).is_some() {
                params.insert(name.to_owned(), Given::Text(value.to_owned()));
            }
        }
        let mut errors = endpoint.validate(&params).err().unwrap_or_default();
        for key in self.unset().into_iter().filter(|key| endpoint.param(key).is_none()) {
            errors.insert(key.to_owned(), "no such option".to_owned());
        }
        if errors.is_empty() {
            return Ok(options);
        }
        let known: Vec<&str> = endpoint
            .param_names()
            .filter(|name| !matches!(*name, "node" | "vmid" | "digest" | "delete" | "enable"))
            .collect();
        let errors: Vec<String> = errors.iter().map(|(key, problem)| format!("options.{key}: {problem}")).collect();
        Err(Error::bad_argument(errors.join("; ")).hint(format!("there are {}", known.join(", "))))
    }
}

/// The call that sets these options, and the rules where they are given, to what they were. All rules are put in place of all,
/// for single ones have no name but their position.
pub fn before<'a>(
    level: &Level,
    state: &State,
    options: impl Iterator<Item = &'a str>,
    rules: Option<&Vec<Rule>>,
) -> Undo {
    let mut arguments = Map::new();
    let tool = match level {
        Level::Cluster => scopes::Set::NAME,
        Level::Node(node) => {
            arguments.insert("node".to_owned(), node.as_str().into());
            scopes::Set::NAME
        }
        Level::Guest(guest) => {
            arguments.insert("vmid".to_owned(), guest.vmid.into());
            guest::Set::NAME
        }
    };
    let options: Map<String, Value> =
        options.map(|key| (key.to_owned(), state.options.get(key).cloned().unwrap_or_default())).collect();
    if !options.is_empty() {
        arguments.insert("options".to_owned(), options.into());
    }
    if let Some(rules) = rules {
        arguments.insert("rules".to_owned(), rules.iter().map(Rule::fields_again).collect());
        arguments.insert("replace".to_owned(), true.into());
    }
    Undo::call(tool, arguments.into())
}

fn shown(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Bool(flag) => u8::from(*flag).to_string(),
        other => other.to_string(),
    }
}

/// The rules that a caller gave, held to the API's schema of a new rule at this address.
///
/// # Errors
/// `BadArgument` that names the rule.
pub fn parse(api: &Api, template: &str, given: &[Value]) -> Result<Vec<Rule>> {
    let endpoint = api.endpoint(&http::Method::POST, template);
    let one = |(index, value): (usize, &Value)| {
        let rule = Rule::parse(value)
            .and_then(|rule| endpoint.as_ref().map_or(Ok(()), |endpoint| rule.check(endpoint)).map(|()| rule));
        rule.map_err(|problem| Error::bad_argument(format!("rules[{index}]: {problem}")))
    };
    given.iter().enumerate().map(one).collect()
}

/// A list of rules in Proxmox: a firewall's own, or a security group.
pub struct List<'a> {
    pub path: String,
    pub rules: &'a [Rule],
    pub digest: Option<&'a str>,
}

impl List<'_> {
    /// New rules on top, in their order; those there go, where they are to be replaced. First come the new ones, so that
    /// there is no moment without rules.
    pub fn change(&self, plan: Plan, new: &[Rule], replace: bool) -> Plan {
        let mut plan = plan;
        for (pos, rule) in new.iter().enumerate() {
            plan = plan.change(&format!("rule {pos}"), None::<&str>, Some(rule.to_string()));
        }
        for rule in new.iter().rev() {
            let digest = self.digest.filter(|_| plan.requests.is_empty());
            plan = plan.step(rule.send(Request::post(self.path.as_str())).maybe("digest", digest));
        }
        let there = self.rules.len();
        if replace {
            for (pos, rule) in self.rules.iter().enumerate() {
                plan = plan.change(&format!("rule {pos}"), Some(rule.to_string()), None::<&str>);
            }
            for pos in (0..there).rev().map(|pos| pos + new.len()) {
                let digest = self.digest.filter(|_| plan.requests.is_empty());
                plan = plan.step(Request::delete(format!("{}/{pos}", self.path)).maybe("digest", digest));
            }
            return plan.warn_if(there > 0, || format!("the rules there ({there}) are deleted"));
        }
        plan.warn_if(there > 0 && !new.is_empty(), || {
            format!("the rules there ({there}) stay, below the new ones: positions shift by {}", new.len())
        })
    }
}

/// Looks whether the macros, aliases and IP sets that new rules name are there: Proxmox would refuse the rule, with others
/// added already. A security group that is not there it takes.
async fn names(pve: &Reader<'_>, level: &Level, plan: Plan, new: &[Rule]) -> Plan {
    let mut plan = plan;
    let macros: Vec<&str> = new.iter().filter_map(|rule| rule.get("macro")).collect();
    if !macros.is_empty()
        && let Ok(known) = pve.get::<Vec<Map<String, Value>>>("/cluster/firewall/macros").await
    {
        for name in macros {
            let there = known.iter().any(|row| row.get("macro").and_then(Value::as_str) == Some(name));
            plan = plan.check(there, || format!("macro {name}"), || format!("there is no macro '{name}'"));
        }
    }
    let groups: Vec<&str> =
        new.iter().filter(|rule| rule.get("type") == Some("group")).filter_map(|rule| rule.get("action")).collect();
    if !groups.is_empty()
        && let Ok(known) = pve.get::<Vec<Map<String, Value>>>("/cluster/firewall/groups").await
    {
        for name in groups {
            let there = known.iter().any(|row| row.get("group").and_then(Value::as_str) == Some(name));
            plan = plan.warn_if(!there, || format!("there is no security group '{name}': its rule does nothing"));
        }
    }
    let named: Vec<&str> =
        new.iter().flat_map(|rule| [rule.get("source"), rule.get("dest")]).flatten().filter(|at| is_name(at)).collect();
    if named.is_empty() {
        return plan;
    }
    let refs = match level {
        Level::Guest(_) => level.path("refs"),
        _ => Level::Cluster.path("refs"),
    };
    let Ok(known) = pve.get::<Vec<Map<String, Value>>>(refs).await else { return plan };
    for name in named {
        let fits = |row: &Map<String, Value>| {
            let text = |key: &str| row.get(key).and_then(Value::as_str).unwrap_or_default();
            let set = if text("type") == "ipset" { "+" } else { "" };
            text("ref") == name || format!("{set}{}", text("name")) == name
        };
        let there = known.iter().any(fits);
        plan = plan.check(there, || format!("address {name}"), || format!("there is no alias or IP set '{name}'"));
    }
    plan
}

/// A name of an alias or IP set, no address. Those of SDN and of Proxmox's own making are not in its lists.
fn is_name(text: &str) -> bool {
    let name = text.trim_start_matches('+');
    let first = name.chars().next().unwrap_or('0');
    let own = name.starts_with("sdn/") || matches!(name, "management" | "blacklist" | "local_network" | "ipfilter");
    first.is_ascii_alphabetic() && !name.contains(':') && !own
}

/// What a firewall that is on, or will be, means: for the way in, and for whether it filters at all.
async fn consequences(
    pve: &Reader<'_>,
    level: &Level,
    plan: Plan,
    rules: &[&Rule],
    policy_in: Option<String>,
    anew: bool,
) -> Plan {
    let drops = policy_in.is_none_or(|policy| policy != "ACCEPT");
    match level {
        Level::Guest(guest) if anew => {
            let lets_in = rules.iter().any(|rule| rule.is_enabled() && rule.get("action") != Some("DROP"));
            let plan = plan.warn_if(drops && !lets_in, || {
                "policy_in is DROP: with no rule that accepts, nothing reaches the guest".to_owned()
            });
            guest::notes(pve, guest).await.into_iter().fold(plan, |plan, note| plan.warn_if(true, || note))
        }
        // Who could get in until now still can.
        _ if !anew => plan,
        _ => {
            let missing: Vec<&str> = [(22, "SSH"), (8006, "the web interface and API (8006)")]
                .into_iter()
                .filter(|(port, name)| !rules.iter().any(|rule| rule.lets_in(*port, name)))
                .map(|(_, name)| name)
                .collect();
            plan.warn_if(drops && !missing.is_empty(), || {
                format!(
                    "no rule here lets in {}: then only hosts in the nodes' own network, or in the IP set 'management', \
                     reach the nodes. You may lock yourself out, and this program too",
                    missing.join(" and ")
                )
            })
        }
    }
}
