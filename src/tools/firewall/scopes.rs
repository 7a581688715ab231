//! The firewalls of the nodes and of the cluster, and a rule that goes, of whichever.

use super::{
    Firewall, Level, State,
    change::{self, Wanted},
    cluster_is_on,
};
use crate::tool::*;

/// Show a node's firewall, or without node the cluster's: options and rules.
#[derive(Deserialize, JsonSchema)]
pub struct Get {
    node: Option<String>,
}

impl Tool for Get {
    const NAME: &str = "proxmox-firewall-get";
    const TITLE: &str = "Node or cluster firewall";
    const API: &[&str] = &[
        "GET /cluster/firewall/options",
        "GET /cluster/firewall/rules",
        "GET /nodes/{node}/firewall/options",
        "GET /nodes/{node}/firewall/rules",
    ];
    const EXAMPLE: (&str, &str) = ("Is the cluster's firewall on?", r#"{}"#);
}

impl Query for Get {
    type Output = Firewall;
    async fn query(&self, pve: &Reader<'_>) -> Result<Firewall> {
        let level = Level::of(pve, None, self.node.as_deref()).await?;
        let mut report = Firewall::new(&level, State::read(pve, &level).await?);
        if matches!(level, Level::Node(_)) && cluster_is_on(pve).await == Some(false) {
            report.notes.push("the cluster's firewall is off: nothing is filtered until that is on".to_owned());
        }
        Ok(report)
    }
}

/// Change a node's firewall, or without node the cluster's, which has to be on for any to filter.
#[derive(Deserialize, JsonSchema)]
pub struct Set {
    node: Option<String>,
    #[serde(flatten)]
    wanted: Wanted,
}

impl Tool for Set {
    const NAME: &str = "proxmox-firewall-set";
    const TITLE: &str = "Change a node's or the cluster's firewall";
    const API: &[&str] = &[
        "GET /cluster/firewall/options",
        "GET /cluster/firewall/rules",
        "GET /cluster/firewall/macros",
        "GET /cluster/firewall/groups",
        "GET /cluster/firewall/refs",
        "PUT /cluster/firewall/options",
        "POST /cluster/firewall/rules",
        "DELETE /cluster/firewall/rules/{pos}",
        "GET /nodes/{node}/firewall/options",
        "GET /nodes/{node}/firewall/rules",
        "PUT /nodes/{node}/firewall/options",
        "POST /nodes/{node}/firewall/rules",
        "DELETE /nodes/{node}/firewall/rules/{pos}",
    ];
    const EXAMPLE: (&str, &str) = (
        "Allow SSH and the web interface to all nodes from the office",
        r#"{"rules": ["IN ACCEPT -source 10.9.0.0/16 -p tcp -dport 22,8006 # office"], "confirm": true}"#,
    );
}

impl Action for Set {
    const EFFECT: Effect = Effect::Write;
    const CONTROL: Control = Control::instant().confirmed();
    async fn plan(&self, pve: &Reader<'_>) -> Result<Plan> {
        self.wanted.plan(pve, &Level::of(pve, None, self.node.as_deref()).await?).await
    }
}

/// Delete one firewall rule of a guest (vmid), a node (node) or the cluster.
#[derive(Deserialize, JsonSchema)]
pub struct RuleDelete {
    #[schemars(range(min = 100, max = 999_999_999))]
    vmid: Option<u32>,
    node: Option<String>,
    /// Shifts with every change.
    #[schemars(range(min = 0))]
    pos: u32,
}

impl Tool for RuleDelete {
    const NAME: &str = "proxmox-firewall-rule-delete";
    const TITLE: &str = "Delete a firewall rule";
    const API: &[&str] = &[
        "GET /cluster/firewall/options",
        "GET /cluster/firewall/rules",
        "DELETE /cluster/firewall/rules/{pos}",
        "GET /nodes/{node}/firewall/options",
        "GET /nodes/{node}/firewall/rules",
        "DELETE /nodes/{node}/firewall/rules/{pos}",
        "GET /nodes/{node}/{type}/{vmid}/firewall/options",
        "GET /nodes/{node}/{type}/{vmid}/firewall/rules",
        "DELETE /nodes/{node}/{type}/{vmid}/firewall/rules/{pos}",
    ];
    const EXAMPLE: (&str, &str) =
        ("Delete the first firewall rule of web-02", r#"{"vmid": 101, "pos": 0, "confirm": true}"#);
}

impl Action for RuleDelete {
    const EFFECT: Effect = Effect::Destroy;
    const CONTROL: Control = Control::instant().confirmed();
    async fn plan(&self, pve: &Reader<'_>) -> Result<Plan> {
        let level = Level::of(pve, self.vmid, self.node.as_deref()).await?;
        let state = State::read(pve, &level).await?;
        let pos = self.pos as usize;
        let Some(rule) = state.rules.get(pos) else {
            return Err(Error::not_found(format!(
                "pos: there is no rule at position {pos}, but {}",
                state.rules.len()
            ))
            .hint("positions begin with 0"));
        };
        let request = Request::delete(level.path(&format!("rules/{pos}"))).maybe("digest", state.digest.as_deref());
        let mut plan = level.plan(&format!("delete rule {pos} of"));
        plan.undo = Some(change::before(&level, &state, std::iter::empty(), Some(&state.rules)));
        Ok(plan.change(&format!("rule {pos}"), Some(rule.to_string()), None::<&str>).step(request))
    }
}
