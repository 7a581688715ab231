//! VMs from nothing: an empty disk, a network device, perhaps a CD to install from.

use serde_json::{Map, Value};

use super::Parameters;
use crate::{pve::GuestKind, tool::*};

/// Create an empty VM, with an ISO to install from if given.
#[derive(Deserialize, JsonSchema)]
pub(super) struct CreateVm {
    node: Option<String>,
    /// 0: next free.
    #[serde(default)]
    #[schemars(range(max = 999_999_999))]
    vmid: u32,
    #[serde(default)]
    name: String,
    #[serde(default = "two")]
    #[schemars(range(min = 1))]
    cores: u32,
    #[serde(default = "two_gib")]
    #[schemars(range(min = 16))]
    memory_mb: u32,
    /// 0: no disk.
    #[serde(default = "twenty")]
    disk_gb: u32,
    storage: Option<String>,
    bridge: Option<String>,
    /// Volume id or file name.
    iso: Option<String>,
    /// l26 (default), win11 …
    ostype: Option<String>,
    #[serde(default)]
    start: bool,
    /// More API parameters: pool, tags, bios …
    params: Option<Map<String, Value>>,
}

fn two() -> u32 {
    2
}
fn two_gib() -> u32 {
    2048
}
fn twenty() -> u32 {
    20
}

impl Tool for CreateVm {
    const NAME: &str = "proxmox-create-vm";
    const TITLE: &str = "Create a VM";
    const API: &[&str] = &["POST /nodes/{node}/qemu"];
    const EXAMPLE: (&str, &str) = (
        "Make a VM build-01 with 4 cores that boots the Debian installer",
        r#"{"name": "build-01", "cores": 4, "storage": "local-lvm", "iso": "debian-12", "confirm": true, "wait": true}"#,
    );
}

impl Action for CreateVm {
    const EFFECT: Effect = Effect::Write;
    const CONTROL: Control = Control::new(900).confirmed().polled();
    async fn plan(&self, pve: &Reader<'_>) -> Result<Plan> {
        let place = pve.place(self.node.as_deref()).await?;
        let node = place.node.as_str();
        let new = super::vmid(pve, self.vmid).await?;
        let mut set = self.parameters();
        if self.disk_gb > 0 {
            let storage = pve.storage(self.storage.as_deref(), node, "images").await?;
            set.set("scsi0", format!("{storage}:{},discard=on,iothread=1", self.disk_gb));
        }
        if let Some(iso) = self.iso.as_deref().filter(|iso| !iso.is_empty()) {
            set.set("ide2", format!("{},media=cdrom", pve.image("iso", iso, node, "iso").await?));
        }
        if self.params.as_ref().is_none_or(|params| !params.contains_key("net0")) {
            let bridge = pve.bridge(self.bridge.as_deref(), node).await?;
            set.set("net0", format!("virtio,bridge={bridge},firewall=1"));
        }
        set.overrule(self.params.as_ref())?;
        if set.get("boot").is_none() {
            set.maybe("boot", boot_order(&set));
        }
        let windows = set.get("ostype").is_some_and(|os| os.starts_with('w'));
        let given = set.get("name").map(str::to_owned);
        let shown = given.as_ref().map(|name| format!(" ({name})")).unwrap_or_default();
        let starts = set.get("start") == Some("1");
        let start = if starts { ", and start it" } else { "" };
        let mut plan = Plan::new(format!("create VM {}{shown} on {node}{start}", new.vmid))
            .about("vmid", new.vmid)
            .about("node", node)
            .warn_if(windows && self.disk_gb > 0, || {
                "Windows has no drivers for virtio disks: attach the virtio-win ISO too (params: sata0)".to_owned()
            });
        if let Some(name) = given {
            plan = plan.about("name", name);
        }
        if let Some(why) = place.why {
            plan = plan.about("node_chosen", why);
        }
        plan.chosen_vmid = new.chosen;
        let request = Request::post(format!("/nodes/{}/qemu", crate::pve::encode(node))).param("vmid", new.vmid);
        Ok(plan.step(set.onto(request)).undone(super::undo(GuestKind::Qemu, new.vmid, starts)))
    }
}

impl CreateVm {
    /// What needs nothing of the node.
    fn parameters(&self) -> Parameters {
        let mut set = Parameters::new();
        set.maybe("name", Some(&self.name));
        set.set("ostype", self.ostype.as_deref().unwrap_or("l26"));
        set.set("cores", self.cores);
        set.set("cpu", "x86-64-v2-AES");
        set.set("memory", self.memory_mb);
        set.set("scsihw", "virtio-scsi-single");
        set.set("agent", "enabled=1");
        set.maybe("start", self.start.then_some(1));
        set
    }
}

/// The disk, then the CD (an empty disk is passed over), then the network.
fn boot_order(set: &Parameters) -> Option<String> {
    let devices: Vec<&str> = ["scsi0", "ide2", "net0"].into_iter().filter(|key| set.get(key).is_some()).collect();
    (!devices.is_empty()).then(|| format!("order={}", devices.join(";")))
}
