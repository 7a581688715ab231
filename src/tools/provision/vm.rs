//! VMs from a template or a cloud image, one or many: what the call says, and the plan that is made of it.

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet},
};

use serde_json::Value;

use super::{
    addresses::Given,
    fleet::{Fleet, IfExists, Named},
    image,
    machine::{After, Base, Machine},
    numbers,
    place::{self, Placed},
    reconcile::{self, Present},
    wanted::{Disk, Nic, Wanted},
};
use crate::{
    lanes::{At, Lane},
    pve::{GuestKind, size},
    tool::*,
    tools::{
        clone::shared,
        create::{boot_disk, template},
    },
};

/// Create VMs, one or many, from a template or cloud image: placed, configured, started, waited for; all or none.
#[derive(Deserialize, JsonSchema)]
pub struct ProvisionVm {
    #[serde(flatten)]
    fleet: Fleet,
    /// VMID or name.
    template: Option<String>,
    image_url: Option<String>,
    checksum: Option<String>,
    #[serde(default)]
    linked: bool,
    /// Of the first disk.
    #[schemars(range(min = 1))]
    disk_gb: Option<u32>,
    /// More: "100G", "nas:20G".
    #[serde(default)]
    disks: Vec<String>,
    user: Option<String>,
    /// user=local:snippets/a.yaml
    snippets: Option<String>,
    wait_agent: Option<bool>,
    /// Shell lines, at the end.
    #[serde(default)]
    run: Vec<String>,
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
        "Three web servers from the Debian template, 4 cores, 40 GB, addresses from 10.0.0.30 on, and their kernels",
        r#"{"name": "web{11..13}", "template": "debian-12", "cores": 4, "disk_gb": 40, "ip": ["10.0.0.30-10.0.0.39/24"], "gateway": "10.0.0.1", "run": ["uname -r"], "confirm": true}"#,
    );
}

impl Action for ProvisionVm {
    const EFFECT: Effect = Effect::Write;
    const CONTROL: Control = Control::new(3600).confirmed().waiting();
    const LOOKS_AFTER: bool = true;

    async fn plan(&self, pve: &Reader<'_>) -> Result<Plan> {
        let wanted = self.wanted()?;
        let mut plan = Plan::new("");
        let machines = self.fleet.named(pve, &mut plan, GuestKind::Qemu).await?;
        let source = self.source(pve).await?;
        let addresses = self.addresses(pve, &mut plan, &source, &machines).await?;
        let after = self.after(&mut plan, &source);
        let mut new = New { source: &source, wanted: &wanted, after: &after, machines: Vec::new() };
        let mut present = Vec::new();
        for (Named { name, guest }, given) in machines.iter().zip(&addresses) {
            match guest {
                None => new.machines.push((name, given.as_ref())),
                Some(guest) => present.push((guest, given.as_ref())),
            }
        }
        let mut made = self.make(pve, &mut plan, &new).await?;
        if self.fleet.if_exists == IfExists::Reconcile {
            for (guest, given) in present {
                let fixed = given.and_then(|given| given.address).map(|address| address.to_string());
                let config = pve.config(guest).await?;
                let present = Present {
                    guest,
                    to: wanted.against(&config, given.map(|given| given.properties.as_str()), false),
                    config,
                    ipv6: given.is_some_and(Given::is_ipv6),
                    fixed: fixed.as_deref(),
                    node: self.fleet.node.as_deref(),
                    pool: self.fleet.pool.as_deref(),
                    after: &after,
                };
                made.lanes.push(reconcile::lane(pve, &mut plan, &present).await?);
                made.vmids.push(guest.vmid);
            }
        }
        made.lanes.extend(self.fleet.job(pve, &mut plan, &made.vmids).await?);
        Ok(self.told(plan, &source, made.lanes))
    }

    async fn result(&self, _: &Reader<'_>, _: &Plan, done: Done<'_>) -> Result<Option<Value>> {
        Ok(self.fleet.result(done, self.user.as_deref()))
    }

    fn undo(&self, plan: &Plan, done: Done<'_>, _: Option<&Value>) -> Option<Undo> {
        self.fleet.undo(plan, GuestKind::Qemu, done)
    }
}

/// A template, or an image that may still have to be fetched.
#[expect(clippy::large_enum_variant, reason = "a call has one")]
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
        let mut options = self.fleet.options();
        let mut want = |key: &'static str, value: Option<String>| {
            options.extend(value.filter(|value| !value.trim().is_empty()).map(|value| (key, value)));
        };
        want("ciuser", self.user.clone());
        want("sshkeys", Wanted::keys(&self.fleet.ssh_keys)?);
        want("cicustom", self.snippets.clone());
        Ok(Wanted {
            options,
            password: self.fleet.password().map(str::to_owned),
            nics: self.fleet.networks.iter().map(Nic::parse).collect::<Result<_>>()?,
            disk: self.disk_gb.map(|gb| u64::from(gb) << 30),
            disks: self.disks.iter().map(|text| Disk::parse(text)).collect::<Result<_>>()?,
            storage: self.fleet.storage.clone(),
        })
    }

    async fn source(&self, pve: &Reader<'_>) -> Result<Source> {
        match (&self.template, &self.image_url) {
            (Some(asked), None) if self.checksum.is_none() => {
                let guest = template(pve, Some(asked), self.fleet.node.as_deref()).await?;
                let config = pve.config(&guest).await?;
                if self.linked && self.fleet.storage.is_some() {
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
        let agent = self.fleet.start && self.wait_agent.unwrap_or(agent || !self.run.is_empty());
        let address = self.fleet.start && self.fleet.wait_address.unwrap_or(agent);
        if self.fleet.start && !agent && self.wait_agent.is_none() {
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
        if !self.run.is_empty() && !self.fleet.start {
            plan.problems.push("run: commands need a machine that is started".to_owned());
        }
        After { start: self.fleet.start, ha: self.fleet.ha(), agent, address, run: self.run.clone(), windows }
    }

    /// The address of each machine, in the order of the names; nothing where the template's own is to stay.
    async fn addresses(
        &self,
        pve: &Reader<'_>,
        plan: &mut Plan,
        source: &Source,
        machines: &[Named],
    ) -> Result<Vec<Option<Given>>> {
        if let Some(given) = self.fleet.addresses(pve, plan, machines).await? {
            return Ok(given.into_iter().map(Some).collect());
        }
        let dhcp = |one: &Named| (one.guest.is_none() && matches!(source, Source::Image(_))).then(Given::dhcp);
        Ok(machines.iter().map(dhcp).collect())
    }

    /// The lanes of new machines, and of the downloads that they need before.
    async fn make(&self, pve: &Reader<'_>, plan: &mut Plan, new: &New<'_>) -> Result<Made> {
        let mut made = Made::default();
        let count = new.machines.len();
        if count == 0 {
            return Ok(made);
        }
        let places = self.places(pve, plan, new).await?;
        let numbers = numbers::choose(pve, "vmid", self.fleet.vmid.as_deref(), count).await?;
        let grounds = self.grounds(pve, &mut made, new, &places).await?;
        for ((Placed { node, storages, .. }, vmid), (name, given)) in
            places.iter().zip(numbers.vmids).zip(&new.machines)
        {
            let Some(Ground { base, wanted }) = grounds.get(node) else { continue };
            let storage = match new.source {
                Source::Template(_) => self.fleet.storage.as_ref(),
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
                pool: self.fleet.pool.as_deref(),
                ipconfig: given.map(|given| given.properties.as_str()),
                ipv6: given.is_some_and(Given::is_ipv6),
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
        let storage = self.fleet.storage.as_deref().or(home.as_deref());
        let mut disks = vec![place::Disk { storage, bytes: first }];
        disks.extend(
            new.wanted
                .disks
                .iter()
                .map(|disk| place::Disk { storage: disk.storage.as_deref().or(storage), bytes: disk.bytes }),
        );
        let wanted = place::Wanted {
            node: self.fleet.node.as_deref(),
            only: local.first().map(|why| (template.as_slice(), why.as_str())),
            count: new.machines.len(),
            memory: u64::from(self.fleet.memory_mb.unwrap_or(memory)) << 20,
            disks: &disks,
            content: "images",
        };
        let places = place::choose(pve, wanted).await?;
        place::tell(plan, new.machines.iter().map(|(name, _)| *name), &places);
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
        self.fleet.planned(plan, GuestKind::Qemu, &what, lanes)
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
