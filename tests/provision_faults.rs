//! Ten machines at once, and something goes wrong at each request in turn, or the call is cancelled there: afterwards the
//! cluster is as it was before, or all is done.
#![expect(clippy::unwrap_used, reason = "tests")]

mod support;

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicUsize, Ordering},
};

use bytes::Bytes;
use futures::future::{BoxFuture, join_all};
use http::{Method, Request, Response};
use proxmox_mcp::{
    call::{self, App, Cluster, Context},
    error::Kind,
    pve::{Client, SendError, Transport},
    sandbox::{Fault, FaultKind, Sandbox},
};
use serde_json::{Map, Value, json};
use support::settled;
use tokio_util::sync::CancellationToken;

/// What happens at a write.
#[derive(Clone)]
enum Mishap {
    Fault(FaultKind),
    Cancel(CancellationToken),
}

/// Passes requests on; at the write with this number something happens.
struct Trap {
    sandbox: Sandbox,
    writes: AtomicUsize,
    at: Option<(usize, Mishap)>,
    seen: Mutex<Vec<String>>,
}

impl Transport for Trap {
    fn send(&self, request: Request<Bytes>) -> BoxFuture<'_, Result<Response<Bytes>, SendError>> {
        support::facts::check(&request);
        let path = request.uri().path().trim_start_matches("/api2/json").to_owned();
        if request.method() != Method::GET && path != "/access/ticket" {
            let number = self.writes.fetch_add(1, Ordering::SeqCst);
            self.seen.lock().unwrap().push(format!("{} {path}", request.method()));
            match &self.at {
                Some((at, Mishap::Fault(kind))) if *at == number => {
                    self.sandbox.fault(Fault::new(kind.clone()).on(request.method().clone(), &path).times(1));
                }
                Some((at, Mishap::Cancel(cancel))) if *at == number => cancel.cancel(),
                _ => {}
            }
        }
        self.sandbox.send(request)
    }
}

/// A process of its own, as far as the cluster can tell.
fn process(sandbox: &Sandbox, at: Option<(usize, Mishap)>) -> (App, Arc<Trap>) {
    let config = proxmox_mcp::embedded::cluster_config(sandbox);
    let trap = Arc::new(Trap { sandbox: sandbox.clone(), writes: AtomicUsize::new(0), at, seen: Mutex::default() });
    let client = Client::with_transport(&config, trap.clone());
    let app = App::with_clusters(vec![Cluster { name: config.name, client }], &support::everything()).unwrap();
    (app, trap)
}

async fn call(app: &App, tool: &str, arguments: Value, cancel: CancellationToken) -> Result<Value, (Kind, String)> {
    let Value::Object(arguments) = arguments else { unreachable!("arguments are an object") };
    let context = Context { cancel, ..Context::default() };
    match call::run(app, tool, arguments, &context).await {
        Ok(answer) => Ok(answer.data),
        Err(e) => Err((e.kind(), e.report().to_string())),
    }
}

/// Machines with everything: pool, HA, backup job, tags, a second disk, addresses, a command.
fn wanted(last: u32) -> Value {
    json!({
        "name": format!("web{{01..{last:02}}}"), "template": "9000", "cores": 1, "memory_mb": 1024, "disk_gb": 5,
        "disks": ["nas:2G"], "networks": [{"bridge": "vmbr0", "vlan": 20, "firewall": true}], "user": "ops",
        "ip": ["10.0.0.100-10.0.0.150/24"], "gateway": "10.0.0.1", "pool": "development", "tags": ["web", "test"],
        "description": "made for a test", "ha": true, "backup_job": "some", "run": ["uname -r"], "parallel": 10,
        "linked": true, "poll_interval": 5,
        "confirm": true,
    })
}

/// A cluster with a backup job that names guests.
async fn cluster() -> Sandbox {
    let sandbox = Sandbox::new(support::options());
    let (app, _) = process(&sandbox, None);
    let job = json!({"storage": "nas", "schedule": "daily", "vmids": [105, 106], "id": "some"});
    call(&app, "proxmox-create-backup-job", job, CancellationToken::new()).await.unwrap();
    sandbox
}

/// The first lines in which two states differ.
fn difference(a: &str, b: &str) -> String {
    let at = a.lines().zip(b.lines()).position(|(a, b)| a != b).unwrap_or_default();
    let some = |text: &str| text.lines().skip(at.saturating_sub(3)).take(12).collect::<Vec<_>>().join("\n");
    format!("before:\n{}\nafter:\n{}", some(a), some(b))
}

/// Holds a finished cluster to what was wanted: each machine is there with all that belongs to it.
async fn finished(sandbox: &Sandbox, count: usize, why: &str) {
    // Until the statistics daemon has seen them.
    tokio::time::sleep(std::time::Duration::from_secs(30)).await;
    let (app, _) = process(sandbox, None);
    let none = CancellationToken::new;
    let rows =
        call(&app, "proxmox-api-get", json!({"path": "/cluster/resources", "params": {"type": "vm"}}), none()).await;
    let rows = rows.unwrap();
    let rows: Vec<Map<String, Value>> = serde_json::from_value(rows["data"].clone()).unwrap();
    let web = |row: &&Map<String, Value>| {
        row["name"].as_str().is_some_and(|name| name.starts_with("web0") || name == "web10")
    };
    let machines: Vec<&Map<String, Value>> =
        rows.iter().filter(web).filter(|row| row["vmid"].as_u64() > Some(111)).collect();
    assert_eq!(machines.len(), count, "{why}");
    let state = sandbox.snapshot();
    for machine in machines {
        assert_eq!((&machine["pool"], &machine["status"]), (&json!("development"), &json!("running")), "{why}");
        let vmid = machine["vmid"].as_u64().unwrap();
        for part in [format!("\"vm:{vmid}\""), format!("nas:{vmid}/vm-{vmid}-disk-1")] {
            assert!(state.contains(&part), "{why}: {part} is missing");
        }
    }
}

const KINDS: [fn() -> FaultKind; 6] = [
    || FaultKind::TaskFailure("no space left on device".to_owned()),
    || FaultKind::Status595,
    || FaultKind::Status596,
    || FaultKind::Drop,
    || FaultKind::LockTimeout,
    || FaultKind::Refuse,
];

/// The writes of a call that nothing happens to.
async fn writes(machines: u32) -> usize {
    let sandbox = cluster().await;
    let (app, trap) = process(&sandbox, None);
    let done = call(&app, "proxmox-provision-vm", wanted(machines), CancellationToken::new()).await;
    assert_eq!(done.as_ref().map(|done| done["state"].clone()), Ok(json!("done")), "{done:?}");
    finished(&sandbox, machines as usize, "nothing happened").await;
    let seen = trap.seen.lock().unwrap().clone();
    // Six for each machine, and the job.
    assert_eq!(seen.len(), 6 * machines as usize + 1, "{seen:#?}");
    seen.len()
}

/// Something goes wrong at each of these writes of ten machines in turn.
async fn failing_at(writes: impl Iterator<Item = usize>) {
    let (mut failed, mut done) = (0, 0);
    for at in writes {
        // Ten machines do each step about at the same time, so each kind of fault meets each step.
        let kind = KINDS[at % KINDS.len()]();
        let why = format!("{kind:?} at write {at}");
        let sandbox = cluster().await;
        let before = settled(&sandbox);
        let (app, trap) = process(&sandbox, Some((at, Mishap::Fault(kind))));
        match call(&app, "proxmox-provision-vm", wanted(10), CancellationToken::new()).await {
            Ok(_) => {
                done += 1;
                finished(&sandbox, 10, &why).await;
            }
            Err((_, said)) => {
                failed += 1;
                let after = settled(&sandbox);
                let seen = trap.seen.lock().unwrap().get(at).cloned();
                assert!(before == after, "{why} ({seen:?}): {said}\n{}", difference(&before, &after));
            }
        }
    }
    assert!(failed > 5 && done > 5, "{failed} failed, {done} done");
}

const TEN: usize = 61;

#[tokio::test(start_paused = true)]
async fn whatever_fails_while_ten_machines_are_made_nothing_is_left_between() {
    assert_eq!(writes(10).await, TEN);
    failing_at(0..TEN / 2).await;
}

#[tokio::test(start_paused = true)]
async fn whatever_fails_while_ten_machines_are_made_ready_nothing_is_left_between() {
    failing_at(TEN / 2..TEN).await;
}

#[tokio::test(start_paused = true)]
async fn cancelled_at_whatever_request_nothing_is_left_between() {
    for at in 0..writes(3).await {
        let sandbox = cluster().await;
        let before = settled(&sandbox);
        let cancel = CancellationToken::new();
        let (app, _) = process(&sandbox, Some((at, Mishap::Cancel(cancel.clone()))));
        let outcome = call(&app, "proxmox-provision-vm", wanted(3), cancel).await;
        app.lasting().close();
        app.lasting().wait().await;
        let after = settled(&sandbox);
        match outcome {
            Ok(_) => finished(&sandbox, 3, &format!("cancelled at write {at}")).await,
            Err((_, said)) => {
                assert!(before == after, "cancelled at write {at}: {said}\n{}", difference(&before, &after));
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn callers_of_two_processes_that_ask_for_free_vmids_at_once_never_collide() {
    let sandbox = cluster().await;
    let processes = [process(&sandbox, None).0, process(&sandbox, None).0];
    let calls = (0..10).map(|i| {
        let arguments = json!({
            "name": format!("web{:02}", i + 1), "template": "9000", "pool": "development", "ha": true,
            "disks": ["nas:2G"], "backup_job": "some", "confirm": true,
        });
        call(&processes[i % 2], "proxmox-provision-vm", arguments, CancellationToken::new())
    });
    let done: Vec<Value> = join_all(calls).await.into_iter().map(|outcome| outcome.unwrap()).collect();
    let mut vmids: Vec<u64> = done.iter().map(|done| done["result"]["machines"][0]["vmid"].as_u64().unwrap()).collect();
    vmids.sort_unstable();
    vmids.dedup();
    assert_eq!(vmids.len(), 10, "{vmids:?}");
    finished(&sandbox, 10, "ten callers").await;
    // Each is in the backup job, although all of them changed it.
    let jobs = call(&processes[0], "proxmox-list-backup-jobs", json!({}), CancellationToken::new()).await.unwrap();
    let some = jobs["jobs"].as_array().unwrap().iter().find(|job| job["id"] == "some").unwrap();
    let mut listed: Vec<u64> = some["guests"].as_str().unwrap().split(',').map(|vmid| vmid.parse().unwrap()).collect();
    listed.sort_unstable();
    assert_eq!(listed, [&[105, 106], vmids.as_slice()].concat());
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_taken_back_is_said_exactly() {
    let sandbox = cluster().await;
    let before = settled(&sandbox);
    sandbox.fault(
        Fault::new(FaultKind::TaskFailure("no bootable device".to_owned()))
            .on(Method::POST, "/nodes/*/qemu/*/status/start")
            .times(1),
    );
    let never =
        Fault::new(FaultKind::TaskFailure("dataset is busy".to_owned())).on(Method::DELETE, "/nodes/pve1/qemu/112");
    sandbox.fault(never);
    let (app, _) = process(&sandbox, None);
    let arguments = json!({"name": "web{01..02}", "template": "9000", "node": "pve1", "confirm": true});
    let context = Context::default();
    let error = call::run(&app, "proxmox-provision-vm", arguments.as_object().unwrap().clone(), &context).await;
    let error = error.unwrap_err();
    let said = error.to_string();
    assert!(
        said.contains("no bootable device") && said.contains("not everything could be taken back: web01"),
        "{said}"
    );
    let rows = &error.parts().report;
    assert_eq!((&rows["left"], &rows["rolled_back"]), (&json!(1), &json!(1)), "{rows:?}");
    let not_undone = rows["machines"][0]["not_undone"].to_string();
    assert!(
        not_undone.contains("DELETE /nodes/pve1/qemu/112") && not_undone.contains("dataset is busy"),
        "{not_undone}"
    );
    sandbox.clear_faults();
    call(&app, "proxmox-deprovision", json!({"vmids": [112], "confirm": true}), CancellationToken::new())
        .await
        .unwrap();
    let after = settled(&sandbox);
    assert!(before == after, "{}", difference(&before, &after));
}

#[tokio::test(start_paused = true)]
async fn what_is_kept_is_told() {
    let sandbox = cluster().await;
    let fault = Fault::new(FaultKind::TaskFailure("no bootable device".to_owned()));
    sandbox.fault(fault.on(Method::POST, "/nodes/*/qemu/113/status/start"));
    let (app, _) = process(&sandbox, None);
    let mut arguments = wanted(3);
    arguments["on_failure"] = json!("keep");
    arguments["vmid"] = json!("112-120");
    let context = Context::default();
    let error = call::run(&app, "proxmox-provision-vm", arguments.as_object().unwrap().clone(), &context).await;
    let error = error.unwrap_err();
    assert!(error.to_string().contains("starting web02: no bootable device"), "{error}");
    let rows = &error.parts().report;
    let states: Vec<&Value> = rows["machines"].as_array().unwrap().iter().map(|row| &row["state"]).collect();
    assert_eq!(states, ["done", "failed", "done", "done"], "{rows:?}");
    let stands = rows["machines"][1]["stands"].to_string();
    assert!(stands.contains("cloning web02") && !stands.contains("starting"), "{stands}");
}
