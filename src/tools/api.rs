//! Whatever has no tool of its own.

use crate::tool::Entry;

pub const TOOLS: &[Entry] = &[];
