//! What an inventory says of one guest: its system, and where it is reached. Whoever is silent is left soon.

use std::{
    collections::BTreeMap,
    net::IpAddr,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use serde::Deserialize;
use tokio::time::timeout;

use crate::{
    error::Kind,
    pve::{
        GuestConfig, GuestKind, PropertyString,
        address::{self, Nowhere, Wanted},
    },
    tool::*,
};

/// How long a guest, or its node, may take for each of its answers. Proxmox itself gives an agent three seconds.
const PATIENCE: Duration = Duration::from_secs(5);

/// What was found out.
#[derive(Default)]
pub struct Seen {
    pub system: System,
    pub address: Option<IpAddr>,
    /// Why there is no address.
    pub why: Option<String>,
}

/// What runs in a guest, as far as it is known.
#[derive(Default)]
pub struct System {
    /// Of the configuration: `l26`, `win11`, `debian` …
    ostype: Option<String>,
    /// As the guest itself says: `debian`, `mswindows` …
    id: Option<String>,
    pub version: Option<String>,
    container: bool,
}

impl System {
    /// The best word for it.
    pub fn id(&self) -> Option<&str> {
        self.id.as_deref().or(self.ostype.as_deref())
    }

    pub fn is_windows(&self) -> bool {
        match self.id.as_deref() {
            Some(id) => id == "mswindows",
            None => !self.container && self.ostype.as_deref().is_some_and(|kind| kind.starts_with('w')),
        }
    }

    /// By its kind, and by its name where that says more.
    pub fn groups(&self) -> impl Iterator<Item = &str> {
        let linux = self.container || matches!(self.ostype.as_deref(), Some("l24" | "l26"));
        let family = if self.is_windows() { Some("windows") } else { linux.then_some("linux") };
        let vague = ["l24", "l26", "other", "unmanaged", "mswindows"];
        let names = [self.ostype.as_deref(), self.id.as_deref()].into_iter().flatten();
        family.into_iter().chain(names.filter(move |name| !vague.contains(name)))
    }
}

/// The nodes that are not asked any more, and why.
#[derive(Default)]
pub struct Silent(Mutex<BTreeMap<String, String>>);

impl Silent {
    pub fn note(&self, node: &str, why: String) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).entry(node.to_owned()).or_insert(why);
    }
    fn why(&self, node: &str) -> Option<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(node).cloned()
    }
}

/// As the agent says it.
#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct OsInfo {
    id: Option<String>,
    version_id: Option<String>,
}

#[derive(Deserialize)]
struct Wrapped {
    result: OsInfo,
}

/// Looks at a guest.
///
/// # Errors
/// Only where the call was cancelled.
pub async fn look(pve: &Reader<'_>, guest: &Guest, wanted: Wanted<'_>, silent: &Silent) -> Result<Seen> {
    if let Some(why) = silent.why(&guest.node) {
        return Ok(Seen { why: Some(why), ..Seen::default() });
    }
    let config = match in_time(pve.config(guest)).await {
        Ok(config) => config,
        Err(e) if e.kind() == Kind::Cancelled => return Err(e),
        Err(e) => {
            let why = format!("node {}: {}", guest.node, without_vmid(guest, &e));
            if matches!(e.kind(), Kind::Unavailable | Kind::Timeout) {
                silent.note(&guest.node, why.clone());
            }
            return Ok(Seen { why: Some(why), ..Seen::default() });
        }
    };
    let mut system = System {
        ostype: config.get("ostype").map(Into::into),
        container: guest.kind == GuestKind::Lxc,
        ..System::default()
    };
    let live = match unasked(guest, &config) {
        Some(why) => Err(Error::not_found(why)),
        None => in_time(address::live(pve, guest)).await,
    };
    let answers = match &live {
        Err(e) if e.kind() == Kind::Cancelled => return Err(e.clone()),
        live => live.is_ok(),
    };
    // An agent that said nothing is not asked twice.
    if answers
        && guest.kind == GuestKind::Qemu
        && let Ok(Wrapped { result }) = in_time(pve.get::<Wrapped>(guest.path("agent/get-osinfo"))).await
    {
        system = System { id: result.id, version: result.version_id, ..system };
    }
    let asked = live.as_ref().err().map(|e| without_vmid(guest, e));
    let (address, why) = match address::addresses(guest.kind, live, &config).choose(wanted) {
        Ok(chosen) => (Some(chosen.address), None),
        Err(Nowhere { why }) => (None, Some(asked.unwrap_or(why))),
    };
    Ok(Seen { system, address, why })
}

/// Why a guest cannot be asked, where that is clear without asking.
fn unasked(guest: &Guest, config: &GuestConfig) -> Option<&'static str> {
    if !guest.is_running() {
        return Some("not running, and no fixed address in the configuration");
    }
    let agent = config.get("agent").unwrap_or_default();
    let agent = PropertyString::parse(&agent);
    (guest.kind == GuestKind::Qemu && agent.first().or(agent.get("enabled")) != Some("1"))
        .then_some("no guest agent enabled, and no fixed address in the configuration")
}

async fn in_time<T>(asking: impl Future<Output = Result<T>>) -> Result<T> {
    timeout(PATIENCE, asking)
        .await
        .unwrap_or_else(|_| Err(Error::new(Kind::Timeout, format!("no answer within {} s", PATIENCE.as_secs()))))
}

/// Many guests fail for the same reason, which is said once.
fn without_vmid(guest: &Guest, why: &Error) -> String {
    let vmid = guest.vmid;
    why.to_string().replace(&format!("/vms/{vmid}"), "/vms/{vmid}").replace(&format!("VM {vmid}"), "the VM")
}
