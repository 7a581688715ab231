//! Clones of VMs and containers, from what they are now or from a snapshot, on this node or another.

use serde_json::json;

use crate::{
    pve::{GuestConfig, GuestKind, PropertyString},
    tool::*,
};

pub const TOOLS: &[Entry] = &[Entry::action::<CloneVm>(), Entry::action::<CloneLxc>()];

/// Clone a VM or template into a new VM. Leave new_vmid out to take the next free one.
#[derive(Deserialize, JsonSchema)]
struct CloneVm {
    #[serde(flatten)]
    wanted: Wanted,
    /// A DNS name.
    #[schemars(length(min = 1, max = 255))]
    name: Option<String>,
}

/// Clone a container or container template. Leave new_vmid out to take the next free one.
#[derive(Deserialize, JsonSchema)]
struct CloneLxc {
    #[serde(flatten)]
    wanted: Wanted,
    #[schemars(length(min = 1, max = 255))]
    hostname: Option<String>,
}

/// A clone of either kind, but for its name.
#[derive(Deserialize, JsonSchema)]
struct Wanted {
    #[schemars(range(min = 100, max = 999_999_999))]
    source_vmid: u32,
    #[schemars(range(min = 100, max = 999_999_999))]
    new_vmid: Option<u32>,
    source_node: Option<String>,
    /// Needs shared storage.
    target_node: Option<String>,
    /// For a full clone's disks.
    storage: Option<String>,
    /// Copy all disks; false: a linked clone of a template.
    #[serde(default = "yes")]
    full: bool,
    /// Clone this snapshot.
    snapname: Option<String>,
    pool: Option<String>,
    description: Option<String>,
}

fn yes() -> bool {
    true
}

impl Tool for CloneVm {
    const NAME: &str = "proxmox-clone-vm";
    const TITLE: &str = "Clone a VM";
    const API: &[&str] = &["POST /nodes/{node}/qemu/{vmid}/clone"];
    const EXAMPLE: (&str, &str) = (
        "Clone the Debian template to web-03",
        r#"{"source_vmid": 9000, "name": "web-03", "confirm": true, "wait": true}"#,
    );
}

impl Tool for CloneLxc {
    const NAME: &str = "proxmox-clone-lxc";
    const TITLE: &str = "Clone a container";
    const API: &[&str] = &["POST /nodes/{node}/lxc/{vmid}/clone"];
    const EXAMPLE: (&str, &str) =
        ("Clone devbox to devbox-2", r#"{"source_vmid": 111, "hostname": "devbox-2", "confirm": true, "wait": true}"#);
}

impl Action for CloneVm {
    const EFFECT: Effect = Effect::Write;
    const CONTROL: Control = Control::new(900).confirmed().polled();
    async fn plan(&self, pve: &Reader<'_>) -> Result<Plan> {
        self.wanted.plan(pve, Want::Vm, ("name", self.name.as_deref())).await
    }
}

impl Action for CloneLxc {
    const EFFECT: Effect = Effect::Write;
    const CONTROL: Control = Control::new(900).confirmed();
    async fn plan(&self, pve: &Reader<'_>) -> Result<Plan> {
        self.wanted.plan(pve, Want::Container, ("hostname", self.hostname.as_deref())).await
    }
}

impl Wanted {
    /// The name comes with its parameter, which differs.
    async fn plan(&self, pve: &Reader<'_>, want: Want, (key, name): (&'static str, Option<&str>)) -> Result<Plan> {
        if !self.full && self.storage.is_some() {
            return Err(Error::bad_argument("storage: not possible for a linked clone (full: false)")
                .hint("leave storage out: a linked clone's disks stay on the template's storage"));
        }
        let source = GuestRef { vmid: Some(self.source_vmid), name: None, node: self.source_node.clone() };
        let source = pve.guest(&source, want).await?;
        let newid = match self.new_vmid {
            Some(vmid) => vmid,
            None => pve.next_vmid().await?,
        };
        let target = self.target_node.as_deref().filter(|target| *target != source.node);
        let request = Request::post(source.path("clone"))
            .param("newid", newid)
            .maybe(key, name)
            .maybe("target", target)
            .maybe("storage", self.storage.as_deref())
            .maybe("snapname", self.snapname.as_deref())
            .maybe("pool", self.pool.as_deref())
            .maybe("description", self.description.as_deref())
            .param("full", u8::from(self.full));
        let called = name.map(|n| format!(" ({n})")).unwrap_or_default();
        let kind = if self.full { "full" } else { "linked" };
        let snapshot = self.snapname.as_deref().map(|snap| format!(" of its snapshot {snap}")).unwrap_or_default();
        let node = target.unwrap_or(&source.node);
        let summary =
            format!("clone {source} to {} {newid}{called} on {node} as a {kind} clone{snapshot}", source.kind);
        let linkable = source.template || self.snapname.is_some();
        let delete = match source.kind {
            GuestKind::Qemu => "proxmox-delete-vm",
            GuestKind::Lxc => "proxmox-delete-lxc",
        };
        let mut plan = Plan::new(summary)
            .about("vmid", newid)
            .about("node", node)
            .step(request)
            .undo(delete, json!({"vmid": newid}))
            .warn_if(!self.full && !linkable, || {
                format!("{source} is no template: Proxmox makes linked clones of templates only")
            });
        if let Some(name) = name {
            plan = plan.about("name", name);
        }
        if let Some(target) = target {
            let config = pve.config(&source).await?;
            plan = shared(plan, pve, &source, &config, target).await?;
        }
        if let Some(snapname) = &self.snapname {
            plan = snapshot_there(plan, pve, &source, snapname).await?;
        } else if source.kind == GuestKind::Lxc && self.full && source.is_running() && pve.is_running(&source).await? {
            plan = plan.check(false, String::new, || {
                format!("{source} is running: Proxmox clones a running container from a snapshot only (snapname)")
            });
        }
        plan.chosen_vmid = self.new_vmid.is_none().then_some(newid);
        Ok(plan)
    }
}

/// Checks that a guest's volumes can be seen from the other node that its clone is meant for.
pub(super) async fn shared(
    plan: Plan,
    pve: &Reader<'_>,
    guest: &Guest,
    config: &GuestConfig,
    target: &str,
) -> Result<Plan> {
    #[derive(Deserialize)]
    struct Storage {
        storage: String,
        #[serde(default)]
        shared: bool,
    }
    let known: Vec<Storage> = pve.get(format!("/nodes/{}/storage", crate::pve::encode(&guest.node))).await?;
    let is_local = |id: &str| known.iter().any(|s| s.storage == id && !s.shared);
    let mut local = Vec::new();
    for (key, value) in config.iter().filter(|(key, _)| holds_volume(guest.kind, key)) {
        let drive = PropertyString::parse(&value);
        let Some(volid) = drive.first().or_else(|| drive.get("file").or_else(|| drive.get("volume"))) else { continue };
        if volid.split_once(':').is_some_and(|(storage, _)| is_local(storage)) {
            local.push(format!("{key} ({volid})"));
        }
    }
    Ok(plan.check(
        local.is_empty(),
        || format!("the volumes of {guest} are on shared storage"),
        || format!("{guest} cannot be cloned to {target}: on local storage are {}", local.join(", ")),
    ))
}

/// Whether a key of the configuration names a drive or mount point.
pub(super) fn holds_volume(kind: GuestKind, key: &str) -> bool {
    let stem = key.trim_end_matches(|c: char| c.is_ascii_digit());
    stem.len() < key.len()
        && match kind {
            GuestKind::Qemu => matches!(stem, "scsi" | "virtio" | "sata" | "ide" | "efidisk" | "tpmstate"),
            GuestKind::Lxc => stem == "mp",
        }
        || kind == GuestKind::Lxc && key == "rootfs"
}

async fn snapshot_there(plan: Plan, pve: &Reader<'_>, guest: &Guest, snapname: &str) -> Result<Plan> {
    #[derive(Deserialize)]
    struct Snapshot {
        name: String,
    }
    let all: Vec<Snapshot> = pve.get(guest.path("snapshot")).await?;
    let names: Vec<&str> = all.iter().map(|s| s.name.as_str()).filter(|name| *name != "current").collect();
    Ok(plan.check(
        names.contains(&snapname),
        || format!("{guest} has the snapshot {snapname}"),
        || match names.as_slice() {
            [] => format!("{guest} has no snapshot"),
            names => format!("{guest} has no snapshot {snapname}, only {}", names.join(", ")),
        },
    ))
}
