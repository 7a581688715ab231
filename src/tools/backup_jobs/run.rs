//! Running a backup job now. Proxmox has no call for it: the job's fields are sent to the backup of each node.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::property_string;
use crate::{pve::encode, tool::*};

/// Run a backup job now, on every node that has guests of it.
#[derive(Deserialize, JsonSchema)]
pub struct RunBackupJob {
    id: String,
}

impl Tool for RunBackupJob {
    const NAME: &str = "proxmox-run-backup-job";
    const TITLE: &str = "Run a backup job now";
    const API: &[&str] = &["GET /cluster/backup", "GET /cluster/backup/{id}", "POST /nodes/{node}/vzdump"];
    const EXAMPLE: (&str, &str) = ("Run the nightly backup now", r#"{"id": "backup-nightly", "confirm": true}"#);
}

/// What belongs to the job and not to a backup.
const OWN: &[&str] = &[
    "id",
    "type",
    "schedule",
    "starttime",
    "dow",
    "enabled",
    "comment",
    "next-run",
    "repeat-missed",
    "node",
    "all",
    "vmid",
    "pool",
    "digest",
];

/// A value as it is written: a list as several, an object as a property string.
fn written(value: &Value) -> Vec<String> {
    match value {
        Value::Null => Vec::new(),
        Value::Array(all) => all.iter().map(property_string).collect(),
        one => vec![property_string(one)],
    }
}

impl Action for RunBackupJob {
    const EFFECT: Effect = Effect::Write;
    const CONTROL: Control = Control { poll_interval: 5.0, ..Control::new(3600).confirmed() };
    async fn plan(&self, pve: &Reader<'_>) -> Result<Plan> {
        super::known(&super::jobs(pve).await?, &self.id)?;
        let job: Map<String, Value> = pve.get(format!("/cluster/backup/{}", encode(&self.id))).await?;
        let text = |key: &str| job.get(key).map(property_string).filter(|text| !text.is_empty());
        let guests = pve.resources().await?;
        let listed = |key: &str| -> Vec<u32> {
            let text = text(key).unwrap_or_default();
            text.split([',', ';', ' ']).filter_map(|vmid| vmid.parse().ok()).collect()
        };
        let (vmids, excluded, pool) = (listed("vmid"), listed("exclude"), text("pool"));
        let all = vmids.is_empty() && pool.is_none();
        let mut nodes: BTreeMap<&str, Vec<u32>> = BTreeMap::new();
        for guest in guests.iter() {
            let mine = match &pool {
                _ if excluded.contains(&guest.vmid) => false,
                Some(pool) => guest.pool.as_deref() == Some(pool),
                None => all || vmids.contains(&guest.vmid),
            };
            if mine && text("node").is_none_or(|node| *guest.node == node) {
                nodes.entry(&guest.node).or_default().push(guest.vmid);
            }
        }
        if nodes.is_empty() {
            return Err(Error::not_found(format!("backup job {} has no guests at present", self.id)));
        }
        let gone: Vec<String> = vmids.iter().filter(|vmid| guests.vmid(**vmid).is_none()).map(u32::to_string).collect();
        let count: usize = nodes.values().map(Vec::len).sum();
        let names: Vec<&str> = nodes.keys().copied().collect();
        let mut plan = Plan::new(format!("run backup job {}: {count} guests on {}", self.id, names.join(", ")))
            .about("id", self.id.as_str())
            .about("nodes", names.as_slice())
            .no_undo("it makes several backups: proxmox-backup-delete takes them away one by one")
            .warn_if(!gone.is_empty(), || format!("of its guests these are no more: {}", gone.join(", ")))
            .warn_if(text("mode").as_deref() == Some("stop"), || {
                "mode stop: running guests are shut down for their backup and started again".to_owned()
            });
        for (node, vmids) in nodes {
            let mut request = Request::post(format!("/nodes/{}/vzdump", encode(node)));
            request = match &pool {
                Some(pool) => request.param("pool", pool),
                None if all => request.param("all", 1),
                None => request.param("vmid", vmids.iter().map(u32::to_string).collect::<Vec<_>>().join(",")),
            };
            for (key, value) in job.iter().filter(|(key, _)| !OWN.contains(&key.as_str())) {
                for value in written(value) {
                    request = request.param(key.clone(), value);
                }
            }
            plan = plan.step(request);
        }
        Ok(plan.side_by_side())
    }
}
