//! A state as a caller keeps it: with every value, or with digests, which tell that something changed but not what. Nothing
//! of it is kept here.

use std::collections::{BTreeMap, BTreeSet};

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use super::{
    super::time,
    object::{Difference, Key, Kind, Object, differences, is_known},
    present::{Only, Present},
};
use crate::{pve::decode, pve::encode, tool::*};

/// The only form there is so far.
const VERSION: u64 = 1;
/// Characters of a digest, six bits each.
const WHOLE: usize = 5;
const PART: usize = 2;

/// One object as it was.
#[derive(Debug, Clone)]
pub enum Was {
    Values(Object),
    /// Of a guest: its node, the first letter of its status, its pool, its configuration. Of others one.
    Digest(String),
}

/// What a caller gives back.
#[derive(Debug)]
pub struct Saved {
    /// Seconds since 1970, by the cluster's clock.
    pub time: u64,
    /// With whose eyes it was seen.
    pub who: String,
    pub only: Only,
    pub unread: BTreeSet<Kind>,
    pub objects: BTreeMap<Key, Was>,
    pub digests: bool,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    version: u64,
    cluster: String,
    time: String,
    who: String,
    /// The VMIDs of a state that is of these guests alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    only: Option<BTreeSet<u32>>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    unread: Vec<String>,
    /// Guests whose configuration could not be read.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    partial: Vec<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    objects: Option<Vec<BTreeMap<String, String>>>,
    /// `guest 100=… 101=… node pve1=…`
    #[serde(default, skip_serializing_if = "Option::is_none")]
    digests: Option<String>,
    /// Of all the rest, where there are digests: whoever copies them may slip.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    check: Option<String>,
}

impl Written {
    fn sum(&self) -> String {
        let Self { version, cluster, time, who, only, unread, partial, digests, .. } = self;
        short(&json!([version, cluster, time, who, only, unread, partial, digests]).to_string(), WHOLE)
    }
}

/// The first characters of a text's hash.
fn short(text: &str, length: usize) -> String {
    let mut hash = BASE64_URL_SAFE_NO_PAD.encode(Sha256::digest(text));
    hash.truncate(length);
    hash
}

fn digest(kind: Kind, object: &Object) -> String {
    let whole = || short(&json!(object.configuration().collect::<Vec<_>>()).to_string(), WHOLE);
    if kind != Kind::Guest {
        return short(&json!(object.fields).to_string(), WHOLE);
    }
    let part = |key: &str| short(object.get(key).unwrap_or_default(), PART);
    let status = object.get("status").and_then(|status| status.chars().next()).filter(char::is_ascii).unwrap_or('u');
    let configuration = if object.partial { String::new() } else { whole() };
    format!("{}{status}{}{configuration}", part("node"), part("pool"))
}

/// Writes down what is there.
///
/// # Errors
/// None that can happen.
pub fn write(pve: &Reader<'_>, now: u64, only: &Only, present: &Present, values: bool) -> Result<Map<String, Value>> {
    let row = |(key, object): (&Key, &Object)| {
        let named = [("object".to_owned(), key.to_string())];
        named.into_iter().chain(object.fields.clone()).collect()
    };
    let mut written = Written {
        version: VERSION,
        cluster: pve.cluster().to_owned(),
        time: time::iso(now),
        who: pve.who(),
        only: only.0.clone(),
        unread: present.unread.keys().map(|kind| kind.name().to_owned()).collect(),
        partial: present.silent.keys().copied().collect(),
        objects: values.then(|| present.objects.iter().map(row).collect()),
        digests: (!values).then(|| digests(&present.objects)),
        check: None,
    };
    written.check = (!values).then(|| written.sum());
    match serde_json::to_value(&written) {
        Ok(Value::Object(map)) => Ok(map),
        Ok(_) => Err(Error::internal("a state is an object")),
        Err(e) => Err(Error::internal(format!("the state cannot be written: {e}"))),
    }
}

fn digests(objects: &BTreeMap<Key, Object>) -> String {
    let (mut words, mut last) = (Vec::new(), None);
    for (key, object) in objects {
        if last.replace(key.kind) != Some(key.kind) {
            words.push(key.kind.name().to_owned());
        }
        words.push(format!("{}={}", encode(&key.id), digest(key.kind, object)));
    }
    words.join(" ")
}

fn wrong(words: impl std::fmt::Display) -> Error {
    Error::bad_argument(format!("state: {words}"))
        .hint("give back the `state` of an earlier answer, whole and unchanged")
}

/// Reads a state that a caller gives back; the whole answer that it was part of will do.
///
/// # Errors
/// `BadArgument` that says what is wrong with it.
pub fn read(pve: &Reader<'_>, given: &Map<String, Value>) -> Result<Saved> {
    let inner = given.get("state").and_then(Value::as_object).unwrap_or(given);
    if inner.get("version").is_some_and(|version| *version != VERSION) {
        return Err(wrong(format!("its version is {}, and this program knows {VERSION}", inner["version"])));
    }
    let written: Written =
        serde_json::from_value(Value::Object(inner.clone())).map_err(|e| wrong(format!("no saved state: {e}")))?;
    if written.cluster != pve.cluster() {
        return Err(wrong(format!("it is of the cluster '{}', and this is '{}'", written.cluster, pve.cluster())));
    }
    let kind = |name: &String| Kind::named(name).ok_or_else(|| wrong(format!("there is no kind of object '{name}'")));
    let objects = match (&written.objects, &written.digests) {
        (Some(rows), None) => rows.iter().map(|row| values(row, &written.partial)).collect::<Result<_>>()?,
        (None, Some(digests)) => {
            if written.check.as_ref() != Some(&written.sum()) {
                return Err(wrong("it is not as it was given: its check does not fit"));
            }
            read_digests(digests).ok_or_else(|| wrong("its digests cannot be read"))?
        }
        _ => return Err(wrong("expected either objects or digests")),
    };
    Ok(Saved {
        time: time::parse("state: time", &written.time)?,
        unread: written.unread.iter().map(kind).collect::<Result<_>>()?,
        who: written.who,
        only: Only(written.only),
        objects,
        digests: written.digests.is_some(),
    })
}

fn values(row: &BTreeMap<String, String>, partial: &[u32]) -> Result<(Key, Was)> {
    let mut fields = row.clone();
    let name = fields.remove("object").ok_or_else(|| wrong("an object has no name"))?;
    let key: Key = name.parse().map_err(|()| wrong(format!("there is no object '{name}'")))?;
    let partial = key.vmid().is_some_and(|vmid| partial.contains(&vmid));
    Ok((key, Was::Values(Object { fields, partial })))
}

fn read_digests(text: &str) -> Option<BTreeMap<Key, Was>> {
    let (mut objects, mut kind) = (BTreeMap::new(), None);
    for word in text.split_whitespace() {
        match word.split_once('=') {
            None => kind = Some(Kind::named(word)?),
            Some((id, digest)) if digest.is_ascii() => {
                let key: Key = format!("{}/{}", kind?.name(), decode(id)).parse().ok()?;
                objects.insert(key, Was::Digest(digest.to_owned()));
            }
            Some(_) => return None,
        }
    }
    Some(objects)
}

impl Was {
    pub fn values(&self) -> Option<&Object> {
        match self {
            Self::Values(object) => Some(object),
            Self::Digest(_) => None,
        }
    }

    /// How it differs from what is there now. What a digest was made of is told where it is among the `known` names of nodes
    /// and pools.
    pub fn differences(&self, kind: Kind, now: &Object, known: &[&str]) -> Vec<Difference> {
        match self {
            Self::Values(before) => differences(before, now),
            Self::Digest(before) => by_digest(kind, before, now, known),
        }
    }
}

/// The key under which a digest's difference is told.
pub const CONFIGURATION: &str = "configuration";

fn by_digest(kind: Kind, before: &str, now: &Object, known: &[&str]) -> Vec<Difference> {
    let current = digest(kind, now);
    let somewhere = Difference::new(CONFIGURATION, None, None);
    if kind != Kind::Guest {
        return if before == current { Vec::new() } else { vec![somewhere] };
    }
    let cut = |text: &'_ str| {
        let at = |from: usize, to: usize| text.get(from..to).unwrap_or_default().to_owned();
        [at(0, PART), at(PART, PART + 1), at(PART + 1, 2 * PART + 1), at(2 * PART + 1, text.len())]
    };
    let (was, is) = (cut(before), cut(&current));
    let mut found = Vec::new();
    let of = |digest: &str| known.iter().copied().find(|name| short(name, PART) == digest);
    if was[0] != is[0] {
        found.push(Difference::new("node", of(&was[0]), now.get("node")));
    }
    let status = ["running", "stopped", "paused"].into_iter().find(|status| status.starts_with(&was[1]));
    if was[1] != is[1] && is_known(status) && is_known(now.get("status")) {
        found.push(Difference::new("status", status, now.get("status")));
    }
    if was[2] != is[2] {
        found.push(Difference::new("pool", of(&was[2]), now.get("pool")));
    }
    if was[3] != is[3] && !was[3].is_empty() && !is[3].is_empty() {
        found.push(somewhere);
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn guest(fields: &[(&str, &str)]) -> Object {
        let fields = fields.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        Object { fields, partial: false }
    }

    #[test]
    fn a_digest_tells_where_a_guest_was_and_that_its_configuration_changed() {
        let before = guest(&[("node", "a"), ("status", "running"), ("pool", "p"), ("cores", "2")]);
        let now = guest(&[("node", "b"), ("status", "stopped"), ("cores", "4")]);
        let was = Was::Digest(digest(Kind::Guest, &before));
        let found = was.differences(Kind::Guest, &now, &["a", "b", "p"]);
        let expected = [
            Difference::new("node", Some("a"), Some("b")),
            Difference::new("status", Some("running"), Some("stopped")),
            Difference::new("pool", Some("p"), None),
            Difference::new(CONFIGURATION, None, None),
        ];
        assert_eq!(found, expected);
        assert_eq!(was.differences(Kind::Guest, &before, &[]), []);
        let partial = Object { partial: true, ..guest(&[("node", "a"), ("status", "unknown"), ("pool", "p")]) };
        assert_eq!(was.differences(Kind::Guest, &partial, &[]), []);
    }

    #[test]
    fn digests_are_read_as_they_are_written() {
        let keys = [Key::guest(100), Key::new(Kind::Acl, "/vms/100 user a@pve"), Key::new(Kind::Pool, "x=y")];
        let objects: BTreeMap<Key, Object> = keys.into_iter().map(|key| (key, Object::default())).collect();
        let read = read_digests(&digests(&objects)).map(|read| read.into_keys().collect::<Vec<_>>());
        assert_eq!(read, Some(objects.into_keys().collect()));
        for wrong in ["100=x", "planet a=b", "guest x=y"] {
            assert!(read_digests(wrong).is_none(), "{wrong}");
        }
    }
}
