//! What `mint` prints is run, command by command, on the simulated cluster; then every tool's example is, with that token.
#![expect(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod support;

use std::collections::BTreeMap;

use proxmox_mcp::{
    config::{Auth, TokenId},
    embedded::cluster_config,
    mint::{self, Order},
    policy::{Facts, Policy},
    pve::{Client, Request, api::Api},
    rights::Release,
    sandbox::Sandbox,
    tool::{Effect, Entry},
    tools::FAMILIES,
};
use serde_json::{Value, json};
use support::{Test, options};

/// The words of a shell's line.
fn words(line: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut quoted = false;
    for c in line.chars() {
        match c {
            '\'' => quoted = !quoted,
            ' ' if !quoted => words.push(String::new()),
            c => words.last_mut().unwrap().push(c),
        }
    }
    assert!(!quoted, "{line}");
    words
}

/// `pveum` as an administrator runs it, through the API as root; a new token's secret.
async fn pveum(client: &Client, line: &str) -> Option<String> {
    let words = words(line);
    let at = words.iter().position(|word| word.starts_with("--")).unwrap_or(words.len());
    let (command, options) = words.split_at(at);
    let options = options.chunks(2).map(|pair| (pair[0].trim_start_matches("--").to_owned(), pair[1].clone()));
    let command: Vec<&str> = command.iter().map(String::as_str).collect();
    let request = match command.as_slice() {
        ["pveum", "role", "add", role] => Request::post("/access/roles").param("roleid", role),
        ["pveum", "user", "add", user] => Request::post("/access/users").param("userid", user),
        ["pveum", "user", "token", "add", user, token] => Request::post(format!("/access/users/{user}/token/{token}")),
        ["pveum", "acl", "modify", path] => Request::put("/access/acl").param("path", path),
        other => panic!("{other:?} is no command of pveum"),
    };
    let request = options.fold(request, |request, (key, value)| request.param(key, value));
    let approved = Policy::default().approve(Effect::Destroy, &[request], &Facts::default()).unwrap();
    let answer = client.execute(&approved[0]).await.unwrap_or_else(|e| panic!("{line}: {}", e.report()));
    answer["value"].as_str().map(str::to_owned)
}

/// Two servers on simulated clusters where the commands were run, each line changed first: with root's token, and with the
/// one that they make.
async fn with_commands(text: &str, change: impl Fn(&str) -> String) -> [Test; 2] {
    [made(text, &change, true).await, made(text, &change, false).await]
}

async fn made(text: &str, change: &impl Fn(&str) -> String, as_root: bool) -> Test {
    let sandbox = Sandbox::new(options());
    let root = Client::with_transport(&cluster_config(&sandbox), std::sync::Arc::new(sandbox.clone()));
    let mut secret = None;
    for line in text.lines().filter(|line| line.starts_with("pveum")) {
        secret = secret.or(pveum(&root, &change(line)).await);
    }
    let id = text.lines().find_map(|line| line.strip_prefix("PROXMOX_TOKEN_ID=")).unwrap();
    let (user, name) = id.split_once('!').unwrap();
    let id = TokenId { user: user.to_owned(), name: name.to_owned() };
    let mut config = match as_root {
        true => cluster_config(&sandbox),
        false => support::config(&sandbox, Auth::Token { id, secret: secret.unwrap().into() }),
    };
    config.upload_dir = Some(support::upload_dir());
    support::with(sandbox, config).await
}

/// A tool's example, run; `UPID:…` stands for the newest task of the cluster.
async fn example(test: &Test, root: &Test, entry: &Entry) -> Result<Value, String> {
    let mut arguments: Value = serde_json::from_str(entry.example.1).unwrap();
    if arguments["upid"] == "UPID:…" {
        let tasks = root.call("proxmox-list-tasks", json!({"limit": 1})).await;
        arguments["upid"] = tasks["tasks"][0]["upid"].clone();
    }
    test.mcp.call(entry.name, arguments).await.map_err(|e| e.to_string())
}

/// Why the example does not do with these credentials what it does as root.
async fn wrong(text: &str, entry: &Entry, change: impl Fn(&str) -> String) -> Option<String> {
    let [root, test] = with_commands(text, change).await;
    let result = match example(&test, &root, entry).await {
        Ok(result) => result,
        Err(e) => return Some(e),
    };
    if result.to_string().contains("Permission check failed") {
        return Some(result.to_string());
    }
    if entry.control.is_none() {
        let expected = example(&root, &root, entry).await.unwrap();
        if entry.name != "proxmox-my-permissions" && expected != result {
            return Some(format!("it sees {result}\nand root {expected}"));
        }
    }
    None
}

#[tokio::test(start_paused = true)]
async fn every_example_of_a_family_runs_with_the_token_minted_for_it() {
    let api = Api::embedded();
    let mut found = Vec::new();
    for (family, tools) in FAMILIES {
        let tools: Vec<&'static Entry> = tools.iter().collect();
        let Ok(text) = mint::text(&api, &tools, family, &Order::default()) else {
            found.push(format!("{family}: nothing to mint"));
            continue;
        };
        for entry in tools {
            if let Some(why) = wrong(&text, entry, str::to_owned).await {
                found.push(format!("{family} {}: {}", entry.name, why.chars().take(600).collect::<String>()));
            }
        }
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[tokio::test(start_paused = true)]
async fn no_privilege_is_minted_that_no_example_needs() {
    let api = Api::embedded();
    let mut idle: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for (family, tools) in FAMILIES {
        let tools: Vec<&'static Entry> = tools.iter().collect();
        let Ok(text) = mint::text(&api, &tools, family, &Order::default()) else { continue };
        let role = mint::role(&api, &tools, &["/".to_owned()], Release::Nine);
        for (privilege, users) in &role.privileges {
            let without = |line: &str| {
                let Some((head, list)) = line.split_once("--privs ") else { return line.to_owned() };
                let left: Vec<&str> = list.split(',').filter(|name| name != privilege).collect();
                format!("{head}--privs '{}'", left.join(","))
            };
            let mut needed = false;
            for entry in tools.iter().filter(|entry| users.contains(&entry.name)) {
                needed = needed || wrong(&text, entry, without).await.is_some();
            }
            if !needed {
                idle.entry(family).or_default().push(privilege.clone());
            }
        }
    }
    assert!(idle.is_empty(), "{idle:#?}");
}
