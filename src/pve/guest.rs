//! A guest, and how a caller names one: by VMID or by name. What is wrong with a name is said here; finding is in `find`.

mod find;

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, de};

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
    #[serde(default, deserialize_with = "vmid")]
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

/// Takes a number, or text of digits, as callers send both.
fn vmid<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u32>, D::Error> {
    struct Vmid;
    impl<'de> de::Visitor<'de> for Vmid {
        type Value = Option<u32>;
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str(RANGE)
        }
        fn visit_u64<E: de::Error>(self, n: u64) -> Result<Self::Value, E> {
            let sound = u32::try_from(n).ok().filter(|n| (100..=999_999_999).contains(n));
            sound.map(Some).ok_or_else(|| E::custom(format_args!("{RANGE}, not {n}")))
        }
        fn visit_i64<E: de::Error>(self, n: i64) -> Result<Self::Value, E> {
            u64::try_from(n).map_or_else(|_| Err(E::custom(format_args!("{RANGE}, not {n}"))), |n| self.visit_u64(n))
        }
        fn visit_f64<E: de::Error>(self, n: f64) -> Result<Self::Value, E> {
            if n.fract() != 0.0 || !(0.0..1e10).contains(&n) {
                return Err(E::custom(format_args!("{RANGE}, not {n}")));
            }
            format!("{n:.0}").parse().map_or_else(|_| Err(E::custom(RANGE)), |n| self.visit_u64(n))
        }
        fn visit_str<E: de::Error>(self, text: &str) -> Result<Self::Value, E> {
            let digits = text.trim();
            if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
                return Err(E::custom(format_args!("{RANGE}, not {text:?}; a name goes into the field name")));
            }
            digits.parse().map_or_else(|_| Err(E::custom(format_args!("{RANGE}, not {digits}"))), |n| self.visit_u64(n))
        }
        fn visit_none<E: de::Error>(self) -> Result<Self::Value, E> {
            Ok(None)
        }
        fn visit_unit<E: de::Error>(self) -> Result<Self::Value, E> {
            Ok(None)
        }
        fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
            deserializer.deserialize_any(self)
        }
    }
    deserializer.deserialize_option(Vmid)
}

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

    fn parsed(value: serde_json::Value) -> Result<GuestRef, String> {
        serde_json::from_value(value).map_err(|e| e.to_string())
    }

    #[test]
    fn a_vmid_may_be_a_number_or_digits_and_nothing_else() {
        for good in [json!(110), json!("110"), json!(110.0), json!(" 110 ")] {
            assert_eq!(parsed(json!({ "vmid": good })), Ok(GuestRef::vmid(110)));
        }
        assert_eq!(parsed(json!({ "vmid": null, "name": "web" })), Ok(GuestRef::name("web")));
        for bad in [
            json!(-1),
            json!(0),
            json!(99),
            json!(1_000_000_000_u64),
            json!("web"),
            json!(""),
            json!(1.5),
            json!("-5"),
            json!([1]),
        ] {
            let error = parsed(json!({ "vmid": bad })).err().unwrap_or_default();
            assert!(error.contains("100 to 999999999"), "{bad}: {error}");
        }
    }

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
