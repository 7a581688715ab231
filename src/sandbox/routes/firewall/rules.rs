//! Rules, and security groups, which are lists of rules.

use serde_json::{Map, Value, json};

use super::{change, read, typed};
use crate::sandbox::{
    call::Call,
    firewall::{Firewall, MACROS, Rule, ip_version},
    router::Route,
    wire::{Answered, Refusal},
};

pub const ROUTES: &[Route] = &[
    Route::get("/cluster/firewall/rules", list),
    Route::post("/cluster/firewall/rules", create),
    Route::get("/cluster/firewall/rules/{pos}", show),
    Route::put("/cluster/firewall/rules/{pos}", update),
    Route::delete("/cluster/firewall/rules/{pos}", remove),
    Route::get("/nodes/{node}/firewall/rules", list),
    Route::post("/nodes/{node}/firewall/rules", create),
    Route::get("/nodes/{node}/firewall/rules/{pos}", show),
    Route::put("/nodes/{node}/firewall/rules/{pos}", update),
    Route::delete("/nodes/{node}/firewall/rules/{pos}", remove),
    Route::get("/nodes/{node}/qemu/{vmid}/firewall/rules", list),
    Route::post("/nodes/{node}/qemu/{vmid}/firewall/rules", create),
    Route::get("/nodes/{node}/qemu/{vmid}/firewall/rules/{pos}", show),
    Route::put("/nodes/{node}/qemu/{vmid}/firewall/rules/{pos}", update),
    Route::delete("/nodes/{node}/qemu/{vmid}/firewall/rules/{pos}", remove),
    Route::get("/nodes/{node}/lxc/{vmid}/firewall/rules", list),
    Route::post("/nodes/{node}/lxc/{vmid}/firewall/rules", create),
    Route::get("/nodes/{node}/lxc/{vmid}/firewall/rules/{pos}", show),
    Route::put("/nodes/{node}/lxc/{vmid}/firewall/rules/{pos}", update),
    Route::delete("/nodes/{node}/lxc/{vmid}/firewall/rules/{pos}", remove),
    Route::get("/cluster/firewall/groups", groups),
    Route::post("/cluster/firewall/groups", create_group),
    Route::delete("/cluster/firewall/groups/{group}", remove_group),
    Route::get("/cluster/firewall/groups/{group}", list),
    Route::post("/cluster/firewall/groups/{group}", create),
    Route::get("/cluster/firewall/groups/{group}/{pos}", show),
    Route::put("/cluster/firewall/groups/{group}/{pos}", update),
    Route::delete("/cluster/firewall/groups/{group}/{pos}", remove),
];

/// Parameters that are not part of a rule.
const CONTROL: [&str; 7] = ["node", "vmid", "group", "pos", "digest", "delete", "moveto"];

/// The list that the call is about: the firewall's own, or a group's.
fn rules<'a>(call: &Call, firewall: &'a Firewall) -> Result<&'a Vec<Rule>, Refusal> {
    let Some(group) = call.get("group") else { return Ok(&firewall.rules) };
    firewall.groups.get(group).map(|(_, rules)| rules).ok_or_else(|| unknown_group(group))
}

fn rules_mut<'a>(call: &Call, firewall: &'a mut Firewall) -> Result<&'a mut Vec<Rule>, Refusal> {
    let Some(group) = call.get("group") else { return Ok(&mut firewall.rules) };
    firewall.groups.get_mut(group).map(|(_, rules)| rules).ok_or_else(|| unknown_group(group))
}

fn unknown_group(group: &str) -> Refusal {
    Refusal::failed(format!("no such security group '{group}'"))
}

fn shown(rule: &Rule, pos: Value, digest: &str) -> Value {
    let mut out: Map<String, Value> = rule
        .iter()
        .map(|(key, value)| {
            let value = if key == "enable" { typed(value) } else { value.as_str().into() };
            (key.clone(), value)
        })
        .collect();
    out.entry("enable").or_insert(0.into());
    let version = ["source", "dest"].iter().find_map(|key| rule.get(*key).and_then(|text| ip_version(text)));
    if let Some(version) = version {
        out.insert("ipversion".to_owned(), version.into());
    }
    out.insert("pos".to_owned(), pos);
    out.insert("digest".to_owned(), digest.into());
    out.into()
}

fn list(call: &Call) -> Answered {
    read(call, |firewall| {
        let digest = firewall.digest();
        let rows = rules(call, firewall)?.iter().enumerate().map(|(pos, rule)| shown(rule, pos.into(), &digest));
        Ok(rows.collect::<Vec<_>>().into())
    })
}

fn position(call: &Call) -> usize {
    call.int("pos").and_then(|pos| usize::try_from(pos).ok()).unwrap_or(usize::MAX)
}

fn nowhere(pos: usize) -> Refusal {
    Refusal::failed(format!("no rule at position {pos}"))
}

fn show(call: &Call) -> Answered {
    read(call, |firewall| {
        let pos = position(call);
        let rule = rules(call, firewall)?.get(pos).ok_or_else(|| nowhere(pos))?;
        // Text, where the list has a number.
        Ok(shown(rule, pos.to_string().into(), &firewall.digest()).into())
    })
}

/// # Errors
/// What is wrong with a rule, in PVE's words.
fn verify(rule: &Rule, firewall: &Firewall) -> Result<(), Refusal> {
    let mut errors = Vec::new();
    let mut wrong = |name: &str, problem: String| errors.push((name.to_owned(), problem));
    if let Some(name) = rule.get("macro").filter(|name| !MACROS.iter().any(|(known, _)| known == name)) {
        wrong("macro", format!("unknown macro '{name}'"));
    }
    let action = rule.get("action").map(String::as_str).unwrap_or_default();
    let group = rule.get("type").is_some_and(|kind| kind == "group");
    if !group && !matches!(action, "ACCEPT" | "DROP" | "REJECT") {
        wrong("action", format!("unknown action '{action}'"));
    }
    for port in ["dport", "sport"] {
        if rule.contains_key(port) && !rule.contains_key("proto") && !rule.contains_key("macro") {
            wrong("proto", format!("missing property - '{port}' requires this property"));
        }
    }
    for key in ["source", "dest"] {
        let Some(text) = rule.get(key) else { continue };
        if let Some(set) = text.strip_prefix('+') {
            let name = set.split_once('/').map_or(set, |(_, name)| name);
            if !firewall.sets.contains_key(name) {
                wrong(key, format!("no such ipset '{set}'"));
            }
        } else if ip_version(text).is_none() {
            let name = text.split_once('/').map_or(text.as_str(), |(_, name)| name);
            if !firewall.aliases.contains_key(name) {
                wrong(key, format!("no such alias '{text}'"));
            }
        }
    }
    if errors.is_empty() { Ok(()) } else { Err(Refusal::params(errors)) }
}

/// The rule's own options among the parameters.
fn given(call: &Call) -> impl Iterator<Item = (String, String)> {
    let own = call.params.iter().filter(|(name, _)| !CONTROL.contains(name));
    own.map(|(name, value)| (name.to_owned(), value.to_owned()))
}

/// A new rule is the first one, wherever it was asked to be.
fn create(call: &Call) -> Answered {
    let known = names_of(call);
    change(call, |firewall| {
        let rule: Rule = given(call).collect();
        verify(&rule, &with(firewall, &known))?;
        rules_mut(call, firewall)?.insert(0, rule);
        Ok(())
    })
}

/// Aliases and sets of the cluster, which every rule may name.
fn names_of(call: &Call) -> Firewall {
    call.sandbox.state().firewalls.get("cluster").cloned().unwrap_or_default()
}

/// The names a rule of this firewall may use.
fn with(firewall: &Firewall, cluster: &Firewall) -> Firewall {
    let mut all = Firewall { aliases: cluster.aliases.clone(), sets: cluster.sets.clone(), ..Firewall::default() };
    all.aliases.extend(firewall.aliases.clone());
    all.sets.extend(firewall.sets.clone());
    all
}

fn update(call: &Call) -> Answered {
    let known = names_of(call);
    change(call, |firewall| {
        let pos = position(call);
        let names = with(firewall, &known);
        let rules = rules_mut(call, firewall)?;
        let Some(rule) = rules.get(pos).cloned() else { return Err(nowhere(pos)) };
        if let Some(to) = call.int("moveto").and_then(|to| usize::try_from(to).ok()) {
            rules.remove(pos);
            let to = if to > pos { to - 1 } else { to };
            rules.insert(to.min(rules.len()), rule);
            return Ok(());
        }
        let mut rule = rule;
        for key in call.list("delete") {
            rule.remove(key);
        }
        rule.extend(given(call));
        verify(&rule, &names)?;
        rules[pos] = rule;
        Ok(())
    })
}

fn remove(call: &Call) -> Answered {
    change(call, |firewall| {
        let pos = position(call);
        let rules = rules_mut(call, firewall)?;
        if rules.is_empty() {
            // So it is: nobody thought of a file without rules.
            let text = "Can't use an undefined value as an ARRAY reference at \
                        /usr/share/perl5/PVE/API2/Firewall/Rules.pm line 462.";
            return Err(Refusal::failed(text));
        }
        if pos >= rules.len() {
            return Err(nowhere(pos));
        }
        rules.remove(pos);
        Ok(())
    })
}

fn groups(call: &Call) -> Answered {
    read(call, |firewall| {
        let digest = firewall.digest();
        let rows = firewall.groups.iter().map(|(name, (comment, _))| {
            let mut row = json!({"group": name, "digest": digest});
            if let Some(comment) = comment {
                row["comment"] = comment.as_str().into();
            }
            row
        });
        Ok(rows.collect::<Vec<_>>().into())
    })
}

fn create_group(call: &Call) -> Answered {
    change(call, |firewall| {
        let name = call.text("group");
        if let Some(old) = call.get("rename") {
            let group = firewall.groups.remove(old).ok_or_else(|| unknown_group(old))?;
            let comment = call.get("comment").map(str::to_owned).or(group.0);
            firewall.groups.insert(name.to_owned(), (comment, group.1));
            return Ok(());
        }
        if firewall.groups.contains_key(name) {
            return Err(Refusal::param("group", format!("Security group '{name}' already exists")));
        }
        firewall.groups.insert(name.to_owned(), (call.get("comment").map(str::to_owned), Vec::new()));
        Ok(())
    })
}

fn remove_group(call: &Call) -> Answered {
    change(call, |firewall| {
        let name = call.text("group");
        match firewall.groups.get(name) {
            Some((_, rules)) if !rules.is_empty() => {
                Err(Refusal::failed(format!("Security group '{name}' is not empty")))
            }
            _ => {
                firewall.groups.remove(name);
                Ok(())
            }
        }
    })
}
