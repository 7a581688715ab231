//! The Model Context Protocol: the only place that names rmcp. Both eras of the protocol, over stdio.

mod client;
mod ending;
mod progress;
mod server;
mod stdio;

pub use client::Connection;
pub use server::Server;
pub use stdio::serve_stdio;
