//! Giving and taking roles.

use serde_json::{Map, Value, json};

use super::{
    super::{
        names::{names, no_such},
        users,
    },
    AclEntry, roles,
};
use crate::{
    doctor::rights::{self, Permissions},
    tool::*,
};

/// Give roles on a path (/vms/100, /pool/x …) to users, groups or API tokens; with remove, take them away.
#[derive(Deserialize, JsonSchema)]
pub struct AssignPermission {
    path: String,
    roles: Vec<String>,
    users: Option<Vec<String>>,
    groups: Option<Vec<String>>,
    /// user@realm!token
    tokens: Option<Vec<String>>,
    #[serde(default = "yes")]
    propagate: bool,
    #[serde(default)]
    remove: bool,
}

fn yes() -> bool {
    true
}

impl Tool for AssignPermission {
    const NAME: &str = "proxmox-assign-permission";
    const TITLE: &str = "Assign a permission";
    const API: &[&str] =
        &["GET /access/acl", "GET /access/groups", "GET /access/roles", "GET /access/users", "PUT /access/acl"];
    const EXAMPLE: (&str, &str) = (
        "Let alice look at everything",
        r#"{"path": "/", "roles": "PVEAuditor", "users": "alice@pve", "confirm": true}"#,
    );
}

/// What there is, as far as it may be seen.
struct Known {
    roles: Vec<roles::Role>,
    users: Vec<users::User>,
    groups: Vec<users::Group>,
    acl: Vec<AclEntry>,
}

impl Known {
    async fn read(pve: &Reader<'_>) -> Result<Self> {
        let acl = pve.get::<Vec<AclEntry>>("/access/acl");
        let (roles, users, groups, acl) =
            tokio::try_join!(roles::all(pve), users::all(pve), users::all_groups(pve), acl)?;
        Ok(Self { roles, users, groups, acl })
    }

    /// Names of a kind: `user`, `group` or `token`.
    fn names(&self, kind: &str) -> Vec<String> {
        match kind {
            "user" => self.users.iter().map(|user| user.userid.clone()).collect(),
            "group" => self.groups.iter().map(|group| group.groupid.clone()).collect(),
            _ => {
                let of = |user: &users::User| -> Vec<String> {
                    let tokens = user.tokens.iter().flatten();
                    tokens.map(|token| format!("{}!{}", user.userid, token.tokenid)).collect()
                };
                self.users.iter().flat_map(of).collect()
            }
        }
    }

    fn roles_of(&self, path: &str, kind: &str, who: &str) -> Vec<&AclEntry> {
        self.acl.iter().filter(|e| e.path == path && e.kind == kind && e.who == who).collect()
    }

    fn is_separate(&self, token: &str) -> bool {
        self.users.iter().any(|user| {
            let mut tokens = user.tokens.iter().flatten();
            tokens.any(|t| format!("{}!{}", user.userid, t.tokenid) == token && t.privsep != Some(false))
        })
    }
}

/// Lists of users and groups show only what one may see: what is not in them is certain for those who see all.
async fn sees_all(pve: &Reader<'_>) -> bool {
    let request = Request::get("/access/permissions").param("path", "/access/groups");
    let mine = pve.request::<Permissions>(&request).await;
    mine.is_ok_and(|mine| ["User.Modify", "Sys.Audit"].iter().any(|privilege| rights::anywhere(&mine, privilege)))
}

/// `PVEVMUser, PVEAuditor (not below)`
fn told(mut roles: Vec<(String, bool)>) -> Option<String> {
    roles.sort();
    let one = |(role, down): &(String, bool)| if *down { role.clone() } else { format!("{role} (not below)") };
    Some(roles.iter().map(one).collect::<Vec<_>>().join(", ")).filter(|text| !text.is_empty())
}

impl AssignPermission {
    /// Who it is about: kind, the parameter's name, and the names.
    fn subjects(&self) -> [(&'static str, &'static str, Vec<&str>); 3] {
        [
            ("user", "users", names(self.users.as_ref())),
            ("group", "groups", names(self.groups.as_ref())),
            ("token", "tokens", names(self.tokens.as_ref())),
        ]
    }

    /// The entries of one subject on the path, before and after.
    fn change(&self, known: &Known, path: &str, kind: &str, who: &str) -> (Option<String>, Option<String>) {
        let old: Vec<(String, bool)> =
            known.roles_of(path, kind, who).iter().map(|e| (e.role.clone(), e.propagate)).collect();
        let given = names(Some(&self.roles));
        let mut new: Vec<(String, bool)> = old.iter().filter(|(r, _)| !given.contains(&r.as_str())).cloned().collect();
        if !self.remove {
            new.extend(given.iter().map(|role| ((*role).to_owned(), self.propagate)));
        }
        (told(old), told(new))
    }
}

impl AssignPermission {
    /// The call that sets the entries to what they were. One call can do that for every pairing of its roles with its
    /// subjects, and for nothing less.
    fn undone(&self, known: &Known, path: &str) -> Undo {
        /// A role, and whose it is.
        type Pair<'a> = (&'a str, &'static str, &'a str);
        let (mut fresh, mut turned, mut gone): (Vec<Pair<'_>>, Vec<Pair<'_>>, Vec<(Pair<'_>, bool)>) =
            Default::default();
        for (kind, _, who) in &self.subjects() {
            for who in who {
                let there = known.roles_of(path, kind, who);
                for role in names(Some(&self.roles)) {
                    let pair = (role, *kind, *who);
                    match there.iter().find(|entry| entry.role == role) {
                        Some(entry) if self.remove => gone.push((pair, entry.propagate)),
                        Some(entry) if entry.propagate != self.propagate => turned.push(pair),
                        None if !self.remove => fresh.push(pair),
                        _ => {}
                    }
                }
            }
        }
        let (pairs, how) = match (fresh.is_empty(), turned.is_empty(), gone.as_slice()) {
            (true, true, []) => return Undo::never("nothing changes"),
            (false, true, []) => (fresh, ("remove", true)),
            (true, false, []) => (turned, ("propagate", !self.propagate)),
            (true, true, [(_, propagate), rest @ ..]) if rest.iter().all(|(_, other)| other == propagate) => {
                (gone.iter().map(|(pair, _)| *pair).collect(), ("propagate", *propagate))
            }
            _ => return Undo::never(MIXED),
        };
        let mut roles: Vec<&str> = pairs.iter().map(|(role, ..)| *role).collect();
        roles.sort_unstable();
        roles.dedup();
        let mut arguments = Map::from_iter([("path".to_owned(), json!(path)), ("roles".to_owned(), json!(roles))]);
        let mut whom = 0;
        for (kind, parameter, who) in self.subjects() {
            let who: Vec<&str> =
                who.into_iter().filter(|who| pairs.iter().any(|(_, k, w)| *k == kind && w == who)).collect();
            whom += who.len();
            if !who.is_empty() {
                arguments.insert(parameter.to_owned(), json!(who));
            }
        }
        if pairs.len() != roles.len() * whom {
            return Undo::never(MIXED);
        }
        arguments.insert(how.0.to_owned(), how.1.into());
        Undo::call(Self::NAME, Value::Object(arguments))
    }
}

const MIXED: &str = "some of it was given before: one call cannot set each entry to what it was";

impl Action for AssignPermission {
    const EFFECT: Effect = Effect::Write;
    const CONTROL: Control = Control::instant().confirmed();
    async fn plan(&self, pve: &Reader<'_>) -> Result<Plan> {
        let (roles, subjects) = (names(Some(&self.roles)), self.subjects());
        let whom: Vec<&str> = subjects.iter().flat_map(|(_, _, names)| names.iter().copied()).collect();
        if roles.is_empty() {
            return Err(Error::bad_argument("roles: missing; expected names of roles"));
        }
        if whom.is_empty() {
            return Err(Error::bad_argument("give users, groups or tokens: who is meant?"));
        }
        if !self.path.starts_with('/') {
            return Err(Error::bad_argument(format!("path: expected one that begins with /, got '{}'", self.path)));
        }
        // As Proxmox stores it.
        let path = format!("/{}", self.path.split('/').filter(|part| !part.is_empty()).collect::<Vec<_>>().join("/"));
        let known = Known::read(pve).await?;
        let (verb, to) = if self.remove { ("take", "from") } else { ("give", "to") };
        let mut request = Request::put("/access/acl").param("path", &path).param("roles", roles.join(","));
        for (_, parameter, names) in subjects.iter().filter(|(_, _, names)| !names.is_empty()) {
            request = request.param(*parameter, names.join(","));
        }
        let request = match self.remove {
            true => request.flag("delete", true),
            false => request.param("propagate", u8::from(self.propagate)),
        };
        let mut plan = Plan::new(format!("{verb} {} on {path} {to} {}", roles.join(", "), whom.join(", ")))
            .about("path", path.as_str())
            .step(request);
        for role in roles.iter().filter(|role| !known.roles.iter().any(|r| r.roleid == **role)) {
            plan.problems.push(no_such("role", role, known.roles.iter().map(|r| r.roleid.as_str())));
        }
        plan.undo = Some(self.undone(&known, &path));
        let mut certain = None;
        for (kind, _, names) in &subjects {
            let there = known.names(kind);
            for who in names {
                if !there.iter().any(|name| name == who) && !self.remove {
                    let all = match certain {
                        Some(all) => all,
                        None => *certain.insert(sees_all(pve).await),
                    };
                    let text = no_such(kind, who, there.iter().map(String::as_str));
                    if all {
                        plan.problems.push(text)
                    } else {
                        plan.warnings.push(format!("{text}, or it is not shown"))
                    }
                }
                let (old, new) = self.change(&known, &path, kind, who);
                if old == new {
                    plan.warnings.push(format!("{who}: nothing changes on {path}"));
                } else {
                    plan = plan.change(&format!("{kind} {who} on {path}"), old, new);
                }
                let above = known.acl.iter().filter(|e| {
                    e.kind == *kind && e.who == *who && e.propagate && !self.remove && is_above(&e.path, &path)
                });
                let above: Vec<String> = above.map(|e| format!("{} (from {})", e.role, e.path)).collect();
                plan = plan
                    .warn_if(!above.is_empty() && known.roles_of(&path, kind, who).is_empty(), || {
                        format!("{who}: roles on {path} replace what it has there from above: {}", above.join(", "))
                    })
                    .warn_if(*kind == "token" && !self.remove && known.is_separate(who), || {
                        format!("{who} is privilege-separated: it may do only what its user may do, too")
                    });
            }
        }
        Ok(plan)
    }
}

fn is_above(path: &str, of: &str) -> bool {
    path != of && (path == "/" || of.strip_prefix(path).is_some_and(|rest| rest.starts_with('/')))
}
