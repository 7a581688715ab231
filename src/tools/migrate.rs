//! Moving guests to other nodes: what Proxmox says beforehand of whether that is possible, in the plan.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

use super::list::gib;
use crate::{
    pve::options::{is_drive, volume},
    tool::*,
};

pub const TOOLS: &[Entry] = &[Entry::action::<MigrateVm>(), Entry::action::<MigrateLxc>()];

/// Move a VM to another node of the cluster, live if it runs.
#[derive(Deserialize, JsonSchema)]
struct MigrateVm {
    #[serde(flatten)]
    guest: GuestRef,
    #[serde(default)]
    target_node: String,
    #[serde(default = "yes")]
    live: bool,
    /// Copy disks on local storage too.
    #[serde(default)]
    with_local_disks: bool,
    /// For local disks, there.
    target_storage: Option<String>,
}

/// Move a container to another node. A running one is shut down and started there (restart).
#[derive(Deserialize, JsonSchema)]
struct MigrateLxc {
    #[serde(flatten)]
    guest: GuestRef,
    #[serde(default)]
    target_node: String,
    /// Needed if it runs.
    #[serde(default)]
    restart: bool,
    /// For volumes on local storage, there.
    target_storage: Option<String>,
}

fn yes() -> bool {
    true
}

impl Tool for MigrateVm {
    const NAME: &str = "proxmox-migrate-vm";
    const TITLE: &str = "Migrate a VM";
    const API: &[&str] = &["GET /nodes/{node}/qemu/{vmid}/migrate", "POST /nodes/{node}/qemu/{vmid}/migrate"];
    const EXAMPLE: (&str, &str) = ("Move web-02 to pve3", r#"{"name": "web-02", "target_node": "pve3"}"#);
}

impl Tool for MigrateLxc {
    const NAME: &str = "proxmox-migrate-lxc";
    const TITLE: &str = "Migrate a container";
    const API: &[&str] = &["GET /nodes/{node}/lxc/{vmid}/migrate", "POST /nodes/{node}/lxc/{vmid}/migrate"];
    const EXAMPLE: (&str, &str) =
        ("Move redis-01 to pve1, it may restart", r#"{"name": "redis-01", "target_node": "pve1", "restart": true}"#);
}

impl Action for MigrateVm {
    const EFFECT: Effect = Effect::Write;
    const CONTROL: Control = Control::new(1800).waiting().polled();
    async fn plan(&self, pve: &Reader<'_>) -> Result<Plan> {
        let guest = pve.guest(&self.guest, Want::Vm).await?;
        let target = self.target_node.trim();
        let before = Before::read(pve, &guest, target).await?;
        let target = before.target(&guest, target)?;
        let request = Request::post(guest.path("migrate"))
            .param("target", target)
            .flag("online", before.running && self.live)
            .flag("with-local-disks", self.with_local_disks)
            .maybe("targetstorage", self.target_storage.as_deref());
        let how = if before.running && self.live { "live " } else { "" };
        let mut plan = Plan::on(&guest, &format!("migrate {how}to {target}:"))
            .about("target_node", target)
            .step(request)
            .moves(&guest, target)
            .check(
                !before.running || self.live,
                || format!("{guest} is {}", if before.running { "running, and moved live" } else { "not running" }),
                || format!("{guest} is running: give live: true, or shut it down first"),
            );
        plan = before.allowed(plan, &guest, target, self.target_storage.is_some());
        let mut back = json!({"vmid": guest.vmid, "target_node": guest.node});
        if self.with_local_disks {
            back["with_local_disks"] = true.into();
        }
        let undo = storages_back(pve, &guest, self.target_storage.as_deref(), ("proxmox-migrate-vm", back)).await?;
        Ok(before.disks(before.devices(plan, &guest), &guest, self.with_local_disks).undone(undo))
    }
}

impl Action for MigrateLxc {
    const EFFECT: Effect = Effect::Write;
    const CONTROL: Control = Control::new(1800).waiting();
    async fn plan(&self, pve: &Reader<'_>) -> Result<Plan> {
        let guest = pve.guest(&self.guest, Want::Container).await?;
        let target = self.target_node.trim();
        let before = Before::read(pve, &guest, target).await?;
        let target = before.target(&guest, target)?;
        let request = Request::post(guest.path("migrate"))
            .param("target", target)
            .flag("restart", before.running && self.restart)
            .maybe("target-storage", self.target_storage.as_deref());
        let plan = Plan::on(&guest, &format!("migrate to {target}:"))
            .about("target_node", target)
            .step(request)
            .moves(&guest, target)
            .check(
                !before.running || self.restart,
                || format!("{guest} is {}", if before.running { "running, and may restart" } else { "not running" }),
                || format!("{guest} is running, and containers cannot be moved live: give restart: true, or stop it"),
            )
            .warn_if(before.running && self.restart, || format!("{guest} is down while its volumes are copied"));
        let mut back = json!({"vmid": guest.vmid, "target_node": guest.node});
        if before.running {
            back["restart"] = true.into();
        }
        let undo = storages_back(pve, &guest, self.target_storage.as_deref(), ("proxmox-migrate-lxc", back)).await?;
        let undo = undo.note_if(before.running, || "it restarts once more".to_owned());
        Ok(before.allowed(plan, &guest, target, self.target_storage.is_some()).undone(undo))
    }
}

/// The way back, with the storage that the volumes were on. Only where they are put on another is it asked for.
async fn storages_back(
    pve: &Reader<'_>,
    guest: &Guest,
    mapped: Option<&str>,
    (tool, mut back): (&'static str, Value),
) -> Result<Undo> {
    let Some(mapped) = mapped else { return Ok(Undo::call(tool, back)) };
    let config = pve.config(guest).await?;
    let storage = |value: &str| {
        let owned = !value.contains("media=cdrom") || value.contains("cloudinit");
        let (storage, _) = volume(value).split_once(':').filter(|_| owned)?;
        Some(storage.to_owned())
    };
    let held = config.iter().filter(|(key, _)| is_drive(key) || key.starts_with("unused"));
    let before: BTreeSet<String> = held.filter_map(|(_, value)| storage(&value)).collect();
    let before: Vec<&str> = before.iter().map(String::as_str).collect();
    match before.as_slice() {
        [] => {}
        [one] => back["target_storage"] = (*one).into(),
        // A list of pairs would name the other storage twice.
        several => {
            let several = several.join(", ");
            return Ok(Undo::call(tool, back).note(format!("what was on {several} stays on {mapped}")));
        }
    }
    Ok(Undo::call(tool, back))
}

/// `GET …/migrate`; containers' keys have hyphens.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Before {
    #[serde(default)]
    pub(super) running: bool,
    #[serde(default, alias = "allowed-nodes")]
    pub(super) allowed_nodes: Vec<String>,
    /// By node: a [`NotAllowed`].
    #[serde(default, alias = "not-allowed-nodes")]
    pub(super) not_allowed_nodes: BTreeMap<String, Value>,
    #[serde(default)]
    pub(super) local_disks: Vec<Disk>,
    #[serde(default)]
    pub(super) local_resources: Vec<String>,
    #[serde(default, rename = "mapped-resources")]
    pub(super) mapped_resources: Vec<String>,
    #[serde(default, rename = "mapped-resource-info")]
    pub(super) mapped_resource_info: BTreeMap<String, Map<String, Value>>,
    #[serde(default, rename = "dependent-ha-resources")]
    pub(super) dependent_ha_resources: Vec<String>,
}

#[derive(Debug, Default, Deserialize)]
pub(super) struct NotAllowed {
    #[serde(default)]
    pub(super) unavailable_storages: Vec<String>,
    #[serde(default, rename = "unavailable-resources", alias = "unavailable_resources")]
    pub(super) unavailable_resources: Vec<String>,
    #[serde(default, rename = "blocking-ha-resources")]
    pub(super) blocking_ha_resources: Vec<Blocking>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Blocking {
    pub(super) sid: String,
    pub(super) cause: Option<String>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Disk {
    pub(super) volid: String,
    pub(super) drivename: Option<String>,
    #[serde(default)]
    pub(super) cdrom: bool,
    #[serde(default)]
    pub(super) is_cloudinit: bool,
    #[serde(default = "yes")]
    pub(super) is_attached: bool,
    #[serde(default)]
    pub(super) size: u64,
}

impl Before {
    /// What is known of every node, or of the one named.
    pub(super) async fn read(pve: &Reader<'_>, guest: &Guest, target: &str) -> Result<Self> {
        let request = Request::get(guest.path("migrate")).maybe("target", Some(target).filter(|t| !t.is_empty()));
        match pve.request(&request).await {
            // Before Proxmox VE 9 containers cannot be asked.
            Err(e) if e.parts().status == Some(501) => {
                Ok(Self { running: pve.is_running(guest).await?, ..Self::default() })
            }
            answer => answer,
        }
    }

    /// The node named, which must be another than the guest's.
    fn target<'a>(&self, guest: &Guest, target: &'a str) -> Result<&'a str> {
        let others = || match self.allowed_nodes.as_slice() {
            [] => "proxmox-list-nodes shows the nodes".to_owned(),
            nodes => format!("possible: {}", nodes.join(", ")),
        };
        if target.is_empty() {
            return Err(Error::bad_argument("target_node: missing; expected the name of a node").hint(others()));
        }
        if target == guest.node {
            return Err(Error::bad_argument(format!("target_node: {guest} is there already")).hint(others()));
        }
        Ok(target)
    }

    /// Whether Proxmox lets it go to that node. Storages that are missing there may be mapped to others.
    fn allowed(&self, plan: Plan, guest: &Guest, target: &str, mapped: bool) -> Plan {
        let reasons = self.reasons(target);
        let (storages, resources) = (&reasons.unavailable_storages, &reasons.unavailable_resources);
        let blocking: Vec<String> = reasons
            .blocking_ha_resources
            .iter()
            .map(|b| format!("{} ({})", b.sid, b.cause.as_deref().unwrap_or("HA rule")))
            .collect();
        let known = self.allowed_nodes.iter().any(|node| node == target);
        let plan = match known {
            true => plan.check(true, || format!("Proxmox allows {target} for {guest}"), String::new),
            false => plan,
        };
        let plan = refuse_if(plan, !storages.is_empty() && !mapped, || {
            format!("{target} lacks storage {}, which {guest} uses: give target_storage", storages.join(", "))
        });
        let plan = refuse_if(plan, !resources.is_empty(), || {
            format!("{target} lacks what is mapped into {guest}: {}", resources.join(", "))
        });
        refuse_if(plan, !blocking.is_empty(), || format!("HA keeps {guest} from {target}: {}", blocking.join(", ")))
            .warn_if(!self.dependent_ha_resources.is_empty(), || {
                format!("HA moves along: {}", self.dependent_ha_resources.join(", "))
            })
    }

    /// What of the node's hardware is passed through.
    fn devices(&self, plan: Plan, guest: &Guest) -> Plan {
        let local = &self.local_resources;
        let plan = refuse_if(plan, !local.is_empty(), || {
            format!("{guest} uses devices of its node, which cannot move: {}", local.join(", "))
        });
        let fixed = self.not_live();
        refuse_if(plan, self.running && !fixed.is_empty(), || {
            format!("{guest} runs with mapped devices that cannot move live: {}", fixed.join(", "))
        })
    }

    /// Mapped devices that stay where they are as long as the guest runs.
    pub(super) fn not_live(&self) -> Vec<&str> {
        let moves = |key: &&String| {
            let info = self.mapped_resource_info.get(*key);
            info.and_then(|info| info.get("live-migration")).is_some_and(|v| v == 1 || v == true || v == "1")
        };
        self.mapped_resources.iter().filter(|key| !moves(key)).map(String::as_str).collect()
    }

    /// Why a node is not possible: what is mapped, and HA.
    pub(super) fn reasons(&self, node: &str) -> NotAllowed {
        let reasons = self.not_allowed_nodes.get(node).cloned();
        reasons.and_then(|reasons| serde_json::from_value(reasons).ok()).unwrap_or_default()
    }

    /// Disks on local storage.
    fn disks(&self, plan: Plan, guest: &Guest, with: bool) -> Plan {
        let shown = |disk: &&Disk| {
            let key = disk.drivename.as_ref().map(|key| format!("{key} ")).unwrap_or_default();
            format!("{key}{} ({} GiB)", disk.volid, gib(disk.size))
        };
        let seed = |disk: &&Disk| disk.is_cloudinit || disk.volid.contains("-cloudinit");
        let (discs, disks): (Vec<&Disk>, Vec<&Disk>) =
            self.local_disks.iter().filter(|disk| !seed(disk)).partition(|disk| disk.cdrom);
        let discs: Vec<String> = discs.iter().map(|disk| disk.volid.clone()).collect();
        let attached = disks.iter().any(|disk| disk.is_attached);
        let list: Vec<String> = disks.iter().map(shown).collect();
        let refused = self.running && attached && !with;
        let plan = refuse_if(plan, !discs.is_empty(), || {
            format!("{guest} has an image of local storage in its CD drive: eject {} first", discs.join(", "))
        });
        refuse_if(plan, refused, || {
            format!("{guest} has disks on local storage: give with_local_disks: true to copy {}", list.join(", "))
        })
        .warn_if(!disks.is_empty() && !refused, || format!("copies over the network: {}", list.join(", ")))
    }
}

fn refuse_if(plan: Plan, refused: bool, problem: impl FnOnce() -> String) -> Plan {
    if refused { plan.check(false, String::new, problem) } else { plan }
}
