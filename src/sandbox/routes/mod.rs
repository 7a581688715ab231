//! The methods that are served, a file for each family.

mod access;
mod accounts;
mod backup_jobs;
mod cluster;
mod content;
mod defaults;
mod firewall;
mod guests;
mod ha;
mod indexes;
mod network;
mod node_power;
mod nodes;
mod pools;
mod replication;
mod resources;
mod roles;
mod rows;
mod sdn;
mod storage;
mod system;
mod tasks;
mod tokens;
mod transfers;

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
    defaults::ROUTES,
    resources::ROUTES,
    nodes::ROUTES,
    node_power::ROUTES,
    system::ROUTES,
    ha::ROUTES,
    sdn::ROUTES,
    network::ROUTES,
    tasks::ROUTES,
    storage::ROUTES,
    content::ROUTES,
    transfers::ROUTES,
    backup_jobs::ROUTES,
    replication::ROUTES,
    firewall::ROUTES,
    firewall::log::ROUTES,
    firewall::rules::ROUTES,
    firewall::sets::ROUTES,
    guests::lists::ROUTES,
    guests::figures::ROUTES,
    guests::power::ROUTES,
    guests::suspend::ROUTES,
    guests::config::ROUTES,
    guests::update::ROUTES,
    guests::create::ROUTES,
    guests::destroy::ROUTES,
    guests::clone::ROUTES,
    guests::disks::ROUTES,
    guests::moves::ROUTES,
    guests::snapshots::ROUTES,
    guests::migrate::ROUTES,
    guests::template::ROUTES,
    guests::cloudinit::ROUTES,
    guests::backup::ROUTES,
    guests::agent::ROUTES,
];
