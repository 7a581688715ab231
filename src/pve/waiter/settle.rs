//! Waits for a guest to become what was asked for, where the task says nothing about it: the HA stack's tasks end when the
//! request is queued.

use tokio::time::{Instant, sleep, sleep_until};

use serde::Deserialize;

use super::{FOR_EVER, Waiter, is_silence, rounds::pause};
use crate::{
    error::{Error, Kind, Result},
    progress::Update,
    pve::{Client, Guest, Scope, WaitOptions},
};

/// What a guest is waited for to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Becomes<'a> {
    /// `running` or `stopped`, wherever it is.
    Status(&'a str),
    /// On this node.
    Node(&'a str),
}

#[derive(Deserialize)]
struct Current {
    status: String,
}

impl Waiter {
    /// True when the guest is so, false when the time is over. Follows it to another node. A silent node is no error.
    ///
    /// # Errors
    /// `Cancelled` if the scope was, `NotFound` if the guest is gone, and what Proxmox refuses.
    pub async fn settle(
        &self,
        client: &Client,
        guest: &Guest,
        becomes: Becomes<'_>,
        options: &WaitOptions,
        scope: &Scope,
    ) -> Result<bool> {
        let started = Instant::now();
        let until = async {
            let mut guest = guest.clone();
            loop {
                let now = match look(client, &mut guest, becomes).await {
                    Ok(true) => return Ok(true),
                    Ok(false) => format!("{guest} is {}, not yet {}", guest.status, shown(becomes)),
                    Err(error) if is_silence(&error) => format!("node {} does not answer ({error})", guest.node),
                    Err(error) => return Err(error),
                };
                scope.progress.report(Update::new(None, now));
                sleep(pause(started.elapsed(), options.poll_interval)).await;
            }
        };
        tokio::select! {
            biased;
            () = scope.cancel.cancelled() => {
                Err(Error::new(Kind::Cancelled, format!("the waiting for {guest} to be {} was cancelled", shown(becomes))))
            }
            settled = until => settled,
            () = sleep_until(started + options.timeout.min(FOR_EVER)) => Ok(false),
        }
    }
}

/// Whether it is so; `guest` becomes what it is now.
async fn look(client: &Client, guest: &mut Guest, becomes: Becomes<'_>) -> Result<bool> {
    match becomes {
        Becomes::Node(node) => {
            *guest = client.resources().find_again(client, guest).await?;
            Ok(guest.node == node)
        }
        Becomes::Status(status) => {
            let current: Current = match client.get(&guest.current()).await {
                // It is no longer on that node.
                Err(error) if error.is_not_found() => {
                    *guest = client.resources().find_again(client, guest).await?;
                    client.get(&guest.current()).await?
                }
                answer => answer?,
            };
            guest.status = current.status;
            Ok(guest.status == status)
        }
    }
}

fn shown(becomes: Becomes<'_>) -> String {
    match becomes {
        Becomes::Status(status) => status.to_owned(),
        Becomes::Node(node) => format!("on {node}"),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::json;

    use super::*;
    use crate::pve::{
        GuestRef, Want,
        fake::{Answer, Fake, scope},
    };

    const SECOND: Duration = Duration::from_secs(1);

    /// VM 100 on pve1; after 3 s it moves to pve2, and after 10 s it runs.
    fn cluster() -> Client {
        let began = Instant::now();
        let (_, client) = Fake::new(Duration::from_millis(5), move |path| {
            let age = began.elapsed();
            let node = if age < 3 * SECOND { "pve1" } else { "pve2" };
            let status = if age < 10 * SECOND { "stopped" } else { "running" };
            if path.starts_with("/cluster/resources") {
                let row = json!({"type": "qemu", "vmid": 100, "name": "web", "node": node, "status": status});
                return Answer::Data(json!([row]));
            }
            if path != format!("/nodes/{node}/qemu/100/status/current") {
                return Answer::Error(500, "Configuration file 'nodes/x/qemu-server/100.conf' does not exist");
            }
            Answer::Data(json!({"status": status, "name": "web", "vmid": 100}))
        });
        client
    }

    async fn settled(becomes: Becomes<'_>, timeout: Duration) -> Result<(bool, Duration)> {
        let (client, scope, began) = (cluster(), scope(), Instant::now());
        let guest = client.resources().find(&client, &GuestRef::vmid(100), Want::Vm).await?;
        let options = WaitOptions { timeout, ..WaitOptions::default() };
        let settled = client.waiter().settle(&client, &guest, becomes, &options, &scope).await?;
        Ok((settled, began.elapsed()))
    }

    #[tokio::test(start_paused = true)]
    async fn a_guest_is_followed_to_its_new_node_until_it_runs() -> Result<()> {
        let (settled, after) = settled(Becomes::Status("running"), 60 * SECOND).await?;
        assert!(settled && (10 * SECOND..12 * SECOND).contains(&after), "{after:?}");
        Ok(())
    }

    #[tokio::test(start_paused = true)]
    async fn a_migration_is_over_when_the_guest_is_there() -> Result<()> {
        let (settled, after) = settled(Becomes::Node("pve2"), 60 * SECOND).await?;
        assert!(settled && (3 * SECOND..4 * SECOND).contains(&after), "{after:?}");
        Ok(())
    }

    #[tokio::test(start_paused = true)]
    async fn the_end_of_the_time_is_told_and_no_error() -> Result<()> {
        let (settled, after) = settled(Becomes::Status("running"), 5 * SECOND).await?;
        assert!(!settled && after < 6 * SECOND, "{after:?}");
        Ok(())
    }
}
