//! Who may do what: roles, the entries of the access control list, and what they add up to.

mod assign;
mod roles;

use std::collections::BTreeMap;

use crate::{
    doctor::rights::{self, Permissions},
    tool::*,
};

pub const TOOLS: &[Entry] = &[
    Entry::list::<roles::ListRoles>(),
    Entry::action::<roles::CreateRole>(),
    Entry::action::<roles::DeleteRole>(),
    Entry::list::<ListAcl>(),
    Entry::action::<assign::AssignPermission>(),
    Entry::query::<MyPermissions>(),
];

/// List permissions: which user, group or token has which role on which path.
#[derive(Deserialize, JsonSchema)]
struct ListAcl {
    /// Only this path and what is below.
    path: Option<String>,
    /// A user, group or token.
    who: Option<String>,
}

impl Tool for ListAcl {
    const NAME: &str = "proxmox-list-acl";
    const TITLE: &str = "List permissions";
    const API: &[&str] = &["GET /access/acl"];
    const EXAMPLE: (&str, &str) = ("Who has which rights?", "{}");
}

/// A row of `GET /access/acl`.
#[derive(Deserialize, Serialize, JsonSchema)]
struct AclEntry {
    path: String,
    /// user, group or token.
    #[serde(rename = "type")]
    kind: String,
    #[serde(rename(deserialize = "ugid"))]
    who: String,
    #[serde(rename(deserialize = "roleid"))]
    role: String,
    /// Holds for what is below the path, too.
    #[serde(default = "yes")]
    propagate: bool,
}

fn yes() -> bool {
    true
}

#[derive(Serialize, JsonSchema)]
struct Acl {
    total: usize,
    acl: Vec<AclEntry>,
    #[serde(skip_serializing_if = "Option::is_none")]
    note: Option<&'static str>,
}

impl Query for ListAcl {
    type Output = Acl;
    async fn query(&self, pve: &Reader<'_>) -> Result<Acl> {
        let mut found: Vec<AclEntry> = pve.get("/access/acl").await?;
        let note = found
            .is_empty()
            .then_some("no entry is visible: the list needs Sys.Audit or Permissions.Modify on /access");
        if let Some(path) = self.path.as_deref().filter(|path| *path != "/") {
            let path = path.trim_end_matches('/');
            found.retain(|e| e.path.strip_prefix(path).is_some_and(|rest| rest.is_empty() || rest.starts_with('/')));
        }
        found.retain(|entry| self.who.as_deref().is_none_or(|who| entry.who == who));
        found.sort_by(|a, b| (&a.path, &a.kind, &a.who, &a.role).cmp(&(&b.path, &b.kind, &b.who, &b.role)));
        Ok(Acl { total: found.len(), acl: found, note })
    }
}

/// Show what this server's user or token may do, by path, in words; or another with userid.
#[derive(Deserialize, JsonSchema)]
struct MyPermissions {
    /// All privileges on this path instead.
    path: Option<String>,
    /// user@realm or user@realm!token
    userid: Option<String>,
}

impl Tool for MyPermissions {
    const NAME: &str = "proxmox-my-permissions";
    const TITLE: &str = "My permissions";
    const API: &[&str] = &["GET /access/permissions"];
    const EXAMPLE: (&str, &str) = ("What may you do here?", "{}");
}

#[derive(Serialize, JsonSchema)]
struct Mine {
    who: String,
    /// One line for each path where other things may be done than above it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    may: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    path: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    privileges: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    note: Option<String>,
}

impl Query for MyPermissions {
    type Output = Mine;
    async fn query(&self, pve: &Reader<'_>) -> Result<Mine> {
        let request = Request::get("/access/permissions")
            .maybe("path", self.path.as_deref())
            .maybe("userid", self.userid.as_deref());
        let permissions: Permissions = pve.request(&request).await?;
        let who = self.userid.clone().unwrap_or_else(|| pve.who());
        let note = rights::is_empty(&permissions).then(|| match who.contains('!') {
            true => "none: a token with privilege separation needs roles of its own, beside its user's".to_owned(),
            false => "none: it needs a role on some path".to_owned(),
        });
        let Some(path) = &self.path else {
            return Ok(Mine { who, may: rights::summary(&permissions), path: None, privileges: Vec::new(), note });
        };
        let privileges = permissions.into_values().flat_map(BTreeMap::into_keys).collect();
        Ok(Mine { who, may: Vec::new(), path: Some(path.clone()), privileges, note })
    }
}
