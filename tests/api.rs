//! The API itself: what it has, any GET, and any other request where that is switched on.
#![expect(clippy::unwrap_used, reason = "tests")]

mod support;

use std::sync::Arc;

use proxmox_mcp::{
    call::{self, App, Cluster, Context},
    embedded::cluster_config,
    pve::Client,
    sandbox::Sandbox,
};
use serde_json::{Value, json};
use support::{options, start};

#[tokio::test(start_paused = true)]
async fn the_api_is_documented_from_built_in_facts_and_nothing_is_sent() {
    let test = start(options()).await;
    let root = test.call("proxmox-api-docs", json!({})).await;
    assert!(root["below"].as_array().unwrap().contains(&json!("nodes")), "{root}");
    let clone = json!({"path": "/nodes/pve1/qemu/100/clone", "method": "POST"});
    let clone = test.call("proxmox-api-docs", clone).await;
    let method = &clone["methods"][0];
    assert_eq!((&method["name"], &method["task"]), (&json!("clone_vm"), &json!(true)));
    assert!(method["permission"].as_str().unwrap().starts_with("VM.Clone on /vms/{vmid} and "), "{method}");
    assert!(method["required"].to_string().contains("newid: "), "{method}");
    assert!(method["optional"].to_string().contains("full: boolean"), "{method}");
    let config = json!({"path": "/nodes/{node}/qemu/{vmid}/config", "method": "PUT", "param": "net0"});
    let config = test.call("proxmox-api-docs", config).await;
    let net = config["methods"][0]["optional"].as_array().unwrap().iter().filter_map(Value::as_str);
    let net: Vec<&str> = net.filter(|text| text.starts_with("net[n]: property string with ")).collect();
    assert!(net.len() == 1 && net[0].contains("bridge=<") && net[0].contains("[model=]<"), "{net:?}");
    for (arguments, words) in [
        (json!({"path": "/node"}), "path: the Proxmox API has no '/node'\nhint: did you mean /nodes?"),
        (json!({"path": "/nodes/pve1/qemu/100/nope/x"}), "path: the Proxmox API has no '/nodes/pve1/qemu/100/nope/x'"),
        (json!({"path": "/version", "method": "PUT"}), "method: /version has no PUT\nhint: it has GET"),
        (
            json!({"path": "/pools", "param": "poold"}),
            "param: /pools has no parameter 'poold'\nhint: did you mean 'poolid'?",
        ),
    ] {
        let said = test.fails("proxmox-api-docs", arguments).await;
        assert!(said.starts_with(words), "{said}");
    }
    assert_eq!(test.sent.count(), 0);
}

#[tokio::test(start_paused = true)]
async fn any_get_is_sent_as_the_api_takes_it() {
    let test = start(options()).await;
    let version = test.call("proxmox-api-get", json!({"path": "/version"})).await;
    assert_eq!(version["data"]["version"], "9.2.11");
    let guests = json!({"path": "/cluster/resources", "params": {"type": "vm"}, "limit": 3});
    let guests = test.call("proxmox-api-get", guests).await;
    assert_eq!(guests["data"].as_array().unwrap().len(), 3);
    assert_eq!(
        (&guests["total"], &guests["note"]),
        (&json!(14), &json!("the first 3 of 14 rows: raise limit, or narrow it down"))
    );
    let config = test.call("proxmox-api-get", json!({"path": "nodes/pve1/qemu/100/config"})).await;
    assert_eq!(config["data"]["name"], "web-01");
    test.sent.forget();
    for (arguments, words) in [
        (
            json!({"path": "/nodes/pve1/qemus"}),
            "path: the Proxmox API has no '/nodes/pve1/qemus'\nhint: did you mean /nodes/pve1/qemu?",
        ),
        (
            json!({"path": "/pools", "params": {"poold": "x"}}),
            "unknown parameter 'poold'\nhint: did you mean 'poolid'?",
        ),
        (
            json!({"path": "/cluster/resources", "params": {"type": "guest"}}),
            "params.type: value 'guest' does not have a value",
        ),
        (json!({"path": "/nodes/pve1/qemu/100/clone"}), "path: /nodes/pve1/qemu/100/clone has no GET"),
    ] {
        let said = test.fails("proxmox-api-get", arguments).await;
        assert!(said.starts_with(words), "{said}");
    }
    assert_eq!(test.sent.count(), 0);
}

#[tokio::test(start_paused = true)]
async fn proxmox_s_refusals_of_a_get_are_told() {
    let test = start(options()).await;
    let said = test.fails("proxmox-api-get", json!({"path": "/nodes/pve1/qemu/777/config"})).await;
    assert!(said.starts_with("Configuration file 'nodes/pve1/qemu-server/777.conf' does not exist"), "{said}");
}

#[tokio::test(start_paused = true)]
async fn any_write_goes_the_way_of_all_writes() {
    let test = start(options()).await;
    let set = json!({"method": "PUT", "path": "/cluster/options", "params": {"keyboard": "de"}});
    assert_eq!(test.call("proxmox-api-write", set.clone()).await["state"], "needs_confirmation");
    assert!(test.sent.writes().is_empty());
    let mut confirmed = set;
    confirmed["confirm"] = json!(true);
    assert_eq!(test.call("proxmox-api-write", confirmed).await["state"], "done");
    let now = test.call("proxmox-api-get", json!({"path": "/cluster/options"})).await;
    assert_eq!(now["data"]["keyboard"], "de");
    let start = json!({"method": "POST", "path": "/nodes/pve2/qemu/107/status/start", "wait": true, "confirm": true});
    let started = test.call("proxmox-api-write", start).await;
    assert_eq!((&started["state"], &started["exitstatus"]), (&json!("done"), &json!("OK")));
    for (arguments, words) in [
        (json!({"method": "PATCH", "path": "/pools"}), "method: expected one of POST, PUT, DELETE, got 'PATCH'"),
        (json!({"method": "POST", "path": "/pools", "confirm": true}), "params.poolid: property is missing"),
        (
            json!({"method": "POST", "path": "/access/ticket", "confirm": true}),
            "POST /access/ticket is not available with an API token",
        ),
    ] {
        let said = test.fails("proxmox-api-write", arguments).await;
        assert!(said.starts_with(words), "{said}");
    }
}

#[tokio::test(start_paused = true)]
async fn secrets_are_sent_and_not_shown() {
    let test = start(options()).await;
    let params = json!({"userid": "bob@pve", "password": "geheim-123"});
    let plan = json!({"method": "POST", "path": "/access/users", "params": params, "dry_run": true});
    let plan = test.call("proxmox-api-write", plan).await;
    assert_eq!(plan["requests"][0]["params"]["password"], "********");
    assert!(!plan.to_string().contains("geheim"), "{plan}");
    assert!(test.sent.writes().is_empty());
}

/// A server without the setting.
fn without() -> App {
    let sandbox = Sandbox::new(options());
    let client = Client::with_transport(&cluster_config(&sandbox), Arc::new(sandbox));
    let mut safety = support::everything();
    safety.policy.api_write = false;
    App::with_clusters(vec![Cluster { name: "home".to_owned(), client }], &safety).unwrap()
}

#[tokio::test(start_paused = true)]
async fn without_the_setting_writes_are_neither_listed_nor_done() {
    let app = without();
    let names: Vec<&str> = app.tools().map(|(tool, _)| tool.name).collect();
    assert!(names.contains(&"proxmox-api-get") && !names.contains(&"proxmox-api-write"), "{names:?}");
    let arguments = json!({"method": "DELETE", "path": "/pools", "params": {"poolid": "archive"}, "confirm": true});
    let arguments = arguments.as_object().cloned().unwrap();
    let said = call::run(&app, "proxmox-api-write", arguments, &Context::default()).await.unwrap_err();
    assert_eq!(said.to_string(), "proxmox-api-write is switched off");
    assert!(said.parts().hint.as_ref().unwrap().contains("PROXMOX_API_WRITE=true"));
}
