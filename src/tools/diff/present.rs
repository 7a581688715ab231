//! The cluster as it is now, read as objects. What cannot be read is named, and fails nothing else.

use std::collections::{BTreeMap, BTreeSet};

use futures::{StreamExt, future::join_all, stream};
use serde_json::{Map, Value};

use super::object::{Key, Kind, Object};
use crate::{
    error::Kind as Fault,
    pve::{NodeHere, encode, secrets},
    tool::*,
};

/// Guests whose configurations are asked for at once.
const AT_ONCE: usize = 16;

/// A list of objects: where it is, which field names each, and which say nothing of how it is configured.
struct List {
    kind: Kind,
    path: &'static str,
    id: &'static str,
    not: &'static [&'static str],
}

const fn list(kind: Kind, path: &'static str, id: &'static str, not: &'static [&'static str]) -> List {
    List { kind, path, id, not }
}

const LISTS: [List; 9] = [
    list(Kind::Storage, "/storage", "storage", &["digest"]),
    list(Kind::Pool, "/pools", "poolid", &["members"]),
    list(Kind::Ha, "/cluster/ha/resources", "sid", &["digest", "type"]),
    list(Kind::HaRule, "/cluster/ha/rules", "rule", &["digest"]),
    list(Kind::BackupJob, "/cluster/backup", "id", &["digest", "next-run"]),
    list(Kind::Replication, "/cluster/replication", "id", &["digest", "jobnum"]),
    // Keys are those of second factors.
    list(Kind::User, "/access/users", "userid", &["keys", "realm-type", "totp-locked", "tfa-locked-until"]),
    list(Kind::Group, "/access/groups", "groupid", &[]),
    list(Kind::Role, "/access/roles", "roleid", &["special"]),
];

/// Guests alone, or everything.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Only(pub Option<BTreeSet<u32>>);

impl Only {
    pub fn takes(&self, vmid: u32) -> bool {
        self.0.as_ref().is_none_or(|vmids| vmids.contains(&vmid))
    }
}

/// What is there.
#[derive(Debug, Default)]
pub struct Present {
    pub objects: BTreeMap<Key, Object>,
    /// What could not be read, by kind, with why.
    pub unread: BTreeMap<Kind, String>,
    /// Guests whose configuration could not be read, with why.
    pub silent: BTreeMap<u32, String>,
}

/// Reads all that is asked for.
///
/// # Errors
/// Where even the guests cannot be listed.
pub async fn read(pve: &Reader<'_>, nodes: &[NodeHere], only: &Only) -> Result<Present> {
    let mut present = Present::default();
    configured(pve, only, nodes, &mut present).await?;
    if only.0.is_some() {
        return Ok(present);
    }
    for node in nodes {
        let mut object = Object::default();
        object.set("status", &node.status.as_deref().into());
        present.objects.insert(Key::new(Kind::Node, &*node.node), object);
    }
    let rows = LISTS.iter().map(async |list| {
        let request = Request::get(list.path).flag("full", list.kind == Kind::User);
        (list, rows(pve, &request).await)
    });
    let (lists, acl, firewall, options) = tokio::join!(
        join_all(rows),
        rows_of_acl(pve),
        firewall(pve),
        configuration(pve, Request::get("/cluster/options"))
    );
    for (list, rows) in lists {
        let named = rows.map(|rows| rows.into_iter().filter_map(|row| object(list, row)).collect());
        present.add(list.kind, named)?;
    }
    present.add(Kind::Acl, acl)?;
    present.add(Kind::Firewall, firewall)?;
    present.add(Kind::Options, options.map(|object| vec![("datacenter".to_owned(), object)]))?;
    Ok(present)
}

impl Present {
    fn add(&mut self, kind: Kind, read: Result<Vec<(String, Object)>>) -> Result<()> {
        match read {
            Ok(objects) => self.objects.extend(objects.into_iter().map(|(id, object)| (Key::new(kind, id), object))),
            Err(e) if e.kind() == Fault::Cancelled => return Err(e),
            Err(e) => drop(self.unread.insert(kind, e.to_string())),
        }
        Ok(())
    }
}

type Row = Map<String, Value>;

async fn rows(pve: &Reader<'_>, request: &Request) -> Result<Vec<Row>> {
    let mut rows: Value = pve.request(request).await?;
    secrets::mask(&request.path, &mut rows);
    let Value::Array(rows) = rows else { return Ok(Vec::new()) };
    Ok(rows.into_iter().filter_map(|row| if let Value::Object(row) = row { Some(row) } else { None }).collect())
}

fn object(list: &List, mut row: Row) -> Option<(String, Object)> {
    // What is built in changes with the version, and by nobody.
    if list.kind == Kind::Role && row.get("special").is_some_and(|special| *special == 1 || *special == true) {
        return None;
    }
    let id = row.shift_remove(list.id)?.as_str()?.to_owned();
    row.retain(|key, _| !list.not.contains(&key.as_str()));
    Some((id, fields(&row)))
}

fn fields(row: &Row) -> Object {
    let mut object = Object::default();
    row.iter().for_each(|(key, value)| object.set(key, value));
    object
}

/// Who has which roles where, by path and holder.
async fn rows_of_acl(pve: &Reader<'_>) -> Result<Vec<(String, Object)>> {
    let mut held: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for row in rows(pve, &Request::get("/access/acl")).await? {
        let text = |key: &str| row.get(key).and_then(Value::as_str).unwrap_or_default();
        let here = row.get("propagate").is_some_and(|flag| *flag == 0 || *flag == false);
        let role = format!("{}{}", text("roleid"), if here { " (not below)" } else { "" });
        held.entry(format!("{} {} {}", text("path"), text("type"), text("ugid"))).or_default().insert(role);
    }
    let object = |roles: BTreeSet<String>| {
        let mut object = Object::default();
        let roles: Vec<String> = roles.into_iter().collect();
        object.fields.insert("roles".to_owned(), roles.join(", "));
        object
    };
    Ok(held.into_iter().map(|(id, roles)| (id, object(roles))).collect())
}

/// The cluster's own firewall: its options, and its rules by their place.
async fn firewall(pve: &Reader<'_>) -> Result<Vec<(String, Object)>> {
    let request = Request::get("/cluster/firewall/rules");
    let (options, rules) =
        tokio::try_join!(configuration(pve, Request::get("/cluster/firewall/options")), rows(pve, &request))?;
    let mut object = Object::default();
    for (at, mut rule) in rules.into_iter().enumerate() {
        rule.shift_remove("digest");
        rule.shift_remove("pos");
        object.set(&format!("rule {at}"), &Value::Object(rule));
    }
    Ok(vec![("options".to_owned(), options), ("rules".to_owned(), object)])
}

/// All guests. The cluster's list is some seconds behind as to states and names: the nodes' own tell.
///
/// # Errors
/// As [`Reader::get`].
pub async fn guests(pve: &Reader<'_>) -> Result<BTreeMap<u32, Guest>> {
    let (all, live) = tokio::try_join!(pve.resources_now(), pve.live())?;
    let mut guests: BTreeMap<u32, Guest> = all.iter().map(|row| (row.vmid, Guest::from(row))).collect();
    for current in &live.guests {
        if let Some(guest) = guests.get_mut(&current.vmid) {
            guest.status.clone_from(&current.status);
            guest.name.clone_from(&current.name);
        }
    }
    Ok(guests)
}

/// The guests, each with its configuration.
async fn configured(pve: &Reader<'_>, only: &Only, nodes: &[NodeHere], present: &mut Present) -> Result<()> {
    let guests = guests(pve).await?;
    let offline = |name: &str| nodes.iter().any(|node| node.node == name && !node.is_online());
    let asked = guests.into_values().filter(|guest| only.takes(guest.vmid)).map(async |guest| {
        let object = match offline(&guest.node) {
            true => Err(Error::not_found(format!("{} is offline", guest.node))),
            false => configuration(pve, Request::get(guest.path("config"))).await,
        };
        (guest, object)
    });
    let asked: Vec<_> = stream::iter(asked).buffered(AT_ONCE).collect().await;
    for (guest, object) in asked {
        let mut object = match object {
            Ok(object) => object,
            Err(e) if e.kind() == Fault::Cancelled => return Err(e),
            Err(e) => {
                present.silent.insert(guest.vmid, e.to_string());
                Object { partial: true, ..Object::default() }
            }
        };
        object.set("type", &guest.kind.path().into());
        object.set("node", &guest.node.as_str().into());
        object.set("status", &guest.status.as_str().into());
        object.set("pool", &guest.pool.as_deref().into());
        present.objects.insert(Key::guest(guest.vmid), object);
    }
    Ok(())
}

/// One configuration: a guest's, now or as a snapshot has it, or the cluster's.
///
/// # Errors
/// As [`Reader::get`].
pub async fn configuration(pve: &Reader<'_>, request: Request) -> Result<Object> {
    let mut answer: Value = pve.request(&request).await?;
    secrets::mask(&request.path, &mut answer);
    let Value::Object(mut row) = answer else { return Ok(Object::default()) };
    // Of the cluster's options: it is made of the tags that guests have.
    row.retain(|key, _| key != "digest" && key != "allowed-tags");
    Ok(fields(&row))
}

/// The keys of a guest's configuration that wait for its restart.
pub async fn pending(pve: &Reader<'_>, guest: &str) -> Vec<String> {
    let rows = rows(pve, &Request::get(format!("{guest}/pending"))).await.unwrap_or_default();
    let waits = |row: &&Row| row.contains_key("pending") || row.get("delete").is_some_and(|delete| *delete != 0);
    rows.iter().filter(waits).filter_map(|row| row.get("key")?.as_str().map(str::to_owned)).collect()
}

/// The path of a guest that is there.
pub fn path(vmid: u32, guest: &Object) -> Option<String> {
    Some(format!("/nodes/{}/{}/{vmid}", encode(guest.get("node")?), guest.get("type")?))
}
