//! Network devices of guests: added to the first free slot, removed by slot.

use serde_json::Value;

use super::applied::applied;
use crate::{
    pve::{Edit, Guest, GuestConfig, Options, api::Api, options::is_numbered},
    tool::*,
};

pub const TOOLS: &[Entry] = &[
    Entry::action::<VmNicAdd>(),
    Entry::action::<VmNicRemove>(),
    Entry::action::<LxcNicAdd>(),
    Entry::action::<LxcNicRemove>(),
];

/// Proxmox's bound for `net[n]`.
const SLOTS: u32 = 32;

/// Add a network card to a VM, in its first free slot.
#[derive(Deserialize, JsonSchema)]
struct VmNicAdd {
    #[serde(flatten)]
    guest: GuestRef,
    bridge: Option<String>,
    #[serde(default = "virtio")]
    model: String,
    #[schemars(range(min = 1, max = 4094))]
    vlan: Option<u16>,
    mac: Option<String>,
    firewall: Option<bool>,
    /// MB/s.
    #[schemars(range(min = 0))]
    rate: Option<f64>,
}

fn virtio() -> String {
    "virtio".to_owned()
}

impl Tool for VmNicAdd {
    const NAME: &str = "proxmox-vm-nic-add";
    const TITLE: &str = "Add a NIC to a VM";
    const API: &[&str] = &["PUT /nodes/{node}/qemu/{vmid}/config", "GET /nodes/{node}/{type}/{vmid}/pending"];
    const EXAMPLE: (&str, &str) =
        ("Connect web-01 to VLAN 20 on vmbr1", r#"{"name": "web-01", "bridge": "vmbr1", "vlan": 20, "confirm": true}"#);
}

impl Action for VmNicAdd {
    const EFFECT: Effect = Effect::Write;
    const CONTROL: Control = Control::instant().confirmed();
    const LOOKS_AFTER: bool = true;
    async fn plan(&self, pve: &Reader<'_>) -> Result<Plan> {
        let guest = pve.guest(&self.guest, Want::Vm).await?;
        let bridge = pve.bridge(self.bridge.as_deref(), &guest.node).await?;
        let model = match &self.mac {
            Some(mac) => format!("{}={mac}", self.model),
            None => self.model.clone(),
        };
        let mut nic = format!("{model},bridge={bridge}");
        push(&mut nic, "firewall", self.firewall.map(u8::from));
        push(&mut nic, "rate", self.rate);
        push(&mut nic, "tag", self.vlan);
        let config = pve.config(&guest).await?;
        add(pve.api(), &guest, &config, &nic, &bridge)
    }
    async fn result(&self, pve: &Reader<'_>, plan: &Plan, _: Done<'_>) -> Result<Option<Value>> {
        applied(pve, plan).await
    }
}

/// Remove a network card from a VM: slot 0 is net0.
#[derive(Deserialize, JsonSchema)]
struct VmNicRemove {
    #[serde(flatten)]
    guest: GuestRef,
    #[serde(default)]
    #[schemars(range(min = 0, max = 31))]
    slot: u32,
}

impl Tool for VmNicRemove {
    const NAME: &str = "proxmox-vm-nic-remove";
    const TITLE: &str = "Remove a NIC of a VM";
    const API: &[&str] = &["PUT /nodes/{node}/qemu/{vmid}/config", "GET /nodes/{node}/{type}/{vmid}/pending"];
    const EXAMPLE: (&str, &str) =
        ("Take the network card off win11-test", r#"{"name": "win11-test", "slot": 0, "confirm": true}"#);
}

impl Action for VmNicRemove {
    const EFFECT: Effect = Effect::Write;
    const CONTROL: Control = Control::instant().confirmed();
    const LOOKS_AFTER: bool = true;
    async fn plan(&self, pve: &Reader<'_>) -> Result<Plan> {
        remove(pve, pve.guest(&self.guest, Want::Vm).await?, self.slot).await
    }
    async fn result(&self, pve: &Reader<'_>, plan: &Plan, _: Done<'_>) -> Result<Option<Value>> {
        applied(pve, plan).await
    }
}

/// Add a network interface to a container, in its first free slot.
#[derive(Deserialize, JsonSchema)]
struct LxcNicAdd {
    #[serde(flatten)]
    guest: GuestRef,
    bridge: Option<String>,
    /// Default the next ethN.
    interface: Option<String>,
    /// CIDR or dhcp.
    ip: Option<String>,
    gw: Option<String>,
    ip6: Option<String>,
    #[schemars(range(min = 1, max = 4094))]
    vlan: Option<u16>,
    firewall: Option<bool>,
}

impl Tool for LxcNicAdd {
    const NAME: &str = "proxmox-lxc-nic-add";
    const TITLE: &str = "Add a NIC to a container";
    const API: &[&str] = &["PUT /nodes/{node}/lxc/{vmid}/config", "GET /nodes/{node}/{type}/{vmid}/pending"];
    const EXAMPLE: (&str, &str) = (
        "Connect redis-01 to vmbr1 too",
        r#"{"name": "redis-01", "bridge": "vmbr1", "ip": "10.20.0.50/24", "confirm": true}"#,
    );
}

impl Action for LxcNicAdd {
    const EFFECT: Effect = Effect::Write;
    const CONTROL: Control = Control::instant().confirmed();
    const LOOKS_AFTER: bool = true;
    async fn plan(&self, pve: &Reader<'_>) -> Result<Plan> {
        let guest = pve.guest(&self.guest, Want::Container).await?;
        let bridge = pve.bridge(self.bridge.as_deref(), &guest.node).await?;
        let config = pve.config(&guest).await?;
        let taken =
            |name: &String| config.iter().any(|(k, v)| is_numbered(k, "net") && v.contains(&format!("name={name},")));
        let interface = match &self.interface {
            Some(name) => name.clone(),
            None => (0..SLOTS).map(|n| format!("eth{n}")).find(|name| !taken(name)).unwrap_or_default(),
        };
        let mut nic = format!("name={interface},bridge={bridge}");
        push(&mut nic, "firewall", self.firewall.map(u8::from));
        push(&mut nic, "gw", self.gw.as_ref());
        push(&mut nic, "ip", self.ip.as_ref());
        push(&mut nic, "ip6", self.ip6.as_ref());
        push(&mut nic, "tag", self.vlan);
        add(pve.api(), &guest, &config, &nic, &bridge)
    }
    async fn result(&self, pve: &Reader<'_>, plan: &Plan, _: Done<'_>) -> Result<Option<Value>> {
        applied(pve, plan).await
    }
}

/// Remove a network interface from a container: slot 0 is net0.
#[derive(Deserialize, JsonSchema)]
struct LxcNicRemove {
    #[serde(flatten)]
    guest: GuestRef,
    #[schemars(range(min = 0, max = 31))]
    slot: u32,
}

impl Tool for LxcNicRemove {
    const NAME: &str = "proxmox-lxc-nic-remove";
    const TITLE: &str = "Remove a NIC of a container";
    const API: &[&str] = &["PUT /nodes/{node}/lxc/{vmid}/config", "GET /nodes/{node}/{type}/{vmid}/pending"];
    const EXAMPLE: (&str, &str) = ("Take devbox off the network", r#"{"name": "devbox", "slot": 0, "confirm": true}"#);
}

impl Action for LxcNicRemove {
    const EFFECT: Effect = Effect::Write;
    const CONTROL: Control = Control::instant().confirmed();
    const LOOKS_AFTER: bool = true;
    async fn plan(&self, pve: &Reader<'_>) -> Result<Plan> {
        remove(pve, pve.guest(&self.guest, Want::Container).await?, self.slot).await
    }
    async fn result(&self, pve: &Reader<'_>, plan: &Plan, _: Done<'_>) -> Result<Option<Value>> {
        applied(pve, plan).await
    }
}

fn push(nic: &mut String, key: &str, value: Option<impl ToString>) {
    if let Some(value) = value {
        nic.push_str(&format!(",{key}={}", value.to_string()));
    }
}

/// The plan that adds a device, held to Proxmox's own definition of it.
fn add(api: &Api, guest: &Guest, config: &GuestConfig, nic: &str, bridge: &str) -> Result<Plan> {
    let Some(slot) = config.free("net", SLOTS) else {
        return Err(Error::new(crate::error::Kind::Refused, format!("{guest} has {SLOTS} network devices already")));
    };
    let key = format!("net{slot}");
    Options::of(api, guest, config)?.check([(key.as_str(), nic)])?;
    let plan = Plan::on(guest, &format!("add {key} on {bridge} to"));
    let plan = plan.about("status", guest.status.as_str()).about("added", key.as_str());
    Ok(Edit::default().set(key, nic).step(plan, guest, config))
}

async fn remove(pve: &Reader<'_>, guest: Guest, slot: u32) -> Result<Plan> {
    let config = pve.config(&guest).await?;
    let key = format!("net{slot}");
    if config.get(&key).is_none() {
        let mut there: Vec<&str> = config.keys().filter(|key| is_numbered(key, "net")).collect();
        there.sort_unstable();
        let there = if there.is_empty() { "no network device".to_owned() } else { there.join(", ") };
        return Err(Error::not_found(format!("slot: {guest} has no {key}")).hint(format!("it has {there}")));
    }
    let boot = config.get("boot").unwrap_or_default();
    let boots = boot.trim_start_matches("order=").split(';').any(|device| device == key);
    let plan = Plan::on(&guest, &format!("remove {key} from")).about("status", guest.status.as_str());
    let plan = plan.about("removed", key.as_str()).warn_if(boots, || format!("{key} leaves the boot order"));
    Ok(Edit::default().delete(key).step(plan, &guest, &config))
}
