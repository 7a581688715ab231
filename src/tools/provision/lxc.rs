//! Containers from a template, one or many: what the call says, and the plan that is made of it.

mod shape;

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use self::shape::{Device, Ground, Mount, Shape};
use super::{
    addresses::Given,
    fleet::{Fleet, IfExists, Named},
    machine::{After, gone},
    numbers,
    ostemplate::{self, OsTemplate},
    place::{self, Disk, Placed},
    reconcile::{self, Present},
};
use crate::{
    lanes::{At, Lane, Step},
    pve::{GuestKind, Param, SshKeys, encode},
    tool::*,
};

/// Create containers, one or many, from a template, downloaded if missing: placed, started, waited for; all or none.
#[derive(Deserialize, JsonSchema)]
pub struct ProvisionLxc {
    #[serde(flatten)]
    fleet: Fleet,
    /// Volume, file or debian-12.
    ostemplate: Option<String>,
    #[schemars(range(min = 0))]
    swap_mb: Option<u32>,
    #[schemars(range(min = 1))]
    rootfs_gb: Option<u32>,
    /// "/data=20G", "/srv=nas:20G".
    #[serde(default)]
    mounts: Vec<String>,
    #[serde(default = "yes")]
    unprivileged: bool,
    /// nesting=1,keyctl=1
    features: Option<String>,
    /// Not in containers: use Ansible.
    #[serde(default)]
    run: Vec<String>,
}

fn yes() -> bool {
    true
}

/// Where the call does not say: MiB, GiB.
const MEMORY: u32 = 1024;
const ROOTFS: u32 = 8;
const CORES: u32 = 2;

impl Tool for ProvisionLxc {
    const NAME: &str = "proxmox-provision-lxc";
    const TITLE: &str = "Provision containers";
    const API: &[&str] = &[
        "GET /cluster/backup",
        "GET /nodes/{node}/aplinfo",
        "GET /nodes/{node}/lxc/{vmid}/interfaces",
        "POST /nodes/{node}/aplinfo",
        "POST /nodes/{node}/lxc",
        "PUT /nodes/{node}/lxc/{vmid}/config",
        "PUT /nodes/{node}/lxc/{vmid}/resize",
        "PUT /pools",
        "POST /nodes/{node}/lxc/{vmid}/status/start",
        "POST /cluster/ha/resources",
        "PUT /cluster/backup/{id}",
        "DELETE /cluster/ha/resources/{sid}",
        "POST /nodes/{node}/lxc/{vmid}/status/stop",
        "DELETE /nodes/{node}/lxc/{vmid}",
        "DELETE /nodes/{node}/storage/{storage}/content/{volume}",
    ];
    const EXAMPLE: (&str, &str) = (
        "Two Debian containers as caches, addresses from 10.0.0.70 on",
        r#"{"name": "cache{11..12}", "ostemplate": "debian-12", "ip": ["10.0.0.70-10.0.0.79/24"], "gateway": "10.0.0.1", "confirm": true}"#,
    );
}

impl Action for ProvisionLxc {
    const EFFECT: Effect = Effect::Write;
    const CONTROL: Control = Control::new(1800).confirmed().waiting();
    const LOOKS_AFTER: bool = true;

    async fn plan(&self, pve: &Reader<'_>) -> Result<Plan> {
        if !self.run.is_empty() {
            return Err(Error::bad_argument("run: Proxmox's API runs no commands in containers").hint(
                "leave it out; the result has a line for an Ansible inventory for each, and `pct exec` runs commands on the node",
            ));
        }
        let shape = self.shape()?;
        let mut plan = Plan::new("");
        let machines = self.fleet.named(pve, &mut plan, GuestKind::Lxc).await?;
        let addresses = self.fleet.addresses(pve, &mut plan, &machines).await?;
        let given = |i: usize| addresses.as_ref().and_then(|given| given.get(i));
        let after = self.after(given(0));
        let mut new = New { shape: &shape, after: &after, machines: Vec::new() };
        let mut present = Vec::new();
        for (i, Named { name, guest }) in machines.iter().enumerate() {
            match guest {
                None => new.machines.push((name, given(i).cloned().unwrap_or_else(Given::dhcp))),
                Some(guest) => present.push((guest, given(i))),
            }
        }
        let (mut lanes, what) = self.make(pve, &mut plan, &new).await?;
        if self.fleet.if_exists == IfExists::Reconcile {
            for (guest, given) in present {
                lanes.push(self.reconciled(pve, &mut plan, (guest, given), &shape).await?);
            }
        }
        let vmids: Vec<u32> = lanes.iter().filter_map(|lane| lane.vmid).collect();
        lanes.extend(self.fleet.job(pve, &mut plan, &vmids).await?);
        Ok(self.fleet.planned(plan, GuestKind::Lxc, &what, lanes))
    }

    async fn result(&self, _: &Reader<'_>, _: &Plan, done: Done<'_>) -> Result<Option<Value>> {
        Ok(self.fleet.result(done, Some("root")))
    }

    fn undo(&self, plan: &Plan, done: Done<'_>, _: Option<&Value>) -> Option<Undo> {
        self.fleet.undo(plan, GuestKind::Lxc, done)
    }
}

/// Containers that do not exist yet, with their addresses.
struct New<'a> {
    shape: &'a Shape,
    after: &'a After,
    machines: Vec<(&'a str, Given)>,
}

impl ProvisionLxc {
    fn shape(&self) -> Result<Shape> {
        let mut options = self.fleet.options();
        options.extend(self.swap_mb.map(|mb| ("swap", mb.to_string())));
        let features = self.features.as_deref().map(str::trim).filter(|features| !features.is_empty());
        options.extend(features.map(|features| ("features", features.to_owned())));
        Ok(Shape {
            options,
            devices: self.fleet.networks.iter().map(Device::parse).collect::<Result<_>>()?,
            rootfs: self.rootfs_gb.map(|gb| u64::from(gb) << 30),
            mounts: self.mounts.iter().map(|text| Mount::parse(text)).collect::<Result<_>>()?,
        })
    }

    /// An address is waited for where there will be one.
    fn after(&self, given: Option<&Given>) -> After {
        let manual = given.is_some_and(|given| given.properties.ends_with("=manual"));
        let address = self.fleet.wait_address.unwrap_or(!manual);
        After { start: self.fleet.start, ha: self.fleet.ha(), address, ..After::default() }
    }

    /// The lanes of new containers, and of the downloads that they need before; and what they are made from.
    async fn make(&self, pve: &Reader<'_>, plan: &mut Plan, new: &New<'_>) -> Result<(Vec<Lane>, String)> {
        if new.machines.is_empty() {
            return Ok((Vec::new(), String::new()));
        }
        let keys = SshKeys::parse("ssh_keys", self.fleet.ssh_keys.iter().map(String::as_str))?;
        let keys = keys.iter().collect::<Vec<_>>().join("\n");
        let wanted = self.ostemplate.as_deref().unwrap_or_default();
        let template = ostemplate::find(pve, wanted, self.fleet.node.as_deref()).await?;
        let places = self.places(pve, plan, new, &template).await?;
        let (mut lanes, mut grounds): (Vec<Lane>, _) = (Vec::new(), BTreeMap::new());
        for node in places.iter().map(|place| place.node.as_str()).collect::<BTreeSet<_>>() {
            let source = template.on(pve, node).await?;
            // A shared storage has it for all nodes at once.
            let new_one = source.lane.filter(|lane| lanes.iter().all(|other| other.name != lane.name));
            lanes.extend(new_one);
            let bridge =
                match new.shape.devices.iter().all(|device| device.bridge.is_some()) && !new.shape.devices.is_empty() {
                    true => None,
                    false => Some(pve.bridge(None, node).await?),
                };
            grounds.insert(node.to_owned(), (source.volid, bridge));
        }
        let numbers = numbers::choose(pve, "vmid", self.fleet.vmid.as_deref(), new.machines.len()).await?;
        plan.warnings.extend(
            (self.fleet.password().is_none() && keys.is_empty())
                .then(|| "no password and no SSH key: only `pct enter` on the node gets into them".to_owned()),
        );
        for ((place, vmid), (name, given)) in places.iter().zip(numbers.vmids).zip(&new.machines) {
            let Some((volid, bridge)) = grounds.get(&place.node) else { continue };
            let at = At { vmid, kind: GuestKind::Lxc, node: place.node.clone() };
            let ground = Ground {
                storages: &place.storages,
                bridge: bridge.as_deref(),
                address: &given.properties,
                unprivileged: self.unprivileged,
            };
            let mut request = Request::post(format!("/nodes/{}/lxc", encode(&at.node)))
                .param("vmid", vmid)
                .param("hostname", name)
                .param("ostemplate", volid)
                .maybe("pool", self.fleet.pool.as_deref());
            let options = new.shape.fresh(&ground);
            request.params.extend(options.into_iter().map(|(key, value)| (key.into(), Param::Plain(value))));
            if let Some(password) = self.fleet.password() {
                request = request.secret("password", password);
            }
            request = request.maybe("ssh-public-keys", (!keys.is_empty()).then_some(keys.as_str()));
            let lane = Lane {
                chosen: numbers.chosen,
                within: numbers.within,
                addresses: given.address.into_iter().collect(),
                stage: 1,
                undo: Some(new.after.undo(&at)),
                ..Lane::of(*name, &at)
            };
            let lane = lane.step(Step::new(format!("creating {name}"), request).back(gone(&at)));
            let fixed = given.address.map(|address| address.to_string());
            lanes.push(new.after.onto(lane, name, &at, (given.is_ipv6(), fixed.as_deref())));
        }
        Ok((lanes, template.name))
    }

    /// Where each new container goes.
    async fn places(
        &self,
        pve: &Reader<'_>,
        plan: &mut Plan,
        new: &New<'_>,
        template: &OsTemplate,
    ) -> Result<Vec<Placed>> {
        let only = template.only();
        let storage = self.fleet.storage.as_deref();
        let root = Disk { storage, bytes: new.shape.rootfs.unwrap_or(u64::from(ROOTFS) << 30) };
        let mounts = new.shape.mounts.iter();
        let mounts = mounts.map(|mount| Disk { storage: mount.storage.as_deref().or(storage), bytes: mount.bytes });
        let disks: Vec<Disk<'_>> = std::iter::once(root).chain(mounts).collect();
        let wanted = place::Wanted {
            node: self.fleet.node.as_deref(),
            only: only.as_ref().map(|(nodes, why)| (nodes.as_slice(), why.as_str())),
            count: new.machines.len(),
            memory: u64::from(self.fleet.memory_mb.unwrap_or(MEMORY)) << 20,
            disks: &disks,
            content: "rootdir",
        };
        let places = place::choose(pve, wanted).await?;
        place::tell(plan, new.machines.iter().map(|(name, _)| *name), &places);
        Ok(places)
    }

    /// The lane of a container that exists.
    async fn reconciled(
        &self,
        pve: &Reader<'_>,
        plan: &mut Plan,
        (guest, given): (&Guest, Option<&Given>),
        shape: &Shape,
    ) -> Result<Lane> {
        let config = pve.config(guest).await?;
        let mut to =
            shape.against(&config, given.map(|given| given.properties.as_str()), self.fleet.storage.as_deref());
        if config.flag("unprivileged") != self.unprivileged {
            let is = if self.unprivileged { "privileged" } else { "unprivileged" };
            to.problems.push(format!("it is {is}, which cannot be changed"));
        }
        if self.fleet.password().is_some() || !self.fleet.ssh_keys.is_empty() {
            to.problems.push("password and SSH keys are set only when a container is made".to_owned());
        }
        let fixed = given.and_then(|given| given.address).map(|address| address.to_string());
        let present = Present {
            guest,
            to,
            config,
            ipv6: given.is_some_and(Given::is_ipv6),
            fixed: fixed.as_deref(),
            node: self.fleet.node.as_deref(),
            pool: self.fleet.pool.as_deref(),
            after: &self.after(given),
        };
        reconcile::lane(pve, plan, &present).await
    }
}
