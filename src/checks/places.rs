//! Where things go: nodes, storages and their room, volumes, bridges, VMIDs.

use serde::Deserialize;

use super::{Checked, asked::Asked};
use crate::{
    error::Kind,
    pve::{Request, encode},
};

pub async fn node(pve: &Asked<'_>, node: &str) -> Option<Checked> {
    #[derive(Deserialize)]
    struct Row {
        node: String,
        status: Option<String>,
    }
    let nodes: Vec<Row> = pve.get("/nodes").await.ok()?;
    Some(match nodes.iter().find(|n| n.node == node) {
        None => Checked::problem(format!("there is no node {node}")),
        Some(row) => match row.status.as_deref() {
            None | Some("online") => Checked::good(format!("node {node} is online")),
            Some(other) => Checked::problem(format!("node {node} is {other}")),
        },
    })
}

#[derive(Deserialize)]
struct Row {
    storage: String,
    #[serde(default)]
    content: String,
    /// Absent: on.
    enabled: Option<bool>,
    active: Option<bool>,
    avail: Option<u64>,
}

pub async fn storage(pve: &Asked<'_>, name: &str, node: &str, content: &str, bytes: u64) -> Option<Checked> {
    let rows: Vec<Row> = pve.get(format!("/nodes/{}/storage", encode(node))).await.ok()?;
    // The list holds what the token may see.
    if rows.is_empty() {
        return None;
    }
    let Some(row) = rows.iter().find(|r| r.storage == name) else {
        return Some(Checked::problem(format!("there is no storage {name} on {node}, or it is not visible")));
    };
    if !row.content.split(',').any(|kind| kind == content) {
        let text = format!("storage {name} takes no content '{content}' (it takes {})", row.content);
        return Some(Checked::problem(text));
    }
    if row.enabled == Some(false) || row.active == Some(false) {
        return Some(Checked::problem(format!("storage {name} is not active on {node}")));
    }
    let free = row.avail.map(|avail| format!(", {} GiB free", avail >> 30)).unwrap_or_default();
    let mut all = Checked::good(format!("storage {name} on {node} takes {content}{free}"));
    if row.avail.is_some_and(|avail| bytes > avail) {
        // Thin storages promise more than they have: no refusal, but nothing to pass over either.
        all.warnings.push(format!("{} GiB are asked of storage {name}, more than it has free", bytes >> 30));
    }
    Some(all)
}

pub async fn volume(pve: &Asked<'_>, volid: &str, node: &str) -> Option<Checked> {
    #[derive(Deserialize)]
    struct Found {
        volid: String,
    }
    let (storage, _) = volid.split_once(':')?;
    let path = format!("/nodes/{}/storage/{}/content", encode(node), encode(storage));
    match pve.get::<Vec<Found>>(path).await {
        Ok(found) if found.iter().any(|v| v.volid == volid) => Some(Checked::good(format!("{volid} is there"))),
        Ok(found) if found.is_empty() => None,
        Ok(_) => Some(Checked::problem(format!("there is no volume {volid}, or it is not visible"))),
        Err(e) if matches!(e.kind(), Kind::Refused | Kind::NotFound) => Some(Checked::problem(e.to_string())),
        Err(_) => None,
    }
}

pub async fn bridge(pve: &Asked<'_>, bridge: &str, node: &str) -> Option<Checked> {
    #[derive(Deserialize)]
    struct Found {
        iface: String,
    }
    let path = format!("/nodes/{}/network", encode(node));
    let found: Vec<Found> = pve.request(Request::get(path).param("type", "any_bridge")).await.ok()?;
    if found.is_empty() {
        return None;
    }
    Some(match found.iter().any(|i| i.iface == bridge) {
        true => Checked::good(format!("bridge {bridge} is on {node}")),
        false => {
            let names: Vec<&str> = found.iter().map(|i| i.iface.as_str()).collect();
            Checked::problem(format!("there is no bridge {bridge} on {node} (there is {})", names.join(", ")))
        }
    })
}

/// With `vmid`, `nextid` is a check: it knows guests that the token may not see, too.
pub async fn free_vmid(pve: &Asked<'_>, vmid: u32) -> Option<Checked> {
    let request = Request::get("/cluster/nextid").param("vmid", vmid);
    match pve.request::<serde_json::Value>(request).await {
        Ok(_) => Some(Checked::good(format!("VMID {vmid} is free"))),
        Err(e) if e.kind() == Kind::BadArgument || e.is_conflict() => {
            Some(Checked::problem(format!("VMID {vmid} is taken")))
        }
        Err(_) => None,
    }
}
