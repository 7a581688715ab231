//! What a call says of the machines that it makes, be they VMs or containers, and what is said of them in the end.

use serde_json::{Map, Value, json};

use super::{
    addresses::{self, Given},
    jobs::Job,
    names,
};
use crate::{
    lanes::{How, Lane, Lanes, OnFailure},
    pve::GuestKind,
    tool::*,
    tools::ansible::write,
};

/// What VMs and containers have in common.
#[derive(Deserialize, JsonSchema)]
pub struct Fleet {
    /// Or a pattern: web{01..03}.
    #[schemars(length(min = 1))]
    pub name: String,
    /// Default: the best.
    pub node: Option<String>,
    /// First one, or 200-299.
    pub vmid: Option<String>,
    pub storage: Option<String>,
    #[schemars(range(min = 1))]
    pub cores: Option<u32>,
    #[schemars(range(min = 16))]
    pub memory_mb: Option<u32>,
    /// "vmbr0", or bridge, vlan, firewall.
    #[serde(default)]
    pub networks: Vec<Value>,
    #[serde(default)]
    pub ssh_keys: Vec<String>,
    pub password: Option<String>,
    /// dhcp, 10.0.0.10-10.0.0.20/24, or each.
    #[serde(default)]
    pub ip: Vec<String>,
    pub gateway: Option<String>,
    pub nameserver: Option<String>,
    pub searchdomain: Option<String>,
    pub pool: Option<String>,
    #[serde(default)]
    pub tags: Vec<String>,
    pub description: Option<String>,
    #[serde(default)]
    pub ha: bool,
    /// Of Proxmox 8.
    pub ha_group: Option<String>,
    /// Its id.
    pub backup_job: Option<String>,
    #[serde(default = "yes")]
    pub start: bool,
    pub wait_address: Option<bool>,
    #[serde(default = "four")]
    #[schemars(range(min = 1, max = 32))]
    pub parallel: u8,
    #[serde(default)]
    pub if_exists: IfExists,
    #[serde(default)]
    pub on_failure: OnFailure,
}

fn yes() -> bool {
    true
}
fn four() -> u8 {
    4
}

/// What becomes of a call whose machine exists.
#[derive(Deserialize, Serialize, JsonSchema, Clone, Copy, Default, PartialEq)]
#[serde(rename_all = "lowercase")]
pub enum IfExists {
    #[default]
    Fail,
    /// Change what differs.
    Reconcile,
}

/// A machine of the call, and the guest that has its name already.
pub struct Named {
    pub name: String,
    pub guest: Option<Guest>,
}

/// What the rows of the result are called.
const ROWS: &str = "machines";

impl Fleet {
    /// The machines; those that exist are a problem, unless they are to be changed.
    ///
    /// # Errors
    /// `BadArgument` for what is no name; what [`names::taken`] has.
    pub async fn named(&self, pve: &Reader<'_>, plan: &mut Plan, kind: GuestKind) -> Result<Vec<Named>> {
        let names = names::expand("name", &self.name)?;
        let there = names::taken(pve, &names, kind).await?;
        if self.if_exists == IfExists::Fail {
            for guest in there.iter().flatten() {
                plan.problems.push(format!("there is {guest} already (if_exists: reconcile changes what differs)"));
            }
        }
        Ok(names.into_iter().zip(there).map(|(name, guest)| Named { name, guest }).collect())
    }

    /// The options that both kinds have, in Proxmox's notation.
    pub fn options(&self) -> Vec<(&'static str, String)> {
        let tags = (!self.tags.is_empty()).then(|| self.tags.join(";"));
        let all = [
            ("cores", self.cores.map(|n| n.to_string())),
            ("memory", self.memory_mb.map(|n| n.to_string())),
            ("nameserver", self.nameserver.clone()),
            ("searchdomain", self.searchdomain.clone()),
            ("tags", tags),
            ("description", self.description.clone()),
        ];
        let set = all.into_iter().filter_map(|(key, value)| Some((key, value?)));
        set.filter(|(_, value)| !value.trim().is_empty()).collect()
    }

    pub fn password(&self) -> Option<&str> {
        self.password.as_deref().filter(|password| !password.is_empty())
    }

    /// `Some` where they are to be under high availability, with the group of Proxmox 8, where there is one.
    pub fn ha(&self) -> Option<Option<String>> {
        (self.ha || self.ha_group.is_some()).then(|| self.ha_group.clone())
    }

    /// The address of each machine; `None` where the call says nothing of addresses.
    ///
    /// # Errors
    /// As [`addresses::choose`].
    pub async fn addresses(&self, pve: &Reader<'_>, plan: &mut Plan, machines: &[Named]) -> Result<Option<Vec<Given>>> {
        if self.ip.is_empty() && self.gateway.is_none() {
            return Ok(None);
        }
        let guests: Vec<Option<u32>> = machines.iter().map(|one| one.guest.as_ref().map(|guest| guest.vmid)).collect();
        let wanted = addresses::Wanted { field: "ip", ip: &self.ip, gateway: self.gateway.as_deref(), guests: &guests };
        let chosen = addresses::choose(pve, wanted).await?;
        plan.warnings.extend(chosen.warnings);
        if chosen.given.iter().any(|given| given.alone) {
            plan.warnings.push("no gateway: they reach their own network only".to_owned());
        }
        Ok(Some(chosen.given))
    }

    /// The lane that adds the guests to the backup job, where one is named and needs it.
    ///
    /// # Errors
    /// As [`Job::read`].
    pub async fn job(&self, pve: &Reader<'_>, plan: &mut Plan, vmids: &[u32]) -> Result<Option<Lane>> {
        let Some(id) = &self.backup_job else { return Ok(None) };
        Ok(Job::read(pve, id).await?.lane(plan, vmids, self.pool.as_deref()))
    }

    /// The plan of these lanes; `what` is what new machines are made from.
    pub fn planned(&self, mut plan: Plan, kind: GuestKind, what: &str, mut lanes: Vec<Lane>) -> Plan {
        // New ones and those that exist stand in the order of their names.
        let names = names::expand("name", &self.name).unwrap_or_default();
        lanes.sort_by_key(|lane| (lane.stage, names.iter().position(|name| *name == lane.name)));
        let named = |some: &dyn Fn(&&Lane) -> bool| {
            let all = lanes.iter().filter(|lane| lane.vmid.is_some()).filter(some);
            let each = all.map(|lane| {
                let vmid = lane.vmid.map(|vmid| vmid.to_string()).unwrap_or_default();
                let node = lane.about.get("node").and_then(Value::as_str).unwrap_or_default();
                format!("{} ({vmid}, {node})", lane.name)
            });
            each.collect::<Vec<_>>().join(", ")
        };
        let made = named(&|lane| lane.undo.is_some());
        let changed = named(&|lane| lane.undo.is_none() && !lane.steps.is_empty());
        let same = named(&|lane| lane.undo.is_none() && lane.steps.is_empty());
        let mut parts = Vec::new();
        for (verb, names, rest) in [
            ("create", made, format!(" from {what}")),
            ("change", changed, String::new()),
            ("leave as it is", same, String::new()),
        ] {
            if !names.is_empty() {
                parts.push(format!("{verb} {names}{rest}"));
            }
        }
        plan.summary = parts.join("; ");
        let vmids: Vec<u32> = lanes.iter().filter(|lane| lane.undo.is_some()).filter_map(|lane| lane.vmid).collect();
        plan = plan.lanes(Lanes {
            parallel: self.parallel.into(),
            on_failure: self.on_failure,
            ..Lanes::new(ROWS, lanes)
        });
        plan.undo = self.taken_back(&plan, kind, &vmids);
        plan
    }

    /// The machines as rows, each with its line for an Ansible inventory, and what was done besides.
    pub fn result(&self, done: Done<'_>, user: Option<&str>) -> Option<Value> {
        let report = done.lanes?;
        let rows = report.rows.get(ROWS).and_then(Value::as_array).cloned().unwrap_or_default();
        let (mut machines, mut others) = (Vec::new(), Vec::new());
        for (run, mut row) in report.runs.iter().zip(rows) {
            match (run.lane.vmid, row.as_object_mut()) {
                (Some(_), Some(fields)) => {
                    if let Some(line) = ansible(fields, user) {
                        fields.insert("ansible".to_owned(), line.into());
                    }
                    machines.push(row);
                }
                _ => others.push(row),
            }
        }
        let mut result = Map::new();
        result.insert(ROWS.to_owned(), machines.into());
        if !others.is_empty() {
            result.insert("others".to_owned(), others.into());
        }
        Some(result.into())
    }

    /// How what was made is taken back.
    pub fn undo(&self, plan: &Plan, kind: GuestKind, done: Done<'_>) -> Option<Undo> {
        let runs = done.lanes?.runs.iter();
        let made = runs.filter(|run| run.how == How::Done && run.lane.undo.is_some());
        let made: Vec<u32> = made.filter_map(|run| run.lane.vmid).collect();
        self.taken_back(plan, kind, &made)
    }

    fn taken_back(&self, plan: &Plan, kind: GuestKind, made: &[u32]) -> Option<Undo> {
        let others = |undo: Undo| {
            let download =
                |request: &Request| ["/download-url", "/aplinfo"].iter().any(|end| request.path.ends_with(end));
            let what = if kind == GuestKind::Qemu { "image" } else { "template" };
            undo.note_if(plan.requests.iter().any(download), || format!("the downloaded {what} stays"))
                .note_if(!plan.changes.is_empty(), || "what was changed of machines that existed stays".to_owned())
        };
        let tool = deletes(kind);
        match made {
            [] => Some(Undo::never("nothing was made; what was changed is under changes")),
            [one] if self.start => Some(others(Undo::call(tool, json!({"vmid": one, "force": true})))),
            [one] => Some(others(Undo::call(tool, json!({"vmid": one})))),
            several => Some(others(Undo::call(super::deprovision::NAME, json!({"vmids": several})))),
        }
    }
}

/// The tool that deletes such a guest.
pub fn deletes(kind: GuestKind) -> &'static str {
    match kind {
        GuestKind::Qemu => "proxmox-delete-vm",
        GuestKind::Lxc => "proxmox-delete-lxc",
    }
}

/// The host as a line of an inventory, where its address is known.
fn ansible(row: &Map<String, Value>, user: Option<&str>) -> Option<String> {
    let text = |key: &str| row.get(key).and_then(Value::as_str);
    let mut variables = Map::new();
    variables.insert("ansible_host".to_owned(), text("address")?.into());
    if let Some(user) = user.filter(|user| !user.is_empty()) {
        variables.insert("ansible_user".to_owned(), user.into());
    }
    Some(write::line(text("name")?, &variables))
}
