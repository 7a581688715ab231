//! Replication: copies of a guest's ZFS volumes on another node, brought up to date on a schedule.

mod setup;

use futures::future::join_all;
use serde_json::json;

use super::time::iso;
use crate::{
    pve::{Resources, encode},
    tool::*,
};

pub const TOOLS: &[Entry] = &[
    Entry::list::<ListReplication>(),
    Entry::action::<setup::SetupReplication>(),
    Entry::action::<ReplicateNow>(),
    Entry::action::<DeleteReplication>(),
];

/// A row of `GET /cluster/replication`.
#[derive(Deserialize)]
struct Job {
    /// `100-0`: the guest and a number.
    id: String,
    guest: u32,
    target: String,
    source: Option<String>,
    schedule: Option<String>,
    comment: Option<String>,
    /// MB/s.
    rate: Option<f64>,
    /// Present where it is on its way out: `local` or `full`.
    remove_job: Option<String>,
    #[serde(default)]
    disable: bool,
}

impl Job {
    /// The node that sends: where the guest is.
    fn source<'a>(&'a self, guests: &'a Resources) -> Option<&'a str> {
        guests.vmid(self.guest).map(|row| row.node.as_ref()).or(self.source.as_deref())
    }
}

async fn jobs(pve: &Reader<'_>) -> Result<Vec<Job>> {
    pve.get("/cluster/replication").await
}

/// The jobs that are meant: the one of this id, or all of a guest.
async fn chosen(pve: &Reader<'_>, id: Option<&str>, vmid: Option<u32>, name: Option<&str>) -> Result<Vec<Job>> {
    let all = jobs(pve).await?;
    let known = || {
        let ids: Vec<&str> = all.iter().map(|job| job.id.as_str()).collect();
        if ids.is_empty() { "there is none".to_owned() } else { format!("known: {}", ids.join(", ")) }
    };
    if let Some(id) = id {
        if !all.iter().any(|job| job.id == id) {
            return Err(Error::not_found(format!("id: no replication job '{id}'")).hint(known()));
        }
        return Ok(all.into_iter().filter(|job| job.id == id).collect());
    }
    if vmid.is_none() && name.is_none() {
        return Err(Error::bad_argument("give id, vmid or name: which replication is meant?").hint(known()));
    }
    let guest = GuestRef { vmid, name: name.map(str::to_owned), node: None };
    let guest = pve.guest(&guest, Want::Any).await?;
    if !all.iter().any(|job| job.guest == guest.vmid) {
        return Err(Error::not_found(format!("{guest} is not replicated")).hint(known()));
    }
    Ok(all.into_iter().filter(|job| job.guest == guest.vmid).collect())
}

/// List replication jobs: guest, source, target, schedule, and how the last run ended.
#[derive(Deserialize, JsonSchema)]
struct ListReplication {}

impl Tool for ListReplication {
    const NAME: &str = "proxmox-list-replication";
    const TITLE: &str = "List replication";
    const API: &[&str] = &["GET /cluster/replication", "GET /nodes/{node}/replication"];
    const EXAMPLE: (&str, &str) = ("Is replication up to date?", "{}");
}

/// A row of `GET /nodes/{node}/replication`: how the jobs of that node's guests are. Disabled ones are left out there.
#[derive(Deserialize)]
struct Status {
    id: String,
    last_sync: Option<u64>,
    next_sync: Option<u64>,
    duration: Option<f64>,
    error: Option<String>,
    #[serde(default)]
    fail_count: u32,
    pid: Option<u32>,
}

#[derive(Serialize, JsonSchema)]
struct Replication {
    total: usize,
    jobs: Vec<Shown>,
    /// Nodes that did not tell how their jobs are.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    unreadable: Vec<String>,
}

#[derive(Serialize, JsonSchema)]
struct Shown {
    id: String,
    vmid: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    source: Option<String>,
    target: String,
    schedule: String,
    /// ok, pending (not yet run), running, failing, disabled, being removed, or unknown.
    state: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_sync: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_sync: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    duration_s: Option<f64>,
    /// Failures since it last went well.
    #[serde(skip_serializing_if = "Option::is_none")]
    failures: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rate_mb_s: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    comment: Option<String>,
}

impl Query for ListReplication {
    type Output = Replication;
    async fn query(&self, pve: &Reader<'_>) -> Result<Replication> {
        let jobs = jobs(pve).await?;
        let guests = pve.resources().await?;
        let mut nodes: Vec<&str> = jobs.iter().filter_map(|job| job.source(&guests)).collect();
        nodes.sort_unstable();
        nodes.dedup();
        let answers = join_all(nodes.iter().map(|node| status(pve, node))).await;
        let (mut known, mut unreadable) = (Vec::new(), Vec::new());
        for (node, answer) in nodes.iter().zip(answers) {
            match answer {
                Ok(rows) => known.extend(rows),
                Err(e) => unreadable.push(format!("{node}: {e}")),
            }
        }
        let jobs: Vec<Shown> = jobs.iter().map(|job| shown(job, &guests, &known)).collect();
        Ok(Replication { total: jobs.len(), jobs, unreadable })
    }
}

async fn status(pve: &Reader<'_>, node: &str) -> Result<Vec<Status>> {
    pve.get(format!("/nodes/{}/replication", encode(node))).await
}

fn shown(job: &Job, guests: &Resources, known: &[Status]) -> Shown {
    let status = known.iter().find(|status| status.id == job.id);
    let state = match status {
        _ if job.remove_job.is_some() => "being removed",
        _ if job.disable => "disabled",
        None => "unknown",
        Some(status) if status.pid.is_some() => "running",
        Some(status) if status.fail_count > 0 => "failing",
        Some(status) if status.last_sync.unwrap_or_default() == 0 => "pending",
        Some(_) => "ok",
    };
    let time = |of: fn(&Status) -> Option<u64>| status.and_then(of).filter(|time| *time > 1).map(iso);
    Shown {
        id: job.id.clone(),
        vmid: job.guest,
        name: guests.vmid(job.guest).and_then(|row| row.name.as_deref()).map(str::to_owned),
        source: job.source(guests).map(str::to_owned),
        target: job.target.clone(),
        schedule: job.schedule.clone().unwrap_or_else(|| "*/15".to_owned()),
        state,
        last_sync: time(|status| status.last_sync),
        next_sync: time(|status| status.next_sync),
        duration_s: status.and_then(|status| status.duration),
        failures: status.map(|status| status.fail_count).filter(|count| *count > 0),
        error: status.and_then(|status| status.error.clone()),
        rate_mb_s: job.rate,
        comment: job.comment.clone(),
    }
}

/// Replicate now: one job by id, or all jobs of a guest.
#[derive(Deserialize, JsonSchema)]
struct ReplicateNow {
    id: Option<String>,
    #[schemars(range(min = 100, max = 999_999_999))]
    vmid: Option<u32>,
    name: Option<String>,
}

impl Tool for ReplicateNow {
    const NAME: &str = "proxmox-replicate-now";
    const TITLE: &str = "Replicate now";
    const API: &[&str] = &["GET /cluster/replication", "POST /nodes/{node}/replication/{id}/schedule_now"];
    const EXAMPLE: (&str, &str) = ("Replicate the mail server now", r#"{"name": "mail"}"#);
}

impl Action for ReplicateNow {
    const EFFECT: Effect = Effect::Write;
    const CONTROL: Control = Control::instant();
    async fn plan(&self, pve: &Reader<'_>) -> Result<Plan> {
        let jobs = chosen(pve, self.id.as_deref(), self.vmid, self.name.as_deref()).await?;
        let guests = pve.resources().await?;
        let ids: Vec<&str> = jobs.iter().map(|job| job.id.as_str()).collect();
        let mut plan =
            Plan::new(format!("replicate {} as soon as possible", ids.join(", "))).about("jobs", ids.as_slice());
        plan = plan.no_undo("what was copied stays copied; the guest itself is as it was");
        for job in &jobs {
            let Some(source) = job.source(&guests) else {
                return Err(Error::not_found(format!("guest {} of job {} is not visible", job.guest, job.id)));
            };
            plan = plan
                .step(Request::post(format!("/nodes/{}/replication/{}/schedule_now", encode(source), encode(&job.id))))
                .warn_if(job.disable, || format!("{} is disabled: Proxmox does not run it", job.id));
        }
        plan.warnings.push("it begins within a minute; proxmox-list-replication shows how it went".to_owned());
        Ok(plan)
    }
}

/// Delete a replication job; the copies on its target are deleted too, unless keep is set.
#[derive(Deserialize, JsonSchema)]
struct DeleteReplication {
    id: Option<String>,
    #[schemars(range(min = 100, max = 999_999_999))]
    vmid: Option<u32>,
    name: Option<String>,
    #[serde(default)]
    keep: bool,
    /// Clean nothing up.
    #[serde(default)]
    force: bool,
}

impl Tool for DeleteReplication {
    const NAME: &str = "proxmox-delete-replication";
    const TITLE: &str = "Delete replication";
    const API: &[&str] = &["GET /cluster/replication", "DELETE /cluster/replication/{id}"];
    const EXAMPLE: (&str, &str) = ("Stop replicating the mail server", r#"{"name": "mail", "confirm": true}"#);
}

impl DeleteReplication {
    /// The call that makes the job again.
    fn again(&self, job: &Job) -> Undo {
        if job.disable {
            return Undo::never("the job was disabled, and a new one would run");
        }
        let mut arguments = json!({"vmid": job.guest, "target_node": job.target});
        if let Some(schedule) = &job.schedule {
            arguments["schedule"] = schedule.as_str().into();
        }
        let mut lost = Vec::new();
        lost.extend(job.rate.map(|_| "its rate"));
        lost.extend(job.comment.as_ref().map(|_| "its comment"));
        let kept = self.keep || self.force;
        lost.extend((!kept).then_some("the copies, which are made anew"));
        let when = "possible once Proxmox has removed the old job";
        let undo = Undo::call("proxmox-setup-replication", arguments);
        undo.note(if lost.is_empty() { when.to_owned() } else { format!("{when}; not {}", lost.join(", ")) })
    }
}

impl Action for DeleteReplication {
    const EFFECT: Effect = Effect::Destroy;
    const CONTROL: Control = Control::instant().confirmed();
    async fn plan(&self, pve: &Reader<'_>) -> Result<Plan> {
        if self.keep && self.force {
            return Err(Error::bad_argument("keep: goes not with force, which cleans nothing up anyway"));
        }
        let jobs = chosen(pve, self.id.as_deref(), self.vmid, self.name.as_deref()).await?;
        if let [_, _, ..] = jobs.as_slice() {
            let ids: Vec<&str> = jobs.iter().map(|job| job.id.as_str()).collect();
            return Err(Error::bad_argument("id: missing; the guest has several replication jobs")
                .hint(format!("one of {}", ids.join(", "))));
        }
        let mut plan = Plan::new(String::new());
        for job in &jobs {
            let fate = match (self.keep, self.force) {
                (true, _) => format!("the copies on {} stay", job.target),
                (_, true) => format!("whatever is on {} stays there", job.target),
                _ => format!("the copies on {} are deleted", job.target),
            };
            let request = Request::delete(format!("/cluster/replication/{}", encode(&job.id)))
                .flag("keep", self.keep)
                .flag("force", self.force);
            plan.summary = format!("delete replication job {} of guest {}: {fate}", job.id, job.guest);
            plan.undo = Some(self.again(job));
            plan =
                plan.about("id", job.id.as_str()).about("vmid", job.guest).step(request).warn_if(!self.force, || {
                    "Proxmox removes it in the background: it is listed until then".to_owned()
                });
        }
        Ok(plan)
    }
}
