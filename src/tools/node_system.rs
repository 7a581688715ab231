//! The system of a node: services, updates, certificates; disks and journal in their own files.

mod disks;
mod journal;

use std::collections::BTreeMap;

use crate::{pve::encode, tool::*};

pub const TOOLS: &[Entry] = &[
    Entry::query::<ListServices>(),
    Entry::query::<disks::ListDisks>(),
    Entry::query::<ListUpdates>(),
    Entry::query::<ListCertificates>(),
    Entry::query::<journal::Journal>(),
];

async fn address(pve: &Reader<'_>, node: Option<&str>, rest: &str) -> Result<(String, String)> {
    let node = pve.node(node).await?;
    let path = format!("/nodes/{}/{rest}", encode(&node));
    Ok((node, path))
}

/// List a node's system services and how they are.
#[derive(Deserialize, JsonSchema)]
struct ListServices {
    node: Option<String>,
}

impl Tool for ListServices {
    const NAME: &str = "proxmox-list-services";
    const TITLE: &str = "List services";
    const API: &[&str] = &["GET /nodes/{node}/services"];
    const EXAMPLE: (&str, &str) = ("Are all Proxmox services of pve2 running?", r#"{"node": "pve2"}"#);
}

/// A row of `GET /nodes/{node}/services`.
#[derive(Deserialize)]
struct Service {
    service: String,
    state: Option<String>,
    #[serde(rename = "active-state")]
    active: Option<String>,
    #[serde(rename = "unit-state")]
    unit: Option<String>,
    desc: Option<String>,
}

#[derive(Serialize, JsonSchema)]
struct Services {
    node: String,
    total: usize,
    counts: BTreeMap<String, usize>,
    services: Vec<ServiceRow>,
}

#[derive(Serialize, JsonSchema)]
struct ServiceRow {
    service: String,
    /// running, dead, failed …
    state: String,
    /// active, inactive, failed …
    #[serde(skip_serializing_if = "Option::is_none")]
    active: Option<String>,
    /// Where it is not enabled: disabled, static, not-found …
    #[serde(skip_serializing_if = "Option::is_none")]
    unit: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<String>,
}

impl Query for ListServices {
    type Output = Services;
    async fn query(&self, pve: &Reader<'_>) -> Result<Services> {
        let (node, path) = address(pve, self.node.as_deref(), "services").await?;
        let mut found: Vec<Service> = pve.get(path).await?;
        found.sort_by(|a, b| a.service.cmp(&b.service));
        let mut counts = BTreeMap::new();
        let services: Vec<ServiceRow> = found
            .into_iter()
            .map(|s| {
                let state = s.state.unwrap_or_else(|| "unknown".to_owned());
                *counts.entry(state.clone()).or_default() += 1;
                ServiceRow {
                    service: s.service,
                    active: s.active.filter(|active| active != "active"),
                    state,
                    unit: s.unit.filter(|unit| unit != "enabled"),
                    description: s.desc,
                }
            })
            .collect();
        Ok(Services { node, total: services.len(), counts, services })
    }
}

/// List a node's available package updates, as its package lists were last refreshed.
#[derive(Deserialize, JsonSchema)]
struct ListUpdates {
    node: Option<String>,
}

impl Tool for ListUpdates {
    const NAME: &str = "proxmox-list-updates";
    const TITLE: &str = "List updates";
    const API: &[&str] = &["GET /nodes/{node}/apt/update"];
    const EXAMPLE: (&str, &str) = ("Which updates are waiting on pve1?", r#"{"node": "pve1"}"#);
}

/// A row of `GET /nodes/{node}/apt/update`.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Package {
    package: String,
    version: Option<String>,
    old_version: Option<String>,
    origin: Option<String>,
    title: Option<String>,
}

#[derive(Serialize, JsonSchema)]
struct Updates {
    node: String,
    total: usize,
    updates: Vec<Update>,
    #[serde(skip_serializing_if = "Option::is_none")]
    note: Option<&'static str>,
}

#[derive(Serialize, JsonSchema)]
struct Update {
    package: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    old_version: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    origin: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    title: Option<String>,
}

impl Query for ListUpdates {
    type Output = Updates;
    async fn query(&self, pve: &Reader<'_>) -> Result<Updates> {
        let (node, path) = address(pve, self.node.as_deref(), "apt/update").await?;
        let mut found: Vec<Package> = pve.get(path).await?;
        found.sort_by(|a, b| a.package.cmp(&b.package));
        let updates: Vec<Update> = found
            .into_iter()
            .map(|p| Update {
                package: p.package,
                old_version: p.old_version,
                version: p.version,
                origin: p.origin,
                title: p.title,
            })
            .collect();
        let kernel = updates.iter().any(|u| u.package.starts_with("proxmox-kernel"));
        let note = kernel.then_some("there is a new kernel: it counts after a reboot of the node");
        Ok(Updates { node, total: updates.len(), updates, note })
    }
}

/// List a node's certificates with names, issuer, fingerprint and days left.
#[derive(Deserialize, JsonSchema)]
struct ListCertificates {
    node: Option<String>,
}

impl Tool for ListCertificates {
    const NAME: &str = "proxmox-list-certificates";
    const TITLE: &str = "List certificates";
    const API: &[&str] = &["GET /nodes/{node}/certificates/info", "GET /nodes/{node}/time"];
    const EXAMPLE: (&str, &str) = ("When does the certificate of pve1 expire?", r#"{"node": "pve1"}"#);
}

/// A row of `GET /nodes/{node}/certificates/info`.
#[derive(Deserialize)]
struct Certificate {
    filename: Option<String>,
    subject: Option<String>,
    issuer: Option<String>,
    #[serde(default)]
    san: Vec<String>,
    notafter: Option<i64>,
    fingerprint: Option<String>,
    #[serde(rename = "public-key-type")]
    key: Option<String>,
    #[serde(rename = "public-key-bits")]
    bits: Option<u32>,
}

#[derive(Deserialize)]
struct Time {
    time: i64,
}

#[derive(Serialize, JsonSchema)]
struct Certificates {
    node: String,
    total: usize,
    certificates: Vec<CertificateRow>,
}

#[derive(Serialize, JsonSchema)]
struct CertificateRow {
    filename: String,
    /// Negative: it has expired.
    #[serde(skip_serializing_if = "Option::is_none")]
    days_left: Option<i64>,
    /// Unix time.
    #[serde(skip_serializing_if = "Option::is_none")]
    notafter: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    subject: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    names: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    issuer: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    fingerprint: Option<String>,
}

impl Query for ListCertificates {
    type Output = Certificates;
    async fn query(&self, pve: &Reader<'_>) -> Result<Certificates> {
        let (node, path) = address(pve, self.node.as_deref(), "certificates/info").await?;
        // The node's own clock decides for those who connect to it.
        let clock = format!("/nodes/{}/time", encode(&node));
        let (found, now) = tokio::try_join!(pve.get::<Vec<Certificate>>(path), pve.get::<Time>(clock))?;
        let mut certificates: Vec<CertificateRow> = found
            .into_iter()
            .map(|c| CertificateRow {
                filename: c.filename.unwrap_or_default(),
                days_left: c.notafter.map(|end| (end - now.time).div_euclid(86_400)),
                notafter: c.notafter,
                subject: c.subject,
                names: c.san,
                issuer: c.issuer,
                key: c.key.map(|key| c.bits.map_or(key.clone(), |bits| format!("{key} {bits}"))),
                fingerprint: c.fingerprint,
            })
            .collect();
        certificates.sort_by(|a, b| a.filename.cmp(&b.filename));
        Ok(Certificates { node, total: certificates.len(), certificates })
    }
}
