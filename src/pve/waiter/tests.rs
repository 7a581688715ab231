//! The waiter against a cluster whose tasks end at set times, on a paused clock.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use futures::future::join_all;
use serde_json::json;
use tokio::time::{Instant, sleep};

use super::Waiter;
use crate::{
    error::{Error, Kind, Result},
    progress::{Progress, Update},
    pve::{
        Client, ExitStatus, Upid, WaitOptions, Waited,
        fake::{Answer, Fake, scope},
    },
};

const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);

#[derive(Clone)]
struct Task {
    ends: Duration,
    exit: &'static str,
    log: Vec<&'static str>,
    /// Shown in the node's list of running tasks.
    listed: bool,
}

impl Task {
    fn of(ends: Duration, exit: &'static str) -> Self {
        Self { ends, exit, log: Vec::new(), listed: true }
    }
}

fn upid(n: usize) -> Result<Upid> {
    on_node("pve1", n)
}

fn on_node(node: &str, n: usize) -> Result<Upid> {
    format!("UPID:{node}:{n:08X}:0006D198:6B010091:qmstart:120:root@pam!full:").parse()
}

/// A cluster where tasks began at the time of this call.
fn cluster(latency: Duration, tasks: impl IntoIterator<Item = (Upid, Task)>) -> (Arc<Fake>, Client) {
    let began = Instant::now();
    let tasks: HashMap<String, Task> = tasks.into_iter().map(|(upid, task)| (upid.to_string(), task)).collect();
    Fake::new(latency, move |path| answer(path, began.elapsed(), &tasks))
}

fn answer(path: &str, age: Duration, tasks: &HashMap<String, Task>) -> Answer {
    if let Some((node, _)) = path.trim_start_matches("/nodes/").split_once("/tasks?source=active") {
        let prefix = format!("UPID:{node}:");
        let running = tasks.iter().filter(|(upid, task)| upid.starts_with(&prefix) && task.listed && task.ends > age);
        return Answer::Data(running.map(|(upid, _)| json!({"upid": upid, "status": "RUNNING"})).collect());
    }
    let Some((_, upid)) = path.split_once("/tasks/") else { return Answer::Error(501, "Method not implemented") };
    let (upid, rest) = upid.rsplit_once('/').unwrap_or((upid, ""));
    let Some(task) = tasks.get(upid) else { return Answer::BadParameter("upid", "no such task") };
    if rest == "status" {
        return Answer::Data(if task.ends > age {
            json!({"status": "running", "upid": upid, "pid": "77"})
        } else {
            json!({"status": "stopped", "exitstatus": task.exit, "upid": upid})
        });
    }
    let number = |key: &str| rest.split_once(key).and_then(|(_, n)| n.split('&').next()?.parse::<usize>().ok());
    let (start, limit) = (number("start=").unwrap_or(0), number("limit=").unwrap_or(50));
    let lines = task.log.iter().zip(1..).map(|(t, n)| json!({"n": n, "t": t})).skip(start).take(limit);
    if task.log.is_empty() {
        return Answer::Part(json!([{"n": 1, "t": "no content"}]), 1);
    }
    Answer::Part(lines.collect(), task.log.len())
}

fn options(timeout: Duration) -> WaitOptions {
    WaitOptions { timeout, ..WaitOptions::default() }
}

async fn wait(client: &Client, upid: &Upid, timeout: Duration) -> Result<Waited> {
    Waiter::default().wait(client, upid, &options(timeout), &scope()).await
}

fn done(waited: Result<Waited>) -> Result<super::TaskEnd> {
    match waited? {
        Waited::Done(end) => Ok(end),
        Waited::Running { .. } => Err(Error::internal("still running")),
    }
}

#[tokio::test(start_paused = true)]
async fn a_short_task_is_seen_to_end_within_20_ms() -> Result<()> {
    for ends in [1, 30, 77, 150, 199, 200, 201] {
        let (_, client) = cluster(Duration::ZERO, [(upid(1)?, Task::of(ends * MS, "OK"))]);
        let started = Instant::now();
        let end = done(wait(&client, &upid(1)?, SECOND).await)?;
        let late = started.elapsed() - ends * MS;
        assert!(late <= 20 * MS && end.status == ExitStatus::Ok, "a task of {ends} ms ended {late:?} late");
    }
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_long_task_is_asked_about_seldom_and_ends_at_most_one_interval_late() -> Result<()> {
    let ends = 600 * SECOND + 10 * MS;
    let (fake, client) = cluster(5 * MS, [(upid(1)?, Task::of(ends, "OK"))]);
    let started = Instant::now();
    done(wait(&client, &upid(1)?, 900 * SECOND).await)?;
    let (late, requests) = (started.elapsed() - ends, fake.count(""));
    assert!(late <= 2 * SECOND + 10 * MS, "{late:?}");
    assert!((300..=360).contains(&requests), "{requests}");
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_thousand_waits_on_ten_nodes_cost_ten_requests_a_round() -> Result<()> {
    let nodes: Vec<String> = (0..10).map(|n| format!("pve{n}")).collect();
    let mut upids = Vec::new();
    for n in 0..1000 {
        upids.push(on_node(&nodes[n % 10], n)?);
    }
    let ends = 60 * SECOND;
    let (fake, client) = cluster(5 * MS, upids.iter().map(|u| (u.clone(), Task::of(ends, "OK"))));
    let waiter = Waiter::default();
    let (options, scope) = (options(900 * SECOND), scope());
    let waits = upids.iter().zip(0..).map(|(upid, n): (_, u32)| {
        let (waiter, client, options, scope) = (&waiter, &client, &options, &scope);
        async move {
            // They do not all begin at once.
            sleep(n * MS).await;
            waiter.wait(client, upid, options, scope).await
        }
    });
    let started = Instant::now();
    for waited in join_all(waits).await {
        assert_eq!(done(waited)?.status, ExitStatus::Ok);
    }
    let late = started.elapsed() - ends;
    assert!(late < 3 * SECOND, "{late:?}");
    // In the steady state: one list for each node every 2 s.
    let steady = (started + 30 * SECOND)..(started + 50 * SECOND);
    let asked = fake.asked.lock().map(|a| a.iter().filter(|(at, _)| steady.contains(at)).count()).unwrap_or_default();
    assert!((90..=110).contains(&asked), "{asked} requests in ten rounds");
    // Each task is asked about by itself only when it has left the list, but for the first of each node.
    let status = fake.count("/status");
    assert!((1000..=1020).contains(&status), "{status}");
    assert!(waiter.nodes.lock().is_ok_and(|nodes| nodes.values().all(|n| n.strong_count() == 0)));
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_task_that_the_list_does_not_show_is_asked_for_by_itself() -> Result<()> {
    let hidden = Task { listed: false, ..Task::of(20 * SECOND, "OK") };
    let (fake, client) = cluster(5 * MS, [(upid(1)?, hidden.clone()), (upid(2)?, hidden)]);
    let (waiter, scope, options) = (Waiter::default(), scope(), options(60 * SECOND));
    let (one, two) = (upid(1)?, upid(2)?);
    let (a, b) =
        tokio::join!(waiter.wait(&client, &one, &options, &scope), waiter.wait(&client, &two, &options, &scope));
    done(a)?;
    done(b)?;
    assert!(fake.count("source=active") <= 5, "{}", fake.count("source=active"));
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn the_driver_may_leave_at_any_time_and_the_others_go_on() -> Result<()> {
    let tasks = [(upid(1)?, Task::of(90 * SECOND, "OK")), (upid(2)?, Task::of(10 * SECOND, "OK"))];
    let (_, client) = cluster(50 * MS, tasks);
    let waiter = Arc::new(Waiter::default());
    for gone_after in [10, 45, 70, 130, 1000] {
        let started = Instant::now();
        let (first, second) = (upid(1)?, upid(2)?);
        let (scope, options) = (scope(), options(60 * SECOND));
        let leaver = tokio::time::timeout(gone_after * MS, waiter.wait(&client, &first, &options, &scope));
        let (left, stays) = tokio::join!(leaver, waiter.wait(&client, &second, &options, &scope));
        assert!(left.is_err());
        assert_eq!(done(stays)?.status, ExitStatus::Ok);
        assert!(started.elapsed() < 12 * SECOND, "{:?}", started.elapsed());
        let rounds = waiter.rounds("pve1");
        assert_eq!(rounds.len(), 0);
    }
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn warnings_are_a_success_with_the_warning_lines() -> Result<()> {
    let log = vec!["WARN: no owner of volume a", "removing", "WARN: no owner of volume b", "TASK WARNINGS: 2"];
    let (_, client) = cluster(MS, [(upid(1)?, Task { log, ..Task::of(50 * MS, "WARNINGS: 2") })]);
    let end = done(wait(&client, &upid(1)?, SECOND).await)?;
    assert_eq!(end.status, ExitStatus::Warnings(2));
    assert_eq!(end.warnings, ["no owner of volume a", "no owner of volume b"]);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_failure_has_the_words_and_the_end_of_a_long_log() -> Result<()> {
    let mut log = vec!["noise"; 900];
    log.extend(["create full clone of drive scsi0", "TASK ERROR: no space left on device"]);
    let (fake, client) = cluster(MS, [(upid(1)?, Task { log, ..Task::of(50 * MS, "no space left on device") })]);
    let error = wait(&client, &upid(1)?, SECOND).await.err().ok_or_else(|| Error::internal("no failure"))?;
    let parts = error.parts();
    assert_eq!((parts.kind, parts.message.as_str()), (Kind::TaskFailed, "no space left on device"));
    assert_eq!((parts.log.len(), parts.hint.as_deref()), (15, Some("the storage is full")));
    assert_eq!(parts.log.last().map(String::as_str), Some("TASK ERROR: no space left on device"));
    assert_eq!((parts.upid.clone(), fake.count("/log")), (Some(upid(1)?.to_string()), 2));
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn an_unexpected_status_is_read_again_before_it_is_believed() -> Result<()> {
    let began = Instant::now();
    let (_, client) = Fake::new(MS, move |path| {
        let exit = if began.elapsed() < 100 * MS { "unexpected status" } else { "OK" };
        assert!(path.ends_with("/status"), "{path}");
        Answer::Data(json!({"status": "stopped", "exitstatus": exit}))
    });
    assert_eq!(done(wait(&client, &upid(1)?, 5 * SECOND).await)?.status, ExitStatus::Ok);

    let (_, client) = cluster(MS, [(upid(1)?, Task::of(MS, "unexpected status"))]);
    let error = wait(&client, &upid(1)?, 5 * SECOND).await.err();
    assert_eq!(error.map(|e| e.kind()), Some(Kind::TaskFailed));
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn the_end_of_the_time_is_no_error_and_tells_the_last_line() -> Result<()> {
    let log = vec!["allocated target volume", "transferred 384.0 MiB of 3.0 GiB (12.50%)"];
    let (_, client) = cluster(MS, [(upid(1)?, Task { log, ..Task::of(90 * SECOND, "OK") })]);
    let started = Instant::now();
    let Waited::Running { log, percent, note } = wait(&client, &upid(1)?, 5 * SECOND).await? else {
        return Err(Error::internal("done"));
    };
    assert_eq!((log.as_deref(), percent, note), (Some("transferred 384.0 MiB of 3.0 GiB (12.50%)"), Some(12.5), None));
    assert!(started.elapsed() < 5 * SECOND + 20 * MS);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn without_time_it_is_looked_at_once() -> Result<()> {
    let (_, client) = cluster(MS, [(upid(1)?, Task::of(Duration::ZERO, "OK")), (upid(2)?, Task::of(SECOND, "OK"))]);
    assert_eq!(done(wait(&client, &upid(1)?, Duration::ZERO).await)?.status, ExitStatus::Ok);
    assert!(matches!(wait(&client, &upid(2)?, Duration::ZERO).await?, Waited::Running { .. }));
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_silent_node_is_asked_until_it_answers_again() -> Result<()> {
    let began = Instant::now();
    let (_, client) = Fake::new(MS, move |_| match began.elapsed().as_secs() {
        0 | 20.. => Answer::Data(
            json!({"status": if began.elapsed() > 25 * SECOND { "stopped" } else { "running" }, "exitstatus": "OK"}),
        ),
        _ => Answer::Error(595, "No route to host"),
    });
    let said = Arc::new(Mutex::new(Vec::new()));
    let mut scope = scope();
    let sink = said.clone();
    scope.progress = Progress::to(move |update: Update| {
        if let Ok(mut said) = sink.lock() {
            said.push(update.message);
        }
    });
    let end = done(Waiter::default().wait(&client, &upid(1)?, &options(60 * SECOND), &scope).await)?;
    assert_eq!(end.status, ExitStatus::Ok);
    let said = said.lock().map(|s| s.join("\n")).unwrap_or_default();
    assert!(said.contains("node pve1 does not answer (No route to host") && said.contains("; still trying"), "{said}");
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_node_that_stays_silent_is_running_with_a_note_never_a_guess() -> Result<()> {
    for silence in [|| Answer::Error(596, "Connection timed out"), || Answer::Never, || Answer::Lost] {
        let (_, client) = Fake::new(MS, move |_| silence());
        let started = Instant::now();
        let Waited::Running { note, .. } = wait(&client, &upid(1)?, 100 * SECOND).await? else {
            return Err(Error::internal("done"));
        };
        assert!(note.is_some_and(|n| n.contains("pve1 does not answer")));
        assert!(started.elapsed() < 103 * SECOND);
    }
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn silence_of_one_node_does_not_hold_up_waits_on_another() -> Result<()> {
    let began = Instant::now();
    let (_, client) = Fake::new(MS, move |path| match path.starts_with("/nodes/pve2") {
        true => Answer::Never,
        false => Answer::Data(
            json!({"status": if began.elapsed() > 200 * MS { "stopped" } else { "running" }, "exitstatus": "OK"}),
        ),
    });
    let (waiter, scope, options) = (Waiter::default(), scope(), options(5 * SECOND));
    let (sick, well) = (on_node("pve2", 1)?, upid(1)?);
    let well = async {
        let end = waiter.wait(&client, &well, &options, &scope).await;
        (end, began.elapsed())
    };
    let (_, (end, at)) = tokio::join!(waiter.wait(&client, &sick, &options, &scope), well);
    assert!(done(end)?.status.is_success() && at < 250 * MS, "{at:?}");
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn an_unknown_task_is_said_to_be_unknown() -> Result<()> {
    let (_, client) = cluster(MS, []);
    let error = wait(&client, &upid(1)?, 5 * SECOND).await.err().ok_or_else(|| Error::internal("known"))?;
    assert_eq!((error.kind(), error.to_string().as_str()), (Kind::NotFound, "node pve1 says: no such task"));
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn cancelling_ends_the_waiting_and_names_the_task() -> Result<()> {
    let (_, client) = cluster(MS, [(upid(1)?, Task::of(90 * SECOND, "OK"))]);
    let scope = scope();
    let (waiter, options, task, cancel) = (Waiter::default(), options(60 * SECOND), upid(1)?, scope.cancel.clone());
    let (waited, ()) = tokio::join!(waiter.wait(&client, &task, &options, &scope), async {
        sleep(3 * SECOND).await;
        cancel.cancel();
    });
    let error = waited.err().ok_or_else(|| Error::internal("not cancelled"))?;
    assert_eq!(error.kind(), Kind::Cancelled);
    assert!(error.to_string().contains(task.as_str()) && error.parts().upid.is_some());
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn progress_rises_with_the_log_and_logs_are_read_only_for_who_watches() -> Result<()> {
    let began = Instant::now();
    let handler = move |path: &str| {
        let percent = began.elapsed().as_secs() * 10;
        if path.ends_with("/status") {
            let over = percent >= 100;
            return Answer::Data(json!({"status": if over { "stopped" } else { "running" }, "exitstatus": "OK"}));
        }
        let n = usize::try_from(percent / 10).unwrap_or_default() + 1;
        let start: usize = path.split_once("start=").and_then(|(_, s)| s.split('&').next()?.parse().ok()).unwrap_or(0);
        let lines = (start..n).map(|i| json!({"n": i + 1, "t": format!("transferred x of y ({}.00%)", i * 10)}));
        Answer::Part(lines.collect(), n)
    };
    let (fake, client) = Fake::new(MS, handler);
    let seen = Arc::new(Mutex::new(Vec::new()));
    let sink = seen.clone();
    let mut scope = scope();
    scope.progress = Progress::to(move |update: Update| {
        if let (Ok(mut seen), Some(percent)) = (sink.lock(), update.percent) {
            seen.push(percent);
        }
    });
    done(Waiter::default().wait(&client, &upid(1)?, &options(60 * SECOND), &scope).await)?;
    let seen = seen.lock().map(|s| s.clone()).unwrap_or_default();
    assert!(seen.len() >= 7 && seen.is_sorted() && seen.last() == Some(&100.0), "{seen:?}");
    // Each read begins at the last line known.
    assert!(fake.paths().iter().rfind(|p| p.contains("/log")).is_some_and(|p| !p.contains("start=0")));

    let (fake, client) = Fake::new(MS, handler);
    done(wait(&client, &upid(1)?, 60 * SECOND).await)?;
    assert_eq!(fake.count("/log"), 0);
    Ok(())
}
