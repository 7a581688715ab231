//! The cluster as a whole.

use crate::tool::Entry;

pub const TOOLS: &[Entry] = &[];
