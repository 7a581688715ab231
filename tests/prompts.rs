//! Prompts: what they take, what they say, and that they name nothing that is not there.
#![expect(clippy::unwrap_used, reason = "tests")]

mod mcp_client;
mod support;

use std::{collections::BTreeSet, sync::Arc};

use mcp_client::{Client, ERAS, Era, connect};
use proxmox_mcp::{
    call::{App, Cluster},
    config::Safety,
    embedded::cluster_config,
    policy::Effect,
    pve,
    sandbox::Sandbox,
    tools,
};
use rmcp::model::Prompt;
use serde_json::{Map, Value, json};
use support::{options, start};

fn app(names: &[&str]) -> Arc<App> {
    let sandbox = Sandbox::new(options());
    let cluster = |name: &&str| {
        let client = pve::Client::with_transport(&cluster_config(&sandbox), Arc::new(sandbox.clone()));
        Cluster { name: (*name).to_owned(), client }
    };
    Arc::new(App::with_clusters(names.iter().map(cluster).collect(), &Safety::default()).unwrap())
}

/// Every argument of a prompt, or those that must be given.
fn arguments(prompt: &Prompt, all: bool) -> Value {
    let arguments = prompt.arguments.iter().flatten().filter(|argument| all || argument.required == Some(true));
    let value = |name: &str| if name == "cluster" { "work" } else { "a-value" };
    arguments.map(|argument| (argument.name.clone(), Value::from(value(&argument.name)))).collect::<Map<_, _>>().into()
}

async fn prompts(client: &Client) -> Vec<Prompt> {
    client.service.list_all_prompts().await.unwrap()
}

fn names(text: &str) -> BTreeSet<&str> {
    let is_name = |c: char| c.is_ascii_lowercase() || c == '-';
    let words = text.split(|c: char| !is_name(c)).map(|word| word.trim_end_matches('-'));
    words.filter(|word| word.starts_with("proxmox-")).collect()
}

#[tokio::test(start_paused = true)]
async fn every_prompt_is_described_and_contacts_nobody() {
    let test = start(options()).await;
    for era in ERAS {
        let client = connect(&test.app, era).await;
        let listed = prompts(&client).await;
        let wanted = [
            "provision-machine",
            "diagnose-guest",
            "plan-node-maintenance",
            "review-backups",
            "review-access",
            "tidy-snapshots",
        ];
        assert_eq!(listed.iter().map(|prompt| prompt.name.as_str()).collect::<Vec<_>>(), wanted);
        for prompt in &listed {
            assert!(prompt.title.is_some() && prompt.description.is_some());
            assert!(prompt.arguments.iter().flatten().all(|argument| argument.description.is_some()));
            client.prompt(&prompt.name, arguments(prompt, true)).await;
        }
    }
    assert_eq!(test.sent.count(), 0);
}

#[tokio::test(start_paused = true)]
async fn prompts_name_tools_that_exist_and_leave_no_gaps() {
    let app = app(&["home", "work"]);
    let client = connect(&app, Era::Modern).await;
    for prompt in prompts(&client).await {
        for all in [true, false] {
            let text = client.prompt(&prompt.name, arguments(&prompt, all)).await;
            assert!(!text.contains("{{") && !text.contains("\n["), "{}: {text}", prompt.name);
            assert!(text.len() < 5000, "{}: {} bytes", prompt.name, text.len());
            let named = names(&text);
            assert!(named.len() >= 5, "{}: {named:?}", prompt.name);
            for name in named {
                assert!(tools::all().any(|tool| tool.name == name), "{} names {name}", prompt.name);
            }
        }
    }
}

/// Whoever changes something shows it first.
#[tokio::test(start_paused = true)]
async fn prompts_that_name_a_tool_that_changes_something_demand_a_dry_run_and_a_yes() {
    let app = app(&["default"]);
    let client = connect(&app, Era::Legacy).await;
    for prompt in prompts(&client).await {
        let text = client.prompt(&prompt.name, arguments(&prompt, false)).await;
        let changing = names(&text)
            .into_iter()
            .filter(|name| tools::all().any(|tool| tool.name == *name && tool.effect > Effect::Read))
            .count();
        let careful = text.contains("dry run") || text.contains("dry_run");
        let asks = ["agree", "yes", "consent"].iter().any(|word| text.contains(word));
        assert!(changing == 0 || (careful && asks), "{}: {text}", prompt.name);
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_given_stands_in_the_text_and_what_is_not_is_left_to_the_model() {
    let test = start(options()).await;
    let client = connect(&test.app, Era::Modern).await;
    let given = json!({"name": "web-09", "node": "pve2", "pool": "", "size": "4 cores"});
    let text = client.prompt("provision-machine", given).await;
    assert!(text.starts_with("Provision a new machine called web-09"), "{text}");
    assert!(text.contains("Use node pve2") && text.contains("Size: 4 cores"), "{text}");
    assert!(!text.contains("Choose the node") && !text.contains("for pool"), "{text}");
    let text = client.prompt("provision-machine", json!({"name": "web-09"})).await;
    assert!(text.contains("Choose the node") && !text.contains("cluster="), "{text}");
}

#[tokio::test(start_paused = true)]
async fn several_clusters_are_chosen_by_an_argument() {
    let app = app(&["home", "work"]);
    for era in ERAS {
        let client = connect(&app, era).await;
        for prompt in prompts(&client).await {
            assert_eq!(prompt.arguments.unwrap().last().unwrap().name, "cluster", "{}", prompt.name);
        }
        let text = client.prompt("review-backups", json!({"cluster": "work"})).await;
        assert!(text.contains("give cluster=work with every call"), "{text}");
        let (code, words) = client.no_prompt("review-backups", json!({"cluster": "nope"})).await;
        assert_eq!((code, words.as_str()), (-32602, "cluster: expected one of home, work, got 'nope'"));
    }
}

#[tokio::test(start_paused = true)]
async fn bad_prompts_and_arguments_are_invalid_parameters_that_say_which() {
    let test = start(options()).await;
    for era in ERAS {
        let client = connect(&test.app, era).await;
        for (name, arguments, wanted) in [
            ("provision-machin", json!({}), "did you mean 'provision-machine'?"),
            ("provision-machine", json!({}), "name: missing"),
            ("provision-machine", json!({"name": "  "}), "name: missing"),
            ("provision-machine", json!({"name": ["a"]}), "name: expected a text"),
            ("diagnose-guest", json!({"guest": "web-01", "colour": "red"}), "unknown argument 'colour'"),
        ] {
            let (code, words) = client.no_prompt(name, arguments).await;
            assert_eq!((code, words.contains(wanted)), (-32602, true), "{words}");
        }
    }
}
