//! Firewall of guests, nodes and the cluster.

use crate::tool::Entry;

pub const TOOLS: &[Entry] = &[];
