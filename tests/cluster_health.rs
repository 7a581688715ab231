//! Is the cluster all right? Each trouble is made on the simulated cluster and found there, and what is no trouble is not
//! told. Whatever call is suggested is a good one.
#![expect(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod support;

use std::{sync::Arc, time::Duration};

use http::Method;
use proxmox_mcp::{
    call::{self, App, Cluster, Context},
    config::{Auth, ClusterConfig, TokenId},
    pve::Client,
    sandbox::{Fault, FaultKind, NewVolume, Options, Sandbox},
};
use serde_json::{Map, Value, json};
use support::{Test, options, pveum, start};

const GIB: u64 = 1 << 30;

/// Leaves nothing but the nodes, and lets the server in again.
fn bare(sandbox: &Sandbox) {
    let known = sandbox.credentials().clone();
    sandbox.by_hand().clear();
    sandbox.admit(&known.token_id, known.token_secret);
}

async fn days(count: u64) {
    tokio::time::sleep(Duration::from_secs(count * 86_400)).await;
}

/// The report, after every call that it suggests was tried: as a dry run where it changes something.
async fn health(test: &Test, arguments: Value) -> Value {
    let report = test.call("proxmox-health", arguments).await;
    for row in report["findings"].as_array().into_iter().flatten() {
        let (tool, arguments) = row["help"].as_str().unwrap().split_once(' ').unwrap();
        let mut arguments: Value = serde_json::from_str(arguments).unwrap();
        let entry = proxmox_mcp::tools::all().find(|entry| entry.name == tool).unwrap();
        if entry.control.is_some() {
            arguments["dry_run"] = true.into();
        }
        let schema = Value::Object(entry.input_schema(&[]));
        assert!(jsonschema::is_valid(&schema, &arguments), "{row}");
        let result = test.call(tool, arguments).await;
        assert!(entry.control.is_none() || result["state"] == "planned", "{row}: {result}");
    }
    report
}

/// `severity subject: evidence` of what one check found.
async fn found(test: &Test, check: &str, mut arguments: Value) -> Vec<String> {
    arguments["checks"] = json!([check]);
    let report = health(test, arguments).await;
    assert!(report["unchecked"].is_null(), "{report}");
    let lines = rows(&report);
    assert_eq!(lines.is_empty(), report["fine"] == check, "{report}");
    lines
}

fn rows(report: &Value) -> Vec<String> {
    let word = |row: &Value, key: &str| row[key].as_str().unwrap().to_owned();
    let line = |row| format!("{} {}: {}", word(row, "severity"), word(row, "subject"), word(row, "evidence"));
    report["findings"].as_array().into_iter().flatten().map(line).collect()
}

fn unchecked(report: &Value) -> Vec<String> {
    let line = |row: &Value| {
        let word = |key: &str| row[key].as_str().unwrap_or_default().to_owned();
        format!("{} | {} | {}", word("checks"), word("subject"), word("why"))
    };
    report["unchecked"].as_array().into_iter().flatten().map(line).collect()
}

/// Whether there is exactly one line, with these words.
#[track_caller]
fn only(lines: &[String], words: &[&str]) {
    assert!(lines.len() == 1 && words.iter().all(|word| lines[0].contains(word)), "{words:?}: {lines:#?}");
}

#[tokio::test(start_paused = true)]
async fn what_is_fine_is_a_word_and_what_is_not_comes_worst_first() {
    let test = start(options()).await;
    test.sandbox.by_hand().set(100, "lock", Some("migrate"));
    test.sandbox.set_online("pve3", false);
    let report = health(&test, json!({})).await;
    let severities: Vec<&str> =
        report["findings"].as_array().unwrap().iter().map(|row| row["severity"].as_str().unwrap()).collect();
    let first = severities.iter().position(|word| *word != "critical").unwrap();
    assert!(first > 0 && !severities[first..].contains(&"critical"), "{severities:?}");
    assert!(report["verdict"].as_str().unwrap().starts_with("critical: node pve3 (nodes)"), "{report}");
    assert_eq!(report["counts"]["critical"], first);
    assert!(report["fine"].as_str().unwrap().contains("ceph"), "{report}");
    let said = test.fails("proxmox-health", json!({"checks": ["weather"]})).await;
    assert!(said.contains("no check 'weather'") && said.contains("certificates"), "{said}");
}

#[tokio::test(start_paused = true)]
async fn a_cluster_without_guests_and_troubles_is_ok() {
    let test = start(options()).await;
    bare(&test.sandbox);
    let report = health(&test, json!({})).await;
    assert_eq!(report["verdict"], "ok: nothing was found", "{report}");
    assert_eq!((&report["findings"], &report["counts"]), (&Value::Null, &json!({})));
}

#[tokio::test(start_paused = true)]
async fn an_offline_node_is_critical_and_what_it_would_have_said_is_unchecked() {
    let test = start(options()).await;
    assert_eq!(found(&test, "nodes", json!({})).await, [""; 0]);
    assert_eq!(found(&test, "quorum", json!({})).await, [""; 0]);
    test.sandbox.set_online("pve3", false);
    only(&found(&test, "nodes", json!({})).await, &["critical node pve3", "4 guests", "2 of 3 nodes are online"]);
    only(&found(&test, "quorum", json!({})).await, &["warning cluster", "2 of 3", "the next one takes it"]);
    let report = health(&test, json!({})).await;
    let told = unchecked(&report);
    let row = told.iter().find(|line| line.ends_with("| pve3 | offline")).unwrap();
    for check in ["boot", "media", "tasks", "snapshots", "updates", "certificates"] {
        assert!(row.contains(check), "{check}: {told:#?}");
    }
    assert_eq!(told.iter().filter(|line| line.contains("| pve3 |")).count(), 1, "{told:#?}");
    assert!(rows(&report).iter().any(|row| row.contains("nodes pve1, pve2")), "the others answer: {report}");
}

#[tokio::test(start_paused = true)]
async fn lost_quorum_is_critical_and_a_big_cluster_can_lose_a_node() {
    let test = start(options()).await;
    test.sandbox.set_online("pve2", false);
    test.sandbox.set_online("pve3", false);
    only(&found(&test, "quorum", json!({})).await, &["critical cluster", "lost", "1 of 3"]);
    let test = start(Options { nodes: Options::numbered_nodes(5), ..options() }).await;
    test.sandbox.set_online("pve5", false);
    assert_eq!(found(&test, "quorum", json!({})).await, [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn what_ha_gave_up_is_critical_and_maintenance_is_a_note() {
    let test = start(options()).await;
    test.call("proxmox-ha-set", json!({"vmid": 100, "state": "started", "confirm": true})).await;
    assert_eq!(found(&test, "ha", json!({})).await, [""; 0]);
    test.sandbox.by_hand().ha_gives_up("vm:100").maintenance("pve3", true);
    let lines = found(&test, "ha", json!({})).await;
    assert_eq!(lines.len(), 2, "{lines:#?}");
    assert_eq!(lines[0], "critical vm:100: error on pve1, wanted is started");
    assert!(lines[1].starts_with("info lrm of pve3") && lines[1].contains("maintenance mode"), "{lines:#?}");
}

fn fill(test: &Test, gib: u64, name: &str) {
    let volid = format!("nas:iso/{name}.iso");
    let new = NewVolume { volid: &volid, content: "iso", format: "iso", size: gib * GIB, used: gib * GIB, vmid: None };
    test.sandbox.by_hand().volume("pve1", new);
}

#[tokio::test(start_paused = true)]
async fn a_full_storage_is_found_once_although_all_nodes_have_it() {
    let test = start(options()).await;
    assert_eq!(found(&test, "storage", json!({})).await, [""; 0]);
    fill(&test, 7200, "big");
    only(&found(&test, "storage", json!({})).await, &["warning storage nas: 88% used", "of 8.0 TiB"]);
    assert_eq!(found(&test, "storage", json!({"storage_percent": 95})).await, [""; 0]);
    fill(&test, 600, "more");
    only(&found(&test, "storage", json!({})).await, &["critical storage nas: 96% used"]);
}

#[tokio::test(start_paused = true)]
async fn a_storage_that_grows_is_told_before_it_is_full() {
    let test = start(options()).await;
    for day in 0..20 {
        fill(&test, 200, &format!("day-{day}"));
        days(1).await;
    }
    // Half full, and 200 GiB more each day of the last twenty of thirty.
    let lines = found(&test, "storage", json!({})).await;
    only(&lines, &["warning storage nas: 49% used", "grows 174.7 GiB a day, full in 24 days (2027-02-28)"]);
    // It stays where it is: after a month nothing grows any more.
    days(35).await;
    assert_eq!(found(&test, "storage", json!({})).await, [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn guests_without_a_recent_backup_are_told_by_what_they_lack() {
    let test = start(options()).await;
    let lines = found(&test, "backups", json!({})).await;
    assert_eq!(lines.len(), 2, "{lines:#?}");
    assert!(lines[0].contains("6 guests: no backup at all, and in no backup job: 104 (grafana)"), "{lines:#?}");
    assert!(lines[1].contains("5 guests: no backup at all: 101 (web-02)"), "{lines:#?}");
    let back_up = |vmid: u32| json!({"vmid": vmid, "storage": "nas", "confirm": true});
    for vmid in 101..=111 {
        test.call("proxmox-backup-vm", back_up(vmid)).await;
    }
    // web-01 was backed up yesterday; six were backed up by hand only.
    only(&found(&test, "backups", json!({})).await, &["info 6 guests: in no backup job, though backed up"]);
    let job = json!({"storage": "nas", "schedule": "daily", "all": true});
    test.call("proxmox-create-backup-job", job).await;
    assert_eq!(found(&test, "backups", json!({})).await, [""; 0], "templates need none");
    days(9).await;
    test.call("proxmox-backup-vm", back_up(100)).await;
    only(&found(&test, "backups", json!({})).await, &["warning 11 guests: no backup in 8 days: 101"]);
    assert_eq!(found(&test, "backups", json!({"backup_days": 30})).await, [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn a_guest_that_is_new_needs_no_backup_yet() {
    let test = start(options()).await;
    bare(&test.sandbox);
    test.sandbox.by_hand().storage("nas", "nfs", 100 * GIB, &[("content", "backup")]);
    let made = format!("creation-qemu=10.0.13,ctime={}", 1_800_000_000 - 3600);
    test.sandbox.by_hand().guest("qemu/300", "pve1", &[("name", "new"), ("meta", &made)], true);
    // Names are listed a little later.
    tokio::time::sleep(Duration::from_secs(20)).await;
    only(
        &found(&test, "backups", json!({})).await,
        &["info VM 300: new: made on 2027-01-15, and it is in no backup job"],
    );
    test.call("proxmox-create-backup-job", json!({"storage": "nas", "schedule": "daily", "all": true})).await;
    assert_eq!(found(&test, "backups", json!({})).await, [""; 0]);
    days(9).await;
    only(&found(&test, "backups", json!({})).await, &["warning VM 300: new: no backup at all"]);
}

#[tokio::test(start_paused = true)]
async fn a_replication_that_fails_is_found_with_its_words() {
    let test = start(options()).await;
    assert_eq!(found(&test, "replication", json!({})).await, [""; 0]);
    test.sandbox.by_hand().replication_fails("103-0", 4, "no route to host");
    days(2).await;
    let words = ["warning replication 103-0: pve3 to pve1: 4 failures", "2027-01-15 (2 days): no route to host"];
    only(&found(&test, "replication", json!({})).await, &words);
}

#[tokio::test(start_paused = true)]
async fn a_lock_that_was_left_behind_is_found_and_one_that_a_task_holds_is_not() {
    let test = start(options()).await;
    test.sandbox.by_hand().set(106, "lock", Some("suspended"));
    test.call("proxmox-backup-vm", json!({"vmid": 100, "storage": "nas", "wait": false, "confirm": true})).await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert!(test.sandbox.snapshot().contains("\"backup\""), "it is locked");
    assert_eq!(found(&test, "locks", json!({})).await, [""; 0]);
    test.sandbox.by_hand().set(101, "lock", Some("migrate"));
    tokio::time::sleep(Duration::from_secs(1)).await;
    only(&found(&test, "locks", json!({})).await, &["warning VM 101: web-02: locked (migrate", "left behind"]);
}

#[tokio::test(start_paused = true)]
async fn guests_that_stay_off_after_a_reboot_are_told_together() {
    let test = start(options()).await;
    assert_eq!(found(&test, "boot", json!({})).await, [""; 0], "the others are off already");
    test.sandbox.by_hand().set(100, "onboot", Some("0")).set(108, "onboot", None);
    let lines = found(&test, "boot", json!({})).await;
    assert_eq!(lines.len(), 2, "{lines:#?}");
    assert!(
        lines[0].starts_with("warning VM 100: web-01") && lines[1].starts_with("warning container 108"),
        "{lines:#?}"
    );
    // HA starts it again.
    test.call("proxmox-ha-set", json!({"vmid": 100, "state": "started", "confirm": true})).await;
    only(&found(&test, "boot", json!({})).await, &["container 108"]);
    test.sandbox.by_hand().set(101, "onboot", None).set(102, "onboot", None).set(104, "onboot", None);
    only(
        &found(&test, "boot", json!({})).await,
        &["warning 4 guests", "101 (web-02), 102 (postgres-01), 104 (grafana), 108"],
    );
}

#[tokio::test(start_paused = true)]
async fn a_cd_that_is_gone_keeps_a_guest_from_starting() {
    let test = start(options()).await;
    assert_eq!(found(&test, "media", json!({})).await, [""; 0], "gitlab-runner has one that is there");
    test.sandbox.by_hand().set(104, "ide2", Some("nas:iso/gone.iso,media=cdrom,size=1M"));
    only(
        &found(&test, "media", json!({})).await,
        &["warning VM 104: grafana: ide2 has nas:iso/gone.iso, which is not there"],
    );
}

#[tokio::test(start_paused = true)]
async fn failed_tasks_of_a_day_are_counted_by_what_they_were_for() {
    let test = start(options()).await;
    let apt = "info aptupdate: failed at 2027-01-14T09:46:40Z on pve1: command 'apt-get update' failed: exit code 100; it went well since";
    assert_eq!(found(&test, "tasks", json!({})).await, [apt]);
    let start = Fault::new(FaultKind::TaskFailure("no space left".to_owned()));
    test.sandbox.fault(start.on(Method::POST, "/nodes/*/qemu/107/status/start").times(2));
    for _ in 0..2 {
        test.fails("proxmox-start-vm", json!({"vmid": 107, "wait": true})).await;
    }
    let lines = found(&test, "tasks", json!({})).await;
    assert!(lines[0].starts_with("warning qmstart 107: failed 2 times, last at 2027-01-15T08:0"), "{lines:#?}");
    assert!(lines[0].ends_with("on pve2: no space left"), "{lines:#?}");
    tokio::time::sleep(Duration::from_secs(60)).await;
    test.call("proxmox-start-vm", json!({"vmid": 107, "wait": true})).await;
    let lines = found(&test, "tasks", json!({})).await;
    assert!(lines[0].starts_with("info qmstart 107") && lines[0].ends_with("it went well since"), "{lines:#?}");
    days(2).await;
    assert_eq!(found(&test, "tasks", json!({})).await, [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn old_snapshots_are_found_and_expired_ones_of_this_program_apart() {
    let test = start(options()).await;
    assert_eq!(found(&test, "snapshots", json!({})).await, [""; 0], "web-01 has one of a week ago");
    let change = json!({"vmid": 101, "params": {"cores": 3}, "snapshot_first": true, "confirm": true});
    test.call("proxmox-configure-vm", change).await;
    only(
        &found(&test, "snapshots", json!({"snapshot_days": 5})).await,
        &["VM 100: web-01: before-upgrade is of 2027-01-08"],
    );
    days(9).await;
    only(&found(&test, "snapshots", json!({})).await, &["info VM 101: web-02: 1 safety snapshots", "expired"]);
    test.call("proxmox-delete-expired-snapshots", json!({"confirm": true})).await;
    test.sandbox.by_hand().snapshot(100, "second");
    days(31).await;
    let words = ["warning VM 100: web-01: before-upgrade is of 2027-01-08 (46 days), the oldest of 2"];
    only(&found(&test, "snapshots", json!({})).await, &words);
}

#[tokio::test(start_paused = true)]
async fn updates_are_a_note_and_certificates_are_told_before_they_expire() {
    let test = start(options()).await;
    only(
        &found(&test, "updates", json!({})).await,
        &["info nodes pve1, pve2, pve3: 3 packages wait, 2 of them from Proxmox, with a new kernel"],
    );
    assert_eq!(found(&test, "certificates", json!({})).await, [""; 0]);
    let report = test.call("proxmox-list-certificates", json!({"node": "pve1"})).await;
    let left = report["certificates"][1]["days_left"].as_u64().unwrap();
    days(left - 20).await;
    let lines = found(&test, "certificates", json!({})).await;
    assert!(lines.iter().any(|line| line.starts_with("warning node pve1: pve-ssl.pem expires on ")), "{lines:#?}");
    assert_eq!(found(&test, "certificates", json!({"certificate_days": 5})).await, [""; 0]);
    days(40).await;
    let lines = found(&test, "certificates", json!({})).await;
    assert!(lines.iter().any(|line| line.starts_with("critical node pve1: pve-ssl.pem expired on ")), "{lines:#?}");
    bare(&test.sandbox);
    assert_eq!(found(&test, "updates", json!({})).await, [""; 0]);
}

/// With a token that these lines give something.
async fn token(lines: &[&str]) -> Test {
    let sandbox = Sandbox::new(options());
    pveum::run(&sandbox, "pveum user add ai@pve").await;
    let secret = pveum::run(&sandbox, "pveum user token add ai@pve mcp --privsep 0").await.unwrap();
    for line in lines {
        pveum::run(&sandbox, line).await;
    }
    let id = TokenId { user: "ai@pve".to_owned(), name: "mcp".to_owned() };
    let config = support::config(&sandbox, Auth::Token { id, secret: secret.into() });
    support::with(sandbox, config).await
}

#[tokio::test(start_paused = true)]
async fn what_may_not_be_seen_is_not_taken_for_fine() {
    let auditor = token(&["pveum acl modify / --users ai@pve --roles PVEAuditor"]).await;
    let report = auditor.call("proxmox-health", json!({})).await;
    let told = unchecked(&report);
    assert_eq!(told.iter().filter(|line| line.starts_with("updates | pve")).count(), 3, "{told:#?}");
    assert!(told.iter().any(|line| line.starts_with("backups | backups | only those") && line.contains("VM.Backup")));
    assert_eq!(told.len(), 4, "{told:#?}");
    // Whether there are backups is not known, so nobody says that there are none.
    only(&rows(&report)[..1], &["warning 6 guests: in no backup job: 104 (grafana)"]);
    assert!(!report.to_string().contains("no backup at all"), "{report}");

    let pool = token(&["pveum acl modify /pool/production --users ai@pve --roles PVEVMAdmin"]).await;
    let report = pool.call("proxmox-health", json!({})).await;
    let told = unchecked(&report).join("\n");
    for words in
        ["quorum, ha", "boot", "| vms | only those that this token has VM.Audit on", "| storage |", "| nodes |"]
    {
        assert!(told.contains(words), "{words}: {told}");
    }
    for blind in ["quorum", "ha", "storage", "backups", "locks", "boot", "tasks", "snapshots", "updates"] {
        assert!(!report["fine"].as_str().unwrap().split(", ").any(|name| name == blind), "{blind}: {report}");
    }

    let nobody = token(&[]).await;
    let report = nobody.call("proxmox-health", json!({"checks": ["quorum", "backups", "storage"]})).await;
    assert_eq!(report["verdict"], "warning: next to nothing could be looked at", "{report}");
}

#[tokio::test(start_paused = true)]
async fn a_node_or_a_list_that_hangs_stalls_nothing() {
    let test = start(options()).await;
    test.sandbox.fault(Fault::new(FaultKind::Stall).on(Method::GET, "/nodes/pve2/**"));
    let before = tokio::time::Instant::now();
    let report = health_only(&test).await;
    assert!(before.elapsed() < Duration::from_secs(60), "{:?}", before.elapsed());
    let told = unchecked(&report);
    let row = told.iter().find(|line| line.contains("| pve2 | no answer within 10 s")).unwrap();
    assert!(row.contains("boot") && row.contains("updates") && row.contains("tasks"), "{told:#?}");
    assert!(rows(&report).iter().any(|row| row.contains("nodes pve1, pve3")), "{report}");

    test.sandbox.clear_faults();
    test.sandbox.fault(Fault::new(FaultKind::Stall).on(Method::GET, "/cluster/resources"));
    let report = health_only(&test).await;
    let told = unchecked(&report).join("\n");
    assert!(told.contains("backups, replication, locks, boot, media, snapshots |  | no answer within 10 s"), "{told}");
    assert!(report["fine"].as_str().unwrap().contains("quorum"), "{report}");
}

/// Without trying what it suggests.
async fn health_only(test: &Test) -> Value {
    test.call("proxmox-health", json!({})).await
}

#[tokio::test(start_paused = true)]
async fn a_backup_storage_that_cannot_be_read_is_told_and_counted_in() {
    let test = start(options()).await;
    test.sandbox.fault(Fault::new(FaultKind::Status595).on(Method::GET, "/nodes/*/storage/nas/content"));
    let report = test.call("proxmox-health", json!({"checks": ["backups"]})).await;
    assert!(unchecked(&report).iter().any(|line| line.starts_with("backups | backups on nas |")), "{report}");
    assert!(rows(&report).iter().all(|row| row.contains("on the storages that could be read")), "{report}");
}

#[tokio::test(start_paused = true)]
async fn ten_thousand_guests_cost_some_hundred_requests_and_what_was_left_out_is_told() {
    let test = start(Options { guests: 10_000, ..options() }).await;
    test.sent.forget();
    let report = health_only(&test).await;
    assert!(test.sent.count() < 400, "{} requests", test.sent.count());
    let told = unchecked(&report);
    let words = "| 9700 of 10000 guests | the configuration of each is a request: `guests: 10000` reads them all";
    assert!(told.iter().any(|line| line == &format!("boot, media, snapshots {words}")), "{told:#?}");
    assert!(report.to_string().len() < 4000, "{}", report.to_string().len());
    let report = test.call("proxmox-health", json!({"guests": 10_000, "checks": ["boot"]})).await;
    assert_eq!(report["fine"], "boot", "{report}");
}

#[tokio::test(start_paused = true)]
async fn long_lists_are_cut_and_counted() {
    let test = start(options()).await;
    for vmid in 100..110 {
        test.sandbox.by_hand().set(vmid, "lock", Some("migrate"));
    }
    let report = health(&test, json!({"checks": ["locks"], "rows": 3})).await;
    assert_eq!((rows(&report).len(), &report["counts"]["warning"]), (3, &json!(10)));
    assert_eq!(report["more"], "locks 7 (rows: 0 tells all)");
    let report = health(&test, json!({"checks": ["locks"], "rows": 0})).await;
    assert_eq!((rows(&report).len(), &report["more"]), (10, &Value::Null));
}

#[tokio::test(start_paused = true)]
async fn several_clusters_are_looked_at_at_once() {
    let cluster = |name: &str| {
        let sandbox = Sandbox::new(options());
        let config = ClusterConfig { name: name.to_owned(), ..proxmox_mcp::embedded::cluster_config(&sandbox) };
        let client = Client::with_transport(&config, Arc::new(sandbox.clone()));
        (Cluster { name: name.to_owned(), client }, sandbox)
    };
    let ((home, first), (work, second)) = (cluster("home"), cluster("work"));
    bare(&first);
    bare(&second);
    second.set_online("pve3", false);
    let app = App::with_clusters(vec![home, work], &support::everything()).unwrap();
    let Value::Object(arguments) = json!({"cluster": "all"}) else { return };
    let answer = call::run(&app, "proxmox-health", Map::clone(&arguments), &Context::default()).await.unwrap().data;
    let verdict = answer["verdict"].as_str().unwrap();
    assert!(verdict.starts_with("home: ok: nothing was found; work: critical: node pve3 (nodes)"), "{verdict}");
    assert!(answer["findings"].as_array().unwrap().iter().all(|row| row["cluster"] == "work"), "{answer}");
}
