//! Roles, the access control list, and what one may do.
#![expect(clippy::unwrap_used, reason = "tests")]

mod support;

use proxmox_mcp::config::{Auth, TokenId};
use serde_json::{Value, json};
use support::{options, start};

async fn acl(test: &support::Test, who: &str) -> Value {
    test.call("proxmox-list-acl", json!({"who": who})).await["acl"].clone()
}

#[tokio::test(start_paused = true)]
async fn roles_are_listed_with_their_privileges() {
    let test = start(options()).await;
    let all = test.call("proxmox-list-roles", json!({})).await;
    assert!(all["total"].as_u64().unwrap() >= 18, "{all}");
    let one = test.call("proxmox-list-roles", json!({"roleid": "Operator"})).await;
    let privs = ["VM.Audit", "VM.Console", "VM.PowerMgmt", "VM.Snapshot"];
    assert_eq!(one["roles"], json!([{"roleid": "Operator", "built_in": false, "privs": privs}]));
    let said = test.fails("proxmox-list-roles", json!({"roleid": "PVEAudit"})).await;
    assert_eq!(said, "there is no role 'PVEAudit' (did you mean 'PVEAuditor'?)");
}

#[tokio::test(start_paused = true)]
async fn a_role_is_made_of_privileges_that_this_server_knows() {
    let test = start(options()).await;
    let switch = json!({"roleid": "Switch", "privs": "VM.Audit VM.PowerMgmt"});
    test.call("proxmox-create-role", switch.clone()).await;
    let made = test.call("proxmox-list-roles", json!({"roleid": "Switch"})).await;
    assert_eq!(made["roles"][0]["privs"], json!(["VM.Audit", "VM.PowerMgmt"]));
    test.sent.forget();
    for (arguments, words) in [
        (switch, "role Switch exists already"),
        (json!({"roleid": "X1", "privs": ["VM.Monitor"]}), "there is no privilege 'VM.Monitor'"),
        (json!({"roleid": "X1", "privs": ["VM.Audti"]}), "there is no privilege 'VM.Audti' (did you mean 'VM.Audit'?)"),
    ] {
        let said = test.fails("proxmox-create-role", arguments.clone()).await;
        assert!(said.starts_with(words), "{said}");
        let mut arguments = arguments;
        arguments["dry_run"] = json!(true);
        let plan = test.call("proxmox-create-role", arguments).await;
        assert!(plan["problems"][0].as_str().unwrap().starts_with(words), "{plan}");
    }
    assert!(test.sent.writes().is_empty());
}

#[tokio::test(start_paused = true)]
async fn deleting_a_role_shows_who_loses_it() {
    let test = start(options()).await;
    let plan = test.call("proxmox-delete-role", json!({"roleid": "Operator"})).await;
    assert_eq!(plan["changes"], json!([{"key": "operators on /pool/development", "old": "Operator"}]));
    test.call("proxmox-delete-role", json!({"roleid": "Operator", "confirm": true})).await;
    assert_eq!(acl(&test, "operators").await, json!([]));
    let said = test.fails("proxmox-delete-role", json!({"roleid": "PVEAdmin", "confirm": true})).await;
    assert!(said.starts_with("role PVEAdmin is built in"), "{said}");
}

#[tokio::test(start_paused = true)]
async fn a_role_is_given_and_taken_and_the_difference_shown() {
    let test = start(options()).await;
    let give = json!({"path": "/vms/100/", "roles": ["PVEVMUser", "PVETemplateUser"], "users": "alice@pve",
        "groups": ["admins"], "propagate": false, "confirm": true});
    let done = test.call("proxmox-assign-permission", give.clone()).await;
    let given = "PVETemplateUser (not below), PVEVMUser (not below)";
    assert_eq!(
        done["changes"],
        json!([{"key": "user alice@pve on /vms/100", "new": given}, {"key": "group admins on /vms/100", "new": given}])
    );
    assert!(
        done["warnings"][0].as_str().unwrap().contains("replace what it has there from above: Administrator (from /)")
    );
    let row =
        |role: &str| json!({"path": "/vms/100", "type": "user", "who": "alice@pve", "role": role, "propagate": false});
    assert_eq!(acl(&test, "alice@pve").await, json!([row("PVETemplateUser"), row("PVEVMUser")]));
    let again = test.call("proxmox-assign-permission", give).await;
    assert!(again["warnings"][0].as_str().unwrap().contains("nothing changes"), "{again}");
    let take = json!({"path": "/vms/100", "roles": "PVEVMUser", "users": "alice@pve", "remove": true, "confirm": true});
    let taken = test.call("proxmox-assign-permission", take).await;
    let rest = "PVETemplateUser (not below)";
    assert_eq!(taken["changes"], json!([{"key": "user alice@pve on /vms/100", "old": given, "new": rest}]));
    assert_eq!(acl(&test, "alice@pve").await, json!([row("PVETemplateUser")]));
}

#[tokio::test(start_paused = true)]
async fn names_that_do_not_exist_are_named_and_nothing_is_sent() {
    let test = start(options()).await;
    let wrong = json!({"path": "/", "roles": "PVEAudito", "users": "alise@pve", "groups": "operator",
        "tokens": "alice@pve!laptob", "confirm": true});
    let said = test.fails("proxmox-assign-permission", wrong).await;
    for words in [
        "there is no role 'PVEAudito' (did you mean 'PVEAuditor'?)",
        "there is no user 'alise@pve' (did you mean 'alice@pve'?)",
        "there is no group 'operator' (did you mean 'operators'?)",
        "there is no token 'alice@pve!laptob' (did you mean 'alice@pve!laptop'?)",
    ] {
        assert!(said.contains(words), "{said}");
    }
    for (arguments, words) in [
        (json!({"path": "/", "roles": "PVEAuditor"}), "give users, groups or tokens"),
        (json!({"path": "vms", "roles": "PVEAuditor", "users": "a@pve"}), "path: expected one that begins with /"),
        (json!({"path": "/", "roles": [], "users": "a@pve"}), "roles: missing"),
    ] {
        let said = test.fails("proxmox-assign-permission", arguments).await;
        assert!(said.starts_with(words), "{said}");
    }
    assert!(test.sent.writes().is_empty());
    let said = test
        .fails(
            "proxmox-assign-permission",
            json!({"path": "/bogus/x", "roles": "PVEAuditor", "users": "alice@pve", "confirm": true}),
        )
        .await;
    assert!(said.contains("invalid ACL path '/bogus/x'"), "{said}");
}

#[tokio::test(start_paused = true)]
async fn whoever_does_not_see_all_users_is_warned_and_not_refused() {
    let test = start(options()).await;
    // May change rights on a pool, and sees no accounts.
    test.call("proxmox-create-user", json!({"userid": "manager@pve", "confirm": true})).await;
    let grant = json!({"path": "/pool/development", "roles": "PVEPoolAdmin", "users": "manager@pve", "confirm": true});
    test.call("proxmox-assign-permission", grant).await;
    let token = json!({"userid": "manager@pve", "tokenid": "t1", "privsep": false, "confirm": true});
    let token = test.call("proxmox-create-token", token).await;
    let id = TokenId { user: "manager@pve".to_owned(), name: "t1".to_owned() };
    let secret = token["result"]["secret"].as_str().unwrap().into();
    let config = support::config(&test.sandbox, Auth::Token { id, secret });
    let manager = support::with(test.sandbox.clone(), config).await;
    let grant = json!({"path": "/pool/development", "roles": "PVEPoolUser", "users": "alice@pve", "confirm": true});
    let done = manager.call("proxmox-assign-permission", grant).await;
    assert!(done["warnings"][0].as_str().unwrap().ends_with("or it is not shown"), "{done}");
    assert_eq!(acl(&test, "alice@pve").await[0]["role"], "PVEPoolUser");
}

#[tokio::test(start_paused = true)]
async fn one_s_own_permissions_are_told_in_words() {
    let test = start(options()).await;
    let mine = test.call("proxmox-my-permissions", json!({})).await;
    assert_eq!(
        (&mine["who"], &mine["may"][0]),
        (&json!("root@pam!sandbox"), &json!("/: everything, as an Administrator"))
    );
    let alice = test.call("proxmox-my-permissions", json!({"userid": "alice@pve"})).await;
    assert_eq!(alice["may"][0], "/pool/development: see guests, start and stop them, take snapshots, and 1 more");
    let token = test.call("proxmox-my-permissions", json!({"userid": "alice@pve!laptop"})).await;
    assert!(token["note"].as_str().unwrap().starts_with("none: a token with privilege separation"), "{token}");
    let on = test.call("proxmox-my-permissions", json!({"userid": "alice@pve", "path": "/vms/105"})).await;
    assert_eq!(on["privileges"], json!(["VM.Audit", "VM.Console", "VM.PowerMgmt", "VM.Snapshot"]));
}

#[tokio::test(start_paused = true)]
async fn the_list_of_permissions_is_filtered_by_path() {
    let test = start(options()).await;
    let below = test.call("proxmox-list-acl", json!({"path": "/pool"})).await;
    assert_eq!((&below["total"], &below["acl"][0]["path"]), (&json!(1), &json!("/pool/development")));
    assert_eq!(test.call("proxmox-list-acl", json!({"path": "/poo"})).await["total"], 0);
    assert_eq!(test.call("proxmox-list-acl", json!({})).await["total"], 3);
}
