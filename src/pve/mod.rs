//! The Proxmox VE API. Knows nothing of MCP.

mod request;
mod transport;

pub use request::{Param, Request, encode};
pub use transport::{SendError, Transport};
