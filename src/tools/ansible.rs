//! Guests as Ansible hosts.

use crate::tool::Entry;

pub const TOOLS: &[Entry] = &[];
