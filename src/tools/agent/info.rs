//! What the guest agent says about its VM.

use std::collections::BTreeMap;

use serde::de::DeserializeOwned;

use super::vm;
use crate::{
    tool::*,
    tools::list::{gib, percent},
};

/// Ask a VM's guest agent for OS, host name, addresses, file systems, clock and logged-in users.
#[derive(Deserialize, JsonSchema)]
pub struct AgentInfo {
    #[serde(flatten)]
    guest: GuestRef,
    include: Option<Vec<Part>>,
}

#[derive(Deserialize, JsonSchema, Clone, Copy, PartialEq)]
#[serde(rename_all = "lowercase")]
enum Part {
    Os,
    Hostname,
    Network,
    Filesystems,
    Time,
    Timezone,
    Users,
}

impl Tool for AgentInfo {
    const NAME: &str = "proxmox-agent-info";
    const TITLE: &str = "Ask a guest agent about its VM";
    const API: &[&str] = &[
        "GET /nodes/{node}/qemu/{vmid}/agent/get-fsinfo",
        "GET /nodes/{node}/qemu/{vmid}/agent/get-host-name",
        "GET /nodes/{node}/qemu/{vmid}/agent/get-osinfo",
        "GET /nodes/{node}/qemu/{vmid}/agent/get-time",
        "GET /nodes/{node}/qemu/{vmid}/agent/get-timezone",
        "GET /nodes/{node}/qemu/{vmid}/agent/get-users",
        "GET /nodes/{node}/qemu/{vmid}/agent/network-get-interfaces",
    ];
    const EXAMPLE: (&str, &str) = ("Which system runs in web-01, and at which address?", r#"{"name": "web-01"}"#);
}

#[derive(Serialize, JsonSchema)]
pub struct Info {
    vmid: u32,
    node: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    os: Option<Os>,
    #[serde(skip_serializing_if = "Option::is_none")]
    hostname: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    network: Option<Vec<Interface>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    filesystems: Option<Vec<Filesystem>>,
    /// The guest's clock, seconds since 1970.
    #[serde(skip_serializing_if = "Option::is_none")]
    time: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    timezone: Option<Timezone>,
    #[serde(skip_serializing_if = "Option::is_none")]
    users: Option<Vec<User>>,
    /// What the agent did not tell, and why.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    failed: BTreeMap<&'static str, String>,
}

#[derive(Deserialize, Serialize, JsonSchema)]
struct Os {
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<String>,
    #[serde(rename(deserialize = "pretty-name"), skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    #[serde(rename(deserialize = "version-id"), skip_serializing_if = "Option::is_none")]
    version: Option<String>,
    #[serde(rename(deserialize = "kernel-release"), skip_serializing_if = "Option::is_none")]
    kernel: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    machine: Option<String>,
}

#[derive(Serialize, JsonSchema)]
struct Interface {
    name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    mac: Option<String>,
    /// With their prefix lengths.
    addresses: Vec<String>,
}

#[derive(Serialize, JsonSchema)]
struct Filesystem {
    mountpoint: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    device: Option<String>,
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    kind: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    used_gib: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    total_gib: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    used_percent: Option<f64>,
}

#[derive(Deserialize, Serialize, JsonSchema)]
struct Timezone {
    #[serde(skip_serializing_if = "Option::is_none")]
    zone: Option<String>,
    /// Seconds east of UTC.
    #[serde(rename(serialize = "offset_s"))]
    offset: i64,
}

#[derive(Deserialize, Serialize, JsonSchema)]
struct User {
    user: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    domain: Option<String>,
    /// Seconds since 1970.
    #[serde(rename(deserialize = "login-time"))]
    login_time: f64,
}

/// Answers are wrapped.
#[derive(Deserialize)]
struct Wrapped<T> {
    result: T,
}

#[derive(Deserialize)]
struct HostName {
    #[serde(rename = "host-name")]
    name: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Mounted {
    name: Option<String>,
    mountpoint: String,
    r#type: Option<String>,
    total_bytes: Option<u64>,
    used_bytes: Option<u64>,
}

/// A row of `network-get-interfaces`.
#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Found {
    pub name: String,
    pub hardware_address: Option<String>,
    #[serde(default)]
    pub ip_addresses: Vec<Address>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Address {
    pub ip_address: Option<String>,
    pub prefix: Option<u8>,
}

/// One of the agent's answers.
pub async fn ask<T: DeserializeOwned>(pve: &Reader<'_>, guest: &Guest, command: &str) -> Result<T> {
    let answer: Wrapped<T> = pve.get(guest.path(format!("agent/{command}"))).await?;
    Ok(answer.result)
}

impl Query for AgentInfo {
    type Output = Info;
    async fn query(&self, pve: &Reader<'_>) -> Result<Info> {
        let guest = vm(pve, &self.guest).await?;
        // An agent that does not answer costs three seconds, and a worker of Proxmox's, for each request: it is asked one
        // thing first, unless it may be that it only cannot tell this.
        let wants = |part: Part| self.include.as_ref().is_none_or(|parts| parts.is_empty() || parts.contains(&part));
        let mut failed = BTreeMap::new();
        let os = match wants(Part::Os) {
            true => ask::<Os>(pve, &guest, "get-osinfo").await.map(Some),
            false => Ok(None),
        };
        let hostname = match wants(Part::Hostname) {
            true => ask::<HostName>(pve, &guest, "get-host-name").await.map(Some),
            false => Ok(None),
        };
        if let (Err(e), Err(also)) = (&os, &hostname)
            && e.to_string() == also.to_string()
        {
            return Err(e.clone());
        }
        let (network, filesystems, time, timezone, users) = futures::join!(
            when(wants(Part::Network), ask::<Vec<Found>>(pve, &guest, "network-get-interfaces")),
            when(wants(Part::Filesystems), ask::<Vec<Mounted>>(pve, &guest, "get-fsinfo")),
            when(wants(Part::Time), ask::<i64>(pve, &guest, "get-time")),
            when(wants(Part::Timezone), ask::<Timezone>(pve, &guest, "get-timezone")),
            when(wants(Part::Users), ask::<Vec<User>>(pve, &guest, "get-users")),
        );
        let mut first = None;
        let info = Info {
            os: told("os", os, &mut failed, &mut first),
            hostname: told("hostname", hostname, &mut failed, &mut first).map(|found| found.name),
            network: told("network", network, &mut failed, &mut first)
                .map(|rows| rows.into_iter().map(interface).collect()),
            filesystems: told("filesystems", filesystems, &mut failed, &mut first)
                .map(|rows| rows.into_iter().map(filesystem).collect()),
            time: told("time", time, &mut failed, &mut first).map(|nanoseconds| nanoseconds / 1_000_000_000),
            timezone: told("timezone", timezone, &mut failed, &mut first),
            users: told("users", users, &mut failed, &mut first),
            vmid: guest.vmid,
            node: guest.node,
            name: guest.name,
            failed: BTreeMap::new(),
        };
        let nothing = info.os.is_none()
            && info.hostname.is_none()
            && info.network.is_none()
            && info.filesystems.is_none()
            && info.time.is_none()
            && info.timezone.is_none()
            && info.users.is_none();
        match first {
            Some(e) if nothing => Err(e),
            _ => Ok(Info { failed, ..info }),
        }
    }
}

async fn when<T>(wanted: bool, asking: impl Future<Output = Result<T>>) -> Result<Option<T>> {
    if wanted { asking.await.map(Some) } else { Ok(None) }
}

/// What was told; what was not is noted.
fn told<T>(
    part: &'static str,
    answer: Result<Option<T>>,
    failed: &mut BTreeMap<&'static str, String>,
    first: &mut Option<Error>,
) -> Option<T> {
    answer.unwrap_or_else(|e| {
        failed.insert(part, e.to_string());
        first.get_or_insert(e);
        None
    })
}

fn interface(row: Found) -> Interface {
    let address = |found: Address| {
        let ip = found.ip_address?;
        Some(found.prefix.map_or(ip.clone(), |prefix| format!("{ip}/{prefix}")))
    };
    Interface {
        name: row.name,
        mac: row.hardware_address,
        addresses: row.ip_addresses.into_iter().filter_map(address).collect(),
    }
}

fn filesystem(row: Mounted) -> Filesystem {
    let share = row.used_bytes.zip(row.total_bytes.filter(|total| *total > 0));
    Filesystem {
        mountpoint: row.mountpoint,
        device: row.name,
        kind: row.r#type,
        used_gib: row.used_bytes.map(gib),
        total_gib: row.total_bytes.map(gib),
        used_percent: share.map(|(used, total)| percent(used as f64 / total as f64)),
    }
}
