//! Which things a plan's requests depend on: read from the requests alone, nothing is asked here.

use std::collections::BTreeSet;

use http::Method;

use crate::{
    plan::Plan,
    pve::{GuestKind, PropertyString, Request},
};

/// One thing to look at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Look {
    Guest(GuestLook),
    /// It has to be there and online.
    Node(String),
    /// It has to be on that node, and take that kind of content; `bytes`: what is going to be written, where it is known.
    Storage {
        storage: String,
        node: String,
        content: &'static str,
        bytes: u64,
    },
    /// It has to be there.
    Volume {
        volid: String,
        node: String,
    },
    Bridge {
        bridge: String,
        node: String,
    },
    FreeVmid(u32),
}

/// A guest that is there, and what is going to happen to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GuestLook {
    pub kind: GuestKind,
    pub vmid: String,
    pub node: String,
    /// The last parts of the requests' paths, with the method: `DELETE `, `POST template`, `PUT config`.
    pub deeds: Vec<String>,
    /// Deleting takes its jobs and HA resource along.
    pub purge: bool,
}

impl GuestLook {
    pub fn path(&self, rest: &str) -> String {
        format!("/nodes/{}/{}/{}/{rest}", self.node, self.kind.path(), self.vmid)
    }
    pub fn name(&self) -> String {
        format!("{} {}", self.kind, self.vmid)
    }
    pub fn does(&self, deed: &str) -> bool {
        self.deeds.iter().any(|d| d == deed)
    }
}

/// Everything to look at, each once.
pub fn of(plan: &Plan) -> Vec<Look> {
    let mut looks: Vec<Look> = Vec::new();
    let mut made = BTreeSet::new();
    for request in plan.requests.iter().filter(|r| r.method != Method::GET) {
        for look in of_request(request, plan.chosen_vmid, &mut made) {
            add(&mut looks, look);
        }
    }
    // What the plan brings along is not there yet.
    let fetched: BTreeSet<String> = plan.requests.iter().filter_map(Request::fetched).collect();
    looks.retain(|look| !matches!(look, Look::Volume { volid, .. } if fetched.contains(volid)));
    looks
}

pub fn add(looks: &mut Vec<Look>, look: Look) {
    let same = looks.iter_mut().find_map(|known| match (known, &look) {
        (Look::Guest(known), Look::Guest(new)) if known.vmid == new.vmid => {
            known.deeds.extend(new.deeds.iter().cloned());
            known.purge |= new.purge;
            Some(())
        }
        (
            Look::Storage { storage, node, content, bytes },
            Look::Storage { storage: new_storage, node: new_node, content: new_content, bytes: more },
        ) if storage == new_storage && node == new_node && content == new_content => {
            *bytes += more;
            Some(())
        }
        (known, new) if *known == *new => Some(()),
        _ => None,
    });
    if same.is_none() {
        looks.push(look);
    }
}

/// `made`: VMIDs that earlier requests of the plan create; they are not there to be looked at.
fn of_request(request: &Request, chosen: Option<u32>, made: &mut BTreeSet<String>) -> Vec<Look> {
    let segments: Vec<&str> = request.path.split('/').skip(1).collect();
    let ["nodes", node, rest @ ..] = segments.as_slice() else { return Vec::new() };
    let node = (*node).to_owned();
    let param = |key: &str| request.param_of(key);
    let target = param("target").unwrap_or(&node).to_owned();
    // What is off is what is to be woken.
    if rest == ["wakeonlan"] {
        return Vec::new();
    }
    let mut looks = vec![Look::Node(node.clone())];
    if target != node {
        looks.push(Look::Node(target.clone()));
    }
    match rest {
        [kind @ ("qemu" | "lxc")] => {
            let vmid = param("vmid").unwrap_or_default();
            if param("force").is_none() {
                looks.extend(new_guest(vmid, chosen, made));
            }
            let volume = if *kind == "qemu" { "archive" } else { "ostemplate" };
            looks.extend(volume_look(param(volume), &node));
            if let (Some(storage), Some(_)) = (param("storage"), param(volume)) {
                looks.push(storage_look(storage, &node, content_of(kind), 0));
            }
            looks.extend(of_config(request, kind, &node));
        }
        [kind @ ("qemu" | "lxc"), vmid, deed @ ..] => {
            let deed = deed.join("/");
            if !made.contains(*vmid) && minds_locks(&deed) {
                looks.push(Look::Guest(GuestLook {
                    kind: if *kind == "qemu" { GuestKind::Qemu } else { GuestKind::Lxc },
                    vmid: (*vmid).to_owned(),
                    node: node.clone(),
                    deeds: vec![format!("{} {deed}", request.method)],
                    purge: param("purge").is_some_and(|p| p == "1"),
                }));
            }
            if deed == "clone" {
                looks.extend(new_guest(param("newid").unwrap_or_default(), chosen, made));
            }
            let storage = ["storage", "targetstorage", "target-storage"].into_iter().find_map(param);
            if let (Some(storage), "clone" | "migrate" | "move_disk" | "move_volume") = (storage, deed.as_str())
                && !storage.contains([':', ','])
                && storage != "1"
            {
                looks.push(storage_look(storage, &target, content_of(kind), 0));
            }
            if deed == "config" {
                looks.extend(of_config(request, kind, &node));
            }
        }
        ["vzdump"] => looks.extend(param("storage").map(|s| storage_look(s, &node, "backup", 0))),
        ["aplinfo"] => looks.extend(param("storage").map(|s| storage_look(s, &node, "vztmpl", 0))),
        ["storage", storage, "upload" | "download-url"] => {
            if let Some(content) =
                ["iso", "vztmpl", "import"].into_iter().find(|kind| param("content").is_some_and(|c| c == *kind))
            {
                let bytes = request.file.as_ref().map_or(0, |file| file.size);
                looks.push(storage_look(storage, &node, content, bytes));
            }
        }
        _ => {}
    }
    looks
}

/// A VMID that a request gives to a new guest: to be looked at, unless it was chosen because it is free.
fn new_guest(vmid: &str, chosen: Option<u32>, made: &mut BTreeSet<String>) -> Option<Look> {
    made.insert(vmid.to_owned());
    let vmid = vmid.parse().ok()?;
    (chosen != Some(vmid)).then_some(Look::FreeVmid(vmid))
}

/// What may be done to a guest whatever holds its lock.
fn minds_locks(deed: &str) -> bool {
    !["agent", "firewall", "status/stop", "spiceproxy", "termproxy", "vncproxy"].iter().any(|d| deed.starts_with(d))
}

pub fn content_of(kind: &str) -> &'static str {
    if kind == "qemu" { "images" } else { "rootdir" }
}

fn storage_look(storage: &str, node: &str, content: &'static str, bytes: u64) -> Look {
    Look::Storage { storage: storage.to_owned(), node: node.to_owned(), content, bytes }
}

/// A volume by its id; other sources (`-`, a path) are not looked at.
fn volume_look(volid: Option<&str>, node: &str) -> Option<Look> {
    let volid = volid.filter(|v| v.contains(":") && !v.starts_with('/'))?;
    Some(Look::Volume { volid: volid.to_owned(), node: node.to_owned() })
}

/// Bridges, new disks and inserted images among a configuration's parameters.
fn of_config(request: &Request, kind: &str, node: &str) -> Vec<Look> {
    let mut looks = Vec::new();
    for (key, value) in request.plain_params() {
        let stem = key.trim_end_matches(|c: char| c.is_ascii_digit());
        let value = PropertyString::parse(value);
        match (kind, stem) {
            (_, "net") if stem.len() < key.len() => looks.extend(
                value.get("bridge").map(|bridge| Look::Bridge { bridge: bridge.to_owned(), node: node.to_owned() }),
            ),
            ("qemu", "ide" | "sata" | "scsi" | "virtio" | "efidisk" | "tpmstate") | ("lxc", "rootfs" | "mp") => {
                let volume = value.first().or_else(|| value.get("file")).or_else(|| value.get("volume"));
                looks.extend(volume_look(value.get("import-from"), node));
                match volume.and_then(|v| v.split_once(':')) {
                    // A number where the name would be asks for a new volume of so many GiB.
                    Some((storage, size)) if size.parse::<f64>().is_ok() => {
                        let gib = size.parse::<f64>().unwrap_or_default();
                        looks.push(storage_look(storage, node, content_of(kind), (gib * f64::from(1 << 30)) as u64));
                    }
                    Some((storage, "cloudinit")) => looks.push(storage_look(storage, node, "images", 4 << 20)),
                    Some((_, name)) if name.starts_with("iso/") => looks.extend(volume_look(volume, node)),
                    _ => {}
                }
            }
            _ => {}
        }
    }
    looks
}
