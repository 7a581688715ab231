//! Safety snapshots that have been kept long enough.

use futures::{StreamExt, stream};

use super::{path, rows};
use crate::{pve::Resource, safety_snapshot, tool::*};

/// Delete expired safety snapshots.
#[derive(Deserialize, JsonSchema)]
pub struct DeleteExpired {
    #[serde(flatten)]
    guest: GuestRef,
}

impl Tool for DeleteExpired {
    const NAME: &str = "proxmox-delete-expired-snapshots";
    const TITLE: &str = "Delete expired safety snapshots";
    const API: &[&str] = &["GET /nodes/{node}/time", "DELETE /nodes/{node}/{type}/{vmid}/snapshot/{snapname}"];
    const EXAMPLE: (&str, &str) = ("Clear away safety snapshots that nobody needs any more", r#"{"confirm": true}"#);
}

/// Guests whose snapshots are asked for at once.
const AT_ONCE: usize = 8;

impl Action for DeleteExpired {
    const EFFECT: Effect = Effect::Destroy;
    const CONTROL: Control = Control::new(900).confirmed().waiting();
    async fn plan(&self, pve: &Reader<'_>) -> Result<Plan> {
        let guests: Vec<Guest> = if self.guest.vmid.is_some() || self.guest.name.is_some() {
            vec![pve.guest(&self.guest, Want::Any).await?]
        } else {
            let here = |guest: &&Resource| self.guest.node.as_deref().is_none_or(|node| &*guest.node == node);
            pve.resources().await?.iter().filter(here).filter(|guest| !guest.template).map(Guest::from).collect()
        };
        let Some(first) = guests.first() else {
            return Ok(Plan::new("delete expired safety snapshots: there is no guest").no_undo("nothing changes"));
        };
        let now = safety_snapshot::now(pve, &first.node).await?;
        let alone = guests.len() == 1;
        let asked = guests.into_iter().map(async |guest| {
            let rows = rows(pve, &guest).await;
            (guest, rows)
        });
        let asked: Vec<_> = stream::iter(asked).buffered(AT_ONCE).collect().await;
        let mut plan = Plan::new("").no_undo("a deleted snapshot is gone");
        let (mut deleted, mut unread) = (Vec::new(), Vec::new());
        for (guest, rows) in asked {
            let rows = match rows {
                Ok((rows, _)) => rows,
                Err(e) if alone => return Err(e),
                Err(e) => {
                    unread.push(format!("{guest} ({e})"));
                    continue;
                }
            };
            let expires = |row: &super::Row| row.description.as_deref().and_then(safety_snapshot::expires);
            let mut expired = rows.iter().filter(|row| expires(row).is_some_and(|when| when <= now)).peekable();
            if expired.peek().is_some() && guest.lock.is_some() {
                plan.warnings.push(format!("{guest} is locked: its expired safety snapshots stay"));
                continue;
            }
            for row in expired {
                deleted.push(format!("{} of {guest}", row.name));
                plan = plan.step(Request::delete(path(&guest, &row.name)));
            }
        }
        plan.summary = format!("delete expired safety snapshots: {}", deleted.join(", "));
        if deleted.is_empty() {
            plan.summary = "delete expired safety snapshots: there are none".to_owned();
            plan = plan.no_undo("nothing changes");
        }
        Ok(plan.warn_if(!unread.is_empty(), || format!("could not be looked at: {}", unread.join(", "))))
    }
}
