//! The Model Context Protocol: the only place that names rmcp. Both eras of the protocol, over stdio and HTTP.

mod about;
mod accept;
mod asking;
mod calls;
mod client;
mod completion;
mod digest;
mod ending;
mod http;
mod pages;
mod progress;
mod prompts;
mod reference;
mod resource_kinds;
mod resources;
mod server;
mod sessions;
mod sse;
mod stdio;
mod subscriptions;
mod suggest;
mod tasks;
mod watch;

pub use client::Connection;
pub use http::Conversations;
pub use server::Server;
pub use stdio::serve_stdio;

/// What is logged under this name is for those who look into the protocol: the library warns of every request that was
/// refused, and calls it an error when a client leaves before its answer.
pub const NOISE: &str = "rmcp::service";
