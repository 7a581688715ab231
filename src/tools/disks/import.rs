//! Disk images into VMs, from a storage or straight from the web.

use serde_json::Value;

use super::{Bus, add, drive_set, made, order_with, storage_path, with_options};
use crate::{
    pve::{Edit, PropertyString},
    tool::*,
};

/// Import a disk image as a new disk of a VM: from a volume (local:import/x.qcow2) or a URL.
#[derive(Deserialize, JsonSchema)]
pub struct DiskImport {
    #[serde(flatten)]
    guest: GuestRef,
    /// Volume id or URL.
    source: String,
    storage: Option<String>,
    #[serde(default)]
    bus: Bus,
    /// "ssd=1,discard=on,format=qcow2".
    options: Option<String>,
    #[serde(default)]
    boot: bool,
    import_storage: Option<String>,
    /// Of the download.
    filename: Option<String>,
    checksum: Option<String>,
}

impl Tool for DiskImport {
    const NAME: &str = "proxmox-disk-import";
    const TITLE: &str = "Import a disk image";
    const API: &[&str] = &[
        "GET /nodes/{node}/{type}/{vmid}/pending",
        "POST /nodes/{node}/storage/{storage}/download-url",
        "POST /nodes/{node}/qemu/{vmid}/config",
    ];
    const EXAMPLE: (&str, &str) = (
        "Import the Debian cloud image into VM 107",
        r#"{"vmid": 107, "source": "local:import/debian-12-generic-amd64.qcow2", "storage": "local-lvm"}"#,
    );
}

impl Action for DiskImport {
    const EFFECT: Effect = Effect::Write;
    const CONTROL: Control = Control::new(3600).waiting();
    const LOOKS_AFTER: bool = true;
    async fn plan(&self, pve: &Reader<'_>) -> Result<Plan> {
        let guest = pve.guest(&self.guest, Want::Vm).await?;
        let config = pve.config(&guest).await?;
        let key = self.bus.free(&guest, &config)?;
        let (download, volume) = match self.source.starts_with("http://") || self.source.starts_with("https://") {
            true => self.download().plan(pve, &guest.node).await?,
            false => (None, self.volume()?),
        };
        let storage = pve.storage(self.storage.as_deref(), &guest.node, "images").await?;
        let mut drive = PropertyString::default();
        // The size is the image's: what stands here must be 0.
        drive.set("", format!("{storage}:0"));
        drive.set("import-from", volume.as_str());
        with_options(&mut drive, self.options.as_deref())?;
        let mut edit = Edit::default().set(&key, &drive).as_task();
        if self.boot {
            edit = edit.set("boot", order_with(&config, &key));
        }
        let undo = made(&guest, &key).note_if(download.is_some(), || format!("the downloaded {volume} stays"));
        let mut plan =
            Plan::on(&guest, &format!("import {volume} as {key} of")).about("disk", key.as_str()).undone(undo);
        if let Some(download) = download {
            plan = plan.step(download);
        }
        let plan = edit.step(plan, &guest, &config);
        Ok(add::warned(plan, &guest, &config, (&key, &drive)))
    }

    async fn result(&self, pve: &Reader<'_>, plan: &Plan, _: Done<'_>) -> Result<Option<Value>> {
        drive_set(pve, plan).await
    }
}

/// A row of a storage's content.
#[derive(Deserialize)]
struct Found {
    volid: String,
}

impl DiskImport {
    fn download(&self) -> Download<'_> {
        Download {
            url: &self.source,
            storage: self.import_storage.as_deref(),
            filename: self.filename.as_deref(),
            checksum: self.checksum.as_deref(),
        }
    }

    fn volume(&self) -> Result<String> {
        if self.filename.is_some() || self.checksum.is_some() || self.import_storage.is_some() {
            return Err(Error::bad_argument("import_storage, filename, checksum: expected with a URL only"));
        }
        let named = self.source.split_once(':').is_some_and(|(storage, name)| !storage.is_empty() && !name.is_empty());
        if !named || self.source.contains([',', ' ']) || self.source.starts_with('/') {
            return Err(Error::bad_argument(format!("source: expected a volume id or URL, got '{}'", self.source))
                .hint(
                    "proxmox-storage-content with content: import lists images; a volume id is storage:import/name",
                ));
        }
        Ok(self.source.clone())
    }
}

/// An image on the web that is to be on a storage.
pub struct Download<'a> {
    pub url: &'a str,
    pub storage: Option<&'a str>,
    pub filename: Option<&'a str>,
    pub checksum: Option<&'a str>,
}

impl Download<'_> {
    /// The request that downloads it, unless it is there already; and the volume it becomes.
    ///
    /// # Errors
    /// `BadArgument` for a name that tells no format, or a checksum that is none; Proxmox's.
    pub async fn plan(&self, pve: &Reader<'_>, node: &str) -> Result<(Option<Request>, String)> {
        let storage = pve.storage(self.storage, node, "import").await?;
        let path = self.url.split(['?', '#']).next().unwrap_or_default();
        let name = self.filename.or(path.rsplit('/').next()).unwrap_or_default();
        // As Proxmox names the file.
        let plain = |c: char| if c.is_ascii_alphanumeric() || "_.-".contains(c) { c } else { '_' };
        let name: String = name.chars().map(plain).collect();
        if ![".qcow2", ".raw", ".vmdk"].iter().any(|suffix| name.ends_with(suffix)) {
            return Err(Error::bad_argument(format!("filename: '{name}' does not tell the image's format"))
                .hint("give filename ending in .qcow2, .raw or .vmdk; cloud images named .img mostly are qcow2"));
        }
        let volume = format!("{storage}:import/{name}");
        let list = Request::get(storage_path(node, &storage, "content")).param("content", "import");
        let there: Vec<Found> = pve.request(&list).await?;
        if there.iter().any(|found| found.volid == volume) {
            return Ok((None, volume));
        }
        let request = Request::post(storage_path(node, &storage, "download-url"))
            .param("content", "import")
            .param("filename", &name)
            .param("url", self.url);
        Ok((Some(checked(request, self.checksum)?), volume))
    }
}

/// Adds the checksum, whose algorithm its length tells.
fn checked(request: Request, checksum: Option<&str>) -> Result<Request> {
    let Some(sum) = checksum else { return Ok(request) };
    let algorithm = match sum.len() {
        32 => "md5",
        40 => "sha1",
        56 => "sha224",
        64 => "sha256",
        96 => "sha384",
        128 => "sha512",
        _ => "",
    };
    if algorithm.is_empty() || !sum.bytes().all(|b| b.is_ascii_hexdigit()) {
        return Err(Error::bad_argument("checksum: expected the hex digits of an MD5, SHA-1 or SHA-2 sum"));
    }
    Ok(request.param("checksum", sum).param("checksum-algorithm", algorithm))
}
