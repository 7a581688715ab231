//! Backup jobs: what the cluster backs up by itself, and running one of them now.

mod run;

use serde_json::{Map, Value, json};

use super::{
    backups::{Mode, keep_rules},
    schedule,
    time::iso,
};
use crate::{
    pve::{GuestKind, encode},
    tool::*,
};

pub const TOOLS: &[Entry] = &[
    Entry::list::<ListBackupJobs>(),
    Entry::action::<CreateBackupJob>(),
    Entry::action::<run::RunBackupJob>(),
    Entry::action::<DeleteBackupJob>(),
];

/// A row of `GET /cluster/backup`.
#[derive(Deserialize)]
struct Row {
    id: String,
    schedule: Option<String>,
    storage: Option<String>,
    enabled: Option<bool>,
    #[serde(default)]
    all: bool,
    vmid: Option<String>,
    pool: Option<String>,
    exclude: Option<String>,
    node: Option<String>,
    mode: Option<String>,
    compress: Option<String>,
    comment: Option<String>,
    #[serde(rename = "next-run")]
    next_run: Option<u64>,
    /// An object; text in older versions.
    #[serde(rename = "prune-backups")]
    prune: Option<Value>,
}

impl Row {
    /// Which guests it is for, in words.
    fn guests(&self) -> String {
        match (&self.vmid, &self.pool) {
            (Some(vmids), _) if !vmids.is_empty() => vmids.clone(),
            (_, Some(pool)) => format!("pool {pool}"),
            _ => match self.exclude.as_deref().filter(|exclude| !exclude.is_empty()) {
                Some(exclude) => format!("all but {exclude}"),
                None if self.all => "all".to_owned(),
                None => "none".to_owned(),
            },
        }
    }
}

fn row(job: Map<String, Value>) -> Result<Row> {
    let job = Value::Object(job).to_string();
    crate::pve::from_slice(job.as_bytes()).map_err(|e| Error::internal(format!("GET /cluster/backup: {e}")))
}

/// The call that makes a job again, as far as one can be made.
fn again(job: &Row, whole: &Map<String, Value>) -> Undo {
    /// What can be said of a new job, and what is of no weight.
    const MADE: &[&str] = &[
        "id",
        "type",
        "schedule",
        "storage",
        "vmid",
        "all",
        "pool",
        "exclude",
        "mode",
        "compress",
        "notes-template",
        "prune-backups",
        "comment",
        "enabled",
        "next-run",
        "digest",
    ];
    if job.enabled == Some(false) {
        return Undo::never("the job was disabled, and a new one would run");
    }
    let (Some(storage), Some(schedule)) = (&job.storage, &job.schedule) else {
        return Undo::never("the job has no storage or no schedule, which a new one needs");
    };
    let mut new = json!({"id": job.id, "storage": storage, "schedule": schedule});
    let exclude = numbers(job.exclude.as_deref());
    match (&job.pool, numbers(job.vmid.as_deref())) {
        (Some(pool), _) => new["pool"] = pool.as_str().into(),
        (None, vmids) if !vmids.is_empty() => new["vmids"] = vmids.into(),
        (None, _) => new["all"] = true.into(),
    }
    let mut lost: Vec<&str> = whole.keys().map(String::as_str).filter(|key| !MADE.contains(key)).collect();
    if job.pool.is_some() && !exclude.is_empty() {
        lost.push("exclude");
    } else if !exclude.is_empty() {
        new["exclude"] = exclude.into();
    }
    if job.compress.as_deref() != Some("zstd") {
        lost.push("compress");
    }
    if whole.get("notes-template").is_none_or(|notes| notes != "{{guestname}}") {
        lost.push("notes-template");
    }
    let others = [
        ("mode", job.mode.clone()),
        ("keep", job.prune.as_ref().map(property_string)),
        ("comment", job.comment.clone()),
    ];
    for (key, value) in others {
        if let Some(value) = value.filter(|value| !value.is_empty()) {
            new[key] = value.into();
        }
    }
    let undo = Undo::call(CreateBackupJob::NAME, new);
    if lost.is_empty() { undo } else { undo.note(format!("not the job's own {}", lost.join(", "))) }
}

async fn jobs(pve: &Reader<'_>) -> Result<Vec<Row>> {
    pve.get("/cluster/backup").await
}

fn known<'a>(jobs: &'a [Row], id: &str) -> Result<&'a Row> {
    jobs.iter().find(|job| job.id == id).ok_or_else(|| {
        let ids: Vec<&str> = jobs.iter().map(|job| job.id.as_str()).collect();
        let known = if ids.is_empty() { "there is none".to_owned() } else { format!("known: {}", ids.join(", ")) };
        Error::not_found(format!("id: no backup job '{id}'")).hint(known)
    })
}

/// Which guests a job names, and of which pool it is; neither where it is for all.
///
/// # Errors
/// `NotFound` with the jobs there are; Proxmox's.
pub(super) async fn guests_of(pve: &Reader<'_>, id: &str) -> Result<(Vec<u32>, Option<String>)> {
    let jobs = jobs(pve).await?;
    let job = known(&jobs, id).map_err(|e| e.reworded_message(|words| words.replacen("id:", "backup_job:", 1)))?;
    Ok((numbers(job.vmid.as_deref()), job.pool.clone()))
}

fn numbers(list: Option<&str>) -> Vec<u32> {
    list.iter().flat_map(|list| list.split([',', ';', ' '])).filter_map(|vmid| vmid.trim().parse().ok()).collect()
}

/// A property string of what Proxmox gives as an object.
fn property_string(value: &Value) -> String {
    let word = |value: &Value| match value {
        Value::String(text) => text.clone(),
        Value::Bool(flag) => u8::from(*flag).to_string(),
        other => other.to_string(),
    };
    match value {
        Value::Object(keys) => {
            let mut parts: Vec<String> = keys.iter().map(|(key, value)| format!("{key}={}", word(value))).collect();
            parts.sort();
            parts.join(",")
        }
        other => word(other),
    }
}

/// List backup jobs, and the guests that no job backs up.
#[derive(Deserialize, JsonSchema)]
struct ListBackupJobs {}

impl Tool for ListBackupJobs {
    const NAME: &str = "proxmox-list-backup-jobs";
    const TITLE: &str = "List backup jobs";
    const API: &[&str] = &["GET /cluster/backup", "GET /cluster/backup-info/not-backed-up"];
    const EXAMPLE: (&str, &str) = ("Is everything backed up regularly?", "{}");
}

#[derive(Serialize, JsonSchema)]
struct Jobs {
    total: usize,
    jobs: Vec<Job>,
    /// Guests in no enabled or disabled job.
    not_backed_up: Vec<Missing>,
}

#[derive(Serialize, JsonSchema)]
struct Job {
    id: String,
    enabled: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    schedule: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_run: Option<String>,
    guests: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    storage: Option<String>,
    /// The only node it runs on.
    #[serde(skip_serializing_if = "Option::is_none")]
    node: Option<String>,
    mode: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    compress: Option<String>,
    /// Retention; else the storage's.
    #[serde(skip_serializing_if = "Option::is_none")]
    keep: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    comment: Option<String>,
}

/// A row of `GET /cluster/backup-info/not-backed-up`.
#[derive(Deserialize, Serialize, JsonSchema)]
struct Missing {
    vmid: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    #[serde(rename = "type")]
    kind: GuestKind,
}

impl Query for ListBackupJobs {
    type Output = Jobs;
    async fn query(&self, pve: &Reader<'_>) -> Result<Jobs> {
        let rows = jobs(pve).await?;
        let mut missing: Vec<Missing> = pve.get("/cluster/backup-info/not-backed-up").await?;
        missing.sort_by_key(|guest| guest.vmid);
        let jobs: Vec<Job> = rows
            .into_iter()
            .map(|row| Job {
                guests: row.guests(),
                enabled: row.enabled.unwrap_or(true),
                next_run: row.next_run.map(iso),
                mode: row.mode.unwrap_or_else(|| "snapshot".to_owned()),
                keep: row.prune.as_ref().map(property_string),
                id: row.id,
                schedule: row.schedule,
                storage: row.storage,
                node: row.node,
                compress: row.compress.filter(|c| c != "0"),
                comment: row.comment,
            })
            .collect();
        Ok(Jobs { total: jobs.len(), jobs, not_backed_up: missing })
    }
}

/// Create a job that backs guests up regularly: all, those of a pool, or vmids.
#[derive(Deserialize, JsonSchema)]
struct CreateBackupJob {
    storage: String,
    /// daily, 02:30, mon..fri 22:00, or cron.
    schedule: String,
    #[serde(default)]
    vmids: Vec<u32>,
    #[serde(default)]
    all: bool,
    pool: Option<String>,
    /// With all.
    #[serde(default)]
    exclude: Vec<u32>,
    #[serde(default)]
    mode: Mode,
    /// keep-last=3,keep-weekly=4
    keep: Option<String>,
    comment: Option<String>,
    id: Option<String>,
}

impl Tool for CreateBackupJob {
    const NAME: &str = "proxmox-create-backup-job";
    const TITLE: &str = "Create a backup job";
    const API: &[&str] = &["GET /cluster/backup", "GET /cluster/jobs/schedule-analyze", "POST /cluster/backup"];
    const EXAMPLE: (&str, &str) = (
        "Back the production pool up every night at half past two and keep a week",
        r#"{"storage": "nas", "schedule": "02:30", "pool": "production", "keep": "keep-daily=7"}"#,
    );
}

impl CreateBackupJob {
    /// Which guests, in words.
    fn guests(&self) -> Result<String> {
        let chosen = [!self.vmids.is_empty(), self.all, self.pool.is_some()];
        if chosen.iter().filter(|chosen| **chosen).count() != 1 {
            return Err(Error::bad_argument("give one of vmids, all and pool: which guests shall be backed up?"));
        }
        if !self.exclude.is_empty() && !self.all {
            return Err(Error::bad_argument("exclude: goes only with all"));
        }
        Ok(match &self.pool {
            Some(pool) => format!("the guests of pool {pool}"),
            None if self.all => "all guests".to_owned(),
            None => format!("guests {}", list(&self.vmids)),
        })
    }
}

fn list(vmids: &[u32]) -> String {
    vmids.iter().map(u32::to_string).collect::<Vec<_>>().join(",")
}

impl Action for CreateBackupJob {
    const EFFECT: Effect = Effect::Write;
    const CONTROL: Control = Control::instant();
    async fn plan(&self, pve: &Reader<'_>) -> Result<Plan> {
        let guests = self.guests()?;
        let keep = self.keep.as_deref().map(|keep| keep_rules("keep", keep)).transpose()?;
        let (schedule, next_run) = schedule::next(pve, "schedule", &self.schedule).await?;
        let jobs = jobs(pve).await?;
        let taken = |id: &str| jobs.iter().any(|job| job.id == id);
        // Proxmox would choose one, and not tell which.
        let id = self
            .id
            .clone()
            .or_else(|| (1..).map(|n: u32| format!("backup-{}-{n}", self.storage)).find(|id| !taken(id)));
        let id = id.unwrap_or_default();
        let list = |vmids: &[u32]| (!vmids.is_empty()).then(|| list(vmids));
        let request = Request::post("/cluster/backup")
            .param("id", &id)
            .param("schedule", &schedule)
            .param("storage", &self.storage)
            .maybe("vmid", list(&self.vmids))
            .flag("all", self.all)
            .maybe("pool", self.pool.as_deref())
            .maybe("exclude", list(&self.exclude))
            .param("mode", self.mode.word())
            .param("compress", "zstd")
            .param("notes-template", "{{guestname}}")
            .maybe("prune-backups", keep.as_deref())
            .maybe("comment", self.comment.as_deref())
            .param("enabled", 1);
        let there = self.vmids.iter().filter(|_| !self.all);
        let known = pve.resources().await?;
        let unknown: Vec<u32> = there.filter(|vmid| known.vmid(**vmid).is_none()).copied().collect();
        let free = !taken(&id);
        let first = next_run.map(|time| format!(", first at {time}")).unwrap_or_default();
        Ok(Plan::new(format!("create backup job {id}: {guests} to {}, {schedule}{first}", self.storage))
            .about("id", id.as_str())
            .about("schedule", schedule)
            .undo("proxmox-delete-backup-job", json!({"id": id}))
            .step(request)
            .check(free, || format!("the id {id} is free"), || format!("there is a backup job {id} already"))
            .warn_if(!unknown.is_empty(), || format!("no such guests at present: {}", self::list(&unknown))))
    }
}

/// Delete a backup job. The backups that it made stay.
#[derive(Deserialize, JsonSchema)]
struct DeleteBackupJob {
    id: String,
}

impl Tool for DeleteBackupJob {
    const NAME: &str = "proxmox-delete-backup-job";
    const TITLE: &str = "Delete a backup job";
    const API: &[&str] = &["GET /cluster/backup", "DELETE /cluster/backup/{id}"];
    const EXAMPLE: (&str, &str) = ("Remove the nightly backup job", r#"{"id": "backup-nightly", "confirm": true}"#);
}

impl Action for DeleteBackupJob {
    const EFFECT: Effect = Effect::Destroy;
    const CONTROL: Control = Control::instant().confirmed();
    async fn plan(&self, pve: &Reader<'_>) -> Result<Plan> {
        let jobs: Vec<Map<String, Value>> = pve.get("/cluster/backup").await?;
        let whole = jobs.iter().find(|job| job.get("id").is_some_and(|id| *id == *self.id));
        let jobs = jobs.iter().cloned().map(row).collect::<Result<Vec<Row>>>()?;
        let job = known(&jobs, &self.id)?;
        let mut plan = Plan::new(format!("delete backup job {} (guests: {})", job.id, job.guests()))
            .about("id", job.id.as_str())
            .step(Request::delete(format!("/cluster/backup/{}", encode(&job.id))));
        plan.undo = whole.map(|whole| again(job, whole));
        Ok(plan)
    }
}
