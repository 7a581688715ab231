//! The methods that are served, a file for each family.

mod access;
mod accounts;
mod cluster;
mod indexes;
mod network;
mod nodes;
mod pools;
mod resources;
mod roles;
mod tasks;
mod tokens;

use super::router::Route;

pub use resources::ResourceCache;

/// The tables of all families.
pub const FAMILIES: &[&[Route]] = &[
    indexes::ROUTES,
    access::ROUTES,
    accounts::ROUTES,
    tokens::ROUTES,
    roles::ROUTES,
    pools::ROUTES,
    cluster::ROUTES,
    resources::ROUTES,
    nodes::ROUTES,
    network::ROUTES,
    tasks::ROUTES,
];
