//! The table from Proxmox's words to what they mean and what to try, and the hints that are made of the words.

use crate::{
    error::Kind,
    pve::{
        grant,
        rights::{Demand, Lack},
    },
};

/// Words that must all occur (in lower case), what they mean, what to try. The first row that fits counts.
const TABLE: &[(&[&str], Kind, &str)] = {
    use Kind::*;
    &[
        // Locks.
        (
            &["ct is locked ("],
            Locked,
            "the lock names what holds it: wait for that task; if none runs, it is stale: `pct unlock VMID` on the node",
        ),
        (
            &["is locked ("],
            Locked,
            "the lock names what holds it: wait for that task; if none runs, it is stale: `qm unlock VMID` on the node",
        ),
        (
            &["can't lock file", "got timeout"],
            Locked,
            "another operation holds the lock, and Proxmox waited for it in vain: try again in a moment",
        ),
        (&["cfs-lock", "timeout"], Locked, "another operation holds the cluster-wide lock: try again in a moment"),
        (&["can't aquire lock"], Locked, "another operation holds the lock: try again in a moment"),
        (&["can't acquire lock"], Locked, "another operation holds the lock: try again in a moment"),
        // Changed or taken meanwhile.
        (
            &["checksum mismatch (file change"],
            Conflict,
            "somebody changed it since it was read: read it again, and repeat with the new digest",
        ),
        (
            &["detected modified configuration"],
            Conflict,
            "somebody changed it since it was read: read it again, and repeat with the new digest",
        ),
        (&["already exists"], Conflict, ""),
        (&["already defined"], Conflict, ""),
        (&["already in use"], Conflict, ""),
        (&["already a pool member"], Conflict, "allow-move takes it from its present pool"),
        // Rights that no ACL gives.
        (
            &["not available with api token"],
            Permission,
            "this call takes no API token: log in with PROXMOX_USERNAME and PROXMOX_PASSWORD",
        ),
        (&["only root can"], Permission, "reserved for root@pam with its password: a token of root will not do"),
        (&["user != root@pam"], Permission, "reserved for root@pam with its password: a token of root will not do"),
        (&["only root may"], Permission, "reserved for root@pam with its password: a token of root will not do"),
        (
            &["only allowed for root@pam"],
            Permission,
            "reserved for root@pam with its password: a token of root will not do",
        ),
        // The cluster.
        (&["no quorum"], Unavailable, "the cluster has no quorum: nothing can be changed until more nodes are up"),
        (&["hostname lookup", "failed"], NotFound, "no node has this name: proxmox-list-nodes shows those there are"),
        (&["no such cluster node"], NotFound, "no node has this name: proxmox-list-nodes shows those there are"),
        // States of guests.
        (
            &["no qemu guest agent configured"],
            Refused,
            "enable it in the VM's options (agent=1), restart the VM, and install qemu-guest-agent in it",
        ),
        (
            &["guest agent is not running"],
            Refused,
            "is the VM up, and is qemu-guest-agent installed and started in it?",
        ),
        (
            &["agent error: pid", "does not exist"],
            NotFound,
            "the agent hands a result out once and forgets it, and forgets all when it is started anew: what the command \
             did, it did",
        ),
        (
            &["agent error:", "has been disabled"],
            Refused,
            "the guest forbids it: see block-rpcs (or BLACKLIST_RPC) in the settings of its qemu-guest-agent",
        ),
        (&["agent error:", "has not been found"], Refused, "the guest's agent is too old for it"),
        (&["is running - destroy failed"], Refused, "stop it first"),
        (&["container is running"], Refused, "stop it first"),
        (&["template if vm is running"], Refused, "stop it first"),
        (&["already running"], Refused, "it is running: nothing to do"),
        (&["not running"], Refused, "start it first"),
        (&["protection mode enabled"], Refused, "switch the guest's protection off first"),
        (&["protected volume"], Refused, "take the backup's protection off first"),
        (
            &["powerdown failed", "got timeout"],
            Refused,
            "the guest did not react to the request to shut down: stop it, or shut down with forceStop",
        ),
        (&["contains snapshots"], Refused, "delete its snapshots first"),
        (
            &["linked clone feature is not supported"],
            Refused,
            "make a full clone, or clone a template on storage that can do linked clones",
        ),
        (&["snapshot feature is not available"], Refused, "the storage of one of its disks cannot take snapshots"),
        (&["vm uses local storage"], Refused, "clone on the same node, or move its disks to shared storage first"),
        (
            &["hotplug problem"],
            BadArgument,
            "the running guest did not take the change, which stays pending: it is made when the guest is stopped and started",
        ),
        (&["unable to shrink disk"], Refused, "disks only grow: give a larger size"),
        (&["shrinking disks is not supported"], Refused, "disks only grow: give a larger size"),
        (&["reserved name"], BadArgument, "choose another name"),
        // Storage.
        (&["storage '", "is disabled"], Refused, "enable the storage first"),
        (&["storage '", "is not online"], Refused, "the storage's server cannot be reached from the node"),
        (
            &["storage '", "is not available on node"],
            Refused,
            "this storage is not there on this node: see proxmox-list-storage",
        ),
        (&["no space left"], Refused, "the storage is full"),
        (&["not enough space"], Refused, "the storage is full"),
        (&["out of space"], Refused, "the storage is full"),
        (&["not empty"], Refused, "empty it first"),
        (&["have been migrated to rules"], Refused, "since Proxmox VE 9 there are HA rules in place of HA groups"),
        (&["not installed"], Refused, "the software for this is not installed on the node"),
        // Files that come to a storage.
        (
            &["invalid server response"],
            Refused,
            "the node itself fetches it: is the address right, and may the node reach it (proxy, firewall)?",
        ),
        (&["download failed"], Refused, "the node itself fetches it: is the address right, and may the node reach it?"),
        (&["refusing to override existing file"], Conflict, "delete the one that is there, or choose another filename"),
        (
            &["checksum mismatch: got"],
            Refused,
            "it is another file than the checksum is for, or was damaged on the way",
        ),
        (&["still in use by linked clones"], Refused, "delete the linked clones first"),
        (&["wrong file extension"], BadArgument, ""),
        // Arguments.
        (&["no options specified"], BadArgument, "name at least one thing to change"),
        (&["does not look like a valid"], BadArgument, ""),
        (&["invalid urlencoded string"], BadArgument, ""),
        (&["ssh public key validation error"], BadArgument, "one OpenSSH public key per line, whole"),
        (&["invalid bootorder"], BadArgument, "name only devices that the VM has"),
        // Not there.
        (
            &["configuration file '", "does not exist"],
            NotFound,
            "no such guest on this node, or it is of the other kind (VM, container)",
        ),
        (
            &["unable to find configuration file"],
            NotFound,
            "no such guest on this node, or it is of the other kind (VM, container)",
        ),
        (&["storage '", "does not exist"], NotFound, "proxmox-list-storage shows those there are"),
        (&["does not exist"], NotFound, ""),
        (&["no such file or directory"], Refused, ""),
        (&["no such"], NotFound, ""),
        (&["no rule at position"], NotFound, "positions shift with every change: list the rules again"),
        // Slow.
        (&["qmp", "timeout"], Timeout, "the VM's process does not answer: look whether it hangs"),
        (&["got timeout"], Timeout, ""),
    ]
};

/// What an error text of Proxmox means, from an answer or from the end of a task, and what to try (may be empty).
pub fn meaning(words: &str) -> Option<(Kind, &'static str)> {
    let words = words.to_ascii_lowercase();
    let row = TABLE.iter().find(|(wanted, _, _)| wanted.iter().all(|part| words.contains(part)))?;
    Some((row.1, row.2))
}

/// What to do about a 401. Since 2026 Proxmox says no more than "Authentication failed!".
pub fn unauthorized(message: &str, who: &str) -> String {
    let message = message.to_ascii_lowercase();
    let user = who.split('!').next().unwrap_or(who);
    if message.contains("csrf") {
        "a proxy on the way may drop the CSRFPreventionToken header: connect to the node itself".into()
    } else if message.contains("no ticket") {
        "the credentials did not arrive: a proxy on the way may drop the Authorization header".into()
    } else if !who.contains('!') {
        format!("{who} is not accepted although it could log in: disabled meanwhile, or the node's clock is wrong?")
    } else if message.contains("no such token") {
        format!("there is no token {who}: `pveum user token list {user}` shows those there are")
    } else if message.contains("expired") {
        format!("the token {who} has expired: make a new one with `pveum user token add`")
    } else {
        format!(
            "{who}: the secret is wrong, or the token does not exist or has expired. Check PROXMOX_TOKEN_ID \
             (user@realm!name) and PROXMOX_TOKEN_SECRET; `pveum user token list {user}` shows the tokens"
        )
    }
}

/// What is lacking where, from "Permission check failed (/vms/100, VM.Audit)"; several with `|` between them are any of
/// these. `None` where Proxmox does not say, as where one of several permissions would have done.
pub fn lack(message: &str) -> Option<Lack> {
    let (_, rest) = message.split_once("Permission check failed (")?;
    let (path, privileges) = rest.rsplit_once(')')?.0.split_once(", ")?;
    let privileges: Vec<String> = privileges.split(['|', ',']).map(|one| one.trim().to_owned()).collect();
    let is_one = |word: &String| !word.is_empty() && word.chars().all(|c| c.is_ascii_alphanumeric() || c == '.');
    if !path.starts_with('/') || !privileges.iter().all(is_one) {
        return None;
    }
    let demand = Demand { path: path.to_owned(), any: rest.contains('|'), privileges };
    Some(Lack { words: demand.words(), least: vec![demand.least()] })
}

/// Where it is not known what is lacking.
pub fn too_few(who: &str) -> String {
    let whose = if who.contains('!') { "the token and its user have" } else { "the user has" };
    format!("{whose} too few privileges: `pveum user permissions {}` shows them", grant::quoted(who))
}

/// Whether a 501 means that the server has no such method; there are others, for what it cannot read.
pub fn is_no_method(message: &str) -> bool {
    message.starts_with("Method '") && message.contains("' not implemented")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_proxmox_get_their_kind() {
        let cases = [
            ("VM is locked (backup)", Kind::Locked),
            ("can't lock file '/var/lock/qemu-server/lock-141.conf' - got timeout", Kind::Locked),
            ("error during cfs-locked 'file-user_cfg' operation: got lock request timeout", Kind::Locked),
            ("unable to create VM 110 - VM 110 already exists on node 'pve'", Kind::Conflict),
            ("create storage failed: storage ID 'scratch' already defined", Kind::Conflict),
            ("checksum mismatch (file change by other user?)", Kind::Conflict),
            (
                "update storage failed: detected modified configuration - file changed by other user? Try again.",
                Kind::Conflict,
            ),
            ("Configuration file 'nodes/pve/qemu-server/777.conf' does not exist", Kind::NotFound),
            ("unable to find configuration file for VM 777 on node 'pve'", Kind::NotFound),
            ("no such cluster node 'other'", Kind::NotFound),
            (
                "hostname lookup 'nosuchnode' failed - failed to get address info for: nosuchnode: Name or service not known",
                Kind::NotFound,
            ),
            ("400 Parameter verification failed.\nid: No such job 'bk1'", Kind::NotFound),
            ("only root can set 'lock' config", Kind::Permission),
            ("VM 120 not running", Kind::Refused),
            ("VM quit/powerdown failed - got timeout", Kind::Refused),
            ("VM 100 qmp command 'query-status' failed - got timeout", Kind::Timeout),
            ("no options specified", Kind::BadArgument),
        ];
        for (words, kind) in cases {
            assert_eq!(meaning(words).map(|(kind, _)| kind), Some(kind), "{words}");
        }
        assert_eq!(meaning("something new"), None);
    }

    #[test]
    fn a_lacking_privilege_is_named_with_the_command_that_grants_it() {
        let told = |message: &str, who: &str| lack(message).map(|lack| grant::told(who, &[lack]));
        assert_eq!(
            told("Permission check failed (/vms/100, VM.PowerMgmt)\n", "ai@pve!mcp").as_deref(),
            Some(
                "ai@pve!mcp lacks VM.PowerMgmt on /vms/100: `pveum role add MCP-VM.PowerMgmt --privs VM.PowerMgmt && \
                 pveum acl modify /vms/100 --tokens 'ai@pve!mcp' --roles MCP-VM.PowerMgmt`; a token has at most the rights \
                 of its user: add --users ai@pve where that lacks it too; roles given on a path replace there those from \
                 above it: name these as well"
            )
        );
        assert_eq!(
            told("Permission check failed (/, Sys.Audit)", "root@pam!x").as_deref(),
            Some("root@pam!x lacks Sys.Audit on /: `pveum acl modify / --tokens 'root@pam!x' --roles PVEAuditor`")
        );
        let any = "Permission check failed (/vms/1, VM.GuestAgent.Audit|VM.GuestAgent.Unrestricted)";
        let any = told(any, "a@pam").unwrap_or_default();
        assert!(
            any.starts_with("a@pam lacks VM.GuestAgent.Audit or VM.GuestAgent.Unrestricted on /vms/1: `pveum acl"),
            "{any}"
        );
        assert!(any.contains("--users a@pam --roles PVEAuditor`"), "{any}");
        for silent in [
            "Permission check failed",
            "Permission check failed (pool 'nosuch' does not exist)",
            "Permission check failed (user != root@pam)",
            "Permission check failed (URI '/access/ticket' not available with API token, need proper ticket.\n)",
        ] {
            assert_eq!(lack(silent), None, "{silent}");
        }
        assert!(too_few("a@pam").contains("pveum user permissions a@pam"));
    }

    #[test]
    fn the_table_is_written_in_lower_case() {
        for (words, ..) in TABLE {
            assert!(words.iter().all(|part| *part == part.to_ascii_lowercase()), "{words:?}");
        }
    }
}
