//! Which guests are meant: what a call says of them, all of which has to fit.

use crate::{
    pve::{Guest, GuestKind},
    tool::*,
    toolsets::matches,
};

/// At least one of these, or `all`.
#[derive(Deserialize, JsonSchema)]
pub struct Select {
    #[serde(default)]
    vmids: Vec<u32>,
    /// With * for anything.
    #[schemars(length(min = 1))]
    name: Option<String>,
    #[schemars(length(min = 1))]
    tag: Option<String>,
    #[schemars(length(min = 1))]
    pool: Option<String>,
    #[schemars(length(min = 1))]
    node: Option<String>,
    status: Option<Status>,
    kind: Option<GuestKind>,
    /// Every guest: instead of the above.
    #[serde(default)]
    all: bool,
}

#[derive(Deserialize, JsonSchema, Clone, Copy, PartialEq)]
#[serde(rename_all = "lowercase")]
enum Status {
    Running,
    Stopped,
}

impl Select {
    /// The guests that are meant, by VMID.
    ///
    /// # Errors
    /// `BadArgument` where nothing is said, or everything and something; `NotFound` where no guest fits, or a VMID is none.
    pub async fn guests(&self, pve: &Reader<'_>) -> Result<Vec<Guest>> {
        let said = self.said();
        match (said.is_empty(), self.all) {
            (true, false) => {
                return Err(Error::bad_argument("which guests? give vmids, name, tag, pool, node, status or kind")
                    .hint("all: true means every guest of the cluster"));
            }
            (false, true) => {
                let message =
                    format!("all: every guest is meant, or those with {}: give one of the two", said.join(", "));
                return Err(Error::bad_argument(message));
            }
            _ => {}
        }
        let everyone = pve.guests_now().await?;
        let missing: Vec<String> = self
            .vmids
            .iter()
            .filter(|vmid| !everyone.iter().any(|guest| guest.vmid == **vmid))
            .map(u32::to_string)
            .collect();
        if !missing.is_empty() {
            let message = format!("vmids: no guest has {}", missing.join(", "));
            return Err(
                Error::not_found(message).hint("nothing was done; proxmox-list-vms and proxmox-list-lxc show all")
            );
        }
        let total = everyone.len();
        let chosen: Vec<Guest> = everyone.into_iter().filter(|guest| self.fits(guest)).collect();
        match chosen.is_empty() {
            true => Err(Error::not_found(format!(
                "none of the {total} guests that these credentials may see fits {}",
                said.join(", ")
            ))
            .hint("proxmox-find-by-tag, proxmox-list-pools and proxmox-list-vms show what there is")),
            false => Ok(chosen),
        }
    }

    /// Whether this guest was named by its number.
    pub fn names(&self, guest: &Guest) -> bool {
        self.vmids.contains(&guest.vmid)
    }

    fn fits(&self, guest: &Guest) -> bool {
        let is = |wanted: &Option<String>, have: Option<&str>| {
            wanted.as_deref().is_none_or(|wanted| have.is_some_and(|have| matches(wanted, have)))
        };
        let tagged = |tag: &str| {
            let all = guest.tags.as_deref().unwrap_or_default().split([';', ',', ' ']);
            all.into_iter().any(|have| have.eq_ignore_ascii_case(tag))
        };
        (self.vmids.is_empty() || self.names(guest))
            && is(&self.name, guest.name.as_deref())
            && is(&self.pool, guest.pool.as_deref())
            && is(&self.node, Some(&guest.node))
            && self.tag.as_deref().is_none_or(tagged)
            && self.status.is_none_or(|status| {
                status == Status::Running && guest.is_running()
                    || status == Status::Stopped && guest.status == "stopped"
            })
            && self.kind.is_none_or(|kind| kind == guest.kind)
    }

    /// What was said, for sentences.
    fn said(&self) -> Vec<String> {
        let vmids: Vec<String> = self.vmids.iter().map(u32::to_string).collect();
        let status = self.status.map(|status| if status == Status::Running { "running" } else { "stopped" });
        [
            ("vmids", (!vmids.is_empty()).then(|| vmids.join(","))),
            ("name", self.name.clone()),
            ("tag", self.tag.clone()),
            ("pool", self.pool.clone()),
            ("node", self.node.clone()),
            ("status", status.map(str::to_owned)),
            ("kind", self.kind.map(|kind| kind.path().to_owned())),
        ]
        .into_iter()
        .filter_map(|(key, value)| Some(format!("{key}={}", value?)))
        .collect()
    }
}
