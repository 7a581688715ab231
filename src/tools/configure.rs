//! Changing the configuration of VMs and containers.

use crate::tool::Entry;

pub const TOOLS: &[Entry] = &[];
