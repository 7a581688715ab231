//! The named formats: whether a text is of one, and what Proxmox says where it is not.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::property::Rule;

impl Rule {
    /// Checks one value.
    ///
    /// # Errors
    /// Proxmox's message, with the line end it has.
    pub fn check(&self, value: &str) -> Result<(), String> {
        match self.name.as_str() {
            "pve-storage-id" if value.chars().count() < 2 => {
                return Err(format!("storage ID '{value}' cannot be shorter than 2 characters\n"));
            }
            "pve-userid" => match value.chars().count() {
                0..3 => return Err(format!("user name '{value}' is too short\n")),
                length @ 65.. => return Err(format!("user name '{value}' is too long ({length} > 64)\n")),
                _ => {}
            },
            "pve-qm-bootdisk" if self.matches(value) == Some(false) => {
                return Err(format!("invalid boot disk '{value}'\n"));
            }
            "pve-day-of-week" if !self.values.iter().any(|v| v == value) => {
                return Err(format!("invalid day '{value}'\n"));
            }
            "pve-fw-dport-spec" | "pve-fw-sport-spec" => return ports(value),
            _ => {}
        }
        let fits = self.matches(value).or_else(|| known(&self.name, value)).unwrap_or(true);
        if fits && (self.values.is_empty() || self.values.iter().any(|v| v == value)) {
            return Ok(());
        }
        let unsaid = match self.name.as_str() {
            "pve-volume-id-or-qm-path" | "pve-volume-id-or-absolute-path" => "unable to parse volume ID '{v}'",
            "pve-phys-bits" => "value must be either 'host' or an integer in the range of 8 to 64 (inclusive)",
            "IPorCIDRorAlias" => "value does not look like a valid IP address or CIDR network",
            _ => "value does not match the format",
        };
        let mut message = self.error.unwrap_or(unsaid).replace("{v}", value);
        if let Some(stem) = message.strip_suffix(" - ...") {
            let reason = match self.name.as_str() {
                "pve-calendar-event" => " - unable to parse calendar event\n",
                _ => "",
            };
            message = format!("{stem}{reason}");
        }
        message.push('\n');
        Err(message)
    }

    fn matches(&self, value: &str) -> Option<bool> {
        let fits = self.pattern.as_ref()?.matches(value)?;
        let within = |low: u64, high: u64| {
            value.split(['-', ':']).all(|n| n.parse::<u64>().is_ok_and(|n| (low..=high).contains(&n)))
        };
        Some(
            fits && match self.name.as_str() {
                "pve-vlan-id-or-range" => within(2, 4094),
                "pve-sdn-bgp-rt" => within(0, u64::from(u32::MAX)),
                _ => true,
            },
        )
    }
}

/// The formats that no pattern describes; `None` where nothing is known of a format.
fn known(name: &str, value: &str) -> Option<bool> {
    Some(match name {
        "ip" => value.parse::<IpAddr>().is_ok(),
        "ipv4" => value.parse::<Ipv4Addr>().is_ok(),
        "ipv6" => value.parse::<Ipv6Addr>().is_ok(),
        "ipv4mask" => value.parse::<Ipv4Addr>().is_ok_and(|m| (!m.to_bits()).wrapping_add(1).is_power_of_two()),
        "CIDR" => cidr_v4(value, 8) || cidr_v6(value, 8),
        "CIDRv4" => cidr_v4(value, 8),
        "CIDRv6" => cidr_v6(value, 8),
        "FullRangeCIDR" => cidr_v4(value, 0) || cidr_v6(value, 0),
        "IPorCIDR" => ip_or_cidr(value),
        "IPorCIDRorAlias" => {
            let alias = value.strip_prefix("dc/").or_else(|| value.strip_prefix("guest/")).unwrap_or(value);
            ip_or_cidr(value)
                || (alias.len() > 1 && alias.starts_with(|c: char| c.is_ascii_alphabetic()) && word(alias))
        }
        "address" | "pve-storage-server" => value.parse::<IpAddr>().is_ok() || dns_name(value),
        "pve-storage-portal-dns" => {
            let host = value.rsplit_once(':').filter(|(_, port)| port.parse::<u16>().is_ok()).map_or(value, |(h, _)| h);
            let bare = host.strip_prefix('[').and_then(|h| h.strip_suffix(']')).unwrap_or(host);
            bare.parse::<IpAddr>().is_ok() || dns_name(bare)
        }
        "pve-ipv4-config" => matches!(value, "dhcp" | "manual") || cidr_v4(value, 8),
        "pve-ipv6-config" => matches!(value, "auto" | "dhcp" | "manual") || cidr_v6(value, 8),
        "lxc-ip-with-ll-iface" => {
            value.parse::<IpAddr>().is_ok()
                || value
                    .split_once('%')
                    .is_some_and(|(ip, _)| ip.starts_with("fe80:") && ip.parse::<Ipv6Addr>().is_ok())
        }
        "pve-volume-id-or-absolute-path" => return Some(value.starts_with('/') || volume_id(value)),
        "pve-volume-id-or-qm-path" => matches!(value, "none" | "cdrom") || value.starts_with('/') || volume_id(value),
        "pve-hotplug-features" => {
            matches!(value, "0" | "1")
                || value.split(',').all(|f| matches!(f, "network" | "disk" | "cpu" | "memory" | "usb" | "cloudinit"))
        }
        "pve-phys-bits" => value == "host" || value.parse::<u8>().is_ok_and(|bits| (8..=64).contains(&bits)),
        "pve-calendar-event" => calendar_event(value),
        "pve-command-batch" => serde_json::from_str::<Vec<serde_json::Value>>(value).is_ok(),
        "email-or-username" => {
            let (user, domain) = value.split_once('@').unwrap_or((value, "x"));
            !user.is_empty()
                && user.chars().all(|c| c.is_ascii_alphanumeric() || "_+~-.".contains(c))
                && dns_name(domain)
        }
        "timezone" => value == "UTC" || zone(value),
        "pve-ct-timezone" => matches!(value, "host" | "UTC") || zone(value),
        "pem-string" | "pem-certificate" | "pem-certificate-chain" => value.contains("-----BEGIN "),
        "pve-lxc-dev-string" => value.starts_with("/dev/") && !climbs(value),
        "pve-lxc-mp-string" => !climbs(value),
        _ => return None,
    })
}

fn cidr(value: &str) -> Option<(&str, u8)> {
    let (ip, prefix) = value.split_once('/')?;
    Some((ip, prefix.parse().ok()?))
}

fn cidr_v4(value: &str, least: u8) -> bool {
    cidr(value).is_some_and(|(ip, prefix)| ip.parse::<Ipv4Addr>().is_ok() && (least..=32).contains(&prefix))
}

fn cidr_v6(value: &str, least: u8) -> bool {
    cidr(value).is_some_and(|(ip, prefix)| ip.parse::<Ipv6Addr>().is_ok() && (least..=128).contains(&prefix))
}

fn ip_or_cidr(value: &str) -> bool {
    value.parse::<IpAddr>().is_ok() || cidr_v4(value, 8) || cidr_v6(value, 8)
}

fn word(value: &str) -> bool {
    !value.is_empty() && value.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_'))
}

fn dns_name(value: &str) -> bool {
    value.split('.').all(|label| {
        !label.is_empty()
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.chars().all(|c| c.is_ascii_alphanumeric() || c == '-')
    })
}

/// `storage:rest`.
fn volume_id(value: &str) -> bool {
    value.split_once(':').is_some_and(|(storage, rest)| {
        !rest.is_empty()
            && storage.len() > 1
            && storage.starts_with(|c: char| c.is_ascii_alphabetic())
            && storage.ends_with(|c: char| c.is_ascii_alphanumeric())
            && storage.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
    })
}

/// A path that goes up again.
fn climbs(path: &str) -> bool {
    path.split('/').any(|part| part == "..") || path.contains("/./")
}

fn zone(value: &str) -> bool {
    value.contains('/') && value.split('/').all(|part| !part.is_empty() && part.chars().all(|c| c.is_ascii_graphic()))
}

/// Systemd's calendar events as far as Proxmox reads them: weekdays, a date and a time, each of which may be missing.
fn calendar_event(value: &str) -> bool {
    const WORDS: [&str; 8] =
        ["minutely", "hourly", "daily", "weekly", "monthly", "quarterly", "semiannually", "yearly"];
    const DAYS: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];
    let day = |text: &str| DAYS.iter().any(|d| text.to_lowercase().starts_with(d));
    let days = |text: &str| text.split(',').all(|part| part.split("..").all(day));
    let figures = |text: &str| {
        text.chars().any(|c| c.is_ascii_digit() || c == '*')
            && text.chars().all(|c| c.is_ascii_digit() || "*/,.:-~".contains(c))
    };
    let value = value.trim();
    WORDS.contains(&value) || (!value.is_empty() && value.split_whitespace().all(|part| days(part) || figures(part)))
}

fn ports(value: &str) -> Result<(), String> {
    let mut count = 0;
    for item in value.split(',') {
        if item.is_empty() {
            return Err("extraneous commas in list\n".to_owned());
        }
        let mut ends = item.split(':');
        let number = |end: &str| end.parse::<u16>().is_ok();
        let (first, second) = (ends.next().unwrap_or_default(), ends.next());
        count += if second.is_some() { 2 } else { 1 };
        let named = word(first) && first.contains(|c: char| c.is_ascii_alphabetic());
        if ends.next().is_some() || !(number(first) && second.is_none_or(number) || named && second.is_none()) {
            return Err(format!("invalid port '{item}'\n"));
        }
    }
    if count > 15 {
        return Err("too many entries in port list (> 15 numbers)\n".to_owned());
    }
    Ok(())
}
