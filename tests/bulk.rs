//! One action on many guests.
#![expect(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod support;

use std::collections::BTreeMap;

use http::Method;
use proxmox_mcp::{
    call::{self, Context},
    config::Safety,
    error::{Error, Kind},
    policy::{Bounds, Exec, Mode, Settings},
    sandbox::{Fault, FaultKind, Options, Sandbox},
    toolsets::Chosen,
};
use serde_json::{Value, json};
use support::{Test, guarded, options, start};

/// The guests of a plan or a result, by what is said of their state; a plan's own are `planned`.
fn by_state(result: &Value) -> BTreeMap<String, Vec<u64>> {
    let mut all: BTreeMap<String, Vec<u64>> = BTreeMap::new();
    for row in result["guests"].as_array().unwrap() {
        let out = ["skipped", "refused"].into_iter().find(|key| row.get(key).is_some());
        let state = row["state"].as_str().or(out).unwrap_or("planned");
        all.entry(state.to_owned()).or_default().push(row["vmid"].as_u64().unwrap());
    }
    all
}

fn vmids(result: &Value, state: &str) -> Vec<u64> {
    by_state(result).remove(state).unwrap_or_default()
}

fn row(result: &Value, vmid: u64) -> &Value {
    result["guests"].as_array().unwrap().iter().find(|row| row["vmid"] == vmid).unwrap()
}

/// What a dry run lists as to be done.
async fn planned(test: &Test, selector: Value) -> Vec<u64> {
    let mut arguments = json!({"action": "tag", "params": {"tags": ["new"]}, "dry_run": true});
    arguments.as_object_mut().unwrap().extend(selector.as_object().unwrap().clone());
    let plan = test.call("proxmox-bulk", arguments).await;
    vmids(&plan["result"], "planned")
}

/// A call that does not do all that it was asked for.
async fn fails(test: &Test, arguments: Value) -> Error {
    let Value::Object(arguments) = arguments else { panic!("no object") };
    match call::run(&test.app, "proxmox-bulk", arguments.clone(), &Context::default()).await {
        Ok(answer) => panic!("{arguments:?} succeeded: {}", answer.data),
        Err(e) => e,
    }
}

#[tokio::test(start_paused = true)]
async fn each_selector_chooses_and_all_that_is_given_has_to_fit() {
    let test = start(options()).await;
    for (selector, wanted) in [
        (json!({"vmids": [100, 111]}), vec![100, 111]),
        (json!({"name": "web-*"}), vec![100, 101]),
        (json!({"name": "mail"}), vec![103]),
        (json!({"tag": "DB"}), vec![102]),
        (json!({"pool": "development"}), vec![105, 106, 107, 111]),
        (json!({"node": "pve3"}), vec![103, 105, 110, 111]),
        (json!({"status": "stopped"}), vec![106, 107, 111]),
        (json!({"kind": "lxc"}), vec![108, 109, 110, 111]),
        (json!({"all": true}), (100..112).collect()),
        (json!({"pool": "development", "kind": "qemu", "status": "stopped"}), vec![106, 107]),
        (json!({"vmids": [100, 102], "name": "web-*"}), vec![100]),
        // Templates are meant where they are named.
        (json!({"vmids": [9000]}), vec![9000]),
    ] {
        assert_eq!(planned(&test, selector.clone()).await, wanted, "{selector}");
    }
    assert!(test.sent.writes().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_selector_that_says_nothing_or_finds_nothing_is_refused() {
    let test = start(options()).await;
    for (arguments, words) in [
        (json!({"action": "start"}), "which guests?"),
        (json!({"action": "start", "all": true, "tag": "prod"}), "give one of the two"),
        (json!({"action": "start", "vmids": [100, 777, 778]}), "vmids: no guest has 777, 778"),
        (json!({"action": "start", "tag": "nothing"}), "fits tag=nothing"),
        (json!({"action": "destroy", "all": true}), "action: expected one of start"),
        (json!({"action": "snapshot", "all": true}), "params.snapname: expected 2 to 40 letters"),
        (json!({"action": "snapshot", "all": true, "params": {"snapnam": "x"}}), "params: unknown argument 'snapnam'"),
        (json!({"action": "start", "all": true, "params": {"vmid": 100}}), "params: unknown argument 'vmid'"),
        (json!({"action": "migrate", "tag": "web"}), "params.target_node: missing"),
        (json!({"action": "tag", "tag": "web"}), "params.tags: missing"),
        (json!({"action": "tag", "tag": "web", "params": {"tags": ["a b!"]}}), "params.tags: '"),
        (json!({"action": "configure", "tag": "web", "params": {"coers": 2}}), "coers"),
        (json!({"action": "guest-exec", "tag": "web"}), "params.command: expected"),
    ] {
        let error = fails(&test, arguments.clone()).await;
        assert!(error.to_string().contains(words), "{arguments}: {error}");
    }
    assert!(test.sent.writes().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_dry_run_lists_every_guest_and_why_some_are_left_out() {
    let test = start(options()).await;
    let plan = test.call("proxmox-bulk", json!({"action": "start", "all": true, "dry_run": true})).await;
    let states = by_state(&plan["result"]);
    assert_eq!(states["planned"], [106, 107, 111]);
    assert_eq!(states["skipped"], [100, 101, 102, 103, 104, 105, 108, 109, 110, 9000, 9001]);
    assert_eq!(row(&plan["result"], 100)["skipped"], "it runs already");
    assert_eq!(row(&plan["result"], 9000)["skipped"], "it is a template");
    assert_eq!(
        *row(&plan["result"], 106),
        json!({"name": "win11-test", "vmid": 106, "node": "pve1", "status": "stopped"})
    );
    assert_eq!(plan["summary"], "start 3 guests (11 skipped)");
    let paths: Vec<&str> = plan["requests"].as_array().unwrap().iter().map(|r| r["path"].as_str().unwrap()).collect();
    assert_eq!(
        paths,
        ["/nodes/pve1/qemu/106/status/start", "/nodes/pve2/qemu/107/status/start", "/nodes/pve3/lxc/111/status/start"]
    );
    assert!(test.sent.writes().is_empty());
}

#[tokio::test(start_paused = true)]
async fn what_was_done_is_taken_back_by_one_call() {
    let test = start(options()).await;
    let status = async |vmid: u64| {
        let tool = if (108..112).contains(&vmid) { "proxmox-lxc-info" } else { "proxmox-vm-info" };
        test.call(tool, json!({"vmid": vmid})).await["status"].clone()
    };
    let done = test.call("proxmox-bulk", json!({"action": "start", "pool": "development", "confirm": true})).await;
    assert_eq!(done["state"], "done");
    assert_eq!((&done["result"]["done"], &done["result"]["skipped"]), (&json!(3), &json!(1)));
    assert_eq!(vmids(&done["result"], "done"), [106, 107, 111]);
    assert_eq!(status(111).await, "running");
    let undo = &done["undo"];
    assert_eq!(undo["arguments"], json!({"vmids": [106, 107, 111], "action": "shutdown"}));
    let mut back = undo["arguments"].clone();
    back["confirm"] = json!(true);
    let done = test.call(undo["tool"].as_str().unwrap(), back).await;
    assert_eq!(vmids(&done["result"], "done"), [106, 107, 111]);
    assert_eq!(status(106).await, "stopped");
    assert_eq!(status(105).await, "running");
}

#[tokio::test(start_paused = true)]
async fn every_action_does_what_its_single_tool_does() {
    let test = start(options()).await;
    let tags = async |vmid: u32| test.call("proxmox-vm-info", json!({"vmid": vmid})).await["config"]["tags"].clone();
    for (arguments, path, done) in [
        (json!({"action": "snapshot", "tag": "web", "params": {"snapname": "bulk"}}), "qemu/100/snapshot", 2),
        (
            json!({"action": "delete-snapshot", "tag": "web", "params": {"snapname": "bulk"}}),
            "qemu/100/snapshot/bulk",
            2,
        ),
        (json!({"action": "backup", "tag": "web", "params": {"storage": "nas"}}), "vzdump", 2),
        (json!({"action": "tag", "tag": "web", "params": {"tags": ["blue"]}}), "qemu/100/config", 2),
        (json!({"action": "untag", "tag": "blue", "params": {"tags": ["blue"]}}), "qemu/100/config", 2),
        (json!({"action": "configure", "tag": "web", "params": {"onboot": false}}), "qemu/100/config", 2),
        (json!({"action": "migrate", "tag": "web", "params": {"target_node": "pve3"}}), "qemu/100/migrate", 2),
        (json!({"action": "guest-exec", "tag": "web", "params": {"command": "uname -r"}}), "qemu/100/agent/exec", 2),
        (json!({"action": "reboot", "tag": "web"}), "qemu/100/status/reboot", 2),
        (json!({"action": "shutdown", "tag": "web", "params": {"timeout": 30}}), "qemu/100/status/shutdown", 2),
        (json!({"action": "start", "tag": "web"}), "qemu/100/status/start", 2),
        (json!({"action": "stop", "kind": "lxc"}), "lxc/108/status/stop", 3),
    ] {
        test.sent.forget();
        let mut confirmed = arguments.clone();
        confirmed["confirm"] = json!(true);
        let result = test.call("proxmox-bulk", confirmed).await;
        assert_eq!((&result["state"], &result["result"]["done"]), (&json!("done"), &json!(done)), "{result}");
        let writes = test.sent.writes();
        assert!(writes.iter().any(|write| write.ends_with(path)), "{arguments}: {writes:?}");
        assert_eq!(writes.len(), done, "{arguments}: {writes:?}");
        if arguments["action"] == "guest-exec" {
            let ran = &row(&result["result"], 100)["ran"][0];
            assert_eq!((&ran["command"], &ran["exit_code"]), (&json!("uname -r"), &json!(0)), "{result}");
            assert!(ran["stdout"].as_str().is_some_and(|out| !out.is_empty()), "{ran}");
        }
    }
    assert_eq!(tags(100).await, "prod;web");
}

#[tokio::test(start_paused = true)]
async fn who_cannot_is_refused_for_himself_and_the_others_go_on() {
    let test = start(options()).await;
    let snapshot = json!({"vmid": 101, "snapname": "there", "confirm": true});
    test.call("proxmox-create-snapshot", snapshot).await;
    let arguments = json!({"action": "snapshot", "tag": "web", "params": {"snapname": "there"}, "confirm": true});
    let done = test.call("proxmox-bulk", arguments).await;
    assert_eq!((vmids(&done["result"], "done"), vmids(&done["result"], "refused")), (vec![100], vec![101]));
    assert_eq!(row(&done["result"], 101)["reason"], "has a snapshot there already");
    assert!(done["warnings"].to_string().contains("1 guest cannot be done"), "{done}");

    let arguments = json!({"action": "guest-exec", "tag": "prod", "params": {"command": "false"}, "confirm": true});
    let error = fails(&test, arguments).await;
    let report = Value::Object(error.parts().report.clone());
    assert_eq!(vmids(&report, "refused"), [108, 109, 110], "{report}");
    assert!(row(&report, 108)["reason"].as_str().unwrap().contains("a container has no guest agent"), "{report}");
    assert_eq!(vmids(&report, "failed"), [100, 101, 102, 103, 104]);
    assert!(row(&report, 100)["error"].as_str().unwrap().contains("exit code 1"), "{report}");
    // Of nobody can it be had: then nothing is begun.
    let arguments = json!({"action": "snapshot", "tag": "web", "params": {"snapname": "there"}, "confirm": true});
    let error = fails(&test, arguments).await;
    assert_eq!(error.kind(), Kind::Refused);
}

#[tokio::test(start_paused = true)]
async fn guests_start_in_the_order_of_their_nodes_and_stop_against_it() {
    let test = start(options()).await;
    for (vmid, startup) in [(107, "order=1,up=20"), (106, "order=2")] {
        let params = json!({"startup": startup});
        test.call("proxmox-configure-vm", json!({"vmid": vmid, "params": params, "confirm": true})).await;
    }
    let bulk = async |action: &str| {
        test.sent.forget();
        let arguments =
            json!({"action": action, "vmids": [106, 107, 111], "order": "startup", "confirm": true, "parallel": 8});
        let began = tokio::time::Instant::now();
        let done = test.call("proxmox-bulk", arguments).await;
        assert_eq!(done["result"]["done"], 3, "{done}");
        (test.sent.writes(), began.elapsed().as_secs())
    };
    let (writes, seconds) = bulk("start").await;
    let start = |guest: &str| format!("POST /nodes/{guest}/status/start");
    assert_eq!(writes, [start("pve2/qemu/107"), start("pve1/qemu/106"), start("pve3/lxc/111")]);
    assert!(seconds >= 20, "{seconds}");
    let (writes, _) = bulk("shutdown").await;
    let stop = |guest: &str| format!("POST /nodes/{guest}/status/shutdown");
    assert_eq!(writes, [stop("pve3/lxc/111"), stop("pve1/qemu/106"), stop("pve2/qemu/107")]);
}

#[tokio::test(start_paused = true)]
async fn so_many_failures_keep_the_rest_from_being_begun() {
    let test = start(Options { guests: 60, ..options() }).await;
    let broken = Fault::new(FaultKind::TaskFailure("no space left on device".to_owned()))
        .on(Method::POST, "/nodes/*/*/*/snapshot");
    test.sandbox.fault(broken);
    let arguments = json!({
        "action": "snapshot", "kind": "qemu", "params": {"snapname": "bulk"}, "parallel": 1, "max_failures": 2, "confirm": true
    });
    let error = fails(&test, arguments).await;
    let report = &error.parts().report;
    assert_eq!(report["failed"], 3);
    assert_eq!(test.sent.writes().len(), 3);
    assert_eq!(report["not_begun"].as_u64().unwrap() + 3 + 2, report["guests"].as_array().unwrap().len() as u64);
    assert!(error.to_string().contains("no space left on device"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn of_five_hundred_guests_one_in_twenty_fails_and_each_is_accounted_for() {
    let test = start(Options { guests: 500, ..options() }).await;
    let broken: Vec<u64> = (110..600).filter(|vmid| vmid % 20 == 7 || *vmid == 110).collect();
    // The disk of 110 lies where no snapshots are possible.
    for vmid in &broken[1..] {
        let fault = Fault::new(FaultKind::TaskFailure(format!("lvcreate 'pve/snap_{vmid}' error: out of data space")));
        test.sandbox.fault(fault.on(Method::POST, &format!("/nodes/*/*/{vmid}/snapshot")));
    }
    let arguments = json!({"action": "snapshot", "all": true, "params": {"snapname": "bulk"}, "parallel": 16});
    let with = |key: &str| {
        let mut arguments = arguments.clone();
        arguments[key] = json!(true);
        arguments
    };
    test.sent.forget();
    let plan = test.call("proxmox-bulk", with("dry_run")).await;
    // What is the same for all is said once, and no guest is left out.
    let requests = plan["requests"].as_array().unwrap();
    let folded: Vec<(&str, &str)> =
        requests.iter().map(|r| (r["path"].as_str().unwrap(), r["vmids"].as_str().unwrap())).collect();
    assert_eq!(folded[0].0, "/nodes/{node}/qemu/{vmid}/snapshot");
    assert_eq!((folded.len(), folded[1].0), (2, "/nodes/{node}/lxc/{vmid}/snapshot"));
    assert!(folded[1].1.starts_with("108-111, 114, 119"), "{folded:?}");
    assert!(plan["checked"].to_string().contains("each of 500 guests is not locked"), "{}", plan["checked"]);
    let text = proxmox_mcp::render::text(&plan);
    assert!(text.len() < 30_000, "{} bytes: {}", text.len(), &text[..2_000]);
    assert_eq!(vmids(&plan["result"], "planned"), (100..600).collect::<Vec<u64>>());
    let asked = test.sent.matching(|_, _| true);
    // Of each guest: its snapshots for the name, its configuration for the rules, what may be done to it.
    let few = asked.len() <= 3 * 502 + 50;
    let twice: Vec<&String> =
        asked.iter().filter(|one| one.ends_with("/config") && asked.iter().filter(|x| x == one).count() > 1).collect();
    assert!(few && twice.is_empty(), "{} requests, {twice:?}", asked.len());

    test.sent.forget();
    let error = fails(&test, with("confirm")).await;
    let report = Value::Object(error.parts().report.clone());
    let states = by_state(&report);
    let odd: Vec<&Value> = states["failed"].iter().filter(|x| !broken.contains(x)).map(|x| row(&report, *x)).collect();
    assert_eq!(states["failed"], broken, "{odd:?}");
    assert_eq!((&report["done"], &report["failed"], &report["skipped"]), (&json!(475), &json!(25), &json!(2)));
    assert_eq!(states["done"].len(), 475);
    assert_eq!(report["guests"].as_array().unwrap().len(), 502);
    for vmid in &broken[1..] {
        let words = row(&report, *vmid)["error"].as_str().unwrap();
        assert!(words.contains(&format!("lvcreate 'pve/snap_{vmid}' error: out of data space")), "{words}");
    }
    let mut writes = test.sent.writes();
    assert_eq!(writes.len(), 500);
    writes.sort();
    writes.dedup();
    assert_eq!(writes.len(), 500, "a guest was done twice");
    assert!(error.to_string().contains("of 502: 475 done, 25 failed, 2 skipped"), "{error}");
}

async fn under(settings: Settings) -> Test {
    let sandbox = Sandbox::new(options());
    let config = proxmox_mcp::embedded::cluster_config(&sandbox);
    guarded(sandbox, config, Safety { policy: settings, ..Safety::default() }).await
}

#[tokio::test(start_paused = true)]
async fn the_operator_s_rules_hold_for_the_whole_before_anything_is_sent() {
    let everything = || Settings::everything().unwrap();
    let few = Settings { bounds: Bounds { guests: Some(2), ..Bounds::default() }, ..everything() };
    let guarded = Settings { protected: proxmox_mcp::policy::rules::Rules::parse("109").unwrap(), ..everything() };
    let no_delete = || Settings { mode: Mode::NoDelete, ..everything() };
    let read_only = Settings { mode: Mode::ReadOnly, ..everything() };
    let without = Chosen::new(&["all"], &[], &["proxmox-stop-lxc"]).unwrap();
    let without = Settings { tools: without, ..everything() };
    let no_exec = Settings { exec: Exec::Off, ..everything() };
    let snapname = json!({"snapname": "before-upgrade"});
    for (settings, arguments, words) in [
        (few, json!({"action": "stop", "kind": "lxc"}), "PROXMOX_MAX_GUESTS=2"),
        (guarded, json!({"action": "stop", "kind": "lxc"}), "PROXMOX_PROTECT_GUESTS"),
        (
            no_delete(),
            json!({"action": "delete-snapshot", "vmids": [100], "params": snapname}),
            "PROXMOX_MODE=no-delete",
        ),
        (read_only, json!({"action": "stop", "kind": "lxc"}), "PROXMOX_MODE=read-only"),
        (without, json!({"action": "stop", "kind": "lxc"}), "proxmox-stop-lxc is not among the tools"),
        (no_exec, json!({"action": "guest-exec", "vmids": [100], "params": {"command": "id"}}), "PROXMOX_EXEC"),
    ] {
        let test = under(settings).await;
        let mut confirmed = arguments.clone();
        confirmed["confirm"] = json!(true);
        let error = fails(&test, confirmed).await;
        assert_eq!(error.kind(), Kind::Denied, "{arguments}: {error}");
        assert!(error.report().contains(words), "{arguments}: {}", error.report());
        assert!(test.sent.writes().is_empty(), "{arguments}");
    }
    // What deletes nothing is done where nothing may be deleted.
    let test = under(no_delete()).await;
    let done = test.call("proxmox-bulk", json!({"action": "stop", "kind": "lxc", "confirm": true})).await;
    assert_eq!(done["result"]["done"], 3);
}

#[tokio::test(start_paused = true)]
async fn progress_counts_up_and_ends_with_what_came_of_it() {
    let test = start(options()).await;
    test.call("proxmox-bulk", json!({"action": "stop", "tag": "prod", "confirm": true, "parallel": 2})).await;
    let heard = test.progress.lock().unwrap().clone();
    let percents: Vec<f64> = heard.iter().map(|update| update.percent.unwrap()).collect();
    assert!(percents.windows(2).all(|pair| pair[0] < pair[1]), "{percents:?}");
    let words: Vec<&str> = heard.iter().map(|update| update.message.as_str()).collect();
    assert!(words.contains(&"1 of 8: powering off web-01"), "{words:?}");
    assert!(words.iter().any(|words| words.starts_with("8 of 8: ")), "{words:?}");
    assert_eq!(words.last(), Some(&"8 done"), "{words:?}");
    assert_eq!(percents.last(), Some(&100.0));
}
