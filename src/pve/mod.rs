//! The Proxmox VE API. Knows nothing of MCP.

pub mod api;
mod request;
mod transport;

pub use request::{Param, Request, encode};
pub use transport::{SendError, Transport};
