//! The tasks extension, on top of Proxmox's own tasks; and tasks that are stopped with the call that waits for them.
#![expect(clippy::unwrap_used, reason = "tests")]

mod support;

use std::{sync::Arc, time::Duration};

use http::Method;
use proxmox_mcp::{
    call::{self, App, Cluster, Context},
    config::Safety,
    confirm,
    key::Key,
    mcp::Server,
    policy::{Mode, Settings},
    pve::Client,
    sandbox::{Fault, FaultKind, Sandbox},
};
use rmcp::{
    ClientHandler, RoleClient, ServiceExt,
    model::{
        CallToolRequestParams, CallToolResponse, CancelTaskParams, ClientCapabilities, ClientConfig, CreateTaskResult,
        DetailedTask, GetTaskParams, Implementation, ProtocolVersion, TaskPayload, TaskStatus, UpdateTaskParams,
    },
    service::{ClientLifecycleMode, ClientServiceExt, RunningService},
};
use serde_json::{Value, json};
use support::{everything, fits, options, wire};

struct Follower {
    tasks: bool,
}

impl ClientHandler for Follower {
    fn get_info(&self) -> ClientConfig {
        let capabilities = match self.tasks {
            true => ClientCapabilities::builder().enable_tasks().build(),
            false => ClientCapabilities::default(),
        };
        ClientConfig::new(capabilities, Implementation::new("follower", "1"))
    }
}

struct Test {
    client: RunningService<RoleClient, Follower>,
    wire: Arc<support::Wire>,
}

fn modern() -> ClientLifecycleMode {
    ClientLifecycleMode::Discover { preferred_versions: vec![ProtocolVersion::LATEST] }
}

/// Any replica: a key of the operator's, so that all know one another's handles.
fn safety() -> Safety {
    let key = Some(Key::new(&"k".repeat(40).into()));
    Safety { confirm: confirm::Settings { key, ..Default::default() }, ..everything() }
}

fn app(sandbox: &Sandbox, safety: &Safety) -> (Arc<App>, Arc<support::Wire>) {
    let config = proxmox_mcp::embedded::cluster_config(sandbox);
    let wire = wire(sandbox);
    let client = Client::with_transport(&config, wire.clone());
    (Arc::new(App::with_clusters(vec![Cluster { name: config.name, client }], safety).unwrap()), wire)
}

async fn start(sandbox: &Sandbox, tasks: bool, lifecycle: ClientLifecycleMode, safety: Safety) -> Test {
    let (app, wire) = app(sandbox, &safety);
    let (here, there) = tokio::io::duplex(1 << 20);
    tokio::spawn(async move {
        let running = Server::new(app).serve(there).await.unwrap();
        drop(running.waiting().await);
    });
    let client = Follower { tasks }.serve_with_lifecycle(here, lifecycle).await.unwrap();
    Test { client, wire }
}

async fn follower(sandbox: &Sandbox) -> Test {
    start(sandbox, true, modern(), safety()).await
}

impl Test {
    async fn call(&self, tool: &str, arguments: Value) -> CallToolResponse {
        let arguments = arguments.as_object().cloned().unwrap();
        let params = CallToolRequestParams::new(tool.to_owned()).with_arguments(arguments);
        self.client.call_tool_once(params).await.unwrap()
    }
    async fn task(&self, tool: &str, arguments: Value) -> CreateTaskResult {
        match self.call(tool, arguments).await {
            CallToolResponse::Task(task) => task,
            other => unreachable!("{other:?}"),
        }
    }
    async fn answer(&self, tool: &str, arguments: Value) -> Value {
        match self.call(tool, arguments).await {
            CallToolResponse::Complete(result) => result.structured_content.unwrap(),
            other => unreachable!("{other:?}"),
        }
    }
    async fn get(&self, id: &str) -> DetailedTask {
        self.client.get_task(GetTaskParams::new(id)).await.unwrap().task
    }
    async fn until_end(&self, id: &str) -> DetailedTask {
        loop {
            let task = self.get(id).await;
            if task.status().is_terminal() {
                return task;
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    }
}

fn result(task: DetailedTask) -> Value {
    match task.payload {
        TaskPayload::Completed { result } => Value::Object(result),
        other => unreachable!("{other:?}"),
    }
}

const CLONE: &str = "proxmox-clone-vm";

fn clone() -> Value {
    json!({"source_vmid": 9000, "name": "twin", "confirm": true, "wait": true})
}

#[tokio::test(start_paused = true)]
async fn a_call_that_waits_becomes_a_task_that_ends_with_the_tool_s_result() {
    let test = follower(&Sandbox::new(options())).await;
    let created = test.task(CLONE, clone()).await.task;
    assert_eq!((created.status, created.ttl_ms), (TaskStatus::Working, None));
    assert!(created.created_at.starts_with("2027-01-15T"), "{}", created.created_at);
    let going = test.get(&created.task_id).await;
    assert_eq!(going.status(), TaskStatus::Working);
    tokio::time::sleep(Duration::from_secs(3)).await;
    let message = test.get(&created.task_id).await.task.status_message.unwrap_or_default();
    assert!(message.contains('%'), "{message}");
    test.client.update_task(UpdateTaskParams::new(&created.task_id, Default::default())).await.unwrap();
    let result = result(test.until_end(&created.task_id).await);
    let outcome = &result["structuredContent"];
    assert_eq!((&outcome["state"], &outcome["exitstatus"]), (&json!("done"), &json!("OK")), "{result}");
    assert!(outcome["about"]["vmid"].is_u64() && result["content"][0]["text"].is_string(), "{result}");
    let entry = proxmox_mcp::tools::all().find(|entry| entry.name == CLONE).unwrap();
    fits(CLONE, entry.output_schema(), outcome);
    // The same is said as often as it is asked.
    assert_eq!(test.get(&created.task_id).await.status(), TaskStatus::Completed);
    assert_eq!(test.wire.writes().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_task_that_fails_ends_with_the_tool_s_error() {
    let sandbox = Sandbox::new(options());
    let test = follower(&sandbox).await;
    let fault = FaultKind::TaskFailure("start failed: QEMU exited with code 1".to_owned());
    sandbox.fault(Fault::new(fault).on(Method::POST, "/nodes/*/qemu/*/status/start"));
    let created = test.task("proxmox-start-vm", json!({"vmid": 107, "wait": true})).await.task;
    let result = result(test.until_end(&created.task_id).await);
    assert_eq!(result["isError"], true);
    let text = result["content"][0]["text"].as_str().unwrap();
    assert!(text.starts_with("start failed: QEMU exited with code 1") && text.contains("UPID:pve2:"), "{text}");
}

#[tokio::test(start_paused = true)]
async fn another_server_of_the_same_key_answers_and_no_other_does() {
    let sandbox = Sandbox::new(options());
    let (one, two) = (follower(&sandbox).await, follower(&sandbox).await);
    let id = one.task(CLONE, clone()).await.task.task_id;
    assert_eq!(result(two.until_end(&id).await)["structuredContent"]["state"], "done");
    let stranger = start(&sandbox, true, modern(), everything()).await;
    for (test, id) in [(&stranger, id.clone()), (&one, format!("{id}x")), (&one, "nonsense".to_owned())] {
        let words = test.client.get_task(GetTaskParams::new(&id)).await.unwrap_err().to_string();
        assert!(words.contains("taskId: none of this server's"), "{words}");
        assert!(test.client.cancel_task(CancelTaskParams::new(&id)).await.is_err());
        assert!(test.client.update_task(UpdateTaskParams::new(&id, Default::default())).await.is_err());
    }
}

#[tokio::test(start_paused = true)]
async fn cancelling_it_stops_proxmox_s_task() {
    for mode in [Mode::Full, Mode::NoDelete] {
        let sandbox = Sandbox::new(options());
        let policy = Settings { mode, ..Settings::everything().unwrap() };
        let test = start(&sandbox, true, modern(), Safety { policy, ..safety() }).await;
        let id = test.task(CLONE, clone()).await.task.task_id;
        test.client.cancel_task(CancelTaskParams::new(&id)).await.unwrap();
        let task = test.get(&id).await;
        assert_eq!(task.status(), TaskStatus::Cancelled, "{task:?}");
        let stop = test.wire.matching(|method, path| *method == Method::DELETE && path.contains("/tasks/UPID"));
        assert_eq!(stop.len(), 1);
        // Once more is no harm.
        test.client.cancel_task(CancelTaskParams::new(&id)).await.unwrap();
        assert_eq!(test.wire.writes().len(), 2);
    }
}

#[tokio::test(start_paused = true)]
async fn what_has_more_to_do_than_wait_for_one_task_is_answered_as_ever() {
    let test = follower(&Sandbox::new(options())).await;
    let backup = json!({"vmid": 107, "storage": "nas", "wait": true, "confirm": true});
    let outcome = test.answer("proxmox-backup-vm", backup).await;
    assert_eq!(outcome["state"], "done");
    assert!(outcome["result"].is_object(), "{outcome}");
    let not_waited = test.answer("proxmox-start-vm", json!({"vmid": 107})).await;
    assert_eq!(not_waited["state"], "running");
    assert_eq!(test.answer("proxmox-list-nodes", json!({})).await["total"], 3);
    assert_eq!(test.answer(CLONE, json!({"source_vmid": 9000, "name": "twin"})).await["state"], "needs_confirmation");
}

#[tokio::test(start_paused = true)]
async fn clients_that_do_not_know_tasks_get_none() {
    let sandbox = Sandbox::new(options());
    for (tasks, lifecycle) in [(false, modern()), (true, ClientLifecycleMode::Initialize)] {
        let test = start(&sandbox, tasks, lifecycle, safety()).await;
        assert_eq!(test.answer(CLONE, clone()).await["state"], "done");
    }
}

/// A call that is cancelled as soon as its task has begun: what it says, what was sent, how the task ended.
async fn cancelled(tool: &str, arguments: Value, safety: Safety) -> (String, Vec<String>, Value) {
    let sandbox = Sandbox::new(options());
    let (app, wire) = app(&sandbox, &safety);
    let context = Context::default();
    let cancel = context.cancel.clone();
    let (seen, all) = (wire.clone(), arguments["vmids"].as_array().map_or(1, Vec::len));
    tokio::spawn(async move {
        while seen.writes().len() < all {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        tokio::time::sleep(Duration::from_millis(300)).await;
        cancel.cancel();
    });
    let arguments = arguments.as_object().cloned().unwrap();
    let error = call::run(&app, tool, arguments, &context).await.unwrap_err();
    let upid = error.parts().upid.clone().unwrap();
    let wait = json!({"upid": upid}).as_object().cloned().unwrap();
    let end = match call::run(&app, "proxmox-task-status", wait.clone(), &Context::default()).await.unwrap().data {
        status if status["status"] == "running" => {
            call::run(&app, "proxmox-wait-task", wait, &Context::default()).await.unwrap().data["exitstatus"].clone()
        }
        status => status["exitstatus"].clone(),
    };
    (error.report(), wire.writes(), end)
}

fn stopping(mut arguments: Value) -> Value {
    arguments["cancel_task_on_abort"] = json!(true);
    arguments
}

#[tokio::test(start_paused = true)]
async fn a_task_goes_on_when_its_call_is_cancelled_unless_it_is_to_be_stopped() {
    let (words, writes, end) = cancelled(CLONE, clone(), everything()).await;
    assert!(words.starts_with("the waiting was cancelled; task UPID:") && words.contains("goes on"), "{words}");
    assert_eq!((writes.len(), &end), (1, &json!("OK")));
    let (words, writes, end) = cancelled(CLONE, stopping(clone()), everything()).await;
    assert!(words.starts_with("the call was cancelled and task UPID:"), "{words}");
    assert!(words.contains("(qmclone 9000) stopped: unexpected status"), "{words}");
    assert_eq!((writes.len(), &end), (2, &json!("unexpected status")));
    assert!(writes[1].starts_with("DELETE /nodes/") && writes[1].contains("/tasks/UPID"), "{writes:?}");
}

#[tokio::test(start_paused = true)]
async fn stopping_one_s_own_task_is_no_deletion_and_a_freeze_holds_for_it_too() {
    let policy = Settings { mode: Mode::NoDelete, ..Settings::everything().unwrap() };
    let (words, writes, _) = cancelled(CLONE, stopping(clone()), Safety { policy, ..Safety::default() }).await;
    assert!(words.contains("stopped: unexpected status"), "{words}");
    assert_eq!(writes.len(), 2);

    let sandbox = Sandbox::new(options());
    let file = std::path::PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("freeze-{}", std::process::id()));
    let policy = Settings { freeze: Some(file.clone()), ..Settings::everything().unwrap() };
    let (app, wire) = app(&sandbox, &Safety { policy, ..Safety::default() });
    let context = Context::default();
    let (cancel, seen, freeze) = (context.cancel.clone(), wire.clone(), file.clone());
    tokio::spawn(async move {
        while seen.writes().is_empty() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        std::fs::write(freeze, "").unwrap();
        cancel.cancel();
    });
    let error = call::run(&app, CLONE, stopping(clone()).as_object().cloned().unwrap(), &context).await.unwrap_err();
    std::fs::remove_file(file).unwrap();
    let words = error.report();
    assert!(words.contains("could not be stopped and goes on: changes are frozen"), "{words}");
    assert_eq!(wire.writes().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn every_action_takes_the_key_and_no_model_is_charged_for_it() {
    for tool in proxmox_mcp::tools::all() {
        let key = "cancel_task_on_abort";
        let taken = tool.input_schema(&[])["properties"].get(key).is_some();
        assert_eq!(taken, tool.control.is_some(), "{}", tool.name);
        assert!(tool.listed_schema(&[])["properties"].get(key).is_none(), "{}", tool.name);
    }
}

#[tokio::test(start_paused = true)]
async fn a_call_that_was_cancelled_before_anything_was_sent_sends_nothing() {
    let (app, wire) = app(&Sandbox::new(options()), &everything());
    let context = Context::default();
    context.cancel.cancel();
    let arguments = json!({"vmid": 107, "wait": true}).as_object().cloned().unwrap();
    let error = call::run(&app, "proxmox-start-vm", arguments, &context).await.unwrap_err();
    assert!(error.to_string().contains("cancelled"), "{error}");
    assert!(wire.writes().is_empty());
}
