//! Whole machines in one call: made, started, waited for. What VMs and containers share is here: their names, numbers,
//! addresses and nodes.

mod addresses;
mod deprovision;
mod image;
mod jobs;
mod machine;
mod names;
mod numbers;
mod place;
mod reconcile;
mod vm;
mod wanted;

use crate::tool::Entry;

pub const TOOLS: &[Entry] = &[Entry::action::<vm::ProvisionVm>(), Entry::action::<deprovision::Deprovision>()];
