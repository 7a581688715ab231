//! Groups of users, and the realms that users come from.

use serde_json::json;

use super::listed;
use crate::{pve::encode, tool::*};

/// List user groups with their members.
#[derive(Deserialize, JsonSchema)]
pub struct ListGroups {}

impl Tool for ListGroups {
    const NAME: &str = "proxmox-list-groups";
    const TITLE: &str = "List user groups";
    const API: &[&str] = &["GET /access/groups"];
    const EXAMPLE: (&str, &str) = ("Who is in which group?", "{}");
}

/// A row of `GET /access/groups`.
#[derive(Deserialize)]
pub struct Group {
    pub groupid: String,
    comment: Option<String>,
    users: Option<String>,
}

#[derive(Serialize, JsonSchema)]
pub struct Groups {
    total: usize,
    groups: Vec<Row>,
}

#[derive(Serialize, JsonSchema)]
struct Row {
    groupid: String,
    users: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    comment: Option<String>,
}

/// All that may be seen.
pub async fn all(pve: &Reader<'_>) -> Result<Vec<Group>> {
    let mut groups: Vec<Group> = pve.get("/access/groups").await?;
    groups.sort_by(|a, b| a.groupid.cmp(&b.groupid));
    Ok(groups)
}

impl Query for ListGroups {
    type Output = Groups;
    async fn query(&self, pve: &Reader<'_>) -> Result<Groups> {
        let row = |g: Group| Row { groupid: g.groupid, users: listed(g.users.as_deref()), comment: g.comment };
        let groups: Vec<Row> = all(pve).await?.into_iter().map(row).collect();
        Ok(Groups { total: groups.len(), groups })
    }
}

/// Create a user group.
#[derive(Deserialize, JsonSchema)]
pub struct CreateGroup {
    #[schemars(length(min = 1))]
    groupid: String,
    comment: Option<String>,
}

impl Tool for CreateGroup {
    const NAME: &str = "proxmox-create-group";
    const TITLE: &str = "Create a user group";
    const API: &[&str] = &["POST /access/groups"];
    const EXAMPLE: (&str, &str) = ("Make a group for support", r#"{"groupid": "support"}"#);
}

impl Action for CreateGroup {
    const EFFECT: Effect = Effect::Write;
    const CONTROL: Control = Control::instant();
    async fn plan(&self, _: &Reader<'_>) -> Result<Plan> {
        let request = Request::post("/access/groups").param("groupid", &self.groupid);
        Ok(Plan::new(format!("create group {}", self.groupid))
            .about("groupid", self.groupid.as_str())
            .undo(DeleteGroup::NAME, json!({"groupid": self.groupid}))
            .step(request.maybe("comment", self.comment.as_deref())))
    }
}

/// Delete a user group, and the permissions its members have through it.
#[derive(Deserialize, JsonSchema)]
pub struct DeleteGroup {
    #[schemars(length(min = 1))]
    groupid: String,
}

impl Tool for DeleteGroup {
    const NAME: &str = "proxmox-delete-group";
    const TITLE: &str = "Delete a user group";
    const API: &[&str] = &["GET /access/groups/{groupid}", "DELETE /access/groups/{groupid}"];
    const EXAMPLE: (&str, &str) = ("Remove the group operators", r#"{"groupid": "operators", "confirm": true}"#);
}

#[derive(Deserialize)]
struct Known {
    #[serde(default)]
    members: Vec<String>,
    comment: Option<String>,
}

impl Action for DeleteGroup {
    const EFFECT: Effect = Effect::Destroy;
    const CONTROL: Control = Control::instant().confirmed();
    async fn plan(&self, pve: &Reader<'_>) -> Result<Plan> {
        let path = format!("/access/groups/{}", encode(&self.groupid));
        let group: Known = pve.get(&path).await?;
        let mut again = json!({"groupid": self.groupid});
        if let Some(comment) = group.comment.filter(|comment| !comment.is_empty()) {
            again["comment"] = comment.into();
        }
        let mut plan = Plan::new(format!("delete group {}", self.groupid)).about("groupid", self.groupid.as_str());
        plan.undo = Some(Undo::call(CreateGroup::NAME, again).note(match group.members.is_empty() {
            true => "not its permissions".to_owned(),
            false => format!("not its permissions and members: {}", group.members.join(", ")),
        }));
        Ok(plan
            .warn_if(!group.members.is_empty(), || format!("its members lose its roles: {}", group.members.join(", ")))
            .step(Request::delete(path)))
    }
}

/// List authentication realms: what stands after the @ of a user.
#[derive(Deserialize, JsonSchema)]
pub struct ListRealms {}

impl Tool for ListRealms {
    const NAME: &str = "proxmox-list-realms";
    const TITLE: &str = "List realms";
    const API: &[&str] = &["GET /access/domains"];
    const EXAMPLE: (&str, &str) = ("How can people log in?", "{}");
}

/// A row of `GET /access/domains`.
#[derive(Deserialize)]
struct Domain {
    realm: String,
    r#type: String,
    comment: Option<String>,
    #[serde(default)]
    default: bool,
    tfa: Option<String>,
}

#[derive(Serialize, JsonSchema)]
pub struct Realms {
    total: usize,
    realms: Vec<Realm>,
}

#[derive(Serialize, JsonSchema)]
struct Realm {
    realm: String,
    /// pam, pve, ldap, ad or openid.
    #[serde(rename = "type")]
    kind: String,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    default: bool,
    /// Second factor that it demands.
    #[serde(skip_serializing_if = "Option::is_none")]
    tfa: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    comment: Option<String>,
}

impl Query for ListRealms {
    type Output = Realms;
    async fn query(&self, pve: &Reader<'_>) -> Result<Realms> {
        let mut found: Vec<Domain> = pve.get("/access/domains").await?;
        found.sort_by(|a, b| a.realm.cmp(&b.realm));
        let realm =
            |d: Domain| Realm { realm: d.realm, kind: d.r#type, default: d.default, tfa: d.tfa, comment: d.comment };
        let realms: Vec<Realm> = found.into_iter().map(realm).collect();
        Ok(Realms { total: realms.len(), realms })
    }
}
