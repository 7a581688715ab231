//! The audit log: everything that was done is in it, nobody can change it unseen, and what cannot be recorded is not done.
#![expect(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod support;

use std::{
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    sync::Arc,
    time::Duration,
};

use proxmox_mcp::{
    audit::{self, Fault, Log, Recorded, Report},
    call::{self, App, Cluster, Context},
    config::Safety,
    key::Key,
    pve::Client,
    sandbox::Sandbox,
};
use serde_json::{Map, Value, json};
use support::{Test, everything, options};
use tempfile::TempDir;

const VM: &str = "proxmox-configure-vm";

fn safety(file: &Path) -> Safety {
    Safety { audit_file: Some(file.to_owned()), ..everything() }
}

async fn start(file: &Path) -> Test {
    let sandbox = Sandbox::new(options());
    let mut config = proxmox_mcp::embedded::cluster_config(&sandbox);
    config.upload_dir = Some(support::upload_dir());
    support::guarded(sandbox, config, safety(file)).await
}

fn folder() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("audit.jsonl");
    (folder, file)
}

fn app(sandbox: &Sandbox, safety: &Safety) -> proxmox_mcp::error::Result<App> {
    let config = proxmox_mcp::embedded::cluster_config(sandbox);
    let client = Client::with_transport(&config, Arc::new(sandbox.clone()));
    App::with_clusters(vec![Cluster { name: config.name, client }], safety)
}

fn verify(file: &Path) -> Result<Report, Fault> {
    audit::verify(&[Log::new(file.to_owned(), None)])
}

fn lines(file: &Path) -> Vec<String> {
    std::fs::read_to_string(file).unwrap().lines().map(str::to_owned).collect()
}

fn entries(file: &Path) -> Vec<Recorded> {
    audit::read(file, usize::MAX).unwrap()
}

async fn set(test: &Test, cores: u32) -> Value {
    test.call(VM, json!({"vmid": 107, "params": {"cores": cores}, "confirm": true})).await
}

fn object(value: Value) -> Map<String, Value> {
    value.as_object().cloned().unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_call_has_a_line_before_and_a_line_after_it() {
    let (_folder, file) = folder();
    let test = start(&file).await;
    let done = set(&test, 4).await;
    let lines: Vec<Value> = lines(&file).iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    let [start, intent, end] = lines.as_slice() else { panic!("{lines:?}") };
    assert_eq!((&start["line"], &start["n"], &start["prev"]), (&json!("start"), &json!(1), &json!("")));
    assert_eq!(
        (&intent["line"], &intent["tool"], &intent["confirmed"]),
        (&json!("intent"), &json!(VM), &json!("flag"))
    );
    assert_eq!((&intent["cluster"], &intent["who"]), (&json!("default"), &json!("root@pam!sandbox")));
    assert_eq!(intent["arguments"], json!({"vmid": 107, "params": {"cores": 4}, "confirm": true}));
    assert_eq!((&intent["summary"], &intent["changes"]), (&done["summary"], &done["changes"]));
    assert_eq!(intent["requests"][0]["path"], "/nodes/pve2/qemu/107/config");
    assert_eq!((&end["line"], &end["state"]), (&json!("end"), &json!("done")));
    assert_eq!(end["sent"], json!([{"request": "PUT /nodes/pve2/qemu/107/config"}]));
    assert_eq!((&end["undo"], &end["id"]), (&done["undo"], &done["audit_id"]));
    assert_eq!((&intent["prev"], &end["prev"]), (&start["mac"], &intent["mac"]));
    let time = intent["time"].as_str().unwrap();
    assert!(time.len() == 24 && time.starts_with("20") && time.ends_with('Z'), "{time}");
    let started = test.call("proxmox-start-vm", json!({"vmid": 107, "wait": true})).await;
    let last = entries(&file).pop().unwrap();
    assert_eq!((last.begun.confirmed.as_str(), last.begun.tool.as_str()), ("none", "proxmox-start-vm"));
    let end = last.ended.unwrap();
    assert_eq!(Some(end.sent[0].upid.as_deref().unwrap()), started["upid"].as_str());
    assert_eq!(end.exitstatus.as_deref(), Some("OK"));
    assert_eq!(verify(&file).map(|report| (report.lines, report.calls, report.open)), Ok((5, 2, 0)));
    #[cfg(unix)]
    for file in [file.clone(), file.with_extension("jsonl.head"), file.with_extension("jsonl.key")] {
        let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&file).unwrap().permissions());
        assert_eq!(mode & 0o777, 0o600, "{}", file.display());
    }
}

#[tokio::test(start_paused = true)]
async fn what_reads_and_what_is_only_shown_is_not_recorded_and_what_fails_is() {
    let (_folder, file) = folder();
    let test = start(&file).await;
    test.call("proxmox-list-vms", json!({})).await;
    test.call(VM, json!({"vmid": 107, "params": {"cores": 4}, "dry_run": true})).await;
    test.call(VM, json!({"vmid": 107, "params": {"cores": 4}})).await;
    assert_eq!(lines(&file).len(), 1);
    test.sandbox.by_hand().set(107, "memory", Some("16"));
    let said = test.fails("proxmox-start-vm", json!({"vmid": 100, "wait": true})).await;
    let failed = entries(&file).pop().unwrap().ended.unwrap();
    let error = failed.error.unwrap();
    assert!(said.starts_with(&error.message) && error.kind == "task_failed", "{said} {error:?}");
    assert!(failed.state.is_none() && failed.undo.is_none() && failed.sent.len() == 1, "{:?}", failed.sent);
}

#[tokio::test(start_paused = true)]
async fn no_tool_leaves_a_secret_in_the_log() {
    let (_folder, file) = folder();
    let mut hidden = Vec::new();
    for entry in proxmox_mcp::tools::all().filter(|entry| entry.control.is_some() && !entry.audited) {
        let test = start(&file).await;
        let arguments = test.example(entry).await;
        hidden.extend(test.secrets(&arguments));
        let done = test.call(entry.name, arguments).await;
        let last = entries(&file).pop().unwrap();
        assert_eq!((last.begun.tool.as_str(), &json!(last.begun.id)), (entry.name, &done["audit_id"]));
        // A token's secret, shown once.
        hidden.extend(done["result"]["secret"].as_str().map(str::to_owned));
    }
    let test = start(&file).await;
    let params = json!({"cipassword": "hunter2hunter2", "description": "password: hunter3\nuser: bob"});
    test.call(VM, json!({"vmid": 9000, "params": params, "confirm": true})).await;
    let deep = json!({"userid": "eve@pve", "password": "hunter4hunter4"});
    let write = json!({"method": "POST", "path": "/access/users", "params": deep, "confirm": true});
    test.call("proxmox-api-write", write).await;
    hidden.extend(["hunter2", "hunter3", "hunter4"].map(str::to_owned));
    hidden.sort();
    hidden.dedup();
    let text = std::fs::read_to_string(&file).unwrap();
    for secret in hidden {
        assert!(!text.contains(&secret), "{secret} is in: {:?}", text.lines().find(|line| line.contains(&secret)));
    }
    assert!(verify(&file).is_ok());
}

/// A log of some calls: `start`, then two lines for each.
async fn filled(file: &Path) {
    let test = start(file).await;
    for cores in [4, 5, 6] {
        set(&test, cores).await;
    }
    assert_eq!(verify(file).map(|report| report.lines), Ok(7));
}

#[tokio::test(start_paused = true)]
async fn whatever_is_done_to_the_file_is_found_and_named() {
    type Deed = fn(&mut Vec<String>);
    let (_folder, file) = folder();
    filled(&file).await;
    let whole = lines(&file);
    let deeds: &[(Deed, &str)] = &[
        (|l| l[3] = l[3].replace("\"cores\":5", "\"cores\":8"), "line 4: not what was written"),
        (|l| l[6] = l[6].replace("done", "gone"), "line 7: not what was written"),
        (|l| drop(l.remove(3)), "line 4: number 4 was removed before it"),
        (|l| drop(l.drain(1..4)), "line 2: numbers 2 to 4 were removed before it"),
        (|l| drop(l.remove(0)), "line 1: number 1 was removed before it"),
        (|l| l.swap(2, 4), "line 3: out of order: this is number 5, and 3 stands further down"),
        (|l| l.insert(5, l[2].clone()), "line 6: out of order: this is number 3 once more"),
        (|l| l.insert(5, "{\"n\":6}".to_owned()), "line 6: not what was written"),
        (|l| l.push(l[1].clone()), "line 8: out of order"),
        (|l| drop(l.pop()), "line 7: lines were cut off from the end: the head counts 7, here are 6"),
        (|l| l.truncate(1), "line 2: lines were cut off"),
        (Vec::clear, "line 1: lines were cut off"),
    ];
    for (deed, words) in deeds {
        let mut changed = whole.clone();
        deed(&mut changed);
        let text: String = changed.iter().map(|line| format!("{line}\n")).collect();
        std::fs::write(&file, text).unwrap();
        let fault = verify(&file).map_err(|fault| fault.to_string());
        assert!(fault.as_ref().is_err_and(|fault| fault.starts_with(words)), "{words}: {fault:?}");
    }
    // Cut off within a line, and the last line cut off with the head that belongs to the end before.
    let text: String = whole.iter().map(|line| format!("{line}\n")).collect();
    std::fs::write(&file, &text[..text.len() - 20]).unwrap();
    assert!(verify(&file).is_err_and(|fault| fault.to_string().contains("cut off")));
    std::fs::write(&file, &text).unwrap();
    let other = Log::new(file.clone(), Some(Key::new(&"k".repeat(32).into())));
    assert!(audit::verify(&[other]).is_err_and(|fault| fault.to_string().contains("another key")));
    std::fs::remove_file(file.with_extension("jsonl.head")).unwrap();
    assert!(verify(&file).is_err_and(|fault| fault.to_string().contains("its head (FILE.head) is missing")));
}

#[tokio::test(start_paused = true)]
async fn a_line_of_another_log_with_the_same_key_is_found() {
    let (_folder, file) = folder();
    let other = file.with_file_name("other.jsonl");
    let key = || Some(Key::new(&"k".repeat(32).into()));
    for file in [&file, &other] {
        let sandbox = Sandbox::new(options());
        let mut safety = safety(file);
        safety.confirm.key = key();
        let app = app(&sandbox, &safety).unwrap();
        call::run(&app, "proxmox-start-vm", object(json!({"vmid": 107})), &Context::default()).await.unwrap();
    }
    let mut mixed = lines(&file);
    mixed[1] = lines(&other)[1].clone();
    std::fs::write(&file, mixed.join("\n") + "\n").unwrap();
    let fault = audit::verify(&[Log::new(file, key())]).map_err(|fault| fault.to_string());
    assert!(fault.as_ref().is_err_and(|fault| fault.starts_with("line 2: not what was written after")), "{fault:?}");
}

#[tokio::test(start_paused = true)]
async fn what_a_crash_left_unfinished_is_told_and_not_merged() {
    let (_folder, file) = folder();
    filled(&file).await;
    let text = std::fs::read_to_string(&file).unwrap();
    let torn = "{\"n\":8,\"time\":\"20";
    std::fs::write(&file, format!("{text}{torn}")).unwrap();
    assert_eq!(verify(&file).map(|report| (report.lines, report.torn)), Ok((7, 1)));
    let test = start(&file).await;
    set(&test, 7).await;
    assert_eq!(verify(&file).map(|report| (report.lines, report.torn, report.calls)), Ok((10, 1, 4)));
    assert_eq!(lines(&file)[7], torn);
    // It cannot be made another, or taken away, afterwards.
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, text.replace(torn, "{\"n\":8,\"time\":\"19")).unwrap();
    assert!(verify(&file).is_err_and(|fault| fault.line == Some(8)));
    std::fs::write(&file, text.replace(&format!("{torn}\n"), "")).unwrap();
    assert!(verify(&file).is_err_and(|fault| fault.to_string().contains("unfinished line")));
    // Only the end of the line is missing; and the head is that of the line before.
    let (_folder, file) = folder();
    filled(&file).await;
    let head = file.with_extension("jsonl.head");
    let before = std::fs::read(&head).unwrap();
    set(&start(&file).await, 8).await;
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, text.trim_end()).unwrap();
    std::fs::write(&head, before).unwrap();
    assert_eq!(verify(&file).map(|report| report.lines), Ok(9));
    set(&start(&file).await, 9).await;
    assert_eq!(verify(&file).map(|report| (report.lines, report.torn)), Ok((11, 0)));
}

#[tokio::test(start_paused = true)]
async fn a_log_that_is_put_aside_is_followed_by_a_new_one() {
    let (_folder, file) = folder();
    let test = start(&file).await;
    set(&test, 4).await;
    let old = file.with_extension("jsonl.1");
    std::fs::rename(&file, &old).unwrap();
    set(&test, 5).await;
    let both = || audit::verify(&[Log::new(old.clone(), key_of(&file)), Log::new(file.clone(), None)]);
    assert_eq!(both().map(|report| (report.lines, report.calls)), Ok((6, 2)));
    let follows = verify(&file).unwrap().follows.unwrap();
    assert_eq!(follows.lines, 3);
    let alone = audit::verify(&[Log::new(old.clone(), key_of(&file))]);
    assert!(alone.is_err_and(|fault| fault.to_string().contains("name both")));
    // What is cut off from the old one's end is missed by the new one.
    let cut: String = lines(&old).iter().take(2).map(|line| format!("{line}\n")).collect();
    std::fs::write(&old, cut).unwrap();
    assert!(both().is_err_and(|fault| fault.to_string().contains("lines are missing between them")));
}

fn key_of(file: &Path) -> Option<Key> {
    let text = std::fs::read_to_string(file.with_extension("jsonl.key")).unwrap();
    Some(Key::new(&text.trim().into()))
}

#[tokio::test(start_paused = true)]
async fn two_servers_at_once_keep_one_chain() {
    let (_folder, file) = folder();
    let (one, two) = (start(&file).await, start(&file).await);
    let many = |test, vmids: [u32; 3]| async move {
        for vmid in vmids {
            Test::call(test, "proxmox-tags-add", json!({"vmid": vmid, "tags": ["new"]})).await;
        }
    };
    let (a, b) = ([107, 110, 9000], [111, 108, 100]);
    tokio::join!(many(&one, a), many(&two, a), many(&one, b), many(&two, b));
    let report = verify(&file).unwrap();
    assert_eq!((report.open, report.torn, report.lines, report.calls), (0, 0, 25, 12));
}

/// The program, with its simulated cluster and this log.
fn program(file: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_proxmox-mcp"));
    command.env_clear().env("PROXMOX_AUDIT_FILE", file).current_dir(file.parent().unwrap());
    command.args(args).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&[output.stdout.clone(), output.stderr.clone()].concat()).into_owned()
}

#[test]
fn processes_at_once_keep_one_chain_and_the_command_line_reads_it() {
    let (_folder, file) = folder();
    let call = ["--sandbox", "call", "proxmox-start-vm", "vmid=107"];
    let running: Vec<_> = (0..4).map(|_| program(&file, &call).spawn().unwrap()).collect();
    for process in running {
        let output = process.wait_with_output().unwrap();
        assert!(output.status.success(), "{}", said(&output));
    }
    let output = program(&file, &["audit", "verify"]).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    assert!(said(&output).contains("is whole: 9 lines, 4 calls, from 20"), "{}", said(&output));
    let output = program(&file, &["audit", "tail", "-n", "3"]).output().unwrap();
    let shown = said(&output);
    assert_eq!(shown.lines().count(), 3, "{shown}");
    assert!(shown.lines().all(|line| line.contains("proxmox-start-vm  start VM 107 (scratch-01)")), "{shown}");
    let output = program(&file, &["audit", "tail", "-n", "1", "--json"]).output().unwrap();
    let entry: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&entry["tool"], entry["end"]["sent"].as_array().map(Vec::len)), (&json!("proxmox-start-vm"), Some(1)));
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, text.replacen("107", "108", 1)).unwrap();
    let output = program(&file, &["audit", "verify", "audit.jsonl"]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(said(&output).contains("audit.jsonl: line 2: not what was written"), "{}", said(&output));
}

#[test]
fn a_log_that_cannot_be_written_is_a_wrong_setting() {
    let (folder, file) = folder();
    let sandbox = Sandbox::new(options());
    let refused = |file: &Path| app(&sandbox, &safety(file)).err().map(|e| e.to_string()).unwrap_or_default();
    for wrong in [folder.path().to_owned(), folder.path().join("none").join("audit.jsonl")] {
        let said = refused(&wrong);
        assert!(said.starts_with("PROXMOX_AUDIT_FILE: ") && said.contains(wrong.to_str().unwrap()), "{said}");
    }
    assert!(app(&sandbox, &safety(&file)).is_ok());
    // The key is gone, or another.
    let key = file.with_extension("jsonl.key");
    let text = std::fs::read_to_string(&key).unwrap();
    std::fs::remove_file(&key).unwrap();
    assert!(refused(&file).contains("audit.jsonl.key is not there, and PROXMOX_KEY is not set"), "{}", refused(&file));
    std::fs::write(&key, "x".repeat(64)).unwrap();
    assert!(refused(&file).contains("was written with another key"), "{}", refused(&file));
    std::fs::write(&key, text).unwrap();
    assert_eq!(refused(&file), "");
    std::fs::remove_file(file.with_extension("jsonl.head")).unwrap();
    assert_eq!(refused(&file), "", "a crash may have come between the first line and its head");
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_recorded_is_not_done() {
    let deeds: &[fn(&Path)] = &[
        |file| std::fs::remove_dir_all(file.parent().unwrap()).unwrap(),
        |file| {
            std::fs::remove_file(file).unwrap();
            std::fs::create_dir(file).unwrap();
        },
        // Full.
        #[cfg(target_os = "linux")]
        |file| {
            std::fs::remove_file(file).unwrap();
            std::os::unix::fs::symlink("/dev/full", file).unwrap();
        },
        // No head can be written.
        |file| {
            let head = file.with_extension("jsonl.head");
            std::fs::remove_file(&head).unwrap();
            std::fs::create_dir(&head).unwrap();
        },
        // Somebody had his hands in it.
        |file| std::fs::write(file, std::fs::read_to_string(file).unwrap().replace("done", "gone")).unwrap(),
        |file| std::fs::write(file, lines(file)[..2].join("\n") + "\n").unwrap(),
        |file| std::fs::write(file, "").unwrap(),
    ];
    for (i, deed) in deeds.iter().enumerate() {
        let (_folder, file) = folder();
        let test = start(&file).await;
        set(&test, 4).await;
        test.sent.forget();
        deed(&file);
        let said = test.mcp.call(VM, json!({"vmid": 107, "params": {"cores": 8}, "confirm": true})).await;
        if i + 1 == deeds.len() {
            // As after copytruncate: the new chain says what it follows.
            assert!(said.is_ok() && verify(&file).is_ok_and(|report| report.follows.is_some()), "{said:?}");
            continue;
        }
        let said = said.map_err(|e| e.to_string()).unwrap_err();
        assert!(said.starts_with("the audit log cannot be written, so nothing was sent: "), "{i}: {said}");
        assert_eq!(test.sent.writes(), Vec::<String>::new(), "{i}");
        assert!(test.call("proxmox-list-vms", json!({})).await["total"].is_number(), "reading goes on");
    }
}

#[tokio::test(start_paused = true)]
async fn a_call_that_is_cancelled_or_given_up_has_an_end() {
    let (_folder, file) = folder();
    let sandbox = Sandbox::new(options());
    let app = app(&sandbox, &safety(&file)).unwrap();
    let clone = || object(json!({"source_vmid": 9000, "full": true, "confirm": true, "wait": true}));
    let context = Context { client: Some("some client 1.0".to_owned()), ..Context::default() };
    let cancel = context.cancel.clone();
    let later = async {
        tokio::time::sleep(Duration::from_millis(500)).await;
        cancel.cancel();
    };
    let (outcome, ()) = tokio::join!(call::run(&app, "proxmox-clone-vm", clone(), &context), later);
    assert!(outcome.is_err());
    let context = Context::default();
    let dropped = call::run(&app, "proxmox-clone-vm", clone(), &context);
    assert!(tokio::time::timeout(Duration::from_millis(500), dropped).await.is_err(), "dropped half-way");
    let entries = entries(&file);
    assert_eq!(entries[0].begun.client.as_deref(), Some("some client 1.0"));
    for entry in entries {
        let end = entry.ended.unwrap();
        assert_eq!(end.error.unwrap().kind, "cancelled");
        assert!(end.sent.len() == 1 && end.sent[0].upid.is_some(), "what was sent is told: {:?}", end.sent);
    }
    assert_eq!(verify(&file).map(|report| report.open), Ok(0));
}
