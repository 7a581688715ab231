//! The Proxmox VE API. Knows nothing of MCP.

mod request;
mod task;
pub mod task_log;
mod transport;
mod upid;

pub use request::{Param, Request, encode};
pub use task::{ExitStatus, TaskEnd, TaskRow, TaskStatus, WaitOptions, Waited};
pub use transport::{SendError, Transport};
pub use upid::Upid;
