//! Users, groups, API tokens and realms.

mod groups;
mod tokens;

use serde_json::{Map, Value, json};

pub(super) use groups::{Group, all as all_groups};

use super::names::names;
use crate::{pve::encode, tool::*};

pub const TOOLS: &[Entry] = &[
    Entry::list::<ListUsers>(),
    Entry::action::<CreateUser>(),
    Entry::action::<UpdateUser>(),
    Entry::action::<DeleteUser>(),
    Entry::list::<groups::ListGroups>(),
    Entry::action::<groups::CreateGroup>(),
    Entry::action::<groups::DeleteGroup>(),
    Entry::list::<groups::ListRealms>(),
    Entry::list::<tokens::ListTokens>(),
    Entry::action::<tokens::CreateToken>(),
    Entry::action::<tokens::DeleteToken>(),
];

/// List users with groups, API tokens, and whether they may log in.
#[derive(Deserialize, JsonSchema)]
struct ListUsers {}

impl Tool for ListUsers {
    const NAME: &str = "proxmox-list-users";
    const TITLE: &str = "List users";
    const API: &[&str] = &["GET /access/users"];
    const EXAMPLE: (&str, &str) = ("Who has an account?", "{}");
}

/// A row of `GET /access/users` with `full`.
#[derive(Deserialize)]
pub(super) struct User {
    pub userid: String,
    #[serde(default)]
    enable: Option<bool>,
    #[serde(default)]
    expire: u64,
    #[serde(default)]
    groups: Option<String>,
    comment: Option<String>,
    email: Option<String>,
    firstname: Option<String>,
    lastname: Option<String>,
    #[serde(rename = "realm-type")]
    realm_type: Option<String>,
    #[serde(default)]
    pub tokens: Option<Vec<Token>>,
}

#[derive(Deserialize)]
pub(super) struct Token {
    pub tokenid: String,
    #[serde(default)]
    pub privsep: Option<bool>,
    #[serde(default)]
    expire: u64,
    comment: Option<String>,
}

/// All that may be seen: those without User.Modify or Sys.Audit see nobody, or themselves.
pub(super) async fn all(pve: &Reader<'_>) -> Result<Vec<User>> {
    let mut users: Vec<User> = pve.request(&Request::get("/access/users").param("full", 1)).await?;
    users.sort_by(|a, b| a.userid.cmp(&b.userid));
    Ok(users)
}

#[derive(Serialize, JsonSchema)]
struct Users {
    total: usize,
    users: Vec<Row>,
    #[serde(skip_serializing_if = "Option::is_none")]
    note: Option<&'static str>,
}

#[derive(Serialize, JsonSchema)]
struct Row {
    userid: String,
    enabled: bool,
    /// Seconds since 1970; absent: never.
    #[serde(skip_serializing_if = "Option::is_none")]
    expire: Option<u64>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    groups: Vec<String>,
    /// Names of its API tokens.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tokens: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    email: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    realm_type: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    comment: Option<String>,
}

impl From<User> for Row {
    fn from(user: User) -> Self {
        let name: Vec<String> = user.firstname.into_iter().chain(user.lastname).filter(|n| !n.is_empty()).collect();
        let text = |text: Option<String>| text.filter(|t| !t.is_empty());
        Self {
            enabled: user.enable != Some(false),
            expire: Some(user.expire).filter(|at| *at > 0),
            groups: listed(user.groups.as_deref()),
            tokens: user.tokens.into_iter().flatten().map(|token| token.tokenid).collect(),
            name: Some(name.join(" ")).filter(|n| !n.is_empty()),
            email: text(user.email),
            realm_type: user.realm_type,
            comment: text(user.comment),
            userid: user.userid,
        }
    }
}

/// The names in one of Proxmox's lists.
fn listed(list: Option<&str>) -> Vec<String> {
    list.unwrap_or_default().split(',').filter(|name| !name.is_empty()).map(str::to_owned).collect()
}

impl Query for ListUsers {
    type Output = Users;
    async fn query(&self, pve: &Reader<'_>) -> Result<Users> {
        let users: Vec<Row> = all(pve).await?.into_iter().map(Row::from).collect();
        let note =
            users.is_empty().then_some("no user is visible: lists need User.Modify or Sys.Audit on /access/groups");
        Ok(Users { total: users.len(), users, note })
    }
}

/// `/access/users/{userid}`, for a name that can stand there.
fn path(userid: &str) -> Result<String> {
    match userid.split_once('@') {
        Some((user, realm)) if !user.is_empty() && !realm.is_empty() && !realm.contains(['@', '!', '/']) => {
            Ok(format!("/access/users/{}", encode(userid)))
        }
        _ => Err(Error::bad_argument(format!("userid: expected user@realm, got '{userid}'"))),
    }
}

/// What a user is created with, and what may be changed.
#[derive(Deserialize, JsonSchema)]
struct Settings {
    enable: Option<bool>,
    /// Unix time; 0 never.
    expire: Option<u64>,
    comment: Option<String>,
    groups: Option<Vec<String>>,
}

impl Settings {
    fn on(&self, request: Request) -> Request {
        request
            .maybe("enable", self.enable.map(u8::from))
            .maybe("expire", self.expire)
            .maybe("comment", self.comment.as_deref())
            .maybe("groups", self.groups.is_some().then(|| names(self.groups.as_ref()).join(",")))
    }
}

/// Create a user. It may do nothing until it gets roles or groups.
#[derive(Deserialize, JsonSchema)]
struct CreateUser {
    /// user@realm
    userid: String,
    /// For realm pve; 8 to 64 characters.
    password: Option<String>,
    #[serde(flatten)]
    settings: Settings,
}

impl Tool for CreateUser {
    const NAME: &str = "proxmox-create-user";
    const TITLE: &str = "Create a user";
    const API: &[&str] = &["POST /access/users"];
    const EXAMPLE: (&str, &str) =
        ("Add an account for Bob", r#"{"userid": "bob@pve", "comment": "Bob", "confirm": true}"#);
}

impl Action for CreateUser {
    const EFFECT: Effect = Effect::Write;
    const CONTROL: Control = Control::instant().confirmed();
    async fn plan(&self, _: &Reader<'_>) -> Result<Plan> {
        path(&self.userid)?;
        let request = self.settings.on(Request::post("/access/users").param("userid", &self.userid));
        let request = match &self.password {
            Some(password) if (8..=64).contains(&password.chars().count()) => request.secret("password", password),
            Some(_) => return Err(Error::bad_argument("password: expected 8 to 64 characters")),
            None => request,
        };
        let cannot_log_in = self.password.is_none() && self.userid.ends_with("@pve");
        Ok(Plan::new(format!("create user {}", self.userid))
            .about("userid", self.userid.as_str())
            .undo(DeleteUser::NAME, json!({"userid": self.userid}))
            .warn_if(cannot_log_in, || "without a password it can log in by API token only".to_owned())
            .step(request))
    }
}

/// Change a user: enable or disable it, expiry, groups (replaces them), comment.
#[derive(Deserialize, JsonSchema)]
struct UpdateUser {
    userid: String,
    #[serde(flatten)]
    settings: Settings,
}

impl Tool for UpdateUser {
    const NAME: &str = "proxmox-update-user";
    const TITLE: &str = "Change a user";
    const API: &[&str] = &["GET /access/users/{userid}", "PUT /access/users/{userid}"];
    const EXAMPLE: (&str, &str) =
        ("Lock alice's account", r#"{"userid": "alice@pve", "enable": false, "confirm": true}"#);
}

impl Action for UpdateUser {
    const EFFECT: Effect = Effect::Write;
    const CONTROL: Control = Control::instant().confirmed();
    async fn plan(&self, pve: &Reader<'_>) -> Result<Plan> {
        let path = path(&self.userid)?;
        let request = self.settings.on(Request::put(&path));
        if request.params.is_empty() {
            return Err(Error::bad_argument("nothing to change").hint("give enable, expire, comment or groups"));
        }
        let now: Map<String, Value> = pve.get(path).await?;
        let mut plan = Plan::new(format!("change user {}", self.userid)).about("userid", self.userid.as_str());
        let mut before = json!({"userid": self.userid});
        for (key, new) in request.shown_params() {
            let new = new.as_str().map(str::to_owned);
            let old = now.get(&key).map(told).or_else(|| (key == "enable").then(|| "1".to_owned()));
            if old != new {
                before[&key] = former(&key, now.get(&key));
                plan = plan.change(&key, old, new);
            }
        }
        Ok(match plan.changes.is_empty() {
            true => plan.no_undo("nothing changes"),
            false => plan.undo(Self::NAME, before),
        }
        .step(request))
    }
}

/// A setting as it was, as an argument.
fn former(key: &str, old: Option<&Value>) -> Value {
    match key {
        "enable" => old.is_none_or(|old| told(old) != "0").into(),
        "expire" => old.and_then(|old| told(old).parse::<u64>().ok()).unwrap_or(0).into(),
        "groups" => {
            old.filter(|old| old.is_array()).cloned().unwrap_or_else(|| json!(listed(old.and_then(Value::as_str))))
        }
        _ => old.map(told).unwrap_or_default().into(),
    }
}

/// A value as Proxmox takes it.
fn told(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(items) => items.iter().map(told).collect::<Vec<_>>().join(","),
        Value::Bool(on) => u8::from(*on).to_string(),
        other => other.to_string(),
    }
}

/// Delete a user, with its API tokens and permissions.
#[derive(Deserialize, JsonSchema)]
struct DeleteUser {
    userid: String,
}

impl Tool for DeleteUser {
    const NAME: &str = "proxmox-delete-user";
    const TITLE: &str = "Delete a user";
    const API: &[&str] = &["GET /access/users/{userid}", "DELETE /access/users/{userid}"];
    const EXAMPLE: (&str, &str) = ("Remove alice's account", r#"{"userid": "alice@pve", "confirm": true}"#);
}

/// The call that makes a user again, as far as one can be made.
fn again(userid: &str, was: &Map<String, Value>) -> Undo {
    let mut arguments = json!({"userid": userid});
    for key in ["enable", "expire", "comment", "groups"] {
        let old = former(key, was.get(key));
        // What a new user has anyway.
        if ![json!(true), json!(0), json!(""), json!([])].contains(&old) {
            arguments[key] = old;
        }
    }
    let own = ["email", "firstname", "lastname", "keys"];
    let own = own.into_iter().filter(|key| was.get(*key).is_some_and(|value| !value.is_null() && value != ""));
    let lost: Vec<&str> = ["its password, API tokens and permissions"].into_iter().chain(own).collect();
    Undo::call(CreateUser::NAME, arguments).note(format!("not {}", lost.join(", ")))
}

impl Action for DeleteUser {
    const EFFECT: Effect = Effect::Destroy;
    const CONTROL: Control = Control::instant().confirmed();
    async fn plan(&self, pve: &Reader<'_>) -> Result<Plan> {
        let path = path(&self.userid)?;
        let user: Map<String, Value> = pve.get(&path).await?;
        // Some versions answer with names, others with what belongs to them.
        let tokens: Vec<String> = match user.get("tokens") {
            Some(Value::Object(tokens)) => tokens.keys().cloned().collect(),
            _ => Vec::new(),
        };
        let mut plan = Plan::new(format!("delete user {}", self.userid)).about("userid", self.userid.as_str());
        plan.undo = Some(again(&self.userid, &user));
        Ok(plan
            .warn_if(pve.who().split('!').next() == Some(&self.userid), || {
                "this server itself logs in with it: nothing works afterwards".to_owned()
            })
            .warn_if(!tokens.is_empty(), || format!("what uses its API tokens stops working: {}", tokens.join(", ")))
            .step(Request::delete(path)))
    }
}
