//! Whole machines in one call: made, started, waited for. What VMs and containers share is here: their names, numbers,
//! addresses and nodes.

#![expect(dead_code, reason = "the tools are made of it")]

mod addresses;
mod names;
mod numbers;
mod ostemplate;
mod place;

use crate::tool::Entry;

pub const TOOLS: &[Entry] = &[];
