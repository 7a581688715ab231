//! A guest, and how a caller names one: by VMID or by name. What is wrong with a name is said here; finding is in `find`.

mod find;

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Request, Resource};
use crate::error::{Error, Result};

/// VMs and containers share the numbers, and nothing else.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum GuestKind {
    Qemu,
    Lxc,
}

impl GuestKind {
    /// As in paths: `qemu` or `lxc`.
    pub fn path(self) -> &'static str {
        match self {
            Self::Qemu => "qemu",
            Self::Lxc => "lxc",
        }
    }

    /// With its article.
    fn one(self) -> &'static str {
        match self {
            Self::Qemu => "a VM",
            Self::Lxc => "a container",
        }
    }
}

/// `VM` or `container`.
impl fmt::Display for GuestKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Qemu => "VM",
            Self::Lxc => "container",
        })
    }
}

/// Which kind a tool is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Want {
    Vm,
    Container,
    Any,
}

impl Want {
    pub fn takes(self, kind: GuestKind) -> bool {
        match self {
            Self::Vm => kind == GuestKind::Qemu,
            Self::Container => kind == GuestKind::Lxc,
            Self::Any => true,
        }
    }
}

impl fmt::Display for Want {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Vm => "VM",
            Self::Container => "container",
            Self::Any => "guest",
        })
    }
}

/// How a caller names a guest: the arguments `vmid`, `name` and `node`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, JsonSchema)]
pub struct GuestRef {
    /// VMID. Give this or `name`.
    #[serde(default)]
    #[schemars(range(min = 100, max = 999_999_999))]
    pub vmid: Option<u32>,
    /// Exact name.
    #[serde(default)]
    #[schemars(length(min = 1))]
    pub name: Option<String>,
    /// Its node: needed only where guests share a name.
    #[serde(default)]
    pub node: Option<String>,
}

const RANGE: &str = "vmid must be a whole number from 100 to 999999999";

impl GuestRef {
    pub fn vmid(vmid: u32) -> Self {
        Self { vmid: Some(vmid), ..Self::default() }
    }

    pub fn name(name: impl Into<String>) -> Self {
        Self { name: Some(name.into()), ..Self::default() }
    }

    pub fn on(mut self, node: impl Into<String>) -> Self {
        self.node = Some(node.into());
        self
    }

    /// # Errors
    /// `BadArgument` that names the field.
    pub fn check(&self) -> Result<()> {
        if let Some(vmid) = self.vmid.filter(|v| !(100..=999_999_999).contains(v)) {
            return Err(Error::bad_argument(format!("{RANGE}, not {vmid}")));
        }
        if self.name.as_deref().is_some_and(|n| n.trim().is_empty()) {
            return Err(Error::bad_argument("name is empty").hint("give the guest's exact name, or its vmid"));
        }
        if let Some(node) = self.node.as_deref().filter(|n| !super::upid::is_node(n)) {
            return Err(Error::bad_argument(format!("node: {node:?} is no node's name")));
        }
        if self.vmid.is_none() && self.name.is_none() {
            return Err(Error::bad_argument("give vmid or name: which guest is meant?"));
        }
        Ok(())
    }
}

/// A guest that was found, as it was then.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Guest {
    pub kind: GuestKind,
    pub vmid: u32,
    pub node: String,
    pub name: Option<String>,
    /// `running`, `stopped`, `unknown` …
    pub status: String,
    pub template: bool,
    pub lock: Option<String>,
    /// Separated by `;`.
    pub tags: Option<String>,
    pub pool: Option<String>,
    pub hastate: Option<String>,
}

impl Guest {
    /// `/nodes/{node}/{qemu|lxc}/{vmid}/{rest}`; without the last slash where `rest` is empty.
    pub fn path(&self, rest: impl AsRef<str>) -> String {
        let Self { node, vmid, kind, .. } = self;
        match rest.as_ref() {
            "" => format!("/nodes/{node}/{}/{vmid}", kind.path()),
            rest => format!("/nodes/{node}/{}/{vmid}/{rest}", kind.path()),
        }
    }

    /// The guest's own `status/current`.
    pub fn current(&self) -> Request {
        Request::get(self.path("status/current"))
    }

    pub fn is_running(&self) -> bool {
        self.status == "running"
    }

    pub fn is_ha_managed(&self) -> bool {
        self.hastate.as_deref().is_some_and(|s| !s.is_empty() && s != "unmanaged")
    }
}

/// `VM 100 (web01) on pve1`
impl fmt::Display for Guest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.kind, self.vmid)?;
        if let Some(name) = &self.name {
            write!(f, " ({name})")?;
        }
        write!(f, " on {}", self.node)
    }
}

impl From<&Resource> for Guest {
    fn from(row: &Resource) -> Self {
        let owned = |text: &Option<Box<str>>| text.as_deref().map(str::to_owned);
        Self {
            kind: row.kind,
            vmid: row.vmid,
            node: row.node.to_string(),
            name: owned(&row.name),
            status: row.status.to_string(),
            template: row.template,
            lock: owned(&row.lock),
            tags: owned(&row.tags),
            pool: owned(&row.pool),
            hastate: owned(&row.hastate),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_names_no_guest_is_refused_by_field() {
        for (wrong, words) in [
            (GuestRef::default(), "give vmid or name"),
            (GuestRef::name(" "), "name is empty"),
            (GuestRef::vmid(99), "100 to 999999999"),
            (GuestRef::vmid(100).on("../x"), "node"),
        ] {
            let error = wrong.check().err().map(|e| e.to_string()).unwrap_or_default();
            assert!(error.contains(words), "{wrong:?}: {error}");
        }
    }

    #[test]
    fn the_schema_bounds_the_vmid() {
        let schema = schemars::schema_for!(GuestRef).to_value();
        assert_eq!(schema["properties"]["vmid"]["maximum"], json!(999_999_999));
    }
}
