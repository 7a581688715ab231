//! Replication jobs.

use crate::tool::Entry;

pub const TOOLS: &[Entry] = &[];
