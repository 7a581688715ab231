//! Firewalls of guests, nodes and the cluster: rules, objects, logs.
#![expect(clippy::unwrap_used, reason = "tests")]

mod support;

use serde_json::{Value, json};
use support::{Test, options, start};

/// The rules of a firewall as `ACTION what`, the first first.
async fn rules(test: &Test, tool: &str, arguments: Value) -> Vec<String> {
    let report = test.call(tool, arguments).await;
    let word = |rule: &Value| {
        let what = ["macro", "dport", "source"].iter().find_map(|key| rule[key].as_str()).unwrap_or("-").to_owned();
        let off = if rule["enable"] == true { "" } else { " (off)" };
        format!("{} {what}{off}", rule["action"].as_str().unwrap())
    };
    report["rules"].as_array().unwrap().iter().map(word).collect()
}

#[tokio::test(start_paused = true)]
async fn a_guest_s_firewall_is_shown_with_what_keeps_it_from_filtering() {
    let test = start(options()).await;
    let report = test.call("proxmox-vm-firewall-get", json!({"name": "web-02"})).await;
    assert_eq!(
        (&report["enabled"], &report["total"], &report["options"]),
        (&json!(true), &json!(2), &json!({"log_level_in": "info"}))
    );
    assert_eq!(report["rules"][0]["macro"], "SSH");
    let notes = report["notes"].to_string();
    assert!(notes.contains("cluster's firewall is off") && !notes.contains("net0"), "{notes}");
    test.call("proxmox-firewall-set", json!({"enable": true, "confirm": true})).await;
    let container = test.call("proxmox-vm-firewall-get", json!({"name": "pihole"})).await;
    assert_eq!(
        (&container["enabled"], &container["total"], &container["notes"]),
        (&json!(false), &json!(0), &Value::Null)
    );
}

#[tokio::test(start_paused = true)]
async fn new_rules_end_up_on_top_in_their_order_and_switched_on() {
    let test = start(options()).await;
    let set = json!({"vmid": 101, "confirm": true, "rules": [
        {"type": "in", "action": "accept", "proto": "tcp", "dport": 8080},
        "IN DROP -source 198.51.100.0/24 # a nuisance",
        "|OUT REJECT -p tcp -dport 25"
    ]});
    let done = test.call("proxmox-vm-firewall-set", set).await;
    assert_eq!(done["state"], "done");
    let now = rules(&test, "proxmox-vm-firewall-get", json!({"vmid": 101})).await;
    assert_eq!(now, ["ACCEPT 8080", "DROP 198.51.100.0/24", "REJECT 25 (off)", "ACCEPT SSH", "webserver -"]);
    assert!(done["warnings"].to_string().contains("positions shift by 3"), "{done}");
}

#[tokio::test(start_paused = true)]
async fn a_container_s_rules_are_replaced_and_the_firewall_is_switched_on_last() {
    let test = start(options()).await;
    let first = json!({"name": "pihole", "rules": ["IN DNS(ACCEPT)", "IN Ping(ACCEPT)"], "confirm": true});
    test.call("proxmox-vm-firewall-set", first).await;
    test.sent.forget();
    let second = json!({"name": "pihole", "enable": true, "options": {"policy_in": "DROP"}, "rules": "IN DNS(ACCEPT) -source 10.0.0.0/8",
        "replace": true, "confirm": true});
    test.call("proxmox-vm-firewall-set", second).await;
    let base = "/nodes/pve1/lxc/108/firewall";
    let sent = [
        format!("POST {base}/rules"),
        format!("DELETE {base}/rules/2"),
        format!("DELETE {base}/rules/1"),
        format!("PUT {base}/options"),
    ];
    assert_eq!(test.sent.writes(), sent);
    let report = test.call("proxmox-vm-firewall-get", json!({"vmid": 108})).await;
    assert_eq!((&report["enabled"], &report["options"]), (&json!(true), &json!({"policy_in": "DROP"})));
    assert_eq!(report["rules"].as_array().unwrap().len(), 1);
    assert_eq!(report["rules"][0]["source"], "10.0.0.0/8");
}

#[tokio::test(start_paused = true)]
async fn a_dry_run_shows_the_difference_and_sends_nothing() {
    let test = start(options()).await;
    let plan = test
        .call("proxmox-vm-firewall-set", json!({"vmid": 101, "enable": false, "rules": ["IN ACCEPT -p udp -dport 53"], "replace": true, "dry_run": true}))
        .await;
    assert_eq!(
        plan["changes"],
        json!([
            {"key": "rule 0", "new": "IN ACCEPT -p udp -dport 53"},
            {"key": "rule 0", "old": "IN SSH(ACCEPT) -source +dc/admins # administration"},
            {"key": "rule 1", "old": "GROUP webserver"},
            {"key": "enable", "old": "1", "new": "0"},
        ])
    );
    assert_eq!(plan["requests"].as_array().unwrap().len(), 4);
    assert!(plan["requests"][0]["params"]["digest"].is_string(), "{plan}");
    assert!(plan["warnings"].to_string().contains("the rules there (2) are deleted"), "{plan}");
    assert!(test.sent.writes().is_empty());
}

#[tokio::test(start_paused = true)]
async fn what_is_no_rule_is_refused_before_anything_is_sent() {
    let test = start(options()).await;
    for (rule, words) in [
        (json!("IN ALLOW"), "rules[1]: action: expected ACCEPT, DROP or REJECT, got 'ALLOW'"),
        (json!({"type": "in", "action": "ACCEPT", "dport": "22"}), "rules[1]: proto: missing; dport needs it"),
        (
            json!({"type": "in", "action": "ACCEPT", "log": "loud"}),
            "rules[1]: log: value 'loud' does not have a value in",
        ),
        (json!({"type": "in", "action": "ACCEPT", "port": 22}), "rules[1]: port: no part of a rule"),
    ] {
        let set = json!({"vmid": 100, "rules": ["IN ACCEPT", rule], "confirm": true});
        let said = test.fails("proxmox-vm-firewall-set", set).await;
        assert!(said.contains(words), "{said}");
    }
    let said = test.fails("proxmox-vm-firewall-set", json!({"vmid": 100, "confirm": true})).await;
    assert!(said.starts_with("nothing to change"), "{said}");
    let said = test
        .fails("proxmox-vm-firewall-set", json!({"vmid": 100, "options": {"policy": "DROP"}, "confirm": true}))
        .await;
    assert!(said.contains("options.policy:") && said.contains("policy_in"), "{said}");
    assert!(test.sent.writes().is_empty());
}

#[tokio::test(start_paused = true)]
async fn names_that_are_not_there_stop_the_whole_change() {
    let test = start(options()).await;
    let set = json!({"vmid": 100, "rules": ["IN Gopher(ACCEPT)", "IN ACCEPT -source office", "IN ACCEPT -source +admins"], "confirm": true});
    let said = test.fails("proxmox-vm-firewall-set", set).await;
    assert!(said.contains("there is no macro 'Gopher'; there is no alias or IP set 'office'"), "{said}");
    assert!(!said.contains("admins") && test.sent.writes().is_empty(), "{said}");
    let plan =
        test.call("proxmox-vm-firewall-set", json!({"vmid": 100, "rules": ["GROUP dbserver"], "dry_run": true})).await;
    assert!(plan["warnings"].to_string().contains("no security group 'dbserver'"), "{plan}");
}

#[tokio::test(start_paused = true)]
async fn switching_the_cluster_s_firewall_on_warns_of_locking_oneself_out() {
    let test = start(options()).await;
    let bare = test.call("proxmox-firewall-set", json!({"enable": true, "dry_run": true})).await;
    assert!(bare["warnings"].to_string().contains("SSH and the web interface and API (8006)"), "{bare}");
    let open = json!({"enable": true, "rules": ["IN ACCEPT -p tcp -dport 22,8006"], "confirm": true});
    let done = test.call("proxmox-firewall-set", open).await;
    assert!(done["warnings"].is_null(), "{done}");
    let cluster = test.call("proxmox-firewall-get", json!({})).await;
    assert_eq!((&cluster["enabled"], &cluster["total"]), (&json!(true), &json!(1)));
}

#[tokio::test(start_paused = true)]
async fn a_node_has_a_firewall_of_its_own() {
    let test = start(options()).await;
    let before = test.call("proxmox-firewall-get", json!({"node": "pve2"})).await;
    assert_eq!((&before["enabled"], &before["total"]), (&json!(true), &json!(0)));
    assert!(before["notes"].to_string().contains("off"), "{before}");
    let set =
        json!({"node": "pve2", "rules": ["IN ACCEPT -p tcp -dport 3128"], "options": {"ndp": false}, "confirm": true});
    test.call("proxmox-firewall-set", set).await;
    let after = test.call("proxmox-firewall-get", json!({"node": "pve2"})).await;
    assert_eq!((&after["total"], &after["options"]["ndp"]), (&json!(1), &json!(0)));
    assert_eq!(test.call("proxmox-firewall-get", json!({"node": "pve1"})).await["total"], 0);
}

#[tokio::test(start_paused = true)]
async fn one_rule_is_deleted_by_its_position() {
    let test = start(options()).await;
    let plan = test.call("proxmox-firewall-rule-delete", json!({"vmid": 101, "pos": 1})).await;
    assert_eq!((&plan["state"], &plan["changes"][0]["old"]), (&json!("needs_confirmation"), &json!("GROUP webserver")));
    test.call("proxmox-firewall-rule-delete", json!({"vmid": 101, "pos": 1, "confirm": true})).await;
    assert_eq!(rules(&test, "proxmox-vm-firewall-get", json!({"vmid": 101})).await, ["ACCEPT SSH"]);
    let said = test.fails("proxmox-firewall-rule-delete", json!({"pos": 0, "confirm": true})).await;
    assert!(said.contains("no rule at position 0"), "{said}");
}

#[tokio::test(start_paused = true)]
async fn groups_sets_and_aliases_are_made_changed_and_deleted() {
    let test = start(options()).await;
    let set = async |arguments: Value| test.call("proxmox-firewall-object-set", arguments).await;
    set(json!({"kind": "group", "name": "dbserver", "members": ["IN PostgreSQL(ACCEPT)", "IN DROP"], "comment": "databases", "confirm": true})).await;
    set(json!({"kind": "alias", "name": "office", "members": ["10.9.0.0/16"], "confirm": true})).await;
    set(json!({"kind": "ipset", "name": "admins", "members": ["10.9.0.0/16", "!10.9.9.9"], "confirm": true})).await;
    let all = test.call("proxmox-firewall-objects", json!({})).await;
    assert_eq!(all["groups"][0]["name"], "dbserver");
    let words: Vec<_> = all["groups"][0]["rules"].as_array().unwrap().iter().map(|r| r["action"].clone()).collect();
    assert_eq!(words, ["ACCEPT", "DROP"]);
    assert_eq!(all["aliases"], json!([{"name": "office", "cidr": "10.9.0.0/16"}]));
    let mut members: Vec<_> =
        all["ipsets"][0]["members"].as_array().unwrap().iter().map(|m| m["cidr"].to_string()).collect();
    members.sort();
    assert_eq!(members, ["\"10.9.0.0/16\"", "\"10.9.9.9\""]);
    assert_eq!(all["refs"], json!(["dc/office", "+dc/admins"]));
    set(json!({"kind": "group", "name": "dbserver", "members": ["IN PostgreSQL(ACCEPT)"], "confirm": true})).await;
    let same = test
        .fails(
            "proxmox-firewall-object-set",
            json!({"kind": "group", "name": "dbserver", "members": ["IN PostgreSQL(ACCEPT)"], "confirm": true}),
        )
        .await;
    assert!(same.starts_with("nothing to change"), "{same}");
    for (kind, name) in [("group", "dbserver"), ("group", "webserver"), ("ipset", "admins"), ("alias", "office")] {
        test.call("proxmox-firewall-object-delete", json!({"kind": kind, "name": name, "confirm": true})).await;
    }
    assert_eq!(test.call("proxmox-firewall-objects", json!({})).await["total"], 0);
}

#[tokio::test(start_paused = true)]
async fn a_guest_has_objects_of_its_own_and_sees_the_cluster_s() {
    let test = start(options()).await;
    let alias = json!({"kind": "alias", "name": "backend", "vmid": 101, "members": "10.20.0.5", "confirm": true});
    test.call("proxmox-firewall-object-set", alias).await;
    let own = test.call("proxmox-firewall-objects", json!({"vmid": 101})).await;
    assert_eq!((&own["total"], &own["refs"]), (&json!(1), &json!(["+dc/admins", "guest/backend"])));
    let set = json!({"vmid": 101, "rules": ["IN ACCEPT -source guest/backend"], "confirm": true});
    test.call("proxmox-vm-firewall-set", set).await;
    let said = test
        .fails(
            "proxmox-firewall-object-delete",
            json!({"kind": "alias", "name": "front", "vmid": 101, "confirm": true}),
        )
        .await;
    assert!(said.contains("no alias 'front'") && said.contains("backend"), "{said}");
    let said = test
        .fails("proxmox-firewall-object-set", json!({"kind": "group", "name": "xx", "vmid": 101, "confirm": true}))
        .await;
    assert!(said.contains("security groups are the cluster's"), "{said}");
    let dry = json!({"kind": "ipset", "name": "xx", "members": ["10.0.0.1"], "dry_run": true});
    test.sent.forget();
    assert_eq!(test.call("proxmox-firewall-object-set", dry).await["requests"].as_array().unwrap().len(), 2);
    assert!(test.sent.writes().is_empty());
}

#[tokio::test(start_paused = true)]
async fn the_log_s_end_is_read_and_paged() {
    let test = start(options()).await;
    let last = test.call("proxmox-firewall-log", json!({"vmid": 101, "tail": 3})).await;
    assert_eq!(last["lines"].as_array().unwrap().len(), 3);
    assert!(last["lines"][2].as_str().unwrap().contains("tap101i0-IN"), "{last}");
    assert!(last["next_start"].is_null());
    let first = test.call("proxmox-firewall-log", json!({"node": "pve2", "limit": 2})).await;
    assert_eq!((&first["next_start"], first["total"].as_u64() > Some(100)), (&json!(2), true));
    let none = test.call("proxmox-firewall-log", json!({"node": "pve1", "tail": 5})).await;
    assert_eq!((&none["total"], &none["lines"]), (&json!(0), &json!([])));
}
