//! What somebody may do on a path: roles from the ACL with propagation, pools, and the intersection for
//! privilege-separated tokens.

use std::collections::BTreeMap;

use super::{Acl, PRIVILEGES, Who};
use crate::sandbox::{state::State, wire::Refusal};

/// Role or privilege → whether it propagates to what lies below.
type Granted = BTreeMap<String, bool>;

impl State {
    /// The caller's privileges on a path.
    pub fn privileges(&self, who: &Who, path: &str) -> Granted {
        let Some(token) = &who.token else { return self.user_privileges(&who.user, path) };
        let user = self.user_privileges(&who.user, path);
        let separate = self.access.users.get(&who.user).and_then(|u| u.tokens.get(token)).is_none_or(|t| t.privsep);
        if !separate {
            return user;
        }
        let own = self.with_pools(path, |path| self.roles_on(path, &[], |acl| acl.tokens.get(&who.full())));
        own.into_iter().filter_map(|(name, propagate)| user.get(&name).map(|p| (name, propagate && *p))).collect()
    }

    pub fn may(&self, who: &Who, path: &str, privilege: &str) -> bool {
        who.user == "root@pam" && (who.token.is_none() || !self.is_separate(who))
            || self.privileges(who, path).contains_key(privilege)
    }

    /// # Errors
    /// 403 naming the first privilege that is missing.
    pub fn check(&self, who: &Who, path: &str, privileges: &[&str]) -> Result<(), Refusal> {
        match privileges.iter().find(|privilege| !self.may(who, path, privilege)) {
            Some(missing) => Err(Refusal::forbidden(&format!("{path}, {missing}"))),
            None => Ok(()),
        }
    }

    /// # Errors
    /// 403 naming all the privileges, where none is there.
    pub fn check_any(&self, who: &Who, path: &str, privileges: &[&str]) -> Result<(), Refusal> {
        if privileges.iter().any(|privilege| self.may(who, path, privilege)) {
            return Ok(());
        }
        Err(Refusal::forbidden(&format!("{path}, {}", privileges.join("|"))))
    }

    /// Whether nothing is hidden from the caller: root, or a token of root's that is not privilege-separated.
    pub fn sees_all(&self, who: &Who) -> bool {
        who.user == "root@pam" && !self.is_separate(who)
    }

    fn is_separate(&self, who: &Who) -> bool {
        let Some(name) = &who.token else { return false };
        self.access.users.get(&who.user).and_then(|user| user.tokens.get(name)).is_none_or(|token| token.privsep)
    }

    fn user_privileges(&self, user: &str, path: &str) -> Granted {
        if user == "root@pam" {
            return PRIVILEGES.iter().map(|name| ((*name).to_owned(), true)).collect();
        }
        let Some(account) = self.access.users.get(user) else { return Granted::new() };
        let groups: Vec<&str> = account.groups.iter().map(String::as_str).collect();
        self.with_pools(path, |path| self.roles_on(path, &groups, |acl| acl.users.get(user)))
    }

    /// The privileges of the roles on a path, and of those on the pools that the guest or storage is in.
    fn with_pools(&self, path: &str, roles: impl Fn(&str) -> Granted) -> Granted {
        let mut all = roles(path);
        if !all.contains_key("NoAccess") {
            for pool in self.pools_at(path) {
                let mut more = roles(&format!("/pool/{pool}"));
                more.remove("NoAccess");
                for (role, propagate) in more {
                    all.entry(role).or_insert(propagate);
                }
            }
        }
        let mut out = Granted::new();
        for (role, propagate) in all {
            for privilege in self.access.role(&role).unwrap_or_default() {
                *out.entry(privilege.to_owned()).or_insert(false) |= propagate;
            }
        }
        out
    }

    fn pools_at(&self, path: &str) -> Vec<&str> {
        if let Some(vmid) = path.strip_prefix("/vms/").and_then(|id| id.parse().ok()) {
            return self.pool_of(vmid).into_iter().collect();
        }
        match path.strip_prefix("/storage/") {
            Some(id) => {
                self.pools.iter().filter(|(_, p)| p.storages.contains(id)).map(|(name, _)| name.as_str()).collect()
            }
            None => Vec::new(),
        }
    }

    /// Walks from `/` down to the path: an entry of its own replaces what was inherited, one of a group likewise where
    /// there is none of its own; `NoAccess` beats the others of its level.
    fn roles_on<'a>(
        &'a self,
        path: &str,
        groups: &[&str],
        own: impl Fn(&'a Acl) -> Option<&'a BTreeMap<String, bool>>,
    ) -> Granted {
        let mut roles = Granted::new();
        for level in levels(path) {
            let Some(acl) = self.access.acl.get(level) else { continue };
            let here = |list: &BTreeMap<String, bool>| -> Granted {
                list.iter().filter(|(_, p)| **p || level == path).map(|(r, p)| (r.clone(), *p)).collect()
            };
            let mut new = own(acl).map(here).unwrap_or_default();
            if new.is_empty() {
                for list in groups.iter().filter_map(|group| acl.groups.get(*group)) {
                    for (role, propagate) in here(list) {
                        *new.entry(role).or_insert(false) |= propagate;
                    }
                }
            }
            if !new.is_empty() {
                roles = new;
            }
        }
        if let Some(propagate) = roles.get("NoAccess").copied() {
            roles = Granted::from([("NoAccess".to_owned(), propagate)]);
        }
        roles
    }
}

/// `/`, `/a`, `/a/b` of `/a/b`.
fn levels(path: &str) -> impl Iterator<Item = &str> {
    let inner = path.match_indices('/').skip(1).map(|(at, _)| &path[..at]);
    let last = (path != "/").then_some(path);
    std::iter::once("/").chain(inner).chain(last)
}
