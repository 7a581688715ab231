//! Loaders for what stands in the documents: each takes it as the program that it is for would, and panics with the place
//! where it does not.
#![expect(clippy::unwrap_used, clippy::panic, reason = "tests")]

pub mod blocks;
pub mod clients;
pub mod compose;
pub mod image;
pub mod keys;
pub mod metrics;
pub mod proxies;
pub mod settings;
pub mod shell;
pub mod unit;
pub mod yaml;
