//! Uploads and downloads: files of this machine in the one directory that is allowed, and files that nodes fetch.
#![expect(clippy::unwrap_used, reason = "tests")]

mod support;

use std::{net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{Method, Request};
use proxmox_mcp::{
    call::{self, App, Cluster, Context},
    config::{ClusterConfig, Endpoint, Timeouts, Tls},
    error::Kind,
    pve::{Client, encode},
    sandbox::{Fault, FaultKind, Sandbox},
};
use secrecy::ExposeSecret;
use serde_json::{Map, Value, json};
use support::{Test, everything, options, start};

const UPLOAD: &str = "/nodes/*/storage/*/upload";

fn iso() -> Value {
    json!({"node": "pve1", "storage": "local", "file_path": "debian.iso", "confirm": true})
}

fn with(mut arguments: Value, more: Value) -> Value {
    arguments.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    arguments
}

async fn volids(test: &Test, storage: &str, content: &str) -> Vec<String> {
    let found =
        test.call("proxmox-storage-content", json!({"node": "pve1", "storage": storage, "content": content})).await;
    found["volumes"].as_array().unwrap().iter().map(|v| v["volid"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test(start_paused = true)]
async fn an_uploaded_image_is_on_the_storage_in_its_size() {
    let test = start(options()).await;
    let done = test.call("proxmox-upload-iso", iso()).await;
    assert_eq!((&done["state"], &done["exitstatus"]), (&json!("done"), &json!("OK")));
    assert_eq!(done["about"]["volid"], "local:iso/debian.iso");
    assert_eq!(test.sent.writes(), ["POST /nodes/pve1/storage/local/upload"]);
    let found =
        test.call("proxmox-storage-content", json!({"node": "pve1", "storage": "local", "content": "iso"})).await;
    let volume = found["volumes"].as_array().unwrap().iter().find(|v| v["volid"] == "local:iso/debian.iso");
    assert!(volume.is_some(), "{found}");
    let log = log(&test.sandbox, &done["upid"]).await;
    assert!(log.contains("checksum verified") && log.contains("file size is: 700000"), "{log}");
    let told: Vec<String> = test.progress.lock().unwrap().iter().map(|update| update.message.clone()).collect();
    assert!(told.iter().any(|line| line.starts_with("sending debian.iso")), "{told:?}");
}

#[tokio::test(start_paused = true)]
async fn an_uploaded_template_is_on_the_storage() {
    let test = start(options()).await;
    let arguments = json!({"node": "pve1", "storage": "nas", "file_path": "debian.tar.zst", "confirm": true});
    assert_eq!(test.call("proxmox-upload-template", arguments).await["exitstatus"], "OK");
    assert!(volids(&test, "nas", "vztmpl").await.contains(&"nas:vztmpl/debian.tar.zst".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn a_dry_run_names_file_and_checksum_and_sends_nothing() {
    let test = start(options()).await;
    let plan = test.call("proxmox-upload-iso", with(iso(), json!({"dry_run": true}))).await;
    let params = &plan["requests"][0]["params"];
    assert_eq!((&params["content"], &params["checksum-algorithm"]), (&json!("iso"), &json!("sha256")));
    assert_eq!(params["checksum"].as_str().unwrap().len(), 64);
    assert_eq!((&params["filename"]["name"], &params["filename"]["bytes"]), (&json!("debian.iso"), &json!(700_000)));
    assert!(plan["warnings"].is_null(), "{plan}");
    assert!(test.sent.writes().is_empty());
    test.call("proxmox-upload-iso", iso()).await;
    let plan = test.call("proxmox-upload-iso", with(iso(), json!({"dry_run": true}))).await;
    assert!(plan["warnings"][0].as_str().unwrap().contains("exists and is overwritten"), "{plan}");
}

#[tokio::test(start_paused = true)]
async fn without_confirm_nothing_is_sent() {
    let test = start(options()).await;
    let plan = test.call("proxmox-upload-iso", with(iso(), json!({"confirm": false}))).await;
    assert_eq!(plan["state"], "needs_confirmation");
    assert!(test.sent.writes().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_checksum_is_compared_before_anything_is_sent() {
    let test = start(options()).await;
    let plan = test.call("proxmox-upload-iso", with(iso(), json!({"dry_run": true}))).await;
    let right = plan["requests"][0]["params"]["checksum"].as_str().unwrap().to_uppercase();
    let done = test.call("proxmox-upload-iso", with(iso(), json!({"checksum": right}))).await;
    assert_eq!(done["exitstatus"], "OK");
    test.sent.forget();
    for (wrong, words) in [("0".repeat(64), "of this machine has"), ("xyz".to_owned(), "expected the hexadecimal")] {
        let said = test.fails("proxmox-upload-iso", with(iso(), json!({"checksum": wrong}))).await;
        assert!(said.contains(words), "{said}");
    }
    let md5 = with(iso(), json!({"checksum": "0".repeat(32), "checksum_algorithm": "sha256"}));
    assert!(test.fails("proxmox-upload-iso", md5).await.contains("expected md5"));
    assert!(test.sent.writes().is_empty());
}

#[tokio::test(start_paused = true)]
async fn only_files_of_the_directory_are_sent_and_of_the_right_kind() {
    let test = start(options()).await;
    for (path, words) in [
        ("/etc/passwd.iso", "does not lie in"),
        ("../uploads/debian.iso", "does not lie in"),
        ("nosuch.iso", "debian.iso"),
        ("debian.tar.zst", "expected a name that ends with .iso, .img"),
    ] {
        let said = test.fails("proxmox-upload-iso", with(iso(), json!({"file_path": path}))).await;
        assert!(said.contains(words), "{path}: {said}");
    }
    assert!(test.sent.writes().is_empty());
    let test = support::with(Sandbox::new(options()), {
        let sandbox = Sandbox::new(options());
        proxmox_mcp::embedded::cluster_config(&sandbox)
    })
    .await;
    let said = test.fails("proxmox-upload-iso", iso()).await;
    assert!(said.contains("PROXMOX_UPLOAD_DIR"), "{said}");
}

#[tokio::test(start_paused = true)]
async fn a_storage_without_such_content_is_refused_in_proxmox_s_words() {
    let test = start(options()).await;
    let said = test.fails("proxmox-upload-iso", with(iso(), json!({"storage": "local-lvm"}))).await;
    assert!(said.contains("can't upload to storage type 'lvmthin'") || said.contains("local-lvm"), "{said}");
    let said =
        test.fails("proxmox-upload-iso", json!({"node": "pve1", "file_path": "debian.iso", "confirm": true})).await;
    assert!(said.contains("storage: missing") && said.contains("local, nas"), "{said}");
}

#[tokio::test(start_paused = true)]
async fn an_upload_whose_answer_was_lost_is_adopted_and_not_sent_again() {
    let test = start(options()).await;
    test.sandbox.fault(Fault::new(FaultKind::Drop).on(Method::POST, UPLOAD).times(1));
    let done = test.call("proxmox-upload-iso", iso()).await;
    assert_eq!((&done["state"], &done["exitstatus"]), (&json!("done"), &json!("OK")));
    assert_eq!(test.sent.writes().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_upload_that_nobody_takes_ends_after_a_while_and_nothing_was_stored() {
    let test = start(options()).await;
    test.sandbox.fault(Fault::new(FaultKind::Stall).on(Method::POST, UPLOAD));
    let began = tokio::time::Instant::now();
    let said = test.fails("proxmox-upload-iso", iso()).await;
    assert!(said.contains("broke off") && said.contains("nothing was stored"), "{said}");
    assert!(began.elapsed() >= Duration::from_secs(120) && began.elapsed() < Duration::from_secs(300));
    assert_eq!(test.sent.writes().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_upload_that_never_left_is_tried_again() {
    let test = start(options()).await;
    test.sandbox.fault(Fault::new(FaultKind::Refuse).on(Method::POST, UPLOAD).times(1));
    assert_eq!(test.call("proxmox-upload-iso", iso()).await["exitstatus"], "OK");
}

#[tokio::test(start_paused = true)]
async fn an_upload_can_be_cancelled_while_it_is_sent() {
    let sandbox = Sandbox::new(options());
    sandbox.fault(Fault::new(FaultKind::Stall).on(Method::POST, UPLOAD));
    let mut config = proxmox_mcp::embedded::cluster_config(&sandbox);
    config.upload_dir = Some(support::upload_dir());
    let client = Client::with_transport(&config, Arc::new(sandbox));
    let app = App::with_clusters(vec![Cluster { name: config.name, client }], &everything()).unwrap();
    let context = Context::default();
    let cancel = context.cancel.clone();
    tokio::spawn(async move {
        tokio::time::sleep(Duration::from_secs(10)).await;
        cancel.cancel();
    });
    let cancelled = call::run(&app, "proxmox-upload-iso", arguments(iso()), &context).await;
    let cancelled = cancelled.map(|answer| answer.data).unwrap_err();
    assert_eq!((cancelled.kind(), cancelled.to_string().contains("nothing was stored")), (Kind::Cancelled, true));
}

/// An application over HTTPS, with files of its own.
async fn over_https(
    sandbox: &Sandbox,
    folder: PathBuf,
    change: impl Fn(&mut ClusterConfig),
) -> (App, proxmox_mcp::sandbox::Server) {
    let server = sandbox.listen(SocketAddr::from(([127, 0, 0, 1], 0))).await.unwrap();
    let mut config = ClusterConfig {
        endpoints: vec![Endpoint { host: server.addr.ip().to_string(), port: server.addr.port() }],
        tls: Tls::Fingerprints(vec![server.sha256]),
        timeouts: Timeouts::default(),
        upload_dir: Some(folder),
        ..proxmox_mcp::embedded::cluster_config(sandbox)
    };
    change(&mut config);
    let client = Client::new(&config).unwrap();
    (App::with_clusters(vec![Cluster { name: config.name, client }], &everything()).unwrap(), server)
}

fn arguments(value: Value) -> Map<String, Value> {
    value.as_object().unwrap().clone()
}

#[tokio::test]
async fn over_https_a_file_larger_than_any_other_request_arrives_whole() {
    let folder = tempfile::tempdir().unwrap();
    // Ends with what the end of a form begins with.
    let mut content: Vec<u8> = (0..3_000_000_u32).map(|n| ((n * 7) >> 2) as u8).collect();
    content.extend_from_slice(b"\r\n--");
    std::fs::write(folder.path().join("my own (1).iso"), &content).unwrap();
    let sandbox = Sandbox::new(options());
    let (app, _server) = over_https(&sandbox, folder.path().to_owned(), |_| {}).await;
    let given = json!({"node": "pve2", "storage": "local", "file_path": "my own (1).iso", "confirm": true});
    let done = call::run(&app, "proxmox-upload-iso", arguments(given), &Context::default()).await.unwrap();
    assert_eq!(done.data["exitstatus"], "OK", "{}", done.data);
    let log = log(&sandbox, &done.data["upid"]).await;
    assert!(log.contains(&format!("file size is: {}", content.len())) && log.contains("my_own__1_.iso"), "{log}");
}

#[tokio::test]
async fn over_https_a_refusal_is_understood_although_the_file_was_not_taken() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("large.iso"), vec![7; 12 << 20]).unwrap();
    let sandbox = Sandbox::new(proxmox_mcp::sandbox::Options { time_scale: 10.0, ..options() });
    let known = sandbox.credentials().clone();
    let (app, _server) = over_https(&sandbox, folder.path().to_owned(), |config| {
        config.auth = proxmox_mcp::config::Auth::Token {
            id: proxmox_mcp::config::TokenId { user: known.auditor.clone(), name: "read".to_owned() },
            secret: known.auditor_token_secret.clone(),
        };
    })
    .await;
    let given = json!({"node": "pve1", "storage": "local", "file_path": "large.iso", "confirm": true});
    let refused = call::run(&app, "proxmox-upload-iso", arguments(given), &Context::default()).await;
    let refused = refused.map(|answer| answer.data).unwrap_err();
    assert_eq!(refused.kind(), Kind::Permission, "{refused}");
    assert!(refused.to_string().contains("/storage/local, Datastore.AllocateTemplate"), "{refused}");
}

/// The log of a task.
async fn log(sandbox: &Sandbox, upid: &Value) -> String {
    let upid = upid.as_str().unwrap();
    let node = upid.split(':').nth(1).unwrap();
    let uri = format!("https://{node}:8006/api2/json/nodes/{node}/tasks/{}/log", encode(upid));
    let request = Request::get(uri).header("authorization", token(sandbox)).body(Bytes::new()).unwrap();
    String::from_utf8(sandbox.handle(request).await.unwrap().into_body().to_vec()).unwrap()
}

fn token(sandbox: &Sandbox) -> String {
    let known = sandbox.credentials();
    format!("PVEAPIToken={}={}", known.token_id, known.token_secret.expose_secret())
}

/// Sends a form past the client.
async fn form(sandbox: &Sandbox, body: &str) -> (u16, String) {
    let request = Request::post("https://pve1:8006/api2/json/nodes/pve1/storage/local/upload")
        .header("authorization", token(sandbox))
        .header("content-type", "multipart/form-data; boundary=B")
        .body(Bytes::from(body.to_owned()))
        .unwrap();
    let answer = sandbox.handle(request).await.unwrap();
    (answer.status().as_u16(), proxmox_mcp::sandbox::reason(&answer).into_owned())
}

#[tokio::test(start_paused = true)]
async fn the_simulated_server_is_as_strict_about_forms_as_the_real_one() {
    let sandbox = Sandbox::new(options());
    let content = "--B\r\nContent-Disposition: form-data; name=\"content\"\r\n\r\niso\r\n";
    let file = |head: &str| format!("{content}--B\r\n{head}\r\n\r\nabc\r\n--B--\r\n");
    let good = "Content-Disposition: form-data; name=\"filename\"; filename=\"a.iso\"\r\nContent-Type: a/b";
    assert_eq!(form(&sandbox, &file(good)).await.0, 200);
    let named = form(&sandbox, &file(&good.replace("name=\"filename\"", "name=\"file\""))).await;
    assert!(named.1.starts_with("wrong field name 'file' for file upload, expected 'filename'"), "{named:?}");
    for bad in [good.to_lowercase(), good.replace("form-data; ", "form-data;")] {
        let (status, words) = form(&sandbox, &file(&bad)).await;
        assert!(status == 501 && words.starts_with("upload failed"), "{bad}: {status} {words}");
    }
    let cut = file(good).replace("--B--", "");
    assert!(form(&sandbox, &cut).await.1.starts_with("upload failed"));
}

const DEBIAN: &str = "https://cdimage.debian.org/debian-cd/current/amd64/iso-cd/debian-13.1.0-amd64-netinst.iso";

#[tokio::test(start_paused = true)]
async fn a_node_downloads_a_file_under_the_name_that_the_server_gives_it() {
    let test = start(options()).await;
    let given = json!({"url": DEBIAN, "node": "pve1", "storage": "local"});
    let plan = test.call("proxmox-download-url", with(given.clone(), json!({"dry_run": true}))).await;
    assert_eq!(plan["requests"][0]["params"]["filename"], "debian-13.1.0-amd64-netinst.iso");
    assert_eq!(plan["requests"][0]["params"]["content"], "iso");
    assert!(plan["about"]["size_mib"].as_f64().unwrap() > 100.0, "{plan}");
    assert!(test.sent.writes().is_empty());
    assert_eq!(test.call("proxmox-download-url", given.clone()).await["exitstatus"], "OK");
    assert!(volids(&test, "local", "iso").await.contains(&"local:iso/debian-13.1.0-amd64-netinst.iso".to_owned()));
    // It is there now, and not overwritten.
    test.sent.forget();
    let said = test.fails("proxmox-download-url", given).await;
    assert!(said.contains("Proxmox does not overwrite it"), "{said}");
    assert!(test.sent.writes().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_disk_image_becomes_import_content_and_a_wrong_checksum_is_a_failed_task() {
    let test = start(options()).await;
    let url = "https://cloud.debian.org/images/cloud/trixie/latest/debian-13-generic-amd64.qcow2";
    let given = json!({"url": url, "node": "pve1", "storage": "local", "checksum": "0".repeat(128)});
    let said = test.fails("proxmox-download-url", given.clone()).await;
    assert!(said.contains("checksum mismatch: got '"), "{said}");
    assert!(!volids(&test, "local", "import").await.iter().any(|volid| volid.contains("debian-13")));
    assert_eq!(
        test.call("proxmox-download-url", with(given, json!({"checksum": "a".repeat(64)}))).await["exitstatus"],
        "OK"
    );
    assert!(volids(&test, "local", "import").await.contains(&"local:import/debian-13-generic-amd64.qcow2".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_downloaded_is_said_before_anything_begins() {
    let test = start(options()).await;
    for (given, words) in [
        (json!({"url": "ftp://x/y.iso"}), "url: expected http"),
        (json!({"url": "http://127.0.0.1:1/x.iso"}), "500 Can't connect to 127.0.0.1:1 (Connection refused)"),
        (json!({"url": "https://cdimage.debian.org/nothing"}), "404 Not Found"),
        (json!({"url": DEBIAN, "content": "vztmpl"}), "filename: expected a name that ends with .tar.gz"),
        (json!({"url": DEBIAN, "content": "import", "compression": "gz"}), "compression"),
    ] {
        let said = test.fails("proxmox-download-url", with(given, json!({"node": "pve1", "storage": "local"}))).await;
        assert!(said.contains(words), "{words}: {said}");
    }
    assert!(test.sent.writes().is_empty());
    // With a name, the node may try although the server does not answer; the task then fails in wget's words.
    let blind = json!({"url": "http://127.0.0.1:1/x.iso", "filename": "x.iso", "node": "pve1", "storage": "local"});
    let said = test.fails("proxmox-download-url", blind).await;
    assert!(said.contains("download failed: Connecting to 127.0.0.1:1... failed: Connection refused."), "{said}");
}
