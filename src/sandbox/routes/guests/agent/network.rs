//! The addresses of simulated guests.

use serde_json::{Value, json};

use crate::sandbox::{
    config::property,
    guest::{Guest, is_numbered},
    inside::System,
};

/// The guest's interfaces; addresses from its cloud-init settings, else as a DHCP server would give them.
pub fn interfaces(guest: &Guest, now: u64) -> Value {
    let figures = |received: u64, sent: u64| {
        json!({
            "rx-bytes": received, "rx-packets": received / 700, "rx-errs": 0, "rx-dropped": 0,
            "tx-bytes": sent, "tx-packets": sent / 500, "tx-errs": 0, "tx-dropped": 0,
        })
    };
    let windows = System::of(guest) == System::Windows;
    let mut out = vec![json!({
        "name": if windows { "Loopback Pseudo-Interface 1" } else { "lo" },
        "hardware-address": "00:00:00:00:00:00", "statistics": figures(0, 0),
        "ip-addresses": [address("127.0.0.1", 8), address("::1", 128)],
    })];
    let uptime = guest.uptime(now);
    // What cloud-init is told now counts at the next start.
    let settings = guest.run.as_ref().map_or(&guest.config, |run| &run.started_with);
    for (key, device) in guest.config.iter().filter(|(key, _)| is_numbered(key, "net")) {
        let number = key.trim_start_matches("net");
        let mac = device.split(',').next().and_then(|model| model.split_once('=')).map_or("", |(_, mac)| mac);
        let told = settings.get(&format!("ipconfig{number}")).unwrap_or_default();
        let fixed = |key: &str| property(told, key).and_then(|ip| ip.split_once('/'));
        let made = dynamic(guest.vmid, number);
        let (ip, prefix) = fixed("ip").unwrap_or((&made, "24"));
        let mut addresses = vec![address(ip, prefix.parse().unwrap_or(24))];
        addresses.extend(fixed("ip6").map(|(ip, prefix)| address(ip, prefix.parse().unwrap_or(64))));
        addresses.extend(link_local(mac).map(|ip| address(&ip, 64)));
        let name = match number {
            "0" if windows => "Ethernet".to_owned(),
            _ if windows => format!("Ethernet {}", number.parse().unwrap_or(1) + 1),
            _ => format!("eth{number}"),
        };
        out.push(json!({
            "name": name, "hardware-address": mac.to_lowercase(), "ip-addresses": addresses,
            "statistics": figures(uptime.saturating_mul(310), uptime.saturating_mul(140)),
        }));
    }
    out.into()
}

fn address(ip: &str, prefix: u64) -> Value {
    let kind = if ip.contains(':') { "ipv6" } else { "ipv4" };
    json!({"ip-address": ip, "ip-address-type": kind, "prefix": prefix})
}

/// What DHCP gives the guest's network device of that number: always the same.
pub fn dynamic(vmid: u32, number: &str) -> String {
    let (high, low) = (vmid / 200 % 250, vmid % 200 + 20);
    if number == "0" { format!("192.168.{high}.{low}") } else { format!("10.{number}.{high}.{low}") }
}

/// The link-local address that is made of a MAC address.
pub fn link_local(mac: &str) -> Option<String> {
    let bytes: Vec<u16> = mac.split(':').map(|byte| u16::from_str_radix(byte, 16)).collect::<Result<_, _>>().ok()?;
    let [a, b, c, d, e, f] = bytes[..] else { return None };
    let address = std::net::Ipv6Addr::new(0xfe80, 0, 0, 0, (a ^ 2) << 8 | b, c << 8 | 0xff, 0xfe00 | d, e << 8 | f);
    Some(address.to_string())
}
