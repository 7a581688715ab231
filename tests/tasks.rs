//! Task lists, task states, waiting and cancelling.
#![expect(clippy::unwrap_used, reason = "tests")]

mod support;

use http::Method;
use proxmox_mcp::sandbox::{Fault, FaultKind};
use serde_json::json;
use support::{options, start};

#[tokio::test(start_paused = true)]
async fn a_task_is_listed_while_it_runs_and_after() {
    let test = start(options()).await;
    let started = test.call("proxmox-start-vm", json!({"vmid": 107})).await;
    let upid = started["upid"].as_str().unwrap();
    let running = test.call("proxmox-list-tasks", json!({"node": "pve2", "vmid": 107})).await;
    assert_eq!((&running["running"], &running["tasks"][0]["upid"]), (&json!(1), &json!(upid)));
    let status = test.call("proxmox-task-status", json!({"upid": upid})).await;
    assert_eq!((&status["status"], &status["type"]), (&json!("running"), &json!("qmstart")));
    test.call("proxmox-wait-task", json!({"upid": upid})).await;
    let ended = test.call("proxmox-list-tasks", json!({"node": "pve2", "vmid": 107})).await;
    assert_eq!((&ended["running"], &ended["tasks"][0]["status"]), (&json!(0), &json!("OK")));
    let status = test.call("proxmox-task-status", json!({"upid": upid, "node": "pve2"})).await;
    assert_eq!(
        (&status["status"], &status["exitstatus"], &status["success"]),
        (&json!("stopped"), &json!("OK"), &json!(true))
    );
}

#[tokio::test(start_paused = true)]
async fn failed_tasks_are_counted_and_can_be_asked_for_alone() {
    let test = start(options()).await;
    test.fails("proxmox-start-vm", json!({"vmid": 100, "wait": true})).await;
    test.call("proxmox-start-vm", json!({"vmid": 107, "wait": true})).await;
    let failed = test.call("proxmox-list-tasks", json!({"node": "pve1", "errors": true})).await;
    assert!(failed["tasks"].as_array().unwrap().iter().all(|t| t["status"] != "OK"), "{failed}");
    assert_eq!(failed["tasks"][0]["status"], "VM 100 already running");
    let all = test.call("proxmox-list-tasks", json!({"vmid": 107})).await;
    assert_eq!(all["tasks"].as_array().unwrap().len(), 1, "{all}");
}

#[tokio::test(start_paused = true)]
async fn a_wait_on_a_failed_task_is_an_error_with_its_words() {
    let test = start(options()).await;
    let upid = test.call("proxmox-start-vm", json!({"vmid": 100})).await["upid"].clone();
    let words = test.fails("proxmox-wait-task", json!({"upid": upid})).await;
    assert!(words.starts_with("VM 100 already running"), "{words}");
}

#[tokio::test(start_paused = true)]
async fn a_wait_shorter_than_the_task_ends_with_running() {
    let test = start(options()).await;
    let clone = test.call("proxmox-clone-vm", json!({"source_vmid": 9000, "name": "x", "confirm": true})).await;
    let waited = test.call("proxmox-wait-task", json!({"upid": clone["upid"], "timeout": 1})).await;
    assert_eq!(waited["state"], "running");
    let waited = test.call("proxmox-wait-task", json!({"upid": clone["upid"]})).await;
    assert_eq!(waited["state"], "done");
}

#[tokio::test(start_paused = true)]
async fn a_task_on_a_node_that_went_offline_is_not_guessed_about() {
    let test = start(options()).await;
    let clone = test.call("proxmox-clone-vm", json!({"source_vmid": 9001, "name": "x", "confirm": true})).await;
    let node = clone["upid"].as_str().unwrap().split(':').nth(1).unwrap().to_owned();
    // The endpoint in use is another node, which cannot reach it.
    test.sandbox.fault(Fault::new(FaultKind::Status595).on(Method::GET, &format!("/nodes/{node}/tasks/**")));
    test.sandbox.fault(Fault::new(FaultKind::Status595).on(Method::GET, &format!("/nodes/{node}/tasks")));
    let waited = test.call("proxmox-wait-task", json!({"upid": clone["upid"], "timeout": 20})).await;
    assert_eq!(waited["state"], "running", "{waited}");
    assert!(waited["note"].as_str().unwrap().contains(&node), "{waited}");
    test.sandbox.clear_faults();
    assert_eq!(test.call("proxmox-wait-task", json!({"upid": clone["upid"]})).await["state"], "done");
}

#[tokio::test(start_paused = true)]
async fn a_task_s_log_is_paged_and_its_end_is_read() {
    let test = start(options()).await;
    let clone = json!({"source_vmid": 9000, "name": "copy", "confirm": true, "wait": true});
    let upid = test.call("proxmox-clone-vm", clone).await["upid"].clone();
    let first = test.call("proxmox-task-log", json!({"upid": upid, "limit": 2})).await;
    let total = first["total"].as_u64().unwrap();
    assert_eq!((first["lines"].as_array().unwrap().len(), &first["next_start"]), (2, &json!(2)));
    let rest = test.call("proxmox-task-log", json!({"upid": upid, "start": 2, "limit": 5000})).await;
    assert_eq!((rest["lines"].as_array().unwrap().len() as u64, rest["next_start"].is_null()), (total - 2, true));
    let last = test.call("proxmox-task-log", json!({"upid": upid, "tail": 1})).await;
    assert_eq!((&last["lines"], &last["total"]), (&json!(["TASK OK"]), &json!(total)));
    let said = test.fails("proxmox-task-log", json!({"upid": "UPID:x"})).await;
    assert!(said.contains("UPID"), "{said}");
}

#[tokio::test(start_paused = true)]
async fn a_running_task_is_stopped_once_that_is_confirmed() {
    let test = start(options()).await;
    let clone = test.call("proxmox-clone-vm", json!({"source_vmid": 9000, "name": "x", "confirm": true})).await;
    test.sent.forget();
    let asked = test.call("proxmox-stop-task", json!({"upid": clone["upid"]})).await;
    assert_eq!((&asked["state"], test.sent.writes().len()), (&json!("needs_confirmation"), 0));
    let done = test.call("proxmox-stop-task", json!({"upid": clone["upid"], "confirm": true})).await;
    assert_eq!((&done["state"], done["warnings"].is_null()), (&json!("done"), true));
    let status = test.call("proxmox-task-status", json!({"upid": clone["upid"]})).await;
    assert_eq!(status["exitstatus"], "unexpected status");
    let again = test.call("proxmox-stop-task", json!({"upid": clone["upid"], "dry_run": true})).await;
    assert!(again["warnings"].to_string().contains("it has ended already (unexpected status)"), "{again}");
}
