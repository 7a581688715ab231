//! Lanes on the simulated cluster: all done, or nothing left.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::{sync::Arc, time::Duration};

use tokio_util::sync::CancellationToken;

use super::*;
use crate::{
    embedded::cluster_config,
    error::Kind,
    policy::{Effect, Facts, Policy, Reach, Settings},
    progress::Progress,
    pve::{Client, Reader, Scope, Seen, WaitOptions},
    sandbox::{Fault, FaultKind, Options, Sandbox},
    tool::{Action, Control, Deserialize, Entry, JsonSchema, Plan, Tool},
    trail::Trail,
};

/// Stands for any tool that makes VMs.
#[derive(Deserialize, JsonSchema)]
struct Maker {}

impl Tool for Maker {
    const NAME: &str = "proxmox-maker";
    const TITLE: &str = "Maker";
    const API: &[&str] = &[
        "POST /nodes/{node}/qemu/{vmid}/clone",
        "PUT /nodes/{node}/qemu/{vmid}/config",
        "POST /nodes/{node}/qemu/{vmid}/status/start",
        "POST /nodes/{node}/qemu/{vmid}/status/stop",
        "DELETE /nodes/{node}/qemu/{vmid}",
        "GET /nodes/{node}/qemu/{vmid}/agent/info",
    ];
    const EXAMPLE: (&str, &str) = ("Make", "{}");
}

impl Action for Maker {
    const EFFECT: Effect = Effect::Write;
    const CONTROL: Control = Control::new(900);
    async fn plan(&self, _: &Reader<'_>) -> crate::error::Result<Plan> {
        Ok(Plan::new("make"))
    }
}

static MAKER: Entry = Entry::action::<Maker>();

struct Bench {
    sandbox: Sandbox,
    client: Client,
}

impl Bench {
    fn new() -> Self {
        let sandbox = Sandbox::new(Options::default());
        let client = Client::with_transport(&cluster_config(&sandbox), Arc::new(sandbox.clone()));
        Self { sandbox, client }
    }

    fn machine(vmid: u32) -> Lane {
        let at = At { vmid, kind: GuestKind::Qemu, node: "pve1".to_owned() };
        let name = format!("m{vmid}");
        let clone =
            Request::post("/nodes/pve1/qemu/9000/clone").param("newid", vmid).param("name", &name).param("full", 1);
        Lane { chosen: true, ..Lane::of(&name, &at) }
            .step(Step::new(format!("cloning {name}"), clone).back(Request::delete(at.path("")).flag("purge", true)))
            .step(Step::new(format!("configuring {name}"), Request::put(at.path("config")).param("cores", 3)))
            .step(
                Step::new(format!("starting {name}"), Request::post(at.path("status/start")))
                    .back(Request::post(at.path("status/stop"))),
            )
    }

    fn lanes(vmids: std::ops::Range<u32>) -> Lanes {
        Lanes { on_failure: OnFailure::Rollback, ..Lanes::new("machines", vmids.map(Self::machine).collect()) }
    }

    async fn run(&self, lanes: Lanes, cancel: CancellationToken, seconds: u64) -> Report {
        let scope = Scope {
            tool: "test",
            api: MAKER.api,
            also: &[],
            progress: Progress::none(),
            cancel: CancellationToken::new(),
            seen: Seen::default(),
        };
        let reader = Reader::new(&self.client, &scope);
        let policy = Policy::new(Settings::everything().unwrap());
        let (requests, back) = (lanes.requests(), lanes.back());
        let facts = Facts::gather(&reader, &Reach::of(&requests), false).await.unwrap();
        let there = policy.approve(Effect::Write, &requests, &facts).unwrap();
        let back = policy.approve_back(&requests, &back).unwrap();
        let wait = WaitOptions { timeout: Duration::from_secs(seconds), poll_interval: Duration::from_secs(1) };
        let way = Way {
            entry: &MAKER,
            client: self.client.clone(),
            policy,
            trail: Trail::default(),
            progress: Progress::none(),
            cancel,
            wait,
            stops_task: false,
            renumbers: true,
        };
        Engine::new(way, lanes, None, &[]).run(there, back, Vec::new()).await
    }

    /// Guests with these numbers, and whether they run.
    async fn guests(&self, of: std::ops::Range<u32>) -> Vec<(u32, String)> {
        let rows: Vec<serde_json::Value> =
            self.client.get(&Request::get("/cluster/resources").param("type", "vm")).await.unwrap();
        let mut all: Vec<(u32, String)> = rows
            .iter()
            .map(|row| (row["vmid"].as_u64().unwrap() as u32, row["status"].as_str().unwrap().to_owned()))
            .collect();
        all.retain(|(vmid, _)| of.contains(vmid));
        all.sort();
        all
    }
}

#[tokio::test(start_paused = true)]
async fn lanes_that_nothing_stops_are_all_done() {
    let bench = Bench::new();
    let report = bench.run(Bench::lanes(700..704), CancellationToken::new(), 900).await;
    assert_eq!(report.error.map(|e| e.report()), None);
    assert_eq!(report.rows["done"], 4);
    assert_eq!(bench.guests(700..710).await.len(), 4);
}

#[tokio::test(start_paused = true)]
async fn a_failure_anywhere_takes_everything_back() {
    for path in ["/nodes/*/qemu/*/clone", "/nodes/*/qemu/702/status/start"] {
        let bench = Bench::new();
        let fault =
            Fault::new(FaultKind::TaskFailure("no space left".to_owned())).on(http::Method::POST, path).times(1);
        bench.sandbox.fault(fault);
        let report = bench.run(Bench::lanes(700..704), CancellationToken::new(), 900).await;
        let error = report.error.map(|e| e.to_string()).unwrap_or_default();
        assert!(error.contains("no space left") && error.contains("taken back"), "{error}");
        assert_eq!(bench.guests(700..710).await, [], "{path}: {}", serde_json::Value::Object(report.rows));
    }
}

#[tokio::test(start_paused = true)]
async fn what_takes_too_long_or_is_cancelled_is_taken_back() {
    for millis in [0, 100, 900, 2_000, 5_000, 9_000] {
        let bench = Bench::new();
        let cancel = CancellationToken::new();
        let later = cancel.clone();
        tokio::spawn(async move {
            tokio::time::sleep(Duration::from_millis(millis)).await;
            later.cancel();
        });
        let report = bench.run(Bench::lanes(700..703), cancel, 900).await;
        let kind = report.error.as_ref().map(crate::error::Error::kind);
        let left = bench.guests(700..710).await;
        match kind {
            Some(kind) => assert_eq!((kind, left), (Kind::Cancelled, vec![]), "after {millis} ms"),
            None => assert_eq!(left.len(), 3, "after {millis} ms"),
        }
    }
    let bench = Bench::new();
    let report = bench.run(Bench::lanes(700..703), CancellationToken::new(), 1).await;
    assert_eq!(report.error.map(|e| e.kind()), Some(Kind::Timeout));
    assert_eq!(bench.guests(700..710).await, []);
}

#[tokio::test(start_paused = true)]
async fn a_number_that_was_taken_meanwhile_is_left_alone() {
    let bench = Bench::new();
    let first = bench.run(Bench::lanes(700..701), CancellationToken::new(), 900).await;
    assert!(first.error.is_none());
    let report = bench.run(Bench::lanes(700..702), CancellationToken::new(), 900).await;
    assert_eq!(report.error.map(|e| e.report()), None);
    let vmids: Vec<&serde_json::Value> =
        report.rows["machines"].as_array().unwrap().iter().map(|row| &row["vmid"]).collect();
    assert_eq!(bench.guests(700..702).await.len(), 2);
    assert!(*vmids[0] != 700 && *vmids[1] == 701, "{vmids:?}");
}
