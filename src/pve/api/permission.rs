//! Who may call a method, as the table says it; whether somebody may is for the one who knows the users to find out.

/// Who may call a method.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Access {
    /// Anybody, without logging in.
    World,
    /// Every user who is logged in; the method itself may check more.
    User,
    /// `root@pam` alone.
    Root,
    Check(Permission),
}

/// A permission expression. Paths have the method's parameters in braces.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Permission {
    /// Privileges on a path: all of them, or `any` of them.
    Privileges {
        path: &'static str,
        privileges: Vec<&'static str>,
        any: bool,
        /// The check counts (and can succeed) only when this parameter is given.
        require_param: Option<&'static str>,
    },
    /// May change the permissions of a path.
    Modify {
        path: &'static str,
    },
    /// The parameter `userid` is the caller.
    UserIsSelf,
    /// This privilege on the realm of the parameter `userid`.
    UserRealm {
        privilege: &'static str,
    },
    /// Any of these privileges on a group of the user `userid`, or on `/access/groups`; with `groups_param`, on all
    /// groups that the parameter `groups` names as well.
    UserGroup {
        privileges: Vec<&'static str>,
        groups_param: Option<&'static str>,
    },
    And(Vec<Permission>),
    Or(Vec<Permission>),
}

impl Access {
    pub(super) fn read(text: &'static str) -> Self {
        match text {
            "world" => Self::World,
            "all" => Self::User,
            "root" => Self::Root,
            _ => Permission::read(text).map_or(Self::Root, |(permission, _)| Self::Check(permission)),
        }
    }
}

impl Permission {
    /// Reads one expression in parentheses, and gives what follows it.
    fn read(text: &'static str) -> Option<(Self, &'static str)> {
        let text = text.trim_start().strip_prefix('(')?;
        let (kind, mut rest) = text.split_once(' ')?;
        if matches!(kind, "and" | "or") {
            let mut parts = Vec::new();
            while let Some((part, after)) = Self::read(rest) {
                parts.push(part);
                rest = after;
            }
            let rest = rest.trim_start().strip_prefix(')')?;
            return Some((if kind == "and" { Self::And(parts) } else { Self::Or(parts) }, rest));
        }
        let (body, rest) = rest.split_once(')')?;
        let words: Vec<&str> = body.split(' ').collect();
        let option = |name: &str| words.iter().position(|w| *w == name).and_then(|at| words.get(at + 1)).copied();
        let list = |at: usize| words.get(at).map(|w| w.split(',').collect()).unwrap_or_default();
        let permission = match (kind, *words.first()?) {
            ("perm", path) => Self::Privileges {
                path,
                privileges: list(1),
                any: option("any").is_some(),
                require_param: option("require_param"),
            },
            ("perm-modify", path) => Self::Modify { path },
            ("userid-param", "self") => Self::UserIsSelf,
            ("userid-param", privilege) => Self::UserRealm { privilege },
            ("userid-group", _) => Self::UserGroup { privileges: list(0), groups_param: option("groups_param") },
            _ => return None,
        };
        Some((permission, rest))
    }
}
