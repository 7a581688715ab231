//! A guest's configuration as it was read, and changes to it as a plan: with the digest it was made from, and the
//! difference to show.

mod undo;

use std::{borrow::Cow, collections::BTreeMap};

use serde_json::{Map, Value};

use super::{Guest, GuestKind, Param, Reader, Request, ssh_keys};
use crate::{error::Result, plan::Plan};

/// `GET …/config`: pending changes appear as if applied.
#[derive(Debug, Clone)]
pub struct GuestConfig {
    pub digest: Option<String>,
    values: Map<String, Value>,
}

impl GuestConfig {
    /// A value in Proxmox's notation, numbers as text.
    pub fn get(&self, key: &str) -> Option<Cow<'_, str>> {
        match self.values.get(key)? {
            Value::Null => None,
            Value::String(text) => Some(text.as_str().into()),
            Value::Bool(flag) => Some(if *flag { "1" } else { "0" }.into()),
            other => Some(other.to_string().into()),
        }
    }

    pub fn flag(&self, key: &str) -> bool {
        self.get(key).is_some_and(|value| value == "1")
    }

    pub fn lock(&self) -> Option<Cow<'_, str>> {
        self.get("lock")
    }

    /// Whether it says the same as the other, but for one option.
    pub fn same_but(&self, other: &Self, key: &str) -> bool {
        let of = |config: &Self| {
            config
                .iter()
                .filter(|(k, _)| *k != key)
                .map(|(k, v)| (k.to_owned(), v.into_owned()))
                .collect::<BTreeMap<_, _>>()
        };
        of(self) == of(other)
    }

    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.values.keys().map(String::as_str)
    }

    pub fn iter(&self) -> impl Iterator<Item = (&str, Cow<'_, str>)> {
        self.values.keys().filter_map(|key| Some((key.as_str(), self.get(key)?)))
    }

    /// The first number for which `{stem}{n}` is not used.
    pub fn free(&self, stem: &str, limit: u32) -> Option<u32> {
        (0..limit).find(|n| !self.values.contains_key(&format!("{stem}{n}")))
    }
}

impl Reader<'_> {
    /// The guest's configuration with its digest.
    ///
    /// # Errors
    /// As [`Reader::get`].
    pub async fn config(&self, guest: &Guest) -> Result<GuestConfig> {
        self.config_at(guest.path("config")).await
    }

    /// As [`Reader::config`], where only the guest's path is known.
    ///
    /// # Errors
    /// As [`Reader::get`].
    pub async fn config_at(&self, path: String) -> Result<GuestConfig> {
        let mut values: Map<String, Value> = self.get(path).await?;
        let digest = values.remove("digest").and_then(|d| d.as_str().map(str::to_owned));
        Ok(GuestConfig { digest, values })
    }
}

/// A value as people read it: Proxmox keeps SSH keys URL-encoded.
fn readable(key: &str, value: &str) -> String {
    if key == "sshkeys" { ssh_keys::decoded(value) } else { value.to_owned() }
}

/// Changes to a guest's configuration.
#[derive(Debug, Clone, Default)]
pub struct Edit {
    set: Vec<(String, Param)>,
    delete: Vec<String>,
    revert: Vec<String>,
    more: Vec<(String, String)>,
    task: bool,
    force: bool,
}

impl Edit {
    pub fn set(mut self, key: impl Into<String>, value: impl ToString) -> Self {
        self.set.push((key.into(), Param::Plain(value.to_string())));
        self
    }
    pub fn secret(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.set.push((key.into(), Param::Secret(value.into())));
        self
    }
    pub fn delete(mut self, key: impl Into<String>) -> Self {
        self.delete.push(key.into());
        self
    }
    /// Takes back a pending change.
    pub fn revert(mut self, key: impl Into<String>) -> Self {
        self.revert.push(key.into());
        self
    }
    /// A parameter of the request that is no option of the guest, such as `force`.
    pub fn with(mut self, key: impl Into<String>, value: impl ToString) -> Self {
        self.more.push((key.into(), value.to_string()));
        self
    }
    /// As a task (VMs only): for what may take longer than an answer may, such as allocating or freeing disks.
    pub fn as_task(mut self) -> Self {
        self.task = true;
        self
    }
    /// Destroys the volumes of deleted drives (VMs only), instead of keeping them as unused.
    pub fn force(mut self) -> Self {
        self.force = true;
        self
    }
    pub fn is_empty(&self) -> bool {
        self.set.is_empty() && self.delete.is_empty() && self.revert.is_empty()
    }

    /// Adds the request and the difference to a plan. What is set to what it was already is left out of the difference, and
    /// sent all the same.
    pub fn step(self, plan: Plan, guest: &Guest, config: &GuestConfig) -> Plan {
        let mut plan = plan;
        plan.undo = plan.undo.or_else(|| Some(self.undo(guest, config)));
        for (key, new) in &self.set {
            let old = config.get(key);
            if old.as_deref() != Some(new.shown()) {
                plan = plan.change(key, old.map(|old| readable(key, &old)), Some(readable(key, new.shown())));
            }
        }
        for key in &self.delete {
            plan = plan.change(key, config.get(key).map(|old| readable(key, &old)), None::<&str>);
        }
        let mut request = match guest.kind {
            GuestKind::Qemu if self.task => Request::post(guest.path("config")),
            _ => Request::put(guest.path("config")),
        };
        request.params.extend(self.set.into_iter().map(|(key, value)| (key.into(), value)));
        request.params.extend(self.more.iter().map(|(key, value)| (key.clone().into(), Param::Plain(value.clone()))));
        let list = |keys: Vec<String>| (!keys.is_empty()).then(|| keys.join(","));
        let request = request
            .maybe("delete", list(self.delete))
            .maybe("revert", list(self.revert))
            .flag("force", self.force)
            .maybe("digest", config.digest.as_deref());
        // Root may pass a lock by, and so take a stale one away.
        if self.more.iter().any(|(key, value)| key == "skiplock" && value == "1") {
            return plan.step(request);
        }
        let problem = || {
            let lock = config.lock().unwrap_or_default();
            format!("{guest} is locked ({lock}): Proxmox changes nothing of it until that is over")
        };
        plan.check(config.lock().is_none(), || format!("{guest} is not locked"), problem).step(request)
    }
}
