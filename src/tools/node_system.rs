//! The system of a node: services, disks, updates, certificates, journal.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::list::gib;
use crate::{
    error::Kind,
    pve::{Listing, encode},
    tool::*,
};

pub const TOOLS: &[Entry] = &[
    Entry::query::<ListServices>(),
    Entry::query::<ListDisks>(),
    Entry::query::<ListUpdates>(),
    Entry::query::<ListCertificates>(),
    Entry::query::<Journal>(),
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

/// List a node's physical disks with size, use, wear and SMART health; with disk, that one's SMART attributes.
#[derive(Deserialize, JsonSchema)]
struct ListDisks {
    node: Option<String>,
    /// As /dev/sda.
    disk: Option<String>,
}

impl Tool for ListDisks {
    const NAME: &str = "proxmox-list-node-disks";
    const TITLE: &str = "List a node's disks";
    const API: &[&str] = &["GET /nodes/{node}/disks/list", "GET /nodes/{node}/disks/smart"];
    const EXAMPLE: (&str, &str) = ("Are the disks of pve1 healthy?", r#"{"node": "pve1"}"#);
}

/// A row of `GET /nodes/{node}/disks/list`. What is not known is `unknown`, -1 or `N/A`.
#[derive(Deserialize)]
struct Disk {
    devpath: String,
    size: Option<u64>,
    r#type: Option<String>,
    model: Option<String>,
    serial: Option<String>,
    health: Option<String>,
    used: Option<String>,
    /// Percent that is left, or `N/A`.
    wearout: Option<Value>,
    rpm: Option<i64>,
}

#[derive(Deserialize, Serialize, JsonSchema)]
struct Smart {
    /// PASSED, OK, FAILED or UNKNOWN.
    health: String,
    #[serde(skip_serializing)]
    #[serde(default)]
    attributes: Vec<Map<String, Value>>,
    /// What the disk says in words (NVMe, SAS).
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<String>,
}

#[derive(Serialize, JsonSchema)]
struct Disks {
    node: String,
    total: usize,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    disks: Vec<DiskRow>,
    /// Of the one asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    smart: Option<Smart>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    attributes: Vec<Attribute>,
}

#[derive(Serialize, JsonSchema)]
struct DiskRow {
    disk: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    size_gib: Option<f64>,
    /// ssd, hdd, nvme, usb.
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    kind: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    health: Option<String>,
    /// Of an SSD's life, what is left.
    #[serde(skip_serializing_if = "Option::is_none")]
    life_left_percent: Option<f64>,
    /// What it is used for, as in LVM, ZFS, mounted.
    #[serde(skip_serializing_if = "Option::is_none")]
    used: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    model: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    serial: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rpm: Option<i64>,
}

#[derive(Serialize, JsonSchema)]
struct Attribute {
    id: String,
    name: String,
    value: String,
    threshold: String,
    raw: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    fail: Option<String>,
}

fn known(text: Option<String>) -> Option<String> {
    text.map(|t| t.trim().to_owned()).filter(|t| !t.is_empty() && t != "unknown")
}

impl Query for ListDisks {
    type Output = Disks;
    async fn query(&self, pve: &Reader<'_>) -> Result<Disks> {
        if let Some(disk) = &self.disk {
            if !disk.starts_with("/dev/") {
                return Err(Error::bad_argument(format!("disk: expected a device as in /dev/sda, got '{disk}'")));
            }
            let (node, path) = address(pve, self.node.as_deref(), "disks/smart").await?;
            let mut smart: Smart = pve.request(&Request::get(path).param("disk", disk)).await?;
            let attributes = std::mem::take(&mut smart.attributes).into_iter().map(attribute).collect();
            return Ok(Disks { node, total: 1, disks: Vec::new(), smart: Some(smart), attributes });
        }
        let (node, path) = address(pve, self.node.as_deref(), "disks/list").await?;
        let mut found: Vec<Disk> = pve.get(path).await?;
        found.sort_by(|a, b| a.devpath.cmp(&b.devpath));
        let disks: Vec<DiskRow> = found
            .into_iter()
            .map(|d| DiskRow {
                disk: d.devpath,
                size_gib: d.size.map(gib),
                kind: known(d.r#type),
                health: d.health,
                life_left_percent: d.wearout.and_then(|w| w.as_f64().or_else(|| w.as_str()?.parse().ok())),
                used: known(d.used),
                model: known(d.model),
                serial: known(d.serial),
                rpm: d.rpm.filter(|rpm| *rpm > 0),
            })
            .collect();
        Ok(Disks { node, total: disks.len(), disks, smart: None, attributes: Vec::new() })
    }
}

fn attribute(row: Map<String, Value>) -> Attribute {
    let text = |key: &str| match row.get(key) {
        Some(Value::String(text)) => text.trim().to_owned(),
        Some(Value::Null) | None => String::new(),
        Some(other) => other.to_string(),
    };
    Attribute {
        id: text("id"),
        name: text("name"),
        value: text("value"),
        threshold: text("threshold"),
        raw: text("raw"),
        fail: Some(text("fail")).filter(|fail| !fail.is_empty() && fail != "-"),
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

/// List a node's certificates with names, issuer, fingerprint and the days they are still valid.
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

/// Read the last lines of a node's system journal.
#[derive(Deserialize, JsonSchema)]
struct Journal {
    node: Option<String>,
    /// Most lines.
    #[serde(default = "hundred")]
    #[schemars(range(min = 1, max = 5000))]
    last: usize,
    /// Unix time.
    since: Option<u64>,
    /// Only lines with this text.
    search: Option<String>,
}

fn hundred() -> usize {
    100
}

impl Tool for Journal {
    const NAME: &str = "proxmox-node-journal";
    const TITLE: &str = "Node journal";
    const API: &[&str] = &["GET /nodes/{node}/journal"];
    const EXAMPLE: (&str, &str) = ("Show me the last log lines of pve1", r#"{"node": "pve1", "last": 20}"#);
}

#[derive(Serialize, JsonSchema)]
struct JournalLines {
    node: String,
    total: usize,
    lines: Vec<String>,
}

impl Query for Journal {
    type Output = JournalLines;
    async fn query(&self, pve: &Reader<'_>) -> Result<JournalLines> {
        let (node, path) = address(pve, self.node.as_deref(), "journal").await?;
        // Proxmox's reader takes a number of entries or a time, not both. What is searched for may be further back.
        let entries = if self.search.is_some() { self.last.max(2000) } else { self.last };
        let request = match self.since {
            Some(since) => Request::get(path).param("since", since),
            None => Request::get(path).param("lastentries", entries),
        };
        let body = pve.fetch(&request).await?;
        // A node without a journal answers with nothing at all.
        let found: Vec<String> = match body.is_empty() {
            true => Vec::new(),
            false => {
                let listing: Listing<Vec<String>> = crate::pve::from_slice(&body)
                    .map_err(|e| Error::new(Kind::BadAnswer, format!("the journal cannot be read: {e}")))?;
                listing.data
            }
        };
        let is_cursor = |line: &str| line.starts_with("s=") && line.contains(";i=");
        let search = self.search.as_deref().map(str::to_lowercase);
        let mut lines: Vec<String> = found
            .into_iter()
            .filter(|line| !is_cursor(line))
            .filter(|line| search.as_deref().is_none_or(|search| line.to_lowercase().contains(search)))
            .collect();
        lines.drain(..lines.len().saturating_sub(self.last));
        Ok(JournalLines { node, total: lines.len(), lines })
    }
}
