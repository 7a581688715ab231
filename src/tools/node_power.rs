//! Nodes: reboot, shut down, wake, start and stop their guests.

use crate::tool::Entry;

pub const TOOLS: &[Entry] = &[];
