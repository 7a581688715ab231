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
    assert_eq!((response.status().as_u16(), reason(&response).as_ref()), (401, "No ticket"));
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

#[tokio::test(start_paused = true)]
async fn wrong_parameters_are_named_one_by_one() {
    let sandbox = cluster(|_| {});
    let got = call(&sandbox, "GET /nodes/pve1/tasks", "limit=-1&foo=x&errors=true").await;
    assert_eq!(got.refusal(), (400, "Parameter verification failed."));
    let wanted = serde_json::json!({
        "errors": "type check ('boolean') failed - got 'true'",
        "foo": "property is not defined in schema and the schema does not allow additional properties",
        "limit": "value must have a minimum value of 0",
    });
    assert_eq!(got.body["errors"], wanted);
}

#[tokio::test(start_paused = true)]
async fn a_form_is_split_at_semicolons_and_a_value_cut_at_its_second_equals_sign() {
    let sandbox = cluster(|_| {});
    call(&sandbox, "POST /pools", "poolid=x;comment=a=b").await.data();
    assert_eq!(call(&sandbox, "GET /pools/x", "").await.data()["comment"], "a");
}

#[tokio::test(start_paused = true)]
async fn a_parameter_that_contradicts_the_path_is_refused() {
    let sandbox = cluster(|_| {});
    let got = call(&sandbox, "PUT /pools/production", "poolid=development").await;
    assert_eq!(got.status, 400);
}

#[tokio::test(start_paused = true)]
async fn what_is_below_the_api_answers_without_json() {
    let sandbox = cluster(|_| {});
    let ask = async |line: &str, body: &str, more: &[(&str, &str)]| {
        let mut headers = vec![root(&sandbox)];
        headers.extend(more.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        let response = raw(&sandbox, line, body, &headers).await;
        (response.status().as_u16(), String::from_utf8_lossy(response.body()).into_owned())
    };
    assert_eq!(ask("PATCH /version", "", &[]).await, (501, String::new()));
    let large = "x".repeat(600_000);
    assert_eq!(ask("POST /pools", &large, &[]).await, (501, "for data too large".to_owned()));
    let xml = [("Content-Type", "text/xml")];
    assert_eq!(
        ask("POST /pools", "<x/>", &xml).await,
        (506, "upload 'Content-Type 'text/xml' not implemented".to_owned())
    );
    let chunked = [("Transfer-Encoding", "chunked")];
    assert_eq!(ask("POST /pools", "", &chunked).await, (501, "chunked transfer encoding not supported".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn a_connection_is_closed_after_an_error_and_kept_after_an_answer() {
    let sandbox = cluster(|_| {});
    let connection =
        async |line: &str| raw(&sandbox, line, "", &[root(&sandbox)]).await.headers()["connection"].clone();
    assert_eq!(connection("GET /version").await, "Keep-Alive");
    assert_eq!(connection("GET /nosuch").await, "close");
}

#[tokio::test(start_paused = true)]
async fn everything_that_is_served_is_in_the_table_of_facts() {
    let sandbox = cluster(|_| {});
    let unknown: Vec<_> =
        sandbox.served().filter(|(method, path)| sandbox.api().endpoint(method, path).is_none()).collect();
    assert_eq!(unknown, []);
}

#[tokio::test(start_paused = true)]
async fn the_same_seed_makes_the_same_cluster() {
    let list = async |seed: u64| {
        let sandbox = cluster(|options| (options.seed, options.guests) = (seed, 40));
        let files: Vec<String> = sandbox.state().guests().values().map(|guest| guest.file()).collect();
        files
    };
    assert_eq!(list(7).await, list(7).await);
    assert_ne!(list(7).await, list(8).await);
}

#[tokio::test(start_paused = true)]
async fn broken_json_is_complained_of_in_perls_words() {
    let sandbox = cluster(|_| {});
    let headers = [root(&sandbox), ("Content-Type".to_owned(), "application/json".to_owned())];
    let got = send(&sandbox, "POST /nodes/pve1/qemu", "{\"vmid\": 101,", &headers).await;
    let place = "at /usr/share/perl5/PVE/APIServer/AnyEvent.pm line 934.";
    let text = format!("'\"' expected, at character offset 13 (before \"(end of string)\") {place}");
    assert_eq!(got.refusal(), (500, text.as_str()));
}
