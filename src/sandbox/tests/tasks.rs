//! Tasks, the statistics daemon, faults.

use std::time::Duration;

use http::Method;

use super::*;
use crate::{
    pve::SendError,
    sandbox::{Fault, FaultKind},
};

const STATUS: &str = "GET /nodes/pve1/tasks";

/// Begins a task (a service's restart) and gives its UPID.
async fn restart(sandbox: &Sandbox) -> String {
    let got = call(sandbox, "POST /nodes/pve1/services/cron/restart", "").await;
    got.data().as_str().unwrap().to_owned()
}

async fn status(sandbox: &Sandbox, upid: &str) -> Value {
    call(sandbox, &format!("{STATUS}/{}/status", crate::pve::encode(upid)), "").await.data().clone()
}

#[tokio::test(start_paused = true)]
async fn a_task_runs_and_ends_and_says_so_in_its_status_and_log() {
    let sandbox = cluster(|_| {});
    let upid = restart(&sandbox).await;
    assert!(upid.starts_with("UPID:pve1:") && upid.ends_with(":srvrestart:cron:root@pam!sandbox:"), "{upid}");
    let log = format!("{STATUS}/{}/log", crate::pve::encode(&upid));
    let running = status(&sandbox, &upid).await;
    assert_eq!((&running["status"], running.get("exitstatus")), (&"running".into(), None));
    assert_eq!(call(&sandbox, &log, "").await.data()[0]["t"], "no content");
    let active = call(&sandbox, STATUS, "source=active").await;
    assert_eq!(active.data()[0]["status"], "RUNNING");
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(status(&sandbox, &upid).await["exitstatus"], "OK");
    assert_eq!(call(&sandbox, &log, "").await.data()[0]["t"], "TASK OK");
    assert_eq!(call(&sandbox, STATUS, "limit=1").await.data()[0]["upid"], upid);
}

#[tokio::test(start_paused = true)]
async fn a_stopped_task_ends_with_an_unexpected_status() {
    let sandbox = cluster(|_| {});
    let upid = restart(&sandbox).await;
    let line = format!("DELETE /nodes/pve1/tasks/{}", crate::pve::encode(&upid));
    assert_eq!(call(&sandbox, &line, "").await.data(), &Value::Null);
    assert_eq!(status(&sandbox, &upid).await["exitstatus"], "unexpected status");
}

#[tokio::test(start_paused = true)]
async fn an_unknown_task_is_a_wrong_parameter_but_its_log_is_an_answer() {
    let sandbox = cluster(|_| {});
    let upid = "UPID:pve1:00000001:00000001:00000001:qmstart:100:root@pam:";
    let got = call(&sandbox, &format!("{STATUS}/{upid}/status"), "").await;
    assert_eq!((got.status, &got.body["errors"]["upid"]), (400, &"no such task".into()));
    assert_eq!(call(&sandbox, &format!("{STATUS}/{upid}/log"), "").await.body["total"], 1);
}

#[tokio::test(start_paused = true)]
async fn a_task_may_be_made_to_fail_or_to_warn() {
    let sandbox = cluster(|_| {});
    sandbox.fault("task-failure=out of luck:POST /nodes/*/services/**:count=1".parse().unwrap());
    let failed = restart(&sandbox).await;
    sandbox.fault(Fault::new(FaultKind::TaskWarnings(2)).times(1));
    let warned = restart(&sandbox).await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(status(&sandbox, &failed).await["exitstatus"], "out of luck");
    assert_eq!(status(&sandbox, &warned).await["exitstatus"], "WARNINGS: 2");
}

#[tokio::test(start_paused = true)]
async fn the_cluster_hears_of_a_new_name_in_the_next_round_of_the_statistics_daemon() {
    let sandbox = cluster(|_| {});
    sandbox.state().guest_mut(100).unwrap().config.set("name", "renamed");
    let name = async || call(&sandbox, "GET /cluster/resources", "type=vm").await.data()[0]["name"].clone();
    assert_eq!(name().await, "web-01");
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert_eq!(name().await, "renamed");
}

#[tokio::test(start_paused = true)]
async fn a_new_guest_is_listed_without_a_name_at_first() {
    let sandbox = cluster(|_| {});
    let guest = crate::sandbox::guest::Guest { vmid: 777, shown: None, ..sandbox.state().guests()[&100].clone() };
    sandbox.state().add_guest(guest);
    let row = async || {
        let got = call(&sandbox, "GET /cluster/resources", "type=vm").await;
        got.data().as_array().unwrap().iter().find(|row| row["vmid"] == 777).unwrap().clone()
    };
    let at_first = row().await;
    assert_eq!((&at_first["status"], at_first.get("name")), (&"unknown".into(), None));
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert_eq!(row().await["name"], "web-01");
}

#[tokio::test(start_paused = true)]
async fn an_offline_node_answers_595_and_its_guests_are_unknown() {
    let sandbox = cluster(|options| options.faults = vec!["offline-node=pve2".parse().unwrap()]);
    assert_eq!(call(&sandbox, "GET /nodes/pve2/status", "").await.refusal(), (595, "No route to host"));
    let nodes = call(&sandbox, "GET /nodes", "").await;
    assert_eq!(nodes.data()[1]["status"], "offline");
    let guests = call(&sandbox, "GET /cluster/resources", "type=vm").await;
    let there = guests.data().as_array().unwrap().iter().filter(|row| row["node"] == "pve2");
    assert!(there.into_iter().all(|row| row["status"] == "unknown"));
    sandbox.set_online("pve2", true);
    assert_eq!(call(&sandbox, "GET /nodes/pve2/status", "").await.status, 200);
}

#[tokio::test(start_paused = true)]
async fn refused_and_lost_requests_are_told_apart_and_only_the_lost_one_was_processed() {
    let sandbox = cluster(|_| {});
    let send = async |pool: &str| {
        let (name, value) = root(&sandbox);
        let request = Request::post("/api2/json/pools").header(name, value);
        sandbox.handle(request.body(Bytes::from(format!("poolid={pool}"))).unwrap()).await
    };
    sandbox.fault(Fault::new(FaultKind::Refuse).on(Method::POST, "/pools").times(1));
    assert!(matches!(send("refused").await, Err(SendError::NeverSent(_))));
    sandbox.fault("drop-after-sending:POST /pools:count=1".parse().unwrap());
    assert!(matches!(send("lost").await, Err(SendError::Lost(_))));
    let pools = call(&sandbox, "GET /pools", "").await;
    let names: Vec<_> = pools.data().as_array().unwrap().iter().map(|pool| pool["poolid"].as_str().unwrap()).collect();
    assert_eq!(names, ["archive", "development", "lost", "production"]);
}

#[tokio::test(start_paused = true)]
async fn a_proxy_may_give_up_before_or_after_the_work_is_done() {
    let sandbox = cluster(|_| {});
    sandbox.fault("595:POST /pools:count=1".parse().unwrap());
    assert_eq!(call(&sandbox, "POST /pools", "poolid=a").await.refusal(), (595, "Connection refused"));
    sandbox.fault("596:POST /pools:count=1".parse().unwrap());
    assert_eq!(call(&sandbox, "POST /pools", "poolid=b").await.refusal(), (596, "Connection timed out"));
    let state = sandbox.state();
    assert_eq!((state.pools.contains_key("a"), state.pools.contains_key("b")), (false, true));
}

#[tokio::test(start_paused = true)]
async fn a_stalled_request_gets_no_answer() {
    let sandbox = cluster(|_| {});
    sandbox.fault("stall:GET /version".parse().unwrap());
    let call = call(&sandbox, "GET /version", "");
    assert!(tokio::time::timeout(Duration::from_secs(3_600), call).await.is_err());
}

#[test]
fn a_fault_that_nobody_knows_is_refused_with_the_list_of_those_there_are() {
    let error = "explode".parse::<Fault>().unwrap_err();
    assert!(error.contains("drop-after-sending"), "{error}");
    let wanted = Fault::new(FaultKind::Stall).on(Method::GET, "/cluster/resources").times(1);
    assert_eq!("stall:GET /cluster/resources:count=1".parse::<Fault>(), Ok(wanted));
}

#[tokio::test(start_paused = true)]
async fn the_clock_may_run_faster() {
    let sandbox = cluster(|options| options.time_scale = 100.0);
    let upid = restart(&sandbox).await;
    tokio::time::sleep(Duration::from_millis(9)).await;
    assert_eq!(status(&sandbox, &upid).await["exitstatus"], "OK");
}
