//! Creating VMs and containers.

use crate::tool::Entry;

pub const TOOLS: &[Entry] = &[];
