//! The cluster as one: its nodes, quorum, high availability, Ceph.

use std::collections::BTreeMap;

use serde_json::json;

use super::{
    check::{Check, Finding, Severity, Told},
    look::Look,
};
use crate::{error::Error, tool::Deserialize};

pub const CHECKS: &[Check] = &[
    Check { name: "nodes", api: &[], sees: &[], run: |look| Box::pin(async { nodes(look) }) },
    Check { name: "quorum", api: &["GET /cluster/status"], sees: &[], run: |look| Box::pin(quorum(look)) },
    Check { name: "ha", api: &["GET /cluster/ha/status/current"], sees: &[], run: |look| Box::pin(ha(look)) },
    Check { name: "ceph", api: &["GET /cluster/ceph/status"], sees: &[], run: |look| Box::pin(ceph(look)) },
];

fn nodes(look: &Look<'_>) -> Told {
    let mut told = Told::default();
    let online = look.online().count();
    for node in look.nodes.iter().filter(|node| !node.is_online()) {
        let name = &node.node;
        let status = node.status.as_deref().unwrap_or("unknown");
        let guests = look.guests().map(|all| all.iter().filter(|guest| *guest.node == **name).count()).unwrap_or(0);
        let evidence = format!("{status}, with {guests} guests; {online} of {} nodes are online", look.nodes.len());
        told.find(
            Finding::new(Severity::Critical, format!("node {name}"), evidence)
                .help("proxmox-wake-node", &json!({"node": name})),
        );
    }
    told
}

/// A row of `GET /cluster/status`.
#[derive(Deserialize)]
struct Member {
    r#type: String,
    quorate: Option<bool>,
    #[serde(default)]
    online: bool,
}

async fn quorum(look: &Look<'_>) -> Told {
    let mut told = Told::default();
    let Some(members) = told.unless("", look.get::<Vec<Member>>("/cluster/status").await) else { return told };
    // A single node is its own quorum.
    let Some(cluster) = members.iter().find(|member| member.r#type == "cluster") else { return told };
    let nodes = members.iter().filter(|member| member.r#type == "node");
    let (all, online) = (nodes.clone().count(), nodes.filter(|member| member.online).count());
    let help = |finding: Finding| finding.help("proxmox-cluster-status", &json!({}));
    if !cluster.quorate.unwrap_or(false) {
        let evidence = format!("lost, with {online} of {all} nodes online: nothing can be changed or started");
        told.find(help(Finding::new(Severity::Critical, "cluster", evidence)));
    } else if online < all && (online - 1) * 2 <= all {
        let evidence = format!("there, with {online} of {all} nodes online; by the nodes' votes the next one takes it");
        told.find(help(Finding::new(Severity::Warning, "cluster", evidence)));
    }
    told
}

/// A row of `GET /cluster/ha/status/current`.
#[derive(Deserialize)]
struct Entity {
    r#type: String,
    sid: Option<String>,
    #[serde(default)]
    node: String,
    state: Option<String>,
    request_state: Option<String>,
    #[serde(default)]
    status: String,
    #[serde(rename = "armed-state")]
    armed: Option<String>,
}

async fn ha(look: &Look<'_>) -> Told {
    let mut told = Told::default();
    let Some(rows) = told.unless("", look.get::<Vec<Entity>>("/cluster/ha/status/current").await) else { return told };
    let gone = |node: &str| look.nodes.iter().any(|known| known.node == node && !known.is_online());
    for row in &rows {
        let state = row.state.as_deref().unwrap_or_default();
        let severity = match row.r#type.as_str() {
            "service" if matches!(state, "error" | "fence" | "recovery") => Severity::Critical,
            "service" if row.node == "---" => Severity::Warning,
            "master" if row.status.contains("dead?") => Severity::Critical,
            // What is said of a node that is offline is said once.
            "lrm" if row.status.contains("dead?") && !gone(&row.node) => Severity::Critical,
            "lrm" if row.status.contains("maintenance mode") => Severity::Info,
            "fencing" if row.armed.as_deref().is_some_and(|armed| armed != "armed") => Severity::Warning,
            _ => continue,
        };
        let (subject, evidence) = match (&row.sid, &row.armed) {
            (Some(sid), _) => {
                let wanted = row.request_state.as_deref().unwrap_or("started");
                (sid.clone(), format!("{state} on {}, wanted is {wanted}", row.node))
            }
            (None, Some(armed)) => ("HA".to_owned(), format!("it is {armed}: no node would be fenced")),
            (None, None) => (format!("{} of {}", row.r#type, row.node), row.status.clone()),
        };
        told.find(Finding::new(severity, subject, evidence).help("proxmox-list-ha", &json!({})));
    }
    told
}

/// The part of `GET /cluster/ceph/status` that says how it is.
#[derive(Deserialize)]
struct Ceph {
    health: CephHealth,
}

#[derive(Deserialize)]
struct CephHealth {
    status: String,
    #[serde(default)]
    checks: BTreeMap<String, CephCheck>,
}

#[derive(Deserialize)]
struct CephCheck {
    severity: Option<String>,
    summary: Option<CephSummary>,
    #[serde(default)]
    muted: bool,
}

#[derive(Deserialize)]
struct CephSummary {
    message: String,
}

async fn ceph(look: &Look<'_>) -> Told {
    let mut told = Told::default();
    let answer = look.get::<Ceph>("/cluster/ceph/status").await;
    if answer.as_ref().is_err_and(is_no_ceph) {
        return told;
    }
    if let Some(Ceph { health }) = told.unless("", answer) {
        told.findings = of_ceph(health);
    }
    told
}

/// Most clusters have none, and Proxmox says so with an error.
fn is_no_ceph(error: &Error) -> bool {
    let words = error.to_string();
    error.parts().status == Some(500) && (words.contains("not installed") || words.contains("not initialized"))
}

fn of_ceph(health: CephHealth) -> Vec<Finding> {
    let severity = |word: &str| match word {
        "HEALTH_ERR" => Severity::Critical,
        _ => Severity::Warning,
    };
    if health.status == "HEALTH_OK" {
        return Vec::new();
    }
    let mut found: Vec<Finding> = health
        .checks
        .into_iter()
        .filter(|(_, check)| !check.muted)
        .map(|(name, check)| {
            let said = check.summary.map_or_else(|| health.status.clone(), |summary| summary.message);
            Finding::new(severity(check.severity.as_deref().unwrap_or(&health.status)), format!("Ceph {name}"), said)
        })
        .collect();
    if found.is_empty() {
        found.push(Finding::new(severity(&health.status), "Ceph", health.status));
    }
    let read = json!({"path": "/cluster/ceph/status"});
    found.into_iter().map(|finding| finding.help("proxmox-api-get", &read)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(health: serde_json::Value) -> Result<Vec<(Severity, String, String)>, serde_json::Error> {
        let found = of_ceph(serde_json::from_value(health)?);
        Ok(found.into_iter().map(|finding| (finding.severity, finding.subject, finding.evidence)).collect())
    }

    #[test]
    fn what_ceph_complains_of_is_told_unless_it_is_muted() -> Result<(), serde_json::Error> {
        let osd = json!({"severity": "HEALTH_WARN", "summary": {"message": "1 osds down", "count": 1}, "muted": false});
        let full = json!({"severity": "HEALTH_ERR", "summary": {"message": "1 full osd(s)"}});
        let muted = json!({"severity": "HEALTH_WARN", "summary": {"message": "no dashboard"}, "muted": true});
        let checks = json!({"OSD_DOWN": osd, "OSD_FULL": full, "MGR": muted});
        let expected = [
            (Severity::Warning, "Ceph OSD_DOWN".to_owned(), "1 osds down".to_owned()),
            (Severity::Critical, "Ceph OSD_FULL".to_owned(), "1 full osd(s)".to_owned()),
        ];
        assert_eq!(told(json!({"status": "HEALTH_ERR", "checks": checks}))?, expected);
        let bare = [(Severity::Warning, "Ceph".to_owned(), "HEALTH_WARN".to_owned())];
        assert_eq!(told(json!({"status": "HEALTH_WARN"}))?, bare);
        assert_eq!(told(json!({"status": "HEALTH_OK", "checks": {}}))?, []);
        Ok(())
    }
}
