//! Notes of guests (Proxmox's `description`): read, written, appended to, removed, and made from a template.

mod markup;
mod template;

use serde_json::{Value, json};

use self::markup::Format;
use crate::{
    error::Kind,
    pve::{Edit, Guest},
    tool::*,
};

pub const TOOLS: &[Entry] = &[
    Entry::query::<VmRead>(),
    Entry::action::<VmUpdate>(),
    Entry::action::<VmRemove>(),
    Entry::query::<LxcRead>(),
    Entry::action::<LxcUpdate>(),
    Entry::action::<LxcRemove>(),
    Entry::query::<template::NotesTemplate>(),
];

/// What Proxmox takes, in characters.
const LONGEST: usize = 8192;

const WRITE: &[&str] = &["PUT /nodes/{node}/{type}/{vmid}/config"];

fn yes() -> bool {
    true
}

#[derive(Deserialize, JsonSchema)]
struct Read {
    #[serde(flatten)]
    guest: GuestRef,
    #[serde(default)]
    format: Format,
    /// Mask them.
    #[serde(default = "yes")]
    parse_secrets: bool,
}

#[derive(Deserialize, JsonSchema, Clone, Copy, Default, PartialEq)]
#[serde(rename_all = "lowercase")]
enum Mode {
    #[default]
    Replace,
    Append,
}

#[derive(Deserialize, JsonSchema)]
struct Update {
    #[serde(flatten)]
    guest: GuestRef,
    content: String,
    #[serde(default)]
    format: Format,
    #[serde(default)]
    mode: Mode,
    #[serde(default = "yes")]
    validate: bool,
    #[serde(default = "yes")]
    backup: bool,
}

#[derive(Deserialize, JsonSchema)]
struct Remove {
    #[serde(flatten)]
    guest: GuestRef,
    #[serde(default = "yes")]
    backup: bool,
}

/// Read the notes of a VM.
#[derive(Deserialize, JsonSchema)]
#[serde(transparent)]
struct VmRead(Read);

/// Read the notes of a container.
#[derive(Deserialize, JsonSchema)]
#[serde(transparent)]
struct LxcRead(Read);

/// Write a VM's notes or append to them; by default the old ones are returned.
#[derive(Deserialize, JsonSchema)]
#[serde(transparent)]
struct VmUpdate(Update);

/// Write a container's notes or append to them; by default the old ones are returned.
#[derive(Deserialize, JsonSchema)]
#[serde(transparent)]
struct LxcUpdate(Update);

/// Remove the notes of a VM.
#[derive(Deserialize, JsonSchema)]
#[serde(transparent)]
struct VmRemove(Remove);

/// Remove the notes of a container.
#[derive(Deserialize, JsonSchema)]
#[serde(transparent)]
struct LxcRemove(Remove);

impl Tool for VmRead {
    const NAME: &str = "proxmox-vm-notes-read";
    const TITLE: &str = "Read a VM's notes";
    const API: &[&str] = &["GET /nodes/{node}/{type}/{vmid}/config"];
    const EXAMPLE: (&str, &str) = ("What do the notes of the Debian template say?", r#"{"vmid": 9000}"#);
}

impl Tool for LxcRead {
    const NAME: &str = "proxmox-lxc-notes-read";
    const TITLE: &str = "Read a container's notes";
    const API: &[&str] = &["GET /nodes/{node}/{type}/{vmid}/config"];
    const EXAMPLE: (&str, &str) = ("Show pihole's notes", r#"{"name": "pihole"}"#);
}

impl Tool for VmUpdate {
    const NAME: &str = "proxmox-vm-notes-update";
    const TITLE: &str = "Write a VM's notes";
    const API: &[&str] = WRITE;
    const EXAMPLE: (&str, &str) = (
        "Note on web-01 that its certificate runs out in May",
        r#"{"name": "web-01", "content": "Certificate runs out in May", "mode": "append", "confirm": true}"#,
    );
}

impl Tool for LxcUpdate {
    const NAME: &str = "proxmox-lxc-notes-update";
    const TITLE: &str = "Write a container's notes";
    const API: &[&str] = WRITE;
    const EXAMPLE: (&str, &str) =
        ("Note who owns pihole", r##"{"name": "pihole", "content": "# DNS\nOwner: network team", "confirm": true}"##);
}

impl Tool for VmRemove {
    const NAME: &str = "proxmox-vm-notes-remove";
    const TITLE: &str = "Remove a VM's notes";
    const API: &[&str] = WRITE;
    const EXAMPLE: (&str, &str) = ("Clear the notes of the Debian template", r#"{"vmid": 9000, "confirm": true}"#);
}

impl Tool for LxcRemove {
    const NAME: &str = "proxmox-lxc-notes-remove";
    const TITLE: &str = "Remove a container's notes";
    const API: &[&str] = WRITE;
    const EXAMPLE: (&str, &str) = ("Clear pihole's notes", r#"{"name": "pihole", "confirm": true}"#);
}

#[derive(Serialize, JsonSchema)]
struct Notes {
    vmid: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    node: String,
    /// What it looks like; `none` where there are no notes.
    format: &'static str,
    notes: String,
    /// Lines of which something was masked.
    #[serde(skip_serializing_if = "is_zero")]
    masked: usize,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_zero(n: &usize) -> bool {
    *n == 0
}

impl Query for VmRead {
    type Output = Notes;
    async fn query(&self, pve: &Reader<'_>) -> Result<Notes> {
        self.0.read(pve, Want::Vm).await
    }
}

impl Query for LxcRead {
    type Output = Notes;
    async fn query(&self, pve: &Reader<'_>) -> Result<Notes> {
        self.0.read(pve, Want::Container).await
    }
}

impl Action for VmUpdate {
    const EFFECT: Effect = Effect::Write;
    const CONTROL: Control = Control::instant().confirmed();
    const LOOKS_AFTER: bool = true;
    async fn plan(&self, pve: &Reader<'_>) -> Result<Plan> {
        self.0.plan(pve, Want::Vm).await
    }
    async fn result(&self, _: &Reader<'_>, plan: &Plan, _: Done<'_>) -> Result<Option<Value>> {
        Ok(old_notes(plan, self.0.backup))
    }
}

impl Action for LxcUpdate {
    const EFFECT: Effect = Effect::Write;
    const CONTROL: Control = Control::instant().confirmed();
    const LOOKS_AFTER: bool = true;
    async fn plan(&self, pve: &Reader<'_>) -> Result<Plan> {
        self.0.plan(pve, Want::Container).await
    }
    async fn result(&self, _: &Reader<'_>, plan: &Plan, _: Done<'_>) -> Result<Option<Value>> {
        Ok(old_notes(plan, self.0.backup))
    }
}

impl Action for VmRemove {
    const EFFECT: Effect = Effect::Destroy;
    const CONTROL: Control = Control::instant().confirmed();
    const LOOKS_AFTER: bool = true;
    async fn plan(&self, pve: &Reader<'_>) -> Result<Plan> {
        self.0.plan(pve, Want::Vm).await
    }
    async fn result(&self, _: &Reader<'_>, plan: &Plan, _: Done<'_>) -> Result<Option<Value>> {
        Ok(old_notes(plan, self.0.backup))
    }
}

impl Action for LxcRemove {
    const EFFECT: Effect = Effect::Destroy;
    const CONTROL: Control = Control::instant().confirmed();
    const LOOKS_AFTER: bool = true;
    async fn plan(&self, pve: &Reader<'_>) -> Result<Plan> {
        self.0.plan(pve, Want::Container).await
    }
    async fn result(&self, _: &Reader<'_>, plan: &Plan, _: Done<'_>) -> Result<Option<Value>> {
        Ok(old_notes(plan, self.0.backup))
    }
}

/// The guest that is meant: of the tool's kind if there is one, else of the other, whose notes are the same thing.
async fn find(pve: &Reader<'_>, guest: &GuestRef, want: Want) -> Result<Guest> {
    match pve.guest(guest, want).await {
        Err(e) if matches!(e.kind(), Kind::BadArgument | Kind::NotFound) => {
            pve.guest(guest, Want::Any).await.map_err(|_| e)
        }
        found => found,
    }
}

impl Read {
    async fn read(&self, pve: &Reader<'_>, want: Want) -> Result<Notes> {
        let guest = find(pve, &self.guest, want).await?;
        let config = pve.config(&guest).await?;
        let stored = config.get("description").unwrap_or_default();
        let stored = stored.trim_end();
        let shown = if self.format == Format::Plain { markup::plain(stored) } else { stored.to_owned() };
        let (notes, masked) = if self.parse_secrets { markup::masked(&shown) } else { (shown, 0) };
        let format = markup::looks_like(stored);
        Ok(Notes { vmid: guest.vmid, name: guest.name, node: guest.node, format, notes, masked })
    }
}

impl Update {
    async fn plan(&self, pve: &Reader<'_>, want: Want) -> Result<Plan> {
        let guest = find(pve, &self.guest, want).await?;
        let config = pve.config(&guest).await?;
        let old = config.get("description").unwrap_or_default();
        let content = markup::stored(&self.content, self.format);
        let new = match (self.mode, old.trim_end()) {
            (Mode::Append, old) if !old.is_empty() => format!("{old}\n{content}"),
            _ => content,
        };
        if new.trim().is_empty() {
            return Err(Error::bad_argument("content: expected some text").hint("to clear notes, use the remove tool"));
        }
        let length = new.chars().count();
        if self.validate && length > LONGEST {
            let words = format!("content: notes may have {LONGEST} characters, these would have {length}");
            return Err(Error::bad_argument(words));
        }
        if self.validate
            && let Some(problem) = markup::problem(&self.content, self.format)
        {
            return Err(
                Error::bad_argument(format!("content: {problem}")).hint("validate: false writes it all the same")
            );
        }
        let verb = if self.mode == Mode::Append { "append to the notes of" } else { "write the notes of" };
        let plan = Edit::default().set("description", new).step(Plan::on(&guest, verb), &guest, &config);
        Ok(shown(plan, self.backup))
    }
}

impl Remove {
    async fn plan(&self, pve: &Reader<'_>, want: Want) -> Result<Plan> {
        let guest = find(pve, &self.guest, want).await?;
        let config = pve.config(&guest).await?;
        let plan = Plan::on(&guest, "remove the notes of")
            .warn_if(config.get("description").is_none(), || format!("{guest} has no notes"));
        Ok(shown(Edit::default().delete("description").step(plan, &guest, &config), self.backup))
    }
}

/// Old notes are shown whole only to who wants them back.
fn shown(mut plan: Plan, backup: bool) -> Plan {
    if backup {
        return plan;
    }
    for change in &mut plan.changes {
        change.old = change.old.take().map(|old| markup::masked(&old).0);
    }
    if plan.changes.iter().any(|change| change.old.is_some()) {
        plan = plan.no_undo("the old notes are not kept: backup is false");
    }
    plan
}

fn old_notes(plan: &Plan, backup: bool) -> Option<Value> {
    let change = plan.changes.iter().find(|change| backup && change.key == "description")?;
    Some(json!({"backup_notes": change.old.as_ref()?}))
}
