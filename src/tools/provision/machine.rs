//! One new VM as a lane: made, configured, grown, started, put under high availability, waited for, and given its commands;
//! each step with what takes it back. Reads nothing and sends nothing.

use super::{fleet::deletes, wanted::Wanted};
use crate::{
    lanes::{At, Lane, Step, Then},
    plan::UndoCall,
    pve::{GuestConfig, GuestKind, Param, encode, size},
    tool::*,
};

/// Seconds that a guest is given until its agent answers: its first start, with all that cloud-init does then.
const BOOT: u64 = 900;
/// Until it has an address, once it is up.
const ADDRESS: u64 = 180;
/// For one command.
const COMMAND: u64 = 1800;

/// What a machine is made of.
#[derive(Clone)]
#[expect(clippy::large_enum_variant, reason = "a call has one, or one for each node")]
pub enum Base {
    Template {
        guest: Guest,
        config: GuestConfig,
        full: bool,
    },
    /// A volume that is imported as the first disk.
    Image {
        volume: String,
    },
}

/// What is done with a machine once it is configured.
#[derive(Debug, Clone, Default)]
pub struct After {
    pub start: bool,
    /// `Some` with the group of Proxmox 8, where there is one.
    pub ha: Option<Option<String>>,
    pub agent: bool,
    pub address: bool,
    pub run: Vec<String>,
    pub windows: bool,
}

/// A machine that is to be made.
pub struct Machine<'a> {
    pub name: &'a str,
    pub at: At,
    /// The VMID was chosen and not given.
    pub chosen: bool,
    pub base: &'a Base,
    pub wanted: &'a Wanted,
    /// Of new disks, and of what is made of an image.
    pub storage: Option<&'a str>,
    pub pool: Option<&'a str>,
    pub ipconfig: Option<&'a str>,
    pub ipv6: bool,
    /// The address that stands in it.
    pub fixed: Option<&'a str>,
    pub after: &'a After,
}

impl Machine<'_> {
    /// The lane, and what of its configuration cannot be had.
    pub fn lane(&self) -> (Lane, Vec<String>) {
        let Self { name, at, .. } = self;
        let lane = Lane { chosen: self.chosen, stage: 1, undo: Some(self.after.undo(at)), ..Lane::of(*name, at) };
        let (lane, problems) = match self.base {
            Base::Template { guest, config, full } => self.cloned(lane, guest, config, *full),
            Base::Image { volume } => (self.imported(lane, volume), Vec::new()),
        };
        (self.after.onto(lane, name, at, (self.ipv6, self.fixed)), problems)
    }

    fn cloned(&self, lane: Lane, guest: &Guest, config: &GuestConfig, full: bool) -> (Lane, Vec<String>) {
        let Self { name, at, wanted, .. } = self;
        let clone = Request::post(guest.path("clone"))
            .param("newid", at.vmid)
            .param("name", name)
            .maybe("target", Some(&at.node).filter(|node| **node != guest.node))
            .maybe("storage", self.storage.filter(|_| full))
            .maybe("pool", self.pool)
            .param("full", u8::from(full));
        let mut lane = lane.step(Step::new(format!("cloning {name}"), clone).back(gone(at)));
        let to = wanted.against(config, self.ipconfig, true);
        // As a task: allocating disks may take longer than an answer may. The new VM's configuration differs from its
        // template's, so there is no digest to hold it to; nobody else knows of it yet.
        let mut request = Request::post(at.path("config"));
        request.params.extend(to.set.into_iter().map(|(key, value)| (key.into(), Param::Plain(value))));
        if let Some(password) = &wanted.password {
            request = request.secret("cipassword", password.as_str());
        }
        request = request.maybe("delete", (!to.delete.is_empty()).then(|| to.delete.join(",")));
        if !request.params.is_empty() {
            lane = lane.step(Step::new(format!("configuring {name}"), request));
        }
        for (disk, _, wanted) in to.grow {
            lane = lane.step(resized(name, at, &disk, wanted));
        }
        (lane, to.problems)
    }

    fn imported(&self, lane: Lane, volume: &str) -> Lane {
        let Self { name, at, wanted, .. } = self;
        let storage = self.storage.unwrap_or_default();
        // The size is the image's: what stands here must be 0.
        let drive = format!("{storage}:0,import-from={volume},discard=on,iothread=1");
        let mut request = Request::post(format!("/nodes/{}/qemu", encode(&at.node)))
            .param("vmid", at.vmid)
            .param("name", name)
            .maybe("pool", self.pool);
        let options = wanted.fresh(drive, storage, self.ipconfig);
        request.params.extend(options.into_iter().map(|(key, value)| (key.into(), Param::Plain(value))));
        if let Some(password) = &wanted.password {
            request = request.secret("cipassword", password.as_str());
        }
        let lane = lane.step(Step::new(format!("importing {name}"), request).back(gone(at)));
        match wanted.disk {
            Some(bytes) => lane.step(resized(name, at, "scsi0", bytes)),
            None => lane,
        }
    }
}

/// Deletes what was made.
pub fn gone(at: &At) -> Request {
    Request::delete(at.path("")).flag("purge", true)
}

/// Grows a disk to a size.
pub fn resized(name: &str, at: &At, disk: &str, bytes: u64) -> Step {
    let request = Request::put(at.path("resize")).param("disk", disk).param("size", size::text(bytes));
    Step::new(format!("growing {disk} of {name} to {}", size::text(bytes)), request)
}

/// Starts a guest; taken back by turning it off.
pub fn started(name: &str, at: &At) -> Step {
    Step::new(format!("starting {name}"), Request::post(at.path("status/start")))
        .back(Request::post(at.path("status/stop")))
}

/// Puts a guest under high availability, as it is then: HA has nothing to do. Comes after the start, so that it is taken back
/// before the guest is turned off, which HA would hinder.
pub fn managed(name: &str, at: &At, runs: bool, group: Option<&str>) -> Step {
    let sid = format!("{}:{}", if at.kind == GuestKind::Qemu { "vm" } else { "ct" }, at.vmid);
    let request = Request::post("/cluster/ha/resources")
        .param("sid", &sid)
        .param("state", if runs { "started" } else { "stopped" })
        .maybe("group", group);
    Step::new(format!("putting {name} under high availability"), request)
        .back(Request::delete(format!("/cluster/ha/resources/{}", encode(&sid))))
}

impl After {
    /// The call that takes a machine back.
    pub fn undo(&self, at: &At) -> UndoCall {
        let mut arguments = serde_json::Map::new();
        arguments.insert("vmid".to_owned(), at.vmid.into());
        if self.start {
            arguments.insert("force".to_owned(), true.into());
        }
        UndoCall { tool: deletes(at.kind).to_owned(), arguments, note: None }
    }

    /// Adds what comes after the configuration.
    pub fn onto(&self, mut lane: Lane, name: &str, at: &At, (ipv6, fixed): (bool, Option<&str>)) -> Lane {
        if self.start {
            lane = lane.step(started(name, at));
        }
        if let Some(group) = &self.ha {
            lane = lane.step(managed(name, at, self.start, group.as_deref()));
        }
        self.waits(lane, name, at, (ipv6, fixed))
    }

    /// Adds what is waited for, and the commands.
    pub fn waits(&self, mut lane: Lane, name: &str, at: &At, (ipv6, fixed): (bool, Option<&str>)) -> Lane {
        if !self.start {
            return lane;
        }
        if self.agent {
            let then = Then::Agent { guest: at.clone(), seconds: BOOT };
            lane = lane.step(Step::wait(format!("waiting for the agent of {name}"), then));
        }
        if self.address {
            let fixed = fixed.map(str::to_owned);
            let then = Then::Address { guest: at.clone(), seconds: ADDRESS, fixed, ipv6 };
            lane = lane.step(Step::wait(format!("waiting for an address of {name}"), then));
        }
        self.run.iter().fold(lane, |lane, line| lane.step(self.command(name, at, line)))
    }

    fn command(&self, name: &str, at: &At, line: &str) -> Step {
        let words: [&str; 3] = if self.windows { ["cmd.exe", "/c", line] } else { ["/bin/sh", "-c", line] };
        let request = words.into_iter().fold(Request::post(at.path("agent/exec")), |r, word| r.param("command", word));
        let then = Then::Command { guest: at.clone(), seconds: COMMAND, line: line.to_owned() };
        Step::new(format!("running `{line}` in {name}"), request).then(then)
    }
}
