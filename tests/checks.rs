//! What a dry run looks at: every tool's plan is checked by its requests.
#![expect(clippy::unwrap_used, reason = "tests")]

mod support;

use proxmox_mcp::{
    config::{Auth, TokenId},
    sandbox::{Fault, FaultKind, Sandbox},
};
use serde_json::{Value, json};
use support::{config, options, start, with};

fn lines(outcome: &Value, key: &str) -> Vec<String> {
    let lines = outcome[key].as_array().into_iter().flatten();
    lines.map(|line| line.as_str().unwrap().to_owned()).collect()
}

#[tokio::test(start_paused = true)]
async fn a_plan_that_can_be_carried_out_says_what_was_looked_at() {
    let test = start(options()).await;
    let clone = json!({"source_vmid": 9000, "new_vmid": 500, "target_node": "pve2", "storage": "nas", "dry_run": true});
    let plan = test.call("proxmox-clone-vm", clone).await;
    assert_eq!(lines(&plan, "problems"), Vec::<String>::new());
    let checked = lines(&plan, "checked");
    for wanted in [
        "node pve1 is online",
        "node pve2 is online",
        "VM 9000 is not locked",
        "VMID 500 is free",
        "storage nas on pve2 takes images",
        "the credentials have the privileges for it",
    ] {
        assert!(checked.iter().any(|line| line.starts_with(wanted)), "{wanted}: {checked:?}");
    }
    assert!(test.sent.writes().is_empty());
}

#[tokio::test(start_paused = true)]
async fn what_is_in_the_way_is_named_all_at_once() {
    let test = start(options()).await;
    test.sandbox.fault(Fault::new(FaultKind::OfflineNode("pve3".to_owned())));
    test.sandbox.by_hand().set(9000, "lock", Some("backup"));
    let clone = json!({"source_vmid": 9000, "new_vmid": 100, "target_node": "pve3", "storage": "tape"});
    let plan = test.call("proxmox-clone-vm", clone).await;
    assert_eq!(plan["state"], "needs_confirmation");
    let problems = lines(&plan, "problems");
    for wanted in ["node pve3 is offline", "VM 9000 is locked (backup)", "VMID 100 is taken"] {
        assert!(problems.iter().any(|line| line == wanted), "{wanted}: {problems:?}");
    }
    assert!(plan["next"].as_str().unwrap().contains("problems"), "{plan}");
    let clone = json!({"source_vmid": 9000, "storage": "tape", "dry_run": true});
    let problems = lines(&test.call("proxmox-clone-vm", clone).await, "problems");
    assert!(problems.iter().any(|line| line.starts_with("there is no storage tape on pve1")), "{problems:?}");
    let local = json!({"source_vmid": 9000, "storage": "local", "dry_run": true});
    let problems = lines(&test.call("proxmox-clone-vm", local).await, "problems");
    assert!(problems.iter().any(|line| line.contains("takes no content 'images'")), "{problems:?}");
}

#[tokio::test(start_paused = true)]
async fn privileges_that_are_missing_are_named() {
    let sandbox = Sandbox::new(options());
    let credentials = sandbox.credentials();
    let auth = Auth::Token {
        id: TokenId { user: "auditor@pve".to_owned(), name: "read".to_owned() },
        secret: credentials.auditor_token_secret.clone(),
    };
    let config = config(&sandbox, auth);
    let test = with(sandbox, config).await;
    let plan = test.call("proxmox-start-vm", json!({"name": "win11-test", "dry_run": true})).await;
    let problems = lines(&plan, "problems").join("");
    let command = "`pveum role add MCP-VM.PowerMgmt --privs VM.PowerMgmt && pveum acl modify /vms/106 --tokens \
                   'auditor@pve!read' --roles MCP-VM.PowerMgmt`";
    assert!(problems.starts_with(&format!("auditor@pve!read lacks VM.PowerMgmt on /vms/106: {command}")), "{problems}");
    let clone = json!({"source_vmid": 9000, "new_vmid": 500, "storage": "nas", "dry_run": true});
    let problems = lines(&test.call("proxmox-clone-vm", clone).await, "problems").join("");
    for wanted in ["VM.Clone on /vms/9000", "VM.Allocate on /vms/500", "Datastore.AllocateSpace on /storage/nas"] {
        assert!(problems.contains(wanted), "{wanted}: {problems}");
    }
}

#[tokio::test(start_paused = true)]
async fn more_than_a_storage_has_free_is_a_warning() {
    let test = start(options()).await;
    for (tool, arguments, words) in [
        ("proxmox-create-vm", json!({"node": "pve1", "storage": "local-lvm", "disk_gb": 5000}), "5000 GiB"),
        ("proxmox-resize-vm-disk", json!({"vmid": 104, "disk": "scsi0", "grow_gb": 6000}), "6000 GiB"),
    ] {
        let mut arguments = arguments;
        arguments["dry_run"] = json!(true);
        let plan = test.call(tool, arguments).await;
        let warnings = lines(&plan, "warnings").join("; ");
        assert!(warnings.contains(words) && warnings.contains("more than it has free"), "{tool}: {plan}");
    }
    let clone = json!({"source_vmid": 9000, "new_vmid": 500, "dry_run": true});
    let plan = test.call("proxmox-clone-vm", clone).await;
    assert!(lines(&plan, "checked").iter().any(|line| line.starts_with("storage nas on pve1 takes images")), "{plan}");
}

#[tokio::test(start_paused = true)]
async fn a_parameter_that_proxmox_does_not_take_is_a_problem_in_its_words() {
    let test = start(options()).await;
    let plan = test.call("proxmox-clone-vm", json!({"source_vmid": 9000, "name": "a_b", "dry_run": true})).await;
    assert_eq!(lines(&plan, "problems"), ["name: invalid format - value does not look like a valid DNS name"]);
    let words = test.fails("proxmox-clone-vm", json!({"source_vmid": 9000, "name": "a_b", "confirm": true})).await;
    assert!(words.contains("value does not look like a valid DNS name"), "{words}");
}

#[tokio::test(start_paused = true)]
async fn the_plans_of_all_examples_are_good_ones() {
    for entry in proxmox_mcp::tools::all().filter(|entry| entry.control.is_some() && !entry.audited) {
        let test = start(options()).await;
        let mut arguments: Value = serde_json::from_str(entry.example.1).unwrap();
        if arguments["upid"] == "UPID:…" {
            continue;
        }
        arguments["dry_run"] = json!(true);
        let plan = test.call(entry.name, arguments).await;
        assert_eq!(lines(&plan, "problems"), Vec::<String>::new(), "{}", entry.name);
    }
}

#[tokio::test(start_paused = true)]
async fn looking_asks_for_each_thing_once() {
    let test = start(options()).await;
    let clone = json!({"source_vmid": 9000, "new_vmid": 500, "target_node": "pve2", "storage": "nas", "dry_run": true});
    test.call("proxmox-clone-vm", clone).await;
    // Two nodes are looked at, and one list tells of both.
    assert_eq!(test.sent.matching(|_, path| path == "/nodes").len(), 1);
    assert_eq!(test.sent.matching(|_, path| path == "/nodes/pve2/storage").len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_disk_that_grows_to_a_size_takes_the_difference() {
    let test = start(options()).await;
    let resize = json!({"vmid": 104, "disk": "scsi0", "size": "6000G", "dry_run": true});
    let plan = test.call("proxmox-resize-vm-disk", resize).await;
    assert!(lines(&plan, "warnings").join("; ").contains("5960 GiB are asked of storage local-lvm"), "{plan}");
}
