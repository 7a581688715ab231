//! A node's services, disks, updates, certificates and journal.

use crate::tool::Entry;

pub const TOOLS: &[Entry] = &[];
