//! Uploads: files of this machine, and files that a node fetches itself, to a storage.

use serde_json::json;

use super::{
    files::{self, Content},
    list::round,
};
use crate::{error::Kind, pve::encode, tool::*};

pub const TOOLS: &[Entry] =
    &[Entry::action::<UploadIso>(), Entry::action::<UploadTemplate>(), Entry::action::<DownloadUrl>()];

#[derive(Deserialize, JsonSchema)]
struct Upload {
    node: Option<String>,
    storage: Option<String>,
    /// Of this machine, in PROXMOX_UPLOAD_DIR.
    file_path: String,
    #[serde(flatten)]
    checksum: files::Given,
}

/// Upload an ISO image from this machine. One of the same name is replaced.
#[derive(Deserialize, JsonSchema)]
struct UploadIso {
    #[serde(flatten)]
    upload: Upload,
}

/// Upload a container template from this machine. One of the same name is replaced.
#[derive(Deserialize, JsonSchema)]
struct UploadTemplate {
    #[serde(flatten)]
    upload: Upload,
}

impl Tool for UploadIso {
    const NAME: &str = "proxmox-upload-iso";
    const TITLE: &str = "Upload an ISO image";
    const API: &[&str] = &["POST /nodes/{node}/storage/{storage}/upload"];
    const EXAMPLE: (&str, &str) = (
        "Put my Debian image onto pve1",
        r#"{"node": "pve1", "storage": "local", "file_path": "debian.iso", "confirm": true}"#,
    );
}

impl Tool for UploadTemplate {
    const NAME: &str = "proxmox-upload-template";
    const TITLE: &str = "Upload a container template";
    const API: &[&str] = &["POST /nodes/{node}/storage/{storage}/upload"];
    const EXAMPLE: (&str, &str) = (
        "Upload our own container template to the NAS",
        r#"{"node": "pve1", "storage": "nas", "file_path": "debian.tar.zst", "confirm": true}"#,
    );
}

/// How long the task after an upload, or a download, is waited for.
const CONTROL: Control = Control::new(3600).waiting();

impl Action for UploadIso {
    const EFFECT: Effect = Effect::Write;
    const CONTROL: Control = CONTROL.confirmed();
    async fn plan(&self, pve: &Reader<'_>) -> Result<Plan> {
        self.upload.plan(pve, Content::Iso).await
    }
}

impl Action for UploadTemplate {
    const EFFECT: Effect = Effect::Write;
    const CONTROL: Control = CONTROL.confirmed();
    async fn plan(&self, pve: &Reader<'_>) -> Result<Plan> {
        self.upload.plan(pve, Content::Vztmpl).await
    }
}

impl Upload {
    async fn plan(&self, pve: &Reader<'_>, content: Content) -> Result<Plan> {
        let expected = self.checksum.read()?;
        let file = files::local(pve, &self.file_path, content).await?;
        let node = pve.node(self.node.as_deref()).await?;
        let storage = pve.storage(self.storage.as_deref(), &node, content.key()).await?;
        let volid = format!("{storage}:{}/{}", content.key(), file.name);
        let there = files::exists(pve, &node, content, &volid).await?;
        // It stands before the file in the form, so the file is read twice; Proxmox compares it with what arrived.
        let algorithm = expected.as_ref().map_or("sha256", |(algorithm, _)| algorithm);
        let sum = files::checksum(pve, &file, algorithm).await?;
        if let Some((_, expected)) = expected.filter(|(_, expected)| *expected != sum) {
            let words = format!("checksum: expected {expected}, but {} of this machine has {sum}", self.file_path);
            return Err(Error::bad_argument(words).hint("nothing was sent; is it the file that the checksum is for?"));
        }
        let size = mib(file.size);
        let path = format!("/nodes/{}/storage/{}/upload", encode(&node), encode(&storage));
        let undo = match there {
            Some(false) => Undo::call("proxmox-delete-volume", json!({"volid": volid, "node": node})),
            Some(true) => Undo::never("the file that it takes the place of is gone"),
            None => Undo::never("whether it took the place of another file is not known"),
        };
        let mut plan = Plan::new(format!("upload {} ({size} MiB) to {node} as {volid}", file.path.display()))
            .about("volid", volid.as_str())
            .about("node", node)
            .about("size_mib", size)
            .warn_if(there == Some(true), || format!("{volid} exists and is overwritten"))
            .warn_if(there.is_none(), || format!("it cannot be seen whether {volid} exists; if so, it is overwritten"))
            .step(
                Request::post(path)
                    .param("content", content.key())
                    .param("checksum-algorithm", algorithm)
                    .param("checksum", sum)
                    .upload(file),
            );
        plan.undo = Some(undo);
        Ok(plan)
    }
}

/// MiB with two decimals.
fn mib(bytes: u64) -> f64 {
    round(bytes as f64 / f64::from(1 << 20))
}

/// Let a node download an ISO, container template or disk image (import) from a URL.
#[derive(Deserialize, JsonSchema)]
struct DownloadUrl {
    url: String,
    node: Option<String>,
    storage: Option<String>,
    filename: Option<String>,
    content: Option<Content>,
    #[serde(flatten)]
    checksum: files::Given,
    /// Of an ISO: gz, zst …
    compression: Option<String>,
    #[serde(default = "yes")]
    verify_certificates: bool,
}

fn yes() -> bool {
    true
}

impl Tool for DownloadUrl {
    const NAME: &str = "proxmox-download-url";
    const TITLE: &str = "Download a file to a storage";
    const API: &[&str] = &["GET /nodes/{node}/query-url-metadata", "POST /nodes/{node}/storage/{storage}/download-url"];
    const EXAMPLE: (&str, &str) = (
        "Get the Debian 13 installer onto the NAS",
        r#"{"url": "https://cdimage.debian.org/debian-cd/current/amd64/iso-cd/debian-13.1.0-amd64-netinst.iso", "node": "pve1", "storage": "nas"}"#,
    );
}

/// What a server says of a file.
#[derive(Default, Deserialize)]
struct Metadata {
    filename: Option<String>,
    size: Option<u64>,
    mimetype: Option<String>,
}

impl Action for DownloadUrl {
    const EFFECT: Effect = Effect::Write;
    const CONTROL: Control = CONTROL;
    async fn plan(&self, pve: &Reader<'_>) -> Result<Plan> {
        if !["http://", "https://"].iter().any(|scheme| self.url.starts_with(scheme)) {
            return Err(Error::bad_argument(format!("url: expected http://… or https://…, got '{}'", self.url)));
        }
        let checksum = self.checksum.read()?;
        let node = pve.node(self.node.as_deref()).await?;
        let (found, silent) = self.metadata(pve, &node).await?;
        let name = self.filename.as_deref().or(found.filename.as_deref()).filter(|name| !name.is_empty());
        let name = name.ok_or_else(|| {
            Error::bad_argument("filename: missing; the server names none").hint("say what the file shall be called")
        })?;
        // `debian.iso.gz` is stored as `debian.iso`.
        let name = match &self.compression {
            Some(kind) if self.filename.is_none() => name.strip_suffix(&format!(".{kind}")).unwrap_or(name),
            _ => name,
        };
        let content = self.content.or_else(|| Content::of(&files::normalized(name))).ok_or_else(|| {
            Error::bad_argument(format!("content: missing; '{name}' does not tell what it is")).hint(
                "set filename with the right ending (.iso, .tar.zst, .qcow2 …), or content: iso, vztmpl or import",
            )
        })?;
        if self.compression.is_some() && content != Content::Iso {
            return Err(Error::bad_argument("compression: Proxmox unpacks ISO images only"));
        }
        let name = content.name("filename", name)?;
        let storage = pve.storage(self.storage.as_deref(), &node, content.key()).await?;
        let volid = format!("{storage}:{}/{name}", content.key());
        let there = files::exists(pve, &node, content, &volid).await?;
        // Proxmox overwrites nothing: where it downloads, there was nothing.
        let undo = match (there, &checksum) {
            (Some(true), _) => Undo::never("nothing changes"),
            (None, Some(_)) => Undo::never("whether it was there before is not known"),
            _ => Undo::call("proxmox-delete-volume", json!({"volid": volid, "node": node})),
        };
        let there = there == Some(true);
        let size = found.size.map(|size| format!(" ({} MiB)", mib(size))).unwrap_or_default();
        let path = format!("/nodes/{}/storage/{}/download-url", encode(&node), encode(&storage));
        let mut request = Request::post(path)
            .param("content", content.key())
            .param("filename", &name)
            .param("url", &self.url)
            .maybe("compression", self.compression.as_deref());
        if let Some((algorithm, sum)) = &checksum {
            request = request.param("checksum-algorithm", algorithm).param("checksum", sum);
        }
        if !self.verify_certificates {
            request = request.param("verify-certificates", 0);
        }
        let mut plan = Plan::new(format!("download {}{size} to {node} as {volid}", self.url))
            .about("volid", volid.as_str())
            .about("node", node)
            .step(request)
            .warn_if(found.mimetype.as_deref() == Some("text/html"), || {
                "the server says that this is a web page (text/html), and no image".to_owned()
            })
            .warn_if(!self.verify_certificates && checksum.is_none(), || {
                "without certificates and checksum, anybody on the way can change the file".to_owned()
            });
        plan.warnings.extend(silent);
        plan.undo = Some(undo);
        if let Some(size) = found.size {
            plan = plan.about("size_mib", mib(size));
        }
        if there && checksum.is_none() {
            plan.problems.push(format!("{volid} exists: Proxmox does not overwrite it"));
        } else if there {
            plan.warnings.push(format!("{volid} exists: kept if it has this checksum, an error if not"));
        }
        Ok(plan)
    }
}

impl DownloadUrl {
    /// Name and size by the server's word. Where it does not answer such questions, a given name will do, with a warning.
    async fn metadata(&self, pve: &Reader<'_>, node: &str) -> Result<(Metadata, Option<String>)> {
        let path = format!("/nodes/{}/query-url-metadata", encode(node));
        let mut request = Request::get(path).param("url", &self.url);
        if !self.verify_certificates {
            request = request.param("verify-certificates", 0);
        }
        match pve.request(&request).await {
            Ok(found) => Ok((found, None)),
            Err(e) if self.filename.is_some() && e.kind() == Kind::Refused => {
                Ok((Metadata::default(), Some(format!("the server did not say what is there: {e}"))))
            }
            Err(e) => Err(e),
        }
    }
}
