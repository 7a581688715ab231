//! Users, groups, tokens, roles and ACLs of the simulated cluster, and what they add up to.

mod check;
mod gate;
mod login;

use std::collections::{BTreeMap, BTreeSet};

use secrecy::SecretString;

pub use crate::pve::api::{BUILT_IN, PRIVILEGES};
pub use login::{Login, csrf_is_good, csrf_token, half_ticket, ticket, ticket_user};

/// Who asks.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Who {
    /// `user@realm`; empty for somebody who is not logged in.
    pub user: String,
    /// The token's name, where it is an API token that asks.
    pub token: Option<String>,
}

impl Who {
    pub fn nobody() -> Self {
        Self::default()
    }
    pub fn user(user: &str) -> Self {
        Self { user: user.to_owned(), token: None }
    }
    /// `user@realm` or `user@realm!token`.
    pub fn full(&self) -> String {
        self.token.as_ref().map_or_else(|| self.user.clone(), |token| format!("{}!{token}", self.user))
    }
    /// `root@pam` itself, not one of its tokens.
    pub fn is_root(&self) -> bool {
        self.user == "root@pam" && self.token.is_none()
    }
}

#[derive(Debug, Clone, Default)]
pub struct User {
    pub enable: bool,
    /// Unix time; 0: never.
    pub expire: u64,
    pub comment: Option<String>,
    pub email: Option<String>,
    pub firstname: Option<String>,
    pub lastname: Option<String>,
    pub keys: Option<String>,
    pub groups: BTreeSet<String>,
    pub password: Option<SecretString>,
    pub tokens: BTreeMap<String, Token>,
    pub tfa: Vec<Tfa>,
}

#[derive(Debug, Clone)]
pub struct Token {
    pub secret: SecretString,
    pub privsep: bool,
    /// Unix time; 0: never.
    pub expire: u64,
    pub comment: Option<String>,
}

/// A second factor: TOTP is the only kind that can be logged in with here.
#[derive(Debug, Clone)]
pub struct Tfa {
    pub id: String,
    pub description: String,
    pub enable: bool,
    pub created: u64,
    /// The TOTP secret, in base 32.
    pub secret: SecretString,
}

/// The entries of one ACL path: user, group or token → role → propagates.
#[derive(Debug, Clone, Default)]
pub struct Acl {
    pub users: BTreeMap<String, BTreeMap<String, bool>>,
    pub groups: BTreeMap<String, BTreeMap<String, bool>>,
    pub tokens: BTreeMap<String, BTreeMap<String, bool>>,
}

#[derive(Debug, Clone)]
pub struct Realm {
    pub kind: String,
    pub comment: String,
    pub default: bool,
}

#[derive(Debug, Clone, Default)]
pub struct Access {
    pub users: BTreeMap<String, User>,
    /// Group → comment.
    pub groups: BTreeMap<String, Option<String>>,
    /// Roles made by users; the built-in ones are [`BUILT_IN`].
    pub roles: BTreeMap<String, BTreeSet<String>>,
    pub acl: BTreeMap<String, Acl>,
    pub realms: BTreeMap<String, Realm>,
}

impl Access {
    /// The privileges of a role, built-in or not.
    pub fn role(&self, name: &str) -> Option<Vec<&str>> {
        if let Some((_, privileges)) = BUILT_IN.iter().find(|(known, _)| *known == name) {
            return Some(match *privileges {
                ["*"] => PRIVILEGES.to_vec(),
                some => some.to_vec(),
            });
        }
        Some(self.roles.get(name)?.iter().map(String::as_str).collect())
    }
    /// The user, if it may log in now.
    pub fn active_user(&self, user: &str, now: u64) -> Option<&User> {
        self.users.get(user).filter(|user| user.enable && (user.expire == 0 || user.expire > now))
    }
    /// Gives a role on a path; `target` as in [`Acl`]: a user, `@group`, or `user!token`.
    pub fn grant(&mut self, path: &str, target: &str, role: &str, propagate: bool) {
        let acl = self.acl.entry(path.to_owned()).or_default();
        let list = match target.strip_prefix('@') {
            Some(group) => acl.groups.entry(group.to_owned()),
            None if target.contains('!') => acl.tokens.entry(target.to_owned()),
            None => acl.users.entry(target.to_owned()),
        };
        list.or_default().insert(role.to_owned(), propagate);
    }
}
