//! The Proxmox VE API. Knows nothing of MCP.

pub mod api;
mod auth;
mod client;
mod endpoints;
pub mod error;
#[cfg(test)]
mod fake;
mod guest;
mod guest_config;
mod https;
mod lookup;
mod perl;
mod pick;
mod property_string;
mod reader;
mod request;
mod resources;
mod scope;
pub mod secrets;
mod task;
pub mod task_log;
mod tls;
mod transport;
mod upid;
mod waiter;

pub use client::{Client, Defaults, Listing};
pub use guest::{Guest, GuestKind, GuestRef, Want};
pub use guest_config::{Edit, GuestConfig};
pub use lookup::Tail;
pub use perl::{Perl, from_slice};
pub use pick::{StorageHere, Vmids};
pub use property_string::PropertyString;
pub use reader::Reader;
pub use request::{Param, Request, encode};
pub use resources::{Live, Resource, ResourceCache, Resources};
pub use scope::Scope;
pub use task::{ExitStatus, TaskEnd, TaskRow, TaskStatus, WaitOptions, Waited};
pub use tls::{fingerprint, fingerprint_line};
pub use transport::{SendError, Transport};
pub use upid::Upid;
pub use waiter::{AdoptQuery, Becomes, Waiter};
