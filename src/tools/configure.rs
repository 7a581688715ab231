//! Any option of a guest's configuration.

use serde_json::{Map, Value};

use super::applied::applied;
use crate::{
    pve::{
        Edit, Guest, GuestConfig, Options,
        api::Api,
        options::{allocates, is_drive, is_numbered, is_roots, volume},
    },
    tool::*,
};

pub const TOOLS: &[Entry] = &[Entry::action::<ConfigureVm>(), Entry::action::<ConfigureLxc>()];

/// Change any option of a VM, named as in Proxmox's API.
#[derive(Deserialize, JsonSchema)]
struct ConfigureVm {
    #[serde(flatten)]
    guest: GuestRef,
    #[serde(flatten)]
    options: Changes,
}

/// Change any option of a container, named as in Proxmox's API.
#[derive(Deserialize, JsonSchema)]
struct ConfigureLxc {
    #[serde(flatten)]
    guest: GuestRef,
    #[serde(flatten)]
    options: Changes,
}

#[derive(Deserialize, JsonSchema)]
struct Changes {
    /// {"memory": 4096, "net0": {"tag": 20}}: objects change only their keys, null unsets.
    params: Option<Map<String, Value>>,
    #[serde(default)]
    delete: Vec<String>,
    /// Pending changes to undo.
    #[serde(default)]
    revert: Vec<String>,
}

impl Tool for ConfigureVm {
    const NAME: &str = "proxmox-configure-vm";
    const TITLE: &str = "Configure a VM";
    const API: &[&str] = &[
        "PUT /nodes/{node}/qemu/{vmid}/config",
        "POST /nodes/{node}/qemu/{vmid}/config",
        "GET /nodes/{node}/{type}/{vmid}/pending",
    ];
    const EXAMPLE: (&str, &str) = (
        "Give web-01 4 cores and move it to vmbr1",
        r#"{"name": "web-01", "params": {"cores": 4, "net0": {"bridge": "vmbr1"}}, "confirm": true}"#,
    );
}

impl Tool for ConfigureLxc {
    const NAME: &str = "proxmox-configure-lxc";
    const TITLE: &str = "Configure a container";
    const API: &[&str] = &["PUT /nodes/{node}/lxc/{vmid}/config", "GET /nodes/{node}/{type}/{vmid}/pending"];
    const EXAMPLE: (&str, &str) = (
        "Give devbox 8 GiB of memory and start it at boot",
        r#"{"name": "devbox", "params": {"memory": 8192, "onboot": true}, "confirm": true}"#,
    );
}

impl Action for ConfigureVm {
    const EFFECT: Effect = Effect::Write;
    const CONTROL: Control = Control::new(600).confirmed().polled().snapshot_first(Before::Configure);
    const LOOKS_AFTER: bool = true;
    async fn plan(&self, pve: &Reader<'_>) -> Result<Plan> {
        self.options.plan(pve, pve.guest(&self.guest, Want::Vm).await?).await
    }
    async fn result(&self, pve: &Reader<'_>, plan: &Plan, _: Done<'_>) -> Result<Option<Value>> {
        applied(pve, plan).await
    }
}

impl Action for ConfigureLxc {
    const EFFECT: Effect = Effect::Write;
    const CONTROL: Control = Control::new(600).confirmed().polled().snapshot_first(Before::Configure);
    const LOOKS_AFTER: bool = true;
    async fn plan(&self, pve: &Reader<'_>) -> Result<Plan> {
        self.options.plan(pve, pve.guest(&self.guest, Want::Container).await?).await
    }
    async fn result(&self, pve: &Reader<'_>, plan: &Plan, _: Done<'_>) -> Result<Option<Value>> {
        applied(pve, plan).await
    }
}

/// The changes in Proxmox's notation.
#[derive(Default)]
struct Asked {
    set: Vec<(String, String)>,
    /// Parameters of the request that are no options: `force`, `background_delay` ….
    more: Vec<(String, String)>,
    delete: Vec<String>,
    revert: Vec<String>,
    digest: Option<String>,
    warnings: Vec<String>,
}

impl Changes {
    async fn plan(&self, pve: &Reader<'_>, guest: Guest) -> Result<Plan> {
        let mut config = pve.config(&guest).await?;
        let asked = self.read(pve.api(), &guest, &config)?;
        config.digest = asked.digest.clone().or(config.digest);
        let force = asked.more.iter().any(|(key, value)| key == "force" && value == "1");
        let mut plan = Plan::on(&guest, "configure").about("status", guest.status.as_str());
        plan.warnings.extend(asked.warnings.iter().cloned());
        plan.warnings.extend(asked.consequences(&config, force));
        for (key, _) in asked.set.iter().chain(&asked.more).filter(|(key, value)| is_roots(guest.kind, key, value)) {
            // Not even a token of root may.
            let who = pve.who();
            if who != "root@pam" {
                plan.problems.push(format!("{key}: only root@pam with its password may set this, not {who}"));
            }
        }
        Ok(asked.edit(&config, force).step(plan, &guest, &config))
    }

    fn read(&self, api: &Api, guest: &Guest, config: &GuestConfig) -> Result<Asked> {
        let options = Options::of(api, guest, config)?;
        let mut asked = Asked { delete: split(&self.delete), revert: split(&self.revert), ..Asked::default() };
        for (key, given) in self.params.iter().flatten() {
            match (key.as_str(), given) {
                ("delete", keys) => asked.delete.extend(names(key, keys)?),
                ("revert", keys) => asked.revert.extend(names(key, keys)?),
                ("digest", digest) => asked.digest = digest.as_str().map(str::to_owned),
                (_, Value::Null) => asked.delete.push(key.clone()),
                ("force" | "skiplock" | "background_delay" | "import-working-storage", given) => {
                    asked.more.push((key.clone(), options.value(key, given, &mut asked.warnings)?));
                }
                (_, given) => asked.set.push((key.clone(), options.value(key, given, &mut asked.warnings)?)),
            }
        }
        if asked.set.is_empty() && asked.delete.is_empty() && asked.revert.is_empty() {
            return Err(Error::bad_argument("params: nothing to change; expected options, or delete or revert"));
        }
        options.check_keys(&asked.delete)?;
        options.check_keys(&asked.revert)?;
        let deleted = asked.delete.join(",");
        let all = asked.set.iter().chain(&asked.more).map(|(key, value)| (key.as_str(), value.as_str()));
        options.check(all.chain((!deleted.is_empty()).then_some(("delete", deleted.as_str()))))?;
        let twice = asked.delete.iter().chain(&asked.revert).find(|key| asked.set.iter().any(|(set, _)| set == *key));
        match twice {
            Some(key) => Err(Error::bad_argument(format!("{key}: cannot be set and deleted or reverted at once"))),
            None => Ok(asked),
        }
    }
}

impl Asked {
    /// What comes with the changes and may surprise.
    fn consequences(&self, config: &GuestConfig, force: bool) -> Vec<String> {
        let mut out = Vec::new();
        let boot = config.get("boot").unwrap_or_default().into_owned();
        let boot: Vec<&str> = boot.trim_start_matches("order=").split(';').collect();
        for key in &self.delete {
            let Some(old) = config.get(key) else {
                out.push(format!("{key} is not set: deleting it changes nothing"));
                continue;
            };
            let owned = volume(&old).contains(':') && !old.contains("media=cdrom");
            if is_numbered(key, "unused") || (force && is_drive(key) && owned) {
                out.push(format!("{key}: the volume {} is destroyed with all that is on it", volume(&old)));
            } else if is_drive(key) && owned {
                out.push(format!("{key}: the volume {} stays, as an unused disk", volume(&old)));
            }
            if boot.contains(&key.as_str()) {
                out.push(format!("{key} leaves the boot order: set boot again if the device comes back"));
            }
        }
        for (key, new) in self.set.iter().filter(|(key, _)| is_drive(key)) {
            let Some(old) = config.get(key).filter(|old| !old.contains("media=cdrom")) else { continue };
            if volume(&old) != volume(new) {
                out.push(format!("{key}: the present volume {} becomes an unused disk", volume(&old)));
            }
        }
        out
    }

    /// As a task where volumes are made or freed, which may take longer than an answer may.
    fn edit(self, config: &GuestConfig, force: bool) -> Edit {
        let makes = self.set.iter().any(|(key, value)| is_drive(key) && allocates(value));
        let frees = self.delete.iter().any(|key| {
            let cloud_init = config.get(key).is_some_and(|value| value.contains("cloudinit"));
            is_numbered(key, "unused") || (is_drive(key) && (force || cloud_init))
        });
        let delayed = self.more.iter().any(|(key, _)| key != "force" && key != "skiplock");
        let mut edit = Edit::default();
        for (key, value) in self.set {
            edit = if key == "cipassword" { edit.secret(key, value) } else { edit.set(key, value) };
        }
        edit = self.more.into_iter().fold(edit, |edit, (key, value)| edit.with(key, value));
        edit = self.delete.into_iter().fold(edit, Edit::delete);
        edit = self.revert.into_iter().fold(edit, Edit::revert);
        if makes || frees || delayed { edit.as_task() } else { edit }
    }
}

/// Names, given as a list or in one text.
fn names(field: &str, given: &Value) -> Result<Vec<String>> {
    let texts: Option<Vec<String>> = match given {
        Value::String(text) => Some(vec![text.clone()]),
        Value::Array(list) => list.iter().map(|item| item.as_str().map(str::to_owned)).collect(),
        _ => None,
    };
    let texts = texts.ok_or_else(|| Error::bad_argument(format!("{field}: expected names of options, got {given}")))?;
    Ok(split(&texts))
}

fn split(texts: &[String]) -> Vec<String> {
    let names = texts.iter().flat_map(|text| text.split([',', ';', ' '])).map(str::trim);
    names.filter(|name| !name.is_empty()).map(str::to_owned).collect()
}
