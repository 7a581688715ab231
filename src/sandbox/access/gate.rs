//! Whether somebody may call a method at all: the permission expressions of the API's schema, worked out.

use super::Who;
use crate::{
    pve::api::{Access, Params, Permission},
    sandbox::{params::split_list, state::State, wire::Refusal},
};

impl State {
    /// Checks a call against its method's permission.
    ///
    /// # Errors
    /// 403 in PVE's words.
    pub fn admit(&self, who: &Who, access: &Access, params: &Params) -> Result<(), Refusal> {
        match access {
            Access::World | Access::User => Ok(()),
            Access::Root if who.is_root() => Ok(()),
            Access::Root => Err(Refusal::forbidden("user != root@pam")),
            Access::Check(_) if who.is_root() => Ok(()),
            Access::Check(permission) => self.admits(who, permission, params),
        }
    }

    fn admits(&self, who: &Who, permission: &Permission, params: &Params) -> Result<(), Refusal> {
        match permission {
            Permission::And(parts) => parts.iter().try_for_each(|part| self.admits(who, part, params)),
            Permission::Or(parts) => match parts.iter().any(|part| self.admits(who, part, params).is_ok()) {
                true => Ok(()),
                // Which of them would have been needed is not said.
                false => Err(Refusal::forbidden("")),
            },
            Permission::Privileges { path, privileges, any, require_param } => {
                if require_param.is_some_and(|name| !params.contains_key(name)) {
                    return Err(Refusal::forbidden(""));
                }
                let path = fill(path, params);
                if *any { self.check_any(who, &path, privileges) } else { self.check(who, &path, privileges) }
            }
            Permission::Modify { path } => self.may_modify(who, &fill(path, params)),
            Permission::UserIsSelf => match value(params, "userid") == Some(who.user.as_str()) {
                true => Ok(()),
                false => Err(Refusal::forbidden("")),
            },
            Permission::UserRealm { privilege } => {
                let user = value(params, "userid").unwrap_or_default();
                let Some((_, realm)) = user.rsplit_once('@') else {
                    return Err(Refusal::failed(format!("value '{user}' does not look like a valid user name")));
                };
                self.check(who, &format!("/access/realm/{realm}"), &[privilege])
            }
            Permission::UserGroup { privileges, groups_param } => {
                self.admits_group(who, privileges, *groups_param, params)
            }
        }
    }

    /// Changing permissions needs `Permissions.Modify` on the path; for storages, guests and pools their allocation
    /// privilege does too.
    ///
    /// # Errors
    /// 403.
    pub fn may_modify(&self, who: &Who, path: &str) -> Result<(), Refusal> {
        let also: &[&str] = match path.split('/').nth(1) {
            Some("storage") => &["Permissions.Modify", "Datastore.Allocate"],
            Some("vms") => &["Permissions.Modify", "VM.Allocate"],
            Some("pool") => &["Permissions.Modify", "Pool.Allocate"],
            _ => &["Permissions.Modify"],
        };
        self.check_any(who, path, also)
    }

    fn admits_group(
        &self,
        who: &Who,
        privileges: &[&str],
        groups_param: Option<&str>,
        params: &Params,
    ) -> Result<(), Refusal> {
        if self.check_any(who, "/access/groups", privileges).is_ok() {
            return Ok(());
        }
        let on = |group: &str| self.check_any(who, &format!("/access/groups/{group}"), privileges);
        if let Some(user) = value(params, "userid").and_then(|user| self.access.users.get(user))
            && groups_param != Some("create")
            && !user.groups.iter().any(|group| on(group).is_ok())
        {
            return Err(Refusal::forbidden(&format!("/access/groups, {}", privileges.join("|"))));
        }
        match (groups_param, value(params, "groups")) {
            (Some(_), Some(groups)) => split_list(groups).try_for_each(on),
            (Some("create"), None) => Err(Refusal::forbidden(&format!("/access/groups, {}", privileges.join("|")))),
            _ => Ok(()),
        }
    }
}

fn value<'a>(params: &'a Params, name: &str) -> Option<&'a str> {
    match params.get(name)? {
        crate::pve::api::Given::Text(text) => Some(text),
        _ => None,
    }
}

/// A path template with the call's parameters put in.
fn fill(template: &str, params: &Params) -> String {
    let mut out = String::new();
    let mut rest = template;
    while let Some((before, after)) = rest.split_once('{') {
        let Some((name, after)) = after.split_once('}') else { break };
        out.push_str(before);
        out.push_str(value(params, name).unwrap_or_default());
        rest = after;
    }
    out.push_str(rest);
    out
}
