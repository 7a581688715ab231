//! How much a plan is going to write where only a guest's configuration tells: copies of its disks, and disks that grow.

use super::looks::{Look, content_of};
use crate::{
    plan::Plan,
    pve::{PropertyString, Reader, Request},
};

/// The storages that full clones and growing disks take room on.
pub async fn of(pve: &Reader<'_>, plan: &Plan) -> Vec<Look> {
    let mut looks = Vec::new();
    for request in &plan.requests {
        looks.extend(of_request(pve, request).await.unwrap_or_default());
    }
    looks
}

async fn of_request(pve: &Reader<'_>, request: &Request) -> Option<Vec<Look>> {
    let segments: Vec<&str> = request.path.split('/').skip(1).collect();
    let ["nodes", node, kind @ ("qemu" | "lxc"), vmid, deed @ ("clone" | "resize")] = segments.as_slice() else {
        return None;
    };
    let grows = request.param_of("disk").zip(request.param_of("size").and_then(|size| size.strip_prefix('+')));
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
            Some((disk, more)) if disk == key => looks.extend(look(volume, bytes(more)?)),
            None if value.get("media") != Some("cdrom") => looks.extend(look(volume, bytes(size)?)),
            _ => {}
        }
    }
    Some(looks)
}

/// `32G`, `512M`, `4T`, or bytes.
fn bytes(size: &str) -> Option<u64> {
    let number = size.trim_end_matches(['K', 'M', 'G', 'T']);
    let unit = match &size[number.len()..] {
        "" => 1.0,
        "K" => 1024.0,
        "M" => 1024.0_f64.powi(2),
        "G" => 1024.0_f64.powi(3),
        "T" => 1024.0_f64.powi(4),
        _ => return None,
    };
    number.parse::<f64>().ok().map(|n| (n * unit) as u64)
}
