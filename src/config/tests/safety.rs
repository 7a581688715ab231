//! What agents may do: settings that are understood, and those that are refused with the name of what is wrong.

use super::*;
use crate::{
    confirm,
    policy::{Exec, Mode, rules::Fact},
    tool_names::Names,
};

fn safety(pairs: Pairs<'_>) -> Safety {
    let pairs: Vec<(&str, &str)> = [URL, TOKEN].into_iter().chain(pairs.iter().copied()).collect();
    env(&pairs).unwrap_or_else(|e| panic!("{e}")).safety
}

#[test]
fn without_settings_nothing_is_forbidden_and_a_flag_confirms() {
    let safety = safety(&[]);
    assert_eq!((safety.policy.mode, safety.confirm.mode), (Mode::Full, confirm::Mode::Flag));
    assert_eq!(safety.policy.exec, Exec::ByMode);
    assert!(safety.policy.allowed.is_empty() && safety.policy.freeze.is_none() && safety.audit_file.is_none());
}

#[test]
fn modes_rules_bounds_and_patterns_are_understood() {
    let safety = safety(&[
        ("PROXMOX_MODE", "no-delete"),
        ("PROXMOX_TOOLSETS", "discovery, snapshots"),
        ("PROXMOX_EXCLUDE_TOOLS", "proxmox-rollback-*"),
        ("PROXMOX_ALLOW_GUESTS", "200-299,pool:dev"),
        ("PROXMOX_PROTECT_GUESTS", "tag:prod"),
        ("PROXMOX_MAX_MEMORY", "4096"),
        ("PROXMOX_MAX_DISK", "1T"),
        ("PROXMOX_EXEC_ALLOW", "uptime, systemctl status *"),
        ("PROXMOX_CONFIRM", "human"),
        ("PROXMOX_CONFIRM_FALLBACK", "plan"),
        ("PROXMOX_CONFIRM_TOOLS", "stop-*"),
        ("PROXMOX_AUDIT_FILE", "/var/log/audit.jsonl"),
        ("PROXMOX_KEY", "0123456789abcdef0123456789abcdef"),
    ]);
    let policy = &safety.policy;
    assert_eq!(policy.mode, Mode::NoDelete);
    assert!(policy.tools.lists("proxmox-create-snapshot") && !policy.tools.lists("proxmox-rollback-snapshot"));
    assert!(policy.allowed.fit(&Fact { vmid: 250, ..Fact::default() }).is_some());
    assert!(policy.protected.fit(&Fact { tags: vec!["prod".to_owned()], ..Fact::default() }).is_some());
    assert_eq!((policy.bounds.memory, policy.bounds.disk), (Some(4 << 30), Some(1 << 40)));
    assert_eq!(policy.exec, Exec::Allowed(vec!["uptime".to_owned(), "systemctl status *".to_owned()]));
    assert_eq!((safety.confirm.mode, safety.confirm.fallback), (confirm::Mode::Human, true));
    assert!(safety.confirm.tools.contains("proxmox-stop-vm") && !safety.confirm.tools.contains("proxmox-start-vm"));
    assert!(safety.confirm.key.is_some() && safety.audit_file.is_some());
}

#[test]
fn read_only_is_stronger_than_any_mode() {
    assert_eq!(safety(&[("PROXMOX_READ_ONLY", "true"), ("PROXMOX_MODE", "full")]).policy.mode, Mode::ReadOnly);
}

#[test]
fn what_cannot_be_meant_is_refused_by_name() {
    for (name, value, said) in [
        ("PROXMOX_MODE", "safe", "PROXMOX_MODE"),
        ("PROXMOX_TOOLSETS", "vms", "PROXMOX_TOOLSETS: no toolset 'vms'"),
        ("PROXMOX_TOOLS", "strat-vm", "PROXMOX_TOOLS: no tool 'strat-vm'"),
        ("PROXMOX_EXCLUDE_TOOLS", "x-*", "PROXMOX_EXCLUDE_TOOLS: no tool 'x-*'"),
        ("PROXMOX_CONFIRM_TOOLS", "nothing", "PROXMOX_CONFIRM_TOOLS: no tool 'nothing'"),
        ("PROXMOX_ALLOW_GUESTS", "web", "PROXMOX_ALLOW_GUESTS"),
        ("PROXMOX_MAX_CORES", "many", "PROXMOX_MAX_CORES"),
        ("PROXMOX_EXEC", "allow", "PROXMOX_EXEC_ALLOW: expected the commands"),
        ("PROXMOX_EXEC", "maybe", "PROXMOX_EXEC"),
        ("PROXMOX_CONFIRM", "yes", "PROXMOX_CONFIRM"),
        ("PROXMOX_CONFIRM_FALLBACK", "flag", "PROXMOX_CONFIRM_FALLBACK"),
        ("PROXMOX_TOOL_NAMES", "kebab", "PROXMOX_TOOL_NAMES: expected native, plus, camel or machines"),
        ("PROXMOX_KEY", "short", "PROXMOX_KEY: expected at least 32 characters"),
    ] {
        let words = env(&[URL, TOKEN, (name, value)]).unwrap_err().to_string();
        assert!(words.starts_with(said), "{name}={value}: {words}");
        assert!(name != "PROXMOX_KEY" || !words.contains("short"), "{words}");
    }
    let both = [URL, TOKEN, ("PROXMOX_EXEC", "on"), ("PROXMOX_EXEC_ALLOW", "uptime")];
    assert!(env(&both).unwrap_err().to_string().starts_with("PROXMOX_EXEC: on lets every command run"));
}

#[test]
fn tool_names_are_chosen_and_shown_one_way_only() {
    for names in [Names::Native, Names::Plus, Names::Camel, Names::Machines] {
        assert_eq!(safety(&[("PROXMOX_TOOL_NAMES", names.name())]).tool_names, names);
    }
    let both = [URL, TOKEN, ("PROXMOX_FACE", "router"), ("PROXMOX_TOOL_NAMES", "plus")];
    let words = env(&both).unwrap_err().to_string();
    assert_eq!(words, "PROXMOX_TOOL_NAMES: plus names single tools, and PROXMOX_FACE=router shows none");
    // What an older name stands for is meant by it.
    let safety = safety(&[("PROXMOX_CONFIRM_TOOLS", "stop_machine"), ("PROXMOX_EXCLUDE_TOOLS", "delete*")]);
    assert!(safety.confirm.tools.contains("proxmox-stop-lxc") && safety.confirm.tools.contains("proxmox-shutdown-vm"));
    assert!(!safety.policy.tools.lists("proxmox-delete-vm"));
}
