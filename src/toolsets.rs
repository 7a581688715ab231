//! Which tools there are for a model: toolsets by name, single tools in and out. Knows names only; what the tools may do is
//! for `policy.rs`.

use std::collections::HashSet;

use crate::{
    arguments,
    error::{Error, Result},
    policy::Effect,
    tool::Entry,
    tool_names::{Alias, Names},
    tools::{self, CORE, FAMILIES},
};

/// All tools.
pub const ALL: &str = "all";
/// What is listed where nobody chose: the reference's core, and what goes with it.
pub const DEFAULT: &str = "default";

/// Toolsets of several families. Besides these, each family is one by its own name.
pub const GROUPS: &[Group] = &[
    Group {
        name: "discovery",
        help: "Look at the cluster: nodes, guests, storage, networks, tasks.",
        takes: discovery,
    },
    Group {
        name: "vm",
        help: "The life of VMs, from creation to deletion.",
        takes: |t| life(t) && !t.tool.contains("lxc"),
    },
    Group { name: "lxc", help: "The life of containers.", takes: |t| life(t) && !is_for_vms(t.tool) },
    Group {
        name: "backup",
        help: "Backups, backup jobs, replication.",
        takes: |t| in_any(t, &["backups", "backup_jobs", "replication"]),
    },
    Group {
        name: "fleet",
        help: "Whole machines and many guests at once: provisioning, one action on many, moving off a node, the inventory.",
        takes: |t| in_any(t, &["provision", "bulk", "evacuate", "ansible"]),
    },
    Group {
        name: "access",
        help: "Pools, users, tokens, roles, permissions.",
        takes: |t| in_any(t, &["pools", "users", "permissions"]),
    },
];

/// A toolset of several families.
pub struct Group {
    pub name: &'static str,
    pub help: &'static str,
    takes: fn(&Member) -> bool,
}

/// A tool and where it stands.
pub struct Member {
    family: &'static str,
    tool: &'static str,
    effect: Effect,
}

/// Beside the core in the default: what a prompt needs right after one of the core's tools.
const WITH_CORE: &[&str] = &[
    "proxmox-shutdown-lxc",
    "proxmox-reboot-lxc",
    "proxmox-clone-lxc",
    "proxmox-task-log",
    "proxmox-stop-task",
    "proxmox-list-backups",
    "proxmox-cluster-status",
    "proxmox-health",
    "proxmox-undo",
    "proxmox-provision-vm",
    "proxmox-bulk",
];

fn in_any(member: &Member, families: &[&str]) -> bool {
    families.contains(&member.family)
}

fn discovery(member: &Member) -> bool {
    let families = [
        "nodes", "guests", "storage", "network", "metrics", "tasks", "cluster", "health", "clusters", "tags",
        "template",
    ];
    member.effect == Effect::Read && in_any(member, &families)
}

fn life(member: &Member) -> bool {
    let families = [
        "guests",
        "power",
        "create",
        "clone",
        "configure",
        "cloudinit",
        "nics",
        "disks",
        "media",
        "migrate",
        "template",
        "delete",
        "notes",
        "tags",
    ];
    in_any(member, &families)
}

fn is_for_vms(tool: &str) -> bool {
    ["-vm", "cloudinit", "-iso-", "disk-", "-migrate-storage"].iter().any(|part| tool.contains(part))
        && !tool.contains("-lxc")
}

fn members() -> impl Iterator<Item = (Member, &'static Entry)> {
    let of = |(family, tools): &(&'static str, &'static [Entry])| {
        let family = *family;
        tools.iter().map(move |tool| (Member { family, tool: tool.name, effect: tool.effect }, tool))
    };
    FAMILIES.iter().flat_map(of)
}

/// Every name that may be asked for.
pub fn names() -> impl Iterator<Item = &'static str> {
    let groups = GROUPS.iter().map(|group| group.name);
    [DEFAULT, ALL].into_iter().chain(groups).chain(FAMILIES.iter().map(|(family, _)| *family))
}

/// The tools of one toolset, in the registry's order.
///
/// # Errors
/// `BadSetting` where there is none of that name.
pub fn toolset(name: &str) -> Result<Vec<&'static Entry>> {
    let wanted = name.replace('-', "_");
    let group = GROUPS.iter().find(|group| group.name == wanted);
    let takes = |member: &Member| match (wanted.as_str(), group) {
        (ALL, _) => true,
        (DEFAULT, _) => CORE.contains(&member.tool) || WITH_CORE.contains(&member.tool),
        (_, Some(group)) => (group.takes)(member),
        (family, None) => member.family == family,
    };
    let found: Vec<_> = members().filter(|(member, _)| takes(member)).map(|(_, entry)| entry).collect();
    if !found.is_empty() {
        return Ok(found);
    }
    let known = names().collect::<Vec<_>>().join(", ");
    Err(Error::bad_setting(format!("no toolset '{name}'; there are {known}")))
}

/// The tools that a name means: `proxmox-start-vm`, `start-vm`, or a pattern with `*`; by a name of an older server
/// (`start_machine`), those behind it.
///
/// # Errors
/// `BadSetting` where there is none, with the nearest name.
pub fn named(pattern: &str) -> Result<Vec<&'static Entry>> {
    let full = match pattern.strip_prefix("proxmox-") {
        _ if pattern.starts_with('*') => pattern.to_owned(),
        Some(_) => pattern.to_owned(),
        None => format!("proxmox-{pattern}"),
    };
    let found: Vec<_> = tools::all().filter(|tool| matches(&full, tool.name)).collect();
    if !found.is_empty() {
        return Ok(found);
    }
    let older = Names::OLDER.iter().flat_map(|names| names.aliases()).filter(|alias| matches(pattern, alias.name));
    let behind: Vec<_> = older.flat_map(Alias::entries).collect();
    if !behind.is_empty() {
        return Ok(behind);
    }
    let error = Error::bad_setting(format!("no tool '{pattern}'"));
    Err(match arguments::nearest(&full, tools::all().map(|tool| tool.name)) {
        Some(near) => error.hint(format!("did you mean '{near}'?")),
        None => error.hint("`proxmox-mcp tools` names them all"),
    })
}

/// Whether a text fits a pattern in which `*` stands for any characters.
pub fn matches(pattern: &str, text: &str) -> bool {
    let Some((head, rest)) = pattern.split_once('*') else { return pattern == text };
    let Some(text) = text.strip_prefix(head) else { return false };
    text.char_indices().map(|(at, _)| at).chain([text.len()]).any(|at| matches(rest, &text[at..]))
}

/// The operator's choice.
#[derive(Debug, Clone, Default)]
pub struct Chosen {
    /// None: nobody chose; the default is listed, and nothing is refused for not being in it.
    listed: Option<HashSet<&'static str>>,
    excluded: HashSet<&'static str>,
    /// One caller's part of it.
    granted: bool,
}

impl Chosen {
    /// `sets` and `single` are names as the operator wrote them; single tools alone are the whole choice. `excluded` beats both.
    ///
    /// # Errors
    /// `BadSetting` for a name that means nothing.
    pub fn new(sets: &[&str], single: &[&str], excluded: &[&str]) -> Result<Self> {
        let all = |found: Result<Vec<Vec<&'static Entry>>>| -> Result<HashSet<&'static str>> {
            Ok(found?.into_iter().flatten().map(|tool| tool.name).collect())
        };
        let mut listed = all(sets.iter().map(|name| toolset(name)).collect())?;
        listed.extend(all(single.iter().map(|name| named(name)).collect())?);
        let chosen = !sets.is_empty() || !single.is_empty();
        let excluded = all(excluded.iter().map(|name| named(name)).collect())?;
        Ok(Self { listed: chosen.then_some(listed), excluded, granted: false })
    }

    /// These, as far as `outer` has them, too.
    pub fn within(&self, outer: &Self) -> Self {
        let listed = match (&self.listed, &outer.listed) {
            (Some(these), Some(outer)) => Some(these & outer),
            (these, outer) => these.clone().or_else(|| outer.clone()),
        };
        let granted = outer.granted || self.listed.is_some() || !self.excluded.is_empty();
        Self { listed, excluded: &self.excluded | &outer.excluded, granted }
    }

    /// Whether a model is told of this tool.
    pub fn lists(&self, tool: &str) -> bool {
        let wanted = match &self.listed {
            Some(listed) => listed.contains(tool),
            None => CORE.contains(&tool) || WITH_CORE.contains(&tool),
        };
        wanted && !self.excluded.contains(tool)
    }

    /// Why this tool is refused, where it is: the setting that leaves it out.
    pub fn refuses(&self, tool: &str) -> Option<&'static str> {
        let excluded = self.excluded.contains(tool);
        let left_out = self.listed.as_ref().is_some_and(|listed| !listed.contains(tool));
        match (excluded || left_out, self.granted) {
            (false, _) => None,
            (true, true) => Some("the tools of this caller"),
            (true, false) => Some(if excluded { "PROXMOX_EXCLUDE_TOOLS" } else { "PROXMOX_TOOLSETS" }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_holds_the_core_and_is_small() {
        let names: Vec<&str> = toolset(DEFAULT).unwrap_or_default().iter().map(|tool| tool.name).collect();
        assert!(CORE.iter().all(|core| names.contains(core)));
        assert!(names.len() <= 64, "{}", names.len());
    }

    #[test]
    fn every_toolset_has_tools_and_every_tool_a_toolset() {
        for name in names() {
            assert!(toolset(name).is_ok_and(|tools| !tools.is_empty()), "{name}");
        }
        let vm: Vec<&str> = toolset("vm").unwrap_or_default().iter().map(|tool| tool.name).collect();
        let lxc: Vec<&str> = toolset("lxc").unwrap_or_default().iter().map(|tool| tool.name).collect();
        assert!(vm.iter().all(|tool| !tool.contains("lxc")), "{vm:?}");
        assert!(lxc.iter().all(|tool| !tool.contains("-vm")), "{lxc:?}");
        let life = members().filter(|(member, _)| life(member)).map(|(member, _)| member.tool);
        assert_eq!(life.filter(|tool| !vm.contains(tool) && !lxc.contains(tool)).collect::<Vec<_>>(), [""; 0]);
    }

    #[test]
    fn out_beats_in_and_what_means_nothing_is_refused() {
        let chosen = Chosen::new(&["snapshots"], &["start-vm"], &["*snapshot-policy"]).unwrap_or_default();
        for (tool, listed) in [
            ("proxmox-create-snapshot", true),
            ("proxmox-start-vm", true),
            ("proxmox-snapshot-policy", false),
            ("proxmox-stop-vm", false),
        ] {
            assert_eq!(chosen.lists(tool), listed, "{tool}");
            assert_eq!(chosen.refuses(tool).is_none(), listed, "{tool}");
        }
        let error = |sets: &[&str], single: &[&str]| Chosen::new(sets, single, &[]).err().map(|e| e.report());
        assert!(error(&["vms"], &[]).is_some_and(|e| e.starts_with("no toolset 'vms'; there are default, all,")));
        assert!(error(&[], &["strat-vm"]).is_some_and(|e| e.contains("did you mean 'proxmox-start-vm'?")));
    }

    #[test]
    fn where_nobody_chose_the_default_is_listed_and_nothing_refused() {
        let chosen = Chosen::new(&[], &[], &["delete-vm"]).unwrap_or_default();
        assert!(chosen.lists("proxmox-start-vm") && !chosen.lists("proxmox-list-sdn"));
        assert_eq!(chosen.refuses("proxmox-list-sdn"), None);
        assert_eq!(chosen.refuses("proxmox-delete-vm"), Some("PROXMOX_EXCLUDE_TOOLS"));
    }

    #[test]
    fn a_star_stands_for_anything() {
        for (pattern, text, fits) in
            [("a*c", "abc", true), ("a*c", "ac", true), ("a*", "b", false), ("*b*", "abc", true), ("a", "ab", false)]
        {
            assert_eq!(matches(pattern, text), fits, "{pattern} {text}");
        }
    }
}
