//! Cloud-init of VMs: the options that Proxmox makes the drive from, and snippets for what goes beyond them.

mod advanced;
mod undo;
mod user_data;

use std::collections::BTreeMap;

use serde_json::Value;

use super::applied::applied;
use crate::{
    pve::{Edit, Guest, GuestConfig, Options, SshKeys, api::Api, options::is_drive},
    tool::*,
};

pub const TOOLS: &[Entry] = &[Entry::action::<CloudInitSet>(), Entry::action::<advanced::ConfigureCloudInitAdvanced>()];

/// Set a VM's cloud-init options; empty text unsets. If it runs, its drive is renewed.
#[derive(Deserialize, JsonSchema)]
struct CloudInitSet {
    #[serde(flatten)]
    guest: GuestRef,
    /// ip=10.0.0.5/24,gw=10.0.0.1 or ip=dhcp
    ipconfig0: Option<String>,
    /// Further NICs: {"1": "ip=dhcp"}
    #[serde(default)]
    ipconfig: BTreeMap<String, String>,
    /// Replace those it has.
    sshkeys: Option<Vec<String>>,
    ciuser: Option<String>,
    cipassword: Option<String>,
    nameserver: Option<String>,
    searchdomain: Option<String>,
    cicustom: Option<String>,
    ciupgrade: Option<bool>,
    citype: Option<String>,
}

impl Tool for CloudInitSet {
    const NAME: &str = "proxmox-cloudinit-set";
    const TITLE: &str = "Set cloud-init options";
    const API: &[&str] = &[
        "PUT /nodes/{node}/qemu/{vmid}/config",
        "PUT /nodes/{node}/qemu/{vmid}/cloudinit",
        "GET /nodes/{node}/{type}/{vmid}/pending",
    ];
    const EXAMPLE: (&str, &str) = (
        "Let the Debian template's clones get the user ops and a fixed address",
        r#"{"vmid": 9000, "ciuser": "ops", "ipconfig0": "ip=10.0.0.60/24,gw=10.0.0.1", "confirm": true}"#,
    );
}

impl Action for CloudInitSet {
    const EFFECT: Effect = Effect::Write;
    const CONTROL: Control = Control::instant().confirmed();
    const LOOKS_AFTER: bool = true;
    async fn plan(&self, pve: &Reader<'_>) -> Result<Plan> {
        let guest = pve.guest(&self.guest, Want::Vm).await?;
        let config = pve.config(&guest).await?;
        let mut wanted = Wanted::default();
        wanted.ip("ipconfig0", self.ipconfig0.as_deref())?;
        for (nic, text) in &self.ipconfig {
            wanted.ip(&ipconfig_key(nic)?, Some(text))?;
        }
        wanted.keys(self.sshkeys.as_deref())?;
        wanted.text("ciuser", self.ciuser.as_deref());
        wanted.text("cipassword", self.cipassword.as_deref());
        wanted.text("nameserver", self.nameserver.as_deref());
        wanted.text("searchdomain", self.searchdomain.as_deref());
        wanted.text("cicustom", self.cicustom.as_deref());
        wanted.text("ciupgrade", self.ciupgrade.map(|flag| if flag { "1" } else { "0" }));
        wanted.text("citype", self.citype.as_deref());
        wanted.plan(pve.api(), &guest, &config)
    }
    async fn result(&self, pve: &Reader<'_>, plan: &Plan, _: Done<'_>) -> Result<Option<Value>> {
        applied(pve, plan).await
    }
}

/// `1`, or `ipconfig1`.
fn ipconfig_key(nic: &str) -> Result<String> {
    let number = nic.strip_prefix("ipconfig").or(nic.strip_prefix("net")).unwrap_or(nic);
    match number.parse::<u8>() {
        Ok(number @ 0..=31) => Ok(format!("ipconfig{number}")),
        _ => Err(Error::bad_argument(format!("ipconfig: expected the number of a NIC from 0 to 31, got '{nic}'"))),
    }
}

/// Cloud-init options that are to be set or, with empty text, unset.
#[derive(Default)]
struct Wanted {
    set: Vec<(String, String)>,
    delete: Vec<String>,
    warnings: Vec<String>,
}

impl Wanted {
    fn text(&mut self, key: &str, value: Option<&str>) {
        match value.map(str::trim) {
            None => {}
            Some("") => self.delete.push(key.to_owned()),
            Some(value) => self.set.push((key.to_owned(), value.to_owned())),
        }
    }

    fn keys(&mut self, texts: Option<&[String]>) -> Result<()> {
        let Some(texts) = texts else { return Ok(()) };
        let keys = SshKeys::parse("sshkeys", texts.iter().map(String::as_str))?;
        self.text("sshkeys", Some(&keys.encoded()));
        Ok(())
    }

    /// `ip=…` as Proxmox has it; a bare `dhcp` or address is taken for `ip=`.
    fn ip(&mut self, key: &str, text: Option<&str>) -> Result<()> {
        let Some(text) = text.map(str::trim) else { return Ok(()) };
        let mut full = Vec::new();
        for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
            full.push(match part.split_once('=') {
                Some(_) => part.to_owned(),
                None if part.contains(':') || part == "auto" => format!("ip6={part}"),
                None => format!("ip={part}"),
            });
        }
        for (name, value) in full.iter().filter_map(|part| part.split_once('=')) {
            let known = match name {
                "ip" => matches!(value, "dhcp" | "manual") || value.contains('/'),
                "ip6" => matches!(value, "dhcp" | "auto" | "manual") || value.contains('/'),
                _ => true,
            };
            if !known {
                let words = format!("{key}: expected {name}=dhcp or {name}=ADDRESS/PREFIX, got {name}={value}");
                return Err(Error::bad_argument(words).hint("say the prefix too: ip=10.0.0.5/24,gw=10.0.0.1"));
            }
        }
        let value = |name: &str| full.iter().find_map(|part| part.strip_prefix(name)?.strip_prefix('='));
        for (ip, gw) in [("ip", "gw"), ("ip6", "gw6")] {
            let (ip, gw) = (value(ip), value(gw));
            if ip.zip(gw).is_some_and(|(ip, gw)| outside(ip, gw) == Some(true)) {
                let (ip, gw) = (ip.unwrap_or_default(), gw.unwrap_or_default());
                self.warnings.push(format!("{key}: the gateway {gw} is not in the network of {ip}"));
            }
        }
        self.text(key, Some(&full.join(",")));
        Ok(())
    }

    /// The request that sets them, and the one that writes the drive anew while the VM runs.
    fn plan(self, api: &Api, guest: &Guest, config: &GuestConfig) -> Result<Plan> {
        if self.set.is_empty() && self.delete.is_empty() {
            return Err(Error::bad_argument("nothing to set; expected ipconfig0, sshkeys, ciuser or another option"));
        }
        let options = Options::of(api, guest, config)?;
        options.check(self.set.iter().map(|(key, value)| (key.as_str(), value.as_str())))?;
        let drive = config.iter().find(|(key, value)| is_drive(key) && value.contains("cloudinit"));
        let mut plan = Plan::on(guest, "set cloud-init options of").about("status", guest.status.as_str());
        plan.warnings.extend(self.warnings);
        match &drive {
            Some((key, _)) => plan = plan.about("drive", *key),
            None => plan.warnings.push(format!(
                "{guest} has no cloud-init drive, so none of this reaches it: add one, e.g. \
                 proxmox-configure-vm params {{\"ide2\": \"STORAGE:cloudinit\"}}"
            )),
        }
        let custom = config.get("cicustom").unwrap_or_default();
        let own = |key: &str| matches!(key, "ciuser" | "cipassword" | "sshkeys" | "ciupgrade");
        if custom.contains("user=") && self.set.iter().any(|(key, _)| own(key)) {
            plan.warnings
                .push(format!("cicustom ({custom}) stands in for user, password and keys: they have no effect"));
        }
        let running = guest.is_running() && drive.is_some();
        let set = self.set.iter().map(|(key, new)| (key.as_str(), Some(new.as_str())));
        let changed = set.chain(self.delete.iter().map(|key| (key.as_str(), None)));
        let changed = changed.filter(|(key, new)| config.get(key).as_deref() != *new).map(|(key, _)| key);
        if let Some(undo) = undo::call(guest, config, changed) {
            plan = plan.undone(undo);
        }
        let mut edit = Edit::default();
        for (key, value) in self.set {
            edit = if key == "cipassword" { edit.secret(key, value) } else { edit.set(key, value) };
        }
        edit = self.delete.into_iter().fold(edit, Edit::delete);
        plan = edit.step(plan, guest, config);
        if running {
            plan = plan.step(Request::put(guest.path("cloudinit")));
            plan.warnings.push(format!("{guest} runs: restart it, then cloud-init reads the new drive"));
        }
        Ok(plan)
    }
}

/// Whether a gateway is out of an address's network; `None` where that cannot be said.
fn outside(cidr: &str, gateway: &str) -> Option<bool> {
    use std::net::IpAddr;
    let (address, prefix) = cidr.split_once('/')?;
    let prefix: u32 = prefix.parse().ok()?;
    let bits = |ip: IpAddr| match ip {
        IpAddr::V4(ip) => (u128::from(ip.to_bits()), 32_u32),
        IpAddr::V6(ip) => (ip.to_bits(), 128),
    };
    let ((a, width), (b, other)) = (bits(address.parse().ok()?), bits(gateway.parse().ok()?));
    let rest = width.checked_sub(prefix).filter(|_| width == other)?;
    Some(a.checked_shr(rest).unwrap_or(0) != b.checked_shr(rest).unwrap_or(0))
}
