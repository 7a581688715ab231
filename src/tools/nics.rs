//! Network interfaces of VMs.

use crate::tool::Entry;

pub const TOOLS: &[Entry] = &[];
