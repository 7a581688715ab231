//! VMs and containers: lists, and one guest in full.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::list::{Page, gib, mib, percent};
use crate::{
    pve::{GuestKind, Resource},
    tool::*,
};

pub const TOOLS: &[Entry] =
    &[Entry::list::<ListVms>(), Entry::query::<VmInfo>(), Entry::list::<ListLxc>(), Entry::query::<LxcInfo>()];

/// List VMs (templates included) with node, state and size, by VMID. Filters combine.
#[derive(Deserialize, JsonSchema)]
pub(super) struct ListVms {
    #[serde(flatten)]
    pub filter: Filter,
    #[serde(flatten)]
    pub page: Page,
}

/// List containers with node, state and size, by VMID. Filters combine.
#[derive(Deserialize, JsonSchema)]
struct ListLxc {
    #[serde(flatten)]
    filter: Filter,
    #[serde(flatten)]
    page: Page,
}

#[derive(Default, Deserialize, JsonSchema)]
pub(super) struct Filter {
    node: Option<String>,
    status: Option<Status>,
    /// Part of the name or VMID.
    search: Option<String>,
    tag: Option<String>,
    pool: Option<String>,
    /// Only templates, or none.
    template: Option<bool>,
}

#[derive(Deserialize, JsonSchema, Clone, Copy)]
#[serde(rename_all = "lowercase")]
pub(super) enum Status {
    Running,
    Stopped,
    Paused,
    Unknown,
}

impl Status {
    pub fn word(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Stopped => "stopped",
            Self::Paused => "paused",
            Self::Unknown => "unknown",
        }
    }
}

impl Filter {
    fn takes(&self, r: &Resource) -> bool {
        let name = r.name.as_deref().unwrap_or_default();
        self.node.as_deref().is_none_or(|node| node == &*r.node)
            && self.status.is_none_or(|status| status.word() == &*r.status)
            && self.template.is_none_or(|template| template == r.template)
            && self.pool.as_deref().is_none_or(|pool| r.pool.as_deref() == Some(pool))
            && self.tag.as_deref().is_none_or(|tag| r.tags().any(|t| t == tag))
            && self.search.as_deref().is_none_or(|search| {
                let search = search.to_lowercase();
                name.to_lowercase().contains(&search) || r.vmid.to_string().contains(&search)
            })
    }
}

impl Tool for ListVms {
    const NAME: &str = "proxmox-list-vms";
    const TITLE: &str = "List VMs";
    const API: &[&str] = &["GET /cluster/resources", "GET /nodes"];
    const EXAMPLE: (&str, &str) = ("Which production VMs are running?", r#"{"status": "running", "tag": "prod"}"#);
}

impl Tool for ListLxc {
    const NAME: &str = "proxmox-list-lxc";
    const TITLE: &str = "List containers";
    const API: &[&str] = &["GET /cluster/resources", "GET /nodes"];
    const EXAMPLE: (&str, &str) = ("List the containers on pve1", r#"{"node": "pve1"}"#);
}

#[derive(Serialize, JsonSchema)]
pub(super) struct Vms {
    #[serde(flatten)]
    summary: Summary,
    vms: Vec<Row>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_cursor: Option<String>,
}

#[derive(Serialize, JsonSchema)]
struct Containers {
    #[serde(flatten)]
    summary: Summary,
    containers: Vec<Row>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_cursor: Option<String>,
}

#[derive(Serialize, JsonSchema)]
pub(super) struct Summary {
    /// Of all that match, not only of this page.
    total: usize,
    counts: BTreeMap<String, usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    note: Option<String>,
}

/// Sizes of what is used are there for running guests only.
#[derive(Serialize, JsonSchema)]
pub(super) struct Row {
    vmid: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    node: String,
    status: String,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    template: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    cpus: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cpu_percent: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mem_mib: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    maxmem_mib: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    maxdisk_gib: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    uptime_s: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tags: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pool: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    lock: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    hastate: Option<String>,
}

impl From<&Resource> for Row {
    fn from(r: &Resource) -> Self {
        let running = &*r.status == "running";
        let text = |field: &Option<Box<str>>| field.as_deref().filter(|s| !s.is_empty()).map(str::to_owned);
        Self {
            vmid: r.vmid,
            name: text(&r.name),
            node: r.node.to_string(),
            status: r.status.to_string(),
            template: r.template,
            cpus: r.maxcpu,
            cpu_percent: r.cpu.filter(|_| running).map(percent),
            mem_mib: r.mem.filter(|_| running).map(mib),
            maxmem_mib: r.maxmem.map(mib),
            maxdisk_gib: r.maxdisk.map(gib),
            uptime_s: r.uptime.filter(|_| running),
            tags: text(&r.tags),
            pool: text(&r.pool),
            lock: text(&r.lock),
            hastate: text(&r.hastate),
        }
    }
}

/// One page of the guests of a kind.
async fn list(
    pve: &Reader<'_>,
    kind: GuestKind,
    filter: &Filter,
    page: &Page,
) -> Result<(Summary, Vec<Row>, Option<String>)> {
    // A list shows what is there now; its further pages are of the same answer where they follow at once.
    let all = if page.is_first() { pve.resources_now().await? } else { pve.resources().await? };
    let found: Vec<&Resource> = all.iter().filter(|r| r.kind == kind && filter.takes(r)).collect();
    let mut counts = BTreeMap::new();
    for r in &found {
        *counts.entry(if r.template { "template" } else { &*r.status }.to_owned()).or_default() += 1;
    }
    let total = found.len();
    let note = match (total, all.iter().next()) {
        (0, None) => Some("no guest is visible: lists show only what the token has VM.Audit on".to_owned()),
        (0, Some(_)) => {
            if let Some(node) = &filter.node {
                pve.known_node(node).await?;
            }
            None
        }
        _ => None,
    };
    let (rows, next) = page.of(found, |r| r.vmid)?;
    Ok((Summary { total, counts, note }, rows.into_iter().map(Row::from).collect(), next))
}

impl Query for ListVms {
    type Output = Vms;
    async fn query(&self, pve: &Reader<'_>) -> Result<Vms> {
        let (summary, vms, next_cursor) = list(pve, GuestKind::Qemu, &self.filter, &self.page).await?;
        Ok(Vms { summary, vms, next_cursor })
    }
}

impl Query for ListLxc {
    type Output = Containers;
    async fn query(&self, pve: &Reader<'_>) -> Result<Containers> {
        let (summary, containers, next_cursor) = list(pve, GuestKind::Lxc, &self.filter, &self.page).await?;
        Ok(Containers { summary, containers, next_cursor })
    }
}

/// Show one VM: state, use, HA, configuration.
#[derive(Deserialize, JsonSchema)]
struct VmInfo {
    #[serde(flatten)]
    guest: GuestRef,
}

/// Show one container: state, use, HA, configuration.
#[derive(Deserialize, JsonSchema)]
struct LxcInfo {
    #[serde(flatten)]
    guest: GuestRef,
}

impl Tool for VmInfo {
    const NAME: &str = "proxmox-vm-info";
    const TITLE: &str = "VM details";
    const API: &[&str] = &["GET /nodes/{node}/qemu/{vmid}/status/current", "GET /nodes/{node}/qemu/{vmid}/config"];
    const EXAMPLE: (&str, &str) = ("Show me everything about web-01", r#"{"name": "web-01"}"#);
}

impl Tool for LxcInfo {
    const NAME: &str = "proxmox-lxc-info";
    const TITLE: &str = "Container details";
    const API: &[&str] = &["GET /nodes/{node}/lxc/{vmid}/status/current", "GET /nodes/{node}/lxc/{vmid}/config"];
    const EXAMPLE: (&str, &str) = ("How is the pihole container configured?", r#"{"name": "pihole"}"#);
}

#[derive(Serialize, JsonSchema)]
struct Info {
    vmid: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    node: String,
    status: String,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    template: bool,
    /// What `status/current` says beside that; sizes in MiB and GiB.
    current: Current,
    /// As Proxmox has it; pending changes appear as if applied.
    config: Map<String, Value>,
}

/// The useful part of `status/current`, by Proxmox's names.
#[derive(Deserialize)]
struct StatusNow {
    status: Option<String>,
    qmpstatus: Option<String>,
    name: Option<String>,
    #[serde(default)]
    template: bool,
    lock: Option<String>,
    uptime: Option<u64>,
    cpu: Option<f64>,
    cpus: Option<f64>,
    mem: Option<u64>,
    maxmem: Option<u64>,
    maxdisk: Option<u64>,
    disk: Option<u64>,
    netin: Option<u64>,
    netout: Option<u64>,
    pid: Option<u64>,
    agent: Option<bool>,
    ha: Option<Ha>,
    #[serde(rename = "running-machine")]
    machine: Option<String>,
    #[serde(rename = "running-qemu")]
    qemu: Option<String>,
}

#[derive(Deserialize)]
struct Ha {
    #[serde(default)]
    managed: bool,
    state: Option<String>,
}

#[derive(Serialize, JsonSchema)]
struct Current {
    /// Of a VM where it is more than `status` says, as in paused or prelaunch.
    #[serde(skip_serializing_if = "Option::is_none")]
    qmpstatus: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    lock: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    uptime_s: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cpus: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cpu_percent: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mem_mib: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    maxmem_mib: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    disk_gib: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    maxdisk_gib: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    netin_mib: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    netout_mib: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pid: Option<u64>,
    /// The guest agent is enabled in the configuration.
    #[serde(skip_serializing_if = "Option::is_none")]
    agent: Option<bool>,
    /// State of the HA resource, where HA manages the guest.
    #[serde(skip_serializing_if = "Option::is_none")]
    ha: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    machine: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    qemu: Option<String>,
}

async fn info(pve: &Reader<'_>, wanted: &GuestRef, kind: Want) -> Result<Info> {
    let guest = pve.guest(wanted, kind).await?;
    let (now, config) = tokio::try_join!(
        pve.get::<StatusNow>(guest.path("status/current")),
        pve.get::<Map<String, Value>>(guest.path("config")),
    )?;
    let status = now.status.unwrap_or_else(|| guest.status.clone());
    let running = status == "running";
    Ok(Info {
        vmid: guest.vmid,
        name: now.name.or(guest.name),
        node: guest.node,
        template: now.template,
        current: Current {
            qmpstatus: now.qmpstatus.filter(|q| *q != status),
            lock: now.lock,
            uptime_s: now.uptime.filter(|_| running),
            cpus: now.cpus,
            cpu_percent: now.cpu.filter(|_| running).map(percent),
            mem_mib: now.mem.filter(|_| running).map(mib),
            maxmem_mib: now.maxmem.map(mib),
            disk_gib: now.disk.filter(|d| *d > 0).map(gib),
            maxdisk_gib: now.maxdisk.map(gib),
            netin_mib: now.netin.filter(|_| running).map(mib),
            netout_mib: now.netout.filter(|_| running).map(mib),
            pid: now.pid,
            agent: now.agent,
            ha: now.ha.filter(|ha| ha.managed).map(|ha| ha.state.unwrap_or_else(|| "managed".to_owned())),
            machine: now.machine,
            qemu: now.qemu,
        },
        status,
        config: config.into_iter().filter(|(_, value)| !value.is_null()).collect(),
    })
}

impl Query for VmInfo {
    type Output = Info;
    async fn query(&self, pve: &Reader<'_>) -> Result<Info> {
        info(pve, &self.guest, Want::Vm).await
    }
}

impl Query for LxcInfo {
    type Output = Info;
    async fn query(&self, pve: &Reader<'_>) -> Result<Info> {
        info(pve, &self.guest, Want::Container).await
    }
}
