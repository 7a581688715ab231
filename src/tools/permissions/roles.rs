//! Roles: names for sets of privileges.

use std::collections::BTreeSet;

use serde_json::json;

use super::{
    super::names::{names, no_such},
    AclEntry,
};
use crate::{pve::encode, tool::*};

/// List roles with their privileges.
#[derive(Deserialize, JsonSchema)]
pub struct ListRoles {
    /// Only this one.
    roleid: Option<String>,
}

impl Tool for ListRoles {
    const NAME: &str = "proxmox-list-roles";
    const TITLE: &str = "List roles";
    const API: &[&str] = &["GET /access/roles"];
    const EXAMPLE: (&str, &str) = ("What does the role PVEVMUser allow?", r#"{"roleid": "PVEVMUser"}"#);
}

/// A row of `GET /access/roles`, which everybody may read whole.
#[derive(Deserialize)]
pub struct Role {
    pub roleid: String,
    #[serde(default)]
    privs: Option<String>,
    #[serde(default)]
    special: bool,
}

impl Role {
    fn privs(&self) -> impl Iterator<Item = &str> {
        self.privs.as_deref().unwrap_or_default().split(',').filter(|name| !name.is_empty())
    }
}

pub async fn all(pve: &Reader<'_>) -> Result<Vec<Role>> {
    let mut roles: Vec<Role> = pve.get("/access/roles").await?;
    roles.sort_by(|a, b| a.roleid.cmp(&b.roleid));
    Ok(roles)
}

#[derive(Serialize, JsonSchema)]
pub struct Roles {
    total: usize,
    roles: Vec<Row>,
}

#[derive(Serialize, JsonSchema)]
struct Row {
    roleid: String,
    built_in: bool,
    privs: Vec<String>,
}

impl Query for ListRoles {
    type Output = Roles;
    async fn query(&self, pve: &Reader<'_>) -> Result<Roles> {
        let mut roles = all(pve).await?;
        if let Some(wanted) = &self.roleid {
            if !roles.iter().any(|role| role.roleid == *wanted) {
                return Err(Error::not_found(no_such("role", wanted, roles.iter().map(|role| role.roleid.as_str()))));
            }
            roles.retain(|role| role.roleid == *wanted);
        }
        let row = |role: Role| Row {
            privs: role.privs().map(str::to_owned).collect(),
            roleid: role.roleid,
            built_in: role.special,
        };
        let roles: Vec<Row> = roles.into_iter().map(row).collect();
        Ok(Roles { total: roles.len(), roles })
    }
}

/// Create a role from privileges, such as VM.Audit and VM.PowerMgmt.
#[derive(Deserialize, JsonSchema)]
pub struct CreateRole {
    #[schemars(length(min = 1))]
    roleid: String,
    privs: Vec<String>,
}

impl Tool for CreateRole {
    const NAME: &str = "proxmox-create-role";
    const TITLE: &str = "Create a role";
    const API: &[&str] = &["GET /access/roles", "POST /access/roles"];
    const EXAMPLE: (&str, &str) =
        ("Make a role that may only start and stop", r#"{"roleid": "Switch", "privs": ["VM.Audit", "VM.PowerMgmt"]}"#);
}

impl Action for CreateRole {
    const EFFECT: Effect = Effect::Write;
    const CONTROL: Control = Control::instant();
    async fn plan(&self, pve: &Reader<'_>) -> Result<Plan> {
        let roles = all(pve).await?;
        // Versions differ in their privileges; this server's Administrator has all that it knows.
        let known: BTreeSet<&str> = roles.iter().filter(|role| role.special).flat_map(Role::privs).collect();
        let privs = names(Some(&self.privs));
        let mut plan = Plan::new(format!("create role {} with {}", self.roleid, privs.join(", ")))
            .about("roleid", self.roleid.as_str())
            .undo(DeleteRole::NAME, json!({"roleid": self.roleid}))
            .step(Request::post("/access/roles").param("roleid", &self.roleid).param("privs", privs.join(",")));
        for name in privs.iter().filter(|name| !known.contains(**name)) {
            plan.problems.push(no_such("privilege", name, known.iter().copied()));
        }
        let taken = roles.iter().any(|role| role.roleid == self.roleid);
        Ok(plan.check(!taken, || "the name is free".to_owned(), || format!("role {} exists already", self.roleid)))
    }
}

/// Delete a role; whoever has it loses it.
#[derive(Deserialize, JsonSchema)]
pub struct DeleteRole {
    #[schemars(length(min = 1))]
    roleid: String,
}

impl Tool for DeleteRole {
    const NAME: &str = "proxmox-delete-role";
    const TITLE: &str = "Delete a role";
    const API: &[&str] = &["GET /access/roles", "GET /access/acl", "DELETE /access/roles/{roleid}"];
    const EXAMPLE: (&str, &str) = ("Delete the role Operator", r#"{"roleid": "Operator", "confirm": true}"#);
}

impl Action for DeleteRole {
    const EFFECT: Effect = Effect::Destroy;
    const CONTROL: Control = Control::instant().confirmed();
    async fn plan(&self, pve: &Reader<'_>) -> Result<Plan> {
        let Self { roleid } = self;
        let (roles, acl) = tokio::try_join!(all(pve), pve.get::<Vec<AclEntry>>("/access/acl"))?;
        let mut plan = Plan::new(format!("delete role {roleid}"))
            .about("roleid", roleid.as_str())
            .step(Request::delete(format!("/access/roles/{}", encode(roleid))));
        match roles.iter().find(|role| role.roleid == *roleid) {
            None => plan.problems.push(no_such("role", roleid, roles.iter().map(|role| role.roleid.as_str()))),
            Some(role) if role.special => plan.problems.push(format!("role {roleid} is built in")),
            Some(role) => {
                let privs: Vec<&str> = role.privs().collect();
                let given = acl.iter().any(|entry| entry.role == *roleid);
                let undo = Undo::call(CreateRole::NAME, json!({"roleid": roleid, "privs": privs}));
                plan.undo = Some(if given { undo.note("not the permissions that had it") } else { undo });
            }
        }
        for entry in acl.iter().filter(|entry| entry.role == *roleid) {
            plan = plan.change(&format!("{} on {}", entry.who, entry.path), Some(roleid.as_str()), None::<String>);
        }
        Ok(plan)
    }
}
