//! What changed, and by whom: since a time, and since a state that the caller kept.
#![expect(clippy::unwrap_used, reason = "tests")]

mod support;

use http::Method;
use proxmox_mcp::{
    config::{Auth, TokenId},
    sandbox::{Fault, FaultKind},
};
use serde_json::{Value, json};
use support::{Test, options, start};

const DIFF: &str = "proxmox-diff";

/// The same cluster with the eyes and hands of another's token, who may do everything.
async fn colleague(test: &Test) -> Test {
    test.sandbox.by_hand().password("bob@pve", "secret-of-bob").token("bob@pve!ci", "secret-of-bobs-token");
    let grant = json!({"path": "/", "roles": "Administrator", "users": "bob@pve", "confirm": true});
    test.call("proxmox-assign-permission", grant).await;
    let id = TokenId { user: "bob@pve".to_owned(), name: "ci".to_owned() };
    let auth = Auth::Token { id, secret: "secret-of-bobs-token".into() };
    support::with(test.sandbox.clone(), support::config(&test.sandbox, auth)).await
}

async fn saved(test: &Test, values: bool) -> Value {
    let state = test.call(DIFF, json!({"save": true, "values": values})).await["state"].clone();
    // Lists of guests are shared for a moment.
    tokio::time::sleep(std::time::Duration::from_secs(5)).await;
    state
}

fn row<'a>(report: &'a Value, object: &str) -> &'a Value {
    let rows = report["objects"].as_array().map(Vec::as_slice).unwrap_or_default();
    rows.iter().find(|row| row["object"] == object).unwrap_or(&Value::Null)
}

/// `key: old → new by who` of one object.
fn changes(report: &Value, object: &str) -> Vec<String> {
    let text = |value: &Value| value.as_str().unwrap_or("-").to_owned();
    let rows = report["changes"].as_array().map(Vec::as_slice).unwrap_or_default();
    let of = rows.iter().filter(|row| row["object"] == object);
    of.map(|row| {
        format!("{}: {} → {} by {}", text(&row["key"]), text(&row["old"]), text(&row["new"]), text(&row["by"]))
    })
    .collect()
}

fn notes(report: &Value) -> String {
    report["notes"].to_string()
}

#[tokio::test(start_paused = true)]
async fn nothing_is_said_of_what_is_as_it_was() {
    let test = start(options()).await;
    for values in [true, false] {
        let state = saved(&test, values).await;
        let report = test.call(DIFF, json!({"state": state})).await;
        assert_eq!(report, json!({"since": state["time"], "until": report["until"], "total": 0}));
    }
}

#[tokio::test(start_paused = true)]
async fn changed_options_are_shown_old_and_new_with_who_set_them() {
    let test = start(options()).await;
    let bob = colleague(&test).await;
    let state = saved(&test, true).await;
    bob.call("proxmox-configure-vm", json!({"vmid": 101, "params": {"description": "tuned by bob"}, "confirm": true}))
        .await;
    test.call("proxmox-configure-vm", json!({"vmid": 101, "params": {"memory": 6144}, "confirm": true})).await;
    let report = test.call(DIFF, json!({"state": state})).await;
    assert_eq!(report["total"], 1, "{report}");
    let found = changes(&report, "guest/101");
    assert_eq!(found.len(), 2, "{report}");
    assert!(found[0].ends_with("→ tuned by bob by bob@pve!ci"), "{found:?}");
    assert!(found[1].starts_with("memory: ") && found[1].ends_with("→ 6144 by root@pam!sandbox"), "{found:?}");
    let guest = row(&report, "guest/101");
    assert_eq!((&guest["change"], &guest["by"]), (&json!("changed"), &json!("bob@pve!ci root@pam!sandbox")));
    // What a running guest takes only at its restart.
    assert_eq!(guest["pending"], json!(["memory"]), "{guest}");
    assert!(report["untrusted"].to_string().contains("changes[].new"), "{report}");
}

#[tokio::test(start_paused = true)]
async fn guests_that_came_went_and_moved_are_told_with_who_did_it() {
    let test = start(options()).await;
    let bob = colleague(&test).await;
    for values in [true, false] {
        let state = saved(&test, values).await;
        let clone = json!({"source_vmid": 9000, "new_vmid": if values { 901 } else { 902 }, "name": "fresh", "confirm": true, "wait": true});
        bob.call("proxmox-clone-vm", clone).await;
        let gone = if values { 110 } else { 111 };
        let guest = test.call(DIFF, json!({"vmid": gone, "save": true, "values": true})).await;
        let container = guest["state"]["objects"][0]["type"] == "lxc";
        let delete = if container { "proxmox-delete-lxc" } else { "proxmox-delete-vm" };
        test.sandbox.by_hand().run(gone, false);
        test.call(delete, json!({"vmid": gone, "confirm": true, "wait": true})).await;
        let report = test.call(DIFF, json!({"state": state})).await;
        let made = row(&report, if values { "guest/901" } else { "guest/902" });
        assert_eq!(
            (&made["change"], &made["by"], &made["name"]),
            (&json!("new"), &json!("bob@pve!ci"), &json!("fresh"))
        );
        assert!(made["did"][0].as_str().unwrap().ends_with("cloned from 9000"), "{made}");
        let deleted = row(&report, &format!("guest/{gone}"));
        assert_eq!((&deleted["change"], &deleted["by"]), (&json!("gone"), &json!("root@pam!sandbox")), "{report}");
        assert!(row(&report, "guest/9000").is_null(), "the source did not change: {report}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_guest_that_moved_is_on_another_node_also_by_digests() {
    let test = start(options()).await;
    let (whole, digests) = (saved(&test, true).await, saved(&test, false).await);
    let guests = test.call("proxmox-list-vms", json!({"status": "running"})).await;
    let guest = guests["vms"].as_array().unwrap().iter().find(|vm| vm["node"] == "pve1").unwrap();
    let (vmid, target) = (guest["vmid"].as_u64().unwrap(), "pve2");
    let migrate = json!({"vmid": vmid, "target_node": target, "live": true, "with_local_disks": true, "confirm": true, "wait": true});
    test.mcp.call("proxmox-migrate-vm", migrate).await.unwrap();
    for state in [whole, digests] {
        let report = test.call(DIFF, json!({"state": state})).await;
        let found = changes(&report, &format!("guest/{vmid}"));
        assert_eq!(found[0], "node: pve1 → pve2 by root@pam!sandbox", "{report}");
        let there = test.call(DIFF, json!({"state": state, "node": "pve1"})).await;
        assert_eq!(changes(&there, &format!("guest/{vmid}")), found, "it was there");
        let elsewhere = test.call(DIFF, json!({"state": state, "node": "pve3"})).await;
        assert!(row(&elsewhere, &format!("guest/{vmid}")).is_null(), "{elsewhere}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_no_record_has_is_told_without_a_name() {
    let test = start(options()).await;
    let state = saved(&test, true).await;
    // Past the API, as from inside the guest.
    test.sandbox.by_hand().run(101, false);
    test.sandbox.by_hand().set(108, "cores", Some("7"));
    let report = test.call(DIFF, json!({"state": state})).await;
    assert_eq!(changes(&report, "guest/101"), ["status: running → stopped by -"], "{report}");
    assert!(changes(&report, "guest/108")[0].ends_with("→ 7 by -"), "{report}");
    assert!(row(&report, "guest/101")["by"].is_null() && notes(&report).contains("no record says who"), "{report}");
}

#[tokio::test(start_paused = true)]
async fn who_started_a_guest_is_not_who_set_its_options() {
    let test = start(options()).await;
    let bob = colleague(&test).await;
    let state = saved(&test, true).await;
    bob.call("proxmox-start-vm", json!({"vmid": 107, "wait": true})).await;
    test.sandbox.by_hand().set(107, "onboot", Some("1"));
    let report = test.call(DIFF, json!({"state": state})).await;
    let found = changes(&report, "guest/107");
    assert_eq!(found[0], "status: stopped → running by bob@pve!ci", "{report}");
    assert!(found[1].starts_with("onboot: ") && found[1].ends_with(" by -"), "{report}");
}

#[tokio::test(start_paused = true)]
async fn a_digest_tells_that_options_changed_and_the_log_which() {
    let test = start(options()).await;
    let state = saved(&test, false).await;
    assert!(state.to_string().len() < 1_200, "{}", state.to_string().len());
    test.call("proxmox-configure-vm", json!({"vmid": 101, "params": {"cores": 3}, "confirm": true})).await;
    let report = test.call(DIFF, json!({"state": state})).await;
    assert_eq!(changes(&report, "guest/101"), ["configuration: - → - by root@pam!sandbox"]);
    assert!(row(&report, "guest/101")["did"][0].as_str().unwrap().ends_with(" set cores"), "{report}");
    assert!(notes(&report).contains("digests"), "{report}");
}

#[tokio::test(start_paused = true)]
async fn the_cluster_s_own_things_are_compared_too() {
    let test = start(options()).await;
    for values in [true, false] {
        let state = saved(&test, values).await;
        let pool = if values { "red" } else { "blue" };
        test.call("proxmox-create-pool", json!({"poolid": pool, "comment": "new", "confirm": true})).await;
        test.call("proxmox-pool-add", json!({"poolid": pool, "vmid": 101, "allow_move": true, "confirm": true})).await;
        let who = if values { "eve@pve" } else { "mallory@pve" };
        test.call("proxmox-create-user", json!({"userid": who, "confirm": true})).await;
        let grant = json!({"path": "/vms/101", "roles": "PVEVMUser", "users": who, "confirm": true});
        test.call("proxmox-assign-permission", grant).await;
        test.sandbox.set_online("pve3", false);
        let report = test.call(DIFF, json!({"state": state})).await;
        test.sandbox.set_online("pve3", true);
        assert_eq!(row(&report, &format!("pool/{pool}"))["change"], "new", "{report}");
        assert_eq!(row(&report, &format!("user/{who}"))["change"], "new");
        let acl = changes(&report, &format!("acl//vms/101 user {who}"));
        assert_eq!(acl, ["roles: - → PVEVMUser by -"]);
        let before = if values { "production" } else { "red" };
        assert_eq!(changes(&report, "guest/101"), [format!("pool: {before} → {pool} by -")], "{report}");
        assert_eq!(row(&report, "node/pve3")["change"], "changed");
        assert!(
            report["unread"].to_string().contains("pve3 is offline")
                || report["unread"].to_string().contains("tasks of pve3: it is offline"),
            "{report}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn since_a_time_each_guest_has_its_chain_of_tasks() {
    let test = start(options()).await;
    let bob = colleague(&test).await;
    let clone = json!({"source_vmid": 9000, "new_vmid": 901, "name": "fresh", "confirm": true, "wait": true});
    bob.call("proxmox-clone-vm", clone).await;
    bob.call("proxmox-start-vm", json!({"vmid": 901, "wait": true})).await;
    test.call("proxmox-create-snapshot", json!({"vmid": 901, "snapname": "one", "confirm": true, "wait": true})).await;
    test.fails("proxmox-start-vm", json!({"vmid": 901, "wait": true})).await;
    test.call("proxmox-delete-vm", json!({"vmid": 107, "confirm": true, "wait": true})).await;
    let report = test.call(DIFF, json!({"since": "2027-01-15T08:00:00Z"})).await;
    let guest = row(&report, "guest/901");
    assert_eq!((&guest["change"], &guest["name"], &report["failed"]), (&json!("new"), &json!("fresh"), &json!(1)));
    let did: Vec<&str> = guest["did"].as_array().unwrap().iter().map(|line| &line.as_str().unwrap()[9..]).collect();
    let expected = [
        "cloned from 9000 by bob@pve!ci",
        "started by bob@pve!ci",
        "snapshot taken by root@pam!sandbox",
        "started by root@pam!sandbox failed: VM 901 already running",
    ];
    assert_eq!(did, expected);
    assert_eq!(row(&report, "guest/107")["change"], "gone");
    assert!(notes(&report).contains("compare with a saved state"), "{report}");
    // Only what was done since then, of whom it was asked.
    let one = test.call(DIFF, json!({"since": "1h", "vmid": 107})).await;
    assert_eq!((&one["total"], &one["objects"][0]["by"]), (&json!(1), &json!("root@pam!sandbox")));
    let nothing = test.call(DIFF, json!({"since": "1h", "name": "web-01"})).await;
    assert_eq!(nothing["total"], 0, "{nothing}");
}

#[tokio::test(start_paused = true)]
async fn what_ran_when_the_time_began_is_not_lost() {
    let test = start(options()).await;
    let clone = json!({"source_vmid": 9000, "new_vmid": 901, "name": "fresh", "confirm": true});
    let upid = test.call("proxmox-clone-vm", clone).await["upid"].clone();
    tokio::time::sleep(std::time::Duration::from_secs(2)).await;
    let report = test.call(DIFF, json!({"since": "1s"})).await;
    assert!(row(&report, "guest/9000")["did"][0].as_str().unwrap().ends_with("cloned (running)"), "{report}");
    let state = saved(&test, true).await;
    test.call("proxmox-wait-task", json!({"upid": upid})).await;
    let report = test.call(DIFF, json!({"state": state})).await;
    assert!(row(&report, "guest/901")["did"][0].as_str().unwrap().ends_with("cloned from 9000"), "{report}");
}

#[tokio::test(start_paused = true)]
async fn a_guest_is_compared_with_its_snapshot_where_it_has_one() {
    let test = start(options()).await;
    test.sandbox.by_hand().snapshot(107, "before");
    test.sandbox.by_hand().set(107, "cores", Some("9"));
    tokio::time::sleep(std::time::Duration::from_secs(60)).await;
    let report = test.call(DIFF, json!({"since": "30s", "vmid": 107})).await;
    assert_eq!(changes(&report, "guest/107").len(), 1, "{report}");
    assert!(changes(&report, "guest/107")[0].ends_with("→ 9 by -"), "{report}");
    assert!(notes(&report).contains("snapshot before of 2027-01-15T08:00:00Z"), "{report}");
}

#[tokio::test(start_paused = true)]
async fn how_far_the_record_goes_is_said() {
    let test = start(options()).await;
    let report = test.call(DIFF, json!({"since": "1w"})).await;
    assert!(notes(&report).contains("the tasks of pve1 are on record from 2027-01-14T"), "{report}");
    let auditor = test.sandbox.credentials();
    let id = TokenId { user: "auditor@pve".to_owned(), name: "read".to_owned() };
    let auth = Auth::Token { id, secret: auditor.auditor_token_secret.clone() };
    let audits = support::with(test.sandbox.clone(), support::config(&test.sandbox, auth)).await;
    let state = saved(&audits, false).await;
    test.call("proxmox-configure-vm", json!({"vmid": 101, "params": {"cores": 3}, "confirm": true})).await;
    let report = audits.call(DIFF, json!({"state": state})).await;
    assert_eq!(changes(&report, "guest/101"), ["configuration: - → - by -"], "{report}");
    assert!(notes(&report).contains("without Sys.Syslog"), "{report}");
    let report = test.call(DIFF, json!({"state": state})).await;
    assert!(notes(&report).contains("saved by auditor@pve!read"), "{report}");
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_read_is_named_and_not_taken_for_gone() {
    let test = start(options()).await;
    let state = saved(&test, true).await;
    test.sandbox.fault(Fault::new(FaultKind::Status595).on(Method::GET, "/storage"));
    test.sandbox.fault(Fault::new(FaultKind::Status595).on(Method::GET, "/nodes/*/qemu/101/config"));
    test.sandbox.fault(Fault::new(FaultKind::Status595).on(Method::GET, "/nodes/pve2/tasks"));
    let report = test.call(DIFF, json!({"state": state})).await;
    assert_eq!((&report["total"], report["changes"].is_null()), (&json!(0), true), "{report}");
    let unread = report["unread"].to_string();
    for what in ["tasks of pve2: ", "storage: ", "configuration of guest/101: "] {
        assert!(unread.contains(what), "{what}: {unread}");
    }
    // Nor does it come back as new.
    let partial = saved(&test, true).await;
    test.sandbox.clear_faults();
    let report = test.call(DIFF, json!({"state": partial})).await;
    assert_eq!(report["total"], 0, "{report}");
}

#[tokio::test(start_paused = true)]
async fn secrets_are_in_no_state_and_no_difference() {
    let test = start(options()).await;
    let bob = colleague(&test).await;
    let state = saved(&test, true).await;
    let secret = json!({"vmid": 101, "ciuser": "admin", "cipassword": "hunter2-geheim", "confirm": true});
    bob.call("proxmox-cloudinit-set", secret).await;
    let report = test.call(DIFF, json!({"state": state, "save": true, "values": true})).await;
    let told = report.to_string();
    for secret in ["hunter2-geheim", "secret-of-bob", "PVE:root@pam"] {
        assert!(!told.contains(secret), "{secret}");
    }
    assert!(
        changes(&report, "guest/101").iter().any(|line| line == "cipassword: - → ******** by bob@pve!ci"),
        "{report}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_state_of_a_wrong_form_is_refused_and_why() {
    let test = start(options()).await;
    let good = saved(&test, false).await;
    let with = |key: &str, value: Value| {
        let mut state = good.clone();
        state[key] = value;
        json!({"state": state})
    };
    let slip = good["digests"].as_str().unwrap().replacen("100=", "100=x", 1);
    for (arguments, words) in [
        (json!({"state": {}}), "state: no saved state: "),
        (json!({"state": "soon"}), "state: expected an object"),
        (with("digests", json!(slip)), "state: it is not as it was given"),
        (with("version", json!(7)), "state: its version is 7"),
        (with("cluster", json!("other")), "state: it is of the cluster 'other'"),
        (with("more", json!(1)), "state: no saved state: unknown field `more`"),
        (json!({"state": good, "since": "2h"}), "since: give either since or state"),
        (json!({"save": true, "node": "pve1"}), "node: a state is of all nodes"),
        (json!({"since": "soon"}), "since: expected 90m, 2h"),
        (json!({"since": "2099-01-01"}), "since: 2099-01-01T00:00:00Z is yet to come"),
        (json!({"name": "nobody"}), "name: no guest 'nobody'"),
        (json!({"node": "pve9"}), "node: no node 'pve9'"),
    ] {
        let said = test.fails(DIFF, arguments.clone()).await;
        assert!(said.starts_with(words), "{arguments}: {said}");
    }
    let whole = saved(&test, true).await;
    let mut odd = whole.clone();
    odd["objects"][0] = json!({"object": "planet/mars"});
    assert!(test.fails(DIFF, json!({"state": odd})).await.starts_with("state: there is no object 'planet/mars'"));
    // The answer that it came in will do.
    let answer = test.call(DIFF, json!({"save": true})).await;
    assert_eq!(test.call(DIFF, json!({"state": answer})).await["total"], 0);
}

#[tokio::test(start_paused = true)]
async fn long_reports_come_in_pages_and_a_state_of_one_guest_is_short() {
    let test = start(options()).await;
    let state = saved(&test, true).await;
    for vmid in [100, 101, 102] {
        test.sandbox.by_hand().set(vmid, "onboot", Some("0"));
        test.sandbox.by_hand().set(vmid, "tags", Some("seen"));
    }
    let first = test.call(DIFF, json!({"state": state, "limit": 2})).await;
    assert_eq!((&first["total"], &first["next_cursor"]), (&json!(3), &json!("guest/101")), "{first}");
    let rest = test.call(DIFF, json!({"state": state, "limit": 2, "cursor": "guest/101"})).await;
    assert_eq!((&rest["objects"][0]["object"], rest["next_cursor"].is_null()), (&json!("guest/102"), true));
    assert!(changes(&rest, "guest/101").is_empty() && !changes(&rest, "guest/102").is_empty());
    let one = test.call(DIFF, json!({"save": true, "vmid": 101})).await["state"].clone();
    test.sandbox.by_hand().set(101, "cores", Some("8"));
    test.sandbox.by_hand().set(102, "cores", Some("8"));
    let report = test.call(DIFF, json!({"state": one})).await;
    assert_eq!((&report["total"], &report["objects"][0]["object"]), (&json!(1), &json!("guest/101")), "{report}");
    let said = test.fails(DIFF, json!({"state": one, "vmid": 102})).await;
    assert!(said.starts_with("state: it is of other guests"), "{said}");
}

#[tokio::test(start_paused = true)]
async fn another_guest_with_the_same_number_is_told_as_another() {
    let test = start(options()).await;
    let (whole, digests) = (saved(&test, true).await, saved(&test, false).await);
    test.call("proxmox-delete-vm", json!({"vmid": 107, "confirm": true, "wait": true})).await;
    tokio::time::sleep(std::time::Duration::from_secs(60)).await;
    let create =
        json!({"vmid": 107, "name": "other", "node": "pve2", "storage": "local-lvm", "confirm": true, "wait": true});
    test.call("proxmox-create-vm", create).await;
    for state in [whole, digests] {
        let report = test.call(DIFF, json!({"state": state})).await;
        assert_eq!(row(&report, "guest/107")["change"], "replaced", "{report}");
    }
}
