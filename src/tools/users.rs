//! Users, groups, realms and API tokens.

use crate::tool::Entry;

pub const TOOLS: &[Entry] = &[];
