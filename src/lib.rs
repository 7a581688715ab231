//! proxmox-mcp as a library. See ARCHITECTURE.md for the map and the invariants.

pub mod arguments;
pub mod call;
pub mod checks;
pub mod checksum;
pub mod cli;
pub mod config;
pub mod docs;
pub mod doctor;
pub mod embedded;
pub mod error;
mod everywhere;
mod execute;
pub mod mcp;
pub mod outside;
pub mod plan;
pub mod policy;
pub mod progress;
pub mod pve;
pub mod render;
pub mod sandbox;
mod schema;
pub mod tool;
pub mod tools;
