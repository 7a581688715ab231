//! Containers from an OS template.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use serde_json::{Map, Value};

use super::Parameters;
use crate::{
    pve::{GuestKind, SshKeys},
    tool::*,
};

/// Create a container from an OS template that a storage holds.
#[derive(Deserialize, JsonSchema)]
pub(super) struct CreateLxc {
    node: Option<String>,
    /// 0: next free.
    #[serde(default)]
    #[schemars(range(max = 999_999_999))]
    vmid: u32,
    #[serde(default)]
    hostname: String,
    /// Volume id or file name.
    #[serde(default)]
    ostemplate: String,
    #[serde(default = "two")]
    #[schemars(range(min = 1, max = 8192))]
    cores: u32,
    #[serde(default = "one_gib")]
    #[schemars(range(min = 16))]
    memory_mb: u32,
    #[serde(default = "eight")]
    #[schemars(range(min = 1))]
    rootfs_gb: u32,
    storage: Option<String>,
    bridge: Option<String>,
    /// dhcp (default) or CIDR.
    net_ip: Option<String>,
    gateway: Option<String>,
    password: Option<String>,
    #[serde(default)]
    ssh_public_keys: Vec<String>,
    #[serde(default = "yes")]
    unprivileged: bool,
    #[serde(default)]
    start: bool,
    /// More API parameters: swap, tags, mp0 …
    params: Option<Map<String, Value>>,
}

fn two() -> u32 {
    2
}
fn one_gib() -> u32 {
    1024
}
fn eight() -> u32 {
    8
}
fn yes() -> bool {
    true
}

impl Tool for CreateLxc {
    const NAME: &str = "proxmox-create-lxc";
    const TITLE: &str = "Create a container";
    const API: &[&str] = &["POST /nodes/{node}/lxc"];
    const EXAMPLE: (&str, &str) = (
        "Make a Debian container cache-02 with a fixed address",
        r#"{"hostname": "cache-02", "ostemplate": "debian-12", "storage": "local-lvm", "net_ip": "10.0.0.52/24", "gateway": "10.0.0.1", "confirm": true}"#,
    );
}

impl Action for CreateLxc {
    const EFFECT: Effect = Effect::Write;
    const CONTROL: Control = Control::new(900).confirmed().waiting().polled();
    async fn plan(&self, pve: &Reader<'_>) -> Result<Plan> {
        let address = Address::of("net_ip", self.net_ip.as_deref(), self.gateway.as_deref())?;
        let keys = SshKeys::parse("ssh_public_keys", self.ssh_public_keys.iter().map(String::as_str))?
            .iter()
            .collect::<Vec<_>>()
            .join("\n");
        let place = pve.place(self.node.as_deref()).await?;
        let node = place.node.as_str();
        let new = super::vmid(pve, self.vmid).await?;
        let template = pve.image("ostemplate", self.ostemplate.trim(), node, "vztmpl").await?;
        let storage = pve.storage(self.storage.as_deref(), node, "rootdir").await?;
        let bridge = pve.bridge(self.bridge.as_deref(), node).await?;
        let mut set = Parameters::new();
        set.set("ostemplate", &template);
        set.maybe("hostname", Some(&self.hostname));
        set.set("cores", self.cores);
        set.set("memory", self.memory_mb);
        set.set("rootfs", format!("{storage}:{}", self.rootfs_gb));
        set.set("net0", format!("name=eth0,bridge={bridge},firewall=1,{}", address.properties));
        set.set("unprivileged", u8::from(self.unprivileged));
        // What systemd in today's templates needs, and safe where root is nobody outside.
        set.maybe("features", self.unprivileged.then_some("nesting=1"));
        set.maybe("password", self.password.as_ref());
        set.maybe("ssh-public-keys", Some(&keys));
        set.maybe("start", self.start.then_some(1));
        set.overrule(self.params.as_ref())?;
        let name = if self.hostname.is_empty() { String::new() } else { format!(" ({})", self.hostname) };
        let starts = set.get("start") == Some("1");
        let start = if starts { ", and start it" } else { "" };
        let mut plan = Plan::new(format!("create container {}{name} on {node} from {template}{start}", new.vmid))
            .about("vmid", new.vmid)
            .about("node", node)
            .warn_if(self.password.is_none() && keys.is_empty(), || {
                format!("no password and no SSH key: only `pct enter {}` on {node} gets into it", new.vmid)
            })
            .warn_if(address.alone, || "no gateway: it reaches its own network only".to_owned());
        if !self.hostname.is_empty() {
            plan = plan.about("name", self.hostname.as_str());
        }
        if let Some(why) = place.why {
            plan = plan.about("node_chosen", why);
        }
        plan.chosen_vmid = new.chosen;
        let request = Request::post(format!("/nodes/{}/lxc", crate::pve::encode(node))).param("vmid", new.vmid);
        Ok(plan.step(set.onto(request)).undone(super::undo(GuestKind::Lxc, new.vmid, starts)))
    }
}

/// The address part of a network device.
pub(in crate::tools) struct Address {
    /// `ip=10.0.0.5/24,gw=10.0.0.1`
    pub properties: String,
    /// Fixed, and without a gateway.
    pub alone: bool,
}

impl Address {
    /// From `dhcp`, `auto` (IPv6), `manual` or an address with its prefix length.
    ///
    /// # Errors
    /// `BadArgument`, also for a gateway that does not belong to it.
    pub(in crate::tools) fn of(field: &str, ip: Option<&str>, gateway: Option<&str>) -> Result<Self> {
        let gateway = match gateway.map(str::trim).filter(|text| !text.is_empty()) {
            None => None,
            Some(text) => Some(text.parse::<IpAddr>().map_err(|_| {
                Error::bad_argument(format!("gateway: expected an address such as 10.0.0.1, got '{text}'"))
            })?),
        };
        let ip = ip.map(str::trim).filter(|ip| !ip.is_empty()).unwrap_or("dhcp");
        if matches!(ip, "dhcp" | "auto" | "manual") {
            if gateway.is_some() {
                return Err(Error::bad_argument(format!("gateway: only with a fixed address, not with '{ip}'")));
            }
            let key = if ip == "auto" { "ip6" } else { "ip" };
            return Ok(Self { properties: format!("{key}={ip}"), alone: false });
        }
        let wrong =
            || Error::bad_argument(format!("{field}: expected dhcp or an address such as 10.0.0.5/24, got '{ip}'"));
        let (address, length) = ip.split_once('/').ok_or_else(wrong)?;
        let length: u8 = length.parse().map_err(|_| wrong())?;
        let (suffix, most) = match (address.parse::<Ipv4Addr>(), address.parse::<Ipv6Addr>()) {
            (Ok(_), _) => ("", 32),
            (_, Ok(_)) => ("6", 128),
            _ => return Err(wrong()),
        };
        if length == 0 || length > most {
            return Err(wrong());
        }
        let mut properties = format!("ip{suffix}={ip}");
        if let Some(gateway) = gateway {
            if gateway.is_ipv6() != (most == 128) {
                return Err(Error::bad_argument(format!("gateway: {gateway} is of another family than {ip}")));
            }
            properties.push_str(&format!(",gw{suffix}={gateway}"));
        }
        Ok(Self { properties, alone: gateway.is_none() })
    }
}
