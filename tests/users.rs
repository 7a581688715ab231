//! Users, groups, realms and API tokens.
#![expect(clippy::unwrap_used, reason = "tests")]

mod support;

use proxmox_mcp::config::{Auth, TokenId};
use serde_json::{Value, json};
use support::{options, start};

async fn user(test: &support::Test, userid: &str) -> Value {
    let users = test.call("proxmox-list-users", json!({})).await;
    let found = users["users"].as_array().unwrap().iter().find(|user| user["userid"] == userid);
    found.cloned().unwrap_or_default()
}

#[tokio::test(start_paused = true)]
async fn users_groups_and_realms_are_listed() {
    let test = start(options()).await;
    let users = test.call("proxmox-list-users", json!({})).await;
    assert_eq!(users["total"], 3);
    let alice = json!({"userid": "alice@pve", "enabled": true, "groups": ["operators"], "tokens": ["laptop"],
        "name": "Alice", "email": "alice@example.com", "realm_type": "pve", "comment": "Alice, operations"});
    assert_eq!(users["users"][0], alice);
    let groups = test.call("proxmox-list-groups", json!({})).await;
    assert_eq!(groups["groups"][1], json!({"groupid": "operators", "users": ["alice@pve"], "comment": "On call"}));
    let realms = test.call("proxmox-list-realms", json!({})).await;
    let pam = json!({"realm": "pam", "type": "pam", "comment": "Linux PAM standard authentication"});
    assert_eq!((&realms["total"], &realms["realms"][0]), (&json!(2), &pam));
    let tokens = test.call("proxmox-list-tokens", json!({})).await;
    assert_eq!(tokens["total"], 3);
    let alice = test.call("proxmox-list-tokens", json!({"userid": "alice@pve"})).await;
    let row = json!({"userid": "alice@pve", "tokenid": "laptop", "privsep": true, "comment": "her notebook"});
    assert_eq!(alice["tokens"], json!([row]));
}

#[tokio::test(start_paused = true)]
async fn a_user_is_made_changed_and_deleted() {
    let test = start(options()).await;
    let bob = json!({"userid": "bob@pve", "password": "geheim-123", "groups": "operators,admins", "expire": 0, "confirm": true});
    test.call("proxmox-create-user", bob.clone()).await;
    assert_eq!(user(&test, "bob@pve").await["groups"], json!(["admins", "operators"]));
    let said = test.fails("proxmox-create-user", bob).await;
    assert!(said.starts_with("create user failed: user 'bob@pve' already exists"), "{said}");
    let login = Auth::Password { username: "bob@pve".to_owned(), password: "geheim-123".into(), totp: None };
    let login = support::with(test.sandbox.clone(), support::config(&test.sandbox, login)).await;
    assert_eq!(login.call("proxmox-my-permissions", json!({})).await["who"], "bob@pve");

    let change = json!({"userid": "bob@pve", "enable": false, "groups": ["operators"], "comment": "left"});
    let plan = test.call("proxmox-update-user", change.clone()).await;
    let changes = json!([{"key": "enable", "old": "1", "new": "0"}, {"key": "comment", "new": "left"},
        {"key": "groups", "old": "admins,operators", "new": "operators"}]);
    assert_eq!((&plan["state"], &plan["changes"]), (&json!("needs_confirmation"), &changes));
    let mut change = change;
    change["confirm"] = json!(true);
    test.call("proxmox-update-user", change).await;
    let bob = user(&test, "bob@pve").await;
    assert_eq!(
        (&bob["enabled"], &bob["groups"], &bob["comment"]),
        (&json!(false), &json!(["operators"]), &json!("left"))
    );
    test.call("proxmox-delete-user", json!({"userid": "bob@pve", "confirm": true})).await;
    assert_eq!(user(&test, "bob@pve").await, Value::Null);
}

#[tokio::test(start_paused = true)]
async fn a_password_is_sent_and_never_shown() {
    let test = start(options()).await;
    let arguments = json!({"userid": "bob@pve", "password": "geheim-123", "dry_run": true});
    let plan = test.call("proxmox-create-user", arguments).await;
    assert_eq!(plan["requests"][0]["params"], json!({"userid": "bob@pve", "password": "********"}));
    assert!(test.sent.writes().is_empty() && !plan.to_string().contains("geheim"), "{plan}");
    for password in [json!("kurz"), json!(["geheim-123"])] {
        let said = test.fails("proxmox-create-user", json!({"userid": "bob@pve", "password": password})).await;
        assert!(said.starts_with("password: expected") && !said.contains("kurz") && !said.contains("geheim"), "{said}");
    }
    let said = test.fails("proxmox-create-user", json!({"userid": "bob", "confirm": true})).await;
    assert_eq!(said, "userid: expected user@realm, got 'bob'");
}

#[tokio::test(start_paused = true)]
async fn a_token_s_secret_is_in_the_result_once_and_works() {
    let test = start(options()).await;
    let arguments =
        json!({"userid": "auditor@pve", "tokenid": "t2", "privsep": false, "comment": "c", "confirm": true});
    let made = test.call("proxmox-create-token", arguments.clone()).await;
    assert_eq!(made["result"]["tokenid"], "auditor@pve!t2");
    let secret = made["result"]["secret"].as_str().unwrap();
    assert!(made["warnings"][0].as_str().unwrap().contains("all that auditor@pve may"), "{made}");
    let id = TokenId { user: "auditor@pve".to_owned(), name: "t2".to_owned() };
    let config = support::config(&test.sandbox, Auth::Token { id, secret: secret.into() });
    let other = support::with(test.sandbox.clone(), config).await;
    assert_eq!(other.call("proxmox-list-nodes", json!({})).await["total"], 3);
    for tool in ["proxmox-list-tokens", "proxmox-list-users"] {
        assert!(!test.call(tool, json!({})).await.to_string().contains(secret), "{tool}");
    }
    let said = test.fails("proxmox-create-token", arguments).await;
    assert!(said.contains("Token already exists"), "{said}");
    test.call("proxmox-delete-token", json!({"userid": "auditor@pve", "tokenid": "t2", "confirm": true})).await;
    let said = other.fails("proxmox-list-nodes", json!({})).await;
    assert!(said.contains("secret is wrong") || said.contains("Authentication failed"), "{said}");
}

#[tokio::test(start_paused = true)]
async fn groups_come_and_go() {
    let test = start(options()).await;
    test.call("proxmox-create-group", json!({"groupid": "support", "comment": "Second level"})).await;
    assert_eq!(test.call("proxmox-list-groups", json!({})).await["total"], 3);
    let plan = test.call("proxmox-delete-group", json!({"groupid": "operators"})).await;
    assert_eq!(plan["warnings"], json!(["its members lose its roles: alice@pve"]));
    test.call("proxmox-delete-group", json!({"groupid": "operators", "confirm": true})).await;
    assert_eq!(user(&test, "alice@pve").await.get("groups"), None);
}

#[tokio::test(start_paused = true)]
async fn dry_runs_send_nothing_and_warn_of_what_breaks() {
    let test = start(options()).await;
    for (tool, arguments, warning) in [
        ("proxmox-create-group", json!({"groupid": "support"}), ""),
        ("proxmox-create-token", json!({"userid": "alice@pve", "tokenid": "x1"}), "may do nothing until"),
        ("proxmox-delete-token", json!({"userid": "root@pam", "tokenid": "sandbox"}), "this server itself"),
        ("proxmox-delete-user", json!({"userid": "alice@pve"}), "stops working: laptop"),
        ("proxmox-delete-group", json!({"groupid": "operators"}), "alice@pve"),
        ("proxmox-update-user", json!({"userid": "alice@pve", "enable": false}), ""),
    ] {
        let mut arguments = arguments;
        arguments["dry_run"] = json!(true);
        let plan = test.call(tool, arguments).await;
        assert_eq!(plan["state"], "planned", "{tool}");
        assert!(plan.get("warnings").map_or(warning.is_empty(), |w| w.to_string().contains(warning)), "{plan}");
    }
    assert!(test.sent.writes().is_empty());
}
