//! `proxmox-undo`: what is on record is taken back, by the rules of the call that does it, and not where it would hit
//! something else.
#![expect(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod support;

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use proxmox_mcp::{
    audit,
    call::{self, App, Cluster, Context, Person},
    config::{ClusterConfig, Safety},
    confirm,
    error::Kind,
    policy::{Mode, rules::Rules},
    pve::Client,
    sandbox::Sandbox,
};
use serde_json::{Map, Value, json};
use support::{Test, everything, options};
use tempfile::TempDir;

const UNDO: &str = "proxmox-undo";
const VM: &str = "proxmox-configure-vm";

struct Logged {
    test: Test,
    file: PathBuf,
    _folder: TempDir,
}

impl std::ops::Deref for Logged {
    type Target = Test;
    fn deref(&self) -> &Test {
        &self.test
    }
}

async fn start() -> Logged {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("audit.jsonl");
    let sandbox = Sandbox::new(options());
    let test = with(&sandbox, &file, |_| {}).await;
    Logged { test, file, _folder: folder }
}

/// A server on this cluster, with this log, and with what the operator wants.
async fn with(sandbox: &Sandbox, file: &Path, change: impl FnOnce(&mut Safety)) -> Test {
    let mut safety = Safety { audit_file: Some(file.to_owned()), ..everything() };
    change(&mut safety);
    let mut config = proxmox_mcp::embedded::cluster_config(sandbox);
    config.upload_dir = Some(support::upload_dir());
    support::guarded(sandbox.clone(), config, safety).await
}

/// Every option that is in effect or waits.
async fn pending(test: &Test, guest: &str) -> Value {
    test.call("proxmox-api-get", json!({"path": format!("/nodes/{guest}/pending")})).await["data"].clone()
}

async fn set(test: &Test, vmid: u32, params: Value) -> String {
    let done = test.call(VM, json!({"vmid": vmid, "params": params, "confirm": true, "wait": true})).await;
    id(&done)
}

fn id(done: &Value) -> String {
    done["audit_id"].as_str().unwrap_or_else(|| panic!("not recorded: {done}")).to_owned()
}

async fn undo(test: &Test, id: &str) -> Value {
    test.call(UNDO, json!({"id": id, "confirm": true, "wait": true})).await
}

async fn refused(test: &Test, arguments: Value) -> String {
    test.sent.forget();
    let said = test.fails(UNDO, arguments).await;
    assert_eq!(test.sent.writes(), Vec::<String>::new(), "{said}");
    said
}

fn texts(value: &Value) -> String {
    value.as_array().into_iter().flatten().filter_map(Value::as_str).collect::<Vec<_>>().join("\n")
}

fn object(value: Value) -> Map<String, Value> {
    value.as_object().cloned().unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_configuration_is_as_it_was_and_as_it_became_again() {
    let test = start().await;
    for (vmid, guest, tool, arguments) in [
        (
            107,
            "pve2/qemu/107",
            VM,
            json!({"params": {"cores": 4, "net0": {"tag": 20}, "tablet": false, "ostype": null}}),
        ),
        (107, "pve2/qemu/107", VM, json!({"params": {"tags": ["Ops", "lab"], "description": "a,b\nü"}})),
        (100, "pve1/qemu/100", VM, json!({"params": {"cores": 8, "onboot": false}})),
        (9000, "pve1/qemu/9000", "proxmox-cloudinit-set", json!({"ciuser": "bob", "ipconfig0": "ip=dhcp"})),
        (107, "pve2/qemu/107", "proxmox-tags-add", json!({"tags": ["x"]})),
        (107, "pve2/qemu/107", "proxmox-vm-nic-add", json!({"bridge": "vmbr1"})),
    ] {
        let mut call = object(arguments);
        call.insert("vmid".to_owned(), vmid.into());
        if tool != "proxmox-tags-add" {
            call.insert("confirm".to_owned(), true.into());
        }
        let before = pending(&test, guest).await;
        let done = test.call(tool, Value::Object(call)).await;
        let after = pending(&test, guest).await;
        assert_ne!(before, after);
        let undone = undo(&test, &id(&done)).await;
        assert_eq!((&undone["state"], &undone["about"]["undoes"]), (&json!("done"), &done["audit_id"]), "{undone}");
        assert_eq!(sorted(pending(&test, guest).await), sorted(before), "{tool}");
        // And again: to take back what was taken back is to do it.
        undo(&test, &id(&undone)).await;
        assert_eq!(sorted(pending(&test, guest).await), sorted(after), "{tool}");
    }
    let entries = audit::read(&test.file, usize::MAX).unwrap();
    assert_eq!(entries.len(), 18);
    assert_eq!(entries[1].begun.undoes.as_deref(), Some(entries[0].begun.id.as_str()));
    assert_eq!(entries[1].begun.tool, VM, "what is recorded is the call that did it");
}

fn sorted(value: Value) -> Vec<String> {
    let mut rows: Vec<String> = value
        .as_array()
        .unwrap()
        .iter()
        .filter(|row| !matches!(row["key"].as_str(), Some("digest")))
        .map(Value::to_string)
        .collect();
    rows.sort();
    rows
}

#[tokio::test(start_paused = true)]
async fn what_somebody_changed_since_is_in_the_way_and_other_things_are_not() {
    let test = start().await;
    let changed = set(&test, 107, json!({"cores": 4, "memory": 4096})).await;
    test.sandbox.by_hand().set(107, "description", Some("hello"));
    test.sandbox.by_hand().set(107, "cores", Some("6"));
    let plan = test.call(UNDO, json!({"id": changed, "dry_run": true})).await;
    let problems = texts(&plan["problems"]);
    assert!(problems.contains("cores was changed since: that call left it is '4', now it is '6'"), "{problems}");
    assert_eq!(plan["problems"].as_array().unwrap().len(), 1, "{plan}");
    let said = refused(&test, json!({"id": changed, "confirm": true})).await;
    assert!(said.contains("cores was changed since") && said.contains("force: true"), "{said}");
    let forced = test.call(UNDO, json!({"id": changed, "force": true, "confirm": true})).await;
    assert!(texts(&forced["warnings"]).contains("cores was changed since"), "{forced}");
    let config = test.call("proxmox-vm-info", json!({"vmid": 107})).await["config"].clone();
    assert_eq!((&config["cores"], config["description"].as_str()), (&json!(1), Some("hello")));
    // Set back by hand: nothing is left to do for that key, and it says so.
    let changed = set(&test, 107, json!({"cores": 4, "memory": 8192})).await;
    test.sandbox.by_hand().set(107, "cores", Some("1"));
    let undone = undo(&test, &changed).await;
    assert!(texts(&undone["warnings"]).contains("cores is as it was before that call already"), "{undone}");
}

#[tokio::test(start_paused = true)]
async fn a_dry_run_shows_the_call_that_takes_it_back() {
    let test = start().await;
    let changed = set(&test, 107, json!({"cores": 4})).await;
    test.sent.forget();
    let plan = test.call(UNDO, json!({"id": changed, "dry_run": true})).await;
    assert_eq!((&plan["state"], &plan["problems"]), (&json!("planned"), &Value::Null));
    assert_eq!(plan["changes"], json!([{"key": "cores", "old": "4", "new": "1"}]));
    assert_eq!(plan["requests"][0]["path"], "/nodes/pve2/qemu/107/config");
    let asked = test.call(UNDO, json!({"id": changed})).await;
    assert_eq!((&asked["state"], &asked["changes"]), (&json!("needs_confirmation"), &plan["changes"]));
    assert_eq!(test.sent.writes(), Vec::<String>::new());
    assert_eq!(audit::read(&test.file, usize::MAX).unwrap().len(), 1, "nothing was done");
}

#[tokio::test(start_paused = true)]
async fn a_guest_that_was_made_is_deleted_with_a_word_on_what_was_done_with_it() {
    let test = start().await;
    for wait in [true, false] {
        let made = json!({"source_vmid": 9000, "name": "web-09", "confirm": true, "wait": wait});
        let made = test.call("proxmox-clone-vm", made).await;
        tokio::time::sleep(Duration::from_secs(120)).await;
        let vmid = made["about"]["vmid"].clone();
        test.call("proxmox-start-vm", json!({"vmid": vmid, "wait": true})).await;
        test.call("proxmox-stop-vm", json!({"vmid": vmid, "wait": true})).await;
        let plan = test.call(UNDO, json!({"id": id(&made), "dry_run": true})).await;
        let warnings = texts(&plan["warnings"]);
        assert!(warnings.contains("was made, this was done with it: qmst"), "{wait} {plan}");
        assert!(!warnings.contains("qmclone"), "{warnings}");
        let gone = undo(&test, &id(&made)).await;
        assert_eq!(gone["state"], "done", "{gone}");
        let said = test.fails("proxmox-vm-info", json!({"vmid": vmid})).await;
        assert!(said.contains(&vmid.to_string()), "{said}");
        let again = refused(&test, json!({"id": id(&gone), "confirm": true})).await;
        assert!(again.contains("cannot be taken back: its disks are destroyed"), "{again}");
    }
}

#[tokio::test(start_paused = true)]
async fn another_guest_that_has_the_number_now_is_never_touched() {
    for (name, wait) in [("web-09", true), ("other", true), ("web-09", false), ("other", false)] {
        let test = start().await;
        let made = json!({"source_vmid": 9000, "name": "web-09", "confirm": true, "wait": wait});
        let made = test.call("proxmox-clone-vm", made).await;
        tokio::time::sleep(Duration::from_secs(120)).await;
        let vmid = made["about"]["vmid"].clone();
        test.call("proxmox-delete-vm", json!({"vmid": vmid, "confirm": true, "wait": true})).await;
        let other = json!({"vmid": vmid, "name": name, "node": made["about"]["node"], "storage": "nas", "confirm": true, "wait": true});
        test.call("proxmox-create-vm", other).await;
        for force in [false, true] {
            let said = refused(&test, json!({"id": id(&made), "force": force, "confirm": true})).await;
            assert!(said.contains("is another guest now: that call's was web-09"), "{name} {wait} {force}: {said}");
        }
    }
    // Containers have no date of birth.
    let test = start().await;
    let made = json!({"source_vmid": 111, "hostname": "box", "confirm": true, "wait": true});
    let made = test.call("proxmox-clone-lxc", made).await;
    let vmid = made["about"]["vmid"].clone();
    test.call("proxmox-delete-lxc", json!({"vmid": vmid, "confirm": true, "wait": true})).await;
    let other = json!({"source_vmid": 111, "new_vmid": vmid, "hostname": "box", "confirm": true, "wait": true});
    test.call("proxmox-clone-lxc", other).await;
    let said = refused(&test, json!({"id": id(&made), "force": true, "confirm": true})).await;
    assert!(said.contains("is another guest now"), "{said}");
    // Changes of a guest that has gone meanwhile.
    let changed = set(&test, 107, json!({"cores": 4})).await;
    test.sandbox.by_hand().remove(107).guest(
        "107",
        "pve2",
        &[("name", "scratch-01"), ("cores", "4"), ("meta", "creation-qemu=10.0.13,ctime=1")],
        false,
    );
    let said = refused(&test, json!({"id": changed, "force": true, "confirm": true})).await;
    assert!(said.contains("107 is another guest now"), "{said}");
}

#[tokio::test(start_paused = true)]
async fn a_renamed_or_moved_guest_is_the_same_guest() {
    let test = start().await;
    let made = json!({"source_vmid": 9000, "name": "web-09", "confirm": true, "wait": true});
    let made = test.call("proxmox-clone-vm", made).await;
    let vmid = made["about"]["vmid"].as_u64().unwrap() as u32;
    let renamed = set(&test, vmid, json!({"name": "web-10"})).await;
    undo(&test, &renamed).await;
    set(&test, vmid, json!({"name": "web-11"})).await;
    let plan = test.call(UNDO, json!({"id": id(&made), "dry_run": true})).await;
    assert!(plan["problems"].is_null() && plan["about"]["name"] == "web-11", "{plan}");
}

#[tokio::test(start_paused = true)]
async fn the_rules_are_those_of_the_call_that_takes_it_back() {
    let test = start().await;
    let changed = set(&test, 107, json!({"cores": 4})).await;
    let made = json!({"source_vmid": 9000, "name": "web-09", "confirm": true, "wait": true});
    let made = id(&test.call("proxmox-clone-vm", made).await);
    let sandbox = &test.sandbox;
    let listed = async |test: &Test| test.mcp.tools().await.unwrap().iter().any(|tool| tool == UNDO);

    let read_only = with(sandbox, &test.file, |safety| safety.policy.mode = Mode::ReadOnly).await;
    let said = refused(&read_only, json!({"id": changed, "confirm": true})).await;
    assert!(said.contains("PROXMOX_MODE=read-only"), "{said}");
    assert!(!listed(&read_only).await);

    let no_delete = with(sandbox, &test.file, |safety| safety.policy.mode = Mode::NoDelete).await;
    assert!(listed(&no_delete).await);
    let said = refused(&no_delete, json!({"id": made, "confirm": true})).await;
    assert!(said.contains("proxmox-delete-vm is refused: PROXMOX_MODE=no-delete"), "{said}");
    let undone = undo(&no_delete, &changed).await;
    undo(&no_delete, &id(&undone)).await;

    let protect = |safety: &mut Safety| safety.policy.protected = Rules::parse("107").unwrap();
    let protected = with(sandbox, &test.file, protect).await;
    let said = refused(&protected, json!({"id": changed, "confirm": true})).await;
    assert!(said.contains("107") && said.contains("PROXMOX_PROTECT_GUESTS"), "{said}");
}

#[tokio::test(start_paused = true)]
async fn it_is_confirmed_as_the_call_that_takes_it_back() {
    let test = start().await;
    let changed = set(&test, 107, json!({"cores": 4})).await;
    let stopped = test.call("proxmox-stop-vm", json!({"vmid": 100, "wait": true})).await;
    let started = test.call(UNDO, json!({"id": id(&stopped), "wait": true, "timeout": 50})).await;
    assert_eq!(started["state"], "done", "a start is not confirmed: {started}");
    let mode = |mode| move |safety: &mut Safety| safety.confirm.mode = mode;
    let by_plan = with(&test.sandbox, &test.file, mode(confirm::Mode::Plan)).await;
    let asked = by_plan.call(UNDO, json!({"id": changed})).await;
    assert_eq!(asked["state"], "needs_confirmation");
    let done = by_plan.call(UNDO, json!({"id": changed, "confirm": asked["plan_id"]})).await;
    assert_eq!(done["state"], "done", "{done}");
    let last = audit::read(&test.file, 1).unwrap().pop().unwrap();
    assert_eq!((last.begun.confirmed.as_str(), last.begun.undoes.as_deref()), ("plan", Some(changed.as_str())));

    // A person, whom the face asks: with the plan of the call that takes it back.
    let safety = Safety { audit_file: Some(test.file.clone()), ..everything() };
    let mut human = safety.clone();
    human.confirm.mode = confirm::Mode::Human;
    let app = app(&[("default", &test.sandbox)], &human);
    let mut context = Context { person: Person::CanBeAsked, ..Context::default() };
    let arguments = || object(json!({"id": id(&done)}));
    let asked = call::run(&app, UNDO, arguments(), &context).await.unwrap().data;
    assert_eq!(asked["state"], "needs_confirmation", "{asked}");
    context.person = Person::SaidYes(asked["plan_id"].as_str().unwrap().to_owned());
    assert_eq!(call::run(&app, UNDO, arguments(), &context).await.unwrap().data["state"], "done");
    assert_eq!(audit::read(&test.file, 1).unwrap()[0].begun.confirmed, "human");
    context.person = Person::Nobody("nobody is there");
    let last = audit::read(&test.file, 1).unwrap()[0].begun.id.clone();
    let denied = call::run(&app, UNDO, object(json!({"id": last, "confirm": true})), &context).await;
    assert!(denied.is_err_and(|e| e.kind() == Kind::Denied));
}

fn app(clusters: &[(&str, &Sandbox)], safety: &Safety) -> App {
    let cluster = |(name, sandbox): &(&str, &Sandbox)| {
        let config = ClusterConfig { name: (*name).to_owned(), ..proxmox_mcp::embedded::cluster_config(sandbox) };
        Cluster { name: config.name.clone(), client: Client::with_transport(&config, Arc::new((*sandbox).clone())) }
    };
    App::with_clusters(clusters.iter().map(cluster).collect(), safety).unwrap()
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_taken_back_says_why() {
    let test = start().await;
    let changed = set(&test, 107, json!({"cores": 4})).await;
    let undone = id(&undo(&test, &changed).await);
    let said = refused(&test, json!({"id": changed, "confirm": true})).await;
    assert!(said.contains(&format!("it was taken back already, by entry {undone}")), "{said}");
    // After that was taken back in turn, it can be taken back once more.
    undo(&test, &undone).await;
    undo(&test, &changed).await;

    let rebooted = id(&test.call("proxmox-reboot-vm", json!({"vmid": 100, "wait": true})).await);
    let said = refused(&test, json!({"id": rebooted, "confirm": true})).await;
    assert!(said.contains("it cannot be taken back: a reboot cannot be taken back"), "{said}");

    test.fails("proxmox-start-vm", json!({"vmid": 100, "wait": true})).await;
    let failed = audit::read(&test.file, 1).unwrap()[0].begun.id.clone();
    let said = refused(&test, json!({"id": failed, "confirm": true})).await;
    assert!(said.contains("it failed (") && said.contains("sent was POST /nodes/pve1/qemu/100/status/start"), "{said}");

    let made = test.call("proxmox-clone-vm", json!({"source_vmid": 9000, "full": true, "confirm": true})).await;
    let said = refused(&test, json!({"id": id(&made), "confirm": true})).await;
    assert!(said.contains("its task still runs: UPID:"), "{said}");

    let said = refused(&test, json!({"id": "none", "confirm": true})).await;
    assert!(said.contains("no entry 'none' is in"), "{said}");

    // The program was killed half-way: the end is missing.
    let text = std::fs::read_to_string(&test.file).unwrap();
    let (folder, key) = (tempfile::tempdir().unwrap(), test.file.with_extension("jsonl.key"));
    let file = folder.path().join("audit.jsonl");
    std::fs::copy(key, file.with_extension("jsonl.key")).unwrap();
    let first: Vec<&str> = text.lines().take(2).collect();
    std::fs::write(&file, first.join("\n") + "\n").unwrap();
    let entry = audit::read(&file, 1).unwrap()[0].clone();
    assert!(entry.ended.is_none());
    // No head: it is not believed, and nothing is done by it.
    let safety = Safety { audit_file: Some(file.clone()), ..everything() };
    assert!(App::with_clusters(Vec::new(), &safety).is_err());
}

#[tokio::test(start_paused = true)]
async fn a_log_that_was_changed_is_not_believed() {
    let test = start().await;
    let changed = set(&test, 107, json!({"cores": 4})).await;
    let text = std::fs::read_to_string(&test.file).unwrap();
    std::fs::write(&test.file, text.replace("\"cores\":\"1\"", "\"cores\":\"9\"")).unwrap();
    assert_ne!(std::fs::read_to_string(&test.file).unwrap(), text);
    let said = refused(&test, json!({"id": changed, "confirm": true})).await;
    assert!(said.contains("is not what was written: line 3"), "{said}");
}

#[tokio::test(start_paused = true)]
async fn without_a_log_there_is_no_such_tool() {
    let test = support::start(options()).await;
    assert!(!test.mcp.tools().await.unwrap().iter().any(|tool| tool == UNDO));
    let said = test.fails(UNDO, json!({"id": "x", "confirm": true})).await;
    assert!(said.contains("proxmox-undo needs the audit log") && said.contains("PROXMOX_AUDIT_FILE"), "{said}");
    let done = test.call("proxmox-tags-add", json!({"vmid": 107, "tags": ["x"]})).await;
    assert!(done["audit_id"].is_null());
}

#[tokio::test(start_paused = true)]
async fn an_entry_is_taken_back_on_its_own_cluster() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("audit.jsonl");
    let safety = Safety { audit_file: Some(file.clone()), ..everything() };
    let (home, work) = (Sandbox::new(options()), Sandbox::new(options()));
    let both = app(&[("home", &home), ("work", &work)], &safety);
    let run = async |app: &App, tool: &str, args: Value| call::run(app, tool, object(args), &Context::default()).await;
    let args = json!({"vmid": 107, "params": {"cores": 4}, "confirm": true, "cluster": "work"});
    let changed = id(&run(&both, VM, args).await.unwrap().data);
    let (at_home, at_work) = (home.snapshot(), work.snapshot());
    let said = run(&both, UNDO, json!({"id": changed, "confirm": true, "cluster": "home"})).await.unwrap_err();
    assert!(said.to_string().contains("is of 'work', not of 'home'"), "{said}");
    let only = app(&[("home", &home)], &safety);
    let said = run(&only, UNDO, json!({"id": changed, "confirm": true})).await.unwrap_err();
    assert!(said.to_string().contains("the cluster 'work', which is not configured here"), "{said}");
    assert_eq!(work.snapshot(), at_work);
    run(&both, UNDO, json!({"id": changed, "confirm": true})).await.unwrap();
    assert_eq!(home.snapshot(), at_home);
    assert_ne!(work.snapshot(), at_work);
    let last = audit::read(&file, 1).unwrap().pop().unwrap();
    assert_eq!((last.begun.cluster.as_str(), last.begun.undoes.as_deref()), ("work", Some(changed.as_str())));
}

/// What is taken back at once has no conflict with anything: neither waited for nor not.
#[tokio::test(start_paused = true)]
async fn every_example_is_taken_back_by_its_id_or_says_why_not() {
    let mut wrong = Vec::new();
    for wait in [true, false] {
        for entry in proxmox_mcp::tools::all().filter(|entry| entry.control.is_some() && !entry.audited) {
            let test = start().await;
            let mut arguments = object(serde_json::from_str(entry.example.1).unwrap());
            if arguments.get("upid").is_some() {
                continue;
            }
            // Plans of several lanes cannot be left alone: what is not waited for cannot be taken back.
            let lanes = ["provision", "bulk", "evacuate"].contains(&family_of(entry.name));
            arguments.insert("wait".to_owned(), (wait || lanes).into());
            let done = test.call(entry.name, Value::Object(arguments)).await;
            tokio::time::sleep(Duration::from_secs(300)).await;
            let plan = test.mcp.call(UNDO, json!({"id": id(&done), "dry_run": true})).await;
            match plan {
                Err(e) if done["no_undo"].is_string() => {
                    assert!(e.to_string().contains("cannot be taken back"), "{}: {e}", entry.name);
                }
                Ok(plan) if plan["problems"].is_null() => {
                    let undone = test.mcp.call(UNDO, json!({"id": id(&done), "confirm": true, "wait": true})).await;
                    if undone.as_ref().map_or(true, |undone| undone["state"] != "done") {
                        wrong.push(format!("{} (wait: {wait}): {undone:?}", entry.name));
                    }
                }
                plan => wrong.push(format!("{} (wait: {wait}): {plan:?}", entry.name)),
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

fn family_of(tool: &str) -> &'static str {
    let of = |(_, tools): &&(&str, &[proxmox_mcp::tool::Entry])| tools.iter().any(|entry| entry.name == tool);
    proxmox_mcp::tools::FAMILIES.iter().find(of).map_or("", |(family, _)| family)
}
