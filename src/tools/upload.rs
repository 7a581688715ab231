//! Uploading images from this machine, and downloading them from elsewhere.

use crate::tool::Entry;

pub const TOOLS: &[Entry] = &[];
