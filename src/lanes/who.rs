//! Which guest a lane is about, so that what is taken back is never taken from another.

use super::{Engine, Run, back::guest_of};
use crate::{policy::Reach, pve::Reader, undo::Identity};

impl Engine {
    /// Who the lane's guest is, where it is there already and something may be taken back.
    pub(super) async fn existing(&self, reader: &Reader<'_>, run: &Run) -> Option<Identity> {
        let lane = &run.lane;
        let first = lane.steps.first()?.request.as_ref()?;
        let made = Reach::of(std::slice::from_ref(first)).made;
        if made.contains_key(&lane.vmid?) || lane.steps.iter().all(|step| step.back.is_empty()) {
            return None;
        }
        let guest = lane.steps.iter().filter_map(|step| step.request.as_ref()).find_map(|r| guest_of(r, lane.vmid))?;
        reader.config_at(format!("{guest}/config")).await.ok().map(|config| Identity::of(&config))
    }

    /// Who the guest is that the first step made, so that nothing else is ever taken for it.
    pub(super) async fn made(&self, run: &Run) -> Option<Identity> {
        let request = run.lane.steps.first()?.request.clone()?;
        let (_, path) = Reach::makes(&request).filter(|(vmid, _)| Some(*vmid) == run.lane.vmid)?;
        let reader = Reader::new(&self.way.client, &self.scope);
        reader.config_at(path).await.ok().map(|config| Identity::of(&config))
    }
}
