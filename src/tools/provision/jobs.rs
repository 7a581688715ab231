//! New guests into a backup job: in one request for all of them, when they stand.

use crate::{
    lanes::{Lane, Step},
    pve::encode,
    tool::*,
    tools::backup_jobs,
};

/// A backup job, as far as new guests go.
pub struct Job {
    id: String,
    vmids: Vec<u32>,
    pool: Option<String>,
}

impl Job {
    /// # Errors
    /// `NotFound` with the jobs there are; Proxmox's.
    pub async fn read(pve: &Reader<'_>, id: &str) -> Result<Self> {
        let (vmids, pool) = backup_jobs::guests_of(pve, id).await?;
        Ok(Self { id: id.to_owned(), vmids, pool })
    }

    /// The lane that adds the guests, after all others; none where the job has them anyway. It needs no way back: a guest that is
    /// deleted again goes from all jobs.
    pub fn lane(&self, plan: &mut Plan, guests: &[u32], pool: Option<&str>) -> Option<Lane> {
        let id = &self.id;
        match &self.pool {
            Some(of) if Some(of.as_str()) == pool => plan.checked.push(format!("backup job {id} has all of pool {of}")),
            Some(of) => plan.problems.push(format!("backup job {id} is of pool {of}: pool has to be that one")),
            None if self.vmids.is_empty() => plan.checked.push(format!("backup job {id} has all guests")),
            None => {}
        }
        if self.pool.is_some() || self.vmids.is_empty() {
            return None;
        }
        let new: Vec<u32> = guests.iter().filter(|vmid| !self.vmids.contains(vmid)).copied().collect();
        if new.is_empty() {
            return None;
        }
        let all: Vec<String> = self.vmids.iter().chain(&new).map(u32::to_string).collect();
        let request = Request::put(format!("/cluster/backup/{}", encode(id))).param("vmid", all.join(","));
        let step = Step { joins: true, ..Step::new(format!("adding to backup job {id}"), request) };
        Some(Lane { stage: 2, ..Lane::new(format!("backup job {id}")) }.step(step))
    }
}
