//! Snapshots by a policy. Proxmox has no snapshot schedules, so this applies one, once.

use serde_json::json;

use super::{super::time, path, rows};
use crate::{pve::encode, tool::*};

/// Apply a snapshot policy once: take a snapshot, delete that policy's oldest. Call it on your schedule.
#[derive(Deserialize, JsonSchema)]
pub struct SnapshotPolicy {
    #[schemars(range(min = 100, max = 999_999_999))]
    vmid: u32,
    /// hourly, daily, weekly, monthly, or daily:5 (keep 5).
    policy: String,
    #[serde(default = "yes")]
    auto_cleanup: bool,
    compression: Option<bool>,
    node: Option<String>,
}

fn yes() -> bool {
    true
}

impl Tool for SnapshotPolicy {
    const NAME: &str = "proxmox-snapshot-policy";
    const TITLE: &str = "Apply a snapshot policy";
    const API: &[&str] = &[
        "GET /nodes/{node}/time",
        "POST /nodes/{node}/{type}/{vmid}/snapshot",
        "DELETE /nodes/{node}/{type}/{vmid}/snapshot/{snapname}",
    ];
    const EXAMPLE: (&str, &str) = (
        "Take today's snapshot of postgres-01 and keep the last five",
        r#"{"vmid": 102, "policy": "daily:5", "confirm": true}"#,
    );
}

const KNOWN: [(&str, usize); 4] = [("hourly", 24), ("daily", 7), ("weekly", 4), ("monthly", 12)];

impl SnapshotPolicy {
    /// The policy's name, and how many snapshots it keeps.
    fn read(&self) -> Result<(&'static str, usize)> {
        let (name, count) = match self.policy.split_once(':') {
            Some((name, count)) => (name, Some(count)),
            None => (self.policy.as_str(), None),
        };
        let known = KNOWN.iter().find(|(known, _)| *known == name.trim());
        let count = count.map(|count| count.trim().parse().ok().filter(|n| (1..=100).contains(n)));
        match (known, count) {
            (Some((name, usual)), None) => Ok((name, *usual)),
            (Some((name, _)), Some(Some(count))) => Ok((name, count)),
            _ => Err(Error::bad_argument(format!(
                "policy: expected hourly, daily, weekly or monthly, with or without a count from 1 to 100 (daily:5), got '{}'",
                self.policy
            ))),
        }
    }
}

/// The hour, and a number where it is not the hour's first: so a plan that was looked at is the plan that is carried out
/// a little later.
fn new_name(stem: &str, now: u64, is_taken: impl Fn(&str) -> bool) -> String {
    let hour = format!("{stem}{}", time::stamp(now / 3600 * 3600));
    if !is_taken(&hour) {
        return hour;
    }
    (2..).map(|n| format!("{hour}-{n}")).find(|name| !is_taken(name)).unwrap_or(hour)
}

/// `GET /nodes/{node}/time`
#[derive(Deserialize)]
struct Clock {
    /// Unix time.
    time: u64,
}

impl Action for SnapshotPolicy {
    const EFFECT: Effect = Effect::Destroy;
    const CONTROL: Control = Control::new(900).confirmed().waiting();
    async fn plan(&self, pve: &Reader<'_>) -> Result<Plan> {
        let (policy, keep) = self.read()?;
        let guest = GuestRef { vmid: Some(self.vmid), name: None, node: self.node.clone() };
        let guest = pve.guest(&guest, Want::Any).await?;
        let (rows, _) = rows(pve, &guest).await?;
        // The cluster's clock, as in the times of its snapshots.
        let clock: Clock = pve.get(format!("/nodes/{}/time", encode(&guest.node))).await?;
        let stem = format!("auto-{policy}-");
        let name = new_name(&stem, clock.time, |name| rows.iter().any(|row| row.name == name));
        let description = format!("{policy} snapshot, {keep} are kept");
        let mut plan = Plan::on(&guest, &format!("apply the {policy} policy (keep {keep}): take snapshot {name} of"))
            .about("snapname", name.as_str())
            .step(Request::post(guest.path("snapshot")).param("snapname", &name).param("description", description))
            .check(
                !guest.template,
                || format!("{guest} is no template"),
                || format!("{guest} is a template: Proxmox takes no snapshots of templates"),
            )
            .warn_if(self.compression.is_some(), || {
                "compression: Proxmox does not compress snapshots; that is the storage's matter".to_owned()
            });
        let undo = Undo::call("proxmox-delete-snapshot", json!({"vmid": guest.vmid, "snapname": name}));
        if !self.auto_cleanup {
            return Ok(plan.undone(undo));
        }
        // The new one counts.
        let mine: Vec<&str> =
            rows.iter().filter(|row| row.name.starts_with(&stem)).map(|row| row.name.as_str()).collect();
        let old = &mine[..(mine.len() + 1).saturating_sub(keep)];
        for name in old {
            plan = plan.step(Request::delete(path(&guest, name)));
        }
        if !old.is_empty() {
            plan.summary = format!("{}; delete {}", plan.summary, old.join(", "));
            plan = plan.about("deleted", old);
        }
        Ok(plan.undone(undo.note_if(!old.is_empty(), || format!("{} is gone for good", old.join(", ")))))
    }
}
