//! Property strings (`virtio=BC:24:11:…,bridge=vmbr0`): taken apart, changed in one key, and put together again with
//! everything else as it was. Order is kept; what a key means is not known here.

use std::fmt;

/// The parts in order. A part without `=` is the value of the default key (a volume, a model) and has an empty name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PropertyString(Vec<(String, String)>);

impl PropertyString {
    pub fn parse(text: &str) -> Self {
        let part = |part: &str| match part.split_once('=') {
            Some((key, value)) => (key.trim().to_owned(), value.trim().to_owned()),
            None => (String::new(), part.trim().to_owned()),
        };
        Self(text.split(',').filter(|p| !p.trim().is_empty()).map(part).collect())
    }

    /// The value without a key.
    pub fn first(&self) -> Option<&str> {
        self.get("")
    }

    pub fn get(&self, key: &str) -> Option<&str> {
        self.0.iter().find(|(k, _)| k == key).map(|(_, v)| v.as_str())
    }

    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(k, v)| (k.as_str(), v.as_str()))
    }

    /// Sets a key where it stands, or at the end; the value without a key stands first.
    pub fn set(&mut self, key: &str, value: impl Into<String>) {
        match self.0.iter_mut().find(|(k, _)| k == key) {
            Some((_, old)) => *old = value.into(),
            None if key.is_empty() => self.0.insert(0, (String::new(), value.into())),
            None => self.0.push((key.to_owned(), value.into())),
        }
    }

    pub fn remove(&mut self, key: &str) {
        self.0.retain(|(k, _)| k != key);
    }
}

impl fmt::Display for PropertyString {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, (key, value)) in self.0.iter().enumerate() {
            let comma = if i == 0 { "" } else { "," };
            match key.as_str() {
                "" => write!(f, "{comma}{value}")?,
                key => write!(f, "{comma}{key}={value}")?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_key_changes_and_the_others_stay() {
        let mut net = PropertyString::parse("virtio=BC:24:11:00:00:01,bridge=vmbr0,firewall=1,tag=7");
        net.set("bridge", "vmbr1");
        net.remove("tag");
        net.set("rate", "10");
        assert_eq!(net.to_string(), "virtio=BC:24:11:00:00:01,bridge=vmbr1,firewall=1,rate=10");
        let disk = PropertyString::parse("local-lvm:vm-100-disk-0,size=32G");
        assert_eq!((disk.first(), disk.get("size")), (Some("local-lvm:vm-100-disk-0"), Some("32G")));
    }
}
