//! Snapshots of guests.

use crate::tool::Entry;

pub const TOOLS: &[Entry] = &[];
