//! Calls over HTTP that need more than an answer: a person's yes, a line in the record, another replica.
#![expect(clippy::unwrap_used, reason = "tests")]

mod mcp_over_http;
mod support;

use std::sync::Arc;

use mcp_over_http::{BOTH, Talk, WAYS, Way, conversations};
use proxmox_mcp::{
    audit,
    call::{App, Cluster},
    config::Safety,
    confirm::{self, Mode},
    ending::Ending,
    key::Key,
    pve::Client,
    sandbox::Sandbox,
};
use serde_json::{Value, json};
use support::{everything, options};

/// What any replica with the same key is like.
fn asks(mode: Mode) -> Safety {
    let key = Some(Key::new(&"k".repeat(40).into()));
    Safety { confirm: confirm::Settings { mode, key, ..Default::default() }, ..everything() }
}

fn app(sandbox: &Sandbox, safety: &Safety) -> (Arc<App>, Arc<support::Wire>) {
    let config = proxmox_mcp::embedded::cluster_config(sandbox);
    let wire = support::wire(sandbox);
    let client = Client::with_transport(&config, wire.clone());
    (Arc::new(App::with_clusters(vec![Cluster { name: config.name, client }], safety).unwrap()), wire)
}

fn delete() -> Value {
    json!({"name": "proxmox-delete-vm", "arguments": {"vmid": 107, "wait": true}})
}

#[tokio::test(start_paused = true)]
async fn a_person_is_asked_on_the_way_and_nothing_is_sent_without_a_yes() {
    for (way, says) in [
        (Way::Session, true),
        (Way::Session, false),
        (Way::Sse, true),
        (Way::Sse, false),
        (Way::Modern, true),
        (Way::Modern, false),
    ] {
        let (app, wire) = app(&Sandbox::new(options()), &asks(Mode::Human));
        let all = conversations(&app, way, &Ending::default());
        let mut talk = Talk::with(&all, way, json!({"elicitation": {}}), Some(BOTH)).await;
        talk.ask(1, "tools/call", delete()).await;
        let question = talk.reply().await.unwrap();
        assert_eq!(wire.writes(), [] as [&str; 0], "{way:?}");
        let said = match says {
            true => json!({"action": "accept", "content": {"confirm": true}}),
            false => json!({"action": "decline"}),
        };
        let asked = match way {
            Way::Modern => {
                let (result, mut again) = (&question["result"], delete());
                assert_eq!(result["resultType"], "input_required", "{question}");
                (again["requestState"], again["inputResponses"]) =
                    (result["requestState"].clone(), json!({"confirm": said}));
                talk.ask(2, "tools/call", again).await;
                result["inputRequests"]["confirm"].clone()
            }
            _ => {
                talk.say(json!({"id": question["id"], "result": said})).await;
                question.clone()
            }
        };
        assert_eq!(asked["method"], "elicitation/create", "{way:?}: {question}");
        assert!(asked["params"]["message"].as_str().unwrap().contains("107"), "{asked}");
        let reply = talk.reply().await.unwrap();
        assert_eq!(reply["result"]["isError"] == true, !says, "{way:?}: {reply}");
        let sent = if says { &["DELETE /nodes/pve2/qemu/107"][..] } else { &[] };
        assert_eq!(wire.writes(), sent, "{way:?}");
    }
}

/// It would wait for ten minutes for an answer to a question that it never hears.
#[tokio::test(start_paused = true)]
async fn a_client_that_takes_json_alone_is_not_asked_but_told() {
    let (app, wire) = app(&Sandbox::new(options()), &asks(Mode::Human));
    let all = conversations(&app, Way::Session, &Ending::default());
    let mut talk = Talk::with(&all, Way::Session, json!({"elicitation": {}}), None).await;
    let began = tokio::time::Instant::now();
    talk.ask(1, "tools/call", delete()).await;
    let reply = talk.reply().await.unwrap();
    assert_eq!(reply["result"]["_meta"]["proxmox-mcp/error"]["kind"], "denied", "{reply}");
    assert!(reply.to_string().contains("takes no event streams"), "{reply}");
    assert!(began.elapsed().as_secs() < 5);
    assert_eq!(wire.writes(), [] as [&str; 0]);
}

#[tokio::test(start_paused = true)]
async fn the_record_has_the_id_of_the_request() {
    let folder = tempfile::tempdir().unwrap();
    for way in WAYS {
        let file = folder.path().join(format!("{way:?}.jsonl"));
        let safety = Safety { audit_file: Some(file.clone()), ..everything() };
        let (app, _) = app(&Sandbox::new(options()), &safety);
        let all = conversations(&app, way, &Ending::default());
        let mut talk = Talk::begin(&all, way).await;
        for id in [1, 2] {
            let arguments = json!({"vmid": 107, "params": {"cores": id}, "confirm": true});
            let call = json!({"name": "proxmox-configure-vm", "arguments": arguments});
            talk.ask_as(id, "tools/call", call, Some(&format!("web-{id}"))).await;
            assert_eq!(talk.reply().await.unwrap()["result"]["isError"], false, "{way:?}");
        }
        let recorded = audit::read(&file, usize::MAX).unwrap();
        let ids: Vec<_> = recorded.iter().map(|entry| entry.begun.request.as_deref()).collect();
        assert_eq!(ids, [Some("web-1"), Some("web-2")], "{way:?}");
        let client = (way != Way::Stateless).then_some("test 1");
        assert_eq!(recorded[0].begun.client.as_deref(), client, "{way:?}");
    }
}

/// Two servers that keep nothing, behind a balancer that asks one after the other.
#[tokio::test(start_paused = true)]
async fn replicas_with_one_key_know_one_another_s_plans_and_tasks() {
    for way in [Way::Stateless, Way::Modern] {
        let sandbox = Sandbox::new(options());
        let replica = || {
            let (app, wire) = app(&sandbox, &asks(Mode::Plan));
            (conversations(&app, Way::Stateless, &Ending::default()), wire)
        };
        let ((one, _), (two, at_two)) = (replica(), replica());
        let mut talk =
            Talk::with(&one, way, json!({"extensions": {"io.modelcontextprotocol/tasks": {}}}), Some(BOTH)).await;
        let shown = talk.result(1, "proxmox-delete-vm", json!({"vmid": 107})).await;
        assert_eq!(shown["state"], "needs_confirmation", "{shown}");
        talk.conversations = two.clone();
        let done = talk.result(2, "proxmox-delete-vm", json!({"vmid": 107, "confirm": shown["plan_id"]})).await;
        assert_eq!(at_two.writes(), ["DELETE /nodes/pve2/qemu/107"], "{done}");
        if way == Way::Stateless {
            continue;
        }
        let plan = talk.result(3, "proxmox-clone-vm", json!({"source_vmid": 9000, "name": "twin"})).await;
        let arguments = json!({"source_vmid": 9000, "name": "twin", "confirm": plan["plan_id"], "wait": true});
        talk.call(4, "proxmox-clone-vm", arguments).await;
        let task = talk.reply().await.unwrap()["result"].clone();
        assert_eq!(task["resultType"], "task", "{task}");
        for n in 5.. {
            talk.conversations = if n % 2 == 0 { two.clone() } else { one.clone() };
            talk.ask(n, "tasks/get", json!({"taskId": task["taskId"]})).await;
            let now = talk.reply().await.unwrap()["result"].clone();
            match now["status"].as_str() {
                Some("working") => tokio::time::sleep(std::time::Duration::from_secs(2)).await,
                status => {
                    assert_eq!(status, Some("completed"), "{now}");
                    assert_eq!(now["result"]["structuredContent"]["exitstatus"], "OK", "{now}");
                    assert!(n > 6, "both were asked");
                    break;
                }
            }
        }
    }
}
