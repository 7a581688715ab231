//! Where a new guest goes that its maker did not place, and which image, named loosely, it is made of.

use serde::Deserialize;

use super::{NodeHere, Reader, Request, encode};
use crate::error::{Error, Kind, Result};

/// The node for a new guest.
#[derive(Debug, Clone)]
pub struct Place {
    pub node: String,
    /// Why this one, where it was chosen.
    pub why: Option<String>,
}

/// A row of `GET /nodes/{node}/storage/{storage}/content`.
#[derive(Deserialize)]
struct Volume {
    volid: String,
}

/// Nothing tells these nodes apart.
pub fn undecided(nodes: &[NodeHere]) -> Error {
    let online: Vec<&str> = nodes.iter().filter(|n| n.is_online()).map(|n| n.node.as_str()).collect();
    Error::bad_argument("node: missing; expected the name of a node")
        .hint(format!("online: {}; or set PROXMOX_DEFAULT_NODE", online.join(", ")))
}

impl Reader<'_> {
    /// The node for a new guest: the one given, the configured default, the only one, or of those online the one with
    /// most free memory.
    ///
    /// # Errors
    /// `BadArgument` where nothing tells them apart.
    pub async fn place(&self, given: Option<&str>) -> Result<Place> {
        if let Some(node) = given {
            return Ok(Place { node: node.to_owned(), why: None });
        }
        if let Some(node) = self.default_node() {
            return Ok(Place { node: node.to_owned(), why: Some(format!("{node} is the default node")) });
        }
        let mut nodes = self.nodes().await?;
        if nodes.len() > 1 {
            nodes.retain(NodeHere::is_online);
        }
        nodes.sort_by(|a, b| b.free().cmp(&a.free()).then_with(|| a.node.cmp(&b.node)));
        match nodes.as_slice() {
            [only] => Ok(Place { node: only.node.clone(), why: Some(format!("{} is the only node up", only.node)) }),
            [first, ..] if first.free().is_some() => {
                let gib = |bytes: u64| bytes >> 30;
                let (node, free) = (&first.node, first.free().map_or(0, gib));
                let why = format!(
                    "{node} has the most free memory of {} online nodes ({free} of {} GiB)",
                    nodes.len(),
                    first.maxmem().map_or(0, gib)
                );
                Ok(Place { node: first.node.clone(), why: Some(why) })
            }
            several => Err(undecided(several)),
        }
    }

    /// The volume of this content (`iso`, `vztmpl`) that is meant: a volume id is taken as it is, anything else is looked
    /// for among the names on the node's storages, whole or in part.
    ///
    /// # Errors
    /// `NotFound` with what there is, `Ambiguous` where several names fit.
    pub async fn image(&self, field: &str, name: &str, node: &str, content: &str) -> Result<String> {
        if name.contains(':') {
            return Ok(name.to_owned());
        }
        let (mut found, mut silent) = (Vec::new(), Vec::new());
        for storage in self.storages(node, content).await?.into_iter().filter(|s| s.active) {
            let path = format!("/nodes/{}/storage/{}/content", encode(node), encode(&storage.storage));
            match self.request::<Vec<Volume>>(&Request::get(path).param("content", content)).await {
                Ok(volumes) => found.extend(volumes.into_iter().map(|v| v.volid)),
                Err(e) if e.kind() == Kind::Cancelled => return Err(e),
                // One storage that hangs does not hide what the others have.
                Err(_) => silent.push(storage.storage),
            }
        }
        found.sort();
        let file = |volid: &str| volid.rsplit(['/', ':']).next().unwrap_or_default().to_lowercase();
        let wanted = name.to_lowercase();
        if let Some(whole) = found.iter().find(|v| file(v) == wanted) {
            return Ok(whole.clone());
        }
        let part: Vec<&String> = found.iter().filter(|v| file(v).contains(&wanted)).collect();
        if let Some(first) = part.first().filter(|first| part.iter().all(|v| file(v) == file(first))) {
            return Ok((*first).clone());
        }
        let missing = wanted.is_empty();
        let list = |volids: &[&String]| match volids {
            [] => "none".to_owned(),
            some => some.iter().take(12).map(|v| v.as_str()).collect::<Vec<_>>().join(", "),
        };
        if !part.is_empty() && !missing {
            return Err(Error::new(
                Kind::Ambiguous,
                format!("{field}: '{name}' fits {} volumes: {}", part.len(), list(&part)),
            )
            .hint("give one of these volume ids"));
        }
        let all: Vec<&String> = found.iter().collect();
        let what = match missing {
            true => "missing".to_owned(),
            false => format!("no {content} volume on {node} is named '{name}'"),
        };
        let mut message = format!("{field}: {what}; there are: {}", list(&all));
        if !silent.is_empty() {
            message.push_str(&format!("; not listed, as they gave no answer: {}", silent.join(", ")));
        }
        Err(Error::not_found(message).hint(match content {
            "vztmpl" => "proxmox-download-os-template fetches one",
            _ => "proxmox-upload-iso puts one there",
        }))
    }
}
