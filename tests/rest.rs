//! The REST API over real sockets: what is listed and called, which status says what, how tasks are followed.
#![expect(clippy::unwrap_used, reason = "tests")]

mod support;

use proxmox_mcp::{
    config::{Safety, Web},
    confirm,
    policy::{Mode, Settings},
    sandbox::{Fault, FaultKind, Options},
};
use reqwest::{Method, Response, StatusCode, header::HeaderMap};
use serde_json::{Value, json};
use support::{
    everything, options,
    web::{Served, serve, serve_with},
};

const CLONE: &str = "/tools/proxmox-clone-vm";

/// What came back.
struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: Value,
}

impl Answer {
    async fn of(response: Response) -> Self {
        let (status, headers) = (response.status(), response.headers().clone());
        let text = response.text().await.unwrap();
        let body = serde_json::from_str(&text).unwrap_or(Value::String(text));
        Self { status, headers, body }
    }

    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }
}

trait Asks {
    async fn get(&self, path: &str) -> Answer;
    async fn post(&self, path: &str, arguments: Value, headers: &[(&str, &str)]) -> Answer;
}

impl Asks for Served {
    async fn get(&self, path: &str) -> Answer {
        Answer::of(self.http.get(self.at(path)).send().await.unwrap()).await
    }

    async fn post(&self, path: &str, arguments: Value, headers: &[(&str, &str)]) -> Answer {
        let request = self.http.post(self.at(path)).json(&arguments);
        let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
        Answer::of(request.send().await.unwrap()).await
    }
}

fn clone() -> Value {
    json!({"source_vmid": 9000, "name": "new", "confirm": true})
}

async fn restricted(safety: Safety) -> Served {
    serve_with(Web::default(), safety, Options { time_scale: 100.0, ..options() }).await
}

fn mode(mode: Mode) -> Safety {
    Safety { policy: Settings { mode, ..Settings::everything().unwrap() }, ..Safety::default() }
}

#[tokio::test]
async fn a_tool_is_called_with_its_arguments_as_body() {
    let server = serve().await;
    for path in ["/tools/proxmox-list-vms", "/proxmox-list-vms"] {
        let answer = server.post(path, json!({"status": "running", "limit": 2}), &[]).await;
        assert_eq!((answer.status, answer.header("content-type")), (StatusCode::OK, "application/json"), "{path}");
        assert_eq!(answer.body["vms"][0]["name"], "web-01", "{path}");
        assert_eq!(answer.body["vms"].as_array().unwrap().len(), 2, "{path}");
    }
    // No body is no arguments.
    let bare = server.http.post(server.at("/tools/proxmox-list-nodes")).send().await.unwrap();
    assert_eq!(Answer::of(bare).await.body["nodes"][0]["node"], "pve1");
}

#[tokio::test]
async fn a_caller_is_told_of_what_it_may_call_and_of_nothing_else() {
    let server = serve().await;
    let all = server.get("/tools").await.body;
    assert!(all["total"].as_u64().unwrap() > 150, "{}", all["total"]);
    let clone = all["tools"].as_array().unwrap().iter().find(|tool| tool["name"] == "proxmox-clone-vm").unwrap();
    assert_eq!((&clone["family"], &clone["effect"]), (&json!("clone"), &json!("write")));
    assert_eq!(clone["confirm"], true);
    let few = server.get("/tools?toolset=snapshots").await.body;
    let named = few["tools"].as_array().unwrap().iter().all(|tool| tool["family"] == "snapshots");
    assert!(named && few["total"].as_u64().unwrap() < 10, "{few}");
    let wrong = server.get("/tools?toolset=nonsense").await;
    assert_eq!(wrong.status, StatusCode::BAD_REQUEST);
    assert!(wrong.body["detail"].as_str().unwrap().contains("no toolset 'nonsense'"), "{}", wrong.body);

    let reader = restricted(mode(Mode::ReadOnly)).await;
    let tools = reader.get("/tools").await.body;
    assert!(tools["tools"].as_array().unwrap().iter().all(|tool| tool["effect"] == "read"), "{tools}");
    assert_eq!(reader.get(CLONE).await.status, StatusCode::FORBIDDEN);
    let refused = reader.post(CLONE, json!({"source_vmid": 9000, "name": "x", "confirm": true}), &[]).await;
    assert_eq!((refused.status, &refused.body["kind"]), (StatusCode::FORBIDDEN, &json!("denied")));
}

#[tokio::test]
async fn one_tool_is_shown_with_its_schemas_and_an_example() {
    let server = serve().await;
    let tool = server.get(CLONE).await.body;
    assert_eq!(tool["input_schema"]["required"], json!(["source_vmid"]));
    assert!(tool["output_schema"]["properties"]["state"]["enum"].as_array().unwrap().contains(&json!("planned")));
    let again = server.post(CLONE, tool["example"]["arguments"].clone(), &[]).await;
    assert!(again.status.is_success(), "{}", again.body);
    let unknown = server.get("/tools/proxmox-clone-wm").await;
    assert_eq!(
        (unknown.status, &unknown.body["hint"]),
        (StatusCode::NOT_FOUND, &json!("did you mean 'proxmox-clone-vm'?"))
    );
}

#[tokio::test]
async fn every_refusal_is_a_problem_with_the_right_status() {
    let server = serve().await;
    let lock = Fault::new(FaultKind::LockTimeout).on(Method::PUT, "/nodes/pve1/qemu/100/config");
    server.sandbox.fault(lock);
    for (tool, arguments, status, words) in [
        ("proxmox-vm-info", json!({"vmid": "web"}), 400, "vmid: expected an integer from 100"),
        ("proxmox-vm-info", json!({"nmae": "web"}), 400, "unknown argument 'nmae'"),
        (
            "proxmox-storage-content",
            json!({"storage": "nas", "node": ""}),
            400,
            "node: expected text that is not empty",
        ),
        ("proxmox-vm-info", json!({"vmid": 999}), 404, "999"),
        ("proxmox-list-wm", json!({}), 404, "unknown tool 'proxmox-list-wm'"),
        ("proxmox-find-tools", json!({}), 404, "unknown tool"),
        ("proxmox-delete-vm", json!({"vmid": 100, "confirm": true}), 422, "running"),
        ("proxmox-configure-vm", json!({"vmid": 100, "params": {"cores": 3}, "confirm": true}), 409, "can't lock file"),
        (
            "proxmox-upload-iso",
            json!({"storage": "local", "file_path": "x.iso", "confirm": true}),
            403,
            "no file of this machine may be uploaded",
        ),
    ] {
        let answer = server.post(&format!("/tools/{tool}"), arguments, &[("X-Request-Id", "mine")]).await;
        let body = &answer.body;
        assert_eq!(answer.status.as_u16(), status, "{tool}: {body}");
        assert_eq!(answer.header("content-type"), "application/problem+json", "{tool}");
        assert!(body["detail"].as_str().unwrap().contains(words), "{tool}: {body}");
        assert_eq!((&body["status"], &body["request_id"]), (&json!(status), &json!("mine")), "{tool}: {body}");
    }
}

#[tokio::test]
async fn only_what_is_wrong_on_this_side_is_a_5xx() {
    for (fault, status, kind) in [
        (FaultKind::Refuse, 502, "unavailable"),
        (FaultKind::Status595, 502, "unavailable"),
        (FaultKind::TaskFailure("clone failed: no space left".to_owned()), 422, "task_failed"),
    ] {
        let server = serve().await;
        server.sandbox.fault(Fault::new(fault).on(Method::POST, "/nodes/pve1/qemu/9000/clone"));
        let answer = server.post(CLONE, clone(), &[("Prefer", "wait=60")]).await;
        assert_eq!((answer.status.as_u16(), &answer.body["kind"]), (status, &json!(kind)), "{}", answer.body);
    }
}

#[tokio::test]
async fn what_is_no_call_is_refused_before_it_is_one() {
    let server = serve().await;
    let post = |path: &str| server.http.post(server.at(path));
    let json =
        |text: &'static str| post("/tools/proxmox-list-vms").header("Content-Type", "application/json").body(text);
    for (request, status, words) in [
        (json("{"), 400, "the body: expected a JSON object with the arguments; EOF"),
        (json("[]"), 400, "got a list"),
        (json("{\"limit\": 1e999}"), 400, "number out of range"),
        (json("{\"limit\": 18446744073709551616}"), 400, "limit: expected an integer"),
        (json("{\"node\": \"\\u0000\\ud83d\\ude00\"}"), 404, "no node"),
        (post("/tools/proxmox-list-vms").body("limit=1"), 415, "Content-Type: application/json"),
        (server.http.put(server.at("/tools")), 405, "PUT is nothing that /tools takes"),
        (server.http.get(server.at("/proxmox-list-vms")), 405, "GET is nothing"),
        (server.http.get(server.at("/nothing")), 404, "nothing at /nothing"),
        (server.http.get(server.at("/tools/a/b")), 404, "nothing at /tools/a/b"),
        (server.http.get(server.at("/tools?x=1")), 400, "unknown field `x`"),
        (server.http.get(server.at("/tools/%ff")), 400, "the path"),
        (server.http.get(server.at("/tasks/UPID%3Anonsense")), 400, "upid"),
    ] {
        let answer = Answer::of(request.send().await.unwrap()).await;
        assert_eq!(answer.status.as_u16(), status, "{words}: {}", answer.body);
        assert!(answer.body["detail"].as_str().unwrap().contains(words), "{words}: {}", answer.body);
        assert_eq!(answer.header("allow").is_empty(), status != 405, "{words}: {:?}", answer.headers);
    }
    // A large body is read as long as the operator allows it.
    let large = server.post("/tools/proxmox-list-vms", json!({"x": "y".repeat(3 << 20)}), &[]).await;
    assert_eq!((large.status, &large.body["detail"]), (StatusCode::BAD_REQUEST, &json!("unknown argument 'x'")));
}

#[tokio::test]
async fn what_has_to_be_confirmed_is_no_success_before_it_is() {
    let server = serve().await;
    let asked = server.post(CLONE, json!({"source_vmid": 9000, "name": "new"}), &[]).await;
    assert_eq!(asked.status, StatusCode::PRECONDITION_REQUIRED);
    assert_eq!(asked.body["outcome"]["state"], "needs_confirmation");
    assert_eq!(asked.body["outcome"]["requests"][0]["path"], "/nodes/pve1/qemu/9000/clone");
    let planned = server.post(CLONE, json!({"source_vmid": 9000, "name": "new", "dry_run": true}), &[]).await;
    assert_eq!((planned.status, &planned.body["state"]), (StatusCode::OK, &json!("planned")));

    let settings = confirm::Settings { mode: confirm::Mode::Plan, ..Default::default() };
    let server = restricted(Safety { confirm: settings, ..everything() }).await;
    let asked = server.post(CLONE, json!({"source_vmid": 9000, "name": "new"}), &[]).await;
    let id = asked.body["outcome"]["plan_id"].clone();
    let done = server.post(CLONE, json!({"source_vmid": 9000, "name": "new", "confirm": id}), &[]).await;
    assert_eq!(done.status, StatusCode::ACCEPTED, "{}", done.body);
    // Nor is a task stopped for the asking then.
    let task = done.header("location");
    let stop = Answer::of(server.http.delete(server.at(task)).send().await.unwrap()).await;
    assert_eq!(stop.status, StatusCode::PRECONDITION_REQUIRED, "{}", stop.body);
    let id = stop.body["outcome"]["plan_id"].as_str().unwrap();
    let stop = server.http.delete(server.at(&format!("{task}?confirm={id}"))).send().await.unwrap();
    let stop = Answer::of(stop).await;
    // It may have ended meanwhile, and the plan is another then.
    assert!(stop.status == StatusCode::OK || stop.status == StatusCode::PRECONDITION_REQUIRED, "{}", stop.body);

    let settings = confirm::Settings { mode: confirm::Mode::Human, ..Default::default() };
    let server = restricted(Safety { confirm: settings, ..everything() }).await;
    let refused = server.post(CLONE, clone(), &[]).await;
    assert_eq!(refused.status, StatusCode::FORBIDDEN);
    assert!(refused.body["detail"].as_str().unwrap().contains("REST cannot ask one"), "{}", refused.body);
}

#[tokio::test]
async fn a_long_call_is_waited_for_or_followed_by_its_task_as_the_client_prefers() {
    let server = serve().await;
    let at_once = server.post(CLONE, clone(), &[]).await;
    assert_eq!((at_once.status, &at_once.body["state"]), (StatusCode::ACCEPTED, &json!("running")));
    let task = at_once.header("location").to_owned();
    assert!(task.starts_with("/tasks/UPID%3Apve1%3A"), "{task}");
    let ended = server.get(&format!("{task}?wait=60")).await;
    assert_eq!((ended.status, &ended.body["status"]), (StatusCode::OK, &json!("stopped")), "{}", ended.body);
    assert_eq!((&ended.body["success"], &ended.body["exitstatus"]), (&json!(true), &json!("OK")));
    assert_eq!(server.get(&task).await.body, ended.body);

    let waited = server.post(CLONE, clone(), &[("Prefer", "wait=60")]).await;
    assert_eq!((waited.status, &waited.body["state"]), (StatusCode::OK, &json!("done")));
    assert_eq!(waited.header("preference-applied"), "wait=60");
    let too_short = server.post(CLONE, clone(), &[("Prefer", "wait=0")]).await;
    assert_eq!((too_short.status, &too_short.body["state"]), (StatusCode::ACCEPTED, &json!("running")));

    let mut waiting = clone();
    waiting["wait"] = json!(true);
    let handed = server.post(CLONE, waiting.clone(), &[("Prefer", "respond-async")]).await;
    assert_eq!((handed.status, handed.header("preference-applied")), (StatusCode::ACCEPTED, "respond-async"));
    let ended = server.http.get(server.at(handed.header("location"))).header("Prefer", "wait=60").send().await.unwrap();
    assert_eq!(ended.headers()["preference-applied"], "wait=60");
    assert_eq!(Answer::of(ended).await.body["success"], true);
    // What the arguments say counts.
    let waited = server.post(CLONE, waiting, &[("Prefer", "wait=0")]).await;
    assert_eq!((waited.status, waited.header("preference-applied")), (StatusCode::OK, ""));
    // What reads is not waited for.
    let read = server.post("/tools/proxmox-list-nodes", json!({}), &[("Prefer", "respond-async, wait=5")]).await;
    assert_eq!((read.status, read.header("preference-applied")), (StatusCode::OK, ""));
}

#[tokio::test]
async fn a_task_is_stopped_by_its_address_and_one_that_failed_is_shown_all_the_same() {
    let server = serve_with(Web::default(), everything(), Options { time_scale: 0.1, ..options() }).await;
    let begun = server.post(CLONE, clone(), &[]).await;
    let task = begun.header("location").to_owned();
    assert_eq!(server.get(&task).await.body["status"], "running");
    let stopped = Answer::of(server.http.delete(server.at(&task)).send().await.unwrap()).await;
    assert_eq!((stopped.status, &stopped.body["state"]), (StatusCode::OK, &json!("done")), "{}", stopped.body);
    let ended = server.get(&format!("{task}?wait=600")).await;
    assert_eq!((ended.status, &ended.body["success"]), (StatusCode::OK, &json!(false)), "{}", ended.body);
    let unknown = "/tasks/UPID%3Apve1%3A0000ABCD%3A00000001%3A65000000%3Aqmstart%3A100%3Aroot%40pam%3A";
    assert_eq!(server.get(unknown).await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn the_address_of_a_task_leads_through_the_proxy_in_front() {
    let web = Web { public_url: Some("https://lab.example/pve".to_owned()), ..Web::default() };
    let server = serve_with(web, everything(), Options { time_scale: 100.0, ..options() }).await;
    let begun = server.post(CLONE, clone(), &[]).await;
    assert!(begun.header("location").starts_with("/pve/tasks/UPID%3A"), "{}", begun.header("location"));
}

#[tokio::test]
async fn who_called_is_on_record() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("audit.jsonl");
    let server = restricted(Safety { audit_file: Some(file.clone()), ..everything() }).await;
    let headers = [("User-Agent", "script/7\u{1b}[2J"), ("X-Request-Id", "run-42")];
    let called = server.post(CLONE, clone(), &headers[1..]).await;
    assert!(called.body["audit_id"].is_string(), "{}", called.body);
    let request = server.http.post(server.at(CLONE)).json(&clone()).header("User-Agent", "script/7");
    request.send().await.unwrap();
    let log = std::fs::read_to_string(&file).unwrap();
    let begun: Vec<Value> = log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let of =
        |key: &str| begun.iter().map(|entry| entry[key].clone()).filter(|value| !value.is_null()).collect::<Vec<_>>();
    assert_eq!(of("client"), [json!("REST"), json!("script/7")], "{log}");
    assert_eq!(of("request")[0], json!("run-42"), "{log}");
}
