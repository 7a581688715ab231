//! High availability: which guests it keeps running, by which rules, and how it is doing.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::cluster::Manager;
use crate::{
    pve::{GuestKind, encode},
    tool::*,
};

pub const TOOLS: &[Entry] = &[Entry::list::<ListHa>(), Entry::action::<HaSet>(), Entry::action::<HaRemove>()];

/// List guests under high availability with their states, and its rules (or groups) and nodes.
#[derive(Deserialize, JsonSchema)]
struct ListHa {}

impl Tool for ListHa {
    const NAME: &str = "proxmox-list-ha";
    const TITLE: &str = "High availability";
    const API: &[&str] = &[
        "GET /cluster/ha/resources",
        "GET /cluster/ha/status/current",
        "GET /cluster/ha/status/manager_status",
        "GET /cluster/ha/rules",
        "GET /cluster/ha/groups",
    ];
    const EXAMPLE: (&str, &str) = ("Which guests are highly available?", r#"{}"#);
}

/// A row of `GET /cluster/ha/resources`.
#[derive(Deserialize)]
struct Resource {
    sid: String,
    state: Option<String>,
    group: Option<String>,
    max_restart: Option<u64>,
    max_relocate: Option<u64>,
    failback: Option<bool>,
    comment: Option<String>,
    digest: Option<String>,
}

/// A row of `GET /cluster/ha/status/current`.
#[derive(Deserialize)]
struct Entity {
    r#type: String,
    sid: Option<String>,
    node: Option<String>,
    state: Option<String>,
    status: Option<String>,
    quorate: Option<bool>,
}

#[derive(Serialize, JsonSchema)]
struct Ha {
    #[serde(skip_serializing_if = "Option::is_none")]
    quorate: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    master: Option<String>,
    total: usize,
    resources: Vec<Row>,
    /// Proxmox 9: where resources run.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    rules: Vec<Map<String, Value>>,
    /// Proxmox 8: the same.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    groups: Vec<Map<String, Value>>,
    /// Node → online, maintenance, unknown, fence or gone.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    nodes: BTreeMap<String, String>,
    /// What the local resource managers say.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    managers: Vec<String>,
}

#[derive(Serialize, JsonSchema)]
struct Row {
    sid: String,
    /// Wanted: started, stopped, disabled or ignored.
    wanted: String,
    /// Present, as in started, queued, error.
    #[serde(skip_serializing_if = "Option::is_none")]
    state: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    node: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    group: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_restart: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_relocate: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    failback: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    comment: Option<String>,
}

/// Proxmox 9 has rules; before it there were groups.
pub(super) async fn rules_or_groups(pve: &Reader<'_>) -> Result<(Vec<Map<String, Value>>, Vec<Map<String, Value>>)> {
    let clean = |mut rows: Vec<Map<String, Value>>| {
        rows.iter_mut().for_each(|row| drop(row.shift_remove("digest")));
        rows
    };
    match pve.get::<Vec<Map<String, Value>>>("/cluster/ha/rules").await {
        Ok(rules) => Ok((clean(rules), Vec::new())),
        Err(e) if e.parts().status == Some(501) => Ok((Vec::new(), clean(pve.get("/cluster/ha/groups").await?))),
        Err(e) => Err(e),
    }
}

impl Query for ListHa {
    type Output = Ha;
    async fn query(&self, pve: &Reader<'_>) -> Result<Ha> {
        let (resources, entities, manager, rules) = tokio::join!(
            pve.get::<Vec<Resource>>("/cluster/ha/resources"),
            pve.get::<Vec<Entity>>("/cluster/ha/status/current"),
            Manager::read(pve),
            rules_or_groups(pve)
        );
        let (mut resources, entities, (rules, groups)) = (resources?, entities?, rules?);
        resources.sort_by(|a, b| a.sid.cmp(&b.sid));
        let resources: Vec<Row> = resources
            .into_iter()
            .map(|r| {
                let now = entities.iter().find(|e| e.r#type == "service" && e.sid.as_deref() == Some(&r.sid));
                Row {
                    wanted: r.state.unwrap_or_else(|| "started".to_owned()),
                    state: now.and_then(|e| e.state.clone()),
                    node: now.and_then(|e| e.node.clone()),
                    sid: r.sid,
                    group: r.group,
                    max_restart: r.max_restart,
                    max_relocate: r.max_relocate,
                    failback: r.failback,
                    comment: r.comment,
                }
            })
            .collect();
        Ok(Ha {
            quorate: entities.iter().find(|e| e.r#type == "quorum").and_then(|e| e.quorate),
            master: manager.master_node,
            total: resources.len(),
            resources,
            rules,
            groups,
            nodes: manager.node_status,
            managers: entities.into_iter().filter(|e| e.r#type == "lrm").filter_map(|e| e.status).collect(),
        })
    }
}

#[derive(Deserialize, Serialize, JsonSchema, Clone, Copy, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
enum State {
    Started,
    Stopped,
    Disabled,
    Ignored,
}

impl State {
    fn word(self) -> &'static str {
        match self {
            Self::Started => "started",
            Self::Stopped => "stopped",
            Self::Disabled => "disabled",
            Self::Ignored => "ignored",
        }
    }
}

pub(super) fn sid(guest: &Guest) -> String {
    format!("{}:{}", if guest.kind == GuestKind::Qemu { "vm" } else { "ct" }, guest.vmid)
}

async fn resource(pve: &Reader<'_>, sid: &str) -> Result<Option<Resource>> {
    let all: Vec<Resource> = pve.get("/cluster/ha/resources").await?;
    Ok(all.into_iter().find(|resource| resource.sid == sid))
}

/// Whether HA looks after the guest, as its configuration says it now: lists of guests learn of it late.
///
/// # Errors
/// Proxmox's.
pub(super) async fn is_managed(pve: &Reader<'_>, guest: &Guest) -> Result<bool> {
    resource(pve, &sid(guest)).await.map(|there| there.is_some())
}

/// Put a guest under high availability, or change how.
#[derive(Deserialize, JsonSchema)]
struct HaSet {
    #[serde(flatten)]
    guest: GuestRef,
    state: Option<State>,
    max_restart: Option<u32>,
    max_relocate: Option<u32>,
    /// Proxmox 8 only.
    group: Option<String>,
    comment: Option<String>,
}

impl Tool for HaSet {
    const NAME: &str = "proxmox-ha-set";
    const TITLE: &str = "Set high availability";
    const API: &[&str] =
        &["GET /cluster/ha/resources", "POST /cluster/ha/resources", "PUT /cluster/ha/resources/{sid}"];
    const EXAMPLE: (&str, &str) = (
        "Make web-01 highly available",
        r#"{"name": "web-01", "state": "started", "max_restart": 2, "confirm": true}"#,
    );
}

impl Action for HaSet {
    const EFFECT: Effect = Effect::Write;
    const CONTROL: Control = Control::instant().confirmed();
    async fn plan(&self, pve: &Reader<'_>) -> Result<Plan> {
        let guest = pve.guest(&self.guest, Want::Any).await?;
        let sid = sid(&guest);
        let there = resource(pve, &sid).await?;
        let number = |n: Option<u64>| n.map(|n| n.to_string());
        let mut wanted: Vec<(&'static str, Option<String>, String)> = Vec::new();
        let mut want = |key: &'static str, old: Option<String>, new: Option<String>| {
            wanted.extend(new.filter(|new| old.as_ref() != Some(new)).map(|new| (key, old, new)));
        };
        let old = there.as_ref();
        let state = self.state.or_else(|| there.is_none().then_some(State::Started));
        want(
            "state",
            old.map(|r| r.state.clone().unwrap_or_else(|| "started".to_owned())),
            state.map(|s| s.word().to_owned()),
        );
        want("max_restart", number(old.and_then(|r| r.max_restart)), number(self.max_restart.map(u64::from)));
        want("max_relocate", number(old.and_then(|r| r.max_relocate)), number(self.max_relocate.map(u64::from)));
        want("group", old.and_then(|r| r.group.clone()), self.group.clone());
        want("comment", old.and_then(|r| r.comment.clone()), self.comment.clone());
        if wanted.is_empty() {
            return Err(Error::bad_argument(format!("nothing to change: HA manages {guest} like that already")));
        }
        let (verb, mut request) = match old {
            None => ("put under high availability:", Request::post("/cluster/ha/resources").param("sid", &sid)),
            Some(_) => ("change high availability of", Request::put(format!("/cluster/ha/resources/{}", encode(&sid)))),
        };
        let mut plan = Plan::on(&guest, verb);
        let running = guest.status == "running";
        plan.undo = Some(match old {
            None => {
                let undo = Undo::call(HaRemove::NAME, json!({"vmid": guest.vmid}));
                let moved = match state {
                    Some(State::Started) if !running => Some("the guest, which HA starts, goes on running"),
                    Some(State::Stopped | State::Disabled) if running => Some("the guest, which HA stops, stays off"),
                    _ => None,
                };
                if let Some(moved) = moved { undo.note(moved) } else { undo }
            }
            Some(_) => before(&guest, &wanted),
        });
        for (key, old, new) in wanted {
            request = request.param(key, &new);
            plan = plan.change(key, old, Some(new));
        }
        Ok(plan
            .step(request.maybe("digest", there.and_then(|r| r.digest)))
            .warn_if(state == Some(State::Started) && !running, || format!("HA starts {guest}"))
            .warn_if(matches!(state, Some(State::Stopped | State::Disabled)) && running, || format!("HA stops {guest}"))
            .warn_if(guest.template, || format!("{guest} is a template: it cannot be started")))
    }
}

/// The call that sets what changes to what it was. What was not set was at Proxmox's default.
fn before(guest: &Guest, changes: &[(&'static str, Option<String>, String)]) -> Undo {
    let (mut arguments, mut lost) = (json!({"vmid": guest.vmid}), None);
    for (key, old, _) in changes {
        arguments[*key] = match (*key, old.as_deref()) {
            ("max_restart" | "max_relocate", old) => old.and_then(|old| old.parse::<u64>().ok()).unwrap_or(1).into(),
            ("state", old) => wanted_state(old).into(),
            ("group", None) => {
                lost = Some("it stays in the group");
                continue;
            }
            (_, old) => old.unwrap_or_default().into(),
        };
    }
    let undo = match arguments.as_object().map(Map::len) {
        Some(1) => Undo::never("a guest cannot be taken out of its group alone"),
        _ => Undo::call(HaSet::NAME, arguments),
    };
    if let Some(lost) = lost { undo.note(lost) } else { undo }
}

/// `enabled` is an old word for it.
fn wanted_state(state: Option<&str>) -> &str {
    state.filter(|state| *state != "enabled").unwrap_or("started")
}

/// Take a guest out of high availability. It goes on running.
#[derive(Deserialize, JsonSchema)]
struct HaRemove {
    #[serde(flatten)]
    guest: GuestRef,
}

impl Tool for HaRemove {
    const NAME: &str = "proxmox-ha-remove";
    const TITLE: &str = "Remove from high availability";
    const API: &[&str] = &["GET /cluster/ha/resources", "DELETE /cluster/ha/resources/{sid}"];
    const EXAMPLE: (&str, &str) = ("Take mail out of high availability", r#"{"name": "mail", "confirm": true}"#);
}

impl Action for HaRemove {
    const EFFECT: Effect = Effect::Destroy;
    const CONTROL: Control = Control::instant().confirmed();
    async fn plan(&self, pve: &Reader<'_>) -> Result<Plan> {
        let guest = pve.guest(&self.guest, Want::Any).await?;
        let sid = sid(&guest);
        let there = resource(pve, &sid).await?;
        let state = there.as_ref().map(|r| r.state.clone().unwrap_or_else(|| "started".to_owned()));
        let mut plan = Plan::on(&guest, "take out of high availability:");
        plan.undo = there.as_ref().map(|there| again(&guest, there));
        Ok(plan
            .check(there.is_some(), || format!("HA manages {guest}"), || format!("HA does not manage {guest}"))
            .change(&sid, state, None::<&str>)
            .step(Request::delete(format!("/cluster/ha/resources/{}", encode(&sid)))))
    }
}

/// The call that puts the guest under high availability as it was.
fn again(guest: &Guest, there: &Resource) -> Undo {
    let mut arguments = json!({"vmid": guest.vmid, "state": wanted_state(there.state.as_deref())});
    for (key, number) in [("max_restart", there.max_restart), ("max_relocate", there.max_relocate)] {
        if let Some(number) = number {
            arguments[key] = number.into();
        }
    }
    for (key, text) in [("group", &there.group), ("comment", &there.comment)] {
        if let Some(text) = text.as_deref().filter(|text| !text.is_empty()) {
            arguments[key] = text.into();
        }
    }
    // Proxmox takes the guest out of the rules that name it, and drops a rule that then names nobody.
    let failback = if there.failback == Some(false) { "that it does not fail back, and " } else { "" };
    Undo::call(HaSet::NAME, arguments).note(format!("not {failback}its place in HA rules"))
}
