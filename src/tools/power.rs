//! Power: start, stop, shut down, reboot, reset; pause, hibernate and resume. One request each.

use serde_json::json;

use crate::{pve::GuestKind, tool::*};

pub const TOOLS: &[Entry] = &[
    Entry::action::<StartVm>(),
    Entry::action::<ShutdownVm>(),
    Entry::action::<StopVm>(),
    Entry::action::<RebootVm>(),
    Entry::action::<ResetVm>(),
    Entry::action::<SuspendVm>(),
    Entry::action::<HibernateVm>(),
    Entry::action::<ResumeVm>(),
    Entry::action::<StartLxc>(),
    Entry::action::<ShutdownLxc>(),
    Entry::action::<StopLxc>(),
    Entry::action::<RebootLxc>(),
];

/// A POST to one of the guest's `status/…` addresses, and the state it is for.
struct Deed {
    /// The last part of the address.
    action: &'static str,
    verb: &'static str,
    /// The state it makes sense in.
    from: &'static str,
    /// What the guest is afterwards, where HA may have a hand in it.
    to: Option<&'static str>,
}

const START: Deed = Deed { action: "start", verb: "start", from: "stopped", to: Some("running") };
const SHUTDOWN: Deed = Deed { action: "shutdown", verb: "shut down", from: "running", to: Some("stopped") };
const STOP: Deed = Deed { action: "stop", verb: "power off", from: "running", to: Some("stopped") };
const REBOOT: Deed = Deed { action: "reboot", verb: "reboot", from: "running", to: None };
const RESET: Deed = Deed { action: "reset", verb: "reset", from: "running", to: None };
const SUSPEND: Deed = Deed { action: "suspend", verb: "pause", from: "running", to: None };
const HIBERNATE: Deed = Deed { verb: "hibernate", ..SUSPEND };
const RESUME: Deed = Deed { action: "resume", verb: "resume", from: "running", to: None };

/// Proxmox's word for a VM whose memory is on disk.
const HIBERNATED: &str = "suspended";

impl Deed {
    async fn plan(
        &self,
        pve: &Reader<'_>,
        guest: &GuestRef,
        want: Want,
        with: impl FnOnce(Request) -> Request + Send,
    ) -> Result<Plan> {
        let guest = pve.guest(guest, want).await?;
        let request = with(Request::post(guest.path(format!("status/{}", self.action))));
        let has = |key: &str| request.params.iter().any(|(k, _)| k == key);
        let overrules = has("overrule-shutdown");
        let plan = Plan::on(&guest, self.verb);
        let plan = match guest.is_ha_managed() {
            true if overrules => plan.check(false, String::new, || {
                format!("{guest} is managed by HA, for which Proxmox does not overrule a shutdown: leave hard out")
            }),
            true if has("todisk") => plan.check(false, String::new, || {
                format!("{guest} is managed by HA: Proxmox does not suspend such VMs to disk")
            }),
            _ => plan,
        };
        let hibernated = self.action == "resume" && guest.lock.as_deref() == Some(HIBERNATED);
        let mut plan = plan
            .step(request)
            .undone(self.undo(&guest, self.is_paused(pve, &guest).await))
            .warn_if(guest.status != self.from && !hibernated, || {
                format!("{guest} was {} when last seen, not {}", guest.status, self.from)
            })
            .warn_if(guest.template && self.action == "start", || {
                format!("{guest} is a template: Proxmox does not start templates")
            });
        if let Some(state) = self.to {
            plan = plan.becomes(&guest, state);
        }
        Ok(plan)
    }

    /// Whether a VM stands still already. Lists do not tell: asked only where it decides how this is taken back.
    async fn is_paused(&self, pve: &Reader<'_>, guest: &Guest) -> Option<bool> {
        #[derive(Deserialize)]
        struct Current {
            qmpstatus: Option<String>,
        }
        if !matches!(self.verb, "pause" | "resume") || !guest.is_running() {
            return None;
        }
        let current: Current = pve.request(&guest.current()).await.ok()?;
        current.qmpstatus.map(|status| status == "paused")
    }

    /// Back to the state before. A guest that was started is shut down cleanly: it may have begun to write.
    fn undo(&self, guest: &Guest, paused: Option<bool>) -> Undo {
        let vm = guest.kind == GuestKind::Qemu;
        let call = |tool| Undo::call(tool, json!({"vmid": guest.vmid}));
        let start = || call(if vm { "proxmox-start-vm" } else { "proxmox-start-lxc" });
        let hibernated = guest.lock.as_deref() == Some(HIBERNATED);
        let other = matches!(guest.status.as_str(), "running" | "stopped") && guest.status != self.from;
        match self.verb {
            "reboot" | "reset" => Undo::never(format!("a {} cannot be taken back", self.verb)),
            "start" | "resume" if hibernated => call("proxmox-hibernate-vm"),
            _ if other => Undo::never(format!("nothing changes: it was {}", guest.status)),
            "start" if vm => call("proxmox-shutdown-vm").note("without a guest agent or ACPI in it, it stays on"),
            "start" => call("proxmox-shutdown-lxc"),
            "shut down" => start(),
            "power off" => start().note("what it had not written to disk is lost"),
            "pause" if paused == Some(true) => Undo::never("nothing changes: it was paused"),
            "resume" if paused == Some(false) => Undo::never("nothing changes: it was not paused"),
            "resume" => call("proxmox-suspend-vm"),
            _ => call("proxmox-resume-vm"),
        }
    }
}

/// How long a guest has to shut down.
#[derive(Deserialize, JsonSchema)]
struct Grace {
    /// Seconds the guest has; default 60.
    #[schemars(range(min = 0))]
    timeout: Option<u32>,
    /// Then power off.
    #[serde(default)]
    force: bool,
}

impl Grace {
    fn on(&self, request: Request) -> Request {
        request.maybe("timeout", self.timeout).flag("forceStop", self.force)
    }
}

/// Start a VM, or resume it from hibernation.
#[derive(Deserialize, JsonSchema)]
struct StartVm {
    #[serde(flatten)]
    guest: GuestRef,
}

impl Tool for StartVm {
    const NAME: &str = "proxmox-start-vm";
    const TITLE: &str = "Start a VM";
    const API: &[&str] = &["POST /nodes/{node}/qemu/{vmid}/status/start"];
    const EXAMPLE: (&str, &str) = ("Start win11-test", r#"{"name": "win11-test", "wait": true}"#);
}

impl Action for StartVm {
    const EFFECT: Effect = Effect::Write;
    const CONTROL: Control = Control::new(300).polled();
    async fn plan(&self, pve: &Reader<'_>) -> Result<Plan> {
        START.plan(pve, &self.guest, Want::Vm, |request| request).await
    }
}

/// Shut a VM down cleanly. One that does not react in time stays on: the task fails.
#[derive(Deserialize, JsonSchema)]
struct ShutdownVm {
    #[serde(flatten)]
    guest: GuestRef,
    #[serde(flatten)]
    grace: Grace,
}

impl Tool for ShutdownVm {
    const NAME: &str = "proxmox-shutdown-vm";
    const TITLE: &str = "Shut down a VM";
    const API: &[&str] = &["POST /nodes/{node}/qemu/{vmid}/status/shutdown"];
    const EXAMPLE: (&str, &str) = ("Shut mail down cleanly", r#"{"name": "mail", "wait": true}"#);
}

impl Action for ShutdownVm {
    const EFFECT: Effect = Effect::Write;
    const CONTROL: Control = Control::new(300).wait_timeout().polled();
    async fn plan(&self, pve: &Reader<'_>) -> Result<Plan> {
        SHUTDOWN.plan(pve, &self.guest, Want::Vm, |request| self.grace.on(request)).await
    }
}

/// Power a VM off at once; what it has not written is lost. Prefer proxmox-shutdown-vm.
#[derive(Deserialize, JsonSchema)]
struct StopVm {
    #[serde(flatten)]
    guest: GuestRef,
    /// Also end a shutdown under way.
    #[serde(default)]
    hard: bool,
    #[schemars(range(min = 0))]
    timeout: Option<u32>,
}

impl Tool for StopVm {
    const NAME: &str = "proxmox-stop-vm";
    const TITLE: &str = "Power off a VM";
    const API: &[&str] = &["POST /nodes/{node}/qemu/{vmid}/status/stop"];
    const EXAMPLE: (&str, &str) = ("Switch grafana off now", r#"{"name": "grafana", "wait": true}"#);
}

impl Action for StopVm {
    const EFFECT: Effect = Effect::Write;
    const CONTROL: Control = Control::new(300).wait_timeout().polled();
    async fn plan(&self, pve: &Reader<'_>) -> Result<Plan> {
        let with = |r: Request| r.maybe("timeout", self.timeout).flag("overrule-shutdown", self.hard);
        STOP.plan(pve, &self.guest, Want::Vm, with).await
    }
}

/// Reboot a VM cleanly; pending configuration is applied.
#[derive(Deserialize, JsonSchema)]
struct RebootVm {
    #[serde(flatten)]
    guest: GuestRef,
}

impl Tool for RebootVm {
    const NAME: &str = "proxmox-reboot-vm";
    const TITLE: &str = "Reboot a VM";
    const API: &[&str] = &["POST /nodes/{node}/qemu/{vmid}/status/reboot"];
    const EXAMPLE: (&str, &str) = ("Reboot web-02", r#"{"name": "web-02"}"#);
}

impl Action for RebootVm {
    const EFFECT: Effect = Effect::Write;
    const CONTROL: Control = Control::new(300);
    async fn plan(&self, pve: &Reader<'_>) -> Result<Plan> {
        REBOOT.plan(pve, &self.guest, Want::Vm, |request| request).await
    }
}

/// Reset a VM that hangs, like its reset button: what it has not written is lost.
#[derive(Deserialize, JsonSchema)]
struct ResetVm {
    #[serde(flatten)]
    guest: GuestRef,
}

impl Tool for ResetVm {
    const NAME: &str = "proxmox-reset-vm";
    const TITLE: &str = "Reset a VM";
    const API: &[&str] = &["POST /nodes/{node}/qemu/{vmid}/status/reset"];
    const EXAMPLE: (&str, &str) =
        ("gitlab-runner hangs, reset it", r#"{"name": "gitlab-runner", "confirm": true, "wait": true}"#);
}

impl Action for ResetVm {
    const EFFECT: Effect = Effect::Write;
    const CONTROL: Control = Control::new(300).confirmed();
    async fn plan(&self, pve: &Reader<'_>) -> Result<Plan> {
        RESET.plan(pve, &self.guest, Want::Vm, |request| request).await
    }
}

/// Pause a VM: it stands still and keeps its memory, until proxmox-resume-vm.
#[derive(Deserialize, JsonSchema)]
struct SuspendVm {
    #[serde(flatten)]
    guest: GuestRef,
}

impl Tool for SuspendVm {
    const NAME: &str = "proxmox-suspend-vm";
    const TITLE: &str = "Pause a VM";
    const API: &[&str] = &["POST /nodes/{node}/qemu/{vmid}/status/suspend"];
    const EXAMPLE: (&str, &str) = ("Pause gitlab-runner for a while", r#"{"name": "gitlab-runner", "wait": true}"#);
}

impl Action for SuspendVm {
    const EFFECT: Effect = Effect::Write;
    const CONTROL: Control = Control::new(300);
    async fn plan(&self, pve: &Reader<'_>) -> Result<Plan> {
        SUSPEND.plan(pve, &self.guest, Want::Vm, |request| request).await
    }
}

/// Hibernate a VM to disk; the next start goes on from there.
#[derive(Deserialize, JsonSchema)]
struct HibernateVm {
    #[serde(flatten)]
    guest: GuestRef,
    /// For the memory.
    storage: Option<String>,
}

impl Tool for HibernateVm {
    const NAME: &str = "proxmox-hibernate-vm";
    const TITLE: &str = "Hibernate a VM";
    const API: &[&str] = &["POST /nodes/{node}/qemu/{vmid}/status/suspend"];
    const EXAMPLE: (&str, &str) = ("Hibernate grafana", r#"{"name": "grafana", "wait": true}"#);
}

impl Action for HibernateVm {
    const EFFECT: Effect = Effect::Write;
    const CONTROL: Control = Control::new(900);
    async fn plan(&self, pve: &Reader<'_>) -> Result<Plan> {
        let with = |r: Request| r.flag("todisk", true).maybe("statestorage", self.storage.as_deref());
        HIBERNATE.plan(pve, &self.guest, Want::Vm, with).await
    }
}

/// Resume a paused or hibernated VM.
#[derive(Deserialize, JsonSchema)]
struct ResumeVm {
    #[serde(flatten)]
    guest: GuestRef,
}

impl Tool for ResumeVm {
    const NAME: &str = "proxmox-resume-vm";
    const TITLE: &str = "Resume a VM";
    const API: &[&str] = &["POST /nodes/{node}/qemu/{vmid}/status/resume"];
    const EXAMPLE: (&str, &str) = ("Let gitlab-runner go on", r#"{"name": "gitlab-runner", "wait": true}"#);
}

impl Action for ResumeVm {
    const EFFECT: Effect = Effect::Write;
    const CONTROL: Control = Control::new(300);
    async fn plan(&self, pve: &Reader<'_>) -> Result<Plan> {
        RESUME.plan(pve, &self.guest, Want::Vm, |request| request).await
    }
}

/// Start a container, if it is not running.
#[derive(Deserialize, JsonSchema)]
struct StartLxc {
    #[serde(flatten)]
    guest: GuestRef,
}

impl Tool for StartLxc {
    const NAME: &str = "proxmox-start-lxc";
    const TITLE: &str = "Start a container";
    const API: &[&str] = &["POST /nodes/{node}/lxc/{vmid}/status/start"];
    const EXAMPLE: (&str, &str) = ("Start devbox", r#"{"name": "devbox", "wait": true}"#);
}

impl Action for StartLxc {
    const EFFECT: Effect = Effect::Write;
    const CONTROL: Control = Control::new(300).polled();
    async fn plan(&self, pve: &Reader<'_>) -> Result<Plan> {
        START.plan(pve, &self.guest, Want::Container, |request| request).await
    }
}

/// Shut a container down cleanly. One that does not react in time stays on: the task fails.
#[derive(Deserialize, JsonSchema)]
struct ShutdownLxc {
    #[serde(flatten)]
    guest: GuestRef,
    #[serde(flatten)]
    grace: Grace,
}

impl Tool for ShutdownLxc {
    const NAME: &str = "proxmox-shutdown-lxc";
    const TITLE: &str = "Shut down a container";
    const API: &[&str] = &["POST /nodes/{node}/lxc/{vmid}/status/shutdown"];
    const EXAMPLE: (&str, &str) = ("Shut redis-01 down", r#"{"name": "redis-01", "wait": true}"#);
}

impl Action for ShutdownLxc {
    const EFFECT: Effect = Effect::Write;
    const CONTROL: Control = Control::new(300).wait_timeout();
    async fn plan(&self, pve: &Reader<'_>) -> Result<Plan> {
        SHUTDOWN.plan(pve, &self.guest, Want::Container, |request| self.grace.on(request)).await
    }
}

/// Stop a container at once, killing its processes. Prefer proxmox-shutdown-lxc.
#[derive(Deserialize, JsonSchema)]
struct StopLxc {
    #[serde(flatten)]
    guest: GuestRef,
    /// Also end a shutdown under way.
    #[serde(default)]
    hard: bool,
}

impl Tool for StopLxc {
    const NAME: &str = "proxmox-stop-lxc";
    const TITLE: &str = "Stop a container";
    const API: &[&str] = &["POST /nodes/{node}/lxc/{vmid}/status/stop"];
    const EXAMPLE: (&str, &str) = ("Kill the pihole container", r#"{"name": "pihole", "wait": true}"#);
}

impl Action for StopLxc {
    const EFFECT: Effect = Effect::Write;
    /// Proxmox gives this stop no time of its own, so that `timeout` is the waiting's.
    const CONTROL: Control = Control::new(300).unlisted_timeout().polled();
    async fn plan(&self, pve: &Reader<'_>) -> Result<Plan> {
        STOP.plan(pve, &self.guest, Want::Container, |r| r.flag("overrule-shutdown", self.hard)).await
    }
}

/// Reboot a container cleanly; pending configuration is applied.
#[derive(Deserialize, JsonSchema)]
struct RebootLxc {
    #[serde(flatten)]
    guest: GuestRef,
}

impl Tool for RebootLxc {
    const NAME: &str = "proxmox-reboot-lxc";
    const TITLE: &str = "Reboot a container";
    const API: &[&str] = &["POST /nodes/{node}/lxc/{vmid}/status/reboot"];
    const EXAMPLE: (&str, &str) = ("Reboot nginx-proxy", r#"{"name": "nginx-proxy", "wait": true}"#);
}

impl Action for RebootLxc {
    const EFFECT: Effect = Effect::Write;
    const CONTROL: Control = Control::new(300);
    async fn plan(&self, pve: &Reader<'_>) -> Result<Plan> {
        REBOOT.plan(pve, &self.guest, Want::Container, |request| request).await
    }
}
