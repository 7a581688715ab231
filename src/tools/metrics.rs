//! Figures over time, of guests and nodes.

use crate::tool::Entry;

pub const TOOLS: &[Entry] = &[];
