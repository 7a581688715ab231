//! Options of guests as callers give them (JSON), brought into Proxmox's notation and checked against the facts about its
//! API before anything is sent: booleans as `1` and `0`, lists joined, objects as property strings in which only the keys
//! they name change.

mod parts;

use std::sync::Arc;

use http::Method;
use serde_json::{Map, Value};

use self::parts::Parts;
use super::{
    Guest, GuestConfig, GuestKind, PropertyString, SshKeys,
    api::{Api, Endpoint, Format, Given, Kind, Params, Property, Shape},
};
use crate::{
    arguments::nearest,
    error::{Error, Result},
};

/// The options of one guest.
pub struct Options<'a> {
    guest: &'a Guest,
    config: &'a GuestConfig,
    endpoint: Arc<Endpoint>,
}

impl<'a> Options<'a> {
    /// # Errors
    /// None with the table that is built in.
    pub fn of(api: &Api, guest: &'a Guest, config: &'a GuestConfig) -> Result<Self> {
        // A VM's POST takes all that its PUT takes, and more.
        let (method, path) = match guest.kind {
            GuestKind::Qemu => (Method::POST, "/nodes/{node}/qemu/{vmid}/config"),
            GuestKind::Lxc => (Method::PUT, "/nodes/{node}/lxc/{vmid}/config"),
        };
        let endpoint = api.endpoint(&method, path);
        let endpoint = endpoint.ok_or_else(|| Error::internal(format!("the table lacks {method} {path}")))?;
        Ok(Self { guest, config, endpoint })
    }

    /// # Errors
    /// `BadArgument` with the name that was probably meant.
    pub fn known(&self, key: &str) -> Result<&Property> {
        if let Some(property) = self.endpoint.param(key).filter(|_| !matches!(key, "node" | "vmid")) {
            return Ok(&**property);
        }
        let number = key.trim_start_matches(|c: char| !c.is_ascii_digit());
        let number = if number.is_empty() { "0" } else { number };
        let names: Vec<String> = self.endpoint.param_names().map(|name| name.replace("[n]", number)).collect();
        let kind = self.guest.kind;
        let error = Error::bad_argument(format!("params: a {kind} has no option '{key}'"));
        Err(match nearest(key, names.iter().map(String::as_str)) {
            Some(near) => error.hint(format!("did you mean '{near}'?")),
            None => error.hint("options are named as in Proxmox's API: memory, cores, net0, description, onboot …"),
        })
    }

    /// Whether these are names of options: to be deleted or reverted.
    ///
    /// # Errors
    /// As [`Options::known`].
    pub fn check_keys(&self, keys: &[String]) -> Result<()> {
        let internal = |key: &&String| !matches!(key.as_str(), "lock" | "vmstate" | "parent" | "snaptime" | "meta");
        keys.iter().filter(internal).try_for_each(|key| self.known(key).map(drop))
    }

    /// An option's value in Proxmox's notation; what was done to it unasked goes to `notes`.
    ///
    /// # Errors
    /// `BadArgument` that names the option.
    pub fn value(&self, key: &str, given: &Value, notes: &mut Vec<String>) -> Result<String> {
        let property = self.known(key)?;
        if key == "sshkeys" {
            return Ok(SshKeys::parse(key, texts(given))?.encoded());
        }
        match (given, shape(property)) {
            (Value::Object(keys), Some(shape)) => self.edited(shape, key, keys),
            // Its keys stand in no shape of the facts.
            (Value::Object(keys), None) if key == "startup" => {
                let mut order = PropertyString::parse(&self.config.get(key).unwrap_or_default());
                for (name, value) in keys {
                    match value {
                        Value::Null => order.remove(name),
                        value => order.set(name, scalar(name, value, None)?),
                    }
                }
                Ok(order.to_string())
            }
            (Value::Object(_), None) => Err(Error::bad_argument(format!("{key}: expected one value, not an object"))),
            (Value::Array(list), _) => {
                let items = list.iter().map(|item| scalar(key, item, None)).collect::<Result<Vec<_>>>()?;
                match key {
                    "boot" => Ok(format!("order={}", items.join(";"))),
                    "nameserver" | "searchdomain" => Ok(items.join(" ")),
                    "tags" => Ok(items.join(";")),
                    _ => Ok(items.join(",")),
                }
            }
            (Value::String(text), Some(shape)) => Ok(self.with_mac(shape, key, text, notes)),
            (given, _) => scalar(key, given, Some(property)),
        }
    }

    /// Holds the values to Proxmox's own definitions.
    ///
    /// # Errors
    /// `BadArgument` in Proxmox's words, option by option.
    pub fn check<'v>(&self, values: impl IntoIterator<Item = (&'v str, &'v str)>) -> Result<()> {
        let mut params: Params = values.into_iter().map(|(k, v)| (k.to_owned(), Given::from(v))).collect();
        params.insert("node".to_owned(), Given::from(self.guest.node.as_str()));
        params.insert("vmid".to_owned(), Given::Text(self.guest.vmid.to_string()));
        let complaints = self.endpoint.complaints(&params);
        if complaints.is_empty() {
            return Ok(());
        }
        let words: Vec<String> = complaints.iter().map(|(key, message)| format!("{key}: {message}")).collect();
        Err(Error::bad_argument(words.join("; ")).hint("nothing was sent"))
    }

    /// The present value with the keys that are given changed, and those that are null removed.
    fn edited(&self, shape: &Shape, option: &str, keys: &Map<String, Value>) -> Result<String> {
        let current = self.config.get(option);
        let mut parts = Parts::read(shape, current.as_deref().unwrap_or_default());
        for (key, value) in keys {
            let Some(property) = shape.key(key) else {
                let error = Error::bad_argument(format!("{option}: there is no key '{key}'"));
                let names: Vec<&str> = shape.keys.iter().map(|(name, _)| *name).collect();
                return Err(match nearest(key, names.iter().copied()) {
                    Some(near) => error.hint(format!("did you mean '{near}'?")),
                    None => error.hint(format!("keys: {}", names.join(", "))),
                });
            };
            let name = property.alias.unwrap_or(key.as_str());
            if value.is_null() {
                parts.remove(name);
                continue;
            }
            if let Some(sets) = property.sets {
                parts.set(shape, sets, key.clone());
            }
            parts.set(shape, name, scalar(&format!("{option}.{key}"), value, shape.key(name))?);
        }
        Ok(parts.write(shape))
    }

    /// A network device without an address keeps the one it has: Proxmox would make a new one.
    fn with_mac(&self, shape: &Shape, option: &str, text: &str, notes: &mut Vec<String>) -> String {
        let key = match self.guest.kind {
            GuestKind::Qemu => "macaddr",
            GuestKind::Lxc => "hwaddr",
        };
        if !is_numbered(option, "net") {
            return text.to_owned();
        }
        let mut parts = Parts::read(shape, text);
        let current = self.config.get(option);
        let mac = current.as_deref().and_then(|current| Parts::read(shape, current).get(key).map(str::to_owned));
        match mac {
            Some(mac) if parts.get(key).is_none() => {
                notes.push(format!("{option} keeps its MAC address {mac}; to have another, say {key}=…"));
                parts.set(shape, key, mac);
                parts.write(shape)
            }
            _ => text.to_owned(),
        }
    }
}

/// Whether Proxmox keeps this option for root@pam with its password.
pub fn is_roots(kind: GuestKind, key: &str, value: &str) -> bool {
    let real =
        !value.contains("mapping=") && !value.trim_start_matches("host=").starts_with("spice") && value != "socket";
    match kind {
        GuestKind::Qemu if ["usb", "hostpci", "serial"].iter().any(|stem| is_numbered(key, stem)) => real,
        GuestKind::Qemu => matches!(key, "args" | "lock" | "hookscript" | "skiplock") || is_numbered(key, "parallel"),
        GuestKind::Lxc if key == "features" => !value.split(',').all(|part| part.starts_with("nesting=")),
        GuestKind::Lxc => key == "hookscript",
    }
}

/// Whether the option is `stem` and a number.
pub fn is_numbered(key: &str, stem: &str) -> bool {
    key.strip_prefix(stem).is_some_and(|n| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit()))
}

/// Whether the option is a disk, a CD drive or a mount point.
pub fn is_drive(key: &str) -> bool {
    key == "rootfs"
        || ["scsi", "virtio", "sata", "ide", "efidisk", "tpmstate", "mp"].iter().any(|stem| is_numbered(key, stem))
}

/// The volume of a drive's value: the part without a key, or with its full name.
pub fn volume(value: &str) -> &str {
    let mut parts = value.split(',');
    let part = parts.find(|part| !part.contains('=') || part.starts_with("file=") || part.starts_with("volume="));
    part.map_or("", |part| part.split_once('=').map_or(part, |(_, volume)| volume))
}

/// Whether a drive's value makes a new volume: `storage:8`, `storage:cloudinit`, an import.
pub fn allocates(value: &str) -> bool {
    let new = volume(value).split_once(':').map(|(_, rest)| rest);
    value.contains("import-from=") || new.is_some_and(|rest| rest == "cloudinit" || rest.parse::<f64>().is_ok())
}

fn shape(property: &Property) -> Option<&Shape> {
    match property.format.as_ref().map(|usage| &*usage.format) {
        Some(Format::Keys(shape)) => Some(shape),
        _ => None,
    }
}

/// The texts of one value or of a list of values.
fn texts(given: &Value) -> Vec<&str> {
    match given {
        Value::Array(list) => list.iter().filter_map(Value::as_str).collect(),
        one => one.as_str().into_iter().collect(),
    }
}

/// One value as text.
fn scalar(name: &str, given: &Value, property: Option<&Property>) -> Result<String> {
    Ok(match given {
        Value::Bool(flag) => u8::from(*flag).to_string(),
        Value::Number(number) => number.to_string(),
        Value::String(text) if property.is_some_and(|p| p.kind == Kind::Boolean) => {
            match text.to_ascii_lowercase().as_str() {
                "true" | "yes" | "on" => "1".to_owned(),
                "false" | "no" | "off" => "0".to_owned(),
                _ => text.clone(),
            }
        }
        Value::String(text) => text.clone(),
        Value::Array(list) => {
            let items = list.iter().map(|item| scalar(name, item, None)).collect::<Result<Vec<_>>>()?;
            items.join(";")
        }
        Value::Object(_) | Value::Null => {
            return Err(Error::bad_argument(format!("{name}: expected one value, got {given}")));
        }
    })
}
