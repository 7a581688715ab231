//! Several clusters at once.

use crate::tool::Entry;

pub const TOOLS: &[Entry] = &[];
