//! Pools: what is in them, who is moved, and what a token with rights on a pool sees.
#![expect(clippy::unwrap_used, reason = "tests")]

mod support;

use proxmox_mcp::{
    config::{Auth, TokenId},
    sandbox::Sandbox,
};
use serde_json::{Value, json};
use support::{options, start};

async fn pool(test: &support::Test, poolid: &str) -> Value {
    test.call("proxmox-list-pools", json!({"poolid": poolid})).await
}

fn vmids(rows: &Value) -> Vec<u64> {
    rows.as_array().unwrap().iter().filter_map(|row| row["vmid"].as_u64()).collect()
}

#[tokio::test(start_paused = true)]
async fn pools_are_listed_with_what_is_in_them() {
    let test = start(options()).await;
    let all = test.call("proxmox-list-pools", json!({})).await;
    assert_eq!(all["total"], 3);
    assert_eq!(
        all["pools"][0],
        json!({"poolid": "archive", "comment": "Switched off, kept for a year", "vms": 0, "containers": 0})
    );
    assert_eq!((&all["pools"][2]["vms"], &all["pools"][2]["containers"]), (&json!(4), &json!(2)));
    let one = pool(&test, "production").await;
    assert_eq!((one["members"].as_array().unwrap().len(), &one["pools"][0]["storages"]), (6, &json!(0)));
    let said = test.fails("proxmox-list-pools", json!({"poolid": "nope"})).await;
    assert!(said.starts_with("pool 'nope' does not exist"), "{said}");
}

#[tokio::test(start_paused = true)]
async fn a_nested_pool_is_made_filled_emptied_and_deleted() {
    let test = start(options()).await;
    let made =
        test.call("proxmox-create-pool", json!({"poolid": "archive/2024", "comment": "x", "confirm": true})).await;
    assert_eq!(made["state"], "done");
    for arguments in
        [json!({"name": "grafana"}), json!({"name": "redis-01", "type_": "qemu"}), json!({"storage": "nas"})]
    {
        let mut arguments = arguments;
        arguments["poolid"] = json!("archive/2024");
        arguments["confirm"] = json!(true);
        test.call("proxmox-pool-add", arguments).await;
    }
    let full = pool(&test, "archive/2024").await;
    let row = json!({"poolid": "archive/2024", "comment": "x", "vms": 1, "containers": 1, "storages": 1});
    assert_eq!(full["pools"], json!([row]));
    assert_eq!(full["members"][2]["nodes"], json!(["pve1", "pve2", "pve3"]));
    test.sent.forget();
    let said = test.fails("proxmox-delete-pool", json!({"poolid": "archive/2024", "confirm": true})).await;
    assert!(said.starts_with("pool archive/2024 is not empty, it has VM 104, container 110, storage nas"), "{said}");
    let said = test.fails("proxmox-delete-pool", json!({"poolid": "archive", "confirm": true})).await;
    assert!(said.starts_with("pool archive is not empty, it has pool archive/2024"), "{said}");
    assert!(test.sent.writes().is_empty());
    for arguments in [json!({"vmid": 104}), json!({"vmid": 110}), json!({"storage": "nas"})] {
        let mut arguments = arguments;
        arguments["poolid"] = json!("archive/2024");
        arguments["confirm"] = json!(true);
        test.call("proxmox-pool-remove", arguments).await;
    }
    test.call("proxmox-delete-pool", json!({"poolid": "archive/2024", "confirm": true})).await;
    assert_eq!(test.call("proxmox-list-pools", json!({})).await["total"], 3);
    assert_eq!(test.sent.writes().last().unwrap(), "DELETE /pools");
}

#[tokio::test(start_paused = true)]
async fn a_guest_leaves_its_pool_only_where_that_is_allowed() {
    let test = start(options()).await;
    let add = json!({"poolid": "development", "vmid": 100, "confirm": true});
    let said = test.fails("proxmox-pool-add", add.clone()).await;
    assert!(said.starts_with("VM 100 (web-01) on pve1 is in pool production: allow_move takes it out"), "{said}");
    assert!(test.sent.writes().is_empty());
    let mut allowed = add.clone();
    allowed["allow_move"] = json!(true);
    let moved = test.call("proxmox-pool-add", allowed.clone()).await;
    assert_eq!(moved["changes"], json!([{"key": "pool", "old": "production", "new": "development"}]));
    assert!(vmids(&pool(&test, "development").await["members"]).contains(&100));
    let said = test.fails("proxmox-pool-add", allowed).await;
    assert!(said.contains("is in pool development already"), "{said}");
    let said = test.fails("proxmox-pool-remove", json!({"poolid": "production", "vmid": 100, "confirm": true})).await;
    assert!(said.contains("is in pool development, not in production"), "{said}");
}

#[tokio::test(start_paused = true)]
async fn nothing_is_sent_without_confirmation_and_in_a_dry_run() {
    let test = start(options()).await;
    for (tool, arguments) in [
        ("proxmox-create-pool", json!({"poolid": "shop"})),
        ("proxmox-delete-pool", json!({"poolid": "archive"})),
        ("proxmox-pool-add", json!({"poolid": "archive", "name": "grafana"})),
        ("proxmox-pool-remove", json!({"poolid": "production", "name": "mail"})),
    ] {
        assert_eq!(test.call(tool, arguments.clone()).await["state"], "needs_confirmation", "{tool}");
        let mut arguments = arguments;
        arguments["dry_run"] = json!(true);
        assert_eq!(test.call(tool, arguments).await["state"], "planned", "{tool}");
    }
    assert!(test.sent.writes().is_empty());
    let plan = test.call("proxmox-delete-pool", json!({"poolid": "production", "dry_run": true})).await;
    assert!(plan["problems"][0].as_str().unwrap().starts_with("pool production is not empty"), "{plan}");
}

/// What another server changed is seen a moment later.
async fn a_moment() {
    tokio::time::sleep(std::time::Duration::from_secs(2)).await;
}

/// The secret of a new token, made through the tools.
async fn token(test: &support::Test, userid: &str, tokenid: &str) -> String {
    let arguments = json!({"userid": userid, "tokenid": tokenid, "privsep": true, "confirm": true});
    let made = test.call("proxmox-create-token", arguments).await;
    made["result"]["secret"].as_str().unwrap().to_owned()
}

async fn as_token(sandbox: &Sandbox, user: &str, name: &str, secret: &str) -> support::Test {
    let id = TokenId { user: user.to_owned(), name: name.to_owned() };
    let config = support::config(sandbox, Auth::Token { id, secret: secret.into() });
    support::with(sandbox.clone(), config).await
}

#[tokio::test(start_paused = true)]
async fn a_token_with_rights_on_a_pool_sees_that_pool_s_guests_and_no_others() {
    let test = start(options()).await;
    test.call("proxmox-create-user", json!({"userid": "watch@pve", "confirm": true})).await;
    let secret = token(&test, "watch@pve", "t1").await;
    let watch = as_token(&test.sandbox, "watch@pve", "t1", &secret).await;
    let empty = watch.call("proxmox-list-vms", json!({})).await;
    assert_eq!((&empty["total"], empty["note"].is_string()), (&json!(0), true));
    let grant = |role: &str| json!({"path": "/pool/production", "roles": [role], "users": "watch@pve", "tokens": "watch@pve!t1", "confirm": true});
    test.call("proxmox-assign-permission", grant("PVEAuditor")).await;
    a_moment().await;
    let vms = watch.call("proxmox-list-vms", json!({})).await;
    assert_eq!(vmids(&vms["vms"]), [100, 101, 102, 103]);
    assert_eq!(vmids(&watch.call("proxmox-list-lxc", json!({})).await["containers"]), [108, 109]);
    assert_eq!(watch.call("proxmox-list-pools", json!({})).await["total"], 1);
    let said = watch.fails("proxmox-vm-info", json!({"vmid": 105})).await;
    assert!(!said.contains("gitlab"), "{said}");
    // What joins the pool is seen, and what leaves it is not.
    test.call("proxmox-pool-add", json!({"poolid": "production", "name": "grafana", "confirm": true})).await;
    test.call("proxmox-pool-remove", json!({"poolid": "production", "vmid": 100, "confirm": true})).await;
    a_moment().await;
    assert_eq!(vmids(&watch.call("proxmox-list-vms", json!({})).await["vms"]), [101, 102, 103, 104]);
    let said = watch.fails("proxmox-start-vm", json!({"vmid": 101})).await;
    assert!(said.starts_with("Permission check failed (/vms/101, VM.PowerMgmt)"), "{said}");
    let mut gone = grant("PVEAuditor");
    gone["remove"] = json!(true);
    test.call("proxmox-assign-permission", gone).await;
    a_moment().await;
    assert_eq!(watch.call("proxmox-list-vms", json!({})).await["total"], 0);
}
