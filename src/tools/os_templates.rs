//! Appliance templates for containers.

use crate::tool::Entry;

pub const TOOLS: &[Entry] = &[];
