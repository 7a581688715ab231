//! Login, wire and tasks.

use super::*;

#[tokio::test(start_paused = true)]
async fn the_version_is_told_to_who_has_a_token() {
    let sandbox = cluster(|_| {});
    let got = call(&sandbox, "GET /version", "").await;
    assert_eq!(got.data()["version"], "9.2.11");
}

#[tokio::test(start_paused = true)]
async fn without_credentials_there_is_no_ticket_and_no_body_after_three_seconds() {
    let sandbox = cluster(|_| {});
    let before = tokio::time::Instant::now();
    let response = raw(&sandbox, "GET /version", "", &[]).await;
    assert_eq!((response.status().as_u16(), wire::reason(&response).as_ref()), (401, "No ticket"));
    assert!(response.body().is_empty());
    assert_eq!(before.elapsed().as_secs(), 3);
}

#[tokio::test(start_paused = true)]
async fn an_unknown_path_is_501_without_a_newline_in_the_message() {
    let sandbox = cluster(|_| {});
    let got = call(&sandbox, "GET /nodes/pve1/nosuch", "").await;
    assert_eq!(got.refusal(), (501, "Method 'GET /nodes/pve1/nosuch' not implemented"));
    assert_eq!(got.body["message"], "Method 'GET /nodes/pve1/nosuch' not implemented");
}

#[tokio::test(start_paused = true)]
async fn ten_thousand_guests_are_listed() {
    let sandbox = cluster(|options| options.guests = 10_000);
    let got = call(&sandbox, "GET /cluster/resources", "type=vm").await;
    assert_eq!(got.data().as_array().map(Vec::len), Some(10_002));
}
