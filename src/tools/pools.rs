//! Pools: guests and storages that rights are given on together.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::{
    pve::{Guest, GuestKind},
    tool::*,
};

pub const TOOLS: &[Entry] = &[
    Entry::list::<ListPools>(),
    Entry::action::<CreatePool>(),
    Entry::action::<DeletePool>(),
    Entry::action::<PoolAdd>(),
    Entry::action::<PoolRemove>(),
];

/// List pools with comment and number of guests; with poolid its members.
#[derive(Deserialize, JsonSchema)]
struct ListPools {
    poolid: Option<String>,
}

impl Tool for ListPools {
    const NAME: &str = "proxmox-list-pools";
    const TITLE: &str = "List pools";
    const API: &[&str] = &["GET /pools", "GET /cluster/resources"];
    const EXAMPLE: (&str, &str) = ("What is in the production pool?", r#"{"poolid": "production"}"#);
}

/// A row of `GET /pools`; with its members only where one pool is asked for.
#[derive(Deserialize)]
struct Pool {
    poolid: String,
    comment: Option<String>,
    #[serde(default)]
    members: Vec<Member>,
}

/// A row of `GET /cluster/resources`: a guest, or a storage on a node.
#[derive(Deserialize)]
struct Member {
    r#type: String,
    vmid: Option<u32>,
    name: Option<String>,
    storage: Option<String>,
    node: Option<String>,
    status: Option<String>,
}

#[derive(Serialize, JsonSchema)]
struct Pools {
    total: usize,
    pools: Vec<PoolRow>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    members: Vec<MemberRow>,
}

#[derive(Serialize, JsonSchema)]
struct PoolRow {
    poolid: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    comment: Option<String>,
    vms: usize,
    containers: usize,
    /// Where one pool is asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    storages: Option<usize>,
}

#[derive(Serialize, JsonSchema)]
struct MemberRow {
    /// qemu, lxc or storage.
    #[serde(rename = "type")]
    kind: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    vmid: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    storage: Option<String>,
    nodes: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<String>,
}

/// `/pools/{poolid}` is deprecated, and cannot address nested pools.
async fn one(pve: &Reader<'_>, poolid: &str) -> Result<Pool> {
    let mut found: Vec<Pool> = pve.request(&Request::get("/pools").param("poolid", poolid)).await?;
    found.pop().ok_or_else(|| Error::not_found(format!("pool '{poolid}' does not exist")))
}

/// A storage is one member, on however many nodes it is.
fn members(rows: Vec<Member>) -> Vec<MemberRow> {
    let mut out: BTreeMap<(bool, Option<u32>, Option<String>), MemberRow> = BTreeMap::new();
    for row in rows {
        let key = (row.r#type == "storage", row.vmid, row.storage.clone());
        let entry = out.entry(key).or_insert_with(|| MemberRow {
            kind: row.r#type,
            vmid: row.vmid,
            name: row.name,
            storage: row.storage,
            nodes: Vec::new(),
            status: row.status,
        });
        entry.nodes.extend(row.node);
    }
    out.into_values().collect()
}

impl Query for ListPools {
    type Output = Pools;
    async fn query(&self, pve: &Reader<'_>) -> Result<Pools> {
        if let Some(poolid) = &self.poolid {
            let pool = one(pve, poolid).await?;
            let members = members(pool.members);
            let count = |kind: &str| members.iter().filter(|m| m.kind == kind).count();
            let row = PoolRow {
                poolid: pool.poolid,
                comment: pool.comment,
                vms: count("qemu"),
                containers: count("lxc"),
                storages: Some(count("storage")),
            };
            return Ok(Pools { total: 1, pools: vec![row], members });
        }
        let (mut pools, guests) = tokio::try_join!(pve.get::<Vec<Pool>>("/pools"), pve.resources_now())?;
        pools.sort_by(|a, b| a.poolid.cmp(&b.poolid));
        let count = |pool: &str, kind| {
            guests.iter().filter(|guest| guest.kind == kind && guest.pool.as_deref() == Some(pool)).count()
        };
        let row = |pool: Pool| PoolRow {
            vms: count(&pool.poolid, GuestKind::Qemu),
            containers: count(&pool.poolid, GuestKind::Lxc),
            poolid: pool.poolid,
            comment: pool.comment,
            storages: None,
        };
        Ok(Pools { total: pools.len(), pools: pools.into_iter().map(row).collect(), members: Vec::new() })
    }
}

/// Create a pool. A nested one is named parent/child, and its parent must exist.
#[derive(Deserialize, JsonSchema)]
struct CreatePool {
    #[schemars(length(min = 1))]
    poolid: String,
    comment: Option<String>,
}

impl Tool for CreatePool {
    const NAME: &str = "proxmox-create-pool";
    const TITLE: &str = "Create a pool";
    const API: &[&str] = &["POST /pools"];
    const EXAMPLE: (&str, &str) =
        ("Make a pool for the shop", r#"{"poolid": "shop", "comment": "Web shop", "confirm": true}"#);
}

impl Action for CreatePool {
    const EFFECT: Effect = Effect::Write;
    const CONTROL: Control = Control::instant().confirmed();
    async fn plan(&self, _: &Reader<'_>) -> Result<Plan> {
        let request = Request::post("/pools").param("poolid", &self.poolid).maybe("comment", self.comment.as_deref());
        Ok(Plan::new(format!("create pool {}", self.poolid))
            .about("poolid", self.poolid.as_str())
            .undo("proxmox-delete-pool", json!({"poolid": self.poolid}))
            .step(request))
    }
}

/// Delete an empty pool, and the permissions on it.
#[derive(Deserialize, JsonSchema)]
struct DeletePool {
    #[schemars(length(min = 1))]
    poolid: String,
}

impl Tool for DeletePool {
    const NAME: &str = "proxmox-delete-pool";
    const TITLE: &str = "Delete a pool";
    const API: &[&str] = &["GET /pools", "DELETE /pools"];
    const EXAMPLE: (&str, &str) = ("Delete the empty pool archive", r#"{"poolid": "archive", "confirm": true}"#);
}

impl Action for DeletePool {
    const EFFECT: Effect = Effect::Destroy;
    const CONTROL: Control = Control::instant().confirmed();
    async fn plan(&self, pve: &Reader<'_>) -> Result<Plan> {
        let (pool, all) = tokio::try_join!(one(pve, &self.poolid), pve.get::<Vec<Pool>>("/pools"))?;
        let children = all.iter().filter(|p| p.poolid.starts_with(&format!("{}/", self.poolid)));
        let children = children.map(|pool| format!("pool {}", pool.poolid));
        let members = members(pool.members).into_iter().map(|member| match (member.vmid, member.storage) {
            (Some(vmid), _) => format!("{} {vmid}", if member.kind == "lxc" { "container" } else { "VM" }),
            (None, storage) => format!("storage {}", storage.unwrap_or_default()),
        });
        let inside: Vec<String> = members.chain(children).collect();
        let mut again = json!({"poolid": self.poolid});
        if let Some(comment) = pool.comment {
            again["comment"] = comment.into();
        }
        let mut plan = Plan::new(format!("delete pool {}", self.poolid)).about("poolid", self.poolid.as_str());
        plan.undo = Some(Undo::call("proxmox-create-pool", again).note("not the permissions that were given on it"));
        Ok(plan
            .check(
                inside.is_empty(),
                || "the pool is empty".to_owned(),
                || format!("pool {} is not empty, it has {}", self.poolid, inside.join(", ")),
            )
            .step(Request::delete("/pools").param("poolid", &self.poolid)))
    }
}

/// Which guest or storage.
#[derive(Deserialize, JsonSchema)]
struct Which {
    #[schemars(length(min = 1))]
    poolid: String,
    #[serde(flatten)]
    guest: GuestRef,
    /// Ignored.
    #[expect(dead_code, reason = "accepted for prompts written for the reference")]
    #[serde(default = "qemu")]
    type_: String,
    storage: Option<String>,
}

fn qemu() -> String {
    "qemu".to_owned()
}

impl Which {
    /// The guest, where one is meant: a storage may be given alone.
    async fn guest(&self, pve: &Reader<'_>) -> Result<Option<Guest>> {
        if self.storage.is_some() && self.guest.vmid.is_none() && self.guest.name.is_none() {
            return Ok(None);
        }
        pve.guest(&self.guest, Want::Any).await.map(Some)
    }

    /// `verb` with `{}` for what it is about: `add {} to pool x`.
    fn plan(&self, guest: Option<&Guest>, verb: &str) -> Plan {
        let storage = self.storage.as_ref().map(|storage| format!("storage {storage}"));
        let what: Vec<String> = guest.map(ToString::to_string).into_iter().chain(storage).collect();
        let summary = format!("{} pool {}", verb.replace("{}", &what.join(" and ")), self.poolid);
        let plan = Plan::new(summary).about("poolid", self.poolid.as_str());
        match guest {
            Some(guest) => plan.about("vmid", guest.vmid).about("node", guest.node.as_str()),
            None => plan,
        }
    }

    /// The arguments that mean the same guest and storage, in a pool.
    fn arguments(&self, poolid: &str, guest: Option<&Guest>) -> Value {
        let mut arguments = json!({"poolid": poolid});
        if let Some(guest) = guest {
            arguments["vmid"] = guest.vmid.into();
        }
        if let Some(storage) = &self.storage {
            arguments["storage"] = storage.as_str().into();
        }
        arguments
    }

    fn request(&self, guest: Option<&Guest>) -> Request {
        Request::put("/pools")
            .param("poolid", &self.poolid)
            .maybe("vms", guest.map(|guest| guest.vmid))
            .maybe("storage", self.storage.as_deref())
    }
}

/// Add a guest or a storage to a pool.
#[derive(Deserialize, JsonSchema)]
struct PoolAdd {
    #[serde(flatten)]
    which: Which,
    /// Take the guest out of its old pool.
    #[serde(default)]
    allow_move: bool,
}

impl Tool for PoolAdd {
    const NAME: &str = "proxmox-pool-add";
    const TITLE: &str = "Add to a pool";
    const API: &[&str] = &["PUT /pools"];
    const EXAMPLE: (&str, &str) =
        ("Put grafana into the production pool", r#"{"poolid": "production", "name": "grafana", "confirm": true}"#);
}

impl Action for PoolAdd {
    const EFFECT: Effect = Effect::Write;
    const CONTROL: Control = Control::instant().confirmed();
    async fn plan(&self, pve: &Reader<'_>) -> Result<Plan> {
        let Which { poolid, .. } = &self.which;
        let guest = self.which.guest(pve).await?;
        let plan = self.which.plan(guest.as_ref(), "add {} to");
        let request = self.which.request(guest.as_ref()).flag("allow-move", self.allow_move);
        let out = Undo::call("proxmox-pool-remove", self.which.arguments(poolid, guest.as_ref()));
        let mut plan = plan;
        let Some(guest) = guest else {
            plan.undo = Some(out);
            return Ok(plan.step(request));
        };
        let old = guest.pool.as_deref();
        plan.undo = Some(match (old, &self.which.storage) {
            (Some(old), storage) if old != poolid => {
                let back = Undo::call(Self::NAME, json!({"poolid": old, "vmid": guest.vmid, "allow_move": true}));
                match storage {
                    Some(storage) => back.note(format!("storage {storage} stays in pool {poolid}")),
                    None => back,
                }
            }
            _ => out,
        });
        let plan = plan.step(request).change("pool", old, Some(poolid.as_str()));
        Ok(match old {
            None => plan,
            Some(old) if old == poolid => {
                plan.check(false, String::new, || format!("{guest} is in pool {old} already"))
            }
            Some(old) => plan.check(
                self.allow_move,
                || format!("{guest} leaves pool {old}"),
                || format!("{guest} is in pool {old}: allow_move takes it out of there"),
            ),
        })
    }
}

/// Take a guest or a storage out of a pool. The guest itself stays as it is.
#[derive(Deserialize, JsonSchema)]
struct PoolRemove {
    #[serde(flatten)]
    which: Which,
}

impl Tool for PoolRemove {
    const NAME: &str = "proxmox-pool-remove";
    const TITLE: &str = "Remove from a pool";
    const API: &[&str] = &["PUT /pools"];
    const EXAMPLE: (&str, &str) =
        ("Take mail out of the production pool", r#"{"poolid": "production", "name": "mail", "confirm": true}"#);
}

impl Action for PoolRemove {
    const EFFECT: Effect = Effect::Write;
    const CONTROL: Control = Control::instant().confirmed();
    async fn plan(&self, pve: &Reader<'_>) -> Result<Plan> {
        let Which { poolid, .. } = &self.which;
        let guest = self.which.guest(pve).await?;
        let plan = self.which.plan(guest.as_ref(), "take {} out of");
        let plan = plan
            .undo("proxmox-pool-add", self.which.arguments(poolid, guest.as_ref()))
            .step(self.which.request(guest.as_ref()).flag("delete", true));
        let Some(guest) = guest else { return Ok(plan) };
        let old = guest.pool.as_deref();
        Ok(plan.change("pool", old, None::<String>).check(
            old == Some(poolid),
            || format!("{guest} is in pool {poolid}"),
            || match old {
                Some(other) => format!("{guest} is in pool {other}, not in {poolid}"),
                None => format!("{guest} is in no pool"),
            },
        ))
    }
}
