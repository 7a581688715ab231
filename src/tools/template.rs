//! Making templates, and what locks mean.

use crate::tool::Entry;

pub const TOOLS: &[Entry] = &[];
