//! A property string under the full names of its keys, as a shape of the facts has them: default keys and other names
//! resolved, so that one key can be changed whatever it was written as.

use crate::pve::{
    PropertyString,
    api::{Kind, Property, Shape},
};

/// A property string by the full names of its keys, in its order.
pub struct Parts(Vec<Part>);

struct Part {
    key: String,
    value: String,
    /// Written without its key.
    bare: bool,
}

impl Parts {
    pub fn read(shape: &Shape, text: &str) -> Self {
        let mut parts = Self(Vec::new());
        for (key, value) in PropertyString::parse(text).iter() {
            let known = shape.key(key);
            if let Some(sets) = known.and_then(|p| p.sets) {
                parts.0.push(Part { key: sets.to_owned(), value: key.to_owned(), bare: true });
            }
            let name = match key {
                "" => default_key(shape).map_or("", |(name, _)| name),
                _ => known.and_then(|p| p.alias).unwrap_or(key),
            };
            parts.0.push(Part { key: name.to_owned(), value: value.to_owned(), bare: key.is_empty() });
        }
        parts
    }

    pub fn get(&self, key: &str) -> Option<&str> {
        self.0.iter().find(|part| part.key == key).map(|part| part.value.as_str())
    }

    pub fn set(&mut self, shape: &Shape, key: &str, value: String) {
        if let Some(part) = self.0.iter_mut().find(|part| part.key == key) {
            part.value = value;
            return;
        }
        // A volume or a model is written without its key, a flag or a number with it.
        let bare = default_key(shape).is_some_and(|(name, p)| name == key && p.kind == Kind::String);
        let at = if bare { 0 } else { self.0.len() };
        self.0.insert(at, Part { key: key.to_owned(), value, bare });
    }

    pub fn remove(&mut self, key: &str) {
        self.0.retain(|part| part.key != key);
    }

    /// A VM's network device is written `model=address`, as Proxmox does.
    pub fn write(&self, shape: &Shape) -> String {
        let address = shape.keys.iter().find_map(|(_, p)| Some((p.sets?, p.alias?)));
        let pair = address.and_then(|(model, mac)| Some(((model, self.get(model)?), (mac, self.get(mac)?))));
        let mut out: Vec<String> = pair.iter().map(|((_, model), (_, mac))| format!("{model}={mac}")).collect();
        for Part { key, value, bare } in &self.0 {
            match pair {
                Some(((model, _), (mac, _))) if key == model || key == mac => {}
                _ if *bare || key.is_empty() => out.push(value.clone()),
                _ => out.push(format!("{key}={value}")),
            }
        }
        out.join(",")
    }
}

fn default_key(shape: &Shape) -> Option<(&'static str, &Property)> {
    shape.keys.iter().find(|(_, p)| p.default_key).map(|(name, p)| (*name, p))
}
