//! What a container is to be: as the options of a new one, and held against the configuration of one that exists. Sends
//! nothing.

use serde_json::Value;

use super::{
    super::wanted::{Differences, Nic, grow, same},
    CORES, MEMORY, ROOTFS,
};
use crate::{
    pve::{GuestConfig, PropertyString, size},
    tool::*,
};

/// Mount points that a container may have.
const MOUNTS: u32 = 256;

/// What the call says of each container; what it does not say stays as it is, or is as usual.
#[derive(Debug, Clone, Default)]
pub struct Shape {
    /// Option and value, in Proxmox's notation.
    pub options: Vec<(&'static str, String)>,
    pub devices: Vec<Device>,
    /// Bytes.
    pub rootfs: Option<u64>,
    pub mounts: Vec<Mount>,
}

/// A network device; the first one gets the address.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Device {
    pub bridge: Option<String>,
    vlan: Option<u16>,
    firewall: Option<bool>,
}

/// A volume beside the root's.
#[derive(Debug, Clone, PartialEq)]
pub struct Mount {
    path: String,
    pub storage: Option<String>,
    pub bytes: u64,
}

/// What a new container finds on its node.
pub struct Ground<'a> {
    /// Of the root, then of each mount point.
    pub storages: &'a [String],
    /// For devices that name none.
    pub bridge: Option<&'a str>,
    /// `ip=dhcp`
    pub address: &'a str,
    pub unprivileged: bool,
}

impl Device {
    /// As for VMs, but without a model.
    ///
    /// # Errors
    /// `BadArgument`.
    pub fn parse(value: &Value) -> Result<Self> {
        let Nic { bridge, vlan, firewall, model } = Nic::parse(value)?;
        match model {
            Some(_) => Err(Error::bad_argument("networks: containers' devices have no model")),
            None => Ok(Self { bridge, vlan, firewall }),
        }
    }

    /// What the device is to be; nothing where it is that already.
    fn over(&self, n: usize, old: Option<&str>, address: Option<&str>) -> Option<String> {
        let before = PropertyString::parse(old.unwrap_or_default());
        let mut now = before.clone();
        if old.is_none() {
            now = PropertyString::parse(&format!("name=eth{n}"));
        }
        if let Some(bridge) = &self.bridge {
            now.set("bridge", bridge);
        }
        match self.vlan {
            Some(0) => now.remove("tag"),
            Some(vlan) => now.set("tag", vlan.to_string()),
            None => {}
        }
        let firewall = self.firewall.or(old.is_none().then_some(true));
        if let Some(firewall) = firewall
            && (firewall || before.get("firewall").is_some())
        {
            now.set("firewall", u8::from(firewall).to_string());
        }
        addressed(&mut now, address);
        (old.is_none() || now != before).then(|| now.to_string())
    }
}

/// Puts another address of its family in the present one's place.
fn addressed(device: &mut PropertyString, address: Option<&str>) {
    let Some(address) = address else { return };
    let address = PropertyString::parse(address);
    let (ip, gateway) = if address.get("ip6").is_some() { ("ip6", "gw6") } else { ("ip", "gw") };
    if device.get(ip) == address.get(ip) && device.get(gateway) == address.get(gateway) {
        return;
    }
    device.remove(gateway);
    for (key, value) in address.iter() {
        device.set(key, value);
    }
}

impl Mount {
    /// `/data=20G`, `/srv=nas:20G`.
    ///
    /// # Errors
    /// `BadArgument`.
    pub fn parse(text: &str) -> Result<Self> {
        let wrong = || Error::bad_argument(format!("mounts: expected '/data=20G' or '/srv=nas:20G', got '{text}'"));
        let (path, volume) = text.split_once('=').ok_or_else(wrong)?;
        let (storage, amount) = match volume.split_once(':') {
            Some((storage, amount)) => (Some(storage.trim().to_owned()), amount),
            None => (None, volume),
        };
        let bytes = size::given(amount).map_err(|_| wrong())?;
        let path = path.trim();
        let good = path.starts_with('/')
            && path.len() > 1
            && !path.split('/').any(|part| matches!(part, "." | ".."))
            && !path.contains(',')
            && bytes.is_multiple_of(1 << 30)
            && storage.as_deref() != Some("");
        if good { Ok(Self { path: path.to_owned(), storage, bytes }) } else { Err(wrong()) }
    }

    /// A new volume; the number is GiB. What a container holds is in its backups.
    fn fresh(&self, storage: &str) -> String {
        format!("{storage}:{},mp={},backup=1", self.bytes >> 30, self.path)
    }
}

impl Shape {
    /// All options of a new container but its name, template, pool and secrets.
    pub fn fresh(&self, ground: &Ground<'_>) -> Vec<(String, String)> {
        let own = |key: &str| self.options.iter().any(|(own, _)| *own == key);
        // What systemd in today's templates needs, and safe where root is nobody outside.
        let nesting = ground.unprivileged.then(|| ("features", "nesting=1".to_owned()));
        let usual = [("cores", CORES.to_string()), ("memory", MEMORY.to_string())];
        let mut all: Vec<(String, String)> = usual
            .into_iter()
            .chain(nesting)
            .filter(|(key, _)| !own(key))
            .chain(self.options.iter().cloned())
            .map(|(key, value)| (key.to_owned(), value))
            .collect();
        all.push(("unprivileged".to_owned(), u8::from(ground.unprivileged).to_string()));
        let mut storages = ground.storages.iter();
        let mut storage = || storages.next().map(String::as_str).unwrap_or_default();
        all.push((
            "rootfs".to_owned(),
            format!("{}:{}", storage(), self.rootfs.map_or(u64::from(ROOTFS), |b| b >> 30)),
        ));
        for (n, mount) in self.mounts.iter().enumerate() {
            all.push((format!("mp{n}"), mount.fresh(storage())));
        }
        let first = [Device::default()];
        let devices = if self.devices.is_empty() { first.as_slice() } else { self.devices.as_slice() };
        for (n, device) in devices.iter().enumerate() {
            let bridge = device.bridge.clone().or(ground.bridge.map(str::to_owned));
            let device = Device { bridge, ..device.clone() };
            let address = (n == 0).then_some(ground.address);
            all.extend(device.over(n, None, address).map(|value| (format!("net{n}"), value)));
        }
        all
    }

    /// What has to change in the configuration of a container that exists.
    pub fn against(&self, config: &GuestConfig, address: Option<&str>, storage: Option<&str>) -> Differences {
        let mut to = Differences::default();
        for (key, value) in &self.options {
            let old = config.get(key);
            let as_is = match *key {
                "features" => old.as_deref().is_some_and(|old| sorted(old) == sorted(value)),
                _ => same(key, old.as_deref(), value),
            };
            if !as_is {
                to.set.push(((*key).to_owned(), value.clone()));
            }
        }
        self.devices_against(config, address, &mut to);
        self.volumes_against(config, storage, &mut to);
        to
    }

    fn devices_against(&self, config: &GuestConfig, address: Option<&str>, to: &mut Differences) {
        let first = [Device::default()];
        let spoken_of = !self.devices.is_empty();
        let devices = if spoken_of { self.devices.as_slice() } else { first.as_slice() };
        for (n, device) in devices.iter().enumerate() {
            let (key, address) = (format!("net{n}"), address.filter(|_| n == 0));
            let old = config.get(&key);
            if old.is_none() && device.bridge.is_none() {
                if spoken_of || address.is_some() {
                    to.problems.push(format!("networks: {key} is new and needs a bridge"));
                }
                continue;
            }
            to.set.extend(device.over(n, old.as_deref(), address).map(|value| (key, value)));
        }
        if spoken_of {
            let beyond = |key: &&str| key.strip_prefix("net").and_then(|n| n.parse().ok()) >= Some(devices.len());
            to.delete.extend(config.keys().filter(beyond).map(str::to_owned));
        }
    }

    /// Volumes only grow; those that are missing are added.
    fn volumes_against(&self, config: &GuestConfig, storage: Option<&str>, to: &mut Differences) {
        let present = |key: &str| {
            let value = config.get(key)?;
            let value = PropertyString::parse(&value);
            value.get("size").and_then(size::configured)
        };
        if let Some(wanted) = self.rootfs {
            grow("rootfs", present("rootfs"), wanted, to);
        }
        let root = config.get("rootfs").and_then(|root| root.split_once(':').map(|(storage, _)| storage.to_owned()));
        let mut free = (0..MOUNTS).map(|n| format!("mp{n}")).filter(|key| config.get(key).is_none());
        for mount in &self.mounts {
            let at = |value: &str| PropertyString::parse(value).get("mp") == Some(mount.path.as_str());
            match config.iter().find(|(key, value)| key.starts_with("mp") && at(value)) {
                Some((key, _)) => grow(key, present(key), mount.bytes, to),
                None => {
                    let storage = mount.storage.as_deref().or(storage).or(root.as_deref()).unwrap_or_default();
                    to.set.extend(free.next().map(|key| (key, mount.fresh(storage))));
                }
            }
        }
    }
}

fn sorted(text: &str) -> Vec<&str> {
    let mut all: Vec<&str> = text.split(',').filter(|part| !part.ends_with("=0")).collect();
    all.sort_unstable();
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_keeps_what_nobody_spoke_of() {
        let device =
            |text: &str| Device::parse(&serde_json::from_str(text).unwrap_or_else(|_| text.into())).unwrap_or_default();
        let old =
            Some("name=eth0,bridge=vmbr0,firewall=1,gw=10.0.0.1,hwaddr=BC:24:11:00:00:0A,ip=10.0.0.5/24,type=veth");
        for (wanted, address, becomes) in [
            ("vmbr0", Some("ip=10.0.0.5/24,gw=10.0.0.1"), None),
            ("vmbr0", None, None),
            (
                r#"{"vlan": 20}"#,
                Some("ip=dhcp"),
                Some("name=eth0,bridge=vmbr0,firewall=1,hwaddr=BC:24:11:00:00:0A,ip=dhcp,type=veth,tag=20"),
            ),
            (
                r#"{"firewall": false}"#,
                Some("ip6=auto"),
                Some(
                    "name=eth0,bridge=vmbr0,firewall=0,gw=10.0.0.1,hwaddr=BC:24:11:00:00:0A,ip=10.0.0.5/24,type=veth,ip6=auto",
                ),
            ),
        ] {
            assert_eq!(device(wanted).over(0, old, address).as_deref(), becomes, "{wanted}");
        }
        assert_eq!(device("vmbr1").over(1, None, None).as_deref(), Some("name=eth1,bridge=vmbr1,firewall=1"));
        assert!(Device::parse(&serde_json::json!({"model": "virtio"})).is_err());
    }

    #[test]
    fn mount_points_have_a_path_and_whole_gibibytes() {
        let mount = |path: &str, storage: Option<&str>, gib: u64| Mount {
            path: path.to_owned(),
            storage: storage.map(str::to_owned),
            bytes: gib << 30,
        };
        assert_eq!(Mount::parse("/data=20G").ok(), Some(mount("/data", None, 20)));
        assert_eq!(Mount::parse("/srv/www=nas:5").ok(), Some(mount("/srv/www", Some("nas"), 5)));
        for wrong in ["20G", "data=20G", "/=20G", "/a/../b=1G", "/a=nas:", "/a=:5", "/a=512M", "/a,b=1G"] {
            let error = Mount::parse(wrong).err().map(|e| e.to_string()).unwrap_or_default();
            assert!(
                error.starts_with("mounts: expected") && error.ends_with(&format!("'{wrong}'")),
                "{wrong}: {error}"
            );
        }
    }
}
