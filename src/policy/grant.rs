//! What one caller may do, of what the server may: the rights of an API key, or of a scope.

use super::Mode;
use crate::toolsets::Chosen;

/// The part of the server's rights that a caller has. It can only take away.
#[derive(Debug, Clone, Default)]
pub struct Grant {
    /// The server's, where none is given.
    pub mode: Option<Mode>,
    pub tools: Chosen,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        error::Result,
        policy::{Effect, Policy, Settings},
    };

    fn policy(mode: Mode, sets: &[&str]) -> Result<Policy> {
        Ok(Policy::new(Settings { mode, tools: Chosen::new(sets, &[], &[])?, ..Settings::default() }))
    }

    #[test]
    fn a_grant_takes_away_and_never_gives() -> Result<()> {
        let grant = Grant { mode: Some(Mode::NoDelete), tools: Chosen::new(&["power", "snapshots"], &[], &[])? };
        for (mode, stops) in [(Mode::ReadOnly, false), (Mode::NoDelete, true), (Mode::Full, true)] {
            let within = policy(mode, &["power", "delete"])?.within(&grant);
            let may = |tool, effect| within.allows_tool(tool, effect, &[]).is_ok();
            assert_eq!(may("proxmox-start-vm", Effect::Write), stops, "{mode:?}");
            // The server has no snapshots, the grant no deletions.
            assert!(!may("proxmox-create-snapshot", Effect::Write), "{mode:?}");
            assert!(!may("proxmox-delete-vm", Effect::Write), "{mode:?}");
            assert!(!may("proxmox-start-vm", Effect::Destroy), "{mode:?}");
        }
        Ok(())
    }

    #[test]
    fn a_refusal_says_whose_rule_it_is() -> Result<()> {
        let grant = Grant { mode: Some(Mode::ReadOnly), tools: Chosen::new(&["power"], &[], &[])? };
        let within = policy(Mode::Full, &[])?.within(&grant);
        let why = |tool| within.allows_tool(tool, Effect::Write, &[]).err().map(|e| e.to_string()).unwrap_or_default();
        assert!(
            why("proxmox-start-vm").ends_with("the mode of this caller is read-only"),
            "{}",
            why("proxmox-start-vm")
        );
        assert!(why("proxmox-delete-vm").ends_with("(the tools of this caller)"), "{}", why("proxmox-delete-vm"));
        Ok(())
    }
}
