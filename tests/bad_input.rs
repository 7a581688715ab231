//! What an agent gets wrong, and what it is told: the field, what was expected, and nothing sent.

mod support;

use proxmox_mcp::{
    config::Auth,
    sandbox::{Fault, FaultKind, Sandbox},
};
use serde_json::json;
use support::{config, options, start, with};

#[tokio::test(start_paused = true)]
async fn bad_arguments_are_named_before_anything_is_sent() {
    let test = start(options()).await;
    for (tool, arguments, words) in [
        ("proxmox-vm-info", json!({"vmid": "web"}), "vmid: expected an integer from 100 to 999999999, got 'web'"),
        ("proxmox-vm-info", json!({"vmid": -5}), "vmid: expected an integer from 100 to 999999999, got -5"),
        ("proxmox-vm-info", json!({"vmid": 7}), "vmid: expected an integer from 100 to 999999999, got 7"),
        ("proxmox-vm-info", json!({"name": ""}), "name: expected text that is not empty, got ''"),
        ("proxmox-vm-info", json!({"nmae": "web"}), "unknown argument 'nmae'"),
        ("proxmox-vm-info", json!({}), "give vmid or name"),
        (
            "proxmox-storage-content",
            json!({"node": "", "storage": "nas"}),
            "node: expected text that is not empty, got ''",
        ),
        ("proxmox-create-vm", json!({"name": "x", "storage": ""}), "storage: expected text that is not empty, got ''"),
        ("proxmox-list-vms", json!({"limit": -1}), "limit: expected an integer from 1 to 10000, got -1"),
        ("proxmox-list-vms", json!({"cursor": "x"}), "cursor"),
        (
            "proxmox-list-vms",
            json!({"status": "up"}),
            "status: expected one of running, stopped, paused, unknown, got 'up'",
        ),
        (
            "proxmox-start-vm",
            json!({"vmid": 100, "timeout": -1}),
            "timeout: expected a number from 0 to 604800, got -1",
        ),
        (
            "proxmox-start-vm",
            json!({"vmid": 100, "poll_interval": 0}),
            "poll_interval: expected a number from 0.1 to 300, got 0",
        ),
        ("proxmox-clone-vm", json!({}), "source_vmid: missing; expected an integer from 100 to 999999999"),
        ("proxmox-wait-task", json!({"upid": "nonsense"}), "upid"),
        ("proxmox-task-status", json!({"upid": ""}), "upid"),
    ] {
        let said = test.fails(tool, arguments.clone()).await;
        assert!(said.starts_with(words), "{tool} {arguments}: {said}");
    }
    assert!(test.sent.writes().is_empty());
}

#[tokio::test(start_paused = true)]
async fn an_unknown_tool_is_named_with_the_nearest_one() {
    let test = start(options()).await;
    let said = test.fails("proxmox-list-vm", json!({})).await;
    assert!(said.contains("unknown tool 'proxmox-list-vm'") && said.contains("proxmox-list-vms"), "{said}");
}

#[tokio::test(start_paused = true)]
async fn what_does_not_exist_is_said_in_plain_words() {
    let test = start(options()).await;
    let said = test.fails("proxmox-start-vm", json!({"vmid": 999})).await;
    assert!(said.contains("999"), "{said}");
    let said = test.fails("proxmox-start-vm", json!({"name": "web-1"})).await;
    assert!(said.contains("web-1") && said.contains("web-01"), "{said}");
    let said = test
        .fails("proxmox-task-status", json!({"upid": "UPID:pve1:0000ABCD:00000001:65000000:qmstart:100:root@pam:"}))
        .await;
    assert!(said.contains("no such task"), "{said}");
    assert!(test.sent.writes().is_empty());
}

#[tokio::test(start_paused = true)]
async fn wrong_credentials_are_refused_with_a_hint_and_never_shown() {
    let sandbox = Sandbox::new(options());
    let mut wrong = proxmox_mcp::embedded::cluster_config(&sandbox);
    if let Auth::Token { secret, .. } = &mut wrong.auth {
        *secret = "11111111-2222-3333-4444-555555555555".to_owned().into();
    }
    let said = with(sandbox.clone(), wrong).await.fails("proxmox-list-nodes", json!({})).await;
    assert!(said.contains("Authentication failed!") && said.contains("root@pam!sandbox"), "{said}");
    assert!(!said.contains("11111111"), "{said}");
    let password =
        Auth::Password { username: "root@pam".to_owned(), password: "hunter2hunter2".to_owned().into(), totp: None };
    let said = with(sandbox.clone(), config(&sandbox, password)).await.fails("proxmox-list-nodes", json!({})).await;
    assert!(said.contains("authentication failure"), "{said}");
    assert!(!said.contains("hunter2"), "{said}");
}

#[tokio::test(start_paused = true)]
async fn an_expired_ticket_is_renewed_once_without_a_word() {
    let sandbox = Sandbox::new(options());
    let credentials = sandbox.credentials();
    let auth =
        Auth::Password { username: credentials.username.clone(), password: credentials.password.clone(), totp: None };
    let test = with(sandbox.clone(), config(&sandbox, auth)).await;
    test.call("proxmox-list-nodes", json!({})).await;
    sandbox.fault(Fault::new(FaultKind::ExpiredTicket).times(1));
    test.call("proxmox-list-nodes", json!({})).await;
    let logins = test.sent.matching(|_, path| path == "/access/ticket").len();
    assert_eq!(logins, 2);
    // A ticket lasts two hours: a day later it still works.
    tokio::time::sleep(std::time::Duration::from_secs(24 * 3600)).await;
    test.call("proxmox-start-vm", json!({"vmid": 107, "wait": true})).await;
}

/// The arguments of a tool's example, or nothing of it but what it cannot do without.
fn example(entry: &proxmox_mcp::tool::Entry) -> serde_json::Value {
    serde_json::from_str(entry.example.1).unwrap_or_default()
}

#[tokio::test(start_paused = true)]
async fn every_tool_refuses_what_it_does_not_know_and_what_is_of_the_wrong_form() {
    let test = start(options()).await;
    for entry in proxmox_mcp::tools::all() {
        let mut arguments = example(entry);
        arguments["colour"] = json!("red");
        let said = test.fails(entry.name, arguments).await;
        assert!(said.starts_with("unknown argument 'colour'"), "{}: {said}", entry.name);
        let schema = entry.input_schema(&[]);
        for (name, property) in schema["properties"].as_object().into_iter().flatten() {
            let wrong = match property["type"].as_str() {
                Some("integer" | "number") => json!("many"),
                Some("boolean") => json!("perhaps"),
                Some("string") => json!({"a": 1}),
                _ => continue,
            };
            let mut arguments = example(entry);
            arguments[name] = wrong;
            let said = test.fails(entry.name, arguments).await;
            assert!(said.contains(&format!("{name}: expected ")), "{} {name}: {said}", entry.name);
        }
    }
    assert!(test.sent.writes().is_empty());
}

#[tokio::test(start_paused = true)]
async fn every_tool_names_what_is_missing() {
    let test = start(options()).await;
    for entry in proxmox_mcp::tools::all() {
        let schema = entry.input_schema(&[]);
        for name in schema.get("required").and_then(|r| r.as_array()).into_iter().flatten() {
            let name = name.as_str().unwrap_or_default();
            let mut arguments = example(entry);
            arguments.as_object_mut().map(|map| map.remove(name));
            let said = test.fails(entry.name, arguments).await;
            assert!(said.starts_with(&format!("{name}: missing; expected ")), "{} {name}: {said}", entry.name);
        }
    }
    assert!(test.sent.writes().is_empty());
}

#[tokio::test(start_paused = true)]
async fn every_tool_that_is_for_a_guest_says_when_there_is_none() {
    let test = start(options()).await;
    let mut count = 0;
    for entry in proxmox_mcp::tools::all() {
        let mut arguments = example(entry);
        let selects = entry.input_schema(&[])["properties"]["name"]["description"] == "Exact name.";
        let Some(map) = arguments.as_object_mut().filter(|_| selects) else { continue };
        ["vmid", "name", "node"].iter().for_each(|key| drop(map.remove(*key)));
        map.insert("vmid".to_owned(), json!(77_777));
        let said = test.fails(entry.name, arguments).await;
        assert!(said.contains("77777"), "{}: {said}", entry.name);
        count += 1;
    }
    assert!(count > 50, "{count}");
    assert!(test.sent.writes().is_empty());
}
