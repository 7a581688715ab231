//! New disks and mount points, and detached ones put back.

use serde_json::{Value, json};

use super::{Bus, What, content_of, drive_set, is_hot, made, named, order_with, with_options};
use crate::{
    pve::{Edit, GuestConfig, GuestKind, PropertyString},
    tool::*,
};

/// Add a disk to a VM or a mount point to a container: new, or a detached volume.
#[derive(Deserialize, JsonSchema)]
pub struct DiskAdd {
    #[serde(flatten)]
    guest: GuestRef,
    #[schemars(range(min = 0.001, max = 65_536))]
    size_gb: Option<f64>,
    storage: Option<String>,
    /// unusedN, or a volume id.
    volume: Option<String>,
    #[serde(default)]
    bus: Bus,
    /// "ssd=1,discard=on,format=qcow2".
    options: Option<String>,
    #[serde(default)]
    boot: bool,
    /// Mount point (containers).
    path: Option<String>,
}

impl Tool for DiskAdd {
    const NAME: &str = "proxmox-disk-add";
    const TITLE: &str = "Add a disk";
    const API: &[&str] = &[
        "GET /nodes/{node}/{type}/{vmid}/pending",
        "POST /nodes/{node}/qemu/{vmid}/config",
        "PUT /nodes/{node}/lxc/{vmid}/config",
    ];
    const EXAMPLE: (&str, &str) = (
        "Give grafana a second disk of 20 GB",
        r#"{"name": "grafana", "size_gb": 20, "storage": "local-lvm", "options": "discard=on"}"#,
    );
}

impl Action for DiskAdd {
    const EFFECT: Effect = Effect::Write;
    const CONTROL: Control = Control::new(600).waiting();
    const LOOKS_AFTER: bool = true;
    async fn plan(&self, pve: &Reader<'_>) -> Result<Plan> {
        if self.size_gb.is_some() == self.volume.is_some() {
            return Err(Error::bad_argument("size_gb, volume: expected one of them")
                .hint("size_gb makes a new disk, volume attaches one that is there"));
        }
        let guest = pve.guest(&self.guest, Want::Any).await?;
        let config = pve.config(&guest).await?;
        let key = self.slot(&guest, &config)?;
        let volume = match (&self.volume, self.size_gb) {
            (Some(volume), _) => existing(&guest, &config, volume)?,
            (None, size) => {
                let storage = pve.storage(self.storage.as_deref(), &guest.node, content_of(guest.kind)).await?;
                format!("{storage}:{}", size.unwrap_or_default())
            }
        };
        let mut drive = PropertyString::default();
        drive.set("", volume.clone());
        if let Some(path) = &self.path {
            drive.set("mp", path.as_str());
        }
        with_options(&mut drive, self.options.as_deref())?;
        let mut edit = Edit::default().set(&key, &drive).as_task();
        if self.boot {
            edit = edit.set("boot", order_with(&config, &key));
        }
        let what = match self.volume {
            Some(_) => format!("attach {volume} as {key} to"),
            None => format!("add {key} ({} GiB) to", self.size_gb.unwrap_or_default()),
        };
        let unused = || config.iter().any(|(key, value)| key.starts_with("unused") && value == volume);
        let undo = match &self.volume {
            None => made(&guest, &key),
            Some(_) => Undo::call("proxmox-disk-detach", json!({"vmid": guest.vmid, "disk": key}))
                .note_if(!unused(), || format!("{volume} stays with {guest} as unusedN")),
        };
        let plan = Plan::on(&guest, &what).about("disk", key.as_str()).undone(undo);
        let plan = edit.step(plan, &guest, &config);
        Ok(warned(plan, &guest, &config, (&key, &drive)))
    }

    async fn result(&self, pve: &Reader<'_>, plan: &Plan, _: Done<'_>) -> Result<Option<Value>> {
        drive_set(pve, plan).await
    }
}

impl DiskAdd {
    /// The first free slot, once the arguments fit the kind of guest.
    fn slot(&self, guest: &Guest, config: &GuestConfig) -> Result<String> {
        match (guest.kind, &self.path) {
            (GuestKind::Qemu, Some(_)) => {
                Err(Error::bad_argument(format!("path: expected for containers only, and {guest} is none")))
            }
            (GuestKind::Qemu, None) => self.bus.free(guest, config),
            (GuestKind::Lxc, Some(path)) if path.starts_with('/') && !path.contains(',') => {
                if self.boot {
                    return Err(Error::bad_argument("boot: expected for VMs only"));
                }
                let free = config.free("mp", 256).map(|n| format!("mp{n}"));
                free.ok_or_else(|| Error::bad_argument(format!("{guest} has no free mount point")))
            }
            (GuestKind::Lxc, path) => Err(Error::bad_argument(format!(
                "path: expected where {guest} shall mount it, such as /srv/data, got {}",
                path.as_deref().unwrap_or("nothing")
            ))),
        }
    }
}

/// The volume that a caller names by `unusedN` or by its id.
fn existing(guest: &Guest, config: &GuestConfig, volume: &str) -> Result<String> {
    if volume.contains(':') && !volume.contains(',') {
        return Ok(volume.to_owned());
    }
    let drive = named(guest, config, volume)?;
    match drive.what() {
        What::Unused => Ok(drive.volume().to_owned()),
        _ => Err(Error::bad_argument(format!("volume: expected a detached disk, but {volume} is attached"))),
    }
}

/// What of a new drive may surprise.
pub(super) fn warned(plan: Plan, guest: &Guest, config: &GuestConfig, (key, drive): (&str, &PropertyString)) -> Plan {
    let single = config.get("scsihw").as_deref() == Some("virtio-scsi-single");
    let iothread = drive.get("iothread") == Some("1") && key.starts_with("scsi") && !single;
    plan.warn_if(guest.kind == GuestKind::Qemu && guest.is_running() && !is_hot(key), || {
        format!("{guest} runs: {key} is there once it was stopped and started")
    })
    .warn_if(iothread, || "iothread has no effect unless scsihw is virtio-scsi-single".to_owned())
}
