//! The firewalls of the cluster, its nodes and its guests: rules, aliases, IP sets and security groups as their files
//! keep them. Nothing is filtered by them.

use std::{collections::BTreeMap, fmt::Write, net::IpAddr};

use super::config::digest;

/// A rule: option → value, in the order of PVE's files not kept.
pub type Rule = BTreeMap<String, String>;

/// One member of an IP set.
#[derive(Debug, Clone, PartialEq)]
pub struct Member {
    pub cidr: String,
    pub nomatch: bool,
    pub comment: Option<String>,
}

/// What one firewall file holds.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Firewall {
    pub options: BTreeMap<String, String>,
    /// The first is asked first.
    pub rules: Vec<Rule>,
    /// Name → address and comment.
    pub aliases: BTreeMap<String, (String, Option<String>)>,
    /// Name → comment and members.
    pub sets: BTreeMap<String, (Option<String>, Vec<Member>)>,
    /// Name → comment and rules.
    pub groups: BTreeMap<String, (Option<String>, Vec<Rule>)>,
}

impl Firewall {
    /// The digest of the file; that of an empty file where nothing is set.
    pub fn digest(&self) -> String {
        let mut out = String::new();
        let mut section = |title: &str, lines: Vec<String>| {
            if !lines.is_empty() {
                let _ = writeln!(out, "[{title}]\n\n{}\n", lines.join("\n"));
            }
        };
        section("OPTIONS", self.options.iter().map(|(key, value)| format!("{key}: {value}")).collect());
        section("ALIASES", self.aliases.iter().map(|(name, (cidr, _))| format!("{name} {cidr}")).collect());
        for (name, (_, members)) in &self.sets {
            let lines =
                members.iter().map(|member| format!("{}{}", if member.nomatch { "!" } else { "" }, member.cidr));
            section(&format!("IPSET {name}"), [String::new()].into_iter().chain(lines).collect());
        }
        section("RULES", self.rules.iter().map(line).collect());
        for (name, (_, rules)) in &self.groups {
            section(&format!("group {name}"), [String::new()].into_iter().chain(rules.iter().map(line)).collect());
        }
        digest(&out)
    }
}

fn line(rule: &Rule) -> String {
    rule.iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join(" ")
}

/// 4 or 6, where the text is an address, a network, or a list or range of such.
pub fn ip_version(text: &str) -> Option<u8> {
    let first = text.split(',').next()?.split('/').next()?;
    let first = if first.contains(':') { first } else { first.split('-').next()? };
    first.parse::<IpAddr>().ok().map(|ip| if ip.is_ipv4() { 4 } else { 6 })
}

/// The macros that rules may name, and what they are for.
pub const MACROS: [(&str, &str); 36] = [
    ("BGP", "Border Gateway Protocol traffic"),
    ("Ceph", "Ceph Storage Cluster traffic (Ceph Monitors, OSD & MDS Daemons)"),
    ("DHCPfwd", "Forwarded DHCP traffic"),
    ("DHCPv6", "DHCPv6 traffic"),
    ("DNS", "Domain Name System traffic (upd and tcp)"),
    ("FTP", "File Transfer Protocol"),
    ("Git", "Git distributed revision control traffic"),
    ("HTTP", "Hypertext Transfer Protocol (WWW)"),
    ("HTTP/3", "Hypertext Transfer Protocol v3"),
    ("HTTPS", "Hypertext Transfer Protocol (WWW) over SSL"),
    ("IMAP", "Internet Message Access Protocol"),
    ("IMAPS", "Internet Message Access Protocol over SSL"),
    ("IPsec", "IPsec traffic"),
    ("LDAP", "Lightweight Directory Access Protocol traffic"),
    ("LDAPS", "Secure Lightweight Directory Access Protocol traffic"),
    ("MDNS", "Multicast DNS"),
    ("MSSQL", "Microsoft SQL Server"),
    ("Mail", "Mail traffic (SMTP, SMTPS, Submission)"),
    ("MySQL", "MySQL server"),
    ("NTP", "Network Time Protocol (ntpd)"),
    ("OpenVPN", "OpenVPN traffic"),
    ("PBS", "Proxmox Backup Server"),
    ("POP3", "POP3 traffic"),
    ("Ping", "ICMP echo request"),
    ("PostgreSQL", "PostgreSQL server"),
    ("RDP", "Microsoft Remote Desktop Protocol traffic"),
    ("Redis", "Redis traffic"),
    ("Rsync", "Rsync server"),
    ("SMB", "Microsoft SMB traffic"),
    ("SMTP", "Simple Mail Transfer Protocol"),
    ("SNMP", "Simple Network Management Protocol"),
    ("SSH", "Secure shell traffic"),
    ("Submission", "Mail message submission traffic"),
    ("Syslog", "Syslog protocol (RFC 5424) traffic"),
    ("VNC", "VNC traffic for VNC display's 0 - 99"),
    ("Webcache", "Web Cache/Proxy traffic (port 8080)"),
];
