//! VMs from a template or a cloud image, one or many: what the call says, and the plan that is made of it.

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet},
};

use serde_json::{Map, Value, json};

use super::{
    addresses::{self, Given},
    image,
    jobs::Job,
    machine::{After, Base, Machine},
    names, numbers,
    place::{self, Placed},
    reconcile::{self, Present},
    wanted::{Disk, Nic, Wanted},
};
use crate::{
    lanes::{At, How, Lane, Lanes, OnFailure},
    pve::{GuestKind, size},
    tool::*,
    tools::{
        ansible::write,
        clone::shared,
        create::{boot_disk, template},
    },
};

/// Create VMs, one or many, from a template or cloud image: placed, configured, started, waited for; all or none.
#[derive(Deserialize, JsonSchema)]
pub struct ProvisionVm {
    /// Or a pattern: web{01..03}.
    #[schemars(length(min = 1))]
    name: String,
    /// VMID or name.
    template: Option<String>,
    image_url: Option<String>,
    checksum: Option<String>,
    /// Default: the best.
    node: Option<String>,
    /// First one, or 200-299.
    vmid: Option<String>,
    storage: Option<String>,
    #[serde(default)]
    linked: bool,
    #[schemars(range(min = 1))]
    cores: Option<u32>,
    #[schemars(range(min = 16))]
    memory_mb: Option<u32>,
    /// Of the first disk.
    #[schemars(range(min = 1))]
    disk_gb: Option<u32>,
    /// More: "100G", "nas:20G".
    #[serde(default)]
    disks: Vec<String>,
    /// "vmbr0", or bridge, vlan, firewall.
    #[serde(default)]
    networks: Vec<Value>,
    user: Option<String>,
    #[serde(default)]
    ssh_keys: Vec<String>,
    password: Option<String>,
    /// dhcp, 10.0.0.10-10.0.0.20/24, or each.
    #[serde(default)]
    ip: Vec<String>,
    gateway: Option<String>,
    nameserver: Option<String>,
    searchdomain: Option<String>,
    /// user=local:snippets/a.yaml
    snippets: Option<String>,
    pool: Option<String>,
    #[serde(default)]
    tags: Vec<String>,
    description: Option<String>,
    #[serde(default)]
    ha: bool,
    /// Of Proxmox 8.
    ha_group: Option<String>,
    /// Its id.
    backup_job: Option<String>,
    #[serde(default = "yes")]
    start: bool,
    wait_agent: Option<bool>,
    wait_address: Option<bool>,
    /// Shell lines, at the end.
    #[serde(default)]
    run: Vec<String>,
    #[serde(default = "four")]
    #[schemars(range(min = 1, max = 32))]
    parallel: u8,
    #[serde(default)]
    if_exists: IfExists,
    #[serde(default)]
    on_failure: OnFailure,
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
enum IfExists {
    #[default]
    Fail,
    /// Change what differs.
    Reconcile,
}

impl Tool for ProvisionVm {
    const NAME: &str = "proxmox-provision-vm";
    const TITLE: &str = "Provision VMs";
    const API: &[&str] = &[
        "GET /cluster/backup",
        "GET /nodes/{node}/qemu/{vmid}/agent/exec-status",
        "GET /nodes/{node}/qemu/{vmid}/agent/info",
        "GET /nodes/{node}/qemu/{vmid}/agent/network-get-interfaces",
        "POST /nodes/{node}/storage/{storage}/download-url",
        "POST /nodes/{node}/qemu",
        "POST /nodes/{node}/qemu/{vmid}/clone",
        "POST /nodes/{node}/qemu/{vmid}/config",
        "PUT /nodes/{node}/qemu/{vmid}/config",
        "PUT /nodes/{node}/qemu/{vmid}/resize",
        "PUT /pools",
        "POST /nodes/{node}/qemu/{vmid}/status/start",
        "POST /cluster/ha/resources",
        "POST /nodes/{node}/qemu/{vmid}/agent/exec",
        "PUT /cluster/backup/{id}",
        "DELETE /cluster/ha/resources/{sid}",
        "POST /nodes/{node}/qemu/{vmid}/status/stop",
        "DELETE /nodes/{node}/qemu/{vmid}",
        "DELETE /nodes/{node}/storage/{storage}/content/{volume}",
    ];
    const EXAMPLE: (&str, &str) = (
        "Three web servers from the Debian template, 4 cores, 40 GB, addresses from 10.0.0.30 on, nginx installed",
        r#"{"name": "web{11..13}", "template": "debian-12", "cores": 4, "disk_gb": 40, "ip": ["10.0.0.30-10.0.0.39/24"], "gateway": "10.0.0.1", "run": ["apt-get install -y nginx"], "confirm": true}"#,
    );
}

impl Action for ProvisionVm {
    const EFFECT: Effect = Effect::Write;
    const CONTROL: Control = Control::new(3600).confirmed().waiting();
    const LOOKS_AFTER: bool = true;

    async fn plan(&self, pve: &Reader<'_>) -> Result<Plan> {
        let wanted = self.wanted()?;
        let names = names::expand("name", &self.name)?;
        let there = names::taken(pve, &names, GuestKind::Qemu).await?;
        let source = self.source(pve).await?;
        let mut plan = Plan::new("");
        if self.if_exists == IfExists::Fail {
            for guest in there.iter().flatten() {
                plan.problems.push(format!("there is {guest} already (if_exists: reconcile changes what differs)"));
            }
        }
        let addresses = self.addresses(pve, &mut plan, &source, &there).await?;
        let after = self.after(&mut plan, &source);
        let mut new = New { source: &source, wanted: &wanted, after: &after, machines: Vec::new() };
        let mut present = Vec::new();
        for ((name, guest), given) in names.iter().zip(&there).zip(&addresses) {
            match guest {
                None => new.machines.push((name, given.as_ref())),
                Some(guest) => present.push((guest, given.as_ref())),
            }
        }
        let mut made = self.make(pve, &mut plan, &new).await?;
        if self.if_exists == IfExists::Reconcile {
            for (guest, given) in present {
                let fixed = given.and_then(|given| given.address).map(|address| address.to_string());
                let present = Present {
                    guest,
                    wanted: &wanted,
                    ipconfig: given.map(|given| given.properties.as_str()),
                    fixed: fixed.as_deref(),
                    node: self.node.as_deref(),
                    pool: self.pool.as_deref(),
                    after: &after,
                };
                made.lanes.push(reconcile::lane(pve, &mut plan, &present).await?);
                made.vmids.push(guest.vmid);
            }
        }
        if let Some(id) = &self.backup_job {
            let job = Job::read(pve, id).await?;
            made.lanes.extend(job.lane(&mut plan, &made.vmids, self.pool.as_deref()));
        }
        Ok(self.told(plan, &source, made.lanes))
    }

    async fn result(&self, _: &Reader<'_>, _: &Plan, done: Done<'_>) -> Result<Option<Value>> {
        let Some(report) = done.lanes else { return Ok(None) };
        let rows = report.rows.get(ROWS).and_then(Value::as_array).cloned().unwrap_or_default();
        let (mut machines, mut others) = (Vec::new(), Vec::new());
        for (run, mut row) in report.runs.iter().zip(rows) {
            match (run.lane.vmid, row.as_object_mut()) {
                (Some(_), Some(fields)) => {
                    if let Some(line) = self.ansible(fields) {
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
        Ok(Some(result.into()))
    }

    fn undo(&self, plan: &Plan, done: Done<'_>, _: Option<&Value>) -> Option<Undo> {
        let made: Vec<u32> = done
            .lanes?
            .runs
            .iter()
            .filter(|run| run.how == How::Done && run.lane.undo.is_some())
            .filter_map(|run| run.lane.vmid)
            .collect();
        taken_back(plan, &made, self.start)
    }
}

/// What the rows of the result are called.
const ROWS: &str = "machines";

/// The call that takes back what was made.
fn taken_back(plan: &Plan, made: &[u32], start: bool) -> Option<Undo> {
    let others = |undo: Undo| {
        let download = plan.requests.iter().any(|request| request.path.ends_with("/download-url"));
        undo.note_if(download, || "the downloaded image stays".to_owned())
            .note_if(!plan.changes.is_empty(), || "what was changed of machines that existed stays".to_owned())
    };
    match made {
        [] => Some(Undo::never("nothing was made; what was changed is under changes")),
        [one] if start => Some(others(Undo::call("proxmox-delete-vm", json!({"vmid": one, "force": true})))),
        [one] => Some(others(Undo::call("proxmox-delete-vm", json!({"vmid": one})))),
        several => Some(others(Undo::call(super::deprovision::NAME, json!({"vmids": several})))),
    }
}

/// A template, or an image that may still have to be fetched.
enum Source {
    Template(Base),
    Image(String),
}

/// Machines that do not exist yet, with the addresses that they get.
struct New<'a> {
    source: &'a Source,
    wanted: &'a Wanted,
    after: &'a After,
    machines: Vec<(&'a str, Option<&'a Given>)>,
}

/// Lanes of new machines, with their downloads.
#[derive(Default)]
struct Made {
    lanes: Vec<Lane>,
    vmids: Vec<u32>,
}

impl ProvisionVm {
    fn wanted(&self) -> Result<Wanted> {
        let mut options = Vec::new();
        let mut want = |key: &'static str, value: Option<String>| {
            options.extend(value.filter(|value| !value.trim().is_empty()).map(|value| (key, value)));
        };
        want("cores", self.cores.map(|n| n.to_string()));
        want("memory", self.memory_mb.map(|n| n.to_string()));
        want("ciuser", self.user.clone());
        want("sshkeys", Wanted::keys(&self.ssh_keys)?);
        want("nameserver", self.nameserver.clone());
        want("searchdomain", self.searchdomain.clone());
        want("cicustom", self.snippets.clone());
        want("tags", (!self.tags.is_empty()).then(|| self.tags.join(";")));
        want("description", self.description.clone());
        Ok(Wanted {
            options,
            password: self.password.clone().filter(|password| !password.is_empty()),
            nics: self.networks.iter().map(Nic::parse).collect::<Result<_>>()?,
            disk: self.disk_gb.map(|gb| u64::from(gb) << 30),
            disks: self.disks.iter().map(|text| Disk::parse(text)).collect::<Result<_>>()?,
            storage: self.storage.clone(),
        })
    }

    async fn source(&self, pve: &Reader<'_>) -> Result<Source> {
        match (&self.template, &self.image_url) {
            (Some(asked), None) if self.checksum.is_none() => {
                let guest = template(pve, Some(asked), self.node.as_deref()).await?;
                let config = pve.config(&guest).await?;
                if self.linked && self.storage.is_some() {
                    return Err(Error::bad_argument("storage: not possible with linked: true")
                        .hint("a linked clone's disks stay on the template's storage"));
                }
                Ok(Source::Template(Base::Template { guest, config, full: !self.linked }))
            }
            (None, Some(url)) if url.starts_with("http://") || url.starts_with("https://") => {
                if self.linked {
                    return Err(Error::bad_argument("linked: goes only with template"));
                }
                Ok(Source::Image(url.clone()))
            }
            (None, Some(url)) => Err(Error::bad_argument(format!("image_url: expected https://…, got '{url}'"))),
            (Some(_), None) => Err(Error::bad_argument("checksum: goes only with image_url")),
            _ => Err(Error::bad_argument("give template or image_url: what shall the machines be made of?")),
        }
    }

    /// What is done once a machine is configured: its agent is waited for where its configuration has one.
    fn after(&self, plan: &mut Plan, source: &Source) -> After {
        let (agent, windows) = match source {
            Source::Template(Base::Template { config, .. }) => {
                (has_agent(config.get("agent").as_deref()), config.get("ostype").is_some_and(|os| os.starts_with('w')))
            }
            // Few cloud images have it.
            _ => (false, false),
        };
        let agent = self.start && self.wait_agent.unwrap_or(agent || !self.run.is_empty());
        let address = self.start && self.wait_address.unwrap_or(agent);
        if self.start && !agent && self.wait_agent.is_none() {
            let words = match source {
                Source::Image(_) => {
                    "cloud images mostly have no guest agent: none is waited for (wait_agent: true does)"
                }
                Source::Template(_) => {
                    "the template's options have no guest agent: neither it nor an address is waited for"
                }
            };
            plan.warnings.push(words.to_owned());
        }
        if !self.run.is_empty() && !self.start {
            plan.problems.push("run: commands need a machine that is started".to_owned());
        }
        let ha = (self.ha || self.ha_group.is_some()).then(|| self.ha_group.clone());
        After { start: self.start, ha, agent, address, run: self.run.clone(), windows }
    }

    /// The address of each machine, in the order of the names; nothing where the template's own is to stay. A machine that
    /// exists keeps the one it has, where it is among them.
    async fn addresses(
        &self,
        pve: &Reader<'_>,
        plan: &mut Plan,
        source: &Source,
        there: &[Option<Guest>],
    ) -> Result<Vec<Option<Given>>> {
        if self.ip.is_empty() && self.gateway.is_none() {
            let dhcp = Given { properties: "ip=dhcp".to_owned(), address: None, alone: false };
            let of =
                |guest: &Option<Guest>| (guest.is_none() && matches!(source, Source::Image(_))).then(|| dhcp.clone());
            return Ok(there.iter().map(of).collect());
        }
        let but: Vec<u32> = there.iter().flatten().map(|guest| guest.vmid).collect();
        let gateway = self.gateway.as_deref();
        let wanted = addresses::Wanted { field: "ip", ip: &self.ip, gateway, count: there.len(), but: &but };
        let mut chosen = addresses::choose(pve, wanted).await?;
        plan.warnings.extend(chosen.warnings);
        if chosen.given.iter().any(|given| given.alone) {
            plan.warnings.push("no gateway: they reach their own network only".to_owned());
        }
        for (i, guest) in there.iter().enumerate() {
            let Some(guest) = guest else { continue };
            let present = pve.config(guest).await?.get("ipconfig0").map(|text| text.into_owned());
            if let Some(at) = chosen.given.iter().position(|given| Some(&given.properties) == present.as_ref()) {
                chosen.given.swap(i, at);
            }
        }
        Ok(chosen.given.into_iter().map(Some).collect())
    }

    /// The lanes of new machines, and of the downloads that they need before.
    async fn make(&self, pve: &Reader<'_>, plan: &mut Plan, new: &New<'_>) -> Result<Made> {
        let mut made = Made::default();
        let count = new.machines.len();
        if count == 0 {
            return Ok(made);
        }
        let places = self.places(pve, plan, new).await?;
        let numbers = numbers::choose(pve, "vmid", self.vmid.as_deref(), count).await?;
        let grounds = self.grounds(pve, &mut made, new, &places).await?;
        for ((Placed { node, storages, .. }, vmid), (name, given)) in
            places.iter().zip(numbers.vmids).zip(&new.machines)
        {
            let Some(Ground { base, wanted }) = grounds.get(node) else { continue };
            let storage = match new.source {
                Source::Template(_) => self.storage.as_ref(),
                Source::Image(_) => storages.first(),
            };
            let address = given.and_then(|given| given.address);
            let fixed = address.map(|address| address.to_string());
            let machine = Machine {
                name,
                at: At { vmid, kind: GuestKind::Qemu, node: node.clone() },
                chosen: numbers.chosen,
                base,
                wanted,
                storage: storage.map(String::as_str),
                pool: self.pool.as_deref(),
                ipconfig: given.map(|given| given.properties.as_str()),
                fixed: fixed.as_deref(),
                after: new.after,
            };
            let (lane, problems) = machine.lane();
            for why in problems.into_iter().map(|why| format!("{name}: {why}")) {
                plan.problems.push(why);
            }
            made.vmids.push(vmid);
            made.lanes.push(Lane { within: numbers.within, addresses: address.into_iter().collect(), ..lane });
        }
        Ok(made)
    }

    /// What machines on each of these nodes are made of.
    async fn grounds<'a>(
        &self,
        pve: &Reader<'_>,
        made: &mut Made,
        new: &New<'a>,
        places: &[Placed],
    ) -> Result<BTreeMap<String, Ground<'a>>> {
        let mut grounds = BTreeMap::new();
        for node in places.iter().map(|place| &place.node).collect::<BTreeSet<_>>() {
            let ground = match new.source {
                Source::Template(base) => Ground { base: Cow::Borrowed(base), wanted: Cow::Borrowed(new.wanted) },
                Source::Image(url) => {
                    let image = image::on(pve, node, url, self.checksum.as_deref()).await?;
                    let there = |lane: &Lane| image.shared && made.lanes.iter().any(|other| other.name == lane.name);
                    made.lanes.extend(image.lane.filter(|lane| !there(lane)));
                    let mut wanted = new.wanted.clone();
                    if wanted.nics.is_empty() {
                        wanted.nics.push(Nic { firewall: Some(true), ..Nic::default() });
                    }
                    if wanted.nics.iter().any(|nic| nic.bridge.is_none()) {
                        let bridge = pve.bridge(None, node).await?;
                        for nic in wanted.nics.iter_mut().filter(|nic| nic.bridge.is_none()) {
                            nic.bridge = Some(bridge.clone());
                        }
                    }
                    let base = Cow::Owned(Base::Image { volume: image.volume });
                    Ground { base, wanted: Cow::Owned(wanted) }
                }
            };
            grounds.insert(node.clone(), ground);
        }
        Ok(grounds)
    }

    /// Where each new machine goes: a template with local disks leaves no choice.
    async fn places(&self, pve: &Reader<'_>, plan: &mut Plan, new: &New<'_>) -> Result<Vec<Placed>> {
        let gib = |n: u32| u64::from(n) << 30;
        let (mut memory, mut first, mut home, mut local) = (2048, gib(self.disk_gb.unwrap_or(4)), None, Vec::new());
        if let Source::Template(Base::Template { guest, config, full }) = new.source {
            memory = config.get("memory").and_then(|text| text.parse().ok()).unwrap_or(512);
            if let Some((key, present)) = boot_disk(config) {
                first = size::configured(&present).unwrap_or_default().max(self.disk_gb.map_or(0, gib));
                first = if *full { first } else { 0 };
                home = config.get(&key).and_then(|drive| drive.split_once(':').map(|(storage, _)| storage.to_owned()));
            }
            local = shared(Plan::new(""), pve, guest, config, "another node").await?.problems;
            if !local.is_empty() {
                plan.checked.extend(local.iter().map(|why| format!("on {}: {why}", guest.node)));
            }
        }
        let template = match new.source {
            Source::Template(Base::Template { guest, .. }) => vec![guest.node.clone()],
            _ => Vec::new(),
        };
        let storage = self.storage.as_deref().or(home.as_deref());
        let mut disks = vec![place::Disk { storage, bytes: first }];
        disks.extend(
            new.wanted
                .disks
                .iter()
                .map(|disk| place::Disk { storage: disk.storage.as_deref().or(storage), bytes: disk.bytes }),
        );
        let wanted = place::Wanted {
            node: self.node.as_deref(),
            only: local.first().map(|why| (template.as_slice(), why.as_str())),
            count: new.machines.len(),
            memory: u64::from(self.memory_mb.unwrap_or(memory)) << 20,
            disks: &disks,
            content: "images",
        };
        let places = place::choose(pve, wanted).await?;
        for ((name, _), place) in new.machines.iter().zip(&places) {
            plan.checked.extend(place.why.iter().map(|why| format!("{name} on {why}")));
            plan.warnings.extend(place.warning.clone().filter(|words| !plan.warnings.contains(words)));
        }
        Ok(places)
    }

    fn told(&self, mut plan: Plan, source: &Source, lanes: Vec<Lane>) -> Plan {
        let what = match source {
            Source::Template(Base::Template { guest, full, .. }) => {
                format!("{}{guest}", if *full { "" } else { "linked to " })
            }
            Source::Template(_) => String::new(),
            Source::Image(url) => url.clone(),
        };
        if matches!(source, Source::Image(_)) && self.checksum.is_none() && lanes.iter().any(|lane| lane.stage == 0) {
            plan.warnings.push(image::UNVERIFIED.to_owned());
        }
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
        plan.undo = taken_back(&plan, &vmids, self.start);
        plan
    }

    /// The host as a line of an inventory, where its address is known.
    fn ansible(&self, row: &Map<String, Value>) -> Option<String> {
        let text = |key: &str| row.get(key).and_then(Value::as_str);
        let mut variables = Map::new();
        variables.insert("ansible_host".to_owned(), text("address")?.into());
        if let Some(user) = self.user.as_deref().filter(|user| !user.is_empty()) {
            variables.insert("ansible_user".to_owned(), user.into());
        }
        Some(write::line(text("name")?, &variables))
    }
}

/// What machines on a node are made of, and are to be there.
struct Ground<'a> {
    base: Cow<'a, Base>,
    wanted: Cow<'a, Wanted>,
}

/// `1`, `enabled=1,…`
fn has_agent(option: Option<&str>) -> bool {
    option.is_some_and(|text| text.split(',').any(|part| matches!(part, "1" | "enabled=1")))
}
