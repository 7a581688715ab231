//! ISO images in the drives of VMs.

use crate::tool::Entry;

pub const TOOLS: &[Entry] = &[];
