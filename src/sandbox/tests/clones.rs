//! The path that the whole thing is for: a template is cloned, the clone started; and the ways it can go wrong.

use std::time::Duration;

use super::*;

async fn upid(sandbox: &Sandbox, line: &str, params: &str) -> String {
    call(sandbox, line, params).await.data().as_str().unwrap().to_owned()
}

/// Waits for a task and gives its end and its log.
async fn end(sandbox: &Sandbox, upid: &str) -> (String, Vec<String>) {
    let node = upid.split(':').nth(1).unwrap();
    let base = format!("GET /nodes/{node}/tasks/{}", crate::pve::encode(upid));
    for _ in 0..600 {
        let status = call(sandbox, &format!("{base}/status"), "").await;
        if let Some(status) = status.data()["exitstatus"].as_str() {
            let log = call(sandbox, &format!("{base}/log"), "limit=0").await;
            let lines = log.data().as_array().unwrap().iter().map(|line| line["t"].as_str().unwrap().to_owned());
            return (status.to_owned(), lines.collect());
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    (String::new(), Vec::new())
}

#[tokio::test(start_paused = true)]
async fn a_template_is_cloned_with_progress_and_the_clone_runs() {
    let sandbox = cluster(|_| {});
    let id = call(&sandbox, "GET /cluster/nextid", "").await.data().as_str().unwrap().to_owned();
    let clone = upid(&sandbox, "POST /nodes/pve1/qemu/9000/clone", &format!("newid={id}&name=fresh&full=1")).await;
    let (status, log) = end(&sandbox, &clone).await;
    assert_eq!(status, "OK");
    assert_eq!(log[0], format!("creating a clone of VM 9000 with ID {id}"));
    let percents = log.iter().filter(|line| line.starts_with("transferred "));
    assert!(percents.clone().count() > 2, "{log:?}");
    assert!(percents.clone().next_back().unwrap().ends_with("of 3.0 GiB (100.00%)"), "{log:?}");
    let start = upid(&sandbox, &format!("POST /nodes/pve1/qemu/{id}/status/start"), "").await;
    assert_eq!(end(&sandbox, &start).await.0, "OK");
    let now = call(&sandbox, &format!("GET /nodes/pve1/qemu/{id}/status/current"), "").await;
    assert_eq!((&now.data()["status"], &now.data()["name"]), (&"running".into(), &"fresh".into()));
}

#[tokio::test(start_paused = true)]
async fn a_task_that_is_told_to_fail_leaves_the_cluster_as_it_was() {
    let sandbox = cluster(|options| {
        options.faults = vec!["task-failure=disk full:POST /nodes/*/qemu/*/status/start".parse().unwrap()]
    });
    let stopped = sandbox.state().guests().values().find(|guest| !guest.is_running()).map(|guest| guest.vmid).unwrap();
    let node = sandbox.state().guests()[&stopped].node.clone();
    let start = upid(&sandbox, &format!("POST /nodes/{node}/qemu/{stopped}/status/start"), "").await;
    let (status, log) = end(&sandbox, &start).await;
    assert_eq!((status.as_str(), log.last().unwrap().as_str()), ("disk full", "TASK ERROR: disk full"));
    assert!(!sandbox.state().guests()[&stopped].is_running());
}

#[tokio::test(start_paused = true)]
async fn a_held_lock_makes_a_change_wait_ten_seconds_and_fail() {
    let sandbox =
        cluster(|options| options.faults = vec!["lock-timeout:PUT /nodes/*/qemu/100/config:count=1".parse().unwrap()]);
    let before = tokio::time::Instant::now();
    let got = call(&sandbox, "PUT /nodes/pve1/qemu/100/config", "cores=3").await;
    assert_eq!(got.refusal(), (500, "can't lock file '/var/lock/qemu-server/lock-100.conf' - got timeout"));
    assert_eq!(before.elapsed().as_secs(), 10);
    assert_eq!(call(&sandbox, "PUT /nodes/pve1/qemu/100/config", "cores=3").await.data(), &Value::Null);
}

#[tokio::test(start_paused = true)]
async fn fifty_clones_at_once_all_get_their_own_vmid() {
    let sandbox = cluster(|_| {});
    let all = (0..50).map(async |n| {
        let clone = upid(&sandbox, "POST /nodes/pve1/qemu/9000/clone", &format!("newid={}", 500 + n)).await;
        end(&sandbox, &clone).await.0
    });
    let ends = futures::future::join_all(all).await;
    let good = ends.iter().filter(|status| *status == "OK").count();
    let timeouts = ends.iter().filter(|status| status.contains("got timeout")).count();
    assert_eq!(good + timeouts, 50, "{ends:?}");
    let made = sandbox.state().guests().range(500..550).count();
    assert_eq!(made, good);
}
