//! The doctor against a scripted cluster.

#![expect(clippy::unwrap_used, reason = "tests")]

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use futures::future::BoxFuture;
use http::{Request, Response};
use serde_json::{Value, json};

use super::*;
use crate::{
    config::{Auth, Endpoint, Timeouts, Tls, TokenId},
    pve::{SendError, Transport},
};

type Outcome = Result<Response<Bytes>, SendError>;

struct Scripted<F>(F);

impl<F: Fn(&str, &str) -> Outcome + Send + Sync> Transport for Scripted<F> {
    fn send(&self, request: Request<Bytes>) -> BoxFuture<'_, Outcome> {
        let uri = request.uri();
        let outcome = self.0(uri.host().unwrap_or_default(), uri.path().trim_start_matches("/api2/json"));
        Box::pin(async move { outcome })
    }
}

fn ok(data: Value) -> Outcome {
    Ok(Response::new(json!({ "data": data }).to_string().into()))
}

fn healthy(path: &str) -> Outcome {
    match path {
        "/version" => ok(json!({"version": "9.2.11", "release": "9.2"})),
        "/access/permissions" => ok(json!({
            "/": {"VM.Audit": 1, "Sys.Audit": 1},
            "/nodes": {"VM.Audit": 1, "Sys.Audit": 1},
            "/vms/100": {"VM.Audit": 1, "Sys.Audit": 1, "VM.PowerMgmt": 1, "VM.Config.CPU": 1, "VM.Console": 1},
        })),
        "/nodes" => ok(json!([{"node": "pve1", "status": "online"}, {"node": "pve2", "status": "offline"}])),
        "/nodes/pve1/storage" => ok(json!([{"storage": "local"}])),
        "/nodes/pve1/network" => ok(json!([{"iface": "vmbr0"}])),
        _ => Err(SendError::Lost(format!("nobody expected {path}"))),
    }
}

fn cluster(hosts: &[&str]) -> ClusterConfig {
    ClusterConfig {
        name: "home".into(),
        endpoints: hosts.iter().map(|host| Endpoint { host: host.to_string(), port: 8006 }).collect(),
        auth: Auth::Token { id: TokenId { user: "ai@pve".into(), name: "mcp".into() }, secret: "s3cr3t".into() },
        tls: Tls::Insecure,
        default_node: Some("pve1".into()),
        default_storage: Some("fast".into()),
        default_bridge: Some("vmbr0".into()),
        upload_dir: None,
        timeouts: Timeouts { connect: Duration::from_secs(5), request: Duration::from_secs(30) },
        sources: vec![
            Source {
                setting: "PROXMOX_API_URL",
                name_used: "PROXMOX_CLUSTER_home_HOST".into(),
                origin: Origin::Env,
                value: Some("a".into()),
            },
            Source {
                setting: "PROXMOX_TOKEN_SECRET",
                name_used: "PROXMOX_TOKEN_SECRET".into(),
                origin: Origin::DotEnv("/x/.env".into()),
                value: None,
            },
            Source {
                setting: "PROXMOX_PORT",
                name_used: "PROXMOX_PORT".into(),
                origin: Origin::Default,
                value: Some("8006".into()),
            },
        ],
    }
}

async fn report(
    cluster: &ClusterConfig,
    script: impl Fn(&str, &str) -> Outcome + Clone + Send + Sync + 'static,
) -> Report {
    let connect =
        move |cluster: &ClusterConfig| Ok(Client::with_transport(cluster, Arc::new(Scripted(script.clone()))));
    let mut found = examine_cluster(cluster, &connect).await;
    // What is said of tools grows with them, and has tests of its own.
    found.tools.clear();
    Report {
        env_file: None,
        settings: Vec::new(),
        warnings: Vec::new(),
        audit: None,
        http: None,
        clusters: vec![found],
    }
}

#[tokio::test(start_paused = true)]
async fn a_usable_cluster_is_described_with_what_may_be_done_on_it() {
    let report = report(&cluster(&["a"]), |_, path| healthy(path)).await;
    expect_test::expect![[r#"
        cluster home
          PROXMOX_API_URL = a  (from environment, as PROXMOX_CLUSTER_home_HOST)
          PROXMOX_TOKEN_SECRET = (secret)  (from /x/.env)
          [ ok ] endpoint: https://a:8006 answers in 0 ms
          [ ok ] login: API token ai@pve!mcp is accepted
          [ ok ] version: Proxmox VE 9.2.11
          [ ok ] rights: /: see guests, see nodes
                 /vms/100: see guests, start and stop them, configure them in part (VM.Config.CPU), see nodes, and 1 more
          [warn] nodes: online: pve1; offline: pve2
                 try: guests of a node that is offline can be seen, not used
          [ ok ] default: node pve1 is there
          [warn] default: storage fast is not among the storages of pve1 that are seen
                 try: check PROXMOX_DEFAULT_STORAGE, or what this user or token may see
          [ ok ] default: bridge vmbr0 is there
        usable, with warnings"#]]
    .assert_eq(&report.text());
    assert_eq!(report.exit_code(), 0);
    assert!(!serde_json::to_string(&report).unwrap().contains("s3cr3t"));
}

#[tokio::test(start_paused = true)]
async fn one_endpoint_that_is_down_is_named_although_the_other_serves() {
    let report = report(&cluster(&["a", "b"]), |host, path| match host {
        "a" => Err(SendError::NeverSent("connection refused".into())),
        _ => healthy(path),
    })
    .await;
    let checks = &report.clusters[0].checks;
    assert_eq!(checks[0].text, "cannot reach Proxmox: https://a:8006: connection refused");
    assert!(checks[0].hint.as_deref().unwrap().contains("PROXMOX_API_URL"));
    assert_eq!((checks[1].name, checks[1].verdict), ("endpoint", Verdict::Ok));
    assert!(checks.iter().any(|check| check.name == "version"));
    assert_eq!(report.exit_code(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_token_without_rights_is_told_how_to_get_them() {
    let report = report(&cluster(&["a"]), |_, path| match path {
        "/access/permissions" => ok(json!({})),
        path => healthy(path),
    })
    .await;
    let rights = report.clusters[0].checks.iter().find(|check| check.name == "rights").unwrap();
    assert_eq!(rights.verdict, Verdict::Warning);
    assert!(rights.hint.as_deref().unwrap().contains("pveum acl modify / --tokens 'ai@pve!mcp'"), "{rights:?}");
}

#[tokio::test(start_paused = true)]
async fn a_wrong_token_and_a_refused_certificate_fail_their_own_check() {
    let wrong = report(&cluster(&["a"]), |_, _| {
        let mut answer = Response::new(Bytes::new());
        *answer.status_mut() = http::StatusCode::UNAUTHORIZED;
        Ok(answer)
    })
    .await;
    let verdicts =
        |report: &Report| report.clusters[0].checks.iter().map(|check| (check.name, check.verdict)).collect::<Vec<_>>();
    assert_eq!(verdicts(&wrong), [("endpoint", Verdict::Ok), ("login", Verdict::Failed)]);
    let refused = report(&cluster(&["a"]), |_, _| {
        Err(SendError::Certificate { message: "it has expired".into(), presented: "AB".into() })
    })
    .await;
    assert_eq!(verdicts(&refused), [("endpoint", Verdict::Ok), ("tls", Verdict::Failed)]);
    let hint = refused.clusters[0].checks[1].hint.as_deref();
    assert_eq!(hint, Some("PROXMOX_CLUSTER_home_FINGERPRINT=AB"));
}

/// The sandbox over HTTPS, as one cluster.
async fn sandbox(auth: impl FnOnce(&crate::sandbox::Credentials) -> Auth) -> (crate::sandbox::Server, ClusterConfig) {
    let sandbox = crate::sandbox::Sandbox::new(crate::sandbox::Options::default());
    let server = sandbox.listen("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let hex = server.fingerprint.split(':').map(|byte| u8::from_str_radix(byte, 16).unwrap());
    let pin: [u8; 32] = hex.collect::<Vec<_>>().try_into().unwrap();
    let cluster = ClusterConfig {
        name: crate::config::ONLY_CLUSTER.into(),
        endpoints: vec![Endpoint { host: "127.0.0.1".into(), port: server.addr.port() }],
        auth: auth(sandbox.credentials()),
        tls: Tls::Fingerprints(vec![pin]),
        default_storage: Some("local".into()),
        sources: Vec::new(),
        ..cluster(&[])
    };
    (server, cluster)
}

fn lines(found: &Cluster) -> Vec<String> {
    found.checks.iter().map(|check| format!("{:?} {}: {}", check.verdict, check.name, check.text)).collect()
}

#[tokio::test]
async fn the_sandbox_is_found_usable_with_a_password_and_with_a_token() {
    let (_server, cluster) = sandbox(|known| Auth::Password {
        username: known.username.clone(),
        password: known.password.clone(),
        totp: None,
    })
    .await;
    let found = examine_cluster(&cluster, &Client::new).await;
    assert!(found.checks.iter().all(|check| check.verdict == Verdict::Ok), "{:#?}", lines(&found));
    assert!(lines(&found).iter().any(|line| line == "Ok login: root@pam with password is accepted"), "{found:#?}");

    let (_server, cluster) = sandbox(|known| {
        let (user, name) = known.auditor_token_id.split_once('!').unwrap();
        let id = TokenId { user: user.into(), name: name.into() };
        Auth::Token { id, secret: known.auditor_token_secret.clone() }
    })
    .await;
    let found = examine_cluster(&cluster, &Client::new).await;
    assert!(found.checks.iter().all(|check| check.verdict == Verdict::Ok), "{:#?}", lines(&found));
    assert!(lines(&found).iter().any(|line| line.contains("rights: ") && line.contains("see guests")), "{found:#?}");
}

#[tokio::test]
async fn a_wrong_password_is_found_out_against_the_sandbox() {
    let (_server, cluster) =
        sandbox(|known| Auth::Password { username: known.username.clone(), password: "wrong".into(), totp: None })
            .await;
    let found = examine_cluster(&cluster, &Client::new).await;
    let failed = found.checks.iter().find(|check| check.verdict == Verdict::Failed).unwrap();
    assert_eq!(failed.text, "Proxmox refuses the login of root@pam: authentication failure");
}
