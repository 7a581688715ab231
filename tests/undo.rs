//! Every outcome says how it is taken back, and what it says is true: the call is made, and the cluster is as it was.
#![expect(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod support;

use std::{collections::BTreeMap, time::Duration};

use proxmox_mcp::tool::Entry;
use serde_json::{Map, Value, json};
use support::{OF_THE_CLUSTER, Test, options, start};

/// Only what came of them tells how they are taken back.
const BY_RESULT: &[&str] = &["proxmox-backup-vm"];

/// What is not as before, of which tool (or of all), and why that is no matter. Parts of the paths that [`state`] makes.
const DIFFERS: &[(&str, &str, &str)] = &[
    ("", "changed:", "counts changes"),
    ("", "shown:", "what the statistics daemon saw last"),
    ("", "ran:", "when it last ran"),
    ("", "since:", "when it was started"),
    ("", "pid:", "of its process"),
    ("proxmox-move-disk", "vm-100-disk-", "the copy is kept, so that what comes back has another number"),
    ("proxmox-move-lxc-volume", "ctime:", "the volume was made anew"),
    ("proxmox-migrate-storage", "ctime:", "the volume was made anew"),
];

/// The actions on guests.
fn actions() -> impl Iterator<Item = &'static Entry> {
    let families = proxmox_mcp::tools::FAMILIES.iter().filter(|(family, _)| !OF_THE_CLUSTER.contains(family));
    families.flat_map(|(_, tools)| tools.iter()).filter(|entry| entry.control.is_some() && !entry.audited)
}

/// The simulated cluster's state: what holds a value, and the value. The order of a configuration's keys does not count.
fn state(test: &Test) -> Vec<String> {
    let pair = regex::Regex::new(r#"\(\n\s*("(?:[^"\\]|\\.)*",)\n\s*("(?:[^"\\]|\\.)*"),\n\s*\)"#).unwrap();
    let text = test.sandbox.snapshot();
    let text = pair.replace_all(&text, "$1 $2");
    let mut open: Vec<(usize, String, Option<usize>)> = Vec::new();
    let mut all = Vec::new();
    for line in text.lines() {
        let depth = line.len() - line.trim_start().len();
        let line = line.trim().trim_end_matches(',');
        while open.last().is_some_and(|(above, ..)| *above >= depth) {
            open.pop();
        }
        if matches!(line, "}" | ")" | "]" | "})") {
            continue;
        }
        // What stands in a list has its number; the pairs of a configuration have none.
        let mut name = line.trim_end_matches(['{', '(', '[', ' ']).to_owned();
        if let Some((_, _, Some(next))) = open.last_mut()
            && !line.starts_with('"')
        {
            name = format!("{next} {name}");
            *next += 1;
        }
        if line.ends_with(['{', '(', '[']) {
            open.push((depth, name, line.ends_with('[').then_some(0)));
        } else {
            let path: Vec<&str> = open.iter().map(|(_, name, _)| name.as_str()).collect();
            all.push(format!("{} / {name}", path.join(" / ")));
        }
    }
    all.sort();
    all
}

/// What only one of both has, but for what may differ.
fn differences(tool: &str, before: &[String], after: &[String]) -> Vec<String> {
    let mut count: BTreeMap<&str, i32> = BTreeMap::new();
    before.iter().for_each(|line| *count.entry(line).or_default() -= 1);
    after.iter().for_each(|line| *count.entry(line).or_default() += 1);
    let explained =
        |line: &str| DIFFERS.iter().any(|(of, part, _)| (of.is_empty() || *of == tool) && line.contains(part));
    let sign = |n: i32| if n < 0 { '-' } else { '+' };
    let lines = count.into_iter().filter(|(line, n)| *n != 0 && !explained(line));
    lines.map(|(line, n)| format!("{} {line}", sign(n))).collect()
}

fn object(value: &Value) -> Map<String, Value> {
    value.as_object().cloned().unwrap()
}

fn entry(tool: &str) -> &'static Entry {
    proxmox_mcp::tools::all().find(|entry| entry.name == tool).unwrap_or_else(|| panic!("no tool {tool}"))
}

/// Makes a call, confirmed and waited for where the tool knows such a thing.
async fn run(test: &Test, tool: &str, mut arguments: Map<String, Value>) -> Value {
    let control = entry(tool).control.unwrap();
    if control.confirm {
        arguments.insert("confirm".to_owned(), json!(true));
    }
    arguments.insert("wait".to_owned(), json!(true));
    let done = test.call(tool, Value::Object(arguments)).await;
    assert_eq!(done["state"], "done", "{tool}: {done}");
    // Tasks that others follow on, and what a guest does by itself.
    tokio::time::sleep(Duration::from_secs(60)).await;
    done
}

/// Makes the call that an outcome names.
async fn take_back(test: &Test, done: &Value) -> Value {
    let undo = &done["undo"];
    let tool = undo["tool"].as_str().unwrap_or_else(|| panic!("no undo: {done}"));
    assert!(undo["arguments"].get("confirm").is_none(), "{undo}");
    run(test, tool, object(&undo["arguments"])).await
}

/// Does something and takes it back; what is not as before.
async fn there_and_back(test: &Test, tool: &str, arguments: Value) -> Vec<String> {
    let before = state(test);
    let done = run(test, tool, object(&arguments)).await;
    take_back(test, &done).await;
    differences(tool, &before, &state(test))
}

#[tokio::test(start_paused = true)]
async fn every_outcome_says_how_it_is_taken_back_or_why_it_is_not() {
    let mut wrong = Vec::new();
    for entry in proxmox_mcp::tools::all().filter(|entry| entry.control.is_some() && !entry.audited) {
        let test = start(options()).await;
        let arguments = test.example(entry).await;
        let mut dry = object(&arguments);
        dry.insert("dry_run".to_owned(), json!(true));
        let planned = test.call(entry.name, Value::Object(dry)).await;
        let done = test.call(entry.name, arguments).await;
        let says = |outcome: &Value| (outcome["undo"].clone(), outcome["no_undo"].clone());
        for outcome in [&planned, &done] {
            if outcome["undo"].is_object() == outcome["no_undo"].is_string() {
                wrong.push(format!("{} ({}): {:?}", entry.name, outcome["state"], says(outcome)));
            }
        }
        if says(&planned) != says(&done) && !BY_RESULT.contains(&entry.name) {
            wrong.push(format!("{}: planned {:?}, done {:?}", entry.name, says(&planned), says(&done)));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[tokio::test(start_paused = true)]
async fn what_is_taken_back_is_as_it_was() {
    let mut wrong = Vec::new();
    for entry in actions() {
        let test = start(options()).await;
        let arguments = object(&serde_json::from_str(entry.example.1).unwrap());
        let before = state(&test);
        let done = run(&test, entry.name, arguments).await;
        if done["undo"].is_null() {
            continue;
        }
        take_back(&test, &done).await;
        let differences = differences(entry.name, &before, &state(&test));
        if !differences.is_empty() {
            wrong.push(format!("{} ({}):\n  {}", entry.name, done["undo"], differences.join("\n  ")));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The undo of something planned and not done.
async fn undo_of(test: &Test, tool: &str, arguments: Value) -> Value {
    let mut arguments = object(&arguments);
    arguments.insert("dry_run".to_owned(), json!(true));
    test.call(tool, Value::Object(arguments)).await
}

#[tokio::test(start_paused = true)]
async fn options_get_their_former_values_back_or_are_unset() {
    for (vmid, params) in [
        // Set before, not set before, in part, several at once.
        (107, json!({"memory": 6144})),
        (107, json!({"balloon": 1024, "description": "two\nlines", "tags": "x;y"})),
        (107, json!({"net0": {"tag": 20, "firewall": true}})),
        (107, json!({"cores": 8, "onboot": true, "name": "other"})),
        // Unset.
        (107, json!({"net0": null, "agent": null, "ostype": null})),
        (9000, json!({"ipconfig0": null, "ciuser": null, "sshkeys": null})),
        (111, json!({"memory": 4096, "swap": 0, "tags": null, "onboot": 1})),
        (111, json!({"net1": {"name": "eth1", "bridge": "vmbr1", "ip": "dhcp"}})),
    ] {
        let test = start(options()).await;
        let tool = if vmid == 111 { "proxmox-configure-lxc" } else { "proxmox-configure-vm" };
        let left = there_and_back(&test, tool, json!({"vmid": vmid, "params": params})).await;
        assert_eq!(left, Vec::<String>::new(), "{vmid} {params}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_pending_change_that_is_dropped_can_be_made_again() {
    let test = start(options()).await;
    run(&test, "proxmox-configure-vm", object(&json!({"vmid": 100, "params": {"cores": 3}}))).await;
    let before = state(&test);
    assert!(before.iter().any(|line| line.contains("pending") && line.contains("\"cores\", \"3\"")), "it waits");
    let dropped = run(&test, "proxmox-configure-vm", object(&json!({"vmid": 100, "revert": ["cores"]}))).await;
    take_back(&test, &dropped).await;
    assert_eq!(differences("", &before, &state(&test)), Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn what_changes_nothing_says_so() {
    let test = start(options()).await;
    for (tool, arguments, why) in [
        ("proxmox-start-vm", json!({"vmid": 100}), "nothing changes: it was running"),
        ("proxmox-stop-vm", json!({"vmid": 107}), "nothing changes: it was stopped"),
        ("proxmox-resume-vm", json!({"vmid": 100}), "nothing changes: it was not paused"),
        ("proxmox-tags-remove", json!({"vmid": 100, "tags": ["none-such"]}), "nothing changes"),
        ("proxmox-configure-vm", json!({"vmid": 107, "params": {"name": "scratch-01"}}), "nothing changes"),
    ] {
        assert_eq!(undo_of(&test, tool, arguments).await["no_undo"], why, "{tool}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_destroyed_is_not_promised_back() {
    let test = start(options()).await;
    for (tool, arguments, word) in [
        ("proxmox-delete-vm", json!({"vmid": 107}), "proxmox-restore-vm"),
        ("proxmox-disk-remove", json!({"vmid": 107, "disk": "scsi0", "force": true}), "is destroyed"),
        ("proxmox-configure-vm", json!({"vmid": 107, "delete": ["scsi0"], "params": {"force": true}}), "is destroyed"),
        ("proxmox-resize-vm-disk", json!({"vmid": 107, "grow_gb": 1}), "smaller"),
        ("proxmox-rollback-snapshot", json!({"vmid": 100, "snapname": "before-upgrade"}), "is lost"),
        ("proxmox-delete-snapshot", json!({"vmid": 100, "snapname": "before-upgrade"}), "is gone"),
        ("proxmox-template-vm", json!({"vmid": 107}), "stays one"),
        ("proxmox-reset-vm", json!({"vmid": 100}), "cannot be taken back"),
        ("proxmox-vm-notes-update", json!({"vmid": 9000, "content": "new", "backup": false}), "not kept"),
    ] {
        let planned = undo_of(&test, tool, arguments).await;
        assert!(planned["no_undo"].as_str().unwrap_or_default().contains(word), "{tool}: {planned}");
    }
    // In part: the rest comes back, and the note tells what does not.
    let arguments = json!({"vmid": 107, "delete": ["scsi0"], "params": {"force": true, "cores": 8}});
    let planned = undo_of(&test, "proxmox-configure-vm", arguments).await;
    assert_eq!(planned["undo"]["arguments"]["params"].as_object().unwrap().keys().collect::<Vec<_>>(), ["cores"]);
    assert!(planned["undo"]["note"].as_str().unwrap().contains("is destroyed"), "{planned}");
}

#[tokio::test(start_paused = true)]
async fn a_network_card_comes_back_with_its_address_and_its_place_in_the_boot_order() {
    let test = start(options()).await;
    let left = there_and_back(&test, "proxmox-vm-nic-remove", json!({"vmid": 107, "slot": 0})).await;
    assert_eq!(left, Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn a_detached_disk_comes_back_and_is_booted_from() {
    let test = start(options()).await;
    for (tool, arguments) in [
        ("proxmox-disk-detach", json!({"vmid": 107, "disk": "scsi0"})),
        ("proxmox-configure-vm", json!({"vmid": 107, "delete": ["scsi0"]})),
    ] {
        assert_eq!(there_and_back(&test, tool, arguments).await, Vec::<String>::new(), "{tool}");
    }
}

#[tokio::test(start_paused = true)]
async fn disks_that_were_made_go_and_those_that_were_attached_are_detached() {
    let test = start(options()).await;
    let added = json!({"vmid": 107, "size_gb": 4, "storage": "local-lvm", "boot": true});
    assert_eq!(there_and_back(&test, "proxmox-disk-add", added).await, Vec::<String>::new());
    run(&test, "proxmox-disk-detach", object(&json!({"vmid": 107, "disk": "scsi0"}))).await;
    let attached = json!({"vmid": 107, "volume": "unused0"});
    assert_eq!(there_and_back(&test, "proxmox-disk-add", attached).await, Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn a_way_back_that_would_take_more_along_is_not_offered() {
    let test = start(options()).await;
    for storage in ["nas", "local-lvm"] {
        let added = json!({"vmid": 101, "size_gb": 4, "storage": storage});
        run(&test, "proxmox-disk-add", object(&added)).await;
    }
    let moved = json!({"vmid": 101, "source_storage": "nas", "target_storage": "local-lvm"});
    let planned = undo_of(&test, "proxmox-migrate-storage", moved).await;
    assert!(planned["no_undo"].as_str().unwrap_or_default().contains("one by one"), "{planned}");
}

#[tokio::test(start_paused = true)]
async fn a_guest_that_moved_comes_back_with_its_disks_to_their_storage() {
    let test = start(options()).await;
    let moved = json!({"vmid": 107, "target_node": "pve1", "with_local_disks": true, "target_storage": "local"});
    let planned = undo_of(&test, "proxmox-migrate-vm", moved).await;
    let back = &planned["undo"]["arguments"];
    assert_eq!((&back["with_local_disks"], &back["target_storage"]), (&json!(true), &json!("local-lvm")), "{planned}");
}

#[tokio::test(start_paused = true)]
async fn former_passwords_are_neither_told_nor_promised() {
    let test = start(options()).await;
    let first = json!({"vmid": 9000, "cipassword": "first-secret", "ciuser": "ops"});
    let done = run(&test, "proxmox-cloudinit-set", object(&first)).await;
    assert_eq!(done["undo"]["arguments"]["cipassword"], "", "none was set: {done}");
    let second = json!({"vmid": 9000, "cipassword": "second-secret", "ciuser": "admin"});
    let done = run(&test, "proxmox-cloudinit-set", object(&second)).await;
    assert!(done["undo"]["note"].as_str().unwrap().contains("password"), "{done}");
    assert!(!done.to_string().contains("first-secret") && !done.to_string().contains("second-secret"), "{done}");
    let only = json!({"vmid": 9000, "cipassword": "third-secret"});
    let done = run(&test, "proxmox-cloudinit-set", object(&only)).await;
    assert!(done["no_undo"].as_str().unwrap().contains("not readable"), "{done}");
}
