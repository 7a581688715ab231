//! The template that containers are made from: where it is, and how it comes to a node that has it not. Templates on
//! storages come first; what none has is downloaded from Proxmox's index.

use futures::{StreamExt, stream};

use super::place::online;
use crate::{
    error::Kind,
    lanes::{Lane, Step},
    pve::{NodeHere, encode},
    tool::*,
    tools::os_templates::{Appliance, choose, file, index, volumes},
};

/// Storages that are asked at the same time.
const AT_ONCE: usize = 16;
const FIELD: &str = "ostemplate";

/// One template, on all nodes that come into question.
pub struct OsTemplate {
    /// The name of its file.
    pub name: String,
    here: Vec<Copy>,
    /// It can be downloaded.
    offered: bool,
    /// Where a download goes to.
    storage: Option<String>,
    /// The nodes that were looked at.
    nodes: Vec<String>,
}

/// A volume that a node can see.
#[derive(Debug, Clone)]
struct Copy {
    node: String,
    volid: String,
}

/// The template on a node, or on its way there.
pub struct Source {
    pub volid: String,
    /// Brings it there; nothing where it is there already.
    pub lane: Option<Lane>,
}

/// Finds the template that is meant by a volume id, a file name, or words such as `debian-12`: of those on the storages the
/// newest that fits, else of those that Proxmox offers.
///
/// # Errors
/// `NotFound` and `Ambiguous` with what there is; Proxmox's.
pub async fn find(pve: &Reader<'_>, wanted: &str, node: Option<&str>) -> Result<OsTemplate> {
    let wanted = wanted.trim();
    if wanted.is_empty() {
        return Err(Error::bad_argument(format!(
            "{FIELD}: missing; expected a volume, a file name or a name such as debian-12"
        ))
        .hint("proxmox-list-os-templates shows what there is"));
    }
    let (storage, name) = match wanted.split_once(':') {
        Some((storage, volume)) => (Some(storage), file(volume)),
        None => (None, wanted),
    };
    let nodes = match node {
        Some(node) => vec![online(pve, node).await?],
        None => pve.nodes().await?,
    };
    let nodes: Vec<String> = nodes.into_iter().filter(NodeHere::is_online).map(|node| node.node).collect();
    let here = copies(pve, &nodes, storage).await?;
    let known: Vec<Appliance> = here.iter().map(|copy| Appliance::of_file(file(&copy.volid))).collect();
    let of = |name: String, offered: bool| OsTemplate {
        here: here.iter().filter(|copy| file(&copy.volid) == name).cloned().collect(),
        name,
        offered,
        storage: storage.map(str::to_owned),
        nodes: nodes.clone(),
    };
    let offers = match nodes.first() {
        Some(node) => index(pve, node).await.unwrap_or_default(),
        None => Vec::new(),
    };
    let is_offered = |name: &str| offers.iter().any(|one| one.template == name);
    // A volume id is that very file.
    let there = match storage {
        Some(_) if known.iter().any(|one| one.template == name) => Ok(name.to_owned()),
        Some(_) => Err(Error::not_found(format!("{FIELD}: there is no {wanted}"))),
        None => choose(FIELD, &known, name).map(|one| one.template.clone()),
    };
    match there {
        Ok(name) => {
            let offered = is_offered(&name);
            Ok(of(name, offered))
        }
        Err(e) if e.kind() == Kind::Ambiguous => Err(e),
        Err(e) if storage.is_some() => {
            if is_offered(name) {
                Ok(of(name.to_owned(), true))
            } else {
                Err(missing(e, &here))
            }
        }
        Err(_) => {
            let offer = choose(FIELD, &offers, name).map(|one| one.template.clone());
            let name = offer.map_err(|e| if e.is_not_found() { missing(e, &here) } else { e })?;
            Ok(of(name, true))
        }
    }
}

fn missing(error: Error, here: &[Copy]) -> Error {
    let mut names: Vec<&str> = here.iter().map(|copy| copy.volid.as_str()).collect();
    names.sort_unstable();
    names.dedup();
    let there = if names.is_empty() { "none".to_owned() } else { names[..names.len().min(12)].join(", ") };
    error.hint(format!("on the storages: {there}; proxmox-list-os-templates shows what Proxmox offers"))
}

/// All templates that these nodes can see. A storage that hangs does not hide what the others have.
async fn copies(pve: &Reader<'_>, nodes: &[String], storage: Option<&str>) -> Result<Vec<Copy>> {
    let mut places = Vec::new();
    for node in nodes {
        let storages = match pve.storages(node, "vztmpl").await {
            Ok(storages) => storages,
            Err(e) if e.kind() == Kind::Cancelled => return Err(e),
            Err(_) => continue,
        };
        let wanted = storages.into_iter().filter(|s| s.active && storage.is_none_or(|name| s.storage == name));
        places.extend(wanted.map(|storage| (node.clone(), storage.storage)));
    }
    let asked = places.into_iter().map(|(node, storage)| async move {
        let volumes = volumes(pve, &node, &storage).await.unwrap_or_default();
        volumes.into_iter().map(|volid| Copy { node: node.clone(), volid }).collect::<Vec<_>>()
    });
    let found: Vec<Vec<Copy>> = stream::iter(asked).buffered(AT_ONCE).collect().await;
    Ok(found.into_iter().flatten().collect())
}

impl OsTemplate {
    /// The only nodes that can make a container of it, and why, where these are not all.
    pub fn only(&self) -> Option<(Vec<String>, String)> {
        if self.offered {
            return None;
        }
        let has = |node: &&String| self.here.iter().any(|copy| copy.node == **node);
        let nodes: Vec<String> = self.nodes.iter().filter(has).cloned().collect();
        let why = format!("only {} has {}, which Proxmox does not offer any more", nodes.join(", "), self.name);
        (nodes.len() < self.nodes.len()).then_some((nodes, why))
    }

    /// The template for a container on this node.
    ///
    /// # Errors
    /// `NotFound` where no storage of the node takes templates.
    pub async fn on(&self, pve: &Reader<'_>, node: &str) -> Result<Source> {
        if let Some(copy) = self.here.iter().find(|copy| copy.node == node) {
            return Ok(Source { volid: copy.volid.clone(), lane: None });
        }
        let storage = pve.storage(Some(self.storage.as_deref().unwrap_or("*")), node, "vztmpl").await?;
        let volid = format!("{storage}:vztmpl/{}", self.name);
        let shared = pve.storages(node, "vztmpl").await?.iter().any(|one| one.storage == storage && one.shared);
        let (storage_path, name) = (format!("/nodes/{}/storage/{}", encode(node), encode(&storage)), &self.name);
        let request = Request::post(format!("/nodes/{}/aplinfo", encode(node)))
            .param("storage", &storage)
            .param("template", name);
        let step = Step::new(format!("downloading {name}"), request)
            .back(Request::delete(format!("{storage_path}/content/{}", encode(&volid))));
        // By its name a download is told from those to other nodes; a shared storage needs but one.
        let called = if shared { volid.clone() } else { format!("{volid} on {node}") };
        Ok(Source { volid, lane: Some(Lane::new(called).step(step)) })
    }
}
