//! Power: start, stop, reboot, shut down.

use crate::{pve::Guest, tool::*};

pub const TOOLS: &[Entry] = &[
    Entry::action::<StartVm>(),
    Entry::action::<ShutdownVm>(),
    Entry::action::<StopVm>(),
    Entry::action::<RebootVm>(),
];

/// A POST to one of the guest's `status/…` addresses.
fn power(guest: &Guest, action: &str) -> Request {
    Request::post(guest.path(format!("status/{action}")))
}

fn warn_unless(plan: Plan, guest: &Guest, state: &str) -> Plan {
    plan.warn_if(guest.status != state, || format!("{guest} was {} when last seen, not {state}", guest.status))
}

/// Start a VM. Returns at once with the task's UPID unless wait is true.
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
    const CONTROL: Control = Control::new(300);
    async fn plan(&self, pve: &Reader<'_>) -> Result<Plan> {
        let guest = pve.guest(&self.guest, Want::Vm).await?;
        let plan = Plan::on(&guest, "start").step(power(&guest, "start")).becomes(&guest, "running");
        Ok(warn_unless(plan, &guest, "stopped")
            .warn_if(guest.template, || format!("{guest} is a template: Proxmox does not start templates")))
    }
}

/// Shut a VM down cleanly, through its guest agent or ACPI. A guest that does not react in time stays on: the task fails.
#[derive(Deserialize, JsonSchema)]
struct ShutdownVm {
    #[serde(flatten)]
    guest: GuestRef,
    /// Seconds the guest has to shut down; default Proxmox's (60).
    #[schemars(range(min = 0))]
    timeout: Option<u32>,
    /// Power off if it has not shut down by then.
    #[serde(default)]
    force: bool,
}

impl Tool for ShutdownVm {
    const NAME: &str = "proxmox-shutdown-vm";
    const TITLE: &str = "Shut down a VM";
    const API: &[&str] = &["POST /nodes/{node}/qemu/{vmid}/status/shutdown"];
    const EXAMPLE: (&str, &str) = ("Shut mail down cleanly", r#"{"name": "mail", "wait": true}"#);
}

impl Action for ShutdownVm {
    const EFFECT: Effect = Effect::Write;
    const CONTROL: Control = Control::new(300).wait_timeout();
    async fn plan(&self, pve: &Reader<'_>) -> Result<Plan> {
        let guest = pve.guest(&self.guest, Want::Vm).await?;
        let request = power(&guest, "shutdown").maybe("timeout", self.timeout).flag("forceStop", self.force);
        let plan = Plan::on(&guest, "shut down").step(request).becomes(&guest, "stopped");
        Ok(warn_unless(plan, &guest, "running"))
    }
}

/// Power a VM off at once, like pulling the plug: what it has not written is lost. Prefer proxmox-shutdown-vm.
#[derive(Deserialize, JsonSchema)]
struct StopVm {
    #[serde(flatten)]
    guest: GuestRef,
    /// Also end a shutdown that is under way.
    #[serde(default)]
    hard: bool,
    /// Seconds Proxmox gives the power-off.
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
    const CONTROL: Control = Control::new(300).wait_timeout();
    async fn plan(&self, pve: &Reader<'_>) -> Result<Plan> {
        let guest = pve.guest(&self.guest, Want::Vm).await?;
        let request = power(&guest, "stop").maybe("timeout", self.timeout).flag("overrule-shutdown", self.hard);
        let plan = Plan::on(&guest, "power off").step(request).becomes(&guest, "stopped");
        Ok(warn_unless(plan, &guest, "running"))
    }
}

/// Reboot a VM: a clean shutdown, then a start, which also applies pending configuration.
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
        let guest = pve.guest(&self.guest, Want::Vm).await?;
        let plan = Plan::on(&guest, "reboot").step(power(&guest, "reboot"));
        Ok(warn_unless(plan, &guest, "running"))
    }
}
