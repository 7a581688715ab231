//! What can be done to many guests: by which single tool, for whom it means nothing, and which call takes it back.

use serde_json::{Map, Value};

use crate::{
    arguments,
    pve::{Guest, GuestKind},
    tool::*,
};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Deed {
    Start,
    Shutdown,
    Stop,
    Reboot,
    Snapshot,
    DeleteSnapshot,
    Backup,
    Migrate,
    Configure,
    Tag,
    Untag,
    GuestExec,
}

/// What a caller may say of a guest in a single tool, and says with the selector here.
const GUEST: [&str; 3] = ["vmid", "name", "node"];

impl Deed {
    /// The single tool.
    pub fn tool(self, kind: GuestKind) -> &'static str {
        let vm = kind == GuestKind::Qemu;
        match self {
            Self::Start if vm => "proxmox-start-vm",
            Self::Start => "proxmox-start-lxc",
            Self::Shutdown if vm => "proxmox-shutdown-vm",
            Self::Shutdown => "proxmox-shutdown-lxc",
            Self::Stop if vm => "proxmox-stop-vm",
            Self::Stop => "proxmox-stop-lxc",
            Self::Reboot if vm => "proxmox-reboot-vm",
            Self::Reboot => "proxmox-reboot-lxc",
            Self::Snapshot => "proxmox-create-snapshot",
            Self::DeleteSnapshot => "proxmox-delete-snapshot",
            Self::Backup => "proxmox-backup-vm",
            Self::Migrate if vm => "proxmox-migrate-vm",
            Self::Migrate => "proxmox-migrate-lxc",
            Self::Configure if vm => "proxmox-configure-vm",
            Self::Configure => "proxmox-configure-lxc",
            Self::Tag => "proxmox-tags-add",
            Self::Untag => "proxmox-tags-remove",
            Self::GuestExec => "proxmox-guest-exec",
        }
    }

    /// As it is asked for, and as progress tells it.
    pub fn words(self) -> (&'static str, &'static str) {
        match self {
            Self::Start => ("start", "starting"),
            Self::Shutdown => ("shut down", "shutting down"),
            Self::Stop => ("power off", "powering off"),
            Self::Reboot => ("reboot", "rebooting"),
            Self::Snapshot => ("take a snapshot of", "taking a snapshot of"),
            Self::DeleteSnapshot => ("delete a snapshot of", "deleting a snapshot of"),
            Self::Backup => ("back up", "backing up"),
            Self::Migrate => ("migrate", "migrating"),
            Self::Configure => ("configure", "configuring"),
            Self::Tag => ("tag", "tagging"),
            Self::Untag => ("untag", "untagging"),
            Self::GuestExec => ("run a command in", "running the command in"),
        }
    }

    /// Whether guests go down by it: those that start first go last.
    pub fn goes_down(self) -> bool {
        matches!(self, Self::Shutdown | Self::Stop)
    }

    /// Why nothing is to be done with this one. `named`: it was asked for by its own number.
    pub fn skips(self, guest: &Guest, params: &Map<String, Value>, named: bool) -> Option<String> {
        let runs = guest.is_running();
        let off = guest.status == "stopped";
        let states = matches!(self, Self::Start | Self::Shutdown | Self::Stop | Self::Reboot | Self::GuestExec);
        let target = params.get("target_node").and_then(Value::as_str).map(str::trim);
        match self {
            _ if guest.template && (states || self.is_of_snapshots() || !named) => Some("it is a template".to_owned()),
            Self::Start if runs => Some("it runs already".to_owned()),
            Self::Shutdown | Self::Stop if off => Some("it is off already".to_owned()),
            Self::Reboot | Self::GuestExec if off => Some("it does not run".to_owned()),
            Self::Migrate if target == Some(guest.node.as_str()) => Some(format!("it is on {} already", guest.node)),
            _ => None,
        }
    }

    /// Why it would come to nothing.
    pub fn refuses(self, guest: &Guest) -> Option<String> {
        let minds = !matches!(self, Self::Stop | Self::GuestExec);
        let resumes = self == Self::Start && guest.lock.as_deref() == Some("suspended");
        guest.lock.as_ref().filter(|_| minds && !resumes).map(|lock| format!("it is locked ({lock})"))
    }

    fn is_of_snapshots(self) -> bool {
        matches!(self, Self::Snapshot | Self::DeleteSnapshot)
    }

    /// The arguments for the single tools, held to their schemas: what only one of the two kinds takes is for that one.
    ///
    /// # Errors
    /// `BadArgument` that names `params.…`.
    pub fn params(self, given: &Map<String, Value>) -> Result<Params> {
        let given = if self == Self::Configure { options(given) } else { given.clone() };
        let mut of_kind = [GuestKind::Qemu, GuestKind::Lxc].map(|kind| (kind, schema(self.tool(kind))));
        let mut both = of_kind[0].1.clone();
        if let (Some(all), Some(more)) = (properties(&mut both), properties(&mut of_kind[1].1)) {
            all.extend(more.clone());
            if self == Self::GuestExec {
                let timeout = serde_json::json!({"type": "number", "minimum": 1, "maximum": 86_400});
                all.insert("timeout".to_owned(), timeout);
            }
        }
        let mut checked = arguments::check(&both, given).map_err(|e| e.reworded_message(prefixed))?;
        let seconds = match self {
            Self::GuestExec => checked.remove("timeout").and_then(|seconds| seconds.as_f64()),
            _ => None,
        };
        let mut of = |index: usize| {
            let known = properties(&mut of_kind[index].1).map(|known| &*known);
            let takes = |key: &String| known.is_some_and(|known| known.contains_key(key));
            checked.iter().filter(|(key, _)| takes(key)).map(|(key, value)| (key.clone(), value.clone())).collect()
        };
        Ok(Params { vm: of(0), container: of(1), seconds: seconds.unwrap_or(60.0) as u64 })
    }
}

/// What the single tools are called with.
pub struct Params {
    vm: Map<String, Value>,
    container: Map<String, Value>,
    /// For a command.
    pub seconds: u64,
}

impl Params {
    pub fn of(&self, kind: GuestKind) -> &Map<String, Value> {
        match kind {
            GuestKind::Qemu => &self.vm,
            GuestKind::Lxc => &self.container,
        }
    }
}

/// Options of guests may be given as they are.
fn options(given: &Map<String, Value>) -> Map<String, Value> {
    let (mut own, options): (Map<String, Value>, Map<String, Value>) =
        given.clone().into_iter().partition(|(key, _)| matches!(key.as_str(), "params" | "delete" | "revert"));
    if !options.is_empty()
        && let Some(params) = own.entry("params").or_insert_with(|| Map::new().into()).as_object_mut()
    {
        params.extend(options);
    }
    own
}

/// A tool's own arguments, without the guest.
fn schema(tool: &str) -> Map<String, Value> {
    let mut schema = super::super::all().find(|entry| entry.name == tool).map(Entry::own_schema).unwrap_or_default();
    if let Some(properties) = properties(&mut schema) {
        GUEST.iter().for_each(|key| drop(properties.remove(*key)));
    }
    schema
}

fn properties(schema: &mut Map<String, Value>) -> Option<&mut Map<String, Value>> {
    schema.get_mut("properties")?.as_object_mut()
}

/// `snapname: missing` becomes `params.snapname: missing`.
pub fn prefixed(words: &str) -> String {
    let named = |part: &str| part.split_once(": ").is_some_and(|(key, _)| !key.contains(' '));
    let parts = words.split("; ").map(|part| match named(part) {
        true => format!("params.{part}"),
        false => format!("params: {part}"),
    });
    parts.collect::<Vec<_>>().join("; ")
}
