//! Where a guest can be reached: the addresses that its agent, its container's kernel or its configuration tell of, and which of
//! them is the one to use. Asks once and waits for nothing; knows nothing of who wants to connect.

use std::{fmt, net::IpAddr};

use serde::Deserialize;

use super::{Guest, GuestConfig, GuestKind, PropertyString, Reader};
use crate::error::{Error, Result};

/// A network interface of the guest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Interface {
    /// In the guest; of the configuration where that is all there is.
    pub name: String,
    /// `net0`, where it is a device of the configuration.
    pub device: Option<String>,
    pub addresses: Vec<IpAddr>,
}

/// Who told of an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    Agent,
    Container,
    Configuration,
}

impl Source {
    pub fn word(self) -> &'static str {
        match self {
            Self::Agent => "guest agent",
            Self::Container => "container's interfaces",
            Self::Configuration => "configuration",
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// Which address is wanted, where there are several.
#[derive(Debug, Clone, Copy, Default)]
pub struct Wanted<'a> {
    /// Name of the interface in the guest, or of the device (`net1`).
    pub interface: Option<&'a str>,
    pub ipv6: bool,
}

/// The address that was chosen, and what else there was.
#[derive(Debug, Clone)]
pub struct Chosen {
    pub address: IpAddr,
    pub interface: String,
    pub source: Source,
    /// Others under which it might be reached, with their interfaces.
    pub others: Vec<String>,
    /// What is not as it was wanted.
    pub notes: Vec<String>,
}

/// What a running guest says of its interfaces; see [`live`].
#[derive(Debug)]
pub struct Live(Vec<Row>);

/// A row of either list of interfaces. Before version 9 containers have `inet` and `inet6` only.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Row {
    name: String,
    hardware_address: Option<String>,
    hwaddr: Option<String>,
    inet: Option<String>,
    inet6: Option<String>,
    #[serde(default)]
    ip_addresses: Vec<Address>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Address {
    ip_address: Option<String>,
}

#[derive(Deserialize)]
struct Wrapped {
    result: Vec<Row>,
}

/// All that is known of a guest's addresses.
#[derive(Debug)]
pub struct Addresses {
    kind: GuestKind,
    /// Of the running guest; or why it did not tell.
    pub live: Result<Vec<Interface>>,
    /// The fixed ones of the configuration.
    pub fixed: Vec<Interface>,
}

/// Why no address can be chosen.
#[derive(Debug)]
pub struct Nowhere {
    pub why: String,
}

/// What the running guest has, as its agent or the container's kernel says: `GET …/agent/network-get-interfaces` of VMs,
/// `GET …/interfaces` of containers, which the tool has to declare.
///
/// # Errors
/// Of a guest that does not run, has no agent, or whose agent is silent: after three seconds or more. The caller sets the
/// limit, where many are asked.
pub async fn live(pve: &Reader<'_>, guest: &Guest) -> Result<Live> {
    if guest.kind == GuestKind::Qemu {
        let answer: Wrapped = pve.get(guest.path("agent/network-get-interfaces")).await?;
        return Ok(Live(answer.result));
    }
    // Null of a stopped container.
    let rows: Option<Vec<Row>> = pve.get(guest.path("interfaces")).await?;
    rows.map(Live).ok_or_else(|| Error::not_found(format!("{guest} is not running")))
}

/// Asks the guest, and reads its configuration.
pub async fn addresses_of(pve: &Reader<'_>, guest: &Guest, config: &GuestConfig) -> Addresses {
    addresses(guest.kind, live(pve, guest).await, config)
}

/// As [`addresses_of`], where the guest was asked already.
pub fn addresses(kind: GuestKind, live: Result<Live>, config: &GuestConfig) -> Addresses {
    Addresses {
        kind,
        live: live.map(|Live(rows)| rows.iter().map(|row| interface(row, config)).collect()),
        fixed: configured(kind, config),
    }
}

fn interface(row: &Row, config: &GuestConfig) -> Interface {
    let mac = row.hardware_address.as_ref().or(row.hwaddr.as_ref()).map(|mac| mac.to_ascii_lowercase());
    let device = config.iter().find(|(key, value)| {
        is_device(key, "net") && mac.as_deref().is_some_and(|mac| value.to_ascii_lowercase().contains(mac))
    });
    let listed = row.ip_addresses.iter().filter_map(|address| address.ip_address.as_deref());
    let old = [row.inet.as_deref(), row.inet6.as_deref()].into_iter().flatten();
    let mut addresses: Vec<IpAddr> = listed.chain(old).filter_map(parse).collect();
    let mut seen = Vec::new();
    addresses.retain(|address| {
        !seen.contains(address) && {
            seen.push(*address);
            true
        }
    });
    Interface { name: row.name.clone(), device: device.map(|(key, _)| key.to_owned()), addresses }
}

/// `192.0.2.7/24`, `fe80::1%eth0`.
fn parse(text: &str) -> Option<IpAddr> {
    text.split(['/', '%']).next()?.parse().ok()
}

/// `net0`, `ipconfig12`.
fn is_device(key: &str, stem: &str) -> bool {
    key.strip_prefix(stem).is_some_and(|n| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit()))
}

/// The fixed addresses of the configuration: `ipconfigN` of VMs with cloud-init, `netN` of containers.
pub fn configured(kind: GuestKind, config: &GuestConfig) -> Vec<Interface> {
    let stem = if kind == GuestKind::Qemu { "ipconfig" } else { "net" };
    let mut found: Vec<(u32, Interface)> = config
        .iter()
        .filter(|(key, _)| is_device(key, stem))
        .map(|(key, value)| {
            let value = PropertyString::parse(&value);
            let number = key.trim_start_matches(stem);
            let interface = Interface {
                name: value.get("name").unwrap_or(key).to_owned(),
                device: Some(format!("net{number}")),
                addresses: ["ip", "ip6"].iter().filter_map(|key| parse(value.get(key)?)).collect(),
            };
            (number.parse().unwrap_or(u32::MAX), interface)
        })
        .collect();
    found.sort_by_key(|(number, _)| *number);
    found.into_iter().map(|(_, interface)| interface).collect()
}

impl Addresses {
    /// The address of the wanted interface, else of the guest's first network device, else of any that leads outside: of the
    /// running guest, or else a fixed one.
    ///
    /// # Errors
    /// [`Nowhere`] where there is none.
    pub fn choose(&self, wanted: Wanted<'_>) -> Result<Chosen, Nowhere> {
        let source = if self.kind == GuestKind::Qemu { Source::Agent } else { Source::Container };
        let live = self.live.as_ref().map(|found| choose(found, wanted, source));
        if let Ok(Some(chosen)) = live {
            return Ok(chosen);
        }
        let why = match live {
            Ok(_) => format!("the {source} showed no address that leads outside"),
            Err(e) => format!("the running guest could not be asked: {e}"),
        };
        match choose(&self.fixed, wanted, Source::Configuration) {
            Some(mut chosen) => {
                chosen.notes.insert(0, why);
                Ok(chosen)
            }
            None => Err(Nowhere { why }),
        }
    }
}

fn choose(interfaces: &[Interface], wanted: Wanted<'_>, source: Source) -> Option<Chosen> {
    let preferred = |i: &Interface| wanted.interface.is_some_and(|w| i.name == w || i.device.as_deref() == Some(w));
    let mut usable: Vec<(u8, String, &Interface, IpAddr)> = interfaces
        .iter()
        .filter(|i| preferred(i) || !is_internal(&i.name))
        .flat_map(|i| i.addresses.iter().filter(|a| leads_outside(**a)).map(move |a| (i, *a)))
        .map(|(i, address)| {
            let rank = match (preferred(i), &i.device) {
                (true, _) => 0,
                (false, Some(_)) => 1,
                (false, None) => 2,
            };
            let wrong_family = u8::from(address.is_ipv6() != wanted.ipv6);
            (wrong_family * 10 + rank, i.device.clone().unwrap_or_default(), i, address)
        })
        .collect();
    usable.sort_by(|a, b| (a.0, a.1.len(), &a.1).cmp(&(b.0, b.1.len(), &b.1)));
    let (_, _, interface, address) = usable.first()?;
    let mut notes = Vec::new();
    if let Some(name) = wanted.interface.filter(|_| !preferred(interface)) {
        notes.push(format!("{name} has no usable address: this is that of {}", interface.name));
    }
    if address.is_ipv6() != wanted.ipv6 {
        let (missing, got) = if wanted.ipv6 { ("IPv6", "IPv4") } else { ("IPv4", "IPv6") };
        notes.push(format!("no usable {missing} address is known: this is {got}"));
    }
    let others = usable.iter().skip(1).map(|(_, _, i, a)| format!("{a} ({})", i.name)).collect();
    Some(Chosen { address: *address, interface: interface.name.clone(), source, others, notes })
}

impl Nowhere {
    /// As an error, with what helps.
    pub fn error(&self, guest: &Guest) -> Error {
        let error = Error::not_found(format!("no address of {guest} is known ({})", self.why));
        match (guest.kind, guest.is_running()) {
            (GuestKind::Qemu, true) => error.hint(
                "have qemu-guest-agent run in it (with agent=1 in its options), or give it a fixed address (ipconfig0)",
            ),
            (GuestKind::Qemu, false) => {
                error.hint("start it, with a guest agent; or give it a fixed address (ipconfig0)")
            }
            (GuestKind::Lxc, true) => error.hint("wait until DHCP gave it an address, or look at its net0"),
            (GuestKind::Lxc, false) => error.hint("start it, or give it a fixed address (ip= in net0)"),
        }
    }
}

/// Bridges and ends of wires that lead to containers or virtual machines inside the guest.
fn is_internal(name: &str) -> bool {
    const STEMS: [&str; 14] = [
        "docker", "br-", "veth", "virbr", "vnet", "cni", "flannel", "cali", "podman", "lxcbr", "lxdbr", "incusbr",
        "kube", "cilium",
    ];
    name == "lo" || STEMS.iter().any(|stem| name.starts_with(stem))
}

/// Neither loopback nor link-local, multicast or unspecified.
fn leads_outside(address: IpAddr) -> bool {
    let local = match address {
        IpAddr::V4(v4) => v4.is_link_local(),
        IpAddr::V6(v6) => v6.is_unicast_link_local(),
    };
    !local && !address.is_loopback() && !address.is_unspecified() && !address.is_multicast()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn guest_with(interfaces: &[(&str, Option<&str>, &[&str])]) -> Vec<Interface> {
        let one = |(name, device, addresses): &(&str, Option<&str>, &[&str])| Interface {
            name: (*name).to_owned(),
            device: device.map(str::to_owned),
            addresses: addresses.iter().filter_map(|a| parse(a)).collect(),
        };
        interfaces.iter().map(one).collect()
    }

    fn chosen(prefer: Option<&str>, ipv6: bool) -> Option<(String, String)> {
        let all = guest_with(&[
            ("lo", None, &["127.0.0.1/8", "::1"]),
            ("docker0", None, &["172.17.0.1"]),
            ("wg0", None, &["10.9.0.1"]),
            ("eth1", Some("net10"), &["10.1.0.7"]),
            ("eth0", Some("net2"), &["fe80::1%eth0", "169.254.3.4", "192.0.2.7/24", "2001:db8::7"]),
        ]);
        let chosen = choose(&all, Wanted { interface: prefer, ipv6 }, Source::Agent)?;
        Some((chosen.interface, chosen.address.to_string()))
    }

    #[test]
    fn the_first_network_device_s_address_is_taken_unless_another_is_preferred() {
        let is = |interface: &str, address: &str| Some((interface.to_owned(), address.to_owned()));
        assert_eq!(chosen(None, false), is("eth0", "192.0.2.7"));
        assert_eq!(chosen(None, true), is("eth0", "2001:db8::7"));
        assert_eq!(chosen(Some("net10"), false), is("eth1", "10.1.0.7"));
        assert_eq!(chosen(Some("docker0"), false), is("docker0", "172.17.0.1"));
        assert_eq!(chosen(Some("eth7"), false), is("eth0", "192.0.2.7"));
    }
}
