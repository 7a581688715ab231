//! What the operator does not allow leaves the cluster as it was, to the byte: every tool that changes something, against every
//! kind of refusal.
#![expect(clippy::unwrap_used, clippy::panic, clippy::print_stdout, reason = "tests")]

mod support;

use std::time::Duration;

use proxmox_mcp::{
    config::Safety,
    confirm,
    policy::{Effect, Mode, rules::Rules},
    sandbox::Sandbox,
    tool::Entry,
    tools,
};
use serde_json::{Value, json};
use support::{Test, everything};

async fn start(safety: Safety) -> Test {
    let sandbox = Sandbox::new(support::options());
    let mut config = proxmox_mcp::embedded::cluster_config(&sandbox);
    config.upload_dir = Some(support::upload_dir());
    support::guarded(sandbox, config, safety).await
}

fn with(change: impl FnOnce(&mut Safety)) -> Safety {
    let mut safety = everything();
    change(&mut safety);
    safety
}

/// Every tool that changes something and is there without an audit log.
fn actions() -> impl Iterator<Item = &'static Entry> {
    tools::all().filter(|entry| entry.control.is_some() && !entry.audited)
}

/// What came of a tool's example, confirmed, and whether the cluster is as it was before.
async fn attempt(test: &Test, entry: &Entry) -> (Result<Value, String>, bool) {
    let mut arguments = test.example(entry).await;
    if entry.control.unwrap().confirm {
        arguments["confirm"] = json!(true);
    }
    run(test, entry.name, arguments).await
}

async fn run(test: &Test, tool: &str, arguments: Value) -> (Result<Value, String>, bool) {
    let before = test.sandbox.snapshot();
    test.sent.forget();
    let answer = test.mcp.call(tool, arguments).await.map_err(|e| e.to_string());
    (answer, test.sent.writes().is_empty() && test.sandbox.snapshot() == before)
}

#[tokio::test(start_paused = true)]
async fn read_only_lists_and_lets_pass_nothing_that_changes() {
    let test = start(with(|safety| safety.policy.mode = Mode::ReadOnly)).await;
    let listed = test.mcp.tools().await.unwrap();
    for entry in actions() {
        let (answer, unchanged) = attempt(&test, entry).await;
        assert_eq!(
            answer.unwrap_err().lines().next(),
            Some(&*format!("{} is refused: PROXMOX_MODE=read-only", entry.name))
        );
        assert!(unchanged && !listed.iter().any(|tool| tool == entry.name), "{}", entry.name);
    }
    let reads = tools::all().filter(|entry| entry.effect == Effect::Read).count();
    assert_eq!(listed.len(), reads);
}

#[tokio::test(start_paused = true)]
async fn no_delete_lets_nothing_be_deleted_and_no_command_run() {
    let test = start(with(|safety| safety.policy.mode = Mode::NoDelete)).await;
    let listed = test.mcp.tools().await.unwrap();
    let mut refused = 0;
    for entry in actions().filter(|entry| entry.effect >= Effect::Destroy) {
        let (answer, unchanged) = attempt(&test, entry).await;
        let words = answer.unwrap_err();
        assert!(words.starts_with(&format!("{} is refused: PROXMOX_MODE=no-delete", entry.name)), "{words}");
        assert!(unchanged && !listed.iter().any(|tool| tool == entry.name), "{}", entry.name);
        refused += 1;
    }
    println!("no-delete refuses {refused} tools");
    // A tool that does not delete by itself, and a request that does.
    let free = json!({"vmid": 100, "params": {"delete": "unused0"}, "confirm": true});
    let setup = json!({"vmid": 100, "disk": "scsi0"});
    drop(test.mcp.call("proxmox-disk-detach", setup).await);
    let (answer, unchanged) = run(&test, "proxmox-configure-vm", free).await;
    assert!(answer.is_err() && unchanged, "{answer:?}");
}

#[tokio::test(start_paused = true)]
async fn while_the_file_is_there_nothing_changes_and_dry_runs_go_on() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("freeze");
    let test = start(with(|safety| safety.policy.freeze = Some(file.clone()))).await;
    std::fs::write(&file, "").unwrap();
    for entry in actions() {
        let (answer, unchanged) = attempt(&test, entry).await;
        let words = answer.unwrap_err();
        assert!(words.starts_with("changes are frozen: ") && unchanged, "{}: {words}", entry.name);
    }
    let plan = test.call("proxmox-stop-vm", json!({"vmid": 100, "dry_run": true, "confirm": true})).await;
    assert_eq!(plan["state"], "planned");
    assert!(plan["warnings"].to_string().contains("changes are frozen"), "{plan}");
    // No restart is needed for the other way either.
    std::fs::remove_file(&file).unwrap();
    assert_eq!(test.call("proxmox-tags-add", json!({"vmid": 100, "tags": ["x"]})).await["state"], "done");
}

/// The part of the state that is about guests and their volumes.
fn of_guests(snapshot: &str) -> String {
    let part =
        |from: &str, to: &str| snapshot.split(from).nth(1).and_then(|rest| rest.split(to).next()).unwrap_or_default();
    format!("{}{}", part("\nguests ", "\nstorages "), part("\ninside ", "\nfirewalls "))
}

/// Every tool against a cluster whose guests are all protected: refused in these words, or no guest is changed. Copying a
/// template leaves it as it is, and is not refused.
async fn protected(words: &str, protect: impl Fn(&Sandbox, &mut Safety)) {
    let mut refused = Vec::new();
    for entry in actions() {
        let sandbox = Sandbox::new(support::options());
        let mut config = proxmox_mcp::embedded::cluster_config(&sandbox);
        config.upload_dir = Some(support::upload_dir());
        let mut safety = everything();
        protect(&sandbox, &mut safety);
        let test = support::guarded(sandbox, config, safety).await;
        let before = of_guests(&test.sandbox.snapshot());
        let (answer, unchanged) = attempt(&test, entry).await;
        match answer {
            Err(error) if error.contains(words) => {
                assert!(unchanged, "{}: {error}", entry.name);
                refused.push(entry.name);
            }
            Err(error) => panic!("{}: {error}", entry.name),
            Ok(answer) => {
                let copies = ["clone", "create", "restore", "provision-"].iter().any(|word| entry.name.contains(word));
                assert!(
                    copies || unchanged || answer["about"].get("vmid").is_none(),
                    "{} was let through: {answer}",
                    entry.name
                );
                assert!(copies || before == of_guests(&test.sandbox.snapshot()), "{} changed a guest", entry.name);
            }
        }
    }
    for tool in [
        "proxmox-start-vm",
        "proxmox-delete-lxc",
        "proxmox-guest-exec",
        "proxmox-backup-vm",
        "proxmox-stop-all-guests",
        "proxmox-vm-firewall-set",
    ] {
        assert!(refused.contains(&tool), "{tool} is not among {refused:?}");
    }
    println!("{} tools are refused", refused.len());
}

/// Sets an option of every guest of the simulated cluster, as somebody at a node would.
fn set_all(sandbox: &Sandbox, key: &str, value: Option<&str>) {
    for vmid in (100..112).chain(9000..9002) {
        sandbox.by_hand().set(vmid, key, value);
    }
}

#[tokio::test(start_paused = true)]
async fn what_proxmox_protects_is_touched_by_no_tool() {
    protected("is protected: its protection option is set", |sandbox, _| {
        set_all(sandbox, "protection", Some("1"));
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn what_is_tagged_as_protected_is_touched_by_no_tool() {
    protected("is protected: it has the tag 'protected'", |sandbox, _| {
        set_all(sandbox, "tags", Some("protected"));
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn what_the_operator_protects_is_touched_by_no_tool() {
    protected("is protected: PROXMOX_PROTECT_GUESTS has '", |_, safety| {
        safety.policy.protected = Rules::parse("100-111,9000-9001").unwrap();
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_dry_run_shows_the_rule_that_is_in_the_way() {
    let test = start(with(|safety| safety.policy.protected = Rules::parse("pool:prod,100").unwrap())).await;
    let (plan, unchanged) = run(&test, "proxmox-start-vm", json!({"vmid": 100, "dry_run": true})).await;
    let plan = plan.unwrap();
    assert!(unchanged && plan["state"] == "planned", "{plan}");
    assert_eq!(plan["problems"][0], "guest 100 (web-01) is protected: PROXMOX_PROTECT_GUESTS has '100'");
}

#[tokio::test(start_paused = true)]
async fn what_is_not_confirmed_is_not_done() {
    for mode in [confirm::Mode::Flag, confirm::Mode::Plan, confirm::Mode::Human] {
        let test = start(with(|safety| {
            safety.confirm.mode = mode;
            safety.confirm.tools = tools::all().map(|tool| tool.name).collect();
        }))
        .await;
        for entry in actions() {
            let mut arguments = test.example(entry).await;
            arguments.as_object_mut().unwrap().remove("confirm");
            let (answer, unchanged) = run(&test, entry.name, arguments).await;
            assert!(unchanged, "{}: {answer:?}", entry.name);
            match (mode, answer) {
                (confirm::Mode::Human, answer) => {
                    let words = answer.unwrap_err();
                    assert!(words.contains("has to be confirmed by a person"), "{}: {words}", entry.name);
                }
                (_, answer) => {
                    let answer = answer.unwrap();
                    assert_eq!(answer["state"], "needs_confirmation", "{}: {answer}", entry.name);
                    assert_eq!(answer["plan_id"].is_string(), mode == confirm::Mode::Plan, "{}: {answer}", entry.name);
                }
            }
        }
    }
}

fn plan_mode() -> Safety {
    with(|safety| {
        safety.confirm.mode = confirm::Mode::Plan;
        safety.confirm.tools = tools::all().map(|tool| tool.name).collect();
    })
}

/// The plan's id, as a dry run gives it.
async fn planned(test: &Test, entry: &Entry) -> (Value, Value) {
    let mut arguments = test.example(entry).await;
    arguments["dry_run"] = json!(true);
    arguments.as_object_mut().unwrap().remove("confirm");
    let plan = test.call(entry.name, arguments.clone()).await;
    arguments.as_object_mut().unwrap().remove("dry_run");
    (arguments, plan["plan_id"].clone())
}

#[tokio::test(start_paused = true)]
async fn a_plan_that_was_not_shown_just_so_is_not_carried_out() {
    let test = start(plan_mode()).await;
    let stop = tools::all().find(|entry| entry.name == "proxmox-stop-vm").unwrap();
    let (_, foreign) = planned(&test, stop).await;
    for entry in actions() {
        let (mut arguments, id) = planned(&test, entry).await;
        let mut ids = vec![json!("no such id"), json!(format!("{}0", id.as_str().unwrap()))];
        if entry.name != stop.name {
            ids.push(foreign.clone());
        }
        for id in ids {
            arguments["confirm"] = id;
            let (answer, unchanged) = run(&test, entry.name, arguments.clone()).await;
            let answer = answer.unwrap();
            assert!(unchanged && answer["state"] == "needs_confirmation", "{}: {answer}", entry.name);
            assert!(answer["next"].as_str().unwrap().contains("confirm is not the id of this plan"), "{answer}");
            assert!(answer["plan_id"].is_string(), "{answer}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_plan_for_a_guest_that_has_changed_since_is_not_carried_out() {
    let mut held = 0;
    for entry in actions() {
        let test = start(plan_mode()).await;
        let (mut arguments, id) = planned(&test, entry).await;
        // Somebody else works on all guests meanwhile.
        set_all(&test.sandbox, "description", Some("changed meanwhile"));
        arguments["confirm"] = id;
        let touched = entry.api.iter().any(|api| api.starts_with("P") && api.contains("/qemu/{vmid}/config"));
        // Templates are no VMs of the list.
        if !touched || entry.name.contains("create") || entry.name.contains("clone") {
            continue;
        }
        let (answer, unchanged) = run(&test, entry.name, arguments).await;
        let answer = answer.unwrap();
        assert!(unchanged && answer["state"] == "needs_confirmation", "{}: {answer}", entry.name);
        held += 1;
    }
    println!("{held} tools");
    assert!(held > 5);
}

#[tokio::test(start_paused = true)]
async fn the_plan_that_was_shown_is_carried_out_once() {
    for entry in actions() {
        let test = start(plan_mode()).await;
        let (mut arguments, id) = planned(&test, entry).await;
        // Somebody reads it first.
        tokio::time::sleep(Duration::from_secs(45)).await;
        arguments["confirm"] = id;
        let done = test.call(entry.name, arguments.clone()).await;
        // What is moved follows the load of the nodes, which is another by then.
        if entry.name == "proxmox-rebalance" && done["state"] == "needs_confirmation" {
            continue;
        }
        assert!(matches!(done["state"].as_str(), Some("done" | "running")), "{}: {done}", entry.name);
        let again = test.mcp.call(entry.name, arguments).await;
        assert!(
            again.is_err() || again.as_ref().unwrap()["state"] == "needs_confirmation",
            "{}: {again:?}",
            entry.name
        );
    }
}
