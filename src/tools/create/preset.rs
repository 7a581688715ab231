//! VMs of usual sizes from a cloud-init template.

use super::cloudinit::{API, Cloud, Hardware, Wanted};
use crate::{arguments, tool::*};

/// Create a VM of a usual size from a cloud-init template.
#[derive(Deserialize, JsonSchema)]
pub(super) struct CreatePresetVm {
    preset: String,
    node: Option<String>,
    #[serde(default)]
    #[schemars(range(max = 999_999_999))]
    vmid: u32,
    #[serde(default)]
    name: String,
    #[serde(default)]
    hostname: String,
    #[serde(default)]
    ssh_keys: Vec<String>,
    #[serde(default)]
    admin_user: String,
    /// VMID or name.
    template: Option<String>,
    #[serde(default)]
    start: bool,
}

/// A size: cores, MiB of memory, GiB of disk.
struct Preset {
    name: &'static str,
    cores: u64,
    memory_mb: u64,
    disk_gb: u64,
}

const fn preset(name: &'static str, cores: u64, memory_mb: u64, disk_gb: u64) -> Preset {
    Preset { name, cores, memory_mb, disk_gb }
}

const PRESETS: &[Preset] = &[
    preset("tiny", 1, 1024, 10),
    preset("small", 1, 2048, 20),
    preset("medium", 2, 4096, 40),
    preset("large", 4, 8192, 80),
    preset("xlarge", 8, 16_384, 160),
    preset("web", 2, 2048, 20),
    preset("proxy", 2, 1024, 10),
    preset("cache", 2, 4096, 20),
    preset("monitoring", 2, 4096, 60),
    preset("database", 4, 8192, 100),
    preset("docker", 4, 8192, 60),
    preset("kubernetes", 4, 8192, 60),
    preset("build", 8, 16_384, 100),
];

impl Tool for CreatePresetVm {
    const NAME: &str = "proxmox-create-preset-vm";
    const TITLE: &str = "Create a VM of a usual size";
    const API: &[&str] = API;
    const EXAMPLE: (&str, &str) = (
        "A Docker host called docker-01, please",
        r#"{"preset": "docker", "name": "docker-01", "template": "debian-12", "admin_user": "ops", "confirm": true, "wait": true}"#,
    );
}

impl Action for CreatePresetVm {
    const EFFECT: Effect = Effect::Write;
    const CONTROL: Control = Control::new(900).confirmed().polled();
    async fn plan(&self, pve: &Reader<'_>) -> Result<Plan> {
        let preset = find(&self.preset)?;
        let name = if self.name.is_empty() { &self.hostname } else { &self.name };
        let wanted = Wanted {
            node: self.node.as_deref(),
            vmid: self.vmid,
            name,
            template: self.template.as_deref(),
            cloud: Cloud::login(&self.admin_user, &self.ssh_keys)?,
            hardware: Hardware {
                cores: Some(preset.cores),
                memory_mb: Some(preset.memory_mb),
                disk_gb: Some(preset.disk_gb),
                ..Hardware::default()
            },
            start: self.start,
        };
        let plan = wanted.plan(pve).await?.about("preset", preset.name);
        let other = !self.hostname.is_empty() && self.hostname != *name;
        Ok(plan.warn_if(other, || format!("cloud-init takes the VM's name as its host name: it will be {name}")))
    }
}

/// `web-server` and `Web` are `web`.
fn find(asked: &str) -> Result<&'static Preset> {
    let wanted = asked.trim().to_lowercase();
    let exact = PRESETS.iter().find(|preset| preset.name == wanted);
    let first = || PRESETS.iter().find(|preset| wanted.split(['-', '_', ' ']).next() == Some(preset.name));
    exact.or_else(first).ok_or_else(|| {
        let sizes =
            PRESETS.iter().map(|p| format!("{} ({} cores, {} MiB, {} GB)", p.name, p.cores, p.memory_mb, p.disk_gb));
        let near = arguments::nearest(&wanted, PRESETS.iter().map(|p| p.name));
        let hint = near.map(|near| format!("did you mean {near}? ")).unwrap_or_default();
        Error::bad_argument(format!("preset: no preset is named '{asked}'"))
            .hint(format!("{hint}presets: {}", sizes.collect::<Vec<_>>().join(", ")))
    })
}
