//! The physical disks of a node.

use serde_json::{Map, Value};

use super::address;
use crate::{tool::*, tools::list::gib};

/// List a node's physical disks with SMART health; with disk, its attributes.
#[derive(Deserialize, JsonSchema)]
pub struct ListDisks {
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
pub struct Disks {
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
