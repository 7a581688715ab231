//! The tools under the names of older servers: that the tables hold together, that every name does what it says, and that
//! nothing gets round policy, confirmation or the record by another name.
#![expect(clippy::unwrap_used, reason = "tests")]

mod mcp_client;
mod support;

use std::collections::BTreeSet;

use mcp_client::ERAS;
use proxmox_mcp::{
    tool_names::{Alias, Names, alias::To},
    tools,
};
use serde_json::{Value, json};
use support::older_names::named;

fn all() -> impl Iterator<Item = (Names, &'static Alias)> {
    Names::OLDER.iter().flat_map(|names| names.aliases().map(|alias| (*names, alias)))
}

#[test]
fn the_tables_hold_together() {
    for names in Names::OLDER {
        let mut seen = BTreeSet::new();
        for alias in names.aliases() {
            assert!(seen.insert(alias.name), "{} twice", alias.name);
        }
        assert!(names.missing().iter().all(|(missing, why)| !seen.contains(missing) && !why.is_empty()));
    }
    for (_, alias) in all() {
        let name = alias.name;
        assert!(!alias.to.is_empty() && !alias.title.is_empty(), "{name}");
        assert!(alias.description.ends_with('.') && alias.example.0.len() > 9, "{name}");
        assert!(!alias.description.contains("proxmox-"), "{name} names a tool that is not there");
        let targets = alias.to.iter().map(|target| target.tools().count()).sum::<usize>();
        assert_eq!(alias.entries().count(), targets, "{name}: a tool that is not there");
        let schemas: Vec<_> = alias.entries().map(|entry| entry.input_schema(&[])).collect();
        let known = |key: &str| schemas.iter().any(|schema| schema["properties"].get(key).is_some());
        let mut seen = BTreeSet::new();
        for argument in alias.arguments {
            assert!(seen.insert(argument.name), "{name}: {} twice", argument.name);
            match argument.to {
                To::Own(own) => assert!(known(own), "{name}: {own}"),
                To::Param(_) => assert!(known("params"), "{name}"),
                To::Work => assert!(alias.work.is_some(), "{name}: nothing looks at {}", argument.name),
                To::Nothing => {}
            }
            if let Some(json) = argument.default {
                serde_json::from_str::<Value>(json).unwrap();
            }
        }
        for (key, json) in alias.fixed {
            assert!(known(key), "{name}: {key}");
            serde_json::from_str::<Value>(json).unwrap();
        }
    }
}

#[tokio::test(start_paused = true)]
async fn every_name_of_every_set_does_what_it_says() {
    let mut bad: Vec<String> = Vec::new();
    for (names, alias) in all() {
        let test = named(names).await;
        let listed = test.mcp.tools().await.unwrap();
        assert!(listed.iter().any(|name| name == alias.name), "{} is not listed", alias.name);
        let arguments = test.older_example(alias).await;
        test.sent.forget();
        let result = match test.mcp.call(alias.name, arguments.clone()).await {
            Ok(result) => result,
            Err(e) => {
                bad.push(format!("{} {arguments}: {e}", alias.name));
                continue;
            }
        };
        let entry = alias.entries().next().unwrap();
        support::fits(alias.name, entry.output_schema(), &result);
        let changes = alias.entries().any(|entry| entry.control.is_some());
        assert_eq!(!test.sent.writes().is_empty(), changes, "{}: {result}", alias.name);
        if changes {
            assert!(matches!(result["state"].as_str(), Some("done" | "running")), "{}: {result}", alias.name);
        }
    }
    assert_eq!(bad, Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn our_own_names_are_unknown_then() {
    for names in Names::OLDER {
        let test = named(*names).await;
        let listed: Vec<String> = test.mcp.tools().await.unwrap();
        assert!(tools::all().all(|entry| !listed.contains(&entry.name.to_owned())));
        for entry in tools::all() {
            let said = test.fails(entry.name, json!({})).await;
            assert!(said.contains("unknown tool"), "{said}");
        }
        assert_eq!(test.sent.count(), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_told_beside_the_tools_has_their_names() {
    for names in Names::OLDER {
        let test = named(*names).await;
        for era in ERAS {
            let client = mcp_client::connect(&test.app, era).await;
            assert!(client.service.list_prompts(None).await.unwrap().prompts.is_empty());
            let list = client.read("proxmox://tools").await.1;
            for alias in names.aliases() {
                assert!(list.contains(&format!("| `{}` |", alias.name)), "{}", alias.name);
                let one = client.read(&format!("proxmox://tools/{}", alias.name)).await.1;
                assert!(one.contains(alias.description) && one.contains("#### Arguments"), "{one}");
            }
            assert_eq!(client.unreadable("proxmox://tools/proxmox-list-vms").await.0, era.not_found());
            // What shows the cluster goes on to.
            let overview = client.read("proxmox://default/overview").await.1;
            assert!(overview.contains("pve1"), "{overview}");
        }
    }
}
