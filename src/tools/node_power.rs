//! Power of whole nodes, and of all guests of a node.

use serde_json::{Value, json};

use crate::{pve::encode, tool::*};

pub const TOOLS: &[Entry] = &[
    Entry::action::<RebootNode>(),
    Entry::action::<ShutdownNode>(),
    Entry::action::<WakeNode>(),
    Entry::action::<StartAll>(),
    Entry::action::<StopAll>(),
];

/// Guests as in "web-01 (100), 101".
fn named<'a>(guests: impl IntoIterator<Item = &'a crate::pve::Resource>) -> (usize, String) {
    /// More are counted.
    const SHOWN: usize = 20;
    let all: Vec<String> = guests
        .into_iter()
        .map(|g| g.name.as_deref().map_or_else(|| g.vmid.to_string(), |name| format!("{name} ({})", g.vmid)))
        .collect();
    let more = all.len().saturating_sub(SHOWN);
    let mut text = all.iter().take(SHOWN).cloned().collect::<Vec<_>>().join(", ");
    if more > 0 {
        text.push_str(&format!(" and {more} more"));
    }
    (all.len(), text)
}

async fn power(pve: &Reader<'_>, node: &str, verb: &str, command: &str) -> Result<Plan> {
    pve.known_node(node).await?;
    let guests = pve.resources().await?;
    let here = || guests.iter().filter(|g| &*g.node == node && &*g.status == "running");
    let (count, names) = named(here());
    let (ha, managed) = named(here().filter(|g| g.hastate.as_deref().is_some_and(|state| state != "ignored")));
    Ok(Plan::new(format!("{verb} node {node}"))
        .about("node", node)
        .about("running_guests", count)
        .warn_if(count > 0, || format!("{count} running guests are shut down first: {names}"))
        .warn_if(ha > 0, || {
            format!("high availability decides about {managed}: as its shutdown policy says, they move or stay")
        })
        .step(Request::post(format!("/nodes/{}/status", encode(node))).param("command", command)))
}

/// Reboot a node. Its guests are shut down first; those that start at boot come back with it.
#[derive(Deserialize, JsonSchema)]
struct RebootNode {
    node: String,
}

impl Tool for RebootNode {
    const NAME: &str = "proxmox-reboot-node";
    const TITLE: &str = "Reboot a node";
    const API: &[&str] = &["GET /nodes", "POST /nodes/{node}/status"];
    const EXAMPLE: (&str, &str) = ("Reboot pve3", r#"{"node": "pve3", "confirm": true}"#);
}

impl Action for RebootNode {
    const EFFECT: Effect = Effect::Write;
    const CONTROL: Control = Control::instant().confirmed();
    async fn plan(&self, pve: &Reader<'_>) -> Result<Plan> {
        Ok(power(pve, &self.node, "reboot", "reboot").await?.no_undo("a reboot cannot be taken back"))
    }
}

/// Shut a node down and its guests with it. It comes back only by hand or by proxmox-wake-node.
#[derive(Deserialize, JsonSchema)]
struct ShutdownNode {
    node: String,
}

impl Tool for ShutdownNode {
    const NAME: &str = "proxmox-shutdown-node";
    const TITLE: &str = "Shut down a node";
    const API: &[&str] = &["GET /nodes", "POST /nodes/{node}/status"];
    const EXAMPLE: (&str, &str) = ("Switch pve3 off", r#"{"node": "pve3", "confirm": true}"#);
}

impl Action for ShutdownNode {
    const EFFECT: Effect = Effect::Write;
    const CONTROL: Control = Control::instant().confirmed();
    async fn plan(&self, pve: &Reader<'_>) -> Result<Plan> {
        let mut plan = power(pve, &self.node, "shut down", "shutdown").await?;
        let undo = Undo::call("proxmox-wake-node", json!({"node": self.node}));
        plan.undo = Some(
            undo.note("works where the node is set up for Wake-on-LAN; of its guests those start that do so at boot"),
        );
        Ok(plan)
    }
}

/// Wake a node that is off by Wake-on-LAN; its options must hold its MAC address.
#[derive(Deserialize, JsonSchema)]
struct WakeNode {
    node: String,
}

impl Tool for WakeNode {
    const NAME: &str = "proxmox-wake-node";
    const TITLE: &str = "Wake a node";
    const API: &[&str] = &["GET /nodes", "POST /nodes/{node}/wakeonlan"];
    const EXAMPLE: (&str, &str) = ("Switch pve3 on again", r#"{"node": "pve3"}"#);
}

impl Action for WakeNode {
    const EFFECT: Effect = Effect::Write;
    const CONTROL: Control = Control::instant();
    const LOOKS_AFTER: bool = true;
    async fn plan(&self, pve: &Reader<'_>) -> Result<Plan> {
        let node = pve.known_node(&self.node).await?;
        let plan = Plan::new(format!("wake node {} by Wake-on-LAN", self.node)).about("node", self.node.as_str());
        let plan = match node.is_online() {
            true => plan.no_undo("nothing changes"),
            false => plan.undo(ShutdownNode::NAME, json!({"node": self.node})),
        };
        Ok(plan.step(Request::post(format!("/nodes/{}/wakeonlan", encode(&self.node)))))
    }

    async fn result(&self, _: &Reader<'_>, _: &Plan, done: Done<'_>) -> Result<Option<Value>> {
        let note = "the packet was sent; whether the node wakes shows in proxmox-list-nodes in a few minutes";
        Ok(done.answers.first().map(|mac| json!({"mac": mac, "note": note})))
    }
}

/// A list of VMIDs as Proxmox takes it.
fn list(vmids: &[u32]) -> Option<String> {
    (!vmids.is_empty()).then(|| vmids.iter().map(u32::to_string).collect::<Vec<_>>().join(","))
}

/// The guests of the node that would change: those asked for, in the other state.
async fn affected(pve: &Reader<'_>, plan: Plan, (node, vmids, state): (&str, &[u32], &str)) -> Result<Plan> {
    let all = pve.resources().await?;
    let asked = |vmid: u32| vmids.is_empty() || vmids.contains(&vmid);
    let here = || all.iter().filter(|g| &*g.node == node && !g.template && asked(g.vmid));
    let (count, names) = named(here().filter(|g| &*g.status == state));
    let missing: Vec<String> = vmids.iter().filter(|v| !here().any(|g| g.vmid == **v)).map(u32::to_string).collect();
    let changed: Vec<u32> = here().filter(|g| &*g.status == state).map(|g| g.vmid).collect();
    let mut plan = plan
        .about("node", node)
        .about("guests", count)
        .warn_if(!missing.is_empty(), || format!("passed over, as not on {node}: {}", missing.join(", ")));
    plan.undo = Some(match state {
        _ if changed.is_empty() => Undo::never("nothing changes"),
        "running" => Undo::call(StartAll::NAME, json!({"node": node, "vmids": changed})).note("they start anew"),
        _ => Undo::call(StopAll::NAME, json!({"node": node, "vmids": changed})),
    });
    Ok(match state {
        "running" => plan.warn_if(count > 0, || format!("{count} guests are shut down: {names}")),
        _ => plan.warn_if(count == 0, || format!("no stopped guest on {node} to start")),
    })
}

/// Start a node's guests in their boot order: all with onboot set, or those in vmids.
#[derive(Deserialize, JsonSchema)]
struct StartAll {
    node: Option<String>,
    vmids: Option<Vec<u32>>,
    /// Also guests without onboot.
    #[serde(default)]
    force: bool,
}

impl Tool for StartAll {
    const NAME: &str = "proxmox-start-all-guests";
    const TITLE: &str = "Start all guests";
    const API: &[&str] = &["GET /nodes", "POST /nodes/{node}/startall"];
    const EXAMPLE: (&str, &str) = ("Start everything on pve2 that starts at boot", r#"{"node": "pve2", "wait": true}"#);
}

impl Action for StartAll {
    const EFFECT: Effect = Effect::Write;
    const CONTROL: Control = Control::new(1800);
    async fn plan(&self, pve: &Reader<'_>) -> Result<Plan> {
        let node = pve.node(self.node.as_deref()).await?;
        // Who names guests wants them started, whatever their onboot says.
        let vmids = self.vmids.as_deref().unwrap_or_default();
        let force = self.force || !vmids.is_empty();
        let request = Request::post(format!("/nodes/{}/startall", encode(&node)));
        let plan =
            Plan::new(format!("start {} of node {node}", if force { "guests" } else { "the guests with onboot" }))
                .step(request.flag("force", force).maybe("vms", list(vmids)));
        affected(pve, plan, (&node, vmids, "stopped")).await
    }
}

/// Shut down a node's guests, or those in vmids. What does not react is powered off, unless force_stop is false.
#[derive(Deserialize, JsonSchema)]
struct StopAll {
    node: Option<String>,
    vmids: Option<Vec<u32>>,
    force_stop: Option<bool>,
    /// Seconds each has; default 180.
    #[schemars(range(min = 0, max = 7200))]
    timeout: Option<u32>,
}

impl Tool for StopAll {
    const NAME: &str = "proxmox-stop-all-guests";
    const TITLE: &str = "Stop all guests";
    const API: &[&str] = &["GET /nodes", "POST /nodes/{node}/stopall"];
    const EXAMPLE: (&str, &str) =
        ("Shut down everything on pve3", r#"{"node": "pve3", "confirm": true, "wait": true}"#);
}

impl Action for StopAll {
    const EFFECT: Effect = Effect::Write;
    const CONTROL: Control = Control::new(1800).confirmed().wait_timeout();
    async fn plan(&self, pve: &Reader<'_>) -> Result<Plan> {
        let node = pve.node(self.node.as_deref()).await?;
        let vmids = self.vmids.as_deref().unwrap_or_default();
        let request = Request::post(format!("/nodes/{}/stopall", encode(&node)))
            .maybe("vms", list(vmids))
            .maybe("force-stop", self.force_stop.map(u8::from))
            .maybe("timeout", self.timeout);
        let plan = Plan::new(format!("shut down guests of node {node}")).step(request);
        affected(pve, plan, (&node, vmids, "running")).await
    }
}
