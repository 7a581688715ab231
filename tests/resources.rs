//! Resources and their templates, and what the server says of itself: through real clients of both eras.
#![expect(clippy::unwrap_used, reason = "tests")]

mod mcp_client;
mod support;

use std::sync::Arc;

use mcp_client::{ERAS, Era, bad_cursor, connect, refusal};
use proxmox_mcp::{
    call::{App, Cluster},
    embedded::cluster_config,
    pve::Client,
    sandbox::{Fault, FaultKind, Sandbox},
};
use rmcp::model::{CacheScope, ReadResourceRequestParams};
use serde_json::json;
use support::{options, start};

/// `home` and `lab`.
fn two_clusters() -> Arc<App> {
    let cluster = |name: &str| {
        let sandbox = Sandbox::new(options());
        Cluster { name: name.to_owned(), client: Client::with_transport(&cluster_config(&sandbox), Arc::new(sandbox)) }
    };
    Arc::new(App::with_clusters(vec![cluster("home"), cluster("lab")], &support::everything()).unwrap())
}

#[tokio::test(start_paused = true)]
async fn lists_name_the_fixed_resources_and_contact_nobody() {
    let test = start(options()).await;
    for era in ERAS {
        let client = connect(&test.app, era).await;
        let resources = client.service.list_all_resources().await.unwrap();
        let uris: Vec<&str> = resources.iter().map(|resource| resource.uri.as_str()).collect();
        assert_eq!(uris, ["proxmox://default/overview", "proxmox://default/nodes", "proxmox://tools"]);
        let templates = client.service.list_all_resource_templates().await.unwrap();
        let uris: Vec<&str> = templates.iter().map(|template| template.uri_template.as_str()).collect();
        let wanted = [
            "proxmox://default/node/{node}",
            "proxmox://default/guest/{vmid}",
            "proxmox://default/guest/{vmid}/config",
            "proxmox://default/task/{upid}/log",
            "proxmox://default/storage/{node}/{storage}",
            "proxmox://tools/{name}",
        ];
        assert_eq!(uris, wanted);
        for template in templates {
            assert!(template.title.is_some() && template.description.is_some() && template.mime_type.is_some());
            assert!(template.annotations.unwrap().audience.unwrap().len() == 2);
        }
    }
    assert_eq!(test.sent.count(), 0);
}

#[tokio::test(start_paused = true)]
async fn several_clusters_have_resources_each_and_templates_with_a_variable() {
    let app = two_clusters();
    let client = connect(&app, Era::Modern).await;
    let resources = client.service.list_all_resources().await.unwrap();
    let uris: Vec<&str> = resources.iter().map(|resource| resource.uri.as_str()).collect();
    let wanted = ["home/overview", "home/nodes", "lab/overview", "lab/nodes", "tools"];
    assert_eq!(uris, wanted.map(|rest| format!("proxmox://{rest}")));
    let templates = client.service.list_all_resource_templates().await.unwrap();
    assert_eq!(templates[0].uri_template, "proxmox://{cluster}/node/{node}");
    assert_eq!(client.json("proxmox://lab/guest/100").await["vmid"], 100);
    assert_eq!(client.unreadable("proxmox://all/nodes").await.0, -32602);
}

#[tokio::test(start_paused = true)]
async fn every_resource_shows_what_its_tool_does() {
    let test = start(options()).await;
    let started = test.call("proxmox-start-vm", json!({"vmid": 107, "wait": true})).await;
    let upid = started["upid"].as_str().unwrap();
    for era in ERAS {
        let client = connect(&test.app, era).await;
        assert_eq!(client.json("proxmox://default/nodes").await["total"], 3);
        assert_eq!(client.json("proxmox://default/overview").await["quorate"], true);
        assert_eq!(client.json("proxmox://default/node/pve2").await["node"], "pve2");
        assert_eq!(client.json("proxmox://default/guest/100").await["name"], "web-01");
        assert_eq!(client.json("proxmox://default/guest/108").await["name"], "pihole");
        assert_eq!(client.json("proxmox://default/guest/100/config").await["name"], "web-01");
        assert_eq!(client.json("proxmox://default/guest/108/config").await["hostname"], "pihole");
        assert_eq!(client.json("proxmox://default/storage/pve1/nas").await["shared"], true);
        for upid in [upid.to_owned(), upid.replace(':', "%3A").replace('@', "%40")] {
            let (mime_type, log) = client.read(&format!("proxmox://default/task/{upid}/log")).await;
            assert_eq!((mime_type.as_str(), log.ends_with("TASK OK")), ("text/plain", true), "{log}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_not_there_is_a_resource_not_found() {
    let test = start(options()).await;
    for era in ERAS {
        let client = connect(&test.app, era).await;
        for uri in [
            "proxmox://default/guest/9999",
            "proxmox://default/guest/web-01",
            "proxmox://default/guest/-1",
            "proxmox://default/guest/",
            "proxmox://default/guest/100/confic",
            "proxmox://default/node/pve9",
            "proxmox://default/node/..%2F..%2Faccess",
            "proxmox://default/node/%ff",
            "proxmox://default/storage/pve1/nowhere",
            "proxmox://default/task/nonsense/log",
            "proxmox://default",
            "proxmox://elsewhere/nodes",
            "proxmox://tools/proxmox-start-vn",
            "proxmox://tools/",
            "file:///etc/passwd",
            "",
        ] {
            assert_eq!(client.unreadable(uri).await.0, era.not_found(), "{uri}");
        }
        let (_, words) = client.unreadable("proxmox://tools/proxmox-start-vn").await;
        assert!(words.contains("did you mean 'proxmox-start-vm'"), "{words}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_cluster_that_does_not_answer_is_an_error_with_its_words() {
    let test = start(options()).await;
    test.sandbox.fault(Fault::new(FaultKind::Refuse));
    for era in ERAS {
        let client = connect(&test.app, era).await;
        let (code, words) = client.unreadable("proxmox://default/nodes").await;
        assert_eq!((code, words.contains("refused")), (-32603, true), "{words}");
    }
}

#[tokio::test(start_paused = true)]
async fn bad_cursors_are_invalid_parameters_in_every_list() {
    let test = start(options()).await;
    for era in ERAS {
        let client = connect(&test.app, era).await;
        let service = &client.service;
        let codes = [
            refusal(service.list_tools(bad_cursor())).await.0,
            refusal(service.list_resources(bad_cursor())).await.0,
            refusal(service.list_resource_templates(bad_cursor())).await.0,
            refusal(service.list_prompts(bad_cursor())).await.0,
        ];
        assert_eq!(codes, [-32602; 4]);
    }
}

#[tokio::test(start_paused = true)]
async fn many_clusters_come_in_pages() {
    let sandbox = Sandbox::new(options());
    let cluster = |n: usize| Cluster {
        name: format!("c{n}"),
        client: Client::with_transport(&cluster_config(&sandbox), Arc::new(sandbox.clone())),
    };
    let app = Arc::new(App::with_clusters((0..120).map(cluster).collect(), &support::everything()).unwrap());
    let client = connect(&app, Era::Modern).await;
    let first = client.service.list_resources(None).await.unwrap();
    assert_eq!((first.resources.len(), first.next_cursor.is_some()), (100, true));
    let mut uris: Vec<String> =
        client.service.list_all_resources().await.unwrap().into_iter().map(|resource| resource.uri).collect();
    assert_eq!(uris.len(), 241);
    uris.sort();
    uris.dedup();
    assert_eq!(uris.len(), 241);
}

#[tokio::test(start_paused = true)]
async fn caches_may_keep_lists_for_themselves_and_no_state() {
    let test = start(options()).await;
    let client = connect(&test.app, Era::Modern).await;
    let kept = (Some(300_000), Some(CacheScope::Private));
    let tools = client.service.list_tools(None).await.unwrap();
    assert_eq!((tools.ttl_ms, tools.cache_scope), kept);
    let resources = client.service.list_resources(None).await.unwrap();
    assert_eq!((resources.ttl_ms, resources.cache_scope), kept);
    let templates = client.service.list_resource_templates(None).await.unwrap();
    assert_eq!((templates.ttl_ms, templates.cache_scope), kept);
    let prompts = client.service.list_prompts(None).await.unwrap();
    assert_eq!((prompts.ttl_ms, prompts.cache_scope), kept);
    let read = |uri: &str| client.service.read_resource(ReadResourceRequestParams::new(uri));
    let tool = read("proxmox://tools/proxmox-version").await.unwrap();
    assert_eq!((tool.ttl_ms, tool.cache_scope), kept);
    let state = read("proxmox://default/guest/100").await.unwrap();
    assert_eq!((state.ttl_ms, state.cache_scope), (Some(0), Some(CacheScope::Private)));
}

#[tokio::test(start_paused = true)]
async fn the_reference_has_the_tools_that_are_allowed_in_full() {
    let test = start(options()).await;
    let strict = Sandbox::new(options());
    let strict_client = Client::with_transport(&cluster_config(&strict), Arc::new(strict));
    let strict_cluster = Cluster { name: "sandbox".to_owned(), client: strict_client };
    let mut safety = support::everything();
    safety.policy.api_write = false;
    let strict = Arc::new(App::with_clusters(vec![strict_cluster], &safety).unwrap());
    for era in ERAS {
        let client = connect(&test.app, era).await;
        let (mime_type, list) = client.read("proxmox://tools").await;
        assert_eq!(mime_type, "text/markdown");
        for (tool, _) in test.app.tools() {
            assert!(list.contains(&format!("`{}`", tool.name)), "{}", tool.name);
        }
        let (_, one) = client.read("proxmox://tools/proxmox-resize-vm-disk").await;
        for part in ["# proxmox-resize-vm-disk", "| `grow_gb`", "“", "\"minimum\"", "poll_interval"] {
            assert!(one.contains(part), "{part} is not in {one}");
        }
        let client = connect(&strict, era).await;
        assert!(!client.read("proxmox://tools").await.1.contains("`proxmox-api-write`"));
        assert_eq!(client.unreadable("proxmox://tools/proxmox-api-write").await.0, era.not_found());
    }
}

#[tokio::test(start_paused = true)]
async fn tools_are_listed_in_the_registry_s_order() {
    let test = start(options()).await;
    let registry: Vec<&str> = test.app.tools().map(|(tool, _)| tool.name).collect();
    for era in ERAS {
        let client = connect(&test.app, era).await;
        let listed = client.service.list_tools(None).await.unwrap();
        assert_eq!(listed.next_cursor, None);
        assert_eq!(listed.tools.iter().map(|tool| &*tool.name).collect::<Vec<_>>(), registry);
    }
}

#[tokio::test(start_paused = true)]
async fn the_server_says_what_it_is_and_declares_what_it_has() {
    let test = start(options()).await;
    for era in ERAS {
        let client = connect(&test.app, era).await;
        let info = client.service.peer_info().unwrap();
        let server = info.server_info.clone().unwrap();
        assert_eq!((server.title.as_deref(), server.icons.map(|icons| icons.len())), (Some("Proxmox VE"), Some(1)));
        assert!(info.instructions.as_ref().unwrap().len() < 2048);
        let capabilities = serde_json::to_value(&info.capabilities).unwrap();
        let wanted = json!({
            "completions": {}, "prompts": {}, "resources": {"subscribe": true}, "tools": {},
            "extensions": {"io.modelcontextprotocol/tasks": {}},
        });
        assert_eq!(capabilities, wanted);
    }
}
