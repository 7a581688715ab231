//! Making templates, and what locks mean.

use crate::{
    pve::{GuestKind, TaskRow, encode},
    tool::*,
};

pub const TOOLS: &[Entry] =
    &[Entry::action::<TemplateVm>(), Entry::action::<TemplateLxc>(), Entry::query::<ExplainLock>()];

/// Turn a stopped VM into a template for clones. Cannot be undone: a template never starts again.
#[derive(Deserialize, JsonSchema)]
struct TemplateVm {
    #[serde(flatten)]
    guest: GuestRef,
}

/// Turn a stopped container into a template for clones. Cannot be undone.
#[derive(Deserialize, JsonSchema)]
struct TemplateLxc {
    #[serde(flatten)]
    guest: GuestRef,
}

impl Tool for TemplateVm {
    const NAME: &str = "proxmox-template-vm";
    const TITLE: &str = "Make a VM a template";
    const API: &[&str] = &["POST /nodes/{node}/qemu/{vmid}/template"];
    const EXAMPLE: (&str, &str) = ("Make VM 107 a template", r#"{"vmid": 107, "confirm": true, "wait": true}"#);
}

impl Tool for TemplateLxc {
    const NAME: &str = "proxmox-template-lxc";
    const TITLE: &str = "Make a container a template";
    const API: &[&str] = &["POST /nodes/{node}/lxc/{vmid}/template"];
    const EXAMPLE: (&str, &str) = ("Make devbox a template", r#"{"name": "devbox", "confirm": true}"#);
}

impl Action for TemplateVm {
    const EFFECT: Effect = Effect::Write;
    const CONTROL: Control = Control::new(600).confirmed();
    async fn plan(&self, pve: &Reader<'_>) -> Result<Plan> {
        template(pve, &pve.guest(&self.guest, Want::Vm).await?).await
    }
}

impl Action for TemplateLxc {
    const EFFECT: Effect = Effect::Write;
    const CONTROL: Control = Control::instant().confirmed();
    async fn plan(&self, pve: &Reader<'_>) -> Result<Plan> {
        template(pve, &pve.guest(&self.guest, Want::Container).await?).await
    }
}

async fn template(pve: &Reader<'_>, guest: &Guest) -> Result<Plan> {
    #[derive(Deserialize)]
    struct Snapshot {
        name: String,
    }
    let snapshots: Vec<Snapshot> = pve.get(guest.path("snapshot")).await?;
    let names: Vec<&str> = snapshots.iter().map(|s| s.name.as_str()).filter(|name| *name != "current").collect();
    let running = guest.is_running() && pve.is_running(guest).await?;
    Ok(Plan::on(guest, "make a template of")
        .step(Request::post(guest.path("template")))
        .no_undo("a template stays one; a full clone of it is an ordinary guest again")
        .check(!guest.template, || format!("{guest} is none yet"), || format!("{guest} is a template already"))
        .check(!running, || format!("{guest} is not running"), || format!("{guest} is running: shut it down first"))
        .check(
            names.is_empty(),
            || format!("{guest} has no snapshots"),
            || format!("{guest} has snapshots, which a template cannot have: delete {} first", names.join(", ")),
        ))
}

/// Tell why a guest is locked, which task holds the lock, and how root clears a stale one.
#[derive(Deserialize, JsonSchema)]
struct ExplainLock {
    #[serde(flatten)]
    guest: GuestRef,
}

impl Tool for ExplainLock {
    const NAME: &str = "proxmox-explain-lock";
    const TITLE: &str = "Explain a guest's lock";
    const API: &[&str] = &["GET /nodes/{node}/tasks"];
    const EXAMPLE: (&str, &str) = ("Why is web-01 locked?", r#"{"name": "web-01"}"#);
}

#[derive(Serialize, JsonSchema)]
struct Lock {
    vmid: u32,
    node: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    locked: bool,
    /// Proxmox's word.
    #[serde(skip_serializing_if = "Option::is_none")]
    lock: Option<String>,
    meaning: String,
    /// Tasks that run now and have to do with it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tasks: Vec<Holder>,
    next: String,
}

#[derive(Serialize, JsonSchema)]
struct Holder {
    upid: String,
    #[serde(rename = "type")]
    kind: String,
    user: String,
    /// Unix time.
    started: i64,
}

impl Query for ExplainLock {
    type Output = Lock;
    async fn query(&self, pve: &Reader<'_>) -> Result<Lock> {
        let guest = pve.guest(&self.guest, Want::Any).await?;
        let config = pve.config(&guest).await?;
        let lock = config.lock().map(String::from);
        let active = Request::get(format!("/nodes/{}/tasks", encode(&guest.node))).param("source", "active");
        let rows: Vec<TaskRow> = pve.request(&active).await?;
        let holds = |row: &TaskRow| row.end().is_none() && concerns(row, guest.vmid, lock.as_deref());
        let tasks: Vec<Holder> = rows
            .into_iter()
            .filter(holds)
            .map(|row| Holder { upid: row.upid, kind: row.kind, user: row.user, started: row.starttime })
            .collect();
        let (meaning, next) = match lock.as_deref() {
            None if tasks.is_empty() => ("not locked".to_owned(), "nothing stands in the way".to_owned()),
            None => (
                "no lock in its configuration, but a task works on it and holds its file lock".to_owned(),
                "wait for the task: proxmox-wait-task".to_owned(),
            ),
            Some(lock) => (meaning(lock).to_owned(), next(&guest, lock, tasks.first())),
        };
        Ok(Lock {
            vmid: guest.vmid,
            node: guest.node,
            name: guest.name,
            locked: lock.is_some(),
            lock,
            meaning,
            tasks,
            next,
        })
    }
}

/// Whether a running task may be what holds the lock. A clone's task carries the source's number, a backup job's none.
pub(super) fn concerns(row: &TaskRow, vmid: u32, lock: Option<&str>) -> bool {
    let own = row.id.split(['@', '-', ':']).next().is_some_and(|id| id == vmid.to_string());
    own || match lock {
        Some("backup") => row.kind == "vzdump" && row.id.is_empty(),
        Some("clone") => row.kind == "qmclone",
        Some("create") => matches!(row.kind.as_str(), "vzclone" | "vzrestore" | "qmrestore"),
        _ => false,
    }
}

/// What a lock is there for.
pub(super) fn meaning(lock: &str) -> &'static str {
    match lock {
        "backup" => "a backup (vzdump) of it is being made",
        "clone" => "it is being made as a clone, and is not complete",
        "create" => "it is being created or restored, and is not complete",
        "destroyed" => "it was being deleted, and that did not come to its end",
        "disk" => "one of its volumes is being changed (moved, resized)",
        "fstrim" => "its volumes are being trimmed",
        "migrate" => "it is being moved to another node",
        "mounted" => "its file system is mounted on the node (pct mount)",
        "rollback" => "it is being rolled back to a snapshot",
        "snapshot" => "a snapshot of it is being taken",
        "snapshot-delete" => "a snapshot of it is being deleted",
        "suspending" => "it is being hibernated: its memory is being written to disk",
        "suspended" => "it is hibernated: its memory is on disk, and a start resumes it",
        _ => "a lock that this program does not know",
    }
}

/// What to do about it: wait, or clear it by hand.
fn next(guest: &Guest, lock: &str, holder: Option<&Holder>) -> String {
    let Guest { vmid, node, .. } = guest;
    let tool = if guest.kind == GuestKind::Qemu { "qm" } else { "pct" };
    match (lock, holder) {
        ("suspended", _) => "start it; unlocking would throw its saved memory away".to_owned(),
        (_, Some(task)) => {
            format!("the task {} may hold it: wait for it with proxmox-wait-task, or stop it", task.upid)
        }
        ("mounted", None) => format!("`pct unmount {vmid}` as root on {node}"),
        ("clone" | "create" | "destroyed", None) => format!(
            "no task runs that could hold it, so it was left behind: `{tool} unlock {vmid}` as root on {node} (the API \
             cannot), then delete what is incomplete"
        ),
        (_, None) => format!(
            "no task runs that could hold it, so it was left behind: `{tool} unlock {vmid}` as root on {node}; the API \
             cannot unlock"
        ),
    }
}
