//! Every change of what is not a guest's own, taken back: by the call that its outcome names, after which the cluster is
//! what it was before, or not at all, and then the outcome says why. Each in a cluster of its own.
#![expect(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod support;

use std::time::Duration;

use proxmox_mcp::tools::FAMILIES;
use serde_json::{Value, json};
use support::{OF_THE_CLUSTER, Test};

/// What is not brought back, tool by tool: facts that hold this are left out of the comparison.
const NOT_BACK: &[(&str, &[&str])] = &[
    // A new job was made later.
    ("proxmox-delete-replication", &["replication/103-0/created"]),
    // The note says so: Proxmox deletes rules that name nobody.
    ("proxmox-ha-remove", &["ha/rules"]),
    // They started anew, which applied what was waiting for that.
    ("proxmox-shutdown-node", &["nodes/pve3/boot", "/run/Run/since", "/run/Run/pid", "/started_with/"]),
    ("proxmox-stop-all-guests", &["/run/Run/since", "/run/Run/pid", "/started_with/"]),
    // The notes say so.
    ("proxmox-delete-user", &["alice@pve/tokens", "alice@pve/email", "alice@pve/firstname"]),
    ("proxmox-delete-group", &["alice@pve/groups", "/pool/development/groups"]),
    ("proxmox-delete-role", &["/pool/development/groups"]),
];

/// A firewall that was never touched has a file once it was, in which there is nothing.
const UNTOUCHED: &[&str] = &["/options: {}", "/rules: []", "/aliases: {}", "/sets: {}", "/groups: {}"];

/// Why these examples cannot be taken back.
const NEVER: &[(&str, &str)] = &[
    ("proxmox-backup-delete", "a deleted backup cannot be brought back"),
    ("proxmox-prune-backups", "deleted backups cannot be brought back"),
    ("proxmox-run-backup-job", "it makes several backups: proxmox-backup-delete takes them away one by one"),
    ("proxmox-replicate-now", "what was copied stays copied; the guest itself is as it was"),
    ("proxmox-delete-volume", "a deleted volume cannot be brought back"),
    ("proxmox-guest-exec", "what the command did is not known"),
    ("proxmox-agent-ping", "nothing changes"),
    ("proxmox-agent-file-write", "what the file held before is not kept"),
    ("proxmox-agent-set-password", "the former password is not known"),
    ("proxmox-agent-fstrim", "what was trimmed held nothing that is used"),
    ("proxmox-stop-task", "nothing changes"),
    ("proxmox-reboot-node", "a reboot cannot be taken back"),
    ("proxmox-wake-node", "nothing changes"),
    ("proxmox-delete-token", "a token's secret cannot be made again"),
    ("proxmox-api-write", "what takes back any request is not known"),
];

async fn example(test: &Test, arguments: &str) -> Value {
    let mut arguments: Value = serde_json::from_str(arguments).unwrap();
    if arguments["upid"] == "UPID:…" {
        let tasks = test.call("proxmox-list-tasks", json!({"limit": 1})).await;
        arguments["upid"] = tasks["tasks"][0]["upid"].clone();
    }
    arguments
}

/// Time for what Proxmox does in the background; some of it shows when it is looked at.
async fn settled(test: &Test) {
    tokio::time::sleep(Duration::from_secs(300)).await;
    test.call("proxmox-list-replication", json!({})).await;
}

/// Makes the call that an outcome names.
async fn take_back(test: &Test, outcome: &Value) -> Value {
    let undo = &outcome["undo"];
    let (tool, mut arguments) =
        (undo["tool"].as_str().unwrap_or_else(|| panic!("no undo: {outcome}")), undo["arguments"].clone());
    assert_eq!(arguments.get("confirm"), None, "whoever makes the call confirms it: {undo}");
    arguments["confirm"] = json!(true);
    arguments["wait"] = json!(true);
    test.call(tool, arguments).await
}

/// The state as lines that each say where they stand, as in `guests/100/node: "pve1"`, whatever their order.
fn facts(snapshot: &str) -> Vec<String> {
    let mut path: Vec<(String, usize)> = Vec::new();
    let mut out: Vec<String> = Vec::new();
    let mut key = None;
    for line in snapshot.lines().map(|line| line.trim().trim_end_matches(',')) {
        let closes = line.starts_with(['}', ']', ')']);
        if closes {
            path.pop();
        }
        let count = path.last_mut().map_or(0, |(_, count)| std::mem::replace(count, *count + 1));
        let place = || path.iter().map(|(name, _)| format!("{name}/")).collect::<String>();
        match line.strip_suffix(['{', '[', '(']) {
            Some("") => path.push((count.to_string(), 0)),
            Some(open) if closes => path.push((open.trim_start_matches([')', ':', ' ']).to_owned(), 0)),
            Some(open) => path.push((open.split([':', ' ']).next().unwrap_or_default().replace('"', ""), 0)),
            None if closes => {}
            // A configuration is a list of pairs, in the order in which they were set.
            None if path.iter().rev().nth(2).is_some_and(|(name, _)| name == "Config" || name.ends_with("config")) => {
                match key.take() {
                    None => key = Some(line.to_owned()),
                    Some(key) => {
                        let place: String = path[..path.len() - 2].iter().map(|(name, _)| format!("{name}/")).collect();
                        out.push(format!("{place}{key}: {line}"));
                    }
                }
            }
            None => out.push(place() + line),
        }
    }
    out.sort();
    out
}

/// What moves by itself: the counter that tells lists apart, and what the statistics daemon saw last.
const BY_ITSELF: &[&str] = &["/changed: ", "/shown/", "/ran/", "/ran: "];

/// What one has and the other has not; nothing where both are the same.
fn difference(before: &str, after: &str, leave_out: &[&str]) -> String {
    let kept = |text: &str| -> Vec<String> {
        let out = |fact: &String| leave_out.iter().chain(BY_ITSELF).any(|part| fact.contains(part));
        facts(text).into_iter().filter(|fact| !out(fact)).collect()
    };
    let (before, after) = (kept(before), kept(after));
    if before == after {
        return String::new();
    }
    let part = |all: &[String], others: &[String], mark: &str| {
        all.iter().filter(|fact| !others.contains(fact)).map(|fact| format!("{mark} {fact}\n")).collect::<String>()
    };
    format!("{}{}", part(&before, &after, "-"), part(&after, &before, "+"))
}

/// Runs a call, takes it back, and compares.
async fn there_and_back(test: &Test, tool: &str, arguments: Value, leave_out: &[&str]) -> Value {
    let before = test.sandbox.snapshot();
    let outcome = test.call(tool, arguments.clone()).await;
    settled(test).await;
    assert_ne!(difference(&before, &test.sandbox.snapshot(), &[]), "", "{tool} {arguments} changes nothing: {outcome}");
    take_back(test, &outcome).await;
    settled(test).await;
    let left = difference(&before, &test.sandbox.snapshot(), leave_out);
    assert_eq!(left, "", "{tool} {arguments} is not taken back by {}", outcome["undo"]);
    outcome
}

#[tokio::test(start_paused = true)]
async fn every_example_is_taken_back_or_says_why_not() {
    let tools = FAMILIES.iter().filter(|(family, _)| OF_THE_CLUSTER.contains(family)).flat_map(|(_, tools)| *tools);
    let mut bad = Vec::new();
    for entry in tools.filter(|entry| entry.control.is_some()) {
        let test = support::start(support::options()).await;
        let arguments = example(&test, entry.example.1).await;
        let before = test.sandbox.snapshot();
        let outcome = test.call(entry.name, arguments.clone()).await;
        settled(&test).await;
        if let Some(why) = outcome["no_undo"].as_str() {
            if !NEVER.contains(&(entry.name, why)) {
                bad.push(format!("{}: never {why}", entry.name));
            }
            continue;
        }
        if outcome["undo"].is_null() {
            bad.push(format!("{}: none", entry.name));
            continue;
        }
        take_back(&test, &outcome).await;
        settled(&test).await;
        let leave = NOT_BACK.iter().find(|(tool, _)| *tool == entry.name).map_or(&[][..], |(_, leave)| *leave);
        let left = difference(&before, &test.sandbox.snapshot(), leave);
        if !left.is_empty() {
            bad.push(format!("{} {}:\n{left}", entry.name, outcome["undo"]));
        }
    }
    assert!(bad.is_empty(), "{}", bad.join("\n"));
}

#[tokio::test(start_paused = true)]
async fn firewalls_get_their_rules_and_options_back() {
    for (tool, arguments) in [
        ("proxmox-firewall-set", json!({"enable": true, "options": {"policy_in": "ACCEPT"}})),
        ("proxmox-firewall-set", json!({"node": "pve2", "options": {"nosmurfs": false}, "rules": ["IN DROP -p udp"]})),
        ("proxmox-vm-firewall-set", json!({"vmid": 101, "enable": false, "options": {"log_level_in": "nolog"}})),
        ("proxmox-vm-firewall-set", json!({"vmid": 101, "options": {"log_level_in": null}})),
        ("proxmox-vm-firewall-set", json!({"vmid": 101, "rules": ["|IN HTTP(ACCEPT) # later"], "replace": true})),
        ("proxmox-vm-firewall-set", json!({"vmid": 101, "rules": ["OUT DROP"], "enable": false})),
        ("proxmox-firewall-rule-delete", json!({"vmid": 101, "pos": 1})),
        ("proxmox-firewall-object-set", json!({"kind": "group", "name": "webserver", "members": ["IN Ping(ACCEPT)"]})),
        ("proxmox-firewall-object-set", json!({"kind": "group", "name": "webserver", "comment": "the web"})),
        ("proxmox-firewall-object-set", json!({"kind": "group", "name": "new", "members": ["|IN DROP"]})),
        (
            "proxmox-firewall-object-set",
            json!({"kind": "ipset", "name": "admins", "members": ["10.0.0.0/24", "!10.0.0.9"]}),
        ),
        ("proxmox-firewall-object-set", json!({"kind": "ipset", "name": "admins", "comment": "few"})),
        (
            "proxmox-firewall-object-set",
            json!({"kind": "ipset", "vmid": 101, "name": "own", "members": ["10.1.0.0/16"]}),
        ),
        ("proxmox-firewall-object-set", json!({"kind": "alias", "name": "office", "members": ["10.9.0.0/16"]})),
    ] {
        let test = support::start(support::options()).await;
        let mut arguments = arguments;
        arguments["confirm"] = json!(true);
        there_and_back(&test, tool, arguments, UNTOUCHED).await;
    }
}

#[tokio::test(start_paused = true)]
async fn deleted_ip_sets_and_aliases_are_made_again() {
    let test = support::start(support::options()).await;
    for (kind, members) in
        [("ipset", json!(["10.1.0.0/16", "!10.1.2.3", "10.2.0.1"])), ("alias", json!(["10.9.0.0/16"]))]
    {
        let new = json!({"kind": kind, "name": "office", "members": members, "comment": "ours", "confirm": true});
        test.call("proxmox-firewall-object-set", new).await;
        let changed =
            json!({"kind": kind, "name": "office", "members": ["192.0.2.0/24"], "comment": "", "confirm": true});
        there_and_back(&test, "proxmox-firewall-object-set", changed, &[]).await;
        let gone = json!({"kind": kind, "name": "office", "confirm": true});
        let outcome = there_and_back(&test, "proxmox-firewall-object-delete", gone, &[]).await;
        assert_eq!(outcome["undo"]["note"], Value::Null, "nothing is lost: {outcome}");
    }
    let gone = json!({"kind": "ipset", "name": "admins", "confirm": true});
    let outcome = test.call("proxmox-firewall-object-delete", gone).await;
    assert_eq!(outcome["undo"]["note"], "not the comments of its members");
}

#[tokio::test(start_paused = true)]
async fn guests_go_back_to_the_pool_they_came_from() {
    let test = support::start(support::options()).await;
    for arguments in
        [json!({"poolid": "archive", "vmid": 100, "allow_move": true}), json!({"poolid": "archive", "storage": "nas"})]
    {
        let mut arguments = arguments;
        arguments["confirm"] = json!(true);
        there_and_back(&test, "proxmox-pool-add", arguments, &[]).await;
    }
    test.call("proxmox-pool-add", json!({"poolid": "archive", "storage": "nas", "confirm": true})).await;
    there_and_back(&test, "proxmox-pool-remove", json!({"poolid": "archive", "storage": "nas", "confirm": true}), &[])
        .await;
}

#[tokio::test(start_paused = true)]
async fn permissions_are_taken_away_or_given_back() {
    let test = support::start(support::options()).await;
    let assign = |mut arguments: Value| {
        arguments["confirm"] = json!(true);
        arguments
    };
    let give =
        json!({"path": "/vms/100", "roles": ["PVEVMUser", "PVEAuditor"], "users": ["alice@pve"], "groups": ["admins"]});
    there_and_back(&test, "proxmox-assign-permission", assign(give), &[]).await;
    let take = json!({"path": "/pool/development", "roles": "Operator", "groups": "operators", "remove": true});
    there_and_back(&test, "proxmox-assign-permission", assign(take), &[]).await;
    let turn = json!({"path": "/", "roles": "PVEAuditor", "users": "auditor@pve", "propagate": false});
    there_and_back(&test, "proxmox-assign-permission", assign(turn), &[]).await;
    // Only alice's is new: only hers goes.
    let more = json!({"path": "/", "roles": "PVEAuditor", "users": ["auditor@pve", "alice@pve"]});
    let outcome = there_and_back(&test, "proxmox-assign-permission", assign(more), &[]).await;
    assert_eq!(outcome["undo"]["arguments"]["users"], json!(["alice@pve"]));
    let mixed = json!({"path": "/", "roles": ["PVEAuditor", "PVEVMUser"], "users": ["auditor@pve", "alice@pve"]});
    let outcome = test.call("proxmox-assign-permission", assign(mixed)).await;
    assert_eq!(outcome["no_undo"], "some of it was given before: one call cannot set each entry to what it was");
    let same = json!({"path": "/", "roles": "PVEAuditor", "users": "auditor@pve"});
    assert_eq!(test.call("proxmox-assign-permission", assign(same)).await["no_undo"], "nothing changes");
}

#[tokio::test(start_paused = true)]
async fn users_groups_and_high_availability_are_set_to_what_they_were() {
    let test = support::start(support::options()).await;
    for (tool, arguments) in [
        (
            "proxmox-update-user",
            json!({"userid": "alice@pve", "groups": ["admins"], "expire": 1_900_000_000, "comment": ""}),
        ),
        ("proxmox-update-user", json!({"userid": "root@pam", "comment": "the one", "groups": ["admins"]})),
        ("proxmox-ha-set", json!({"vmid": 103, "state": "started", "max_restart": 5, "comment": "moved"})),
    ] {
        let mut arguments = arguments;
        arguments["confirm"] = json!(true);
        there_and_back(&test, tool, arguments, &[]).await;
    }
    let unlocked = json!({"userid": "alice@pve", "enable": true, "confirm": true});
    assert_eq!(test.call("proxmox-update-user", unlocked).await["no_undo"], "nothing changes");
}

#[tokio::test(start_paused = true)]
async fn a_job_that_would_run_where_it_did_not_is_not_made_again() {
    let test = support::start(support::options()).await;
    let job = "/cluster/backup/backup-nightly";
    let off = json!({"method": "PUT", "path": job, "params": {"enabled": 0}, "confirm": true});
    let on = json!({"method": "PUT", "path": job, "params": {"enabled": 1, "node": "pve1", "compress": "gzip"}, "confirm": true});
    let delete = json!({"id": "backup-nightly", "dry_run": true});
    test.call("proxmox-api-write", off).await;
    let outcome = test.call("proxmox-delete-backup-job", delete.clone()).await;
    assert_eq!(outcome["no_undo"], "the job was disabled, and a new one would run");
    test.call("proxmox-api-write", on).await;
    let outcome = test.call("proxmox-delete-backup-job", delete).await;
    assert_eq!(outcome["undo"]["note"], "not the job's own node, compress");
}

#[tokio::test(start_paused = true)]
async fn what_was_made_beside_others_goes_and_what_was_overwritten_is_lost() {
    let test = support::start(support::options()).await;
    let upload = json!({"node": "pve1", "storage": "local", "file_path": "debian.iso", "confirm": true});
    let first = test.call("proxmox-upload-iso", upload.clone()).await;
    assert_eq!(first["undo"]["arguments"], json!({"volid": "local:iso/debian.iso", "node": "pve1"}));
    let second = test.call("proxmox-upload-iso", upload).await;
    assert_eq!(second["no_undo"], "the file that it takes the place of is gone");
    let backup = json!({"vmid": 101, "storage": "nas", "protected": true, "confirm": true});
    let kept = test.call("proxmox-backup-vm", backup.clone()).await;
    assert!(kept["no_undo"].as_str().unwrap().starts_with("the backup is protected"), "{kept}");
    let mut later = backup;
    later["wait"] = json!(false);
    let running = test.call("proxmox-backup-vm", later).await;
    assert!(running["no_undo"].as_str().unwrap().contains("known once it is made"), "{running}");
    settled(&test).await;
    let planned = test.call("proxmox-restore-vm", json!({"vmid": 105, "source_vmid": 100, "force": true})).await;
    assert_eq!(planned["no_undo"], "what the guest had is overwritten");
}
