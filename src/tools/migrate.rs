//! Moving guests to other nodes.

use crate::tool::Entry;

pub const TOOLS: &[Entry] = &[];
