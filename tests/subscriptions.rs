//! Subscriptions to resources, as both eras have them: what is told, what is not, and that nothing is asked when nobody
//! listens.
#![expect(clippy::unwrap_used, reason = "tests")]

mod mcp_client;
mod support;

use std::{sync::Arc, time::Duration};

use mcp_client::{Client, Era, connect, join, refusal};
use proxmox_mcp::{
    mcp::Server,
    sandbox::{Fault, FaultKind},
};
use rmcp::{
    model::{ServerNotification, SubscribeRequestParams, SubscriptionFilter, UnsubscribeRequestParams},
    service::Subscription,
};
use serde_json::json;
use support::{Test, options, start};
use tokio::time::{sleep, timeout};

const GUEST: &str = "proxmox://default/guest/107";

async fn subscribe(client: &Client, uri: &str) {
    #[expect(deprecated, reason = "that is the era")]
    client.service.subscribe(SubscribeRequestParams::new(uri)).await.unwrap();
}

async fn unsubscribe(client: &Client, uri: &str) {
    #[expect(deprecated, reason = "that is the era")]
    client.service.unsubscribe(UnsubscribeRequestParams::new(uri)).await.unwrap();
}

async fn listen(client: &Client, uris: &[&str]) -> Subscription {
    let mut filter = SubscriptionFilter::new();
    filter.resource_subscriptions = Some(uris.iter().map(|uri| (*uri).to_owned()).collect());
    client.service.listen(filter).await.unwrap()
}

/// The URI of the next notification; nothing where none comes in time.
async fn next(subscription: &mut Subscription, seconds: u64) -> Option<String> {
    match timeout(Duration::from_secs(seconds), subscription.next()).await {
        Ok(Ok(Some(ServerNotification::ResourceUpdatedNotification(note)))) => Some(note.params.uri),
        _ => None,
    }
}

async fn start_guest(test: &Test) {
    test.call("proxmox-start-vm", json!({"vmid": 107, "wait": true})).await;
}

/// That nothing is asked of the cluster for a minute.
async fn assert_silence(test: &Test) {
    sleep(Duration::from_millis(100)).await;
    test.sent.forget();
    sleep(Duration::from_secs(60)).await;
    assert_eq!(test.sent.count(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_started_guest_is_told_once_and_nothing_is_asked_after_the_last_unsubscribe() {
    let test = start(options()).await;
    let client = connect(&test.app, Era::Legacy).await;
    subscribe(&client, GUEST).await;
    subscribe(&client, GUEST).await;
    sleep(Duration::from_secs(60)).await;
    assert!(client.updated.lock().unwrap().is_empty(), "uptime and load are no news");
    start_guest(&test).await;
    sleep(Duration::from_secs(60)).await;
    assert_eq!(*client.updated.lock().unwrap(), [GUEST]);
    assert!(test.sent.count() > 10);
    unsubscribe(&client, GUEST).await;
    assert_silence(&test).await;
}

#[tokio::test(start_paused = true)]
async fn a_stream_tells_of_its_resources_and_nothing_is_asked_after_it_is_closed() {
    let test = start(options()).await;
    let client = connect(&test.app, Era::Modern).await;
    let other = "proxmox://default/guest/108/config";
    let mut stream = listen(&client, &[GUEST, "proxmox://default/nodes", other, "file:///etc/passwd"]).await;
    let accepted = stream.acknowledged().resource_subscriptions.clone().unwrap();
    assert_eq!(accepted, [GUEST, "proxmox://default/nodes", other]);
    assert_eq!(next(&mut stream, 60).await, None);
    start_guest(&test).await;
    assert_eq!(next(&mut stream, 6).await.as_deref(), Some(GUEST));
    assert_eq!(next(&mut stream, 60).await, None);
    stream.cancel().await.unwrap();
    assert_silence(&test).await;
}

#[tokio::test(start_paused = true)]
async fn a_client_that_goes_away_is_no_subscriber() {
    let test = start(options()).await;
    for era in mcp_client::ERAS {
        let client = connect(&test.app, era).await;
        let stream = match era {
            Era::Legacy => {
                subscribe(&client, GUEST).await;
                None
            }
            Era::Modern => Some(listen(&client, &[GUEST]).await),
        };
        sleep(Duration::from_secs(12)).await;
        test.sent.forget();
        drop(stream);
        client.service.cancel().await.unwrap();
        sleep(Duration::from_secs(6)).await;
        assert_silence(&test).await;
    }
}

#[tokio::test(start_paused = true)]
async fn all_connections_share_one_poller() {
    let test = start(options()).await;
    let server = Server::new(Arc::clone(&test.app));
    let (one, two) = (join(&server, Era::Legacy).await, join(&server, Era::Modern).await);
    let rounds = async || {
        test.sent.forget();
        sleep(Duration::from_secs(32)).await;
        test.sent.matching(|_, path| path == "/nodes/pve2/status").len()
    };
    let node = "proxmox://default/node/pve2";
    subscribe(&one, node).await;
    let alone = rounds().await;
    let mut stream = listen(&two, &[node]).await;
    let both = rounds().await;
    unsubscribe(&one, node).await;
    assert!(alone >= 6 && both.abs_diff(alone) <= 1 && rounds().await.abs_diff(alone) <= 1, "{alone}, {both}");
    stream.cancel().await.unwrap();
    assert_silence(&test).await;
}

#[tokio::test(start_paused = true)]
async fn a_guest_that_goes_and_one_that_comes_are_news() {
    let test = start(options()).await;
    let client = connect(&test.app, Era::Modern).await;
    let made = "proxmox://default/guest/555";
    let mut stream = listen(&client, &[made]).await;
    assert_eq!(next(&mut stream, 30).await, None);
    let vm = json!({"node": "pve1", "vmid": 555, "name": "made", "disk_gb": 0, "confirm": true, "wait": true});
    test.call("proxmox-create-vm", vm).await;
    assert_eq!(next(&mut stream, 6).await.as_deref(), Some(made));
    test.call("proxmox-delete-vm", json!({"vmid": 555, "confirm": true, "wait": true})).await;
    assert_eq!(next(&mut stream, 6).await.as_deref(), Some(made));
}

#[tokio::test(start_paused = true)]
async fn a_cluster_that_does_not_answer_for_a_while_is_no_news() {
    let test = start(options()).await;
    let client = connect(&test.app, Era::Modern).await;
    let mut stream = listen(&client, &[GUEST]).await;
    test.sandbox.fault(Fault::new(FaultKind::Refuse));
    assert_eq!(next(&mut stream, 120).await, None);
    test.sandbox.clear_faults();
    assert_eq!(next(&mut stream, 120).await, None);
    start_guest(&test).await;
    assert_eq!(next(&mut stream, 30).await.as_deref(), Some(GUEST));
}

#[tokio::test(start_paused = true)]
async fn a_task_s_log_is_told_while_it_grows() {
    let test = start(options()).await;
    let client = connect(&test.app, Era::Modern).await;
    let clone = json!({"source_vmid": 9000, "name": "copy", "confirm": true});
    let upid = test.call("proxmox-clone-vm", clone).await["upid"].as_str().unwrap().to_owned();
    let log = format!("proxmox://default/task/{upid}/log");
    let mut stream = listen(&client, &[&log]).await;
    assert_eq!(next(&mut stream, 60).await, Some(log));
}

#[tokio::test(start_paused = true)]
async fn there_is_no_subscription_to_what_is_not_there_nor_to_more_than_are_watched() {
    let test = start(options()).await;
    let client = connect(&test.app, Era::Legacy).await;
    #[expect(deprecated, reason = "that is the era")]
    let subscribe = |uri: String| client.service.subscribe(SubscribeRequestParams::new(uri));
    for uri in ["proxmox://default/guest/9999", "proxmox://default/guest/x", "proxmox://elsewhere/nodes", "x"] {
        assert_eq!(refusal(subscribe(uri.to_owned())).await.0, -32002, "{uri}");
    }
    // One guest has as many URIs as its number can be written with zeros.
    let spelled = |zeros: usize| format!("proxmox://default/guest/{}100", "0".repeat(zeros));
    for zeros in 0..100 {
        subscribe(spelled(zeros)).await.unwrap();
    }
    let (code, words) = refusal(subscribe(spelled(100))).await;
    assert_eq!((code, words.contains("100 resources are watched already")), (-32603, true), "{words}");
    subscribe(spelled(7)).await.unwrap();
}
