//! `PROXMOX_CONFIRM=human`: the client asks a person, in both eras of the protocol, and nothing is sent without a yes.
#![expect(clippy::unwrap_used, reason = "tests")]

mod support;

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use proxmox_mcp::{
    call::{App, Cluster},
    config::Safety,
    confirm::{self, Mode},
    key::Key,
    mcp::{Connection, Server},
    progress::Progress,
    pve::Client,
    router::Face,
    sandbox::Sandbox,
};
use rmcp::{
    ClientHandler, ErrorData, RoleClient, ServiceExt,
    model::{
        CallToolRequestParams, CallToolResponse, CallToolResult, CancelledNotificationParam, ClientCapabilities,
        ClientConfig, ClientRequest, ElicitRequestParams, ElicitResult, ElicitationAction, Implementation,
        InputRequiredResult, ProtocolVersion, RequestStateCodec, SealOptions,
    },
    service::{
        ClientLifecycleMode, ClientServiceExt, NotificationContext, PeerRequestOptions, RequestContext, RunningService,
    },
};
use serde_json::{Value, json};
use support::{everything, options};

/// The eras of the protocol.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Era {
    Sessions,
    Stateless,
}
use Era::{Sessions, Stateless};

/// What the person at the client does.
#[derive(Clone)]
enum Does {
    Accepts(Value),
    Declines,
    Dismisses,
    Nothing,
    /// Says yes, while somebody else changes the notes of VM 107.
    AcceptsLate(Arc<Connection>),
    /// Only the first time.
    AcceptsLateOnce(Arc<Connection>),
}

struct Person {
    does: Does,
    form: bool,
    asked: Arc<Mutex<Vec<String>>>,
    taken_back: Arc<Mutex<usize>>,
}

impl ClientHandler for Person {
    fn get_info(&self) -> ClientConfig {
        let capabilities = match self.form {
            true => ClientCapabilities::builder().enable_elicitation().build(),
            false => ClientCapabilities::default(),
        };
        ClientConfig::new(capabilities, Implementation::new("person", "1"))
    }

    async fn create_elicitation(
        &self,
        request: ElicitRequestParams,
        _: RequestContext<RoleClient>,
    ) -> Result<ElicitResult, ErrorData> {
        let ElicitRequestParams::FormElicitationParams { message, requested_schema, .. } = request else {
            return Err(ErrorData::invalid_params("no form", None));
        };
        assert_eq!(json!(requested_schema)["properties"]["confirm"]["type"], "boolean");
        let round = {
            let mut asked = self.asked.lock().unwrap();
            asked.push(message);
            asked.len()
        };
        let yes = || ElicitResult::new(ElicitationAction::Accept).with_content(json!({"confirm": true}));
        let change = async |other: &Connection| {
            let notes = json!({"vmid": 107, "content": format!("changed {round}"), "confirm": true});
            other.call("proxmox-vm-notes-update", notes).await.unwrap();
        };
        Ok(match &self.does {
            Does::Accepts(content) => ElicitResult::new(ElicitationAction::Accept).with_content(content.clone()),
            Does::Declines => ElicitResult::new(ElicitationAction::Decline),
            Does::Dismisses => ElicitResult::new(ElicitationAction::Cancel),
            Does::Nothing => std::future::pending().await,
            Does::AcceptsLate(other) => {
                change(other).await;
                yes()
            }
            Does::AcceptsLateOnce(other) => {
                if round == 1 {
                    change(other).await;
                }
                yes()
            }
        })
    }

    async fn on_cancelled(&self, _: CancelledNotificationParam, _: NotificationContext<RoleClient>) {
        *self.taken_back.lock().unwrap() += 1;
    }
}

struct Test {
    client: RunningService<RoleClient, Person>,
    wire: Arc<support::Wire>,
    asked: Arc<Mutex<Vec<String>>>,
    taken_back: Arc<Mutex<usize>>,
}

const KEY: &str = "a key of at least thirty-two characters";

fn human() -> Safety {
    let confirm = confirm::Settings { mode: Mode::Human, key: Some(Key::new(&KEY.into())), ..Default::default() };
    Safety { confirm, ..everything() }
}

fn app(sandbox: &Sandbox, safety: &Safety) -> (Arc<App>, Arc<support::Wire>) {
    let config = proxmox_mcp::embedded::cluster_config(sandbox);
    let wire = support::wire(sandbox);
    let client = Client::with_transport(&config, wire.clone());
    (Arc::new(App::with_clusters(vec![Cluster { name: config.name, client }], safety).unwrap()), wire)
}

/// Somebody else who changes the same cluster, and needs nobody's yes.
async fn other(sandbox: &Sandbox) -> Arc<Connection> {
    Arc::new(Connection::local(app(sandbox, &everything()).0, Progress::none()).await.unwrap())
}

async fn start(sandbox: &Sandbox, era: Era, does: Does) -> Test {
    with(sandbox, era, does, true, human()).await
}

async fn with(sandbox: &Sandbox, era: Era, does: Does, form: bool, safety: Safety) -> Test {
    let (app, wire) = app(sandbox, &safety);
    let (here, there) = tokio::io::duplex(1 << 20);
    tokio::spawn(async move {
        let running = Server::new(app).serve(there).await.unwrap();
        drop(running.waiting().await);
    });
    let (asked, taken_back) = (Arc::default(), Arc::default());
    let person = Person { does, form, asked: Arc::clone(&asked), taken_back: Arc::clone(&taken_back) };
    let lifecycle = match era {
        Sessions => ClientLifecycleMode::Initialize,
        Stateless => ClientLifecycleMode::Discover { preferred_versions: vec![ProtocolVersion::LATEST] },
    };
    let client = person.serve_with_lifecycle(here, lifecycle).await.unwrap();
    Test { client, wire, asked, taken_back }
}

fn params(tool: &str, arguments: Value) -> CallToolRequestParams {
    CallToolRequestParams::new(tool.to_owned()).with_arguments(arguments.as_object().cloned().unwrap())
}

fn text(result: &CallToolResult) -> String {
    result.content.iter().filter_map(|c| c.as_text()).map(|t| t.text.as_str()).collect()
}

impl Test {
    async fn call(&self, tool: &str, arguments: Value) -> CallToolResult {
        self.client.call_tool(params(tool, arguments)).await.unwrap()
    }
    async fn delete(&self) -> CallToolResult {
        self.call("proxmox-delete-vm", json!({"vmid": 107, "wait": true})).await
    }
    async fn question(&self, request: CallToolRequestParams) -> InputRequiredResult {
        match self.client.call_tool_once(request).await.unwrap() {
            CallToolResponse::InputRequired(question) => question,
            other => unreachable!("{other:?}"),
        }
    }
    async fn fails(&self, request: CallToolRequestParams) -> String {
        match self.client.call_tool_once(request).await.unwrap() {
            CallToolResponse::Complete(result) if result.is_error == Some(true) => text(&result),
            other => unreachable!("{other:?}"),
        }
    }
    fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

fn yes() -> Does {
    Does::Accepts(json!({"confirm": true}))
}

#[tokio::test(start_paused = true)]
async fn a_yes_does_it_after_one_question_that_shows_the_plan() {
    for era in [Sessions, Stateless] {
        let test = start(&Sandbox::new(options()), era, yes()).await;
        let result = test.delete().await;
        let outcome = result.structured_content.clone().unwrap_or_default();
        assert_eq!((&outcome["state"], &outcome["exitstatus"]), (&json!("done"), &json!("OK")), "{era:?}: {result:?}");
        assert_eq!(test.wire.writes(), ["DELETE /nodes/pve2/qemu/107"]);
        let [question] = &test.asked()[..] else { unreachable!("{:?}", test.asked()) };
        assert!(question.starts_with("Delete VM 107 (scratch-01)"), "{question}");
        for part in ["DELETE /nodes/pve2/qemu/107", "Warning: lost with it: scsi0", "Asked for with proxmox-delete-vm."]
        {
            assert!(question.contains(part), "{part}: {question}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn anything_but_a_yes_sends_nothing() {
    for era in [Sessions, Stateless] {
        for (does, words) in [
            (Does::Declines, "a person said no: "),
            (Does::Accepts(json!({"confirm": false})), "a person said no: "),
            (Does::Accepts(json!({})), "a person said no: "),
            (Does::Accepts(json!({"confirm": "true"})), "a person said no: "),
            (Does::Dismisses, "the question was dismissed: "),
        ] {
            let test = start(&Sandbox::new(options()), era, does).await;
            let result = test.delete().await;
            assert_eq!(result.is_error, Some(true));
            let text = text(&result);
            assert!(text.starts_with(words) && text.contains("VM 107") && text.contains("nothing was sent"), "{text}");
            assert_eq!(result.meta.unwrap().get("proxmox-mcp/error").unwrap()["kind"], "denied");
            assert!(test.wire.writes().is_empty());
        }
    }
}

#[tokio::test(start_paused = true)]
async fn who_never_answers_is_waited_for_as_long_as_the_plan_is_good() {
    let test = start(&Sandbox::new(options()), Sessions, Does::Nothing).await;
    let began = tokio::time::Instant::now();
    let text = text(&test.delete().await);
    assert!(text.starts_with("nobody answered within ten minutes"), "{text}");
    assert!((595..610).contains(&began.elapsed().as_secs()), "{:?}", began.elapsed());
    assert!(test.wire.writes().is_empty());
    // The client is told that the question is off.
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(*test.taken_back.lock().unwrap(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_call_that_is_cancelled_while_somebody_thinks_does_nothing() {
    let test = start(&Sandbox::new(options()), Sessions, Does::Nothing).await;
    let request =
        ClientRequest::CallToolRequest(rmcp::model::Request::new(params("proxmox-delete-vm", json!({"vmid": 107}))));
    let handle = test.client.send_cancellable_request(request, PeerRequestOptions::no_options()).await.unwrap();
    while test.asked().is_empty() {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    handle.cancel(None).await.unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(*test.taken_back.lock().unwrap(), 1);
    assert!(test.wire.writes().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_client_that_cannot_ask_is_refused_and_told_the_way_out() {
    for era in [Sessions, Stateless] {
        let test = with(&Sandbox::new(options()), era, yes(), false, human()).await;
        let text = text(&test.delete().await);
        assert!(text.contains("this client cannot ask one (it has not declared elicitation)"), "{text}");
        assert!(text.contains("PROXMOX_CONFIRM_FALLBACK=plan"), "{text}");
        assert!(test.wire.writes().is_empty() && test.asked().is_empty());
        // What need not be confirmed needs nobody, and a dry run sends nothing.
        let started = test.call("proxmox-start-vm", json!({"vmid": 107, "wait": true})).await;
        assert_eq!(started.structured_content.unwrap()["state"], "done");
        let plan = test.call("proxmox-delete-vm", json!({"vmid": 107, "dry_run": true})).await;
        assert_eq!(plan.structured_content.unwrap()["state"], "planned");
    }
}

#[tokio::test(start_paused = true)]
async fn where_plans_may_stand_in_for_a_person_their_id_will_do() {
    for era in [Sessions, Stateless] {
        let mut safety = human();
        safety.confirm.fallback = true;
        let test = with(&Sandbox::new(options()), era, yes(), false, safety).await;
        let plan = test.delete().await.structured_content.unwrap();
        assert_eq!(plan["state"], "needs_confirmation");
        let sure = json!({"vmid": 107, "wait": true, "confirm": plan["plan_id"]});
        let done = test.call("proxmox-delete-vm", sure).await.structured_content.unwrap();
        assert_eq!(done["state"], "done");
    }
}

#[tokio::test(start_paused = true)]
async fn a_plan_that_changes_while_somebody_thinks_is_asked_about_again() {
    for era in [Sessions, Stateless] {
        let sandbox = Sandbox::new(options());
        let test = start(&sandbox, era, Does::AcceptsLateOnce(other(&sandbox).await)).await;
        let done = test.delete().await;
        assert_eq!(done.structured_content.clone().unwrap_or_default()["state"], "done", "{era:?}: {done:?}");
        let asked = test.asked();
        assert_eq!(asked.len(), 2);
        assert!(asked[1].starts_with("This has changed since the last question."), "{}", asked[1]);
        assert_eq!(test.wire.writes(), ["DELETE /nodes/pve2/qemu/107"]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_plan_that_keeps_changing_is_given_up_after_three_questions() {
    for era in [Sessions, Stateless] {
        let sandbox = Sandbox::new(options());
        let test = start(&sandbox, era, Does::AcceptsLate(other(&sandbox).await)).await;
        let result = test.delete().await;
        assert!(text(&result).starts_with("the plan changed 3 times while a person was asked"), "{result:?}");
        assert_eq!((test.asked().len(), test.wire.writes().len()), (3, 0));
    }
}

#[tokio::test(start_paused = true)]
async fn a_plan_that_would_fail_is_shown_and_nobody_is_asked() {
    for era in [Sessions, Stateless] {
        let test = start(&Sandbox::new(options()), era, yes()).await;
        // It runs.
        let plan = test.call("proxmox-delete-vm", json!({"vmid": 100})).await.structured_content.unwrap();
        assert_eq!(plan["state"], "needs_confirmation");
        assert!(!plan["problems"].as_array().unwrap().is_empty(), "{plan}");
        assert!(test.asked().is_empty() && test.wire.writes().is_empty());
    }
}

#[tokio::test(start_paused = true)]
async fn where_a_flag_is_enough_nobody_is_asked() {
    for era in [Sessions, Stateless] {
        let test = with(&Sandbox::new(options()), era, yes(), true, everything()).await;
        assert_eq!(test.delete().await.structured_content.unwrap()["state"], "needs_confirmation");
        let sure = json!({"vmid": 107, "wait": true, "confirm": true});
        let done = test.call("proxmox-delete-vm", sure).await.structured_content.unwrap();
        assert_eq!(done["state"], "done");
        assert!(test.asked().is_empty());
    }
}

#[tokio::test(start_paused = true)]
async fn behind_the_router_the_person_reads_the_called_tool_s_name() {
    for era in [Sessions, Stateless] {
        let safety = Safety { face: Face::Router, ..human() };
        let test = with(&Sandbox::new(options()), era, yes(), true, safety).await;
        let delete = json!({"name": "proxmox-delete-vm", "arguments": {"vmid": 107, "wait": true}});
        let done = test.call("proxmox-write", delete).await.structured_content.unwrap();
        assert_eq!(done["state"], "done");
        assert!(test.asked()[0].ends_with("Asked for with proxmox-delete-vm."), "{:?}", test.asked());
    }
}

/// The answers of the second round, as a client would send them.
fn answered(request: CallToolRequestParams, state: &str, action: Value) -> CallToolRequestParams {
    request.with_request_state(state).with_input_responses([("confirm".to_owned(), action)].into())
}

fn accepted() -> Value {
    json!({"action": "accept", "content": {"confirm": true}})
}

#[tokio::test(start_paused = true)]
async fn a_state_holds_for_its_own_question_only() {
    let test = start(&Sandbox::new(options()), Stateless, yes()).await;
    let delete = || params("proxmox-delete-vm", json!({"vmid": 107, "wait": true}));
    let state = test.question(delete()).await.request_state.unwrap();
    let forged = {
        let mut bytes = state.clone().into_bytes();
        let at = bytes.len() / 2;
        bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
        String::from_utf8(bytes).unwrap()
    };
    let not_ours = "requestState is not one that this server gave for this tool with these arguments";
    for request in [
        answered(delete(), &forged, accepted()),
        answered(delete(), "nonsense", accepted()),
        answered(params("proxmox-delete-vm", json!({"vmid": 108, "wait": true})), &state, accepted()),
        answered(params("proxmox-delete-vm", json!({"vmid": 107})), &state, accepted()),
        answered(params("proxmox-stop-vm", json!({"vmid": 107, "wait": true})), &state, accepted()),
    ] {
        let text = test.fails(request).await;
        assert!(text.starts_with(not_ours) && text.contains("nothing was sent"), "{text}");
    }
    let text = test.fails(answered(delete(), &state, json!("yes"))).await;
    assert!(text.starts_with("inputResponses.confirm: expected {action, content}"), "{text}");
    let alone = delete().with_input_responses([("confirm".to_owned(), accepted())].into());
    let text = test.fails(alone).await;
    assert!(text.starts_with("inputResponses came without the requestState"), "{text}");
    assert!(test.wire.writes().is_empty());
    // An answer that is missing is asked for again, and the arguments' order means nothing.
    assert!(test.question(delete().with_request_state(state.clone())).await.request_state.is_some());
    let turned = params("proxmox-delete-vm", json!({"wait": true, "vmid": 107}));
    let done = test.client.call_tool_once(answered(turned, &state, accepted())).await.unwrap();
    assert!(matches!(done, CallToolResponse::Complete(result) if result.is_error != Some(true)));
    // Once more is not done once more.
    test.fails(answered(delete(), &state, accepted())).await;
    assert_eq!(test.wire.writes(), ["DELETE /nodes/pve2/qemu/107"]);
}

#[tokio::test(start_paused = true)]
async fn a_state_expires_and_another_server_of_the_same_key_takes_it() {
    let sandbox = Sandbox::new(options());
    let delete = || params("proxmox-delete-vm", json!({"vmid": 107, "wait": true}));
    let (one, two) = (start(&sandbox, Stateless, yes()).await, start(&sandbox, Stateless, yes()).await);
    let state = one.question(delete()).await.request_state.unwrap();
    let key = Key::new(&KEY.into()).sign("request state", []);
    let codec = RequestStateCodec::try_new(key).unwrap();
    let bound = br#"tools/call proxmox-delete-vm {"vmid":107,"wait":true}"#;
    let payload: Value = codec.open_json_with(&state, bound).unwrap();
    let old = SealOptions::new().associated_data(bound).ttl(Duration::ZERO);
    let old = codec.seal_json_with(&payload, &old).unwrap();
    // The state has a time of its own, which no test can turn.
    std::thread::sleep(Duration::from_millis(20));
    let text = one.fails(answered(delete(), &old, accepted())).await;
    assert!(text.starts_with("the question was asked too long ago"), "{text}");
    assert!(one.wire.writes().is_empty());
    let done = two.client.call_tool_once(answered(delete(), &state, accepted())).await.unwrap();
    assert!(matches!(done, CallToolResponse::Complete(result) if result.is_error != Some(true)));
    assert_eq!(two.wire.writes(), ["DELETE /nodes/pve2/qemu/107"]);
}
