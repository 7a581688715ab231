//! The template that a VM is made from, and what its configuration says of disks and network devices.

use crate::{
    error::Kind,
    pve::{GuestConfig, GuestKind, PropertyString},
    tool::*,
};

/// The template that is meant.
pub async fn template(pve: &Reader<'_>, asked: Option<&str>, node: Option<&str>) -> Result<Guest> {
    let rows = pve.resources().await?;
    let all: Vec<Guest> =
        rows.iter().filter(|row| row.template && row.kind == GuestKind::Qemu).map(Guest::from).collect();
    let name = |guest: &Guest| guest.name.as_deref().unwrap_or_default().to_lowercase();
    let bare = |text: &str| text.chars().filter(|c| c.is_alphanumeric()).collect::<String>();
    let wanted = asked.map(str::trim).unwrap_or_default().to_lowercase();
    if let Some(one) = wanted.parse::<u32>().ok().and_then(|vmid| all.iter().find(|t| t.vmid == vmid)) {
        return Ok(one.clone());
    }
    let whole: Vec<&Guest> = all.iter().filter(|t| !wanted.is_empty() && name(t) == wanted).collect();
    let part = || all.iter().filter(|t| bare(&name(t)).contains(&bare(&wanted))).collect::<Vec<_>>();
    let mut fit = if whole.is_empty() { part() } else { whole };
    // Of several on several nodes, the one that need not be carried to another.
    if fit.len() > 1 && fit.iter().filter(|t| node == Some(t.node.as_str())).count() == 1 {
        fit.retain(|t| node == Some(t.node.as_str()));
    }
    let list = |some: &[&Guest]| match some {
        [] => "none".to_owned(),
        some => some
            .iter()
            .take(12)
            .map(|t| format!("{} ({})", t.name.as_deref().unwrap_or("no name"), t.vmid))
            .collect::<Vec<_>>()
            .join(", "),
    };
    match fit.as_slice() {
        [one] => Ok((*one).clone()),
        [] => Err(Error::not_found(format!(
            "template: no template VM fits '{wanted}'; there are: {}",
            list(&all.iter().collect::<Vec<_>>())
        ))
        .hint("proxmox-template-vm makes a VM a template; without VM.Audit on it a template is not shown")),
        several if wanted.is_empty() => {
            Err(Error::bad_argument(format!("template: missing; one of {}", list(several))))
        }
        several => Err(Error::new(
            Kind::Ambiguous,
            format!("template: '{wanted}' fits {} templates: {}", several.len(), list(several)),
        )
        .hint("give the VMID of one")),
    }
}

/// A network device on another bridge, and without the template's MAC address, which Proxmox replaces in the clone.
pub(super) fn rewired(old: Option<&str>, bridge: &str) -> Option<String> {
    let old = PropertyString::parse(old.unwrap_or("virtio"));
    if old.get("bridge") == Some(bridge) {
        return None;
    }
    let mut parts = old.iter();
    let (key, value) = parts.next()?;
    let mut new = PropertyString::parse(if key.is_empty() { value } else { key });
    parts.filter(|(key, _)| *key != "macaddr").for_each(|(key, value)| new.set(key, value));
    new.set("bridge", bridge);
    Some(new.to_string())
}

/// Key and size of the disk that the VM boots from.
pub fn boot_disk(config: &GuestConfig) -> Option<(String, String)> {
    let size = |key: &str| {
        let drive = config.get(key)?;
        let drive = PropertyString::parse(&drive);
        let disk = drive.get("media") != Some("cdrom");
        Some((key.to_owned(), drive.get("size").filter(|_| disk)?.to_owned()))
    };
    let boot = config.get("boot").unwrap_or_default();
    let order = PropertyString::parse(&boot).get("order").unwrap_or_default().to_owned();
    let usual = ["scsi0", "virtio0", "sata0", "ide0"];
    order.split(';').find_map(size).or_else(|| usual.into_iter().find_map(size))
}

/// A cloud-init drive in a free place, on the storage of the system's disk.
pub fn seed_drive(config: &GuestConfig, storage: Option<&str>) -> Option<(&'static str, String)> {
    let (disk, _) = boot_disk(config)?;
    let disk = config.get(&disk)?;
    let storage = storage.or_else(|| disk.split_once(':').map(|(storage, _)| storage))?;
    let key = ["ide2", "ide0", "ide1", "ide3", "scsi30"].into_iter().find(|key| config.get(key).is_none())?;
    Some((key, format!("{storage}:cloudinit")))
}
