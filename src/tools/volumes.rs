//! Single volumes: what one is, who uses it, and deleting it.

use futures::{StreamExt, stream};
use serde_json::{Map, Value};

use super::{list::gib, storage, storage_content::Found};
use crate::{
    error::Kind,
    pve::{GuestKind, Resource, encode},
    tool::*,
};

/// More guests' configurations than this are not read to find who uses a volume.
const MANY: usize = 200;

/// Delete a volume: an ISO image, a template, a backup, or a disk that no guest uses.
#[derive(Deserialize, JsonSchema)]
pub struct DeleteVolume {
    /// storage:name
    volid: String,
    node: Option<String>,
}

impl Tool for DeleteVolume {
    const NAME: &str = "proxmox-delete-volume";
    const TITLE: &str = "Delete a volume";
    const API: &[&str] = &["DELETE /nodes/{node}/storage/{storage}/content/{volume}"];
    const EXAMPLE: (&str, &str) = (
        "Delete the old VirtIO ISO on pve1",
        r#"{"volid": "local:iso/virtio-win-0.1.262.iso", "node": "pve1", "confirm": true}"#,
    );
}

/// A volume and where it is.
struct Place {
    node: String,
    storage: String,
    shared: bool,
    volume: Found,
    /// What else is on the storage.
    others: Vec<Found>,
}

impl Action for DeleteVolume {
    const EFFECT: Effect = Effect::Destroy;
    const CONTROL: Control = Control::new(600).confirmed().waiting();
    async fn plan(&self, pve: &Reader<'_>) -> Result<Plan> {
        let place = self.find(pve).await?;
        let users = users(pve, &place).await?;
        let Place { node, storage, volume, others, .. } = place;
        let content = volume.content.as_deref().unwrap_or("volume");
        let size = volume.size.map(|size| format!(", {} GiB", gib(size))).unwrap_or_default();
        let path = format!("/nodes/{}/storage/{}/content/{}", encode(&node), encode(&storage), encode(&self.volid));
        let clones: Vec<&str> =
            others.iter().filter(|other| is_made_from(other, &self.volid)).map(|other| other.volid.as_str()).collect();
        let mut plan = Plan::new(format!("delete {} ({content}{size}) on {node}", self.volid))
            .about("volid", self.volid.as_str())
            .about("node", node)
            .about("content", content);
        if let Some(vmid) = volume.vmid {
            plan = plan.about("vmid", vmid);
        }
        plan.warnings = users.warnings;
        Ok(plan
            .no_undo("a deleted volume cannot be brought back")
            // Proxmox deletes what a stopped guest uses without a word: this is the only thing in the way.
            .check(
                users.of.is_empty(),
                || "no guest's configuration that could be read names it".to_owned(),
                || format!("{} is in use: {}", self.volid, users.of.join(", ")),
            )
            .check(
                clones.is_empty(),
                || "no linked clone is made from it".to_owned(),
                || format!("linked clones are made from {}: {}", self.volid, clones.join(", ")),
            )
            .check(
                !volume.protected,
                || "it is not protected".to_owned(),
                || format!("{} is protected: take its protection off first", self.volid),
            )
            .step(Request::delete(path)))
    }
}

/// Whether a volume of the storage is a linked clone of that one.
fn is_made_from(other: &Found, volid: &str) -> bool {
    let name = |text: &str| text.rsplit([':', '/']).next().unwrap_or_default().to_owned();
    other.parent.as_deref().is_some_and(|parent| {
        // Some storages add the snapshot that the clone stands on.
        let parent = parent.split('@').next().unwrap_or_default();
        name(parent) == name(volid)
    })
}

impl DeleteVolume {
    /// Deleting what is not there succeeds in Proxmox, so it is looked for first.
    async fn find(&self, pve: &Reader<'_>) -> Result<Place> {
        let (storage, rest) = self.volid.split_once(':').unwrap_or_default();
        if storage.is_empty() || rest.is_empty() {
            let words = format!("volid: expected storage:name, as in local:iso/debian.iso, got '{}'", self.volid);
            return Err(Error::bad_argument(words).hint("proxmox-storage-content lists them"));
        }
        let (shared, mut nodes) = nodes_with(pve, storage).await?;
        if let Some(node) = &self.node {
            nodes = vec![node.clone()];
        }
        let mut found = Vec::new();
        for node in &nodes {
            let path = format!("/nodes/{}/storage/{}/content", encode(node), encode(storage));
            let mut all: Vec<Found> = pve.get(path).await?;
            if let Some(at) = all.iter().position(|one| one.volid == self.volid) {
                let volume = all.swap_remove(at);
                found.push(Place { node: node.clone(), storage: storage.to_owned(), shared, volume, others: all });
            }
        }
        match (found.pop(), found.as_slice()) {
            (Some(only), []) => Ok(only),
            (Some(last), others) => {
                let names: Vec<&str> = others.iter().chain([&last]).map(|place| place.node.as_str()).collect();
                Err(Error::bad_argument(format!("node: missing; several nodes have a {}", self.volid))
                    .hint(format!("one of {}", names.join(", "))))
            }
            (None, _) => Err(Error::not_found(format!("volid: no volume {} on {}", self.volid, nodes.join(", ")))
                .hint("proxmox-storage-content lists what is there, and what this user or token may see")),
        }
    }
}

/// Whether a storage is shared, and the nodes to look on: one where it is.
async fn nodes_with(pve: &Reader<'_>, storage: &str) -> Result<(bool, Vec<String>)> {
    let mut rows = storage::rows(pve).await?;
    rows.retain(|row| row.storage == storage);
    let shared = rows.iter().any(|row| row.shared);
    let there = !rows.is_empty();
    rows.retain(|row| row.status.as_deref() == Some("available"));
    let mut nodes: Vec<String> = rows.into_iter().map(|row| row.node).collect();
    nodes.sort();
    match (there, nodes.is_empty()) {
        (false, _) => Err(Error::not_found(format!("volid: no storage '{storage}' is visible"))
            .hint("proxmox-list-storage shows those that are")),
        (true, true) => {
            Err(Error::new(Kind::Unavailable, format!("storage {storage} is available on no node at present")))
        }
        _ if shared => Ok((true, nodes.into_iter().take(1).collect())),
        _ => Ok((false, nodes)),
    }
}

/// Who uses a volume, and what could not be found out.
#[derive(Default)]
struct Users {
    /// `scsi0 of VM 100 (web-01)`.
    of: Vec<String>,
    warnings: Vec<String>,
}

async fn users(pve: &Reader<'_>, place: &Place) -> Result<Users> {
    let volume = &place.volume;
    let mut users = Users::default();
    // Of backups and templates nothing is used in place.
    if matches!(volume.content.as_deref(), Some("backup" | "vztmpl" | "import")) {
        return Ok(users);
    }
    let resources = pve.resources().await?;
    let disk = matches!(volume.content.as_deref(), Some("images" | "rootdir"));
    let mut guests: Vec<&Resource> = match volume.vmid {
        Some(vmid) if disk => resources.vmid(vmid).into_iter().collect(),
        // Anybody may have the image in the drive.
        _ => {
            let reached = |guest: &&Resource| place.shared || *guest.node == *place.node;
            resources.iter().filter(|guest| guest.kind == GuestKind::Qemu).filter(reached).collect()
        }
    };
    if guests.len() > MANY {
        users.warnings.push(format!("only {MANY} of {} VMs were asked whether they use it", guests.len()));
        guests.truncate(MANY);
    }
    let path = |guest: &Resource, rest: &str| {
        format!("/nodes/{}/{}/{}/{rest}", encode(&guest.node), guest.kind.path(), guest.vmid)
    };
    let paths: Vec<String> = guests.iter().map(|guest| path(guest, "config")).collect();
    let configs = paths.into_iter().map(|path| pve.get::<Map<String, Value>>(path));
    let configs: Vec<_> = stream::iter(configs).buffered(8).collect().await;
    let unread = configs.iter().filter(|config| config.is_err()).count();
    if unread > 0 {
        users.warnings.push(format!("the configurations of {unread} guests could not be read; one may use it"));
    }
    for (guest, config) in guests.iter().zip(configs) {
        let Ok(config) = config else { continue };
        let name = guest.name.as_deref().map(|name| format!(" ({name})")).unwrap_or_default();
        let who = format!("{} {}{name}", guest.kind, guest.vmid);
        for (key, _) in config.iter().filter(|(_, value)| value.as_str().is_some_and(|v| names(v, &volume.volid))) {
            if key.starts_with("unused") {
                users.warnings.push(format!("{who} lists it as {key}, and will go on doing so"));
            } else {
                users.of.push(format!("{key} of {who}"));
            }
        }
    }
    // What only a snapshot needs stands in no configuration that is read here.
    if let ([owner], true, true) = (guests.as_slice(), disk, users.of.is_empty()) {
        let snapshots = pve.get::<Vec<Value>>(path(owner, "snapshot")).await;
        if snapshots.is_ok_and(|rows| rows.iter().any(|row| row["name"] != "current")) {
            users.warnings.push(format!("{} {} has snapshots, which may need it", owner.kind, owner.vmid));
        }
    }
    Ok(users)
}

/// Whether a configuration's value is, or contains, this volume.
fn names(value: &str, volid: &str) -> bool {
    value.split([',', '=', ';']).any(|part| part.trim() == volid)
}
