//! Start, stop, shut down, reboot; and what happens when the answer is lost.
#![expect(clippy::unwrap_used, reason = "tests")]

mod support;

use http::Method;
use proxmox_mcp::sandbox::{Fault, FaultKind};
use serde_json::json;
use support::{options, start};

const START: &str = "/nodes/*/qemu/*/status/start";

#[tokio::test(start_paused = true)]
async fn a_start_without_wait_returns_the_upid() {
    let test = start(options()).await;
    let started = test.call("proxmox-start-vm", json!({"vmid": 107})).await;
    assert_eq!(started["state"], "running");
    let upid = started["upid"].as_str().unwrap();
    assert!(upid.starts_with("UPID:pve2:") && upid.contains(":qmstart:107:"), "{upid}");
    let waited = test.call("proxmox-wait-task", json!({"upid": upid})).await;
    assert_eq!((&waited["state"], &waited["exitstatus"]), (&json!("done"), &json!("OK")));
    assert_eq!(test.call("proxmox-vm-info", json!({"vmid": 107})).await["status"], "running");
}

#[tokio::test(start_paused = true)]
async fn a_start_is_waited_for_and_the_guest_runs() {
    let test = start(options()).await;
    let started = test.call("proxmox-start-vm", json!({"name": "scratch-01", "wait": true})).await;
    assert_eq!((&started["state"], &started["exitstatus"]), (&json!("done"), &json!("OK")));
    assert_eq!(test.sent.writes(), ["POST /nodes/pve2/qemu/107/status/start"]);
}

#[tokio::test(start_paused = true)]
async fn a_dry_run_shows_the_request_and_sends_nothing() {
    let test = start(options()).await;
    let plan = test.call("proxmox-stop-vm", json!({"vmid": 100, "hard": true, "dry_run": true})).await;
    assert_eq!(plan["state"], "planned");
    assert_eq!(
        plan["requests"],
        json!([{"method": "POST", "path": "/nodes/pve1/qemu/100/status/stop", "params": {"overrule-shutdown": "1"}}])
    );
    assert!(test.sent.writes().is_empty());
}

#[tokio::test(start_paused = true)]
async fn what_is_running_already_is_reported_in_proxmox_s_words() {
    let test = start(options()).await;
    let words = test.fails("proxmox-start-vm", json!({"vmid": 100, "wait": true})).await;
    assert!(words.starts_with("VM 100 already running"), "{words}");
    assert!(words.contains("upid: UPID:pve1:"), "{words}");
}

#[tokio::test(start_paused = true)]
async fn stop_shutdown_and_reboot_do_what_they_say() {
    let test = start(options()).await;
    for (tool, arguments, status) in [
        ("proxmox-shutdown-vm", json!({"vmid": 100, "timeout": 30, "wait": true}), "stopped"),
        ("proxmox-start-vm", json!({"vmid": 100, "wait": true}), "running"),
        ("proxmox-reboot-vm", json!({"vmid": 100, "wait": true}), "running"),
        ("proxmox-stop-vm", json!({"vmid": 100, "wait": true}), "stopped"),
    ] {
        assert_eq!(test.call(tool, arguments).await["exitstatus"], "OK", "{tool}");
        assert_eq!(test.call("proxmox-vm-info", json!({"vmid": 100})).await["status"], status, "{tool}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_failed_task_tells_its_words_its_log_and_its_upid() {
    let test = start(options()).await;
    test.sandbox.fault(
        Fault::new(FaultKind::TaskFailure("start failed: QEMU exited with code 1".to_owned())).on(Method::POST, START),
    );
    let words = test.fails("proxmox-start-vm", json!({"vmid": 107, "wait": true})).await;
    assert!(words.starts_with("start failed: QEMU exited with code 1"), "{words}");
    assert!(words.contains("TASK ERROR") && words.contains("UPID:pve2:"), "{words}");
}

#[tokio::test(start_paused = true)]
async fn warnings_are_success_with_warnings() {
    let test = start(options()).await;
    test.sandbox.fault(Fault::new(FaultKind::TaskWarnings(2)).on(Method::POST, START));
    let started = test.call("proxmox-start-vm", json!({"vmid": 107, "wait": true})).await;
    assert_eq!((&started["state"], &started["exitstatus"]), (&json!("done"), &json!("WARNINGS: 2")));
    assert!(!started["warnings"].as_array().unwrap().is_empty(), "{started}");
}

#[tokio::test(start_paused = true)]
async fn a_wait_that_times_out_is_no_error_and_names_the_upid() {
    let test = start(options()).await;
    let started = test.call("proxmox-start-vm", json!({"vmid": 107, "wait": true, "timeout": 0.2})).await;
    assert_eq!(started["state"], "running");
    assert!(started["upid"].as_str().unwrap().contains("qmstart"));
    assert!(started["next"].as_str().unwrap().contains("proxmox-wait-task"));
}

#[tokio::test(start_paused = true)]
async fn a_start_whose_answer_was_lost_is_found_in_the_task_list_and_sent_once() {
    for fault in [FaultKind::Drop, FaultKind::Status596] {
        let test = start(options()).await;
        test.sandbox.fault(Fault::new(fault.clone()).on(Method::POST, START).times(1));
        let started = test.call("proxmox-start-vm", json!({"vmid": 107, "wait": true})).await;
        assert_eq!((&started["state"], &started["exitstatus"]), (&json!("done"), &json!("OK")), "{fault:?}");
        assert_eq!(test.sent.writes().len(), 1, "{fault:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_start_that_never_reached_its_node_says_so_and_changed_nothing() {
    let test = start(options()).await;
    test.sandbox.fault(Fault::new(FaultKind::Status595).on(Method::POST, START));
    let words = test.fails("proxmox-start-vm", json!({"vmid": 107, "wait": true})).await;
    assert!(words.contains("Connection refused"), "{words}");
    assert_eq!(test.call("proxmox-vm-info", json!({"vmid": 107})).await["status"], "stopped");
}

#[tokio::test(start_paused = true)]
async fn an_argument_of_the_reference_that_needs_no_confirmation_is_taken_all_the_same() {
    let test = start(options()).await;
    let plan = test.call("proxmox-start-vm", json!({"vmid": 107, "confirm": true, "dry_run": true})).await;
    assert_eq!(plan["state"], "planned");
}

#[tokio::test(start_paused = true)]
async fn containers_start_stop_shut_down_and_reboot() {
    let test = start(options()).await;
    for (tool, arguments, status) in [
        ("proxmox-start-lxc", json!({"vmid": 111, "wait": true}), "running"),
        ("proxmox-reboot-lxc", json!({"vmid": 111, "wait": true}), "running"),
        ("proxmox-shutdown-lxc", json!({"vmid": 111, "timeout": 30, "force": true, "wait": true}), "stopped"),
        ("proxmox-stop-lxc", json!({"vmid": 108, "timeout": 60, "wait": true}), "stopped"),
    ] {
        test.sent.forget();
        let done = test.call(tool, arguments.clone()).await;
        assert_eq!(done["exitstatus"], "OK", "{tool}: {done}");
        assert_eq!(test.sent.writes().len(), 1, "{tool}");
        let info = test.call("proxmox-lxc-info", json!({"vmid": arguments["vmid"]})).await;
        assert_eq!(info["status"], status, "{tool}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_tool_for_containers_takes_no_vm() {
    let test = start(options()).await;
    let words = test.fails("proxmox-start-lxc", json!({"vmid": 107})).await;
    assert!(words.contains("VM"), "{words}");
    let words = test.fails("proxmox-stop-lxc", json!({"vmid": 111, "wait": true})).await;
    assert!(words.contains("CT 111 not running"), "{words}");
}

#[tokio::test(start_paused = true)]
async fn a_paused_vm_stands_still_until_it_is_resumed() {
    let test = start(options()).await;
    test.call("proxmox-suspend-vm", json!({"vmid": 105, "wait": true})).await;
    let words = test.fails("proxmox-shutdown-vm", json!({"vmid": 105})).await;
    assert!(words.contains("VM is paused - cannot shutdown"), "{words}");
    test.call("proxmox-resume-vm", json!({"vmid": 105, "wait": true})).await;
    assert_eq!(test.call("proxmox-reboot-vm", json!({"vmid": 105, "wait": true})).await["exitstatus"], "OK");
}

#[tokio::test(start_paused = true)]
async fn a_hibernated_vm_is_off_and_goes_on_when_resumed() {
    let test = start(options()).await;
    let plan = test.call("proxmox-hibernate-vm", json!({"vmid": 104, "dry_run": true})).await;
    assert_eq!(plan["requests"][0]["params"], json!({"todisk": "1"}));
    test.call("proxmox-hibernate-vm", json!({"vmid": 104, "wait": true})).await;
    assert_eq!(test.call("proxmox-vm-info", json!({"vmid": 104})).await["status"], "stopped");
    let resumed = test.call("proxmox-resume-vm", json!({"vmid": 104, "wait": true})).await;
    assert_eq!(resumed["exitstatus"], "OK", "{resumed}");
    assert_eq!(test.call("proxmox-vm-info", json!({"vmid": 104})).await["status"], "running");
}

#[tokio::test(start_paused = true)]
async fn a_reset_is_asked_about_first() {
    let test = start(options()).await;
    assert_eq!(test.call("proxmox-reset-vm", json!({"vmid": 105})).await["state"], "needs_confirmation");
    assert!(test.sent.writes().is_empty());
    let done = test.call("proxmox-reset-vm", json!({"vmid": 105, "confirm": true, "wait": true})).await;
    assert_eq!(done["exitstatus"], "OK");
}

#[tokio::test(start_paused = true)]
async fn a_stop_with_hard_ends_a_shutdown_under_way() {
    let test = start(options()).await;
    test.call("proxmox-shutdown-lxc", json!({"vmid": 108})).await;
    let stopped = test.call("proxmox-stop-lxc", json!({"vmid": 108, "hard": true, "wait": true})).await;
    assert_eq!(stopped["exitstatus"], "OK", "{stopped}");
    assert!(stopped["seconds"].as_f64().unwrap() < 3.0, "{stopped}");
}
