//! The catalogue behind three tools: what they cost, what is found, and that whatever is called goes the one path.
#![expect(clippy::unwrap_used, reason = "tests")]

mod support;

use proxmox_mcp::{
    config::Safety,
    confirm,
    policy::{Effect, Mode, Settings},
    router::{self, Face},
    sandbox::Sandbox,
    tools,
    toolsets::Chosen,
};
use serde_json::{Value, json};
use support::{Test, everything, guarded, options};

async fn start(safety: Safety) -> Test {
    let sandbox = Sandbox::new(options());
    let config = proxmox_mcp::embedded::cluster_config(&sandbox);
    guarded(sandbox, config, safety).await
}

async fn router() -> Test {
    start(Safety { face: Face::Router, ..everything() }).await
}

/// The names that are found.
async fn found(test: &Test, query: &str) -> Vec<String> {
    let found = test.mcp.call("proxmox-find-tools", json!({"query": query, "limit": 8})).await.unwrap();
    found["tools"].as_array().unwrap().iter().map(|tool| tool["name"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn the_three_cost_less_than_a_thousand_tokens() {
    let cost = |tool: &router::Tool| {
        json!({"name": tool.name, "description": tool.description, "inputSchema": tool.input_schema()})
            .to_string()
            .len()
    };
    let bytes: usize = router::TOOLS.iter().map(cost).sum();
    assert!(bytes / 4 < 1_000, "{bytes} bytes");
    assert!(router::TOOLS.iter().all(|tool| tools::all().all(|entry| entry.name != tool.name)));
}

#[tokio::test(start_paused = true)]
async fn a_model_is_told_of_the_three_and_no_other() {
    let names = ["proxmox-find-tools", "proxmox-read", "proxmox-write"];
    assert_eq!(router().await.mcp.tools().await.unwrap(), names);
    let full = start(everything()).await.mcp.tools().await.unwrap();
    assert!(names.iter().all(|name| !full.contains(&(*name).to_owned())));
}

#[tokio::test(start_paused = true)]
async fn what_is_meant_is_found_however_it_is_said() {
    let test = router().await;
    for (query, wanted) in [
        ("list vms", "proxmox-list-vms"),
        ("Which virtual machines are there?", "proxmox-list-vms"),
        ("show containers", "proxmox-list-lxc"),
        ("start a vm", "proxmox-start-vm"),
        ("proxmox-start-vm", "proxmox-start-vm"),
        ("start-vm", "proxmox-start-vm"),
        ("shut down a container", "proxmox-shutdown-lxc"),
        ("restart vm", "proxmox-reboot-vm"),
        ("delete container", "proxmox-delete-lxc"),
        ("remove virtual machine", "proxmox-delete-vm"),
        ("take a snapshot", "proxmox-create-snapshot"),
        ("snapshto", "proxmox-list-snapshots"),
        ("roll back a snapshot", "proxmox-rollback-snapshot"),
        ("grow a disk", "proxmox-resize-vm-disk"),
        ("move a vm to another node", "proxmox-migrate-vm"),
        ("copy a vm", "proxmox-clone-vm"),
        ("change memory of a vm", "proxmox-configure-vm"),
        ("run a command in a guest", "proxmox-guest-exec"),
        ("backups", "proxmox-list-backups"),
        ("backing up a vm", "proxmox-backup-vm"),
        ("restore vm from backup", "proxmox-restore-vm"),
        ("why did the task fail? its log", "proxmox-task-log"),
        ("stop a running task", "proxmox-stop-task"),
        ("firewall rules of a vm", "proxmox-vm-firewall-get"),
        ("upload iso", "proxmox-upload-iso"),
        ("grant permission to user", "proxmox-assign-permission"),
        ("cloud-init", "proxmox-cloudinit-set"),
        ("cpu usage graph", "proxmox-vm-metrics"),
        ("node status", "proxmox-node-status"),
        ("storage", "proxmox-list-storage"),
    ] {
        let found = found(&test, query).await;
        assert!(found.iter().take(4).any(|name| name == wanted), "{query}: {wanted} is not among {found:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn every_tool_is_found_first_by_its_own_name() {
    let test = router().await;
    for tool in tools::all().filter(|tool| !tool.audited) {
        assert_eq!(found(&test, tool.name).await.first().map(String::as_str), Some(tool.name));
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_found_says_all_that_a_call_needs() {
    let test = router().await;
    let found = test.mcp.call("proxmox-find-tools", json!({"query": "delete vm", "limit": 1})).await.unwrap();
    let tool = &found["tools"][0];
    assert_eq!((&tool["name"], &tool["effect"]), (&json!("proxmox-delete-vm"), &json!("destroy")));
    assert!(tool["inputSchema"]["properties"]["confirm"].is_object(), "{tool}");
    assert!(tool["example"]["arguments"].is_object() && tool["description"].is_string(), "{tool}");
    assert!(found["total"].as_u64().unwrap() > 1 && found["tools"].as_array().unwrap().len() == 1);
}

#[tokio::test(start_paused = true)]
async fn where_nothing_is_found_the_toolsets_are_named() {
    let test = router().await;
    for query in ["xylophone", "", "all of the"] {
        let found = test.mcp.call("proxmox-find-tools", json!({"query": query})).await.unwrap();
        assert_eq!(found["tools"], json!([]), "{query}");
        let names: Vec<&str> =
            found["toolsets"].as_array().unwrap().iter().map(|set| set["name"].as_str().unwrap()).collect();
        assert!(names.contains(&"snapshots") && names.contains(&"discovery"), "{names:?}");
    }
    assert!(found(&test, "snapshots").await.iter().take(4).all(|name| name.contains("snapshot")));
}

#[tokio::test(start_paused = true)]
async fn the_whole_round_reads_plans_confirms_and_does() {
    let test = router().await;
    let call = async |tool: &str, name: &str, arguments: Value| {
        test.mcp.call(tool, json!({"name": name, "arguments": arguments})).await
    };
    let list = call("proxmox-read", "proxmox-list-vms", json!({"limit": 2})).await.unwrap();
    assert_eq!(list["vms"].as_array().unwrap().len(), 2);
    let plan = call("proxmox-write", "proxmox-delete-vm", json!({"vmid": 107})).await.unwrap();
    assert_eq!(plan["state"], "needs_confirmation");
    let text = r#"{"vmid": 107, "confirm": true, "wait": true}"#;
    let done = test.mcp.call("proxmox-write", json!({"name": "proxmox-delete-vm", "arguments": text})).await.unwrap();
    assert_eq!(done["state"], "done");
    assert!(!test.progress.lock().unwrap().is_empty(), "no progress");
    assert_eq!(test.sent.writes(), ["DELETE /nodes/pve2/qemu/107"]);
}

#[tokio::test(start_paused = true)]
async fn read_does_not_write_and_write_does_not_read() {
    let test = router().await;
    for (tool, name, words) in [
        ("proxmox-read", "proxmox-start-vm", "proxmox-start-vm changes something\nhint: call it with proxmox-write"),
        ("proxmox-read", "proxmox-guest-exec", "proxmox-guest-exec changes something"),
        ("proxmox-write", "proxmox-list-vms", "proxmox-list-vms only reads\nhint: call it with proxmox-read"),
        ("proxmox-read", "proxmox-list-vm", "did you mean 'proxmox-list-vms'?"),
        ("proxmox-write", "xylophone", "proxmox-find-tools finds tools by words"),
        ("proxmox-write", "proxmox-write", "unknown tool"),
    ] {
        let words_of = test.fails(tool, json!({"name": name, "arguments": {"vmid": 107}})).await;
        assert!(words_of.contains(words), "{tool} {name}: {words_of}");
    }
    let words = test.fails("proxmox-read", json!({"name": "proxmox-vm-info", "vmid": 107})).await;
    assert!(words.contains("unknown argument 'vmid'"), "{words}");
    assert!(test.sent.writes().is_empty());
}

#[tokio::test(start_paused = true)]
async fn tools_are_called_by_their_own_names_all_the_same() {
    let test = router().await;
    assert_eq!(test.call("proxmox-list-nodes", json!({})).await["total"], 3);
}

#[tokio::test(start_paused = true)]
async fn the_called_tool_s_own_name_is_what_the_rules_see() {
    let policy = Settings {
        tools: Chosen::new(&[], &[], &["proxmox-delete-*"]).unwrap(),
        mode: Mode::Full,
        ..Settings::default()
    };
    let asks = confirm::Settings { tools: ["proxmox-start-vm"].into(), ..confirm::Settings::default() };
    let test = start(Safety { face: Face::Router, policy, confirm: asks, ..Safety::default() }).await;
    let words = test.fails("proxmox-write", json!({"name": "proxmox-delete-vm", "arguments": {"vmid": 107}})).await;
    assert!(words.starts_with("proxmox-delete-vm is not among the tools of this server"), "{words}");
    assert!(!found(&test, "delete vm").await.contains(&"proxmox-delete-vm".to_owned()));
    let start = json!({"name": "proxmox-start-vm", "arguments": {"vmid": 107}});
    assert_eq!(test.mcp.call("proxmox-write", start).await.unwrap()["state"], "needs_confirmation");
}

/// What is listed can be called and what is refused is not listed, in every mode.
#[tokio::test(start_paused = true)]
async fn the_list_and_the_calls_agree_in_every_mode() {
    for mode in [Mode::ReadOnly, Mode::NoDelete, Mode::Full] {
        for api_write in [false, true] {
            let policy = Settings { mode, api_write, ..Settings::everything().unwrap() };
            let test = start(Safety { policy, ..Safety::default() }).await;
            let listed = test.mcp.tools().await.unwrap();
            for tool in tools::all().filter(|tool| !tool.audited) {
                // Arguments that no tool takes: what is allowed gets as far as to say so.
                let words = test.fails(tool.name, json!({"no-such-argument": 1})).await;
                let allowed = words.starts_with("unknown argument");
                assert_eq!(listed.contains(&tool.name.to_owned()), allowed, "{mode:?} {}: {words}", tool.name);
                assert!(allowed || tool.effect > Effect::Read, "{mode:?} {}: {words}", tool.name);
            }
            assert!(test.sent.writes().is_empty());
            let policy = Settings { mode, api_write, ..Settings::everything().unwrap() };
            let three =
                start(Safety { face: Face::Router, policy, ..Safety::default() }).await.mcp.tools().await.unwrap();
            assert_eq!(three.contains(&"proxmox-write".to_owned()), mode != Mode::ReadOnly, "{mode:?}");
        }
    }
}
