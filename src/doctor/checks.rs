//! The checks themselves, in the order in which a problem would stop everything after it.

use std::time::Duration;

use serde::Deserialize;
use tokio::time::Instant;

use super::{
    Check, Verdict,
    rights::{self, Permissions},
    tools::{self, Asker, Family},
};
use crate::{
    config::{Auth, ClusterConfig, Endpoint, Tls, own_name, table},
    error::{Error, Kind, Result},
    pve::{Client, Request, fingerprint_line},
    rights::Release,
};

/// Older ones lack calls that the tools use.
const OLDEST: u32 = 8;

#[derive(Deserialize)]
struct Version {
    version: String,
}

#[derive(Deserialize)]
struct Node {
    node: String,
    status: Option<String>,
}

#[derive(Deserialize)]
struct Named {
    storage: Option<String>,
    iface: Option<String>,
}

/// What one endpoint answered.
struct Tried<'a> {
    endpoint: &'a Endpoint,
    client: Option<Client>,
    outcome: Result<Version>,
    took: Duration,
}

pub async fn all(
    cluster: &ClusterConfig,
    connect: &dyn Fn(&ClusterConfig) -> Result<Client>,
) -> (Vec<Check>, Vec<Family>) {
    // One login at a time: each client makes its own, and a TOTP code is good for one.
    let mut tried = Vec::new();
    for endpoint in &cluster.endpoints {
        let tried_one = try_endpoint(cluster, endpoint, connect).await;
        tried.push(tried_one);
    }
    let mut checks: Vec<Check> = tried.iter().map(endpoint).collect();
    let mut families = Vec::new();
    checks.extend(tls(cluster, &tried));
    checks.extend(login(cluster, &tried));
    if let Some((client, version)) = working(&tried) {
        checks.push(release(&version.version));
        let (permissions, nodes) = tokio::join!(permissions(client), nodes(client));
        checks.push(match &permissions {
            Ok(permissions) => may(cluster, permissions),
            Err(error) => failed("rights", error),
        });
        checks.extend(nodes_and_defaults(cluster, client, nodes).await);
        if let Ok(permissions) = permissions {
            families = tools::families(client.api(), &asker(client, &version.version, &permissions));
        }
    }
    (checks, families)
}

fn asker<'a>(client: &Client, version: &str, permissions: &'a Permissions) -> Asker<'a> {
    let release = if major(version).is_some_and(|major| major < 9) { Release::Eight } else { Release::Nine };
    let who = client.who();
    Asker { permissions, release, is_token: client.is_token(), is_root: who == "root@pam" }
}

fn major(version: &str) -> Option<u32> {
    version.split('.').next().and_then(|major| major.parse().ok())
}

async fn try_endpoint<'a>(
    cluster: &ClusterConfig,
    endpoint: &'a Endpoint,
    connect: &dyn Fn(&ClusterConfig) -> Result<Client>,
) -> Tried<'a> {
    let alone = ClusterConfig { endpoints: vec![endpoint.clone()], ..cluster.clone() };
    let began = Instant::now();
    match connect(&alone) {
        Err(error) => Tried { endpoint, client: None, outcome: Err(error), took: Duration::ZERO },
        Ok(client) => {
            let outcome = client.get(&Request::get("/version")).await;
            Tried { endpoint, client: Some(client), outcome, took: began.elapsed() }
        }
    }
}

fn working<'a>(tried: &'a [Tried<'_>]) -> Option<(&'a Client, &'a Version)> {
    tried.iter().find_map(|tried| Some((tried.client.as_ref()?, tried.outcome.as_ref().ok()?)))
}

fn failed(name: &'static str, error: &Error) -> Check {
    let check = Check::new(name, Verdict::Failed, error.to_string());
    match &error.parts().hint {
        Some(hint) => check.hint(hint.as_str()),
        None => check,
    }
}

/// Whether it could be spoken to at all; what it said is the login's business.
fn endpoint(tried: &Tried<'_>) -> Check {
    let at = tried.endpoint;
    match &tried.outcome {
        Ok(_) => Check::ok("endpoint", format!("{at} answers in {} ms", tried.took.as_millis())),
        Err(error) if error.kind() == Kind::Unauthorized => Check::ok("endpoint", format!("{at} answers")),
        Err(error) if error.kind() == Kind::Certificate => Check::ok("endpoint", format!("{at} is there")),
        Err(error) => failed("endpoint", error),
    }
}

fn tls(cluster: &ClusterConfig, tried: &[Tried<'_>]) -> Vec<Check> {
    let mut checks = Vec::new();
    let mut unverified = Vec::new();
    for tried in tried {
        if let Err(error) = &tried.outcome
            && error.kind() == Kind::Certificate
        {
            checks.push(failed("tls", error));
            continue;
        }
        let Some(presented) = tried.client.as_ref().and_then(|client| client.presented(&tried.endpoint.host)) else {
            continue;
        };
        let at = tried.endpoint;
        checks.push(match &cluster.tls {
            Tls::System => {
                Check::ok("tls", format!("{at}: verified by this system's authorities; SHA-256 {presented}"))
            }
            Tls::CaFile(path) => Check::ok("tls", format!("{at}: verified by {}; SHA-256 {presented}", path.display())),
            Tls::Fingerprints(_) => Check::ok("tls", format!("{at}: pinned, SHA-256 {presented}")),
            Tls::Insecure => {
                let text =
                    format!("{at}: not verified, anybody in between could read the credentials; SHA-256 {presented}");
                unverified.push(presented);
                Check::warning("tls", text)
            }
        });
    }
    // One line for all members, each of which may have a certificate of its own.
    unverified.dedup();
    if !unverified.is_empty()
        && let Some(last) = checks.pop()
    {
        let line = fingerprint_line(&cluster.name, &unverified.join(","));
        checks.push(last.hint(format!("in place of {}=false: {line}", own_name(&cluster.name, table::VERIFY.name))));
    }
    checks
}

fn login(cluster: &ClusterConfig, tried: &[Tried<'_>]) -> Option<Check> {
    let how = match &cluster.auth {
        Auth::Token { id, .. } => format!("API token {id}"),
        Auth::Password { username, totp: None, .. } => format!("{username} with password"),
        Auth::Password { username, totp: Some(_), .. } => format!("{username} with password and TOTP"),
    };
    if working(tried).is_some() {
        return Some(Check::ok("login", format!("{how} is accepted")));
    }
    let refused = |tried: &&Tried<'_>| matches!(&tried.outcome, Err(error) if error.kind() == Kind::Unauthorized);
    match tried.iter().find(refused)?.outcome.as_ref() {
        Err(error) => Some(failed("login", error)),
        Ok(_) => None,
    }
}

fn release(version: &str) -> Check {
    match major(version) {
        Some(major) if major < OLDEST => Check::warning("version", format!("Proxmox VE {version}"))
            .hint(format!("some calls need {OLDEST} or later")),
        _ => Check::ok("version", format!("Proxmox VE {version}")),
    }
}

async fn permissions(client: &Client) -> Result<Permissions> {
    client.get(&Request::get("/access/permissions")).await
}

fn may(cluster: &ClusterConfig, permissions: &Permissions) -> Check {
    if rights::is_empty(permissions) {
        let grant = match &cluster.auth {
            Auth::Token { id, .. } => format!(
                "a token with privilege separation has no rights of its own until they are granted, to it and to its \
                 user: `pveum acl modify / --tokens '{id}' --roles PVEAuditor` lets it read everything"
            ),
            Auth::Password { username, .. } => {
                format!("`pveum acl modify / --users '{username}' --roles PVEAuditor` lets it read everything")
            }
        };
        return Check::warning("rights", "none at all: every list will be empty").hint(grant);
    }
    let summary = rights::summary(permissions).join("\n");
    if rights::anywhere(permissions, "VM.Audit") {
        return Check::ok("rights", summary);
    }
    Check::warning("rights", summary).hint("without VM.Audit on /vms or a guest, no guest is seen")
}

async fn nodes(client: &Client) -> Result<Vec<Node>> {
    client.get(&Request::get("/nodes")).await
}

async fn nodes_and_defaults(cluster: &ClusterConfig, client: &Client, nodes: Result<Vec<Node>>) -> Vec<Check> {
    let nodes = match nodes {
        Ok(nodes) => nodes,
        Err(error) => return vec![failed("nodes", &error)],
    };
    let mut checks = Vec::new();
    let named = |wanted: &str| {
        let of_status = nodes.iter().filter(|node| node.status.as_deref().unwrap_or("unknown") == wanted);
        of_status.map(|node| node.node.as_str()).collect::<Vec<_>>()
    };
    let (online, offline, unknown) = (named("online"), named("offline"), named("unknown"));
    if offline.is_empty() {
        // Without Sys.Audit the state of a node is not told.
        let seen = if online.is_empty() { unknown } else { online.clone() };
        checks.push(Check::ok("nodes", seen.join(", ")));
    } else {
        let text = format!("online: {}; offline: {}", online.join(", "), offline.join(", "));
        checks.push(Check::warning("nodes", text).hint("guests of a node that is offline can be seen, not used"));
    }
    let mut node = online.first().copied();
    if let Some(default) = &cluster.default_node {
        let known = nodes.iter().any(|node| node.node == *default);
        checks.push(default_check("node", default, known, "nodes", "PROXMOX_DEFAULT_NODE"));
        node = known.then_some(default.as_str()).or(node);
    }
    let Some(node) = node else { return checks };
    if let Some(default) = &cluster.default_storage {
        let request = Request::get(format!("/nodes/{node}/storage"));
        checks.push(match client.get::<Vec<Named>>(&request).await {
            Ok(all) => {
                let known = all.iter().any(|one| one.storage.as_deref() == Some(default));
                default_check("storage", default, known, &format!("storages of {node}"), "PROXMOX_DEFAULT_STORAGE")
            }
            Err(error) => failed("default", &error),
        });
    }
    if let Some(default) = &cluster.default_bridge {
        let request = Request::get(format!("/nodes/{node}/network")).param("type", "any_bridge");
        checks.push(match client.get::<Vec<Named>>(&request).await {
            Ok(all) => {
                let known = all.iter().any(|one| one.iface.as_deref() == Some(default));
                default_check("bridge", default, known, &format!("bridges of {node}"), "PROXMOX_DEFAULT_BRIDGE")
            }
            Err(error) => failed("default", &error),
        });
    }
    checks
}

fn default_check(what: &str, default: &str, known: bool, among: &str, setting: &str) -> Check {
    if known {
        return Check::ok("default", format!("{what} {default} is there"));
    }
    Check::warning("default", format!("{what} {default} is not among the {among} that are seen"))
        .hint(format!("check {setting}, or what this user or token may see"))
}
