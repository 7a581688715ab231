//! `proxmox-mcp mint`: the commands that make a role, a user and a token with no more rights than the chosen tools take. It
//! contacts nobody and makes nothing; whoever administers the cluster reads the commands and runs them.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
};

use crate::{
    error::{Error, Result},
    policy::Effect,
    pve::{
        api::Api,
        grant,
        rights::{Demand, Need, weight},
    },
    rights::{self, Release, Rights, Takes},
    tool::Entry,
    tools, toolsets,
};

/// For whom, and for what.
#[derive(Debug, Clone)]
pub struct Order {
    /// `user@realm`.
    pub user: String,
    pub token: String,
    pub role: String,
    /// Where the role is given.
    pub paths: Vec<String>,
}

impl Default for Order {
    fn default() -> Self {
        Self { user: "mcp@pve".into(), token: "mcp".into(), role: "ProxmoxMCP".into(), paths: vec!["/".into()] }
    }
}

/// A role that is just enough.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Role {
    /// Privilege → the tools that take it.
    pub privileges: BTreeMap<String, Vec<&'static str>>,
    /// What is not given, since no chosen path would make it count: in words → the tools that take it.
    pub out_of_reach: BTreeMap<String, Vec<&'static str>>,
    /// Tools that no token may use.
    pub beyond_tokens: Vec<&'static str>,
}

impl Order {
    /// # Errors
    /// `BadArgument` for names that Proxmox would refuse.
    pub fn check(&self) -> Result<()> {
        let name = |text: &str| text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_'));
        let wrong = |what: &str, expected: &str, given: &str| {
            Err(Error::bad_argument(format!("--{what}: expected {expected}; it is \"{given}\"")))
        };
        match self.user.rsplit_once('@') {
            Some((user, realm))
                if !user.is_empty() && !realm.is_empty() && name(realm) && !user.contains(['!', '/', ':', ' ']) => {}
            _ => return wrong("user", "USER@REALM, such as mcp@pve", &self.user),
        }
        if !self.token.starts_with(|c: char| c.is_ascii_alphabetic()) || !name(&self.token) || self.token.len() < 2 {
            return wrong("token", "a name of letters, digits, . - and _ that begins with a letter", &self.token);
        }
        let reserved = self.role.to_ascii_uppercase().starts_with("PVE")
            || ["Administrator", "NoAccess"].contains(&self.role.as_str());
        if self.role.is_empty() || !name(&self.role) || reserved {
            return wrong("role", "a new name of letters, digits, . - and _ that does not begin with PVE", &self.role);
        }
        const ROOTS: &[&str] = &["", "access", "mapping", "nodes", "pool", "sdn", "storage", "vms"];
        for path in &self.paths {
            let known =
                path.strip_prefix('/').is_some_and(|rest| ROOTS.contains(&rest.split('/').next().unwrap_or_default()));
            if !known || (path.len() > 1 && path.ends_with('/')) {
                return wrong(
                    "path",
                    "a path of Proxmox's permissions: /, /vms/100, /pool/dev, /storage/local, /nodes/pve1 …",
                    path,
                );
            }
        }
        Ok(())
    }
}

/// The tools that are meant by names of toolsets and of single tools, each once.
///
/// # Errors
/// `BadArgument` for a name that means nothing.
pub fn select(names: &str) -> Result<Vec<&'static Entry>> {
    let mut wanted = BTreeSet::new();
    for name in names.split([',', ' ']).filter(|name| !name.is_empty()) {
        let found = toolsets::toolset(name).or_else(|unknown| match toolsets::named(name) {
            Ok(found) => Ok(found),
            Err(_) => Err(Error::bad_argument(format!("--for: {unknown}; or the name of a tool"))),
        })?;
        wanted.extend(found.into_iter().map(|entry| entry.name));
    }
    if wanted.is_empty() {
        return Err(Error::bad_argument("--for: expected the names of toolsets, separated by commas"));
    }
    Ok(tools::all().filter(|entry| wanted.contains(entry.name)).collect())
}

/// The least role with which these tools work on these paths.
pub fn role(api: &Api, tools: &[&'static Entry], paths: &[String], release: Release) -> Role {
    let mut role = Role::default();
    let all: Vec<Rights> = tools.iter().map(|entry| rights::of(api, entry, release)).collect();
    let mut choices: Vec<(&'static str, Need)> = Vec::new();
    for one in &all {
        if one.beyond_tokens().next().is_some() {
            role.beyond_tokens.push(one.tool);
        }
        for demand in one.always.iter().chain(one.may.iter().map(|(_, demand)| demand)) {
            choices.push((one.tool, Need::This(demand.clone())));
        }
        for call in one.main.iter().chain(&one.also) {
            if let Takes::Privileges(need) = &call.takes {
                choices.push((one.tool, need.clone()));
            }
        }
    }
    // What leaves no choice first: it may be what others can choose.
    let (sure, open): (Vec<_>, Vec<_>) = choices.into_iter().partition(|(_, need)| !is_choice(need));
    for (tool, need) in sure.into_iter().chain(open) {
        for demand in role.chosen(&need, paths) {
            role.add(&demand, paths, tool);
        }
    }
    role
}

fn is_choice(need: &Need) -> bool {
    match need {
        Need::This(demand) => demand.any && demand.privileges.len() > 1,
        Need::Any(parts) => parts.len() > 1,
        Need::All(parts) => parts.iter().any(is_choice),
        Need::Unknown => false,
    }
}

impl Role {
    /// What is demanded, the cheapest of alternatives: best one that is given already.
    fn chosen(&self, need: &Need, paths: &[String]) -> Vec<Demand> {
        let cost = |demands: &Vec<Demand>| -> usize {
            let one = |demand: &Demand| -> usize {
                let out_of_reach = if counts(&demand.path, paths) { 0 } else { 100 };
                let new = demand.privileges.iter().filter(|privilege| !self.privileges.contains_key(*privilege));
                out_of_reach + new.map(|privilege| 1 + weight(privilege)).sum::<usize>()
            };
            demands.iter().map(one).sum()
        };
        match need {
            Need::This(demand) if demand.any => {
                let each =
                    demand.privileges.iter().map(|privilege| vec![Demand::one(demand.path.clone(), privilege.clone())]);
                each.min_by_key(cost).unwrap_or_default()
            }
            Need::This(demand) => vec![demand.clone()],
            Need::All(parts) => parts.iter().flat_map(|part| self.chosen(part, paths)).collect(),
            Need::Any(parts) => parts.iter().map(|part| self.chosen(part, paths)).min_by_key(cost).unwrap_or_default(),
            Need::Unknown => Vec::new(),
        }
    }

    fn add(&mut self, demand: &Demand, paths: &[String], tool: &'static str) {
        let note = |list: &mut Vec<&'static str>| {
            if !list.contains(&tool) {
                list.push(tool);
            }
        };
        if !counts(&demand.path, paths) {
            return note(self.out_of_reach.entry(demand.words()).or_default());
        }
        for privilege in &demand.privileges {
            note(self.privileges.entry(privilege.clone()).or_default());
        }
    }

    /// The privileges, as Proxmox lists them.
    pub fn names(&self) -> Vec<&str> {
        self.privileges.keys().map(String::as_str).collect()
    }
}

/// Whether a role on one of these paths counts where this is asked: `/vms/{vmid}` is below `/` and `/vms`, may be `/vms/100`,
/// and may be in a pool.
fn counts(asked: &str, paths: &[String]) -> bool {
    let literal = asked.split("/{").next().unwrap_or(asked);
    let literal = if literal.is_empty() { "/" } else { literal };
    let below = |path: &str, above: &str| above == "/" || path == above || path.starts_with(&format!("{above}/"));
    paths.iter().any(|path| {
        let pooled = path.starts_with("/pool") && asked.contains("/{") && ["/vms", "/storage"].contains(&literal);
        below(literal, path) || (literal != asked && below(path, literal)) || pooled
    })
}

/// What is printed: the commands for a shell, the lines for `.env`, and what each privilege is for.
pub fn text(api: &Api, tools: &[&'static Entry], what: &str, order: &Order) -> Result<String> {
    order.check()?;
    let made = role(api, tools, &order.paths, Release::Nine);
    if made.privileges.is_empty() {
        return Err(Error::bad_argument(format!(
            "--for {what}: these tools take no privileges on {}",
            order.paths.join(", ")
        )));
    }
    let (user, token) = (order.user.as_str(), format!("{}!{}", order.user, order.token));
    let mut out = String::new();
    let count = tools.len();
    let _ = writeln!(out, "# A role, a user and a token for {what} ({count} tools). In a shell on a node, as root:");
    let _ = writeln!(out, "{}", grant::role_add(&order.role, &made.names()));
    let before = role(api, tools, &order.paths, Release::Eight);
    if before.names() != made.names() {
        let _ = writeln!(out, "# (on Proxmox VE 8 instead: {})", grant::role_add(&order.role, &before.names()));
    }
    if user != "root@pam" {
        let _ = writeln!(out, "pveum user add {}", grant::quoted(user));
    }
    let _ = writeln!(out, "pveum user token add {} {} --privsep 1", grant::quoted(user), grant::quoted(&order.token));
    for path in &order.paths {
        // A token has at most the rights of its user; root has them all.
        let whom: &[&str] = if user == "root@pam" { &[&token] } else { &[user, &token] };
        let _ = writeln!(out, "{}", grant::acl_modify(path, whom, &order.role));
    }
    let _ = write!(
        out,
        "\n# For .env (the secret is shown once, as \"value\"):\n\
         PROXMOX_API_URL=https://NODE:8006\nPROXMOX_TOKEN_ID={token}\nPROXMOX_TOKEN_SECRET=\n\n# What each privilege is for:\n"
    );
    for (privilege, tools) in &made.privileges {
        let _ = writeln!(out, "# {privilege}: {}", shortened(tools));
    }
    for (words, tools) in &made.out_of_reach {
        let _ = writeln!(out, "# not given, as it counts on none of these paths: {words}, for {}", shortened(tools));
    }
    let is_open = |tool: &&&Entry| {
        let any = tool.api.iter().any(|call| call.ends_with(" *"));
        any || (tool.api.is_empty() && tool.effect != Effect::Read)
    };
    let open: Vec<&str> = tools.iter().filter(is_open).map(|tool| tool.name).collect();
    if !open.is_empty() {
        let _ = writeln!(out, "# not known beforehand, as it depends on what they are asked for: {}", shortened(&open));
    }
    if !made.beyond_tokens.is_empty() {
        let _ = writeln!(out, "# not for tokens, whatever their rights: {}", shortened(&made.beyond_tokens));
    }
    let mighty: BTreeSet<&str> = made.names().into_iter().filter(|privilege| weight(privilege) >= 5).collect();
    for privilege in mighty {
        let _ = writeln!(out, "# Beware: with {privilege} the token can give itself every other right.");
    }
    Ok(out.trim_end().to_owned())
}

fn shortened(tools: &[&str]) -> String {
    const SHOWN: usize = 6;
    let more = tools.len().saturating_sub(SHOWN);
    let shown = tools.iter().take(SHOWN).copied().collect::<Vec<_>>().join(", ");
    if more == 0 { shown } else { format!("{shown} and {more} more") }
}
