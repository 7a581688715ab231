//! A configuration as PVE keeps it in a file: ordered keys, text values, a SHA-1 digest over the written file.

use std::fmt::Write;

use sha1::{Digest, Sha1};

/// Keys in the order in which they were first set.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Config(Vec<(String, String)>);

impl Config {
    pub fn new() -> Self {
        Self::default()
    }
    pub fn get(&self, key: &str) -> Option<&str> {
        self.0.iter().find(|(k, _)| k == key).map(|(_, v)| v.as_str())
    }
    pub fn has(&self, key: &str) -> bool {
        self.get(key).is_some()
    }
    /// Whether the value is `1`.
    pub fn flag(&self, key: &str) -> bool {
        self.get(key) == Some("1")
    }
    pub fn int(&self, key: &str) -> Option<i64> {
        self.get(key)?.parse().ok()
    }
    pub fn set(&mut self, key: impl Into<String>, value: impl Into<String>) {
        let (key, value) = (key.into(), value.into());
        match self.0.iter_mut().find(|(k, _)| *k == key) {
            Some((_, old)) => *old = value,
            None => self.0.push((key, value)),
        }
    }
    /// The same, for building: `Config::new().with("cores", 2)`.
    pub fn with(mut self, key: &str, value: impl ToString) -> Self {
        self.set(key, value.to_string());
        self
    }
    pub fn remove(&mut self, key: &str) -> Option<String> {
        let at = self.0.iter().position(|(k, _)| k == key)?;
        Some(self.0.remove(at).1)
    }
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(k, v)| (k.as_str(), v.as_str()))
    }
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|(k, _)| k.as_str())
    }
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// One section of a guest's file: the description as comment lines, then the keys in alphabetical order.
    pub fn write(&self, out: &mut String) {
        for line in self.get("description").into_iter().flat_map(str::lines) {
            let _ = writeln!(out, "#{line}");
        }
        let mut lines: Vec<_> = self.iter().filter(|(key, _)| *key != "description").collect();
        lines.sort_unstable();
        for (key, value) in lines {
            let _ = writeln!(out, "{key}: {value}");
        }
    }
}

impl<K: Into<String>, V: Into<String>> FromIterator<(K, V)> for Config {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(pairs: I) -> Self {
        let mut config = Self::new();
        for (key, value) in pairs {
            config.set(key, value);
        }
        config
    }
}

/// SHA-1 in hexadecimal, PVE's digest of a configuration file.
pub fn digest(file: &str) -> String {
    let mut out = String::with_capacity(40);
    for byte in Sha1::digest(file.as_bytes()) {
        let _ = write!(out, "{byte:02x}");
    }
    out
}

/// The value of `key` in a property string (`virtio=BC:…,bridge=vmbr0`); an empty key: the part without `key=`.
pub fn property<'a>(text: &'a str, key: &str) -> Option<&'a str> {
    text.split(',').find_map(|part| match part.split_once('=') {
        Some((k, v)) if k == key => Some(v),
        None if key.is_empty() => Some(part),
        _ => None,
    })
}

/// A size as PVE writes it (`32G`, `512M`, `1024`) in bytes.
pub fn parse_size(text: &str) -> Option<u64> {
    let text = text.trim();
    let (number, factor) = match text.char_indices().last()? {
        (at, 'K' | 'k') => (&text[..at], 1u64 << 10),
        (at, 'M' | 'm') => (&text[..at], 1 << 20),
        (at, 'G' | 'g') => (&text[..at], 1 << 30),
        (at, 'T' | 't') => (&text[..at], 1 << 40),
        _ => (text, 1),
    };
    let number: f64 = number.parse().ok()?;
    (number >= 0.0).then_some((number * factor as f64) as u64)
}

/// Bytes as PVE writes a disk's size: the largest unit that leaves a whole number.
pub fn format_size(bytes: u64) -> String {
    let mut size = bytes;
    for unit in ["", "K", "M", "G"] {
        if size == 0 || !size.is_multiple_of(1024) {
            return format!("{size}{unit}");
        }
        size /= 1024;
    }
    format!("{size}T")
}

/// Bytes as task logs write them: `4.0 GiB`.
pub fn render_bytes(bytes: u64) -> String {
    let mut size = bytes as f64;
    for unit in ["B", "KiB", "MiB", "GiB"] {
        if size < 1024.0 {
            return format!("{size:.1} {unit}");
        }
        size /= 1024.0;
    }
    format!("{size:.1} TiB")
}
