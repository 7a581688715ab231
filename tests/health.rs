//! Whether the program can work, asked by those who look after it: told in time, and without bothering Proxmox.
#![expect(clippy::unwrap_used, reason = "tests")]

mod support;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use futures::future::join_all;
use http::Method;
use proxmox_mcp::{
    config::{Auth, KeySource, Web},
    ending::Ending,
    sandbox::{Fault, FaultKind, Sandbox},
    web::{Health, Reached, Readiness},
};
use secrecy::ExposeSecret;
use serde_json::{Value, json};
use support::{Test, config, options, start, web};
use tokio::time::{Instant, advance};

fn health(test: &Test) -> Health {
    Health::new(Arc::clone(&test.app), &Ending::default())
}

fn only(reached: Reached) -> Readiness {
    Readiness { ready: reached == Reached::Ok, clusters: BTreeMap::from([("default".to_owned(), reached)]) }
}

/// How often Proxmox was asked.
fn looks(test: &Test) -> usize {
    test.sent.matching(|_, path| path == "/version").len()
}

#[tokio::test(start_paused = true)]
async fn however_many_ask_proxmox_is_asked_once_in_five_seconds() {
    let test = start(options()).await;
    let health = health(&test);
    let all = join_all((0..200).map(|_| health.readiness())).await;
    assert!(all.iter().all(|readiness| *readiness == only(Reached::Ok)), "{all:?}");
    assert_eq!(looks(&test), 1);
    advance(Duration::from_millis(4900)).await;
    health.readiness().await;
    assert_eq!(looks(&test), 1);
    advance(Duration::from_millis(200)).await;
    health.readiness().await;
    assert_eq!(looks(&test), 2);
}

#[tokio::test(start_paused = true)]
async fn those_who_ask_and_go_do_not_have_proxmox_asked_again() {
    let test = start(options()).await;
    test.sandbox.fault(Fault::new(FaultKind::Stall).on(Method::GET, "/version"));
    let health = health(&test);
    for _ in 0..20 {
        assert!(tokio::time::timeout(Duration::from_millis(10), health.readiness()).await.is_err());
    }
    assert_eq!(looks(&test), 1);
}

#[tokio::test(start_paused = true)]
async fn a_cluster_that_cannot_be_reached_is_ready_again_when_it_can() {
    let test = start(options()).await;
    let health = health(&test);
    test.sandbox.fault(Fault::new(FaultKind::Refuse));
    assert_eq!(health.readiness().await, only(Reached::Unreachable));
    test.sandbox.clear_faults();
    assert_eq!(health.readiness().await, only(Reached::Unreachable), "as it was a moment ago");
    advance(Duration::from_secs(5)).await;
    assert_eq!(health.readiness().await, only(Reached::Ok));
}

#[tokio::test(start_paused = true)]
async fn a_look_that_nobody_waited_for_is_not_told_hours_later() {
    let test = start(options()).await;
    test.sandbox.fault(Fault::new(FaultKind::Stall).on(Method::GET, "/version"));
    let health = health(&test);
    assert!(tokio::time::timeout(Duration::from_millis(10), health.readiness()).await.is_err());
    test.sandbox.clear_faults();
    advance(Duration::from_secs(3600)).await;
    assert_eq!(health.readiness().await, only(Reached::Ok));
}

#[tokio::test(start_paused = true)]
async fn a_cluster_that_does_not_answer_is_not_waited_for_long() {
    let test = start(options()).await;
    test.sandbox.fault(Fault::new(FaultKind::Stall).on(Method::GET, "/version"));
    let began = Instant::now();
    assert_eq!(health(&test).readiness().await, only(Reached::Unreachable));
    assert_eq!(began.elapsed(), Duration::from_millis(4500));
}

#[tokio::test(start_paused = true)]
async fn a_login_that_is_refused_is_not_repeated_for_half_a_minute() {
    let sandbox = Sandbox::new(options());
    let known = sandbox.credentials();
    let (username, password) = (known.username.clone(), known.password.clone());
    let auth = Auth::Password { username: username.clone(), password: "hunter2hunter2".to_owned().into(), totp: None };
    let test = support::with(sandbox.clone(), config(&sandbox, auth)).await;
    let health = health(&test);
    let logins = || test.sent.matching(|_, path| path == "/access/ticket").len();
    assert_eq!(health.readiness().await, only(Reached::Unauthorized));
    advance(Duration::from_secs(29)).await;
    assert_eq!(health.readiness().await, only(Reached::Unauthorized));
    assert_eq!(logins(), 1);
    sandbox.by_hand().password(&username, "hunter2hunter2");
    advance(Duration::from_secs(1)).await;
    assert_eq!(health.readiness().await, only(Reached::Ok));
    assert_ne!(password.expose_secret(), "hunter2hunter2");
}

#[tokio::test(start_paused = true)]
async fn a_token_that_was_replaced_is_not_ready() {
    let sandbox = Sandbox::new(options());
    let id = sandbox.credentials().token_id.clone();
    let secret = sandbox.credentials().token_secret.expose_secret().to_owned();
    let test = support::with(sandbox.clone(), proxmox_mcp::embedded::cluster_config(&sandbox)).await;
    let health = health(&test);
    sandbox.by_hand().token(&id, "00000000-0000-4000-8000-000000000000");
    assert_eq!(health.readiness().await, only(Reached::Unauthorized));
    sandbox.by_hand().token(&id, &secret);
    advance(Duration::from_secs(30)).await;
    assert_eq!(health.readiness().await, only(Reached::Ok));
}

#[tokio::test(start_paused = true)]
async fn a_server_that_ends_is_not_ready_and_asks_nobody() {
    let test = start(options()).await;
    let ending = Ending::default();
    let health = Health::new(Arc::clone(&test.app), &ending);
    ending.begun.cancel();
    assert_eq!(health.readiness().await, Readiness { ready: false, clusters: BTreeMap::new() });
    assert_eq!(looks(&test), 0);
}

#[tokio::test]
async fn readiness_is_a_status_and_a_word_for_each_cluster() {
    let server = web::serve().await;
    server.sandbox.fault(Fault::new(FaultKind::Refuse));
    let answer = server.http.get(server.at("/readyz")).send().await.unwrap();
    assert_eq!(answer.status(), 503);
    let told: Value = answer.json().await.unwrap();
    assert_eq!(told, json!({"ready": false, "clusters": {"default": "unreachable"}}));
    // It lives all the same.
    assert_eq!(server.http.get(server.at("/livez")).send().await.unwrap().status(), 200);

    let server = web::serve().await;
    let answer = server.http.get(server.at("/readyz")).send().await.unwrap();
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.text().await.unwrap(), r#"{"ready":true,"clusters":{"default":"ok"}}"#);
}

#[tokio::test]
async fn figures_are_for_those_who_have_a_key_and_health_is_for_everybody() {
    let key = "a-key-for-this-test-only";
    let web = Web { keys: Some(KeySource::Text(key.to_owned().into())), ..Web::default() };
    let server = web::serve_with(web, support::everything(), options()).await;
    for (path, status) in [("/livez", 200), ("/readyz", 200), ("/metrics", 401)] {
        assert_eq!(server.http.get(server.at(path)).send().await.unwrap().status(), status, "{path}");
    }
    let answer = server.http.get(server.at("/metrics")).bearer_auth(key).send().await.unwrap();
    assert_eq!(answer.status(), 200);
    // Refused, it counts all the same.
    let refused = r#"http_requests_total{route="/metrics",method="GET",status="401"} 1"#;
    assert!(answer.text().await.unwrap().contains(refused));
}
