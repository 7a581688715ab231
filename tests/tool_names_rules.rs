//! What holds whatever a tool is called: confirmation, modes, the record, undo.
#![expect(clippy::unwrap_used, reason = "tests")]

mod support;

use std::collections::BTreeSet;

use proxmox_mcp::{
    audit,
    config::Safety,
    confirm,
    policy::{Effect, Mode, Settings},
    tool_names::{self, Names},
    toolsets::Chosen,
};
use serde_json::json;
use support::{
    everything,
    older_names::{confirming, does, named, with},
};

#[tokio::test(start_paused = true)]
async fn what_loses_nothing_is_done_at_once_and_what_may_wants_a_yes() {
    for names in Names::OLDER {
        let test = named(*names).await;
        for tool in tool_names::listed(&test.app) {
            let alias = names.alias(tool.name).unwrap();
            let asks = tool.input["properties"].get("confirm").is_some();
            let may_lose = alias.entries().any(|entry| entry.may_destroy()) && !alias.harmless;
            let native = alias.entries().any(|entry| entry.control.is_some_and(|control| control.confirm));
            assert_eq!(asks, may_lose && native, "{}", tool.name);
            assert_eq!(tool.destroys, may_lose, "{}", tool.name);
            if !asks {
                continue;
            }
            let mut arguments = test.older_example(alias).await;
            arguments.as_object_mut().unwrap().remove("confirm");
            let before = test.sent.writes();
            let result = does(&test, tool.name, arguments).await;
            assert_eq!(result["state"], "needs_confirmation", "{}", tool.name);
            assert_eq!(test.sent.writes(), before, "{}", tool.name);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_restored_guest_takes_no_other_s_place() {
    let test = named(Names::Plus).await;
    let archive = "nas:backup/vzdump-qemu-100-2027_01_07-08_00_00.vma.zst";
    let said = test.fails("restore_backup", json!({"node": "pve1", "archive": archive, "vmid": "100"})).await;
    assert!(said.contains("100"), "{said}");
    assert_eq!(test.sent.writes(), Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn what_the_operator_wants_confirmed_goes_before() {
    // By an older name as by our own.
    for name in ["start_vm", "proxmox-start-vm"] {
        let test = confirming(Names::Plus, confirm::Mode::Flag, &[name]).await;
        let start = json!({"node": "pve2", "vmid": "107"});
        assert_eq!(does(&test, "start_vm", start.clone()).await["state"], "needs_confirmation");
        let listed = tool_names::listed(&test.app);
        let tool = listed.iter().find(|tool| tool.name == "start_vm").unwrap();
        assert!(tool.input["properties"].get("confirm").is_some());
        let yes = json!({"node": "pve2", "vmid": "107", "confirm": true});
        assert_eq!(does(&test, "start_vm", yes).await["state"], "running");
    }
    let test = confirming(Names::Plus, confirm::Mode::Plan, &[]).await;
    let mut snapshot = json!({"node": "pve1", "vmid": "100", "snapname": "now"});
    let shown = does(&test, "create_snapshot", snapshot.clone()).await;
    assert_eq!(shown["state"], "needs_confirmation");
    assert_eq!(test.sent.writes(), Vec::<String>::new());
    snapshot["confirm"] = shown["plan_id"].clone();
    assert_eq!(does(&test, "create_snapshot", snapshot).await["state"], "done");
    let test = confirming(Names::Plus, confirm::Mode::Human, &[]).await;
    let said = test.fails("create_snapshot", json!({"node": "pve1", "vmid": "100", "snapname": "now"})).await;
    assert!(said.contains("confirmed by a person"), "{said}");
}

#[tokio::test(start_paused = true)]
async fn machines_delete_nothing_whatever_they_are_given() {
    let test = named(Names::Machines).await;
    for alias in Names::Machines.aliases() {
        assert!(alias.entries().all(|entry| entry.effect < Effect::Destroy), "{}", alias.name);
        let methods = alias.entries().flat_map(|entry| entry.api).map(|api| api.split(' ').next().unwrap());
        assert!(methods.collect::<BTreeSet<_>>().is_subset(&BTreeSet::from(["GET", "POST"])), "{}", alias.name);
        for (vm_id, node) in [(100, "pve1"), (107, "pve2"), (110, "pve3"), (111, "pve3")] {
            for force in [None, Some(true), Some(false)] {
                let mut arguments = json!({});
                if !alias.arguments.is_empty() {
                    arguments = json!({"vm_id": vm_id, "node": node, "confirm": true, "wait": true});
                }
                if let Some(force) = force.filter(|_| alias.arguments.iter().any(|a| a.name == "force")) {
                    arguments["force"] = force.into();
                }
                // A machine that is off cannot be rebooted; what counts is what was sent.
                drop(test.mcp.call(alias.name, arguments).await);
            }
        }
    }
    let writes = test.sent.writes();
    assert!(writes.len() > 8, "{writes:?}");
    let powers = ["start", "stop", "shutdown", "reboot"].map(|power| format!("/status/{power}"));
    for write in writes {
        assert!(write.starts_with("POST /nodes/") && powers.iter().any(|power| write.ends_with(power)), "{write}");
    }
    for name in ["delete_machine", "delete_vm", "deleteVM", "proxmox-delete-vm", "proxmox-api-write", "proxmox-write"] {
        let said = test.fails(name, json!({"vm_id": 107, "confirm": true})).await;
        assert!(said.contains("unknown tool"), "{said}");
    }
}

#[tokio::test(start_paused = true)]
async fn where_nothing_may_be_changed_no_older_name_does() {
    let policy = Settings { mode: Mode::ReadOnly, ..Settings::everything().unwrap() };
    for names in Names::OLDER {
        let test = with(Safety { policy: policy.clone(), tool_names: *names, ..everything() }).await;
        for tool in tool_names::listed(&test.app) {
            assert_eq!(tool.effect, Effect::Read, "{}", tool.name);
        }
        for alias in names.aliases().filter(|alias| alias.entries().any(|entry| entry.effect > Effect::Read)) {
            let arguments =
                alias.example.1.replace("UPID:…", "UPID:pve1:00000001:00000001:6B49D200:qmstart:100:root@pam:");
            let said = test.fails(alias.name, serde_json::from_str(&arguments).unwrap()).await;
            assert!(said.contains("PROXMOX_MODE=read-only"), "{}: {said}", alias.name);
        }
        assert_eq!(test.sent.writes(), Vec::<String>::new());
    }
    // An older name leaves out what is behind it.
    let tools = Chosen::new(&["all"], &[], &["delete_vm"]).unwrap();
    let policy = Settings { tools, ..Settings::everything().unwrap() };
    let test = with(Safety { policy, tool_names: Names::Plus, ..everything() }).await;
    let listed = test.mcp.tools().await.unwrap();
    assert!(!listed.contains(&"delete_vm".to_owned()) && listed.contains(&"delete_container".to_owned()));
    let said = test.fails("delete_vm", json!({"node": "pve2", "vmid": "107", "confirm": true})).await;
    assert!(said.contains("PROXMOX_EXCLUDE_TOOLS"), "{said}");
}

#[tokio::test(start_paused = true)]
async fn the_record_has_our_names_and_the_answer_theirs() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("audit.jsonl");
    let safety = Safety { tool_names: Names::Plus, audit_file: Some(file.clone()), ..everything() };
    let test = with(safety).await;
    let started = does(&test, "start_vm", json!({"node": "pve2", "vmid": "107", "wait": true})).await;
    assert_eq!(started["undo"]["tool"], "shutdown_vm", "{started}");
    assert_eq!(started["undo"]["arguments"], json!({"node": "pve2", "vmid": 107}));
    does(&test, "shutdown_vm", started["undo"]["arguments"].clone()).await;
    let configured = does(&test, "update_vm_config", json!({"node": "pve2", "vmid": "107", "cores": 2})).await;
    assert_eq!((configured.get("undo"), configured["no_undo"].is_string()), (None, true), "{configured}");
    let recorded = audit::read(&file, usize::MAX).unwrap();
    let tools: Vec<&str> = recorded.iter().map(|entry| entry.begun.tool.as_str()).collect();
    assert_eq!(tools, ["proxmox-start-vm", "proxmox-shutdown-vm", "proxmox-configure-vm"]);
    let text = std::fs::read_to_string(&file).unwrap();
    assert!(!text.contains("start_vm"), "{text}");
    // A hint names the tool by the caller's name for it.
    let said = test
        .fails("delete_backup", json!({"node": "pve1", "storage": "nas", "volid": "nas:backup/no", "confirm": true}))
        .await;
    assert!(said.contains("list_backups") && !said.contains("proxmox-list-backups"), "{said}");
}
