//! The VMIDs of new guests, as a call asks for them.

use crate::{pve::Within, tool::*};

/// VMIDs for the guests of one call.
#[derive(Debug)]
pub struct Numbers {
    /// In ascending order, one for each guest.
    pub vmids: Vec<u32>,
    /// Chosen and not given: another may take its place.
    pub chosen: bool,
    /// Where the place of one that is taken meanwhile has to lie.
    pub within: Within,
}

/// So many VMIDs: the next free ones, those from a number on, or of a range. One number is that very VMID for one guest,
/// and the first that may be taken for several.
///
/// # Errors
/// `BadArgument` with the field, `Conflict` where there are not so many free ones; Proxmox's.
pub async fn choose(pve: &Reader<'_>, field: &str, given: Option<&str>, count: usize) -> Result<Numbers> {
    let within = match Within::parse(field, given.unwrap_or_default())? {
        Within::Range(from, to) if from == to && count > 1 => Within::From(from),
        within => within,
    };
    let vmids = pve.free_vmids(count, within).await?;
    Ok(Numbers { vmids, chosen: within.only().is_none(), within })
}
