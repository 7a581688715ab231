//! The methods that are served, a file for each family.

mod access;
mod cluster;
mod resources;
mod tasks;

use super::router::Route;

pub use resources::ResourceCache;

/// The tables of all families.
pub const FAMILIES: &[&[Route]] = &[access::ROUTES, cluster::ROUTES, resources::ROUTES, tasks::ROUTES];
