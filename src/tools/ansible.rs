//! Guests as Ansible hosts: an address under which the guest can be reached, and the inventory that says so.

use std::{fmt::Write, net::IpAddr};

use serde_json::{Map, Value, json};

use crate::{
    pve::{GuestConfig, GuestKind, PropertyString},
    tool::*,
};

pub const TOOLS: &[Entry] = &[Entry::query::<RegisterHost>()];

/// Make the Ansible inventory entry of a guest; its address is found by agent or configuration.
#[derive(Deserialize, JsonSchema)]
struct RegisterHost {
    #[serde(flatten)]
    guest: GuestRef,
    #[serde(default = "root")]
    #[schemars(length(min = 1))]
    ssh_user: String,
    ssh_private_key_path: Option<String>,
    prefer_interface: Option<String>,
    #[serde(default)]
    format: Format,
    #[serde(default)]
    ipv6: bool,
    #[schemars(range(min = 1, max = 65_535))]
    port: Option<u16>,
}

fn root() -> String {
    "root".to_owned()
}

#[derive(Deserialize, Serialize, JsonSchema, Clone, Copy, Default)]
#[serde(rename_all = "lowercase")]
enum Format {
    #[default]
    Ini,
    Json,
    Yaml,
}

impl Tool for RegisterHost {
    const NAME: &str = "proxmox-register-vm-as-host";
    const TITLE: &str = "Make an Ansible inventory entry";
    const API: &[&str] = &[
        "GET /nodes/{node}/lxc/{vmid}/interfaces",
        "GET /nodes/{node}/qemu/{vmid}/agent/network-get-interfaces",
        "GET /nodes/{node}/{type}/{vmid}/config",
    ];
    const EXAMPLE: (&str, &str) =
        ("I want to manage web-01 with Ansible", r#"{"name": "web-01", "ssh_user": "admin"}"#);
}

#[derive(Serialize, JsonSchema)]
struct Registered {
    vmid: u32,
    node: String,
    /// In the inventory.
    host: String,
    address: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    interface: Option<String>,
    /// Where the address comes from.
    source: &'static str,
    format: Format,
    inventory: String,
    /// Other addresses under which it might be reached.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    others: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    notes: Vec<String>,
}

/// A network interface of the guest.
struct Interface {
    /// In the guest; of the configuration where that is all there is.
    name: String,
    /// `net0`, where it is a device of the configuration.
    device: Option<String>,
    addresses: Vec<IpAddr>,
}

/// A row of either list of interfaces. Before version 9 containers have `inet` and `inet6` only.
#[derive(Deserialize)]
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

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Address {
    ip_address: Option<String>,
}

#[derive(Deserialize)]
struct Wrapped {
    result: Vec<Row>,
}

impl Query for RegisterHost {
    type Output = Registered;
    async fn query(&self, pve: &Reader<'_>) -> Result<Registered> {
        let guest = pve.guest(&self.guest, Want::Any).await?;
        let (config, live) = futures::join!(pve.config(&guest), interfaces(pve, &guest));
        let config = config?;
        let mut notes = Vec::new();
        let (found, source) = match live {
            Ok(rows) => {
                let source = if guest.kind == GuestKind::Qemu { "guest agent" } else { "container's interfaces" };
                let found = rows.iter().map(|row| interface(row, &config)).collect();
                let chosen = self.choose(found, &mut notes);
                if chosen.is_none() {
                    notes.push(format!("the {source} showed no address that leads outside"));
                }
                (chosen, source)
            }
            Err(ref e) => {
                notes.push(format!("the running guest could not be asked: {e}"));
                (None, "configuration")
            }
        };
        let (chosen, source) = match found {
            Some(chosen) => (chosen, source),
            None => {
                let fixed = self.choose(configured(guest.kind, &config), &mut notes);
                (fixed.ok_or_else(|| self.nowhere(&guest, &notes))?, "configuration")
            }
        };
        if config.get("ostype").is_some_and(|kind| guest.kind == GuestKind::Qemu && kind.starts_with('w')) {
            notes.push("Windows: set ansible_connection (winrm), or ansible_shell_type for SSH".to_owned());
        }
        let host = host_name(&guest);
        let inventory = self.inventory(&host, &chosen.address);
        Ok(Registered {
            vmid: guest.vmid,
            node: guest.node,
            host,
            address: chosen.address.to_string(),
            interface: Some(chosen.interface),
            source,
            format: self.format,
            inventory,
            others: chosen.others,
            notes,
        })
    }
}

/// What the running guest has, as its agent or the container's kernel says.
async fn interfaces(pve: &Reader<'_>, guest: &Guest) -> Result<Vec<Row>> {
    if guest.kind == GuestKind::Qemu {
        let answer: Wrapped = pve.get(guest.path("agent/network-get-interfaces")).await?;
        return Ok(answer.result);
    }
    // Null of a stopped container.
    let rows: Option<Vec<Row>> = pve.get(guest.path("interfaces")).await?;
    rows.ok_or_else(|| Error::not_found(format!("{guest} is not running")))
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
fn configured(kind: GuestKind, config: &GuestConfig) -> Vec<Interface> {
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

/// The address that was chosen, and what else there was.
struct Chosen {
    address: IpAddr,
    interface: String,
    others: Vec<String>,
}

impl RegisterHost {
    /// The address of the preferred interface, else of the guest's first network device, else of any that leads outside.
    fn choose(&self, interfaces: Vec<Interface>, notes: &mut Vec<String>) -> Option<Chosen> {
        let preferred = |i: &Interface| {
            self.prefer_interface.as_ref().is_some_and(|name| i.name == *name || i.device.as_ref() == Some(name))
        };
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
                let wrong_family = u8::from(address.is_ipv6() != self.ipv6);
                (wrong_family * 10 + rank, i.device.clone().unwrap_or_default(), i, address)
            })
            .collect();
        usable.sort_by(|a, b| (a.0, a.1.len(), &a.1).cmp(&(b.0, b.1.len(), &b.1)));
        let (_, _, interface, address) = usable.first()?;
        if let Some(name) = self.prefer_interface.as_ref().filter(|_| !preferred(interface)) {
            notes.push(format!("{name} has no usable address: this is that of {}", interface.name));
        }
        if address.is_ipv6() != self.ipv6 {
            let (wanted, got) = if self.ipv6 { ("IPv6", "IPv4") } else { ("IPv4", "IPv6") };
            notes.push(format!("no usable {wanted} address is known: this is {got}"));
        }
        let others = usable.iter().skip(1).map(|(_, _, i, a)| format!("{a} ({})", i.name)).collect();
        Some(Chosen { address: *address, interface: interface.name.clone(), others })
    }

    fn nowhere(&self, guest: &Guest, notes: &[String]) -> Error {
        let why = notes.first().map(|note| format!(" ({note})")).unwrap_or_default();
        let error = Error::not_found(format!("no address of {guest} is known{why}"));
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

    fn variables(&self, address: &IpAddr) -> Map<String, Value> {
        let mut all = Map::new();
        all.insert("ansible_host".to_owned(), address.to_string().into());
        all.insert("ansible_user".to_owned(), self.ssh_user.as_str().into());
        if let Some(port) = self.port {
            all.insert("ansible_port".to_owned(), port.into());
        }
        if let Some(key) = self.ssh_private_key_path.as_deref().filter(|key| !key.is_empty()) {
            all.insert("ansible_ssh_private_key_file".to_owned(), key.into());
        }
        all
    }

    fn inventory(&self, host: &str, address: &IpAddr) -> String {
        let variables = self.variables(address);
        match self.format {
            Format::Ini => variables.iter().fold(host.to_owned(), |line, (key, value)| {
                format!("{line} {key}={}", value.as_str().map_or_else(|| value.to_string(), quoted))
            }),
            Format::Json => {
                let all = json!({"all": {"hosts": {host: variables}}});
                serde_json::to_string_pretty(&all).unwrap_or_default()
            }
            // JSON's strings and numbers are YAML's.
            Format::Yaml => {
                let mut out = format!("all:\n  hosts:\n    {}:\n", Value::from(host));
                for (key, value) in &variables {
                    let _ = writeln!(out, "      {key}: {value}");
                }
                out
            }
        }
    }
}

/// As one word of an INI inventory's line, which is taken apart as a shell would.
fn quoted(text: &str) -> String {
    if text.chars().all(|c| c.is_alphanumeric() || "_-./:@~+%".contains(c)) {
        return text.to_owned();
    }
    format!("'{}'", text.replace('\'', r#"'"'"'"#))
}

/// The guest's name, as far as an inventory takes it: no ranges, lists or spaces.
fn host_name(guest: &Guest) -> String {
    let allowed = |c: char| if c.is_ascii_alphanumeric() || "._-".contains(c) { c } else { '-' };
    let name: String = guest.name.as_deref().unwrap_or_default().chars().map(allowed).collect();
    match name.trim_matches(['-', '.', '_']) {
        "" if guest.kind == GuestKind::Lxc => format!("ct-{}", guest.vmid),
        "" => format!("vm-{}", guest.vmid),
        name => name.to_owned(),
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

    fn tool(prefer: Option<&str>, ipv6: bool) -> RegisterHost {
        RegisterHost {
            guest: GuestRef::vmid(100),
            ssh_user: root(),
            ssh_private_key_path: None,
            prefer_interface: prefer.map(str::to_owned),
            format: Format::Ini,
            ipv6,
            port: None,
        }
    }

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
        let chosen = tool(prefer, ipv6).choose(all, &mut Vec::new())?;
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

    #[test]
    fn inventory_values_survive_their_format() {
        assert_eq!(quoted("~/.ssh/id_ed25519"), "~/.ssh/id_ed25519");
        assert_eq!(quoted("/my keys/it's"), r#"'/my keys/it'"'"'s'"#);
    }
}
