//! Bridges, interfaces, and the software-defined network.
#![expect(clippy::unwrap_used, reason = "tests")]

mod support;

use proxmox_mcp::config::Auth;
use secrecy::ExposeSecret;
use serde_json::{Value, json};
use support::{options, start};

fn names(rows: &Value, key: &str) -> Vec<String> {
    rows.as_array().unwrap().iter().map(|row| row[key].as_str().unwrap().to_owned()).collect()
}

#[tokio::test(start_paused = true)]
async fn interfaces_are_listed_with_addresses_and_ports() {
    let test = start(options()).await;
    let found = test.call("proxmox-list-networks", json!({"node": "pve1"})).await;
    assert_eq!(names(&found["interfaces"], "iface"), ["eno1", "eno2", "vmbr0", "vmbr1"]);
    let bridge = &found["interfaces"][2];
    assert_eq!(
        (&bridge["cidr"], &bridge["ports"], &bridge["type"]),
        (&json!("10.0.0.11/24"), &json!("eno1"), &json!("bridge"))
    );
    assert!(found["pending_changes"].is_null());
    let bridges = test.call("proxmox-list-bridges", json!({"node": "pve1"})).await;
    assert_eq!(names(&bridges["bridges"], "bridge"), ["vmbr0", "vmbr1"]);
    assert_eq!(bridges["bridges"][1]["comments"], "storage and VLANs");
    let said = test.fails("proxmox-list-networks", json!({})).await;
    assert!(said.contains("node: missing"), "{said}");
}

#[tokio::test(start_paused = true)]
async fn changes_that_wait_are_told() {
    let test = start(options()).await;
    let known = test.sandbox.credentials();
    let token = format!("PVEAPIToken={}={}", known.token_id, known.token_secret.expose_secret());
    let request = http::Request::post("https://pve1:8006/api2/json/nodes/pve1/network").header("authorization", token);
    let body = bytes::Bytes::from_static(b"iface=vmbr7&type=bridge&autostart=1");
    assert_eq!(test.sandbox.handle(request.body(body).unwrap()).await.unwrap().status(), 200);
    let found = test.call("proxmox-list-networks", json!({"node": "pve1"})).await;
    assert!(found["pending_changes"].as_str().unwrap().contains("+auto vmbr7"), "{found}");
    assert_eq!(test.call("proxmox-list-networks", json!({"node": "pve2"})).await["total"], 4);
}

#[tokio::test(start_paused = true)]
async fn sdn_is_listed_with_what_is_not_applied_yet() {
    let test = start(options()).await;
    let all = test.call("proxmox-list-sdn", json!({})).await;
    assert_eq!(all["zones"], json!([{"zone": "lab", "type": "simple", "mtu": 1450, "ipam": "pve"}]));
    assert_eq!((&all["vnets"][0]["zone"], &all["vnets"][0]["state"]), (&json!("lab"), &json!("new")));
    assert_eq!(
        (&all["subnets"][0]["cidr"], &all["subnets"][0]["gateway"]),
        (&json!("10.50.0.0/24"), &json!("10.50.0.1"))
    );
    test.sent.forget();
    let zones = test.call("proxmox-list-sdn", json!({"kind": "zones"})).await;
    assert_eq!((&zones["total"], &zones["vnets"], test.sent.count()), (&json!(1), &Value::Null, 1));
    let said = test.fails("proxmox-list-sdn", json!({"kind": "fabrics"})).await;
    assert!(said.contains("one of zones, vnets, subnets"), "{said}");
}

#[tokio::test(start_paused = true)]
async fn a_read_only_account_sees_the_network() {
    let sandbox = proxmox_mcp::sandbox::Sandbox::new(options());
    let known = sandbox.credentials();
    let auth = Auth::Password { username: known.auditor.clone(), password: known.auditor_password.clone(), totp: None };
    let config = support::config(&sandbox, auth);
    let test = support::with(sandbox, config).await;
    assert_eq!(test.call("proxmox-list-networks", json!({"node": "pve3"})).await["total"], 4);
    assert_eq!(test.call("proxmox-list-sdn", json!({})).await["total"], 3);
}
