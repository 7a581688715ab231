//! Completion of prompt arguments and template variables: what is offered comes from the cluster.
#![expect(clippy::unwrap_used, reason = "tests")]

mod mcp_client;
mod support;

use std::sync::Arc;

use mcp_client::{Client, ERAS, Era, connect};
use proxmox_mcp::{
    call::{App, Cluster},
    embedded::cluster_config,
    pve,
    sandbox::{Fault, FaultKind, Options, Sandbox},
};
use rmcp::model::Reference;
use serde_json::json;
use support::{options, start};

fn prompt(name: &str) -> Reference {
    Reference::for_prompt(name)
}

fn template(path: &str) -> Reference {
    Reference::for_resource(format!("proxmox://{path}"))
}

/// The values offered, in one line.
async fn offered(client: &Client, reference: Reference, typed: (&str, &str), chosen: &[(&str, &str)]) -> String {
    client.complete(reference, typed, chosen).await.values.join(" ")
}

#[tokio::test(start_paused = true)]
async fn template_variables_are_completed_from_the_cluster() {
    let test = start(options()).await;
    for era in ERAS {
        let client = connect(&test.app, era).await;
        let of = async |path: &str, typed: (&str, &str), chosen: &[(&str, &str)]| {
            offered(&client, template(path), typed, chosen).await
        };
        assert_eq!(of("default/node/{node}", ("node", ""), &[]).await, "pve1 pve2 pve3");
        assert_eq!(of("default/node/{node}", ("node", "E2"), &[]).await, "pve2");
        assert_eq!(
            of("default/guest/{vmid}", ("vmid", "10"), &[]).await,
            "100 101 102 103 104 105 106 107 108 109 110"
        );
        let storage = "default/storage/{node}/{storage}";
        assert_eq!(of(storage, ("storage", "loc"), &[("node", "pve1")]).await, "local local-lvm");
        assert_eq!(of(storage, ("storage", ""), &[("node", "pve9")]).await, "");
        assert_eq!(of(storage, ("node", ""), &[("storage", "nas")]).await, "pve1 pve2 pve3");
        assert_eq!(of("tools/{name}", ("name", "proxmox-start-v"), &[]).await, "proxmox-start-vm");
    }
}

#[tokio::test(start_paused = true)]
async fn prompt_arguments_are_completed_from_the_cluster_and_from_what_was_chosen() {
    let test = start(options()).await;
    for era in ERAS {
        let client = connect(&test.app, era).await;
        let of = async |name: &str, typed: (&str, &str), chosen: &[(&str, &str)]| {
            offered(&client, prompt(name), typed, chosen).await
        };
        assert_eq!(of("diagnose-guest", ("guest", "web"), &[]).await, "web-01 web-02");
        assert_eq!(of("diagnose-guest", ("guest", "108"), &[]).await, "108");
        assert_eq!(of("diagnose-guest", ("symptom", "sl"), &[]).await, "slow");
        assert_eq!(of("tidy-snapshots", ("keep", ""), &[("guest", "web-01")]).await, "before-upgrade");
        assert_eq!(of("tidy-snapshots", ("keep", ""), &[("guest", "100")]).await, "before-upgrade");
        assert_eq!(of("tidy-snapshots", ("keep", ""), &[]).await, "");
        assert_eq!(of("tidy-snapshots", ("guest", ""), &[("pool", "archive")]).await, "");
        assert_eq!(of("provision-machine", ("pool", ""), &[]).await, "archive development production");
        assert_eq!(of("provision-machine", ("bridge", "vmbr0"), &[("node", "pve2")]).await, "vmbr0");
        assert_eq!(of("provision-machine", ("name", "x"), &[]).await, "");
        let users = "alice@pve auditor@pve root@pam @operators alice@pve!laptop auditor@pve!read root@pam!sandbox";
        assert_eq!(of("review-access", ("who", ""), &[]).await, users);
    }
}

#[tokio::test(start_paused = true)]
async fn images_are_templates_and_volumes_of_the_kind_that_was_chosen() {
    let test = start(options()).await;
    let client = connect(&test.app, Era::Modern).await;
    let of = async |chosen: &[(&str, &str)]| {
        client.complete(prompt("provision-machine"), ("source", ""), chosen).await.values
    };
    let (vm, container) = (of(&[("kind", "vm")]).await, of(&[("kind", "container"), ("node", "pve1")]).await);
    assert!(vm.iter().any(|name| name.starts_with("debian-12")), "{vm:?}");
    assert!(vm.iter().any(|volume| volume.contains(":iso/")) && !vm.iter().any(|volume| volume.contains(":vztmpl/")));
    assert!(!container.is_empty() && container.iter().all(|volume| volume.contains(":vztmpl/")), "{container:?}");
    assert!(of(&[]).await.len() >= vm.len());
}

#[tokio::test(start_paused = true)]
async fn tasks_are_offered_newest_first_with_those_that_run_before_all() {
    let test = start(options()).await;
    let clone = json!({"source_vmid": 9000, "name": "copy", "confirm": true});
    let running = test.call("proxmox-clone-vm", clone).await["upid"].as_str().unwrap().to_owned();
    test.call("proxmox-start-vm", json!({"vmid": 107, "wait": true})).await;
    let client = connect(&test.app, Era::Modern).await;
    let log = || template("default/task/{upid}/log");
    let all = client.complete(log(), ("upid", ""), &[]).await.values;
    assert_eq!(all[0], running);
    assert!(all.len() > 2);
    let started = client.complete(log(), ("upid", "qmstart:107"), &[]).await.values;
    assert_eq!(started.len(), 1);
    let of_guest = client.complete(log(), ("upid", ""), &[("vmid", "107")]).await.values;
    assert_eq!(of_guest, started);
}

#[tokio::test(start_paused = true)]
async fn no_more_than_a_hundred_values_are_offered_and_the_rest_is_counted() {
    let test = start(Options { guests: 3000, ..options() }).await;
    let client = connect(&test.app, Era::Modern).await;
    let all = client.complete(template("default/guest/{vmid}"), ("vmid", ""), &[]).await;
    assert_eq!((all.values.len(), all.has_more, all.total), (100, Some(true), None));
    let some = client.complete(template("default/guest/{vmid}"), ("vmid", "12"), &[]).await;
    assert_eq!((some.values.len(), some.has_more), (100, Some(true)));
    assert!(some.total.unwrap() > 100 && some.values.iter().all(|vmid| vmid.starts_with("12")));
    let one = client.complete(template("default/guest/{vmid}"), ("vmid", "1234"), &[]).await;
    assert_eq!((one.values.join(" "), one.has_more, one.total), ("1234".to_owned(), Some(false), Some(1)));
}

#[tokio::test(start_paused = true)]
async fn the_cluster_that_was_chosen_is_asked() {
    let cluster = |name: &str, nodes: usize| {
        let sandbox = Sandbox::new(Options { nodes: Options::numbered_nodes(nodes), ..options() });
        let client = pve::Client::with_transport(&cluster_config(&sandbox), Arc::new(sandbox));
        Cluster { name: name.to_owned(), client }
    };
    let app =
        Arc::new(App::with_clusters(vec![cluster("home", 1), cluster("work", 2)], &support::everything()).unwrap());
    let client = connect(&app, Era::Modern).await;
    let node = || template("{cluster}/node/{node}");
    assert_eq!(offered(&client, node(), ("cluster", ""), &[]).await, "home work");
    assert_eq!(offered(&client, node(), ("node", ""), &[]).await, "pve1");
    assert_eq!(offered(&client, node(), ("node", ""), &[("cluster", "work")]).await, "pve1 pve2");
    assert_eq!(offered(&client, template("work/node/{node}"), ("node", ""), &[]).await, "pve1 pve2");
    assert_eq!(offered(&client, node(), ("node", ""), &[("cluster", "nope")]).await, "");
    let chosen = [("cluster", "work")];
    assert_eq!(offered(&client, prompt("plan-node-maintenance"), ("node", ""), &chosen).await, "pve1 pve2");
    assert_eq!(offered(&client, prompt("review-access"), ("cluster", "w"), &[]).await, "work");
}

#[tokio::test(start_paused = true)]
async fn a_cluster_that_does_not_answer_offers_nothing_and_soon() {
    for fault in [FaultKind::Refuse, FaultKind::Stall] {
        let test = start(options()).await;
        test.sandbox.fault(Fault::new(fault));
        for era in ERAS {
            let client = connect(&test.app, era).await;
            let began = tokio::time::Instant::now();
            let info = client.complete(prompt("diagnose-guest"), ("guest", "w"), &[]).await;
            assert_eq!((info.values.len(), info.has_more), (0, Some(false)));
            assert!(began.elapsed().as_secs() <= 5);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn unknown_references_and_arguments_are_invalid_parameters() {
    let test = start(options()).await;
    for era in ERAS {
        let client = connect(&test.app, era).await;
        for (reference, argument) in [
            (prompt("nope"), "guest"),
            (prompt("diagnose-guest"), "colour"),
            (prompt("diagnose-guest"), "cluster"),
            (template("default/guest/{id}"), "id"),
            (template("default/guest/{vmid}"), "node"),
            (template("default/guest/{vmid}"), "cluster"),
            (template("elsewhere/guest/{vmid}"), "vmid"),
            (template("tools/{name}"), "vmid"),
            (template("default/nodes"), "node"),
        ] {
            let words = format!("{reference:?} {argument}");
            assert_eq!(client.no_completion(reference, (argument, "")).await.0, -32602, "{words}");
        }
    }
    assert_eq!(test.sent.count(), 0);
}
