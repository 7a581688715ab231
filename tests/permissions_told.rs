//! What is said about rights and releases is true: the commands in hints are run as they stand, and what the doctor says of
//! each tool is tried.
#![expect(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod support;

use std::sync::Arc;

use bytes::Bytes;
use futures::future::BoxFuture;
use http::{Request, Response};
use proxmox_mcp::{
    config::{Auth, ClusterConfig, TokenId},
    doctor,
    embedded::cluster_config,
    pve::{Client, SendError, Transport, Upload},
    sandbox::Sandbox,
    tool::Entry,
    tools,
};
use serde_json::{Value, json};
use support::{Test, options, pveum};

/// A token with privilege separation, for which these lines were run.
async fn credentials(lines: &[&str]) -> (Sandbox, ClusterConfig) {
    let sandbox = Sandbox::new(options());
    pveum::run(&sandbox, "pveum user add ai@pve").await;
    let secret = pveum::run(&sandbox, "pveum user token add ai@pve mcp --privsep 1").await.unwrap();
    for line in lines {
        pveum::run(&sandbox, line).await;
    }
    let id = TokenId { user: "ai@pve".to_owned(), name: "mcp".to_owned() };
    let mut config = support::config(&sandbox, Auth::Token { id, secret: secret.into() });
    config.upload_dir = Some(support::upload_dir());
    (sandbox, config)
}

/// A server with such a token.
async fn token(lines: &[&str]) -> Test {
    let (sandbox, config) = credentials(lines).await;
    support::with(sandbox, config).await
}

const AUDITOR: &str = "pveum acl modify / --users ai@pve --tokens 'ai@pve!mcp' --roles PVEAuditor";
const ADMIN: &str = "pveum acl modify / --users ai@pve --roles PVEAdmin";

/// The command between backquotes.
fn command(hint: &str) -> &str {
    hint.split('`').nth(1).unwrap_or_else(|| panic!("no command in {hint}"))
}

#[tokio::test(start_paused = true)]
async fn the_command_in_the_hint_of_a_refusal_lets_the_call_through() {
    for (tool, arguments, lacks) in [
        ("proxmox-start-vm", json!({"vmid": 106}), "VM.PowerMgmt on /vms/106"),
        ("proxmox-create-snapshot", json!({"vmid": 101, "snapname": "s1", "confirm": true}), "VM.Snapshot on /vms/101"),
        ("proxmox-agent-ping", json!({"vmid": 100}), ""),
        ("proxmox-create-pool", json!({"poolid": "shop", "confirm": true}), "Pool.Allocate on /pool/shop"),
        ("proxmox-list-updates", json!({"node": "pve1"}), "Sys.Modify on /nodes/pve1"),
        ("proxmox-firewall-log", json!({"node": "pve1"}), "Sys.Syslog on /nodes/pve1"),
    ] {
        // The user may do nearly everything, its token may only look; once the same with both.
        for (user, both) in [(ADMIN, false), (AUDITOR, true)] {
            let test = token(&[AUDITOR, user]).await;
            let Err(said) = test.mcp.call(tool, arguments.clone()).await.map_err(|e| e.to_string()) else {
                assert_eq!(lacks, "", "{tool} was not refused");
                continue;
            };
            assert!(said.contains(&format!("ai@pve!mcp lacks {lacks}: `pveum ")), "{tool}: {said}");
            let needs_user = both || ["Sys.Modify", "Sys.Syslog"].iter().any(|p| lacks.contains(p));
            let line = command(&said).to_owned();
            let line = if needs_user { line.replace(" --tokens ", " --users ai@pve --tokens ") } else { line };
            // What comes from above is named as well, as the hint says.
            let line = line.replace("--roles ", "--roles PVEAuditor,");
            assert!(said.contains("add --users ai@pve where that lacks it too"), "{said}");
            assert!(said.contains("roles given on a path replace there those from above"), "{said}");
            pveum::run(&test.sandbox, &line).await;
            test.call(tool, arguments.clone()).await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_plan_names_what_is_missing_in_the_same_words() {
    let test = token(&[AUDITOR, ADMIN]).await;
    let snapshot = json!({"vmid": 101, "snapname": "s1"});
    let plan = test.call("proxmox-create-snapshot", json!({"vmid": 101, "snapname": "s1", "dry_run": true})).await;
    let problem = plan["problems"][0].as_str().unwrap().to_owned();
    let mut now = snapshot;
    now["confirm"] = json!(true);
    assert!(test.fails("proxmox-create-snapshot", now).await.contains(&problem), "{problem}");
}

#[tokio::test(start_paused = true)]
async fn where_proxmox_does_not_say_what_is_lacking_the_facts_do() {
    let test = token(&[AUDITOR]).await;
    let create = json!({"name": "x", "vmid": 500, "node": "pve1", "storage": "nas", "confirm": true});
    let said = test.fails("proxmox-create-vm", create).await;
    assert!(said.contains("Permission check failed\n"), "{said}");
    assert!(said.contains("it takes VM.Allocate on /vms/500"), "{said}");
}

/// The simulated cluster as an older release would answer.
struct Older(Sandbox);

impl Older {
    fn answer(&self, request: &Request<Bytes>) -> Option<Response<Bytes>> {
        let api = proxmox_mcp::pve::api::Api::embedded();
        let path = request.uri().path().trim_start_matches("/api2/json").to_owned();
        let (endpoint, _) = api.lookup(request.method(), &path)?;
        if path == "/version" {
            let version = json!({"data": {"version": "8.4.5", "release": "8.4", "repoid": "x"}});
            return Some(Response::new(version.to_string().into()));
        }
        let absent = Some(&proxmox_mcp::pve::api::Before::Absent);
        if proxmox_mcp::pve::api::before_9(&endpoint) != absent {
            return None;
        }
        let words = format!("Method '{} {path}' not implemented", request.method());
        let body = json!({"data": null, "message": words});
        let mut answer = Response::new(Bytes::from(body.to_string()));
        *answer.status_mut() = http::StatusCode::NOT_IMPLEMENTED;
        Some(answer)
    }
}

impl Transport for Older {
    fn send(&self, request: Request<Bytes>) -> BoxFuture<'_, Result<Response<Bytes>, SendError>> {
        match self.answer(&request) {
            Some(answer) => Box::pin(async move { Ok(answer) }),
            None => self.0.send(request),
        }
    }
    fn upload(&self, request: Request<Upload>) -> BoxFuture<'_, Result<Response<Bytes>, SendError>> {
        self.0.upload(request)
    }
}

#[tokio::test(start_paused = true)]
async fn a_call_that_an_older_release_lacks_says_which_has_it() {
    let sandbox = Sandbox::new(options());
    let client = Client::with_transport(&cluster_config(&sandbox), Arc::new(Older(sandbox.clone())));
    let get = |path: &'static str| {
        let client = client.clone();
        async move { client.get::<Value>(&proxmox_mcp::pve::Request::get(path)).await }
    };
    let error = get("/cluster/ha/rules").await.unwrap_err();
    assert_eq!(error.kind(), proxmox_mcp::error::Kind::NotImplemented);
    assert_eq!(error.to_string(), "Method 'GET /cluster/ha/rules' not implemented");
    let hint = "Proxmox VE has this call since release 9: this server is older";
    assert_eq!(error.parts().hint.as_deref(), Some(hint));
    let error = get("/cluster/nosuch").await.unwrap_err();
    assert_eq!(error.parts().hint.as_deref(), Some("this version of Proxmox VE does not have this call"));
}

async fn examined(config: &ClusterConfig, transport: Arc<dyn Transport>) -> doctor::Report {
    let connect = move |cluster: &ClusterConfig| Ok(Client::with_transport(cluster, transport.clone()));
    let cluster = doctor::examine_cluster(config, &connect).await;
    doctor::Report {
        audit: None,
        http: None,
        env_file: None,
        settings: Vec::new(),
        warnings: Vec::new(),
        clusters: vec![cluster],
    }
}

#[tokio::test(start_paused = true)]
async fn root_can_use_every_tool_and_an_older_release_lacks_some_calls() {
    let sandbox = Sandbox::new(options());
    let report = examined(&cluster_config(&sandbox), Arc::new(sandbox.clone())).await;
    let families = &report.clusters[0].tools;
    assert_eq!(families.iter().map(|family| family.work).sum::<usize>(), tools::all().count(), "{}", report.text());
    assert!(families.iter().all(|family| family.lacking.is_empty()), "{}", report.text());
    let text = report.text();
    assert!(text.contains("\n    power: 12 of 12\n") && !text.contains("mint"), "{text}");

    let report = examined(&cluster_config(&sandbox), Arc::new(Older(sandbox))).await;
    let text = report.text();
    let line = "GET /cluster/ha/rules, which Proxmox VE has since release 9: may be needed by list-ha\n";
    assert!(text.contains(line), "{text}");
    // The privilege that the agent took before release 9; the simulated root does not hold it.
    assert!(text.contains("    agent: 0 of 8\n      VM.Monitor on /vms/{vmid}: needed by all\n"), "{text}");
}

#[tokio::test(start_paused = true)]
async fn what_the_doctor_says_of_each_tool_is_what_happens() {
    let (sandbox, config) = credentials(&[AUDITOR]).await;
    let report = examined(&config, Arc::new(sandbox)).await;
    let text = report.text();
    for line in [
        "    power: 0 of 12\n      VM.PowerMgmt on /vms/{vmid}: needed by all\n",
        "    snapshots: 1 of ",
        "    guests: 4 of 4\n",
        "Datastore.Allocate on /storage/{storage}: needed by delete-volume; may be needed by storage-status\n",
        "`proxmox-mcp mint --for TOOLSETS` prints the commands that give what is lacking",
    ] {
        assert!(text.contains(line), "{line}\n{text}");
    }
    let families = &report.clusters[0].tools;
    let mut wrong = Vec::new();
    // What any path may take is not known; there is nothing that has expired, and nothing that may be moved.
    let idle = ["proxmox-delete-expired-snapshots", "proxmox-rebalance"];
    let known = |entry: &&Entry| {
        let open = entry.api.iter().any(|call| call.ends_with(" *"));
        !entry.audited && !open && !idle.contains(&entry.name)
    };
    for entry in tools::all().filter(known) {
        let lacking = families.iter().flat_map(|family| &family.lacking);
        let lacking: Vec<_> = lacking.collect();
        let none = lacking.iter().any(|lacking| lacking.none.contains(&entry.name));
        let some = lacking.iter().any(|lacking| lacking.some.contains(&entry.name));
        let happened = example(&token(&[AUDITOR]).await, entry).await;
        match (none, some, &happened) {
            (true, _, Ok(result)) => wrong.push(format!("{} cannot work, and did: {result}", entry.name)),
            (false, false, Err(e)) => wrong.push(format!("{} can work, and did not: {e}", entry.name)),
            _ => {}
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

async fn example(test: &Test, entry: &Entry) -> Result<Value, String> {
    let mut arguments: Value = serde_json::from_str(entry.example.1).unwrap();
    if arguments["upid"] == "UPID:…" {
        let tasks = test.call("proxmox-list-tasks", json!({"limit": 1})).await;
        arguments["upid"] = tasks["tasks"][0]["upid"].clone();
    }
    test.mcp.call(entry.name, arguments).await.map_err(|e| e.to_string())
}
