//! The Model Context Protocol: the only place that names rmcp. Both eras of the protocol, over stdio.

mod asking;
mod calls;
mod client;
mod progress;
mod server;
mod tasks;

pub use client::Connection;
pub use server::{Server, serve_stdio};
