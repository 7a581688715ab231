//! VMs from a template with cloud-init: clone, configure, grow the disk, start; one plan.

use serde_json::{Map, Value};

use super::{
    lxc::Address,
    source::{boot_disk, rewired, seed_drive, template},
    text,
};
use crate::{
    pve::{GuestConfig, GuestKind, SshKeys, size},
    tool::*,
};

/// Create a VM from a cloud-init template: clone it, set user, keys, address, hardware; start it.
#[derive(Deserialize, JsonSchema)]
pub(super) struct CreateVmCloudinit {
    /// Default: the template's.
    node: Option<String>,
    #[serde(default)]
    #[schemars(range(max = 999_999_999))]
    vmid: u32,
    #[serde(default)]
    name: String,
    /// VMID or name of a template.
    #[serde(default = "ubuntu")]
    template: String,
    /// user, password, ssh_keys, ip (CIDR or dhcp), gateway, nameserver.
    cloudinit_config: Option<Map<String, Value>>,
    /// cores, memory_mb, disk_gb, storage, bridge.
    hardware: Option<Map<String, Value>>,
    #[serde(default)]
    start: bool,
}

fn ubuntu() -> String {
    "ubuntu-22.04".to_owned()
}

/// What a VM made from a template needs.
pub(super) const API: &[&str] = &[
    "POST /nodes/{node}/qemu/{vmid}/clone",
    "PUT /nodes/{node}/qemu/{vmid}/config",
    "PUT /nodes/{node}/qemu/{vmid}/resize",
    "POST /nodes/{node}/qemu/{vmid}/status/start",
];

impl Tool for CreateVmCloudinit {
    const NAME: &str = "proxmox-create-vm-cloudinit";
    const TITLE: &str = "Create a VM from a cloud-init template";
    const API: &[&str] = API;
    const EXAMPLE: (&str, &str) = (
        "Make web-03 from the Debian cloud image, 4 cores, 40 GB, address 10.0.0.33, and start it",
        r#"{"name": "web-03", "template": "debian-12", "cloudinit_config": {"user": "admin", "ip": "10.0.0.33/24", "gateway": "10.0.0.1"}, "hardware": {"cores": 4, "disk_gb": 40}, "start": true, "confirm": true, "wait": true}"#,
    );
}

impl Action for CreateVmCloudinit {
    const EFFECT: Effect = Effect::Write;
    const CONTROL: Control = Control::new(900).confirmed().polled();
    async fn plan(&self, pve: &Reader<'_>) -> Result<Plan> {
        let wanted = Wanted {
            node: self.node.as_deref(),
            vmid: self.vmid,
            name: &self.name,
            template: Some(&self.template),
            cloud: Cloud::of(self.cloudinit_config.as_ref())?,
            hardware: Hardware::of(self.hardware.as_ref())?,
            start: self.start,
        };
        wanted.plan(pve).await
    }
}

/// What cloud-init is told.
#[derive(Default)]
pub(super) struct Cloud {
    user: Option<String>,
    password: Option<String>,
    /// Encoded.
    ssh_keys: Option<String>,
    ipconfig: Option<String>,
    nameserver: Option<String>,
    searchdomain: Option<String>,
    upgrade: Option<String>,
}

impl Cloud {
    /// Who may log in, and nothing else.
    pub(super) fn login(user: &str, ssh_keys: &[String]) -> Result<Self> {
        let filled = |text: String| Some(text).filter(|text| !text.is_empty());
        let ssh_keys = filled(SshKeys::parse("ssh_keys", ssh_keys.iter().map(String::as_str))?.encoded());
        Ok(Self { user: filled(user.to_owned()), ssh_keys, ..Self::default() })
    }

    /// Proxmox's own names are understood too.
    fn of(given: Option<&Map<String, Value>>) -> Result<Self> {
        let mut cloud = Self::default();
        let (mut ip, mut gateway) = (None, None);
        for (key, value) in given.into_iter().flatten() {
            if matches!(key.as_str(), "ssh_keys" | "sshkeys" | "ssh_key") {
                let keys = strings(value).ok_or_else(|| not_text("cloudinit_config", key, value))?;
                cloud.ssh_keys = Some(SshKeys::parse("ssh_keys", keys.iter().map(String::as_str))?.encoded())
                    .filter(|keys| !keys.is_empty());
                continue;
            }
            let text = text(value).ok_or_else(|| not_text("cloudinit_config", key, value))?;
            let slot = match key.as_str() {
                "user" | "ciuser" | "username" => &mut cloud.user,
                "password" | "cipassword" => &mut cloud.password,
                "ip" => &mut ip,
                "gateway" | "gw" => &mut gateway,
                "ipconfig0" => &mut cloud.ipconfig,
                "nameserver" => &mut cloud.nameserver,
                "searchdomain" => &mut cloud.searchdomain,
                "upgrade" | "ciupgrade" => &mut cloud.upgrade,
                _ => {
                    return Err(Error::bad_argument(format!("cloudinit_config: unknown key '{key}'")).hint(
                        "known: user, password, ssh_keys, ip, gateway, ipconfig0, nameserver, searchdomain, upgrade; \
                         packages, files and commands are proxmox-configure-cloudinit-advanced's",
                    ));
                }
            };
            *slot = Some(text).filter(|text| !text.is_empty());
        }
        if ip.is_some() || gateway.is_some() {
            if cloud.ipconfig.is_some() {
                return Err(Error::bad_argument("cloudinit_config: give ip and gateway, or ipconfig0, not both"));
            }
            let address = Address::of("cloudinit_config.ip", ip.as_deref(), gateway.as_deref())?;
            cloud.ipconfig = Some(address.properties);
        }
        Ok(cloud)
    }
}

/// The hardware that differs from the template's.
#[derive(Default)]
pub(super) struct Hardware {
    pub cores: Option<u64>,
    pub memory_mb: Option<u64>,
    pub disk_gb: Option<u64>,
    pub storage: Option<String>,
    pub bridge: Option<String>,
}

impl Hardware {
    fn of(given: Option<&Map<String, Value>>) -> Result<Self> {
        let mut hardware = Self::default();
        for (key, value) in given.into_iter().flatten() {
            let text = text(value).ok_or_else(|| not_text("hardware", key, value))?;
            let number = || match text.trim_end_matches(['G', 'g']).parse::<u64>() {
                Ok(0) | Err(_) => Err(Error::bad_argument(format!(
                    "hardware: {key}: expected a whole number of at least 1, got {value}"
                ))),
                Ok(number) => Ok(Some(number)),
            };
            match key.as_str() {
                "cores" | "cpu" | "cpus" => hardware.cores = number()?,
                "memory_mb" | "memory" => hardware.memory_mb = number()?,
                "disk_gb" | "disk" | "disk_size" => hardware.disk_gb = number()?,
                "storage" => hardware.storage = Some(text).filter(|text| !text.is_empty()),
                "bridge" => hardware.bridge = Some(text).filter(|text| !text.is_empty()),
                _ => {
                    return Err(Error::bad_argument(format!("hardware: unknown key '{key}'"))
                        .hint("known: cores, memory_mb, disk_gb, storage, bridge"));
                }
            }
        }
        Ok(hardware)
    }
}

fn not_text(field: &str, key: &str, value: &Value) -> Error {
    // A password may be what has the wrong type.
    let got = if key.contains("password") { "something else".to_owned() } else { value.to_string() };
    Error::bad_argument(format!("{field}: {key}: expected text, a number or true/false, got {got}"))
}

/// One text or a list of them.
fn strings(value: &Value) -> Option<Vec<String>> {
    match value {
        Value::String(text) => Some(vec![text.clone()]),
        Value::Array(all) => all.iter().map(|one| one.as_str().map(str::to_owned)).collect(),
        _ => None,
    }
}

/// A VM to be made from a template.
pub(super) struct Wanted<'a> {
    pub node: Option<&'a str>,
    pub vmid: u32,
    pub name: &'a str,
    /// VMID or name; nothing: the only one there is.
    pub template: Option<&'a str>,
    pub cloud: Cloud,
    pub hardware: Hardware,
    pub start: bool,
}

impl Wanted<'_> {
    pub(super) async fn plan(&self, pve: &Reader<'_>) -> Result<Plan> {
        let template = template(pve, self.template, self.node).await?;
        let config = pve.config(&template).await?;
        let new = super::vmid(pve, self.vmid).await?;
        let node = self.node.unwrap_or(&template.node);
        let clone = Guest { vmid: new.vmid, node: node.to_owned(), ..template.clone() };
        let target = Some(node).filter(|node| *node != template.node);
        let name = if self.name.is_empty() { String::new() } else { format!(" ({})", self.name) };
        let start = if self.start { ", and start it" } else { "" };
        let mut plan = Plan::new(format!("create VM {}{name} on {node} from {template}{start}", new.vmid))
            .about("vmid", new.vmid)
            .about("node", node)
            .about("template", template.vmid)
            .step(
                Request::post(template.path("clone"))
                    .param("newid", new.vmid)
                    .maybe("name", Some(self.name).filter(|name| !name.is_empty()))
                    .maybe("target", target)
                    .maybe("storage", self.hardware.storage.as_deref())
                    .param("full", 1),
            );
        if !self.name.is_empty() {
            plan = plan.about("name", self.name);
        }
        if let Some(target) = target {
            plan = crate::tools::clone::shared(plan, pve, &template, &config, target).await?;
        }
        plan = self.configure(plan, &clone, &config);
        plan = self.grow(plan, &clone, &config);
        if self.start {
            plan = plan.step(Request::post(clone.path("status/start")));
        }
        plan.chosen_vmid = new.chosen;
        Ok(plan.undone(super::undo(GuestKind::Qemu, new.vmid, self.start)))
    }

    /// The new VM's own configuration. It differs from the template's, so there is no digest to guard it with; nobody else
    /// knows of it yet.
    fn configure(&self, mut plan: Plan, clone: &Guest, config: &GuestConfig) -> Plan {
        let (cloud, hardware) = (&self.cloud, &self.hardware);
        let mut set: Vec<(&str, String)> = Vec::new();
        let mut want = |key: &'static str, value: Option<String>| {
            set.extend(value.filter(|value| config.get(key).as_deref() != Some(value)).map(|value| (key, value)));
        };
        want("cores", hardware.cores.map(|n| n.to_string()));
        want("memory", hardware.memory_mb.map(|n| n.to_string()));
        want("net0", hardware.bridge.as_deref().and_then(|bridge| rewired(config.get("net0").as_deref(), bridge)));
        want("ciuser", cloud.user.clone());
        want("sshkeys", cloud.ssh_keys.clone());
        want("ipconfig0", cloud.ipconfig.clone());
        want("nameserver", cloud.nameserver.clone());
        want("searchdomain", cloud.searchdomain.clone());
        want("ciupgrade", cloud.upgrade.clone());
        let drive = config.iter().any(|(_, value)| value.contains("cloudinit"));
        let seed = if drive { None } else { seed_drive(config, self.hardware.storage.as_deref()) };
        if let Some((key, value)) = &seed {
            set.push((key, value.clone()));
        }
        for (key, value) in &set {
            plan = plan.change(key, config.get(key), Some(value.as_str()));
        }
        let mut request = Request::put(clone.path("config"));
        request.params.extend(set.into_iter().map(|(k, v)| (k.to_owned().into(), crate::pve::Param::Plain(v))));
        if let Some(password) = &cloud.password {
            request = request.secret("cipassword", password.as_str());
            plan = plan.change("cipassword", None::<&str>, Some("********"));
        }
        let warning = || "the template has no cloud-init drive: one is added".to_owned();
        plan = plan.warn_if(seed.is_some(), warning);
        if request.params.is_empty() { plan } else { plan.step(request) }
    }

    /// Disks only grow.
    fn grow(&self, plan: Plan, clone: &Guest, config: &GuestConfig) -> Plan {
        let Some(wanted) = self.hardware.disk_gb else { return plan };
        let Some((key, present)) = boot_disk(config) else {
            return plan.warn_if(true, || "the template has no disk that could grow".to_owned());
        };
        let (old, new) = (size::configured(&present), wanted.saturating_mul(1 << 30));
        if old.is_some_and(|old| old >= new) {
            let plan = plan.warn_if(old.is_some_and(|old| old > new), || {
                format!("{key} has {present} already, and disks only grow: it keeps that")
            });
            return plan;
        }
        plan.change(&format!("{key} size"), Some(present), Some(format!("{wanted}G")))
            .step(Request::put(clone.path("resize")).param("disk", &key).param("size", format!("{wanted}G")))
    }
}
