//! proxmox-mcp as a library. See ARCHITECTURE.md for the map and the invariants.

pub mod config;
pub mod docs;
pub mod error;
pub mod policy;
pub mod progress;
pub mod pve;
pub mod sandbox;
