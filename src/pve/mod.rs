//! The Proxmox VE API. Knows nothing of MCP.

pub mod api;
mod auth;
mod client;
mod endpoints;
pub mod error;
mod https;
mod perl;
mod reader;
mod request;
mod scope;
mod tls;
mod transport;

pub use client::{Client, Defaults, Listing};
pub use perl::{Perl, from_slice};
pub use reader::Reader;
pub use request::{Param, Request, encode};
pub use scope::Scope;
pub use tls::{fingerprint, fingerprint_line};
pub use transport::{SendError, Transport};
