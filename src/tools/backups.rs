//! Backups and restoring them.

use crate::tool::Entry;

pub const TOOLS: &[Entry] = &[];
