//! `pveum`, for tests: runs the lines that the program prints on the simulated cluster, through the API as root.

use bytes::Bytes;
use http::{Method, Request};
use proxmox_mcp::{pve::Transport, pve::encode, sandbox::Sandbox};
use secrecy::ExposeSecret;
use serde_json::Value;

/// Runs a line, `&&` and all; the secret of the last token it makes.
pub async fn run(sandbox: &Sandbox, line: &str) -> Option<String> {
    let mut secret = None;
    for command in line.split(" && ") {
        secret = secret.or(one(sandbox, command).await);
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
async fn one(sandbox: &Sandbox, line: &str) -> Option<String> {
    let words = words(line);
    let at = words.iter().position(|word| word.starts_with("--")).unwrap_or(words.len());
    let (command, options) = words.split_at(at);
    let options = options.chunks(2).map(|pair| (pair[0].trim_start_matches("--").to_owned(), pair[1].clone()));
    let command: Vec<&str> = command.iter().map(String::as_str).collect();
    let mut fields: Vec<(String, String)> = options.collect();
    let mut field = |key: &str, value: &str| fields.push((key.to_owned(), value.to_owned()));
    let (method, path) = match command.as_slice() {
        ["pveum", "role", "add", role] => {
            field("roleid", role);
            (Method::POST, "/access/roles".to_owned())
        }
        ["pveum", "user", "add", user] => {
            field("userid", user);
            (Method::POST, "/access/users".to_owned())
        }
        ["pveum", "user", "token", "add", user, token] => (Method::POST, format!("/access/users/{user}/token/{token}")),
        ["pveum", "acl", "modify", path] => {
            field("path", path);
            (Method::PUT, "/access/acl".to_owned())
        }
        other => panic!("{other:?} is no command of pveum"),
    };
    let form: Vec<String> = fields.iter().map(|(key, value)| format!("{key}={}", encode(value))).collect();
    let root = sandbox.credentials();
    let request = Request::builder()
        .method(method)
        .uri(format!("https://pve1:8006/api2/json{path}"))
        .header("Authorization", format!("PVEAPIToken={}={}", root.token_id, root.token_secret.expose_secret()))
        .header("Content-Type", "application/x-www-form-urlencoded")
        .body(Bytes::from(form.join("&")))
        .unwrap();
    let answer = sandbox.send(request).await.unwrap_or_else(|_| panic!("{line}: no answer"));
    assert!(answer.status().is_success(), "{line}: {answer:?}");
    let answer: Value = serde_json::from_slice(answer.body()).unwrap();
    answer["data"]["value"].as_str().map(str::to_owned)
}
