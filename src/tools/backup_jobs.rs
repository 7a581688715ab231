//! Scheduled backups.

use crate::tool::Entry;

pub const TOOLS: &[Entry] = &[];
