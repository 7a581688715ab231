//! How much a plan is going to write where only a guest's configuration tells: copies of its disks, and disks that grow.

use super::{
    asked::Asked,
    looks::{Look, content_of},
};
use crate::{
    plan::Plan,
    pve::{PropertyString, Request, size},
};

/// The storages that full clones and growing disks take room on.
pub async fn of(pve: &Asked<'_>, plan: &Plan) -> Vec<Look> {
    let mut looks = Vec::new();
    for request in &plan.requests {
        looks.extend(of_request(pve, request).await.unwrap_or_default());
    }
    looks
}

async fn of_request(pve: &Asked<'_>, request: &Request) -> Option<Vec<Look>> {
    let segments: Vec<&str> = request.path.split('/').skip(1).collect();
    let ["nodes", node, kind @ ("qemu" | "lxc"), vmid, deed @ ("clone" | "resize")] = segments.as_slice() else {
        return None;
    };
    let grows = request.param_of("disk").zip(request.param_of("size"));
    let copies = *deed == "clone" && request.param_of("full") == Some("1");
    if !copies && grows.is_none() {
        return None;
    }
    let config: serde_json::Map<String, serde_json::Value> =
        pve.get(format!("/nodes/{node}/{kind}/{vmid}/config")).await.ok()?;
    let look = |volume: &str, bytes: u64| {
        let own = volume.split_once(':').map(|(storage, _)| storage);
        let storage = request.param_of("storage").or(own)?;
        let node = request.param_of("target").unwrap_or(node);
        Some(Look::Storage { storage: storage.to_owned(), node: node.to_owned(), content: content_of(kind), bytes })
    };
    let mut looks = Vec::new();
    for (key, value) in &config {
        let value = PropertyString::parse(value.as_str().unwrap_or_default());
        let (Some(volume), Some(size)) = (value.first(), value.get("size")) else { continue };
        match grows {
            Some((disk, new)) if disk == key => {
                let more = match new.strip_prefix('+') {
                    Some(more) => size::configured(more)?,
                    None => size::configured(new)?.saturating_sub(size::configured(size)?),
                };
                looks.extend(look(volume, more));
            }
            None if value.get("media") != Some("cdrom") => looks.extend(look(volume, size::configured(size)?)),
            _ => {}
        }
    }
    Some(looks)
}
