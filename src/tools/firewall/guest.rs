//! The firewall of a VM or container.

use super::{Firewall, Level, State, change::Wanted, cluster_is_on, objects};
use crate::{pve::PropertyString, tool::*};

/// Show a guest's firewall: options, rules, and what keeps it from filtering.
#[derive(Deserialize, JsonSchema)]
pub struct Get {
    #[serde(flatten)]
    guest: GuestRef,
}

impl Tool for Get {
    const NAME: &str = "proxmox-vm-firewall-get";
    const TITLE: &str = "Guest firewall";
    const API: &[&str] = &[
        "GET /nodes/{node}/{type}/{vmid}/firewall/options",
        "GET /nodes/{node}/{type}/{vmid}/firewall/rules",
        "GET /nodes/{node}/{type}/{vmid}/firewall/aliases",
        "GET /nodes/{node}/{type}/{vmid}/firewall/ipset",
        "GET /cluster/firewall/options",
    ];
    const EXAMPLE: (&str, &str) = ("Which ports are open on web-02?", r#"{"name": "web-02"}"#);
}

impl Query for Get {
    type Output = Firewall;
    async fn query(&self, pve: &Reader<'_>) -> Result<Firewall> {
        let guest = pve.guest(&self.guest, Want::Any).await?;
        let level = Level::Guest(guest.clone());
        let (state, aliases, ipsets, notes) = tokio::join!(
            State::read(pve, &level),
            pve.get(level.path("aliases")),
            pve.get::<Vec<objects::Named>>(level.path("ipset")),
            notes(pve, &guest)
        );
        Ok(Firewall { aliases: aliases?, ipsets: ipsets?, notes, ..Firewall::new(&level, state?) })
    }
}

/// Why nothing of the guest is filtered, whatever its own firewall says. What may not be read is not told.
pub async fn notes(pve: &Reader<'_>, guest: &Guest) -> Vec<String> {
    let (cluster, config) = tokio::join!(cluster_is_on(pve), pve.config(guest));
    let mut notes = Vec::new();
    if cluster == Some(false) {
        notes.push(
            "the cluster's firewall is off: nothing is filtered until that is on (proxmox-firewall-set)".to_owned(),
        );
    }
    let open: Vec<String> = config
        .iter()
        .flat_map(|config| config.iter())
        .filter(|(key, value)| {
            key.strip_prefix("net").is_some_and(|n| n.parse::<u32>().is_ok())
                && PropertyString::parse(value).get("firewall") != Some("1")
        })
        .map(|(key, _)| key.to_owned())
        .collect();
    if !open.is_empty() {
        notes.push(format!("not filtered, as firewall=1 is not set on it: {}", open.join(", ")));
    }
    notes
}

/// Change a guest's firewall: switch it on or off, add or replace rules.
#[derive(Deserialize, JsonSchema)]
pub struct Set {
    #[serde(flatten)]
    guest: GuestRef,
    #[serde(flatten)]
    wanted: Wanted,
}

impl Tool for Set {
    const NAME: &str = "proxmox-vm-firewall-set";
    const TITLE: &str = "Change a guest's firewall";
    const API: &[&str] = &[
        "GET /nodes/{node}/{type}/{vmid}/firewall/options",
        "GET /nodes/{node}/{type}/{vmid}/firewall/rules",
        "GET /nodes/{node}/{type}/{vmid}/firewall/refs",
        "GET /cluster/firewall/options",
        "GET /cluster/firewall/macros",
        "GET /cluster/firewall/groups",
        "PUT /nodes/{node}/{type}/{vmid}/firewall/options",
        "POST /nodes/{node}/{type}/{vmid}/firewall/rules",
        "DELETE /nodes/{node}/{type}/{vmid}/firewall/rules/{pos}",
    ];
    const EXAMPLE: (&str, &str) = (
        "Let only SSH and HTTPS in to web-02",
        r#"{"name": "web-02", "enable": true, "rules": ["IN SSH(ACCEPT)", {"type": "in", "action": "ACCEPT", "proto": "tcp", "dport": "443"}], "confirm": true}"#,
    );
}

impl Action for Set {
    const EFFECT: Effect = Effect::Write;
    const CONTROL: Control = Control::instant().confirmed();
    async fn plan(&self, pve: &Reader<'_>) -> Result<Plan> {
        let guest = pve.guest(&self.guest, Want::Any).await?;
        self.wanted.plan(pve, &Level::Guest(guest)).await
    }
}
