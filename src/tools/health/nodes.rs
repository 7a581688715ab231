//! What each node has to look after by itself: package updates, certificates.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::json;

use super::{
    check::{Check, Finding, Severity, Told},
    look::{DAY, Look, date},
};
use crate::tool::Deserialize;

pub const CHECKS: &[Check] = &[
    Check { name: "updates", api: &["GET /nodes/{node}/apt/update"], sees: &[], run: |look| Box::pin(updates(look)) },
    Check {
        name: "certificates",
        api: &["GET /nodes/{node}/certificates/info"],
        sees: &[],
        run: |look| Box::pin(certificates(look)),
    },
];

/// A row of `GET /nodes/{node}/apt/update`: as the lists were last refreshed. Nothing in it tells security updates apart.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Package {
    package: String,
    origin: Option<String>,
}

async fn updates(look: &Look<'_>) -> Told {
    let mut told = Told::default();
    let nodes = look.nodes.iter().map(|node| node.node.as_str());
    let answers = look.each::<Vec<Package>>(&mut told, nodes, |request| request, "apt/update").await;
    // Nodes of one cluster mostly wait for the same.
    let mut waiting: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    for (node, packages) in answers.iter().filter(|(_, packages)| !packages.is_empty()) {
        let of_proxmox = packages.iter().filter(|package| package.origin.as_deref() == Some("Proxmox")).count();
        let kernel = packages.iter().any(|package| package.package.starts_with("proxmox-kernel"));
        let kernel = if kernel { ", with a new kernel" } else { "" };
        let evidence = format!("{} packages wait, {of_proxmox} of them from Proxmox{kernel}", packages.len());
        waiting.entry(evidence).or_default().push(node);
    }
    for (evidence, nodes) in waiting {
        let subject = format!("{} {}", if nodes.len() == 1 { "node" } else { "nodes" }, nodes.join(", "));
        let first = json!({"node": nodes.first()});
        told.find(Finding::new(Severity::Info, subject, evidence).help("proxmox-list-updates", &first));
    }
    told
}

/// A row of `GET /nodes/{node}/certificates/info`.
#[derive(Deserialize)]
struct Certificate {
    filename: Option<String>,
    fingerprint: Option<String>,
    notafter: Option<u64>,
}

async fn certificates(look: &Look<'_>) -> Told {
    let mut told = Told::default();
    let nodes = look.nodes.iter().map(|node| node.node.as_str());
    let answers = look.each::<Vec<Certificate>>(&mut told, nodes, |request| request, "certificates/info").await;
    // The authority's is the same on every node.
    let mut seen = BTreeSet::new();
    let mut found = Vec::new();
    for (node, certificates) in answers {
        for certificate in certificates {
            let Some(end) = certificate.notafter else { continue };
            let known = certificate.fingerprint.is_some_and(|fingerprint| !seen.insert(fingerprint));
            if known || end > look.now + look.args.certificate_days * DAY {
                continue;
            }
            let file = certificate.filename.unwrap_or_default();
            let (severity, evidence) = match end.checked_sub(look.now) {
                Some(left) => (Severity::Warning, format!("{file} expires on {} ({} days)", date(end), left / DAY)),
                None => (Severity::Critical, format!("{file} expired on {} ({} days ago)", date(end), look.days(end))),
            };
            let finding = Finding::new(severity, format!("node {node}"), evidence);
            found.push((end, finding.help("proxmox-list-certificates", &json!({"node": node}))));
        }
    }
    found.sort_by_key(|(end, _)| *end);
    told.findings = found.into_iter().map(|(_, finding)| finding).collect();
    told
}
