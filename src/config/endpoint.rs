//! Addresses of a cluster's members, in every form in which people write them. HTTPS only.

use std::{fmt, net::Ipv6Addr};

use super::{sources::Lookup, table};
use crate::error::{Error, Result};

/// The port that pveproxy listens on.
pub const DEFAULT_PORT: u16 = 8006;

/// One member of a cluster. Shown as `https://host:port`; the API is below `/api2/json` there.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Endpoint {
    /// Name or address; an IPv6 address stands without brackets.
    pub host: String,
    pub port: u16,
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "https://[{}]:{}", self.host, self.port)
        } else {
            write!(f, "https://{}:{}", self.host, self.port)
        }
    }
}

const FORMS: &str = "https://host:port, host:port or a host name, several separated by commas";

pub(super) fn endpoints(lookup: &mut Lookup<'_>) -> Result<Vec<Endpoint>> {
    let Some(found) = lookup.find(&table::API_URL)? else {
        return Err(missing(lookup));
    };
    let port = lookup.parsed(&table::PORT, "a port number from 1 to 65535", DEFAULT_PORT, |text| {
        text.parse().ok().filter(|port| *port > 0)
    })?;
    let mut endpoints = Vec::new();
    for item in found.text().split(',').map(str::trim).filter(|item| !item.is_empty()) {
        let endpoint = parse(item, port).map_err(|wrong| found.bad(wrong.expected()))?;
        if !endpoints.contains(&endpoint) {
            endpoints.push(endpoint);
        }
    }
    if endpoints.is_empty() {
        return Err(found.bad(FORMS));
    }
    lookup.used(&found);
    Ok(endpoints)
}

fn missing(lookup: &Lookup<'_>) -> Error {
    let name = lookup.name_of(&table::API_URL);
    let sandbox = if lookup.has_prefix() { "" } else { " (or --sandbox to try without a server)" };
    Error::bad_setting(format!(
        "{name} is not set: expected the address of a Proxmox VE server, such as https://pve.example.com:8006{sandbox}"
    ))
}

/// What is wrong with an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wrong {
    PlainHttp,
    Credentials,
    Path,
    Form,
}

impl Wrong {
    fn expected(self) -> &'static str {
        match self {
            Self::PlainHttp => {
                "https://, not http://: Proxmox VE only redirects plain HTTP, and the credentials would be sent in the clear"
            }
            Self::Credentials => "an address without user or password: they have settings of their own",
            Self::Path => "an address with no path but /api2/json: the API is not served below another one",
            Self::Form => FORMS,
        }
    }
}

fn parse(text: &str, default_port: u16) -> Result<Endpoint, Wrong> {
    let rest = match text.split_once("://") {
        None => text,
        Some((scheme, rest)) if scheme.eq_ignore_ascii_case("https") => rest,
        Some((scheme, _)) if scheme.eq_ignore_ascii_case("http") => return Err(Wrong::PlainHttp),
        Some(_) => return Err(Wrong::Form),
    };
    // What follows # or ? is the web interface's, in an address copied from the browser.
    let rest = rest.split(['#', '?']).next().unwrap_or_default();
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    if authority.contains('@') {
        return Err(Wrong::Credentials);
    }
    if !matches!(path.trim_matches('/'), "" | "api2" | "api2/json" | "api2/extjs") {
        return Err(Wrong::Path);
    }
    let (host, port) = split_port(authority).ok_or(Wrong::Form)?;
    let port = match port {
        None => default_port,
        Some(port) => port.parse().ok().filter(|port| *port > 0).ok_or(Wrong::Form)?,
    };
    Ok(Endpoint { host: host.to_owned(), port })
}

/// Host and port, if the host is a possible one.
fn split_port(authority: &str) -> Option<(&str, Option<&str>)> {
    if let Some(bracketed) = authority.strip_prefix('[') {
        let (host, after) = bracketed.split_once(']')?;
        host.parse::<Ipv6Addr>().ok()?;
        return match after {
            "" => Some((host, None)),
            _ => Some((host, Some(after.strip_prefix(':')?))),
        };
    }
    if authority.parse::<Ipv6Addr>().is_ok() {
        return Some((authority, None));
    }
    let (host, port) = match authority.split_once(':') {
        Some((host, port)) => (host, Some(port)),
        None => (authority, None),
    };
    let possible = |c: char| c.is_alphanumeric() || matches!(c, '.' | '-' | '_');
    (host.chars().all(possible) && host.contains(char::is_alphanumeric)).then_some((host, port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_usual_form_of_an_address_is_understood() {
        let cases = [
            ("pve", "https://pve:8006"),
            ("192.168.50.11", "https://192.168.50.11:8006"),
            ("pve:443", "https://pve:443"),
            ("https://pve.example.com", "https://pve.example.com:8006"),
            ("https://pve.example.com:8006", "https://pve.example.com:8006"),
            ("https://pve.example.com:443/", "https://pve.example.com:443"),
            ("HTTPS://pve:8006/api2/json", "https://pve:8006"),
            ("https://pve:8006/api2/json/", "https://pve:8006"),
            ("https://pve:8006/#v1:0:18:4", "https://pve:8006"),
            ("pve/api2/json", "https://pve:8006"),
            ("::1", "https://[::1]:8006"),
            ("[::1]", "https://[::1]:8006"),
            ("[2001:db8::1]:443", "https://[2001:db8::1]:443"),
            ("https://[2001:db8::1]:443/api2/json", "https://[2001:db8::1]:443"),
        ];
        for (text, expected) in cases {
            assert_eq!(parse(text, 8006).map(|e| e.to_string()), Ok(expected.to_owned()), "{text}");
        }
    }

    #[test]
    fn what_is_no_address_is_refused() {
        let cases = [
            ("http://pve:8006", Wrong::PlainHttp),
            ("ftp://pve", Wrong::Form),
            ("https://root@pve:8006", Wrong::Credentials),
            ("https://pve:8006/pve/api2/json", Wrong::Path),
            ("https://", Wrong::Form),
            ("pve:", Wrong::Form),
            ("pve:0", Wrong::Form),
            ("pve:65536", Wrong::Form),
            ("pve:x", Wrong::Form),
            (":8006", Wrong::Form),
            ("a:1:2", Wrong::Form),
            ("[::1", Wrong::Form),
            ("[pve]:8006", Wrong::Form),
            ("https://<IP>:8006", Wrong::Form),
            ("p ve", Wrong::Form),
        ];
        for (text, wrong) in cases {
            assert_eq!(parse(text, 8006), Err(wrong), "{text}");
        }
    }
}
