//! What the guest agent of a VM does.

use crate::tool::Entry;

pub const TOOLS: &[Entry] = &[];
