//! What the API has at a path, from the built-in facts: nothing is sent.

use std::sync::Arc;

use super::target::{clean, unknown};
use crate::{
    arguments::nearest,
    pve::api::{Access, Endpoint, Format, Permission, Property},
    tool::*,
};

/// Look up what the Proxmox API has at a path: methods, parameters, permissions, paths below.
#[derive(Deserialize, JsonSchema)]
pub struct ApiDocs {
    #[serde(default = "root")]
    path: String,
    /// Adds the types of its parameters.
    method: Option<Verb>,
    /// Adds the keys of this one.
    param: Option<String>,
}

fn root() -> String {
    "/".to_owned()
}

#[derive(Deserialize, JsonSchema, Clone, Copy)]
#[serde(rename_all = "UPPERCASE")]
enum Verb {
    Get,
    Post,
    Put,
    Delete,
}

impl Verb {
    fn word(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Post => "POST",
            Self::Put => "PUT",
            Self::Delete => "DELETE",
        }
    }
}

impl Tool for ApiDocs {
    const NAME: &str = "proxmox-api-docs";
    const TITLE: &str = "Look up the API";
    const API: &[&str] = &[];
    const EXAMPLE: (&str, &str) = (
        "What can the API do with a VM's snapshots?",
        r#"{"path": "/nodes/{node}/qemu/{vmid}/snapshot", "method": "POST"}"#,
    );
}

#[derive(Serialize, JsonSchema)]
pub struct Docs {
    path: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    methods: Vec<Docked>,
    /// What the path goes on with.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    below: Vec<&'static str>,
}

#[derive(Serialize, JsonSchema)]
struct Docked {
    method: String,
    /// Proxmox's name for it.
    name: &'static str,
    /// Who may call it.
    permission: String,
    /// Only for those logged in with a password.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    no_api_token: bool,
    /// Starts a task, and answers with its UPID.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    task: bool,
    required: Vec<String>,
    optional: Vec<String>,
}

impl Query for ApiDocs {
    type Output = Docs;
    async fn query(&self, pve: &Reader<'_>) -> Result<Docs> {
        let path = clean(&self.path)?;
        let api = pve.api();
        let all = api.methods(&path);
        let (_, below) = api.below(&path);
        if all.is_empty() && below.is_empty() || api.below(&path).0 < path.split('/').filter(|s| !s.is_empty()).count()
        {
            return Err(unknown(api, &path));
        }
        let wanted = self.method.map(Verb::word);
        let methods: Vec<&Arc<Endpoint>> =
            all.iter().filter(|e| wanted.is_none_or(|method| e.method.as_str() == method)).collect();
        if let (Some(method), true) = (wanted, methods.is_empty()) {
            let has: Vec<&str> = all.iter().map(|e| e.method.as_str()).collect();
            return Err(Error::bad_argument(format!("method: {path} has no {method}"))
                .hint(format!("it has {}", has.join(", "))));
        }
        if let Some(param) = &self.param
            && !methods.iter().any(|e| e.param(param).is_some())
        {
            let error = Error::bad_argument(format!("param: {path} has no parameter '{param}'"));
            return Err(match nearest(param, methods.iter().flat_map(|e| e.param_names())) {
                Some(near) => error.hint(format!("did you mean '{near}'?")),
                None => error,
            });
        }
        let methods = methods.into_iter().map(|e| self.docked(e)).collect();
        Ok(Docs { path, methods, below })
    }
}

impl ApiDocs {
    fn docked(&self, endpoint: &Endpoint) -> Docked {
        let told = |(name, property): &(&str, Arc<Property>)| match (self.method, &self.param) {
            _ if self
                .param
                .as_deref()
                .is_some_and(|param| endpoint.param(param).is_some_and(|p| Arc::ptr_eq(p, property))) =>
            {
                format!("{name}: {}{}", kind(property), keys(property))
            }
            (Some(_), None) => format!("{name}: {}", kind(property)),
            _ => (*name).to_owned(),
        };
        let (optional, required): (Vec<_>, Vec<_>) = endpoint.params.iter().partition(|(_, p)| p.optional);
        Docked {
            method: endpoint.method.to_string(),
            name: endpoint.name,
            permission: match &endpoint.access {
                Access::World => "anybody".to_owned(),
                Access::User => "every user; what is shown depends on privileges".to_owned(),
                Access::Root => "root@pam only".to_owned(),
                Access::Check(permission) => needs(permission),
            },
            no_api_token: !endpoint.allow_token,
            task: !endpoint.tasks.is_empty(),
            required: required.into_iter().map(told).collect(),
            optional: optional.into_iter().map(told).collect(),
        }
    }
}

fn needs(permission: &Permission) -> String {
    let joined = |parts: &[Permission], word: &str| {
        let part = |part: &Permission| match part {
            Permission::And(_) | Permission::Or(_) => format!("({})", needs(part)),
            one => needs(one),
        };
        parts.iter().map(part).collect::<Vec<_>>().join(word)
    };
    match permission {
        Permission::Privileges { path, privileges, any, .. } => {
            format!("{} on {path}", privileges.join(if *any { " or " } else { " and " }))
        }
        Permission::Modify { path } => format!("Permissions.Modify on {path}"),
        Permission::UserIsSelf => "being that user".to_owned(),
        Permission::UserRealm { privilege } => format!("{privilege} on /access/realm/{{realm}}"),
        Permission::UserGroup { privileges, .. } => {
            format!("{} on /access/groups or a group of the user", privileges.join(" or "))
        }
        Permission::And(parts) => joined(parts, " and "),
        Permission::Or(parts) => joined(parts, " or "),
    }
}

/// `integer 1..100, default 5`, `string: a, b or c`, `list of pve-vmid`
fn kind(property: &Property) -> String {
    let mut out = property.kind.name().to_owned();
    if property.array {
        out = format!("array of {out}");
    }
    match (property.minimum, property.maximum) {
        (None, None) => {}
        (least, most) => out = format!("{out} {}..{}", least.unwrap_or_default(), most.unwrap_or_default()),
    }
    if let Some(format) = &property.format {
        let list = if format.list { "list of " } else { "" };
        out = match &*format.format {
            Format::Keys(_) => "property string".to_owned(),
            Format::Rule(rule) if !rule.values.is_empty() && rule.values.len() <= 12 => {
                format!("{list}{}", rule.values.join("|"))
            }
            Format::Rule(_) => format!("{list}{}", format.name),
        };
    }
    if !property.values.is_empty() {
        out = match property.values.len() {
            n if n > 24 => format!("one of {n} words, as {}", property.values[0]),
            _ => property.values.join("|"),
        };
    }
    match property.default {
        Some(default) => format!("{out}, default {default}"),
        None => out,
    }
}

/// The keys of a property string.
fn keys(property: &Property) -> String {
    let Some(Format::Keys(shape)) = property.format.as_ref().map(|format| &*format.format) else {
        return String::new();
    };
    let key = |(name, property): &(&'static str, Property)| match property {
        p if p.default_key => format!("[{name}=]<{}>", kind(p)),
        p if p.optional => format!("{name}=<{}>", kind(p)),
        p => format!("{name}=<{}> (required)", kind(p)),
    };
    format!(" with {}", shape.keys.iter().map(key).collect::<Vec<_>>().join(", "))
}
