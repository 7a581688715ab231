//! The opposite of provisioning: guests taken out of high availability, stopped and deleted with all that names them.

use serde_json::{Map, Value};

use crate::{
    lanes::{At, Lane, Lanes, Step},
    pve::{GuestKind, encode},
    tool::*,
    tools::{self, ha},
};

/// Delete guests whole, even if they run: out of HA, stopped, deleted with disks, snapshots, jobs. Cannot be undone.
#[derive(Deserialize, JsonSchema)]
pub struct Deprovision {
    #[schemars(length(min = 1, max = 100))]
    vmids: Vec<u32>,
    /// Machines at a time.
    #[serde(default = "four")]
    #[schemars(range(min = 1, max = 32))]
    parallel: u8,
}

fn four() -> u8 {
    4
}

pub const NAME: &str = "proxmox-deprovision";

impl Tool for Deprovision {
    const NAME: &str = NAME;
    const TITLE: &str = "Delete guests whole";
    const API: &[&str] = &[
        "DELETE /cluster/ha/resources/{sid}",
        "POST /nodes/{node}/qemu/{vmid}/status/stop",
        "DELETE /nodes/{node}/qemu/{vmid}",
        "DELETE /nodes/{node}/lxc/{vmid}",
    ];
    const EXAMPLE: (&str, &str) =
        ("We need scratch-01 and devbox (107, 111) no more", r#"{"vmids": [107, 111], "confirm": true}"#);
}

impl Action for Deprovision {
    const EFFECT: Effect = Effect::Destroy;
    const CONTROL: Control = Control::new(1800).confirmed().waiting();

    async fn plan(&self, pve: &Reader<'_>) -> Result<Plan> {
        let mut vmids = self.vmids.clone();
        vmids.sort_unstable();
        vmids.dedup();
        let mut plan =
            Plan::new("").no_undo("their disks are destroyed; proxmox-restore-vm brings back what has a backup");
        let (mut lanes, mut names) = (Vec::new(), Vec::new());
        for vmid in vmids {
            let guest = pve.guest(&GuestRef::vmid(vmid), Want::Any).await?;
            lanes.push(lane(pve, &mut plan, &guest).await?);
            names.push(guest.to_string());
        }
        plan.summary = format!("delete {}", names.join(", "));
        Ok(plan.lanes(Lanes { parallel: self.parallel.into(), ..Lanes::new("guests", lanes) }))
    }
}

/// As the tool for one guest does it; out of HA first, which would start it again.
async fn lane(pve: &Reader<'_>, plan: &mut Plan, guest: &Guest) -> Result<Lane> {
    let tool = match guest.kind {
        GuestKind::Qemu => "proxmox-delete-vm",
        GuestKind::Lxc => "proxmox-delete-lxc",
    };
    let entry =
        tools::all().find(|entry| entry.name == tool).ok_or_else(|| Error::internal(format!("no tool {tool}")))?;
    let mut arguments = Map::new();
    arguments.insert("vmid".to_owned(), guest.vmid.into());
    arguments.insert("force".to_owned(), Value::Bool(true));
    let one = entry.plan(pve, arguments).await?;
    plan.problems.extend(one.problems);
    plan.checked.extend(one.checked);
    plan.warnings.extend(one.warnings.into_iter().map(|words| format!("{guest}: {words}")));
    let called = guest.name.clone().unwrap_or_else(|| guest.vmid.to_string());
    let mut lane = Lane::of(called.as_str(), &At::from(guest));
    if ha::is_managed(pve, guest).await? {
        let request = Request::delete(format!("/cluster/ha/resources/{}", encode(&ha::sid(guest))));
        lane = lane.step(Step::new(format!("taking {called} out of high availability"), request));
    }
    for request in one.requests {
        let doing = if request.effect() == Effect::Destroy { "deleting" } else { "stopping" };
        lane = lane.step(Step::new(format!("{doing} {called}"), request));
    }
    Ok(lane)
}
