//! ISO images in the drives of VMs.

use super::disks::{Drive, What, drives, order_with};
use crate::{
    pve::{Edit, GuestConfig, encode},
    tool::*,
};

pub const TOOLS: &[Entry] = &[Entry::action::<IsoAttach>(), Entry::action::<IsoEject>()];

/// Put an ISO image into a VM's CD drive; with boot, it is booted from first.
#[derive(Deserialize, JsonSchema)]
struct IsoAttach {
    #[serde(flatten)]
    guest: GuestRef,
    /// Volume id, or a part of the file name.
    iso: String,
    /// ide2 …; default its CD drive.
    drive: Option<String>,
    #[serde(default)]
    boot: bool,
}

impl Tool for IsoAttach {
    const NAME: &str = "proxmox-iso-attach";
    const TITLE: &str = "Insert an ISO image";
    const API: &[&str] = &["PUT /nodes/{node}/qemu/{vmid}/config"];
    const EXAMPLE: (&str, &str) =
        ("Put the virtio drivers into win11-test", r#"{"name": "win11-test", "iso": "virtio-win"}"#);
}

impl Action for IsoAttach {
    const EFFECT: Effect = Effect::Write;
    const CONTROL: Control = Control::instant();
    async fn plan(&self, pve: &Reader<'_>) -> Result<Plan> {
        let guest = pve.guest(&self.guest, Want::Vm).await?;
        let config = pve.config(&guest).await?;
        let drive = self.drive(&guest, &config)?;
        let volume = match self.iso.contains(':') {
            true => self.iso.clone(),
            false => find(pve, &guest.node, &self.iso).await?,
        };
        let mut edit = Edit::default().set(&drive, format!("{volume},media=cdrom"));
        if self.boot {
            edit = edit.set("boot", order_with(&config, &drive));
        }
        let plan = Plan::on(&guest, &format!("put {volume} into {drive} of")).about("drive", drive.as_str());
        let new = config.get(&drive).is_none();
        Ok(edit.step(plan, &guest, &config).warn_if(new && guest.is_running(), || {
            format!("{guest} runs and has no such drive yet: it is there once it was stopped and started")
        }))
    }
}

impl IsoAttach {
    /// The drive named, else the CD drive there is, else a free slot of the bus that CD drives are mostly on.
    fn drive(&self, guest: &Guest, config: &GuestConfig) -> Result<String> {
        let all = drives(config);
        let Some(key) = &self.drive else {
            let cd = all.iter().find(|drive| drive.what() == What::Cdrom).map(|drive| drive.key.clone());
            let free = [2, 0, 1, 3].map(|n| format!("ide{n}")).into_iter().find(|key| config.get(key).is_none());
            return cd.or(free).ok_or_else(|| {
                Error::bad_argument(format!("drive: {guest} has no CD drive, and no free ide slot for one"))
                    .hint("name a free slot, such as sata0")
            });
        };
        match all.iter().find(|drive| drive.key == *key) {
            Some(drive) if drive.what() != What::Cdrom => {
                Err(Error::bad_argument(format!("drive: {key} of {guest} is no CD drive ({})", drive.text)))
            }
            None if !is_cd_slot(key) => Err(Error::bad_argument(format!(
                "drive: expected ide0 to ide3, sata0 to sata5 or scsi0 to scsi30, got '{key}'"
            ))),
            _ => Ok(key.clone()),
        }
    }
}

/// A row of a storage's content.
#[derive(Deserialize)]
struct Iso {
    volid: String,
}

/// The one ISO image on the node's storages with this file name, or with this in its name.
async fn find(pve: &Reader<'_>, node: &str, name: &str) -> Result<String> {
    let mut all: Vec<String> = Vec::new();
    for storage in pve.storages(node, "iso").await?.into_iter().filter(|storage| storage.active) {
        let path = format!("/nodes/{}/storage/{}/content", encode(node), encode(&storage.storage));
        let found: Vec<Iso> = pve.request(&Request::get(path).param("content", "iso")).await?;
        all.extend(found.into_iter().map(|iso| iso.volid));
    }
    let wanted = name.to_lowercase();
    let file = |volid: &str| volid.rsplit('/').next().unwrap_or_default().to_lowercase();
    let exact: Vec<&String> = all.iter().filter(|volid| file(volid) == wanted).collect();
    let part: Vec<&String> = all.iter().filter(|volid| file(volid).contains(&wanted)).collect();
    match (exact.as_slice(), part.as_slice()) {
        ([first, ..], _) | ([], [first]) => Ok((*first).clone()),
        ([], []) => Err(Error::not_found(format!("iso: no ISO image named '{name}' on {node}"))
            .hint(format!("there are: {}", all.join(", ")))),
        ([], several) => {
            let several: Vec<&str> = several.iter().map(|volid| volid.as_str()).collect();
            Err(Error::bad_argument(format!("iso: '{name}' fits several ISO images")).hint(several.join(", ")))
        }
    }
}

/// Take the ISO image out of a VM's CD drive. The empty drive stays.
#[derive(Deserialize, JsonSchema)]
struct IsoEject {
    #[serde(flatten)]
    guest: GuestRef,
    /// Default the one that holds something.
    drive: Option<String>,
}

impl Tool for IsoEject {
    const NAME: &str = "proxmox-iso-eject";
    const TITLE: &str = "Eject an ISO image";
    const API: &[&str] = &["PUT /nodes/{node}/qemu/{vmid}/config"];
    const EXAMPLE: (&str, &str) = ("Eject the CD of gitlab-runner", r#"{"name": "gitlab-runner"}"#);
}

impl Action for IsoEject {
    const EFFECT: Effect = Effect::Write;
    const CONTROL: Control = Control::instant();
    async fn plan(&self, pve: &Reader<'_>) -> Result<Plan> {
        let guest = pve.guest(&self.guest, Want::Vm).await?;
        let config = pve.config(&guest).await?;
        let full: Vec<Drive> = drives(&config)
            .into_iter()
            .filter(|drive| drive.what() == What::Cdrom && drive.volume() != "none")
            .filter(|drive| self.drive.as_ref().is_none_or(|key| *key == drive.key))
            .collect();
        let drive = match full.as_slice() {
            [one] => one,
            [] => {
                let which = self.drive.as_deref().unwrap_or("no CD drive");
                let what = if self.drive.is_some() { "holds nothing" } else { "holds anything" };
                return Err(Error::not_found(format!("drive: {which} of {guest} {what}")));
            }
            several => {
                let all: Vec<&str> = several.iter().map(|drive| drive.key.as_str()).collect();
                return Err(Error::bad_argument(format!("drive: several of {guest} hold something"))
                    .hint(format!("name one of {}", all.join(", "))));
            }
        };
        let plan = Plan::on(&guest, &format!("eject {} from {} of", drive.volume(), drive.key));
        let plan = plan.about("drive", drive.key.as_str());
        Ok(Edit::default().set(&drive.key, "none,media=cdrom").step(plan, &guest, &config))
    }
}

/// Whether there is such a slot for a CD drive.
fn is_cd_slot(key: &str) -> bool {
    [("ide", 4), ("sata", 6), ("scsi", 31)]
        .iter()
        .any(|(stem, slots)| key.strip_prefix(stem).and_then(|n| n.parse::<u32>().ok()).is_some_and(|n| n < *slots))
}
