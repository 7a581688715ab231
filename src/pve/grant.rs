//! The commands that would give privileges: `pveum` lines for a shell on a node. Gives nothing, and asks nobody.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    api::BUILT_IN,
    rights::{Demand, Lack, weight},
};

/// A built-in role is given where what it holds besides weighs no more than this.
const MORE: usize = 3;

/// What somebody lacks, and the command that gives it: for errors and for plans alike.
pub fn told(who: &str, lacks: &[Lack]) -> String {
    let words: Vec<&str> = lacks.iter().map(|lack| lack.words.as_str()).collect();
    let demands: Vec<&Demand> = lacks.iter().flat_map(|lack| &lack.least).collect();
    let mut text = format!("{who} lacks {}: `{}`", words.join("; "), commands(who, &demands));
    match who.split_once('!') {
        Some((user, _)) if user != "root@pam" => text.push_str(&format!(
            "; a token has at most the rights of its user: add --users {} where that lacks it too",
            quoted(user)
        )),
        _ => {}
    }
    if demands.iter().any(|demand| demand.path != "/") {
        text.push_str("; roles given on a path replace there those from above it: name these as well");
    }
    text
}

/// One shell line: a role for each path, made where no built-in one fits, and given there.
pub fn commands(who: &str, demands: &[&Demand]) -> String {
    let mut by_path: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for demand in demands {
        by_path.entry(&demand.path).or_default().extend(demand.privileges.iter().map(String::as_str));
    }
    let mut made = BTreeSet::new();
    let mut lines = Vec::new();
    for (path, privileges) in by_path {
        let role = match built_in(&privileges) {
            Some(role) => role.to_owned(),
            None => {
                let list: Vec<&str> = privileges.into_iter().collect();
                let role = format!("MCP-{}", list.join("-"));
                if made.insert(role.clone()) {
                    lines.push(role_add(&role, &list));
                }
                role
            }
        };
        lines.push(acl_modify(path, &[who], &role));
    }
    lines.join(" && ")
}

/// `pveum role add …`.
pub fn role_add(role: &str, privileges: &[&str]) -> String {
    format!("pveum role add {} --privs {}", quoted(role), quoted(&privileges.join(",")))
}

/// `pveum acl modify …`, for users and tokens alike.
pub fn acl_modify(path: &str, whom: &[&str], role: &str) -> String {
    let mut line = format!("pveum acl modify {}", quoted(path));
    for who in whom {
        let option = if who.contains('!') { "--tokens" } else { "--users" };
        line.push_str(&format!(" {option} {}", quoted(who)));
    }
    format!("{line} --roles {}", quoted(role))
}

/// The built-in role that holds all of these and little else.
fn built_in(privileges: &BTreeSet<&str>) -> Option<&'static str> {
    let more = |held: &[&str]| {
        held.iter()
            .filter(|privilege| !privileges.contains(*privilege))
            .map(|privilege| weight(privilege))
            .sum::<usize>()
    };
    let fitting = BUILT_IN.iter().filter(|(_, held)| privileges.iter().all(|wanted| held.contains(wanted)));
    let near = fitting.filter(|(_, held)| more(held) <= MORE);
    near.min_by_key(|(_, held)| (more(held), held.len())).map(|(name, _)| *name)
}

/// As one word of a shell's line.
pub fn quoted(text: &str) -> String {
    let plain =
        |c: char| c.is_ascii_alphanumeric() || matches!(c, '@' | '%' | '_' | '+' | '=' | ':' | ',' | '.' | '/' | '-');
    if !text.is_empty() && text.chars().all(plain) {
        return text.to_owned();
    }
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_built_in_role_is_given_where_it_holds_little_more() {
        for (privileges, role) in [
            (&["VM.Audit"][..], Some("PVEAuditor")),
            (&["Sys.Audit"], Some("PVEAuditor")),
            (&["VM.Clone"], Some("PVETemplateUser")),
            (&["Datastore.AllocateSpace"], Some("PVEDatastoreUser")),
            (&["Datastore.Allocate"], Some("PVEDatastoreAdmin")),
            (&["SDN.Use"], Some("PVESDNUser")),
            (&["Sys.Syslog"], None),
            (&["User.Modify"], None),
            (&["Pool.Allocate"], Some("PVEPoolAdmin")),
            (&["VM.PowerMgmt"], None),
            (&["VM.GuestAgent.Unrestricted"], None),
            (&["Sys.Modify"], None),
            (&["Permissions.Modify"], None),
            (&["VM.Audit", "Datastore.Audit"], Some("PVEAuditor")),
        ] {
            assert_eq!(built_in(&privileges.iter().copied().collect()), role, "{privileges:?}");
        }
    }

    #[test]
    fn every_word_stands_for_itself_in_a_shell() {
        assert_eq!(quoted("ai@pve!mcp"), "'ai@pve!mcp'");
        assert_eq!(quoted("/vms/100"), "/vms/100");
        assert_eq!(quoted("o'neil@pve"), r"'o'\''neil@pve'");
        assert_eq!(quoted("a b; rm -rf ~"), "'a b; rm -rf ~'");
        assert_eq!(quoted(""), "''");
        assert_eq!(
            acl_modify("/", &["ai@pve", "ai@pve!mcp"], "R"),
            "pveum acl modify / --users ai@pve --tokens 'ai@pve!mcp' --roles R"
        );
    }

    #[test]
    fn one_line_makes_the_roles_and_gives_them() {
        let demands = [
            Demand::one("/vms/1", "VM.PowerMgmt"),
            Demand::one("/vms/2", "VM.PowerMgmt"),
            Demand::one("/storage/a", "Datastore.Audit"),
        ];
        assert_eq!(
            commands("a@pam", &demands.iter().collect::<Vec<_>>()),
            "pveum acl modify /storage/a --users a@pam --roles PVEAuditor && \
             pveum role add MCP-VM.PowerMgmt --privs VM.PowerMgmt && \
             pveum acl modify /vms/1 --users a@pam --roles MCP-VM.PowerMgmt && \
             pveum acl modify /vms/2 --users a@pam --roles MCP-VM.PowerMgmt"
        );
    }
}
