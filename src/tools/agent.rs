//! What the guest agent of a VM does: answers, runs commands, reads and writes files, sets passwords, trims.

mod bytes;
pub(crate) mod exec;
mod files;
mod info;

use serde_json::{Value, json};

use super::list::mib;
use crate::{pve::GuestKind, tool::*};

pub const TOOLS: &[Entry] = &[
    Entry::action::<exec::GuestExec>(),
    Entry::query::<exec::GuestExecStatus>(),
    Entry::query::<info::AgentInfo>(),
    Entry::action::<AgentPing>(),
    Entry::query::<files::FileRead>(),
    Entry::action::<files::FileWrite>(),
    Entry::action::<SetPassword>(),
    Entry::action::<Fstrim>(),
];

/// The VM that a call names.
async fn vm(pve: &Reader<'_>, wanted: &GuestRef) -> Result<Guest> {
    let guest = pve.guest(wanted, Want::Any).await?;
    match guest.kind {
        GuestKind::Qemu => Ok(guest),
        GuestKind::Lxc => {
            let hint = format!(
                "Proxmox's API runs no commands and reaches no files in containers: use ssh, or `pct exec {0} -- …`, \
                 `pct pull {0}`, `pct push {0}` on the node",
                guest.vmid
            );
            Err(Error::bad_argument(format!("{guest}: a container has no guest agent")).hint(hint))
        }
    }
}

/// A plan of one request to the agent.
fn plan(guest: &Guest, verb: &str, request: Request) -> Plan {
    Plan::on(guest, verb).step(request).warn_if(!guest.is_running(), || {
        format!("{guest} was {} when last seen: the agent answers only while the VM runs", guest.status)
    })
}

/// Ask whether a VM's guest agent answers.
#[derive(Deserialize, JsonSchema)]
struct AgentPing {
    #[serde(flatten)]
    guest: GuestRef,
}

impl Tool for AgentPing {
    const NAME: &str = "proxmox-agent-ping";
    const TITLE: &str = "Ping a guest agent";
    const API: &[&str] = &["POST /nodes/{node}/qemu/{vmid}/agent/ping"];
    const EXAMPLE: (&str, &str) = ("Does the agent of web-01 answer?", r#"{"name": "web-01"}"#);
}

impl Action for AgentPing {
    const EFFECT: Effect = Effect::Write;
    const CONTROL: Control = Control::instant();
    const LOOKS_AFTER: bool = true;
    async fn plan(&self, pve: &Reader<'_>) -> Result<Plan> {
        let guest = vm(pve, &self.guest).await?;
        Ok(plan(&guest, "ping the guest agent of", Request::post(guest.path("agent/ping"))).no_undo("nothing changes"))
    }
    async fn result(&self, _: &Reader<'_>, _: &Plan, _: Done<'_>) -> Result<Option<Value>> {
        Ok(Some(json!({"answered": true})))
    }
}

/// Set the password of an existing user in a VM, through its guest agent.
#[derive(Deserialize, JsonSchema)]
struct SetPassword {
    #[serde(flatten)]
    guest: GuestRef,
    #[schemars(length(min = 1))]
    username: String,
    #[schemars(length(min = 5, max = 1024))]
    password: String,
    #[serde(default)]
    crypted: bool,
}

impl Tool for SetPassword {
    const NAME: &str = "proxmox-agent-set-password";
    const TITLE: &str = "Set a user's password in a VM";
    const API: &[&str] = &["POST /nodes/{node}/qemu/{vmid}/agent/set-user-password"];
    const EXAMPLE: (&str, &str) = (
        "Give root on web-01 a new password",
        r#"{"name": "web-01", "username": "root", "password": "correct horse", "confirm": true}"#,
    );
}

impl Action for SetPassword {
    const EFFECT: Effect = Effect::Write;
    const CONTROL: Control = Control::instant().confirmed();
    async fn plan(&self, pve: &Reader<'_>) -> Result<Plan> {
        let guest = vm(pve, &self.guest).await?;
        let request = Request::post(guest.path("agent/set-user-password"))
            .param("username", &self.username)
            .secret("password", bytes::as_sent(&self.password))
            .flag("crypted", self.crypted);
        let plan = plan(&guest, &format!("set the password of user {} in", self.username), request);
        Ok(plan
            .no_undo("the former password is not known")
            .warn_if(self.crypted && !self.password.starts_with('$'), || {
                "crypted, but the password does not look like a hash ($6$…)".to_owned()
            }))
    }
}

/// Have a VM discard unused blocks (fstrim), so that thin storage gets the space back.
#[derive(Deserialize, JsonSchema)]
struct Fstrim {
    #[serde(flatten)]
    guest: GuestRef,
}

impl Tool for Fstrim {
    const NAME: &str = "proxmox-agent-fstrim";
    const TITLE: &str = "Trim a VM's file systems";
    const API: &[&str] = &["POST /nodes/{node}/qemu/{vmid}/agent/fstrim"];
    const EXAMPLE: (&str, &str) = ("Give unused space of web-01 back", r#"{"name": "web-01"}"#);
}

impl Action for Fstrim {
    const EFFECT: Effect = Effect::Write;
    const CONTROL: Control = Control::instant();
    const LOOKS_AFTER: bool = true;
    async fn plan(&self, pve: &Reader<'_>) -> Result<Plan> {
        let guest = vm(pve, &self.guest).await?;
        let plan = plan(&guest, "trim the file systems of", Request::post(guest.path("agent/fstrim")));
        Ok(plan.no_undo("what was trimmed held nothing that is used"))
    }

    /// The agent says for each file system how much it trimmed, or why it did not.
    async fn result(&self, _: &Reader<'_>, _: &Plan, done: Done<'_>) -> Result<Option<Value>> {
        let paths = done.answers.first().map(|answer| &answer["result"]["paths"]).and_then(Value::as_array);
        let row = |row: &Value| {
            let mut out = json!({"path": row["path"]});
            if let Some(bytes) = row["trimmed"].as_u64() {
                out["trimmed_mib"] = mib(bytes).into();
            }
            if let Some(error) = row["error"].as_str() {
                out["error"] = error.into();
            }
            out
        };
        Ok(paths.map(|paths| json!({"filesystems": paths.iter().map(row).collect::<Vec<_>>()})))
    }
}
