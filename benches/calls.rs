//! What the server itself costs, in-process, against the simulated cluster: tools/list, one small call, a list of 10,000
//! guests, 1,000 waits at once.
#![expect(clippy::unwrap_used, reason = "a benchmark may stop where it stands")]

use std::{hint::black_box, sync::Arc, time::Duration};

use criterion::{Criterion, criterion_group, criterion_main};
use futures::future::join_all;
use proxmox_mcp::{
    call::{self, App, Cluster, Context},
    config::Safety,
    policy::Settings,
    pve::Client,
    sandbox::{Options, Sandbox},
};
use serde_json::{Map, Value, json};
use tokio::runtime::Runtime;

fn app(options: Options) -> App {
    let sandbox = Sandbox::new(options);
    let config = proxmox_mcp::embedded::cluster_config(&sandbox);
    let client = Client::with_transport(&config, Arc::new(sandbox));
    let safety = Safety { policy: Settings::everything().unwrap(), ..Safety::default() };
    App::with_clusters(vec![Cluster { name: config.name, client }], &safety).unwrap()
}

fn arguments(value: Value) -> Map<String, Value> {
    value.as_object().cloned().unwrap_or_default()
}

async fn call(app: &App, tool: &str, args: Value) -> usize {
    let answer = call::run(app, tool, arguments(args), &Context::default()).await.unwrap();
    // Both faces of a result are made for every call.
    answer.text().len() + answer.data.to_string().len()
}

fn benches(c: &mut Criterion) {
    let runtime = Runtime::new().unwrap();

    c.bench_function("schemas of all tools, first tools/list", |b| {
        b.iter(|| {
            let app = App::with_clusters(Vec::new(), &Safety::default()).unwrap();
            app.tools().map(|(entry, schema)| schema.len() + entry.output_schema().len()).sum::<usize>()
        });
    });

    let small = app(Options::default());
    c.bench_function("one small call (list nodes)", |b| {
        b.iter(|| runtime.block_on(async { black_box(call(&small, "proxmox-list-nodes", json!({})).await) }));
    });

    let large = app(Options { guests: 10_000, ..Options::default() });
    let mut group = c.benchmark_group("10,000 guests");
    group.sample_size(10).measurement_time(Duration::from_secs(5));
    group.bench_function("first page of the VMs", |b| {
        b.iter(|| runtime.block_on(async { black_box(call(&large, "proxmox-list-vms", json!({})).await) }));
    });
    group.bench_function("all VMs in one answer", |b| {
        b.iter(|| {
            runtime.block_on(async { black_box(call(&large, "proxmox-list-vms", json!({"limit": 10_000})).await) })
        });
    });
    group.finish();

    let mut group = c.benchmark_group("tasks");
    group.sample_size(10);
    group.bench_function("1,000 waits at once on a task that has ended", |b| {
        let upid = runtime.block_on(async {
            let args = arguments(json!({"vmid": 107, "wait": true}));
            call::run(&small, "proxmox-start-vm", args, &Context::default()).await.unwrap().data["upid"].clone()
        });
        b.iter(|| {
            runtime.block_on(async {
                let waits = (0..1000).map(|_| call(&small, "proxmox-wait-task", json!({"upid": upid})));
                black_box(join_all(waits).await)
            })
        });
    });
    group.finish();
}

criterion_group!(calls, benches);
criterion_main!(calls);
