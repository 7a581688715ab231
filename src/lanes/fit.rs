//! Requests that have to fit what the cluster has become since they were planned: another VMID where the chosen one was
//! taken, and a backup job's list as it is now. Both are approved anew.

use std::{sync::PoisonError, time::Duration};

use serde_json::Value;
use tokio::time::sleep;

use super::{Did, Engine, Lanes, Run};
use crate::{
    error::{Error, Kind, Result},
    policy::{Approved, Facts, Reach},
    progress::Progress,
    pve::{Reader, Request, decode},
};

/// How often a backup job is changed until the change lasts.
const JOINS: usize = 8;

impl Engine {
    /// Gives a lane the next free VMID in the place of one that was taken.
    pub(super) async fn renumber(&self, run: &mut Run) -> Result<()> {
        let scope = self.way.scope(self.halt.clone(), Progress::none());
        let reader = Reader::new(&self.way.client, &scope);
        let Some(from) = run.lane.vmid else { return Ok(()) };
        let to = loop {
            let free = reader.free_vmids(1, run.lane.within).await?;
            let taken = free.into_iter().find(|vmid| self.way.client.vmids().take(*vmid));
            // One that another lane is going to use stays that lane's, although it is not held any more.
            if let Some(vmid) = taken.filter(|vmid| self.lanes.lanes.iter().all(|lane| lane.vmid != Some(*vmid))) {
                break vmid;
            }
        };
        run.lane.renumber(from, to);
        let one = Lanes { lanes: vec![run.lane.clone()], ..self.lanes.clone() };
        let (requests, back) = (one.requests(), one.back());
        let approved = self.approved(&reader, &requests).await?;
        let back = self.way.policy.approve_back(&requests, &back)?;
        run.may_send(&mut approved.into_iter());
        run.may_take_back(&mut back.into_iter());
        if let Some(record) = &self.record {
            record.renumbered(run.index, &run.lane).await?;
        }
        Ok(())
    }

    async fn approved(&self, reader: &Reader<'_>, requests: &[Request]) -> Result<Vec<Approved>> {
        let facts = Facts::gather(reader, &Reach::of(requests), self.way.policy.asks_for_pools()).await?;
        self.way.policy.approve(self.way.entry.effect, requests, &facts)
    }

    /// Sends a request that adds guests to a backup job until they are in it: of two who change a job at once, one may undo
    /// what the other did.
    pub(super) async fn join(&self, reader: &Reader<'_>, run: &mut Run, i: usize) -> Result<()> {
        for _ in 0..JOINS {
            self.joined(reader, run, i).await?;
            if run.ready[i].request.is_none() {
                return Ok(());
            }
            self.sent(run, i).await?;
            sleep(Duration::from_millis(fastrand::u64(300..1500))).await;
        }
        Err(Error::new(Kind::Conflict, "somebody else goes on changing the backup job"))
    }

    /// Brings a request that adds guests to a backup job up to date: the list as it is now, and the VMIDs that the guests got.
    /// Where the job has them all there is nothing to send.
    async fn joined(&self, reader: &Reader<'_>, run: &mut Run, i: usize) -> Result<()> {
        let Some(mut request) = run.lane.steps[i].request.clone() else { return Ok(()) };
        let id = decode(request.path.rsplit('/').next().unwrap_or_default());
        let jobs: Vec<Value> = reader.get("/cluster/backup").await?;
        let job = jobs.into_iter().find(|job| job["id"] == *id);
        let job = job.ok_or_else(|| Error::not_found(format!("there is no backup job {id} any more")))?;
        let mut list: Vec<String> = job["vmid"].as_str().map(str::to_owned).into_iter().collect();
        let there: Vec<u32> = list
            .iter()
            .flat_map(|list| list.split([',', ';', ' ']))
            .filter_map(|vmid| vmid.trim().parse().ok())
            .collect();
        let mut joins = self.stand.lock().unwrap_or_else(PoisonError::into_inner).clone();
        joins.sort_unstable();
        joins.retain(|vmid| !there.contains(vmid));
        // Without a list it has become one for all guests, or for a pool.
        if joins.is_empty() || there.is_empty() {
            run.ready[i].request = None;
            return Ok(());
        }
        list.extend(joins.iter().map(u32::to_string));
        request.params.retain(|(key, _)| key != "vmid");
        request = request.param("vmid", list.join(","));
        run.ready[i].request = self.approved(reader, std::slice::from_ref(&request)).await?.pop();
        run.lane.steps[i].request = Some(request);
        Ok(())
    }

    /// Puts down the lane's guest, if it stands.
    pub(super) fn remember(&self, run: &Run) {
        let Some(vmid) = run.lane.vmid else { return };
        let makes = run.lane.steps.first().and_then(|step| step.request.clone());
        let makes = makes.is_some_and(|request| Reach::of(&[request]).made.contains_key(&vmid));
        if !makes || run.did.first() == Some(&Did::Done) {
            self.stand.lock().unwrap_or_else(PoisonError::into_inner).push(vmid);
        }
    }
}
