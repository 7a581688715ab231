//! Roles and who has them where.

use crate::tool::Entry;

pub const TOOLS: &[Entry] = &[];
