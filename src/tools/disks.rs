//! Disks of VMs and volumes of containers.

use crate::tool::Entry;

pub const TOOLS: &[Entry] = &[];
