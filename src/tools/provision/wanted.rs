//! What a VM is to be, held against a configuration that it has: its template's, or its own. Sends nothing.

use serde_json::Value;

use crate::{
    pve::{GuestConfig, PropertyString, SshKeys, size},
    tool::*,
    tools::create::{boot_disk, seed_drive},
};

/// What the call says of each machine; what it does not say stays as it is.
#[derive(Debug, Clone, Default)]
pub struct Wanted {
    /// Option and value, in Proxmox's notation.
    pub options: Vec<(&'static str, String)>,
    pub password: Option<String>,
    pub nics: Vec<Nic>,
    /// The first disk, in bytes.
    pub disk: Option<u64>,
    /// Those after it.
    pub disks: Vec<Disk>,
    /// For new disks, where they do not say.
    pub storage: Option<String>,
}

/// A disk beside the first.
#[derive(Debug, Clone, PartialEq)]
pub struct Disk {
    pub storage: Option<String>,
    pub bytes: u64,
}

/// A network device, as far as the call says it.
#[derive(Debug, Clone, Default, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct Nic {
    pub bridge: Option<String>,
    #[serde(alias = "tag")]
    pub vlan: Option<u16>,
    pub firewall: Option<bool>,
    pub model: Option<String>,
}

/// Options that are to be set, and those that are to go.
#[derive(Debug, Default)]
pub struct Differences {
    pub set: Vec<(String, String)>,
    pub delete: Vec<String>,
    /// Key, present and wanted size of a disk that grows.
    pub grow: Vec<(String, u64, u64)>,
    /// What cannot be had.
    pub problems: Vec<String>,
}

impl Disk {
    /// `100G`, `100`, `nas:100G`.
    ///
    /// # Errors
    /// `BadArgument`.
    pub fn parse(text: &str) -> Result<Self> {
        let (storage, amount) = match text.split_once(':') {
            Some((storage, amount)) => (Some(storage.trim().to_owned()), amount),
            None => (None, text),
        };
        let whole = |bytes: &u64| bytes.is_multiple_of(1 << 30) && storage.as_deref() != Some("");
        match size::given(amount).ok().filter(whole) {
            Some(bytes) => Ok(Self { storage, bytes }),
            None => {
                Err(Error::bad_argument(format!("disks: expected whole GiB as in '100G' or 'nas:100G', got '{text}'")))
            }
        }
    }

    /// As a new drive; the number is GiB.
    pub fn new_drive(&self, default: &str) -> String {
        format!("{}:{},discard=on", self.storage.as_deref().unwrap_or(default), self.bytes >> 30)
    }
}

impl Nic {
    /// A bridge's name, or an object.
    ///
    /// # Errors
    /// `BadArgument`.
    pub fn parse(value: &Value) -> Result<Self> {
        let nic = match value {
            Value::String(bridge) => Self { bridge: Some(bridge.trim().to_owned()), ..Self::default() },
            other => serde_json::from_value(other.clone()).map_err(|e| {
                Error::bad_argument(format!("networks: {e}"))
                    .hint(r#"one is "vmbr0" or {"bridge": "vmbr0", "vlan": 20, "firewall": true}"#)
            })?,
        };
        match nic.vlan {
            Some(vlan) if vlan > 4094 => {
                Err(Error::bad_argument(format!("networks: vlan: expected 0 to 4094, got {vlan}")))
            }
            _ if nic.bridge.as_deref() == Some("") => {
                Err(Error::bad_argument("networks: expected a bridge's name, got ''"))
            }
            _ => Ok(nic),
        }
    }

    /// What the device is to be; nothing where it is that already. A new machine does not take its template's MAC address.
    pub fn over(&self, old: Option<&str>, new: bool) -> Option<String> {
        let before = PropertyString::parse(old.unwrap_or("virtio"));
        let mut now = before.clone();
        if let (Some(model), Some((key, value))) = (&self.model, before.iter().next()) {
            let (present, mac) = if key.is_empty() { (value, None) } else { (key, Some(value)) };
            if present != model {
                let first = mac.map_or_else(|| model.clone(), |mac| format!("{model}={mac}"));
                let rest = before.iter().skip(1).map(|(key, value)| format!(",{key}={value}"));
                now = PropertyString::parse(&format!("{first}{}", rest.collect::<String>()));
            }
        }
        if let Some(bridge) = &self.bridge {
            now.set("bridge", bridge);
        }
        match self.vlan {
            Some(0) => now.remove("tag"),
            Some(vlan) => now.set("tag", vlan.to_string()),
            None => {}
        }
        if let Some(firewall) = self.firewall
            && (firewall || before.get("firewall").is_some())
        {
            now.set("firewall", u8::from(firewall).to_string());
        }
        if old.is_some() && now == before {
            return None;
        }
        Some(if new { without_mac(&now) } else { now.to_string() })
    }
}

/// `virtio=BC:24:11:…,bridge=vmbr0` → `virtio,bridge=vmbr0`
fn without_mac(device: &PropertyString) -> String {
    let mut parts = device.iter();
    let Some((key, value)) = parts.next() else { return String::new() };
    let model = if key.is_empty() { value } else { key };
    let rest = parts.filter(|(key, _)| *key != "macaddr").map(|(key, value)| format!(",{key}={value}"));
    format!("{model}{}", rest.collect::<String>())
}

impl Wanted {
    /// SSH keys, encoded as Proxmox keeps them; nothing for none.
    ///
    /// # Errors
    /// `BadArgument` for what is no key.
    pub fn keys(texts: &[String]) -> Result<Option<String>> {
        let keys = SshKeys::parse("ssh_keys", texts.iter().map(String::as_str))?;
        Ok((!keys.is_empty()).then(|| keys.encoded()))
    }

    /// Whether cloud-init is told anything.
    pub fn is_seeded(&self) -> bool {
        const SEED: [&str; 5] = ["ciuser", "sshkeys", "nameserver", "searchdomain", "cicustom"];
        self.password.is_some() || self.options.iter().any(|(key, _)| SEED.contains(key))
    }

    /// What has to change in a configuration; `new`: it is the template's, of a machine that does not exist yet.
    pub fn against(&self, config: &GuestConfig, ipconfig: Option<&str>, new: bool) -> Differences {
        let mut to = Differences::default();
        let own = self.options.iter().map(|(key, value)| (*key, value.as_str()));
        for (key, value) in own.chain(ipconfig.map(|value| ("ipconfig0", value))) {
            if !same(key, config.get(key).as_deref(), value) {
                to.set.push((key.to_owned(), value.to_owned()));
            }
        }
        self.nics_against(config, new, &mut to);
        let seeded = self.is_seeded() || ipconfig.is_some();
        if seeded && !config.iter().any(|(_, value)| value.contains("cloudinit")) {
            match seed_drive(config, self.storage.as_deref()) {
                Some((key, drive)) => to.set.push((key.to_owned(), drive)),
                None => to.problems.push("there is no place for a cloud-init drive".to_owned()),
            }
        }
        self.disks_against(config, &mut to);
        to
    }

    /// All options of a machine that is made of an image; its first disk is `drive`.
    pub fn fresh(&self, drive: String, storage: &str, ipconfig: Option<&str>) -> Vec<(String, String)> {
        let usual = [
            ("ostype", "l26"),
            ("cores", "2"),
            ("cpu", "x86-64-v2-AES"),
            ("memory", "2048"),
            ("scsihw", "virtio-scsi-single"),
            ("agent", "enabled=1"),
            // Many cloud images write to their serial console, and some do not boot without one.
            ("serial0", "socket"),
            ("vga", "serial0"),
            ("boot", "order=scsi0"),
        ];
        let own = |key: &str| self.options.iter().any(|(own, _)| *own == key);
        let mut all: Vec<(String, String)> = usual
            .into_iter()
            .filter(|(key, _)| !own(key))
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .collect();
        all.extend(self.options.iter().map(|(key, value)| ((*key).to_owned(), value.clone())));
        all.extend(ipconfig.map(|value| ("ipconfig0".to_owned(), value.to_owned())));
        all.push(("scsi0".to_owned(), drive));
        all.push(("ide2".to_owned(), format!("{storage}:cloudinit")));
        let nics = self.nics.iter().enumerate();
        all.extend(nics.filter_map(|(n, nic)| Some((format!("net{n}"), nic.over(None, true)?))));
        let disks = self.disks.iter().enumerate();
        all.extend(disks.map(|(n, disk)| (format!("scsi{}", n + 1), disk.new_drive(storage))));
        all
    }

    fn nics_against(&self, config: &GuestConfig, new: bool, to: &mut Differences) {
        for (n, nic) in self.nics.iter().enumerate() {
            let key = format!("net{n}");
            let old = config.get(&key);
            if old.is_none() && nic.bridge.is_none() {
                to.problems.push(format!("networks: {key} is new and needs a bridge"));
            }
            to.set.extend(nic.over(old.as_deref(), new).map(|device| (key, device)));
        }
        if self.nics.is_empty() {
            return;
        }
        let beyond =
            |key: &&str| key.strip_prefix("net").and_then(|n| n.parse::<usize>().ok()) >= Some(self.nics.len());
        to.delete.extend(config.keys().filter(beyond).map(str::to_owned));
    }

    /// The disks there are, first the one it boots from; those that are missing go to the next places of the same bus.
    fn disks_against(&self, config: &GuestConfig, to: &mut Differences) {
        let boot = boot_disk(config);
        match (self.disk, &boot) {
            (Some(wanted), Some((key, present))) => grow(key, size::configured(present), wanted, to),
            (Some(_), None) => to.problems.push("disk_gb: it has no disk that could grow".to_owned()),
            (None, _) => {}
        }
        let Some((boot, _)) = boot else { return };
        let home = config.get(&boot).and_then(|drive| drive.split_once(':').map(|(storage, _)| storage.to_owned()));
        let storage = self.storage.clone().or(home).unwrap_or_default();
        let mut there = (0..30).map(|n| format!("scsi{n}")).filter(|key| *key != boot).collect::<Vec<_>>().into_iter();
        for disk in &self.disks {
            let is_disk = |drive: &str| !drive.contains("media=cdrom") && !drive.contains("cloudinit");
            // A place that something else has is passed over.
            let place = there.find(|key| config.get(key).is_none_or(|drive| is_disk(&drive)));
            let Some(key) = place else { return to.problems.push("disks: no place is left for them".to_owned()) };
            match config.get(&key) {
                Some(drive) => {
                    let present = PropertyString::parse(&drive).get("size").and_then(size::configured);
                    grow(&key, present, disk.bytes, to);
                }
                None => to.set.push((key, disk.new_drive(&storage))),
            }
        }
    }
}

/// Disks only grow.
fn grow(key: &str, present: Option<u64>, wanted: u64, to: &mut Differences) {
    let present = present.unwrap_or_default();
    match present.cmp(&wanted) {
        std::cmp::Ordering::Less => to.grow.push((key.to_owned(), present, wanted)),
        std::cmp::Ordering::Equal => {}
        std::cmp::Ordering::Greater => to.problems.push(format!(
            "{key} has {} and {} is wanted: Proxmox does not make disks smaller",
            size::text(present),
            size::text(wanted)
        )),
    }
}

/// Whether an option is set like that already. Tags have no order, and descriptions come back with a line's end.
fn same(key: &str, old: Option<&str>, new: &str) -> bool {
    let Some(old) = old else { return false };
    match key {
        "tags" => {
            let sorted = |text: &str| {
                let mut all: Vec<String> = text.split([';', ',', ' ']).map(str::to_lowercase).collect();
                all.sort_unstable();
                all
            };
            sorted(old) == sorted(new)
        }
        "description" => old.trim_end() == new.trim_end(),
        _ => old == new,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_device_keeps_what_nobody_spoke_of() {
        let nic =
            |text: &str| Nic::parse(&serde_json::from_str(text).unwrap_or_else(|_| text.into())).unwrap_or_default();
        let old = Some("virtio=BC:24:11:00:00:0A,bridge=vmbr0,firewall=1,mtu=1400");
        for (wanted, new, becomes) in [
            ("vmbr0", true, None),
            (r#"{"bridge": "vmbr0", "firewall": true}"#, false, None),
            ("vmbr1", false, Some("virtio=BC:24:11:00:00:0A,bridge=vmbr1,firewall=1,mtu=1400")),
            ("vmbr1", true, Some("virtio,bridge=vmbr1,firewall=1,mtu=1400")),
            (r#"{"vlan": 20}"#, true, Some("virtio,bridge=vmbr0,firewall=1,mtu=1400,tag=20")),
            (r#"{"firewall": false}"#, false, Some("virtio=BC:24:11:00:00:0A,bridge=vmbr0,firewall=0,mtu=1400")),
            (r#"{"model": "e1000"}"#, false, Some("e1000=BC:24:11:00:00:0A,bridge=vmbr0,firewall=1,mtu=1400")),
        ] {
            assert_eq!(nic(wanted).over(old, new).as_deref(), becomes, "{wanted}");
        }
        assert_eq!(
            nic(r#"{"bridge": "vmbr2", "firewall": true}"#).over(None, true).as_deref(),
            Some("virtio,bridge=vmbr2,firewall=1")
        );
    }

    #[test]
    fn disks_have_a_size_and_perhaps_a_storage() {
        assert_eq!(Disk::parse("nas:20").ok(), Some(Disk { storage: Some("nas".to_owned()), bytes: 20 << 30 }));
        assert_eq!(Disk::parse("100G").ok(), Some(Disk { storage: None, bytes: 100 << 30 }));
        for wrong in ["", "nas:", ":5", "big", "512M"] {
            assert!(Disk::parse(wrong).is_err(), "{wrong}");
        }
    }
}
