//! `pveum`, for tests: runs the lines that the program prints on the simulated cluster, through the API as root.

use std::sync::Arc;

use proxmox_mcp::{
    embedded::cluster_config,
    policy::{Facts, Policy, Settings},
    pve::{Client, Request},
    sandbox::Sandbox,
    tool::Effect,
};

/// Runs a line, `&&` and all; the secret of the last token it makes.
pub async fn run(sandbox: &Sandbox, line: &str) -> Option<String> {
    let root = Client::with_transport(&cluster_config(sandbox), Arc::new(sandbox.clone()));
    let mut secret = None;
    for command in line.split(" && ") {
        secret = secret.or(one(&root, command).await);
    }
    secret
}

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
async fn one(client: &Client, line: &str) -> Option<String> {
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
    let policy = Policy::new(Settings::everything().unwrap());
    let approved = policy.approve(Effect::Destroy, &[request], &Facts::default()).unwrap();
    let answer = client.execute(&approved[0]).await.unwrap_or_else(|e| panic!("{line}: {}", e.report()));
    answer["value"].as_str().map(str::to_owned)
}
